//! The objective of a training stage: the seam for new methods.
//!
//! An objective gets a [`Step`] and returns its losses. It may run the student, and the teacher beside
//! it, on other texts than the step's (neighbours, adversarial ones), train parameters of its own with
//! the student's, keep state from step to step, which is saved with the training, and have an
//! [`Opponent`], which learns in turns with the student.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use candle_core::Tensor;

use super::neighbours::NeighbourSearch;
use super::optimizer::AdamWOptions;
use super::signals::Signals;
use super::states::Selection;
use super::term::Term;
use crate::model::{
    Dropout, DropoutRates, MaskedLm, Mode, Outputs, PackedBatch, Parameter, Shape, Trainable,
    Wanted,
};

/// The models, and the facts about them, that a method may depend on.
#[derive(Clone)]
pub struct Setting {
    pub student: Shape,
    /// `None` without a teacher, or where its encoder is not our own and shows no hidden states.
    pub teacher: Option<Shape>,
    /// Whether both tokenizers give the same token ids for the training set.
    pub same_tokens: bool,
    /// The student's id of [SEP].
    pub separator: Option<u32>,
    /// The masked language model that the method trains against the student.
    pub masked_lm: Option<OpenedMaskedLm>,
}

/// A masked language model over the student's token ids.
#[derive(Clone)]
pub struct OpenedMaskedLm {
    pub model: MaskedLm,
    /// Its own dropout.
    pub dropout: DropoutRates,
    /// The id of [MASK].
    pub mask: u32,
    /// Whether a token is not a special one, such as [CLS] or [UNK] (V).
    pub is_ordinary: Arc<[bool]>,
}

/// The teacher outputs that a stage reads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Needs {
    pub logits: bool,
    /// The hidden states it reads.
    pub states: Option<Selection>,
    /// Whether it runs the teacher itself, on texts of its own.
    pub model: bool,
    /// The neighbours in the corpus that it reads.
    pub neighbours: Option<NeighbourSearch>,
}

/// The player that learns from a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The student, with the parameters of [`Objective::parameters`].
    Student,
    /// The opponent: its parameters alone.
    Opponent,
}

/// A second player, which learns in turns with the student and is dropped after the stage. It lowers
/// the sum of its own steps; a negative weight raises a loss.
pub struct Opponent {
    /// Their names differ from the student's.
    pub parameters: Vec<Parameter>,
    /// Constant.
    pub learning_rate: f64,
    pub options: AdamWOptions,
    /// Largest global norm of a gradient; 0 turns clipping off.
    pub clip: f64,
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

    /// The second player, if the method has one.
    fn opponent(&self) -> Option<&Opponent> {
        None
    }

    /// Who learns from step number `step` of the stage, from 0.
    fn turn(&self, _step: u64) -> Turn {
        Turn::Student
    }

    /// The losses of one batch, for the player whose turn it is.
    fn losses(&mut self, step: &Step) -> Result<Vec<Weighted>>;

    /// Figures of the last batch besides its losses, by name. An epoch records their means.
    fn figures(&self) -> &[(String, f64)] {
        &[]
    }

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
#[derive(Clone)]
pub struct Step<'a> {
    /// Indices of the examples in the texts that are learned from (B).
    pub rows: &'a [u32],
    pub batch: &'a PackedBatch,
    /// Labels in the student's order (B); `None` for an example without one.
    pub labels: &'a [Option<u32>],
    pub student: &'a dyn Trainable,
    /// Dropout of the step's forward pass.
    pub dropout: &'a Dropout,
    pub teacher: &'a Signals,
    /// Who learns from it.
    pub turn: Turn,
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
