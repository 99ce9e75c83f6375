//! Distillation through assistants: each learns from the previous one, the student from the last.

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{kd, Assistant, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Layers, Recipe, StudentLayer};
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
    assistants: Vec<TakdAssistant>,
}

/// An assistant as a recipe writes it; its other keys are the student's.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TakdAssistant {
    /// The teacher's layers that it takes, or their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<Layers>,
    /// The recipe's where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

impl Configured for Takd {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> ObjectiveResult {
        ensure!(
            !self.assistants.is_empty(),
            Diagnostic::usage("`takd.assistants` is empty")
                .hint("name one, such as `assistants = [{ layers = 4 }]`, or use the method kd")
        );
        super::logits_objective(recipe, stage)
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("assistants", json!(self.assistants)))
    }

    fn assistants(&self, recipe: &Recipe) -> Vec<Assistant> {
        let assistant = |TakdAssistant { layers, seed }: &TakdAssistant| Assistant {
            student: StudentLayer { layers: layers.clone(), ..StudentLayer::default() },
            seed: seed.unwrap_or(recipe.settings.seed),
        };
        self.assistants.iter().map(assistant).collect()
    }
}
