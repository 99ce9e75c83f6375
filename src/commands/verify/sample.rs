//! `audit verify --sample`: the verdict from predictions.csv, and a part of its lines run again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{json, Map, Value};

use super::compared::{line_differences, Derived, OF_THE_PROGRAM};
use super::{cannot, Verifier};
use crate::audit::{audit_sample, manifest, pinned_arguments, SampleOptions, SampledSplit};
use crate::config::{command_line, Settings};
use crate::report::schema::{ModelManifest, Outcome, Report, TaskCommand};
use crate::report::verification::{
    differences, Precision, SampledExamples, ValueDifference, Verification,
};
use crate::report::{
    lines_of_tables, prediction_cell, PredictionLine, PredictionRow, PredictionTable, Saved,
};

/// Columns of a line of predictions.
const LABEL: usize = 3;
const TEACHER_CONFIDENCE: usize = 4;
const STUDENT_CONFIDENCE: usize = 5;
const TEACHER_PREDICTED: usize = 6;
const STUDENT_PREDICTED: usize = 7;
const DIFFERENCE: usize = 8;

/// What `--sample` leaves out, besides the keys of rows that it has not derived.
const LEFT_OUT: &str = "what needs every example's probabilities or text: intervals, divergences, \
                        Brier score, NLL, ECE, metrics other than accuracy, groups, the worst inputs, \
                        other readings of σ, `recalibrated`, `sigma_unseen`, notes";

/// The sample that is asked for; without a seed another one each time, so that nobody can leave out
/// just the lines that will be drawn.
pub(super) fn options(asked: usize, seed: Option<u64>) -> SampleOptions {
    SampleOptions { asked, seed: seed.unwrap_or_else(rand::random) }
}

/// The lines of predictions.csv by task and split, as its cells name them, in the order of the file.
type LinesBySplit = BTreeMap<(String, String), Vec<PredictionLine>>;

/// Derives the rows of `saved` from its predictions.csv, and runs a sample of it.
pub(super) fn compare(
    verifier: &Verifier,
    saved: &Saved,
    all: &[Settings],
    sample: SampleOptions,
    found: &mut Verification,
) -> Result<()> {
    let report = &saved.report;
    let now = manifest(all, verifier.session, Vec::new(), Vec::new());
    let derived = Derived::new(&report.manifest, &now, verifier.args, verifier.again);
    let mut settings = super::json(&now);
    for key in ["models", "commands"] {
        settings.as_object_mut().expect("a manifest is an object").shift_remove(key);
    }
    let settings = json!({ "manifest": settings });
    found.differences.extend(of_part(&verifier.saved.value, &settings, &derived, Precision::Exact));
    consistent(saved, &derived, found);
    found.not_checked.extend([LEFT_OUT, OF_THE_PROGRAM].map(str::to_owned));
    let lines = match saved.prediction_lines() {
        Ok(lines) => lines,
        Err(why) => {
            let why = format!("the verdict cannot be derived from a sample: {why}");
            found.reasons.push(format!("{why} (hint: leave --sample out)"));
            return Ok(());
        }
    };
    let mut by_split = LinesBySplit::new();
    for line in lines {
        let of = (line.fields[0].to_owned(), line.fields[1].to_owned());
        by_split.entry(of).or_default().push(line);
    }
    let mut sampled = SampledReport {
        verifier,
        report,
        lines: by_split,
        derived,
        sample,
        verdicts: Vec::new(),
        models: Vec::new(),
        commands: Vec::new(),
        underived: BTreeSet::new(),
        run: 0,
    };
    let tasks: BTreeSet<&str> = report.tasks.iter().map(|row| row.task.as_str()).collect();
    let asked: BTreeSet<&str> = all.iter().map(|settings| settings.task.name.as_str()).collect();
    if tasks != asked {
        let names = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
        found.differs("tasks, their names".to_owned(), names(tasks), names(asked));
        return Ok(());
    }
    for settings in all {
        sampled.task(settings, found)?;
    }
    sampled.verdict(found);
    sampled.manifest(all, found);
    let SampleOptions { asked, seed } = sample;
    found.sample = Some(SampledExamples { asked, run: sampled.run, seed });
    Ok(())
}

