//! A verification for people.

use serde_json::Value;

use super::super::display::truncate;
use super::super::document::{Block, Document};
use super::super::numbers::counted;
use super::super::summary::verdict_word;
use super::{ValueDifference, Verification, VerifiedRow};

/// Differences that are listed.
const SHOWN: usize = 20;

/// Columns of a value that is listed.
const VALUE: usize = 60;

/// The whole report.
pub(in super::super) fn document(report: &Verification) -> Document {
    let mut document =
        Document::new(report.verdict.outcome(), report.verdict.word(), report.names());
    document.push(Block::Field { name: "differs", lines: listed(&report.differences) });
    document.push(Block::Field { name: "why", lines: report.reasons.clone() });
    document.field("report", report.source.clone());
    document.push(Block::Field { name: "it says", lines: report.rows.iter().map(said).collect() });
    document.push(Block::Field { name: "compared", lines: report.checked.clone() });
    document.push(Block::Field { name: "left out", lines: report.not_checked.clone() });
    if let Some(tolerance) = report.tolerance {
        document.field("tolerance", format!("numbers count as equal within {tolerance:e}"));
    }
    if let Some(sample) = report.sample {
        let run = counted(sample.run, "example", "examples");
        document.field("sample", format!("{run} were run again, drawn by seed {}", sample.seed));
    }
    document
}

/// `sst2/train: PRESERVED, σ 0.0446 ≤ κ 0.0500, 67,349 examples; β … set by default`.
fn said(row: &VerifiedRow) -> String {
    let gate = if row.gates { "" } else { " (does not gate)" };
    let VerifiedRow { task, split, figures, bound, .. } = row;
    format!("{task}/{split}: {}{gate}, {figures}; {bound}", verdict_word(row.verdict))
}

/// `tasks[0].sigma: report 0.0335, now 0.0441`, the first of them.
fn listed(differences: &[ValueDifference]) -> Vec<String> {
    let line = |it: &ValueDifference| {
        format!("{}: report {}, now {}", it.path, written(&it.report), written(&it.now))
    };
    let mut lines: Vec<String> = differences.iter().take(SHOWN).map(line).collect();
    if differences.len() > SHOWN {
        let more = differences.len() - SHOWN;
        lines.push(format!("and {more} more, which --format json lists"));
    }
    lines
}

fn written(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        value => truncate(&value.to_string(), VALUE),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{samples, RenderOptions};
    use super::super::rows_of_audit;
    use super::*;

    #[test]
    fn the_first_line_is_the_word_with_the_rows_it_is_about() {
        let rows = rows_of_audit(&samples::preserved());
        let new = || Verification::new("report.json".to_owned(), rows.clone());
        let text = |it: Verification| document(&it.decided()).text(&RenderOptions::default());
        let verified = text(new());
        assert!(verified.starts_with("verified  sst2/train  sst2/validation\n"), "{verified}");
        let says = "  it says     sst2/train: PRESERVED, σ 0.0446 ≤ κ 0.0500, 67,349 examples; β";
        assert!(verified.contains(says), "{verified}");
        let mut differs = new();
        differs.differs("tasks[1].sigma".to_owned(), 0.0335, 0.0441);
        let differs = text(differs);
        assert!(differs.starts_with("differs  sst2/validation\n"), "{differs}");
        assert!(differs.contains("  differs     tasks[1].sigma: report 0.0335, now 0.0441\n"));
        let mut cannot = new();
        cannot.reasons.push("there is no folder `x\u{1b}[2J`".to_owned());
        let cannot = text(cannot);
        assert!(cannot.starts_with("cannot  sst2/train") && !cannot.contains('\u{1b}'), "{cannot}");
    }

    #[test]
    fn a_long_list_of_differences_is_cut() {
        let mut it = Verification::new("report.json".to_owned(), Vec::new());
        for i in 0..25 {
            it.differs(format!("tasks[0].course[{i}].spent_share"), 1, 2);
        }
        let lines = listed(&it.differences);
        assert_eq!(lines.len(), SHOWN + 1);
        assert_eq!(lines[SHOWN], "and 5 more, which --format json lists");
    }
}
