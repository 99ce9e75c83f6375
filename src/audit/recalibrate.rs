//! Temperature scaling of a student: fitted on one split, gated on another.

use std::path::Path;

use anyhow::{bail, Context, Result};

use super::notes::sanity;
use super::pair::skipped;
use super::reading::reading_notes_of_pair;
use super::{
    has_split, load_gating_split, manifest, models_disagree, pinned_arguments, record_unusable,
    run_one, Classifier, Gate, ModelRun, Role, Session, Split,
};
use crate::check::{findings, Budget, Code, Evidence, Note, StudentRecord};
use crate::checkpoint::NewCheckpoint;
use crate::confidence::{agreement, correct, labelled, DifferenceSums, PairError, Predictions};
use crate::config::{command_line, Settings};
use crate::error::{failure, usage, Diagnostic};
use crate::inference::Logits;
use crate::recalibration::{fit, moved, recalibrated, Fit, Scores, LARGEST_TEMPERATURE};
use crate::report::recalibration::{
    conclusion, BudgetSpend, RecalibratedSplit, Recalibration, RECALIBRATION_VERSION,
};
use crate::report::schema::{ModelManifest, Outcome, RowsFromCache, TaskCommand};
use crate::report::write_json;

/// Runs both models on both splits, fits the temperature on the split of `to_fit`, gates on that of
/// `settings`, and writes the recalibrated checkpoint to `output`.
///
/// # Errors
/// The same data for both splits, a model that cannot be run, a file that cannot be written. A student
/// that is not preserved is not an error.
pub fn recalibrate(
    output: Option<&Path>,
    to_fit: &Settings,
    settings: &Settings,
    session: &Session,
) -> Result<Recalibration> {
    let (fit_split, gate_split) = splits(to_fit, settings, session)?;
    let (teacher, student) = (settings.require_teacher()?, settings.require_student()?);
    let data = &gate_split.dataset;
    let teacher = Classifier::open(Role::Teacher, teacher, settings, &[], data, session)?;
    let names = teacher.label_names().to_vec();
    let student = Classifier::open(Role::Student, student, settings, &names, data, session)?;
    settings.label_map.check_used(teacher.own_labels(), student.own_labels())?;
    let gate = Gate::of(settings, &student, data.examples.len())?;
    let reading = reading_notes_of_pair(&teacher, &student, data, settings);
    reading.iter().for_each(|note| session.progress.note(note));
    for split in [&fit_split, &gate_split] {
        gate.require_labels(names.len(), &split.dataset.labels())?;
    }
    let mut models = [teacher, student];
    let on_fit = SplitRun::of(&mut models, fit_split, settings, session)?;
    let on_gate = SplitRun::of(&mut models, gate_split, settings, session)?;

    let found = on_fit.best(&gate, settings)?;
    let gated = on_gate.row(found.temperature, on_gate.best(&gate, settings)?, &gate, settings)?;
    let sigma = gated.after.sigma_of(gate.statistic);
    let gating = on_gate.scores(&gate, settings)?.examples();
    let mut report = Recalibration {
        schema_version: RECALIBRATION_VERSION,
        verdict: Outcome::NotPreserved,
        exit_code: 0,
        task: settings.task.name.clone(),
        temperature: found.temperature,
        statistic: gate.statistic.to_string(),
        confidence: gate.kind.to_string(),
        bound_origin: gate.origin.clone(),
        fit: on_fit.row(found.temperature, found, &gate, settings)?,
        gate: gated,
        conclusion: String::new(),
        notes: [reading, notes(&on_fit, &on_gate, &models, &gate, &found, (sigma, gating))]
            .concat(),
        manifest: manifest(std::slice::from_ref(settings), session, Vec::new(), Vec::new()),
    };
    report.verdict = report.gate.after.verdict;
    report.exit_code = report.verdict.exit() as u8;
    report.conclusion = conclusion(&report);
    session.interrupt.check(|| "about to write the report".to_owned())?;
    let [teacher, mut student] = models;
    let new = output.map(|_| checkpoint(&mut student, found.temperature, session)).transpose()?;
    teacher.require_unchanged()?;
    student.require_unchanged()?;
    report.manifest.models = vec![teacher.into_manifest(settings), student.into_manifest(settings)];
    report.manifest.commands = vec![command(to_fit, settings, &report.manifest.models)];
    if let (Some(mut new), Some(folder)) = (new, output) {
        let (mut record, mut reproducible) = (Vec::new(), report.clone());
        for split in [&mut reproducible.fit, &mut reproducible.gate] {
            split.rows_from_cache = None; // the same bytes with and without the cache
        }
        write_json(&reproducible, &mut record)?;
        new.extra_files.push(("recalibration.json", record));
        new.write(folder).context("cannot write the recalibrated checkpoint")?;
    }
    Ok(report)
}

