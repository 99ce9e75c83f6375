//! The states after every epoch, written as checkpoints.

use anyhow::{Context, Result};

use super::prepared::Prepared;
use super::Distillation;
use crate::checkpoint::NewCheckpoint;
use crate::distill::saved::{Candidate, Epoch};
use crate::model::{Parameter, Trainable};

impl Distillation<'_> {
    /// Writes the state after each epoch of `course` that is measured, one folder each within the
    /// student's. Afterwards `model` has the parameters of the last one.
    ///
    /// # Errors
    /// A full disk, a saved state that is damaged.
    pub(super) fn write_epochs(
        &self,
        prepared: &Prepared,
        model: &dyn Trainable,
        parameters: &[Parameter],
        course: &[Epoch],
    ) -> Result<()> {
        let stages = &self.recipe.stages;
        let mut written = 0;
        for epoch in course {
            let stage = stages.iter().position(|stage| stage.name == epoch.stage);
            let stage = stage.context("an epoch of a stage that is not there")?;
            if !self.recipe.is_measured(stage) {
                continue;
            }
            written += 1;
            let state = Candidate { stage, epoch: epoch.epoch, ..Candidate::default() };
            self.folder.restore_candidate(&state, parameters)?;
            let checkpoint = NewCheckpoint {
                config: prepared.student.config.clone(),
                tensors: model.snapshot()?.export()?,
                tokenizer_files: self.checkpoint.tokenizer_files(&self.session.hub)?,
                extra_files: Vec::new(),
            };
            checkpoint.write(&self.recipe.output.join(format!("epoch-{written}")))?;
        }
        Ok(())
    }
}
