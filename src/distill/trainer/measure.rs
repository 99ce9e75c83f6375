//! The end of an epoch: the student is measured with dropout off, and saved if it may be kept.

use anyhow::Result;

use super::ending::{AfterEpoch, EndedBy, EpochCallback, SampleLogits};
use super::StageRun;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::distill::evaluate::{Score, SigmaCheck, SoftLoss};
use crate::distill::recipe::{BetaStopping, Keep, StoppingLoss};
use crate::distill::saved::{Candidate, Epoch};
use crate::inference::Logits;

/// The figures at the end of an epoch, with dropout off.
#[derive(Default)]
struct Measured {
    soft_loss: Option<SoftLoss>,
    /// On the validation split.
    score: Option<Score>,
    /// On the validation split, where `keep` compares it there.
    validation: Option<SigmaCheck>,
    /// On the training set, where `keep` compares it there.
    train: Option<SigmaCheck>,
}

impl<'a> StageRun<'a> {
    /// Measures the student and saves it if it may be kept. The training ends here if β is reached,
    /// and stops if the callback asks for it.
    pub(super) fn end_of_epoch(&mut self) -> Result<AfterEpoch> {
        let measured = self.measured()?;
        let sample = self.sample()?;
        let sample_sigma = sample.as_ref().map(|(callback, logits)| callback.sigma(logits));
        let epoch = self.finished_epoch(&measured, sample_sigma.transpose()?);
        let recipe = self.training.recipe;
        let compared = self.weighted_loss_and_beta(measured.soft_loss);
        let named = recipe.sigma_name();
        self.training.log.epoch(&epoch, self.stage.max_epochs, compared, named.as_deref());
        self.progress.course.push(epoch);
        let candidate = self.candidate(&measured);
        if self.training.keeps_all && self.is_measured() {
            self.training.folder.save_candidate(&candidate, self.training.parameters)?;
        }
        if compared.is_some_and(|(loss, beta)| loss <= beta) {
            return Ok(AfterEpoch::End(EndedBy::Beta));
        }
        if self.is_measured() {
            self.keep_if_candidate(candidate)?;
        }
        let epochs = recipe.measured_epochs();
        let done = recipe.measured_epochs_before(self.progress.stage) + self.progress.epoch;
        match sample.filter(|_| done < epochs) {
            Some((callback, sample))
                if !callback.continues(&self.progress.course, epochs, &sample)? =>
            {
                Ok(AfterEpoch::Stop)
            }
            _ => Ok(AfterEpoch::Continue),
        }
    }

    /// The epoch that has just ended; the progress is then at the start of the next.
    fn finished_epoch(&mut self, measured: &Measured, sample_sigma: Option<f64>) -> Epoch {
        let sums = std::mem::take(&mut self.progress.sums);
        let figures = std::mem::take(&mut self.progress.figures);
        self.progress.epoch += 1;
        self.progress.step = 0;
        let other = measured.validation.filter(|_| self.training.recipe.sigma_name().is_some());
        Epoch {
            stage: self.stage.name.to_owned(),
            epoch: self.progress.epoch,
            losses: sums.into_iter().map(mean).collect(),
            figures: figures.into_iter().map(mean).collect(),
            soft_loss: measured.soft_loss,
            validation: measured.score,
            train: measured.train,
            validation_sigma: other.map(|check| check.sigma),
            sample_sigma,
        }
    }

    /// The state at the end of that epoch.
    fn candidate(&self, measured: &Measured) -> Candidate {
        let check = measured.validation.or(measured.train);
        Candidate {
            stage: self.progress.stage,
            epoch: self.progress.epoch,
            accuracy: measured.score.and_then(|score| score.accuracy),
            sigma: check.map(|check| check.sigma),
            preserved: check.and_then(|check| check.preserved),
        }
    }

    fn measured(&self) -> Result<Measured> {
        if !self.is_measured() {
            return Ok(Measured::default());
        }
        let training = self.training;
        let mut measured = Measured::default();
        if let Some(split) = training.validation {
            let logits = split.logits(training.student, &training.evaluation)?;
            measured.score = Some(split.score(&logits)?);
            if training.recipe.keep == Keep::BestSigma {
                measured.validation = split.sigma_check(&logits, self.sigma_of_keep(), None)?;
            }
        }
        let accuracy = measured.score.and_then(|score| score.accuracy);
        let weighs = training.choice().weighs_training_sigma(accuracy, &self.progress.candidates);
        if weighs || self.stopping().is_some() {
            let logits = training.train.logits(training.student, &training.evaluation)?;
            measured.soft_loss = self.soft_loss(&logits);
            if weighs {
                let kappa = training.recipe.kappa(training.train.tokens.len());
                measured.train =
                    training.train.sigma_check(&logits, self.sigma_of_keep(), kappa)?;
            }
        }
        Ok(measured)
    }

    /// Whether the state at the end of an epoch of this stage may be kept.
    fn is_measured(&self) -> bool {
        self.training.recipe.is_measured(self.progress.stage)
    }

    fn sigma_of_keep(&self) -> (Statistic, ConfidenceKind) {
        self.training.recipe.sigma_of_keep().unwrap_or_default()
    }

    /// The callback with the logits of its sample, where the state may be kept.
    fn sample(&self) -> Result<Option<(&'a dyn EpochCallback, SampleLogits<'a>)>> {
        let training = self.training;
        let Some((sample, callback)) = training.sample.filter(|_| self.is_measured()) else {
            return Ok(None);
        };
        let Some(teacher) = &sample.teacher else { return Ok(None) };
        let student = sample.logits(training.student, &training.evaluation)?;
        Ok(Some((callback, SampleLogits { teacher, student, labels: &sample.labels })))
    }

    /// When β ends this stage.
    fn stopping(&self) -> Option<BetaStopping> {
        self.training.stopping.filter(|_| self.is_last())
    }

    fn soft_loss(&self, logits: &Logits) -> Option<SoftLoss> {
        self.stopping()?;
        self.training.train.soft_loss(logits, self.stage.temperature, self.stage.t_squared)
    }

    /// w_soft·ΣL_soft and β, where β may end the stage.
    fn weighted_loss_and_beta(&self, loss: Option<SoftLoss>) -> Option<(f64, f64)> {
        let (stopping, loss) = (self.stopping()?, loss?);
        let sum = match stopping.loss {
            StoppingLoss::Kl => loss.sum_kl,
            StoppingLoss::Ce => loss.sum_cross_entropy,
        };
        Some((self.stage.soft_weight() * sum, stopping.beta.sum(loss.examples)))
    }

    /// Saves the parameters if they may be the ones that are kept. Without such a state the last one
    /// is kept.
    fn keep_if_candidate(&mut self, new: Candidate) -> Result<()> {
        let candidates = &mut self.progress.candidates;
        let before = candidates.len();
        if self.training.choice().add(candidates, new) {
            self.untidy |= candidates.len() <= before;
            self.training.folder.save_candidate(&new, self.training.parameters)?;
        }
        Ok(())
    }
}

/// A sum over some batches, by name, as a mean.
fn mean<Name>((name, (sum, batches)): (Name, (f64, usize))) -> (Name, f64) {
    (name, sum / batches as f64)
}
