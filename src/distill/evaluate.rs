//! Accuracy, σ and losses of a student with dropout off, on the logits that an audit would compute.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::check::{Bound, BoundPolicy, Budget};
use crate::checkpoint::TokenizedExample;
use crate::confidence::{
    confidence_differences, correct, soft_losses, ConfidenceKind, DifferenceSums, PairError,
    Predictions, PublishedDifferences, Statistic, Undefined,
};
use crate::digest::hexadecimal;
use crate::error::usage;
use crate::inference::{run_tokens, Logits, NotFinite, RunOptions};
use crate::model::Model;

/// A loss, a gradient or a logit of the student is not finite.
#[derive(Debug, thiserror::Error)]
#[error("the training diverged")]
pub struct Diverged;

/// A split with the student's tokens.
pub struct Evaluated {
    /// Its name.
    pub split: String,
    /// The student's tokens (N).
    pub tokens: Vec<TokenizedExample>,
    /// Labels in the task's order (N).
    pub labels: Vec<Option<u32>>,
    /// Logits of the teacher that audits compare with (N, K); `None` without one.
    pub teacher: Option<Logits>,
}

/// Accuracy and σ of a student on a split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// On the labelled examples; `None` without labels.
    pub accuracy: Option<f64>,
    /// σ about zero of the largest probability, against the teacher; `None` without one.
    pub sigma: Option<f64>,
}

/// The σ on a split that the choice of the state depends on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SigmaCheck {
    /// σ against the teacher, in the recipe's statistic and confidence.
    pub sigma: f64,
    /// Whether σ is within κ, as an audit decides it; `None` where there is no κ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserved: Option<bool>,
}

/// The soft-label loss over a split, nats, with its factor t² where it has one, before its weight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SoftLoss {
    /// N.
    pub examples: usize,
    /// Σ KL.
    pub sum_kl: f64,
    /// Σ cross-entropy.
    pub sum_cross_entropy: f64,
}

/// SHA-256 of tokenised texts, in order.
pub fn tokens_sha256(examples: &[TokenizedExample]) -> String {
    let mut digest = Sha256::new();
    for tokens in examples {
        digest.update((tokens.len() as u64).to_le_bytes());
        for id in tokens.input_ids.iter().chain(&tokens.token_type_ids) {
            digest.update(id.to_le_bytes());
        }
    }
    hexadecimal(&digest.finalize())
}

impl Evaluated {
    /// The examples `rows`, in that order.
    pub fn part(&self, rows: &[u32]) -> Evaluated {
        Evaluated {
            split: self.split.clone(),
            tokens: rows.iter().map(|&row| self.tokens[row as usize].clone()).collect(),
            labels: rows.iter().map(|&row| self.labels[row as usize]).collect(),
            teacher: self.teacher.as_ref().map(|teacher| teacher.part(rows)),
        }
    }

    /// SHA-256 of its tokens and of its labels.
    pub fn sha256(&self) -> [String; 2] {
        let labels: Vec<u8> =
            self.labels.iter().flat_map(|l| l.map_or(u32::MAX, |l| l).to_le_bytes()).collect();
        [tokens_sha256(&self.tokens), hexadecimal(&Sha256::digest(labels))]
    }

    /// The student's logits (N, K), the same bits as in an audit.
    ///
    /// # Errors
    /// An interrupt; [`Diverged`] where a logit is not finite.
    pub fn logits(&self, student: &dyn Model, options: &RunOptions) -> Result<Logits> {
        let what = format!("student on {}", self.split);
        run_tokens(student, &self.tokens, &what, options).map_err(|error| {
            match error.is::<NotFinite>() {
                true => error.context(Diverged),
                false => error,
            }
        })
    }

