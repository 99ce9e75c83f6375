//! The bound κ = γ·sqrt(β / (N(1−α))), and the budget B = κ²N = γ²β/(1−α) that it grants.
//!
//! Vengertsev & Sherman 2024 (arXiv:2401.11365). docs/theory.md gives our reading of what the paper
//! leaves open.

/// β per example of the built-in policy, nats: κ = 0.05 at α = 0, γ = 1, for every task.
pub const DEFAULT_BETA_PER_EXAMPLE: f64 = 0.0025;

/// How the bound is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BoundPolicy {
    /// κ itself, at least 0; α and γ have no effect.
    Kappa(f64),
    /// β, nats, *summed* over the examples, at least 0.
    Beta(f64),
    /// β per example, nats, at least 0: κ does not depend on N.
    BetaPerExample(f64),
}

/// A bound: a policy with the weights and the temperature of a distillation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    policy: BoundPolicy,
    alpha: f64,
    soft_weight: f64,
    gamma: f64,
}

/// Why numbers do not make a bound.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BoundError {
    /// A negative or infinite κ or β, or NaN.
    #[error("{name} is {value}: use a finite number of at least 0")]
    Threshold {
        /// `kappa`, `beta` or `beta_per_example`.
        name: &'static str,
        /// What was given.
        value: f64,
    },
    /// α outside [0, 1).
    #[error(
        "alpha is {0}: it is the weight of the hard-label loss, at least 0 and below 1, so that \
         the soft-label loss has the weight 1 - alpha > 0"
    )]
    Alpha(f64),
    /// A soft weight that is not above zero.
    #[error(
        "the weight of the soft-label loss is {0}: use a finite number above 0 (a distillation \
         without a soft-label loss has no bound)"
    )]
    SoftWeight(f64),
    /// γ below 1.
    #[error(
        "gamma is {0}: it is the distillation temperature, at least 1 (and 1 for a loss that is \
         scaled by the temperature squared)"
    )]
    Gamma(f64),
    /// Numbers in range whose κ is infinite, or whose budget is not a number.
    #[error("{name} is {value}: with its weight and gamma, the bound is not a finite number")]
    NotFinite {
        /// `kappa`, `beta` or `beta_per_example`.
        name: &'static str,
        /// What was given.
        value: f64,
    },
}

impl Default for Bound {
    /// The built-in policy: [`DEFAULT_BETA_PER_EXAMPLE`] at α = 0, γ = 1.
    fn default() -> Self {
        Self {
            policy: BoundPolicy::BetaPerExample(DEFAULT_BETA_PER_EXAMPLE),
            alpha: 0.0,
            soft_weight: 1.0,
            gamma: 1.0,
        }
    }
}

impl Bound {
    /// A bound from a policy, α in [0, 1) and γ ≥ 1.
    ///
    /// # Errors
    /// Any of the three outside its range, not finite, or with a bound that is not finite.
    pub fn new(policy: BoundPolicy, alpha: f64, gamma: f64) -> Result<Self, BoundError> {
        if !(0.0..1.0).contains(&alpha) {
            return Err(BoundError::Alpha(alpha));
        }
        Self { policy, alpha, soft_weight: 1.0 - alpha, gamma }.checked()
    }

    /// A bound from w_soft > 0, for a distillation whose weights do not sum to one.
    ///
    /// # Errors
    /// Any of the three outside its range, not finite, or with a bound that is not finite.
    pub fn with_soft_weight(
        policy: BoundPolicy,
        soft_weight: f64,
        gamma: f64,
    ) -> Result<Self, BoundError> {
        if !(soft_weight > 0.0 && soft_weight.is_finite()) {
            return Err(BoundError::SoftWeight(soft_weight));
        }
        Self { policy, alpha: 1.0 - soft_weight, soft_weight, gamma }.checked()
    }

    /// The same bound with a summed β replaced by β per example, for the `n` ≥ 1 examples that it is
    /// summed over. α and γ keep their bits.
    pub fn spread_over(self, n: usize) -> Self {
        match self.policy {
            BoundPolicy::Beta(beta) => {
                Self { policy: BoundPolicy::BetaPerExample(beta / n as f64), ..self }
            }
            BoundPolicy::Kappa(_) | BoundPolicy::BetaPerExample(_) => self,
        }
    }

    fn checked(self) -> Result<Self, BoundError> {
        let (name, value) = match self.policy {
            BoundPolicy::Kappa(kappa) => ("kappa", kappa),
            BoundPolicy::Beta(beta) => ("beta", beta),
            BoundPolicy::BetaPerExample(beta) => ("beta_per_example", beta),
        };
        if !(value >= 0.0 && value.is_finite()) {
            return Err(BoundError::Threshold { name, value });
        }
        if !(self.gamma >= 1.0 && self.gamma.is_finite()) {
            return Err(BoundError::Gamma(self.gamma));
        }
        // κ is largest for one example. A budget may overflow, which σ then cannot exceed; but ∞·0 is
        // no budget.
        if !self.kappa(1).is_finite() || self.budget(usize::MAX).is_nan() {
            return Err(BoundError::NotFinite { name, value });
        }
        Ok(self)
    }

    /// How the bound was set.
    pub fn policy(&self) -> BoundPolicy {
        self.policy
    }

    /// α: the weight of the hard-label loss. Below 0 for a soft weight above 1.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// w_soft = 1 − α, above 0.
    pub fn soft_weight(&self) -> f64 {
        self.soft_weight
    }

    /// γ: the distillation temperature, 1 for a loss scaled by its square.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// κ for `n` ≥ 1 examples, at least 0.
    pub fn kappa(&self, n: usize) -> f64 {
        match self.policy {
            BoundPolicy::Kappa(kappa) => kappa,
            BoundPolicy::Beta(beta) => self.gamma * (beta / (n as f64 * self.soft_weight)).sqrt(),
            BoundPolicy::BetaPerExample(beta) => self.gamma * (beta / self.soft_weight).sqrt(),
        }
    }

