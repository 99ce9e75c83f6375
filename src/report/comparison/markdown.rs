//! A comparison for a pull request: the verdict, a table, and the rest folded away.

use super::super::figures::{compared, ComparedFigure};
use super::super::markdown::{
    details, escape, row_of, shorten, sign, CELL, MOST_CHARACTERS, SENTENCE, TEXT,
};
use super::super::numbers::{signed, ABSENT};
use super::super::schema::WorstInput;
use super::text::{from_to, gate, in_words, limits, outcomes};
use super::{ComparedRow, Comparison, ComparisonVerdict, MovedFigure};

/// The whole text, short enough for a comment.
pub(in super::super) fn render(comparison: &Comparison) -> String {
    let brief = heading(comparison) + &table(comparison) + &remarks(comparison);
    let full = format!("{brief}{}{}", worst(comparison), changes(comparison));
    match full.chars().count() <= MOST_CHARACTERS {
        true => full,
        false => shorten(brief),
    }
}

fn heading(comparison: &Comparison) -> String {
    let sign = sign(comparison.verdict.outcome());
    let (word, rows) = comparison.headline();
    let rows = if rows.is_empty() { rows } else { format!(": {}", escape(&rows, SENTENCE)) };
    let [old, new] =
        [&comparison.old, &comparison.new].map(|report| escape(&report.source, SENTENCE));
    let limits = escape(&limits(comparison), SENTENCE);
    let apart = comparison
        .new_rows()
        .map(|rows| format!(" New rows: {}.", escape(&rows, SENTENCE)))
        .unwrap_or_default();
    format!("## {sign} {word}{rows}\n\nFrom {old} to {new}. Limits: {limits}.{apart}\n\n")
}

fn table(comparison: &Comparison) -> String {
    let figures: Vec<String> = compared().iter().map(ComparedFigure::column).collect();
    let mut header = vec!["task", "split", "verdict"];
    header.extend(figures.iter().map(String::as_str));
    header.push("examples");
    let numbers = "--:|".repeat(header.len() - 3);
    let mut out = format!("{}|---|---|---|{numbers}\n", row_of(&header));
    for row in &comparison.rows {
        out.push_str(&row_of(&cells(row)));
    }
    out
}

fn cells(row: &ComparedRow) -> Vec<String> {
    let gate = if row.gates { String::new() } else { format!(" ({})", gate(row)) };
    let mut cells = vec![
        escape(&row.task, CELL),
        escape(&row.split, CELL),
        format!("{}{gate}", outcomes(row).to_lowercase()),
    ];
    cells.extend(row.figures.0.iter().map(|(_, figure)| moved(figure)));
    cells.push(moved(&MovedFigure::Count(row.n)));
    cells
}

/// `0.0446 → 0.0802`, once where it is the same.
fn moved(figure: &MovedFigure) -> String {
    let [old, new, _] = figure.written();
    arrow(old, new)
}

fn arrow(old: Option<String>, new: Option<String>) -> String {
    let absent = || ABSENT.to_owned();
    match old == new {
        true => new.unwrap_or_else(absent),
        false => format!("{} → {}", old.unwrap_or_else(absent), new.unwrap_or_else(absent)),
    }
}

/// Why it is a regression, why it cannot be compared, what makes it doubtful: a list.
fn remarks(comparison: &Comparison) -> String {
    let mut items = Vec::new();
    for row in &comparison.rows {
        let kind = match row.verdict {
            Some(ComparisonVerdict::Regression) => "regression",
            _ => "not comparable",
        };
        for reason in &row.reasons {
            let name = escape(&row.name(), CELL);
            items.push(format!("- **{kind}** ({name}): {}\n", escape(reason, SENTENCE)));
        }
    }
    for warning in &comparison.warnings {
        let of = warning.of.as_ref().map(|of| format!(" ({})", escape(of, CELL)));
        let message = escape(&warning.message, SENTENCE);
        items.push(format!("- **warning**{}: {message}\n", of.unwrap_or_default()));
    }
    match items.is_empty() {
        true => String::new(),
        false => format!("\n{}", items.concat()),
    }
}

fn worst(comparison: &Comparison) -> String {
    let mut out = String::new();
    for row in &comparison.rows {
        let lists = [("entered", &row.worst_entered), ("left", &row.worst_left)];
        if lists.iter().all(|(_, inputs)| inputs.is_empty()) {
            continue;
        }
        let mut body = row_of(&["", "index", "d", "text"]) + "|---|--:|--:|---|\n";
        for (how, inputs) in lists {
            for input in inputs {
                let cells = [
                    how.to_owned(),
                    input.index.to_string(),
                    signed(input.difference),
                    text(input),
                ];
                body.push_str(&row_of(&cells));
            }
        }
        let title = format!("Worst inputs of {} that entered or left", escape(&row.name(), CELL));
        out.push_str(&details(&title, &body));
    }
    out
}

fn text(input: &WorstInput) -> String {
    let texts = [&input.text, &input.pair];
    let texts: Vec<String> = texts.into_iter().flatten().map(|text| escape(text, TEXT)).collect();
    match texts.is_empty() {
        true => ABSENT.to_owned(),
        false => texts.join("<br>"),
    }
}

fn changes(comparison: &Comparison) -> String {
    if comparison.changes.is_empty() {
        return String::new();
    }
    let mut body = row_of(&["what", "old → new"]) + "|---|---|\n";
    for change in &comparison.changes {
        body.push_str(&row_of(&[escape(&in_words(change), TEXT), escape(&from_to(change), TEXT)]));
    }
    details("What changed", &body)
}
