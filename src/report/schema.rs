//! The report as data: the one serialised schema that every format is rendered from.
//!
//! `configs/report.schema.json` is generated from these types; a test keeps it fresh. A value that
//! is not defined is `null`, never NaN, and [`TaskRow::undefined`] says why a figure is.

mod manifest;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::check::{Certainty, CoursePoint, Note, NoteLevel, Sequential, UpperLimit};
pub use crate::confidence::{
    ConfidenceCounts, Divergence, Group, Histogram, Interval, LeftOut, ModelIntervals,
    ModelStatistics, PairFigures, PairIntervals, ReliabilityBin, Spread,
};
pub use manifest::*;

use crate::check::Verdict;
use crate::confidence::{ConfidenceKind, Statistic};

/// Raised when a field is renamed, removed or changes its meaning; additions do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// What one run of `audit` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA_VERSION`] of the program that wrote the report.
    pub schema_version: u32,
    /// The worst verdict of the gating rows: `error` over `not_preserved` over `preserved`.
    pub verdict: Outcome,
    /// The exit code that belongs to `verdict`: 0, 1 or 3 (`--exit-zero` does not change it here).
    pub exit_code: u8,
    /// A row per task and split, gating rows first within a task.
    pub tasks: Vec<TaskRow>,
    /// What decided the numbers, so that they can be made again.
    pub manifest: Manifest,
}

/// The verdict of a row or of a whole report.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Σd² ≤ B: the student keeps the teacher's confidence.
    Preserved,
    /// Σd² > B.
    NotPreserved,
    /// The audit could not be carried out.
    #[default]
    Error,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Preserved => Outcome::Preserved,
            Verdict::NotPreserved => Outcome::NotPreserved,
        }
    }
}

