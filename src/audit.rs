//! The flow as one function: a task's settings in, its rows of the report out.

mod classifier;
mod judge;
mod manifest;
mod notes;
mod preflight;
mod splits;

use anyhow::Result;

pub use classifier::{Classifier, Role};
pub use judge::{judge, Gate, SplitPair};
pub use manifest::{manifest, settings_sha256};
pub use notes::note;
pub use splits::{load_splits, Split};

use crate::config::Settings;
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::schema::{ModelManifest, Note, TaskRow};
use crate::report::PredictionTable;

/// What a run shares between its tasks.
pub struct Session {
    /// Where checkpoints and data sets come from that are not on this machine.
    pub hub: Hub,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
    /// What a person at a terminal sees meanwhile.
    pub progress: Progress,
}

/// What one task adds to the report.
#[derive(Debug, Default)]
pub struct TaskOutcome {
    /// The gating row, then the row beside it.
    pub rows: Vec<TaskRow>,
    /// What both models said of every example, for the same rows.
    pub tables: Vec<PredictionTable>,
    /// The two models.
    pub models: Vec<ModelManifest>,
}

/// Audits one task: both models over the split that gates, and over the one beside it.
///
/// # Errors
/// Whatever keeps the audit from being carried out; a failed check is no error.
pub fn audit(settings: &Settings, session: &Session) -> Result<TaskOutcome> {
    let (teacher, student) = (settings.require_teacher()?, settings.require_student()?);
    let splits = load_splits(settings, &session.hub)?;
    let gating = &splits[0].dataset;
    let teacher = Classifier::open(Role::Teacher, teacher, settings, &[], gating, session)?;
    let names = teacher.label_names().to_vec();
    let student = Classifier::open(Role::Student, student, settings, &names, gating, session)?;
    settings.label_map.check_used(teacher.own_labels(), student.own_labels())?;
    let gate = Gate::new(settings, student.record(), gating.examples.len())?;

    let mut outcome = TaskOutcome::default();
    let mut notes: Vec<Note> = preflight::preflight(&teacher, &student, gating, settings, session)?;
    for split in &splits {
        let started = std::time::Instant::now();
        let (t, truncated_t) = teacher.predict(&split.dataset, settings, session, None)?;
        let spend = Some((&t, &gate));
        let (s, truncated_s) = student.predict(&split.dataset, settings, session, spend)?;
        let pair = SplitPair::of(split, &names, t, s, (truncated_t, truncated_s));
        let (mut row, table) = judge(&pair, &gate, settings, student.record())?;
        row.notes.splice(0..0, std::mem::take(&mut notes));
        row.seconds = Some(started.elapsed().as_secs_f64());
        outcome.rows.push(row);
        outcome.tables.push(table);
    }
    outcome.models = vec![teacher.into_manifest(), student.into_manifest()];
    Ok(outcome)
}
