//! The keys of a training stage: as a recipe writes them, and checked.

use std::collections::BTreeMap;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

use super::{Compat, DropoutLayer};
use crate::distill::losses::{SoftLossKind, SoftOptions};
use crate::distill::methods::Method;
use crate::distill::schedule::Decay;
use crate::distill::term::Term;
use crate::error::usage;

/// Beyond this temperature every distribution is flat.
const HOTTEST: f64 = 1000.0;

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Defines a stage twice from one list of keys: as written, each key optional, and in force.
macro_rules! stage_keys {
    ($($(#[$doc:meta])* $key:ident: $type:ty,)*) => {
        /// The keys of a stage as a recipe writes them.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct StageLayer {
            $($(#[$doc])* pub $key: Option<$type>,)*
        }

        /// A stage in force.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        pub struct Stage {
            /// Its name.
            pub name: &'static str,
            $($(#[$doc])* pub $key: $type,)*
        }

        impl StageLayer {
            /// The keys of `above`, and these where it has none.
            pub fn under(self, above: &StageLayer) -> StageLayer {
                StageLayer { $($key: above.$key.clone().or(self.$key),)* }
            }

            fn in_force(self, name: &'static str) -> Result<Stage> {
                let missing = |key| usage!("`stage.{name}.{key}` is missing");
                $(let $key = self.$key.ok_or_else(|| missing(stringify!($key)))?;)*
                Ok(Stage { name, $($key,)* })
            }
        }
    };
}

stage_keys! {
    /// Most passes over the training set; 0 leaves the stage out.
    max_epochs: usize,
    /// Peak learning rate.
    learning_rate: f64,
    /// The learning rate after the warm-up.
    schedule: Decay,
    /// Share of the steps in which the learning rate rises to its peak, in [0, 1].
    warmup: f64,
    /// Examples of a batch.
    batch_size: usize,
    /// Batches whose gradients are averaged into one step.
    accumulate: usize,
    /// Decoupled weight decay, of matrices only.
    weight_decay: f64,
    /// AdamW's decay of the mean gradient.
    beta1: f64,
    /// AdamW's decay of the mean squared gradient.
    beta2: f64,
    /// AdamW's epsilon.
    eps: f64,
    /// Largest global norm of a gradient; 0 turns clipping off.
    clip: f64,
    /// Dropout; the checkpoint's own rates where it sets none.
    dropout: DropoutLayer,
    /// Whether the embeddings are not trained.
    freeze_embeddings: bool,
    /// Distillation temperature t.
    temperature: f64,
    /// Whether the soft-label loss is multiplied by t².
    t_squared: bool,
    /// ε in [0, 1): the share of the label's probability that the hard loss spreads over all labels.
    #[serde(skip_serializing_if = "is_zero")]
    smoothing: f64,
    /// The losses and their weights; replaces all of the method's own.
    losses: BTreeMap<Term, f64>,
}

impl Stage {
    /// The defaults of every method.
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
            smoothing: Some(0.0),
            ..StageLayer::default()
        }
    }

    pub(super) fn checked(name: &'static str, layer: StageLayer, method: &Method) -> Result<Self> {
        let stage = layer.in_force(name)?;
        stage.check_ranges()?;
        stage.check_losses(method)?;
        let losses = stage.losses.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        Ok(Stage { losses, ..stage })
    }

    fn check_ranges(&self) -> Result<()> {
        const COUNT: &str = "must be at least 1";
        const POSITIVE: &str = "must be above 0, and finite";
        const NOT_NEGATIVE: &str = "must be at least 0, and finite";
        const BELOW_ONE: &str = "must be in [0, 1)";
        let positive = |x: f64| x > 0.0 && x.is_finite();
        let not_negative = |x: f64| x >= 0.0 && x.is_finite();
        let below_one = |x: f64| (0.0..1.0).contains(&x);
        let rate = |x: Option<f64>| x.is_none_or(below_one);
        let checks = [
            ("batch_size", self.batch_size > 0, COUNT),
            ("accumulate", self.accumulate > 0, COUNT),
            ("learning_rate", positive(self.learning_rate), POSITIVE),
            ("warmup", (0.0..=1.0).contains(&self.warmup), "must be in [0, 1]"),
            ("weight_decay", not_negative(self.weight_decay), NOT_NEGATIVE),
            ("beta1", below_one(self.beta1), BELOW_ONE),
            ("beta2", below_one(self.beta2), BELOW_ONE),
            ("eps", positive(self.eps), POSITIVE),
            ("clip", not_negative(self.clip), NOT_NEGATIVE),
            ("smoothing", below_one(self.smoothing), BELOW_ONE),
            ("dropout.hidden", rate(self.dropout.hidden), BELOW_ONE),
            ("dropout.attention", rate(self.dropout.attention), BELOW_ONE),
            ("dropout.classifier", rate(self.dropout.classifier), BELOW_ONE),
            (
                "temperature",
                (1.0..=HOTTEST).contains(&self.temperature),
                "must be from 1 to 1000: it is the distillation temperature, and divides logits",
            ),
        ];
        let wrong = checks.into_iter().find(|(_, holds, _)| !holds);
        wrong
            .map_or(Ok(()), |(key, _, why)| Err(usage!("`stage.{}.{key}` {why}", self.name).into()))
    }

    fn check_losses(&self, method: &Method) -> Result<()> {
        let name = self.name;
        let known = || method.terms.iter().map(|term| term.as_str()).collect::<Vec<_>>().join(", ");
        for (term, weight) in &self.losses {
            if !method.terms.contains(term) {
                bail!(usage!(
                    "`stage.{name}.losses.{term}` is not a loss of the method {}",
                    method.name
                )
                .hint(format!("its losses are {}", known())));
            }
            if !(weight.is_finite() && *weight >= 0.0) {
                bail!(usage!(
                    "`stage.{name}.losses.{term}` = {weight} is not a weight: use 0 or more"
                ));
            }
        }
        if self.losses.values().all(|weight| *weight == 0.0) {
            bail!(usage!("`stage.{name}.losses` has no loss above 0").hint(format!(
                "the losses of {} are {}",
                method.name,
                known()
            )));
        }
        if self.smoothing > 0.0 && !self.losses.get(&Term::HARD).is_some_and(|w| *w > 0.0) {
            bail!(usage!("`stage.{name}.smoothing` has no effect without the loss `hard`")
                .hint("leave it out; it spreads the label's probability, not the teacher's"));
        }
        Ok(())
    }

    /// w_soft.
    pub fn soft_weight(&self) -> f64 {
        self.losses.get(&Term::SOFT).copied().unwrap_or(0.0)
    }

    /// The options of the soft-label loss.
    pub fn soft_options(&self, divergence: SoftLossKind, compat: Compat) -> SoftOptions {
        SoftOptions {
            temperature: self.temperature,
            t_squared: self.t_squared,
            divergence,
            over_labels: compat == Compat::Huawei,
        }
    }
}