    /// Accuracy and σ of a student with these `logits`.
    ///
    /// # Errors
    /// Logits that are not finite.
    pub fn score(&self, logits: &Logits) -> Result<Score> {
        let student = Predictions::from_logits(&logits.values, logits.labels)?;
        let labelled = self.labels.iter().flatten().count();
        let right = correct(&student, &self.labels).ok();
        let accuracy = right.filter(|_| labelled > 0).map(|right| right as f64 / labelled as f64);
        let sums = self.differences(&student, (Statistic::Rms, ConfidenceKind::Max))?;
        let sigma = sums.map(|sums| sums.sigma().context("σ of no example"));
        Ok(Score { accuracy, sigma: sigma.transpose()? })
    }

    /// σ of a student with these `logits`, compared with `kappa` where there is one. `None` without a
    /// teacher, and for the published statistic where no example is right for both models.
    ///
    /// # Errors
    /// Logits that are not finite, a `kappa` that is not a bound, the published statistic of a split
    /// for which it is not defined.
    pub fn sigma_check(
        &self,
        logits: &Logits,
        (statistic, confidence): (Statistic, ConfidenceKind),
        kappa: Option<f64>,
    ) -> Result<Option<SigmaCheck>> {
        let student = Predictions::from_logits(&logits.values, logits.labels)?;
        let sums = self.differences(&student, (statistic, confidence))?;
        let Some(sums) = sums else { return Ok(None) };
        let sigma = sums.sigma_of(statistic).context("σ of no example")?;
        let preserved = kappa.map(|kappa| -> Result<bool> {
            let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0)?;
            let budget = Budget::for_part(&bound, self.tokens.len(), sums.n());
            Ok(budget.allows(sums.spent(statistic)))
        });
        Ok(Some(SigmaCheck { sigma, preserved: preserved.transpose()? }))
    }

    /// Fails if `statistic` is not defined for this split of a task with `count` labels.
    ///
    /// # Errors
    /// The published statistic without two labels, or without a label of every example.
    pub fn require_statistic(&self, statistic: Statistic, count: usize) -> Result<()> {
        if statistic != Statistic::Published {
            return Ok(());
        }
        let defined = PublishedDifferences::require_labels(count, &self.labels);
        Ok(defined.map_err(|reason| {
            let split = &self.split;
            usage!("`statistic` = `published` is not defined for the split `{split}`: {reason}")
                .hint("use rms or centred")
        })?)
    }

    /// Sums of the differences that `statistic` is over, as [`Evaluated::sigma_check`] says.
    fn differences(
        &self,
        student: &Predictions,
        (statistic, confidence): (Statistic, ConfidenceKind),
    ) -> Result<Option<DifferenceSums>> {
        let Some(teacher) = &self.teacher else { return Ok(None) };
        let teacher = Predictions::from_logits(&teacher.values, teacher.labels)?;
        let differences = match statistic {
            Statistic::Published => {
                match PublishedDifferences::new(&teacher, student, &self.labels) {
                    Err(Undefined::NoneRightForBoth) => return Ok(None),
                    Err(reason) => return Err(PairError::PublishedUndefined { reason }.into()),
                    Ok(published) => published.differences,
                }
            }
            Statistic::Rms | Statistic::Centred => {
                confidence_differences(&teacher, student, confidence)
                    .expect("models that are run here show their distributions")
            }
        };
        Ok(Some(DifferenceSums::of(&differences)))
    }

    /// The soft-label loss of a student with these `logits`; `None` without a teacher.
    pub fn soft_loss(
        &self,
        logits: &Logits,
        temperature: f64,
        t_squared: bool,
    ) -> Option<SoftLoss> {
        let teacher = self.teacher.as_ref()?;
        let scale = if t_squared { temperature * temperature } else { 1.0 };
        let (kl, cross_entropy) =
            soft_losses(&teacher.values, &logits.values, logits.labels, temperature);
        Some(SoftLoss {
            examples: self.tokens.len(),
            sum_kl: kl * scale,
            sum_cross_entropy: cross_entropy * scale,
        })
    }
}
