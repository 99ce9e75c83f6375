//! The student as it is kept: what it does, and its folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;

use super::prepared::Prepared;
use super::Distillation;
use crate::audit::run_options;
use crate::checkpoint::NewCheckpoint;
use crate::distill::data::recorded;
use crate::distill::evaluate::{Evaluated, Score, SoftLoss};
use crate::distill::record::{self, DistillationRecord};
use crate::distill::trainer::Ended;
use crate::inference::{Logits, Windows};
use crate::model::Trainable;

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
    pub said: SplitsLogits,
    /// Parameters of the student.
    pub parameters: usize,
    /// Its layers.
    pub layers: usize,
}

/// What teacher and student say, and what is right.
pub struct SplitsLogits {
    /// Of the training set.
    pub train: SplitLogits,
    /// Of what the training saw of the validation split.
    pub validation: Option<SplitLogits>,
}

/// What is said of one split.
pub struct SplitLogits {
    /// Labels in the task's order (N).
    pub labels: Vec<Option<u32>>,
    /// The teacher's logits (N, K); `None` without a teacher.
    pub teacher: Option<Logits>,
    /// The student's logits (N, K).
    pub student: Logits,
}

impl Distillation<'_> {
    /// Measures the student as it is kept, writes its folder, and removes what led to it.
    pub(super) fn write(
        &self,
        prepared: Prepared,
        model: &dyn Trainable,
        ended: Ended,
    ) -> Result<Student> {
        let (recipe, session) = (self.recipe, self.session);
        let options = run_options(&recipe.settings, session, Windows::WHOLE);
        let logits = prepared.train.logits(model, &options)?;
        let train = prepared.train.score(&logits)?;
        let parameters = model.export()?.values().map(|tensor| tensor.elem_count()).sum();
        let last = recipe.last_stage();
        let soft_loss = prepared.train.soft_loss(&logits, last.temperature, last.t_squared);
        let answered =
            |split| -> Result<_> { Ok((split, Evaluated::logits(split, model, &options)?)) };
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
            recipe: self.recorded(&prepared),
            teacher: self.sources.0.clone(),
            begun_from: Some(self.sources.1.clone()),
            data,
            course: &ended.course,
        };
        let mut json = serde_json::to_vec_pretty(&record)?;
        json.push(b'\n');
        let checkpoint = NewCheckpoint {
            config: prepared.student.config,
            tensors: model.export()?,
            tokenizer_files: self.checkpoint.tokenizer_files(&session.hub)?,
            extra_files: vec![("distillation.json", json)],
        };
        checkpoint.write(&recipe.output)?;
        let answers = |split: &Evaluated, student: Logits| SplitLogits {
            labels: split.labels.clone(),
            teacher: split.teacher.clone(),
            student,
        };
        let validation_said = seen.map(|(split, logits)| answers(split, logits));
        let said =
            SplitsLogits { train: answers(&prepared.train, logits), validation: validation_said };
        let folder = recipe.output.clone();
        let layers = model.shape().layers;
        Ok(Student { folder, ended, train, validation, soft_loss, said, parameters, layers })
    }
}
