//! What a tune is governed by: its file, under the command line's flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::space::{belongs, foreign, Point, Space};
use crate::config::{ConfidenceName, Layer, Settings, StatisticName};
use crate::distill::methods::{self, Method};
use crate::distill::recipe::{Flags, Recipe};
use crate::distill::record::RecordedRecipe;
use crate::error::usage;
use crate::model::encoder::DropoutRates;

/// Accuracy that a student may lose.
const EPSILON: f64 = 0.01;
/// Trials, where nothing says how many.
const TRIALS: usize = 20;
/// Share of the validation split that the search never sees.
const UNSEEN: f64 = 0.5;
/// Seeds with which winner and default are trained again.
const FURTHER_SEEDS: u64 = 2;

/// Keys of a recipe that say where things lie or what is told: models and data have hashes.
const PLACES: [&str; 7] =
    ["teacher", "data", "output", "store", "threads", "log_every", "save_every"];

/// What the accuracy of a student is held against.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reference {
    /// That of a model.
    Of(Whose),
    /// This.
    Accuracy(f64),
}

/// Whose accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// The student of the default settings: the first trial.
    Default,
    /// The teacher.
    Teacher,
}

/// What decides among students that keep both constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The highest accuracy.
    Accuracy,
    /// The smallest σ.
    Sigma,
    /// The cheapest training.
    Cost,
    /// The fewest parameters.
    Size,
}

/// How the next settings are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SearchName {
    /// Tree-structured Parzen estimator
    Tpe,
    /// Drawn evenly from the whole space
    Random,
}

/// When a trial is given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stopping {
    /// Examples of the training set on which a student is looked at while it is trained.
    pub sample: usize,
    /// Probability with which one is given up wrongly for a σ that is too large by now.
    pub delta: f64,
    /// Shares of a trial's epochs at which it must be among the best of those that came so far.
    pub rungs: Vec<f64>,
    /// One in so many is; 1 gives none up at the rungs.
    pub halving: f64,
}

impl Default for Stopping {
    fn default() -> Self {
        Stopping { sample: 512, delta: 0.001, rungs: vec![0.5], halving: 1.5 }
    }
}

/// A tune as it is written; unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TuneFile {
    recipe: Option<Value>,
    task: Option<String>,
    teacher: Option<String>,
    data: Option<String>,
    output: Option<String>,
    trials: Option<usize>,
    time: Option<String>,
    seed: Option<u64>,
    kappa: Option<f64>,
    beta: Option<f64>,
    beta_per_example: Option<f64>,
    alpha: Option<f64>,
    gamma: Option<f64>,
    statistic: Option<StatisticName>,
    confidence: Option<ConfidenceName>,
    epsilon: Option<f64>,
    reference: Option<Value>,
    objective: Option<Objective>,
    search: Option<SearchName>,
    unseen: Option<f64>,
    further_seeds: Option<u64>,
    recalibrate: Option<bool>,
    stopping: Option<Stopping>,
    space: Table,
}

/// What the command line says; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct TuneFlags {
    /// What trainings have too.
    pub training: Flags,
    /// How many trials.
    pub trials: Option<usize>,
    /// For how long trials are begun.
    pub time: Option<Duration>,
    /// How the next settings are chosen.
    pub search: Option<SearchName>,
}

/// A tune in force.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where everything goes.
    pub output: PathBuf,
    /// Trials, the default settings included.
    pub trials: usize,
    /// For how long this process begins trials.
    pub time: Option<Duration>,
    /// Of the search and of the trainings.
    pub seed: u64,
    /// Accuracy that a student may lose against the reference.
    pub epsilon: f64,
    /// What accuracy is held against.
    pub reference: Reference,
    /// What decides among what is feasible.
    pub objective: Objective,
    /// How the next settings are chosen.
    pub search: SearchName,
    /// Share of the validation split that the search never sees.
    pub unseen: f64,
    /// Seeds with which winner and default are trained again.
    pub further_seeds: u64,
    /// Whether each student is tried with a temperature, too.
    pub recalibrate: bool,
    /// When a trial is given up.
    pub stopping: Stopping,
    /// Who set the bound, where it was the tune's file.
    pub bound_origin: Option<String>,
    /// What may change.
    pub space: Space,
    /// The method of the recipe.
    method: String,
    /// Whether the space has a `method`.
    chooses_method: bool,
    /// The recipe that the space changes.
    document: Table,
    /// The recipe's file, beside which its paths are looked for.
    path: PathBuf,
    flags: Flags,
}

