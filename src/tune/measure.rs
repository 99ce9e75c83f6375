//! A trained student held against the bound: what the journal tells of it.

use anyhow::{Context, Result};

use super::outcome::{Finished, RecalibratedStudent, Right, TrainingSpend, Unseen};
use super::watch::standings;
use crate::audit::Gate;
use crate::check::Budget;
use crate::confidence::{
    correct, labelled, ConfidenceKind, DifferenceSums, Predictions, Statistic,
};
use crate::distill::recipe::Recipe;
use crate::distill::{SplitLogits, Student};
use crate::inference::Logits;
use crate::recalibration::{fit, Scores};

/// What teacher and student say of a split, as the gate compares it.
struct ComparedSplit<'a> {
    teacher: Predictions,
    student: Predictions,
    logits: &'a Logits,
    labels: &'a [Option<u32>],
    kind: ConfidenceKind,
    statistic: Statistic,
}

impl<'a> ComparedSplit<'a> {
    fn of(said: &'a SplitLogits, gate: &Gate) -> Result<Self> {
        let teacher = said.teacher.as_ref().context("a student without a teacher")?;
        Ok(ComparedSplit {
            teacher: Predictions::from_logits(&teacher.values, teacher.labels)?,
            student: Predictions::from_logits(&said.student.values, said.student.labels)?,
            logits: &said.student,
            labels: &said.labels,
            kind: gate.kind,
            statistic: gate.statistic,
        })
    }

    fn scores(&self, threads: usize) -> Scores {
        Scores::new(&self.teacher, self.logits, self.kind, threads)
    }

    fn sigma(&self, scores: &Scores, temperature: f64) -> Result<f64> {
        scores.at(temperature).sigma_of(self.statistic).context("σ of no example")
    }

    fn right(&self, predictions: &Predictions) -> Result<Right> {
        let (correct, labelled) = (correct(predictions, self.labels), labelled(self.labels));
        let correct = correct.map_err(|why| anyhow::anyhow!("no accuracy is known: {why}"))?;
        Ok(Right { correct, labelled })
    }
}

/// Measures a student that was trained with `recipe`. A temperature is fit on what the search sees
/// of the validation split, where `recalibrate` asks for one, and held against the bound on the
/// training set.
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
    let seen = student.said.validation.as_ref().context("no validation split")?;
    let (train, seen) =
        (ComparedSplit::of(&student.said.train, gate)?, ComparedSplit::of(seen, gate)?);
    let (scores, seen_scores) = (train.scores(threads), seen.scores(threads));
    let n = train.labels.len();
    let budget = Budget::new(&gate.bound, n);
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
        train_accuracy: train.right(&train.student).ok().map(Right::accuracy),
        seen: seen.right(&seen.student)?,
        teacher_seen: seen.right(&seen.teacher)?,
        seen_sigma: seen.sigma(&seen_scores, 1.0)?,
        epochs: ended.course.len(),
        ended_by: serde_json::to_value(ended.by)?.as_str().unwrap_or_default().to_owned(),
        epoch: ended.epoch,
        cost: ended.course.len() * layers,
        parameters: student.parameters,
        course: standings(&ended.course, recipe.last_stage().max_epochs),
    })
}

/// What a finalist does on the unseen part of the validation split.
///
/// # Errors
/// As [`finished`].
pub fn unseen(
    said: &SplitLogits,
    temperature: Option<f64>,
    gate: &Gate,
    threads: usize,
) -> Result<Unseen> {
    let compared = ComparedSplit::of(said, gate)?;
    let scores = compared.scores(threads);
    let recalibrated = temperature.map(|temperature| compared.sigma(&scores, temperature));
    Ok(Unseen {
        student: compared.right(&compared.student)?,
        teacher: compared.right(&compared.teacher)?,
        sigma: compared.sigma(&scores, 1.0)?,
        recalibrated_sigma: recalibrated.transpose()?,
    })
}
