//! The bound that gates, from the policy or from the student's record.

use anyhow::{Context, Result};

use super::Classifier;
use crate::check::{AuditedExamples, Bound, RecordError, StudentRecord};
use crate::confidence::{ConfidenceKind, PairError, PublishedDifferences, Statistic};
use crate::config::{BoundSource, Settings};
use crate::error::{message_and_hint, Diagnostic};

/// The bound in force and its origin.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The bound of the gating split.
    pub bound: Bound,
    /// Origin of the bound, for the report.
    pub origin: String,
    /// The statistic that gates.
    pub statistic: Statistic,
    /// The confidence that gates.
    pub kind: ConfidenceKind,
    /// N of the gating split.
    n: usize,
}

impl Gate {
    /// The gate of `settings`: the policy's bound, or the student's with `--bound from-student`.
    ///
    /// # Errors
    /// A record that contradicts itself; `--bound from-student` for a student whose record has no
    /// bound.
    pub fn new(settings: &Settings, record: Option<&StudentRecord>, n: usize) -> Result<Self> {
        let (bound, origin) = match settings.bound_source {
            BoundSource::Policy => (settings.bound, settings.bound_origin.clone()),
            BoundSource::FromStudent => {
                (student_bound(settings, record, n)?, "student's distillation.json".into())
            }
        };
        let (statistic, kind) = (settings.statistic, settings.confidence);
        Ok(Gate { bound, origin, statistic, kind, n })
    }

    /// A gate with a fixed κ.
    #[cfg(test)]
    pub fn fixed(kappa: f64, statistic: Statistic, kind: ConfidenceKind, n: usize) -> Self {
        let bound = Bound::new(crate::check::BoundPolicy::Kappa(kappa), 0.0, 1.0).unwrap();
        Gate { bound, origin: "test".to_owned(), statistic, kind, n }
    }

    /// The gate for `n` examples of `student`. A record that cannot be read is an error only if it
    /// gates.
    ///
    /// # Errors
    /// As [`Gate::new`]; a gating record that cannot be read.
    pub fn of(settings: &Settings, student: &Classifier, n: usize) -> Result<Self> {
        match student.record() {
            Err(error) if settings.bound_source == BoundSource::FromStudent => {
                let (message, hint) = message_and_hint(error);
                Err(Diagnostic { hint, ..Diagnostic::failure(message) }.into())
            }
            record => Gate::new(settings, record.unwrap_or(None), n),
        }
    }

    /// Fails before the models are run if the statistic cannot be defined for examples with these
    /// `labels` (N), of `count` kinds.
    ///
    /// # Errors
    /// The published statistic without two labels, or without a label of every example.
    pub fn require_labels(&self, count: usize, labels: &[Option<u32>]) -> Result<()> {
        if self.statistic == Statistic::Published {
            PublishedDifferences::require_labels(count, labels)
                .map_err(|reason| PairError::PublishedUndefined { reason })?;
        }
        Ok(())
    }

    /// The bound for a split. A secondary split has the κ of the gating split, since β is a sum over
    /// that split.
    pub fn bound_of(&self, gates: bool) -> Bound {
        match gates {
            true => self.bound,
            false => self.bound.spread_over(self.n),
        }
    }
}

/// The bound in the student's record, for `n` examples.
fn student_bound(settings: &Settings, record: Option<&StudentRecord>, n: usize) -> Result<Bound> {
    let none = || {
        Diagnostic::failure(
            "the student has no bound of its own: its distillation.json is missing or records none",
        )
        .hint("use --bound policy with --kappa, --beta or --beta-per-example")
    };
    let record = record.ok_or_else(none)?;
    let split = settings.split.as_deref().unwrap_or("train");
    let bound =
        match record.bound_for(n, audited(settings, split)) {
            Err(RecordError::Uncounted) => return Err(Diagnostic::failure(
                "the student's distillation.json records a summed beta without the number of \
                 examples, and this is not the whole training split",
            )
            .hint(
                "record `loss_reached.examples` or `beta_per_example`, or audit the training split",
            )
            .into()),
            other => other.context("the student's distillation.json")?,
        };
    Ok(bound.ok_or_else(none)?)
}

/// Whether the sums of a student's record apply to `split`.
pub(super) fn audited(settings: &Settings, split: &str) -> AuditedExamples {
    match settings.limit.is_none() && split == "train" {
        true => AuditedExamples::TrainingSplit,
        false => AuditedExamples::OtherExamples,
    }
}
