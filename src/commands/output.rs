//! Where a report goes: stdout in one format, and a folder of files.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::Output;
use crate::error::{Diagnostic, Exit};
use crate::report::{self, Envelope, OutputDir, PredictionTable, RenderOptions, Report};
use crate::terminal::Verbosity;

/// Columns of a terminal that does not say how many it has.
const COLUMNS: usize = 80;

/// The requested outputs, checked to be writable before the run.
pub struct Sink<'a> {
    output: &'a Output,
    folder: Option<OutputDir>,
    step_outputs: Option<(&'a Path, File)>,
}

impl<'a> Sink<'a> {
    /// Prepares the folder and the file of a step's outputs.
    ///
    /// # Errors
    /// A folder that cannot be made or written, a file that cannot be appended to.
    pub fn prepare(output: &'a Output) -> Result<Self> {
        let folder = output.output_dir.as_deref().map(OutputDir::prepare).transpose()?;
        let step_outputs = output.github_output.as_deref().map(appended).transpose()?;
        Ok(Sink { output, folder, step_outputs })
    }

    /// How much the run writes to stderr.
    pub fn progress(&self) -> Verbosity {
        Verbosity::for_stderr(self.output.quiet)
    }

    /// Writes the report to every requested output; returns the exit code of the run.
    ///
    /// # Errors
    /// Whatever could not be written; a reader that closed the pipe is none.
    pub fn write(&self, report: &Report, tables: &[PredictionTable]) -> Result<Exit> {
        self.write_with(report, tables, None)
    }

    /// As [`Sink::write`], with a remark: the last line of the text report, or a line on stderr for
    /// any other format.
    ///
    /// # Errors
    /// As [`Sink::write`].
    pub fn write_with(
        &self,
        report: &Report,
        tables: &[PredictionTable],
        remark: Option<&str>,
    ) -> Result<Exit> {
        // Each is tried whatever becomes of the others: a run is too long to lose its report.
        let files = self.folder.as_ref().map(|folder| folder.write_all(report, tables));
        let outputs = self.step_outputs.as_ref().map(|(path, file)| {
            let mut file: &File = file;
            let written = file.write_all(report::step_outputs(report).as_bytes());
            written.with_context(|| format!("cannot write `{}`", path.display()))
        });
        let options = render_options();
        let mut stdout = std::io::stdout().lock();
        let format = self.output.on_stdout.format;
        let mut written = format.write(report, tables, &options, &mut stdout);
        match remark {
            Some(remark) if format.is_for_terminals() => {
                written = written.and_then(|()| writeln!(stdout, "\n{remark}"));
            }
            Some(remark) => self.progress().message(remark),
            None => {}
        }
        let written = written.and_then(|()| stdout.flush());
        if let Some(files) = files.transpose()? {
            let names: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
            self.progress().message(&format!("wrote {}", names.join(", ")));
        }
        outputs.transpose()?;
        unless_closed(written)?;
        Ok(report.exit(self.output.exit_zero))
    }
}

/// A file to append to, opened before the run.
fn appended(path: &Path) -> Result<(&Path, File)> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    let file = opened.map_err(|error| {
        Diagnostic::failure(format!("cannot write `{}`: {error}", path.display()))
            .hint("choose a file that you may write with --github-output")
    })?;
    Ok((path, file))
}

/// Prints `text` to stdout; a reader that closed the pipe is no error.
///
/// # Errors
/// A full disk, or whatever else stdout is.
pub fn print(text: &str) -> Result<()> {
    to_stdout(|out| out.write_all(text.as_bytes()))
}

/// Lets `write` write to stdout; a reader that closed the pipe is no error.
///
/// # Errors
/// A full disk, or whatever else stdout is.
pub(super) fn to_stdout(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    unless_closed(write(&mut stdout).and_then(|()| stdout.flush()))
}

fn unless_closed(written: std::io::Result<()>) -> Result<()> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to stdout"),
    }
}

/// How text is laid out on this stdout.
pub(super) fn render_options() -> RenderOptions {
    RenderOptions { color: use_color(), width: width() }
}

fn use_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !refused
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of the terminal on stdout; `COLUMNS` wins, for pipes and tests.
fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    asked
        .or_else(|| terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)))
        .unwrap_or(COLUMNS)
}