impl Plan {
    /// Reads the tune `path` and puts `flags` on top. Every key of the space is tried at its ends.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value out of its range, a key that no method of
    /// the search has: usage errors that name the key.
    pub fn read(path: &Path, flags: &TuneFlags) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| usage(format!("cannot read the tune `{}`: {e}", path.display())))?;
        let named = |e: &dyn std::fmt::Display| {
            usage(format!("the tune `{}` is wrong: {}", path.display(), e.to_string().trim_end()))
        };
        let file: TuneFile = toml::from_str(&text).map_err(|e| named(&e))?;
        let plan = Self::resolve(file, path, flags).map_err(|e| named(&e))?;
        plan.check().map_err(|e| named(&e))?;
        Ok(plan)
    }

    fn resolve(file: TuneFile, path: &Path, flags: &TuneFlags) -> Result<Self> {
        file.check()?;
        if flags.trials == Some(0) {
            bail!(usage("--trials must be at least 1: the default settings are the first"));
        }
        let (document, recipe_path) = recipe(file.recipe.as_ref(), path)?;
        let output = flags.training.output.clone().or(file.output.as_ref().map(PathBuf::from));
        let output = output.ok_or_else(|| {
            usage("nothing says where the results go\n  hint: pass --output DIR, or set `output`")
        })?;
        for (key, instead) in [("held_out", "unseen"), ("seed", "seed"), ("store", "")] {
            if document.contains_key(key) {
                bail!(usage(format!(
                    "`recipe.{key}` has no effect in a tune\n  hint: {}",
                    match instead {
                        "" => "leave it out: the trials share what they know of the teacher".into(),
                        key => format!("set `{key}` at the top of the tune instead"),
                    }
                )));
            }
        }
        let seed = flags.training.settings.seed.or(file.seed).unwrap_or(0);
        let further_seeds = file.further_seeds.unwrap_or(FURTHER_SEEDS);
        if seed.checked_add(further_seeds).is_none_or(|last| last > i64::MAX as u64) {
            bail!(usage("`seed` and those after it must be below 2^63: a recipe cannot hold more"));
        }
        let training = file.under(&flags.training, path);
        let probe = Flags { output: Some(output.clone()), ..training.clone() };
        let text = toml::to_string(&document)?;
        let recipe = Recipe::parse(&text, &recipe_path, &probe)
            .map_err(|e| usage(format!("`recipe`: {e}")))?;
        if recipe.settings.teacher.is_none() {
            bail!(usage(
                "students are held against a teacher, and none is named\n  hint: pass --teacher \
                 DIR_OR_HUB_ID, or set `teacher`"
            ));
        }
        let space = Space::read(&file.space, |name| said(&document, &recipe, name))?;
        let chooses_method = space.0.iter().any(|key| key.name == "method");
        Ok(Plan {
            output,
            trials: flags.trials.or(file.trials).unwrap_or(TRIALS),
            time: flags.time.or(file.time()?),
            seed,
            epsilon: file.epsilon.unwrap_or(EPSILON),
            reference: file.reference()?,
            objective: file.objective.unwrap_or(Objective::Accuracy),
            search: flags.search.or(file.search).unwrap_or(SearchName::Tpe),
            unseen: file.unseen.unwrap_or(UNSEEN),
            further_seeds,
            recalibrate: file.recalibrate.unwrap_or(true),
            bound_origin: file.bound_origin(flags, path),
            stopping: file.stopping.unwrap_or_default(),
            space,
            method: recipe.method.name.to_owned(),
            chooses_method,
            document,
            path: recipe_path,
            flags: training,
        })
    }

    /// The settings of the first trial.
    pub fn defaults(&self) -> Point {
        self.space.defaults(&self.method)
    }

    /// What audits have too.
    ///
    /// # Errors
    /// None for a plan that was read.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.recipe(&self.defaults(), self.seed, &self.output)?.settings)
    }

    /// The folder of the recipe's file, beside which its paths are looked for.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// The method of `point`.
    pub fn method<'a>(&'a self, point: &'a Point) -> &'a str {
        point.get("method").and_then(Value::as_str).unwrap_or(&self.method)
    }

    /// The recipe of `point`, as a file of its own would have it.
    pub fn document(&self, point: &Point, seed: u64) -> Result<Table> {
        let mut document = self.document.clone();
        document.remove("output");
        let method = methods::find(self.method(point))?;
        if self.chooses_method {
            strip(&mut document, method);
        }
        for (name, value) in point {
            set(&mut document, name, value.clone(), method)?;
        }
        document.insert("seed".to_owned(), Value::try_from(seed)?);
        let cut = [("share", Value::Float(self.unseen)), ("seed", Value::try_from(self.seed)?)];
        let cut: Table = cut.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        document.insert("held_out".to_owned(), Value::Table(cut));
        Ok(document)
    }

    /// The recipe of `point` in force, for a student in `output`.
    ///
    /// # Errors
    /// What the recipe refuses.
    pub fn recipe(&self, point: &Point, seed: u64, output: &Path) -> Result<Recipe> {
        let mut flags = self.flags.clone();
        flags.output = Some(output.to_owned());
        flags.settings.seed = Some(seed);
        let mut document = self.document(point, seed)?;
        document.remove("store"); // the trials share what they know of the teacher
        Recipe::parse(&toml::to_string(&document)?, &self.path, &flags)
    }

    /// Every key at both ends, or at each choice, with the defaults elsewhere: by method.
    pub fn corners(&self) -> Vec<(&str, Point)> {
        let mut corners = Vec::new();
        for method in self.space.methods(&self.method) {
            let mut base: Point =
                self.space.0.iter().map(|key| (key.name.clone(), key.default.clone())).collect();
            if self.chooses_method {
                base.insert("method".to_owned(), Value::String(method.to_owned()));
            }
            let base = self.space.active(base, method);
            for key in self.space.0.iter().filter(|key| base.contains_key(&key.name)) {
                let values = match key.name.as_str() {
                    "method" => vec![Value::String(method.to_owned())],
                    _ => key.range.tried(),
                };
                for value in values {
                    let mut point = base.clone();
                    point.insert(key.name.clone(), value);
                    corners.push((key.name.as_str(), point));
                }
            }
        }
        corners
    }

    /// Tries the space where its recipes are likeliest to be refused.
    fn check(&self) -> Result<()> {
        let names = self.space.methods(&self.method);
        for name in &names {
            methods::find(name).map_err(|e| usage(format!("`space.method`: {e}")))?;
        }
        let has = |name: &str| {
            names.iter().any(|method| methods::find(method).is_ok_and(|m| belongs(name, m)))
        };
        if let Some(key) = self.space.0.iter().find(|key| !has(&key.name)) {
            return Err(foreign(&key.name, &names));
        }
        let mut made: BTreeMap<&str, Vec<serde_json::Value>> = BTreeMap::new();
        for (name, point) in self.corners() {
            let recipe = self.recipe(&point, self.seed, &self.output);
            let recipe = recipe.map_err(|error| wrong(name, &point, &error))?;
            made.entry(name).or_default().push(in_force(&recipe)?);
        }
        let idle = |recipes: &[serde_json::Value]| recipes.iter().all(|r| *r == recipes[0]);
        match made.into_iter().find(|(_, recipes)| idle(recipes)) {
            None => Ok(()),
            Some((name, _)) => Err(usage(format!(
                "`space.\"{name}\"` changes nothing: the recipe says it elsewhere, or nothing reads \
                 it\n  hint: name the key of the stage's own table, or leave it out"
            ))),
        }
    }

    /// What a journal must agree on to be gone on with: all but how long the search goes on.
    pub fn identity(&self) -> Result<serde_json::Value> {
        let mut recipe = self.document.clone();
        recipe.retain(|key, _| !PLACES.contains(&key));
        Ok(serde_json::json!({
            "seed": self.seed,
            "epsilon": self.epsilon,
            "reference": self.reference,
            "objective": self.objective,
            "search": self.search,
            "unseen": self.unseen,
            "recalibrate": self.recalibrate,
            "stopping": self.stopping,
            "space": self.space,
            "recipe": recipe,
        }))
    }
}

