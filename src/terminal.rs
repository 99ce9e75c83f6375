//! Messages on stderr and their verbosity.
//!
//! Everything that the program writes to stderr goes through [`write_line`] or [`write_lines`], so
//! that text from data, models, paths and arguments cannot act on a terminal or a CI runner, nor
//! look like another message.

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

/// Writes one line to stderr, made harmless by [`neutralise`]; write errors are ignored.
pub fn write_line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless_line(text));
}

/// Writes the lines of `text` to stderr, each as [`write_line`] does.
pub fn write_lines(text: &str) {
    let lines: Vec<String> = text.lines().map(|line| harmless_line(line) + "\n").collect();
    let _ = std::io::stderr().write_all(lines.concat().as_bytes());
}

/// [`neutralise`]d, and not a workflow command: a runner reads `::` at the start of a line as one.
fn harmless_line(text: &str) -> String {
    let line = neutralise(text);
    match line.trim_start().strip_prefix("::") {
        Some(rest) => format!("{}: :{rest}", &line[..line.len() - rest.len() - 2]),
        None => line,
    }
}

/// Replaces what could act on a terminal or reorder a line by something that can be seen.
///
/// Line breaks and tabs become spaces; other C0 controls their Unicode pictures (`␛`); C1
/// controls and noncharacters `�`; direction marks and invisible format characters their escape
/// (`\u{202e}`). Letters of right-to-left scripts and joiners inside words and emoji stay. What a
/// CI runner would carry out anywhere in a line of a log (`##[error]`) is taken apart (`# #[`).
pub fn neutralise(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}' | '\u{fdd0}'..='\u{fdef}' => out.push('\u{fffd}'),
            c if c as u32 & 0xfffe == 0xfffe => out.push('\u{fffd}'),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    for command in ["##[", "##vso[", "##teamcity["] {
        if out.contains(command) {
            out = out.replace(command, &command.replacen("##", "# #", 1));
        }
    }
    out
}

/// Whether `c` shows nothing and changes how its neighbours are laid out or read.
pub fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_acts_on_a_terminal_survives() {
        assert_eq!(neutralise("a\x1b[31mb\r\nc\x07\u{9b}2J"), "a␛[31mb  c␇\u{fffd}2J");
        assert_eq!(neutralise("a ##[error]x ##vso[y] ##z"), "a # #[error]x # #vso[y] ##z");
        assert_eq!(neutralise("\u{fffe}\u{1ffff}"), "\u{fffd}\u{fffd}");
        assert_eq!(neutralise("x\u{202e}y"), "x\\u{202e}y");
        assert_eq!(neutralise("👩\u{200d}🔬 שלום"), "👩\u{200d}🔬 שלום");
    }

    #[test]
    fn a_line_is_one_line_and_not_a_command_of_a_runner() {
        assert_eq!(harmless_line("  hint: a\n::add-mask::b\tc"), "  hint: a ::add-mask::b c");
        assert_eq!(harmless_line("::error::x"), ": :error::x");
        assert_eq!(harmless_line(" \n\t::error::x"), "   : :error::x");
        assert_eq!(harmless_line("σ::x"), "σ::x");
    }
}
