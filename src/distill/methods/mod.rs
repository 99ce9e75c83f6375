//! The distillation methods: one file and one row of [`METHODS`] each.

mod alp;
mod annealing;
mod annealing_mate;
mod born_again;
mod buckets; // of the teacher's layers
mod ckd;
mod finetune;
mod hsk;
mod kd;
mod mate;
mod minimax;
mod pkd;
mod rail;
mod takd;
mod tinybert;
mod virtual_teacher;

use std::path::Path;

use anyhow::{ensure, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use toml::de::ValueDeserializer;
use toml::Table;

use super::losses::SoftLossKind;
use super::objective::{Objective, Setting};
use super::recipe::{
    resolved, Init, LayerMap, NamedLayerMap, Recipe, StageLayer, StoppingLoss, StudentLayer,
};
use super::term::Term;
use super::terms::Terms;
use crate::error::{usage, Diagnostic};
use crate::model::Shape;

/// A distillation method.
pub struct Method {
    /// Its name in recipes.
    pub name: &'static str,
    /// The publication.
    pub source: &'static str,
    /// The default of `student.init`.
    pub init: Init,
    /// The stages in order: names and published defaults.
    pub stages: fn() -> Vec<(&'static str, StageLayer)>,
    /// The stages whose states are measured after each epoch and may be kept.
    pub kept_from: KeptFrom,
    /// The losses that its stages may use.
    pub terms: &'static [Term],
    /// The losses that it records besides, and that have no weight in a recipe.
    pub recorded_terms: &'static [Term],
    /// Whether it supports `compat`.
    pub knows_compat: bool,
    pub own_keys: OwnKeys,
    /// Reads its own keys from the recipe's table of its name; published values without a table.
    pub configure: fn(Option<ValueDeserializer>) -> ReadKeys,
}

/// A method under its own keys, or why these cannot be read.
type ReadKeys = Result<Box<dyn Configured>, toml::de::Error>;

/// Whether a method has keys of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKeys {
    None,
    /// All values suit all models.
    Free,
    /// Some values do not suit some models: a search checks them on its models first.
    ConstrainModels,
}

/// The stages whose states may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptFrom {
    /// The last one: those before it train hidden states, and no head.
    LastStage,
    /// All: each of them trains a classifier.
    AnyStage,
}

/// An objective, or a usage error where the recipe contradicts the models.
pub type ObjectiveResult = Result<Box<dyn Objective>>;

/// What a method reads besides the teacher and the splits, as its own keys name it.
#[derive(Debug, Clone, Default)]
pub struct MethodInputs {
    /// The checkpoint of a masked language model that it trains against the student: a folder or a
    /// Hub id.
    pub masked_lm: Option<String>,
    /// A file of texts in the task's columns that it trains on besides the training set.
    pub corpus: Option<String>,
    /// The file that keeps the neighbours of the training set in the corpus.
    pub index: Option<String>,
}

impl MethodInputs {
    /// With paths from a recipe in `folder`.
    pub fn resolved(self, folder: &Path) -> Self {
        let path = |path: String| resolved(folder, &path).display().to_string();
        MethodInputs {
            masked_lm: self.masked_lm.map(path),
            corpus: self.corpus.map(path),
            index: self.index.map(path),
        }
    }
}

/// A method with the values of its own keys.
pub trait Configured: Send + Sync {
    /// The objective of stage number `stage`, from 0. Each is also made once before the training, to
    /// check the recipe.
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult;

    /// Checks the ranges of its own keys.
    ///
    /// # Errors
    /// A usage error that names the key.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Its own keys with the values in force, as its table in a recipe. A search may change them.
    fn keys(&self) -> Table {
        Table::new()
    }

    /// Its own keys in distillation.json: a key of the recorded recipe and its value.
    fn record(&self) -> Option<(&'static str, Value)> {
        None
    }

    /// Students that are trained before the recipe's, each the teacher of the next.
    fn assistants(&self, _recipe: &Recipe) -> Vec<Assistant> {
        Vec::new()
    }

    /// What it reads besides the teacher and the splits.
    fn inputs(&self) -> MethodInputs {
        MethodInputs::default()
    }

    /// Whether the mean of the probabilities of assistants and student is written as predictions.
    fn joins_assistants(&self) -> bool {
        false
    }
}

/// A student that teaches the next one.
pub struct Assistant {
    pub student: StudentLayer,
    pub seed: u64,
}

/// All methods.
pub static METHODS: &[Method] = &[
    finetune::METHOD,
    kd::METHOD,
    tinybert::METHOD,
    pkd::METHOD,
    alp::METHOD,
    ckd::METHOD,
    rail::METHOD,
    annealing::METHOD,
    takd::METHOD,
    born_again::METHOD,
    hsk::METHOD,
    mate::METHOD,
    annealing_mate::METHOD,
    minimax::METHOD,
    virtual_teacher::METHOD,
];

