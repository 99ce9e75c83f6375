//! n, Σd and Σd², and σ from them.

use num_bigint::BigInt;

use super::{FixedSum, Statistic};

/// Exact sums over confidence differences, from which σ is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DifferenceSums {
    n: usize,
    sum: FixedSum,
    squares: FixedSum,
}

impl DifferenceSums {
    /// The sums over all of `differences`, each in [−1, 1].
    pub fn of(differences: &[f64]) -> Self {
        let mut sums = Self::default();
        differences.iter().for_each(|&d| sums.add(d));
        sums
    }

    /// Adds one difference, in [−1, 1].
    ///
    /// # Panics
    /// If it is outside, or NaN (see [`FixedSum::add`]).
    pub fn add(&mut self, difference: f64) {
        self.n += 1;
        self.sum.add(difference);
        self.squares.add_square(difference);
    }

    /// Adds another part's sums, exactly.
    pub fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum.merge(other.sum);
        self.squares.merge(other.squares);
    }

    /// Number of examples.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Σd.
    pub fn sum(&self) -> FixedSum {
        self.sum
    }

    /// Mean of d, in [−1, 1]; positive if the student is less confident. `None` for no examples.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum.to_f64() / self.n as f64)
    }

    /// Root mean square of d about zero. In [0, 1 − 1/K], for the teacher's class in [0, 1].
    ///
    /// `None` for no examples. Our reading of Vengertsev & Sherman 2024 (arXiv:2401.11365): see
    /// docs/theory.md.
    pub fn sigma(&self) -> Option<f64> {
        self.sigma_of(Statistic::Rms)
    }

    /// Standard deviation of d about its mean (population), never above [`DifferenceSums::sigma`].
    ///
    /// `None` for no examples.
    pub fn sigma_centred(&self) -> Option<f64> {
        self.sigma_of(Statistic::Centred)
    }

    /// σ by the given statistic. `None` for no examples.
    pub fn sigma_of(&self, statistic: Statistic) -> Option<f64> {
        (self.n > 0).then(|| (self.spent(statistic).to_f64() / self.n as f64).sqrt())
    }

    /// The part of the confidence budget that is spent: Σd², or Σ(d − mean)² centred and published
    /// (for the latter these are the sums of [`super::PublishedDifferences`]).
    ///
    /// The centred sum is (n·Σd² − (Σd)²)/n in exact integers, rounded *up* to a multiple of 2⁻⁹⁶:
    /// it then exceeds a budget of such multiples exactly when the unrounded sum does. In [0, Σd²].
    /// Zero for no examples.
    pub fn spent(&self, statistic: Statistic) -> FixedSum {
        match statistic {
            Statistic::Rms => self.squares,
            Statistic::Centred | Statistic::Published => self.centred_squares(),
        }
    }

    fn centred_squares(&self) -> FixedSum {
        let sum = BigInt::from(self.sum.units());
        // In units of 2^-192: n·Σ(d − mean)² = n·Σd² − (Σd)².
        let times_n =
            ((BigInt::from(self.squares.units()) * BigInt::from(self.n)) << 96u32) - &sum * &sum;
        if self.n == 0 || times_n <= BigInt::ZERO {
            return FixedSum::ZERO;
        }
        let divisor = BigInt::from(self.n) << 96u32;
        let up = (times_n + &divisor - 1u8) / divisor;
        FixedSum::from_units(i128::try_from(up).expect("at most the sum of squares"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sigma_of_known_differences() {
        // d = 3/8, −1/8: Σd² = 10/64, σ = sqrt(5/64); mean 1/8, Σ(d−1/8)² = 2/16, centred 1/4.
        let sums = DifferenceSums::of(&[0.375, -0.125]);
        assert_eq!(sums.mean(), Some(0.125));
        assert_eq!(sums.spent(Statistic::Rms).to_f64(), 0.15625);
        assert_eq!(sums.sigma(), Some((5.0f64 / 64.0).sqrt()));
        assert_eq!(sums.spent(Statistic::Centred).to_f64(), 0.125);
        assert_eq!(sums.sigma_centred(), Some(0.25));
    }

    #[test]
    fn a_constant_shift_changes_the_rms_only() {
        let sums = DifferenceSums::of(&[0.25; 1000]);
        assert_eq!(sums.sigma(), Some(0.25));
        assert_eq!(sums.sigma_centred(), Some(0.0));
    }

    #[test]
    fn equal_differences_whose_squares_are_rounded_down_have_no_negative_spend() {
        for d in (1..100).map(|i| f64::from(i) / 100.0) {
            let sums = DifferenceSums::of(&[d; 1000]);
            assert!(sums.spent(Statistic::Centred) >= FixedSum::ZERO, "{d}");
            assert!(sums.sigma_centred().unwrap() < 1e-12, "{d}");
        }
    }

    #[test]
    fn small_deviations_survive_a_large_mean() {
        // d = 0.5 ± 2^-40: the squares agree to 24 digits, f64 would leave nothing of them.
        let e = 2f64.powi(-40);
        let sums = DifferenceSums::of(&[0.5 + e, 0.5 - e]);
        assert_eq!(sums.sigma_centred(), Some(e));
    }

    #[test]
    fn no_examples_have_no_sigma() {
        let sums = DifferenceSums::default();
        assert_eq!((sums.sigma(), sums.sigma_centred(), sums.mean()), (None, None, None));
        assert_eq!(sums.spent(Statistic::Centred), FixedSum::ZERO);
    }

    proptest! {
        #[test]
        fn merging_parts_equals_the_whole(
            d in prop::collection::vec(-1.0f64..=1.0, 1..50),
            cut in 0usize..50,
        ) {
            let (left, right) = d.split_at(cut.min(d.len()));
            let mut merged = DifferenceSums::of(right);
            merged.merge(&DifferenceSums::of(left));
            prop_assert_eq!(merged, DifferenceSums::of(&d));
        }

        #[test]
        fn centred_is_at_most_rms(d in prop::collection::vec(-1.0f64..=1.0, 1..50)) {
            let sums = DifferenceSums::of(&d);
            prop_assert!(sums.spent(Statistic::Centred) <= sums.spent(Statistic::Rms));
            prop_assert!(sums.sigma_centred() <= sums.sigma());
        }

        #[test]
        fn sigma_is_the_textbook_formula(d in prop::collection::vec(-1.0f64..=1.0, 1..50)) {
            let sums = DifferenceSums::of(&d);
            let n = d.len() as f64;
            let mean = d.iter().sum::<f64>() / n;
            let rms = (d.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
            let centred = (d.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
            prop_assert!((sums.mean().unwrap() - mean).abs() < 1e-14);
            prop_assert!((sums.sigma().unwrap() - rms).abs() < 1e-14);
            prop_assert!((sums.sigma_centred().unwrap() - centred).abs() < 1e-12);
        }
    }
}
