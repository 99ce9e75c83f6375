//! Whether a saved report says what its models and data give: the report of `audit verify`.
//!
//! ```text
//!  saved report ─┐  compare.rs: value by value ──► differences ─┐
//!                ├─►                                            ├─► Verification
//!  derived again ┘  what could not be run ───────► reasons ─────┘
//! ```
//!
//! `configs/verification.schema.json` is generated from these types; a test keeps it fresh.

mod compare;
mod document;

pub(super) use document::document;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::numbers::against_kappa;
use super::recalibration::Recalibration;
use super::schema::{Outcome, Report, TaskRow};
use super::summary::{comparison, extent};
pub use compare::{differences, Comparable, Precision, TOLERANCE};

/// Raised when a field is renamed, removed or changes its meaning; additions do not raise it.
pub const VERIFICATION_VERSION: u32 = 1;

/// What came of deriving a report again.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Verification {
    /// [`VERIFICATION_VERSION`] of the program that verified.
    pub schema_version: u32,
    /// `differs` over `cannot` over `verified`.
    pub verdict: VerificationVerdict,
    /// The exit code that belongs to `verdict`: 0, 1 or 3. It is about the report, not about the
    /// student.
    pub exit_code: u8,
    /// The report's file, or `stdin`.
    pub source: String,
    /// The rows of the report, as it states them.
    pub rows: Vec<VerifiedRow>,
    /// Values that are not what is derived now.
    pub differences: Vec<ValueDifference>,
    /// Why something could not be derived.
    pub reasons: Vec<String>,
    /// What was compared.
    pub checked: Vec<String>,
    /// What was not compared.
    pub not_checked: Vec<String>,
    /// The examples that were run again, with `--sample`; null where all were.
    pub sample: Option<SampledExamples>,
    /// Largest difference of two numbers that counts as none, of 1 or of the number itself, where that
    /// is larger; null where they had to be equal.
    pub tolerance: Option<f64>,
}

/// Whether a report is true.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerificationVerdict {
    /// Everything that was compared is what is derived now.
    #[default]
    Verified,
    /// Something could not be derived.
    Cannot,
    /// At least one value is not what is derived now.
    Differs,
}

impl VerificationVerdict {
    /// As good or as bad as an audit's: it has the same exit code and colour.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            VerificationVerdict::Verified => Outcome::Preserved,
            VerificationVerdict::Differs => Outcome::NotPreserved,
            VerificationVerdict::Cannot => Outcome::Error,
        }
    }

    /// `verified`, `differs` or `cannot`.
    pub fn word(self) -> &'static str {
        match self {
            VerificationVerdict::Verified => "verified",
            VerificationVerdict::Differs => "differs",
            VerificationVerdict::Cannot => "cannot",
        }
    }
}

/// A row of the report under verification, as the report states it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct VerifiedRow {
    /// The task's name.
    pub task: String,
    /// The split's name.
    pub split: String,
    /// Whether it decides the exit code of the audit.
    pub gates: bool,
    /// The report's verdict.
    pub verdict: Outcome,
    /// σ, κ and the number of examples in words.
    pub figures: String,
    /// κ with its origin in words: a reader must judge whether this is the bound that was agreed on.
    pub bound: String,
}

/// A value of the report that is not what is derived now.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ValueDifference {
    /// Where it is, such as `tasks[0].sigma`, or the line and column of predictions.csv.
    pub path: String,
    /// What the report has; null for nothing.
    pub report: Value,
    /// What is derived now; null for nothing.
    pub now: Value,
}

/// The examples of a verification with `--sample`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SampledExamples {
    /// Examples asked for, of each split.
    pub asked: usize,
    /// Examples that were run through both models, over all splits.
    pub run: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl Verification {
    /// A verification of `rows`, before anything was compared.
    pub fn new(source: String, rows: Vec<VerifiedRow>) -> Self {
        Verification {
            schema_version: VERIFICATION_VERSION,
            verdict: VerificationVerdict::Verified,
            exit_code: 0,
            source,
            rows,
            differences: Vec::new(),
            reasons: Vec::new(),
            checked: Vec::new(),
            not_checked: Vec::new(),
            sample: None,
            tolerance: None,
        }
    }

    /// Sets the verdict by what was found.
    pub fn decided(mut self) -> Self {
        self.verdict = match (self.differences.is_empty(), self.reasons.is_empty()) {
            (false, _) => VerificationVerdict::Differs,
            (true, false) => VerificationVerdict::Cannot,
            (true, true) => VerificationVerdict::Verified,
        };
        self.exit_code = self.verdict.outcome().exit() as u8;
        self
    }

    /// Adds a value that is not what is derived now.
    pub fn differs(&mut self, path: String, report: impl Into<Value>, now: impl Into<Value>) {
        let (report, now) = (report.into(), now.into());
        self.differences.push(ValueDifference { path, report, now });
    }

    /// The rows that the verdict is about: those that differ, else all.
    fn names(&self) -> Vec<String> {
        let of = |row: &VerifiedRow| format!("{}/{}", row.task, row.split);
        let differs = |i: usize| {
            let place = format!("tasks[{i}]");
            self.differences.iter().any(|it| it.path.starts_with(&place))
        };
        let found: Vec<String> =
            (0..self.rows.len()).filter(|&i| differs(i)).map(|i| of(&self.rows[i])).collect();
        match found.is_empty() {
            true => self.rows.iter().map(of).collect(),
            false => found,
        }
    }
}

/// The rows of an audit's report.
pub fn rows_of_audit(report: &Report) -> Vec<VerifiedRow> {
    let row = |row: &TaskRow| VerifiedRow {
        task: row.task.clone(),
        split: row.split.clone(),
        gates: row.gates,
        verdict: row.verdict,
        figures: match &row.error {
            Some(error) => error.message.clone(),
            None => format!("{}, {}", comparison(row).unwrap_or_default(), extent(row)),
        },
        bound: row.bound_in_words(),
    };
    report.tasks.iter().map(row).collect()
}

/// The gating row of a recalibration.
pub fn rows_of_recalibration(report: &Recalibration) -> Vec<VerifiedRow> {
    let (gate, within) = (&report.gate, report.verdict == Outcome::Preserved);
    let sigma = report.gating_sigma(&gate.after);
    let sigma = against_kappa(sigma, within, gate.kappa);
    vec![VerifiedRow {
        task: report.task.clone(),
        split: gate.split.clone(),
        gates: true,
        verdict: report.verdict,
        figures: format!("τ {}, σ {sigma}", report.temperature),
        bound: format!("set by {}", report.bound_origin),
    }]
}
