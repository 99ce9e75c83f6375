//! Exact sums: each term is rounded once, addition is exact.

/// Binary digits after the point.
const FRACTION_BITS: i32 = 96;

/// Largest magnitude of one term: 2³⁰ of them stay inside 128 bits. The Brier score needs 2.
const LARGEST_TERM: f64 = 2.0;

/// An exact, order-free sum of fewer than 2³⁰ terms in [−2, 2].
///
/// Each term is rounded once, half to even, to a multiple of 2⁻⁹⁶ and added in a 128-bit integer.
/// Integer addition is associative, so the sum has the same bits for any order, threads and shards.
/// The rounding error of a sum of N terms is at most N·2⁻⁹⁷, under 2⁻⁶⁷.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedSum(i128);

impl FixedSum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Adds `term`, in [−2, 2].
    ///
    /// # Panics
    /// If `term` is NaN or outside [−2, 2], or the sum leaves (−2³¹, 2³¹), which fewer than 2³⁰ terms
    /// cannot.
    pub fn add(&mut self, term: f64) {
        assert!(term.abs() <= LARGEST_TERM, "a term of a fixed-point sum is {term}, beyond ±2");
        self.add_units(to_units(term));
    }

    /// Adds the square of `term`, in [−1, 1]. The exact square is rounded once; no f64 product is
    /// formed.
    ///
    /// # Panics
    /// If `term` is NaN or outside [−1, 1], or the sum leaves the range (see [`FixedSum::add`]).
    pub fn add_square(&mut self, term: f64) {
        assert!(term.abs() <= 1.0, "a difference of confidences is {term}, beyond ±1");
        let (_, mantissa, exponent) = decompose(term);
        let square = u128::from(mantissa) * u128::from(mantissa);
        self.add_units(scale(square, 2 * exponent + FRACTION_BITS));
    }

    /// Adds another part's sum: exact, so parts may be merged in any order.
    ///
    /// # Panics
    /// If the parts together hold 2³⁰ terms or more and the sum leaves the range.
    pub fn merge(&mut self, other: Self) {
        self.add_units(other.0);
    }

    /// `value` as a multiple of 2⁻⁹⁶, half to even; exact from 2⁻⁴⁴ up. Values too large saturate at
    /// the largest number, which no sum of fewer than 2³⁰ terms in [−1, 1] exceeds. NaN and negative
    /// values become zero.
    pub fn saturating_from(value: f64) -> Self {
        if value.is_nan() || value <= 0.0 {
            return Self::ZERO;
        }
        if value >= 2f64.powi(127 - FRACTION_BITS) {
            return Self(i128::MAX);
        }
        Self(to_units(value))
    }

    /// The sum after `count` more terms of `term` each; saturates.
    pub(crate) fn saturating_add_times(self, term: Self, count: usize) -> Self {
        Self(self.0.saturating_add(term.0.saturating_mul(count as i128)))
    }

    /// The sum, correctly rounded to f64 (half to even).
    pub fn to_f64(self) -> f64 {
        // The conversion rounds once; the power of two is exact, since no multiple of 2^-96 that
        // fits 128 bits is subnormal.
        self.0 as f64 * 2f64.powi(-FRACTION_BITS)
    }

    /// The sum in units of 2⁻⁹⁶.
    pub fn units(self) -> i128 {
        self.0
    }

    /// A sum from units of 2⁻⁹⁶.
    pub fn from_units(units: i128) -> Self {
        Self(units)
    }

    fn add_units(&mut self, units: i128) {
        self.0 = self.0.checked_add(units).expect("a sum of fewer than 2^30 terms in [-2, 2]");
    }
}

/// A finite value below 2³¹ in magnitude, in units of 2⁻⁹⁶.
fn to_units(value: f64) -> i128 {
    let (negative, mantissa, exponent) = decompose(value);
    let units = scale(u128::from(mantissa), exponent + FRACTION_BITS);
    if negative {
        -units
    } else {
        units
    }
}

/// A finite f64 as (negative, mantissa, exponent): value = ±mantissa·2^exponent, exactly.
fn decompose(value: f64) -> (bool, u64, i32) {
    let bits = value.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    match ((bits >> 52) & 0x7ff) as i32 {
        0 => (value.is_sign_negative(), fraction, -1074),
        biased => (value.is_sign_negative(), fraction | 1 << 52, biased - 1075),
    }
}

