//! `distillation.json`: the bound of a student's training, and the loss that it reached.
//!
//! ```json
//! {
//!   "bound": { "beta_per_example": 0.0025, "alpha": 0.0, "temperature": 2.0, "t_squared": true },
//!   "loss_reached": { "examples": 67349, "sum_kl": 71.2, "mean_kl": 0.00106 }
//! }
//! ```
//!
//! Only these two parts are read here; other keys are ignored. They are the same in every
//! `schema_version`.

use serde::{Deserialize, Serialize};

use super::{Bound, BoundError, BoundPolicy};

/// The parts of a student's `distillation.json` that a check reads. Unknown keys are ignored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StudentRecord {
    /// The bound of the training; absent or null without a soft-label loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<RecordedBound>,
    /// The soft-label loss at the end of its training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_reached: Option<LossReached>,
}

/// The bound of a training. One of `beta` and `beta_per_example`, at most one of `alpha` and `w_soft`
/// (neither: α = 0), and `gamma` or `temperature` (neither: γ = 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordedBound {
    /// Stopping threshold of w_soft·L_soft, nats, summed over the training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// The same per training example, nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta_per_example: Option<f64>,
    /// Weight of the hard-label loss, in [0, 1]; the soft-label loss has 1 − α.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Weight of the soft-label loss itself, for weights that do not sum to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w_soft: Option<f64>,
    /// γ itself, at least 1: wins over `temperature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// Distillation temperature t, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Whether the soft-label loss was scaled by t²: γ is then 1, otherwise t.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t_squared: Option<bool>,
}

/// The soft-label loss at the end of a training, nats, without its weight, at its temperature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LossReached {
    /// Examples that the sums are over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<usize>,
    /// Σ KL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_kl: Option<f64>,
    /// Mean KL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_kl: Option<f64>,
    /// Σ cross-entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sum_cross_entropy: Option<f64>,
    /// Mean cross-entropy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_cross_entropy: Option<f64>,
}

/// Why a record could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not valid JSON, or a field of another type.
    #[error("the record is not JSON of the expected form")]
    Json(#[from] serde_json::Error),
    /// Two fields with the same meaning.
    #[error("the record's bound gives both `{0}` and `{1}`: keep one")]
    Both(&'static str, &'static str),
    /// A temperature above 1 without `t_squared`.
    #[error(
        "the record's bound has the temperature {0} and no `t_squared`: record whether the \
         soft-label loss was scaled by the temperature squared"
    )]
    Scaling(f64),
    /// A sum over an unknown number of examples, used for other examples.
    #[error(
        "the record's beta is a sum over an unknown number of examples, and this is not the whole \
         training split"
    )]
    Uncounted,
    /// A number outside its range.
    #[error("the record's bound is not valid")] // the cause is in the chain
    Bound(#[from] BoundError),
}

/// Whether a record's sums are over the audited examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditedExamples {
    /// The whole training split, which sums without a number of examples are over.
    TrainingSplit,
    /// Another split, or a part of one.
    OtherExamples,
}

impl StudentRecord {
    /// Reads the text of a `distillation.json`.
    ///
    /// # Errors
    /// Text that is not a JSON object, or a known field of another type (with line and column).
    pub fn parse(json: &str) -> Result<Self, RecordError> {
        Ok(serde_json::from_str(json)?)
    }

    /// The recorded bound. `None` without a soft-label loss (no `bound`, a weight of zero) or
    /// without a β.
    ///
    /// # Errors
    /// Contradictions, a temperature above 1 without `t_squared`, numbers out of range.
    pub fn bound(&self) -> Result<Option<Bound>, RecordError> {
        let Some(recorded) = &self.bound else { return Ok(None) };
        let policy = match (recorded.beta, recorded.beta_per_example) {
            (None, None) => return Ok(None),
            (Some(beta), None) => BoundPolicy::Beta(beta),
            (None, Some(beta)) => BoundPolicy::BetaPerExample(beta),
            (Some(_), Some(_)) => return Err(RecordError::Both("beta", "beta_per_example")),
        };
        let gamma = recorded.gamma()?;
        Ok(match (recorded.alpha, recorded.w_soft) {
            (Some(_), Some(_)) => return Err(RecordError::Both("alpha", "w_soft")),
            // All the weight on the labels: there was no soft-label loss.
            (Some(1.0), None) | (None, Some(0.0)) => None,
            (None, Some(weight)) => Some(Bound::with_soft_weight(policy, weight, gamma)?),
            (alpha, None) => Some(Bound::new(policy, alpha.unwrap_or(0.0), gamma)?),
        })
    }

