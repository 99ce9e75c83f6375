//! The interval: sums over the whole set that the draws do not refute.

use super::wager::{Population, SumClaim, Wager};

/// Bisections: an end is known to N·R²·2⁻⁵⁰ of Σd², so R²·2⁻⁵⁰ of σ².
const HALVINGS: usize = 50;

/// The least and the largest Σd² over the whole set that the draws `squares` do not refute at level
/// 1 − `delta`, in units of 2⁻⁹⁶.
///
/// Wealth is monotone in T (see [`super::wager`]), so bisection finds the ends. It errs to the wide
/// side: an end is a refuted T, or the limit of what is certain.
pub(super) fn totals(squares: &[i128], population: Population, delta: f64) -> (i128, i128) {
    let spent: i128 = squares.iter().sum();
    let left = (population.n - squares.len()) as i128;
    let certain = (spent, spent + left * population.most);
    let refuted = |claim, total| {
        let mut wager = Wager::new(claim, total, population);
        squares.iter().any(|&square| {
            wager.draw(square);
            wager.refutes_at(delta / 2.0)
        })
    };
    let low = last_refuted(certain.0, certain.1, |total| refuted(SumClaim::Above, total));
    let high = last_refuted(certain.1, certain.0, |total| refuted(SumClaim::Below, total));
    match (low, high) {
        (Some(low), Some(high)) if low <= high => (low, high),
        // Every sum is refuted, which happens with probability at most δ.
        _ => certain,
    }
}

/// The last `refuted` point on the way from `from`, which counts as refuted, to `to`. `None` if `to`
/// is refuted too.
fn last_refuted(from: i128, to: i128, refuted: impl Fn(i128) -> bool) -> Option<i128> {
    if refuted(to) {
        return None;
    }
    let (mut from, mut to) = (from, to);
    for _ in 0..HALVINGS {
        let middle = from + (to - from) / 2;
        if middle == from {
            break; // adjacent, as when all are drawn
        }
        match refuted(middle) {
            true => from = middle,
            false => to = middle,
        }
    }
    Some(from)
}
