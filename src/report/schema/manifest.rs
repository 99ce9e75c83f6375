//! What decided the numbers of a report.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What decided the numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// `confidence-audit`.
    pub program: String,
    /// Its version.
    pub version: String,
    /// Operating system and processor architecture.
    pub platform: String,
    /// The conventions that the source leaves open and this program fixes (docs/theory.md).
    pub conventions: BTreeMap<String, String>,
    /// `cpu` or `cuda:N`; null where the rows have different ones.
    pub device: Option<String>,
    /// Type that logits are computed in.
    pub dtype: String,
    /// Fingerprint of the arithmetic of the machine and the program: two reports with the same one
    /// have the same bits. Null in reports of earlier versions.
    #[serde(default)]
    pub arithmetic: Option<String>,
    /// Seed of everything random; null where the rows have different ones.
    pub seed: Option<u64>,
    /// SHA-256 of the configuration in force: of every task's settings that can change a result,
    /// and of what describes a user's own task. Where the models and the data lie is no part of it:
    /// they have hashes of their own.
    pub config_sha256: String,
    /// The models that were loaded, by role and task.
    pub models: Vec<ModelManifest>,
    /// The commands that give these rows again, one per task, ready for a POSIX shell.
    #[serde(default)]
    pub commands: Vec<TaskCommand>,
}

/// How to run a task's audit again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCommand {
    /// The task's name.
    pub task: String,
    /// The command, with every setting that is not the program's own default; it needs no config but
    /// the one that it names.
    pub command: String,
}

/// Where the length that texts are cut at is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LengthLimit {
    /// `--max-length`, or its default.
    Setting,
    /// `model_max_length` of the tokenizer.
    Tokenizer,
    /// The model's positions.
    Positions,
}

impl LengthLimit {
    /// `tokens`, with the limit where it is not the setting: `40 tokens (the tokenizer's limit)`.
    pub fn in_words(self, tokens: usize) -> String {
        match self {
            LengthLimit::Setting => format!("{tokens} tokens"),
            LengthLimit::Tokenizer => format!("{tokens} tokens (the tokenizer's limit)"),
            LengthLimit::Positions => format!("{tokens} tokens (the model's positions)"),
        }
    }
}

impl ModelManifest {
    /// The length that its texts are cut at, with the limit that it is from.
    pub fn length_in_words(&self) -> Option<String> {
        let limit = self.max_length_from.unwrap_or(LengthLimit::Setting);
        self.max_length.map(|tokens| limit.in_words(tokens))
    }
}

/// One loaded model, or one table of predictions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelManifest {
    /// The task it was loaded for.
    pub task: String,
    /// `teacher` or `student`.
    pub role: String,
    /// What the user named: a folder, `id@revision`, or the files of predictions.
    pub source: String,
    /// The commit that a Hub revision stood for.
    pub revision: Option<String>,
    /// Architecture, such as `bert`; null for predictions.
    pub architecture: Option<String>,
    /// Head convention: `pooled`, `pooled-relu`, or the architecture's own; for an exported model, the
    /// batches and the padding that it was run in.
    pub head: Option<String>,
    /// Runtime of an exported model with its version, such as `tract 0.23.9`; null for others.
    #[serde(default)]
    pub runtime: Option<String>,
    /// Type that the weights are stored in.
    pub stored_dtype: Option<String>,
    /// Number of weights.
    pub parameters: Option<usize>,
    /// Length that its texts are cut at, tokens, special tokens included; null for predictions.
    pub max_length: Option<usize>,
    /// The limit that `max_length` is from; null for predictions and in reports of earlier versions.
    #[serde(default)]
    pub max_length_from: Option<LengthLimit>,
    /// The inputs that the model was given: `input_ids`, `attention_mask`, and `token_type_ids` where
    /// its tokenizer returns them and the model has segments. Null for predictions and in reports of
    /// earlier versions.
    #[serde(default)]
    pub inputs: Option<Vec<String>>,
    /// The model's label names, in its own order.
    pub labels: Vec<String>,
    /// The model's label id for each label of the task: `columns[task label] = model label`.
    pub label_map: Vec<usize>,
    /// SHA-256 of the weights' files (of the predictions' files for `audit check`).
    pub weights_sha256: String,
    /// SHA-256 of the tokenizer's files.
    pub tokenizer_sha256: Option<String>,
    /// SHA-256 of config.json.
    pub config_sha256: Option<String>,
}
