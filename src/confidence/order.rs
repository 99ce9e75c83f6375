//! Sums and quantiles whose value does not depend on the order of their terms.

/// Sum of terms of any size, taken in ascending order with Neumaier's compensation.
///
/// For unbounded terms, such as divergences, which a [`super::FixedSum`] cannot hold. The terms are
/// sorted in place, so any order gives the same bits. Infinite if a term is.
pub(super) fn order_free_sum(terms: &mut [f64]) -> f64 {
    terms.sort_unstable_by(f64::total_cmp);
    let (mut sum, mut lost) = (0.0f64, 0.0f64);
    for &term in terms.iter() {
        let next = sum + term;
        lost += if sum.abs() >= term.abs() { (sum - next) + term } else { (term - next) + sum };
        sum = next;
    }
    // The compensation of an infinite sum is NaN.
    if sum.is_finite() {
        sum + lost
    } else {
        sum
    }
}

/// The `q`-quantile, `q` in [0, 1], of ascending values (not empty) by linear interpolation, NumPy's
/// default.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    let (low, high, share) = (sorted[below], sorted[above], position - below as f64);
    // NumPy measures from the nearer end, so that both ends are exact.
    if share < 0.5 {
        low + (high - low) * share
    } else {
        high - (high - low) * (1.0 - share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sum_is_order_free_and_compensated() {
        let mut terms = [1e16, 1.0, -1e16, 3.0];
        assert_eq!(order_free_sum(&mut terms), 4.0);
        // Each 1 is lost on its own against 1e16.
        assert_eq!(order_free_sum(&mut [1e16, 1.0, -1e16, 1.0]), 2.0);
        assert_eq!(order_free_sum(&mut []), 0.0);
        assert_eq!(order_free_sum(&mut [f64::INFINITY, 1.0]), f64::INFINITY);
    }

    #[test]
    fn quantiles_are_numpys() {
        // numpy.quantile([1, 2, 4, 8], q): position 3q, so 0.5 -> 3, 0.9 -> 4 + 0.7·4 = 6.8.
        let values = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 3.0);
        assert!((quantile(&values, 0.9) - 6.8).abs() < 1e-12);
        assert_eq!(quantile(&values, 1.0), 8.0);
        assert_eq!(quantile(&values, 0.1), 1.3);
        assert_eq!(quantile(&[5.0], 0.25), 5.0);
        // numpy.quantile([low, high], q), where the other end would give another last digit.
        assert_eq!(quantile(&[0.1, 0.63], 0.6), 0.418);
        assert_eq!(quantile(&[0.57, 0.87], 0.2), 0.63);
        assert_eq!(quantile(&[0.22, 0.65], 0.5), 0.435);
    }
}
