//! What ends a training, and who may.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::distill::saved::Epoch;
use crate::inference::Logits;

/// What ended a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndedBy {
    /// The soft-label loss was at or below β.
    Beta,
    /// The epochs were over.
    MaxEpochs,
}

/// A training that is over; its parameters are those that are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// By what.
    pub by: EndedBy,
    /// The epoch of the last stage, from 1, whose state is kept.
    pub epoch: usize,
    /// The epochs, in order.
    pub course: Vec<Epoch>,
}

/// What became of a training.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingEnd {
    /// It came to its end.
    Ended(Ended),
    /// Who watched it saw no use in going on after these epochs; nothing is kept.
    Stopped(Vec<Epoch>),
}

/// What follows the end of an epoch, or of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterEpoch {
    /// The next one.
    GoesOn,
    /// The training is over.
    Ends(EndedBy),
    /// Who watches it stops it.
    Stops,
}

/// Who looks at a training while it is under way.
pub trait EpochCallback: Sync {
    /// σ of the sample, from what both say of it (N, K), in the order of the draw.
    ///
    /// # Errors
    /// Logits that are not finite.
    fn sigma(&self, teacher: &Logits, student: &Logits) -> Result<f64>;

    /// Whether to go on after the last of the epochs `course`; the last stage has `epochs` at most.
    /// `teacher` and `student` are what both say of the sample now, as in [`EpochCallback::sigma`].
    ///
    /// # Errors
    /// Whatever keeps it from being told.
    fn goes_on(
        &self,
        course: &[Epoch],
        epochs: usize,
        teacher: &Logits,
        student: &Logits,
    ) -> Result<bool>;
}
