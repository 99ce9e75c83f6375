//! What the words of a report mean: docs/glossary.md, read once.
//!
//! The file is the text's only home. `## ` begins a group and `### ` a word; a first line
//! `Also: …` names the word's other names; a line that is indented by four spaces is a formula.

use std::sync::OnceLock;

use super::RenderOptions;
use crate::task::spelling::distance;

/// The file.
const TEXT: &str = include_str!("../../docs/glossary.md");

/// Nearest words that an unknown one is answered with.
const NEAREST: usize = 3;

/// Greek letters, and the names that they go by in code.
const GREEK: [(char, &str); 8] = [
    ('α', "alpha"),
    ('β', "beta"),
    ('γ', "gamma"),
    ('δ', "delta"),
    ('κ', "kappa"),
    ('σ', "sigma"),
    ('ς', "sigma"), // how a Σ behind letters is lowered
    ('τ', "tau"),
];

/// A word and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The word as a report writes it: `σ`, `vacuous`.
    pub name: String,
    /// What it is also called.
    pub aliases: Vec<String>,
    /// Its group: `Verdicts`, `Notes and warnings`.
    pub group: String,
    /// The first sentence of `body`.
    pub summary: String,
    /// All that is said, in order.
    pub body: Vec<Paragraph>,
}

/// A part of an explanation. Code is in backticks; there is no other markup and no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paragraph {
    /// Prose, in one line.
    Text(String),
    /// Prose with a heading of its own, such as `What to do` or `Source`.
    Named(String, String),
    /// A formula or a criterion; its lines as they stand.
    Formula(String),
}

/// Headings that a paragraph may begin with.
const NAMES: [&str; 2] = ["What to do", "Source"];

/// Every word, in the order of the file.
pub fn glossary() -> &'static [Entry] {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    ENTRIES.get_or_init(|| parse(TEXT))
}

/// What `word` means, whatever its case; `_`, `-` and space are alike, and so are a Greek letter and
/// its name. A field is found by its path too: `teacher.accuracy`.
pub fn explain(word: &str) -> Option<&'static Entry> {
    let find = |word: &str| {
        let key = key(word);
        glossary().iter().find(|entry| entry.names().any(|name| self::key(name) == key))
    };
    find(word).or_else(|| find(word.rsplit_once('.')?.1))
}

/// The words that `word` may be a misspelling or a part of, nearest first. One letter is as near to
/// any other, so it is none's misspelling: it may be what a word begins with.
pub fn nearest(word: &str) -> Vec<&'static str> {
    let word = key(word);
    let far = |name: &str| {
        let name = key(name);
        let (slips, part) = match word.chars().count() {
            0 => (None, false),
            1 => (None, name.starts_with(&word)),
            2 => (distance(&word, &name), false),
            _ => (distance(&word, &name), name.contains(&word)),
        };
        slips.or(part.then_some(usize::MAX))
    };
    let mut found: Vec<(usize, &str)> = glossary()
        .iter()
        .filter_map(|entry| Some((entry.names().filter_map(far).min()?, entry.name.as_str())))
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    found.into_iter().take(NEAREST).map(|(_, name)| name).collect()
}

/// What each of `entries` means, for a terminal.
pub fn entries_text(entries: &[&Entry], options: &RenderOptions) -> String {
    super::text::entries(entries, options)
}

/// A line for every word, by group, for a terminal.
pub fn overview_text(options: &RenderOptions) -> String {
    super::text::overview(glossary(), options)
}

impl Entry {
    /// The word and what it is also called.
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }
}

/// What two spellings of one word have in common.
fn key(word: &str) -> String {
    let mut key = String::new();
    for c in word.to_lowercase().chars().filter(|c| c.is_alphanumeric()) {
        match GREEK.iter().find(|(letter, _)| *letter == c) {
            Some((_, name)) => key.push_str(name),
            None => key.push(c),
        }
    }
    key
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for group in text.split("\n## ").skip(1) {
        let (name, words) = group.split_once('\n').unwrap_or((group, ""));
        entries.extend(words.split("\n### ").skip(1).map(|word| entry(name, word)));
    }
    entries
}

fn entry(group: &str, text: &str) -> Entry {
    let (name, text) = text.split_once('\n').unwrap_or((text, ""));
    let mut parts: Vec<&str> =
        text.split("\n\n").map(|part| part.trim_matches('\n')).filter(|p| !p.is_empty()).collect();
    let aliases = match parts.first().and_then(|part| part.strip_prefix("Also: ")) {
        Some(names) => {
            parts.remove(0);
            names.split(", ").map(str::to_owned).collect()
        }
        None => Vec::new(),
    };
    let body: Vec<Paragraph> = parts.into_iter().map(paragraph).collect();
    let summary = match body.first() {
        Some(Paragraph::Text(text)) => first_sentence(text).to_owned(),
        _ => String::new(),
    };
    Entry {
        name: name.trim_matches('`').to_owned(),
        aliases,
        group: group.to_owned(),
        summary,
        body,
    }
}

fn paragraph(text: &str) -> Paragraph {
    if text.starts_with("    ") {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        return Paragraph::Formula(lines.join("\n"));
    }
    let named =
        NAMES.iter().find_map(|name| Some((name, text.strip_prefix(name)?.strip_prefix(": ")?)));
    match named {
        Some((name, text)) => Paragraph::Named((*name).to_owned(), without_links(text)),
        None => Paragraph::Text(without_links(text)),
    }
}

/// Up to the first full stop that a space follows.
fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// Puts the place that a link leads to, from the repository's root, where the link is.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let parts = link.split_once("](").and_then(|(words, link)| {
            let (target, after) = link.split_once(')')?;
            Some((words, target, after))
        });
        let Some((words, target, after)) = parts else {
            out.push_str(before);
            out.push('[');
            rest = link;
            continue;
        };
        let place = match target.strip_prefix("../") {
            Some(path) => path.to_owned(),
            None => format!("docs/{target}"),
        };
        out.push_str(before);
        match place.contains(words) {
            true => out.push_str(&place),
            false => out.push_str(&format!("{words} ({place})")),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests;
