//! A model with known logits, whose batches end in random order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{bail, Result};
use candle_core::Tensor;

use crate::checkpoint::TokenizedExample;
use crate::inference::RunOptions;
use crate::interrupt::Interrupt;
use crate::model::{Model, ModelSizes, PackedBatch, Workspace};

/// K.
pub(super) const LABELS: usize = 3;
/// V.
pub(super) const VOCABULARY: usize = 1000;
/// The ids that make a sequence bad, below V and then beyond it.
pub(super) const NOT_FINITE: u32 = 990;
pub(super) const FAILS: u32 = 991;
pub(super) const PANICS: u32 = 987; // a multiple of seven: one token, and none beyond V
pub(super) const STOPS: u32 = 993;
pub(super) const BEYOND: u32 = 1001;

/// The logits of a sequence, which differ between sequences and models.
pub(super) fn row_of(model: u32, input_ids: &[u32]) -> [f32; LABELS] {
    let mixed = input_ids.iter().fold(model, |h, &id| (h ^ id).wrapping_mul(0x9E37_79B1));
    std::array::from_fn(|k| (mixed.rotate_left(7 * k as u32) % 100_003) as f32 * 0.25 - 9.0)
}

/// A model that returns [`row_of`], counts its calls and takes a short random time.
pub(super) struct Fake {
    name: u32,
    token_budget: usize,
    /// Number of runs of each sequence.
    pub(super) runs: Mutex<HashMap<Vec<u32>, usize>>,
    running: AtomicUsize,
    /// Maximum batches at a time.
    pub(super) most_at_once: AtomicUsize,
    interrupt: Interrupt,
}

impl Fake {
    pub(super) fn new(name: u32, options: &RunOptions) -> Self {
        Fake {
            name,
            token_budget: options.token_budget,
            runs: Mutex::default(),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
            interrupt: options.interrupt.clone(),
        }
    }

    /// The sequences that were run, sorted; panics if one was run twice.
    pub(super) fn ran(&self) -> Vec<Vec<u32>> {
        let runs = self.runs.lock().unwrap();
        assert!(runs.values().all(|&n| n == 1), "a sequence was run twice: {runs:?}");
        let mut sequences: Vec<_> = runs.keys().cloned().collect();
        sequences.sort();
        sequences
    }
}

impl Model for Fake {
    fn forward(&self, _: &PackedBatch) -> candle_core::Result<Tensor> {
        unreachable!("the pool asks for logits")
    }

    fn logits(&self, batch: &PackedBatch, _: &mut Workspace) -> Result<Vec<f32>> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(running, Ordering::SeqCst);
        assert!(batch.tokens() <= self.token_budget || batch.sequences() == 1);
        std::thread::sleep(Duration::from_micros(rand::random_range(0..150)));
        let mut logits = Vec::new();
        for ends in batch.offsets.windows(2) {
            let ids = &batch.input_ids[ends[0]..ends[1]];
            *self.runs.lock().unwrap().entry(ids.to_vec()).or_default() += 1;
            match ids[0] {
                NOT_FINITE => logits.extend([0.0, f32::NAN, 0.0]),
                FAILS => bail!("the device is gone"),
                PANICS => panic!("a mistake in a kernel"),
                STOPS => {
                    self.interrupt.set();
                    logits.extend(row_of(self.name, ids));
                }
                _ => logits.extend(row_of(self.name, ids)),
            }
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(logits)
    }

    fn sizes(&self) -> ModelSizes {
        let (labels, vocabulary) = (LABELS, VOCABULARY);
        let (positions, segments) = (usize::MAX, None);
        ModelSizes { labels, positions, vocabulary, segments, uses_token_types: true }
    }
}

/// A sequence of length 1 to 7 that depends on `first`.
pub(super) fn sequence(first: u32, truncated: bool) -> TokenizedExample {
    let input_ids: Vec<u32> = (0..1 + first % 7).map(|i| first + i * (first % 3)).collect();
    TokenizedExample { token_type_ids: vec![0; input_ids.len()], input_ids, truncated }
}

/// Sequences of which every fifth is truncated.
pub(super) fn sequences(first: &[u32]) -> Vec<TokenizedExample> {
    first.iter().enumerate().map(|(i, &id)| sequence(id, i % 5 == 0)).collect()
}
