//! `audit explain` for a terminal: a word's explanation, or all words in a line each.

use super::super::display::{columns, pad, wrap};
use super::super::glossary::{Entry, Paragraph};
use super::super::RenderOptions;
use super::page::{Page, BOLD, DIM, INDENT};

/// What each entry means, one below the other.
pub(in super::super) fn entries(entries: &[&Entry], options: &RenderOptions) -> String {
    let mut page = Page::new(options);
    for (position, entry) in entries.iter().enumerate() {
        if position > 0 {
            page.blank();
        }
        entry_of(&mut page, entry);
    }
    page.finish()
}

fn entry_of(page: &mut Page, entry: &Entry) {
    let name = page.paint(BOLD, &entry.name);
    page.line(&name);
    if !entry.aliases.is_empty() {
        page.remark(INDENT, DIM, "also", &entry.aliases.join(", "));
    }
    for paragraph in &entry.body {
        page.blank();
        match paragraph {
            Paragraph::Text(text) => indented(page, INDENT, text),
            Paragraph::Named(name, text) => page.remark(INDENT, BOLD, name, text),
            Paragraph::Formula(lines) => {
                lines.lines().for_each(|line| indented(page, 2 * INDENT, line));
            }
        }
    }
}

fn indented(page: &mut Page, indent: usize, text: &str) {
    for line in wrap(text, page.prose_width() - indent) {
        page.line(&format!("{}{line}", " ".repeat(indent)));
    }
}

/// Every word with its first sentence, by group.
pub(in super::super) fn overview(entries: &[Entry], options: &RenderOptions) -> String {
    let mut page = Page::new(options);
    let names = entries.iter().map(|entry| columns(&entry.name)).max().unwrap_or(0) + 2;
    for group in entries.chunk_by(|a, b| a.group == b.group) {
        let title = page.paint(BOLD, &group[0].group);
        page.line(&title);
        for entry in group {
            let mut start = pad(&entry.name, names);
            for line in wrap(&entry.summary, page.prose_width() - INDENT - names) {
                page.line(&format!("{}{start}{line}", " ".repeat(INDENT)));
                start = " ".repeat(names);
            }
        }
        page.blank();
    }
    page.line("`audit explain WORD` says more of each.");
    page.finish()
}
