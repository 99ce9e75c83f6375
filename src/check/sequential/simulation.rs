//! Error rates of the verdict at the threshold and just beyond it, where they are largest.

use rand_chacha::rand_core::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{Beta, ContinuousCDF};

use super::*;
use crate::check::{Bound, BoundPolicy};

/// Populations of each kind.
const POPULATIONS: u64 = 10_000;

/// Examples of each population.
const EXAMPLES: usize = 300;

/// Level of the lower limit of an error rate, one-sided.
const LEVEL: f64 = 0.95;

/// How the differences are distributed.
#[derive(Debug, Clone, Copy)]
enum DrawShape {
    /// Zero, or one other size.
    TwoPoint,
    /// Mostly near zero, with a Pareto tail up to R.
    HeavyTail,
}

/// The position of the threshold.
#[derive(Debug, Clone, Copy)]
enum Threshold {
    /// B = Σd²: preserved, and a failure is wrong.
    At,
    /// B is the largest number below Σd²: not preserved, and a pass is wrong.
    JustBeyond,
}

/// Differences in the order of the draws, and their budget.
struct Drawn {
    differences: Vec<f64>,
    budget: Budget,
    largest: f64,
    truth: Verdict,
}

/// A kind of population.
#[derive(Debug, Clone, Copy)]
struct Kind {
    shape: DrawShape,
    threshold: Threshold,
    /// R = 1/2: the larger of two confidences. R = 1: that of the teacher's class.
    largest: f64,
}

fn kinds() -> impl Iterator<Item = Kind> {
    [0.5, 1.0].into_iter().flat_map(|largest| {
        [DrawShape::TwoPoint, DrawShape::HeavyTail].into_iter().flat_map(move |shape| {
            [Threshold::At, Threshold::JustBeyond].map(|threshold| Kind {
                shape,
                threshold,
                largest,
            })
        })
    })
}

impl DrawShape {
    /// The sizes of the differences, in units of R.
    fn sizes(self, mut uniform: impl FnMut() -> f64) -> Vec<f64> {
        let (scale, share) = (uniform(), uniform().powi(2));
        let size = |i| match self {
            Self::TwoPoint if i == 0 || (i as f64) < share * EXAMPLES as f64 => scale,
            Self::TwoPoint => 0.0,
            // A tail index from 1/2 to 3/2.
            Self::HeavyTail => {
                (0.02 * scale * (1.0 - uniform()).powf(-1.0 / (0.5 + share))).min(1.0)
            }
        };
        (0..EXAMPLES).map(size).collect()
    }
}

impl Kind {
    /// The `seed`-th population of this kind, in a random order.
    fn population(self, seed: u64) -> Drawn {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let sizes = self.shape.sizes(|| (random.next_u64() >> 11) as f64 * 2f64.powi(-53));
        // Multiples of 2⁻²⁰, so that Σd² is exact in f64 and lies on the grid of the budget.
        let on_grid = |size: &f64| (size * self.largest * 2f64.powi(20)).round() * 2f64.powi(-20);
        let mut sizes: Vec<f64> = sizes.iter().map(on_grid).collect();
        // Never all zero, as no budget is below zero.
        sizes[0] = sizes[0].max(2f64.powi(-20));
        let spent = DifferenceSums::of(&sizes).spent(Statistic::Rms);
        let (beta, truth) = match self.threshold {
            Threshold::At => (spent.to_f64(), Verdict::Preserved),
            Threshold::JustBeyond => (spent.to_f64().next_down(), Verdict::NotPreserved),
        };
        let bound = Bound::new(BoundPolicy::Beta(beta), 0.0, 1.0).unwrap();
        let budget = Budget::new(&bound, EXAMPLES);
        assert_eq!(budget.verdict(spent), truth);
        let order = draw_order(EXAMPLES, seed);
        // The sign of a difference has no effect.
        let signed = |&i: &u32| if i % 3 == 0 { -sizes[i as usize] } else { sizes[i as usize] };
        let differences = order.iter().map(signed).collect();
        Drawn { differences, budget, largest: self.largest, truth }
    }
}

