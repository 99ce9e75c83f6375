//! The inputs of a training, opened and checked before anything is run.

use anyhow::{bail, Context, Result};

use super::generator::OpenedGenerator;
use super::teaching::OpenedTeaching;
use super::{Distillation, TrainingContext};
use crate::audit::{
    beyond_tokenizer, checkpoint_notes, lengths_differ, reading_notes, segments_not_fed,
    set_max_length, Classifier, Role, Session,
};
use crate::checkpoint::Checkpoint;
use crate::distill::data::{cut, evaluated, read_data, source, tokens, MeasuringLogits, Teacher};
use crate::distill::evaluate::Evaluated;
use crate::distill::objective::Setting;
use crate::distill::recipe::{Init, Keep, Recipe, StudentLayer};
use crate::distill::saved::TrainingFolder;
use crate::distill::student::{begin, columns_by_name, NewStudent, StudentPlan};
use crate::error::usage;
use crate::inference::Logits;
use crate::model::{has_segments, trainable_shape};
use crate::task::Dataset;

/// An untrained student with the splits in its tokens.
pub(super) struct Prepared {
    pub student: NewStudent,
    pub train: Evaluated,
    /// The texts that it is trained on in place of the training set.
    augmented: Option<Evaluated>,
    /// The texts that it is trained on besides, with the teacher's logits.
    pub corpus: Option<Evaluated>,
    /// Seed of its new weights, batches and dropout.
    pub seed: u64,
    /// The examples of the validation split that are not held out.
    pub validation: Option<Evaluated>,
    /// Their rows in the split, where not all.
    seen: Option<Vec<u32>>,
    pub setting: Setting,
}

impl Prepared {
    /// The texts that the student is trained on.
    pub fn learned(&self) -> &Evaluated {
        self.augmented.as_ref().unwrap_or(&self.train)
    }

    /// `learned`, logits on those texts, where they are the training set.
    pub fn on_train<'l>(&self, learned: &'l Logits) -> Option<&'l Logits> {
        Some(learned).filter(|_| self.augmented.is_none())
    }

    /// SHA-256 of the texts besides the training set.
    pub fn other_texts_sha256(&self) -> [Option<[String; 2]>; 2] {
        [&self.augmented, &self.corpus].map(|texts| texts.as_ref().map(Evaluated::sha256))
    }

    /// Sets the logits that the student is measured against.
    pub fn measure_against(&mut self, logits: &MeasuringLogits) {
        self.train.teacher = Some(logits.train.clone());
        let seen = logits.validation.as_ref().map(|whole| self.seen_part(whole));
        if let Some(validation) = &mut self.validation {
            validation.teacher = seen;
        }
    }

    /// The rows of `whole`, logits on the validation split, that are not held out.
    pub fn seen_part(&self, whole: &Logits) -> Logits {
        match &self.seen {
            Some(rows) => whole.part(rows),
            None => whole.clone(),
        }
    }
}

