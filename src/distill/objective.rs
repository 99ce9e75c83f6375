//! The objective of a training stage: the seam for new methods.
//!
//! An objective gets a [`Step`] and returns its losses. It may run the student on other texts than
//! the step's (neighbours, adversarial ones), train parameters of its own with the student's, and
//! keep state from step to step, which is saved with the training. Three things are not supported
//! yet: a second player that raises what the student lowers (one optimizer lowers one sum), a forward
//! pass from embeddings instead of token ids, and teacher signals for texts outside the training set.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;

use super::signals::Signals;
use super::states::Selection;
use super::term::Term;
use crate::model::{Dropout, Mode, Outputs, PackedBatch, Parameter, Shape, Trainable, Wanted};

/// The facts about both models that a method may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    pub student: Shape,
    /// `None` without a teacher, or where its encoder is not our own and shows no hidden states.
    pub teacher: Option<Shape>,
    /// Whether both tokenizers give the same token ids for the training set.
    pub same_tokens: bool,
    /// The teacher's id of [SEP].
    pub separator: Option<u32>,
}

/// The teacher outputs that a stage reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Needs {
    pub logits: bool,
    /// The hidden states it reads.
    pub states: Option<Selection>,
}

/// One loss of a step.
pub struct Weighted {
    pub term: Term,
    /// Its weight in the sum that training minimises.
    pub weight: f64,
    /// A scalar, before the weight.
    pub value: Tensor,
}

/// The loss function of a training stage.
pub trait Objective {
    fn needs(&self) -> Needs;

    /// Parameters that are trained with the student's and dropped after the stage.
    fn parameters(&self) -> &[Parameter] {
        &[]
    }

    /// The losses of one batch.
    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>>;

    /// State that the next step depends on, besides parameters and their moments, by name. It is saved with
    /// the training.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Restores what [`Objective::state`] returned when the training was saved.
    ///
    /// # Errors
    /// The state of another objective.
    fn restore(&mut self, _state: &BTreeMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// One batch of a training.
pub struct Step<'a> {
    /// Indices of the examples in the training set (B).
    pub rows: &'a [u32],
    pub batch: &'a PackedBatch,
    /// Labels in the student's order (B); `None` for an example without one.
    pub labels: &'a [Option<u32>],
    pub student: &'a dyn Trainable,
    /// Dropout of the step's forward pass.
    pub dropout: &'a Dropout,
    pub teacher: &'a Signals,
    /// The epoch of the stage, from 0.
    pub epoch: usize,
    /// Number of the batch in the whole training, from 0.
    pub number: u64,
}

impl Step<'_> {
    /// The labels (B).
    ///
    /// # Errors
    /// An example without a label.
    pub fn known_labels(&self) -> Result<Vec<u32>> {
        let labelled = self.rows.iter().zip(self.labels);
        let known = labelled.map(|(row, label)| {
            label.with_context(|| format!("example {row} of the training set has no label"))
        });
        known.collect()
    }

    /// The student's forward pass over the step's batch.
    pub fn outputs(&self, wanted: Wanted) -> Result<Outputs> {
        Ok(self.student.outputs(self.batch, wanted, Mode::Train(self.dropout))?)
    }
}
