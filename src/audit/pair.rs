//! One split with what both models say of it: what a row of the report is made from.

use std::time::Instant;

use super::run::{Ending, PairRun};
use super::splits::Split;
use crate::check::Note;
use crate::confidence::{label_name, student_confidence, ConfidenceKind, Predictions};
use crate::report::schema::Skipped;
use crate::task::Example;

/// Skipped rows named in the report.
const SKIPPED_SHOWN: usize = 5;

/// One split with what both models say of it.
pub struct SplitPair<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The split's name.
    pub split: &'a str,
    /// Whether its verdict counts.
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
    /// Why there are no labels.
    pub unlabelled: Option<String>,
    /// The texts (N), where they are known.
    pub texts: Option<&'a [Example]>,
    /// What the teacher says.
    pub teacher: Predictions,
    /// What the student says.
    pub student: Predictions,
    /// Texts cut at the maximum length, by the teacher and by the student.
    pub truncated: (usize, usize),
    /// Rows of the data that could not be used.
    pub skipped: Skipped,
    /// SHA-256 of the data's files.
    pub data_sha256: Option<String>,
    /// The data's files.
    pub data_files: Vec<String>,
    /// The commit of the Hub's data set that they are of.
    pub data_revision: Option<String>,
    /// Notes that were taken before both models were run.
    pub notes: Vec<Note>,
    /// When the audit of the split began; `None` where no time is told.
    pub started: Option<Instant>,
}

impl<'a> SplitPair<'a> {
    /// The pair of a split that both models were run on.
    pub fn of(split: &'a Split, label_names: &'a [String], run: PairRun, started: Instant) -> Self {
        let dataset = &split.dataset;
        let shown = dataset.skipped.iter().take(SKIPPED_SHOWN);
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
            skipped: Skipped {
                count: dataset.skipped.len(),
                first: shown.map(|s| format!("{}:{}: {}", s.file, s.line, s.reason)).collect(),
            },
            data_sha256: Some(dataset.sha256.clone()),
            data_files: dataset.names.clone(),
            data_revision: dataset.commit.clone(),
            notes: Vec::new(),
            started: Some(started),
        }
    }

    /// Words of each example's text, where it is known.
    pub(super) fn words(&self) -> Option<Vec<usize>> {
        let count = |text: &str| text.split_whitespace().count();
        let words = |e: &Example| count(&e.text) + e.pair.as_deref().map_or(0, count);
        let rows = self.rows.iter();
        self.texts.map(|texts| rows.map(|&i| words(&texts[i as usize])).collect())
    }

    /// The text behind prediction `i`, where it is known.
    pub(super) fn text(&self, i: usize) -> Option<&Example> {
        self.texts.map(|texts| &texts[self.rows[i] as usize])
    }

    /// What is taken from the teacher's confidence to give d.
    pub(super) fn student_confidence(&self, kind: ConfidenceKind, i: usize) -> f64 {
        let confidence = student_confidence(&self.teacher, &self.student, kind, i);
        confidence.expect("its difference is defined")
    }

    pub(super) fn label_name(&self, id: u32) -> String {
        label_name(self.label_names, id)
    }
}
