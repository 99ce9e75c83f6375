//! A checkpoint with its label order and cache key; the model is loaded only when needed.

use std::fmt;

use anyhow::{bail, Context, Error, Result};

use super::computation::{Computation, ModelFacts};
use super::length::set_max_length;
use super::notes::checkpoint_notes;
use super::run::CachedClassifier;
use super::Session;
use crate::cache::{CacheEntry, EntrySpec, ModelFile, ModelIdentity, TextsIdentity};
use crate::check::{Note, StudentRecord};
use crate::checkpoint::{labels, Checkpoint, Network, TextTokenizer};
use crate::confidence::Predictions;
use crate::config::Settings;
use crate::error::failure;
use crate::inference::{Input, Lane, Logits};
use crate::model::onnx::Served;
use crate::model::{Head, Model};
use crate::report::schema::{LengthLimit, ModelManifest};
use crate::task::{label_ids, Dataset, Example};

/// Role of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The reference.
    Teacher,
    /// The model under audit.
    Student,
    /// A model that is run alone.
    Model,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Role::Teacher => "teacher",
            Role::Student => "student",
            Role::Model => "model",
        })
    }
}

/// The texts of a split with their cache key.
pub struct SplitTexts<'a> {
    /// The split.
    pub dataset: &'a Dataset,
    /// Hash of the texts.
    identity: TextsIdentity,
}

impl<'a> SplitTexts<'a> {
    /// The texts of `dataset`.
    pub fn of(dataset: &'a Dataset) -> Self {
        let columns = dataset.examples.iter().map(|e| (e.text.as_str(), e.pair.as_deref()));
        SplitTexts { dataset, identity: TextsIdentity::of(columns) }
    }
}

/// A classifier with outputs in the task's label order.
pub struct Classifier {
    role: Role,
    checkpoint: Checkpoint,
    computation: Computation,
    /// The runtime of an ONNX file, with its version.
    runtime: Option<String>,
    identity: ModelIdentity,
    /// Lanes of the same key have the same tokens.
    tokens_key: String,
    limit: LengthLimit,
    facts: ModelFacts,
    model: Option<Box<dyn Model>>,
    own_labels: Vec<String>,
    columns: Vec<usize>,
    label_names: Vec<String>,
    record: Result<Option<StudentRecord>>,
    notes: Vec<Note>,
}

impl Classifier {
    /// Opens `source` for the task of `settings`. A model in the cache is loaded only if a row is
    /// missing there.
    ///
    /// Label names come from `dataset`, else from `known` (the teacher's), else from the model.
    ///
    /// # Errors
    /// As [`Checkpoint::open`] and [`crate::model::load`]; labels that cannot be aligned; a maximum length
    /// beyond the model's positions.
    pub fn open(
        role: Role,
        source: &str,
        settings: &Settings,
        known: &[String],
        dataset: &Dataset,
        session: &Session,
    ) -> Result<Self> {
        let loading = || format!("cannot load the {role} `{source}`");
        let mut checkpoint =
            Checkpoint::open(source, settings.casing, &session.hub).with_context(loading)?;
        let computation = Computation::of(role, settings)?;
        let is_onnx = matches!(checkpoint.network, Network::Onnx(_));
        let runtime = is_onnx.then(|| computation.runtime.name());
        let runtime = runtime.transpose().with_context(loading)?;
        let identity = computation.identity(&mut checkpoint, settings, session);
        let identity = identity.with_context(loading)?;
        let mut model = None;
        let facts = match session.model_facts(&identity) {
            Some(facts) => {
                checkpoint.network.unload(); // the cache may hold every row
                facts
            }
            None => {
                let loaded = computation.load(&mut checkpoint).with_context(loading)?;
                let facts = ModelFacts::of(&checkpoint, &*loaded.model, loaded.architecture);
                session.remember_model(source, &identity, &facts);
                model = Some(loaded.model);
                facts
            }
        };
        let own_labels = checkpoint.label_names(facts.labels).with_context(loading)?;
        let label_names = task_labels(&dataset.label_names, known, &own_labels);
        let columns = labels::align(
            &role.to_string(),
            source,
            &own_labels,
            &settings.task.name,
            &label_names,
            &settings.label_map,
        )?;
        let limit = set_max_length(&mut checkpoint.tokenizer, facts.positions, settings, role)?;
        let tokens_key =
            format!("{} {}", identity.tokenizer_sha256, checkpoint.tokenizer.max_length());
        let record = match role {
            Role::Student => record(&checkpoint),
            _ => Ok(None),
        };
        let notes = checkpoint_notes(&role.to_string(), &checkpoint, session);
        Ok(Classifier {
            role,
            checkpoint,
            computation,
            runtime,
            identity,
            tokens_key,
            limit,
            facts,
            model,
            own_labels,
            columns,
            label_names,
            record,
            notes,
        })
    }

