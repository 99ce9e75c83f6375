//! Knowledge distillation: the labels, and the teacher's probabilities at a temperature.

use super::{stage, Method};
use crate::distill::recipe::StageLayer;
use crate::distill::term::Term;

pub(super) const METHOD: Method = Method {
    name: "kd",
    source: "Hinton et al. 2015, arXiv:1503.02531",
    stages: || vec![("train", train())],
    terms: &[Term::HARD, Term::SOFT],
    ..Method::COMMON
};

/// a = 0.7 on the soft labels at t = 10, scaled by t².
pub(super) fn train() -> StageLayer {
    StageLayer {
        temperature: Some(10.0),
        t_squared: Some(true),
        ..stage(4, 2e-5, &[(Term::HARD, 0.3), (Term::SOFT, 0.7)])
    }
}
