//! The end of an epoch: the student is measured with dropout off, and kept if it is the best.

use anyhow::Result;

use super::ending::{AfterEpoch, EndedBy, EpochCallback, SampleLogits};
use super::StageRun;
use crate::distill::evaluate::{Evaluated, Score, SigmaCheck, SoftLoss};
use crate::distill::recipe::{Keep, StoppingLoss};
use crate::distill::saved::{Best, Epoch};
use crate::inference::Logits;

impl<'a> StageRun<'a> {
    /// Measures the student and keeps it if it is the best so far. The training ends here if β is
    /// reached, and stops if the callback asks for it.
    pub(super) fn end_of_epoch(&mut self) -> Result<AfterEpoch> {
        let logits = self.train_logits()?;
        let soft_loss = logits.as_ref().and_then(|logits| self.soft_loss(logits));
        let train = logits.as_ref().map(|logits| self.sigma_check(logits)).transpose()?.flatten();
        let validation = self.validation()?;
        let sample = self.sample()?;
        let sample_sigma = sample.as_ref().map(|(callback, logits)| callback.sigma(logits));
        let sample_sigma = sample_sigma.transpose()?;
        let batches = self.progress.batches as f64;
        let sums = std::mem::take(&mut self.progress.sums);
        self.progress.epoch += 1;
        (self.progress.step, self.progress.batches) = (0, 0);
        let epoch = Epoch {
            stage: self.stage.name.to_owned(),
            epoch: self.progress.epoch,
            losses: sums.into_iter().map(|(term, sum)| (term, sum / batches)).collect(),
            soft_loss,
            validation,
            train,
            sample_sigma,
        };
        let compared = self.weighted_loss_and_beta(soft_loss);
        self.training.log.epoch(&epoch, self.stage.max_epochs, compared);
        self.progress.course.push(epoch);
        if compared.is_some_and(|(loss, beta)| loss <= beta) {
            return Ok(AfterEpoch::End(EndedBy::Beta));
        }
        let score = validation.unwrap_or(Score { accuracy: None, sigma: None });
        self.keep_if_best(Best { epoch: self.progress.epoch, score, train })?;
        let epochs = self.stage.max_epochs;
        match sample.filter(|_| self.progress.epoch < epochs) {
            Some((callback, sample))
                if !callback.continues(&self.progress.course, epochs, &sample)? =>
            {
                Ok(AfterEpoch::Stop)
            }
            _ => Ok(AfterEpoch::Continue),
        }
    }

    /// The callback with the logits of its sample, in the last stage.
    fn sample(&self) -> Result<Option<(&'a dyn EpochCallback, SampleLogits<'a>)>> {
        let training = self.training;
        let Some((sample, callback)) = training.sample.filter(|_| self.is_last()) else {
            return Ok(None);
        };
        let Some(teacher) = &sample.teacher else { return Ok(None) };
        let student = sample.logits(training.student, &training.evaluation)?;
        Ok(Some((callback, SampleLogits { teacher, student })))
    }

    /// The student's logits on the training set, where β or the choice of the state needs them.
    fn train_logits(&self) -> Result<Option<Logits>> {
        let training = self.training;
        let needed = training.stopping.is_some() || self.kappa().is_some();
        match self.is_last() && needed {
            true => Ok(Some(training.train.logits(training.student, &training.evaluation)?)),
            false => Ok(None),
        }
    }

    fn soft_loss(&self, logits: &Logits) -> Option<SoftLoss> {
        self.training.stopping?;
        self.training.train.soft_loss(logits, self.stage.temperature, self.stage.t_squared)
    }

    fn sigma_check(&self, logits: &Logits) -> Result<Option<SigmaCheck>> {
        match self.kappa() {
            Some(kappa) => self.training.train.sigma_check(logits, kappa),
            None => Ok(None),
        }
    }

    /// κ, where the choice of the state depends on it.
    fn kappa(&self) -> Option<f64> {
        self.training.recipe.kappa(self.training.train.tokens.len())
    }

