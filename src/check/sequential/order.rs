//! The order of the draws.

use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::confidence::MAX_EXAMPLES;

/// Hexadecimal digits of a seed: 52 bits, exact in every JSON reader.
const SEED_DIGITS: usize = 13;

/// The order in which `n` examples are drawn: each of 0 to n − 1 once.
///
/// Determined by `n` and `seed` on every platform: a Fisher–Yates shuffle from the last place down
/// (Durstenfeld 1964) with the 64-bit words of ChaCha8, stream 0, whose key is the seed in
/// little-endian bytes followed by zeros.
///
/// # Panics
/// For [`MAX_EXAMPLES`] examples or more.
pub fn draw_order(n: usize, seed: u64) -> Vec<u32> {
    assert!(n < MAX_EXAMPLES, "{n} examples are too many to draw from");
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(key);
    let mut order: Vec<u32> = (0..n as u32).collect();
    for last in (1..n).rev() {
        order.swap(last, below(last as u64 + 1, &mut random) as usize);
    }
    order
}

/// The seed for data with this SHA-256: its first thirteen hexadecimal digits. Seeds cannot be tried
/// until one passes.
///
/// # Panics
/// If `sha256` does not start with thirteen hexadecimal digits.
pub fn seed_of_data(sha256: &str) -> u64 {
    sha256
        .get(..SEED_DIGITS)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .expect("a SHA-256 in hexadecimal digits")
}

/// A uniform number from 0 to `bound` − 1 (Lemire 2019: multiply, and reject biased draws).
fn below(bound: u64, random: &mut ChaCha8Rng) -> u64 {
    let unfair = bound.wrapping_neg() % bound; // 2⁶⁴ mod bound
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= unfair {
            return (product >> 64) as u64;
        }
    }
}
