//! Notes on the verdict of a tune.

use crate::check::{Code, Note};
use crate::report::schema::{Outcome, TaskRow};
use crate::report::tuning::Tuning;

/// The notes of `report`; `row` is the audit of the written winner, whose σ was `sigma` in its trial.
pub(super) fn notes(report: &Tuning, row: &TaskRow, sigma: f64) -> Vec<Note> {
    let mut notes = Vec::new();
    let (winner, default) = (&report.winner, &report.default);
    if let (Some(mean), true) = (winner.mean, report.verdict == Outcome::Preserved) {
        let seeds = winner.seeds.len();
        if mean.preserved < seeds {
            let preserved = mean.preserved;
            let why =
                format!("the winner's settings keep σ within κ with {preserved} of {seeds} seeds");
            let hint = "the checkpoint is as audited; do not expect it of the next training";
            notes.push(Note::new(Code::LuckySeed, why).hint(hint));
        }
    }
    if let (Some(winner), Some(default)) = (winner.mean, default.mean) {
        let least = default.unseen_accuracy - report.epsilon;
        if winner.unseen_accuracy < least {
            notes.push(Note::new(Code::UnseenAccuracy, format!(
                    "on the {} examples that the search did not see, the winner's accuracy is {:.4} \
                     and the default's {:.4} (means of {} and {} seeds): more than ε = {} is lost",
                    report.unseen,
                    winner.unseen_accuracy,
                    default.unseen_accuracy,
                    winner.seeds,
                    default.seeds,
                    report.epsilon
                )).hint("the accuracy on the seen part is of a choice among many trials"));
        }
    }
    if let Some(audited) = row.gating_sigma().filter(|audited| (audited - sigma).abs() > 1e-6) {
        let why = format!("the written winner has σ {audited:.6}, and its trial had {sigma:.6}");
        let hint = "the verdict is of the written one; report this";
        notes.push(Note::new(Code::WinnerDiffers, why).hint(hint));
    }
    notes.extend(row.notes.iter().cloned());
    notes
}
