//! A test of whether a student is as accurate as its reference, over the same examples.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// Bisections of an interval of at most 2: to the last bits of a double.
const HALVINGS: usize = 60;

/// What a test says about an accuracy that may be at most a margin below its reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NonInferiority {
    /// The loss is shown to be smaller than the margin.
    NonInferior,
    /// Neither is shown.
    Undecided,
    /// The loss is shown to be larger than the margin.
    Inferior,
}

impl NonInferiority {
    /// The word of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            NonInferiority::NonInferior => "non-inferior",
            NonInferiority::Undecided => "undecided",
            NonInferiority::Inferior => "inferior",
        }
    }
}

/// The difference of an accuracy from its reference over the same examples, with limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccuracyTest {
    /// Accuracy less the reference, in [−1, 1].
    pub difference: f64,
    /// Lower limit of the difference at level 1 − `level`, one-sided.
    pub lower: f64,
    /// Upper limit, likewise.
    pub upper: f64,
    /// Probability, by the normal approximation, that each limit is wrong, such as 0.05.
    pub level: f64,
    /// `non-inferior` if `lower` is above −ε, `inferior` if `upper` is below −ε.
    pub outcome: NonInferiority,
}

impl AccuracyTest {
    /// Tests the mean of `differences` (N), each in [`least`, `most`], against −`margin` at `level`.
    /// `None` for no examples.
    ///
    /// A difference is 1 or 0, as the student is right or not, less the reference on the same example:
    /// 1 or 0 of one model, the share of several models that are right, or a number. The limits invert
    /// the score test: the mean's distance from a value m, over its standard error under the likeliest
    /// distribution with mean m of the values that occur and the two ends. For a reference that is one
    /// model this is the interval of Tango 1998, *Equivalence test and confidence interval for the
    /// difference in proportions for the paired-sample design* (Statistics in Medicine 17); for a
    /// number, that of Wilson 1927. Unlike a Wald interval it has a width without any difference.
    ///
    /// # Panics
    /// If `level` is not in (0, 1).
    pub fn new(differences: &[f64], ends: [f64; 2], margin: f64, level: f64) -> Option<Self> {
        let counts = ValueCounts::new(differences, ends)?;
        let quantile = Normal::standard().inverse_cdf(1.0 - level);
        let (lower, upper) = (counts.mean_with_score(quantile), counts.mean_with_score(-quantile));
        let outcome = match (lower > -margin, upper < -margin) {
            (true, _) => NonInferiority::NonInferior,
            (_, true) => NonInferiority::Inferior,
            _ => NonInferiority::Undecided,
        };
        Some(AccuracyTest { difference: counts.mean, lower, upper, level, outcome })
    }
}

/// The differences by value, so that their order changes no bit.
struct ValueCounts {
    /// Ascending, each with its count.
    values: Vec<(f64, f64)>,
    n: f64,
    mean: f64,
    least: f64,
    most: f64,
}

impl ValueCounts {
    fn new(differences: &[f64], [least, most]: [f64; 2]) -> Option<Self> {
        let mut sorted: Vec<f64> = differences.iter().map(|d| d.clamp(least, most)).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let values: Vec<(f64, f64)> =
            sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f64)).collect();
        let n = sorted.len() as f64;
        let mean = values.iter().map(|(value, count)| value * count).sum::<f64>() / n;
        (!sorted.is_empty()).then_some(ValueCounts { values, n, mean, least, most })
    }

    /// The mean m whose [`Self::score`], which falls with m, is `score`.
    fn mean_with_score(&self, score: f64) -> f64 {
        halve((self.least, self.most), |m| self.score(m) > score)
    }

    /// The distance of the mean from `m`, in standard errors under the likeliest distribution with
    /// mean `m`. That has p = n_v / (n·(1 + λ(v − m))) at each value v; what is missing to 1 is at the
    /// end on the other side of `m`, if no example is there.
    fn score(&self, m: f64) -> f64 {
        let offsets: Vec<(f64, f64)> =
            self.values.iter().map(|&(v, count)| (v - m, count)).collect();
        let share = |lambda: f64, (u, count): (f64, f64)| count / (self.n * (1.0 + lambda * u));
        let ends = (-1.0 / (self.most - m), -1.0 / (self.least - m));
        let lambda = halve(ends, |lambda| {
            offsets.iter().map(|&at| share(lambda, at) * at.0).sum::<f64>() > 0.0
        });
        let at_end = if lambda > 0.0 { self.least - m } else { self.most - m };
        let shares = offsets.iter().map(|&at| (at.0, share(lambda, at)));
        let (mass, square) =
            shares.fold((0.0, 0.0), |(mass, square), (u, p)| (mass + p, square + p * u * u));
        let variance = square + (1.0 - mass).max(0.0) * at_end * at_end;
        match variance > 0.0 {
            true => (self.mean - m) / (variance / self.n).sqrt(),
            false => 0.0,
        }
    }
}

