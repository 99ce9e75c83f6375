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
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::ValueDeserializer;
use toml::Table;

use super::losses::SoftLossKind;
use super::objective::{Objective, Setting};
use super::recipe::{Init, Recipe, StageLayer, StoppingLoss, StudentLayer};
use super::term::Term;
use super::terms::Terms;
use crate::error::Diagnostic;
use crate::model::Shape;

/// A method: its stages, what they minimise by default, and what it asks of the models.
pub struct Method {
    /// As `method` names it.
    pub name: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What the student begins as unless the recipe says otherwise.
    pub init: Init,
    /// The stages in order: a name, and the published defaults.
    pub stages: fn() -> Vec<(&'static str, StageLayer)>,
    /// The losses that its stages may be made of.
    pub terms: &'static [Term],
    /// Whether it knows `compat`, the habits of the original TinyBERT code.
    pub knows_compat: bool,
    /// Whether it has keys of its own, in a recipe's table of its name.
    pub own_keys: OwnKeys,
    /// The method under its own keys; under their published values where there is no table.
    pub configure: fn(Option<ValueDeserializer>) -> Result<Box<dyn Configured>, toml::de::Error>,
}

/// Whether a method has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKeys {
    /// It has none.
    None,
    /// Any of their values suits any two models.
    Free,
    /// Their values ask something of the models: a search tries them on the models beforehand.
    ConstrainModels,
}

/// A method under its own keys.
pub trait Configured: Send + Sync {
    /// What stage number `stage` (counted from 0) minimises. Every stage's is made once before
    /// anything is run.
    ///
    /// # Errors
    /// What of the recipe contradicts the models: a usage error.
    fn objective(
        &self,
        recipe: &Recipe,
        setting: &Setting,
        stage: usize,
    ) -> Result<Box<dyn Objective>>;

    /// Refuses values of its own keys that are out of their range.
    ///
    /// # Errors
    /// A usage error that names the key.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its own keys with the values in force, as its table in a recipe would have them.
    fn keys(&self) -> Table {
        Table::new()
    }

    /// Its own keys as distillation.json has them: a key of the recipe and its value.
    fn record(&self) -> Option<(&'static str, Value)> {
        None
    }

    /// Students that are trained before the student, each the teacher of the next.
    fn assistants(&self) -> &[StudentLayer] {
        &[]
    }
}

/// All of them.
pub static METHODS: &[Method] = &[
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
    let found = METHODS.iter().find(|method| method.name == name);
    Ok(found.ok_or_else(|| {
        let names = METHODS.iter().map(|method| method.name);
        Diagnostic::usage(format!("`method` = `{name}` is not known")).hint(format!(
            "{}the methods are {}",
            crate::task::spelling::did_you_mean(name, names),
            names_of(|_| true)
        ))
    })?)
}

/// The names of the methods that are `chosen`.
pub fn names_of(chosen: impl Fn(&Method) -> bool) -> String {
    let chosen = METHODS.iter().filter(|method| chosen(method));
    chosen.map(|method| method.name).collect::<Vec<_>>().join(", ")
}

impl Method {
    /// What most methods have in common.
    const COMMON: Method = Method {
        name: "",
        source: "",
        init: Init::TeacherLayers,
        stages: Vec::new,
        terms: &[],
        knows_compat: false,
        own_keys: OwnKeys::None,
        configure: |_| Ok(Box::new(OfLogits)),
    };

    /// Whether it compares anything inside the encoders.
    pub fn looks_inside(&self) -> bool {
        self.terms.iter().any(|term| term.looks_inside())
    }

    /// Whether it reads `layer_map`.
    pub fn maps_layers(&self) -> bool {
        self.terms.iter().any(|term| term.0.maps_layers)
    }

    /// Whether recipes may have the key `path`, such as `stage.train.losses.soft`, with it.
    pub fn has_key(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('.').collect();
        let weighs = |loss: &str| self.terms.iter().any(|term| term.as_str() == loss);
        match parts.as_slice() {
            ["stage", stage, rest @ ..] => {
                let has = (self.stages)().iter().any(|(name, _)| name == stage);
                has && !matches!(rest, ["losses", loss] if !weighs(loss))
            }
            ["training", "losses", loss] => (self.stages)().len() == 1 && weighs(loss),
            ["compat"] => self.knows_compat,
            ["layer_map"] => self.maps_layers(),
            [table, ..] => METHODS.iter().all(|method| !method.owns(table) || method == self),
            [] => true,
        }
    }

    /// Whether `table` is that of its own keys.
    pub fn owns(&self, table: &str) -> bool {
        self.own_keys != OwnKeys::None && self.name == table
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A method that compares logits and labels alone, without keys of its own.
struct OfLogits;

impl Configured for OfLogits {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> Result<Box<dyn Objective>> {
        of_logits(recipe, stage)
    }
}

/// The own keys of `C`, whose default is what was published.
fn configured<C: Configured + DeserializeOwned + Default + 'static>(
    table: Option<ValueDeserializer>,
) -> Result<Box<dyn Configured>, toml::de::Error> {
    Ok(Box::new(table.map(C::deserialize).transpose()?.unwrap_or_default()))
}

/// Refuses 0 for a count.
fn require_at_least_one(key: &str, count: usize) -> Result<()> {
    match count {
        0 => Err(Diagnostic::usage(format!("`{key}` must be at least 1")).into()),
        _ => Ok(()),
    }
}

/// The keys of `own` as a table.
fn keys_of(own: &impl serde::Serialize) -> Table {
    Table::try_from(own).expect("own keys are plain values")
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
        .hint(format!(
            "use one of {}, or a teacher of the BERT family",
            names_of(|method| !method.looks_inside())
        ))
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
