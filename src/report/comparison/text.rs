//! A comparison for a terminal: the verdict, what moved in each row, what changed.

use super::super::display::{columns, neutralise, pad, pad_left, truncate, truncate_start};
use super::super::numbers::{chosen, signed, ABSENT};
use super::super::schema::WorstInput;
use super::super::summary::verdict_word;
use super::super::text::page::{verdict_style, Page, BOLD, DIM, INDENT, LABEL, YELLOW};
use super::super::RenderOptions;
use super::row::Line;
use super::{Change, Compared, ComparedRow, Comparison, ComparisonVerdict};

/// Characters of a hash that are shown; the JSON has all.
const HASH_SHOWN: usize = 12;

/// The whole text.
pub(in super::super) fn render(comparison: &Comparison, options: &RenderOptions) -> String {
    let mut page = Page::new(options);
    let (word, rows) = comparison.headline();
    page.parts(style(comparison.verdict), word, &[rows]);
    for (name, report) in [("old", &comparison.old), ("new", &comparison.new)] {
        source(&mut page, name, report);
    }
    page.field("limits", &limits(comparison));
    if let Some(rows) = comparison.new_rows() {
        page.field("new rows", &rows);
    }
    for row in &comparison.rows {
        page.blank();
        section(&mut page, row);
    }
    changes(&mut page, &comparison.changes);
    if !comparison.warnings.is_empty() {
        page.blank();
    }
    for warning in &comparison.warnings {
        let place = warning.of.as_ref().map(|of| format!("{of}: ")).unwrap_or_default();
        page.remark(INDENT, YELLOW, "warning", &format!("{place}{}", warning.message));
    }
    page.finish()
}

/// The colour of a verdict.
fn style(verdict: ComparisonVerdict) -> anstyle::Style {
    verdict_style(verdict.outcome())
}

fn source(page: &mut Page, name: &str, report: &Compared) {
    let verdict = verdict_word(report.verdict);
    let about = neutralise(&format!(" ({verdict}, {}, {})", report.version, report.platform));
    let room = page.width.saturating_sub(INDENT + LABEL);
    // The rest is the file's, whose end tells the most.
    let about = truncate(&about, room * 2 / 3);
    let file = truncate_start(&neutralise(&report.source), room - columns(&about));
    let about = page.paint(DIM, &about);
    page.line(&format!("{}{}{file}{about}", " ".repeat(INDENT), pad(name, LABEL)));
}

/// What may move how far, in words.
pub(super) fn limits(comparison: &Comparison) -> String {
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

fn section(page: &mut Page, row: &ComparedRow) {
    page.parts(BOLD, &row.name(), &[outcomes(row), format!("({})", gate(row))]);
    let lines = row.lines();
    if !lines.is_empty() {
        table(page, &lines);
    }
    let (kind, color) = match row.verdict {
        Some(verdict @ ComparisonVerdict::Regression) => ("regression", style(verdict)),
        Some(verdict) => ("not comparable", style(verdict)),
        None => return worst(page, row),
    };
    for reason in &row.reasons {
        page.remark(INDENT, color, kind, reason);
    }
    worst(page, row);
}

/// Whether the verdict counts, and where it did and no longer does.
pub(super) fn gate(row: &ComparedRow) -> &'static str {
    match (row.gates, row.gated) {
        (true, _) => "gates",
        (false, true) => "gated before",
        (false, false) => "does not gate",
    }
}

/// `PRESERVED → NOT PRESERVED`, `PRESERVED` twice as one.
pub(super) fn outcomes(row: &ComparedRow) -> String {
    match (row.old_outcome, row.new_outcome) {
        (Some(old), Some(new)) if old == new => format!("{} as before", verdict_word(new)),
        (Some(old), Some(new)) => format!("{} → {}", verdict_word(old), verdict_word(new)),
        (None, Some(new)) => format!("{}, new", verdict_word(new)),
        (Some(old), None) => format!("{}, gone", verdict_word(old)),
        (None, None) => ABSENT.to_owned(),
    }
}

fn table(page: &mut Page, lines: &[Line]) {
    let header = ["", "old", "new", "change"].map(str::to_owned);
    let all: Vec<&Line> = std::iter::once(&header).chain(lines).collect();
    let width = |column: usize| all.iter().map(|l| columns(&l[column])).max().unwrap_or(0);
    let widths = [LABEL - 2, width(1), width(2), width(3)];
    for (position, cells) in all.iter().enumerate() {
        let mut line = format!("{}{}", " ".repeat(INDENT), pad(&cells[0], widths[0]));
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            line.push_str("  ");
            line.push_str(&pad_left(cell, width));
        }
        match position {
            0 => page.line(&page.paint(DIM, line.trim_end())),
            _ => page.line(&line),
        }
    }
}

/// The inputs that entered the list of the worst, and those that left it.
fn worst(page: &mut Page, row: &ComparedRow) {
    let lists = [("now among the worst", &row.worst_entered), ("no longer", &row.worst_left)];
    for (title, inputs) in lists.into_iter().filter(|(_, inputs)| !inputs.is_empty()) {
        let title = page.paint(BOLD, title);
        page.line(&format!("{}{title}", " ".repeat(INDENT)));
        for input in inputs {
            let start = format!("{:>8}  {}", input.index, signed(input.difference));
            let room = page.width.saturating_sub(2 * INDENT + columns(&start));
            page.line(&format!(
                "{}{start}  {}",
                " ".repeat(INDENT),
                truncate(&quoted(input), room)
            ));
        }
    }
}

fn quoted(input: &WorstInput) -> String {
    let texts = [&input.text, &input.pair];
    let texts: Vec<String> =
        texts.into_iter().flatten().map(|text| format!("“{}”", neutralise(text))).collect();
    match texts.is_empty() {
        true => "(no text given)".to_owned(),
        false => texts.join(" + "),
    }
}

fn changes(page: &mut Page, changes: &[Change]) {
    if changes.is_empty() {
        return;
    }
    page.blank();
    let title = page.paint(BOLD, "changed");
    page.line(&title);
    for change in changes {
        let text = format!("{}: {}", in_words(change), from_to(change));
        page.line(&format!(
            "{}{}",
            " ".repeat(INDENT),
            truncate(&neutralise(&text), page.width - INDENT)
        ));
    }
}

/// `student weights of sst2`.
pub(super) fn in_words(change: &Change) -> String {
    let of = change.of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
    format!("{}{of}", change.what)
}

/// `cdcdcdcdcdcd… → 010101010101…`.
pub(super) fn from_to(change: &Change) -> String {
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