/// The point of (low, high) from which `below` is false.
fn halve((mut low, mut high): (f64, f64), below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..HALVINGS {
        let middle = low + (high - low) / 2.0;
        match below(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    low + (high - low) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `counts` of each of `values`.
    fn of(values: &[f64], counts: &[usize]) -> Vec<f64> {
        let each = values.iter().zip(counts);
        each.flat_map(|(&value, &count)| std::iter::repeat_n(value, count)).collect()
    }

    /// A student that alone is right `won` times, and alone wrong `lost` times, of `n`.
    fn paired(won: usize, lost: usize, n: usize) -> Vec<f64> {
        of(&[1.0, -1.0, 0.0], &[won, lost, n - won - lost])
    }

    fn test(differences: &[f64], margin: f64) -> AccuracyTest {
        AccuracyTest::new(differences, [-1.0, 1.0], margin, 0.05).unwrap()
    }

    fn has_limits(test: AccuracyTest, lower: f64, upper: f64) {
        assert!((test.lower - lower).abs() < 1e-8, "{test:?}");
        assert!((test.upper - upper).abs() < 1e-8, "{test:?}");
    }

    #[test]
    fn the_limits_for_one_reference_are_tango_s() {
        // Tango's closed form in Python, one-sided level 0.05, bisected.
        for (won, lost, n, lower, upper) in [
            (12, 2, 100, 0.0429569402, 0.1670912159),
            (2, 12, 100, -0.1670912159, -0.0429569402),
            (9, 7, 204, -0.0240576813, 0.0447017627),
            (0, 1, 44, -0.0956624264, 0.0365169384),
            (5, 0, 30, 0.0701549739, 0.3049204998),
            (0, 0, 204, -0.0130888771, 0.0130888771),
        ] {
            let test = test(&paired(won, lost, n), 0.01);
            assert!((test.difference - (won as f64 - lost as f64) / n as f64).abs() < 1e-15);
            has_limits(test, lower, upper);
        }
    }

    #[test]
    fn a_reference_of_several_models_has_differences_of_shares() {
        // The likeliest distribution maximised by golden section in Python.
        let third = 1.0 / 3.0;
        let values = [-1.0, -2.0 * third, -third, 0.0, third, 2.0 * third, 1.0];
        let test = test(&of(&values, &[4, 3, 6, 170, 9, 5, 7]), 0.01);
        assert!((test.lower - -0.00693669).abs() < 1e-7, "{test:?}");
        assert!((test.upper - 0.06093796).abs() < 1e-7, "{test:?}");
        assert_eq!(test.outcome, NonInferiority::NonInferior);
    }

    #[test]
    fn the_limits_for_a_number_are_wilson_s() {
        // 160 of 204 right, against 0.8.
        let differences = of(&[0.2, -0.8], &[160, 44]);
        let test = AccuracyTest::new(&differences, [-0.8, 0.2], 0.01, 0.05).unwrap();
        has_limits(test, -0.0666097146, 0.0277944708);
    }

    #[test]
    fn a_loss_is_small_or_large_only_where_the_limits_say_so() {
        let outcome = |won, lost, margin| test(&paired(won, lost, 204), margin).outcome;
        assert_eq!(outcome(9, 7, 0.01), NonInferiority::Undecided);
        assert_eq!(outcome(9, 7, 0.0241), NonInferiority::NonInferior);
        assert_eq!(outcome(9, 7, 0.0240), NonInferiority::Undecided);
        assert_eq!(outcome(2, 22, 0.01), NonInferiority::Inferior);
        // The same answers on 204 examples do not show that a loss of 0.01 is excluded.
        assert_eq!(outcome(0, 0, 0.01), NonInferiority::Undecided);
        assert_eq!(outcome(0, 0, 0.02), NonInferiority::NonInferior);
    }

    #[test]
    fn the_order_of_the_examples_changes_no_bit() {
        let mut differences = of(&[-1.0, -0.5, 0.0, 0.5, 1.0], &[3, 9, 50, 11, 2]);
        let one = test(&differences, 0.01);
        differences.reverse();
        assert_eq!(test(&differences, 0.01), one);
        assert!(AccuracyTest::new(&[], [-1.0, 1.0], 0.01, 0.05).is_none());
    }

    #[test]
    fn a_student_that_alone_is_always_right_or_wrong_has_limits_at_the_ends() {
        let (best, worst) = (test(&[1.0; 9], 0.01), test(&[-1.0; 9], 0.01));
        assert!((best.upper - 1.0).abs() < 1e-9 && best.lower > 0.5, "{best:?}");
        assert!((worst.lower + 1.0).abs() < 1e-9 && worst.upper < -0.5, "{worst:?}");
        assert_eq!(worst.outcome, NonInferiority::Inferior);
    }
}
