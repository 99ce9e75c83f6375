//! 4. Examples to logits (N, K): every model of a run through one pool of workers.
//!
//! ```text
//! rows in order ─► window ─► tokens ─► distinct ─► batches ─► logits ─► entry ─► the caller
//! ```
//!
//! Examples are processed in windows. Within a window they are tokenised, new ones are sorted by
//! length and packed under a token budget, and workers take the next batch of any model. While the
//! last batches of a window run, the next one is tokenised. Windows are delivered in order. The bits
//! of a row do not depend on windows, batches, budget or number of workers, because a model's rows do
//! not depend on the others of their batch.

mod plan; //     distinct sequences and batches of a window
mod pool; //     the workers, and the delivery of windows
mod tokenize; // texts to token ids
mod window; //   one window in the pool
#[cfg(test)]
mod tests; //    the pool with a fake model

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

/// Logits of N examples over K labels, row-major (N, K).
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// The logits; row i is `values[i * labels..][..labels]`.
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

/// The input of a lane.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// Texts, tokenised as they are needed.
    Texts {
        /// The texts (N).
        examples: &'a [Example],
        /// The tokenizer.
        tokenizer: &'a TextTokenizer,
        /// Lanes of the same key share their tokens.
        key: &'a str,
    },
    /// Tokenised sequences (N).
    Tokens(&'a [TokenizedExample]),
}

/// A logit that is NaN or infinite.
#[derive(Debug, thiserror::Error)]
#[error("{what}: the logits of example {index} hold {score}")]
pub struct NotFinite {
    /// Model and split, such as `teacher on sst2/train`.
    pub what: String,
    /// The example, from 0.
    pub index: usize,
    /// NaN or an infinity.
    pub score: f32,
}

/// One model over one list of examples.
pub struct Lane<'a> {
    /// The lane's name in errors, such as `teacher on sst2/train`.
    pub what: &'a str,
    /// The model; `None` if the entry holds every row.
    pub model: Option<&'a dyn Model>,
    /// Its tokens.
    pub input: Input<'a>,
    /// The known rows, which receives new ones, in the model's own label order.
    pub entry: &'a mut CacheEntry,
}

/// Sizes of the windows: `first`, then doubled up to `largest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// Examples of the first window, at least 1.
    pub first: usize,
    /// Maximum examples of a window.
    pub largest: usize,
}

impl Windows {
    /// For a run over all examples: large, since the end of a window costs half a batch, but a killed
    /// run loses only seconds.
    pub const WHOLE: Windows = Windows { first: 2048, largest: 2048 };
    /// For a run that may stop early.
    pub const EARLY: Windows = Windows { first: 128, largest: 2048 };

    /// The examples of window `number`, counted from 0.
    pub fn size(&self, number: usize) -> usize {
        let doubled = u32::try_from(number).ok().and_then(|n| self.first.checked_shl(n));
        // A shift that overflows drops bits.
        doubled.filter(|n| n >> number == self.first).unwrap_or(self.largest).min(self.largest)
    }
}

/// Options of a run; they change no bit of a row.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Workers.
    pub threads: usize,
    /// Workers that run batches; the others only tokenise. `threads` on CPUs, 1 for a GPU.
    pub batch_threads: usize,
    /// Maximum tokens of a batch; a longer sequence is a batch of its own.
    pub token_budget: usize,
    /// Sizes of the windows.
    pub windows: Windows,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
}

/// Callbacks during a run, from any worker.
pub trait Observer: Sync {
    /// `rows` more rows of one lane are known, for which `tokens` tokens were run.
    fn rows_done(&self, _rows: usize, _tokens: usize) {}

    /// A warning about the cache.
    fn cache_note(&self, _note: &CacheNote) {}
}

/// An observer that does nothing.
pub struct Silent;

impl Observer for Silent {}

/// Runs `model` over tokenised `examples`, with the result in memory only.
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