/// One split of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskRow {
    /// Task name, such as `sst2`.
    pub task: String,
    /// Split name, such as `train`.
    pub split: String,
    /// Whether this row's verdict counts for the exit code.
    pub gates: bool,
    /// The task's label names, in its order (K); empty where the row could not be run.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Examples audited.
    pub n: usize,
    /// Usable examples of the split.
    pub of: usize,
    /// Whether `n < of` (an audit with `--limit`).
    pub partial: bool,
    /// The row's verdict; `error` when the row could not be run, and then every number is null.
    pub verdict: Outcome,
    /// Whether the verdict could be wrong; null when the row could not be run.
    pub certainty: Option<Certainty>,
    /// Examples that were run: `n`, or fewer where the run ended with a verdict before the last one.
    /// Every figure below but the bound and the budget is then over these examples alone.
    pub examples_run: usize,
    /// Why the row could not be run.
    pub error: Option<RowError>,
    /// The statistic that gates: `rms` (about zero), `centred`, or `published`. The last is over p(x)_0
    /// of the examples that both models get right; σ of each group, the interval, the budget and its
    /// course are then of these.
    #[schemars(with = "String")]
    pub statistic: Statistic,
    /// The confidence that d is the difference of: `max` or `teacher-class`. It gates unless the
    /// statistic is `published`.
    #[schemars(with = "String")]
    pub confidence: ConfidenceKind,
    /// Root mean square about zero of d, for this confidence. In [0, 1]. Null where the run
    /// ended early.
    pub sigma: Option<f64>,
    /// The gating σ over the examples run, where the run ended early: it says nothing of the others.
    pub sigma_prefix: Option<f64>,
    /// What σ of all `n` is at least, sqrt(spent / n), where the run ended early.
    pub sigma_at_least: Option<f64>,
    /// The random draws, where examples were drawn at random (`--sequential`).
    pub sequential: Option<Sequential>,
    /// Standard deviation of d about its mean (population), for the same confidence.
    pub sigma_centred: Option<f64>,
    /// Mean of d = C_T − C_S; positive when the student is less sure than its teacher.
    pub mean_difference: Option<f64>,
    /// Every reading of σ: the four of two confidences and two statistics, and the published one. The
    /// one named by `statistic` and `confidence` gates.
    pub variants: Vec<Variant>,
    /// 95 % bootstrap interval of the gating σ.
    pub sigma_interval: Option<Interval>,
    /// What σ about zero of unseen inputs of the same kind is at most, at a stated level: for a split
    /// that the student was not trained on.
    #[serde(default)]
    pub sigma_unseen: Option<UpperLimit>,
    /// What σ would be with the student's logits divided by one temperature, where one was fitted on
    /// another split of the run.
    #[serde(default)]
    pub recalibrated: Option<RecalibratedSigma>,
    /// The bound: κ = γ·sqrt(β/(n(1−α))).
    pub kappa: Option<f64>,
    /// β, nats, summed over the examples; null when `--kappa` was given outright.
    pub beta: Option<f64>,
    /// β/n, nats.
    pub beta_per_example: Option<f64>,
    /// Weight of the hard-label loss.
    pub alpha: f64,
    /// Distillation temperature, 1 for a loss scaled by t².
    pub gamma: f64,
    /// Where the bound was set: `default`; the flag, such as `flag --kappa`; the config's file in
    /// backticks, its table and the key, such as [defaults] kappa; or `student's distillation.json`.
    pub bound_origin: String,
    /// The confidence budget B = κ²·n, or κ² times the examples of the published statistic.
    pub budget: Option<f64>,
    /// Σd² (or Σ(d−mean)² for the centred and the published statistic), compared with `budget`: the
    /// one predicate.
    pub spent: Option<f64>,
    /// spent / budget; 1 is the limit. Null for a budget of zero.
    pub spent_share: Option<f64>,
    /// The share spent after a growing number of examples, in the order in which they were taken:
    /// that of the data, or of the draws where a sequential run ended early.
    pub course: Vec<CoursePoint>,
    /// Examples taken, in the order of `course`, when the budget was spent for certain; null when it
    /// is not.
    pub exhausted_at: Option<usize>,
    /// The bound recorded by the student's own training (`distillation.json`), for information.
    pub student_bound: Option<StudentBound>,
    /// What both models give.
    #[serde(flatten)]
    pub figures: PairFigures,
    /// The inputs with the largest |d|, largest first.
    pub worst: Vec<WorstInput>,
    /// Notes and warnings, each with a stable code.
    pub notes: Vec<Note>,
    /// Rows of the data that could not be used.
    pub skipped: Skipped,
    /// For each figure that is null: why. Keys are the field's path in the row, such as
    /// `negative_flips` or `teacher.accuracy`; `variants.max` and `variants.teacher-class` are for
    /// both readings of that confidence, `variants.first-label` is for the published one, and `*` is
    /// for a row that could not be run. What is null because there is nothing of the kind has no
    /// entry: an `error`, what only a run that ended early or drew at random has, a budget that was
    /// never `exhausted_at`, a record without a `student_bound`, a text, a label, a hash.
    pub undefined: BTreeMap<String, String>,
    /// SHA-256 of the split's files.
    pub data_sha256: Option<String>,
    /// Where the split was read from.
    pub data_files: Vec<String>,
    /// The commit of the Hub's data set that the files are of; null for local files.
    pub data_revision: Option<String>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Seed of everything random (pre-flight sample, bootstrap).
    pub seed: u64,
    /// Wall-clock seconds for the row. Not part of what must be reproducible.
    pub seconds: Option<f64>,
    /// Of the `examples_run` of each model, those that the prediction cache held; the others were
    /// computed in this run. Null for predictions and for a row that could not be run. Not part of
    /// what must be reproducible.
    #[serde(default)]
    pub rows_from_cache: Option<RowsFromCache>,
}

/// Rows of each model that the prediction cache held before the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RowsFromCache {
    /// Rows of the teacher.
    pub teacher: usize,
    /// Rows of the student.
    pub student: usize,
}

