//! Both models' predictions of one split to a row of the report: numbers, verdict, notes.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::notes::{note, other_notes, record_unusable};
use super::splits::Split;
use crate::check::{
    findings, Audited, Bound, Budget, Check, Course, Evidence, RecordError, StudentRecord, Verdict,
};
use crate::confidence::{
    student_confidence, ConfidenceKind, Defined, DifferenceSums, ModelStatistics, PairInput,
    PairOptions, PairStatistics, Predictions, Statistic,
};
use crate::config::{BoundSource, Settings};
use crate::error::hinted;
use crate::report::schema as row;
use crate::report::{PredictionRow, PredictionTable};
use crate::task::{Example, Metric};

/// Inputs named in the report.
const WORST: usize = 5;
/// Skipped rows named in the report.
const SKIPPED_SHOWN: usize = 5;

/// The bound in force, and how it came about.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The bound of the gating split.
    pub bound: Bound,
    /// Who set it.
    pub origin: String,
    /// The statistic that gates.
    pub statistic: Statistic,
    /// The confidence that gates.
    pub kind: ConfidenceKind,
    /// N of the gating split.
    n: usize,
}

impl Gate {
    /// The gate of `settings`: the policy's bound, or the student's own where that was asked for.
    ///
    /// # Errors
    /// A record that contradicts itself; `--bound from-student` for a student whose record has no
    /// bound.
    pub fn new(settings: &Settings, record: Option<&StudentRecord>, n: usize) -> Result<Self> {
        let (bound, origin) = match settings.bound_source {
            BoundSource::Policy => (settings.bound, settings.bound_origin.clone()),
            BoundSource::FromStudent => {
                (student_bound(settings, record, n)?, "student's distillation.json".into())
            }
        };
        let (statistic, kind) = (settings.statistic, settings.confidence);
        Ok(Gate { bound, origin, statistic, kind, n })
    }

    /// The bound for a split: that of the gating split, and the same κ for the one beside it, since
    /// β is a sum over the gating split.
    fn bound_of(&self, gates: bool) -> Bound {
        match gates {
            true => self.bound,
            false => self.bound.spread_over(self.n),
        }
    }

    /// The budget of the whole gating split.
    pub fn budget(&self) -> Budget {
        Budget::new(&self.bound, self.n)
    }
}

/// The bound that the student's training was to meet, for `n` examples.
fn student_bound(settings: &Settings, record: Option<&StudentRecord>, n: usize) -> Result<Bound> {
    let remedy = "use --bound policy with --kappa, --beta or --beta-per-example";
    let none =
        "the student has no bound of its own: its distillation.json is missing or records none";
    let record = record.ok_or_else(|| hinted(none, remedy))?;
    let split = settings.split.as_deref().unwrap_or("train");
    let bound =
        match record.bound_for(n, audited(settings, split)) {
            Err(RecordError::Uncounted) => return Err(hinted(
                "the student's distillation.json records a summed beta and not over how many \
                 examples, and this is not the whole training split",
                "record `loss_reached.examples` or `beta_per_example`, or audit the training split",
            )),
            other => other.context("the student's distillation.json")?,
        };
    bound.ok_or_else(|| hinted(none, remedy))
}

/// What the sums of a student's record can tell of `split`.
fn audited(settings: &Settings, split: &str) -> Audited {
    match settings.limit.is_none() && split == "train" {
        true => Audited::TrainingSplit,
        false => Audited::OtherExamples,
    }
}

