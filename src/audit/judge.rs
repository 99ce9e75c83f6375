//! Both models' predictions of one split to a row of the report: numbers, verdict, notes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::failed::empty_row;
use super::figures::figures;
use super::gate::{audited, Gate};
use super::notes::{note, other_notes, record_unusable};
use super::run::{Ending, PairRun};
use super::splits::Split;
use crate::check::{
    findings, unseen_sigma, Audited, Bound, Budget, Certainty, Course, CoursePoint, Evidence,
    RecordError, StudentRecord, Verdict, UNSEEN_LEVEL,
};
use crate::confidence::label_name;
use crate::confidence::{
    student_confidence, ConfidenceKind, Defined, FixedSum, Interval, PairInput, PairOptions,
    PairStatistics, Predictions, Statistic,
};
use crate::config::Settings;
use crate::report::schema as row;
use crate::report::{PredictionRow, PredictionTable};
use crate::task::Example;

/// The split that a student is trained on.
const TRAIN: &str = "train";
/// Inputs named in the report.
const WORST: usize = 10;
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
    pub skipped: row::Skipped,
    /// SHA-256 of the data's files.
    pub data_sha256: Option<String>,
    /// The data's files.
    pub data_files: Vec<String>,
    /// The commit of the Hub's data set that they are of.
    pub data_revision: Option<String>,
}

