//! Concatenated token sequences without padding.

use crate::checkpoint::TokenizedExample;

/// B concatenated sequences, the input of a [`super::Model`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedBatch {
    /// Token ids of all sequences (T).
    pub input_ids: Vec<u32>,
    /// Segments of all tokens (T).
    pub token_type_ids: Vec<u32>,
    /// Sequence b occupies the tokens `offsets[b]..offsets[b + 1]` (B + 1).
    pub offsets: Vec<usize>,
}

impl PackedBatch {
    /// Concatenates `examples` in order.
    pub fn new<'a>(examples: impl IntoIterator<Item = &'a TokenizedExample>) -> Self {
        let mut batch =
            PackedBatch { input_ids: Vec::new(), token_type_ids: Vec::new(), offsets: vec![0] };
        for example in examples {
            batch.input_ids.extend(&example.input_ids);
            batch.token_type_ids.extend(&example.token_type_ids);
            batch.offsets.push(batch.input_ids.len());
        }
        batch
    }

    /// B, the number of sequences.
    pub fn sequences(&self) -> usize {
        self.offsets.len() - 1
    }

    /// T, the number of tokens.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The sequences, in order.
    pub fn examples(&self) -> impl Iterator<Item = TokenizedExample> + '_ {
        self.offsets.windows(2).map(|w| TokenizedExample {
            input_ids: self.input_ids[w[0]..w[1]].to_vec(),
            token_type_ids: self.token_type_ids[w[0]..w[1]].to_vec(),
            truncated: false,
        })
    }

    /// Position of each token in its sequence, counted from 0 (T).
    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.offsets.windows(2).flat_map(|w| 0..(w[1] - w[0]) as u32)
    }

    /// The first token of each sequence, as a row of the packed matrix (B).
    pub fn first_tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.offsets[..self.sequences()].iter().map(|&o| o as u32)
    }
}
