//! The flow as one function: a task's settings in, its rows of the report out.

mod classifier;
mod failed;
mod gate;
mod judge;
mod manifest;
mod notes;
mod pair;
mod preflight;
mod recalibrate;
mod recalibrated;
mod run;
mod session;
mod splits;

use std::time::Instant;

use anyhow::{Error, Result};

pub use classifier::{device, set_max_length, Classifier, ModelFacts, Role, Texts};
pub use failed::failed_row;
pub use gate::Gate;
pub use judge::judge;
use judge::withhold_limits;
pub use manifest::{manifest, settings_sha256};
pub use notes::{models_disagree, record_unusable, sanity};
pub use pair::SplitPair;
pub use recalibrate::{fitted_on_gate, recalibrate};
pub use run::{run_one, run_options, Ending, PairRun};
pub use session::Session;
pub use splits::{gating, has, secondary_names, secondary_split, Split, SECONDARY_SPLIT};

use crate::config::Settings;
use crate::error::{print, Interrupted};
use crate::recalibration::Scores;
use crate::report::schema::{ModelManifest, TaskRow};
use crate::report::PredictionTable;
use recalibrated::{recalibrate_rows, Curve};
use run::{run_pair, Side};

/// What one task adds to the report.
#[derive(Debug, Default)]
pub struct TaskOutcome {
    /// The gating row, then the rows beside it.
    pub rows: Vec<TaskRow>,
    /// What both models said of every example, for the same rows.
    pub tables: Vec<PredictionTable>,
    /// The two models.
    pub models: Vec<ModelManifest>,
}

/// Audits one task: both models over the split that gates, and over those beside it.
///
/// # Errors
/// Whatever keeps the gating split from being audited; a failed check is no error, and neither is a
/// split beside it that cannot be audited.
pub fn audit(settings: &Settings, session: &Session) -> Result<TaskOutcome> {
    let (teacher, student) = (settings.require_teacher()?, settings.require_student()?);
    let split = gating(settings, &session.hub)?;
    let secondary_names = secondary_names(settings, &session.hub)?;
    let data = &split.dataset;
    let mut teacher = Classifier::open(Role::Teacher, teacher, settings, &[], data, session)?;
    let names = teacher.label_names().to_vec();
    let mut student = Classifier::open(Role::Student, student, settings, &names, data, session)?;
    settings.label_map.check_used(teacher.own_labels(), student.own_labels())?;
    let gate = Gate::of(settings, &student, data.examples.len())?;
    let mut audit = Audit {
        teacher: &mut teacher,
        student: &mut student,
        gate: &gate,
        settings,
        session,
        curves: Vec::new(),
    };

    let mut outcome = TaskOutcome::default();
    audit.split(&split, &mut outcome)?;
    for name in &secondary_names {
        let secondary = secondary_split(name, settings, &session.hub);
        let audited = secondary.and_then(|split| audit.split(&split, &mut outcome));
        audited.or_else(|error| audit.failed_beside(name, error, &mut outcome))?;
    }
    withhold_limits(&mut outcome.rows);
    recalibrate_rows(&audit.curves, &gate, &mut outcome.rows);
    outcome.models = vec![teacher.into_manifest(settings), student.into_manifest(settings)];
    Ok(outcome)
}

/// One task under way.
struct Audit<'a> {
    teacher: &'a mut Classifier,
    student: &'a mut Classifier,
    gate: &'a Gate,
    settings: &'a Settings,
    session: &'a Session,
    /// σ over one temperature, for each split that was run whole.
    curves: Vec<Curve>,
}

impl Audit<'_> {
    /// Runs both models over `split`, judges it, and adds its row.
    fn split(&mut self, split: &Split, outcome: &mut TaskOutcome) -> Result<()> {
        let (started, settings, session) = (Instant::now(), self.settings, self.session);
        let gate = self.gate;
        let texts = Texts::of(&split.dataset);
        let entry = self.teacher.entry(&texts, session)?;
        let mut teacher = Side { classifier: self.teacher, entry };
        let beside = (&*teacher.classifier, &teacher.entry);
        let entry = self.student.entry_beside(beside, &texts, session)?;
        let mut student = Side { classifier: self.student, entry };
        let mut notes = match split.gates {
            true => preflight::preflight([&mut teacher, &mut student], &texts, settings, session)?,
            false => Vec::new(),
        };
        let sides = (&mut teacher, &mut student);
        let run = run_pair(sides, &split.dataset, gate, split.gates, settings, session)?;
        let scores = run.ending.early.is_none().then(|| {
            let (logits, _) = student.classifier.logits(&student.entry, &run.rows);
            Scores::new(&run.teacher, &logits, gate.kind, settings.threads)
        });
        drop((teacher, student)); // the rows, which the predictions hold too
        let names = self.teacher.label_names().to_vec();
        let record = self.student.record();
        if let (true, Err(error)) = (split.gates, &record) {
            notes.push(notes::record_unusable(error));
        }
        let pair = SplitPair { notes, ..SplitPair::of(split, &names, run, started) };
        let (row, table) = judge(&pair, gate, settings, record.unwrap_or(None))?;
        self.curves.extend(scores.map(|scores| Curve { row: outcome.rows.len(), scores }));
        outcome.rows.push(row);
        outcome.tables.push(table);
        Ok(())
    }

    /// The row of a split beside the gating one, which could not be audited.
    fn failed_beside(&self, split: &str, error: Error, outcome: &mut TaskOutcome) -> Result<()> {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        outcome.rows.push(failed_row(self.settings, split, false, &error));
        print(&error.context(format!("{}/{split}, beside the gate", self.settings.task.name)));
        Ok(())
    }
}
