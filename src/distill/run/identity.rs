//! Fingerprints: everything that decides a training's parameters. Only the same training resumes a
//! saved one, and trainings whose first stages agree share the results of these stages.

use std::path::PathBuf;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::prepared::Prepared;
use super::teaching::OpenedTeaching;
use super::Distillation;
use crate::audit::Classifier;
use crate::digest::hexadecimal;
use crate::distill::data::Teacher;
use crate::distill::evaluate::Evaluated;
use crate::distill::record::RecordedRecipe;
use crate::distill::saved::FORMAT;

impl Distillation<'_> {
    /// The recipe, as a training of `prepared` records it.
    pub(super) fn recorded(&self, prepared: &Prepared) -> RecordedRecipe<'_> {
        let n = prepared.train.tokens.len();
        RecordedRecipe {
            max_length: self.checkpoint.tokenizer.max_length(),
            ..RecordedRecipe::of(self.recipe, prepared.student.dropout, n)
        }
    }

    /// The fingerprint of a training; the paths of its files do not change it.
    pub(super) fn fingerprint(&self, name: &str, prepared: &Prepared) -> Result<String> {
        let recipe = self.recorded(prepared);
        self.fingerprint_of(name, prepared, recipe, prepared.validation.as_ref())
    }

    /// The fingerprint of the part of a training that `recipe` describes.
    fn fingerprint_of(
        &self,
        name: &str,
        prepared: &Prepared,
        recipe: RecordedRecipe,
        validation: Option<&Evaluated>,
    ) -> Result<String> {
        let settings = &self.recipe.settings;
        let parts = serde_json::to_vec(&(
            (env!("CARGO_PKG_VERSION"), FORMAT),
            (name, self.recipe.method.name, &self.labels),
            recipe,
            (self.teacher_hashes(), self.sources.1.hashes()),
            self.generator.as_ref().map(|generator| generator.recorded.hashes()),
            self.learns_from.as_ref().map(OpenedTeaching::fingerprint).transpose()?,
            (
                format!("{:?}", settings.casing),
                // The teacher may cut texts, and read segments, otherwise than the student.
                self.teacher_tokens(),
            ),
            (prepared.train.sha256(), prepared.other_texts_sha256()),
            validation.map(Evaluated::sha256),
        ))?;
        Ok(hexadecimal(&Sha256::digest(&parts)))
    }

    /// The fingerprint of models and data, whatever the rest of the recipe.
    pub(super) fn compared(&self, prepared: &Prepared) -> Result<String> {
        let parts = serde_json::to_vec(&(
            &self.labels,
            (self.teacher_hashes(), self.sources.1.hashes()),
            format!("{:?}", self.recipe.settings.casing),
            self.teacher_tokens(),
            (prepared.train.sha256(), prepared.other_texts_sha256()),
            self.generator.as_ref().map(|generator| generator.recorded.hashes()),
            prepared.validation.as_ref().map(Evaluated::sha256),
        ))?;
        Ok(hexadecimal(&Sha256::digest(&parts)))
    }

    /// What the teacher's logits depend on besides their tokens: hashes of a checkpoint, or of tables.
    fn teacher_hashes(&self) -> Option<Vec<String>> {
        match &self.teacher {
            Some(Teacher::Tables(tables)) => Some(tables.hashes()),
            _ => self.sources.0.as_ref().map(|of| of.hashes().map(str::to_owned).to_vec()),
        }
    }

    /// The tokens of a teacher that is a model.
    fn teacher_tokens(&self) -> Option<&str> {
        self.teacher.as_ref().and_then(Teacher::model).map(Classifier::tokens_key)
    }

    /// The shared file of each stage before the first whose states may be kept: such states are not
    /// shared. None if trainings share nothing.
    pub(super) fn stage_files(&self, name: &str, prepared: &Prepared) -> Result<Vec<PathBuf>> {
        let Some(shared) = self.context.shared else { return Ok(Vec::new()) };
        let file = |stage: usize| {
            let recipe = self.recorded(prepared).until(stage);
            let so_far = self.fingerprint_of(name, prepared, recipe, None)?;
            // Embeddings that a later stage trains are parameters from the start.
            let parts = serde_json::to_vec(&(so_far, self.recipe.freezes_embeddings()))?;
            let digest = hexadecimal(&Sha256::digest(&parts));
            Ok(shared.join(format!("stage-{}.safetensors", &digest[..32])))
        };
        let shareable = (0..self.recipe.stages.len()).take_while(|s| !self.recipe.is_measured(*s));
        shareable.map(file).collect()
    }
}
