//! Computes a report row from the predictions of both models: figures, verdict, notes.

use anyhow::{Context, Result};

use super::gate::{audited, Gate};
use super::notes::{other_notes, record_unusable};
use super::pair::SplitPair;
use crate::check::{
    findings, unseen_sigma, Bound, Budget, Course, Evidence, Note, RecordError, StudentRecord,
    UpperLimit, UNSEEN_LEVEL,
};
use crate::confidence::{
    known, DifferenceSums, ModelStatistics, PairFigures, PairInput, PairOptions, PairStatistics,
    Predictions, PublishedDifferences, Reasons, Statistic,
};
use crate::config::Settings;
use crate::report::schema::{
    Prediction, StudentBound, TaskRow, Variant, VariantConfidence, WorstInput,
};
use crate::report::{PredictionRow, PredictionTable};
use crate::task::Metric;

/// Name of the training split.
const TRAIN: &str = "train";
/// Number of worst inputs in the report.
const WORST: usize = 10;

/// Reason for values that are undefined after early stopping.
const EARLY: &str = "the run ended with a verdict before the last example";

/// Reason why the training split has no limit for unseen inputs.
const TRAINED_ON: &str =
    "a student is not on unseen inputs as it is on those that it was trained on";

/// Reason for an undefined `recalibrated`, until `recalibrate_rows` sets it.
const NO_OTHER_SPLIT: &str = "no other split was run that a temperature could be fitted on";

/// Computes the row and the table of predictions of a split.
///
/// # Errors
/// A gating confidence that is undefined for these predictions.
pub fn judge(
    pair: &SplitPair,
    gate: &Gate,
    settings: &Settings,
    record: Option<&StudentRecord>,
) -> Result<(TaskRow, PredictionTable)> {
    let words = pair.words();
    let input = PairInput {
        teacher: &pair.teacher,
        student: &pair.student,
        labels: &pair.labels,
        words: words.as_deref(),
        label_names: pair.label_names,
        truncated: pair.truncated,
    };
    let (kind, statistic) = (gate.kind, gate.statistic);
    let options = PairOptions { kind, statistic, worst: WORST, seed: settings.seed };
    let numbers = PairStatistics::new(&input, &options)
        .with_context(|| format!("cannot compare the models on {}/{}", pair.task, pair.split))?;
    let table = table(pair, &numbers);
    let (bound, audited) = (gate.bound_of(pair.gates), audited(settings, pair.split));
    let evidence = match pair.ending.early {
        None => Evidence::new(&numbers, &bound, record, audited),
        Some(_) => Evidence::of_part(&numbers, pair.population, &bound, record, audited),
    };
    let mut remarks =
        RowRemarks { notes: pair.notes.clone(), undefined: numbers.undefined.clone() };
    remarks.notes.extend(findings(&evidence));
    remarks.notes.extend(other_notes(pair, gate, &numbers));
    let recorded = record.map(|record| record.bound_for(pair.population, audited)).transpose();
    let student_bound = own_bound(recorded, pair, &numbers.gating, statistic, &mut remarks);
    Ok((row(pair, numbers, gate, settings, student_bound, remarks), table))
}

/// Notes of a row, and reasons for its undefined values.
struct RowRemarks {
    notes: Vec<Note>,
    undefined: Reasons,
}

