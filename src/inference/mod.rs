//! 4. Examples to logits (N, K): every model of a run through one pool of workers.
//!
//! ```text
//! rows in order ─► window ─► tokens ─► distinct ─► batches ─► logits ─► entry ─► the caller
//! ```
//!
//! Examples are taken in windows. Within a window they are tokenised, those that are new are sorted
//! by length and packed under a token budget, and a worker takes the next batch of any model. While
//! the last batches of a window run, the next one is tokenised, so that no core waits. The windows
//! are handed on in order, whoever ended first; a row of the result has the same bits whatever the
//! windows, the batches, the budget and the number of workers were, because the model's rows do not
//! depend on their batch-mates.

mod plan; //     distinct sequences and batches of a window
mod pool; //     the workers, and the order in which windows are handed on
mod tokenize; // texts to token ids
mod window; //   a window on its way through the pool
#[cfg(test)]
mod tests; //    the pool with a model that cannot be wrong

use std::ops::ControlFlow;

use anyhow::Result;

pub use plan::batches;
pub use pool::run;
pub use tokenize::tokenize;

use crate::cache::{CacheEntry, CacheNote};
use crate::checkpoint::TextTokenizer;
use crate::checkpoint::TokenizedExample;
use crate::interrupt::Interrupt;
use crate::model::Model;
use crate::task::Example;

/// Raw scores of N examples over K labels, row-major (N, K).
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// The scores; row i is `values[i * labels..][..labels]`.
    pub values: Vec<f32>,
    /// K.
    pub labels: usize,
}

impl Logits {
    /// Row `i` (K).
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.labels..][..self.labels]
    }

    /// The rows `rows`, in that order.
    pub fn part(&self, rows: &[u32]) -> Logits {
        let values = rows.iter().flat_map(|&row| self.row(row as usize)).copied().collect();
        Logits { values, labels: self.labels }
    }
}

/// Where a lane's tokens come from.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Texts, tokenised as they are needed.
    Texts {
        /// The texts (N).
        examples: &'a [Example],
        /// What makes tokens of them.
        tokenizer: &'a TextTokenizer,
        /// Lanes of the same key share their tokens.
        key: &'a str,
    },
    /// Sequences that were tokenised before (N).
    Tokens(&'a [TokenizedExample]),
}

/// A logit that is NaN or infinite.
#[derive(Debug, thiserror::Error)]
#[error("{what}: the logits of example {index} hold {score}")]
pub struct NotFinite {
    /// Which model over what, such as `teacher on sst2/train`.
    pub what: String,
    /// The example, from 0.
    pub index: usize,
    /// NaN or an infinity.
    pub score: f32,
}

/// One model over one list of examples.
pub struct Lane<'a> {
    /// Names the lane in errors, such as `teacher on sst2/train`.
    pub what: &'a str,
    /// The model; `None` where the entry holds every row already.
    pub model: Option<&'a dyn Model>,
    /// Its tokens.
    pub input: Input<'a>,
    /// The rows that are known, and where new ones go, in the model's own label order.
    pub entry: &'a mut CacheEntry,
}

/// How many examples are taken at a time: `first`, then twice as many, up to `largest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Examples of the first window, at least 1.
    pub first: usize,
    /// Examples of a window at most.
    pub largest: usize,
}

impl Windows {
    /// For a run over everything: large, since a window's end costs half a batch, and small enough
    /// that a killed run loses seconds.
    pub const WHOLE: Windows = Windows { first: 2048, largest: 2048 };
    /// For a run that may stop early.
    pub const EARLY: Windows = Windows { first: 128, largest: 2048 };

    /// The examples of window `number`, counted from 0.
    pub fn size(&self, number: usize) -> usize {
        let doubled = u32::try_from(number).ok().and_then(|n| self.first.checked_shl(n));
        // A shift drops bits without a word once the first window's size leaves the word.
        doubled.filter(|n| n >> number == self.first).unwrap_or(self.largest).min(self.largest)
    }
}

/// How models are run; none of it changes a bit of a row.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Workers.
    pub threads: usize,
    /// Workers that run batches; the others only tokenise. As many as `threads` on CPUs, 1 for a
    /// GPU, which takes one batch at a time.
    pub batch_threads: usize,
    /// Most tokens of a batch; a longer sequence is a batch of its own.
    pub token_budget: usize,
    /// How many examples are taken at a time.
    pub windows: Windows,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
}

/// Hears of what happens meanwhile, from any worker.
pub trait Observer: Sync {
    /// `rows` rows of one lane are known, of `tokens` tokens that were run.
    fn rows_done(&self, _rows: usize, _tokens: usize) {}

    /// Something about the cache that the user may want to know.
    fn cache_note(&self, _note: &CacheNote) {}
}

/// An observer that does not listen.
pub struct Silent;

impl Observer for Silent {}

/// Runs `model` over tokenised `examples`, keeping the result in memory alone.
///
/// # Errors
/// As [`run`].
pub fn run_tokens(
    model: &dyn Model,
    examples: &[TokenizedExample],
    what: &str,
    options: &RunOptions,
) -> Result<Logits> {
    let labels = model.labels();
    let mut entry = CacheEntry::in_memory(examples.len(), labels);
    let rows: Vec<u32> = (0..examples.len() as u32).collect();
    let lane = Lane { what, model: Some(model), input: Input::Tokens(examples), entry: &mut entry };
    run(&mut [lane], &rows, options, &Silent, |_, _| Ok(ControlFlow::Continue(())))?;
    let row = |i: usize| entry.row(i).map(|(row, _)| row).unwrap_or_default();
    Ok(Logits { values: (0..examples.len()).flat_map(row).copied().collect(), labels })
}