/// Compares what a report says with what it says elsewhere: a row has an error if it could not be run,
/// and no key is one that this version does not write.
fn consistent(saved: &Saved, derived: &Derived, found: &mut Verification) {
    for (i, row) in saved.report.tasks.iter().enumerate() {
        if row.error.is_some() != (row.verdict == Outcome::Error) {
            let error = row.error.as_ref().map(|error| error.message.clone());
            let now = "an error and the verdict `error`, or neither";
            found.differs(format!("tasks[{i}].error"), error, now);
        }
    }
    for key in &saved.unknown {
        match derived.other_version {
            true => found.reasons.push(format!("{key} is a key that this version does not know")),
            false => found.differs(key.clone(), "a key that is not known", Value::Null),
        }
    }
}

/// A report that is derived from its predictions.
struct SampledReport<'a> {
    verifier: &'a Verifier<'a>,
    report: &'a Report,
    lines: LinesBySplit,
    derived: Derived,
    sample: SampleOptions,
    /// Of the gating rows; null where the lines do not decide.
    verdicts: Vec<Value>,
    /// The models of the tasks so far.
    models: Vec<ModelManifest>,
    /// The commands of the tasks so far, with the places of now.
    commands: Vec<TaskCommand>,
    /// Keys of rows that were not derived.
    underived: BTreeSet<String>,
    /// Examples run.
    run: usize,
}

