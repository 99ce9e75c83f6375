//! The budget spent along the data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::confidence::{DifferenceSums, Statistic};

use super::Budget;

/// Maximum number of points of a course.
pub const COURSE_POINTS: usize = 100;

/// A point of the budget's course.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CoursePoint {
    /// Examples seen, in data set order.
    pub examples: usize,
    /// Share of the whole set's budget that they have spent.
    pub spent_share: f64,
}

/// The course of the budget, in data set order.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// [`COURSE_POINTS`] evenly spaced points (N for fewer examples), the last at N. Empty for a
    /// budget of zero.
    pub points: Vec<CoursePoint>,
    /// Number of examples after which spent > B. `Some` exactly when the verdict on the whole set is
    /// "not preserved".
    pub exhausted_at: Option<usize>,
}

impl Course {
    /// The course of `differences` (N), each in [−1, 1] or `None` for an example that the statistic
    /// leaves out, against the budget of the whole set.
    pub fn new(differences: &[Option<f64>], statistic: Statistic, budget: &Budget) -> Self {
        let n = differences.len();
        let mut sums = DifferenceSums::default();
        let (mut points, mut exhausted_at) = (Vec::new(), None);
        for (before, difference) in differences.iter().enumerate() {
            difference.iter().for_each(|&d| sums.add(d));
            let (examples, spent) = (before + 1, sums.spent(statistic));
            exhausted_at = match budget.allows(spent) {
                // Only the rounding of a centred sum can make it fall again (by 2^-66).
                true => None,
                false => exhausted_at.or(Some(examples)),
            };
            if is_point(examples, n) {
                let share = budget.share(spent);
                points.extend(share.map(|spent_share| CoursePoint { examples, spent_share }));
            }
        }
        Self { points, exhausted_at }
    }
}

/// Whether `examples` of `n` is the first at or past one of the evenly spaced points.
fn is_point(examples: usize, n: usize) -> bool {
    let passed = |examples: usize| examples * COURSE_POINTS / n;
    passed(examples) > passed(examples - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Bound, BoundPolicy};
    use proptest::prelude::*;

    fn budget(beta: f64, n: usize) -> Budget {
        Budget::new(&Bound::new(BoundPolicy::Beta(beta), 0.0, 1.0).unwrap(), n)
    }

    #[test]
    fn each_example_is_a_point_of_a_short_course() {
        // Spends 1/16, 1/8, 3/16 of 1/8: at the limit after two, past it after three.
        let course = Course::new(&[Some(0.25); 3], Statistic::Rms, &budget(0.125, 3));
        let point = |examples, spent_share| CoursePoint { examples, spent_share };
        assert_eq!(course.points, [point(1, 0.5), point(2, 1.0), point(3, 1.5)]);
        assert_eq!(course.exhausted_at, Some(3));
    }

    #[test]
    fn a_long_course_has_a_hundred_points_and_ends_at_n() {
        for n in [100, 101, 250, 1_999] {
            let course = Course::new(&vec![Some(0.25); n], Statistic::Rms, &budget(n as f64, n));
            assert_eq!(course.points.len(), COURSE_POINTS);
            assert_eq!(course.points[99], CoursePoint { examples: n, spent_share: 0.0625 });
            assert_eq!(course.exhausted_at, None);
        }
    }

    #[test]
    fn an_example_that_is_left_out_spends_nothing_and_is_counted() {
        // About the mean of 1/4 and −1/4: 1/8 of 1/16.
        let differences = [None, Some(0.25), None, Some(-0.25)];
        let course = Course::new(&differences, Statistic::Published, &budget(0.0625, 2));
        let shares: Vec<_> = course.points.iter().map(|p| (p.examples, p.spent_share)).collect();
        assert_eq!(shares, [(1, 0.0), (2, 0.0), (3, 0.0), (4, 2.0)]);
        assert_eq!(course.exhausted_at, Some(4));
    }

    #[test]
    fn a_budget_of_zero_has_no_shares() {
        let course = Course::new(&[0.0, 0.5, 0.0].map(Some), Statistic::Rms, &budget(0.0, 3));
        assert_eq!((course.points.len(), course.exhausted_at), (0, Some(2)));
    }

    proptest! {
        #[test]
        fn exhausted_exactly_when_not_preserved(
            d in prop::collection::vec(-0.5f64..=0.5, 1..60),
            beta in 0.0f64..3.0,
        ) {
            let budget = budget(beta, d.len());
            let all: Vec<_> = d.iter().copied().map(Some).collect();
            for statistic in Statistic::ALL {
                let course = Course::new(&all, statistic, &budget);
                let spent = |m: usize| DifferenceSums::of(&d[..m]).spent(statistic);
                prop_assert_eq!(course.exhausted_at.is_some(), !budget.allows(spent(d.len())));
                if let Some(m) = course.exhausted_at {
                    prop_assert!(!budget.allows(spent(m)));
                    prop_assert!(budget.allows(spent(m - 1)));
                }
            }
        }
    }
}