/// All that a recipe says of a training.
fn in_force(recipe: &Recipe) -> Result<serde_json::Value> {
    let rates = DropoutRates { hidden: 0.0, attention: 0.0, classifier: 0.0 };
    Ok(serde_json::to_value((recipe.method.name, RecordedRecipe::of(recipe, rates)))?)
}

/// An error of a recipe, by the key of the space that led to it.
pub fn wrong(name: &str, point: &Point, error: &anyhow::Error) -> anyhow::Error {
    let value = point.get(name).map(Value::to_string).unwrap_or_default();
    usage(format!("`space.\"{name}\"`: with {value}, {error}"))
}

impl TuneFile {
    fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: &str| Err(usage(format!("`{key}` {why}")));
        let share = |x: f64| x > 0.0 && x < 1.0;
        if self.trials == Some(0) {
            return wrong("trials", "must be at least 1: the default settings are the first");
        }
        if self.epsilon.is_some_and(|e| !(0.0..1.0).contains(&e)) {
            return wrong("epsilon", "is the accuracy that may be lost: from 0 to below 1");
        }
        if self.unseen.is_some_and(|unseen| !share(unseen)) {
            return wrong("unseen", "is a share of the validation split, above 0 and below 1");
        }
        let stopping = self.stopping.clone().unwrap_or_default();
        if stopping.sample == 0 {
            return wrong("stopping.sample", "must be at least 1");
        }
        if !(stopping.delta > 0.0 && stopping.delta <= 0.5) {
            return wrong("stopping.delta", "is a probability above 0 and at most 0.5");
        }
        if !(stopping.halving >= 1.0 && stopping.halving.is_finite()) {
            return wrong("stopping.halving", "must be at least 1: one in so many goes on");
        }
        match stopping.rungs.iter().all(|rung| share(*rung)) {
            true => Ok(()),
            false => wrong("stopping.rungs", "are shares of the epochs, above 0 and below 1"),
        }
    }

    fn reference(&self) -> Result<Reference> {
        let of = |whose| Ok(Reference::Of(whose));
        match &self.reference {
            None => of(Whose::Default),
            Some(Value::String(name)) if name == "default" => of(Whose::Default),
            Some(Value::String(name)) if name == "teacher" => of(Whose::Teacher),
            Some(Value::Float(a)) if (0.0..=1.0).contains(a) => Ok(Reference::Accuracy(*a)),
            Some(Value::Integer(a @ 0..=1)) => Ok(Reference::Accuracy(*a as f64)),
            Some(other) => Err(usage(format!(
                "`reference` = {other} is neither `default` nor `teacher` nor an accuracy from 0 to 1"
            ))),
        }
    }

    /// Who set the bound, where it is this file: flags that name a part of it say all of it.
    fn bound_origin(&self, flags: &TuneFlags, path: &Path) -> Option<String> {
        let keys = self.bound().bound_keys();
        let is_here = flags.training.settings.bound_keys().is_empty() && !keys.is_empty();
        is_here.then(|| format!("`{}` of {}", keys.join("`, `"), path.display()))
    }

    /// What it says of the bound.
    fn bound(&self) -> Layer {
        Layer {
            kappa: self.kappa,
            beta: self.beta,
            beta_per_example: self.beta_per_example,
            alpha: self.alpha,
            gamma: self.gamma,
            ..Layer::default()
        }
    }

    fn time(&self) -> Result<Option<Duration>> {
        let parse = |text: &String| {
            humantime::parse_duration(text).map_err(|e| {
                usage(format!("`time` = `{text}`: {e}\n  hint: write it as 90m, 2h or 1h 30m"))
            })
        };
        self.time.as_ref().map(parse).transpose()
    }

    /// What trainings have too, under `flags`. The bound is one unit: flags that name a part of it
    /// say all of it.
    fn under(&self, flags: &Flags, path: &Path) -> Flags {
        let mut flags = flags.clone();
        let above = &mut flags.settings;
        if above.bound_keys().is_empty() {
            let Layer { kappa, beta, beta_per_example, alpha, gamma, .. } = self.bound();
            (above.kappa, above.beta, above.beta_per_example) = (kappa, beta, beta_per_example);
            (above.alpha, above.gamma) = (alpha, gamma);
        }
        above.statistic = above.statistic.or(self.statistic);
        above.confidence = above.confidence.or(self.confidence);
        let here = |value: &String| beside(path, value).display().to_string();
        above.teacher = above.teacher.take().or(self.teacher.as_ref().map(here));
        above.data = above.data.take().or(self.data.as_ref().map(here));
        flags.task = flags.task.or(self.task.clone());
        flags
    }
}

