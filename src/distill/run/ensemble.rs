//! The mean of the probabilities of assistants and student, measured and written as predictions.

use anyhow::{Context, Result};

use super::prepared::Prepared;
use super::Distillation;
use crate::audit::run_options;
use crate::distill::data::evaluated;
use crate::distill::evaluate::Score;
use crate::distill::record::{RecordedEnsemble, RecordedMember};
use crate::distill::saved::JoinedLogits;
use crate::inference::{Logits, Windows};
use crate::model::Trainable;
use crate::predictions::{logits_bytes, LogitsFormat};

/// The files of the mean, by split.
const TRAIN: &str = "ensemble-train.parquet";
const VALIDATION: &str = "ensemble-validation.parquet";

/// A trained assistant, or the student.
pub(super) struct Member {
    pub seed: u64,
    pub logits: JoinedLogits,
}

/// The mean of the members, and its files by name.
pub(super) struct Ensemble {
    pub record: RecordedEnsemble,
    pub files: Vec<(&'static str, Vec<u8>)>,
}

impl Distillation<'_> {
    /// The logits of the trained `model` on both whole splits, where assistants and student are joined.
    /// `train` are those on the training set, where they are known.
    pub(super) fn joined(
        &self,
        prepared: &Prepared,
        model: &dyn Trainable,
        train: Option<&Logits>,
    ) -> Result<Option<JoinedLogits>> {
        if !self.recipe.configured.joins_assistants() {
            return Ok(None);
        }
        let options = run_options(&self.recipe.settings, self.session, Windows::WHOLE);
        let train = match train {
            Some(known) => known.clone(),
            None => prepared.train.logits(model, &options)?,
        };
        let validation = self.splits.validation.as_ref().map(|split| -> Result<Logits> {
            let tokenizer = &self.checkpoint.tokenizer;
            let whole = evaluated(split, tokenizer, prepared.student.model.vocabulary())?;
            whole.logits(model, &options)
        });
        Ok(Some(JoinedLogits { train, validation: validation.transpose()? }))
    }

    /// The mean of `members`, the last of which is the student `prepared`; `None` without members.
    pub(super) fn ensemble(
        &self,
        prepared: &Prepared,
        members: &[Member],
    ) -> Result<Option<Ensemble>> {
        if members.is_empty() {
            return Ok(None);
        }
        let on_validation = |logits: Option<&Logits>| -> Result<Option<Score>> {
            let both = prepared.validation.as_ref().zip(logits);
            both.map(|(split, logits)| split.score(&prepared.seen_part(logits))).transpose()
        };
        let recorded = members.iter().map(|Member { seed, logits }| {
            Ok(RecordedMember {
                seed: *seed,
                train: prepared.train.score(&logits.train)?,
                validation: on_validation(logits.validation.as_ref())?,
            })
        });
        let recorded = recorded.collect::<Result<Vec<_>>>()?;
        let train: Vec<&Logits> = members.iter().map(|member| &member.logits.train).collect();
        let train = mean(&train)?;
        let whole = members.iter().map(|member| member.logits.validation.as_ref());
        let validation = whole.collect::<Option<Vec<_>>>().map(|all| mean(&all)).transpose()?;
        let record = RecordedEnsemble {
            members: recorded,
            train: prepared.train.score(&train)?,
            validation: on_validation(validation.as_ref())?,
        };
        let bytes = |logits: &Logits, labels: &[Option<u32>]| {
            logits_bytes(LogitsFormat::Parquet, logits, &self.labels, labels)
        };
        let mut files = vec![(TRAIN, bytes(&train, &self.splits.train.labels())?)];
        if let (Some(split), Some(logits)) = (&self.splits.validation, &validation) {
            files.push((VALIDATION, bytes(logits, &split.labels())?));
        }
        Ok(Some(Ensemble { record, files }))
    }
}

/// Logits whose softmax is the mean of the members' softmax: ln (1/M · Σ p), each (N, K). Computed from
/// log-probabilities, so that none is infinite.
fn mean(members: &[&Logits]) -> Result<Logits> {
    let first = members.first().context("a mean of no model")?;
    let classes = first.labels;
    let count = (members.len() as f64).ln();
    let mut values = Vec::with_capacity(first.values.len());
    for row in 0..first.values.len() / classes {
        let rows: Vec<Vec<f64>> = members.iter().map(|m| log_softmax(m.row(row))).collect();
        for class in 0..classes {
            let of_class: Vec<f64> = rows.iter().map(|row| row[class]).collect();
            values.push((log_sum(&of_class) - count) as f32);
        }
    }
    Ok(Logits { values, labels: classes })
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let logits: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
    let sum = log_sum(&logits);
    logits.iter().map(|z| z - sum).collect()
}

/// ln Σ exp.
fn log_sum(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|v| (v - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(rows: &[[f32; 2]]) -> Logits {
        Logits { values: rows.concat(), labels: 2 }
    }

    #[test]
    fn the_mean_is_of_probabilities() {
        // (1/4, 3/4) and (1/2, 1/2): (3/8, 5/8). Shifted logits are the same probabilities.
        let (a, b) = (logits(&[[7.0, 7.0 + 3f32.ln()]]), logits(&[[-2.0, -2.0]]));
        let both = mean(&[&a, &b]).unwrap();
        let expected = [(3.0f32 / 8.0).ln(), (5.0f32 / 8.0).ln()];
        for (found, expected) in both.values.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        assert_eq!(both.labels, 2);
    }

    #[test]
    fn the_mean_of_sure_models_is_finite() {
        let sure = logits(&[[2000.0, 0.0], [0.0, 1.0]]);
        let same = mean(&[&sure, &sure]).unwrap();
        assert_eq!(&same.values[..2], [0.0, -2000.0]);
        let other = logits(&[[0.0, 2000.0], [0.0, 1.0]]);
        let half = mean(&[&sure, &other]).unwrap();
        assert_eq!(&half.values[..2], [0.5f32.ln(); 2]);
        assert!(mean(&[]).is_err());
    }
}
