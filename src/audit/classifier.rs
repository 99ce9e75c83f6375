//! A loaded model with its tokenizer, its label order and what the report says of it.

use std::fmt;

use anyhow::{bail, ensure, Context, Result};
use candle_core::Device;

use super::judge::Gate;
use super::Session;
use crate::check::StudentRecord;
use crate::checkpoint::{labels, Checkpoint, TextTokenizer};
use crate::confidence::Predictions;
use crate::config::Settings;
use crate::error::{hinted, usage};
use crate::inference::{run, tokenize, Logits, RunOptions, Silent};
use crate::model::{self, Model, TokenizedExample};
use crate::report::schema::ModelManifest;
use crate::task::{label_ids, Dataset, Example};

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The reference.
    Teacher,
    /// The model that is audited.
    Student,
    /// One that is run alone.
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

/// A classifier whose outputs stand in the task's label order.
pub struct Classifier {
    role: Role,
    tokenizer: TextTokenizer,
    model: Box<dyn Model>,
    columns: Vec<usize>,
    label_names: Vec<String>,
    record: Option<StudentRecord>,
    manifest: ModelManifest,
}

impl Classifier {
    /// Loads `source` for the task of `settings`.
    ///
    /// The task's label names come from `dataset`; where a user's own task names none, from
    /// `known` (the teacher's), else from the model itself.
    ///
    /// # Errors
    /// Whatever [`Checkpoint::open`] and [`model::load`] refuse; labels that cannot be aligned; a
    /// maximum length beyond the model's positions.
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
        let head = match role {
            Role::Teacher | Role::Model => settings.teacher_head,
            Role::Student => settings.student_head,
        };
        let device = device(&settings.device)?;
        let loaded = model::load(&checkpoint.config, &mut checkpoint.weights, head, &device)
            .with_context(loading)?;
        let outputs = loaded.model.labels();
        let own = checkpoint.label_names(outputs).with_context(loading)?;
        let label_names = task_labels(&dataset.label_names, known, &own);
        let task = &settings.task.name;
        let columns = labels::align(
            &role.to_string(),
            source,
            &own,
            task,
            &label_names,
            &settings.label_map,
        )?;
        check_labels(dataset, outputs)?;
        set_max_length(&mut checkpoint.tokenizer, &*loaded.model, settings, role)?;
        let record = match (&checkpoint.record, role) {
            (Some(path), Role::Student) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read `{}`", path.display()))?;
                let parsed = StudentRecord::parse(&text);
                Some(
                    parsed
                        .with_context(|| format!("cannot read the record `{}`", path.display()))?,
                )
            }
            _ => None,
        };
        let manifest = ModelManifest {
            task: task.clone(),
            role: role.to_string(),
            source: source.to_owned(),
            revision: checkpoint.revision,
            architecture: Some(loaded.architecture),
            head: Some(loaded.head.to_owned()),
            stored_dtype: Some(checkpoint.weights.stored_dtype()),
            parameters: Some(checkpoint.weights.parameters()),
            max_length: Some(checkpoint.tokenizer.max_length()),
            labels: own,
            label_map: columns.clone(),
            weights_sha256: checkpoint.weights_sha256,
            tokenizer_sha256: Some(checkpoint.tokenizer_sha256),
            config_sha256: Some(checkpoint.config_sha256),
        };
        let tokenizer = checkpoint.tokenizer;
        Ok(Classifier {
            role,
            tokenizer,
            model: loaded.model,
            columns,
            label_names,
            record,
            manifest,
        })
    }

    /// The task's label names, in the order of the logits.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// The model's own label names, in its own order.
    pub fn own_labels(&self) -> &[String] {
        &self.manifest.labels
    }

    /// What the model's own training left on record.
    pub fn record(&self) -> Option<&StudentRecord> {
        self.record.as_ref()
    }

    /// Teacher or student.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The model itself.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// What the report says of the model.
    pub fn into_manifest(self) -> ModelManifest {
        self.manifest
    }

    /// Token ids of `examples`.
    pub fn tokenize(
        &self,
        examples: &[Example],
        settings: &Settings,
        session: &Session,
    ) -> Result<Vec<TokenizedExample>> {
        let vocabulary = self.model.vocabulary();
        tokenize(&self.tokenizer, vocabulary, examples, settings.threads, &session.interrupt)
            .with_context(|| format!("cannot tokenise for the {}", self.role))
    }

    /// Raw scores of `dataset` in the task's label order, and how many texts were cut.
    ///
    /// `spend` shows the share of the budget that the student has spent so far.
    pub fn logits(
        &self,
        dataset: &Dataset,
        settings: &Settings,
        session: &Session,
        spend: Option<(&Predictions, &Gate)>,
    ) -> Result<(Logits, usize)> {
        let what = format!("{} on {}/{}", self.role, dataset.task, dataset.split);
        let tokens = self.tokenize(&dataset.examples, settings, session)?;
        let truncated = tokens.iter().filter(|t| t.truncated).count();
        let phase = session.progress.phase(&what, &tokens, spend);
        let options = run_options(settings, session);
        let logits = run(&*self.model, &self.columns, &tokens, &what, &options, &phase)?;
        Ok((logits, truncated))
    }

    /// As [`Classifier::logits`], as confidences and predicted labels.
    pub fn predict(
        &self,
        dataset: &Dataset,
        settings: &Settings,
        session: &Session,
        spend: Option<(&Predictions, &Gate)>,
    ) -> Result<(Predictions, usize)> {
        let (logits, truncated) = self.logits(dataset, settings, session, spend)?;
        Ok((Predictions::from_logits(&logits.values, logits.labels)?, truncated))
    }

    /// Scores of tokenised examples by `model`, in this classifier's label order.
    pub(super) fn run_with(
        &self,
        model: &dyn Model,
        tokens: &[TokenizedExample],
        settings: &Settings,
        session: &Session,
    ) -> Result<Predictions> {
        let options = run_options(settings, session);
        let what = format!("{} on the pre-flight sample", self.role);
        let logits = run(model, &self.columns, tokens, &what, &options, &Silent)?;
        Ok(Predictions::from_logits(&logits.values, logits.labels)?)
    }
}

