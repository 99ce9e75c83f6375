//! The part of the validation split that the search did not see.

use anyhow::{Context, Result};

use crate::audit::{run_one, Classifier, Role};
use crate::config::Settings;
use crate::distill::data::{cut, Splits, Teacher};
use crate::distill::recipe::HeldOut;
use crate::distill::SplitLogits;
use crate::inference::Logits;
use crate::tune::journal::TrainingRun;
use crate::tune::measure;
use crate::tune::outcome::{RunOutcome, Unseen};
use crate::tune::run::Tune;

/// The unseen examples, with what the teacher says of the whole split.
pub(super) struct UnseenPart {
    settings: Settings,
    splits: Splits,
    label_names: Vec<String>,
    says: Logits,
    rows: Vec<u32>,
}

impl UnseenPart {
    /// Reads the data and runs the teacher, once for all finalists.
    ///
    /// # Errors
    /// Whatever keeps the teacher from being run.
    pub fn read(tune: &Tune) -> Result<Self> {
        let (plan, session, settings) = (tune.plan, tune.trainings, tune.plan.settings()?);
        let splits = Splits::read(&settings, session)?;
        let mut teacher = Teacher::open(settings.require_teacher()?, &splits, &settings, session)?;
        let label_names = teacher.classifier.label_names().to_vec();
        let says = teacher.says(&splits, &settings, session)?.validation;
        let says = says.context("no validation split")?;
        let n = says.values.len() / says.labels;
        let (_, rows) = cut(n, HeldOut { share: plan.unseen, seed: plan.seed });
        Ok(UnseenPart { settings, splits, label_names, says, rows })
    }

    /// What the student of `run` does there.
    ///
    /// # Errors
    /// Whatever keeps it from being run.
    pub fn of(&self, run: &TrainingRun, tune: &Tune) -> Result<Unseen> {
        let (settings, session) = (&self.settings, tune.trainings);
        let split = self.splits.validation.as_ref().context("no validation split")?;
        let (student, names) = (tune.folder(run.id).display().to_string(), &self.label_names);
        let mut student =
            Classifier::open(Role::Student, &student, settings, names, split, session)?;
        let (answers, _) = run_one(&mut student, split, settings, session)?;
        let said = SplitLogits {
            labels: self.rows.iter().map(|&row| split.examples[row as usize].label).collect(),
            teacher: Some(self.says.part(&self.rows)),
            student: answers.part(&self.rows),
        };
        let temperature = match &run.end {
            Some(RunOutcome::Finished(student)) => student.recalibrated.map(|r| r.temperature),
            _ => None,
        };
        measure::unseen(&said, temperature, &tune.gate, settings.threads)
    }
}
