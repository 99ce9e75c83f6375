//! What CI shows of a report: a finding for each gate, disagreement and note.

use super::schema::{NoteLevel, Outcome, Report, TaskRow};
use super::summary::{disagreements, row_summary};

/// A finding about a row.
pub(super) struct Finding<'a> {
    pub row: &'a TaskRow,
    /// A word that `audit explain` explains, such as `not-preserved`.
    pub code: &'a str,
    pub kind: FindingKind,
    /// What was found, in a sentence or two.
    pub text: String,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FindingKind {
    /// The verdict of a gate, or of a split that could not be run.
    Verdict,
    /// A split that gives another verdict than the one that gates.
    Disagreement,
    /// A note or a warning of a row.
    Note(NoteLevel),
}

/// The verdicts, then splits that disagree, then the notes of each row, warnings first.
pub(super) fn findings(report: &Report) -> Vec<Finding<'_>> {
    let verdicts = report.tasks.iter().filter(|row| row.gates || row.verdict == Outcome::Error);
    let verdicts = verdicts.map(|row| Finding {
        row,
        code: match row.verdict {
            Outcome::Preserved => "preserved",
            Outcome::NotPreserved => "not-preserved",
            Outcome::Error => "could-not-run",
        },
        kind: FindingKind::Verdict,
        text: row_summary(row),
        hint: row.error.as_ref().and_then(|error| error.hint.as_deref()),
    });
    let disagreements = disagreements(report).into_iter().map(|(row, text)| {
        let (code, kind) = ("splits-disagree", FindingKind::Disagreement);
        Finding { row, code, kind, text, hint: None }
    });
    let notes = report.tasks.iter().flat_map(|row| {
        row.notes_by_weight().into_iter().map(move |note| Finding {
            row,
            code: &note.code,
            kind: FindingKind::Note(note.level),
            text: note.message.clone(),
            hint: note.hint.as_deref(),
        })
    });
    verdicts.chain(disagreements).chain(notes).collect()
}
