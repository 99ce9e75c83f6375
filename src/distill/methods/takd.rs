//! Distillation through assistants: each learns from the one before, the student from the last.

use anyhow::{bail, Result};

use super::{kd, Method};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::Recipe;
use crate::distill::terms::Term;
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "takd",
    source: "Mirzadeh et al. 2020, arXiv:1902.03393",
    stages: || vec![("train", kd::train())],
    terms: &[Term::Hard, Term::Soft],
    objective,
};

fn objective(recipe: &Recipe, _: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
    if recipe.assistants.is_empty() {
        bail!(Diagnostic::usage("`takd.assistants` names nobody").hint(
            "for example `assistants = [{ layers = 4 }]`; without an assistant the method is \
                 kd"
        ));
    }
    super::of_logits(recipe, stage)
}
