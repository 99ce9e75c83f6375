//! The predicate Σd² ≤ B.

use crate::confidence::{DifferenceSums, FixedSum, Statistic};

use super::Bound;

/// The result of a check. A failed check is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Σd² ≤ B: the student keeps its teacher's confidence.
    Preserved,
    /// Σd² > B.
    NotPreserved,
}

/// The confidence budget B of a set of examples.
///
/// Rounded half to even to the grid of the sums, multiples of 2⁻⁹⁶; every f64 from 2⁻⁴⁴ up lies on
/// it. A B of 2³¹ or more saturates: no sum of fewer than 2³⁰ squares exceeds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    value: f64,
    fixed: FixedSum,
}

impl Budget {
    /// The budget that `bound` grants to `n` examples.
    pub fn new(bound: &Bound, n: usize) -> Self {
        let value = bound.budget(n);
        Self { value, fixed: FixedSum::saturating_from(value) }
    }

    /// The budget for a σ over `of` of the `n` examples that the bound is for: κ²·`of`. The same as
    /// [`Budget::new`] for all.
    pub fn for_part(bound: &Bound, n: usize, of: usize) -> Self {
        match of == n {
            true => Self::new(bound, n),
            false => Self::new(&bound.spread_over(n), of),
        }
    }

    /// B = κ² times the number of examples.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Whether `spent` ≤ B, in integers. Verdict, early stopping, report and exit code all use it.
    pub fn allows(&self, spent: FixedSum) -> bool {
        spent <= self.fixed
    }

    /// The verdict for a whole set with the sum `spent`.
    pub fn verdict(&self, spent: FixedSum) -> Verdict {
        match self.allows(spent) {
            true => Verdict::Preserved,
            false => Verdict::NotPreserved,
        }
    }

    /// The verdict on the whole set, if it is certain from the examples so far, in any order.
    ///
    /// [`Verdict::NotPreserved`] is certain once spent > B, as the sum never falls. For the RMS,
    /// [`Verdict::Preserved`] is certain once spent + left·R² ≤ B, with `largest` = R. Never `None`
    /// for `left` = 0.
    ///
    /// (The centred sum falls by less than 2⁻⁶⁶, from rounding.)
    pub fn certain(
        &self,
        statistic: Statistic,
        sums: &DifferenceSums,
        left: usize,
        largest: f64,
    ) -> Option<Verdict> {
        let spent = sums.spent(statistic);
        if !self.allows(spent) || left == 0 {
            return Some(self.verdict(spent));
        }
        // Rounding to the grid is monotone, so every d² is at most this.
        let mut most = FixedSum::ZERO;
        most.add_square(largest);
        let at_worst = spent.saturating_add_times(most, left);
        (statistic == Statistic::Rms && self.allows(at_worst)).then_some(Verdict::Preserved)
    }