    /// Notes about how its files were read, which were printed.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The task's label names, in the order of the logits.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// The model's own label names, in its own order.
    pub fn own_labels(&self) -> &[String] {
        &self.own_labels
    }

    /// The model's output for each label of the task (K).
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The student's distillation.json, if it has one, or the error of reading it.
    pub fn record(&self) -> Result<Option<&StudentRecord>, &Error> {
        self.record.as_ref().map(Option::as_ref)
    }

    /// Role of the model.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Properties of the model.
    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    /// The checkpoint of the model.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Fails if a file of the model was written to or replaced since it was opened.
    ///
    /// # Errors
    /// Names the first such file.
    pub fn require_unchanged(&self) -> Result<()> {
        let changed = || format!("cannot use the {} `{}`", self.role, self.checkpoint.source);
        self.checkpoint.require_unchanged().with_context(changed)
    }

    /// The checkpoint of the model, to read its weights.
    pub fn checkpoint_mut(&mut self) -> &mut Checkpoint {
        &mut self.checkpoint
    }

    /// The tokenizer, which truncates at the maximum length in force.
    pub fn tokenizer(&self) -> &TextTokenizer {
        &self.checkpoint.tokenizer
    }

    /// The length that its texts are cut at, and the limit that it is from.
    pub fn length(&self) -> (usize, LengthLimit) {
        (self.tokenizer().max_length(), self.limit)
    }

    /// What decides the tokens of a text: the tokenizer's files, how they are read, and the length.
    pub fn tokens_key(&self) -> &str {
        &self.tokens_key
    }

    /// The model's entry in the report's manifest.
    pub fn into_manifest(self, settings: &Settings) -> ModelManifest {
        let types = self.facts.uses_token_types && self.tokenizer().returns_token_types();
        let inputs = ["input_ids", "token_type_ids", "attention_mask"].into_iter();
        let inputs = inputs.filter(|name| types || *name != "token_type_ids");
        let inputs = inputs.map(str::to_owned).collect();
        ModelManifest {
            task: settings.task.name.clone(),
            role: self.role.to_string(),
            source: self.checkpoint.source,
            revision: self.checkpoint.revision,
            architecture: Some(self.facts.architecture),
            head: Some(self.identity.head),
            runtime: self.runtime,
            stored_dtype: Some(self.facts.stored_dtype),
            parameters: Some(self.facts.parameters),
            max_length: Some(self.checkpoint.tokenizer.max_length()),
            max_length_from: Some(self.limit),
            inputs: Some(inputs),
            labels: self.own_labels,
            label_map: self.columns,
            weights_sha256: self.identity.weights_sha256,
            tokenizer_sha256: Some(self.checkpoint.tokenizer_sha256),
            config_sha256: Some(self.identity.config_sha256),
        }
    }

    /// The model's logits of `texts`, filled from the cache.
    ///
    /// # Errors
    /// A label of the data that the model does not have.
    pub fn entry(&self, texts: &SplitTexts, session: &Session) -> Result<CacheEntry> {
        check_labels(texts.dataset, self.facts.labels)?;
        Ok(self.entry_of(&self.identity, texts, session))
    }

    /// As [`Classifier::entry`], but in memory if `other` is the same model and already writes the
    /// cache entry.
    pub(super) fn entry_unless_shared(
        &self,
        other: &CachedClassifier,
        texts: &SplitTexts,
        session: &Session,
    ) -> Result<CacheEntry> {
        if self.identity == other.classifier.identity && other.entry.writable() {
            return Ok(CacheEntry::in_memory(texts.dataset.examples.len(), self.facts.labels));
        }
        self.entry(texts, session)
    }

    /// The logits of the same weights with the other head convention, if there is one.
    pub(super) fn entry_of_other_head(
        &self,
        texts: &SplitTexts,
        session: &Session,
    ) -> Option<CacheEntry> {
        let head = self.facts.other_head?.as_str().to_owned();
        let name = format!("{} ({head})", self.checkpoint.source);
        let identity = ModelIdentity { head, ..self.identity.clone() };
        let own_head = match self.identity.head == Head::Pooled.as_str() {
            true => Head::Pooled,
            false => Head::PooledRelu,
        };
        let facts = ModelFacts { other_head: Some(own_head), ..self.facts.clone() };
        session.remember_model(&name, &identity, &facts);
        Some(self.entry_of(&identity, texts, session))
    }

    fn entry_of(
        &self,
        identity: &ModelIdentity,
        texts: &SplitTexts,
        session: &Session,
    ) -> CacheEntry {
        let dataset = texts.dataset;
        let Some(cache) = &session.cache else {
            return CacheEntry::in_memory(dataset.examples.len(), self.facts.labels);
        };
        let (entry, notes) = cache.open(&EntrySpec {
            model: identity.key(),
            texts: texts.identity,
            labels: self.facts.labels,
            task: &dataset.task,
            split: &dataset.split,
            inputs: &self.checkpoint.inputs,
        });
        notes.iter().for_each(|note| session.progress.cache_note(note));
        entry
    }

