//! 7. Verdict to what people and CI read: one file per format, one serialised schema.
//!
//! ```text
//!                         ┌─► text, markdown, html      for people
//!  Report (schema.rs) ────┼─► json                      for programs, and to render again
//!                         ├─► junit, github             for CI
//!                         ├─► openmetrics, codequality  for GitLab
//!                         ├─► model-card                for the Hugging Face Hub
//!  PredictionTable ───────┴─► csv                       one line per example
//!  Recalibration ───────────► text, json                `audit recalibrate`
//!  Comparison ──────────────► text, markdown, json      `audit compare`
//!  Tuning ──────────────────► text, html, json, csv     `audit tune`
//!  glossary (docs/) ────────► text, html                `audit explain`
//! ```
//!
//! Every format states the report's own verdict; none works it out again. Text that comes from
//! data, models or paths is neutralised for the medium it goes to.

mod codequality;
pub mod comparison;
mod csv;
mod display;
mod figures;
mod github;
pub mod glossary;
mod html;
mod json;
mod junit;
mod markdown;
mod model_card;
mod numbers;
mod openmetrics;
mod output_dir;
pub mod recalibration;
mod rows;
mod saved;
#[cfg(test)]
mod samples;
pub mod schema;
mod summary;
mod text;
pub mod tuning;

use std::io::{self, BufWriter, Write};
use std::str::FromStr;

pub use csv::{PredictionRow, PredictionTable};
pub(crate) use display::table as columns;
pub use github::step_outputs;
pub use json::json_schema;
pub(crate) use numbers::{counted, thousands};
pub use output_dir::OutputDir;
pub use saved::{NoPredictions, Saved};
pub use schema::Report;
pub use summary::{row_summary, summary};

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// For a terminal.
    #[default]
    Text,
    /// The whole report, after configs/report.schema.json.
    Json,
    /// For a pull request comment or a job summary.
    Markdown,
    /// One page for a browser, with plots.
    Html,
    /// JUnit XML, for test dashboards.
    Junit,
    /// The predictions, a line per example.
    Csv,
    /// Workflow commands that GitHub shows as annotations.
    Github,
    /// OpenMetrics text, for GitLab's metrics report.
    OpenMetrics,
    /// GitLab's code quality report.
    CodeQuality,
    /// The `model-index` of a Hugging Face model card.
    ModelCard,
}

impl Format {
    /// Every format, in the order in which help texts list them.
    pub const ALL: [Format; 10] = [
        Format::Text,
        Format::Json,
        Format::Markdown,
        Format::Html,
        Format::Junit,
        Format::Csv,
        Format::Github,
        Format::OpenMetrics,
        Format::CodeQuality,
        Format::ModelCard,
    ];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Markdown => "markdown",
            Format::Html => "html",
            Format::Junit => "junit",
            Format::Csv => "csv",
            Format::Github => "github",
            Format::OpenMetrics => "openmetrics",
            Format::CodeQuality => "codequality",
            Format::ModelCard => "model-card",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is no [`Format`]'s.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{0}`: expected one of {known}", known = Format::ALL.map(Format::as_str).join(", "))]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Format::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// How the text report is laid out; the other formats ignore it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderOptions {
    /// Whether ANSI colours are written. The caller asks the terminal and `NO_COLOR`.
    pub color: bool,
    /// Columns of the terminal. Below 60 counts as 60.
    pub width: usize,
}

impl Default for RenderOptions {
    fn default() -> Self {
        RenderOptions { color: false, width: 80 }
    }
}

/// Writes the report in `format`. `tables` is needed by [`Format::Csv`] alone, and streamed.
///
/// # Errors
///
/// Whatever `out` answers: a full disk, a closed pipe.
pub fn write(
    format: Format,
    report: &Report,
    tables: &[PredictionTable],
    options: &RenderOptions,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    match format {
        Format::Text => out.write_all(text::render(report, options).as_bytes()),
        Format::Json => json::write(report, &mut out),
        Format::Markdown => out.write_all(markdown::render(report).as_bytes()),
        Format::Html => out.write_all(html::render(report).as_bytes()),
        Format::Junit => junit::write(report, &mut out),
        Format::Csv => csv::write(tables, &mut out),
        Format::Github => out.write_all(github::render(report).as_bytes()),
        Format::OpenMetrics => out.write_all(openmetrics::render(report).as_bytes()),
        Format::CodeQuality => codequality::write(report, &mut out),
        Format::ModelCard => out.write_all(model_card::render(report).as_bytes()),
    }?;
    out.flush()
}

#[cfg(test)]
mod tests;