/// The command that gives the report again, without the checkpoint.
fn command(to_fit: &Settings, settings: &Settings, models: &[ModelManifest]) -> TaskCommand {
    let words = recalibrate_arguments(to_fit, pinned_arguments(settings, models));
    TaskCommand { task: settings.task.name.clone(), command: command_line(&words) }
}

/// Arguments after `audit` of a recalibration that is fitted on the split of `to_fit`; `audit` has those
/// of the settings that gate.
pub fn recalibrate_arguments(to_fit: &Settings, audit: Vec<String>) -> Vec<String> {
    let mut words = vec!["recalibrate".to_owned()];
    words.extend(audit);
    words.push(format!("--fit-split={}", to_fit.split.as_deref().unwrap_or_default()));
    words
}

/// The error if the gating split is also the one to fit on.
pub fn fitted_on_gate(split: &str) -> Diagnostic {
    usage!(
        "the temperature would be fitted on the gating split `{split}`, which biases the verdict"
    )
    .hint("name different splits with --fit-split and --split")
}

/// Loads both splits, which must differ.
fn splits(to_fit: &Settings, to_gate: &Settings, session: &Session) -> Result<(Split, Split)> {
    let name = to_fit.split.as_deref().unwrap_or_default();
    if !has_split(name, to_fit, &session.hub)? {
        let task = &to_fit.task.name;
        bail!(failure!("`{task}` has no split `{name}` to fit the temperature on")
            .hint("name another split with --fit-split; it must not be the gating split"));
    }
    let to_fit = Split { gates: false, ..load_gating_split(to_fit, &session.hub)? };
    let to_gate = load_gating_split(to_gate, &session.hub)?;
    match to_fit.dataset.sha256 == to_gate.dataset.sha256 {
        true => Err(anyhow::Error::from(fitted_on_gate(name)).context(format!(
            "`{}` and `{}` are the same data",
            to_fit.dataset.split, to_gate.dataset.split
        ))),
        false => Ok((to_fit, to_gate)),
    }
}

/// The student's checkpoint with τ folded into its last layer. distillation.json is not copied: its
/// loss is that of other weights.
fn checkpoint(
    student: &mut Classifier,
    temperature: f64,
    session: &Session,
) -> Result<NewCheckpoint<'static>> {
    let checkpoint = student.checkpoint_mut();
    let new = NewCheckpoint {
        config: checkpoint.config.keys().clone(),
        tensors: recalibrated(checkpoint.network.weights_mut()?, temperature)?,
        tokenizer_files: checkpoint.tokenizer_files(&session.hub)?,
        extra_files: Vec::new(),
    };
    checkpoint.network.unload();
    Ok(new)
}

/// Results of both models on one split.
struct SplitRun {
    split: Split,
    labels: Vec<Option<u32>>,
    teacher: Predictions,
    student: Predictions,
    logits: Logits,
    truncated: (usize, usize),
    from_cache: RowsFromCache,
}

impl SplitRun {
    fn of(
        [teacher, student]: &mut [Classifier; 2],
        split: Split,
        settings: &Settings,
        session: &Session,
    ) -> Result<Self> {
        let teacher = run_one(teacher, &split.dataset, settings, session)?;
        let student = run_one(student, &split.dataset, settings, session)?;
        let predictions =
            |run: &ModelRun| Predictions::from_logits(&run.logits.values, run.logits.labels);
        Ok(SplitRun {
            labels: split.dataset.labels(),
            teacher: predictions(&teacher)?,
            student: predictions(&student)?,
            truncated: (teacher.truncated, student.truncated),
            from_cache: RowsFromCache { teacher: teacher.from_cache, student: student.from_cache },
            logits: student.logits,
            split,
        })
    }

    fn scores(&self, gate: &Gate, settings: &Settings) -> Result<Scores> {
        let reading = (gate.kind, gate.statistic);
        let (teacher, student) = (&self.teacher, &self.logits);
        Scores::of_statistic(teacher, student, &self.labels, reading, settings.threads)
            .map_err(|reason| PairError::PublishedUndefined { reason }.into())
    }

    /// The best temperature for this split.
    fn best(&self, gate: &Gate, settings: &Settings) -> Result<Fit> {
        Ok(fit(&self.scores(gate, settings)?, gate.statistic))
    }

