//! ALP-KD: each student layer imitates a mixture of the teacher's [CLS] vectors.

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::buckets::{compared, Buckets, NamedBuckets};
use super::{stage, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::states::Selection;
use crate::distill::term::Term;
use crate::distill::terms::Pairs;

pub(super) const METHOD: Method = Method {
    name: "alp",
    source: "Passban et al. 2021, arXiv:2012.14022",
    stages: || {
        let losses = [(Term::HARD, 0.1), (Term::SOFT, 0.7), (Term::ATTENTIVE, 0.2)];
        let train = StageLayer {
            temperature: Some(20.0),
            t_squared: Some(true),
            ..stage(4, 2e-5, &losses)
        };
        vec![("train", train)]
    },
    terms: &[Term::HARD, Term::SOFT, Term::ATTENTIVE],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Alp>,
    ..Method::COMMON
};

/// `[alp]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Alp {
    buckets: Buckets,
}

impl Default for Alp {
    fn default() -> Self {
        Alp { buckets: Buckets::Named(NamedBuckets::All) }
    }
}

impl Configured for Alp {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        if !recipe.stages[stage].losses.contains_key(&Term::ATTENTIVE) {
            return super::logits_objective(recipe, stage);
        }
        super::require_same_width(setting, "alp mixes the teacher's [CLS] vectors as they are")?;
        let teacher = super::require_states(setting)?;
        if *self != Alp::default() {
            let (selection, pairs) = compared(&self.buckets.layers("alp", setting)?);
            return Ok(Box::new(super::terms(recipe, stage).with_states(selection, pairs)));
        }
        let student_first = (1..=setting.student.layers).collect();
        let selection = Selection::First { hidden: (1..=teacher.layers).collect() };
        let pairs = Pairs { student_first, ..Pairs::default() };
        Ok(Box::new(super::terms(recipe, stage).with_states(selection, pairs)))
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    /// Where it is not the published method.
    fn record(&self) -> Option<(&'static str, Value)> {
        (*self != Alp::default()).then(|| ("alp", json!(self)))
    }
}
