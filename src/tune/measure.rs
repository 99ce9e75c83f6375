//! A trained student compared with the bound: its figures in the journal.

use anyhow::{bail, Context, Result};

use super::answers::Answers;
use super::outcome::{Finished, RecalibratedStudent, TrainingSpend, Unseen};
use super::pruning::trial_epochs;
use crate::audit::Gate;
use crate::check::Budget;
use crate::confidence::{
    labelled, ConfidenceKind, DifferenceSums, PairError, Predictions, Statistic,
};
use crate::distill::recipe::Recipe;
use crate::distill::{SplitLogits, Student};
use crate::inference::Logits;
use crate::recalibration::{fit, Scores};

/// Both models' predictions on a split, as the gate compares them.
struct ComparedSplit<'a> {
    teacher: Predictions,
    student: Predictions,
    logits: &'a Logits,
    labels: &'a [Option<u32>],
    kind: ConfidenceKind,
    statistic: Statistic,
}

impl<'a> ComparedSplit<'a> {
    fn of(split: &'a SplitLogits, gate: &Gate) -> Result<Self> {
        let teacher = split.teacher.as_ref().context("a student without a teacher")?;
        Ok(ComparedSplit {
            teacher: Predictions::from_logits(&teacher.values, teacher.labels)?,
            student: Predictions::from_logits(&split.student.values, split.student.labels)?,
            logits: &split.student,
            labels: &split.labels,
            kind: gate.kind,
            statistic: gate.statistic,
        })
    }

    fn scores(&self, threads: usize) -> Result<Scores> {
        let reading = (self.kind, self.statistic);
        Scores::of_statistic(&self.teacher, self.logits, self.labels, reading, threads)
            .map_err(|reason| PairError::PublishedUndefined { reason }.into())
    }

    fn sigma(&self, scores: &Scores, temperature: f64) -> Result<f64> {
        scores.at(temperature).sigma_of(self.statistic).context("σ of no example")
    }

    fn answers(&self, predictions: &Predictions) -> Result<Answers> {
        match labelled(self.labels) {
            0 => bail!("the accuracy is unknown: no example has a label"),
            _ => Ok(Answers::of(predictions, self.labels)),
        }
    }
}

/// Measures a student that was trained with `recipe`. Under `recalibrate` a temperature is fit on the
/// seen part of the validation split, and compared with the bound on the training set.
///
/// # Errors
/// A validation split without labels.
pub fn finished(
    student: &Student,
    recipe: &Recipe,
    gate: &Gate,
    recalibrate: bool,
) -> Result<Finished> {
    let threads = recipe.settings.threads;
    let seen = student.validation_logits.as_ref().context("no validation split")?;
    let (train, seen) =
        (ComparedSplit::of(&student.train_logits, gate)?, ComparedSplit::of(seen, gate)?);
    let (scores, seen_scores) = (train.scores(threads)?, seen.scores(threads)?);
    let n = train.labels.len();
    let budget = Budget::for_part(&gate.bound, n, scores.examples());
    let spend = |sums: DifferenceSums| -> Result<TrainingSpend> {
        Ok(TrainingSpend {
            sigma: sums.sigma_of(gate.statistic).context("σ of no example")?,
            preserved: budget.allows(sums.spent(gate.statistic)),
        })
    };
    let recalibrated = recalibrate.then(|| -> Result<_> {
        let temperature = fit(&seen_scores, gate.statistic).temperature;
        Ok(RecalibratedStudent { temperature, spend: spend(scores.at(temperature))? })
    });
    let ended = &student.ended;
    let layers = student.layers;
    Ok(Finished {
        n,
        plain: spend(scores.at(1.0))?,
        recalibrated: recalibrated.transpose()?,
        train_accuracy: train.answers(&train.student).ok().map(|answers| answers.accuracy()),
        seen: seen.answers(&seen.student)?,
        teacher_seen: seen.answers(&seen.teacher)?,
        seen_sigma: seen.sigma(&seen_scores, 1.0)?,
        epochs: ended.course.len(),
        ended_by: serde_json::to_value(ended.by)?.as_str().unwrap_or_default().to_owned(),
        stage: ended.stage.to_owned(),
        epoch: ended.epoch,
        cost: ended.course.len() * layers,
        parameters: student.parameters,
        course: trial_epochs(&ended.course, recipe.measured_epochs()),
        history: ended.course.clone(),
    })
}

/// Measures a finalist on the unseen part of the validation split.
pub fn unseen(
    split: &SplitLogits,
    temperature: Option<f64>,
    gate: &Gate,
    threads: usize,
) -> Result<Unseen> {
    let compared = ComparedSplit::of(split, gate)?;
    let scores = compared.scores(threads)?;
    let recalibrated = temperature.map(|temperature| compared.sigma(&scores, temperature));
    Ok(Unseen {
        student: compared.answers(&compared.student)?,
        teacher: compared.answers(&compared.teacher)?,
        sigma: compared.sigma(&scores, 1.0)?,
        recalibrated_sigma: recalibrated.transpose()?,
    })
}