    /// β, nats, summed over `n` ≥ 1 examples. `None` for a given κ.
    pub fn beta(&self, n: usize) -> Option<f64> {
        match self.policy {
            BoundPolicy::Kappa(_) => None,
            BoundPolicy::Beta(beta) => Some(beta),
            BoundPolicy::BetaPerExample(beta) => Some(beta * n as f64),
        }
    }

    /// β/n for `n` ≥ 1 examples, nats. `None` for a given κ.
    pub fn beta_per_example(&self, n: usize) -> Option<f64> {
        match self.policy {
            BoundPolicy::Kappa(_) => None,
            BoundPolicy::Beta(beta) => Some(beta / n as f64),
            BoundPolicy::BetaPerExample(beta) => Some(beta),
        }
    }

    /// B for `n` examples, at least 0: κ²n for a given κ, else γ²β/(1−α) directly from β, without
    /// rounding a root.
    pub fn budget(&self, n: usize) -> f64 {
        let from_beta = |beta: f64| self.gamma * self.gamma * beta / self.soft_weight;
        match self.policy {
            BoundPolicy::Kappa(kappa) => kappa * kappa * n as f64,
            BoundPolicy::Beta(beta) => from_beta(beta),
            BoundPolicy::BetaPerExample(beta) => from_beta(beta * n as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_kappa_one_twentieth_for_every_n() {
        let bound = Bound::default();
        assert_eq!((bound.kappa(1), bound.kappa(67_349)), (0.05, 0.05));
        assert_eq!(bound.budget(400), 1.0);
        assert_eq!(bound.beta(400), Some(1.0));
        assert_eq!(Bound::new(bound.policy(), 0.0, 1.0), Ok(bound));
    }

    #[test]
    fn kappa_and_budget_of_a_summed_beta() {
        // κ = 2·sqrt(3/(100·¾)) = 0.4, B = 4·3/¾ = 16 = κ²·100.
        let bound = Bound::new(BoundPolicy::Beta(3.0), 0.25, 2.0).unwrap();
        assert_eq!((bound.kappa(100), bound.budget(100)), (0.4, 16.0));
        assert_eq!((bound.beta(100), bound.beta_per_example(100)), (Some(3.0), Some(0.03)));
        assert_eq!((bound.alpha(), bound.soft_weight(), bound.gamma()), (0.25, 0.75, 2.0));
    }

    #[test]
    fn a_given_kappa_has_no_beta() {
        let bound = Bound::new(BoundPolicy::Kappa(0.5), 0.9, 4.0).unwrap();
        assert_eq!((bound.kappa(7), bound.budget(8)), (0.5, 2.0));
        assert_eq!((bound.beta(7), bound.beta_per_example(7)), (None, None));
    }

    #[test]
    fn weights_need_not_sum_to_one() {
        let bound = Bound::with_soft_weight(BoundPolicy::Beta(8.0), 2.0, 1.0).unwrap();
        assert_eq!((bound.budget(1), bound.alpha()), (4.0, -1.0));
        let none = Bound::with_soft_weight(BoundPolicy::Beta(8.0), 0.0, 1.0);
        assert_eq!(none, Err(BoundError::SoftWeight(0.0)));
    }

    #[test]
    fn a_spread_bound_keeps_its_weights() {
        let bound = Bound::new(BoundPolicy::Beta(3.0), 0.3, 2.0).unwrap();
        let spread = bound.spread_over(100);
        assert_eq!(spread.policy(), BoundPolicy::BetaPerExample(0.03));
        assert_eq!((spread.alpha(), spread.soft_weight()), (0.3, 0.7));
        assert!((spread.kappa(7) - bound.kappa(100)).abs() < 1e-15);
        assert_eq!(Bound::default().spread_over(100), Bound::default());
    }

    #[test]
    fn a_bound_that_overflows_is_refused() {
        for bound in [
            Bound::with_soft_weight(BoundPolicy::Beta(1.0), 5e-324, 1.0), // κ² = 1/5e-324 = ∞
            Bound::new(BoundPolicy::Beta(1e300), 0.0, 1e300),             // κ = 1e450 = ∞
            Bound::new(BoundPolicy::Beta(0.0), 0.0, 1e160),               // γ²·β = ∞·0
        ] {
            assert!(matches!(bound, Err(BoundError::NotFinite { .. })), "{bound:?}");
        }
        let large = Bound::new(BoundPolicy::Beta(1e6), 0.0, 1e3).unwrap();
        assert_eq!(large.budget(10), 1e12);
    }

    #[test]
    fn values_out_of_range_are_refused_by_name() {
        let message =
            |policy, alpha, gamma| Bound::new(policy, alpha, gamma).unwrap_err().to_string();
        let beta = BoundPolicy::Beta(1.0);
        let negative = message(BoundPolicy::Kappa(-1.0), 0.0, 1.0);
        assert_eq!(negative, "kappa is -1: use a finite number of at least 0");
        assert!(message(BoundPolicy::Beta(f64::NAN), 0.0, 1.0).starts_with("beta is NaN"));
        assert!(message(BoundPolicy::BetaPerExample(f64::INFINITY), 0.0, 1.0).contains("inf"));
        assert!(message(beta, 1.0, 1.0).starts_with("alpha is 1"));
        assert!(message(beta, -0.1, 1.0).starts_with("alpha is -0.1"));
        assert!(message(beta, 0.0, 0.5).starts_with("gamma is 0.5"));
        assert!(message(beta, 0.0, f64::NAN).starts_with("gamma is NaN"));
    }
}
