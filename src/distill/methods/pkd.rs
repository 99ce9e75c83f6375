//! Patient distillation: vanilla, and the [CLS] vectors of some of the teacher's layers.

use anyhow::{bail, Result};

use super::{kd, Method};
use crate::distill::objective::{Objective, Setting};
use crate::distill::recipe::{Patience, Recipe, StageLayer};
use crate::distill::states::Selection;
use crate::distill::terms::{Pairs, Term};
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "pkd",
    source: "Sun et al. 2019, arXiv:1908.09355",
    stages: || {
        let losses = [(Term::Hard, 0.3), (Term::Soft, 0.7), (Term::Patient, 500.0)];
        let train = StageLayer {
            learning_rate: Some(1e-5),
            losses: Some(losses.into_iter().collect()),
            ..kd::train()
        };
        vec![("train", train)]
    },
    terms: &[Term::Hard, Term::Soft, Term::Patient],
    objective,
};

/// The teacher's layer, counted from 1, of each student layer but the last.
fn teacher_layers(recipe: &Recipe, setting: &Setting) -> Result<Vec<usize>> {
    let (student, teacher) = (setting.student.layers, super::require_states(setting)?.layers);
    if student < 2 {
        bail!(Diagnostic::usage(
            "`student.layers` must be at least 2 for pkd, which leaves out the last layer"
        ));
    }
    if let Some(map) = &recipe.layer_map {
        super::check_map(map, student - 1, teacher)?;
        return Ok(map.clone());
    }
    if teacher < student {
        bail!(Diagnostic::usage(format!(
            "`student.layers` = {student} is more than the teacher's {teacher}: pkd has no layer \
             for each to imitate"
        )));
    }
    match recipe.patience {
        Patience::Last => Ok((1..student).map(|i| teacher - student + i).collect()),
        Patience::Skip if !teacher.is_multiple_of(student) => {
            Err(super::does_not_divide(student, teacher))
        }
        Patience::Skip => Ok((1..student).map(|i| i * (teacher / student)).collect()),
    }
}

fn objective(recipe: &Recipe, setting: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
    if !recipe.stages[stage].losses.contains_key(&Term::Patient) {
        return super::of_logits(recipe, stage);
    }
    super::require_same_width(setting, "pkd compares [CLS] vectors element by element")?;
    let hidden = teacher_layers(recipe, setting)?;
    let student_first = (1..=hidden.len()).collect();
    let pairs = Pairs { student_first, ..Pairs::default() };
    let terms = super::terms(recipe, stage);
    Ok(Box::new(terms.with_states(Selection::First { hidden }, pairs)))
}
