//! A training from its recipe to the student's folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Error, Result};
use sha2::{Digest, Sha256};

use super::data::{cut as cut_rows, evaluated, recorded, source, tokens, Said, Splits, Teacher};
use super::evaluate::{tokens_sha256, Evaluated, Score, SoftLoss};
use super::objective::{Objective, Setting};
use super::recipe::{Compat, Init, Recipe, StudentLayer};
use super::record::{self, DistillationRecord, RecordedRecipe, Source};
use super::saved::{Epoch, Place, TrainingFolder};
use super::signals::{bytes_of, is_stored, write_store, Beside, Signals};
use super::speaker::Speaker;
use super::states::{bytes_of_everything, Selection};
use super::store::{Store, StoreHeader};
use super::student::{begin, columns_by_name, NewStudent, Plan};
use super::terms::Term;
use super::trainer::{Ended, EndedBy, Training, Watch, SAVED};
use crate::audit::{run_options, set_max_length, Role, Session};
use crate::check::draw_order;
use crate::checkpoint::{require_new_folder, Checkpoint, NewCheckpoint};
use crate::digest::hexadecimal;
use crate::error::usage;
use crate::inference::{Logits, Observer, Windows};
use crate::interrupt::{Interrupted, NO_REPORT};
use crate::model::encoder::{DropoutRates, Encoder, Frozen};
use crate::model::{encoder_shape, load_encoder, Model};

/// What the training of the student itself is called, beside those of assistants.
const STUDENT: &str = "student";

/// A student that was trained and written.
pub struct Student {
    /// Where it lies.
    pub folder: PathBuf,
    /// What ended its training.
    pub ended: Ended,
    /// What it does on the training set.
    pub train: Score,
    /// What it does on the validation split.
    pub validation: Option<Score>,
    /// Its soft-label loss over the training set, against the teacher.
    pub soft_loss: Option<SoftLoss>,
    /// What both models say, split by split.
    pub said: Answers,
    /// Parameters of the student.
    pub parameters: usize,
    /// Its layers.
    pub layers: usize,
}

/// What teacher and student say, and what is right.
pub struct Answers {
    /// Of the training set.
    pub train: SplitAnswers,
    /// Of what the training saw of the validation split.
    pub validation: Option<SplitAnswers>,
}

/// What is said of one split.
pub struct SplitAnswers {
    /// Labels in the task's order (N).
    pub labels: Vec<Option<u32>>,
    /// The teacher's logits (N, K); `None` without a teacher.
    pub teacher: Option<Logits>,
    /// The student's logits (N, K).
    pub student: Logits,
}

/// One training among others.
#[derive(Clone, Copy, Default)]
pub struct Among<'a> {
    /// A folder that all of them share: the ends of stages that several have in common, the
    /// teacher's hidden states.
    pub shared: Option<&'a Path>,
    /// Who looks at it while it is under way, and at how many examples of the training set, drawn
    /// by the seed.
    pub watch: Option<(&'a dyn Watch, Sample)>,
}

/// A sample of the training set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// So many examples, or all.
    pub examples: usize,
    /// Of the draw.
    pub seed: u64,
}

/// What became of a training.
pub enum Outcome {
    /// A student, written.
    Trained(Box<Student>),
    /// Who watched it stopped it after these epochs; nothing is written.
    Stopped(Vec<Epoch>),
}

/// Trains the student of `recipe` and writes its folder.
///
/// # Errors
/// Whatever contradicts itself, before anything is run; a training that diverges, an interrupt
/// (after saving), a full disk.
pub fn distill(recipe: &Recipe, resume: bool, session: &Session) -> Result<Student> {
    match distill_among(recipe, resume, Among::default(), session)? {
        Outcome::Trained(student) => Ok(*student),
        Outcome::Stopped(_) => bail!("a training that nobody watched was stopped"),
    }
}

