//! The random draws of a step: which tokens are masked, and the generator's tokens in their place.

use anyhow::Result;
use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::model::PackedBatch;

/// Makes the generator's draws others than those of dropout and of the order of examples, which have
/// the same seed and streams.
const SALT: u64 = 0x6d61_7465_2d6b_6400;

/// Words of the stream for the masks, and for each masked token: more than a vocabulary or a batch has.
const WORDS: u128 = 1 << 24;

/// The draws of one step, determined by the seed and the step's number.
pub(super) struct TokenDraws {
    random: ChaCha8Rng,
    /// The masked tokens, ascending, counted over the packed sequences (M). At least one, where any
    /// token may be masked.
    pub(super) places: Vec<u32>,
}

impl TokenDraws {
    /// Masks each token of `batch` that `is_ordinary` with probability `share`.
    pub(super) fn new(
        seed: u64,
        number: u64,
        batch: &PackedBatch,
        share: f64,
        is_ordinary: &[bool],
    ) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed ^ SALT);
        random.set_stream(number);
        let words = batch.input_ids.iter().enumerate().filter(|(_, id)| is_ordinary[**id as usize]);
        let words: Vec<u32> = words.map(|(token, _)| token as u32).collect();
        let mut places: Vec<u32> =
            words.iter().copied().filter(|_| uniform(&mut random) < share).collect();
        if places.is_empty() && !words.is_empty() {
            places.push(words[(uniform(&mut random) * words.len() as f64) as usize]);
        }
        TokenDraws { random, places }
    }

    /// A token for each row of `logits` (M, V), drawn from its softmax.
    pub(super) fn tokens(&self, logits: &[Vec<f32>]) -> Vec<u32> {
        let drawn = logits.par_iter().enumerate();
        drawn.map(|(row, logits)| token(logits, uniform(&mut self.of_row(row)))).collect()
    }

    /// Draws of the standard Gumbel distribution (M, V); the largest sum of one and a logit is a draw
    /// from the softmax.
    pub(super) fn gumbel(&self, (rows, width): (usize, usize)) -> Result<Tensor> {
        let mut noise = vec![0.0; rows * width];
        noise.par_chunks_mut(width).enumerate().for_each(|(row, noise)| {
            let mut random = self.of_row(row);
            let mut draw = || -(-uniform(&mut random).max(f64::MIN_POSITIVE).ln()).ln() as f32;
            noise.iter_mut().for_each(|value| *value = draw());
        });
        Ok(Tensor::from_vec(noise, (rows, width), &Device::Cpu)?)
    }

    /// The draws of a masked token, whatever those of the others.
    fn of_row(&self, row: usize) -> ChaCha8Rng {
        let mut random = self.random.clone();
        random.set_word_pos((row as u128 + 1) * WORDS);
        random
    }
}

/// The token of `logits` whose share of the softmax holds `draw`, in [0, 1).
fn token(logits: &[f32], draw: f64) -> u32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|z| f64::from(z - largest).exp()).collect();
    let mut left = draw * weights.iter().sum::<f64>();
    for (token, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return token as u32;
        }
    }
    logits.len() as u32 - 1 // rounding
}

/// A draw from [0, 1), of 2⁻³² steps.
fn uniform(random: &mut ChaCha8Rng) -> f64 {
    f64::from(random.next_u32()) / 2f64.powi(32)
}