    /// The report row of the split: before, after, and at its own best temperature.
    fn row(
        &self,
        temperature: f64,
        best: Fit,
        gate: &Gate,
        settings: &Settings,
    ) -> Result<RecalibratedSplit> {
        let (dataset, n) = (&self.split.dataset, self.labels.len());
        let bound = gate.bound_of(self.split.gates);
        let scores = self.scores(gate, settings)?;
        let budget = Budget::for_part(&bound, n, scores.examples());
        let spend = |sums: DifferenceSums| spend(&sums, gate, &budget);
        let (teacher, student) =
            (correct(&self.teacher, &self.labels), correct(&self.student, &self.labels));
        let labelled = labelled(&self.labels);
        let share = |correct: usize| correct as f64 / labelled as f64;
        let reason = |why: &String| ["teacher", "student"].map(|role| (role, why.clone()));
        let undefined = dataset.unlabelled.iter().flat_map(reason).flat_map(|(role, why)| {
            ["correct", "accuracy"].map(|figure| (format!("{role}_{figure}"), why.clone()))
        });
        Ok(RecalibratedSplit {
            split: dataset.split.clone(),
            n,
            of: dataset.available,
            partial: n < dataset.available,
            kappa: bound.kappa(n),
            budget: budget.value(),
            before: spend(scores.at(1.0)),
            after: spend(scores.at(temperature)),
            best_temperature: best.temperature,
            best: spend(best.sums),
            labelled,
            teacher_correct: teacher.ok(),
            teacher_accuracy: teacher.ok().map(share),
            student_correct: student.ok(),
            student_accuracy: student.ok().map(share),
            agreement: agreement(&self.teacher, &self.student),
            predictions_moved: moved(&self.logits, temperature),
            teacher_truncated: self.truncated.0,
            student_truncated: self.truncated.1,
            skipped: skipped(dataset),
            data_sha256: dataset.sha256.clone(),
            data_files: dataset.names.clone(),
            data_revision: dataset.commit.clone(),
            undefined: undefined.collect(),
            rows_from_cache: Some(self.from_cache),
        })
    }
}

fn spend(sums: &DifferenceSums, gate: &Gate, budget: &Budget) -> BudgetSpend {
    let spent = sums.spent(gate.statistic);
    let some = "a split is not empty";
    BudgetSpend {
        sigma: sums.sigma().expect(some),
        sigma_centred: sums.sigma_centred().expect(some),
        mean_difference: sums.mean().expect(some),
        spent: spent.to_f64(),
        verdict: budget.verdict(spent).into(),
    }
}

/// Notes and warnings of a recalibration.
fn notes(
    on_fit: &SplitRun,
    on_gate: &SplitRun,
    models: &[Classifier; 2],
    gate: &Gate,
    found: &Fit,
    (sigma, gating): (f64, usize),
) -> Vec<Note> {
    let record = models[1].record();
    let mut notes: Vec<Note> = models.iter().flat_map(|model| model.notes().to_vec()).collect();
    notes.extend(record.as_ref().err().map(|e| record_unusable(e)));
    notes.extend(found.at_edge.then(|| at_edge(found.temperature)));
    let SplitRun { teacher, student, labels, .. } = on_gate;
    for (role, predictions) in [("teacher", teacher), ("student", student)] {
        notes.extend(sanity(role, predictions, labels));
    }
    for run in [on_fit, on_gate] {
        let agreed = agreement(&run.teacher, &run.student);
        notes.extend(models_disagree(agreed, run.labels.len(), run.logits.labels));
    }
    let evidence = Evidence {
        bound: gate.bound_of(true),
        kind: Evidence::kind(gate.statistic, gate.kind),
        n: labels.len(),
        gating,
        labels: on_gate.logits.labels,
        sigma: Some(sigma),
        // The record is about the student before recalibration.
        divergence: None,
        temperature: record.ok().flatten().and_then(StudentRecord::temperature),
        losses_reached: Vec::new(),
        published: None,
    };
    notes.extend(findings(&evidence));
    notes
}

/// A warning that the fitted temperature is the lowest or the highest that is tried.
fn at_edge(temperature: f64) -> Note {
    let (end, every) = match temperature < 1.0 {
        true => ("lowest", "all but certain of every input"),
        false => ("highest", "all but undecided on every input"),
    };
    let hint = "its confidence may tell nothing then; distil it on the teacher's logits instead";
    Note::new(Code::TemperatureAtEdge, format!(
            "τ {temperature} is the {end} temperature that is tried, of 1/{LARGEST_TEMPERATURE} to \
             {LARGEST_TEMPERATURE}: the student is brought nearest to its teacher by being {every}, \
             or its scores are on quite another scale"
        )).hint(hint)
}
