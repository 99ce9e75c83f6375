//! A bet on the sum over the whole set, and what it has earned.
//!
//! Before a draw, with `left` examples not yet drawn and `remaining` = T − Σd² of the drawn ones,
//! the mean of what is left is at most m = remaining/left if Σd² ≤ T over the whole set. A ticket
//! that pays d²/m is then worth at most its price of one, on average, and a ticket that pays
//! (R² − d²)/(R² − m) is if Σd² ≥ T. Staking the share f of the wealth multiplies it by
//! 1 − f + f·(what the ticket pays): with d² in units of R² that is 1 + λ(d² − m) for λ = f/m, or
//! 1 − λ(d² − m) for λ = f/(1 − m). Whoever holds on to a false claim has a wealth that does not
//! grow on average, whatever the shares, as long as they are settled before the draw.
//!
//! No single share is best: a heavy tail ruins large ones, small ones waste plain evidence. So the
//! wealth starts divided among several, each held to the end. Their sum is a wealth like any other.
//! It follows the data without estimating anything, since a share that has earned more weighs more,
//! and it is behind the best of them only by what that one lacked at the start. And it falls as T
//! grows (for the first ticket; it rises for the second), because each payment does, whatever the
//! draws: a T that is refuted refutes all that is smaller (larger).

/// Shares that are staked on each draw. None exceeds 1/2, so no draw takes more than half. The
/// smallest are for large sets with a heavy tail, whose σ is close to κ.
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

/// The part of the wealth that is never staked, so that there always is some.
const KEPT: f64 = 1.0 / 1024.0;

/// What rounding could add to a wealth, relatively: below 2³⁰ draws, each rounded five times (the
/// ticket's two parts, their ratio, its sum with what was kept, the product), 5·2³⁰·2⁻⁵³ = 6e-7.
const ROUNDING: f64 = 1e-6;

/// What is claimed of Σd² over the whole set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SumClaim {
    /// It exceeds T.
    Above,
    /// It stays below T.
    Below,
}

/// What is known of the whole set beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Population {
    /// N, below 2³⁰.
    pub n: usize,
    /// R² in units of 2⁻⁹⁶, at most 2⁹⁶: no d² is larger.
    pub most: i128,
}

/// A gambler who stakes on one claim, with a wealth of 1 at the start.
#[derive(Debug, Clone)]
pub(super) struct Wager {
    claim: SumClaim,
    most: i128,
    /// Examples not drawn yet.
    left: i128,
    /// T less the squares drawn, in units of 2⁻⁹⁶.
    remaining: i128,
    /// What has become of each part of the wealth, the one that is never staked left out.
    parts: [f64; STAKES.len()],
}

impl SumClaim {
    /// How the wealth, less [`KEPT`], is divided among the [`STAKES`] at the start.
    fn division(self) -> [f64; STAKES.len()] {
        match self {
            // Large d² are rare and pay many times the price: any stake may turn out to be best.
            Self::Above => [(1.0 - KEPT) / STAKES.len() as f64; STAKES.len()],
            // A small d² never pays more than 1/(1 − m), so bold stakes are at little risk: half
            // of the wealth for the boldest, a quarter for the next …
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

    /// Stakes on the next draw, which turns out to be `square`, from 0 to R² in units of 2⁻⁹⁶.
    pub(super) fn draw(&mut self, square: i128) {
        let payment = self.payment(square);
        for (part, stake) in self.parts.iter_mut().zip(STAKES) {
            *part *= 1.0 - stake + stake * payment;
        }
        self.left -= 1;
        self.remaining -= square;
    }

    /// Whether the wealth has reached 1/δ: evidence, at level `delta`, that the claim is true.
    pub(super) fn refutes_at(&self, delta: f64) -> bool {
        self.wealth() * delta >= 1.0 + ROUNDING
    }

    /// The wealth, at least 2⁻¹⁰ and finite as long as it was below 1e100 before the last draw.
    pub(super) fn wealth(&self) -> f64 {
        KEPT + self.parts.iter().sum::<f64>()
    }

    /// What a ticket pays on a draw of `square`: from 0 to 2³⁰ where T is possible.
    ///
    /// The products stay below 2¹²⁶ and the differences are exact, so only three roundings remain.
    fn payment(&self, square: i128) -> f64 {
        let (pays, price) = match self.claim {
            SumClaim::Above => (square, self.remaining),
            SumClaim::Below => (self.most - square, self.left * self.most - self.remaining),
        };
        // At a price of zero what is left is known: all 0, or all R². Nothing is at stake.
        match price {
            ..=0 => 1.0,
            price => (pays * self.left) as f64 / price as f64,
        }
    }
}