    /// w_soft·ΣL_soft and β, where β may end the stage.
    fn weighted_loss_and_beta(&self, loss: Option<SoftLoss>) -> Option<(f64, f64)> {
        let (stopping, loss) = (self.training.stopping?, loss?);
        let sum = match stopping.loss {
            StoppingLoss::Kl => loss.sum_kl,
            StoppingLoss::Ce => loss.sum_cross_entropy,
        };
        Some((self.stage.soft_weight() * sum, stopping.beta.sum(loss.examples)))
    }

    fn validation(&self) -> Result<Option<Score>> {
        let training = self.training;
        let split = training.validation.filter(|_| self.is_last());
        let score =
            |split: &Evaluated| split.score(&split.logits(training.student, &training.evaluation)?);
        split.map(score).transpose()
    }

    /// Saves the parameters if [`is_better`] says so; without a figure to compare, none are saved
    /// and the last epoch is kept.
    fn keep_if_best(&mut self, new: Best) -> Result<()> {
        if is_better(self.training.recipe.keep, &new, self.progress.best.as_ref()) {
            self.training.folder.save_best(self.training.parameters)?;
            self.progress.best = Some(new);
        }
        Ok(())
    }
}

/// Whether `new` is kept in progress of `old`.
fn is_better(keep: Keep, new: &Best, old: Option<&Best>) -> bool {
    let of_old = old.and_then(|old| worth(keep, old));
    worth(keep, new).is_some_and(|of_new| of_old.is_none_or(|of_old| of_new > of_old))
}

/// The figure of an epoch; the larger one is kept. `None` where it is not known.
fn worth(keep: Keep, best: &Best) -> Option<(bool, f64, f64)> {
    let by = |figure: f64| (false, figure, 0.0);
    match keep {
        Keep::Last => None,
        Keep::BestAccuracy => best.score.accuracy.map(by),
        Keep::BestSigma => best.score.sigma.map(|sigma| by(-sigma)),
        Keep::BestPreserved => {
            let SigmaCheck { sigma, preserved } = best.train?;
            Some(match preserved {
                true => (true, best.score.accuracy.unwrap_or(0.0), -sigma),
                false => by(-sigma),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The best epoch of those with these σ on the training set, accuracies and σ on the validation
    /// split, counted from 0.
    fn kept(keep: Keep, epochs: &[(f64, Option<f64>, f64)]) -> Option<usize> {
        let new = |(epoch, &(train, accuracy, sigma)): (usize, &(f64, Option<f64>, f64))| Best {
            epoch,
            score: Score { accuracy, sigma: Some(sigma) },
            train: Some(SigmaCheck { sigma: train, preserved: train <= 0.05 }),
        };
        let better = |old: Option<Best>, new: Best| match is_better(keep, &new, old.as_ref()) {
            true => Some(new),
            false => old,
        };
        epochs.iter().enumerate().map(new).fold(None, better).map(|best| best.epoch)
    }

    #[test]
    fn the_state_that_is_kept_is_the_one_that_was_asked_for() {
        let epochs = [
            (0.20, Some(0.9), 0.13),
            (0.05, Some(0.7), 0.12),
            (0.04, Some(0.8), 0.11),
            (0.03, Some(0.8), 0.12),
            (0.02, Some(0.6), 0.12),
        ];
        assert_eq!(kept(Keep::BestAccuracy, &epochs), Some(0));
        assert_eq!(kept(Keep::BestSigma, &epochs), Some(2));
        assert_eq!(kept(Keep::BestPreserved, &epochs), Some(3), "of two as accurate the smaller σ");
        assert_eq!(kept(Keep::BestPreserved, &epochs[..2]), Some(1), "κ itself is within");
        assert_eq!(kept(Keep::Last, &epochs), None, "the last one");
        // None within κ: the nearest. No labels: the smallest σ of all.
        let far = [(0.2, Some(0.9), 0.1), (0.1, Some(0.5), 0.1), (0.15, Some(0.9), 0.1)];
        assert_eq!(kept(Keep::BestPreserved, &far), Some(1));
        let unlabelled = epochs.map(|(train, _, sigma)| (train, None, sigma));
        assert_eq!(kept(Keep::BestPreserved, &unlabelled), Some(4));
    }
}
