//! The report of `audit recalibrate`, also written as `recalibration.json` into the checkpoint.
//!
//! `configs/recalibration.schema.json` is generated from these types; a test keeps it fresh.

mod document;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use document::document;

use super::numbers::{decimal, sigma_and_kappa};
use super::schema::{Manifest, Note, Outcome, RowsFromCache, Skipped};
use crate::confidence::Statistic;

/// Raised when a field is renamed, removed or changes its meaning; additions do not raise it.
pub const RECALIBRATION_VERSION: u32 = 1;

/// One student, one temperature, two splits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recalibration {
    /// [`RECALIBRATION_VERSION`] of the program that wrote the report.
    pub schema_version: u32,
    /// The verdict on the recalibrated student on the gating split.
    pub verdict: Outcome,
    /// The exit code that belongs to `verdict`: 0 or 1 (`--exit-zero` does not change it here).
    pub exit_code: u8,
    /// The task's name.
    pub task: String,
    /// τ: the student's logits are divided by it. Above 1 where the student is too sure.
    pub temperature: f64,
    /// The statistic that τ makes least and that gates: `rms`, `centred` or `published`. For the last,
    /// the spends are of p(x)_0 over the examples that both models get right.
    pub statistic: String,
    /// The confidence that is compared: `max` or `teacher-class`.
    pub confidence: String,
    /// Who set the bound.
    pub bound_origin: String,
    /// The split that τ was fit on; it does not gate.
    pub fit: RecalibratedSplit,
    /// The split that gates.
    pub gate: RecalibratedSplit,
    /// What came of it, and what is left to do.
    pub conclusion: String,
    /// Notes and warnings.
    pub notes: Vec<Note>,
    /// What decided the numbers, so that they can be made again.
    pub manifest: Manifest,
}

/// One split before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecalibratedSplit {
    /// Its name.
    pub split: String,
    /// Examples that were run (N).
    pub n: usize,
    /// Usable examples of the whole split.
    pub of: usize,
    /// Whether `n` is less than `of`.
    pub partial: bool,
    /// The bound κ for these examples.
    pub kappa: f64,
    /// κ²n.
    pub budget: f64,
    /// The student as it is.
    pub before: BudgetSpend,
    /// The student with its logits divided by `temperature`.
    pub after: BudgetSpend,
    /// The temperature that is best on this split itself, where that is: for the split that τ was
    /// fit on it is τ.
    pub best_temperature: f64,
    /// The student at `best_temperature`: no single temperature does better here.
    pub best: BudgetSpend,
    /// Labelled examples.
    pub labelled: usize,
    /// Labelled examples that the teacher has right.
    pub teacher_correct: Option<usize>,
    /// `teacher_correct` / `labelled`.
    pub teacher_accuracy: Option<f64>,
    /// Labelled examples that the student has right, before and after.
    pub student_correct: Option<usize>,
    /// `student_correct` / `labelled`.
    pub student_accuracy: Option<f64>,
    /// Examples for which both models predict the same label, before and after.
    pub agreement: usize,
    /// Predictions of the student that the temperature moves: 0, and counted.
    pub predictions_moved: usize,
    /// Texts cut at the maximum length, by the teacher.
    pub teacher_truncated: usize,
    /// Texts cut at the maximum length, by the student.
    pub student_truncated: usize,
    /// Rows of the data that could not be used.
    pub skipped: Skipped,
    /// SHA-256 of the data's files.
    pub data_sha256: String,
    /// The data's files.
    pub data_files: Vec<String>,
    /// The commit of the Hub's data set that they are of.
    pub data_revision: Option<String>,
    /// Why a value is null.
    pub undefined: BTreeMap<String, String>,
    /// Of the `n` rows of each model, those that the prediction cache held; the others were computed
    /// in this run. Null in the copy that is written into the checkpoint. Not part of what must be
    /// reproducible.
    #[serde(default)]
    pub rows_from_cache: Option<RowsFromCache>,
}

/// What the examples of a split spend of the budget at one temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Spend")]
pub struct BudgetSpend {
    /// Root mean square of d about zero.
    pub sigma: f64,
    /// Standard deviation of d about its mean.
    pub sigma_centred: f64,
    /// Mean of d: positive where the student is less sure than its teacher.
    pub mean_difference: f64,
    /// Σd², or Σ(d − mean)² where `statistic` is `centred` or `published`.
    pub spent: f64,
    /// `spent` ≤ budget.
    pub verdict: Outcome,
}

impl BudgetSpend {
    /// σ in the given reading.
    pub fn sigma_of(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Rms => self.sigma,
            Statistic::Centred | Statistic::Published => self.sigma_centred,
        }
    }
}

