//! A training from its recipe to the student's folder.

mod prepared; // what it needs, opened and checked
mod teaching; // what the teacher says to a stage, run beside it or read from a file
mod identity; // what it follows from, and the stages that trainings share
mod written; //  the student, measured and written

use std::path::Path;

use anyhow::{bail, Error, Result};

use self::prepared::Prepared;
use super::data::{Splits, Teacher};
use super::recipe::Recipe;
use super::record::RecordedCheckpoint;
use super::saved::{Epoch, TrainingFolder, TrainingProgress};
use super::speaker::TrainingLog;
use super::trainer::{EpochCallback, Training, TrainingEnd, SAVED};
use crate::audit::{run_options, Session};
use crate::check::draw_order;
use crate::checkpoint::{require_new_folder, Checkpoint};
use crate::error::{exit_code, Diagnostic, Exit, Interrupted, NO_REPORT};
use crate::inference::{Logits, Windows};
use crate::model::{Frozen, Trainable};

pub use self::written::{SplitLogits, SplitsLogits, Student};

/// What the training of the student itself is called, beside those of assistants.
const STUDENT: &str = "student";

/// One training among others.
#[derive(Clone, Copy, Default)]
pub struct TrainingContext<'a> {
    /// A folder that all of them share: the ends of stages that several have in common, the
    /// teacher's hidden states.
    pub shared: Option<&'a Path>,
    /// Who looks at it while it is under way, and at how many examples of the training set, drawn
    /// by the seed.
    pub watch: Option<(&'a dyn EpochCallback, WatchedSample)>,
}

/// A sample of the training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedSample {
    /// So many examples, or all.
    pub examples: usize,
    /// Of the draw.
    pub seed: u64,
}

/// What became of a training.
pub enum TrainingOutcome {
    /// A student, written.
    Trained(Box<Student>),
    /// Who watched it stopped it after these epochs; nothing is written.
    Stopped(Vec<Epoch>),
    /// The recipe contradicts its models or its data, in this way; nothing was run.
    Refused(Error),
}

/// Trains the student of `recipe` and writes its folder.
///
/// # Errors
/// Whatever contradicts itself, before anything is run; a training that diverges, an interrupt
/// (after saving), a full disk.
pub fn distill(recipe: &Recipe, resume: bool, session: &Session) -> Result<Student> {
    match distill_among(recipe, resume, TrainingContext::default(), session)? {
        TrainingOutcome::Trained(student) => Ok(*student),
        TrainingOutcome::Refused(error) => Err(error),
        TrainingOutcome::Stopped(_) => bail!("a training without stopping rules was stopped"),
    }
}

/// As [`distill`], for one training among others: the same student, to the last bit.
///
/// # Errors
/// As [`distill`].
pub fn distill_among(
    recipe: &Recipe,
    resume: bool,
    among: TrainingContext,
    session: &Session,
) -> Result<TrainingOutcome> {
    let folder = TrainingFolder::of(&recipe.output);
    prepare(recipe, resume, &folder)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(recipe.settings.threads).build()?;
    let run = || Distillation::open(recipe, &folder, among, session)?.run(resume);
    pool.install(run).map_err(|error| stopped(error, &folder))
}

/// What a training would be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingFacts {
    /// What it follows from; another recipe, teacher or data set is another training.
    pub fingerprint: String,
    /// N of the training set.
    pub train: usize,
    /// Labelled examples of the validation split that it sees, and of what is held out; `None`
    /// without one.
    pub labelled: Option<[usize; 2]>,
}

/// Tells what the training of `recipe` would be of. Fails where the recipe contradicts itself, its
/// models or its data, as [`distill`] would before it runs anything.
///
/// # Errors
/// The first contradiction.
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
    Ok(TrainingFacts { fingerprint, train: student.train.tokens.len(), labelled })
}

/// What can be known of the output before anything is run.
fn prepare(recipe: &Recipe, resume: bool, folder: &TrainingFolder) -> Result<()> {
    match (resume, folder.holds_state()) {
        (true, true) => Ok(()),
        (true, false) => Err(Diagnostic::usage(format!(
            "there is no training to resume in `{}`",
            folder.path().display()
        ))
        .hint("leave --resume out")
        .into()),
        (false, true) => Err(Diagnostic::usage(format!(
            "`{}` holds a training that is not finished",
            folder.path().display()
        ))
        .hint("pass --resume to resume it, or remove the folder")
        .into()),
        // Killed before its first state was saved: there is nothing to go on with, nor to lose.
        (false, false) if folder.is_alone() => Ok(()),
        (false, false) => require_new_folder(&recipe.output, "--output"),
    }
}

