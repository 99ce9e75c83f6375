//! Combinatorial KD: each student layer imitates a trained combination of the [CLS] vectors of several
//! of the teacher's layers.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::buckets::{compared, Buckets, NamedBuckets};
use super::{kd, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::term::Term;

pub(super) const METHOD: Method = Method {
    name: "ckd",
    source: "Wu et al. 2020, arXiv:2010.03034",
    stages: || {
        // The weight of `combined` is ALP-KD's of the same kind of loss.
        let losses = [(Term::HARD, 0.3), (Term::SOFT, 0.7), (Term::COMBINED, 0.2)];
        let losses = Some(losses.into_iter().collect());
        vec![("train", StageLayer { losses, ..kd::train() })]
    },
    terms: &[Term::HARD, Term::SOFT, Term::COMBINED],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Ckd>,
    ..Method::COMMON
};

/// `[ckd]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Ckd {
    buckets: Buckets,
}

impl Default for Ckd {
    fn default() -> Self {
        Ckd { buckets: Buckets::Named(NamedBuckets::NonOverlapping) }
    }
}

impl Configured for Ckd {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        if !recipe.stages[stage].losses.contains_key(&Term::COMBINED) {
            return super::logits_objective(recipe, stage);
        }
        let (selection, pairs) = compared(&self.buckets.layers("ckd", setting)?);
        let terms = super::terms(recipe, stage).with_states(selection, pairs);
        Ok(Box::new(terms.with_combinations(setting, recipe.settings.seed)?))
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("ckd", json!(self)))
    }
}
