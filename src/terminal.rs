//! Speaking to a terminal: lines on stderr, and how many of them.

use std::io::{IsTerminal, Write};

/// How much is written to stderr while a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// A live line and messages: stderr is a terminal.
    Live,
    /// Messages alone.
    Plain,
    /// Nothing (`--quiet`) but errors.
    Quiet,
}

impl Verbosity {
    /// Live where stderr is a terminal.
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
            say(text);
        }
    }
}

/// Writes a line to stderr. A failure to write is ignored: nobody is there to read it.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
