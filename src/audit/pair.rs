//! A split with the predictions of both models, from which a report row is computed.

use std::time::Instant;

use super::run::{Ending, PairRun};
use super::splits::Split;
use crate::check::Note;
use crate::confidence::{label_name, student_confidence, ConfidenceKind, Predictions};
use crate::report::schema::{RowsFromCache, Skipped};
use crate::task::{Dataset, Example};

/// Skipped rows named in the report.
const SKIPPED_SHOWN: usize = 5;

/// A split with the predictions of both models.
pub struct SplitPair<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The split's name.
    pub split: &'a str,
    /// Whether its verdict decides the exit code.
    pub gates: bool,
    /// Examples that the verdict is about (N).
    pub population: usize,
    /// Usable examples of the whole split, before `--limit`.
    pub available: usize,
    /// The examples behind the predictions, as positions in the split (n).
    pub rows: Vec<u32>,
    /// How the run ended.
    pub ending: Ending,
    /// The task's label names, K.
    pub label_names: &'a [String],
    /// The label of each example (N).
    pub labels: Vec<Option<u32>>,
    /// Reason if there are no labels.
    pub unlabelled: Option<String>,
    /// The texts (N), if known.
    pub texts: Option<&'a [Example]>,
    /// Predictions of the teacher (n).
    pub teacher: Predictions,
    /// Predictions of the student (n).
    pub student: Predictions,
    /// Texts truncated at the maximum length, for the teacher and the student.
    pub truncated: (usize, usize),
    /// Rows of the data that could not be used.
    pub skipped: Skipped,
    /// SHA-256 of the data's files.
    pub data_sha256: Option<String>,
    /// The data's files.
    pub data_files: Vec<String>,
    /// Commit of the Hub data set.
    pub data_revision: Option<String>,
    /// Rows that the prediction cache held; `None` if no model was run.
    pub from_cache: Option<RowsFromCache>,
    /// Notes from before the run.
    pub notes: Vec<Note>,
    /// Start of the audit of the split; `None` if no duration is reported.
    pub started: Option<Instant>,
}

impl<'a> SplitPair<'a> {
    /// The pair of a split and the run of both models on it.
    pub fn of(split: &'a Split, label_names: &'a [String], run: PairRun, started: Instant) -> Self {
        let dataset = &split.dataset;
        SplitPair {
            task: &dataset.task,
            split: &dataset.split,
            gates: split.gates,
            population: dataset.examples.len(),
            available: dataset.available,
            label_names,
            labels: run.rows.iter().map(|&i| dataset.examples[i as usize].label).collect(),
            rows: run.rows,
            ending: run.ending,
            unlabelled: dataset.unlabelled.clone(),
            texts: Some(&dataset.examples),
            teacher: run.teacher,
            student: run.student,
            truncated: run.truncated,
            skipped: skipped(dataset),
            data_sha256: Some(dataset.sha256.clone()),
            data_files: dataset.names.clone(),
            data_revision: dataset.commit.clone(),
            from_cache: Some(run.from_cache),
            notes: Vec::new(),
            started: Some(started),
        }
    }

    /// Number of words of each text (n), if known.
    pub(super) fn words(&self) -> Option<Vec<usize>> {
        let count = |text: &str| text.split_whitespace().count();
        let words = |e: &Example| count(&e.text) + e.pair.as_deref().map_or(0, count);
        let rows = self.rows.iter();
        self.texts.map(|texts| rows.map(|&i| words(&texts[i as usize])).collect())
    }

    /// The text of prediction `i`, if known.
    pub(super) fn text(&self, i: usize) -> Option<&Example> {
        self.texts.map(|texts| &texts[self.rows[i] as usize])
    }

    /// The student's confidence in the difference d of prediction `i`.
    pub(super) fn student_confidence(&self, kind: ConfidenceKind, i: usize) -> f64 {
        let confidence = student_confidence(&self.teacher, &self.student, kind, i);
        confidence.expect("its difference is defined")
    }

    pub(super) fn label_name(&self, id: u32) -> String {
        label_name(self.label_names, id)
    }
}

/// The unusable rows of `dataset`, for the report.
pub(super) fn skipped(dataset: &Dataset) -> Skipped {
    let shown = dataset.skipped.iter().take(SKIPPED_SHOWN);
    Skipped {
        count: dataset.skipped.len(),
        first: shown.map(|s| format!("{}:{}: {}", s.file, s.line, s.reason)).collect(),
    }
}
