//! New tensors that are drawn at random, for a student that does not have all of its base's.

use anyhow::Result;
use candle_core::{Device, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// Random initialisation of missing tensors.
#[derive(Debug, Clone)]
pub struct Draws {
    /// Seed; each tensor has its own RNG stream.
    pub seed: u64,
    /// Standard deviation of a matrix's elements, config.json's `initializer_range`; biases are 0
    /// and the gains of layer norms 1.
    pub deviation: f64,
    /// Prefixes of the names that may be drawn; an empty one matches every name.
    pub prefixes: Vec<String>,
}

impl Draws {
    /// A new tensor of that name and shape, initialised as in transformers' BERT.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor> {
        if dims.len() == 1 {
            let value = if name.ends_with("weight") { 1.0f32 } else { 0.0 };
            return Ok(Tensor::full(value, dims, &Device::Cpu)?);
        }
        let digest = Sha256::digest(name.as_bytes());
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(u64::from_le_bytes(digest[..8].try_into().expect("8 of 32 bytes")));
        let count: usize = dims.iter().product();
        let values: Vec<f32> =
            (0..count).map(|_| (normal(&mut random) * self.deviation) as f32).collect();
        Ok(Tensor::from_vec(values, dims, &Device::Cpu)?)
    }
}

/// A standard normal draw (Box–Muller, first coordinate).
fn normal(random: &mut impl RngExt) -> f64 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt(); // of (0, 1]
    radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
}
