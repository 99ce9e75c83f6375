//! The training loop: batches, steps, epochs and stages, until β is reached or all epochs are run.

mod ending; //  stopping conditions
mod kept; //    the choice of the state that is saved
mod learner; // parameters that are trained together
mod measure; // the end of an epoch
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use candle_core::Tensor;
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use self::ending::AfterEpoch;
use self::kept::Choice;
use self::learner::{options, Clipping, Learner};
use super::evaluate::{Diverged, Evaluated};
use super::log::{Pace, TrainingLog};
use super::objective::{Objective, Step, Turn, Weighted};
use super::optimizer::Gradients;
use super::recipe::{BetaStopping, Recipe, Stage};
use super::saved::{TrainingFolder, TrainingProgress};
use super::schedule::Schedule;
use super::signals::Signals;
use crate::error::{failure, Interrupted};
use crate::inference::RunOptions;
use crate::interrupt::Interrupt;
use crate::model::{ops, Dropout, DropoutRates, PackedBatch, Parameter, Trainable};

pub use self::ending::{EndedBy, EpochCallback, FinishedTraining, SampleLogits, TrainingEnd};

/// The outcome of an interrupted training, as the user is told.
pub const SAVED: &str = "the training is saved; run the same command with --resume to resume it";

/// The inputs of a training.
pub struct Training<'a> {
    pub recipe: &'a Recipe,
    /// The student, over `parameters`.
    pub student: &'a dyn Trainable,
    pub parameters: &'a [Parameter],
    /// Whether the state after every epoch that is measured stays in the folder.
    pub keeps_all: bool,
    /// The student's own dropout.
    pub dropout: DropoutRates,
    /// Seed of its batches and its dropout.
    pub seed: u64,
    /// The texts that it is trained on: the training set, or texts made from it.
    pub learned: &'a Evaluated,
    /// The training set, on which it is measured.
    pub train: &'a Evaluated,
    pub validation: Option<&'a Evaluated>,
    /// Called after each epoch whose state may be kept, with logits on this sample of the training
    /// set.
    pub sample: Option<(&'a Evaluated, &'a dyn EpochCallback)>,
    /// The shared file of each stage before the first whose states may be kept; empty if trainings
    /// share nothing.
    pub stages: Vec<PathBuf>,
    pub stopping: Option<BetaStopping>,
    /// How the student is run for evaluation.
    pub evaluation: RunOptions,
    /// Where the training is saved.
    pub folder: &'a TrainingFolder,
    pub interrupt: &'a Interrupt,
    pub log: TrainingLog,
}

impl Training<'_> {
    /// Runs the stages from `progress` on. `begin` gives each stage's objective and signals.
    ///
    /// # Errors
    /// A loss that is not finite, a full disk, an interrupt (the training is saved).
    pub fn run(
        &self,
        progress: TrainingProgress,
        resume: bool,
        mut begin: impl FnMut(usize) -> Result<(Box<dyn Objective>, Signals)>,
    ) -> Result<TrainingEnd> {
        let mut progress = match resume {
            true => progress,
            false => self.after_shared_stages(progress),
        };
        let mut resume = resume;
        while progress.stage < self.recipe.stages.len() {
            let (objective, signals) = begin(progress.stage)?;
            let mut run = StageRun::new(self, objective, signals, progress);
            if std::mem::take(&mut resume) {
                run.restore()?;
            }
            let next = run.epochs()?;
            progress = run.progress;
            match next {
                AfterEpoch::Continue => {}
                AfterEpoch::End(by) => return Ok(TrainingEnd::Finished(self.end(by, progress)?)),
                AfterEpoch::Stop => return Ok(TrainingEnd::Stopped(progress.course)),
            }
            progress = TrainingProgress {
                stage: progress.stage + 1,
                epoch: 0,
                step: 0,
                optimizer_steps: 0,
                opponent_steps: 0,
                ..progress
            };
            if let Some(path) = self.stages.get(progress.stage - 1) {
                TrainingFolder::save_stage(path, &progress, self.parameters)?;
            }
        }
        bail!("a training without a stage")
    }

    /// The progress after the last shared stage that is already trained, else `progress`.
    fn after_shared_stages(&self, progress: TrainingProgress) -> TrainingProgress {
        for path in self.stages.iter().rev() {
            if let Some(known) = TrainingFolder::restore_stage(path, self.parameters) {
                let TrainingProgress { fingerprint, of, .. } = progress;
                return TrainingProgress { fingerprint, of, ..known };
            }
        }
        progress
    }

    /// Restores the parameters that are kept.
    fn end(&self, by: EndedBy, progress: TrainingProgress) -> Result<FinishedTraining> {
        let kept = self.choice().chosen(&progress.candidates);
        let (stage, epoch) = match kept.filter(|_| by == EndedBy::MaxEpochs) {
            Some(kept) => {
                self.folder.restore_candidate(kept, self.parameters)?;
                (kept.stage, kept.epoch)
            }
            None => (progress.stage, progress.epoch),
        };
        let stage =
            self.recipe.stages.get(stage).context("a state of a stage that is not there")?;
        let stage = stage.name;
        Ok(FinishedTraining { by, stage, epoch, course: progress.course })
    }

    /// The rule by which the state that is kept is chosen.
    fn choice(&self) -> Choice {
        let labelled = |split: &Evaluated| split.labels.iter().flatten().count();
        Choice { keep: self.recipe.keep, labelled: self.validation.map_or(0, labelled) }
    }
}

