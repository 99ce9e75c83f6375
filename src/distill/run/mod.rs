//! A training from its recipe to the student's folder.

mod prepared; // the inputs, opened and checked
mod generator; // the masked language model that a method trains
mod corpus; //   the neighbours in a corpus
mod teaching; // the teacher's signals for a stage
mod identity; // fingerprints, and the stages that trainings share
mod ensemble; // the mean of assistants and student
mod epochs; //   the states after every epoch
mod written; //  the student, measured and written

use std::path::Path;

use anyhow::{bail, Error, Result};

use self::ensemble::Member;
use self::generator::OpenedGenerator;
use self::prepared::Prepared;
use self::teaching::OpenedTeaching;
use super::data::{Splits, Teacher};
use super::log::TrainingLog;
use super::recipe::{Recipe, WrittenStates};
use super::record::RecordedCheckpoint;
use super::saved::{AssistantLogits, Epoch, TrainingFolder, TrainingProgress};
use super::trainer::{EpochCallback, Training, TrainingEnd, SAVED};
use crate::audit::{run_options, Session};
use crate::check::draw_order;
use crate::checkpoint::{require_new_folder, Checkpoint};
use crate::error::{exit_code, usage, Exit, Interrupted, NO_REPORT};
use crate::inference::{Logits, Windows};
use crate::model::{Frozen, Trainable};

pub use self::written::{SplitLogits, Student};

/// Name of the training of the student itself; the others are assistants.
const STUDENT: &str = "student";

/// Options of a training that is part of a search.
#[derive(Clone, Copy, Default)]
pub struct TrainingContext<'a> {
    /// A folder for what trainings share: finished stages, the teacher's hidden states.
    pub shared: Option<&'a Path>,
    /// Called after each epoch whose state may be kept, with logits on this sample.
    pub callback: Option<(&'a dyn EpochCallback, SampleDraw)>,
}

/// A random sample of the training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleDraw {
    /// At most this many examples.
    pub examples: usize,
    pub seed: u64,
}

/// The result of a training.
pub enum TrainingOutcome {
    /// A student, written.
    Trained(Box<Student>),
    /// The callback stopped it after these epochs; nothing is written.
    Stopped(Vec<Epoch>),
    /// The recipe contradicts its models or its data; nothing was trained.
    Refused(Error),
}

/// Trains the student of `recipe` and writes its folder.
///
/// # Errors
/// A recipe that contradicts its models or its data, before anything is trained; a training that
/// diverges, an interrupt (after saving), a full disk.
pub fn distill(recipe: &Recipe, resume: bool, session: &Session) -> Result<Student> {
    match distill_with(recipe, resume, TrainingContext::default(), session)? {
        TrainingOutcome::Trained(student) => Ok(*student),
        TrainingOutcome::Refused(error) => Err(error),
        TrainingOutcome::Stopped(_) => bail!("a training without a callback was stopped"),
    }
}

/// [`distill`] within a search: the same student, to the last bit. A recipe that contradicts its
/// models or its data, once they are opened, is an outcome, not an error.
pub fn distill_with(
    recipe: &Recipe,
    resume: bool,
    context: TrainingContext,
    session: &Session,
) -> Result<TrainingOutcome> {
    let folder = TrainingFolder::of(&recipe.output);
    prepare(recipe, resume, &folder)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(recipe.settings.threads).build()?;
    let run = || Distillation::open(recipe, &folder, context, session)?.run(resume);
    pool.install(run).or_else(|error| match error.downcast::<Contradiction>() {
        Ok(Contradiction(error)) => Ok(TrainingOutcome::Refused(error)),
        Err(error) => Err(stopped(error, &folder)),
    })
}

/// A recipe that contradicts its models or its data.
#[derive(Debug, thiserror::Error)]
#[error("{0:#}")]
struct Contradiction(Error);

impl Contradiction {
    /// Marks a usage error of what a stage needs.
    fn of(error: Error) -> Error {
        match exit_code(&error) {
            Exit::Usage => Contradiction(error).into(),
            _ => error,
        }
    }
}