    /// The recorded bound for `n` examples: a summed β is divided by the number of examples that it
    /// is summed over (`loss_reached.examples`).
    ///
    /// # Errors
    /// As [`StudentRecord::bound`]; [`RecordError::Uncounted`] for a summed β without that number,
    /// except on the training split.
    pub fn bound_for(
        &self,
        n: usize,
        audited: AuditedExamples,
    ) -> Result<Option<Bound>, RecordError> {
        let Some(bound) = self.bound()? else { return Ok(None) };
        let summed = matches!(bound.policy(), BoundPolicy::Beta(_));
        if summed && self.trained_on().is_none() && audited == AuditedExamples::OtherExamples {
            return Err(RecordError::Uncounted);
        }
        Ok(Some(match self.trained_on().filter(|trained_on| *trained_on != n) {
            Some(trained_on) => bound.spread_over(trained_on),
            None => bound,
        }))
    }

    /// The number of examples that the recorded sums are over, if recorded.
    pub fn trained_on(&self) -> Option<usize> {
        self.loss_reached.and_then(|reached| reached.examples).filter(|n| *n > 0)
    }

    /// The distillation temperature, if recorded.
    pub fn temperature(&self) -> Option<f64> {
        self.bound.as_ref().and_then(|bound| bound.temperature)
    }
}

impl RecordedBound {
    fn gamma(&self) -> Result<f64, RecordError> {
        match (self.gamma, self.temperature, self.t_squared) {
            (Some(gamma), ..) => Ok(gamma),
            (None, None, _) | (None, Some(1.0), _) => Ok(1.0),
            // Checked although γ does not depend on it: no distillation has the temperature 0.5.
            (None, Some(t), Some(true)) if t >= 1.0 => Ok(1.0),
            (None, Some(t), Some(true)) => Err(BoundError::Gamma(t).into()),
            (None, Some(t), Some(false)) => Ok(t),
            (None, Some(t), None) => Err(RecordError::Scaling(t)),
        }
    }
}

