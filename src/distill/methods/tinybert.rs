//! TinyBERT's task-specific stage: the teacher's embeddings, hidden states and attention first, its
//! probabilities after.

use anyhow::Result;

use super::{stage, Method};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::schedule::Decay;
use crate::distill::states::Selection;
use crate::distill::terms::{Pairs, Term};
use crate::error::usage;

pub(super) const METHOD: Method = Method {
    name: "tinybert",
    source: "Jiao et al. 2020, arXiv:1909.10351",
    stages: || {
        let losses = [(Term::Embedding, 1.0), (Term::Hidden, 1.0), (Term::Attention, 1.0)];
        vec![
            ("intermediate", original(constant(stage(10, 5e-5, &losses)))),
            ("prediction", original(stage(3, 3e-5, &[(Term::Soft, 1.0)]))),
        ]
    },
    terms: &[Term::Embedding, Term::Hidden, Term::Attention, Term::Soft, Term::Hard],
    check,
    objective,
};

/// Adam's epsilon of the paper's code.
fn original(layer: StageLayer) -> StageLayer {
    StageLayer { eps: Some(1e-6), ..layer }
}

/// A learning rate that stays.
pub(super) fn constant(layer: StageLayer) -> StageLayer {
    StageLayer { schedule: Some(Decay::Constant), warmup: Some(0.0), ..layer }
}

fn check(recipe: &Recipe, setting: &Setting) -> Result<()> {
    let reads_states = |term: &Term| !matches!(term, Term::Soft | Term::Hard);
    if !recipe.stages.iter().any(|stage| stage.losses.keys().any(reads_states)) {
        return Ok(());
    }
    super::layer_map(recipe, setting)?;
    super::require_same_tokens(setting)?;
    let teacher = super::require_states(setting)?;
    let comparing = recipe.stages.iter().find(|s| s.losses.contains_key(&Term::Attention));
    match comparing {
        Some(stage) if setting.student.heads != teacher.heads => Err(usage(format!(
            "`stage.{}.losses.attention` compares heads one by one, and the student has {} heads \
             where the teacher has {}\n  hint: set `student.heads` to {}, or the weight of \
             `attention` to 0",
            stage.name, setting.student.heads, teacher.heads, teacher.heads
        ))),
        _ => Ok(()),
    }
}

fn objective(recipe: &Recipe, setting: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
    let terms = super::terms(recipe, stage);
    let weights = &recipe.stages[stage].losses;
    let is_on = |term: Term| weights.contains_key(&term);
    if ![Term::Embedding, Term::Hidden, Term::Attention].into_iter().any(is_on) {
        return Ok(Box::new(terms));
    }
    let map = super::layer_map(recipe, setting)?;
    let mut pairs = Pairs::default();
    if is_on(Term::Embedding) {
        pairs.hidden.push((0, 0));
    }
    let layers = map.iter().enumerate();
    if is_on(Term::Hidden) {
        pairs.hidden.extend(layers.clone().map(|(i, &teacher)| (i + 1, teacher)));
    }
    if is_on(Term::Attention) {
        pairs.scores.extend(layers.map(|(i, &teacher)| (i, teacher - 1)));
    }
    let selection = Selection::Tokens {
        hidden: pairs.hidden.iter().map(|(_, teacher)| *teacher).collect(),
        scores: pairs.scores.iter().map(|(_, teacher)| *teacher).collect(),
    };
    let terms = terms.with_states(selection, pairs);
    Ok(Box::new(terms.with_projection(setting, recipe.settings.seed)?))
}
