//! The masked language model that a method trains against the student.

use anyhow::{ensure, Context, Result};

use super::Distillation;
use crate::audit::Session;
use crate::checkpoint::Checkpoint;
use crate::distill::adversary::require_same_vocabulary;
use crate::distill::data::{source, tokens};
use crate::distill::evaluate::Evaluated;
use crate::distill::objective::OpenedMaskedLm;
use crate::distill::recipe::Recipe;
use crate::distill::record::RecordedCheckpoint;
use crate::error::{failure, usage};
use crate::model::load_masked_lm;

/// A generator, opened.
pub(super) struct OpenedGenerator {
    opened: OpenedMaskedLm,
    checkpoint: Checkpoint,
    /// As the record has it.
    pub(super) recorded: RecordedCheckpoint,
}

impl OpenedGenerator {
    /// Opens the generator of `recipe`, if its method has one, with texts cut at `length` tokens.
    ///
    /// # Errors
    /// A checkpoint that cannot be opened or is not a masked language model.
    pub(super) fn open(recipe: &Recipe, length: usize, session: &Session) -> Result<Option<Self>> {
        let Some(name) = recipe.inputs.masked_lm.as_deref() else { return Ok(None) };
        let mut checkpoint = Checkpoint::open(name, recipe.settings.casing, &session.hub)
            .with_context(|| format!("cannot open the generator `{name}`"))?;
        checkpoint.tokenizer.set_max_length(length)?;
        let recorded = source(&mut checkpoint, session)?;
        let (model, dropout) =
            load_masked_lm(&checkpoint.config, checkpoint.network.weights_mut()?)?;
        let mask = checkpoint.tokenizer.mask_token().with_context(|| {
            failure!("the tokenizer of the generator `{name}` has no mask token")
                .hint("name a masked language model with its own tokenizer")
        })?;
        let positions = model.shape().positions;
        ensure!(
            length <= positions,
            usage!(
                "the generator `{name}` reads {positions} tokens at most, and texts have {length}"
            )
            .hint(format!("set `max_length` to {positions}, or name another generator"))
        );
        let is_ordinary = checkpoint.tokenizer.ordinary_tokens(model.vocabulary())?.into();
        Ok(Some(OpenedGenerator {
            opened: OpenedMaskedLm { model, dropout, mask, is_ordinary },
            checkpoint,
            recorded,
        }))
    }
}

impl Distillation<'_> {
    /// The generator of a student with `vocabulary` embeddings that is trained on `learned`.
    ///
    /// # Errors
    /// A usage error where it does not read the student's token ids.
    pub(super) fn masked_lm(
        &self,
        vocabulary: usize,
        learned: &Evaluated,
    ) -> Result<Option<OpenedMaskedLm>> {
        let Some(OpenedGenerator { opened, checkpoint, recorded }) = &self.generator else {
            return Ok(None);
        };
        let own = opened.model.vocabulary();
        let of_teacher = self.teaching().map(|(teacher, _)| teacher.facts().vocabulary);
        let same_ids = own == vocabulary && of_teacher == Some(own) && {
            let read = tokens(self.splits.learned(), &checkpoint.tokenizer, own)?;
            let mut both = read.iter().zip(&learned.tokens);
            both.all(|(a, b)| a.input_ids == b.input_ids)
        };
        require_same_vocabulary(&recorded.source, (own, vocabulary), same_ids)?;
        Ok(Some(opened.clone()))
    }
}
