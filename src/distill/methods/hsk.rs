//! The least of the teacher's hidden states that teaches as much: a few layers, tokens and
//! elements, stored once and read from there; then its probabilities.

use anyhow::{bail, Result};

use super::{stage, tinybert, Method};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::Recipe;
use crate::distill::states::Selection;
use crate::distill::terms::{Pairs, Term};
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "hsk",
    source: "Liu et al. 2021, Marginal Utility Diminishes (ACL 2021)",
    stages: || {
        vec![
            ("intermediate", tinybert::constant(stage(10, 5e-5, &[(Term::Kept, 1.0)]))),
            ("prediction", stage(5, 2e-5, &[(Term::Soft, 1.0)])),
        ]
    },
    terms: &[Term::Kept, Term::Soft, Term::Hard],
    objective,
};

fn objective(recipe: &Recipe, setting: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
    let terms = super::terms(recipe, stage);
    if !recipe.stages[stage].losses.contains_key(&Term::Kept) {
        return Ok(Box::new(terms));
    }
    let map = super::layer_map(recipe, setting)?;
    super::require_same_tokens(setting)?;
    let (depth, layers) = (recipe.compression.depth, map.len());
    if depth > layers {
        bail!(Diagnostic::usage(format!(
            "`hsk.depth` = {depth} is more than the student's {layers} layers"
        )));
    }
    let pairs = map.iter().enumerate().map(|(i, &teacher)| (i + 1, teacher));
    let hidden: Vec<_> = pairs.skip(layers - depth).collect();
    let selection = Selection::Kept {
        hidden: hidden.iter().map(|(_, teacher)| *teacher).collect(),
        length: recipe.compression.length,
        width: recipe.compression.width,
        without: setting.separator.into_iter().collect(),
    };
    let terms = terms.with_states(selection, Pairs { hidden, ..Pairs::default() });
    Ok(Box::new(terms.with_projection(setting, recipe.settings.seed)?))
}
