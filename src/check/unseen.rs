//! An upper limit for σ on unseen inputs, from examples that the student was not trained on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Level of the limit.
pub const UNSEEN_LEVEL: f64 = 0.95;

/// Shares staked on each example, and the part of the wealth that starts with each. Large stakes suit
/// differences that are nearly all small, small ones a heavy tail.
const STAKES: [(f64, f64); 8] = [
    (15.0 / 16.0, 0.20),
    (3.0 / 4.0, 0.25),
    (1.0 / 2.0, 0.25),
    (1.0 / 4.0, 0.15),
    (1.0 / 8.0, 0.08),
    (1.0 / 16.0, 0.04),
    (1.0 / 32.0, 0.02),
    (1.0 / 64.0, 0.01),
];

/// Bisections of [0, 1] for the limit's square: to 2⁻⁵⁰.
const HALVINGS: usize = 50;

/// A limit that holds with a stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpperLimit {
    /// The limit of σ about zero.
    pub sigma: f64,
    /// Probability that the limit holds, such as 0.95.
    pub level: f64,
}

/// An upper limit for σ about zero at level 1 − `delta`, on inputs of which `differences` (N), each
/// in [−R, R] for R = `largest`, are an independent sample. In (0, R]; `None` for no examples.
///
/// x = d²/R² lies in [0, 1], and σ² of the unseen inputs is R² times its mean. A bet that the mean is
/// below m pays (1 − x)/(1 − m) for each example: at most 1 on average if the mean is m or more. So
/// a final wealth of 1/δ refutes m with an error of at most δ (Markov), and every larger m too, as
/// each payment grows with m. The limit is the least refuted m. Waudby-Smith & Ramdas, *Estimating
/// means of bounded random variables by betting* (2020, arXiv:2010.09686), for a fixed N. The
/// examples are sorted, so that their order changes no bit.
///
/// Holds for any distribution of d, but not for examples that the student was trained on.
pub fn unseen_sigma(differences: &[f64], largest: f64, delta: f64) -> Option<f64> {
    if differences.is_empty() {
        return None;
    }
    let mut x: Vec<f64> = differences.iter().map(|d| (d / largest).powi(2).min(1.0)).collect();
    x.sort_unstable_by(f64::total_cmp);
    let (mut below, mut refuted) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = (below + refuted) / 2.0;
        match log_wealth(&x, middle) >= -delta.ln() {
            true => refuted = middle,
            false => below = middle,
        }
    }
    Some(largest * f64::sqrt(refuted))
}

/// The logarithm of the final wealth of a bet that the mean of `x` is below `m`, in (0, 1).
fn log_wealth(x: &[f64], m: f64) -> f64 {
    let of_stake = |(stake, part): (f64, f64)| {
        let earned: f64 = x.iter().map(|x| (stake * ((1.0 - x) / (1.0 - m) - 1.0)).ln_1p()).sum();
        part.ln() + earned
    };
    let logs = STAKES.map(of_stake);
    let most = logs.into_iter().fold(f64::NEG_INFINITY, f64::max);
    most + logs.iter().map(|log| (log - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn uniform(random: &mut ChaCha8Rng) -> f64 {
        (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn the_parts_of_the_wealth_are_one() {
        assert!((STAKES.iter().map(|(_, part)| part).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    /// Without a single difference the wealth at m is Σ_j w_j·(1 + s_j·m/(1−m))^N for stakes s_j and
    /// parts w_j; at N = 1000 it is 20 at m = 0.004267 (by bisection in Python), and the limit ½·√m.
    #[test]
    fn the_limit_of_a_perfect_sample_depends_on_its_size() {
        let limit = unseen_sigma(&vec![0.0; 1000], 0.5, 0.05).unwrap();
        assert!((limit - 0.5 * 0.004267f64.sqrt()).abs() < 1e-5, "{limit}");
        assert_eq!(unseen_sigma(&[], 0.5, 0.05), None);
    }

    /// 200 differences of −0.1, −0.05, … 0.2 in turn, σ 0.1110: by bisection of the same sum in Python.
    #[test]
    fn the_limit_of_a_sample_with_differences_is_that_of_python() {
        let d: Vec<f64> = (0..200).map(|i| 0.05 * (i % 7) as f64 - 0.1).collect();
        let limit = unseen_sigma(&d, 0.5, 0.05).unwrap();
        assert!((limit - 0.1328965).abs() < 1e-6, "{limit}");
    }

    #[test]
    fn more_examples_or_a_lower_level_lower_the_limit() {
        let d = |n: usize| -> Vec<f64> { (0..n).map(|i| 0.1 * (i % 3) as f64).collect() };
        let sigma = (0.01f64 * (0.0 + 1.0 + 4.0) / 3.0).sqrt();
        let limit = |n, delta| unseen_sigma(&d(n), 0.5, delta).unwrap();
        assert!(limit(300, 0.05) > limit(3_000, 0.05) && limit(3_000, 0.05) > sigma);
        assert!(limit(300, 0.01) > limit(300, 0.05) && limit(300, 0.05) > limit(300, 0.2));
        assert!(limit(30_000, 0.05) < 1.03 * sigma);
        assert!(limit(1, 0.05) <= 0.5);
    }

    #[test]
    fn the_order_of_the_examples_changes_no_bit() {
        let d: Vec<f64> = (0..500).map(|i| ((i * 37) % 101) as f64 / 250.0 - 0.2).collect();
        let mut turned = d.clone();
        turned.reverse();
        turned.rotate_left(77);
        assert_eq!(unseen_sigma(&d, 0.5, 0.05), unseen_sigma(&turned, 0.5, 0.05));
    }

    /// d is 0 but for one example in twenty, which is ½: the true σ is sqrt(0.0125) = 0.1118. Over
    /// 400 samples a limit at 95 % may be below it in 20 on average; it is conservative, and 34 is
    /// three standard errors (sqrt(400·0.05·0.95) = 4.4) above that.
    #[test]
    fn the_limit_holds_as_often_as_it_says() {
        let truth = 0.0125f64.sqrt();
        let missed = |seed, delta| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut rare = || if uniform(&mut random) < 0.05 { 0.5 } else { 0.0 };
            let limits = (0..400).map(|_| {
                let d: Vec<f64> = (0..300).map(|_| rare()).collect();
                unseen_sigma(&d, 0.5, delta).unwrap()
            });
            limits.filter(|limit| *limit < truth).count()
        };
        let rarely = missed(5, 0.05);
        assert!(rarely <= 34, "{rarely}");
        // The limit is of use: at δ = 0.5 it is sometimes missed.
        let sometimes = missed(6, 0.5);
        assert!(sometimes > 5 && sometimes <= 230, "{sometimes}");
    }
}
