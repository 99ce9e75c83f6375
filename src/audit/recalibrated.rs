//! What one temperature would make of σ: fitted on one split of the run, told of the others.

use super::splits::SECONDARY_SPLIT;
use super::Gate;
use crate::check::Budget;
use crate::recalibration::{fit, Scores};
use crate::report::schema::{RecalibratedSigma, TaskRow};

/// The scores of a split that was run whole.
pub(super) struct Curve {
    /// Its row of the report.
    pub(super) row: usize,
    /// What σ is at any temperature.
    pub(super) scores: Scores,
}

/// Fits a temperature on a split beside the gate, validation if it is one of them, and puts what it
/// makes of σ into the rows of the others. Where no split was run beside the gate, none is fitted.
pub(super) fn recalibrate_rows(curves: &[Curve], gate: &Gate, rows: &mut [TaskRow]) {
    let beside = || curves.iter().filter(|curve| !rows[curve.row].gates);
    let named = beside().find(|curve| rows[curve.row].split == SECONDARY_SPLIT);
    let Some(fitted) = named.or_else(|| beside().next()) else { return };
    let found = fit(&fitted.scores, gate.statistic);
    let fitted_on = rows[fitted.row].split.clone();
    let data = rows[fitted.row].data_sha256.clone();
    let mut told = false;
    for curve in curves {
        let row = &mut rows[curve.row];
        // The same data, also under another name, would flatter itself.
        if curve.row == fitted.row || row.data_sha256 == data {
            continue;
        }
        told = true;
        let sums = curve.scores.at(found.temperature);
        let budget = Budget::new(&gate.bound_of(row.gates), row.n);
        row.undefined.remove("recalibrated");
        row.recalibrated = sums.sigma_of(gate.statistic).map(|sigma| RecalibratedSigma {
            temperature: found.temperature,
            fitted_on: fitted_on.clone(),
            at_edge: found.at_edge,
            sigma,
            within_bound: budget.allows(sums.spent(gate.statistic)),
        });
    }
    if told {
        let why = "the temperature was fitted on this split";
        rows[fitted.row].undefined.insert("recalibrated".to_owned(), why.to_owned());
    }
}
