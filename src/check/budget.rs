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

    /// B = κ²n.
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

/// A set of examples checked against a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Examples.
    pub n: usize,
    /// The statistic that was checked.
    pub statistic: Statistic,
    /// σ by that statistic.
    pub sigma: f64,
    /// κ for `n` examples, for display: the verdict compares `spent` with `budget`.
    pub kappa: f64,
    /// B for `n` examples.
    pub budget: Budget,
    /// Σd², or Σ(d − mean)².
    pub spent: FixedSum,
    /// spent ≤ budget.
    pub verdict: Verdict,
}

/// An empty split has no verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are no examples: an empty split has no verdict")]
pub struct NoExamples;

impl Check {
    /// Checks `sums` against `bound`.
    ///
    /// # Errors
    /// No examples.
    pub fn new(
        bound: &Bound,
        statistic: Statistic,
        sums: &DifferenceSums,
    ) -> Result<Self, NoExamples> {
        let n = sums.n();
        let sigma = sums.sigma_of(statistic).ok_or(NoExamples)?;
        let (budget, spent) = (Budget::new(bound, n), sums.spent(statistic));
        let verdict = budget.verdict(spent);
        Ok(Self { n, statistic, sigma, kappa: bound.kappa(n), budget, spent, verdict })
    }

    /// spent / budget; 1 is the limit. `None` for a budget of zero.
    pub fn spent_share(&self) -> Option<f64> {
        self.budget.share(self.spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::BoundPolicy;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn bound(policy: BoundPolicy) -> Bound {
        Bound::new(policy, 0.0, 1.0).unwrap()
    }

    #[test]
    fn a_tie_is_preserved_and_any_more_is_not() {
        let bound = bound(BoundPolicy::Beta(0.125)); // B = 1/8 = 2·(1/4)²
        let check = |d: &[f64]| Check::new(&bound, Statistic::Rms, &DifferenceSums::of(d)).unwrap();
        let tie = check(&[0.25, -0.25]);
        assert_eq!(
            (tie.verdict, tie.spent_share(), tie.sigma),
            (Verdict::Preserved, Some(1.0), 0.25)
        );
        assert_eq!(check(&[0.25, -0.25, 1e-14]).verdict, Verdict::NotPreserved);
        assert_eq!(check(&[0.25, -0.25, 1e-15]).verdict, Verdict::Preserved); // 1e-30 < 2^-97
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
    fn an_empty_split_has_no_verdict() {
        let none = Check::new(&Bound::default(), Statistic::Rms, &DifferenceSums::default());
        assert_eq!(none, Err(NoExamples));
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
            Statistic::Centred => rms - &sum * &sum,
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
                let check = Check::new(&bound(BoundPolicy::Beta(beta)), statistic, &sums).unwrap();
                let budget = FixedSum::saturating_from(beta).units();
                let right = (BigInt::from(budget) * BigInt::from(d.len())) << 96u32;
                let expected = times_n(&sums, statistic) <= right;
                prop_assert_eq!(check.verdict == Verdict::Preserved, expected);
                prop_assert_eq!(check.budget.allows(check.spent), expected);
            }
        }

        #[test]
        fn a_certain_verdict_is_the_verdict(
            d in prop::collection::vec(-0.5f64..=0.5, 1..40),
            kappa in 0.0f64..0.5,
        ) {
            let bound = bound(BoundPolicy::Kappa(kappa));
            for statistic in Statistic::ALL {
                let check = Check::new(&bound, statistic, &DifferenceSums::of(&d)).unwrap();
                for seen in 0..=d.len() {
                    let sums = DifferenceSums::of(&d[..seen]);
                    let certain = check.budget.certain(statistic, &sums, d.len() - seen, 0.5);
                    prop_assert!(certain.is_none_or(|verdict| verdict == check.verdict));
                }
            }
        }
    }
}
