//! How a training ends, and the callback that may stop it.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::distill::saved::Epoch;
use crate::inference::Logits;

/// What ended a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The weighted soft-label loss was at or below β.
    Beta,
    MaxEpochs,
}

/// A finished training. The parameters are those of the epoch that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedTraining {
    pub by: EndedBy,
    /// The name of the stage whose state is kept.
    pub stage: &'static str,
    /// The epoch of that stage whose state is kept, from 1.
    pub epoch: usize,
    pub course: Vec<Epoch>,
}

/// The result of a training.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingEnd {
    Finished(FinishedTraining),
    /// The callback stopped it after these epochs; nothing is kept.
    Stopped(Vec<Epoch>),
}

/// How the training continues after an epoch or a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterEpoch {
    Continue,
    End(EndedBy),
    /// The callback stops it.
    Stop,
}

/// Logits of both models on the callback's sample (N, K), in the order of the draw.
pub struct SampleLogits<'a> {
    pub teacher: &'a Logits,
    pub student: Logits,
    /// The task's labels (N).
    pub labels: &'a [Option<u32>],
}

/// Called at the end of each epoch whose state may be kept; may stop the training.
pub trait EpochCallback: Sync {
    /// σ on the sample, as the epoch records it.
    fn sigma(&self, sample: &SampleLogits) -> Result<f64>;

    /// Whether to continue after the last epoch of `course`. `epochs` is the most that it is called
    /// for.
    fn continues(&self, course: &[Epoch], epochs: usize, sample: &SampleLogits) -> Result<bool>;
}