impl<'a> SplitPair<'a> {
    /// The pair of a split that both models were run on.
    pub fn of(split: &'a Split, label_names: &'a [String], run: PairRun) -> Self {
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
            skipped: row::Skipped {
                count: dataset.skipped.len(),
                first: shown.map(|s| format!("{}:{}: {}", s.file, s.line, s.reason)).collect(),
            },
            data_sha256: Some(dataset.sha256.clone()),
            data_files: dataset.names.clone(),
            data_revision: dataset.commit.clone(),
        }
    }

    fn words(&self) -> Option<Vec<usize>> {
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

/// Judges one split.
///
/// # Errors
/// A gating confidence that is not defined for these predictions, a record that cannot be used.
pub fn judge(
    pair: &SplitPair,
    gate: &Gate,
    settings: &Settings,
    record: Option<&StudentRecord>,
) -> Result<(row::TaskRow, PredictionTable)> {
    let words = pair.words();
    let input = PairInput {
        teacher: &pair.teacher,
        student: &pair.student,
        labels: &pair.labels,
        words: words.as_deref(),
    };
    let (kind, statistic) = (gate.kind, gate.statistic);
    let options = PairOptions { kind, statistic, worst: WORST, seed: settings.seed };
    let numbers = PairStatistics::new(&input, &options)
        .with_context(|| format!("cannot compare the models on {}/{}", pair.task, pair.split))?;
    let bound = gate.bound_of(pair.gates);
    let audited = audited(settings, pair.split);
    let mut row = empty_row(settings, pair.split, pair.gates);
    row.undefined.clear();
    about_the_data(pair, &mut row);
    verdict(pair, &bound, statistic, &numbers, &mut row);
    figures(pair, settings.task.metric, &numbers, &mut row);
    row.bound_origin = gate.origin.clone();
    let evidence = match pair.ending.early {
        None => Evidence::new(&numbers, &bound, record, audited),
        Some(_) => Evidence::of_part(&numbers, pair.population, &bound, record, audited),
    };
    row.notes = findings(&evidence).iter().map(note).collect();
    row.notes.extend(other_notes(pair, gate, &numbers));
    own_bound(record, audited, pair, numbers.sums.spent(statistic), &mut row);
    Ok((row, table(pair, &numbers)))
}

/// What was audited.
fn about_the_data(pair: &SplitPair, row: &mut row::TaskRow) {
    row.labels = pair.label_names.to_vec();
    row.n = pair.population;
    row.of = pair.available;
    row.partial = pair.population < pair.available;
    row.examples_run = pair.rows.len();
    row.skipped = pair.skipped.clone();
    row.data_sha256 = pair.data_sha256.clone();
    row.data_files = pair.data_files.clone();
    row.data_revision = pair.data_revision.clone();
}

/// σ, the bound, the budget and the verdict. A run that ended early knows no σ of the whole split.
fn verdict(
    pair: &SplitPair,
    bound: &Bound,
    statistic: Statistic,
    numbers: &PairStatistics,
    row: &mut row::TaskRow,
) {
    let n = pair.population;
    let budget = Budget::new(bound, n);
    let spent = numbers.sums.spent(statistic);
    let mut undefined = Reasons::default();
    row.verdict = outcome(pair.ending.early.unwrap_or_else(|| budget.verdict(spent)));
    row.certainty = Some(match pair.ending.certainty {
        Certainty::Exact => row::Certainty::Exact,
        Certainty::Statistical => row::Certainty::Statistical,
    });
    row.sequential = pair.ending.draws.map(|draws| row::Sequential {
        delta: draws.delta,
        draws: draws.count,
        seed: draws.seed,
        sigma_interval: interval(&draws.interval),
    });
    if pair.ending.early.is_none() {
        row.sigma = numbers.sums.sigma();
        row.sigma_centred = numbers.sums.sigma_centred();
        row.sigma_interval = Some(interval(&numbers.sigma_interval));
        let alone = "no other split was run that a temperature could be fitted on";
        undefined.option::<()>("recalibrated", None, alone);
    } else {
        for field in ["sigma", "sigma_centred", "sigma_interval", "recalibrated"] {
            undefined.0.insert(field.to_owned(), EARLY.to_owned());
        }
        row.sigma_prefix = numbers.sums.sigma_of(statistic);
        row.sigma_at_least = Some((spent.to_f64() / n as f64).sqrt());
    }
    row.sigma_unseen = undefined.reasoned("sigma_unseen", unseen(pair, numbers));
    row.mean_difference = numbers.sums.mean();
    row.variants = variants(pair, numbers, bound, &mut undefined);
    row.kappa = Some(bound.kappa(n));
    let outright = "kappa was given outright";
    row.beta = undefined.option("beta", bound.beta(n), outright);
    row.beta_per_example =
        undefined.option("beta_per_example", bound.beta_per_example(n), outright);
    (row.alpha, row.gamma) = (bound.alpha(), bound.gamma());
    row.budget = Some(budget.value());
    row.spent = Some(spent.to_f64());
    row.spent_share = undefined.option("spent_share", budget.share(spent), "the budget is zero");
    let course = Course::new(&numbers.differences, statistic, &budget);
    let point =
        |p: &CoursePoint| row::CoursePoint { examples: p.examples, spent_share: p.spent_share };
    row.course = course.points.iter().map(point).collect();
    row.exhausted_at = course.exhausted_at;
    row.undefined.extend(undefined.0);
}

/// The limit for inputs that were not run; why there is none.
fn unseen(pair: &SplitPair, numbers: &PairStatistics) -> Result<row::UpperLimit, &'static str> {
    if pair.split == TRAIN {
        return Err(TRAINED_ON);
    }
    if pair.ending.early.is_some() {
        return Err(EARLY);
    }
    if pair.population < pair.available {
        return Err("the first examples of a split are no random sample of it");
    }
    let largest = numbers.largest_difference();
    let sigma = unseen_sigma(&numbers.differences, largest, 1.0 - UNSEEN_LEVEL);
    sigma.map(|sigma| row::UpperLimit { sigma, level: UNSEEN_LEVEL }).ok_or("no examples")
}

/// Why the training split has no limit for unseen inputs.
const TRAINED_ON: &str =
    "a student is not on unseen inputs as it is on those that it was trained on";

/// Takes the limit for unseen inputs from every row whose data is that of the training split under
/// another name.
pub(super) fn withhold_limits(rows: &mut [row::TaskRow]) {
    let Some(training) = rows.iter().find(|row| row.split == TRAIN) else { return };
    let Some(sha256) = training.data_sha256.clone() else { return };
    let same = rows.iter_mut().filter(|row| row.data_sha256.as_ref() == Some(&sha256));
    for row in same.filter(|row| row.sigma_unseen.is_some()) {
        row.sigma_unseen = None;
        row.undefined.insert("sigma_unseen".to_owned(), TRAINED_ON.to_owned());
    }
}

