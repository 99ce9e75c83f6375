//! 7. Verdict to what people and CI read: one file per format, one serialised schema.
//!
//! ```text
//!                         ┌─► text, markdown, html      for people
//!  Report (schema.rs) ────┼─► json                      for programs, and to render again
//!                         ├─► junit, github             for CI
//!                         ├─► openmetrics, codequality  for GitLab
//!                         ├─► model-card                for the Hugging Face Hub
//!  PredictionTable ───────┴─► csv                       one line per example
//!  Recalibration, Comparison, Tuning ─► text, markdown (document.rs), json; a tune also csv, html
//!  Verification ───────────► text (document.rs), json
//!  glossary (docs/) ────────► text, html                `audit explain`
//! ```
//!
//! Every format states the report's own verdict; none works it out again. Text that comes from
//! data, models or paths is neutralised for the medium it goes to.

mod codequality;
pub mod comparison;
mod csv;
mod display;
mod document;
mod figures;
mod findings;
mod format;
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
pub mod verification;

pub use csv::{
    cell as prediction_cell, lines_of_tables, prediction_lines, PredictionLine, PredictionRow,
    PredictionTable, PREDICTION_COLUMNS,
};
pub(crate) use display::table as columns;
pub use format::{Envelope, Format, RenderOptions};
pub use github::step_outputs;
pub use json::{json_schema, write_json};
pub(crate) use numbers::{counted, thousands};
pub use output_dir::OutputDir;
pub use saved::{NoPredictions, Saved, Verifiable, VerifiableKind};
pub use schema::Report;
pub use summary::{row_summary, summary};

use comparison::Comparison;
use document::Layout;
use format::Writer;
use recalibration::Recalibration;
use schema::Outcome;
use tuning::Tuning;
use verification::Verification;

/// The formats of an audit's report.
impl Envelope for Report {
    const FORMATS: &'static [Format<Report>] = &[
        Format {
            name: "text",
            file: None,
            about: "for a terminal",
            writer: Writer::Terminal(text::render),
        },
        Format::json(Some("report.json")),
        Format {
            name: "markdown",
            file: Some("report.md"),
            about: "for a pull request comment or a job summary",
            writer: Writer::Document(markdown::document, Layout::Markdown),
        },
        Format {
            name: "junit",
            file: Some("junit.xml"),
            about: "JUnit XML, for test dashboards",
            writer: Writer::Whole(junit::render),
        },
        Format {
            name: "csv",
            file: Some(output_dir::PREDICTIONS),
            about: "the predictions, a line per example",
            writer: Writer::Predictions,
        },
        Format {
            name: "github",
            file: None,
            about: "workflow commands, which GitHub shows as annotations",
            writer: Writer::Whole(github::render),
        },
        Format {
            name: "openmetrics",
            file: Some("metrics.txt"),
            about: "OpenMetrics text, for GitLab's metrics report",
            writer: Writer::Whole(openmetrics::render),
        },
        Format {
            name: "codequality",
            file: Some("codequality.json"),
            about: "GitLab's code quality report",
            writer: Writer::Streamed(codequality::write),
        },
        Format {
            name: "model-card",
            file: Some("model-index.yaml"),
            about: "the `model-index` of a Hugging Face model card",
            writer: Writer::Whole(model_card::render),
        },
        // The last file that is named, where a person looks.
        Format {
            name: "html",
            file: Some("report.html"),
            about: "one page for a browser, with plots",
            writer: Writer::Whole(html::render),
        },
    ];

    fn outcome(&self) -> Outcome {
        self.verdict
    }
}

/// The formats of `audit compare`.
impl Envelope for Comparison {
    const FORMATS: &'static [Format<Comparison>] = &[
        Format::text(comparison::document),
        Format::json(None),
        Format::markdown(comparison::document),
    ];

    fn outcome(&self) -> Outcome {
        self.verdict.outcome()
    }
}

/// The formats of `audit recalibrate`.
impl Envelope for Recalibration {
    const FORMATS: &'static [Format<Recalibration>] = &[
        Format::text(recalibration::document),
        Format::json(None),
        Format::markdown(recalibration::document),
    ];

    fn outcome(&self) -> Outcome {
        self.verdict
    }
}

/// The formats of `audit verify`.
impl Envelope for Verification {
    const FORMATS: &'static [Format<Verification>] =
        &[Format::text(verification::document), Format::json(None)];

    fn outcome(&self) -> Outcome {
        self.verdict.outcome()
    }
}

/// The formats of `audit tune`.
impl Envelope for Tuning {
    const FORMATS: &'static [Format<Tuning>] = &[
        Format::text(tuning::document),
        Format {
            name: "csv",
            file: Some("trials.csv"),
            about: "every trial, a line each",
            writer: Writer::Streamed(tuning::write_csv),
        },
        Format {
            name: "epochs",
            file: Some("epochs.csv"),
            about: "every epoch of every training, a line each, as CSV",
            writer: Writer::Streamed(tuning::write_epochs),
        },
        Format {
            name: "html",
            file: Some("tune.html"),
            about: "one page for a browser, with plots",
            writer: Writer::Whole(html::tuning),
        },
        Format::json(Some("tune.json")),
        Format::markdown(tuning::document),
    ];

    fn outcome(&self) -> Outcome {
        self.verdict
    }
}

#[cfg(test)]
mod tests;