/// Everything that a training needs, opened and checked.
struct Distillation<'a> {
    recipe: &'a Recipe,
    session: &'a Session,
    folder: &'a TrainingFolder,
    among: TrainingContext<'a>,
    splits: Splits,
    teacher: Option<Teacher>,
    /// What the student begins from.
    checkpoint: Checkpoint,
    labels: Vec<String>,
    sources: (Option<RecordedCheckpoint>, RecordedCheckpoint),
}

impl Distillation<'_> {
    /// Checks all that can be checked, runs the teacher, then trains the assistants and the student.
    fn run(mut self, resume: bool) -> Result<TrainingOutcome> {
        let (mut student, mut assistants) = match self.begin() {
            Err(error) if exit_code(&error) == Exit::Usage => {
                return Ok(TrainingOutcome::Refused(error))
            }
            begun => begun?,
        };
        let lock = self.folder.lock()?;
        let mut says = None;
        if let Some(teacher) = &mut self.teacher {
            let said = teacher.says(&self.splits, &self.recipe.settings, self.session)?;
            assistants.iter_mut().chain([&mut student]).for_each(|each| each.hear(&said));
            says = Some(said.train);
        }
        for (i, assistant) in assistants.iter().enumerate() {
            says = Some(self.assistant(i, assistant, says, resume)?);
        }
        let (model, finish) = self.train(&student, says, STUDENT, resume)?;
        let outcome = match finish {
            TrainingEnd::Ended(ended) => {
                TrainingOutcome::Trained(Box::new(self.write(student, &*model, ended)?))
            }
            TrainingEnd::Stopped(course) => TrainingOutcome::Stopped(course),
        };
        drop(lock);
        self.folder.remove()?;
        Ok(outcome)
    }

    /// What assistant number `i` says of the training set, who learns from one that says `says`.
    fn assistant(
        &self,
        i: usize,
        assistant: &Prepared,
        says: Option<Logits>,
        resume: bool,
    ) -> Result<Logits> {
        let name = format!("assistant {}", i + 1);
        let fingerprint = self.fingerprint(&name, assistant)?;
        let known = self.folder.logits(&name, &fingerprint)?;
        if let Some(known) = known.filter(|_| resume) {
            return Ok(known);
        }
        let (model, _) = self.train(assistant, says, &name, resume)?;
        let options = run_options(&self.recipe.settings, self.session, Windows::WHOLE);
        let logits = assistant.train.logits(&*model, &options)?;
        self.folder.finish_assistant(&name, &fingerprint, &logits)?;
        Ok(logits)
    }

    /// Trains `prepared` under a teacher that says `says`; the model as it is kept.
    fn train(
        &self,
        prepared: &Prepared,
        says: Option<Logits>,
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
            true => self.folder.place(name, &fingerprint)?,
            false => None,
        };
        let resume = saved.is_some();
        let place = saved.unwrap_or_else(|| TrainingProgress {
            fingerprint,
            of: name.to_owned(),
            ..TrainingProgress::default()
        });
        let sample = self.among.watch.filter(|_| name == STUDENT).map(|(watch, sample)| {
            let mut rows = draw_order(prepared.train.tokens.len(), sample.seed);
            rows.truncate(sample.examples);
            (prepared.train.part(&rows), watch)
        });
        let training = Training {
            recipe,
            student: &*model,
            parameters: &parameters,
            dropout: prepared.student.dropout,
            train: &prepared.train,
            validation: prepared.validation.as_ref(),
            watched: sample.as_ref().map(|(sample, watch)| (sample, *watch)),
            stages: self.stage_files(name, prepared)?,
            stopping: recipe.stopping.filter(|_| name == STUDENT),
            evaluation: run_options(&recipe.settings, session, Windows::WHOLE),
            folder: self.folder,
            interrupt: &session.interrupt,
            speaker: TrainingLog(session.progress),
        };
        let finish = training.run(place, resume, |stage| {
            let objective = recipe.configured.objective(recipe, &prepared.setting, stage)?;
            let signals = self.signals(&*objective, prepared, says.clone())?;
            Ok((objective, signals))
        })?;
        Ok((model.snapshot()?, finish))
    }
}

/// What a user who stopped the program hears: whether there is something to go on with.
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
