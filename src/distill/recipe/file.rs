//! A recipe as it is written: TOML, every key optional, unknown keys refused.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use super::teacher::WrittenTables;
use super::StageLayer;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::Layer;
use crate::distill::methods::{Configured, Method, METHODS};
use crate::model::{DropoutRates, Head};

/// The origin of the student's initial weights.
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

/// A choice of layers, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Layers {
    /// This many, every k-th.
    Count(usize),
    /// These.
    These(Vec<usize>),
}

/// `[student]`: its shape and its initial weights.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StudentLayer {
    /// The origin of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<Init>,
    /// The pretrained checkpoint: a folder or a Hub id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The source's layers that it takes, or the number of its layers.
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

/// Dropout rates, each in [0, 1).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DropoutLayer {
    /// After embeddings and dense layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<f64>,
    /// Of attention probabilities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention: Option<f64>,
    /// Of the head's input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<f64>,
}

/// The state of a training that is saved, unless β ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Of the epochs whose accuracy on the validation split is within one standard error of the
    /// highest, the one with the smallest σ on the training set.
    OneStandardError,
    /// The epoch with the highest accuracy on the validation split.
    BestAccuracy,
    /// The epoch with the smallest σ on the validation split.
    BestSigma,
    /// Of the epochs whose σ on the training set is within κ, the one with the highest accuracy on
    /// the validation split; without such an epoch, the one with the smallest σ on the training set.
    BestPreserved,
    /// The last epoch.
    Last,
}

/// Its name in recipes.
impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.serialize(f)
    }
}

impl Keep {
    /// Whether σ decides, which needs a teacher.
    pub fn compares_sigma(self) -> bool {
        match self {
            Keep::OneStandardError | Keep::BestSigma | Keep::BestPreserved => true,
            Keep::BestAccuracy | Keep::Last => false,
        }
    }
}

/// `states`: the states that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WrittenStates {
    /// The one that is kept.
    #[default]
    Kept,
    /// That one, and the state after each epoch that is measured, in a folder of its own.
    All,
}

impl WrittenStates {
    /// Whether it is [`WrittenStates::Kept`].
    pub fn is_default(&self) -> bool {
        *self == WrittenStates::Kept
    }
}

/// The soft-label loss that is compared with β.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoppingLoss {
    /// The divergence, which falls to 0.
    Kl,
    /// The cross-entropy, which never falls below the teacher's own entropy.
    Ce,
}

/// The implementation that losses and optimizer follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// The papers.
    #[default]
    None,
    /// The original TinyBERT code.
    Huawei,
}

impl Compat {
    /// The dropout that is applied of a model's own `rates`: the original code makes a dropout before
    /// the classifier, and does not call it.
    pub fn rates(self, rates: DropoutRates) -> DropoutRates {
        match self {
            Compat::None => rates,
            Compat::Huawei => DropoutRates { classifier: 0.0, ..rates },
        }
    }
}

/// `layer_map`: the teacher's layer that each student layer imitates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a list of the teacher's layers, or `two-thirds`")]
pub enum LayerMap {
    /// Student layer i imitates the teacher's layer number i of the list; both are counted from 1.
    These(Vec<usize>),
    /// By a rule.
    Named(NamedLayerMap),
}

/// A rule for [`LayerMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NamedLayerMap {
    /// Evenly spread over the lower two thirds of the teacher's layers: `t_top8` of HSK's code, for a
    /// teacher of twelve.
    TwoThirds,
}

/// The source of the teacher's hidden states during training. The student is the same, bit for bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherStates {
    /// A file, unless it would be too large.
    Auto,
    /// A file, written once before the training.
    Stored,
    /// The teacher itself, run for every batch.
    InTheLoop,
}

/// `held_out`: a part of the validation split that is not used in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Share of the split, in (0, 1).
    pub share: f64,
    /// Seed of the draw.
    #[serde(default)]
    pub seed: u64,
}

/// The keys of a recipe.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RecipeFile {
    pub task: Option<String>,
    pub method: Option<String>,
    pub teacher: Option<String>,
    /// Tables of the teacher's predictions.
    pub teacher_predictions: Option<WrittenTables>,
    /// The checkpoint that teaches, where it is not the teacher.
    pub learn_from: Option<String>,
    pub data: Option<String>,
    pub output: Option<String>,
    pub max_length: Option<usize>,
    pub limit: Option<usize>,
    pub allow_skipped: Option<bool>,
    pub label_map: Option<String>,
    pub teacher_head: Option<Head>,
    pub seed: Option<u64>,
    pub threads: Option<usize>,
    /// The keys of a `[task.NAME]` table.
    pub own_task: Option<Layer>,
    pub student: StudentLayer,
    /// Nats, summed over the training set.
    pub beta: Option<f64>,
    /// Nats per example.
    pub beta_per_example: Option<f64>,
    pub stopping_loss: Option<StoppingLoss>,
    pub keep: Option<Keep>,
    pub states: Option<WrittenStates>,
    /// κ of `best-preserved`.
    pub kappa: Option<f64>,
    /// The statistic of the σ that `keep` compares.
    pub statistic: Option<Statistic>,
    /// The confidence of the σ that `keep` compares.
    pub confidence: Option<ConfidenceKind>,
    pub held_out: Option<HeldOut>,
    pub log_every: Option<usize>,
    pub save_every: Option<usize>,
    pub compat: Option<Compat>,
    pub layer_map: Option<LayerMap>,
    pub teacher_states: Option<TeacherStates>,
    /// A file of texts to train on.
    pub augmented: Option<String>,
    /// File of the teacher's hidden states, kept for the next student.
    pub store: Option<String>,
    /// For every stage.
    pub training: StageLayer,
    /// For one stage each.
    pub stage: BTreeMap<String, StageLayer>,
    /// The methods' own keys.
    #[serde(skip)]
    pub own: Vec<(&'static Method, Box<dyn Configured>)>,
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
