//! A verdict on the whole set from its first few draws, right at any time with probability 1 − δ.
//!
//! ```text
//! draw_order ──► d² ──┬─► Budget::certain ─────────────────► exact ───────┬─► Decision
//!                     └─► two wagers against B: W ≥ 1/δ ───► statistical ─┘
//! ```
//!
//! The N differences are drawn without replacement in a random order. One wager bets that Σd² over
//! the whole set exceeds B, another that it does not. The wealth of the wrong one is a
//! supermartingale, so by Ville's inequality it ever reaches 1/δ with probability at most δ; the
//! first to reach it decides. Waudby-Smith & Ramdas, *Confidence sequences for sampling without
//! replacement* (2020, arXiv:2006.04347) and *Estimating means of bounded random variables by
//! betting* (2020, arXiv:2010.09686).
//!
//! For the RMS only: the centred statistic is not a sum over the examples, and callers must refuse
//! it.

mod interval; // the interval of σ
mod order; //    the order of the draws
mod wager; //    the wealth of one wager
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use order::{draw_order, seed_of_data};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::confidence::{DifferenceSums, FixedSum, Interval, Statistic, MAX_EXAMPLES};

use super::{Budget, Verdict};
use wager::{Population, SumClaim, Wager};

/// Smallest δ, so that 1/δ is far from the largest f64.
pub const SMALLEST_DELTA: f64 = 1e-100;

/// Largest δ: above it a coin is as good.
pub const LARGEST_DELTA: f64 = 0.5;

/// R for two labels, the fewest: 1 − 1/2.
const LEAST_R: f64 = 0.5;

/// A test of Σd² ≤ B that may stop at any draw.
#[derive(Debug, Clone)]
pub struct SequentialTest {
    budget: Budget,
    population: Population,
    /// R.
    largest: f64,
    delta: f64,
    sums: DifferenceSums,
    /// d² of the draws so far, in order, in units of 2⁻⁹⁶, for the interval.
    squares: Vec<i128>,
    not_preserved: Wager,
    preserved: Wager,
    decision: Option<Decision>,
}

/// The verdict on the whole set, and how it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Σd² ≤ B over the whole set, or not.
    pub verdict: Verdict,
    /// Whether it could be wrong.
    pub certainty: Certainty,
}

/// Whether a verdict could be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// No value of the examples not run could change it.
    Exact,
    /// Wrong with probability `sequential.delta` at most, over the order of the draws.
    Statistical,
}

/// Random draws and their estimate for the whole split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sequential {
    /// Largest probability of a wrong verdict.
    pub delta: f64,
    /// Examples drawn.
    pub draws: usize,
    /// Seed of the draw order; by default from the data's hash.
    pub seed: u64,
    /// Interval for σ of all `n` examples at the level 1 − δ.
    pub sigma_interval: Interval,
}

/// Why a test cannot be set up.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SequentialError {
    /// An empty split has no verdict.
    #[error("there are no examples: an empty split has no verdict")]
    NoExamples,
    /// Too many for exact sums.
    #[error("{0} examples are too many: at most {most} can be summed exactly", most = MAX_EXAMPLES - 1)]
    TooMany(usize),
    /// R outside [1/2, 1].
    #[error(
        "the largest difference is {0}: it is 1 - 1/K for K labels, or 1 for the teacher's class"
    )]
    Largest(f64),
    /// δ outside its range.
    #[error(
        "delta is {0}: it is the probability of a wrong verdict, from {SMALLEST_DELTA:e} to \
         {LARGEST_DELTA}"
    )]
    Delta(f64),
}

impl Certainty {
    /// `exact` or `statistical`: the name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Statistical => "statistical",
        }
    }
}

