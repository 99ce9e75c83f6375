//! The student that is kept: measured, and written to its folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::ensemble::Member;
use super::prepared::Prepared;
use super::Distillation;
use crate::audit::run_options;
use crate::checkpoint::NewCheckpoint;
use crate::distill::data::{recorded, Teacher};
use crate::distill::evaluate::{Evaluated, Score, SoftLoss};
use crate::distill::record::{self, Data, DistillationRecord, RecordedEnsemble};
use crate::distill::trainer::FinishedTraining;
use crate::inference::{Logits, Windows};
use crate::model::Trainable;

/// A student that was trained and written.
pub struct Student {
    pub folder: PathBuf,
    /// The files of the training set.
    pub trained_on: Vec<String>,
    pub ended: FinishedTraining,
    /// On the training set.
    pub train: Score,
    /// On the validation split, without the held-out part.
    pub validation: Option<Score>,
    /// The mean of all generations, where it was written.
    pub ensemble: Option<RecordedEnsemble>,
    /// Over the training set, against the teacher.
    pub soft_loss: Option<SoftLoss>,
    pub train_logits: SplitLogits,
    pub validation_logits: Option<SplitLogits>,
    /// Number of parameters.
    pub parameters: usize,
    /// Number of layers.
    pub layers: usize,
}

/// Labels and logits of one split.
pub struct SplitLogits {
    /// Labels in the task's order (N).
    pub labels: Vec<Option<u32>>,
    /// The teacher's logits (N, K); `None` without a teacher.
    pub teacher: Option<Logits>,
    /// The student's logits (N, K).
    pub student: Logits,
}

impl Distillation<'_> {
    /// Measures the student and writes its folder; `members` are its assistants.
    pub(super) fn write(
        &self,
        prepared: Prepared,
        model: &dyn Trainable,
        ended: FinishedTraining,
        mut members: Vec<Member>,
    ) -> Result<Student> {
        let (recipe, session) = (self.recipe, self.session);
        let options = run_options(&recipe.settings, session, Windows::WHOLE);
        let logits = prepared.train.logits(model, &options)?;
        let train = prepared.train.score(&logits)?;
        let parameters = model.export()?.values().map(|tensor| tensor.elem_count()).sum();
        let last = recipe.last_stage();
        let soft_loss = prepared.train.soft_loss(&logits, last.temperature, last.t_squared);
        let run = |split| -> Result<_> { Ok((split, Evaluated::logits(split, model, &options)?)) };
        let seen = prepared.validation.as_ref().map(run).transpose()?;
        let validation = seen.as_ref().map(|(split, logits)| split.score(logits)).transpose()?;
        let own = self.joined(&prepared, model, Some(&logits))?;
        members.extend(own.map(|logits| Member { seed: prepared.seed, logits }));
        let joined = self.ensemble(&prepared, &members)?;
        let (ensemble, files) = joined.map(|mean| (mean.record, mean.files)).unzip();
        let measured = KeptFigures { train, validation, soft_loss, ensemble: ensemble.as_ref() };
        let json = self.record(&prepared, &ended, measured)?;
        let checkpoint = NewCheckpoint {
            config: prepared.student.config,
            tensors: model.export()?,
            tokenizer_files: self.checkpoint.tokenizer_files(&session.hub)?,
            extra_files: files.into_iter().flatten().chain([("distillation.json", json)]).collect(),
        };
        checkpoint.write(&recipe.output)?;
        let both = |split: &Evaluated, student: Logits| SplitLogits {
            labels: split.labels.clone(),
            teacher: split.teacher.clone(),
            student,
        };
        Ok(Student {
            folder: recipe.output.clone(),
            trained_on: self.splits.train.names.clone(),
            ended,
            train,
            validation,
            ensemble,
            soft_loss,
            train_logits: both(&prepared.train, logits),
            validation_logits: seen.map(|(split, logits)| both(split, logits)),
            parameters,
            layers: model.shape().layers,
        })
    }

    /// `distillation.json`.
    fn record(
        &self,
        prepared: &Prepared,
        ended: &FinishedTraining,
        measured: KeptFigures,
    ) -> Result<Vec<u8>> {
        let recipe = self.recipe;
        let record = DistillationRecord {
            schema_version: record::SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION"),
            task: &recipe.settings.task.name,
            method: recipe.method.name,
            method_source: recipe.method.source,
            bound: record::bound(recipe),
            loss_reached: measured.soft_loss.map(record::loss_reached),
            ended_by: ended.by,
            stage: Some(ended.stage).filter(|_| recipe.stages.len() > 1),
            epoch: ended.epoch,
            train: measured.train,
            validation: measured.validation,
            ensemble: measured.ensemble,
            recipe: self.recorded(prepared),
            teacher: self.sources.0.clone(),
            teacher_predictions: match &self.teacher {
                Some(Teacher::Tables(tables)) => Some(tables.recorded()),
                _ => None,
            },
            learn_from: self.learns_from.as_ref().map(|other| &other.recorded),
            begun_from: Some(self.sources.1.clone()),
            generator: self.generator.as_ref().map(|generator| generator.recorded.clone()),
            data: self.data(prepared),
            course: &ended.course,
        };
        let mut json = serde_json::to_vec_pretty(&record)?;
        json.push(b'\n');
        Ok(json)
    }

    /// The splits and files that were read, by name.
    fn data(&self, prepared: &Prepared) -> BTreeMap<&'static str, Data> {
        let mut data = BTreeMap::from([("train", recorded(&self.splits.train, &prepared.train))]);
        if let (Some(split), Some(evaluated)) = (&self.splits.validation, &prepared.validation) {
            data.insert("validation", recorded(split, evaluated));
        }
        if let Some(split) = &self.splits.augmented {
            data.insert("augmented", recorded(split, prepared.learned()));
        }
        if let (Some(split), Some(evaluated)) = (&self.splits.corpus, &prepared.corpus) {
            data.insert("corpus", recorded(split, evaluated));
        }
        data
    }
}

/// The figures of a student that is kept.
struct KeptFigures<'a> {
    /// On the training set.
    train: Score,
    /// On the validation split.
    validation: Option<Score>,
    /// Over the training set.
    soft_loss: Option<SoftLoss>,
    ensemble: Option<&'a RecordedEnsemble>,
}
