//! Fine-tuning on the labels: for teachers, and for students to compare with.

use super::{stage, Method};
use crate::distill::recipe::Init;
use crate::distill::term::Term;

pub(super) const METHOD: Method = Method {
    name: "finetune",
    source: "Devlin et al. 2019, arXiv:1810.04805",
    init: Init::Base,
    stages: || vec![("train", stage(3, 2e-5, &[(Term::HARD, 1.0)]))],
    terms: &[Term::HARD],
    ..Method::COMMON
};
