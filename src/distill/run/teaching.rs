//! The teacher's signals for a stage.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

use super::prepared::Prepared;
use super::Distillation;
use crate::audit::{reading_notes, Classifier, Session};
use crate::checkpoint::{Checkpoint, LabelMap};
use crate::digest::hexadecimal;
use crate::distill::data::{model_teaching, open_model, source, tokens, Splits, Teacher};
use crate::distill::evaluate::tokens_sha256;
use crate::distill::objective::Objective;
use crate::distill::recipe::{Compat, Recipe};
use crate::distill::record::RecordedCheckpoint;
use crate::distill::signals::{is_stored, write_store, Signals, TeacherModel};
use crate::distill::states::{bytes_of_everything, Selection};
use crate::distill::store::{Store, StoreHeader};
use crate::error::usage;
use crate::inference::{Logits, Observer};
use crate::model::load_trainable;

/// The checkpoint that teaches, where it is not the teacher.
pub(super) struct OpenedTeaching {
    model: Classifier,
    pub recorded: RecordedCheckpoint,
}

impl OpenedTeaching {
    /// Opens the checkpoint that `recipe` names, if it names one. The label map holds for it if its
    /// label names are those of `teacher`; others are aligned with the task's, else the teacher's.
    ///
    /// # Errors
    /// A checkpoint that cannot be opened; labels that cannot be aligned.
    pub fn open(
        recipe: &Recipe,
        splits: &Splits,
        teacher: Option<&Teacher>,
        session: &Session,
    ) -> Result<Option<Self>> {
        let of_teacher = teacher.and_then(Teacher::model);
        let Some((name, of_teacher)) = recipe.learn_from.as_ref().zip(of_teacher) else {
            return Ok(None);
        };
        let within = || format!("`learn_from` = `{name}`");
        let mut settings = recipe.settings.clone();
        let opened = Checkpoint::open(name, settings.casing, &session.hub).with_context(within)?;
        if opened.config.label_names()? != of_teacher.checkpoint().config.label_names()? {
            settings.label_map = LabelMap::default();
        }
        let known = of_teacher.label_names();
        let model = open_model(name, known, splits, &settings, session);
        let mut model = model.with_context(within)?;
        let notes = reading_notes(&model, &splits.train, &settings);
        notes.iter().for_each(|note| session.progress.note(note));
        let recorded = source(model.checkpoint_mut(), session)?;
        Ok(Some(OpenedTeaching { model, recorded }))
    }

    /// Differs for other logits, hidden states or tokens.
    pub fn fingerprint(&self) -> Result<String> {
        let parts = (self.recorded.hashes(), self.classifier().tokens_key());
        Ok(hexadecimal(&Sha256::digest(serde_json::to_vec(&parts)?)))
    }

    /// Its model and tokenizer.
    pub fn classifier(&self) -> &Classifier {
        &self.model
    }
}