/// magnitude·2^power rounded to an integer, half to even.
///
/// The callers bound the value by 2³¹·2⁹⁶, so a shift to the left is exact.
fn scale(magnitude: u128, power: i32) -> i128 {
    let rounded = if power >= 0 {
        magnitude << power
    } else if power <= -127 {
        0 // the magnitude has at most 106 bits: below half a unit
    } else {
        let shift = power.unsigned_abs();
        let whole = magnitude >> shift;
        let rest = magnitude & ((1 << shift) - 1);
        let half = 1 << (shift - 1);
        let up = rest > half || (rest == half && whole & 1 == 1);
        whole + u128::from(up)
    };
    i128::try_from(rounded).expect("a value below 2^31")
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_bigint::BigInt;
    use proptest::prelude::*;

    fn sum_of(terms: &[f64]) -> FixedSum {
        let mut sum = FixedSum::ZERO;
        terms.iter().for_each(|&term| sum.add(term));
        sum
    }

    /// value·2^1200 as an integer, exactly: every f64 is a multiple of 2^-1074.
    fn exact(value: f64) -> BigInt {
        let (negative, mantissa, exponent) = decompose(value);
        let big = BigInt::from(mantissa) << (1200 + exponent) as u32;
        if negative {
            -big
        } else {
            big
        }
    }

    #[test]
    fn dyadic_terms_are_exact() {
        // 1/2 + 1/4 − 1/8 = 5/8, and (5/8)·2^96 = 5·2^93.
        let sum = sum_of(&[0.5, 0.25, -0.125]);
        assert_eq!(sum.units(), 5 << 93);
        assert_eq!(sum.to_f64(), 0.625);
    }

    #[test]
    fn rounds_half_to_even() {
        // Half a unit rounds to 0, one and a half to 2, just above half to 1.
        let unit = 2f64.powi(-96);
        assert_eq!(sum_of(&[0.5 * unit]).units(), 0);
        assert_eq!(sum_of(&[1.5 * unit]).units(), 2);
        assert_eq!(sum_of(&[-1.5 * unit]).units(), -2);
        assert_eq!(sum_of(&[0.5000000000000001 * unit]).units(), 1);
        assert_eq!(sum_of(&[f64::MIN_POSITIVE, 5e-324]).units(), 0);
    }

    #[test]
    fn cancellation_loses_nothing() {
        // In f64, 1 + 1e-20 - 1 is 0.
        let sum = sum_of(&[1.0, 1e-20, -1.0]);
        assert!((sum.to_f64() - 1e-20).abs() < 1e-29);
    }

    #[test]
    fn largest_sum_fits() {
        // 2^30 − 1 terms of 2 are 2^31 − 2.
        let mut sum = FixedSum::ZERO;
        let mut part = sum_of(&[2.0]);
        for bit in 0..30 {
            sum.merge(part);
            if bit < 29 {
                part.merge(part);
            }
        }
        assert_eq!(sum.to_f64(), 2_147_483_646.0);
    }

    #[test]
    #[should_panic(expected = "beyond ±2")]
    fn nan_is_refused() {
        sum_of(&[f64::NAN]);
    }

    #[test]
    fn large_values_saturate() {
        assert_eq!(FixedSum::saturating_from(f64::INFINITY).units(), i128::MAX);
        assert_eq!(FixedSum::saturating_from(2_147_483_648.0).units(), i128::MAX);
        assert_eq!(FixedSum::saturating_from(2_147_483_647.5).to_f64(), 2_147_483_647.5);
        assert_eq!(FixedSum::saturating_from(-1.0), FixedSum::ZERO);
    }

    proptest! {
        #[test]
        fn a_term_is_within_half_a_unit(term in -2.0f64..=2.0) {
            let error = BigInt::from(sum_of(&[term]).units()) * (BigInt::from(1) << 1104u32) - exact(term);
            prop_assert!(error.magnitude() <= &(num_bigint::BigUint::from(1u8) << 1103u32));
        }

        #[test]
        fn a_square_is_within_half_a_unit(term in -1.0f64..=1.0, shrink in 0i32..60) {
            let term = term * 2f64.powi(-shrink);
            let mut sum = FixedSum::ZERO;
            sum.add_square(term);
            let error = BigInt::from(sum.units()) * (BigInt::from(1) << 2304u32) - exact(term) * exact(term);
            prop_assert!(error.magnitude() <= &(num_bigint::BigUint::from(1u8) << 2303u32));
        }

        #[test]
        fn order_and_shards_do_not_matter(
            terms in prop::collection::vec(-2.0f64..=2.0, 0..60),
            cut in 0usize..60,
        ) {
            let whole = sum_of(&terms);
            let mut reversed = terms.clone();
            reversed.reverse();
            prop_assert_eq!(sum_of(&reversed), whole);
            let (left, right) = terms.split_at(cut.min(terms.len()));
            let mut merged = sum_of(right);
            merged.merge(sum_of(left));
            prop_assert_eq!(merged, whole);
        }
    }
}