/// As [`distill`], for one training among others: the same student, to the last bit.
///
/// # Errors
/// As [`distill`].
pub fn distill_among(
    recipe: &Recipe,
    resume: bool,
    among: Among,
    session: &Session,
) -> Result<Outcome> {
    let folder = TrainingFolder::of(&recipe.output);
    prepare(recipe, resume, &folder)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(recipe.settings.threads).build()?;
    let run = || Distillation::prepare(recipe, &folder, among, session)?.run(resume);
    pool.install(run).map_err(|error| stopped(error, &folder))
}

/// What a training would be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
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
pub fn check(recipe: &Recipe, session: &Session) -> Result<Facts> {
    let folder = TrainingFolder::of(&recipe.output);
    let mut training = Distillation::prepare(recipe, &folder, Among::default(), session)?;
    let (student, _) = training.begin()?;
    let whole = training.splits.validation.as_ref();
    let seen = student.validation.as_ref().map(|split| split.labels.iter().flatten().count());
    let labelled = whole.zip(seen).map(|(whole, seen)| {
        let all = whole.examples.iter().filter(|example| example.label.is_some()).count();
        [seen, all - seen]
    });
    let fingerprint = training.fingerprint(STUDENT, &student)?;
    Ok(Facts { fingerprint, train: student.train.tokens.len(), labelled })
}

