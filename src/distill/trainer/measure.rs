//! The end of an epoch: how the student does with dropout off, and what follows from it.

use anyhow::Result;

use super::StageRun;
use crate::distill::evaluate::{Score, SoftLoss};
use crate::distill::recipe::{Keep, StoppingLoss};
use crate::distill::saved::{Best, Epoch};

impl StageRun<'_> {
    /// Measures the student, keeps it where it is the best so far, and says whether β is reached.
    pub(super) fn end_of_epoch(&mut self) -> Result<bool> {
        let soft_loss = self.soft_loss()?;
        let validation = self.validation()?;
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
        };
        let reached = self.is_beta_reached(soft_loss);
        self.training.speaker.epoch(&epoch, self.stage.max_epochs, self.threshold());
        self.place.course.push(epoch);
        if let (false, Some(score)) = (reached, validation) {
            self.keep_if_best(score)?;
        }
        Ok(reached)
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

    /// β of L_soft itself: the sum that it may have.
    fn threshold(&self) -> Option<f64> {
        let stopping = self.training.stopping.filter(|_| self.is_last())?;
        Some(stopping.beta.sum(self.training.train.tokens.len()))
    }

    fn is_beta_reached(&self, loss: Option<SoftLoss>) -> bool {
        let (Some(stopping), Some(beta), Some(loss)) =
            (self.training.stopping, self.threshold(), loss)
        else {
            return false;
        };
        let sum = match stopping.loss {
            StoppingLoss::Kl => loss.sum_kl,
            StoppingLoss::Ce => loss.sum_cross_entropy,
        };
        self.stage.soft_weight() * sum <= beta
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

    fn keep_if_best(&mut self, score: Score) -> Result<()> {
        let better = |best: &Best| match self.training.recipe.keep {
            Keep::Last => false,
            Keep::BestAccuracy => score.accuracy > best.score.accuracy,
            Keep::BestSigma => match (score.sigma, best.score.sigma) {
                (Some(new), Some(old)) => new < old,
                _ => false,
            },
        };
        if self.training.recipe.keep == Keep::Last || !self.place.best.as_ref().is_none_or(better) {
            return Ok(());
        }
        self.training.folder.save_best(self.training.parameters)?;
        self.place.best = Some(Best { epoch: self.place.epoch, score });
        Ok(())
    }
}
