//! Kinds of failure, and the exit code that each gives.
//!
//! A failed check is no error: it is a [`crate::check::Verdict`]. An error means that the audit
//! could not be asked for ([`Usage`]) or could not be carried out (everything else).

use std::process::ExitCode;

use crate::progress::say;

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

/// A mistake in the command line or the configuration, found before anything is run: exit code 2.
///
/// The text says what is wrong and, in a second line that begins with `hint: `, what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Usage {
    /// What is wrong, with the hint (if any) on a line of its own.
    pub message: String,
}

/// A [`Usage`] error as an [`anyhow::Error`].
pub fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage { message: message.into() }.into()
}

/// An error that carries its remedy: `message`, then `  hint: remedy` on the next line.
#[derive(Debug, thiserror::Error)]
#[error("{message}\n  hint: {hint}")]
pub struct Hinted {
    /// What failed, and on which input.
    pub message: String,
    /// What the user can do about it.
    pub hint: String,
}

/// A [`Hinted`] error as an [`anyhow::Error`].
pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hinted { message: message.into(), hint: hint.into() }.into()
}

/// The exit code of an error that ended the program.
pub fn exit_code(error: &anyhow::Error) -> Exit {
    if error.is::<crate::interrupt::Interrupted>() {
        Exit::Interrupted
    } else if error.chain().any(|cause| cause.is::<Usage>()) {
        Exit::Usage
    } else {
        Exit::CouldNotRun
    }
}

/// Prints an error to stderr: what failed, then why, then what to do.
pub fn print(error: &anyhow::Error) {
    let mut hint = None;
    let mut causes = Vec::new();
    for cause in error.chain() {
        match cause.downcast_ref::<Hinted>() {
            Some(hinted) => {
                causes.push(hinted.message.clone());
                hint = Some(hinted.hint.clone());
            }
            None => causes.push(cause.to_string()),
        }
    }
    say(&format!("error: {}", causes.join(": ")));
    if let Some(hint) = hint {
        say(&format!("  hint: {hint}"));
    }
}
