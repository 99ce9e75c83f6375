//! The order of the draws.

use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::confidence::MAX_EXAMPLES;

/// Hexadecimal digits of a seed: 52 bits, which every reader of JSON holds exactly.
const SEED_DIGITS: usize = 13;

/// The order in which `n` examples are drawn: each of 0 to n − 1 once.
///
/// It is fixed by `n` and `seed` on every platform and for every version of the libraries below:
/// the 64-bit words are those of ChaCha with 8 rounds, a stream of zero and a key that is the seed
/// in little-endian bytes followed by zeros, and the shuffle is written out here (Fisher & Yates,
/// from the last place down; Durstenfeld 1964).
///
/// # Panics
///
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

/// The seed that belongs to data with this SHA-256, in hexadecimal digits: its first thirteen, so
/// that nobody can try seeds until one passes.
///
/// # Panics
///
/// If `sha256` does not start with thirteen hexadecimal digits.
pub fn seed_of_data(sha256: &str) -> u64 {
    sha256
        .get(..SEED_DIGITS)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .expect("a SHA-256 in hexadecimal digits")
}

/// A number from 0 to `bound` − 1, each as likely as the others (Lemire 2019: multiply, and draw
/// again in the few cases that would favour some numbers).
fn below(bound: u64, random: &mut ChaCha8Rng) -> u64 {
    let unfair = bound.wrapping_neg() % bound; // 2⁶⁴ mod bound
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        if product as u64 >= unfair {
            return (product >> 64) as u64;
        }
    }
}