/// One stage under way.
struct StageRun<'a> {
    training: &'a Training<'a>,
    stage: &'a Stage,
    objective: Box<dyn Objective>,
    signals: Signals,
    /// The student, with the objective's parameters.
    learner: Learner,
    opponent: Option<Learner>,
    progress: TrainingProgress,
    /// Whether a file of the folder is of a state that can no longer be kept.
    untidy: bool,
    pace: Pace,
}

impl<'a> StageRun<'a> {
    fn new(
        training: &'a Training,
        objective: Box<dyn Objective>,
        signals: Signals,
        progress: TrainingProgress,
    ) -> Self {
        let stage = &training.recipe.stages[progress.stage];
        let of_student = training.parameters.iter();
        let trained = of_student.filter(|p| !(stage.freeze_embeddings && p.embeds)).cloned();
        let parameters = trained.chain(objective.parameters().iter().cloned()).collect();
        let learner = Learner::new(parameters, options(stage, training.recipe.compat));
        let opponent = objective.opponent();
        let opponent = opponent.map(|other| Learner::new(other.parameters.clone(), other.options));
        let (untidy, pace) = (false, Pace::begin(Instant::now()));
        StageRun { training, stage, objective, signals, learner, opponent, progress, untidy, pace }
    }

    /// The parameters that are saved: also those that the stage does not train.
    fn all_parameters(&self) -> Vec<Parameter> {
        let of_student = self.training.parameters.iter().chain(self.objective.parameters());
        let of_opponent = self.opponent.iter().flat_map(Learner::parameters);
        of_student.chain(of_opponent).cloned().collect()
    }

    /// Who learns from the current step.
    fn turn(&self) -> Turn {
        let before = self.progress.epoch * self.steps() + self.progress.step;
        self.objective.turn(before as u64)
    }

    fn restore(&mut self) -> Result<()> {
        let folder = self.training.folder;
        let restored = folder.restore(&self.all_parameters())?;
        self.objective.restore(&restored.objective)?;
        self.learner.restore(self.progress.optimizer_steps, &restored.moments)?;
        match &mut self.opponent {
            Some(opponent) => opponent.restore(self.progress.opponent_steps, &restored.moments),
            None => Ok(()),
        }
    }

    fn is_last(&self) -> bool {
        self.progress.stage + 1 == self.training.recipe.stages.len()
    }

    /// Batches of an epoch.
    fn batches(&self) -> usize {
        self.training.learned.tokens.len().div_ceil(self.stage.batch_size)
    }

    /// Steps of an epoch.
    fn steps(&self) -> usize {
        self.batches().div_ceil(self.stage.accumulate)
    }

    /// Runs the remaining epochs. A finished training is saved as such, because writing the student
    /// may still be interrupted. One that the callback stops is not: resumed, it calls it again.
    fn epochs(&mut self) -> Result<AfterEpoch> {
        if let Some(by) = self.progress.ended_by {
            return Ok(AfterEpoch::End(by));
        }
        let next = self.epochs_left()?;
        if let AfterEpoch::End(by) = next {
            self.progress.ended_by = Some(by);
            self.save()?;
        }
        Ok(next)
    }

    fn epochs_left(&mut self) -> Result<AfterEpoch> {
        while self.progress.epoch < self.stage.max_epochs {
            self.epoch()?;
            let next = self.end_of_epoch().map_err(|error| match error.is::<Interrupted>() {
                true => self.stopped(),
                false => error,
            })?;
            if next != AfterEpoch::Continue {
                return Ok(next);
            }
            if self.untidy {
                self.save()?;
            }
        }
        Ok(match self.is_last() {
            true => AfterEpoch::End(EndedBy::MaxEpochs),
            false => AfterEpoch::Continue,
        })
    }

