//! The sheet that the text report is laid out on: lines of bounded width, colour where asked.

use anstyle::{AnsiColor, Style};

use super::super::display::{columns, neutralise, pad, truncate, truncate_start, wrap};
use super::super::schema::Outcome;
use super::super::RenderOptions;

/// Columns below which no layout holds.
const NARROWEST: usize = 60;

/// Longer lines of prose are hard to read, however wide the terminal is.
const PROSE: usize = 100;
/// Columns that a remark leaves of a path.
const SHORTEST_PATH: usize = 8;

/// Columns of a field's name, the gap included.
pub(in super::super) const LABEL: usize = 12;

/// Columns in front of a field.
pub(in super::super) const INDENT: usize = 2;

/// Emphasis of a table's header and of names.
pub(in super::super) const BOLD: Style = Style::new().bold();

/// What may be skipped at first sight.
pub(in super::super) const DIM: Style = Style::new().dimmed();

/// Warnings.
pub(in super::super) const YELLOW: Style = AnsiColor::Yellow.on_default().bold();

/// The colour of a verdict.
pub(in super::super) fn verdict_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Preserved => AnsiColor::Green.on_default().bold(),
        Outcome::NotPreserved => AnsiColor::Red.on_default().bold(),
        Outcome::Error => AnsiColor::Magenta.on_default().bold(),
    }
}

/// The text written so far.
pub(in super::super) struct Page {
    /// Columns of the terminal.
    pub width: usize,
    color: bool,
    out: String,
}

impl Page {
    pub fn new(options: &RenderOptions) -> Page {
        Page { width: options.width.max(NARROWEST), color: options.color, out: String::new() }
    }

    pub fn finish(self) -> String {
        self.out
    }

    /// Columns that prose and bars keep to.
    pub fn prose_width(&self) -> usize {
        self.width.min(PROSE)
    }

    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    pub fn blank(&mut self) {
        self.out.push('\n');
    }

    /// A line whose parts from elsewhere are already neutralised and cut.
    pub fn line(&mut self, line: &str) {
        self.out.push_str(&inert(line.trim_end()));
        self.out.push('\n');
    }

    /// Parts with two spaces between them; those that do not fit follow in an indented line.
    pub fn parts(&mut self, style: Style, first: &str, rest: &[String]) {
        let first = truncate(&neutralise(first), self.width);
        let mut used = columns(&first);
        let mut line = self.paint(style, &first);
        for part in rest {
            let part = truncate(&neutralise(part), self.width - INDENT);
            if used + 2 + columns(&part) > self.width {
                self.line(&line);
                (line, used) = (String::new(), 0);
            }
            line.push_str("  ");
            line.push_str(&part);
            used += 2 + columns(&part);
        }
        self.line(&line);
    }

    /// A name and its text, wrapped with a hanging indent.
    pub fn field(&mut self, name: &str, text: &str) {
        self.field_with(name, text, None);
    }

    /// [`Page::field`] in which the first `word` of the text is painted.
    pub fn field_with(&mut self, name: &str, text: &str, word: Option<(Style, &str)>) {
        let mut start = format!("{}{}", " ".repeat(INDENT), pad(name, LABEL));
        let mut word = word;
        for line in wrap(&neutralise(text), self.prose_width() - INDENT - LABEL) {
            let painted = match word {
                Some((style, text)) if line.contains(text) => {
                    word = None;
                    line.replacen(text, &self.paint(style, text), 1)
                }
                _ => line,
            };
            self.line(&format!("{start}{painted}"));
            start = " ".repeat(INDENT + LABEL);
        }
    }

    /// A name, a path whose end is kept where it must be cut, and a remark behind it.
    pub fn path(&mut self, name: &str, path: &str, about: &str) {
        let room = self.width.saturating_sub(INDENT + LABEL);
        let about = truncate(&neutralise(about), room.saturating_sub(SHORTEST_PATH));
        let path = truncate_start(&neutralise(path), room - columns(&about));
        let about = if about.is_empty() { about } else { self.paint(DIM, &about) };
        self.line(&format!("{}{}{path}{about}", " ".repeat(INDENT), pad(name, LABEL)));
    }

    /// `name: text`, wrapped, indented by `indent` and from the second line on by two more.
    pub fn remark(&mut self, indent: usize, style: Style, name: &str, text: &str) {
        let text = format!("{name}: {}", neutralise(text));
        let lines = wrap(&text, self.prose_width() - indent - 2);
        for (number, line) in lines.iter().enumerate() {
            let margin = " ".repeat(if number == 0 { indent } else { indent + 2 });
            let painted = match line.strip_prefix(name) {
                Some(rest) if number == 0 => format!("{}{rest}", self.paint(style, name)),
                _ => line.clone(),
            };
            self.line(&format!("{margin}{painted}"));
        }
    }
}

/// Takes from a line what GitHub's runner, which reads the log, would carry out as a command:
/// two colons in front become one character that looks like them.
fn inert(line: &str) -> String {
    let text = line.trim_start();
    match text.strip_prefix("::") {
        Some(rest) => format!("{}∷{rest}", &line[..line.len() - text.len()]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_a_runner_s_command() {
        assert_eq!(inert("  ::error::x"), "  ∷error::x");
        assert_eq!(inert("std::fs"), "std::fs");
    }

    #[test]
    fn parts_that_do_not_fit_go_on_in_the_next_line() {
        let mut page = Page::new(&RenderOptions { color: false, width: 60 });
        let (a, b) = ("a".repeat(40), "b".repeat(20));
        page.parts(BOLD, "PRESERVED", &[a.clone(), b.clone(), "c".into()]);
        assert_eq!(page.finish(), format!("PRESERVED  {a}\n  {b}  c\n"));
    }

    #[test]
    fn colour_is_written_only_when_asked() {
        let plain = Page::new(&RenderOptions { color: false, width: 80 });
        assert_eq!(plain.paint(YELLOW, "x"), "x");
        let coloured = Page::new(&RenderOptions { color: true, width: 80 });
        assert!(coloured.paint(YELLOW, "x").starts_with('\u{1b}'));
    }
}