/// The report row. After early stopping σ of the whole split is undefined.
fn row(
    pair: &SplitPair,
    numbers: PairStatistics,
    gate: &Gate,
    settings: &Settings,
    student_bound: Option<StudentBound>,
    RowRemarks { notes, mut undefined }: RowRemarks,
) -> TaskRow {
    let (n, whole, sums) = (pair.population, pair.ending.early.is_none(), numbers.sums);
    let bound = gate.bound_of(pair.gates);
    let (budget, spent) =
        (budget(&bound, pair, &numbers.gating), numbers.gating.spent(gate.statistic));
    let course = Course::new(&numbers.gating_differences(), gate.statistic, &budget);
    let of_whole = |sigma: Option<f64>| sigma.filter(|_| whole).ok_or(EARLY);
    let of_part = |sigma: Option<f64>| sigma.filter(|_| !whole);
    let interval = whole.then_some(numbers.sigma_interval).ok_or(EARLY);
    let outright = "kappa was given outright";
    let why = &mut undefined;
    TaskRow {
        task: settings.task.name.clone(),
        split: pair.split.to_owned(),
        gates: pair.gates,
        labels: pair.label_names.to_vec(),
        n,
        of: pair.available,
        partial: n < pair.available,
        verdict: pair.ending.early.unwrap_or_else(|| budget.verdict(spent)).into(),
        certainty: Some(pair.ending.certainty),
        examples_run: pair.rows.len(),
        error: None,
        statistic: gate.statistic,
        confidence: gate.kind,
        sigma: known(of_whole(sums.sigma()), "sigma", why),
        sigma_prefix: of_part(sums.sigma_of(gate.statistic)),
        sigma_at_least: of_part(Some((spent.to_f64() / n as f64).sqrt())),
        sequential: pair.ending.draws,
        sigma_centred: known(of_whole(sums.sigma_centred()), "sigma_centred", why),
        mean_difference: sums.mean(),
        variants: variants(&numbers, &bound, pair, why),
        sigma_interval: known(interval, "sigma_interval", why),
        sigma_unseen: known(unseen(pair, &numbers), "sigma_unseen", why),
        recalibrated: known(Err(if whole { NO_OTHER_SPLIT } else { EARLY }), "recalibrated", why),
        kappa: Some(bound.kappa(n)),
        beta: known(bound.beta(n).ok_or(outright), "beta", why),
        beta_per_example: known(bound.beta_per_example(n).ok_or(outright), "beta_per_example", why),
        alpha: bound.alpha(),
        gamma: bound.gamma(),
        bound_origin: gate.origin.clone(),
        budget: Some(budget.value()),
        spent: Some(spent.to_f64()),
        spent_share: known(budget.share(spent).ok_or("the budget is zero"), "spent_share", why),
        course: course.points,
        exhausted_at: course.exhausted_at,
        student_bound,
        worst: numbers.worst.iter().map(|&i| worst(pair, &numbers, i)).collect(),
        figures: of_the_task(numbers.figures, settings.task.metric, pair, why),
        notes,
        skipped: pair.skipped.clone(),
        undefined,
        data_sha256: pair.data_sha256.clone(),
        data_files: pair.data_files.clone(),
        data_revision: pair.data_revision.clone(),
        device: settings.device.clone(),
        seed: settings.seed,
        seconds: pair.started.map(|started| started.elapsed().as_secs_f64()),
        rows_from_cache: pair.from_cache,
    }
}

/// The budget of a σ with these sums. After early stopping it is that of the whole split.
fn budget(bound: &Bound, pair: &SplitPair, sums: &DifferenceSums) -> Budget {
    let n = pair.population;
    let of = if pair.ending.early.is_some() { n } else { sums.n() };
    Budget::for_part(bound, n, of)
}

/// The limit of σ for unseen inputs, or the reason why there is none.
fn unseen(pair: &SplitPair, numbers: &PairStatistics) -> Result<UpperLimit, &'static str> {
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
    sigma.map(|sigma| UpperLimit { sigma, level: UNSEEN_LEVEL }).ok_or("no examples")
}

/// Removes the limit for unseen inputs from rows with the data of the training split under another
/// name.
pub(super) fn withhold_limits(rows: &mut [TaskRow]) {
    let Some(training) = rows.iter().find(|row| row.split == TRAIN) else { return };
    let Some(sha256) = training.data_sha256.clone() else { return };
    let same = rows.iter_mut().filter(|row| row.data_sha256.as_ref() == Some(&sha256));
    for row in same.filter(|row| row.sigma_unseen.is_some()) {
        row.sigma_unseen = None;
        row.undefined.insert("sigma_unseen".to_owned(), TRAINED_ON.to_owned());
    }
}

