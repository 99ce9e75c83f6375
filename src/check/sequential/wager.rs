//! A bet on the sum over the whole set, and its wealth.
//!
//! Before a draw, with `left` examples not yet drawn and `remaining` = T − Σd² of the drawn ones,
//! the mean of the rest is at most m = remaining/left if Σd² ≤ T over the whole set. A payment of
//! d²/m then has a mean of at most 1, and a payment of (R² − d²)/(R² − m) has if Σd² ≥ T. Staking
//! the share f of the wealth multiplies it by 1 − f + f·payment: with d² in units of R² that is
//! 1 + λ(d² − m) for λ = f/m, or 1 − λ(d² − m) for λ = f/(1 − m). The wealth of a false claim does
//! not grow on average, for any shares that are fixed before the draw.
//!
//! The best share depends on the data: a heavy tail needs small ones, plain evidence large ones. So
//! the wealth is divided among several at the start, and each part keeps its share. The wealth is
//! behind the best part only by the factor of the division. It is monotone in T, because each
//! payment is: falling for the claim above T, rising for the claim below T.

/// Shares staked on each draw. None exceeds 1/2, so no draw takes more than half. The smallest are
/// for large sets with a heavy tail, whose σ is close to κ.
const STAKES: [f64; 10] = [
    1.0 / 2.0,
    1.0 / 4.0,
    1.0 / 8.0,
    1.0 / 16.0,
    1.0 / 32.0,
    1.0 / 64.0,
    1.0 / 128.0,
    1.0 / 256.0,
    1.0 / 512.0,
    1.0 / 1024.0,
];

/// The part of the wealth that is never staked, so that it stays positive.
const KEPT: f64 = 1.0 / 1024.0;

/// Bound of the wealth's relative rounding error: fewer than 2³⁰ draws, each rounded five times (two
/// parts of the payment, their ratio, the sum, the product), 5·2³⁰·2⁻⁵³ = 6e-7.
const ROUNDING: f64 = 1e-6;

/// A claim about Σd² over the whole set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SumClaim {
    /// It exceeds T.
    Above,
    /// It stays below T.
    Below,
}

/// What is known about the whole set beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Population {
    /// N, below 2³⁰.
    pub n: usize,
    /// R² in units of 2⁻⁹⁶, at most 2⁹⁶: no d² is larger.
    pub most: i128,
}

/// A bet on one claim; its wealth is 1 at the start.
#[derive(Debug, Clone)]
pub(super) struct Wager {
    claim: SumClaim,
    most: i128,
    /// Examples not drawn yet.
    left: i128,
    /// T less the squares drawn, in units of 2⁻⁹⁶.
    remaining: i128,
    /// The parts of the wealth, without [`KEPT`].
    parts: [f64; STAKES.len()],
}

impl SumClaim {
    /// How the wealth, less [`KEPT`], is divided among the [`STAKES`] at the start.
    fn division(self) -> [f64; STAKES.len()] {
        match self {
            // Large d² are rare and pay much: any stake may turn out to be best.
            Self::Above => [(1.0 - KEPT) / STAKES.len() as f64; STAKES.len()],
            // A small d² pays at most 1/(1 − m), so large stakes have little risk: half of the
            // wealth for the largest, a quarter for the next …
            Self::Below => STAKES,
        }
    }
}

impl Wager {
    /// A wager on `claim` about T = `total`, in units of 2⁻⁹⁶, at least 0.
    pub(super) fn new(claim: SumClaim, total: i128, population: Population) -> Self {
        let Population { n, most } = population;
        Self { claim, most, left: n as i128, remaining: total, parts: claim.division() }
    }

    /// Updates the wealth by a draw of `square`, from 0 to R² in units of 2⁻⁹⁶.
    pub(super) fn draw(&mut self, square: i128) {
        let payment = self.payment(square);
        for (part, stake) in self.parts.iter_mut().zip(STAKES) {
            *part *= 1.0 - stake + stake * payment;
        }
        self.left -= 1;
        self.remaining -= square;
    }

    /// Whether the wealth has reached 1/δ: evidence for the claim at level `delta`.
    pub(super) fn refutes_at(&self, delta: f64) -> bool {
        self.wealth() * delta >= 1.0 + ROUNDING
    }

    /// The wealth, at least 2⁻¹⁰ and finite as long as it was below 1e100 before the last draw.
    pub(super) fn wealth(&self) -> f64 {
        KEPT + self.parts.iter().sum::<f64>()
    }

    /// The payment on a draw of `square`: from 0 to 2³⁰ where T is possible.
    ///
    /// The products stay below 2¹²⁶ and the differences are exact, so only three roundings remain.
    fn payment(&self, square: i128) -> f64 {
        let (pays, price) = match self.claim {
            SumClaim::Above => (square, self.remaining),
            SumClaim::Below => (self.most - square, self.left * self.most - self.remaining),
        };
        // At a price of zero the rest is known: all 0, or all R². Nothing is at stake.
        match price {
            ..=0 => 1.0,
            price => (pays * self.left) as f64 / price as f64,
        }
    }
}
