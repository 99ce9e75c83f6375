//! Examples to token ids.

use anyhow::{bail, Context, Result};

use super::Input;
use crate::checkpoint::TextTokenizer;
use crate::checkpoint::TokenizedExample;
use crate::error::failure;
use crate::model::ModelSizes;
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

/// Whether a model of these sizes can run `tokens`.
pub(super) fn check_sizes(tokens: &TokenizedExample, sizes: &ModelSizes) -> Result<()> {
    if tokens.len() > sizes.positions {
        bail!("it has {} tokens, and the model has {} positions", tokens.len(), sizes.positions);
    }
    let beyond = sizes.segments.and_then(|count| {
        let id = tokens.token_type_ids.iter().find(|&&id| id as usize >= count)?;
        Some((id, count))
    });
    if let Some((id, count)) = beyond {
        bail!(failure!("the tokenizer gives the segment {id}, and the model has {count} segments")
            .hint("use the tokenizer that the model was trained with"));
    }
    check(tokens, sizes.vocabulary)
}

/// Whether a model with `vocabulary` embeddings can run `tokens`.
fn check(tokens: &TokenizedExample, vocabulary: usize) -> Result<()> {
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