/// One split with what both models say of it.
pub struct SplitPair<'a> {
    /// The task's name.
    pub task: &'a str,
    /// The split's name.
    pub split: &'a str,
    /// Whether its verdict counts.
    pub gates: bool,
    /// Usable examples of the whole split.
    pub available: usize,
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
    pub fn of(
        split: &'a Split,
        label_names: &'a [String],
        teacher: Predictions,
        student: Predictions,
        truncated: (usize, usize),
    ) -> Self {
        let dataset = &split.dataset;
        let shown = dataset.skipped.iter().take(SKIPPED_SHOWN);
        SplitPair {
            task: &dataset.task,
            split: &dataset.split,
            gates: split.gates,
            available: dataset.available,
            label_names,
            labels: dataset.examples.iter().map(|e| e.label).collect(),
            unlabelled: dataset.unlabelled.clone(),
            texts: Some(&dataset.examples),
            teacher,
            student,
            truncated,
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
        self.texts.map(|texts| texts.iter().map(words).collect())
    }

    /// What is taken from the teacher's confidence to give d.
    fn student_confidence(&self, kind: ConfidenceKind, i: usize) -> f64 {
        let confidence = student_confidence(&self.teacher, &self.student, kind, i);
        confidence.expect("its difference is defined")
    }

    pub(super) fn label_name(&self, id: u32) -> String {
        self.label_names.get(id as usize).cloned().unwrap_or_else(|| id.to_string())
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
    let check = Check::new(&bound, statistic, &numbers.sums)?;
    let course = Course::new(&numbers.differences, statistic, &check.budget);
    let mut undefined = Reasons::default();
    let n = numbers.n;
    let metric = settings.task.metric;
    let audited = audited(settings, pair.split);
    let evidence = Evidence::new(&numbers, &bound, record, audited);
    let mut found: Vec<row::Note> = findings(&evidence).iter().map(note).collect();
    found.extend(other_notes(pair, gate, &numbers));
    let recorded_bound = record.map(|record| record.bound_for(n, audited)).transpose();
    let student_bound = match recorded_bound.map(Option::flatten) {
        Ok(bound) => bound.map(|b| within(&b, n, &numbers.sums, statistic)).transpose()?.flatten(),
        Err(error @ RecordError::Uncounted) => {
            undefined.option("student_bound", None, &error.to_string())
        }
        Err(error) => {
            found.push(record_unusable(&error.into()));
            None
        }
    };
    let row = row::TaskRow {
        task: pair.task.to_owned(),
        split: pair.split.to_owned(),
        gates: pair.gates,
        n,
        of: pair.available,
        partial: n < pair.available,
        verdict: outcome(check.verdict),
        error: None,
        statistic: statistic.to_string(),
        confidence: kind.to_string(),
        sigma: numbers.sums.sigma(),
        sigma_centred: numbers.sums.sigma_centred(),
        mean_difference: numbers.sums.mean(),
        variants: variants(&numbers, &bound, &mut undefined),
        sigma_interval: Some(row::Interval {
            low: numbers.sigma_interval.low,
            high: numbers.sigma_interval.high,
            level: numbers.sigma_interval.level,
        }),
        kappa: Some(check.kappa),
        beta: undefined.option("beta", bound.beta(n), "kappa was given outright"),
        beta_per_example: undefined.option(
            "beta_per_example",
            bound.beta_per_example(n),
            "kappa was given outright",
        ),
        alpha: bound.alpha(),
        gamma: bound.gamma(),
        bound_origin: gate.origin.clone(),
        budget: Some(check.budget.value()),
        spent: Some(check.spent.to_f64()),
        spent_share: undefined.option("spent_share", check.spent_share(), "the budget is zero"),
        course: course
            .points
            .iter()
            .map(|p| row::CoursePoint { examples: p.examples, spent_share: p.spent_share })
            .collect(),
        exhausted_at: course.exhausted_at,
        student_bound,
        teacher: Some(model_row(
            "teacher",
            &numbers.teacher,
            metric,
            pair.truncated.0,
            pair,
            &mut undefined,
        )),
        student: Some(model_row(
            "student",
            &numbers.student,
            metric,
            pair.truncated.1,
            pair,
            &mut undefined,
        )),
        agreement: Some(numbers.agreement),
        agreement_share: Some(numbers.agreement_share()),
        negative_flips: undefined.take("negative_flips", numbers.negative_flips),
        difference: Some(row::Spread {
            mean: numbers.spread.mean,
            median: numbers.spread.median,
            p90: numbers.spread.p90,
            p99: numbers.spread.p99,
            max: numbers.spread.max,
        }),
        divergence: undefined.take("divergence", numbers.divergence).map(|d| row::Divergence {
            sum_kl: d.sum_kl,
            mean_kl: d.mean_kl,
            sum_cross_entropy: d.sum_cross_entropy,
            mean_cross_entropy: d.mean_cross_entropy,
            mean_total_variation: d.mean_total_variation,
        }),
        groups: groups(&numbers, pair.label_names),
        worst: numbers.worst.iter().map(|&i| worst(pair, &numbers, i)).collect(),
        notes: found,
        skipped: pair.skipped.clone(),
        undefined: undefined.0,
        data_sha256: pair.data_sha256.clone(),
        data_files: pair.data_files.clone(),
        data_revision: pair.data_revision.clone(),
        device: settings.device.clone(),
        seed: settings.seed,
        seconds: None,
    };
    Ok((row, table(pair, &numbers)))
}

/// Collects why fields are null.
#[derive(Default)]
struct Reasons(BTreeMap<String, String>);

impl Reasons {
    fn take<T>(&mut self, field: &str, value: Defined<T>) -> Option<T> {
        value.map_err(|reason| self.0.insert(field.to_owned(), reason.to_string())).ok()
    }

    fn option<T>(&mut self, field: &str, value: Option<T>, reason: &str) -> Option<T> {
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

fn variants(numbers: &PairStatistics, bound: &Bound, undefined: &mut Reasons) -> Vec<row::Variant> {
    let mut variants = Vec::new();
    for (kind, sums) in &numbers.variants {
        let sums = undefined.take(&format!("variants.{kind}"), *sums);
        for statistic in Statistic::ALL {
            let check = sums.as_ref().and_then(|s| Check::new(bound, statistic, s).ok());
            variants.push(row::Variant {
                confidence: kind.to_string(),
                statistic: statistic.to_string(),
                sigma: check.as_ref().map(|c| c.sigma),
                within_bound: check.as_ref().map(|c| c.verdict == Verdict::Preserved),
                gates: *kind == numbers.kind && statistic == numbers.statistic,
            });
        }
    }
    variants
}

/// The student's own bound held against these differences, for information.
fn within(
    bound: &Bound,
    n: usize,
    sums: &DifferenceSums,
    statistic: Statistic,
) -> Result<Option<row::StudentBound>> {
    let check = Check::new(bound, statistic, sums)?;
    Ok(bound.beta(n).map(|beta| row::StudentBound {
        kappa: check.kappa,
        beta,
        alpha: bound.alpha(),
        gamma: bound.gamma(),
        within_bound: Some(check.verdict == Verdict::Preserved),
    }))
}

fn model_row(
    role: &str,
    model: &ModelStatistics,
    metric: Metric,
    truncated: usize,
    pair: &SplitPair,
    undefined: &mut Reasons,
) -> row::ModelRow {
    let field = |name: &str| format!("{role}.{name}");
    let accuracy = undefined.take(&field("accuracy"), model.accuracy);
    if let (None, Some(why)) = (accuracy, &pair.unlabelled) {
        undefined.0.insert(field("accuracy"), why.clone());
    }
    let other = "another task's metric";
    row::ModelRow {
        accuracy,
        correct: undefined.take(&field("correct"), model.correct),
        labelled: model.labelled,
        f1: match metric {
            Metric::AccuracyAndF1 => undefined.take(&field("f1"), model.f1),
            _ => undefined.option(&field("f1"), None, other),
        },
        matthews_correlation: match metric {
            Metric::Matthews => {
                undefined.take(&field("matthews_correlation"), model.matthews_correlation)
            }
            _ => undefined.option(&field("matthews_correlation"), None, other),
        },
        mean_confidence: model.mean_confidence,
        brier: undefined.take(&field("brier"), model.brier),
        nll: undefined.take(&field("nll"), model.nll),
        ece: undefined.take(&field("ece"), model.ece),
        truncated,
    }
}

fn groups(numbers: &PairStatistics, label_names: &[String]) -> Vec<row::Group> {
    let group = |g: &crate::confidence::Group| {
        Some(row::Group {
            by: g.key.by().to_owned(),
            name: g.key.name(label_names),
            n: g.sums.n(),
            sigma: g.sums.sigma_of(numbers.statistic)?,
            mean_difference: g.sums.mean()?,
        })
    };
    numbers.groups.iter().filter_map(group).collect()
}

fn worst(pair: &SplitPair, numbers: &PairStatistics, i: usize) -> row::WorstInput {
    let says = |p: &Predictions, confidence| row::Prediction {
        predicted: pair.label_name(p.predicted(i)),
        confidence,
        probabilities: p.probabilities(i).map(<[f64]>::to_vec).unwrap_or_default(),
    };
    row::WorstInput {
        index: i,
        text: pair.texts.map(|t| t[i].text.clone()),
        pair: pair.texts.and_then(|t| t[i].pair.clone()),
        label: pair.labels[i].map(|id| pair.label_name(id)),
        teacher: says(&pair.teacher, pair.teacher.confidence(i)),
        student: says(&pair.student, pair.student_confidence(numbers.kind, i)),
        difference: numbers.differences[i],
    }
}

fn table(pair: &SplitPair, numbers: &PairStatistics) -> PredictionTable {
    let rows = numbers.differences.iter().enumerate().map(|(index, &difference)| PredictionRow {
        index,
        label: pair.labels[index],
        teacher_confidence: pair.teacher.confidence(index),
        student_confidence: pair.student_confidence(numbers.kind, index),
        teacher_predicted: pair.teacher.predicted(index),
        student_predicted: pair.student.predicted(index),
        difference,
    });
    PredictionTable {
        task: pair.task.to_owned(),
        split: pair.split.to_owned(),
        label_names: pair.label_names.to_vec(),
        rows: rows.collect(),
    }
}
