//! Report outputs: stdout in one format, a folder of files, and a step's outputs.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::audit::ErrorDisplay;
use crate::cli::OutputArgs;
use crate::error::{failure, Exit};
use crate::report::{self, Envelope, OutputDir, PredictionTable, RenderOptions, Report};
use crate::terminal::Verbosity;

/// Width of a terminal of unknown width.
const COLUMNS: usize = 80;

/// The outputs of a report, checked to be writable before the run.
pub struct ReportOutput<'a> {
    args: &'a OutputArgs,
    folder: Option<OutputDir>,
    step_outputs: Option<(&'a Path, File)>,
}

impl<'a> ReportOutput<'a> {
    /// Creates the folder and opens the file of step outputs.
    pub fn prepare(args: &'a OutputArgs) -> Result<Self> {
        let folder = args.output_dir.as_deref().map(OutputDir::prepare).transpose()?;
        let step_outputs = args.github_output.as_deref().map(open_for_append).transpose()?;
        Ok(ReportOutput { args, folder, step_outputs })
    }

    /// Verbosity of the run on stderr.
    pub fn verbosity(&self) -> Verbosity {
        Verbosity::for_stderr(self.args.quiet)
    }

    /// Where errors are shown, so that a reader sees each once.
    pub fn errors(&self) -> ErrorDisplay {
        let is_seen = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
        error_display(self.args.on_stdout.format.is_for_terminals(), is_seen)
    }

    /// Writes the report to all outputs and returns the exit code of the run.
    pub fn write(&self, report: &Report, tables: &[PredictionTable]) -> Result<Exit> {
        self.write_with(report, tables, None)
    }

    /// As [`ReportOutput::write`], with a remark at the end of the text report, or on stderr for other formats.
    pub fn write_with(
        &self,
        report: &Report,
        tables: &[PredictionTable],
        remark: Option<&str>,
    ) -> Result<Exit> {
        // Try every output even if one fails: a run is too long to lose its report.
        let files = self.folder.as_ref().map(|folder| folder.write_all(report, tables));
        let outputs = self.step_outputs.as_ref().map(|(path, file)| {
            let mut file: &File = file;
            let written = file.write_all(report::step_outputs(report).as_bytes());
            written.with_context(|| format!("cannot write `{}`", path.display()))
        });
        let options = render_options();
        let mut stdout = std::io::stdout().lock();
        let format = self.args.on_stdout.format;
        let mut written = format.write(report, tables, &options, &mut stdout);
        match remark {
            Some(remark) if format.is_for_terminals() => {
                written = written.and_then(|()| writeln!(stdout, "\n{remark}"));
            }
            Some(remark) => self.verbosity().message(remark),
            None => {}
        }
        let written = written.and_then(|()| stdout.flush());
        if let Some(files) = files.transpose()? {
            let names: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
            self.verbosity().message(&format!("wrote {}", names.join(", ")));
        }
        outputs.transpose()?;
        unless_closed(written)?;
        Ok(report.exit(self.args.exit_zero))
    }
}

/// `is_text`: the report on stdout is text. `is_seen`: stdout and stderr are both a terminal. A file or
/// a pipe gets the report, and its reader the error on stderr.
fn error_display(is_text: bool, is_seen: bool) -> ErrorDisplay {
    match is_text && is_seen {
        true => ErrorDisplay::Report,
        false => ErrorDisplay::Stderr,
    }
}

/// Opens a file to append to.
fn open_for_append(path: &Path) -> Result<(&Path, File)> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    let file = opened.map_err(|error| {
        failure!("cannot write `{}`: {error}", path.display())
            .hint("pass a writable file with --github-output")
    })?;
    Ok((path, file))
}

/// Prints `text` to stdout; a closed pipe is not an error.
pub fn print(text: &str) -> Result<()> {
    to_stdout(|out| out.write_all(text.as_bytes()))
}

/// Runs `write` on stdout; a closed pipe is not an error.
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

/// Layout of text on this stdout.
pub(super) fn render_options() -> RenderOptions {
    RenderOptions { color: use_color(), width: width() }
}

fn use_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !refused
        && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// Columns of `COLUMNS`, else of the terminal on stdout.
fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    asked
        .or_else(|| terminal_size::terminal_size().map(|(w, _)| usize::from(w.0)))
        .unwrap_or(COLUMNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_an_error_once_and_a_file_has_it_too() {
        assert_eq!(error_display(true, true), ErrorDisplay::Report);
        for (is_text, is_seen) in [(true, false), (false, true), (false, false)] {
            assert_eq!(error_display(is_text, is_seen), ErrorDisplay::Stderr);
        }
    }
}
