//! A comparison for people: the verdict, what moved in each row, what changed.
//!
//! Text has a section for each row, Markdown a table of all rows and the rest folded away.

use super::super::document::{Block, Document, DocumentTable, Layout};
use super::super::figures::compared;
use super::super::numbers::{chosen, signed, ABSENT};
use super::super::schema::WorstInput;
use super::super::summary::verdict_word;
use super::super::text::page::{verdict_style, YELLOW};
use super::{
    ComparedReport, ComparedRow, Comparison, ComparisonVerdict, ManifestChange, MovedFigure,
};

/// Characters of a hash that are shown; the JSON has all.
const HASH_SHOWN: usize = 12;

/// The whole comparison.
pub(in super::super) fn document(comparison: &Comparison) -> Document {
    let (word, rows) = comparison.headline();
    let mut document = Document::new(comparison.verdict.outcome(), word, vec![rows]);
    sources(&mut document, comparison);
    document.push_in(Layout::Markdown, Block::Table(overview(comparison)));
    for row in &comparison.rows {
        section(&mut document, row);
    }
    if !comparison.changes.is_empty() {
        document.push_in(Layout::Text, Block::Gap);
        let item = |change: &ManifestChange| format!("{}: {}", in_words(change), from_to(change));
        let items = comparison.changes.iter().map(item).collect();
        document.push_in(Layout::Text, Block::List { title: "changed", items });
    }
    if !comparison.warnings.is_empty() {
        document.push_in(Layout::Text, Block::Gap);
    }
    for warning in &comparison.warnings {
        let (about, text) = (warning.of.clone(), warning.message.clone());
        let kind = "warning";
        document.push(Block::Remark { kind, style: YELLOW, about, text, hint: None });
    }
    folded(&mut document, comparison);
    document
}

/// The two reports, how far a figure may move, and rows that there is nothing to compare with.
fn sources(document: &mut Document, comparison: &Comparison) {
    let (limits, new_rows) = (limits(comparison), comparison.new_rows());
    let more = new_rows.as_ref().map(|rows| format!(" New rows: {rows}.")).unwrap_or_default();
    let (old, new) = (&comparison.old, &comparison.new);
    let sentence = format!("From {} to {}. Limits: {limits}.{more}", old.source, new.source);
    document.push_in(Layout::Markdown, Block::Paragraph(sentence));
    for (name, ComparedReport { source, verdict, version, platform }) in
        [("old", old), ("new", new)]
    {
        let about = format!(" ({}, {version}, {platform})", verdict_word(*verdict));
        let (name, path) = (name.to_owned(), source.clone());
        document.push_in(Layout::Text, Block::Path { name, path, about });
    }
    for (name, text) in [("limits", Some(limits)), ("new rows", new_rows)] {
        if let Some(text) = text {
            document.push_in(Layout::Text, Block::Field { name, lines: vec![text] });
        }
    }
}

/// What may move how far, in words.
fn limits(comparison: &Comparison) -> String {
    let limits = &comparison.limits;
    let sigma = limits.max_sigma_increase.map(|x| format!("σ may rise by {}", chosen(x)));
    let accuracy = limits.max_accuracy_drop.map(|x| format!("accuracy may fall by {}", chosen(x)));
    let parts: Vec<String> = sigma.into_iter().chain(accuracy).collect();
    match parts.is_empty() {
        true => "none: only a verdict that turns to not preserved, or would under the old κ, is a \
                 regression"
            .to_owned(),
        false => parts.join(", "),
    }
}

/// What moved in one row and why that is a regression or cannot be compared.
fn section(document: &mut Document, row: &ComparedRow) {
    let title = row.name();
    let parts = vec![outcomes(row), format!("({})", gate(row))];
    document.push_in(Layout::Text, Block::Gap);
    document.push_in(Layout::Text, Block::Section { title, parts });
    let mut moves = DocumentTable::new(1..4, &["", "old", "new", "change"]);
    row.lines().into_iter().for_each(|line| moves.row(line));
    if !moves.rows.is_empty() {
        document.push_in(Layout::Text, Block::Table(moves));
    }
    if let Some(verdict) = row.verdict {
        let kind = match verdict {
            ComparisonVerdict::Regression => "regression",
            _ => "not comparable",
        };
        for text in row.reasons.iter().cloned() {
            let (style, about) = (verdict_style(verdict.outcome()), Some(row.name()));
            document.push(Block::Remark { kind, style, about, text, hint: None });
        }
    }
    for (title, inputs) in
        [("now among the worst", &row.worst_entered), ("no longer", &row.worst_left)]
    {
        if !inputs.is_empty() {
            let items = inputs.iter().map(worst_input).collect();
            document.push_in(Layout::Text, Block::List { title, items });
        }
    }
}

