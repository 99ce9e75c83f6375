//! The words of a text, each with its pieces, without special tokens.

use anyhow::{anyhow, bail, Result};
use tokenizers::{
    Model, ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType,
    PreTokenizedString, PreTokenizer,
};

use super::{limits, part_of, stages, TextTokenizer};
use crate::error::guarded;

/// A word as the tokenizer normalises it, and its pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordPieces {
    /// The word, such as `isn` of `Isn't`.
    pub text: String,
    /// The ids of its pieces, or of the unknown token.
    pub pieces: Vec<u32>,
}

impl TextTokenizer {
    /// Whether it cuts words into pieces as BERT does, so that a word's pieces do not depend on the
    /// words around it.
    pub fn is_word_piece(&self) -> bool {
        matches!(self.inner.get_model(), ModelWrapper::WordPiece(_))
    }

    /// The words of `text`. The names of special tokens in a text are ordinary words here.
    ///
    /// # Errors
    /// A text that the tokenizer cannot encode, or makes too long.
    pub fn words(&self, text: &str) -> Result<Vec<WordPieces>> {
        let words = guarded(
            || part_of(&self.name),
            || {
                stages::take_refusal();
                let words = self.normalised_words(text);
                if let Some(reason) = stages::take_refusal() {
                    bail!(limits::refused(&self.name, &reason));
                }
                words.map_err(|e| anyhow!("cannot tokenise: {e}"))
            },
        )?;
        words.into_iter().map(|text| self.pieces(text)).collect()
    }

    fn normalised_words(&self, text: &str) -> tokenizers::Result<Vec<String>> {
        let mut normalised = NormalizedString::from(text);
        if let Some(normaliser) = self.inner.get_normalizer() {
            normaliser.normalize(&mut normalised)?;
        }
        let mut parts = PreTokenizedString::from(normalised);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut parts)?;
        }
        let splits = parts.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, ..)| word.to_owned()).collect())
    }

    fn pieces(&self, text: String) -> Result<WordPieces> {
        let tokens = self.inner.get_model().tokenize(&text);
        let tokens =
            tokens.map_err(|e| anyhow!("{}: cannot tokenise: {e}", part_of(&self.name)))?;
        Ok(WordPieces { pieces: tokens.into_iter().map(|token| token.id).collect(), text })
    }

    /// The id of a token, special ones included.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id, unless it is a special one such as `[MASK]`.
    pub fn ordinary_token(&self, id: u32) -> Option<String> {
        let token = self.inner.id_to_token(id)?;
        let is_special = self.inner.get_added_vocabulary().is_special_token(&token);
        Some(token).filter(|_| !is_special)
    }

    /// Whether each id is of a token that is neither a special one nor put around every text, as
    /// `[CLS]` is, which a tokenizer.json need not mark as special (V).
    ///
    /// # Errors
    /// A tokenizer that cannot encode an empty text.
    pub fn ordinary_tokens(&self, vocabulary: usize) -> Result<Vec<bool>> {
        let around = self.encode("", None)?.input_ids;
        let is_ordinary = |id| self.ordinary_token(id).is_some() && !around.contains(&id);
        Ok((0..vocabulary as u32).map(is_ordinary).collect())
    }
}
