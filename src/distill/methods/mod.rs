//! The methods, one file and one row each.

mod alp;
mod annealing;
mod finetune;
mod hsk;
mod kd;
mod pkd;
mod takd;
mod tinybert;

use anyhow::{bail, Result};

use super::losses::SoftLossKind;
use super::objective::{Objective, Setting};
use super::recipe::{Recipe, StageLayer, StoppingLoss};
use super::terms::{Term, Terms};
use crate::error::Diagnostic;
use crate::model::Shape;

/// A method: its stages, what they minimise by default, and what it asks of the models.
pub struct Method {
    /// As `method` names it.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// The stages in order: a name, and the published defaults.
    pub stages: fn() -> Vec<(&'static str, StageLayer)>,
    /// The losses that its stages may be made of.
    pub terms: &'static [Term],
    /// What stage number `stage` (counted from 0) minimises, or what of the recipe contradicts the
    /// models. Every stage's is made once before anything is run.
    pub objective: fn(&Recipe, &Setting, usize) -> Result<Box<dyn Objective>>,
}

/// All of them.
pub static METHODS: [Method; 8] = [
    finetune::METHOD,
    kd::METHOD,
    tinybert::METHOD,
    pkd::METHOD,
    alp::METHOD,
    annealing::METHOD,
    takd::METHOD,
    hsk::METHOD,
];

/// The method of that name.
///
/// # Errors
/// A usage error that names those there are.
pub fn find(name: &str) -> Result<&'static Method> {
    let names: Vec<_> = METHODS.iter().map(|method| method.name).collect();
    Ok(METHODS.iter().find(|method| method.name == name).ok_or_else(|| {
        Diagnostic::usage(format!("`method` = `{name}` is not known")).hint(format!(
            "{}the methods are {}",
            crate::task::spelling::did_you_mean(name, names.iter().copied()),
            names.join(", ")
        ))
    })?)
}

/// What a method says of a stage; the rest is what most published recipes share.
fn stage(max_epochs: usize, learning_rate: f64, losses: &[(Term, f64)]) -> StageLayer {
    StageLayer {
        max_epochs: Some(max_epochs),
        learning_rate: Some(learning_rate),
        losses: Some(losses.iter().copied().collect()),
        ..StageLayer::default()
    }
}

/// The weighted losses of a stage, of logits alone.
fn terms(recipe: &Recipe, stage: usize) -> Terms {
    let divergence = match recipe.stopping.map(|stopping| stopping.loss) {
        Some(StoppingLoss::Ce) => SoftLossKind::CrossEntropy,
        _ => SoftLossKind::Kl,
    };
    let stage = &recipe.stages[stage];
    Terms::of_logits(&stage.losses, stage.soft_options(divergence, recipe.compat), recipe.compat)
}

/// The objective of a method that looks at nothing but logits.
fn of_logits(recipe: &Recipe, stage: usize) -> Result<Box<dyn Objective>> {
    Ok(Box::new(terms(recipe, stage)))
}

/// The teacher's shape, for a method that looks into it.
fn require_states(setting: &Setting) -> Result<Shape> {
    Ok(setting.teacher.ok_or_else(|| {
        Diagnostic::usage(
            "the `method` looks at hidden states, and the teacher's architecture shows none \
                 here",
        )
        .hint("use kd, annealing or takd, or a teacher of the BERT family")
    })?)
}

/// Tokens are compared one by one.
fn require_same_tokens(setting: &Setting) -> Result<()> {
    if setting.same_tokens {
        return Ok(());
    }
    Err(Diagnostic::usage(
        "the `method` compares hidden states token by token, and the tokenizers of teacher \
             and student differ",
    )
    .hint(
        "set `student.init` to teacher-layers or scratch, or `student.base` to a checkpoint \
             with the teacher's vocabulary; kd, annealing and takd need neither",
    )
    .into())
}

/// Vectors are compared without a projection.
fn require_same_width(setting: &Setting, why: &str) -> Result<()> {
    let (student, teacher) = (setting.student.hidden, require_states(setting)?.hidden);
    if student == teacher {
        return Ok(());
    }
    Err(Diagnostic::usage(format!(
        "`student.hidden_size` is {student} and the teacher's {teacher}: {why}"
    ))
    .hint("use tinybert or hsk, which project, or a student of the teacher's width")
    .into())
}

/// The teacher's layer, counted from 1, that each student layer looks at.
fn layer_map(recipe: &Recipe, setting: &Setting) -> Result<Vec<usize>> {
    let (student, teacher) = (setting.student.layers, require_states(setting)?.layers);
    if let Some(map) = &recipe.layer_map {
        check_map(map, student, teacher)?;
        return Ok(map.clone());
    }
    if !teacher.is_multiple_of(student) {
        return Err(does_not_divide(student, teacher));
    }
    Ok((1..=student).map(|i| i * (teacher / student)).collect())
}

fn does_not_divide(student: usize, teacher: usize) -> anyhow::Error {
    Diagnostic::usage(format!(
        "the teacher's {teacher} layers do not divide among the student's {student}"
    ))
    .hint("set `layer_map`: for each student layer the teacher's, counted from 1")
    .into()
}

fn check_map(map: &[usize], wanted: usize, teacher: usize) -> Result<()> {
    if map.len() != wanted {
        bail!(Diagnostic::usage(format!(
            "`layer_map` has {} layers, and {wanted} are asked for",
            map.len()
        )));
    }
    match map.iter().find(|layer| !(1..=teacher).contains(*layer)) {
        None => Ok(()),
        Some(layer) => Err(Diagnostic::usage(format!(
            "`layer_map` names layer {layer}, and the teacher's layers are 1 to {teacher}"
        ))
        .into()),
    }
}