/// How many populations of a kind are `bad`.
fn count(kind: Kind, bad: impl Fn(&Drawn) -> bool) -> u64 {
    // The two R have their own populations: the same ones would only be scaled.
    let first = if kind.largest == 1.0 { POPULATIONS } else { 0 };
    (first..first + POPULATIONS).filter(|&seed| bad(&kind.population(seed))).count() as u64
}

/// Whether the test's verdict is wrong. An exact one never is.
fn is_wrong(drawn: &Drawn, delta: f64) -> bool {
    let mut test = SequentialTest::new(drawn.budget, EXAMPLES, drawn.largest, delta).unwrap();
    let decision = drawn.differences.iter().find_map(|&d| test.draw(d)).unwrap();
    let wrong = decision.verdict != drawn.truth;
    assert!(!wrong || decision.certainty == Certainty::Statistical);
    wrong
}

/// Whether the interval, taken as soon as there is a verdict, misses σ.
fn is_missed(drawn: &Drawn, delta: f64) -> bool {
    let mut test = SequentialTest::new(drawn.budget, EXAMPLES, drawn.largest, delta).unwrap();
    drawn.differences.iter().find_map(|&d| test.draw(d)).unwrap();
    let interval = test.interval();
    let sigma = DifferenceSums::of(&drawn.differences).sigma().unwrap();
    !(interval.low <= sigma && sigma <= interval.high)
}

/// The lower limit of the probability of what happened `count` times, at [`LEVEL`]. Clopper &
/// Pearson 1934.
fn lower_limit(count: u64) -> f64 {
    if count == 0 {
        return 0.0;
    }
    let beta = Beta::new(count as f64, (POPULATIONS - count + 1) as f64).unwrap();
    beta.inverse_cdf(1.0 - LEVEL)
}

#[test]
fn wrong_verdicts_are_as_rare_as_promised() {
    for delta in [0.05, 0.01] {
        for kind in kinds() {
            let wrong = count(kind, |drawn| is_wrong(drawn, delta));
            println!("{kind:?} at {delta}: {wrong} of {POPULATIONS} wrong");
            let limit = lower_limit(wrong);
            assert!(limit <= delta, "{kind:?} at {delta}: {wrong} wrong, so more than {limit:.4}");
        }
    }
}

#[test]
fn a_delta_ten_times_as_large_is_noticed() {
    let delta = 0.05;
    for kind in kinds() {
        let wrong = count(kind, |drawn| is_wrong(drawn, 10.0 * delta));
        println!("{kind:?} at ten times {delta}: {wrong} of {POPULATIONS} wrong");
        assert!(lower_limit(wrong) > delta, "{kind:?} at ten times {delta}: {wrong} wrong");
    }
}

#[test]
fn intervals_hold_sigma_as_often_as_promised() {
    for kind in kinds().filter(|kind| matches!(kind.threshold, Threshold::At)) {
        let missed = count(kind, |drawn| is_missed(drawn, 0.05));
        println!("{kind:?}: {missed} of {POPULATIONS} missed");
        assert!(lower_limit(missed) <= 0.05, "{kind:?}: {missed} missed");
    }
}

#[test]
fn the_limit_of_a_rate_is_the_exact_one() {
    // All of n: the limit solves pⁿ = 0.05. One of n: 1 − (1 − p)ⁿ = 0.05.
    let n = POPULATIONS as f64;
    assert!((lower_limit(POPULATIONS) - 0.05f64.powf(1.0 / n)).abs() < 1e-9);
    assert!((lower_limit(1) / (1.0 - 0.95f64.powf(1.0 / n)) - 1.0).abs() < 1e-3);
    assert_eq!(lower_limit(0), 0.0);
}