/// Facts about a training, known before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingFacts {
    /// Differs for another recipe, teacher or data set.
    pub fingerprint: String,
    /// Differs for another teacher, start of the student or data set.
    pub compared: String,
    /// Differs for another checkpoint that teaches, where it is not the teacher.
    pub taught_by: Option<String>,
    /// N of the training set.
    pub train: usize,
    /// K.
    pub labels: usize,
    /// Labelled examples of the validation split: used in training, and held out; `None` without
    /// the split.
    pub labelled: Option<[usize; 2]>,
}

/// The facts about the training of `recipe`, without running it.
///
/// # Errors
/// A recipe that contradicts itself, its models or its data, as in [`distill`].
pub fn check(recipe: &Recipe, session: &Session) -> Result<TrainingFacts> {
    let folder = TrainingFolder::of(&recipe.output);
    let mut training = Distillation::open(recipe, &folder, TrainingContext::default(), session)?;
    let (student, _) = training.begin()?;
    let whole = training.splits.validation.as_ref();
    let seen = student.validation.as_ref().map(|split| split.labels.iter().flatten().count());
    let labelled = whole.zip(seen).map(|(whole, seen)| {
        let all = whole.examples.iter().filter(|example| example.label.is_some()).count();
        [seen, all - seen]
    });
    let fingerprint = training.fingerprint(STUDENT, &student)?;
    let compared = training.compared(&student)?;
    let (train, labels) = (student.train.tokens.len(), training.labels.len());
    let taught_by = training.learns_from.as_ref().map(OpenedTeaching::fingerprint).transpose()?;
    Ok(TrainingFacts { fingerprint, compared, taught_by, train, labels, labelled })
}

/// Checks the output folder.
fn prepare(recipe: &Recipe, resume: bool, folder: &TrainingFolder) -> Result<()> {
    let path = folder.path().display();
    match (resume, folder.holds_state()) {
        (true, true) => Ok(()),
        (true, false) => {
            bail!(usage!("`{path}` has no training to resume").hint("leave --resume out"))
        }
        (false, true) => {
            bail!(usage!("`{path}` holds a training that is not finished")
                .hint("pass --resume to resume it, or remove the folder"))
        }
        // Killed before its first state was saved: nothing to resume, and nothing to lose.
        (false, false) if folder.is_alone() => Ok(()),
        (false, false) => require_new_folder(&recipe.output, "--output"),
    }
}

/// A training with its inputs, opened and checked.
struct Distillation<'a> {
    recipe: &'a Recipe,
    session: &'a Session,
    folder: &'a TrainingFolder,
    context: TrainingContext<'a>,
    splits: Splits,
    teacher: Option<Teacher>,
    /// The checkpoint that the student starts from.
    checkpoint: Checkpoint,
    labels: Vec<String>,
    sources: (Option<RecordedCheckpoint>, RecordedCheckpoint),
    /// The checkpoint that teaches, where it is not the teacher.
    learns_from: Option<OpenedTeaching>,
    generator: Option<OpenedGenerator>,
}