/// A path of the file: beside it where it is there, else as it stands.
fn beside(path: &Path, value: &str) -> PathBuf {
    let beside = path.parent().unwrap_or(Path::new(".")).join(value);
    if beside.exists() {
        beside
    } else {
        PathBuf::from(value)
    }
}

/// The recipe that a tune names or holds, and the file that its paths are relative to.
fn recipe(named: Option<&Value>, path: &Path) -> Result<(Table, PathBuf)> {
    match named {
        Some(Value::Table(table)) => Ok((table.clone(), path.to_owned())),
        Some(Value::String(name)) => {
            let file = beside(path, name);
            let text = std::fs::read_to_string(&file).map_err(|e| {
                usage(format!("`recipe` = `{name}`: cannot read `{}`: {e}", file.display()))
            })?;
            let table = text.parse().map_err(|e: toml::de::Error| {
                usage(format!("`recipe` = `{name}`: {}", e.to_string().trim_end()))
            })?;
            Ok((table, file))
        }
        _ => Err(usage(
            "there is no `recipe` to change\n  hint: set `recipe` to the file of a distillation, or \
             write it below [recipe]",
        )),
    }
}

/// What the recipe says of a key, its method's published values included.
fn said(document: &Table, recipe: &Recipe, name: &str) -> Option<Value> {
    let parts: Vec<&str> = name.split('.').collect();
    let (last, path) = parts.split_last()?;
    let mut table = Some(document);
    for part in path {
        table = table.and_then(|table| table.get(*part)).and_then(Value::as_table);
    }
    if let Some(value) = table.and_then(|table| table.get(*last)) {
        return Some(value.clone());
    }
    let (stage, keys) = match parts.as_slice() {
        ["stage", name, keys @ ..] => {
            (recipe.stages.iter().find(|stage| stage.name == *name)?, keys)
        }
        ["training", keys @ ..] => (recipe.last_stage(), keys),
        ["method"] => return Some(Value::String(recipe.method.name.to_owned())),
        ["keep"] => return Value::try_from(recipe.keep).ok(),
        ["annealing", "tau_max"] => return Value::try_from(recipe.tau_max).ok(),
        ["hsk", key] => {
            return Table::try_from(recipe.compression)
                .ok()
                .and_then(|table| table.get(*key).cloned())
        }
        _ => return None,
    };
    let mut value = Value::try_from(stage).ok()?;
    for key in keys {
        value = value.get(*key)?.clone();
    }
    Some(value)
}

