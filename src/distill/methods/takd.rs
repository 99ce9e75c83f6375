//! Distillation through assistants: each learns from the one before, the student from the last.

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{kd, Configured, Method, OwnKeys};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::{Recipe, StudentLayer};
use crate::distill::term::Term;
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "takd",
    source: "Mirzadeh et al. 2020, arXiv:1902.03393",
    stages: || vec![("train", kd::train())],
    terms: &[Term::HARD, Term::SOFT],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Takd>,
    ..Method::COMMON
};

/// `[takd]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Takd {
    /// The assistants, largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    assistants: Vec<StudentLayer>,
}

impl Configured for Takd {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
        if self.assistants.is_empty() {
            bail!(Diagnostic::usage("`takd.assistants` is empty").hint(
                "for example `assistants = [{ layers = 4 }]`; without an assistant the method is \
                     kd"
            ));
        }
        super::of_logits(recipe, stage)
    }

    fn check(&self) -> Result<()> {
        let only_layers = |a: &StudentLayer| {
            *a == StudentLayer { layers: a.layers.clone(), ..StudentLayer::default() }
        };
        if !self.assistants.iter().all(only_layers) {
            bail!(Diagnostic::usage("`takd.assistants` begin as the student does")
                .hint("give them `layers` alone"));
        }
        Ok(())
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("assistants", json!(self.assistants)))
    }

    fn assistants(&self) -> &[StudentLayer] {
        &self.assistants
    }
}