/// How the settings ask for a model to be run.
pub(super) fn run_options(settings: &Settings, session: &Session) -> RunOptions {
    RunOptions {
        // A GPU takes one batch at a time.
        threads: if settings.device == "cpu" { settings.threads } else { 1 },
        token_budget: settings.token_budget,
        interrupt: session.interrupt.clone(),
    }
}

/// The task's names, else the teacher's, else the model's own; ids in their order.
fn task_labels(task: &[String], known: &[String], own: &[String]) -> Vec<String> {
    match [task, known].into_iter().find(|names| !names.is_empty()) {
        Some(names) => names.to_vec(),
        None if label_ids(own).is_some() => (0..own.len()).map(|i| format!("LABEL_{i}")).collect(),
        None => own.to_vec(),
    }
}

/// Labels of a user's own task that names none are ids; they must be the model's.
fn check_labels(dataset: &Dataset, outputs: usize) -> Result<()> {
    let beyond = |e: &Example| e.label.is_some_and(|label| label as usize >= outputs);
    match dataset.examples.iter().position(beyond) {
        None => Ok(()),
        Some(i) => Err(hinted(
            format!(
                "example {i} of {}/{} has the label {}, and the model has {outputs} labels",
                dataset.task,
                dataset.split,
                dataset.examples[i].label.unwrap_or_default()
            ),
            "labels count from 0; is this a checkpoint of another task?",
        )),
    }
}

/// Cuts at the maximum length in force, or at the model's positions where nobody asked for more.
fn set_max_length(
    tokenizer: &mut TextTokenizer,
    model: &dyn Model,
    settings: &Settings,
    role: Role,
) -> Result<()> {
    let positions = model.positions();
    if settings.max_length > positions && settings.max_length_is_explicit() {
        bail!(usage(format!(
            "the maximum length {} ({}) is above the {positions} positions of the {role}\n  hint: \
             use {positions} or less",
            settings.max_length,
            settings.origin("max_length")
        )));
    }
    tokenizer.set_max_length(settings.max_length.min(positions))
}

/// The device that `name` stands for.
///
/// # Errors
/// A name that is none, or a device that this build or this machine does not have.
pub fn device(name: &str) -> Result<Device> {
    let ordinal = match (name, name.strip_prefix("cuda:")) {
        ("cpu", _) => return Ok(Device::Cpu),
        ("cuda", _) => 0,
        (_, Some(ordinal)) => ordinal.parse().map_err(|_| no_device(name))?,
        _ => return Err(no_device(name)),
    };
    ensure!(
        cfg!(feature = "cuda"),
        hinted(
            format!("no CUDA device: this build of audit has none (asked for `{name}`)"),
            "build it with `--features cuda`, or use --device cpu",
        )
    );
    // Without a driver the CUDA bindings panic rather than fail.
    let opened = std::panic::catch_unwind(|| Device::new_cuda(ordinal));
    match opened {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(error)) => Err(hinted(format!("no CUDA device: {error}"), "use --device cpu")),
        Err(_) => Err(hinted("no CUDA device: the driver cannot be loaded", "use --device cpu")),
    }
}

fn no_device(name: &str) -> anyhow::Error {
    usage(format!("`{name}` is no device\n  hint: use cpu, cuda or cuda:N"))
}