/// Takes out of a recipe what `method` does not have.
fn strip(document: &mut Table, method: &Method) {
    document.retain(|key, _| belongs(key, method));
    for table in ["pkd", "annealing", "takd", "hsk"] {
        if table != method.name {
            document.remove(table);
        }
    }
    if let Some(Value::Table(stages)) = document.get_mut("stage") {
        stages.retain(|name, _| belongs(&format!("stage.{name}"), method));
    }
}

/// Puts `value` at `name`. A loss is put beside those that are weighed already.
fn set(document: &mut Table, name: &str, value: Value, method: &Method) -> Result<()> {
    let parts: Vec<&str> = name.split('.').collect();
    if let [scope @ .., "losses", _] = parts.as_slice() {
        let weighed = losses(document, scope, method)?;
        let table = table_at(document, name, &[scope, &["losses"]].concat())?;
        if table.is_empty() {
            *table = weighed;
        }
    }
    let (last, path) = parts.split_last().expect("a path has a part");
    table_at(document, name, path)?.insert((*last).to_owned(), value);
    Ok(())
}

/// The losses that a stage weighs where its own table names none.
fn losses(document: &Table, scope: &[&str], method: &Method) -> Result<Table> {
    let common = document.get("training").and_then(|training| training.get("losses"));
    if let Some(Value::Table(common)) = common {
        return Ok(common.clone());
    }
    let stages = (method.stages)();
    let named = scope.last().filter(|_| scope.len() == 2);
    let stage = match named {
        Some(name) => stages.into_iter().find(|(stage, _)| stage == name),
        None => stages.into_iter().next(),
    };
    let losses: BTreeMap<_, _> = stage.and_then(|(_, layer)| layer.losses).unwrap_or_default();
    Ok(Table::try_from(losses)?)
}

