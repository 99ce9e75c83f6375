//! Examples to token ids.

use anyhow::{bail, Context, Result};

use super::Input;
use crate::checkpoint::TextTokenizer;
use crate::checkpoint::TokenizedExample;
use crate::error::failure;
use crate::task::Example;

/// Tokenises the `rows` of `examples`, in that order; every id must be below `vocabulary`, the
/// model's V.
///
/// # Errors
/// An id without an embedding in the model, a text without tokens, naming the example.
pub fn tokenize(
    tokenizer: &TextTokenizer,
    vocabulary: usize,
    examples: &[Example],
    rows: &[u32],
) -> Result<Vec<TokenizedExample>> {
    let input = Input::Texts { examples, tokenizer, key: "" };
    let checked = |&row: &u32| {
        let tokens = input.tokens(row)?;
        check(&tokens, vocabulary).with_context(|| format!("example {row}"))?;
        Ok(tokens)
    };
    rows.iter().map(checked).collect()
}

impl Input<'_> {
    /// The tokens of example `row`.
    pub(super) fn tokens(&self, row: u32) -> Result<TokenizedExample> {
        match self {
            Input::Tokens(all) => Ok(all[row as usize].clone()),
            Input::Texts { examples, tokenizer, .. } => {
                let example = &examples[row as usize];
                tokenizer
                    .encode(&example.text, example.pair.as_deref())
                    .with_context(|| format!("example {row}"))
            }
        }
    }

    /// Whether `other` has the same tokens.
    pub(super) fn is_shared_with(&self, other: &Input) -> bool {
        match (self, other) {
            (Input::Texts { key: a, .. }, Input::Texts { key: b, .. }) => a == b,
            _ => false,
        }
    }
}

/// Whether a model with `vocabulary` embeddings can run `tokens`.
pub(super) fn check(tokens: &TokenizedExample, vocabulary: usize) -> Result<()> {
    if tokens.is_empty() {
        bail!("the tokenizer gives no tokens for it, not even special ones");
    }
    match tokens.input_ids.iter().find(|&&id| id as usize >= vocabulary) {
        None => Ok(()),
        Some(id) => bail!(failure!(
            "the tokenizer gives the id {id}, and the model has {vocabulary} embeddings"
        )
        .hint(
            "the tokenizer's files and the weights are of different models; use those of one model",
        )),
    }
}