/// What can be known of the output before anything is run.
fn prepare(recipe: &Recipe, resume: bool, folder: &TrainingFolder) -> Result<()> {
    match (resume, folder.holds_state()) {
        (true, true) => Ok(()),
        (true, false) => Err(usage(format!(
            "there is no training to go on with in `{}`\n  hint: leave --resume out",
            folder.path().display()
        ))),
        (false, true) => Err(usage(format!(
            "`{}` holds a training that is not finished\n  hint: pass --resume to go on with it, or \
             remove the folder",
            folder.path().display()
        ))),
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
    among: Among<'a>,
    splits: Splits,
    teacher: Option<Teacher>,
    /// What the student begins from.
    checkpoint: Checkpoint,
    labels: Vec<String>,
    sources: (Option<Source>, Source),
}

/// A student with the splits in its tokens.
struct Prepared {
    student: NewStudent,
    train: Evaluated,
    validation: Option<Evaluated>,
    /// The rows of the validation split that the training sees, where not all.
    seen: Option<Vec<u32>>,
    setting: Setting,
}

impl Prepared {
    /// Takes in what the teacher says of both splits.
    fn hear(&mut self, said: &Said) {
        self.train.teacher = Some(said.train.clone());
        if let Some(validation) = &mut self.validation {
            let whole = said.validation.as_ref();
            validation.teacher = whole.map(|whole| match &self.seen {
                Some(rows) => whole.part(rows),
                None => whole.clone(),
            });
        }
    }
}

impl<'a> Distillation<'a> {
    fn prepare(
        recipe: &'a Recipe,
        folder: &'a TrainingFolder,
        among: Among<'a>,
        session: &'a Session,
    ) -> Result<Self> {
        let settings = &recipe.settings;
        let splits = Splits::read(settings, session)?;
        if recipe.stages.iter().any(|stage| stage.losses.contains_key(&Term::Hard)) {
            splits.require_labels()?;
        }
        let begun_from = match recipe.init {
            Init::Base => recipe.student.base.as_deref().context("no base")?,
            Init::TeacherLayers => settings.require_teacher()?,
            Init::Scratch => match &recipe.student.base {
                Some(base) => base,
                None => settings.require_teacher()?,
            },
        };
        let mut checkpoint = Checkpoint::open(begun_from, settings.casing, &session.hub)
            .with_context(|| format!("cannot open `{begun_from}`"))?;
        let shape = encoder_shape(&checkpoint.config, &checkpoint.weights)?;
        if let Some(shape) = shape {
            set_max_length(&mut checkpoint.tokenizer, shape.positions, settings, Role::Student)?;
        }
        let teacher = settings.teacher.as_deref();
        let teacher = teacher.map(|source| Teacher::open(source, &splits, settings, session));
        let teacher = teacher.transpose()?;
        let labels = match &teacher {
            Some(teacher) => teacher.classifier.label_names().to_vec(),
            None => splits.label_names(),
        };
        let of_teacher = teacher.as_ref().map(|t| source(t.classifier.checkpoint(), session));
        let of_teacher = of_teacher.transpose()?;
        let (folder, sources) = (folder, (of_teacher, source(&checkpoint, session)?));
        Ok(Distillation {
            recipe,
            session,
            folder,
            among,
            splits,
            teacher,
            checkpoint,
            labels,
            sources,
        })
    }

    /// Checks all that can be checked, runs the teacher, then trains the assistants and the student.
    fn run(mut self, resume: bool) -> Result<Outcome> {
        let (mut student, mut assistants) = self.begin()?;
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
        let (encoder, ended) = self.train(&student, says, STUDENT, resume)?;
        let outcome = match ended.by {
            EndedBy::Watch => Outcome::Stopped(ended.course),
            _ => Outcome::Trained(Box::new(self.write(student, &encoder, ended)?)),
        };
        drop(lock);
        self.folder.remove()?;
        Ok(outcome)
    }

    /// The student and the assistants as they begin.
    fn begin(&mut self) -> Result<(Prepared, Vec<Prepared>)> {
        let student = self.student(&self.recipe.student)?;
        let mut assistants = Vec::new();
        for (i, asked) in self.recipe.assistants.iter().enumerate() {
            let assistant = self.student(asked).with_context(|| format!("assistant {}", i + 1))?;
            assistants.push(assistant);
        }
        Ok((student, assistants))
    }

    /// The student that `asked` describes, with everything checked that its method asks for.
    fn student(&mut self, asked: &StudentLayer) -> Result<Prepared> {
        let recipe = self.recipe;
        let init = recipe.init;
        let plan = Plan { labels: &self.labels, seed: recipe.settings.seed, compat: recipe.compat };
        let columns = match (init, &self.teacher) {
            (Init::TeacherLayers, Some(teacher)) => Some(teacher.classifier.columns().to_vec()),
            (Init::Base, _) => columns_by_name(&self.checkpoint, &self.labels)?,
            _ => None,
        };
        let student = begin(asked, init, &mut self.checkpoint, columns.as_deref(), &plan)?;
        let tokenizer = &self.checkpoint.tokenizer;
        let vocabulary = student.encoder.vocabulary();
        let train = evaluated(&self.splits.train, tokenizer, vocabulary)?;
        let validation = self.splits.validation.as_ref();
        let validation = validation.map(|split| evaluated(split, tokenizer, vocabulary));
        let mut validation = validation.transpose()?;
        if recipe.held_out.is_some() && validation.is_none() {
            bail!(usage(format!(
                "`{}` has no validation split, and `held_out` keeps a part of it back\n  hint: name one \
                 in the task's `splits`; a recipe can do without `held_out`",
                recipe.settings.task.name
            )));
        }
        let cut = validation.as_ref().zip(recipe.held_out);
        let seen = cut.map(|(split, held_out)| cut_rows(split.tokens.len(), held_out).0);
        if let (Some(split), Some(rows)) = (&mut validation, &seen) {
            *split = split.part(rows);
        }
        let setting = self.setting(&student, &train)?;
        check_stages(recipe, &setting)?;
        if student.new_head {
            self.session.progress.message("the last layer is new: it begins with random weights");
        }
        Ok(Prepared { student, train, validation, seen, setting })
    }

    fn setting(&self, student: &NewStudent, train: &Evaluated) -> Result<Setting> {
        let mut setting = Setting {
            student: student.encoder.shape(),
            teacher: None,
            same_tokens: true,
            // Every sequence of the BERT family ends with [SEP].
            separator: train.tokens.first().and_then(|t| t.input_ids.last().copied()),
        };
        if let Some(teacher) = &self.teacher {
            let checkpoint = teacher.classifier.checkpoint();
            setting.teacher = encoder_shape(&checkpoint.config, &checkpoint.weights)?;
            let vocabulary = teacher.classifier.facts().vocabulary;
            let tokenizer = teacher.classifier.tokenizer();
            let of_teacher = tokens(&self.splits.train, tokenizer, vocabulary)?;
            setting.same_tokens = of_teacher == train.tokens;
        }
        Ok(setting)
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
        let (encoder, _) = self.train(assistant, says, &name, resume)?;
        let options = run_options(&self.recipe.settings, self.session, Windows::WHOLE);
        let logits = assistant.train.logits(&encoder, &options)?;
        self.folder.finish_assistant(&name, &fingerprint, &logits)?;
        Ok(logits)
    }

    /// Trains `prepared` under a teacher that says `says`; the encoder as it is kept.
    fn train(
        &self,
        prepared: &Prepared,
        says: Option<Logits>,
        name: &str,
        resume: bool,
    ) -> Result<(Encoder, Ended)> {
        let (recipe, session) = (self.recipe, self.session);
        let fingerprint = self.fingerprint(name, prepared)?;
        let frozen = match recipe.freezes_embeddings() {
            true => Frozen::Embeddings,
            false => Frozen::Nothing,
        };
        let (encoder, parameters) = prepared.student.encoder.trainable(frozen)?;
        let saved = match resume {
            true => self.folder.place(name, &fingerprint)?,
            false => None,
        };
        let resume = saved.is_some();
        let place =
            saved.unwrap_or_else(|| Place { fingerprint, of: name.to_owned(), ..Place::default() });
        let sample = self.among.watch.filter(|_| name == STUDENT).map(|(watch, sample)| {
            let mut rows = draw_order(prepared.train.tokens.len(), sample.seed);
            rows.truncate(sample.examples);
            (prepared.train.part(&rows), watch)
        });
        let training = Training {
            recipe,
            student: &encoder,
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
            speaker: Speaker(session.progress),
        };
        let ended = training.run(place, resume, |stage| {
            let objective = (recipe.method.objective)(recipe, &prepared.setting, stage)?;
            let signals = self.signals(&*objective, prepared, says.clone())?;
            Ok((objective, signals))
        })?;
        Ok((encoder.snapshot()?, ended))
    }

    /// What the teacher says to a stage.
    fn signals(
        &self,
        objective: &dyn Objective,
        prepared: &Prepared,
        says: Option<Logits>,
    ) -> Result<Signals> {
        let (recipe, needs) = (self.recipe, objective.needs());
        let mut signals = Signals { logits: says, selection: needs.states, ..Signals::default() };
        let noisy =
            recipe.compat == Compat::Huawei && (needs.logits || signals.selection.is_some());
        if signals.selection.is_none() && !noisy {
            return Ok(signals);
        }
        let beside = self.beside(prepared, noisy)?;
        if let (Some(selection), false) = (&signals.selection, noisy) {
            let compressed = matches!(selection, Selection::Kept { .. });
            let bytes = bytes_of(selection, &beside);
            if is_stored(recipe.teacher_states, recipe.store.is_some(), bytes, compressed) {
                signals.store = Some(self.store(selection, &beside)?);
                return Ok(signals); // the teacher itself is not needed any more
            }
        }
        signals.beside = Some(beside);
        Ok(signals)
    }

    /// The teacher to be run beside the student, or once before.
    fn beside(&self, prepared: &Prepared, noisy: bool) -> Result<Beside> {
        let settings = &self.recipe.settings;
        let source = settings.require_teacher()?;
        let mut checkpoint = Checkpoint::open(source, settings.casing, &self.session.hub)?;
        let config = &checkpoint.config;
        let loaded = load_encoder(config, &mut checkpoint.weights, settings.teacher_head)?;
        let Some((encoder, family)) = loaded else {
            bail!("`{source}` shows no hidden states here");
        };
        let rates = DropoutRates::read(family, &checkpoint.config)?;
        let teacher = self.teacher.as_ref().context("no teacher")?;
        let tokens = match prepared.setting.same_tokens {
            true => prepared.train.tokens.clone(),
            false => {
                tokens(&self.splits.train, teacher.classifier.tokenizer(), encoder.vocabulary())?
            }
        };
        Ok(Beside {
            encoder,
            tokens,
            columns: teacher.classifier.columns().iter().map(|&column| column as u32).collect(),
            // Another seed than the student's, so that the two do not drop the same elements.
            dropout: noisy.then_some((rates, !settings.seed)),
        })
    }

    /// The teacher's hidden states in a file, written now unless they are there.
    fn store(&self, selection: &Selection, beside: &Beside) -> Result<Store> {
        let shape = beside.encoder.shape();
        let teacher = self.sources.0.as_ref().context("no teacher")?;
        let header = StoreHeader {
            selection: selection.clone(),
            teacher_sha256: teacher.weights_sha256.clone(),
            tokens_sha256: tokens_sha256(&beside.tokens),
            examples: beside.tokens.len(),
            hidden: shape.hidden,
            heads: shape.heads,
        };
        let path = match (&self.recipe.store, self.among.shared) {
            (Some(path), _) => path.clone(),
            (None, Some(shared)) => {
                std::fs::create_dir_all(shared)
                    .with_context(|| format!("cannot make the folder `{}`", shared.display()))?;
                let of = hexadecimal(&Sha256::digest(serde_json::to_vec(&header)?));
                shared.join(format!("teacher-{}.states", &of[..32]))
            }
            (None, None) => self.folder.path().join("teacher.states"),
        };
        match path.exists().then(|| Store::open(&path)) {
            Some(Ok(store)) if *store.header() == header => return Ok(store),
            // A file that the user named is not written over.
            Some(Err(error)) if self.recipe.store.is_some() => return Err(error),
            Some(Ok(_)) if self.recipe.store.is_some() => bail!(usage(format!(
                "`store` = `{}` holds hidden states of another teacher, other texts or another \
                 selection\n  hint: name another file, or remove this one",
                path.display()
            ))),
            _ => {}
        }
        let phase = self.session.progress.phase("the teacher's hidden states", header.examples);
        let interrupt = &self.session.interrupt;
        let bytes =
            write_store(&path, &header, beside, interrupt, |rows| phase.rows_done(rows, 0))?;
        drop(phase);
        self.say_stored(&path, bytes, beside);
        Store::open(&path)
    }

    fn say_stored(&self, path: &Path, bytes: u64, beside: &Beside) {
        let lengths: Vec<usize> = beside.tokens.iter().map(|t| t.len()).collect();
        let all = bytes_of_everything(&lengths, beside.encoder.shape());
        self.session.progress.message(&format!(
            "stored the teacher's hidden states in {}: {:.1} MB, of {:.1} MB for all of them",
            path.display(),
            bytes as f64 / 1e6,
            all as f64 / 1e6
        ));
    }

    /// What a training follows from: the same one has the same, however its files are named.
    fn fingerprint(&self, name: &str, prepared: &Prepared) -> Result<String> {
        let recipe = RecordedRecipe::of(self.recipe, prepared.student.dropout);
        self.fingerprint_of(name, prepared, recipe, prepared.validation.as_ref())
    }

    /// The same of the part of a training that `recipe` describes and that looks at `validation`.
    fn fingerprint_of(
        &self,
        name: &str,
        prepared: &Prepared,
        recipe: RecordedRecipe,
        validation: Option<&Evaluated>,
    ) -> Result<String> {
        let settings = &self.recipe.settings;
        let hashes = |s: &Source| (s.weights_sha256.clone(), s.tokenizer_sha256.clone());
        let parts = serde_json::to_vec(&(
            env!("CARGO_PKG_VERSION"),
            (name, self.recipe.method.name, &self.labels),
            recipe,
            (self.sources.0.as_ref().map(hashes), hashes(&self.sources.1)),
            format!("{:?}", settings.casing),
            prepared.train.sha256(),
            validation.map(Evaluated::sha256),
        ))?;
        Ok(hexadecimal(&Sha256::digest(&parts)))
    }

    /// Where the end of each stage but the last is kept, if trainings share anything.
    fn stage_files(&self, name: &str, prepared: &Prepared) -> Result<Vec<PathBuf>> {
        let Some(shared) = self.among.shared else { return Ok(Vec::new()) };
        let file = |stage: usize| {
            let recipe = RecordedRecipe::of(self.recipe, prepared.student.dropout).until(stage);
            // Embeddings that a later stage trains are parameters from the beginning.
            let so_far = self.recipe.stages[..=stage].iter().all(|stage| stage.freeze_embeddings);
            let name = match so_far && !self.recipe.freezes_embeddings() {
                true => format!("{name}, with embeddings"),
                false => name.to_owned(),
            };
            let of = self.fingerprint_of(&name, prepared, recipe, None)?;
            Ok(shared.join(format!("stage-{}.safetensors", &of[..32])))
        };
        (0..self.recipe.stages.len() - 1).map(file).collect()
    }

    /// Measures the student as it is kept, writes its folder, and removes what led to it.
    fn write(&self, prepared: Prepared, encoder: &Encoder, ended: Ended) -> Result<Student> {
        let (recipe, session) = (self.recipe, self.session);
        let options = run_options(&recipe.settings, session, Windows::WHOLE);
        let logits = prepared.train.logits(encoder, &options)?;
        let train = prepared.train.score(&logits)?;
        let parameters = encoder.export()?.values().map(|tensor| tensor.elem_count()).sum();
        let last = recipe.last_stage();
        let soft_loss = prepared.train.soft_loss(&logits, last.temperature, last.t_squared);
        let answered =
            |split| -> Result<_> { Ok((split, Evaluated::logits(split, encoder, &options)?)) };
        let seen = prepared.validation.as_ref().map(answered).transpose()?;
        let validation = seen.as_ref().map(|(split, logits)| split.score(logits)).transpose()?;
        let mut data = BTreeMap::from([("train", recorded(&self.splits.train, &prepared.train))]);
        if let (Some(split), Some(evaluated)) = (&self.splits.validation, &prepared.validation) {
            data.insert("validation", recorded(split, evaluated));
        }
        let record = DistillationRecord {
            schema_version: record::SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            task: &recipe.settings.task.name,
            method: recipe.method.name,
            method_source: recipe.method.source,
            bound: record::bound(recipe),
            loss_reached: soft_loss.map(record::loss_reached),
            ended_by: ended.by,
            epoch: ended.epoch,
            train,
            validation,
            recipe: RecordedRecipe::of(recipe, prepared.student.dropout),
            teacher: self.sources.0.clone(),
            begun_from: Some(self.sources.1.clone()),
            data,
            course: &ended.course,
        };
        let mut json = serde_json::to_vec_pretty(&record)?;
        json.push(b'\n');
        let checkpoint = NewCheckpoint {
            config: prepared.student.config,
            tensors: encoder.export()?,
            tokenizer_files: self.checkpoint.tokenizer_files(&session.hub)?,
            beside: vec![("distillation.json", json)],
        };
        checkpoint.write(&recipe.output)?;
        let answers = |split: &Evaluated, student: Logits| SplitAnswers {
            labels: split.labels.clone(),
            teacher: split.teacher.clone(),
            student,
        };
        let validation_said = seen.map(|(split, logits)| answers(split, logits));
        let said = Answers { train: answers(&prepared.train, logits), validation: validation_said };
        let folder = recipe.output.clone();
        let layers = encoder.shape().layers;
        Ok(Student { folder, ended, train, validation, soft_loss, said, parameters, layers })
    }
}

/// Makes every stage's objective, which finds what contradicts the models. Two stages that look at
/// different hidden states cannot share the file that the user names.
fn check_stages(recipe: &Recipe, setting: &Setting) -> Result<()> {
    let mut looking = Vec::new();
    for (i, stage) in recipe.stages.iter().enumerate() {
        if (recipe.method.objective)(recipe, setting, i)?.needs().states.is_some() {
            looking.push(stage.name);
        }
    }
    match (&recipe.store, looking.as_slice()) {
        (Some(_), [_, _, ..]) => Err(usage(format!(
            "`store` holds the hidden states of one stage, and {} look at some\n  hint: leave \
             `store` out",
            looking.join(" and ")
        ))),
        _ => Ok(()),
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