    /// The remaining steps of an epoch.
    fn epoch(&mut self) -> Result<()> {
        let order = self.order();
        let batches: Vec<&[u32]> = order.chunks(self.stage.batch_size).collect();
        let steps: Vec<&[&[u32]]> = batches.chunks(self.stage.accumulate).collect();
        while self.progress.step < steps.len() {
            if self.training.interrupt.is_set() {
                return Err(self.stopped());
            }
            self.step(steps[self.progress.step])?;
            self.progress.step += 1;
            let done = self.progress.epoch * steps.len() + self.progress.step;
            if done.is_multiple_of(self.training.recipe.save_every) {
                self.save()?;
            }
        }
        Ok(())
    }

    /// The rows of the texts that are learned from, in the epoch's order.
    fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.training.learned.tokens.len() as u32).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.training.seed);
        random.set_stream(((self.progress.stage as u64) << 32) + self.progress.epoch as u64);
        order.shuffle(&mut random);
        order
    }

    /// One step of the optimizer over the gradients of `batches`.
    fn step(&mut self, batches: &[&[u32]]) -> Result<()> {
        let started = Instant::now();
        let mut total: Option<Gradients> = None;
        let mut losses = BTreeMap::new();
        for rows in batches {
            let gradients = self.gradients(rows, &mut losses)?;
            match &mut total {
                None => total = Some(gradients),
                Some(total) => total.add(&gradients)?,
            }
        }
        let mut gradients = total.context("a step without a batch")?;
        if batches.len() > 1 {
            gradients.scale(1.0 / batches.len() as f64);
        }
        let (norm, rate) = self.apply(&mut gradients, batches)?;
        let examples = batches.iter().map(|rows| rows.len()).sum();
        self.pace.step(examples, started.elapsed());
        self.log_step(&losses, batches.len(), rate, norm);
        Ok(())
    }

    /// Losses and gradients of one batch.
    fn gradients(
        &mut self,
        rows: &[u32],
        losses: &mut BTreeMap<&'static str, f64>,
    ) -> Result<Gradients> {
        let training = self.training;
        let learned = training.learned;
        let batch = PackedBatch::new(rows.iter().map(|&row| &learned.tokens[row as usize]));
        let labels: Vec<_> = rows.iter().map(|&row| learned.labels[row as usize]).collect();
        let rates = rates(self.stage, training.dropout);
        let dropout = Dropout::new(rates, training.seed, self.progress.number);
        let turn = self.turn();
        let step = Step {
            rows,
            batch: &batch,
            labels: &labels,
            student: training.student,
            dropout: &dropout,
            teacher: &self.signals,
            turn,
            epoch: self.progress.epoch,
            number: self.progress.number,
        };
        let weighted = self.objective.losses(&step)?;
        for (name, value) in self.objective.figures() {
            let (sum, batches) = self.progress.figures.entry(name.clone()).or_default();
            *sum += value;
            *batches += 1;
        }
        let total = self.total(&weighted, rows, losses)?;
        self.progress.number += 1;
        let store = ops::backward(&total)?;
        let (name, log) = (self.stage.name, &training.log);
        self.learner_of(turn)?.collect(store, |reached, all| log.reached(name, reached, all))
    }

    /// The parameters of the player whose turn it is.
    fn learner_of(&mut self, turn: Turn) -> Result<&mut Learner> {
        match turn {
            Turn::Student => Ok(&mut self.learner),
            Turn::Opponent => self.opponent.as_mut().context("a turn of an opponent"),
        }
    }

    /// Σ weight·loss, which must be finite.
    fn total(
        &mut self,
        weighted: &[Weighted],
        rows: &[u32],
        losses: &mut BTreeMap<&'static str, f64>,
    ) -> Result<Tensor> {
        let mut total: Option<Tensor> = None;
        for Weighted { term, weight, value } in weighted {
            let scalar = f64::from(value.to_scalar::<f32>()?);
            if !scalar.is_finite() {
                return Err(self.diverged(&format!("the loss `{term}` is {scalar}"), rows));
            }
            *losses.entry(term.as_str()).or_insert(0.0) += scalar;
            let (sum, batches) = self.progress.sums.entry(*term).or_insert((0.0, 0));
            (*sum, *batches) = (*sum + scalar, *batches + 1);
            let part = (value * *weight)?;
            total = Some(match total {
                None => part,
                Some(total) => (total + part)?,
            });
        }
        total.context("a stage without a loss")
    }

    /// One step of the player whose turn it is -> the gradient's norm before clipping, and the rate.
    fn apply(&mut self, gradients: &mut Gradients, batches: &[&[u32]]) -> Result<(f64, f64)> {
        let turn = self.turn();
        let (clipping, rate) = match (turn, self.objective.opponent()) {
            (Turn::Opponent, Some(opponent)) => {
                (Clipping::Together(opponent.clip), opponent.learning_rate)
            }
            _ => (Clipping::of(self.stage, self.training.recipe.compat), self.learning_rate()),
        };
        let norm = clipping.apply(gradients)?;
        if !norm.is_finite() {
            return Err(self.diverged(&format!("the gradient's norm is {norm}"), batches[0]));
        }
        let steps = self.learner_of(turn)?.step(gradients, rate)?;
        match turn {
            Turn::Student => self.progress.optimizer_steps = steps,
            Turn::Opponent => self.progress.opponent_steps = steps,
        }
        Ok((norm, rate))
    }

    fn learning_rate(&self) -> f64 {
        let schedule = Schedule { decay: self.stage.schedule, warmup: self.stage.warmup };
        let steps = self.steps() as u64;
        let step = self.progress.epoch as u64 * steps + self.progress.step as u64;
        let total = steps * self.stage.max_epochs as u64;
        self.stage.learning_rate * schedule.factor(step, total)
    }

    fn diverged(&self, what: &str, rows: &[u32]) -> anyhow::Error {
        let shown: Vec<_> = rows.iter().take(8).map(u32::to_string).collect();
        let more = if rows.len() > shown.len() { ", …" } else { "" };
        let error = failure!(
            "{what} in stage `{}`, epoch {}, step {}, in the batch of the examples {}{more} of {}",
            self.stage.name,
            self.progress.epoch + 1,
            self.progress.step + 1,
            shown.join(", "),
            self.training.learned.split
        )
        .hint(
            "check these examples, or lower `learning_rate` (of the generator, if the loss is its) \
             and start again (remove the folder, or name another one with --output)",
        );
        anyhow::Error::from(error).context(Diverged)
    }

    /// Saves the training, then removes the files of states that are no longer candidates: until then
    /// the previous save may need them.
    fn save(&mut self) -> Result<()> {
        let folder = self.training.folder;
        let mut moments = self.learner.moments()?;
        moments.extend(
            self.opponent.as_ref().map(Learner::moments).transpose()?.into_iter().flatten(),
        );
        let state = self.objective.state()?;
        folder.save(&self.progress, &self.all_parameters(), moments, state)?;
        self.untidy = false;
        match self.training.keeps_all {
            true => Ok(()),
            false => folder.remove_candidates_but(&self.progress.candidates),
        }
    }

    /// Saves the training on an interrupt.
    fn stopped(&mut self) -> anyhow::Error {
        if let Err(error) = self.save() {
            return error;
        }
        let what = format!("stage `{}`, epoch {}", self.stage.name, self.progress.epoch + 1);
        let total = self.training.learned.tokens.len();
        let done = (self.progress.step * self.stage.batch_size * self.stage.accumulate).min(total);
        Interrupted { what, done, total, outcome: SAVED }.into()
    }

    fn log_step(
        &self,
        losses: &BTreeMap<&'static str, f64>,
        batches: usize,
        learning_rate: f64,
        norm: f64,
    ) {
        let steps = self.steps();
        let done = self.progress.epoch * steps + self.progress.step + 1;
        let total = steps * self.stage.max_epochs;
        if !done.is_multiple_of(self.training.recipe.log_every) && done != total {
            return;
        }
        let losses = losses.iter().map(|(name, sum)| (*name, sum / batches as f64));
        self.training.log.step(
            self.stage.name,
            (done, total),
            (self.progress.epoch + 1, self.stage.max_epochs),
            &losses.collect::<Vec<_>>(),
            (learning_rate, norm),
            &self.pace,
        );
    }
}

/// The dropout of a stage: the recipe's, else the student's own.
fn rates(stage: &Stage, own: DropoutRates) -> DropoutRates {
    DropoutRates {
        hidden: stage.dropout.hidden.unwrap_or(own.hidden),
        attention: stage.dropout.attention.unwrap_or(own.attention),
        classifier: stage.dropout.classifier.unwrap_or(own.classifier),
    }
}
