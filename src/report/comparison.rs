//! What moved between two saved reports, and whether the student got worse: `audit compare`.
//!
//! ```text
//!  old report ─┐  rows by task and split ──► ComparedRow (what moved, verdict, reasons) ─┐
//!              ├─►                                                                       ├─► Comparison
//!  new report ─┘  manifests ───────────────► changes, warnings ──────────────────────────┘
//! ```
//!
//! `configs/comparison.schema.json` is generated from these types; a test keeps it fresh.

mod changes;
mod document;
mod moved;
mod row;

pub(super) use document::document;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::ABSENT;
use super::schema::{Outcome, Report, TaskRow, WorstInput};
use super::summary::verdict_word;
pub use moved::{Moved, MovedCount, MovedFigure, MovedFigures};

/// Raised when a field is renamed, removed or changes its meaning; additions do not raise it.
pub const COMPARISON_VERSION: u32 = 1;

/// Two reports, side by side.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Comparison {
    /// [`COMPARISON_VERSION`] of the program that compared.
    pub schema_version: u32,
    /// The worst verdict of the rows that count: `not_comparable` over `regression` over
    /// `no_regression`.
    pub verdict: ComparisonVerdict,
    /// The exit code that belongs to `verdict`: 0, 1 or 3 (`--exit-zero` does not change it here).
    pub exit_code: u8,
    /// The report that is compared with.
    pub old: ComparedReport,
    /// The report under comparison.
    pub new: ComparedReport,
    /// How far a figure may move.
    pub limits: Limits,
    /// A row per task and split of either report, in the order of the new one.
    pub rows: Vec<ComparedRow>,
    /// What decided the numbers and is no longer the same: models, data, settings, program.
    pub changes: Vec<ManifestChange>,
    /// What makes the comparison doubtful.
    pub warnings: Vec<Remark>,
}

/// What came of a comparison, or of one of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComparisonVerdict {
    /// Nothing that counts got worse than it may.
    NoRegression,
    /// A verdict turned from preserved to not preserved or would have but for a raised κ, or a figure
    /// moved beyond its limit.
    Regression,
    /// Something that the limits need is not known, or is not the same thing in both reports.
    NotComparable,
}

impl ComparisonVerdict {
    /// As good or as bad as an audit's: it has the same exit code, colour and sign.
    pub(super) fn outcome(self) -> Outcome {
        match self {
            ComparisonVerdict::NoRegression => Outcome::Preserved,
            ComparisonVerdict::Regression => Outcome::NotPreserved,
            ComparisonVerdict::NotComparable => Outcome::Error,
        }
    }
}

/// One of the two reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Compared")]
pub struct ComparedReport {
    /// The file, or `stdin`.
    pub source: String,
    /// The report's own verdict.
    pub verdict: Outcome,
    /// The version of the program that wrote it.
    pub version: String,
    /// The operating system and processor that it was made on.
    pub platform: String,
}

/// How far a figure may move on a row that gates; null: as far as it likes. A verdict that turns from
/// preserved to not preserved, or would under the old report's κ, is a regression in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Limits {
    /// The gating σ may rise by so much.
    pub max_sigma_increase: Option<f64>,
    /// The student's accuracy may fall by so much.
    pub max_accuracy_drop: Option<f64>,
}

/// One split of one task in both reports; what one of them does not have is null.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ComparedRow {
    /// The task's name.
    pub task: String,
    /// The split's name.
    pub split: String,
    /// Whether the row gates in the new report.
    pub gates: bool,
    /// Whether it gates in the old one.
    pub gated: bool,
    /// What came of it; null for a row that gates in neither report, and for one that ran and that
    /// the old report does not have.
    pub verdict: Option<ComparisonVerdict>,
    /// Why it is a regression, or why it cannot be compared.
    pub reasons: Vec<String>,
    /// The old report's verdict on the row.
    pub old_outcome: Option<Outcome>,
    /// The new report's.
    pub new_outcome: Option<Outcome>,
    /// Examples that the verdict is about.
    pub n: MovedCount,
    /// What moved.
    #[serde(flatten)]
    pub figures: MovedFigures,
    /// Inputs that are among the worst now and were not. Empty where a run ended early.
    pub worst_entered: Vec<WorstInput>,
    /// Inputs that were among the worst and are no longer.
    pub worst_left: Vec<WorstInput>,
}