impl Distillation<'_> {
    /// The model that the student learns from: the teacher, unless the recipe names another. `None`
    /// without a teacher, and where its predictions are a table.
    pub(super) fn teaching(&self) -> Option<(&Classifier, &RecordedCheckpoint)> {
        match &self.learns_from {
            Some(other) => Some((other.classifier(), &other.recorded)),
            None => {
                let classifier = self.teacher.as_ref().and_then(Teacher::model);
                classifier.zip(self.sources.0.as_ref())
            }
        }
    }

    /// Runs the teacher, against which `all` are measured, and the model that they learn from, or reads
    /// their tables -> the logits on the texts that they are trained on.
    ///
    /// # Errors
    /// An interrupt, a model that cannot be run.
    pub(super) fn run_teachers(&mut self, all: Vec<&mut Prepared>) -> Result<Logits> {
        let (splits, settings, session) = (&self.splits, &self.recipe.settings, self.session);
        let teacher = self.teacher.as_mut().context("no teacher")?;
        let measuring = teacher.measuring(splits, settings, session)?;
        let teaching = match &mut self.learns_from {
            Some(other) => model_teaching(&mut other.model, splits, None, settings, session)?,
            None => teacher.teaching(splits, &measuring.train, settings, session)?,
        };
        for prepared in all {
            prepared.measure_against(&measuring);
            if let Some(corpus) = &mut prepared.corpus {
                corpus.teacher = teaching.corpus.clone();
            }
        }
        Ok(teaching.learned)
    }

    /// The signals that `objective` needs, from a teacher with these `logits`.
    pub(super) fn signals(
        &self,
        objective: &dyn Objective,
        logits: Option<Logits>,
        prepared: &Prepared,
    ) -> Result<Signals> {
        let (recipe, needs) = (self.recipe, objective.needs());
        let mut signals = Signals { logits, selection: needs.states, ..Signals::default() };
        let noisy =
            recipe.compat == Compat::Huawei && (needs.logits || signals.selection.is_some());
        let runs = needs.model || needs.neighbours.is_some();
        if signals.selection.is_none() && !noisy && !runs {
            return Ok(signals);
        }
        let teacher = self.teacher_model(noisy)?;
        if let Some(search) = needs.neighbours {
            signals.corpus = Some(self.corpus_signals(search, &teacher, prepared)?);
            if signals.selection.is_none() && !noisy && !needs.model {
                return Ok(signals);
            }
        }
        if let (Some(selection), false) = (&signals.selection, noisy) {
            let compressed = matches!(selection, Selection::Kept { .. });
            let bytes = teacher.record_bytes(selection);
            if is_stored(recipe.teacher_states, recipe.store.is_some(), bytes, compressed) {
                signals.store = Some(self.store(selection, &teacher)?);
                if !needs.model {
                    return Ok(signals);
                }
            }
        }
        signals.model = Some(teacher);
        Ok(signals)
    }

    /// Loads the teacher, to run with every step or once to fill the store.
    fn teacher_model(&self, noisy: bool) -> Result<TeacherModel> {
        let settings = &self.recipe.settings;
        let (classifier, _) = self.teaching().context("no teacher")?;
        let source = match &self.recipe.learn_from {
            Some(other) => other,
            None => settings.require_teacher()?,
        };
        let mut checkpoint = Checkpoint::open(source, settings.casing, &self.session.hub)?;
        let config = &checkpoint.config;
        let loaded =
            load_trainable(config, checkpoint.network.weights_mut()?, settings.teacher_head)?;
        let (model, rates) =
            loaded.with_context(|| format!("`{source}` shows no hidden states here"))?;
        // With the same ids, the segments may still be others.
        let tokens = tokens(self.splits.learned(), classifier.tokenizer(), model.vocabulary())?;
        Ok(TeacherModel {
            model,
            tokens,
            columns: classifier.columns().iter().map(|&column| column as u32).collect(),
            // Another seed than the student's, so that the two do not drop the same elements.
            dropout: noisy.then_some((self.recipe.compat.rates(rates), !settings.seed)),
        })
    }

    /// Opens the store of the teacher's hidden states, and writes it first if it does not exist.
    fn store(&self, selection: &Selection, model: &TeacherModel) -> Result<Store> {
        let shape = model.model.shape();
        let (_, teacher) = self.teaching().context("no teacher")?;
        let header = StoreHeader {
            selection: selection.clone(),
            teacher_sha256: teacher.weights_sha256.clone(),
            config_sha256: teacher.config_sha256.clone(),
            tokens_sha256: tokens_sha256(&model.tokens),
            examples: model.tokens.len(),
            hidden: shape.hidden,
            heads: shape.heads,
        };
        let path = self.store_file(&header)?;
        match path.exists().then(|| Store::open(&path)) {
            Some(Ok(store)) if *store.header() == header => return Ok(store),
            // A file that the user named is not overwritten.
            Some(Err(error)) if self.recipe.store.is_some() => return Err(error),
            Some(Ok(_)) if self.recipe.store.is_some() => bail!(usage!(
                "`store` = `{}` holds hidden states of another teacher, other texts or \
                         another selection",
                path.display()
            )
            .hint("name another file, or remove this one")),
            _ => {}
        }
        let phase = self.session.progress.phase("the teacher's hidden states", header.examples);
        let interrupt = &self.session.interrupt;
        let bytes = write_store(&path, &header, model, interrupt, |rows| phase.rows_done(rows, 0))?;
        drop(phase);
        self.log_stored(&path, bytes, model);
        Store::open(&path)
    }

    /// The file that the recipe names, one that trainings share, or the training's own.
    fn store_file(&self, header: &StoreHeader) -> Result<PathBuf> {
        if let Some(path) = &self.recipe.store {
            return Ok(path.clone());
        }
        let Some(shared) = self.context.shared else {
            return Ok(self.folder.path().join("teacher.states"));
        };
        std::fs::create_dir_all(shared)
            .with_context(|| format!("cannot make the folder `{}`", shared.display()))?;
        let digest = hexadecimal(&Sha256::digest(serde_json::to_vec(header)?));
        Ok(shared.join(format!("teacher-{}.states", &digest[..32])))
    }

    fn log_stored(&self, path: &Path, bytes: u64, model: &TeacherModel) {
        let lengths: Vec<usize> = model.tokens.iter().map(|t| t.len()).collect();
        let all = bytes_of_everything(&lengths, model.model.shape());
        self.session.progress.message(&format!(
            "stored the teacher's hidden states in {}: {:.1} MB, of {:.1} MB for all of them",
            path.display(),
            bytes as f64 / 1e6,
            all as f64 / 1e6
        ));
    }
}
