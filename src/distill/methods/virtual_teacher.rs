//! A virtual teacher: probabilities made of the label, in place of a model's.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Init, Recipe, StageLayer};
use crate::distill::term::Term;
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "virtual",
    source: "Yuan et al. 2020, arXiv:1909.11723",
    init: Init::Base,
    stages: || {
        let train = StageLayer {
            temperature: Some(20.0),
            t_squared: Some(true),
            ..stage(4, 2e-5, &[(Term::HARD, 0.4), (Term::VIRTUAL, 0.6)])
        };
        vec![("train", train)]
    },
    terms: &[Term::HARD, Term::VIRTUAL],
    own_keys: OwnKeys::Free,
    configure: super::configured::<Virtual>,
    ..Method::COMMON
};

/// `[virtual]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Virtual {
    /// a, the virtual teacher's probability of the label; the other labels share the rest.
    probability: f64,
}

impl Default for Virtual {
    fn default() -> Self {
        Virtual { probability: 0.99 }
    }
}

impl Configured for Virtual {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> ObjectiveResult {
        Ok(Box::new(super::terms(recipe, stage).with_virtual_teacher(self.probability)))
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.probability > 0.5 && self.probability < 1.0,
            Diagnostic::usage("`virtual.probability` must be above 0.5 and below 1")
        );
        Ok(())
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("virtual", json!(self)))
    }
}
