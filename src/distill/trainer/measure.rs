//! The end of an epoch: how the student does with dropout off, and what follows from it.

use anyhow::Result;

use super::ending::{EndedBy, Next};
use super::StageRun;
use crate::distill::evaluate::{Evaluated, Score, SoftLoss};
use crate::distill::recipe::{Keep, StoppingLoss};
use crate::distill::saved::{Best, Epoch};
use crate::inference::Logits;

impl<'a> StageRun<'a> {
    /// Measures the student, keeps it where it is the best so far, and says whether the training
    /// ends here: by β, or by who watches it.
    pub(super) fn end_of_epoch(&mut self) -> Result<Next> {
        let soft_loss = self.soft_loss()?;
        let validation = self.validation()?;
        let sampled = self.sampled()?;
        let sample = sampled.as_ref().map(|(sample, said)| self.watched_sigma(sample, said));
        let sample = sample.transpose()?.flatten();
        let batches = self.place.batches as f64;
        let sums = std::mem::take(&mut self.place.sums);
        let losses = sums.into_iter().map(|(term, sum)| (term, sum / batches)).collect();
        self.place.epoch += 1;
        (self.place.step, self.place.batches) = (0, 0);
        let epoch = Epoch {
            stage: self.stage.name.to_owned(),
            epoch: self.place.epoch,
            losses,
            soft_loss,
            validation,
            sample_sigma: sample,
        };
        let held = self.held_against_beta(soft_loss);
        let reached = held.is_some_and(|(loss, beta)| loss <= beta);
        self.training.speaker.epoch(&epoch, self.stage.max_epochs, held);
        self.place.course.push(epoch);
        if let (false, Some(score)) = (reached, validation) {
            self.keep_if_best(score)?;
        }
        if reached {
            return Ok(Next::Ends(EndedBy::Beta));
        }
        match sampled {
            Some((sample, student)) if self.place.epoch < self.stage.max_epochs => {
                self.asked(sample, &student)
            }
            _ => Ok(Next::GoesOn),
        }
    }

    /// σ of the watched sample, as who watches measures it.
    fn watched_sigma(&self, sample: &Evaluated, student: &Logits) -> Result<Option<f64>> {
        match (self.training.watched, &sample.teacher) {
            (Some((_, watch)), Some(teacher)) => Ok(Some(watch.sigma(teacher, student)?)),
            _ => Ok(None),
        }
    }

    /// What the one who watches says of going on.
    fn asked(&self, sample: &Evaluated, student: &Logits) -> Result<Next> {
        let (Some((_, watch)), Some(teacher)) = (self.training.watched, &sample.teacher) else {
            return Ok(Next::GoesOn);
        };
        let epochs = self.stage.max_epochs;
        Ok(match watch.goes_on(&self.place.course, epochs, teacher, student)? {
            true => Next::GoesOn,
            false => Next::Stops,
        })
    }

    /// The watched sample, and what the student says of it.
    fn sampled(&self) -> Result<Option<(&'a Evaluated, Logits)>> {
        let training = self.training;
        match training.watched.filter(|_| self.is_last()) {
            None => Ok(None),
            Some((sample, _)) => {
                Ok(Some((sample, sample.logits(training.student, &training.evaluation)?)))
            }
        }
    }

    /// The soft-label loss over the training set with dropout off, where β asks for it.
    fn soft_loss(&self) -> Result<Option<SoftLoss>> {
        let training = self.training;
        if !self.is_last() || training.stopping.is_none() {
            return Ok(None);
        }
        let logits = training.train.logits(training.student, &training.evaluation)?;
        Ok(training.train.soft_loss(&logits, self.stage.temperature, self.stage.t_squared))
    }

    /// w_soft·ΣL_soft, and β, where the theory may end the stage.
    fn held_against_beta(&self, loss: Option<SoftLoss>) -> Option<(f64, f64)> {
        let (stopping, loss) = (self.training.stopping?, loss?);
        let sum = match stopping.loss {
            StoppingLoss::Kl => loss.sum_kl,
            StoppingLoss::Ce => loss.sum_cross_entropy,
        };
        Some((self.stage.soft_weight() * sum, stopping.beta.sum(loss.examples)))
    }

    fn validation(&self) -> Result<Option<Score>> {
        let training = self.training;
        match training.validation.filter(|_| self.is_last()) {
            None => Ok(None),
            Some(split) => {
                let logits = split.logits(training.student, &training.evaluation)?;
                Ok(Some(split.score(&logits)?))
            }
        }
    }

    /// Keeps the state of the best epoch; without a figure to go by, the last one is kept.
    fn keep_if_best(&mut self, score: Score) -> Result<()> {
        let keep = self.training.recipe.keep;
        let figure = |score: &Score| match keep {
            Keep::Last => None,
            Keep::BestAccuracy => score.accuracy,
            Keep::BestSigma => score.sigma.map(|sigma| -sigma),
        };
        let Some(new) = figure(&score) else { return Ok(()) };
        let old = self.place.best.as_ref().and_then(|best| figure(&best.score));
        if old.is_some_and(|old| new <= old) {
            return Ok(());
        }
        self.training.folder.save_best(self.training.parameters)?;
        self.place.best = Some(Best { epoch: self.place.epoch, score });
        Ok(())
    }
}
