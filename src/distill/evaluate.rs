//! Accuracy, σ and losses of a student with dropout off, on the logits that an audit would compute.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::check::{Bound, BoundPolicy, Budget};
use crate::checkpoint::TokenizedExample;
use crate::confidence::{
    confidence_differences, correct, soft_losses, ConfidenceKind, DifferenceSums, Predictions,
    Statistic,
};
use crate::digest::hexadecimal;
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

/// σ on a split, compared with κ as an audit does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SigmaCheck {
    /// σ about zero of the largest probability, against the teacher.
    pub sigma: f64,
    /// Whether σ is within κ.
    pub preserved: bool,
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
        let sums = self.differences(&student)?;
        let sigma = sums.map(|sums| sums.sigma().context("σ of no example"));
        Ok(Score { accuracy, sigma: sigma.transpose()? })
    }

    /// σ of a student with these `logits`, compared with `kappa`; `None` without a teacher.
    ///
    /// # Errors
    /// Logits that are not finite, a `kappa` that is not a bound.
    pub fn sigma_check(&self, logits: &Logits, kappa: f64) -> Result<Option<SigmaCheck>> {
        let student = Predictions::from_logits(&logits.values, logits.labels)?;
        let Some(sums) = self.differences(&student)? else { return Ok(None) };
        let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0)?;
        let budget = Budget::new(&bound, self.tokens.len());
        let sigma = sums.sigma().context("σ of no example")?;
        Ok(Some(SigmaCheck { sigma, preserved: budget.allows(sums.spent(Statistic::Rms)) }))
    }

    /// Sums of the differences of the largest probabilities; `None` without a teacher.
    fn differences(&self, student: &Predictions) -> Result<Option<DifferenceSums>> {
        let Some(teacher) = &self.teacher else { return Ok(None) };
        let teacher = Predictions::from_logits(&teacher.values, teacher.labels)?;
        let differences = confidence_differences(&teacher, student, ConfidenceKind::Max)
            .expect("models that are run here show their distributions");
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
