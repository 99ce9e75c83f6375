//! The row of a split that could not be audited.

use crate::config::Settings;
use crate::error::message_and_hint;
use crate::report::schema::{Outcome, RowError, TaskRow};

/// The row of `split` with its error; every number is null.
pub fn failed_row(settings: &Settings, split: &str, gates: bool, error: &anyhow::Error) -> TaskRow {
    let (message, hint) = message_and_hint(error);
    TaskRow {
        task: settings.task.name.clone(),
        split: split.to_owned(),
        gates,
        verdict: Outcome::Error,
        error: Some(RowError { message, hint }),
        statistic: settings.statistic,
        confidence: settings.confidence,
        alpha: settings.bound.alpha(),
        gamma: settings.bound.gamma(),
        bound_origin: settings.bound_origin.clone(),
        undefined: [("*".to_owned(), "the audit could not be run".to_owned())].into(),
        device: settings.device.clone(),
        seed: settings.seed,
        ..TaskRow::default()
    }
}
