//! What the four reports share: a verdict with its exit code, and a table of formats.
//!
//! Each report has a table of its own, so a format that a report cannot be written in does not exist
//! for it. `--format`, its help, `--output-dir` and the output folder of a tune are read from the tables.

use std::fmt;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::document::{Document, Layout};
use super::schema::Outcome;
use super::{csv, json, PredictionTable};
use crate::error::Exit;

/// A report: of an audit, a comparison, a recalibration or a tune.
///
/// Serialised it begins with `schema_version`, `verdict` and `exit_code`.
pub trait Envelope: Serialize + 'static {
    /// Every format of the report, in the order of the help and in which files are written.
    const FORMATS: &'static [Format<Self>];

    /// The verdict as an [`Outcome`].
    fn outcome(&self) -> Outcome;

    /// What the program exits with; `exit_zero` makes a failed gate 0, and leaves errors alone.
    fn exit(&self, exit_zero: bool) -> Exit {
        match self.outcome().exit() {
            Exit::NotPreserved if exit_zero => Exit::Preserved,
            exit => exit,
        }
    }
}

impl Outcome {
    /// The exit code of a report with this verdict.
    pub fn exit(self) -> Exit {
        match self {
            Outcome::Preserved => Exit::Preserved,
            Outcome::NotPreserved => Exit::NotPreserved,
            Outcome::Error => Exit::CouldNotRun,
        }
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

/// One format of a report of type `R`: a line of the table [`Envelope::FORMATS`].
pub struct Format<R: ?Sized + 'static> {
    /// The name on the command line.
    pub name: &'static str,
    /// The name of the file in an output folder; `None` where the folder has none.
    pub file: Option<&'static str>,
    /// What it is for, as `--help` lists it.
    pub about: &'static str,
    /// What writes it.
    pub(super) writer: Writer<R>,
}

/// What writes a format.
pub(super) enum Writer<R: ?Sized> {
    /// Text whose layout depends on the terminal.
    Terminal(fn(&R, &RenderOptions) -> String),
    /// A text as one string.
    Whole(fn(&R) -> String),
    /// Written piece by piece.
    Streamed(fn(&R, &mut dyn Write) -> io::Result<()>),
    /// A document, in one of its layouts.
    Document(fn(&R) -> Document, Layout),
    /// The predictions, a line per example; the report itself is not read.
    Predictions,
}

impl<R: Serialize> Format<R> {
    /// The report itself, after its JSON Schema.
    pub(super) const fn json(file: Option<&'static str>) -> Self {
        let about = "the whole report, for programs and `audit render`";
        Format { name: "json", file, about, writer: Writer::Streamed(json::write_json) }
    }
}

impl<R> Format<R> {
    /// A report that is a document, for a terminal.
    pub(super) const fn text(document: fn(&R) -> Document) -> Self {
        let writer = Writer::Document(document, Layout::Text);
        Format { name: "text", file: None, about: "for a terminal", writer }
    }

    /// A report that is a document, as Markdown.
    pub(super) const fn markdown(document: fn(&R) -> Document) -> Self {
        let about = "for a pull request comment or a job summary";
        let writer = Writer::Document(document, Layout::Markdown);
        Format { name: "markdown", file: None, about, writer }
    }

    /// Whether a terminal's width and colours are used.
    pub fn is_for_terminals(&self) -> bool {
        matches!(self.writer, Writer::Terminal(_) | Writer::Document(_, Layout::Text))
    }

    /// Whether it lists predictions, which the report does not hold.
    pub fn is_of_predictions(&self) -> bool {
        matches!(self.writer, Writer::Predictions)
    }

    /// Writes `report`. `tables` has the predictions of the run.
    ///
    /// # Errors
    /// Whatever `out` answers: a full disk, a closed pipe.
    pub fn write(
        &self,
        report: &R,
        tables: &[PredictionTable],
        options: &RenderOptions,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let mut out = BufWriter::new(out);
        match self.writer {
            Writer::Terminal(render) => out.write_all(render(report, options).as_bytes()),
            Writer::Whole(render) => out.write_all(render(report).as_bytes()),
            Writer::Streamed(write) => write(report, &mut out),
            Writer::Document(document, layout) => {
                out.write_all(document(report).written(layout, options).as_bytes())
            }
            Writer::Predictions => csv::write(tables, &mut out),
        }?;
        out.flush()
    }
}

impl<R: Envelope> Format<R> {
    /// The format with this name.
    pub fn named(name: &str) -> Option<&'static Format<R>> {
        R::FORMATS.iter().find(|format| format.name == name)
    }

    /// The formats that have a file in an output folder, with its name.
    pub fn files() -> impl Iterator<Item = (&'static str, &'static Format<R>)> {
        R::FORMATS.iter().filter_map(|format| Some((format.file?, format)))
    }
}

impl<R: ?Sized> fmt::Debug for Format<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<R: ?Sized> fmt::Display for Format<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}
