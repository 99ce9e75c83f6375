//! One layer of settings: a table of the config file, or the flags of a command line.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::check::DEFAULT_BETA_PER_EXAMPLE;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::model::Head;
use crate::task::{CustomTask, DataFormat, Metric, SplitPaths, TextColumns};

/// The keys that set the bound, as one unit.
pub const BOUND_KEYS: [&str; 5] = ["kappa", "beta", "beta_per_example", "alpha", "gamma"];

/// The source of the gating bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BoundSource {
    /// Bound of the flags, the config or the built-in default
    Policy,
    /// Bound in the student's distillation.json
    FromStudent,
}

/// `cased`, `uncased` or `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CasingName {
    /// From tokenizer_config.json.
    Auto,
    /// Text keeps its case.
    Cased,
    /// Text is lower-cased.
    Uncased,
}

/// Every key is optional; missing ones are taken from the layer below.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Args)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// Teacher model: a folder, an ONNX file, or a Hub id with an optional @revision; {task} is the
    /// task's name
    #[arg(long, value_name = "DIR_OR_ID[@REV]", help_heading = "Input")]
    pub teacher: Option<String>,
    /// Student model: a folder, an ONNX file, or a Hub id with an optional @revision; {task} is the
    /// task's name
    #[arg(long, value_name = "DIR_OR_ID[@REV]", help_heading = "Input")]
    pub student: Option<String>,
    /// Data folder, in the layout of the GLUE release or with CSV, JSONL or Parquet files [default:
    /// the Hub's nyu-mll/glue]
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    pub data: Option<String>,
    /// Split that gates: train, validation, test or another name; splits after a comma are secondary,
    /// that is, reported without effect on the exit code [default: train, secondary: validation]
    #[arg(long, value_name = "NAME[,NAME]", help_heading = "Input")]
    pub split: Option<String>,
    /// Audit only the first N examples; the report is marked `partial`
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub limit: Option<usize>,
    /// Accept a split in which more than 0.1 % of the rows cannot be used
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Input")]
    pub allow_skipped: Option<bool>,

    /// The bound κ, set directly
    #[arg(long, value_name = "KAPPA", allow_negative_numbers = true, help_heading = "Bound")]
    pub kappa: Option<f64>,
    /// Soft-label loss β at which distillation may stop, in nats, summed over the examples
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Bound")]
    pub beta: Option<f64>,
    /// β as a mean over the examples [default: 0.0025, so that κ = 0.05]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Bound")]
    pub beta_per_example: Option<f64>,
    /// Weight α of the hard-label loss, in [0, 1) [default: 0]
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true, help_heading = "Bound")]
    pub alpha: Option<f64>,
    /// Distillation temperature γ ≥ 1, or 1 for a loss scaled by its square [default: 1]
    #[arg(long, value_name = "TEMPERATURE", allow_negative_numbers = true, help_heading = "Bound")]
    pub gamma: Option<f64>,
    /// Source of the bound that gates [default: policy]
    #[arg(long, value_name = "SOURCE", value_enum, help_heading = "Bound")]
    pub bound: Option<BoundSource>,
    /// Statistic that gates [default: rms]
    #[arg(long, value_name = "NAME", value_enum, help_heading = "Bound")]
    pub statistic: Option<Statistic>,
    /// Definition of confidence that gates [default: max]
    #[arg(long, value_name = "NAME", value_enum, help_heading = "Bound")]
    pub confidence: Option<ConfidenceKind>,

    /// Map the models' labels to the task's: MODEL_LABEL=TASK_LABEL,…; the prefix `teacher:` or
    /// `student:` limits an entry to one model
    #[arg(long, value_name = "MAP", help_heading = "Labels, heads and tokenizers")]
    pub label_map: Option<String>,
    /// Head convention of a BERT teacher [default: auto]
    #[arg(long, value_name = "HEAD", value_enum, help_heading = "Labels, heads and tokenizers")]
    pub teacher_head: Option<Head>,
    /// Head convention of a BERT student [default: auto]
    #[arg(long, value_name = "HEAD", value_enum, help_heading = "Labels, heads and tokenizers")]
    pub student_head: Option<Head>,
    /// `cased`, `uncased` or `auto`: how a vocab.txt without a tokenizer.json is read.
    #[arg(skip)]
    pub casing: Option<CasingName>,
    /// Read a vocab.txt without a tokenizer.json as cased
    #[arg(long, conflicts_with = "uncased", help_heading = "Labels, heads and tokenizers")]
    #[serde(skip)]
    pub cased: bool,
    /// Read a vocab.txt without a tokenizer.json as uncased
    #[arg(long, help_heading = "Labels, heads and tokenizers")]
    #[serde(skip)]
    pub uncased: bool,

    /// Stop once the budget is spent; the verdict is exact, σ stays unknown
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Early stopping")]
    pub fail_fast: Option<bool>,
    /// Draw examples at random and stop at a verdict that is wrong with probability at most --delta
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Early stopping")]
    pub sequential: Option<bool>,
    /// Largest probability of a wrong verdict with --sequential [default: 0.001]
    #[arg(
        long,
        value_name = "PROBABILITY",
        allow_negative_numbers = true,
        help_heading = "Early stopping"
    )]
    pub delta: Option<f64>,

    /// Maximum sequence length in tokens; longer texts are truncated and counted. If it is not set, a
    /// tokenizer's own lower limit applies [default: 128]
    #[arg(long, value_name = "TOKENS", help_heading = "Execution")]
    pub max_length: Option<usize>,
    /// Maximum number of tokens in a batch; affects speed, never the result [default: 512]
    #[arg(long, value_name = "TOKENS", help_heading = "Execution")]
    pub token_budget: Option<usize>,
    /// Run an ONNX model on N texts at a time, as a service does; dynamically quantised models give
    /// other logits in other batches [default: 1]
    #[arg(long, value_name = "N", help_heading = "Execution")]
    pub onnx_batch: Option<usize>,
    /// Pad the texts of an ONNX model's batch to its `longest`, or to this number of tokens [default:
    /// longest]
    #[arg(long, value_name = "LENGTH", help_heading = "Execution")]
    pub onnx_pad: Option<String>,
    /// Put the texts of an ONNX model into a random order before they are cut into batches
    #[arg(long, value_name = "SEED", help_heading = "Execution")]
    pub onnx_shuffle: Option<u64>,
    /// Run ONNX models with this shared library of ONNX Runtime [default: $ORT_DYLIB_PATH, else the
    /// built-in runtime]
    #[arg(long, value_name = "PATH", help_heading = "Execution")]
    #[serde(skip)]
    pub onnxruntime: Option<PathBuf>,
    /// Worker threads; affects speed, never the result [default: all cores]
    #[arg(long, value_name = "N", help_heading = "Execution")]
    pub threads: Option<usize>,
    /// Seed of the preflight sample and the bootstrap [default: 0] and of the draws of --sequential
    /// [default: from the data's hash]
    #[arg(long, value_name = "SEED", help_heading = "Execution")]
    pub seed: Option<u64>,
    /// Device: cpu, cuda or cuda:N [default: cpu]
    #[arg(long, value_name = "DEVICE", help_heading = "Execution")]
    pub device: Option<String>,
    /// Whether logits are cached on disk.
    #[arg(skip)]
    pub cache: Option<bool>,
    /// Do not read or write cached logits
    #[arg(long, help_heading = "Execution")]
    #[serde(skip)]
    pub no_cache: bool,

    /// Hub data set of a user's own task.
    #[arg(skip)]
    pub dataset: Option<String>,
    /// Its configuration.
    #[arg(skip)]
    pub subset: Option<String>,
    /// Text column or columns of a user's own task.
    #[arg(skip)]
    pub text: Option<TextColumns>,
    /// Its label column.
    #[arg(skip)]
    pub label: Option<String>,
    /// Its label names, in id order.
    #[arg(skip)]
    pub labels: Option<Vec<String>>,
    /// Its splits' files.
    #[arg(skip)]
    pub splits: Option<BTreeMap<String, SplitPaths>>,
    /// The format of its files.
    #[arg(skip)]
    pub format: Option<DataFormat>,
    /// The figure reported in addition to accuracy.
    #[arg(skip)]
    pub metric: Option<Metric>,
}

