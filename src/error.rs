//! Kinds of failure, and the exit code that each gives.
//!
//! A failed check is no error: it is a [`crate::check::Verdict`]. An error means that the audit
//! could not be asked for ([`ErrorKind::Usage`]) or could not be carried out (everything else).

mod guard;

use std::fmt;
use std::process::ExitCode;

pub use guard::{caught, guarded, program};

use crate::terminal::{neutralise, write_lines};

/// The codes that scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// The student preserves its teacher's confidence on every gating split.
    Preserved = 0,
    /// On at least one gating split it does not.
    NotPreserved = 1,
    /// The command line or the configuration is wrong; nothing was run.
    Usage = 2,
    /// At least one audit could not be carried out.
    CouldNotRun = 3,
    /// Ctrl-C: what a shell expects, 128 + SIGINT.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// What a person reads of an error: what failed, where, and what to do about it.
///
/// Displayed as `place: message`; the hint is printed on a line of its own, by [`print`] and by every
/// report that shows an error.
#[derive(Debug)]
pub struct Diagnostic {
    /// Which exit code it leads to.
    pub kind: ErrorKind,
    /// What failed, and on which input. Lower case, one sentence, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The file, line, column or key at fault, where the message does not name it.
    pub place: Option<Box<FileLocation>>,
}

/// The kinds of [`Diagnostic`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line or the configuration is wrong; nothing was run. Exit code 2.
    Usage,
    /// Something could not be carried out. Exit code 3.
    Failure,
}

/// Where an error is in a file. Displayed as `` `FILE` line N, column `NAME`, key `KEY` ``.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileLocation {
    /// The file, as the user named it, or `hub id/file`.
    pub file: String,
    /// The line, counted from 1; of a Parquet file, the row.
    pub line: Option<usize>,
    /// The name of a table's column.
    pub column: Option<String>,
    /// The key, such as `stage.train.batch_size`.
    pub key: Option<String>,
}

impl Diagnostic {
    /// A mistake in the command line or the configuration.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message.into())
    }

    /// Something that could not be carried out.
    pub fn failure(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failure, message.into())
    }

    /// A usage error with the hint of `error`, worded around its message.
    pub fn usage_around(error: &anyhow::Error, word: impl FnOnce(&str) -> String) -> Self {
        let (message, hint) = message_and_hint(error);
        Diagnostic { hint, ..Self::usage(word(message.trim_end())) }
    }

    fn new(kind: ErrorKind, message: String) -> Self {
        Diagnostic { kind, message, hint: None, place: None }
    }

    /// The same with what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Diagnostic { hint: Some(hint.into()), ..self }
    }

    /// The same with where it is.
    pub fn at(self, place: FileLocation) -> Self {
        Diagnostic { place: Some(Box::new(place)), ..self }
    }
}

/// A [`Diagnostic::usage`] with a message as of `format!`.
macro_rules! usage {
    ($($message:tt)*) => {
        $crate::error::Diagnostic::usage(format!($($message)*))
    };
}
pub(crate) use usage;

/// A [`Diagnostic::failure`] with a message as of `format!`.
macro_rules! failure {
    ($($message:tt)*) => {
        $crate::error::Diagnostic::failure(format!($($message)*))
    };
}
pub(crate) use failure;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Diagnostic {}

impl fmt::Display for FileLocation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, " line {line}")?;
        }
        for (kind, name) in [("column", &self.column), ("key", &self.key)] {
            if let Some(name) = name {
                write!(f, ", {kind} `{name}`")?;
            }
        }
        Ok(())
    }
}

/// The run was stopped by the user; says how far it had come.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Interrupted {
    /// What was under way, such as `teacher, sst2/train`.
    pub what: String,
    /// Examples done.
    pub done: usize,
    /// Examples in all; 0 where it is not examples that were under way.
    pub total: usize,
    /// What became of the work.
    pub outcome: &'static str,
}

/// What becomes of an audit that is stopped.
pub const NO_REPORT: &str = "no report was written";

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Interrupted { what, done, total, outcome } = self;
        match total {
            0 => write!(f, "interrupted: {what}; {outcome}"),
            _ => write!(f, "interrupted: {done} of {total} examples were done ({what}); {outcome}"),
        }
    }
}

/// Whether the command line or the configuration caused `error`.
pub fn is_usage(error: &anyhow::Error) -> bool {
    let mut diagnostics = error.chain().filter_map(|cause| cause.downcast_ref::<Diagnostic>());
    diagnostics.any(|it| it.kind == ErrorKind::Usage)
}

/// The exit code of an error that ended the program.
pub fn exit_code(error: &anyhow::Error) -> Exit {
    if error.is::<Interrupted>() {
        Exit::Interrupted
    } else if is_usage(error) {
        Exit::Usage
    } else {
        Exit::CouldNotRun
    }
}

/// Every cause of an error in one line, outermost first, and the innermost hint.
pub fn message_and_hint(error: &anyhow::Error) -> (String, Option<String>) {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    let hints = error.chain().filter_map(|cause| cause.downcast_ref::<Diagnostic>());
    let hint = hints.filter_map(|it| it.hint.as_deref()).last();
    (cut_lines(&causes.join(": ")), hint.map(cut_lines))
}

/// Maximum characters of a line of a message; a file's own text in it may have any length.
const LONGEST_LINE: usize = 2000;

/// `text` with long lines cut.
fn cut_lines(text: &str) -> String {
    let cut = |line: &str| match line.char_indices().nth(LONGEST_LINE) {
        None => line.to_owned(),
        Some((at, _)) => format!("{}… (cut: {} bytes)", &line[..at], line.len()),
    };
    text.split('\n').map(cut).collect::<Vec<_>>().join("\n")
}

/// An error as it is printed, without the `error: ` before it: every cause, then the hint on a line of
/// its own. Further lines of a message, such as an excerpt of a config, are indented, so that none of
/// them looks like a hint or another message.
pub fn rendered(error: &anyhow::Error) -> String {
    let (message, hint) = message_and_hint(error);
    let mut lines = message.trim_end().lines().map(neutralise);
    let mut text = lines.next().unwrap_or_default();
    for line in lines {
        text += "\n";
        text += if line.starts_with(MESSAGE_INDENT) { "" } else { MESSAGE_INDENT };
        text += line.trim_end();
    }
    match hint {
        Some(hint) => format!("{text}\n  hint: {}", neutralise(&hint)),
        None => text,
    }
}

/// What is before the further lines of a message.
const MESSAGE_INDENT: &str = "    ";

/// Prints an error to stderr: what failed, then why, then what to do.
pub fn print(error: &anyhow::Error) {
    write_lines(&format!("error: {}", rendered(error)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_of_a_message_are_cut() {
        let text = format!("short\n{}\n", "é".repeat(2001));
        let error = anyhow::Error::from(failure!("{text}").hint("h".repeat(2000)));
        let (message, hint) = message_and_hint(&error);
        assert_eq!(message, format!("short\n{}… (cut: 4002 bytes)\n", "é".repeat(2000)));
        assert_eq!(hint.unwrap().len(), 2000);
    }
}