impl Distillation<'_> {
    /// Checks everything, runs the teacher, then trains the assistants and the student.
    fn run(mut self, resume: bool) -> Result<TrainingOutcome> {
        let (mut student, mut assistants) = self.begin().map_err(Contradiction::of)?;
        let lock = self.folder.lock()?;
        let mut teacher_logits = None;
        if self.teacher.is_some() {
            let all: Vec<&mut Prepared> = assistants.iter_mut().chain([&mut student]).collect();
            teacher_logits = Some(self.run_teachers(all)?);
        }
        let mut members = Vec::new();
        for (i, assistant) in assistants.iter().enumerate() {
            let logits = self.assistant(i, assistant, teacher_logits, resume)?;
            members.extend(logits.joined.map(|logits| Member { seed: assistant.seed, logits }));
            teacher_logits = Some(logits.learned);
        }
        let (model, end) = self.train(&student, teacher_logits, STUDENT, resume)?;
        let outcome = match end {
            TrainingEnd::Finished(ended) => {
                TrainingOutcome::Trained(Box::new(self.write(student, &*model, ended, members)?))
            }
            TrainingEnd::Stopped(course) => TrainingOutcome::Stopped(course),
        };
        drop(lock);
        self.folder.remove()?;
        Ok(outcome)
    }

    /// The logits of assistant number `i`, trained now or in an earlier run.
    fn assistant(
        &self,
        i: usize,
        assistant: &Prepared,
        teacher_logits: Option<Logits>,
        resume: bool,
    ) -> Result<AssistantLogits> {
        let name = format!("assistant {}", i + 1);
        let fingerprint = self.fingerprint(&name, assistant)?;
        let known = self.folder.logits(&name, &fingerprint)?;
        if let Some(known) = known.filter(|_| resume) {
            return Ok(known);
        }
        let (model, _) = self.train(assistant, teacher_logits, &name, resume)?;
        let options = run_options(&self.recipe.settings, self.session, Windows::WHOLE);
        let learned = assistant.learned().logits(&*model, &options)?;
        let joined = self.joined(assistant, &*model, assistant.on_train(&learned))?;
        let logits = AssistantLogits { learned, joined };
        self.folder.finish_assistant(&name, &fingerprint, &logits)?;
        Ok(logits)
    }

    /// Trains `prepared` on `teacher_logits` -> the model that is kept.
    fn train(
        &self,
        prepared: &Prepared,
        teacher_logits: Option<Logits>,
        name: &str,
        resume: bool,
    ) -> Result<(Box<dyn Trainable>, TrainingEnd)> {
        let (recipe, session) = (self.recipe, self.session);
        let fingerprint = self.fingerprint(name, prepared)?;
        let frozen = match recipe.freezes_embeddings() {
            true => Frozen::Embeddings,
            false => Frozen::Nothing,
        };
        let (model, parameters) = prepared.student.model.parameters(frozen)?;
        let saved = match resume {
            true => self.folder.progress(name, &fingerprint)?,
            false => None,
        };
        let resume = saved.is_some();
        let progress = saved.unwrap_or_else(|| TrainingProgress {
            fingerprint,
            of: name.to_owned(),
            ..TrainingProgress::default()
        });
        let sample = self.context.callback.filter(|_| name == STUDENT).map(|(callback, sample)| {
            let mut rows = draw_order(prepared.train.tokens.len(), sample.seed);
            rows.truncate(sample.examples);
            (prepared.train.part(&rows), callback)
        });
        let training = Training {
            recipe,
            student: &*model,
            parameters: &parameters,
            keeps_all: recipe.states == WrittenStates::All && name == STUDENT,
            dropout: prepared.student.dropout,
            seed: prepared.seed,
            learned: prepared.learned(),
            train: &prepared.train,
            validation: prepared.validation.as_ref(),
            sample: sample.as_ref().map(|(sample, callback)| (sample, *callback)),
            stages: self.stage_files(name, prepared)?,
            stopping: recipe.stopping.filter(|_| name == STUDENT),
            evaluation: run_options(&recipe.settings, session, Windows::WHOLE),
            folder: self.folder,
            interrupt: &session.interrupt,
            log: TrainingLog(session.progress),
        };
        let end = training.run(progress, resume, |stage| {
            let objective = recipe.configured.objective(recipe, &prepared.setting, stage)?;
            let signals = self.signals(&*objective, teacher_logits.clone(), prepared);
            Ok((objective, signals.map_err(Contradiction::of)?))
        })?;
        let kept = model.snapshot()?;
        if let (true, TrainingEnd::Finished(ended)) = (training.keeps_all, &end) {
            self.write_epochs(prepared, &*model, &parameters, &ended.course)?;
        }
        Ok((kept, end))
    }
}

/// Adds to an interrupt whether the training can be resumed.
fn stopped(error: Error, folder: &TrainingFolder) -> Error {
    match error.downcast_ref::<Interrupted>() {
        Some(Interrupted { what, done, total, outcome }) if *outcome == NO_REPORT => {
            let outcome = match folder.holds_state() {
                true => SAVED,
                false => "nothing was trained yet",
            };
            Interrupted { what: what.clone(), done: *done, total: *total, outcome }.into()
        }
        _ => error,
    }
}
