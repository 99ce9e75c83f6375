//! Bootstrap interval of σ.

use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::{order_free_sum, quantile};
use super::{Defined, Statistic, Undefined};

/// Resamples of an interval.
pub const BOOTSTRAP_RESAMPLES: usize = 1_000;

/// Level of the interval.
pub const BOOTSTRAP_LEVEL: f64 = 0.95;

/// Maximum draws of one resample, which bounds the cost for large splits.
pub const BOOTSTRAP_DRAWS: usize = 1 << 16;

/// An interval at a stated level.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Level, such as 0.95.
    pub level: f64,
}

/// The 95 % percentile bootstrap interval of σ. Efron & Tibshirani 1993, chapter 13.
///
/// Each resample draws N of the N differences with replacement, from its own stream of ChaCha8. The
/// differences are sorted first, so neither threads nor the order of the examples change the result.
/// Above [`BOOTSTRAP_DRAWS`] examples each resample draws that many, m, and the deviation of its
/// mean square from the sample's is scaled by sqrt(m/N): the m-out-of-N bootstrap for a mean
/// (Bickel, Götze & van Zwet 1997). It differs from the full one by less than the noise of 1,000
/// resamples.
///
/// Undefined for no examples. One example gives an interval of width zero.
pub fn bootstrap_interval(
    differences: &[f64],
    statistic: Statistic,
    seed: u64,
) -> Defined<Interval> {
    if differences.is_empty() {
        return Err(Undefined::NoExamples);
    }
    let n = differences.len();
    let mut values = differences.to_vec();
    let origin = match statistic {
        Statistic::Rms => 0.0,
        Statistic::Centred | Statistic::Published => order_free_sum(&mut values) / n as f64,
    };
    values.sort_unstable_by(f64::total_cmp);
    values.iter_mut().for_each(|d| *d -= origin);
    let observed = values.iter().map(|d| d * d).sum::<f64>() / n as f64;
    let draws = n.min(BOOTSTRAP_DRAWS);
    let shrink = (draws as f64 / n as f64).sqrt();
    let mut sigmas: Vec<f64> = (0..BOOTSTRAP_RESAMPLES)
        .map(|resample| {
            let mut random = generator(seed, resample);
            let drawn = mean_square(&values, statistic, draws, &mut random);
            (observed + (drawn - observed) * shrink).max(0.0).sqrt()
        })
        .collect();
    sigmas.sort_unstable_by(f64::total_cmp);
    Ok(percentiles(&sigmas))
}

/// The percentile interval of ascending resampled values, at least one.
pub(super) fn percentiles(sorted: &[f64]) -> Interval {
    let tail = (1.0 - BOOTSTRAP_LEVEL) / 2.0;
    Interval {
        low: quantile(sorted, tail),
        high: quantile(sorted, 1.0 - tail),
        level: BOOTSTRAP_LEVEL,
    }
}

/// The generator of one resample, with its own stream.
pub(super) fn generator(seed: u64, resample: usize) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(resample as u64);
    random
}

/// A random position below `n`.
pub(super) fn position(random: &mut ChaCha8Rng, n: usize) -> usize {
    // Multiply and shift (Lemire 2019): the bias is below 2^-34 for N < 2^30.
    ((u128::from(random.next_u64()) * n as u128) >> 64) as usize
}

/// Mean square of `draws` random values, about zero or about their own mean.
fn mean_square(values: &[f64], statistic: Statistic, draws: usize, random: &mut ChaCha8Rng) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in 0..draws {
        let value = values[position(random, values.len())];
        sum += value;
        squares += value * value;
    }
    let n = draws as f64;
    match statistic {
        Statistic::Rms => squares / n,
        // The values are centred, so little is subtracted.
        Statistic::Centred | Statistic::Published => (squares / n - (sum / n).powi(2)).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(differences: &[f64], statistic: Statistic) -> Interval {
        bootstrap_interval(differences, statistic, 7).unwrap()
    }

    /// n values, evenly spread over [−1/2, 1/2] in a scattered order.
    fn scattered(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i * 7919 % n) as f64 / (n - 1) as f64 - 0.5).collect()
    }

    #[test]
    fn equal_differences_have_no_width() {
        let i = interval(&[0.25; 40], Statistic::Rms);
        assert_eq!((i.low, i.high, i.level), (0.25, 0.25, 0.95));
        let i = interval(&[0.25; 40], Statistic::Centred);
        assert_eq!((i.low, i.high), (0.0, 0.0));
    }

    #[test]
    fn two_differences_have_three_resamples() {
        // 0 and 0, 0 and 1 (twice as often), 1 and 1: each more often than 2.5 % of the time.
        let i = interval(&[0.0, 1.0], Statistic::Rms);
        assert_eq!((i.low, i.high), (0.0, 1.0));
        // About their own mean only 0 and 1 differ, by ½ each.
        let i = interval(&[0.0, 1.0], Statistic::Centred);
        assert_eq!((i.low, i.high), (0.0, 0.5));
    }

    #[test]
    fn the_same_seed_gives_the_same_bits_in_any_order() {
        let values = scattered(500);
        let mut reversed = values.clone();
        reversed.reverse();
        for statistic in Statistic::ALL {
            assert_eq!(interval(&values, statistic), interval(&reversed, statistic));
        }
        let other = bootstrap_interval(&values, Statistic::Rms, 8).unwrap();
        assert_ne!(other, interval(&values, Statistic::Rms));
    }

    #[test]
    fn the_width_is_that_of_the_normal_approximation() {
        // Uniform on [−½, ½]: σ² = 1/12, Var d² = 1/80 − 1/144 = 1/180, so the standard error of σ
        // is sqrt(1/180/n)/(2σ) = 0.1291/sqrt(n), and the interval ±1.96 of it. The quantiles of
        // 1,000 resamples know the width to about 4 %; three times that is allowed.
        for n in [2_000, 100_000] {
            let i = interval(&scattered(n), Statistic::Rms);
            let expected = 2.0 * 1.96 * 0.1291 / (n as f64).sqrt();
            let width = i.high - i.low;
            assert!((width / expected - 1.0).abs() < 0.12, "n = {n}: {width} against {expected}");
            assert!(i.low < (1.0f64 / 12.0).sqrt() && (1.0f64 / 12.0).sqrt() < i.high);
            // About the mean the same, wherever the mean is.
            let moved: Vec<f64> = scattered(n).iter().map(|d| d + 0.3).collect();
            let centred = interval(&moved, Statistic::Centred);
            assert!((centred.low - i.low).abs() < 0.05 * width, "n = {n}: {centred:?} and {i:?}");
            assert!((centred.high - i.high).abs() < 0.05 * width, "n = {n}: {centred:?} and {i:?}");
        }
    }

    #[test]
    fn no_examples_have_no_interval() {
        let none = bootstrap_interval(&[], Statistic::Rms, 7);
        assert_eq!(none, Err(Undefined::NoExamples));
    }
}