impl<'a> Distillation<'a> {
    /// Reads the data and opens the models.
    pub(super) fn open(
        recipe: &'a Recipe,
        folder: &'a TrainingFolder,
        context: TrainingContext<'a>,
        session: &'a Session,
    ) -> Result<Self> {
        let settings = &recipe.settings;
        let (splits, mut tables) = read_data(recipe, session)?;
        let splits = splits.with_texts_of(recipe, session)?;
        if let (Some(tables), Some(texts)) = (&mut tables, &splits.augmented) {
            tables.read_augmented(recipe, texts, session)?;
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
        // Those of a teacher are printed where it is opened.
        let is_the_teacher = settings.teacher.as_deref() == Some(begun_from);
        if !is_the_teacher {
            checkpoint_notes("student's base", &checkpoint, session);
        }
        let mut teacher = Teacher::open(recipe, &splits, tables, session)?;
        let of_teacher = teacher.as_ref().and_then(Teacher::model);
        let mut notes = Vec::new();
        if let Some(model) = of_teacher {
            notes.extend(reading_notes(model, &splits.train, settings));
        }
        if let Some(shape) = trainable_shape(&checkpoint.config, checkpoint.network.weights()?)? {
            let segments = has_segments(&checkpoint.config, checkpoint.network.weights()?)?;
            let tokenizer = &mut checkpoint.tokenizer;
            let limit = set_max_length(tokenizer, shape.positions, settings, Role::Student)?;
            notes.extend(beyond_tokenizer(Role::Student, tokenizer, settings));
            if !is_the_teacher {
                notes.extend(segments_not_fed(Role::Student, segments, tokenizer, &splits.train));
            }
            let of_student = (tokenizer.max_length(), limit);
            let of_teacher = of_teacher.map(Classifier::length);
            notes.extend(of_teacher.and_then(|length| lengths_differ(length, of_student)));
        }
        notes.iter().for_each(|note| session.progress.note(note));
        let labels = match &teacher {
            Some(teacher) => teacher.label_names().to_vec(),
            None => splits.label_names(),
        };
        let of_teacher = match &mut teacher {
            Some(Teacher::Model(model)) => Some(source(model.checkpoint_mut(), session)?),
            Some(Teacher::Tables(_)) | None => None,
        };
        let sources = (of_teacher, source(&mut checkpoint, session)?);
        let learns_from = OpenedTeaching::open(recipe, &splits, teacher.as_ref(), session)?;
        let generator = OpenedGenerator::open(recipe, checkpoint.tokenizer.max_length(), session)?;
        Ok(Distillation {
            recipe,
            session,
            folder,
            context,
            splits,
            teacher,
            checkpoint,
            labels,
            sources,
            learns_from,
            generator,
        })
    }

    /// The untrained student and assistants.
    ///
    /// # Errors
    /// A recipe that contradicts its models or its data: a usage error.
    pub(super) fn begin(&mut self) -> Result<(Prepared, Vec<Prepared>)> {
        if self.recipe.stages.iter().any(|stage| stage.losses.keys().any(|term| term.0.labels)) {
            self.splits.require_labels()?;
        }
        let recipe = self.recipe;
        if let Some(Teacher::Tables(tables)) = &self.teacher {
            tables.require_known(&recipe.stages)?;
            let note = tables.rounding_note(&recipe.stages);
            note.iter().for_each(|note| self.session.progress.message(note));
        }
        let student = self.student(&recipe.student, recipe.settings.seed)?;
        let mut assistants = Vec::new();
        for (i, asked) in recipe.configured.assistants(recipe).iter().enumerate() {
            let assistant = self.student(&asked.student, asked.seed);
            let assistant = assistant.with_context(|| format!("assistant {}", i + 1))?;
            assistants.push(assistant);
        }
        Ok((student, assistants))
    }

    /// The student that `asked` describes, checked against the method.
    fn student(&mut self, asked: &StudentLayer, seed: u64) -> Result<Prepared> {
        let recipe = self.recipe;
        let init = recipe.init;
        let plan = StudentPlan { labels: &self.labels, seed, compat: recipe.compat };
        let columns = match (init, &self.teacher) {
            (Init::TeacherLayers, Some(Teacher::Model(model))) => Some(model.columns().to_vec()),
            (Init::Base, _) => columns_by_name(&self.checkpoint, &self.labels)?,
            _ => None,
        };
        let student = begin(asked, init, &mut self.checkpoint, columns.as_deref(), &plan)?;
        let tokenizer = &self.checkpoint.tokenizer;
        let vocabulary = student.model.vocabulary();
        let train = evaluated(&self.splits.train, tokenizer, vocabulary)?;
        let of = |split: &Option<Dataset>| {
            split.as_ref().map(|split| evaluated(split, tokenizer, vocabulary)).transpose()
        };
        let (mut validation, augmented) =
            (of(&self.splits.validation)?, of(&self.splits.augmented)?);
        if recipe.held_out.is_some() && validation.is_none() {
            bail!(usage!(
                "`{}` has no validation split, but `held_out` needs one",
                recipe.settings.task.name
            )
            .hint("name one in the task's `splits`, or leave `held_out` out"));
        }
        let both = validation.as_ref().zip(recipe.held_out);
        let seen = both.map(|(split, held_out)| cut(split.tokens.len(), held_out).0);
        if let (Some(split), Some(rows)) = (&mut validation, &seen) {
            *split = split.part(rows);
        }
        if let Some((statistic, _)) = recipe.sigma_of_keep() {
            let compared = match recipe.keep {
                Keep::BestSigma => validation.as_ref(),
                _ => Some(&train),
            };
            let labels = self.labels.len();
            compared.map_or(Ok(()), |split| split.require_statistic(statistic, labels))?;
        }
        let setting = self.setting(&student, augmented.as_ref().unwrap_or(&train))?;
        check_stages(recipe, &setting)?;
        if student.new_head {
            self.session.progress.message("the last layer is new: its weights are random");
        }
        let corpus = of(&self.splits.corpus)?;
        Ok(Prepared { student, train, augmented, corpus, seed, validation, seen, setting })
    }

    /// The setting of a student that is trained on `learned`.
    fn setting(&self, student: &NewStudent, learned: &Evaluated) -> Result<Setting> {
        let mut setting = Setting {
            student: student.model.shape(),
            teacher: None,
            same_tokens: true,
            masked_lm: self.masked_lm(student.model.vocabulary(), learned)?,
            // Every sequence of the BERT family ends with [SEP].
            separator: learned.tokens.first().and_then(|t| t.input_ids.last().copied()),
        };
        if let Some((teacher, _)) = self.teaching() {
            let checkpoint = teacher.checkpoint();
            setting.teacher = trainable_shape(&checkpoint.config, checkpoint.network.weights()?)?;
            let vocabulary = teacher.facts().vocabulary;
            let tokenizer = teacher.tokenizer();
            let of_teacher = tokens(self.splits.learned(), tokenizer, vocabulary)?;
            let mut both = of_teacher.iter().zip(&learned.tokens);
            setting.same_tokens = both.all(|(a, b)| a.input_ids == b.input_ids);
        }
        Ok(setting)
    }
}

/// Makes every stage's objective, which checks the models. Two stages that read hidden states cannot
/// share the file that the recipe names.
fn check_stages(recipe: &Recipe, setting: &Setting) -> Result<()> {
    let mut readers = Vec::new();
    for (i, stage) in recipe.stages.iter().enumerate() {
        if recipe.configured.objective(recipe, setting, i)?.needs().states.is_some() {
            readers.push(stage.name);
        }
    }
    match (&recipe.store, readers.as_slice()) {
        (Some(_), [_, _, ..]) => bail!(usage!(
            "`store` holds the hidden states of one stage, and {} both read some",
            readers.join(" and ")
        )
        .hint("leave `store` out")),
        _ => Ok(()),
    }
}