/// Every reading of σ: two confidences by two statistics, and the published one.
fn variants(
    numbers: &PairStatistics,
    bound: &Bound,
    pair: &SplitPair,
    undefined: &mut Reasons,
) -> Vec<Variant> {
    let whole = pair.ending.early.is_none();
    let variant = |confidence, statistic, sums: Option<DifferenceSums>| {
        let within =
            |sums: DifferenceSums| budget(bound, pair, &sums).allows(sums.spent(statistic));
        Variant {
            confidence,
            statistic,
            sigma: sums.filter(|_| whole).and_then(|sums| sums.sigma_of(statistic)),
            within_bound: sums.map(within).filter(|within| is_certain(*within, whole)),
            gates: statistic == numbers.statistic && confidence.is_read_by(statistic, numbers.kind),
            examples: None,
            left_out: None,
        }
    };
    let mut variants = Vec::new();
    for (kind, sums) in numbers.variants {
        let sums = known(sums, format!("variants.{kind}"), undefined);
        let of = |statistic| variant(kind.into(), statistic, sums);
        variants.extend(Statistic::OF_ALL_EXAMPLES.map(of));
    }
    let published = numbers.published.as_ref().map_err(ToString::to_string);
    let published = known(published, "variants.first-label", undefined).filter(|_| whole);
    let sums = published.map(PublishedDifferences::sums);
    variants.push(Variant {
        examples: sums.map(|sums| sums.n()),
        left_out: published.map(|published| published.left_out),
        ..variant(VariantConfidence::FirstLabel, Statistic::Published, sums)
    });
    if !whole {
        undefined.insert("variants".to_owned(), EARLY.to_owned());
    }
    variants
}

/// On part of a split, only an exceeded budget is certain.
fn is_certain(within: bool, whole: bool) -> bool {
    whole || !within
}

/// The student's own bound and whether σ is within it; it does not gate.
fn own_bound(
    recorded: Result<Option<Option<Bound>>, RecordError>,
    pair: &SplitPair,
    gating: &DifferenceSums,
    statistic: Statistic,
    remarks: &mut RowRemarks,
) -> Option<StudentBound> {
    let bound = match recorded {
        Ok(bound) => bound.flatten()?,
        Err(error @ RecordError::Uncounted) => {
            remarks.undefined.insert("student_bound".to_owned(), error.to_string());
            return None;
        }
        Err(error) => {
            remarks.notes.push(record_unusable(&error.into()));
            return None;
        }
    };
    let within = budget(&bound, pair, gating).allows(gating.spent(statistic));
    Some(StudentBound {
        kappa: bound.kappa(pair.population),
        beta: bound.beta(pair.population)?,
        alpha: bound.alpha(),
        gamma: bound.gamma(),
        within_bound: is_certain(within, pair.ending.early.is_none()).then_some(within),
    })
}

/// `figures` without the metrics of other tasks.
fn of_the_task(
    mut figures: PairFigures,
    metric: Metric,
    pair: &SplitPair,
    undefined: &mut Reasons,
) -> PairFigures {
    let models = [("teacher", &mut figures.teacher), ("student", &mut figures.student)];
    for (role, model) in models {
        let Some(model) = model else { continue };
        let ModelStatistics { f1, matthews_correlation, intervals, .. } = model;
        let mut other = |name: &str, figure: &mut Option<f64>, interval: &mut Option<_>| {
            (*figure, *interval) = (None, None);
            undefined.insert(format!("{role}.{name}"), "another task's metric".to_owned());
        };
        if metric != Metric::AccuracyAndF1 {
            other("f1", f1, &mut intervals.f1);
        }
        if metric != Metric::Matthews {
            let interval = &mut intervals.matthews_correlation;
            other("matthews_correlation", matthews_correlation, interval);
        }
        if let (None, Some(why)) = (model.accuracy, &pair.unlabelled) {
            undefined.insert(format!("{role}.accuracy"), why.clone());
        }
    }
    figures
}

fn worst(pair: &SplitPair, numbers: &PairStatistics, i: usize) -> WorstInput {
    let says = |p: &Predictions, confidence| Prediction {
        predicted: pair.label_name(p.predicted(i)),
        confidence,
        probabilities: p.probabilities(i).map(<[f64]>::to_vec).unwrap_or_default(),
    };
    WorstInput {
        index: pair.rows[i] as usize,
        text: pair.text(i).map(|e| e.text.clone()),
        pair: pair.text(i).and_then(|e| e.pair.clone()),
        label: pair.labels[i].map(|id| pair.label_name(id)),
        teacher: says(&pair.teacher, pair.teacher.confidence(i)),
        student: says(&pair.student, pair.student_confidence(numbers.kind, i)),
        difference: numbers.differences[i],
    }
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
