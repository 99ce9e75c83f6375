//! The page of a tune: σ against accuracy for every trial.

use super::super::tuning::Tuning;

/// The whole page.
pub(in super::super) fn tuning(report: &Tuning) -> String {
    report.task.clone()
}
