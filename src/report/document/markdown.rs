//! A document as Markdown for a pull request comment, short enough for GitHub.

use super::super::display::{neutralise, truncate};
use super::super::schema::Outcome;
use super::{Block, Document, DocumentTable, Layout};

/// GitHub refuses a comment above 65,536 characters; some room is left for what is put around.
const MOST_CHARACTERS: usize = 60_000;

/// Stands at the end of a text that was too long.
const LEFT_OUT: &str = "\nThe rest is left out for length: see the JSON report.\n";

/// Columns of a cell and of a sentence from elsewhere.
pub(in super::super) const CELL: usize = 80;
const TEXT: usize = 240;
const SENTENCE: usize = 1_000;

impl Document {
    /// The document as Markdown, short enough for a comment.
    pub fn markdown(&self) -> String {
        let full = self.markdown_with(true);
        match full.chars().count() <= MOST_CHARACTERS {
            true => full,
            false => shorten(self.markdown_with(false)),
        }
    }

    fn markdown_with(&self, with_folded: bool) -> String {
        let parts: Vec<&str> =
            self.parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let behind = if parts.is_empty() { "" } else { ": " };
        let parts = escape(&parts.join(", "), SENTENCE);
        let mut out = format!("## {} {}{behind}{parts}\n", verdict_sign(self.outcome), self.word);
        let mut in_list = false;
        for block in self.blocks_in(Layout::Markdown) {
            let is_item =
                matches!(block, Block::Field { .. } | Block::Path { .. } | Block::Remark { .. });
            let is_folded = matches!(block, Block::Folded { .. });
            if matches!(block, Block::Gap) || (is_folded && !with_folded) {
                continue;
            }
            if !(is_folded || is_item && in_list) {
                out.push('\n');
            }
            in_list = is_item;
            out.push_str(&markdown_block(block));
        }
        out
    }
}

/// Leaves out the last lines where even the brief text is too long.
fn shorten(text: String) -> String {
    let mut left = MOST_CHARACTERS;
    let kept = text.split_inclusive('\n').take_while(|line| {
        let length = line.chars().count();
        let fits = length <= left;
        left = left.saturating_sub(length);
        fits
    });
    kept.chain([LEFT_OUT]).collect()
}

/// The emoji of a verdict.
pub(in super::super) fn verdict_sign(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Preserved => "✅",
        Outcome::NotPreserved => "❌",
        Outcome::Error => "⚠️",
    }
}

fn markdown_block(block: &Block) -> String {
    match block {
        Block::Section { title, parts } => {
            format!("### {}\n", escape(&format!("{title}: {}", parts.join(", ")), SENTENCE))
        }
        Block::Field { name, lines } => {
            let lines: Vec<String> = lines.iter().map(|line| escape(line, SENTENCE)).collect();
            format!("- **{}**: {}\n", escape(name, CELL), lines.join("<br>"))
        }
        Block::Path { name, path, about } => {
            let text = format!("{path}{about}");
            format!("- **{}**: {}\n", escape(name, CELL), escape(&text, SENTENCE))
        }
        Block::Paragraph(text) => format!("{}\n", escape(text, SENTENCE)),
        Block::Table(table) => markdown_table(table, CELL),
        Block::Folded { title, table } => {
            details(&escape(title, TEXT), &markdown_table(table, TEXT))
        }
        Block::List { title, items } => {
            let items = items.iter().map(|item| format!("- {}\n", escape(item, SENTENCE)));
            format!("**{title}**\n\n{}", items.collect::<String>())
        }
        Block::Remark { kind, about, text, hint, .. } => {
            let about = about.as_ref().map(|about| format!(" ({})", escape(about, CELL)));
            let hint = hint.as_ref().map(|hint| format!(" Hint: {}", escape(hint, SENTENCE)));
            let (about, hint) = (about.unwrap_or_default(), hint.unwrap_or_default());
            format!("- **{kind}**{about}: {}{hint}\n", escape(text, SENTENCE))
        }
        Block::Gap => String::new(),
    }
}

/// A table whose lines of cells are cut at `limit` columns each.
fn markdown_table(table: &DocumentTable, limit: usize) -> String {
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
    let rule = |(_, right): &(String, bool)| if *right { "--:|" } else { "---|" };
    let rules: String = table.columns.iter().map(rule).collect();
    let mut out = format!("{}|{rules}\n", row_of(&names));
    for row in &table.rows {
        let cell = |lines: &Vec<String>| {
            lines.iter().map(|line| escape(line, limit)).collect::<Vec<_>>().join("<br>")
        };
        out.push_str(&row_of(&row.iter().map(cell).collect::<Vec<_>>()));
    }
    out
}

/// A row of cells, each already escaped.
fn row_of<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn details(title: &str, body: &str) -> String {
    format!("\n<details>\n<summary>{title}</summary>\n\n{body}\n</details>\n")
}

/// `text` in at most `limit` columns, such that Markdown, HTML and GitHub see text in it.
///
/// Character references are never markup, not even a table's `|`. A mention, an issue number and
/// a link are found in the rendered text, so a zero-width space breaks those.
fn escape(text: &str, limit: usize) -> String {
    const GAP: &str = "&#8203;";
    let text = truncate(&neutralise(text), limit);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' => out.extend(["@", GAP]),
            '#' => out.extend(["&#35;", GAP]),
            ':' if rest.peek() == Some(&'/') => out.extend([":", GAP]),
            '.' if out.ends_with("www") => out.extend([GAP, "."]),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' | '~' | '$' => {
                out.push_str(&format!("&#{};", c as u32));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::markdown::document;
    use super::super::super::{samples, Report};
    use super::*;

    #[test]
    fn what_acts_in_markdown_is_escaped() {
        assert_eq!(
            escape("a|b`c*_\n<b>&@me #1", 80),
            "a&#124;b&#96;c&#42;&#95; &lt;b&gt;&amp;@&#8203;me &#35;&#8203;1"
        );
        assert_eq!(escape("http://a www.b", 80), "http:&#8203;//a www&#8203;.b");
    }

    fn render(report: &Report) -> String {
        document(report).markdown()
    }

    #[test]
    fn a_report_stays_below_github_s_limit() {
        for (name, report) in samples::all() {
            assert!(render(&report).chars().count() < 65_536, "{name}");
        }
        let mut many = samples::hostile();
        for rows in [9, 40] {
            many.tasks = vec![many.tasks[0].clone(); rows];
            let text = render(&many);
            assert!(text.contains("left out for length"), "{rows}");
            assert!(text.chars().count() < 65_536, "{rows}");
        }
    }

    #[test]
    fn a_report_stays_below_the_limit_of_a_job_s_summary() {
        const MOST_BYTES: usize = 1 << 20; // $GITHUB_STEP_SUMMARY: 1 MiB per step
        let mut wide = samples::preserved();
        // Four bytes each: the most that a character can have.
        wide.tasks[0].notes[0].message = "🙂".repeat(100_000);
        let note = wide.tasks[0].notes[0].clone();
        wide.tasks[0].notes = vec![note; 200];
        let text = render(&wide);
        assert!(text.len() > text.chars().count() * 2, "the characters are wide");
        assert!(text.chars().count() < 65_536 && text.len() < MOST_BYTES, "{}", text.len());
        assert!(MOST_CHARACTERS * 4 + LEFT_OUT.len() < MOST_BYTES);
        for (name, report) in samples::all() {
            assert!(render(&report).len() < MOST_BYTES, "{name}");
        }
    }
}
