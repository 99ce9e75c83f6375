//! TinyBERT, task-specific: first the teacher's embeddings, hidden states and attention, then its
//! probabilities.

use anyhow::ensure;

use super::{stage, Configured, Method, ObjectiveResult};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::schedule::Decay;
use crate::distill::states::Selection;
use crate::distill::term::Term;
use crate::distill::terms::Pairs;
use crate::error::usage;

pub(super) const METHOD: Method = Method {
    name: "tinybert",
    source: "Jiao et al. 2020, arXiv:1909.10351",
    stages: || {
        let losses = [(Term::EMBEDDING, 1.0), (Term::HIDDEN, 1.0), (Term::ATTENTION, 1.0)];
        vec![
            ("intermediate", original(constant(stage(10, 5e-5, &losses)))),
            ("prediction", original(stage(3, 3e-5, &[(Term::SOFT, 1.0)]))),
        ]
    },
    terms: &[Term::EMBEDDING, Term::HIDDEN, Term::ATTENTION, Term::SOFT, Term::HARD],
    knows_compat: true,
    configure: |_| Ok(Box::new(TinyBert)),
    ..Method::COMMON
};

/// Adam's epsilon of the paper's code.
fn original(layer: StageLayer) -> StageLayer {
    StageLayer { eps: Some(1e-6), ..layer }
}

/// A constant learning rate without warm-up.
pub(super) fn constant(layer: StageLayer) -> StageLayer {
    StageLayer { schedule: Some(Decay::Constant), warmup: Some(0.0), ..layer }
}

struct TinyBert;

impl Configured for TinyBert {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        let terms = super::terms(recipe, stage);
        let weights = &recipe.stages[stage].losses;
        let is_on = |term: Term| weights.contains_key(&term);
        if ![Term::EMBEDDING, Term::HIDDEN, Term::ATTENTION].into_iter().any(is_on) {
            return Ok(Box::new(terms));
        }
        let map = super::layer_map(recipe, setting)?;
        super::require_same_tokens(setting)?;
        let (student, teacher) = (setting.student.heads, super::require_states(setting)?.heads);
        ensure!(
            !is_on(Term::ATTENTION) || student == teacher,
            usage!(
                "`stage.{}.losses.attention` compares heads one by one, and the student has \
                 {student} heads where the teacher has {teacher}",
                recipe.stages[stage].name
            )
            .hint(format!("set `student.heads` to {teacher}, or the weight of `attention` to 0"))
        );
        let mut pairs = Pairs::default();
        if is_on(Term::EMBEDDING) {
            pairs.hidden.push((0, 0));
        }
        let layers = map.iter().enumerate();
        if is_on(Term::HIDDEN) {
            pairs.hidden.extend(layers.clone().map(|(i, &teacher)| (i + 1, teacher)));
        }
        if is_on(Term::ATTENTION) {
            pairs.scores.extend(layers.map(|(i, &teacher)| (i, teacher - 1)));
        }
        let selection = Selection::Tokens {
            hidden: pairs.hidden.iter().map(|(_, teacher)| *teacher).collect(),
            scores: pairs.scores.iter().map(|(_, teacher)| *teacher).collect(),
        };
        let terms = terms.with_states(selection, pairs);
        Ok(Box::new(terms.with_projection(setting, recipe.settings.seed)?))
    }
}
