//! Quantiles of |d|, and the inputs with the largest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::quantile;
use super::{Defined, FixedSum, Undefined};

/// Distribution of |d|. Quantiles by linear interpolation (NumPy's default). All in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Mean of |d|.
    pub mean: f64,
    /// 50th percentile of |d|.
    pub median: f64,
    /// 90th percentile of |d|.
    pub p90: f64,
    /// 99th percentile of |d|.
    pub p99: f64,
    /// Largest |d|.
    pub max: f64,
}

/// The spread of |d| over `differences` (N), each in [−1, 1]. Undefined for no examples.
pub fn spread(differences: &[f64]) -> Defined<Spread> {
    if differences.is_empty() {
        return Err(Undefined::NoExamples);
    }
    let mut sum = FixedSum::ZERO;
    let mut sorted: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    sorted.iter().for_each(|&d| sum.add(d));
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(Spread {
        mean: sum.to_f64() / sorted.len() as f64,
        median: quantile(&sorted, 0.5),
        p90: quantile(&sorted, 0.9),
        p99: quantile(&sorted, 0.99),
        max: quantile(&sorted, 1.0),
    })
}

/// The positions of the `count` largest |d|, largest first, the lowest position first on ties.
pub fn worst(differences: &[f64], count: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| {
        differences[b].abs().total_cmp(&differences[a].abs()).then(a.cmp(&b))
    };
    let mut positions: Vec<usize> = (0..differences.len()).collect();
    if count < positions.len() {
        positions.select_nth_unstable_by(count, order);
        positions.truncate(count);
    }
    positions.sort_unstable_by(order);
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_worked_by_hand() {
        // |d| sorted: 0, 1/8, 1/4, 3/8, 1/2; positions 2, 3.6, 3.96.
        let s = spread(&[-0.5, 0.25, 0.0, -0.125, 0.375]).unwrap();
        assert_eq!((s.mean, s.median, s.max), (0.25, 0.25, 0.5));
        assert!((s.p90 - 0.45).abs() < 1e-15);
        assert!((s.p99 - 0.495).abs() < 1e-15);
        assert_eq!(spread(&[]), Err(Undefined::NoExamples));
    }

    #[test]
    fn worst_takes_the_lowest_position_on_ties() {
        let d = [0.1, -0.3, 0.3, 0.2, -0.2];
        assert_eq!(worst(&d, 3), [1, 2, 3]);
        assert_eq!(worst(&d, 0), [0usize; 0]);
        assert_eq!(worst(&d, 9), [1, 2, 3, 4, 0]);
    }
}