/// Calls `$visit!` with every key that a layer may override, in the order of the docs.
macro_rules! with_keys {
    ($visit:ident) => {
        $visit! {
            teacher student data split limit allow_skipped
            bound statistic confidence
            label_map teacher_head student_head casing
            fail_fast sequential delta
            onnx_batch onnx_pad onnx_shuffle
            max_length token_budget threads seed device cache
        }
    };
}
pub(super) use with_keys;

/// The names of the fields that are set.
macro_rules! set_keys {
    ($layer:ident, $($field:ident),*) => {
        [$($layer.$field.is_some().then_some(stringify!($field))),*].into_iter().flatten().collect()
    };
}

impl Layer {
    /// The built-in defaults.
    pub fn built_in() -> Self {
        Layer {
            allow_skipped: Some(false),
            beta_per_example: Some(DEFAULT_BETA_PER_EXAMPLE),
            alpha: Some(0.0),
            gamma: Some(1.0),
            bound: Some(BoundSource::Policy),
            statistic: Some(Statistic::Rms),
            confidence: Some(ConfidenceKind::Max),
            teacher_head: Some(Head::Auto),
            student_head: Some(Head::Auto),
            casing: Some(CasingName::Auto),
            fail_fast: Some(false),
            sequential: Some(false),
            delta: Some(0.001),
            max_length: Some(128),
            token_budget: Some(512),
            seed: Some(0),
            device: Some("cpu".to_owned()),
            cache: Some(true),
            ..Layer::default()
        }
    }

