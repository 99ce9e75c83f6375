//! `distillation.json`: how a student was made, and the bound that its training was to meet.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::evaluate::{Score, SoftLoss};
use super::recipe::{
    Beta, Compat, HeldOut, Keep, Recipe, Stage, StoppingLoss, StudentLayer, TeacherStates,
};
use super::saved::Epoch;
use super::term::Term;
use super::trainer::EndedBy;
use crate::check::{LossReached, RecordedBound};
use crate::model::{DropoutRates, Head};

/// Raised when a key changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// The whole record; [`crate::check::StudentRecord`] reads two parts of it.
#[derive(Debug, Serialize)]
pub struct DistillationRecord<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// This program's.
    pub version: &'static str,
    /// The task.
    pub task: &'a str,
    /// The method.
    pub method: &'static str,
    /// Where the method comes from.
    pub method_source: &'static str,
    /// The bound that the training was to meet; null without a soft-label loss or a β.
    pub bound: Option<RecordedBound>,
    /// The soft-label loss over the clean training set at the end, against the teacher named
    /// below; null without a teacher.
    pub loss_reached: Option<LossReached>,
    /// What ended the training.
    pub ended_by: EndedBy,
    /// The epoch of the last stage whose state this is, from 1.
    pub epoch: usize,
    /// What the student does on the training set.
    pub train: Score,
    /// What it does on the validation split.
    pub validation: Option<Score>,
    /// Every hyperparameter.
    pub recipe: RecordedRecipe<'a>,
    /// The teacher; null for fine-tuning without one.
    pub teacher: Option<RecordedCheckpoint>,
    /// What the student began as.
    pub begun_from: Option<RecordedCheckpoint>,
    /// The data.
    pub data: BTreeMap<&'static str, Data>,
    /// The losses of every epoch.
    pub course: &'a [Epoch],
}

/// Every hyperparameter.
#[derive(Debug, Serialize)]
pub struct RecordedRecipe<'a> {
    /// The student's shape and beginning.
    pub student: &'a StudentLayer,
    /// The stages.
    pub stages: &'a [Stage],
    /// The student's own dropout, where a stage names none.
    pub dropout: DropoutRates,
    /// β asked for.
    #[serde(flatten)]
    pub beta: Option<Beta>,
    /// Which loss is held against it.
    pub stopping_loss: Option<StoppingLoss>,
    /// Which state is kept.
    pub keep: Keep,
    /// κ, where this choice depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa: Option<f64>,
    /// What of the validation split the training never looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// Whose habits are followed.
    pub compat: Compat,
    /// The teacher's layers by the student's, where the recipe names them.
    pub layer_map: &'a Option<Vec<usize>>,
    /// Where the teacher's hidden states come from.
    pub teacher_states: TeacherStates,
    /// The method's own keys.
    #[serde(flatten)]
    pub own: Map<String, Value>,
    /// Head convention asked for of the teacher.
    pub teacher_head: Head,
    /// Which of the teacher's labels is which of the task's, where the recipe says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_map: Option<&'a str>,
    /// Longest sequence, tokens.
    pub max_length: usize,
    /// Of everything random.
    pub seed: u64,
    /// Examples trained on, where not all.
    pub limit: Option<usize>,
}

impl<'a> RecordedRecipe<'a> {
    /// What decides the student's parameters at the end of stage number `stage`, counted from 0,
    /// which is not the last one: nothing that only later stages or the choice of the state read.
    pub fn until(self, stage: usize) -> Self {
        RecordedRecipe {
            stages: &self.stages[..=stage],
            beta: None,
            keep: Keep::Last,
            kappa: None,
            held_out: None,
            ..self
        }
    }

    /// What `recipe` says of a training over `n` examples.
    pub fn of(recipe: &'a Recipe, dropout: DropoutRates, n: usize) -> Self {
        RecordedRecipe {
            student: &recipe.student,
            stages: &recipe.stages,
            dropout,
            beta: recipe.stopping.map(|stopping| stopping.beta),
            stopping_loss: recipe.stopping.map(|stopping| stopping.loss),
            keep: recipe.keep,
            kappa: recipe.keeps_within(n),
            held_out: recipe.held_out,
            compat: recipe.compat,
            layer_map: &recipe.layer_map,
            teacher_states: recipe.teacher_states,
            own: recipe
                .configured
                .record()
                .map(|(key, value)| (key.to_owned(), value))
                .into_iter()
                .collect(),
            teacher_head: recipe.settings.teacher_head,
            label_map: recipe.settings.value("label_map"),
            max_length: recipe.settings.max_length,
            seed: recipe.settings.seed,
            limit: recipe.settings.limit,
        }
    }
}

/// A checkpoint that had a part in the training.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedCheckpoint {
    /// As it was named.
    pub source: String,
    /// The commit that a Hub revision stood for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of its tokenizer's files.
    pub tokenizer_sha256: String,
}

/// A split that had a part in the training.
#[derive(Debug, Clone, Serialize)]
pub struct Data {
    /// Examples used.
    pub examples: usize,
    /// SHA-256 of its files.
    pub sha256: String,
    /// The commit of the Hub's data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Texts cut at the maximum length.
    pub truncated: usize,
}

/// The bound that `recipe` asks for; `None` without a β.
pub fn bound(recipe: &Recipe) -> Option<RecordedBound> {
    let (stopping, last) = (recipe.stopping?, recipe.last_stage());
    let (beta, beta_per_example) = match stopping.beta {
        Beta::Beta(sum) => (Some(sum), None),
        Beta::BetaPerExample(mean) => (None, Some(mean)),
    };
    let w_soft = last.soft_weight();
    // α is the labels' weight, where there is nothing else and the two sum to one.
    let w_hard = last.losses.get(&Term::HARD).copied().unwrap_or(0.0);
    let others = last
        .losses
        .iter()
        .any(|(term, weight)| ![Term::HARD, Term::SOFT].contains(term) && *weight > 0.0);
    let alpha = (!others && (w_hard + w_soft - 1.0).abs() < 1e-9).then_some(1.0 - w_soft);
    Some(RecordedBound {
        beta,
        beta_per_example,
        alpha,
        w_soft: alpha.is_none().then_some(w_soft),
        gamma: None,
        temperature: Some(last.temperature),
        t_squared: Some(last.t_squared),
    })
}

/// The loss that was reached, as the record tells it.
pub fn loss_reached(loss: SoftLoss) -> LossReached {
    let SoftLoss { examples, sum_kl, sum_cross_entropy } = loss;
    LossReached {
        examples: Some(examples),
        sum_kl: Some(sum_kl),
        mean_kl: Some(sum_kl / examples as f64),
        sum_cross_entropy: Some(sum_cross_entropy),
        mean_cross_entropy: Some(sum_cross_entropy / examples as f64),
    }
}
