//! The neighbours of the training set in a corpus, for a stage that trains on them.

use std::path::PathBuf;

use anyhow::{bail, ensure, Context, Error, Result};
use sha2::{Digest, Sha256};

use super::prepared::Prepared;
use super::Distillation;
use crate::checkpoint::TokenizedExample;
use crate::digest::hexadecimal;
use crate::distill::data::tokens;
use crate::distill::evaluate::tokens_sha256;
use crate::distill::neighbours::{self, IndexHeader, Nearest, Neighbour, NeighbourSearch};
use crate::distill::signals::{CorpusSignals, TeacherModel};
use crate::error::usage;
use crate::inference::Observer;

/// Texts of the corpus whose vectors are in memory at a time.
const PART: usize = 1024;

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
        let (classifier, recorded) = self.teaching().context("no teacher")?;
        let corpus = tokens(split, classifier.tokenizer(), teacher.model.vocabulary())?;
        let header = IndexHeader {
            search: NeighbourSearch { count: search.count.min(corpus.len()), ..search },
            teacher_sha256: recorded.weights_sha256.clone(),
            config_sha256: recorded.config_sha256.clone(),
            tokens_sha256: tokens_sha256(&teacher.tokens),
            corpus_sha256: tokens_sha256(&corpus),
            examples: teacher.tokens.len(),
            corpus: corpus.len(),
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
        let nearest = self.search(header.search, teacher, &corpus)?;
        neighbours::write(&path, &header, &nearest)?;
        let rows = |of_one: &Vec<Neighbour>| of_one.iter().map(|neighbour| neighbour.row).collect();
        Ok(nearest.iter().map(rows).collect())
    }

    /// Looks for the neighbours in the `corpus`.
    ///
    /// # Errors
    /// An interrupt; a usage error if no text has a neighbour.
    fn search(
        &self,
        search: NeighbourSearch,
        teacher: &TeacherModel,
        corpus: &[TokenizedExample],
    ) -> Result<Vec<Vec<Neighbour>>> {
        let count = teacher.tokens.len() + corpus.len();
        let phase = self.session.progress.phase("the neighbours in the corpus", count);
        let vectors = |tokens: &[TokenizedExample]| {
            let vectors = neighbours::vectors(teacher, tokens, &self.session.interrupt)?;
            phase.rows_done(tokens.len(), 0);
            Ok::<_, Error>(vectors)
        };
        let texts = vectors(&teacher.tokens)?;
        let mut nearest = Nearest::new(&texts, teacher.model.shape().hidden, search);
        for part in corpus.chunks(PART) {
            nearest.add(&vectors(part)?);
        }
        drop(phase);
        let nearest = nearest.finish();
        let found: usize = nearest.iter().map(Vec::len).sum();
        let (radius, n) = (search.radius, nearest.len());
        ensure!(
            found > 0,
            usage!(
                "no text of the training set has a neighbour within `minimax.radius` = {radius}"
            )
            .hint("use a larger radius, or another corpus")
        );
        let without = nearest.iter().filter(|of_one| of_one.is_empty()).count();
        self.session.progress.message(&format!(
            "the corpus has {:.1} neighbours a text; {without} of {n} texts have none",
            found as f64 / n as f64
        ));
        Ok(nearest)
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
