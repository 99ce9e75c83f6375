//! The neighbours of the training set in a corpus, for a stage that trains on them.

use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use sha2::{Digest, Sha256};

use super::prepared::Prepared;
use super::Distillation;
use crate::digest::hexadecimal;
use crate::distill::data::tokens;
use crate::distill::evaluate::tokens_sha256;
use crate::distill::neighbours::{self, IndexHeader, NeighbourSearch};
use crate::distill::signals::{CorpusSignals, TeacherModel};
use crate::error::usage;
use crate::inference::Observer;

impl Distillation<'_> {
    /// The corpus, with the neighbours of each text of the training set.
    pub(super) fn corpus_signals(
        &self,
        search: NeighbourSearch,
        teacher: &TeacherModel,
        prepared: &Prepared,
    ) -> Result<CorpusSignals> {
        let corpus = prepared.corpus.as_ref().context("no corpus was read")?;
        Ok(CorpusSignals {
            logits: corpus.teacher.clone().context("the teacher was not run on the corpus")?,
            tokens: corpus.tokens.clone(),
            nearest: self.nearest(search, teacher)?,
        })
    }

    /// The neighbours, from the file of an earlier training if there is one.
    fn nearest(&self, search: NeighbourSearch, teacher: &TeacherModel) -> Result<Vec<Vec<u32>>> {
        let split = self.splits.corpus.as_ref().context("no corpus was read")?;
        let classifier = &self.teacher.as_ref().context("no teacher")?.classifier;
        let corpus = tokens(split, classifier.tokenizer(), teacher.model.vocabulary())?;
        let header = IndexHeader {
            search,
            teacher_sha256: self.sources.0.as_ref().context("no teacher")?.weights_sha256.clone(),
            tokens_sha256: tokens_sha256(&teacher.tokens),
            corpus_sha256: tokens_sha256(&corpus),
            examples: teacher.tokens.len(),
        };
        let path = self.index_file(&header)?;
        let is_named = self.recipe.inputs.index.is_some();
        match path.exists().then(|| neighbours::read(&path)) {
            Some(Ok((known, nearest))) if known == header => return Ok(nearest),
            // A file that the user named is not overwritten.
            Some(Err(error)) if is_named => return Err(error),
            Some(Ok(_)) if is_named => bail!(usage!(
                "`minimax.index` = `{}` holds the neighbours of another teacher, other texts or \
                 another search",
                path.display()
            )
            .hint("name another file, or remove this one")),
            _ => {}
        }
        let count = teacher.tokens.len() + corpus.len();
        let phase = self.session.progress.phase("the neighbours in the corpus", count);
        let vectors = |tokens| {
            let interrupt = &self.session.interrupt;
            neighbours::vectors(teacher, tokens, interrupt, |rows| phase.rows_done(rows, 0))
        };
        let (texts, others) = (vectors(&teacher.tokens)?, vectors(&corpus)?);
        let width = teacher.model.shape().hidden;
        let nearest = neighbours::nearest(&texts, &others, width, search);
        drop(phase);
        neighbours::write(&path, &header, &nearest)?;
        let found: usize = nearest.iter().map(Vec::len).sum();
        let without = nearest.iter().filter(|of_one| of_one.is_empty()).count();
        self.session.progress.message(&format!(
            "the corpus has {:.1} neighbours a text; {without} of {} texts have none",
            found as f64 / nearest.len().max(1) as f64,
            nearest.len()
        ));
        Ok(neighbours::read(&path)?.1)
    }

    /// The file that the recipe names, one that trainings share, or the training's own.
    fn index_file(&self, header: &IndexHeader) -> Result<PathBuf> {
        if let Some(path) = &self.recipe.inputs.index {
            return Ok(PathBuf::from(path));
        }
        let Some(shared) = self.context.shared else {
            return Ok(self.folder.path().join("neighbours.safetensors"));
        };
        let digest = hexadecimal(&Sha256::digest(serde_json::to_vec(header)?));
        Ok(shared.join(format!("neighbours-{}.safetensors", &digest[..32])))
    }
}