impl Recalibration {
    /// The σ that is held against κ.
    pub(super) fn gating_sigma(&self, spend: &BudgetSpend) -> f64 {
        let statistic = Statistic::ALL.into_iter().find(|it| it.as_str() == self.statistic);
        spend.sigma_of(statistic.unwrap_or_default())
    }
}

/// What came of it and what is left to do, in a sentence or two.
pub fn conclusion(report: &Recalibration) -> String {
    let (fit, gate) = (&report.fit.split, &report.gate);
    let name = &gate.split;
    let preserved = |spend: &BudgetSpend| spend.verdict == Outcome::Preserved;
    let (sigma, kappa) = sigma_and_kappa(report.gating_sigma(&gate.best), gate.kappa);
    let best = format!("τ {}, the best for {name} itself,", decimal(gate.best_temperature));
    match (preserved(&gate.before), preserved(&gate.after), preserved(&gate.best)) {
        (true, true, _) => {
            format!("The student keeps its teacher's confidence on {name}, as before.")
        }
        (false, true, _) => {
            format!("Recalibrated, the student keeps its teacher's confidence on {name}.")
        }
        (true, false, _) => format!(
            "The temperature that fits {fit} takes the student out of its bound on {name}: leave \
             the student as it is, or fit on a split that is more like {name}."
        ),
        (false, false, true) => format!(
            "One temperature would suffice, but not this one: {best} gives σ {sigma}, within κ \
             {kappa}. Fit on a larger split, or on one that is more like {name}."
        ),
        (false, false, false) => format!(
            "One temperature does not suffice: even {best} gives σ {sigma}, above κ {kappa}. A \
             temperature mends the scale of the student's scores, not which inputs it is sure of. \
             Distil the student on the teacher's logits: `audit distill`."
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{samples, RenderOptions};
    use super::*;

    /// The figures of a student that one temperature does not bring within the bound.
    pub(in super::super) fn sample() -> Recalibration {
        let spend = |sigma: f64, verdict| BudgetSpend {
            sigma,
            sigma_centred: sigma * 0.9,
            mean_difference: -0.01,
            spent: sigma * sigma * 1000.0,
            verdict,
        };
        let split = |name: &str| RecalibratedSplit {
            split: name.to_owned(),
            n: 1000,
            of: 1000,
            partial: false,
            kappa: 0.05,
            budget: 2.5,
            before: spend(0.08, Outcome::NotPreserved),
            after: spend(0.06, Outcome::NotPreserved),
            best_temperature: 1.25,
            best: spend(0.055, Outcome::NotPreserved),
            labelled: 1000,
            teacher_correct: Some(950),
            teacher_accuracy: Some(0.95),
            student_correct: Some(940),
            student_accuracy: Some(0.94),
            agreement: 960,
            predictions_moved: 0,
            teacher_truncated: 0,
            student_truncated: 0,
            skipped: Skipped::default(),
            data_sha256: "aa".to_owned(),
            data_files: vec!["train.tsv".to_owned()],
            data_revision: None,
            undefined: BTreeMap::new(),
            rows_from_cache: Some(RowsFromCache { teacher: 1000, student: 0 }),
        };
        Recalibration {
            schema_version: RECALIBRATION_VERSION,
            verdict: Outcome::NotPreserved,
            exit_code: 1,
            task: "sst2".to_owned(),
            temperature: 1.3,
            statistic: "rms".to_owned(),
            confidence: "max".to_owned(),
            bound_origin: "default".to_owned(),
            fit: split("validation"),
            gate: split("train"),
            conclusion: "One temperature does not suffice.".to_owned(),
            notes: Vec::new(),
            manifest: samples::preserved().manifest,
        }
    }

    #[test]
    fn the_text_says_what_was_fit_where_and_what_is_left() {
        let text = |report: &Recalibration| document(report).text(&RenderOptions::default());
        let shown = text(&sample());
        for words in [
            "NOT PRESERVED  sst2/train  τ 1.3000  σ 0.0600 > κ 0.0500  1,000 examples",
            "fit on      validation, 1,000 examples: NOT PRESERVED → NOT PRESERVED",
            "gates       train, 1,000 examples: NOT PRESERVED → NOT PRESERVED",
            "σ 0.0800 → 0.0600, mean d −0.0100 → −0.0100",
            "940 of 1,000 right before and after (0.9400); no prediction moved",
            "τ 1.2500 is the best for train itself: σ 0.0550",
            "One temperature does not suffice.",
            "  from cache  validation: teacher 1,000 and 0 computed, student 0 and 1,000",
        ] {
            assert!(shown.contains(words), "`{words}` is not in:\n{shown}");
        }
        let mut hostile = sample();
        hostile.gate.split = "\u{1b}[2Jtrain".to_owned();
        assert!(!text(&hostile).contains('\u{1b}'));
    }
}