impl SampledReport<'_> {
    fn task(&mut self, settings: &Settings, found: &mut Verification) -> Result<()> {
        let task = settings.task.name.clone();
        let failed = |gates: bool| {
            let rows = self.report.tasks.iter().filter(|row| row.task == task);
            rows.filter(|row| row.verdict == Outcome::Error && row.gates == gates).count()
        };
        if failed(true) > 0 {
            let why =
                "it could not be run for the report, which only a run without --sample compares";
            found.reasons.push(format!("{task}: {why}"));
            return Ok(());
        }
        if failed(false) > 0 {
            found.not_checked.push(format!("splits of {task} that could not be run"));
        }
        let mut given = BTreeMap::new();
        let named = prediction_cell(&task);
        for ((_, split), lines) in self.lines.iter().filter(|((of, _), _)| *of == named) {
            let differences = lines.iter().map(|line| difference(line, found)).collect();
            given.insert(split.clone(), differences);
        }
        let given: BTreeMap<String, Option<Vec<f64>>> = given;
        let of = |split: &str| given.get(&prediction_cell(split)).cloned().flatten();
        let sampled = audit_sample(settings, self.verifier.session, of, self.sample);
        let Some(sampled) = cannot(sampled, &format!("{task}: "), found)? else { return Ok(()) };
        let command = command_line(&pinned_arguments(settings, &sampled.models));
        self.commands.push(TaskCommand { task: task.clone(), command });
        self.models.extend(sampled.models);
        self.names(&task, &sampled.names, found);
        let splits = sampled.splits;
        splits.iter().for_each(|split| self.split(&task, split, found));
        Ok(())
    }

    /// Compares the names of a task's rows with those of its splits.
    fn names(&self, task: &str, splits: &[String], found: &mut Verification) {
        let rows = self.report.tasks.iter().filter(|row| row.task == task);
        let stated: Vec<&str> = rows.map(|row| row.split.as_str()).collect();
        if stated != splits {
            found.differs(
                format!("tasks, the rows of {task}"),
                stated.join(", "),
                splits.join(", "),
            );
        }
    }

    /// Compares one split: its row, its lines, its sample.
    fn split(&mut self, task: &str, split: &SampledSplit, found: &mut Verification) {
        let name = format!("{task}/{}", split.split);
        let position =
            self.report.tasks.iter().position(|row| row.task == task && row.split == split.split);
        let of = (prediction_cell(task), prediction_cell(&split.split));
        let lines = self.lines.remove(&of).unwrap_or_default();
        let Some(i) = position else { return };
        if lines.len() != split.order.len() {
            let path = format!("predictions.csv, the lines of {name}");
            return found.differs(path, lines.len(), split.order.len());
        }
        if split.derived["gates"] == true {
            self.verdicts.push(split.derived["verdict"].clone());
        }
        let mut row = split.derived.clone();
        if let Value::Object(row) = &mut row {
            row.extend(counted(&lines));
        }
        let stated = self.verifier.saved.value["tasks"][i].as_object();
        let keys = stated.into_iter().flat_map(Map::keys).filter(|key| row.get(key).is_none());
        self.underived.extend(keys.filter(|key| *key != "task").cloned());
        let mut tasks = vec![Value::Null; i];
        tasks.push(row);
        let now = json!({ "tasks": tasks });
        let value = &self.verifier.saved.value;
        let expected = lines_of_tables(&[labelled(split)]);
        let again = lines_of_tables(std::slice::from_ref(&split.table));
        let of = |how| -> Vec<ValueDifference> {
            let labels = lines.iter().zip(&expected).flat_map(|(line, now)| {
                line_differences(&first_columns(line), &first_columns(now), Precision::Exact)
            });
            let sampled = split.places.iter().zip(&again);
            let sampled = sampled.flat_map(|(&at, now)| line_differences(&lines[at], now, how));
            of_part(value, &now, &self.derived, Precision::Exact)
                .into_iter()
                .chain(labels)
                .chain(sampled)
                .collect()
        };
        let what = format!(
            "{name}: σ, spent, budget and verdict of {} lines of predictions.csv; {} of them run again",
            lines.len(),
            split.places.len()
        );
        self.derived.settle(of, &what, found);
        self.run += split.places.len();
    }

    /// Compares the models and the commands of the manifest, if every task was derived.
    fn manifest(&mut self, all: &[Settings], found: &mut Verification) {
        if !self.underived.is_empty() {
            let keys = self.underived.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            found.not_checked.push(format!("of the rows: {keys}"));
        }
        if self.commands.len() != all.len() {
            return; // a reason says why
        }
        let verifier = self.verifier;
        let (models, mut commands) = (self.models.clone(), self.commands.clone());
        if verifier.has_places() {
            for (command, text) in commands.iter_mut().zip(&verifier.texts) {
                command.command.clone_from(text);
            }
        }
        let now = manifest(all, verifier.session, models, commands);
        let report = &self.report.manifest;
        let derived = Derived::new(report, &now, verifier.args, verifier.again);
        let now = json!({ "manifest": { "models": now.models, "commands": now.commands } });
        let value = &verifier.saved.value;
        found.differences.extend(of_part(value, &now, &derived, Precision::Exact));
        found.checked.push("models and commands of the manifest".to_owned());
    }

    /// Compares the verdict of the report with those of the rows that gate.
    fn verdict(&self, found: &mut Verification) {
        let word = |outcome: Outcome| super::json(&outcome);
        let all = [Outcome::NotPreserved, Outcome::Preserved];
        let worst = all.into_iter().find(|outcome| self.verdicts.contains(&word(*outcome)));
        let gating = self.report.tasks.iter().filter(|row| row.gates).count();
        let decided = self.verdicts.len() == gating && !self.verdicts.contains(&Value::Null);
        let Some(worst) = worst.filter(|_| decided) else {
            return found.reasons.push("the lines of predictions.csv do not decide".to_owned());
        };
        let now = json!({ "verdict": word(worst), "exit_code": worst.exit() as u8 });
        let report = &self.verifier.saved.value;
        found.differences.extend(of_part(report, &now, &self.derived, Precision::Exact));
    }
}

