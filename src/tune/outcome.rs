//! The outcome of a training.

use serde::{Deserialize, Serialize};

use super::answers::Answers;
use crate::distill::saved::Epoch;

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RunOutcome {
    Finished(Box<Finished>),
    /// It was stopped early.
    Stopped {
        why: String,
        /// The finished epochs whose states may be kept.
        course: Vec<TrialEpoch>,
        /// All finished epochs.
        history: Vec<Epoch>,
    },
    /// It could not be trained.
    Failed {
        error: String,
    },
}

/// The figures of a student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// N of the training set.
    pub n: usize,
    /// Without a temperature.
    pub plain: TrainingSpend,
    /// With a temperature that is fit on the seen part of the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated: Option<RecalibratedStudent>,
    /// On the training set; `None` without labels.
    pub train_accuracy: Option<f64>,
    /// On the seen part of the validation split.
    pub seen: Answers,
    /// The teacher's.
    pub teacher_seen: Answers,
    /// σ on the seen part.
    pub seen_sigma: f64,
    /// Epochs of all stages.
    pub epochs: usize,
    /// `ended_by` of `distillation.json`.
    pub ended_by: String,
    /// The stage whose state is kept.
    pub stage: String,
    /// The epoch of that stage.
    pub epoch: usize,
    /// Epochs times layers of the student.
    pub cost: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// The epochs whose states may be kept.
    pub course: Vec<TrialEpoch>,
    /// All epochs, as the training recorded them.
    pub history: Vec<Epoch>,
}

/// A student compared with the bound on the training set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpend {
    /// In the statistic and confidence of the gate.
    pub sigma: f64,
    /// Σd² ≤ B.
    pub preserved: bool,
}

/// The same student with its logits divided by a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecalibratedStudent {
    /// τ.
    pub temperature: f64,
    #[serde(flatten)]
    pub spend: TrainingSpend,
}

/// The figures of a training at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialEpoch {
    /// Finished share of the epochs whose states may be kept.
    pub share: f64,
    /// On the sample of the training set.
    pub sigma: f64,
    /// On the seen part of the validation split.
    pub accuracy: f64,
}

/// A finalist on the part of the validation split that the search did not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    pub student: Answers,
    pub teacher: Answers,
    /// Without a temperature.
    pub sigma: f64,
    /// With its temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated_sigma: Option<f64>,
}

/// A form of a student: without its temperature, or with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudentForm {
    /// τ; `None` without one.
    pub temperature: Option<f64>,
    pub spend: TrainingSpend,
}

impl Finished {
    /// The student as it was trained.
    pub fn plain(&self) -> StudentForm {
        StudentForm { temperature: None, spend: self.plain }
    }

    /// The student with its temperature, if one was fit.
    pub fn recalibrated(&self) -> Option<StudentForm> {
        let RecalibratedStudent { temperature, spend } = self.recalibrated?;
        Some(StudentForm { temperature: Some(temperature), spend })
    }

    /// Without its temperature, then with it.
    pub fn forms(&self) -> impl Iterator<Item = StudentForm> {
        std::iter::once(self.plain()).chain(self.recalibrated())
    }
}