    /// Loads the model unless `entry` holds all `rows`.
    ///
    /// # Errors
    /// As [`crate::model::load`].
    pub fn load_for(&mut self, entry: &CacheEntry, rows: &[u32]) -> Result<()> {
        if self.model.is_none() && rows.iter().any(|&row| entry.row(row as usize).is_none()) {
            let loaded = self.computation.load(&mut self.checkpoint);
            let source = &self.checkpoint.source;
            let loaded =
                loaded.with_context(|| format!("cannot load the {} `{source}`", self.role))?;
            self.model = Some(loaded.model);
        }
        Ok(())
    }

    /// Whether it is an ONNX file.
    pub(super) fn is_exported(&self) -> bool {
        self.runtime.is_some()
    }

    /// How a service runs it, if its logits of a text depend on the batch.
    pub(super) fn served(&self) -> Option<Served> {
        Some(self.computation.served)
            .filter(|served| self.is_exported() && served.has_batch_mates())
    }

    /// The model, if it is loaded.
    pub fn model(&self) -> Option<&dyn Model> {
        self.model.as_deref()
    }

    /// The model's lane of a run over `dataset`.
    pub fn lane<'a>(
        &'a self,
        what: &'a str,
        dataset: &'a Dataset,
        entry: &'a mut CacheEntry,
    ) -> Lane<'a> {
        // The rows of a service's batches are known before; none may be run alone.
        let model = self.model().filter(|_| self.served().is_none());
        Lane { what, model, input: self.input(dataset), entry }
    }

    pub(super) fn input<'a>(&'a self, dataset: &'a Dataset) -> Input<'a> {
        Input::Texts {
            examples: &dataset.examples,
            tokenizer: &self.checkpoint.tokenizer,
            key: &self.tokens_key,
        }
    }

    /// The logits of `rows` (n, K) in the task's label order and the number of truncated texts.
    ///
    /// # Panics
    /// If `entry` lacks a row.
    pub fn logits(&self, entry: &CacheEntry, rows: &[u32]) -> (Logits, usize) {
        let labels = self.columns.len();
        let mut values = Vec::with_capacity(rows.len() * labels);
        let mut cut = 0;
        for &row in rows {
            let (scores, truncated) = entry.row(row as usize).expect("the rows were run");
            values.extend(self.columns.iter().map(|&column| scores[column]));
            cut += usize::from(truncated);
        }
        (Logits { values, labels }, cut)
    }

    /// [`Classifier::logits`] as predictions.
    pub fn predictions(&self, entry: &CacheEntry, rows: &[u32]) -> Result<(Predictions, usize)> {
        let (logits, cut) = self.logits(entry, rows);
        Ok((Predictions::from_logits(&logits.values, logits.labels)?, cut))
    }
}

fn record(checkpoint: &Checkpoint) -> Result<Option<StudentRecord>> {
    let Some(file) = &checkpoint.record else { return Ok(None) };
    let parsed = file.text().and_then(|text| Ok(StudentRecord::parse(text)?));
    parsed.map(Some).with_context(|| format!("cannot read the record `{}`", file.input.name()))
}

impl Session {
    fn model_facts(&self, identity: &ModelIdentity) -> Option<ModelFacts> {
        match self.cache.as_ref()?.read_model(identity) {
            Ok(file) => file.map(|file| file.facts),
            Err(note) => {
                self.progress.cache_note(&note);
                None
            }
        }
    }

    fn remember_model(&self, name: &str, identity: &ModelIdentity, facts: &ModelFacts) {
        let Some(cache) = &self.cache else { return };
        let (name, identity, facts) = (name.to_owned(), identity.clone(), facts.clone());
        if let Err(note) = cache.write_model(&ModelFile { name, identity, facts }) {
            self.progress.cache_note(&note);
        }
    }
}

/// Label names of the task, else of the teacher, else of the model.
fn task_labels(task: &[String], known: &[String], own: &[String]) -> Vec<String> {
    match [task, known].into_iter().find(|names| !names.is_empty()) {
        Some(names) => names.to_vec(),
        None if label_ids(own).is_some() => (0..own.len()).map(|i| format!("LABEL_{i}")).collect(),
        None => own.to_vec(),
    }
}

/// Fails if the label id of an example is not an output of the model.
fn check_labels(dataset: &Dataset, outputs: usize) -> Result<()> {
    let beyond = |e: &Example| e.label.is_some_and(|label| label as usize >= outputs);
    match dataset.examples.iter().position(beyond) {
        None => Ok(()),
        Some(i) => bail!(failure!(
            "example {i} of {}/{} has the label {}, and the model has {outputs} labels",
            dataset.task,
            dataset.split,
            dataset.examples[i].label.unwrap_or_default()
        )
        .hint("labels count from 0; is this a checkpoint of another task?")),
    }
}
