//! The end of an epoch: how the student does with dropout off, and what follows from it.

use anyhow::Result;

use super::ending::{AfterEpoch, EndedBy};
use super::StageRun;
use crate::distill::evaluate::{Evaluated, Score, SigmaCheck, SoftLoss};
use crate::distill::recipe::{Keep, StoppingLoss};
use crate::distill::saved::{Best, Epoch};
use crate::inference::Logits;

impl<'a> StageRun<'a> {
    /// Measures the student, keeps it where it is the best so far, and says whether the training
    /// ends here: by β, or by who watches it.
    pub(super) fn end_of_epoch(&mut self) -> Result<AfterEpoch> {
        let said = self.said_of_train()?;
        let soft_loss = said.as_ref().and_then(|said| self.soft_loss(said));
        let train = said.as_ref().map(|said| self.held(said)).transpose()?.flatten();
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
            train,
            sample_sigma: sample,
        };
        let held = self.held_against_beta(soft_loss);
        let reached = held.is_some_and(|(loss, beta)| loss <= beta);
        self.training.speaker.epoch(&epoch, self.stage.max_epochs, held);
        self.place.course.push(epoch);
        if !reached {
            let score = validation.unwrap_or(Score { accuracy: None, sigma: None });
            self.keep_if_best(Best { epoch: self.place.epoch, score, train })?;
        }
        if reached {
            return Ok(AfterEpoch::Ends(EndedBy::Beta));
        }
        match sampled {
            Some((sample, student)) if self.place.epoch < self.stage.max_epochs => {
                self.asked(sample, &student)
            }
            _ => Ok(AfterEpoch::GoesOn),
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
    fn asked(&self, sample: &Evaluated, student: &Logits) -> Result<AfterEpoch> {
        let (Some((_, watch)), Some(teacher)) = (self.training.watched, &sample.teacher) else {
            return Ok(AfterEpoch::GoesOn);
        };
        let epochs = self.stage.max_epochs;
        Ok(match watch.goes_on(&self.place.course, epochs, teacher, student)? {
            true => AfterEpoch::GoesOn,
            false => AfterEpoch::Stops,
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

    /// What the student says of the training set with dropout off, where anything depends on it.
    fn said_of_train(&self) -> Result<Option<Logits>> {
        let training = self.training;
        let asked = training.stopping.is_some() || self.kappa().is_some();
        match self.is_last() && asked {
            true => Ok(Some(training.train.logits(training.student, &training.evaluation)?)),
            false => Ok(None),
        }
    }

    /// The soft-label loss over the training set, where β asks for it.
    fn soft_loss(&self, said: &Logits) -> Option<SoftLoss> {
        self.training.stopping?;
        self.training.train.soft_loss(said, self.stage.temperature, self.stage.t_squared)
    }

    /// σ on the training set, where the choice of the state asks for it.
    fn held(&self, said: &Logits) -> Result<Option<SigmaCheck>> {
        match self.kappa() {
            Some(kappa) => self.training.train.held(said, kappa),
            None => Ok(None),
        }
    }

    /// κ, where the choice of the state asks for it.
    fn kappa(&self) -> Option<f64> {
        self.training.recipe.keeps_within(self.training.train.tokens.len())
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

    /// Keeps the state of the best epoch; where [`worth`] has no figure to go by, the last one is kept.
    fn keep_if_best(&mut self, new: Best) -> Result<()> {
        if is_better(self.training.recipe.keep, &new, self.place.best.as_ref()) {
            self.training.folder.save_best(self.training.parameters)?;
            self.place.best = Some(new);
        }
        Ok(())
    }
}

/// Whether `new` is kept in place of `old`.
fn is_better(keep: Keep, new: &Best, old: Option<&Best>) -> bool {
    let of_old = old.and_then(|old| worth(keep, old));
    worth(keep, new).is_some_and(|of_new| of_old.is_none_or(|of_old| of_new > of_old))
}

/// What decides between two epochs: the larger one is kept. `None` where nothing is known to go by.
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
