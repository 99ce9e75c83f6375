//! Audit of one task: settings in, report rows out.

mod classifier;
mod computation;
mod device;
mod exported;
mod failed;
mod gate;
mod given;
mod inputs;
mod judge;
mod length;
mod manifest;
mod notes;
mod pair;
mod preflight;
mod reading;
mod recalibrate;
mod recalibrated;
mod run;
mod sampled;
mod session;
mod splits;

use std::time::Instant;

use anyhow::{Error, Result};

pub use classifier::{Classifier, Role, SplitTexts};
pub use computation::ModelFacts;
pub use device::device;
pub use exported::refuse_unused;
pub use failed::failed_row;
pub use gate::Gate;
pub use given::{audit_student, GivenTeacher};
pub use inputs::{model_hashes, split_hashes, ModelHashes};
pub use judge::judge;
use judge::withhold_limits;
pub use length::{beyond_tokenizer, lengths_differ, set_max_length};
pub use manifest::{manifest, pinned_arguments, settings_sha256};
pub use notes::{checkpoint_notes, models_disagree, record_unusable, sanity};
pub use pair::SplitPair;
pub use reading::{reading_notes, segments_not_fed};
pub use recalibrate::{fitted_on_gate, recalibrate, recalibrate_arguments};
pub use run::{run_one, run_options, Ending, ModelRun, PairRun};
pub use sampled::{audit_sample, SampleOptions, SampledSplit, SampledTask};
pub use session::{ErrorDisplay, Session};
pub use splits::{
    has_split, load_gating_split, load_secondary_split, load_table, load_texts, load_with_ids,
    secondary_names, Split, SECONDARY_SPLIT,
};

use crate::config::Settings;
use crate::error::{print, Interrupted};
use crate::recalibration::Scores;
use crate::report::schema::{ModelManifest, TaskRow};
use crate::report::PredictionTable;
use recalibrated::{recalibrate_rows, SplitScores};
use run::{run_pair, CachedClassifier};

/// Contribution of one task to the report.
#[derive(Debug, Default)]
pub struct TaskOutcome {
    /// The gating row, then the rows of the secondary splits.
    pub rows: Vec<TaskRow>,
    /// Predictions of both models per example, in the order of `rows`.
    pub tables: Vec<PredictionTable>,
    /// The two models.
    pub models: Vec<ModelManifest>,
}

/// Audits one task: runs both models on the gating split and on the secondary splits.
///
/// # Errors
/// A gating split that cannot be audited. A failed check or a failing secondary split is not an
/// error.
pub fn audit(settings: &Settings, session: &Session) -> Result<TaskOutcome> {
    let (teacher, student) = (settings.require_teacher()?, settings.require_student()?);
    let split = load_gating_split(settings, &session.hub)?;
    let secondary = secondary_names(settings, &session.hub)?;
    let data = &split.dataset;
    let mut teacher = Classifier::open(Role::Teacher, teacher, settings, &[], data, session)?;
    let names = teacher.label_names().to_vec();
    let mut student = Classifier::open(Role::Student, student, settings, &names, data, session)?;
    settings.label_map.check_used(teacher.own_labels(), student.own_labels())?;
    refuse_unused(settings, &[&teacher, &student])?;
    let gate = Gate::of(settings, &student, data.examples.len())?;
    let mut audit = Audit {
        teacher: &mut teacher,
        student: &mut student,
        gate: &gate,
        settings,
        session,
        scores: Vec::new(),
    };

    let mut outcome = TaskOutcome::default();
    audit.split(&split, &mut outcome)?;
    for name in &secondary {
        let split = load_secondary_split(name, settings, &session.hub);
        let audited = split.and_then(|split| audit.split(&split, &mut outcome));
        audited.or_else(|error| audit.failed_secondary(name, error, &mut outcome))?;
    }
    withhold_limits(&mut outcome.rows);
    recalibrate_rows(&audit.scores, &gate, &mut outcome.rows);
    teacher.require_unchanged()?;
    student.require_unchanged()?;
    split.dataset.require_unchanged()?;
    outcome.models = vec![teacher.into_manifest(settings), student.into_manifest(settings)];
    Ok(outcome)
}

/// State of the audit of one task.
struct Audit<'a> {
    teacher: &'a mut Classifier,
    student: &'a mut Classifier,
    gate: &'a Gate,
    settings: &'a Settings,
    session: &'a Session,
    /// Scores of each split that was run to its end.
    scores: Vec<SplitScores>,
}

impl Audit<'_> {
    /// Runs both models on `split` and adds its row and table to `outcome`.
    fn split(&mut self, split: &Split, outcome: &mut TaskOutcome) -> Result<()> {
        let (started, settings, session) = (Instant::now(), self.settings, self.session);
        let gate = self.gate;
        let labels = split.dataset.labels();
        gate.require_labels(self.teacher.label_names().len(), &labels)?;
        let texts = SplitTexts::of(&split.dataset);
        let entry = self.teacher.entry(&texts, session)?;
        let n = split.dataset.examples.len();
        let mut teacher = CachedClassifier::new(self.teacher, entry, n);
        let entry = self.student.entry_unless_shared(&teacher, &texts, session)?;
        let mut student = CachedClassifier::new(self.student, entry, n);
        let mut notes = match split.gates {
            true => preflight::preflight([&mut teacher, &mut student], &texts, settings, session)?,
            false => Vec::new(),
        };
        let sides = (&mut teacher, &mut student);
        let run = run_pair(sides, &split.dataset, gate, split.gates, settings, session)?;
        let scores = run.ending.early.is_none().then(|| {
            let (logits, _) = student.classifier.logits(&student.entry, &run.rows);
            let reading = (gate.kind, gate.statistic);
            Scores::of_statistic(&run.teacher, &logits, &labels, reading, settings.threads).ok()
        });
        drop((teacher, student)); // frees the rows, which the predictions also hold
        let names = self.teacher.label_names().to_vec();
        if split.gates {
            notes.extend(
                [&self.teacher, &self.student].into_iter().flat_map(|it| it.notes().to_vec()),
            );
        }
        let record = self.student.record();
        if let (true, Err(error)) = (split.gates, &record) {
            notes.push(notes::record_unusable(error));
        }
        let pair = SplitPair { notes, ..SplitPair::of(split, &names, run, started) };
        let (row, table) = judge(&pair, gate, settings, record.unwrap_or(None))?;
        self.scores
            .extend(scores.flatten().map(|scores| SplitScores { row: outcome.rows.len(), scores }));
        outcome.rows.push(row);
        outcome.tables.push(table);
        Ok(())
    }

    /// Adds the row of a secondary split that could not be audited.
    fn failed_secondary(&self, split: &str, error: Error, outcome: &mut TaskOutcome) -> Result<()> {
        if error.is::<Interrupted>() {
            return Err(error);
        }
        outcome.rows.push(failed_row(self.settings, split, false, &error));
        print(&error.context(format!("{}/{split}, secondary split", self.settings.task.name)));
        Ok(())
    }
}
