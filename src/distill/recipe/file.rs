//! A recipe as it is written: TOML, every key optional, unknown keys refused.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::config::Layer;
use crate::distill::methods::{Configured, Method, METHODS};
use crate::distill::schedule::Decay;
use crate::distill::term::Term;
use crate::model::Head;

/// What the student begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Some layers of the teacher, its embeddings and its head
    TeacherLayers,
    /// A pretrained checkpoint, with a new head where it has none for the task
    Base,
    /// Random weights of a given shape, over the vocabulary of the base or the teacher
    Scratch,
}

/// Which layers: how many, evenly spread, or which, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Layers {
    /// So many, every k-th of those there are.
    Count(usize),
    /// These.
    These(Vec<usize>),
}

/// The student's shape and beginning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentLayer {
    /// What it begins as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// The pretrained checkpoint: a folder or a Hub id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Its layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Layers>,
    /// H.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
    /// Attention heads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// Width of the feed-forward layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
}

/// Shares of elements that are dropped out, each in [0, 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutLayer {
    /// After embeddings and dense layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<f64>,
    /// Of attention probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<f64>,
    /// Of what the head reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<f64>,
}

/// What a stage of a training is governed by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StageLayer {
    /// Passes over the training set, at most.
    pub max_epochs: Option<usize>,
    /// Peak learning rate.
    pub learning_rate: Option<f64>,
    /// How the learning rate goes on from its peak.
    pub schedule: Option<Decay>,
    /// Share of the steps in which the learning rate rises to its peak.
    pub warmup: Option<f64>,
    /// Examples of a batch.
    pub batch_size: Option<usize>,
    /// Batches whose gradients are averaged into one step.
    pub accumulate: Option<usize>,
    /// Decoupled weight decay, of matrices alone.
    pub weight_decay: Option<f64>,
    /// Decay of the gradient's mean.
    pub beta1: Option<f64>,
    /// Decay of its square's.
    pub beta2: Option<f64>,
    /// AdamW's epsilon.
    pub eps: Option<f64>,
    /// Largest global norm of a gradient; 0 clips nothing.
    pub clip: Option<f64>,
    /// Dropout; what is not named is what the checkpoint's config.json says.
    pub dropout: Option<DropoutLayer>,
    /// Whether the embeddings stay as they are.
    pub freeze_embeddings: Option<bool>,
    /// Distillation temperature t.
    pub temperature: Option<f64>,
    /// Whether the soft-label loss is scaled by t².
    pub t_squared: Option<bool>,
    /// The losses and their weights; replaces the method's own as a whole.
    pub losses: Option<BTreeMap<Term, f64>>,
}

/// Which of a training's states is saved, unless β ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// That of the epoch with the highest accuracy on the validation split.
    BestAccuracy,
    /// That of the epoch with the smallest σ on the validation split.
    BestSigma,
    /// Of the epochs whose σ on the training set is within κ, the one with the highest accuracy on
    /// the validation split; while there is none, the one with the smallest σ on the training set.
    BestPreserved,
    /// The last.
    Last,
}

/// Which soft-label loss is held against β.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppingLoss {
    /// The divergence, which falls to 0.
    Kl,
    /// The cross-entropy, which never falls below the teacher's own entropy.
    Ce,
}

/// Whose habits the losses and the optimiser follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Those of the papers.
    #[default]
    None,
    /// Those of the original TinyBERT code.
    Huawei,
}

/// Where the teacher's hidden states come from while a student is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherStates {
    /// A file, written once before; unless it would be too large, then the teacher beside the
    /// student. The student comes out the same, bit for bit.
    Auto,
    /// A file.
    Stored,
    /// The teacher itself, run again for every batch.
    InTheLoop,
}

/// `held_out`: examples of the validation split that a training never looks at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Share of the split, in (0, 1).
    pub share: f64,
    /// Seed of the cut.
    #[serde(default)]
    pub seed: u64,
}

