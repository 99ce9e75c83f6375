//! The audit of a student whose teacher's predictions are given.

use std::time::Instant;

use anyhow::Result;

use super::classifier::{Classifier, Role};
use super::gate::Gate;
use super::judge::judge;
use super::notes::record_unusable;
use super::pair::SplitPair;
use super::run::{run_one, Ending, PairRun};
use super::splits::Split;
use super::{Session, TaskOutcome};
use crate::confidence::Predictions;
use crate::config::Settings;
use crate::inference::Logits;
use crate::report::schema::{ModelManifest, RowsFromCache};
use crate::task::Dataset;

/// A teacher that is known by its logits alone.
pub struct GivenTeacher {
    /// On the examples of the split (N, K), in the task's label order.
    pub logits: Logits,
    /// The task's label names (K).
    pub label_names: Vec<String>,
    /// The teacher, as the report names it.
    pub manifest: ModelManifest,
}

/// Audits the student of `settings` on `dataset` alone, against `teacher`.
///
/// # Errors
/// A student that cannot be opened or run; a confidence that is not defined.
pub fn audit_student(
    teacher: GivenTeacher,
    dataset: Dataset,
    settings: &Settings,
    session: &Session,
) -> Result<TaskOutcome> {
    let (started, n) = (Instant::now(), dataset.examples.len());
    let GivenTeacher { logits, label_names, manifest } = teacher;
    let source = settings.require_student()?;
    let mut student =
        Classifier::open(Role::Student, source, settings, &label_names, &dataset, session)?;
    let gate = Gate::of(settings, &student, n)?;
    gate.require_labels(label_names.len(), &dataset.labels())?;
    let run = run_one(&mut student, &dataset, settings, session)?;
    let run = PairRun {
        teacher: Predictions::from_logits(&logits.values, logits.labels)?,
        student: Predictions::from_logits(&run.logits.values, run.logits.labels)?,
        truncated: (0, run.truncated),
        rows: (0..n as u32).collect(),
        ending: Ending::WHOLE,
        from_cache: RowsFromCache { teacher: 0, student: run.from_cache },
    };
    let record = student.record();
    let mut notes = student.notes().to_vec();
    notes.extend(record.as_ref().err().map(|error| record_unusable(error)));
    let split = Split { dataset, gates: true };
    let pair = SplitPair { notes, ..SplitPair::of(&split, &label_names, run, started) };
    let (row, table) = judge(&pair, &gate, settings, record.unwrap_or(None))?;
    let models = vec![manifest, student.into_manifest(settings)];
    Ok(TaskOutcome { rows: vec![row], tables: vec![table], models })
}