/// The difference of a line; `None` if its confidences are none, or are not what it is of.
fn difference(line: &PredictionLine, found: &mut Verification) -> Option<f64> {
    let number = |column: usize| line.fields[column].parse::<f64>().ok();
    let confidence =
        |column: usize| number(column).filter(|confidence| (0.0..=1.0).contains(confidence));
    let now = confidence(TEACHER_CONFIDENCE).zip(confidence(STUDENT_CONFIDENCE));
    let now = now.map(|(teacher, student)| teacher - student);
    let stated = number(DIFFERENCE);
    if now.is_none() || stated != now {
        let path = format!("predictions.csv line {}, difference", line.line);
        found.differs(path, &line.fields[DIFFERENCE], now);
        return None;
    }
    now
}

/// What follows from the labels of the lines.
fn counted(lines: &[PredictionLine]) -> Map<String, Value> {
    let right = |line: &&PredictionLine, column: usize| line.fields[column] == line.fields[LABEL];
    let labelled: Vec<&PredictionLine> =
        lines.iter().filter(|line| !line.fields[LABEL].is_empty()).collect();
    let agreement = lines
        .iter()
        .filter(|line| line.fields[TEACHER_PREDICTED] == line.fields[STUDENT_PREDICTED])
        .count();
    let mut row = json!({
        "agreement": agreement,
        "agreement_share": agreement as f64 / lines.len() as f64,
    });
    if !labelled.is_empty() {
        let n = labelled.len();
        for (role, column) in [("teacher", TEACHER_PREDICTED), ("student", STUDENT_PREDICTED)] {
            let correct = labelled.iter().filter(|line| right(line, column)).count();
            let accuracy = correct as f64 / n as f64;
            row[role] = json!({ "correct": correct, "labelled": n, "accuracy": accuracy });
        }
        let flipped = |line: &&&PredictionLine| {
            right(line, TEACHER_PREDICTED) && !right(line, STUDENT_PREDICTED)
        };
        row["negative_flips"] = labelled.iter().filter(flipped).count().into();
    }
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

/// The lines of a split with its labels and without predictions.
fn labelled(split: &SampledSplit) -> PredictionTable {
    let row = |(&index, &label): (&u32, &Option<u32>)| PredictionRow {
        index: index as usize,
        label,
        teacher_confidence: 0.0,
        student_confidence: 0.0,
        teacher_predicted: 0,
        student_predicted: 0,
        difference: 0.0,
    };
    let rows = split.order.iter().zip(&split.labels).map(row).collect();
    PredictionTable { rows, ..split.table.clone() }
}

/// Task, split, index and label of a line.
fn first_columns(line: &PredictionLine) -> PredictionLine {
    let fields = line.fields.iter().take(LABEL + 1).collect();
    PredictionLine { line: line.line, fields }
}

/// The differences between `now`, a part of a report, and the same part of `report`.
fn of_part(report: &Value, now: &Value, derived: &Derived, how: Precision) -> Vec<ValueDifference> {
    differences(&picked(report, now), now, &derived.comparable, how)
}

/// Of `report`, the keys that `part` has; items of a list that `part` has not are null.
fn picked(report: &Value, part: &Value) -> Value {
    match (report, part) {
        (Value::Object(report), Value::Object(part)) => part
            .iter()
            .filter_map(|(key, part)| Some((key.clone(), picked(report.get(key)?, part))))
            .collect::<Map<_, _>>()
            .into(),
        (Value::Array(report), Value::Array(part))
            if part.contains(&Value::Null) || is_rows(part) =>
        {
            let null = Value::Null;
            let of = |(i, part): (usize, &Value)| match part {
                Value::Null => Value::Null,
                part => picked(report.get(i).unwrap_or(&null), part),
            };
            part.iter().enumerate().map(of).collect()
        }
        (report, _) => report.clone(),
    }
}

/// Whether a list is one of report rows.
fn is_rows(part: &[Value]) -> bool {
    part.last().is_some_and(|row| row.get("split").is_some())
}