/// A recipe.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecipeFile {
    /// The task.
    pub task: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// Folder or Hub id.
    pub teacher: Option<String>,
    /// Folder of the data.
    pub data: Option<String>,
    /// Where the student goes.
    pub output: Option<String>,
    /// Longest sequence, tokens.
    pub max_length: Option<usize>,
    /// Train on the first so many examples only.
    pub limit: Option<usize>,
    /// Accept more skipped rows than 0.1 %.
    pub allow_skipped: Option<bool>,
    /// Which of the teacher's labels is which of the task's.
    pub label_map: Option<String>,
    /// Head convention of the teacher.
    pub teacher_head: Option<Head>,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// Workers.
    pub threads: Option<usize>,
    /// A task of the user's own: the keys of a `[task.NAME]` table.
    pub own_task: Option<Layer>,
    /// The student.
    pub student: StudentLayer,
    /// The stopping threshold, nats, summed over the training set.
    pub beta: Option<f64>,
    /// The same per example.
    pub beta_per_example: Option<f64>,
    /// Which loss is held against it.
    pub stopping_loss: Option<StoppingLoss>,
    /// Which state is saved where β did not end the training.
    pub keep: Option<Keep>,
    /// κ of the states that `best-preserved` prefers.
    pub kappa: Option<f64>,
    /// What of the validation split the training never looks at.
    pub held_out: Option<HeldOut>,
    /// Steps between two lines of progress.
    pub log_every: Option<usize>,
    /// Steps between two saved states.
    pub save_every: Option<usize>,
    /// Whose habits to follow.
    pub compat: Option<Compat>,
    /// Student layer i looks at teacher layer `layer_map[i − 1]`, both counted from 1.
    pub layer_map: Option<Vec<usize>>,
    /// Where the teacher's hidden states come from.
    pub teacher_states: Option<TeacherStates>,
    /// File of the teacher's hidden states, kept for the next student.
    pub store: Option<String>,
    /// For every stage.
    pub training: StageLayer,
    /// For one stage.
    pub stage: BTreeMap<String, StageLayer>,
    /// The tables of the methods' own keys, by method.
    #[serde(skip)]
    pub own: Vec<(&'static Method, Box<dyn Configured>)>,
}

/// Calls `$visit!(field)` for every key of a stage but its losses.
macro_rules! for_each_stage_key {
    ($visit:ident) => {
        $visit!(max_epochs);
        $visit!(learning_rate);
        $visit!(schedule);
        $visit!(warmup);
        $visit!(batch_size);
        $visit!(accumulate);
        $visit!(weight_decay);
        $visit!(beta1);
        $visit!(beta2);
        $visit!(eps);
        $visit!(clip);
        $visit!(dropout);
        $visit!(freeze_embeddings);
        $visit!(temperature);
        $visit!(t_squared);
        $visit!(losses);
    };
}

impl RecipeFile {
    /// Reads the text of a recipe; each method reads its own table.
    ///
    /// # Errors
    /// Text that is not TOML, an unknown key, a value of another type.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        let within = |mut error: toml::de::Error| {
            error.set_input(Some(text));
            error
        };
        let mut table = DeTable::parse(text)?;
        let mut own = Vec::new();
        for method in METHODS.iter().filter(|method| method.owns(method.name)) {
            if let Some(keys) = table.get_mut().remove(method.name) {
                let configured = (method.configure)(Some(keys.into())).map_err(within)?;
                own.push((method, configured));
            }
        }
        let file = RecipeFile::deserialize(toml::Deserializer::from(table)).map_err(within)?;
        Ok(RecipeFile { own, ..file })
    }
}

impl StageLayer {
    /// The same with what `above` says put on top, key by key.
    pub fn under(mut self, above: &StageLayer) -> StageLayer {
        macro_rules! take {
            ($field:ident) => {
                if above.$field.is_some() {
                    self.$field = above.$field.clone();
                }
            };
        }
        for_each_stage_key!(take);
        self
    }
}
