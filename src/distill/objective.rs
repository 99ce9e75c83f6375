//! What a stage of a training minimises.
//!
//! A stage gets a [`Step`] and returns its losses. It may run the student on other texts than the
//! step's (neighbours, adversarial ones), train parameters of its own with the student's, and keep
//! state from step to step, which is saved with the training. Three things have no place yet: a
//! second player that raises what the student lowers (one optimizer lowers one sum), a forward pass
//! from embeddings instead of token ids, and teacher's signals for texts outside the training set.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::Tensor;

use super::signals::Signals;
use super::states::Selection;
use super::term::Term;
use crate::model::{Dropout, Mode, Outputs, PackedBatch, Parameter, Shape, Trainable, Wanted};

/// The two models as a method needs to know them before anything is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The student.
    pub student: Shape,
    /// The teacher; `None` without one, or where its encoder is not our own and shows no hidden
    /// states.
    pub teacher: Option<Shape>,
    /// Whether both make the same tokens of a text.
    pub same_tokens: bool,
    /// The id of the teacher's [SEP].
    pub separator: Option<u32>,
}

/// What a stage asks of the teacher.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Needs {
    /// Its logits.
    pub logits: bool,
    /// Some of its hidden states.
    pub states: Option<Selection>,
}

/// One loss of a step.
pub struct Weighted {
    /// Which.
    pub term: Term,
    /// Its weight in the sum that training lowers.
    pub weight: f64,
    /// Its value, a scalar.
    pub value: Tensor,
}

/// What a stage of a training minimises.
pub trait Objective {
    /// What it asks of the teacher.
    fn needs(&self) -> Needs;

    /// Parameters that it trains beside the student's; they are dropped after the stage.
    fn parameters(&self) -> &[Parameter] {
        &[]
    }

    /// The losses of one batch.
    ///
    /// # Errors
    /// Whatever keeps a model from being run.
    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>>;

    /// What its next step depends on besides parameters and their moments, by name. It is saved
    /// with the training.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Puts back what [`Objective::state`] gave when the training was saved.
    ///
    /// # Errors
    /// A state of another objective.
    fn restore(&mut self, _state: &BTreeMap<String, Tensor>) -> Result<()> {
        Ok(())
    }
}

/// One batch of a training.
pub struct Step<'a> {
    /// Which examples of the training set (B).
    pub rows: &'a [u32],
    /// Their tokens.
    pub batch: &'a PackedBatch,
    /// Their labels in the student's order (B); `None` for an example without one.
    pub labels: &'a [Option<u32>],
    /// The student.
    pub student: &'a dyn Trainable,
    /// Dropout of the step's forward pass.
    pub dropout: &'a Dropout,
    /// What the teacher says.
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
    ///
    /// # Errors
    /// Whatever candle refuses.
    pub fn outputs(&self, wanted: Wanted) -> Result<Outputs> {
        Ok(self.student.outputs(self.batch, wanted, Mode::Train(self.dropout))?)
    }
}