fn table_at<'a>(document: &'a mut Table, name: &str, path: &[&str]) -> Result<&'a mut Table> {
    let mut table = document;
    for part in path {
        let inner = table.entry(*part).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else {
            bail!(usage(format!("`space.\"{name}\"`: `{part}` of the recipe is no table")));
        };
        table = inner;
    }
    Ok(table)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A plan over a TinyBERT recipe with that space.
    pub fn plan(space: &str, seed: u64) -> Plan {
        read(&format!("seed = {seed}\n{RECIPE}\n[space]\n{space}")).unwrap()
    }

    const RECIPE: &str =
        "recipe = { task = \"mrpc\", method = \"tinybert\", student = { layers = 3 } }";

    fn read(text: &str) -> Result<Plan> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tune.toml");
        std::fs::write(&path, text).unwrap();
        let settings = Layer { teacher: Some("teacher".to_owned()), ..Layer::default() };
        let training = Flags { settings, output: Some("out".into()), ..Flags::default() };
        Plan::read(&path, &TuneFlags { training, ..TuneFlags::default() })
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    const RATE: &str =
        "\"stage.prediction.learning_rate\" = { low = 1e-5, high = 5e-4, scale = \"log\" }\n";

    #[test]
    fn a_trial_is_the_recipe_with_the_points_values() {
        let plan = plan(RATE, 3);
        let point = plan.defaults();
        assert_eq!(point["stage.prediction.learning_rate"], Value::Float(3e-5));
        let rate = ("stage.prediction.learning_rate".to_owned(), Value::Float(2e-4));
        let point = Point::from([rate]);
        let recipe = plan.recipe(&point, 5, Path::new("run")).unwrap();
        assert_eq!(recipe.last_stage().learning_rate, 2e-4);
        assert_eq!(recipe.stages[0].learning_rate, 5e-5);
        assert_eq!((recipe.settings.seed, recipe.output), (5, PathBuf::from("run")));
        let held_out = recipe.held_out.unwrap();
        assert_eq!((held_out.share, held_out.seed), (0.5, 3));
    }

    #[test]
    fn a_loss_is_put_beside_those_of_the_method() {
        let plan =
            plan("\"stage.prediction.losses.hard\" = { low = 0.0, high = 1.0, default = 0 }\n", 0);
        let point = Point::from([("stage.prediction.losses.hard".into(), Value::Float(0.5))]);
        let recipe = plan.recipe(&point, 0, Path::new("run")).unwrap();
        let weights: Vec<_> = recipe.last_stage().losses.values().copied().collect();
        assert_eq!(weights, [0.5, 1.0]);
    }

    #[test]
    fn each_method_keeps_the_keys_that_it_has() {
        let space = "method = { choices = [\"tinybert\", \"kd\"] }\n\
            \"stage.train.temperature\" = { low = 1.0, high = 10.0 , default = 1 }\n\
            \"stage.intermediate.max_epochs\" = { choices = [3, 10] }\n";
        let plan = plan(space, 0);
        let methods: Vec<_> =
            plan.corners().into_iter().map(|(_, p)| p["method"].clone()).collect();
        assert_eq!(methods.len(), 6);
        let kd = Point::from([
            ("method".to_owned(), Value::String("kd".to_owned())),
            ("stage.train.temperature".to_owned(), Value::Float(4.0)),
        ]);
        let recipe = plan.recipe(&kd, 0, Path::new("run")).unwrap();
        assert_eq!((recipe.method.name, recipe.last_stage().temperature), ("kd", 4.0));
        let hsk = read("recipe = { task = \"mrpc\", method = \"hsk\", hsk = { depth = 2 }, layer_map = [2, 4, 6] }\n[space]\nmethod = { choices = [\"hsk\", \"kd\"] }");
        assert!(hsk.is_ok(), "what kd does not have is left out: {hsk:?}");
    }

    #[test]
    fn a_tune_that_contradicts_itself_is_refused_by_its_key() {
        let with = |line: &str| format!("{line}\n{RECIPE}\n[space]\n{RATE}");
        let space = |space: &str| format!("{RECIPE}\n[space]\n{space}");
        let cases = [
            (with("trials = 0"), "`trials` must be at least 1"),
            (with("epsilon = 1.5"), "`epsilon`"),
            (with("unseen = 1"), "`unseen`"),
            (with("reference = 2.0"), "`reference` = 2.0 is neither"),
            (with("reference = \"student\""), "neither `default` nor `teacher` nor an accuracy"),
            (with("seed = 9223372036854775807"), "`seed`"),
            (with("objective = \"speed\""), "unknown variant `speed`"),
            (with("tials = 3"), "unknown field `tials`"),
            (with("time = \"soon\""), "`time` = `soon`"),
            (with("stopping = { sample = 0 }"), "`stopping.sample`"),
            (with("stopping = { delta = 0.9 }"), "`stopping.delta`"),
            (with("stopping = { halving = 0.5 }"), "`stopping.halving`"),
            (with("stopping = { rungs = [1.5] }"), "`stopping.rungs`"),
            (with("kappa = -1"), "kappa"),
            (format!("[space]\n{RATE}"), "there is no `recipe`"),
            (
                format!("recipe = \"none.toml\"\n[space]\n{RATE}"),
                "`recipe` = `none.toml`: cannot read",
            ),
            (
                format!("recipe = {{ task = \"mrpc\" }}\n[space]\n{RATE}"),
                "`recipe`: it names no `method`",
            ),
            (RECIPE.to_owned(), "`space` is empty"),
            (
                space(
                    "\"stage.train.learning_rate\" = { low = 1e-5, high = 1e-4, default = 1e-5 }",
                ),
                "`space.\"stage.train.learning_rate\"` is no key of the method tinybert",
            ),
            (
                space("\"stage.prediction.losses.patient\" = { low = 0, high = 1, default = 0 }"),
                "its losses are",
            ),
            (
                space("\"stage.prediction.speed\" = { low = 0, high = 1, default = 0 }"),
                "`space.\"stage.prediction.speed\"`: with 0, unknown field `speed`",
            ),
            (
                space("\"stage.prediction.warmup\" = { low = 0.0, high = 1.5, default = 0.1 }"),
                "`space.\"stage.prediction.warmup\"`: with 1.5",
            ),
            (
                space("\"hsk.depth\" = { low = 1, high = 2, default = 1 }"),
                "`space.\"hsk.depth\"` is no key",
            ),
            (
                space("method = { choices = [\"tinybert\", \"kdd\"] }"),
                "`space.method`: `method` = `kdd`",
            ),
            (space("\"a.b\" = { low = 1, high = 2, default = 1 }"), "`space.\"a.b\"`: with 1, "),
        ];
        for (text, why) in cases {
            let said = refused(&text);
            assert!(said.contains(why) && said.contains("tune.toml"), "{text}\n{said}");
        }
    }
}
