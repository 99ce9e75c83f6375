//! One stage of a training, checked.

use std::collections::BTreeMap;

use anyhow::{bail, Result};
use serde::Serialize;

use super::{Compat, DropoutLayer, StageLayer};
use crate::distill::losses::{SoftLossKind, SoftOptions};
use crate::distill::methods::Method;
use crate::distill::schedule::Decay;
use crate::distill::term::Term;
use crate::error::Diagnostic;

/// Beyond this temperature every distribution is flat.
const HOTTEST: f64 = 1000.0;

/// One stage in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Passes over the training set, at most.
    pub max_epochs: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// How the learning rate goes on from its peak.
    pub schedule: Decay,
    /// Share of the steps in which it rises to its peak, in [0, 1].
    pub warmup: f64,
    /// Examples of a batch.
    pub batch_size: usize,
    /// Batches to a step.
    pub accumulate: usize,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Decay of the gradient's mean.
    pub beta1: f64,
    /// Decay of its square's.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub eps: f64,
    /// Largest global norm of a gradient; 0 clips nothing.
    pub clip: f64,
    /// Dropout, where it is not the checkpoint's own.
    pub dropout: DropoutLayer,
    /// Whether the embeddings stay as they are.
    pub freeze_embeddings: bool,
    /// Distillation temperature.
    pub temperature: f64,
    /// Whether the soft-label loss is scaled by t².
    pub t_squared: bool,
    /// The losses and their weights.
    pub losses: BTreeMap<Term, f64>,
}

impl Stage {
    /// What holds for every method.
    pub(super) fn common() -> StageLayer {
        StageLayer {
            schedule: Some(Decay::Linear),
            warmup: Some(0.1),
            batch_size: Some(32),
            accumulate: Some(1),
            weight_decay: Some(0.01),
            beta1: Some(0.9),
            beta2: Some(0.999),
            eps: Some(1e-8),
            clip: Some(1.0),
            dropout: Some(DropoutLayer::default()),
            freeze_embeddings: Some(false),
            temperature: Some(1.0),
            t_squared: Some(false),
            ..StageLayer::default()
        }
    }

    pub(super) fn checked(name: &'static str, layer: StageLayer, method: &Method) -> Result<Self> {
        let missing = |key: &str| Diagnostic::usage(format!("`stage.{name}.{key}` is missing"));
        macro_rules! required {
            ($key:ident) => {
                layer.$key.clone().ok_or_else(|| missing(stringify!($key)))?
            };
        }
        let stage = Stage {
            name,
            max_epochs: required!(max_epochs),
            learning_rate: required!(learning_rate),
            schedule: required!(schedule),
            warmup: required!(warmup),
            batch_size: required!(batch_size),
            accumulate: required!(accumulate),
            weight_decay: required!(weight_decay),
            beta1: required!(beta1),
            beta2: required!(beta2),
            eps: required!(eps),
            clip: required!(clip),
            dropout: required!(dropout),
            freeze_embeddings: required!(freeze_embeddings),
            temperature: required!(temperature),
            t_squared: required!(t_squared),
            losses: required!(losses),
        };
        stage.check_ranges()?;
        stage.check_losses(method)?;
        let losses = stage.losses.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        Ok(Stage { losses, ..stage })
    }

    fn check_ranges(&self) -> Result<()> {
        let name = self.name;
        let wrong = |key: &str, why: &str| Diagnostic::usage(format!("`stage.{name}.{key}` {why}"));
        let counts = [
            ("max_epochs", self.max_epochs),
            ("batch_size", self.batch_size),
            ("accumulate", self.accumulate),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, value)| *value == 0) {
            bail!(wrong(key, "must be at least 1"));
        }
        let above_zero = |value: f64| match value > 0.0 && value.is_finite() {
            true => None,
            false => Some("must be above 0, and finite"),
        };
        let at_least_zero = |value: f64| match value >= 0.0 && value.is_finite() {
            true => None,
            false => Some("must be at least 0, and finite"),
        };
        let below_one =
            |v: f64| if (0.0..1.0).contains(&v) { None } else { Some("must be in [0, 1)") };
        let share =
            |v: f64| if (0.0..=1.0).contains(&v) { None } else { Some("must be in [0, 1]") };
        let dropout = |rate: Option<f64>| rate.and_then(below_one);
        let temperature = self.temperature;
        let ranges = [
            ("learning_rate", above_zero(self.learning_rate)),
            ("warmup", share(self.warmup)),
            ("weight_decay", at_least_zero(self.weight_decay)),
            ("beta1", below_one(self.beta1)),
            ("beta2", below_one(self.beta2)),
            ("eps", above_zero(self.eps)),
            ("clip", at_least_zero(self.clip)),
            ("dropout.hidden", dropout(self.dropout.hidden)),
            ("dropout.attention", dropout(self.dropout.attention)),
            ("dropout.classifier", dropout(self.dropout.classifier)),
            (
                "temperature",
                (!(1.0..=HOTTEST).contains(&temperature)).then_some(
                    "must be from 1 to 1000: it is the distillation temperature, and divides logits",
                ),
            ),
        ];
        match ranges.into_iter().find_map(|(key, why)| Some((key, why?))) {
            Some((key, why)) => Err(wrong(key, why).into()),
            None => Ok(()),
        }
    }

    fn check_losses(&self, method: &Method) -> Result<()> {
        let name = self.name;
        let known = || method.terms.iter().map(|term| term.as_str()).collect::<Vec<_>>().join(", ");
        for (term, weight) in &self.losses {
            if !method.terms.contains(term) {
                bail!(Diagnostic::usage(format!(
                    "`stage.{name}.losses.{term}` is not a loss of the method {}",
                    method.name
                ))
                .hint(format!("its losses are {}", known())));
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                bail!(Diagnostic::usage(format!(
                    "`stage.{name}.losses.{term}` = {weight} is not a weight"
                )));
            }
        }
        if self.losses.values().all(|weight| *weight == 0.0) {
            bail!(Diagnostic::usage(format!("`stage.{name}.losses` weighs no loss"))
                .hint(format!("the losses of {} are {}", method.name, known())));
        }
        Ok(())
    }

    /// w_soft.
    pub fn soft_weight(&self) -> f64 {
        self.losses.get(&Term::SOFT).copied().unwrap_or(0.0)
    }

    /// The conventions of the soft-label loss.
    pub fn soft_options(&self, divergence: SoftLossKind, compat: Compat) -> SoftOptions {
        SoftOptions {
            temperature: self.temperature,
            t_squared: self.t_squared,
            divergence,
            over_labels: compat == Compat::Huawei,
        }
    }
}