/// The method of that name, or a usage error that lists the methods.
pub fn find(name: &str) -> Result<&'static Method> {
    let found = METHODS.iter().find(|method| method.name == name);
    Ok(found.ok_or_else(|| {
        let names = METHODS.iter().map(|method| method.name);
        usage!("`method` = `{name}` is not known").hint(format!(
            "{}the methods are {}",
            crate::task::spelling::did_you_mean(name, names),
            names_of(|_| true)
        ))
    })?)
}

/// The names of the chosen methods, separated by commas.
pub fn names_of(chosen: impl Fn(&Method) -> bool) -> String {
    let chosen = METHODS.iter().filter(|method| chosen(method));
    chosen.map(|method| method.name).collect::<Vec<_>>().join(", ")
}

impl Method {
    /// The defaults of a method.
    const COMMON: Method = Method {
        name: "",
        source: "",
        init: Init::TeacherLayers,
        stages: Vec::new,
        kept_from: KeptFrom::LastStage,
        terms: &[],
        recorded_terms: &[],
        knows_compat: false,
        own_keys: OwnKeys::None,
        configure: |_| Ok(Box::new(LogitsMethod)),
    };

    /// Whether it compares hidden states or attention scores.
    pub fn reads_encoders(&self) -> bool {
        self.terms.iter().any(|term| term.reads_encoders())
    }

    /// Whether the teacher's logits are all that it reads of the teacher.
    fn reads_logits_only(&self) -> bool {
        let reads_logits = self.terms.iter().any(|term| term.0.teacher_logits);
        reads_logits && !self.runs_teacher()
    }

    /// Whether it needs the teacher itself: its hidden states, or its answers to texts of the method.
    pub fn runs_teacher(&self) -> bool {
        self.reads_encoders() || self.terms.iter().any(|term| term.0.runs_teacher)
    }

    pub fn maps_layers(&self) -> bool {
        self.terms.iter().any(|term| term.0.maps_layers)
    }

    /// Whether its recipes may have the key `path`, such as `stage.train.losses.soft`.
    pub fn has_key(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('.').collect();
        let has_loss = |loss: &str| self.terms.iter().any(|term| term.as_str() == loss);
        match parts.as_slice() {
            ["stage", stage, rest @ ..] => {
                let has_stage = (self.stages)().iter().any(|(name, _)| name == stage);
                has_stage && !matches!(rest, ["losses", loss] if !has_loss(loss))
            }
            ["training", "losses", loss] => (self.stages)().len() == 1 && has_loss(loss),
            ["compat"] => self.knows_compat,
            ["layer_map"] => self.maps_layers(),
            ["learn_from"] => self.terms.iter().any(|term| term.needs_teacher()),
            [table, ..] => METHODS.iter().all(|method| !method.owns(table) || method == self),
            [] => true,
        }
    }

    /// Whether `table` holds its own keys.
    pub fn owns(&self, table: &str) -> bool {
        self.own_keys != OwnKeys::None && self.name == table
    }
}

impl PartialEq for Method {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A method on logits and labels alone, without own keys.
struct LogitsMethod;

impl Configured for LogitsMethod {
    fn objective(&self, recipe: &Recipe, _: &Setting, stage: usize) -> ObjectiveResult {
        logits_objective(recipe, stage)
    }
}

/// Reads the own keys of `C`, whose default has the published values.
fn configured<C: Configured + DeserializeOwned + Default + 'static>(
    table: Option<ValueDeserializer>,
) -> ReadKeys {
    Ok(Box::new(table.map(C::deserialize).transpose()?.unwrap_or_default()))
}

fn require_at_least_one(key: &str, count: usize) -> Result<()> {
    ensure!(count > 0, usage!("`{key}` must be at least 1"));
    Ok(())
}

fn keys_of(own: &impl serde::Serialize) -> Table {
    Table::try_from(own).expect("own keys are plain values")
}

/// A stage with these values; the others are the common defaults.
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
    terms_but(recipe, stage, &[])
}

/// [`terms`] without those that the method's own objective computes.
fn terms_but(recipe: &Recipe, stage: usize, own: &[Term]) -> Terms {
    let divergence = match recipe.stopping.map(|stopping| stopping.loss) {
        Some(StoppingLoss::Ce) => SoftLossKind::CrossEntropy,
        _ => SoftLossKind::Kl,
    };
    let stage = &recipe.stages[stage];
    let mut losses = stage.losses.clone();
    losses.retain(|term, _| !own.contains(term));
    let soft = stage.soft_options(divergence, recipe.compat);
    Terms::of_logits(&losses, soft, recipe.compat).smoothed(stage.smoothing)
}

