//! Notes on the verdict of a tune.

use crate::check::{Code, Note};
use crate::report::schema::TaskRow;
use crate::report::tuning::{Finalist, Tuning};

/// The notes of `report`; `row` is the audit of the written winner, whose σ was `sigma` in its trial.
pub(super) fn notes(report: &Tuning, row: &TaskRow, sigma: f64) -> Vec<Note> {
    let mut notes = Vec::new();
    notes.extend(lucky_seed(report));
    notes.extend(unseen_accuracy(report));
    if let Some(audited) = row.gating_sigma().filter(|audited| (audited - sigma).abs() > 1e-6) {
        let why = format!("the written winner has σ {audited:.6}, and its trial had {sigma:.6}");
        let hint = "the verdict is of the written one; report this";
        notes.push(Note::new(Code::WinnerDiffers, why).hint(hint));
    }
    notes.extend(row.notes.iter().cloned());
    notes
}

/// The finalists that were feasible by their seed.
fn lucky_seed(report: &Tuning) -> Option<Note> {
    let refuted: Vec<String> = report.refuted().map(|(of, _)| of.trial.to_string()).collect();
    let (why, hint) = match (refuted.as_slice(), report.is_unconfirmed()) {
        ([], _) => return None,
        (_, true) => (
            "the winner is not confirmed: its checkpoint is one of several seeds, and not every seed \
             keeps both constraints"
                .to_owned(),
            how_to_continue(report),
        ),
        (refuted, false) => (
            format!(
                "feasible with one seed and not with every seed: {} {}",
                if refuted.len() == 1 { "trial" } else { "trials" },
                refuted.join(", ")
            ),
            "nothing to do: the winner holds with every seed".to_owned(),
        ),
    };
    Some(Note::new(Code::LuckySeed, why).hint(hint))
}

/// What may find a winner that holds, where no finalist does.
fn how_to_continue(report: &Tuning) -> String {
    let is_finalist = |trial: usize| report.finalists.iter().any(|of| of.trial == trial);
    let untried = report.trials.iter().filter(|of| of.feasible && !is_finalist(of.trial)).count();
    let mut hint = match untried {
        0 => "search on with more trials and a larger `confirm`".to_owned(),
        _ => format!(
            "search on with a larger `confirm`: {untried} more feasible, not trained again yet"
        ),
    };
    hint += "; refuted finalists keep their place in it";
    let breaks_sigma = |of: &&Finalist| {
        of.seeds.iter().any(|seed| seed.figures.as_ref().is_some_and(|f| !f.preserved))
    };
    if report.refuted().any(|(of, _)| breaks_sigma(&of)) {
        hint += "; or search in another folder with a smaller kappa than the one that gates";
    }
    hint
}

/// A winner that loses more than ε where the search did not look.
fn unseen_accuracy(report: &Tuning) -> Option<Note> {
    let (winner, default) = (report.winner.mean?, report.default.mean?);
    if winner.unseen_accuracy >= default.unseen_accuracy - report.epsilon {
        return None;
    }
    let figures = report.winner.seeds.first().and_then(|seed| seed.figures.as_ref());
    let test = figures.and_then(|figures| figures.unseen_test).map(|test| {
        format!(
            "; of the written student the difference from the reference is {:+.4}, from {:+.4} to \
             {:+.4} at level {}: {}",
            test.difference,
            test.lower,
            test.upper,
            test.level,
            test.outcome.as_str()
        )
    });
    let why = format!(
        "on the {} examples that the search did not see, the winner's accuracy is {:.4} and the \
         default's {:.4} (means of {} and {} seeds): more than ε = {} is lost{}",
        report.unseen,
        winner.unseen_accuracy,
        default.unseen_accuracy,
        winner.seeds,
        default.seeds,
        report.epsilon,
        test.unwrap_or_default()
    );
    let hint = "the accuracy on the seen part is of a choice among many trials";
    Some(Note::new(Code::UnseenAccuracy, why).hint(hint))
}
