//! Annealing KD: first the teacher's logits, scaled up from a small factor to one; then the labels.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Configured, KeptFrom, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, Stage};
use crate::distill::term::Term;
use crate::distill::terms::Annealing;
use crate::error::usage;

/// The stage on the labels alone.
pub(super) const LABELS: &str = "labels";

pub(super) const METHOD: Method = Method {
    name: "annealing",
    source: "Jafari et al. 2021, arXiv:2104.07163",
    stages: || {
        vec![
            ("logits", stage(14, 2e-5, &[(Term::LOGITS, 1.0)])),
            (LABELS, stage(6, 2e-5, &[(Term::HARD, 1.0)])),
        ]
    },
    // As the published code, which takes the best state of both stages.
    kept_from: KeptFrom::AnyStage,
    terms: &[Term::LOGITS, Term::HARD],
    own_keys: OwnKeys::Free,
    configure: super::configured::<AnnealingKd>,
    ..Method::COMMON
};

/// `[annealing]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnnealingKd {
    /// The first τ; it falls to 1 in whole steps over the first stage.
    tau_max: usize,
}

impl Default for AnnealingKd {
    /// The value of BERT-small on MRPC, SST-2, QNLI and WNLI.
    fn default() -> Self {
        AnnealingKd { tau_max: 7 }
    }
}

impl Configured for AnnealingKd {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> ObjectiveResult {
        let terms = super::terms(recipe, stage);
        let stage = &recipe.stages[stage];
        if stage.name == LABELS {
            return Ok(Box::new(terms));
        }
        Ok(Box::new(terms.annealed(over(stage, "annealing.tau_max", self.tau_max)?)))
    }

    fn check(&self) -> Result<()> {
        super::require_at_least_one("annealing.tau_max", self.tau_max)
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("tau_max", json!(self.tau_max)))
    }
}

/// The annealing over the epochs of `stage` from `tau_max`, which is the key `key`.
///
/// # Errors
/// Epochs that are not a multiple of it.
pub(super) fn over(stage: &Stage, key: &str, tau_max: usize) -> Result<Annealing> {
    let (name, epochs) = (stage.name, stage.max_epochs);
    ensure!(
        epochs.is_multiple_of(tau_max),
        usage!(
            "`stage.{name}.max_epochs` = {epochs} is not a multiple of `{key}` = {tau_max}: each \
             temperature has the same number of epochs"
        )
        .hint(format!("set max_epochs to {}", epochs.next_multiple_of(tau_max)))
    );
    Ok(Annealing { tau_max, epochs_each: epochs / tau_max })
}
