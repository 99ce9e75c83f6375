//! Born-again networks: generations of the same shape, each taught by the one before.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Assistant, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Init, Recipe};
use crate::distill::term::Term;
use crate::error::{usage, Diagnostic};

pub(super) const METHOD: Method = Method {
    name: "born-again",
    source: "Furlanello et al. 2018, arXiv:1805.04770",
    init: Init::Base,
    stages: || vec![("train", stage(4, 2e-5, &[(Term::HARD, 0.5), (Term::SOFT, 0.5)]))],
    terms: &[Term::HARD, Term::SOFT],
    own_keys: OwnKeys::Free,
    configure: super::configured::<BornAgain>,
    ..Method::COMMON
};

/// `[born-again]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BornAgain {
    /// Students that are trained, one after the other; the last one is written.
    generations: usize,
    /// The seeds of all generations but the last, which has the recipe's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seeds: Vec<u64>,
    /// Whether the mean of the generations' probabilities is written too.
    ensemble: bool,
}

impl Default for BornAgain {
    fn default() -> Self {
        BornAgain { generations: 3, seeds: Vec::new(), ensemble: true }
    }
}

impl Configured for BornAgain {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> ObjectiveResult {
        super::logits_objective(recipe, stage)
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.generations >= 2,
            Diagnostic::usage("`born-again.generations` must be at least 2")
                .hint("one generation is the method kd")
        );
        let (seeds, needed) = (self.seeds.len(), self.generations - 1);
        ensure!(
            seeds == 0 || seeds == needed,
            usage!("`born-again.seeds` has {seeds} seeds, and {needed} are needed")
                .hint("one for each generation but the last, which has `seed`; or leave it out")
        );
        Ok(())
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("born-again", json!(self)))
    }

    fn assistants(&self, recipe: &Recipe) -> Vec<Assistant> {
        let others = (1..self.generations as u64).map(|i| recipe.settings.seed.wrapping_add(i));
        let seeds = match self.seeds.is_empty() {
            true => others.collect(),
            false => self.seeds.clone(),
        };
        let generation = |seed| Assistant { student: recipe.student.clone(), seed };
        seeds.into_iter().map(generation).collect()
    }

    fn joins_assistants(&self) -> bool {
        self.ensemble
    }
}
