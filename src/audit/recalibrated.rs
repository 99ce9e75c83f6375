//! The `recalibrated` field of the rows: σ with one temperature that is fitted on another split.

use super::splits::SECONDARY_SPLIT;
use super::Gate;
use crate::check::Budget;
use crate::recalibration::{fit, Scores};
use crate::report::schema::{RecalibratedSigma, TaskRow};

/// Scores of a split that was run to its end.
pub(super) struct SplitScores {
    /// Index of its report row.
    pub(super) row: usize,
    /// Scores, which give σ at any temperature.
    pub(super) scores: Scores,
}

/// Fits a temperature on a secondary split, validation if possible, and sets `recalibrated` in the
/// rows of the other splits. Without a secondary split there is nothing to fit on.
pub(super) fn recalibrate_rows(splits: &[SplitScores], gate: &Gate, rows: &mut [TaskRow]) {
    let secondary = || splits.iter().filter(|split| !rows[split.row].gates);
    let validation = secondary().find(|split| rows[split.row].split == SECONDARY_SPLIT);
    let Some(fitted) = validation.or_else(|| secondary().next()) else { return };
    let found = fit(&fitted.scores, gate.statistic);
    let fitted_on = rows[fitted.row].split.clone();
    let data = rows[fitted.row].data_sha256.clone();
    let mut used = false;
    for split in splits {
        let row = &mut rows[split.row];
        // On the data that it was fitted on, σ would be too small.
        if split.row == fitted.row || row.data_sha256 == data {
            continue;
        }
        used = true;
        let sums = split.scores.at(found.temperature);
        let budget = Budget::for_part(&gate.bound_of(row.gates), row.n, split.scores.examples());
        row.undefined.remove("recalibrated");
        row.recalibrated = sums.sigma_of(gate.statistic).map(|sigma| RecalibratedSigma {
            temperature: found.temperature,
            fitted_on: fitted_on.clone(),
            at_edge: found.at_edge,
            sigma,
            within_bound: budget.allows(sums.spent(gate.statistic)),
        });
    }
    if used {
        let why = "the temperature was fitted on this split";
        rows[fitted.row].undefined.insert("recalibrated".to_owned(), why.to_owned());
    }
}
