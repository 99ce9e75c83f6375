//! The part of the validation split that the search did not see.

use anyhow::{Context, Result};

use crate::audit::{run_one, Classifier, Role};
use crate::config::Settings;
use crate::distill::data::{cut, read_data, Splits, Teacher};
use crate::distill::recipe::HeldOut;
use crate::distill::SplitLogits;
use crate::inference::Logits;
use crate::tune::journal::TrainingRun;
use crate::tune::measure;
use crate::tune::outcome::{RunOutcome, Unseen};
use crate::tune::run::Tune;

/// The unseen examples, with the teacher's logits on the whole split.
pub(super) struct UnseenPart {
    settings: Settings,
    splits: Splits,
    label_names: Vec<String>,
    teacher: Logits,
    rows: Vec<u32>,
}

impl UnseenPart {
    /// Reads the data and runs the teacher, once for all finalists.
    pub fn read(tune: &Tune) -> Result<Self> {
        let (plan, session) = (tune.plan, tune.trainings);
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let (splits, tables) = read_data(&recipe, session)?;
        let teacher = Teacher::open(&recipe, &splits, tables, session)?;
        let (mut teacher, settings) = (teacher.context("no teacher")?, recipe.settings);
        let label_names = teacher.label_names().to_vec();
        let logits = teacher.measuring(&splits, &settings, session)?.validation;
        let teacher = logits.context("no validation split")?;
        let n = teacher.values.len() / teacher.labels;
        let (_, rows) = cut(n, HeldOut { share: plan.unseen, seed: plan.seed });
        Ok(UnseenPart { settings, splits, label_names, teacher, rows })
    }

    /// Measures the student of `run`.
    pub fn of(&self, run: &TrainingRun, tune: &Tune) -> Result<Unseen> {
        let (settings, session) = (&self.settings, tune.trainings);
        let split = self.splits.validation.as_ref().context("no validation split")?;
        let (student, names) = (tune.student(run)?.display().to_string(), &self.label_names);
        let mut student =
            Classifier::open(Role::Student, &student, settings, names, split, session)?;
        let logits = run_one(&mut student, split, settings, session)?.logits;
        let part = SplitLogits {
            labels: self.rows.iter().map(|&row| split.examples[row as usize].label).collect(),
            teacher: Some(self.teacher.part(&self.rows)),
            student: logits.part(&self.rows),
        };
        let temperature = match &run.end {
            Some(RunOutcome::Finished(student)) => student.recalibrated.map(|r| r.temperature),
            _ => None,
        };
        measure::unseen(&part, temperature, &tune.gate, settings.threads)
    }
}
