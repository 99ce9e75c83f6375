//! The batches in which a service runs a model, and their padding.

use std::fmt;

use anyhow::{bail, Result};
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::graph::{FixedSizes, InputKind};
use crate::checkpoint::TokenizedExample;
use crate::error::failure;

/// How a service runs an exported model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Texts of a batch, at least 1.
    pub batch: usize,
    /// What shorter texts are padded to.
    pub padding: Padding,
    /// The order in which texts come.
    pub order: Order,
}

/// The length that the texts of a batch are padded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// That of its longest text.
    Longest,
    /// This number of tokens.
    To(usize),
}

/// The order in which the texts of a split come to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As in the data set.
    DataSet,
    /// At random, by a seed.
    Shuffled(u64),
}

impl Served {
    /// One text at a time, without padding.
    pub const ALONE: Served = Served { batch: 1, padding: Padding::Longest, order: Order::DataSet };

    /// Whether the logits of a text depend on other texts.
    pub fn has_batch_mates(self) -> bool {
        self.batch > 1
    }

    /// As the graph's `fixed` sizes require it.
    ///
    /// # Errors
    /// Sizes of the settings that the graph does not have.
    pub(super) fn within(self, fixed: &FixedSizes, positions: usize, name: &str) -> Result<Served> {
        if let Some(batch) = fixed.batch.filter(|batch| *batch != self.batch) {
            let texts = if batch == 1 { "text" } else { "texts" };
            bail!(failure!(
                "`{name}` takes {batch} {texts} at a time, and is given {}",
                self.batch
            )
            .hint(format!(
                "pass --onnx-batch {batch} to audit it as it is, or export it with a dynamic \
                     batch size"
            )));
        }
        match (self.padding, fixed.length) {
            (Padding::To(asked), Some(length)) if asked != length => {
                bail!(failure!("`{name}` takes {length} tokens, and --onnx-pad asks for {asked}")
                    .hint("leave --onnx-pad out"))
            }
            (Padding::To(asked), _) if asked > positions => bail!(failure!(
                "--onnx-pad asks for {asked} tokens, and `{name}` has {positions} positions"
            )
            .hint(format!("use {positions} or less"))),
            (_, Some(length)) => Ok(Served { padding: Padding::To(length), ..self }),
            _ => Ok(self),
        }
    }

    /// The batches of a split of `n` texts, as their positions.
    pub fn batches(self, n: usize) -> Vec<Vec<u32>> {
        let mut order: Vec<u32> = (0..n as u32).collect();
        if let Order::Shuffled(seed) = self.order {
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        }
        order.chunks(self.batch).map(<[u32]>::to_vec).collect()
    }
}

impl fmt::Display for Served {
    /// Such as `32 texts at a time, padded to the longest`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.batch {
            1 => write!(f, "one text at a time")?,
            batch => write!(f, "{batch} texts at a time")?,
        }
        match (self.padding, self.batch) {
            (Padding::Longest, 1) => {}
            (Padding::Longest, _) => write!(f, ", padded to the longest")?,
            (Padding::To(length), _) => write!(f, ", padded to {length} tokens")?,
        }
        match self.order {
            Order::Shuffled(seed) if self.batch > 1 => write!(f, ", shuffled by seed {seed}"),
            _ => Ok(()),
        }
    }
}

/// B sequences of one length L, the shorter padded at their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaddedBatch {
    /// B.
    pub rows: usize,
    /// L.
    pub length: usize,
    /// Token ids (B, L).
    pub input_ids: Vec<i64>,
    /// 1 for tokens, 0 for padding (B, L).
    pub attention_mask: Vec<i64>,
    /// Segments, 0 for padding (B, L).
    pub token_type_ids: Vec<i64>,
}

impl PaddedBatch {
    /// Pads `examples` with the token `id`.
    ///
    /// # Panics
    /// For a text that is longer than the length asked for.
    pub fn new(examples: &[&TokenizedExample], padding: Padding, id: u32) -> Self {
        let longest = examples.iter().map(|example| example.len()).max().unwrap_or(0);
        let length = match padding {
            Padding::Longest => longest,
            Padding::To(length) => length,
        };
        let padded = |values: &[u32], with: u32| {
            let rest = std::iter::repeat_n(with, length - values.len());
            values.iter().copied().chain(rest).map(i64::from).collect::<Vec<_>>()
        };
        let all = |of: &dyn Fn(&TokenizedExample) -> Vec<i64>| {
            examples.iter().flat_map(|example| of(example)).collect()
        };
        PaddedBatch {
            rows: examples.len(),
            length,
            input_ids: all(&|example| padded(&example.input_ids, id)),
            attention_mask: all(&|example| padded(&vec![1; example.len()], 0)),
            token_type_ids: all(&|example| padded(&example.token_type_ids, 0)),
        }
    }

    /// What an input of this kind takes (B, L).
    pub(super) fn values(&self, kind: InputKind) -> &[i64] {
        match kind {
            InputKind::Ids => &self.input_ids,
            InputKind::Mask => &self.attention_mask,
            InputKind::TokenTypes => &self.token_type_ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(ids: &[u32]) -> TokenizedExample {
        let token_type_ids = ids.iter().map(|id| id % 2).collect();
        TokenizedExample { input_ids: ids.to_vec(), token_type_ids, truncated: false }
    }

    #[test]
    fn shorter_texts_are_padded_at_their_ends() {
        let (a, b) = (example(&[5, 6]), example(&[7, 8, 9]));
        let batch = PaddedBatch::new(&[&a, &b], Padding::Longest, 4);
        assert_eq!((batch.rows, batch.length), (2, 3));
        assert_eq!(batch.input_ids, [5, 6, 4, 7, 8, 9]);
        assert_eq!(batch.attention_mask, [1, 1, 0, 1, 1, 1]);
        assert_eq!(batch.token_type_ids, [1, 0, 0, 1, 0, 1]);
        let batch = PaddedBatch::new(&[&a], Padding::To(4), 0);
        assert_eq!((batch.length, &batch.input_ids[..]), (4, &[5, 6, 0, 0][..]));
    }

    #[test]
    fn every_text_is_in_one_batch() {
        let served = Served { batch: 3, ..Served::ALONE };
        assert_eq!(served.batches(7), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        let shuffled = Served { order: Order::Shuffled(1), ..served };
        assert_ne!(shuffled.batches(7), served.batches(7));
        assert_eq!(shuffled.batches(7), shuffled.batches(7));
        let mut all = shuffled.batches(7).concat();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        let other = Served { order: Order::Shuffled(2), ..served };
        assert_ne!(other.batches(7), shuffled.batches(7));
    }

    #[test]
    fn it_is_told_in_words() {
        let served = |batch, padding, order| Served { batch, padding, order }.to_string();
        assert_eq!(served(1, Padding::Longest, Order::DataSet), "one text at a time");
        assert_eq!(
            served(1, Padding::To(128), Order::Shuffled(1)),
            "one text at a time, padded to 128 tokens"
        );
        assert_eq!(
            served(32, Padding::Longest, Order::Shuffled(7)),
            "32 texts at a time, padded to the longest, shuffled by seed 7"
        );
    }
}
