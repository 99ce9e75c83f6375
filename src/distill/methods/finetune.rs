//! Fine-tuning on the hard labels: how a teacher is made, and what a student is compared with.

use super::{stage, Method};
use crate::distill::recipe::Recipe;
use crate::distill::terms::Term;

pub(super) const METHOD: Method = Method {
    name: "finetune",
    source: "Devlin et al. 2019, arXiv:1810.04805",
    stages: || vec![("train", stage(3, 2e-5, &[(Term::Hard, 1.0)]))],
    terms: &[Term::Hard],
    objective: |recipe: &Recipe, _, stage| super::of_logits(recipe, stage),
};