impl SequentialTest {
    /// A test of whether `n` examples stay within `budget`, before any draw.
    ///
    /// `largest` is R, in [1/2, 1]: [`crate::confidence::largest_difference`]. `delta`, from
    /// [`SMALLEST_DELTA`] to [`LARGEST_DELTA`], is the probability of a wrong verdict. Each wager
    /// uses all of it, because only one of the two verdicts is wrong.
    ///
    /// # Errors
    /// No examples, [`MAX_EXAMPLES`] of them or more, R or δ outside its range.
    pub fn new(
        budget: Budget,
        n: usize,
        largest: f64,
        delta: f64,
    ) -> Result<Self, SequentialError> {
        match n {
            0 => return Err(SequentialError::NoExamples),
            MAX_EXAMPLES.. => return Err(SequentialError::TooMany(n)),
            _ => {}
        }
        if !(LEAST_R..=1.0).contains(&largest) {
            return Err(SequentialError::Largest(largest));
        }
        if !(SMALLEST_DELTA..=LARGEST_DELTA).contains(&delta) {
            return Err(SequentialError::Delta(delta));
        }
        let population = Population { n, most: square_of(largest) };
        // The same number as in the predicate.
        let total = FixedSum::saturating_from(budget.value()).units();
        let mut test = Self {
            budget,
            population,
            largest,
            delta,
            sums: DifferenceSums::default(),
            squares: Vec::new(),
            not_preserved: Wager::new(SumClaim::Above, total, population),
            preserved: Wager::new(SumClaim::Below, total, population),
            decision: None,
        };
        // A bound of R or more is decided without a draw.
        test.decision = test.certain();
        Ok(test)
    }

    /// Adds the next draw's difference and returns the decision, if there is one. A decision is
    /// final; further draws only narrow the [`SequentialTest::interval`].
    ///
    /// The draws must come in an order that does not depend on the differences, such as
    /// [`draw_order`]. After the N-th there always is a decision. An exact decision takes precedence
    /// over a statistical one.
    ///
    /// # Panics
    /// If |`difference`| exceeds R or is NaN, or all N are drawn already.
    pub fn draw(&mut self, difference: f64) -> Option<Decision> {
        assert!(self.draws() < self.population.n, "all {} examples are drawn", self.population.n);
        assert!(
            difference.abs() <= self.largest,
            "a difference of confidences is {difference}, beyond ±{}",
            self.largest
        );
        let square = square_of(difference);
        self.sums.add(difference);
        self.squares.push(square);
        if self.decision.is_none() {
            self.decision = self.certain().or_else(|| self.statistical(square));
        }
        self.decision
    }

    /// Number of draws so far, at most N.
    pub fn draws(&self) -> usize {
        self.squares.len()
    }

    /// The decision, if there is one.
    pub fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// A confidence interval for σ of the whole set at level 1 − δ, from the draws so far.
    ///
    /// Valid at any stopping time: all of these intervals hold σ at once with probability 1 − δ. It
    /// holds every σ against which no wager has ever reached 2/δ, and is within what is certain:
    /// without draws it is [0, R], with all N the point σ.
    ///
    /// Each end has δ/2 where the verdict has δ, so the interval after a statistical verdict may
    /// still hold κ.
    ///
    /// Goes through all draws about a hundred times.
    pub fn interval(&self) -> Interval {
        let (low, high) = interval::totals(&self.squares, self.population, self.delta);
        let sigma =
            |total: i128| (FixedSum::from_units(total).to_f64() / self.population.n as f64).sqrt();
        Interval { low: sigma(low), high: sigma(high), level: 1.0 - self.delta }
    }

    /// The draws so far, in the order of `seed`, and their interval.
    pub fn summary(&self, seed: u64) -> Sequential {
        let (draws, sigma_interval) = (self.draws(), self.interval());
        Sequential { delta: self.delta, draws, seed, sigma_interval }
    }

    /// The exact decision, if the draws so far make one certain.
    fn certain(&self) -> Option<Decision> {
        let left = self.population.n - self.draws();
        let verdict = self.budget.certain(Statistic::Rms, &self.sums, left, self.largest)?;
        Some(Decision { verdict, certainty: Certainty::Exact })
    }

    /// The decision of the wager that has reached 1/δ, after a draw of `square`.
    ///
    /// Never both at once: a draw above the mean of the rest costs one of them, any other draw the
    /// other.
    fn statistical(&mut self, square: i128) -> Option<Decision> {
        let sides = [
            (&mut self.not_preserved, Verdict::NotPreserved),
            (&mut self.preserved, Verdict::Preserved),
        ];
        let refuted = sides.map(|(wager, verdict)| {
            wager.draw(square);
            wager.refutes_at(self.delta).then_some(verdict)
        });
        let verdict = refuted.into_iter().flatten().next()?;
        Some(Decision { verdict, certainty: Certainty::Statistical })
    }
}

/// d² as in the sums, in units of 2⁻⁹⁶; at most that of R, as rounding is monotone.
fn square_of(difference: f64) -> i128 {
    let mut square = FixedSum::ZERO;
    square.add_square(difference);
    square.units()
}