    /// The keys of a config's tables, without those of a user's own task.
    pub fn keys() -> Vec<&'static str> {
        macro_rules! names {
            ($($field:ident)*) => {
                [$(stringify!($field)),*]
            };
        }
        [&BOUND_KEYS[..], &with_keys!(names)].concat()
    }

    /// All keys that the layer sets, without those of a user's own task.
    pub fn given(&self) -> Vec<&'static str> {
        macro_rules! given {
            ($($field:ident)*) => {
                set_keys!(self, $($field),*)
            };
        }
        let given: Vec<&str> = with_keys!(given);
        let switches =
            [("cased", self.cased), ("uncased", self.uncased), ("no_cache", self.no_cache)]
                .into_iter()
                .chain([("onnxruntime", self.onnxruntime.is_some())]);
        let switches = switches.filter_map(|(flag, set)| set.then_some(flag));
        [self.bound_keys(), given, switches.collect()].concat()
    }

    /// Those of [`BOUND_KEYS`] that the layer sets.
    pub fn bound_keys(&self) -> Vec<&'static str> {
        set_keys!(self, kappa, beta, beta_per_example, alpha, gamma)
    }

    /// The keys of a user's own task that the layer sets.
    pub fn task_keys(&self) -> Vec<&'static str> {
        set_keys!(self, dataset, subset, text, label, labels, splits, format, metric)
    }

    /// The user's own task that the layer describes, if any.
    pub fn custom_task(&self) -> Option<CustomTask> {
        Some(CustomTask {
            dataset: self.dataset.clone(),
            subset: self.subset.clone(),
            text: self.text.clone()?,
            label: self.label.clone(),
            labels: self.labels.clone(),
            splits: self.splits.clone().unwrap_or_default(),
            format: self.format,
            metric: self.metric,
        })
    }
}