impl LossReached {
    /// The recorded losses by name, as sums over the `n` audited examples. A sum without its number of
    /// examples is used for the training split only.
    pub fn sums(&self, n: usize, audited: AuditedExamples) -> Vec<(&'static str, f64)> {
        let share = match (self.examples.filter(|examples| *examples > 0), audited) {
            (Some(examples), _) => Some(n as f64 / examples as f64),
            (None, AuditedExamples::TrainingSplit) => Some(1.0),
            (None, AuditedExamples::OtherExamples) => None,
        };
        let summed = |sum: Option<f64>, mean: Option<f64>| {
            sum.zip(share).map(|(sum, share)| sum * share).or(mean.map(|mean| mean * n as f64))
        };
        let kl = summed(self.sum_kl, self.mean_kl);
        let cross_entropy = summed(self.sum_cross_entropy, self.mean_cross_entropy);
        let named = [("sum of KL", kl), ("sum of cross-entropies", cross_entropy)];
        named.into_iter().filter_map(|(name, sum)| Some((name, sum?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(json: &str) -> Result<Option<Bound>, RecordError> {
        StudentRecord::parse(json)?.bound()
    }

    #[test]
    fn a_record_gives_its_bound() {
        let json = r#"{"bound": {"beta": 3.0, "alpha": 0.25, "temperature": 2.0,
            "t_squared": false, "note": "x"}, "method": "tinybert"}"#;
        let expected = Bound::new(BoundPolicy::Beta(3.0), 0.25, 2.0).unwrap();
        assert_eq!(bound(json).unwrap(), Some(expected));
        for version in ["1", "2"] {
            let json = json.replacen('{', &format!("{{\"schema_version\": {version}, "), 1);
            assert_eq!(bound(&json).unwrap(), Some(expected), "{version}");
        }
        let json =
            r#"{"bound": {"beta_per_example": 0.0025, "temperature": 4, "t_squared": true}}"#;
        assert_eq!(bound(json).unwrap(), Some(Bound::default()));
        let json = r#"{"bound": {"beta": 1, "w_soft": 2, "gamma": 3, "temperature": 9}}"#;
        let expected = Bound::with_soft_weight(BoundPolicy::Beta(1.0), 2.0, 3.0).unwrap();
        assert_eq!(bound(json).unwrap(), Some(expected));
    }

    #[test]
    fn no_soft_loss_no_bound() {
        for json in [
            "{}",
            r#"{"bound": null}"#,
            r#"{"bound": {}}"#,
            r#"{"bound": {"beta": 1, "alpha": 1}}"#,
            r#"{"bound": {"beta": 1, "w_soft": 0}}"#,
        ] {
            assert_eq!(bound(json).unwrap(), None, "{json}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let message = |json: &str| format!("{:#}", anyhow::Error::from(bound(json).unwrap_err()));
        let both = message(r#"{"bound": {"beta": 1, "beta_per_example": 1}}"#);
        assert_eq!(both, "the record's bound gives both `beta` and `beta_per_example`: keep one");
        assert!(message(r#"{"bound": {"beta": 1, "alpha": 0, "w_soft": 1}}"#).contains("w_soft"));
        assert!(message(r#"{"bound": {"beta": 1, "temperature": 2}}"#).contains("`t_squared`"));
        let cold = message(r#"{"bound": {"beta": 1, "temperature": 0.5, "t_squared": true}}"#);
        assert_eq!(cold.matches("gamma is 0.5").count(), 1, "{cold}");
        assert!(message(r#"{"bound": {"beta": -1}}"#).contains("beta is -1"));
        assert!(message(r#"{"bound": {"beta": "1"}}"#).contains("line 1 column"));
        assert!(message("[").contains("not JSON"));
    }

    #[test]
    fn losses_are_summed() {
        let json = r#"{"loss_reached": {"mean_kl": 0.5, "sum_cross_entropy": 7, "examples": 4}}"#;
        let reached = StudentRecord::parse(json).unwrap().loss_reached.unwrap();
        // Per example 0.5 and 7/4, for a hundred of them.
        let expected = vec![("sum of KL", 50.0), ("sum of cross-entropies", 175.0)];
        assert_eq!(reached.sums(100, AuditedExamples::OtherExamples), expected);
        let bare = LossReached { mean_kl: Some(0.5), ..LossReached::default() };
        assert_eq!(bare.sums(100, AuditedExamples::OtherExamples), [("sum of KL", 50.0)]);
        assert_eq!(LossReached::default().sums(100, AuditedExamples::TrainingSplit), []);
        // A sum without its number of examples.
        let sum = LossReached { sum_kl: Some(7.0), ..LossReached::default() };
        assert_eq!(sum.sums(100, AuditedExamples::TrainingSplit), [("sum of KL", 7.0)]);
        assert_eq!(sum.sums(100, AuditedExamples::OtherExamples), []);
    }

    #[test]
    fn a_summed_beta_is_spread_over_the_examples_it_was_summed_over() {
        let json = r#"{"bound": {"beta": 50}, "loss_reached": {"examples": 20000}}"#;
        let record = StudentRecord::parse(json).unwrap();
        // sqrt(50/20000) = 0.05, whatever is audited.
        let other = record.bound_for(500, AuditedExamples::OtherExamples).unwrap().unwrap();
        assert!((other.kappa(500) - 0.05).abs() < 1e-12);
        assert_eq!(record.trained_on(), Some(20_000));
        let none = StudentRecord::parse(r#"{"loss_reached": {"examples": 0}}"#).unwrap();
        assert_eq!(none.trained_on(), None);
        let same = record.bound_for(20_000, AuditedExamples::TrainingSplit).unwrap().unwrap();
        assert_eq!(same.policy(), BoundPolicy::Beta(50.0));
    }

    #[test]
    fn a_summed_beta_without_its_examples_holds_for_the_training_split_only() {
        let record = StudentRecord::parse(r#"{"bound": {"beta": 50}}"#).unwrap();
        let own = record.bound_for(20_000, AuditedExamples::TrainingSplit).unwrap().unwrap();
        assert_eq!(own.policy(), BoundPolicy::Beta(50.0));
        let other = record.bound_for(500, AuditedExamples::OtherExamples);
        assert!(matches!(other, Err(RecordError::Uncounted)), "{other:?}");
        let mean = StudentRecord::parse(r#"{"bound": {"beta_per_example": 0.01}}"#).unwrap();
        assert!(mean.bound_for(500, AuditedExamples::OtherExamples).unwrap().is_some());
    }

    #[test]
    fn the_temperature_is_that_of_the_bound() {
        let json = r#"{"bound": {"beta": 1, "temperature": 4.0, "t_squared": true}}"#;
        assert_eq!(StudentRecord::parse(json).unwrap().temperature(), Some(4.0));
        assert_eq!(StudentRecord::parse(r#"{"bound": {"beta": 1}}"#).unwrap().temperature(), None);
        assert_eq!(StudentRecord::parse("{}").unwrap().temperature(), None);
    }

    #[test]
    fn a_written_record_is_read_back() {
        let record = StudentRecord {
            bound: Some(RecordedBound { beta: Some(1.5), ..RecordedBound::default() }),
            loss_reached: Some(LossReached { sum_kl: Some(2.0), ..LossReached::default() }),
        };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(json, r#"{"bound":{"beta":1.5},"loss_reached":{"sum_kl":2.0}}"#);
        assert_eq!(StudentRecord::parse(&json).unwrap(), record);
    }
}