fn worst_input(input: &WorstInput) -> String {
    let quoted: Vec<String> = texts(input).iter().map(|text| format!("“{text}”")).collect();
    let quoted = if quoted.is_empty() { "(no text given)".to_owned() } else { quoted.join(" + ") };
    format!("{:>8}  {}  {quoted}", input.index, signed(input.difference))
}

fn texts(input: &WorstInput) -> Vec<String> {
    [&input.text, &input.pair].into_iter().flatten().cloned().collect()
}

/// Every row in a line, with old and new of each figure.
fn overview(comparison: &Comparison) -> DocumentTable {
    let names: Vec<String> = compared().iter().map(|figure| figure.column()).collect();
    let names = names.iter().map(String::as_str).chain(["examples"]);
    let columns: Vec<&str> = ["task", "split", "verdict"].into_iter().chain(names).collect();
    let mut table = DocumentTable::new(3..columns.len(), &columns);
    for row in &comparison.rows {
        let gate = if row.gates { String::new() } else { format!(" ({})", gate(row)) };
        let verdict = format!("{}{gate}", outcomes(row).to_lowercase());
        let figures = row.figures.0.iter().map(|(_, figure)| *figure);
        let figures = figures.chain([MovedFigure::Count(row.n)]).map(|figure| moved(&figure));
        table.row([row.task.clone(), row.split.clone(), verdict].into_iter().chain(figures));
    }
    table
}

/// `0.0446 → 0.0802`, once where it is the same.
fn moved(figure: &MovedFigure) -> String {
    let [old, new, _] = figure.written().map(|text| text.unwrap_or_else(|| ABSENT.to_owned()));
    if old == new {
        new
    } else {
        format!("{old} → {new}")
    }
}

/// Whether the verdict counts, and where it did and no longer does.
fn gate(row: &ComparedRow) -> &'static str {
    match (row.gates, row.gated) {
        (true, _) => "gates",
        (false, true) => "gated before",
        (false, false) => "does not gate",
    }
}

/// `PRESERVED → NOT PRESERVED`, `PRESERVED as before`.
fn outcomes(row: &ComparedRow) -> String {
    match (row.old_outcome, row.new_outcome) {
        (Some(old), Some(new)) if old == new => format!("{} as before", verdict_word(new)),
        (Some(old), Some(new)) => format!("{} → {}", verdict_word(old), verdict_word(new)),
        (None, Some(new)) => format!("{}, new", verdict_word(new)),
        (Some(old), None) => format!("{}, gone", verdict_word(old)),
        (None, None) => ABSENT.to_owned(),
    }
}

/// The worst inputs that entered or left, row by row, and what changed.
fn folded(document: &mut Document, comparison: &Comparison) {
    for row in &comparison.rows {
        let mut table = DocumentTable::new(1..3, &["", "index", "d", "text"]);
        for (how, inputs) in [("entered", &row.worst_entered), ("left", &row.worst_left)] {
            for input in inputs {
                let texts = texts(input);
                let texts = if texts.is_empty() { vec![ABSENT.to_owned()] } else { texts };
                let cells = [how.to_owned(), input.index.to_string(), signed(input.difference)];
                table.rows.push(cells.map(|cell| vec![cell]).into_iter().chain([texts]).collect());
            }
        }
        if !table.rows.is_empty() {
            let title = format!("Worst inputs of {} that entered or left", row.name());
            document.push_in(Layout::Markdown, Block::Folded { title, table });
        }
    }
    let mut table = DocumentTable::new(0..0, &["what", "old → new"]);
    comparison.changes.iter().for_each(|it| table.row([in_words(it), from_to(it)]));
    if !table.rows.is_empty() {
        let title = "What changed".to_owned();
        document.push_in(Layout::Markdown, Block::Folded { title, table });
    }
}

/// `student weights of sst2`.
pub(super) fn in_words(change: &ManifestChange) -> String {
    let of = change.of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
    format!("{}{of}", change.what)
}

/// `cdcdcdcdcdcd… → 010101010101…`.
fn from_to(change: &ManifestChange) -> String {
    let shown =
        |value: &Option<String>| value.as_deref().map_or_else(|| ABSENT.to_owned(), shortened);
    format!("{} → {}", shown(&change.old), shown(&change.new))
}

/// The head of a hash; anything else as it is.
fn shortened(value: &str) -> String {
    match value.len() == 64 && value.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => format!("{}…", &value[..HASH_SHOWN]),
        false => value.to_owned(),
    }
}
