//! `distillation.json`: the record of a training, with the bound that it was to meet.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::evaluate::{Score, SoftLoss};
use super::recipe::{
    Beta, Compat, HeldOut, Keep, LayerMap, Recipe, Stage, StoppingLoss, StudentLayer,
    TeacherStates, WrittenStates,
};
use super::saved::Epoch;
use super::term::Term;
use super::trainer::EndedBy;
use crate::check::{LossReached, RecordedBound};
use crate::confidence::{ConfidenceKind, Statistic};
use crate::model::{DropoutRates, Head};

/// Raise when a key changes its meaning. In version 1 `epoch` was of the last stage, and the σ in
/// `course[].train` the root mean square of the largest probability whatever the recipe.
pub const SCHEMA_VERSION: u32 = 2;

/// The whole record; [`crate::check::StudentRecord`] reads two parts of it.
#[derive(Debug, Serialize)]
pub struct DistillationRecord<'a> {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The program's version.
    pub version: &'static str,
    pub task: &'a str,
    pub method: &'static str,
    /// The method's publication.
    pub method_source: &'static str,
    /// The bound that the training was to meet; null without a soft-label loss or a β.
    pub bound: Option<RecordedBound>,
    /// The soft-label loss over the clean training set at the end; null without a teacher.
    pub loss_reached: Option<LossReached>,
    pub ended_by: EndedBy,
    /// The stage whose state is kept, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<&'static str>,
    /// The epoch of that stage whose state is kept, from 1.
    pub epoch: usize,
    /// On the training set.
    pub train: Score,
    /// On the validation split.
    pub validation: Option<Score>,
    /// The mean of the probabilities of all generations, where it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<&'a RecordedEnsemble>,
    pub recipe: RecordedRecipe<'a>,
    /// Null for fine-tuning without a teacher, and for a teacher that is a table.
    pub teacher: Option<RecordedCheckpoint>,
    /// The tables of the teacher's predictions, by split, where these teach in place of a checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_predictions: Option<BTreeMap<&'static str, RecordedTable>>,
    /// The checkpoint that the student learned from, where it is not the teacher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learn_from: Option<&'a RecordedCheckpoint>,
    /// The source of the student's initial weights.
    pub begun_from: Option<RecordedCheckpoint>,
    /// The masked language model that was trained against the student.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<RecordedCheckpoint>,
    /// By split.
    pub data: BTreeMap<&'static str, Data>,
    pub course: &'a [Epoch],
}

/// Accuracy and σ of a mean of models, and of each of them.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedEnsemble {
    /// In the order of their training; the student is the last.
    pub members: Vec<RecordedMember>,
    pub train: Score,
    /// On the validation split, without the held-out part.
    pub validation: Option<Score>,
}

/// One model of an ensemble.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedMember {
    pub seed: u64,
    pub train: Score,
    pub validation: Option<Score>,
}

/// Every hyperparameter.
#[derive(Debug, Serialize)]
pub struct RecordedRecipe<'a> {
    pub student: &'a StudentLayer,
    pub stages: &'a [Stage],
    /// The student's own dropout, for stages that set none.
    pub dropout: DropoutRates,
    #[serde(flatten)]
    pub beta: Option<Beta>,
    pub stopping_loss: Option<StoppingLoss>,
    pub keep: Keep,
    #[serde(skip_serializing_if = "WrittenStates::is_default")]
    pub states: WrittenStates,
    /// κ, where `keep` depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kappa: Option<f64>,
    /// The statistic of the σ that `keep` compares, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistic: Option<Statistic>,
    /// The confidence of that σ; the published statistic has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<ConfidenceKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    pub compat: Compat,
    pub layer_map: &'a Option<LayerMap>,
    pub teacher_states: TeacherStates,
    /// The method's own keys.
    #[serde(flatten)]
    pub own: Map<String, Value>,
    pub teacher_head: Head,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_map: Option<&'a str>,
    /// Longest sequence of the student, tokens.
    pub max_length: usize,
    pub seed: u64,
    /// Number of training examples, where not all.
    pub limit: Option<usize>,
}

impl<'a> RecordedRecipe<'a> {
    /// The part that decides the parameters after stage number `stage`, from 0, which is not the last:
    /// nothing that only later stages or the choice of the state depend on.
    pub fn until(self, stage: usize) -> Self {
        RecordedRecipe {
            stages: &self.stages[..=stage],
            beta: None,
            keep: Keep::Last,
            states: WrittenStates::Kept,
            kappa: None,
            statistic: None,
            confidence: None,
            held_out: None,
            ..self
        }
    }

    /// `recipe`, as a training over `n` examples records it.
    pub fn of(recipe: &'a Recipe, dropout: DropoutRates, n: usize) -> Self {
        let own = recipe.configured.record();
        let of_sigma = recipe.sigma_of_keep();
        RecordedRecipe {
            student: &recipe.student,
            stages: &recipe.stages,
            dropout,
            beta: recipe.stopping.map(|stopping| stopping.beta),
            stopping_loss: recipe.stopping.map(|stopping| stopping.loss),
            keep: recipe.keep,
            states: recipe.states,
            kappa: recipe.kappa(n),
            statistic: of_sigma.map(|(statistic, _)| statistic),
            confidence: of_sigma
                .filter(|(statistic, _)| *statistic != Statistic::Published)
                .map(|(_, confidence)| confidence),
            held_out: recipe.held_out,
            compat: recipe.compat,
            layer_map: &recipe.layer_map,
            teacher_states: recipe.teacher_states,
            own: own.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(),
            teacher_head: recipe.settings.teacher_head,
            label_map: recipe.settings.value("label_map"),
            max_length: recipe.settings.max_length,
            seed: recipe.settings.seed,
            limit: recipe.settings.limit,
        }
    }
}

/// A checkpoint that the training used.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedCheckpoint {
    /// As the recipe names it.
    pub source: String,
    /// The commit of a Hub revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of its config.json.
    pub config_sha256: String,
    /// SHA-256 of its tokenizer's files.
    pub tokenizer_sha256: String,
}

impl RecordedCheckpoint {
    /// All that a model and its tokens depend on, but for the settings of the training.
    pub fn hashes(&self) -> [&str; 3] {
        [&self.weights_sha256, &self.config_sha256, &self.tokenizer_sha256]
    }
}

/// A table of the teacher's predictions on one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordedTable {
    /// Its files, in order.
    pub source: Vec<String>,
    /// SHA-256 of their bytes.
    pub sha256: String,
    /// Examples of the split.
    pub examples: usize,
    pub scores: TableScores,
    /// The column of ids that joined its rows to the examples; null where they were taken in order.
    pub joined_by: Option<String>,
}

/// What the columns of a table hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableScores {
    /// Logits, read as f32.
    Logits,
    /// Probabilities, whose logarithms are the logits.
    Probabilities,
}

/// A split that the training used.
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

/// The bound of `recipe`; `None` without β.
pub fn bound(recipe: &Recipe) -> Option<RecordedBound> {
    let (stopping, last) = (recipe.stopping?, recipe.last_stage());
    let (beta, beta_per_example) = match stopping.beta {
        Beta::Beta(sum) => (Some(sum), None),
        Beta::BetaPerExample(mean) => (None, Some(mean)),
    };
    let w_soft = last.soft_weight();
    // The record has α where hard and soft labels are all, and their weights sum to one.
    let w_hard = last.losses.get(&Term::HARD).copied().unwrap_or(0.0);
    let mut losses = last.losses.iter().filter(|(_, weight)| **weight > 0.0);
    let others = losses.any(|(term, _)| ![Term::HARD, Term::SOFT].contains(term));
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