fn logits_objective(recipe: &Recipe, stage: usize) -> ObjectiveResult {
    Ok(Box::new(terms(recipe, stage)))
}

/// The teacher's shape, for a method that reads its encoder.
pub(super) fn require_states(setting: &Setting) -> Result<Shape> {
    Ok(setting.teacher.ok_or_else(|| {
        Diagnostic::usage(
            "the `method` runs the teacher's encoder, and the teacher's architecture has none here",
        )
        .hint(format!(
            "use one of {}, or a teacher of the BERT family",
            names_of(Method::reads_logits_only)
        ))
    })?)
}

pub(super) fn require_same_tokens(setting: &Setting) -> Result<()> {
    ensure!(
        setting.same_tokens,
        Diagnostic::usage(
            "the `method` compares the models token by token, and the tokenizers of teacher and \
             student differ"
        )
        .hint(format!(
            "set `student.init` to teacher-layers or scratch, or `student.base` to a checkpoint \
             with the teacher's vocabulary; {} need neither",
            names_of(Method::reads_logits_only)
        ))
    );
    Ok(())
}

/// For methods that compare vectors without a projection.
fn require_same_width(setting: &Setting, why: &str) -> Result<()> {
    let (student, teacher) = (setting.student.hidden, require_states(setting)?.hidden);
    ensure!(
        student == teacher,
        usage!("`student.hidden_size` is {student} and the teacher's {teacher}: {why}").hint(
            "use tinybert, ckd, rail or hsk, which project, or a student of the teacher's width"
        )
    );
    Ok(())
}

/// The teacher's layer that each student layer imitates, from 1.
fn layer_map(recipe: &Recipe, setting: &Setting) -> Result<Vec<usize>> {
    let (student, teacher) = (setting.student.layers, require_states(setting)?.layers);
    match &recipe.layer_map {
        Some(map) => written_map(map, (student, teacher), student),
        None => every_kth_layer(student, teacher),
    }
}

/// The teacher's layers of the first `wanted` student layers, as `map` gives them.
fn written_map(
    map: &LayerMap,
    (student, teacher): (usize, usize),
    wanted: usize,
) -> Result<Vec<usize>> {
    match map {
        LayerMap::These(layers) => {
            check_map(layers, wanted, teacher)?;
            Ok(layers.clone())
        }
        LayerMap::Named(NamedLayerMap::TwoThirds) => {
            let mut layers = lower_two_thirds(student, teacher);
            layers.truncate(wanted);
            Ok(layers)
        }
    }
}

/// Of the teacher's layers the lower two thirds, evenly spread, from 1, one for each student layer.
/// Rounded half to even, as Python does in HSK's code.
fn lower_two_thirds(student: usize, teacher: usize) -> Vec<usize> {
    let at = |i: usize| (2 * i * teacher) as f64 / (3 * student) as f64;
    (1..=student).map(|i| (at(i).round_ties_even() as usize).max(1)).collect()
}

/// Every k-th of the teacher's layers, from 1, one for each student layer.
fn every_kth_layer(student: usize, teacher: usize) -> Result<Vec<usize>> {
    ensure!(
        teacher.is_multiple_of(student),
        usage!(
            "the number of the teacher's layers, {teacher}, is not a multiple of the student's \
             {student}"
        )
        .hint("set `layer_map`: for each student layer the teacher's, counted from 1")
    );
    Ok((1..=student).map(|i| i * (teacher / student)).collect())
}

fn check_map(map: &[usize], wanted: usize, teacher: usize) -> Result<()> {
    let named = map.len();
    ensure!(named == wanted, usage!("`layer_map` names {named} layers, and {wanted} are needed"));
    let outside = map.iter().find(|layer| !(1..=teacher).contains(*layer));
    outside.map_or(Ok(()), |layer| {
        let why = format!("`layer_map` names layer {layer} of the teacher's {teacher}");
        Err(Diagnostic::usage(why).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lower_two_thirds_are_those_of_the_published_code() {
        // round(i * (8 / n)) of twelve layers, for i from 1 to n.
        assert_eq!(lower_two_thirds(6, 12), [1, 3, 4, 5, 7, 8]);
        assert_eq!(lower_two_thirds(4, 12), [2, 4, 6, 8]);
        assert_eq!(lower_two_thirds(3, 6), [1, 3, 4]);
        assert_eq!(lower_two_thirds(2, 3), [1, 2]);
        assert_eq!(lower_two_thirds(1, 1), [1]);
    }
}