/// Why a row could not be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowError {
    /// What failed, and on which input.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// One reading of σ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Variant {
    /// `max` or `teacher-class`; for the published statistic `first-label`, p(x)_0.
    #[schemars(with = "String")]
    pub confidence: VariantConfidence,
    /// `rms`, `centred` or `published`.
    #[schemars(with = "String")]
    pub statistic: Statistic,
    /// σ in this reading; null where it is not defined, and where the run ended early.
    pub sigma: Option<f64>,
    /// Whether this reading stays within the bound.
    pub within_bound: Option<bool>,
    /// Whether this reading decides the verdict.
    pub gates: bool,
    /// The examples that the published statistic is over: those that both models get right. Null for
    /// the other readings, which are over all.
    #[serde(default)]
    pub examples: Option<usize>,
    /// The examples that the published statistic leaves out. Null for the other readings.
    #[serde(default)]
    pub left_out: Option<LeftOut>,
}

/// The confidence of a reading of σ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariantConfidence {
    /// Each model's largest probability.
    Max,
    /// Both models' probability of the teacher's label.
    TeacherClass,
    /// Both models' probability of the label with id 0: the published statistic's.
    FirstLabel,
}

impl From<ConfidenceKind> for VariantConfidence {
    fn from(kind: ConfidenceKind) -> Self {
        match kind {
            ConfidenceKind::Max => Self::Max,
            ConfidenceKind::TeacherClass => Self::TeacherClass,
        }
    }
}

impl VariantConfidence {
    /// `max`, `teacher-class` or `first-label`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Max => ConfidenceKind::Max.as_str(),
            Self::TeacherClass => ConfidenceKind::TeacherClass.as_str(),
            Self::FirstLabel => "first-label",
        }
    }

    /// Whether `statistic` reads this confidence in an audit by `kind`.
    pub(crate) fn is_read_by(self, statistic: Statistic, kind: ConfidenceKind) -> bool {
        match statistic {
            Statistic::Published => self == Self::FirstLabel,
            Statistic::Rms | Statistic::Centred => self == kind.into(),
        }
    }
}

/// The bound that a student's own training recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StudentBound {
    /// κ computed from the record for this split's n.
    pub kappa: f64,
    /// β asked for, nats, summed.
    pub beta: f64,
    /// Weight of the hard-label loss.
    pub alpha: f64,
    /// Temperature, 1 for a loss scaled by t².
    pub gamma: f64,
    /// What σ says against it, for information unless `--bound from-student`.
    pub within_bound: Option<bool>,
}

/// An input on which the two confidences are far apart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorstInput {
    /// 0-based position in the split.
    pub index: usize,
    /// The sentence, or the first of a pair; null where no text was given (`audit check`).
    pub text: Option<String>,
    /// The second sentence of a pair.
    pub pair: Option<String>,
    /// The label's name.
    pub label: Option<String>,
    /// What the teacher says.
    pub teacher: Prediction,
    /// What the student says.
    pub student: Prediction,
    /// d = C_T − C_S in the gating confidence.
    pub difference: f64,
}

/// What one model says of one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Prediction {
    /// The predicted label's name.
    pub predicted: String,
    /// The confidence that d is the difference of: the model's largest probability (`max`), or its
    /// probability of the label that the teacher predicts (`teacher-class`).
    pub confidence: f64,
    /// All K probabilities in the task's label order; empty where the model shows none.
    pub probabilities: Vec<f64>,
}

/// σ with the student's logits divided by one temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Recalibrated")]
pub struct RecalibratedSigma {
    /// The temperature.
    pub temperature: f64,
    /// The split that it was fitted on.
    pub fitted_on: String,
    /// Whether it is an end of the grid that is searched.
    pub at_edge: bool,
    /// The gating σ of this row's split at that temperature.
    pub sigma: f64,
    /// Whether that is within the bound.
    pub within_bound: bool,
}

/// Rows of the data that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// The first few, as `file:line: reason`.
    pub first: Vec<String>,
}