/// Why a run that ended early has no σ.
const EARLY: &str = "the run ended with a verdict before the last example";

pub(super) fn interval(interval: &Interval) -> row::Interval {
    row::Interval { low: interval.low, high: interval.high, level: interval.level }
}

/// Collects why fields are null.
#[derive(Default)]
pub(super) struct Reasons(pub(super) BTreeMap<String, String>);

impl Reasons {
    pub(super) fn take<T>(&mut self, field: &str, value: Defined<T>) -> Option<T> {
        value.map_err(|reason| self.0.insert(field.to_owned(), reason.to_string())).ok()
    }

    pub(super) fn reasoned<T>(&mut self, field: &str, value: Result<T, &str>) -> Option<T> {
        value.map_err(|reason| self.0.insert(field.to_owned(), reason.to_owned())).ok()
    }

    pub(super) fn option<T>(&mut self, field: &str, value: Option<T>, reason: &str) -> Option<T> {
        if value.is_none() {
            self.0.insert(field.to_owned(), reason.to_owned());
        }
        value
    }
}

fn outcome(verdict: Verdict) -> row::Outcome {
    match verdict {
        Verdict::Preserved => row::Outcome::Preserved,
        Verdict::NotPreserved => row::Outcome::NotPreserved,
    }
}

fn variants(
    pair: &SplitPair,
    numbers: &PairStatistics,
    bound: &Bound,
    undefined: &mut Reasons,
) -> Vec<row::Variant> {
    let budget = Budget::new(bound, pair.population);
    let whole = pair.ending.early.is_none();
    let mut variants = Vec::new();
    for (kind, sums) in &numbers.variants {
        let sums = undefined.take(&format!("variants.{kind}"), *sums);
        for statistic in Statistic::ALL {
            let spent = sums.as_ref().map(|s| s.spent(statistic));
            // Of part of the split, only an overspent budget is certain.
            let within = spent.map(|spent| budget.allows(spent)).filter(|within| whole || !within);
            variants.push(row::Variant {
                confidence: kind.to_string(),
                statistic: statistic.to_string(),
                sigma: sums.as_ref().filter(|_| whole).and_then(|s| s.sigma_of(statistic)),
                within_bound: within,
                gates: *kind == numbers.kind && statistic == numbers.statistic,
            });
        }
    }
    if !whole {
        undefined.0.insert("variants".to_owned(), EARLY.to_owned());
    }
    variants
}

/// The student's own bound held against what was spent, for information.
fn own_bound(
    record: Option<&StudentRecord>,
    audited: Audited,
    pair: &SplitPair,
    spent: FixedSum,
    row: &mut row::TaskRow,
) {
    let n = pair.population;
    let bound = match record.map(|record| record.bound_for(n, audited)).transpose() {
        Ok(bound) => bound.flatten(),
        Err(error @ RecordError::Uncounted) => {
            row.undefined.insert("student_bound".to_owned(), error.to_string());
            None
        }
        Err(error) => {
            row.notes.push(record_unusable(&error.into()));
            None
        }
    };
    let Some(bound) = bound else { return };
    let within = Budget::new(&bound, n).allows(spent);
    row.student_bound = bound.beta(n).map(|beta| row::StudentBound {
        kappa: bound.kappa(n),
        beta,
        alpha: bound.alpha(),
        gamma: bound.gamma(),
        // Of part of the split, only an overspent budget is certain.
        within_bound: (pair.ending.early.is_none() || !within).then_some(within),
    });
}

fn table(pair: &SplitPair, numbers: &PairStatistics) -> PredictionTable {
    let rows = numbers.differences.iter().enumerate().map(|(i, &difference)| PredictionRow {
        index: pair.rows[i] as usize,
        label: pair.labels[i],
        teacher_confidence: pair.teacher.confidence(i),
        student_confidence: pair.student_confidence(numbers.kind, i),
        teacher_predicted: pair.teacher.predicted(i),
        student_predicted: pair.student.predicted(i),
        difference,
    });
    PredictionTable {
        task: pair.task.to_owned(),
        split: pair.split.to_owned(),
        label_names: pair.label_names.to_vec(),
        rows: rows.collect(),
    }
}
