//! `pretraining.json`: how a masked language model was trained, and how well it predicts.

use serde::Serialize;

/// The record of a pretraining.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainingRecord {
    /// The version of this program.
    pub version: &'static str,
    /// The task whose texts it was trained on.
    pub task: String,
    /// Its options.
    pub options: PretrainOptions,
    /// The checkpoint that it started from.
    pub base: PretrainedBase,
    /// The texts.
    pub data: PretrainingData,
    /// Before the first epoch, as epoch 0, and after each.
    pub epochs: Vec<PretrainedEpoch>,
}

/// The options of a pretraining.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PretrainOptions {
    /// Whether the encoder is trained, or the head alone.
    pub train_encoder: bool,
    /// Passes over the texts.
    pub epochs: usize,
    /// Texts of a step.
    pub batch_size: usize,
    /// The highest learning rate; it rises during the first tenth of the steps, then falls to 0.
    pub learning_rate: f64,
    /// The seed of all draws.
    pub seed: u64,
}

/// The checkpoint that a pretraining started from.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainedBase {
    /// As it was named.
    pub source: String,
    /// The commit of a Hub revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// SHA-256 of its weights.
    pub weights_sha256: String,
    /// SHA-256 of its tokenizer's files.
    pub tokenizer_sha256: String,
    /// Whether its head is new.
    pub new_head: bool,
}

/// The texts of a pretraining.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainingData {
    /// Examples trained on.
    pub examples: usize,
    /// Examples held out of the training.
    pub held_out: usize,
    /// Predicted tokens of these.
    pub held_out_tokens: usize,
    /// Maximum length in tokens.
    pub max_length: usize,
    /// SHA-256 of the split's files.
    pub sha256: String,
    /// The commit of the Hub's data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PretrainedEpoch {
    /// Its number; 0 is before the training.
    pub epoch: usize,
    /// Mean cross-entropy of the predicted tokens in training, in nats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_loss: Option<f64>,
    /// Mean cross-entropy of the predicted tokens of the held-out texts, in nats.
    pub held_out_loss: f64,
    /// Share of these that have the largest logit.
    pub held_out_accuracy: f64,
}