/// Something that decided the numbers and is no longer the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Change")]
pub struct ManifestChange {
    /// What it is, such as `student weights` or `platform`.
    pub what: String,
    /// The task, or the task and split, that it belongs to; null for all.
    pub of: Option<String>,
    /// What it was: a SHA-256 for what has one.
    pub old: Option<String>,
    /// What it is.
    pub new: Option<String>,
}

/// A sentence about a row, or about the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Remark {
    /// The task, or the task and split; null for the whole.
    pub of: Option<String>,
    /// What a reader must know.
    pub message: String,
}

/// A report with the name of where it was read from.
pub type Named<'a> = (&'a str, &'a Report);

/// Compares two reports row by row.
///
/// The rows that count are those that gate in `new`. One that gated in `old` must gate in `new` too,
/// or nothing can be said of it; one that `old` does not have cannot have got worse.
pub fn compare(old: Named, new: Named, limits: Limits) -> Comparison {
    let both = pairs(old.1, new.1);
    let rows: Vec<ComparedRow> =
        both.iter().map(|(old, new)| ComparedRow::new(*old, *new, &limits)).collect();
    let (changes, mut warnings) = changes::changes(old.1, new.1, &both);
    let worst = rows.iter().filter_map(|row| row.verdict).max();
    let verdict = worst.unwrap_or_else(|| {
        let message = "no row that gates is in both reports".to_owned();
        warnings.push(Remark { of: None, message });
        ComparisonVerdict::NotComparable
    });
    Comparison {
        schema_version: COMPARISON_VERSION,
        verdict,
        exit_code: verdict.outcome().exit() as u8,
        old: compared(old),
        new: compared(new),
        limits,
        rows,
        changes,
        warnings,
    }
}

/// A row of each report, at least one of the two.
type Pair<'a> = (Option<&'a TaskRow>, Option<&'a TaskRow>);

/// The new report's rows with their old ones, then the rows that only the old report has.
fn pairs<'a>(old: &'a Report, new: &'a Report) -> Vec<Pair<'a>> {
    let of = |report: &'a Report, row: &TaskRow| {
        report.tasks.iter().find(|other| other.task == row.task && other.split == row.split)
    };
    let now = new.tasks.iter().map(|row| (of(old, row), Some(row)));
    let gone = old.tasks.iter().filter(|row| of(new, row).is_none()).map(|row| (Some(row), None));
    now.chain(gone).collect()
}

fn compared((source, report): Named) -> ComparedReport {
    ComparedReport {
        source: source.to_owned(),
        verdict: report.verdict,
        version: report.manifest.version.clone(),
        platform: report.manifest.platform.clone(),
    }
}

impl ComparedRow {
    /// `task/split`.
    fn name(&self) -> String {
        format!("{}/{}", self.task, self.split)
    }
}

impl Comparison {
    /// The verdict's word in capitals and, behind it, which rows it comes from.
    fn headline(&self) -> (&'static str, String) {
        let counting = || self.rows.iter().filter(|row| row.verdict.is_some());
        let of_it = counting().filter(|row| row.verdict == Some(self.verdict));
        let names: Vec<String> = of_it.map(ComparedRow::name).collect();
        match self.verdict {
            ComparisonVerdict::NoRegression => ("NO REGRESSION", names.join(", ")),
            ComparisonVerdict::Regression => ("REGRESSION", names.join(", ")),
            ComparisonVerdict::NotComparable => ("NOT COMPARABLE", names.join(", ")),
        }
    }

    /// The gating rows that ran and that the old report does not have, with their own verdicts: the
    /// headline says nothing of them.
    fn new_rows(&self) -> Option<String> {
        let is_new =
            |row: &&ComparedRow| row.gates && row.verdict.is_none() && row.old_outcome.is_none();
        let named = |row: &ComparedRow| {
            format!("{} ({})", row.name(), row.new_outcome.map_or(ABSENT, verdict_word))
        };
        let names: Vec<String> = self.rows.iter().filter(is_new).map(named).collect();
        (!names.is_empty()).then(|| format!("{}: nothing to compare with", names.join(", ")))
    }
}

#[cfg(test)]
mod tests;
