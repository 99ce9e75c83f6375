//! The row of a split that could not be audited.

use crate::config::Settings;
use crate::error::message_and_hint;
use crate::report::schema::{Outcome, RowError, Skipped, TaskRow};

/// The row of `split` with what kept it from being audited; every number is null.
pub fn failed_row(settings: &Settings, split: &str, gates: bool, error: &anyhow::Error) -> TaskRow {
    let (message, hint) = message_and_hint(error);
    TaskRow { error: Some(RowError { message, hint }), ..empty_row(settings, split, gates) }
}

/// A row without any number.
pub(super) fn empty_row(settings: &Settings, split: &str, gates: bool) -> TaskRow {
    TaskRow {
        task: settings.task.name.clone(),
        split: split.to_owned(),
        gates,
        labels: Vec::new(),
        n: 0,
        of: 0,
        partial: false,
        verdict: Outcome::Error,
        certainty: None,
        examples_run: 0,
        error: None,
        statistic: settings.statistic.to_string(),
        confidence: settings.confidence.to_string(),
        sigma: None,
        sigma_prefix: None,
        sigma_at_least: None,
        sequential: None,
        sigma_centred: None,
        mean_difference: None,
        variants: Vec::new(),
        sigma_interval: None,
        sigma_unseen: None,
        recalibrated: None,
        kappa: None,
        beta: None,
        beta_per_example: None,
        alpha: settings.bound.alpha(),
        gamma: settings.bound.gamma(),
        bound_origin: settings.bound_origin.clone(),
        budget: None,
        spent: None,
        spent_share: None,
        course: Vec::new(),
        exhausted_at: None,
        student_bound: None,
        teacher: None,
        student: None,
        agreement: None,
        agreement_share: None,
        negative_flips: None,
        intervals: None,
        difference: None,
        differences: None,
        confidences: None,
        divergence: None,
        groups: Vec::new(),
        worst: Vec::new(),
        notes: Vec::new(),
        skipped: Skipped::default(),
        undefined: [("*".to_owned(), "the audit could not be run".to_owned())].into(),
        data_sha256: None,
        data_files: Vec::new(),
        data_revision: None,
        device: settings.device.clone(),
        seed: settings.seed,
        seconds: None,
    }
}