    /// spent / B; 1 is the limit. `None` for a budget of zero.
    pub fn share(&self, spent: FixedSum) -> Option<f64> {
        (self.value > 0.0).then(|| spent.to_f64() / self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::BoundPolicy;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    const RMS: Statistic = Statistic::Rms;

    fn bound(policy: BoundPolicy) -> Bound {
        Bound::new(policy, 0.0, 1.0).unwrap()
    }

    #[test]
    fn a_tie_is_preserved_and_any_more_is_not() {
        let bound = bound(BoundPolicy::Beta(0.125)); // B = 1/8 = 2·(1/4)²
        let check = |d: &[f64]| {
            let (budget, spent) = (Budget::new(&bound, d.len()), DifferenceSums::of(d).spent(RMS));
            (budget.verdict(spent), budget.share(spent))
        };
        assert_eq!(DifferenceSums::of(&[0.25, -0.25]).sigma_of(RMS), Some(0.25));
        assert_eq!(check(&[0.25, -0.25]), (Verdict::Preserved, Some(1.0)));
        assert_eq!(check(&[0.25, -0.25, 1e-14]).0, Verdict::NotPreserved);
        assert_eq!(check(&[0.25, -0.25, 1e-15]).0, Verdict::Preserved); // 1e-30 < 2^-97
    }

    #[test]
    fn a_budget_of_zero_allows_identity_only() {
        let budget = Budget::new(&bound(BoundPolicy::Kappa(0.0)), 3);
        assert_eq!(budget.verdict(FixedSum::ZERO), Verdict::Preserved);
        assert_eq!(budget.verdict(FixedSum::from_units(1)), Verdict::NotPreserved);
        assert_eq!(budget.share(FixedSum::ZERO), None);
    }

    #[test]
    fn a_huge_budget_saturates() {
        let budget = Budget::new(&bound(BoundPolicy::Kappa(1e200)), 1);
        assert!(budget.allows(FixedSum::from_units(i128::MAX)));
    }

    #[test]
    fn a_verdict_is_certain_as_early_as_it_can_be() {
        // B = 1, R = ½: 4 examples of ½ are just allowed.
        let budget = Budget::new(&bound(BoundPolicy::Beta(1.0)), 8);
        let certain = |statistic, d: &[f64], left| {
            budget.certain(statistic, &DifferenceSums::of(d), left, 0.5)
        };
        let pass = Some(Verdict::Preserved);
        assert_eq!(certain(Statistic::Rms, &[0.0; 3], 5), None);
        assert_eq!(certain(Statistic::Rms, &[0.0; 4], 4), pass);
        assert_eq!(certain(Statistic::Centred, &[0.0; 4], 4), None);
        assert_eq!(certain(Statistic::Centred, &[0.0; 8], 0), pass);
        assert_eq!(certain(Statistic::Rms, &[0.5; 4], 1), None);
        assert_eq!(certain(Statistic::Rms, &[0.5; 5], 3), Some(Verdict::NotPreserved));
    }

    /// The exact value of the statistic in units of 2^-192 times n, from d as integers of 2^-96.
    fn times_n(sums: &DifferenceSums, statistic: Statistic) -> BigInt {
        let squares = BigInt::from(sums.spent(Statistic::Rms).units());
        let sum = BigInt::from(sums.sum().units());
        let rms = (squares * BigInt::from(sums.n())) << 96u32;
        match statistic {
            Statistic::Rms => rms,
            Statistic::Centred | Statistic::Published => rms - &sum * &sum,
        }
    }

    proptest! {
        #[test]
        fn the_verdict_is_the_exact_comparison(
            d in prop::collection::vec(-0.5f64..=0.5, 1..40),
            nudge in -2i64..=2,
        ) {
            let sums = DifferenceSums::of(&d);
            for statistic in Statistic::ALL {
                // A budget within two bits of the spend, where rounding would show.
                let spent = sums.spent(statistic).to_f64();
                let beta = f64::from_bits((spent.to_bits() as i64 + nudge).max(0) as u64);
                let checked = Budget::new(&bound(BoundPolicy::Beta(beta)), d.len());
                let budget = FixedSum::saturating_from(beta).units();
                let right = (BigInt::from(budget) * BigInt::from(d.len())) << 96u32;
                let expected = times_n(&sums, statistic) <= right;
                let verdict = checked.verdict(sums.spent(statistic));
                prop_assert_eq!(verdict == Verdict::Preserved, expected);
            }
        }

        #[test]
        fn a_certain_verdict_is_the_verdict(
            d in prop::collection::vec(-0.5f64..=0.5, 1..40),
            kappa in 0.0f64..0.5,
        ) {
            let budget = Budget::new(&bound(BoundPolicy::Kappa(kappa)), d.len());
            for statistic in Statistic::ALL {
                let at_the_end = budget.verdict(DifferenceSums::of(&d).spent(statistic));
                for seen in 0..=d.len() {
                    let sums = DifferenceSums::of(&d[..seen]);
                    let certain = budget.certain(statistic, &sums, d.len() - seen, 0.5);
                    prop_assert!(certain.is_none_or(|verdict| verdict == at_the_end));
                }
            }
        }
    }
}
