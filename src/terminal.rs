//! Messages on stderr and their verbosity.

use std::io::{IsTerminal, Write};

/// Amount of output on stderr while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// A live progress line and messages; stderr is a terminal.
    Live,
    /// Messages only.
    Plain,
    /// Errors only (`--quiet`).
    Quiet,
}

impl Verbosity {
    /// `Live` if stderr is a terminal, else `Plain`; `Quiet` if asked for.
    pub fn for_stderr(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Live,
            (false, false) => Verbosity::Plain,
        }
    }

    /// Writes a line, unless quiet.
    pub fn message(self, text: &str) {
        if self != Verbosity::Quiet {
            write_line(text);
        }
    }
}

/// Writes a line to stderr; write errors are ignored.
pub fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
