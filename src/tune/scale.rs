//! The units of a violation.

use crate::confidence::quantile;

/// Finished trials that the units are taken from; with fewer they are fixed.
const ENOUGH: usize = 5;

/// The units in which the excess of σ and the shortfall of the accuracy are added up.
///
/// They are the interquartile ranges of both figures over the finished trials, so that each counts by
/// how far the trials differ in it. With fewer than five trials, or where half of them are equal, the
/// unit of σ is κ and that of the accuracy one standard error of the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ViolationScale {
    pub sigma: f64,
    pub accuracy: f64,
    /// Whether σ's and the accuracy's unit are interquartile ranges.
    pub is_spread: [bool; 2],
}

impl ViolationScale {
    /// The units over the students with `figures`: σ as trained, accuracy and number of labelled
    /// examples.
    pub fn of(figures: &[(f64, f64, usize)], kappa: f64, reference: f64) -> Self {
        let range = |of: fn(&(f64, f64, usize)) -> f64| {
            let mut sorted: Vec<f64> = figures.iter().map(of).filter(|f| f.is_finite()).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let range =
                (sorted.len() >= ENOUGH).then(|| quantile(&sorted, 0.75) - quantile(&sorted, 0.25));
            range.filter(|range| *range > 0.0)
        };
        let labelled = figures.first().map_or(1, |(_, _, labelled)| *labelled).max(1) as f64;
        let share = reference.clamp(0.0, 1.0);
        let standard_error = (share * (1.0 - share) / labelled).sqrt().max(1.0 / labelled);
        // κ = 0 leaves σ as it is.
        let (sigma, accuracy) = (range(|f| f.0), range(|f| f.1));
        ViolationScale {
            sigma: sigma.unwrap_or(if kappa > 0.0 { kappa } else { 1.0 }),
            accuracy: accuracy.unwrap_or(standard_error),
            is_spread: [sigma, accuracy].map(|range| range.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_trials_count_by_kappa_and_by_one_standard_error() {
        let figures = [(0.2, 0.9, 100); 4];
        let scale = ViolationScale::of(&figures, 0.05, 0.8);
        assert_eq!((scale.sigma, scale.accuracy, scale.is_spread), (0.05, 0.04, [false; 2]));
        // All equal: there is no range.
        assert_eq!(ViolationScale::of(&[(0.2, 0.9, 100); 9], 0.05, 0.8), scale);
        // One of 100 is the least that an accuracy can differ by.
        let certain = ViolationScale::of(&figures, 0.0, 1.0);
        assert_eq!((certain.sigma, certain.accuracy), (1.0, 0.01));
    }

    #[test]
    fn five_trials_count_by_their_interquartile_ranges() {
        // Sorted σ 0.1, 0.2, 0.3, 0.4, 9: quartiles 0.2 and 0.4; accuracies likewise 0.6 and 0.8.
        let figures =
            [(0.3, 0.7, 100), (9.0, 0.0, 100), (0.2, 0.6, 100), (0.1, 0.8, 100), (0.4, 0.9, 100)];
        let scale = ViolationScale::of(&figures, 0.05, 0.8);
        assert!((scale.sigma - 0.2).abs() < 1e-12, "{scale:?}");
        assert!((scale.accuracy - 0.2).abs() < 1e-12, "{scale:?}");
        assert_eq!(scale.is_spread, [true; 2]);
    }
}
