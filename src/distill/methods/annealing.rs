//! Annealing: the teacher's logits first in small, then in full, and the labels after.

use anyhow::{bail, Result};

use super::{stage, Method};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::Recipe;
use crate::distill::terms::{Annealing, Term};
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "annealing",
    source: "Jafari et al. 2021, arXiv:2104.07163",
    stages: || {
        vec![
            ("logits", stage(14, 2e-5, &[(Term::Logits, 1.0)])),
            ("labels", stage(6, 2e-5, &[(Term::Hard, 1.0)])),
        ]
    },
    terms: &[Term::Logits, Term::Hard],
    objective,
};

fn objective(recipe: &Recipe, _: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
    let terms = super::terms(recipe, stage);
    if stage > 0 {
        return Ok(Box::new(terms));
    }
    let (epochs, tau_max) = (recipe.stages[0].max_epochs, recipe.tau_max);
    if !epochs.is_multiple_of(tau_max) {
        bail!(Diagnostic::usage(format!(
            "`stage.logits.max_epochs` = {epochs} is not a multiple of \
                     `annealing.tau_max` = {tau_max}: each temperature lasts as many epochs"
        ))
        .hint(format!("set max_epochs to {}", epochs.next_multiple_of(tau_max))));
    }
    let epochs_each = epochs / tau_max;
    Ok(Box::new(terms.annealed(Annealing { tau_max, epochs_each })))
}
