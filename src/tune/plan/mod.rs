//! The settings of a tune: its file, under the command line's flags.

mod document; // the recipe as a table
mod file; //     the TOML
#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Error, Result};
use toml::{Table, Value};

use document::{recipe, set, strip, value_in_force};
use file::TuneFile;
pub use file::{Reference, ReferenceModel, SearchName, TrialStopping, TuneObjective};

use super::space::{foreign, Space, TrialSettings};
use crate::config::Settings;
use crate::distill::methods;
use crate::distill::recipe::{resolved, Flags, Recipe};
use crate::distill::record::RecordedRecipe;
use crate::error::{usage, Diagnostic};
use crate::model::DropoutRates;

/// Default accuracy that a student may lose.
const EPSILON: f64 = 0.01;
/// Default number of trials.
const TRIALS: usize = 20;
/// Default share of the validation split that the search never sees.
const UNSEEN: f64 = 0.5;
/// Default number of further seeds.
const FURTHER_SEEDS: u64 = 2;
/// Default number of finalists.
const CONFIRM: usize = 3;
/// Keys of a recipe that do not change the students; models and data have hashes.
const NOT_IDENTITY: [&str; 8] = [
    "teacher",
    "teacher_predictions",
    "data",
    "output",
    "store",
    "threads",
    "log_every",
    "save_every",
];

/// The command line's flags, which override the file.
#[derive(Debug, Clone, Default)]
pub struct TuneFlags {
    /// Flags of trainings.
    pub training: Flags,
    /// Number of trials.
    pub trials: Option<usize>,
    /// Time after which no trial starts.
    pub time: Option<Duration>,
    /// The search algorithm.
    pub search: Option<SearchName>,
}

/// A tune in force.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The output folder.
    pub output: PathBuf,
    /// Number of trials, the default settings included.
    pub trials: usize,
    /// Time after which this process starts no trial.
    pub time: Option<Duration>,
    /// Seed of the search and of the trainings.
    pub seed: u64,
    /// Accuracy that a student may lose against the reference.
    pub epsilon: f64,
    /// The accuracy to compare with.
    pub reference: Reference,
    /// Orders feasible students.
    pub objective: TuneObjective,
    /// The search algorithm.
    pub search: SearchName,
    /// Share of the validation split that the search never sees.
    pub unseen: f64,
    /// Number of further seeds with which default and finalists are trained.
    pub further_seeds: u64,
    /// Number of finalists that are trained with further seeds, one after the other, until one holds.
    pub confirm: usize,
    /// Level of the test that must show that no more than `epsilon` is lost; `None` compares the
    /// accuracy as it is.
    pub non_inferiority: Option<f64>,
    /// Whether each student is also measured with a temperature.
    pub recalibrate: bool,
    /// Early stopping of trials.
    pub stopping: TrialStopping,
    /// The origin of the bound, where it is the tune's file.
    pub bound_origin: Option<String>,
    /// The keys that the search changes.
    pub space: Space,
    /// Settings to try after the defaults, before the search proposes any.
    pub start: Vec<TrialSettings>,
    /// A journal, or its folder, whose trials inform the proposals: as it is written, and where it is.
    pub warm_start: Option<(String, PathBuf)>,
    method: String,
    /// Whether the space has a `method`.
    chooses_method: bool,
    /// The recipe that the space changes.
    document: Table,
    /// The recipe's file, to which its paths are relative.
    path: PathBuf,
    flags: Flags,
}

impl Plan {
    /// Reads the tune `path`; `flags` override its keys. Every key of the space is checked at its ends.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value out of its range, a key that no method of the search
    /// has: usage errors that name the key.
    pub fn read(path: &Path, flags: &TuneFlags) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| usage!("cannot read the tune `{}`: {e}", path.display()))?;
        let named = |e: Error| {
            let name = path.display();
            Diagnostic::usage_around(&e, |why| format!("the tune `{name}` is wrong: {why}"))
        };
        let file: TuneFile = toml::from_str(&text).map_err(|e| named(e.into()))?;
        let plan = Self::resolve(file, path, flags).map_err(named)?;
        plan.check().map_err(named)?;
        Ok(plan)
    }

    fn resolve(file: TuneFile, path: &Path, flags: &TuneFlags) -> Result<Self> {
        file.check()?;
        if flags.trials == Some(0) {
            bail!(Diagnostic::usage(
                "--trials must be at least 1: the default settings are the first"
            ));
        }
        let (document, recipe_path) = recipe(file.recipe.as_ref(), path)?;
        let output = flags.training.output.clone().or(file.output.as_ref().map(PathBuf::from));
        let output = output.ok_or_else(|| {
            Diagnostic::usage("no output folder is given")
                .hint("pass --output DIR, or set `output`")
        })?;
        refuse_own(&document)?;
        let seed = flags.training.settings.seed.or(file.seed).unwrap_or(0);
        let further_seeds = file.further_seeds.unwrap_or(FURTHER_SEEDS);
        if seed.checked_add(further_seeds).is_none_or(|last| last > i64::MAX as u64) {
            bail!(Diagnostic::usage(
                "`seed` + `further_seeds` must be below 2^63, the largest number of a recipe"
            ));
        }
        let training = file.under(&flags.training, path);
        let probe = Flags { output: Some(output.clone()), ..training.clone() };
        let recipe = match recipe_path == path {
            true => Recipe::parse(&toml::to_string(&document)?, path, &probe)
                .map_err(|e| Diagnostic::usage_around(&e, |why| format!("`recipe`: {why}")))?,
            false => Recipe::read(&recipe_path, &probe)?,
        };
        require_teacher(&recipe)?;
        let space = Space::read(&file.space, |name| value_in_force(&document, &recipe, name))?;
        let entries = file.start.iter().enumerate();
        let start = entries.map(|(i, table)| space.start(i + 1, table, recipe.method.name));
        let start = start.collect::<Result<_>>()?;
        let chooses_method = space.0.iter().any(|key| key.name == "method");
        Ok(Plan {
            output,
            trials: flags.trials.or(file.trials).unwrap_or(TRIALS),
            time: flags.time.or(file.time()?),
            seed,
            epsilon: file.epsilon.unwrap_or(EPSILON),
            reference: file.reference()?,
            objective: file.objective.unwrap_or(TuneObjective::Accuracy),
            search: flags.search.or(file.search).unwrap_or(SearchName::Tpe),
            unseen: file.unseen.unwrap_or(UNSEEN),
            further_seeds,
            confirm: file.confirm.unwrap_or(CONFIRM),
            non_inferiority: file.non_inferiority,
            recalibrate: file.recalibrate.unwrap_or(true),
            bound_origin: file.bound_origin(flags, path),
            stopping: file.stopping.unwrap_or_default(),
            warm_start: file.warm_start.map(|name| {
                let at = resolved(path.parent().unwrap_or(Path::new(".")), &name);
                (name, at)
            }),
            space,
            start,
            method: recipe.method.name.to_owned(),
            chooses_method,
            document,
            path: recipe_path,
            flags: training,
        })
    }

    /// The settings of the first trial.
    pub fn defaults(&self) -> TrialSettings {
        self.space.defaults(&self.method)
    }

    /// The settings of `start` in their order, each once and without the defaults.
    pub fn named_settings(&self) -> Vec<&TrialSettings> {
        let defaults = self.defaults();
        let mut named: Vec<&TrialSettings> = Vec::new();
        for point in self.start.iter().filter(|point| **point != defaults) {
            if !named.contains(&point) {
                named.push(point);
            }
        }
        named
    }

    /// The settings shared with audits.
    pub fn settings(&self) -> Result<Settings> {
        Ok(self.recipe(&self.defaults(), self.seed, &self.output)?.settings)
    }

    /// The flags of trainings, with the file's keys under them.
    pub fn flags(&self) -> &Flags {
        &self.flags
    }

    /// The folder of the recipe's file.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn method<'a>(&'a self, point: &'a TrialSettings) -> &'a str {
        point.get("method").and_then(Value::as_str).unwrap_or(&self.method)
    }

    /// The recipe of `point`, as a table.
    pub fn document(&self, point: &TrialSettings, seed: u64) -> Result<Table> {
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
    /// As [`Recipe::parse`].
    pub fn recipe(&self, point: &TrialSettings, seed: u64, output: &Path) -> Result<Recipe> {
        let mut flags = self.flags.clone();
        flags.output = Some(output.to_owned());
        flags.settings.seed = Some(seed);
        let text = toml::to_string(&self.document(point, seed)?)?;
        Recipe::parse(&text, &self.path, &flags)
    }

    /// The settings of this space that are the settings `point` of another search with that recipe, or
    /// why there are none. If `other_bound`, the other search has another κ.
    pub fn place(
        &self,
        recipe: &Table,
        point: &TrialSettings,
        other_bound: bool,
    ) -> Result<TrialSettings> {
        let mut document = recipe.clone();
        for key in NOT_IDENTITY {
            document.extend(self.document.get(key).map(|value| (key.to_owned(), value.clone())));
        }
        let method = document.get("method").and_then(Value::as_str).unwrap_or(&self.method);
        let method = method.to_owned();
        let chooses_method = point.contains_key("method");
        let other = Plan { document, method, chooses_method, ..self.clone() };
        let (document, recipe) =
            (other.document(point, self.seed)?, other.recipe(point, self.seed, &self.output)?);
        if other_bound && recipe.kappa(1).is_some() {
            bail!("its `keep` depends on `kappa`, which is another one");
        }
        let mut placed = TrialSettings::new();
        for key in &self.space.0 {
            if let Some(value) = value_in_force(&document, &recipe, &key.name) {
                let Some(value) = key.range.converted(&value) else {
                    bail!("`{}` = {value} is not {}", key.name, key.range);
                };
                placed.insert(key.name.clone(), value);
            }
        }
        let placed = self.space.active(placed, recipe.method.name);
        let own = in_force(&self.recipe(&placed, self.seed, &self.output)?)?;
        match difference("", &in_force(&recipe)?, &own) {
            None => Ok(placed),
            Some(why) => bail!("{why}"),
        }
    }

    /// For each method, every key at both ends or at each choice, with defaults for the others.
    pub fn corners(&self) -> Vec<(&str, TrialSettings)> {
        let mut corners = Vec::new();
        for method in self.space.methods(&self.method) {
            let mut base: TrialSettings =
                self.space.0.iter().map(|key| (key.name.clone(), key.default.clone())).collect();
            if self.chooses_method {
                base.insert("method".to_owned(), Value::String(method.to_owned()));
            }
            let base = self.space.active(base, method);
            for key in self.space.0.iter().filter(|key| base.contains_key(&key.name)) {
                let values = match key.name.as_str() {
                    "method" => vec![Value::String(method.to_owned())],
                    _ => key.range.checked(),
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

    /// Checks the recipes of the corners, and that every key changes some recipe.
    fn check(&self) -> Result<()> {
        let names = self.space.methods(&self.method);
        for name in &names {
            methods::find(name).map_err(|e| {
                Diagnostic::usage_around(&e, |why| format!("`space.method`: {why}"))
            })?;
        }
        let has = |name: &str| {
            names.iter().any(|method| methods::find(method).is_ok_and(|m| m.has_key(name)))
        };
        if let Some(key) = self.space.0.iter().find(|key| !has(&key.name)) {
            return Err(foreign(&key.name, &names));
        }
        let mut made: BTreeMap<&str, BTreeMap<&str, Vec<serde_json::Value>>> = BTreeMap::new();
        for (name, point) in self.corners() {
            let recipe = self.recipe(&point, self.seed, &self.output);
            let recipe = recipe.map_err(|error| wrong(name, &point, &error))?;
            let of_method = made.entry(name).or_default().entry(recipe.method.name);
            of_method.or_default().push(in_force(&recipe)?);
        }
        for (i, point) in self.start.iter().enumerate() {
            let recipe = self.recipe(point, self.seed, &self.output);
            recipe.map_err(|error| wrong_start(i + 1, &error))?;
        }
        made.remove("method"); // another method is another recipe
        let same = |recipes: &Vec<serde_json::Value>| recipes.iter().all(|r| *r == recipes[0]);
        match made.into_iter().find(|(_, by_method)| by_method.values().all(same)) {
            None => Ok(()),
            Some((name, _)) => bail!(usage!("`space.\"{name}\"` changes nothing: another key of the recipe overrides it, or it \
                 is not used")
            .hint("name the key of the stage's own table, or leave it out")),
        }
    }

    /// Everything that must match for a journal to be resumed: all but the number of trials, the number
    /// of finalists and the time.
    pub fn identity(&self) -> Result<serde_json::Value> {
        let mut recipe = self.document.clone();
        recipe.retain(|key, _| !NOT_IDENTITY.contains(&key));
        let mut identity = serde_json::json!({
            "seed": self.seed,
            "epsilon": self.epsilon,
            "reference": self.reference,
            "objective": self.objective,
            "search": self.search,
            "unseen": self.unseen,
            "further_seeds": self.further_seeds,
            "non_inferiority": self.non_inferiority,
            "recalibrate": self.recalibrate,
            "stopping": self.stopping,
            "space": self.space,
            "recipe": recipe,
        });
        if !self.start.is_empty() {
            identity["start"] = serde_json::to_value(&self.start)?;
        }
        if let Some((name, _)) = &self.warm_start {
            identity["warm_start"] = name.clone().into();
        }
        if let Some(label_map) = &self.flags.settings.label_map {
            identity["label_map"] = label_map.clone().into();
        }
        Ok(identity)
    }
}

/// Requires a teacher that students are compared with on both splits.
fn require_teacher(recipe: &Recipe) -> Result<()> {
    if !recipe.has_teacher() {
        bail!(Diagnostic::usage("no teacher is given to compare with")
            .hint("pass --teacher DIR_OR_HUB_ID, or set `teacher`"));
    }
    match &recipe.teacher_predictions {
        Some(tables) if tables.validation.is_none() => bail!(Diagnostic::usage(
            "students are compared with the teacher on the validation split too, and \
             `teacher_predictions` names no table of it"
        )
        .hint(
            "set `teacher_predictions = { train = FILE, validation = FILE }`, or give a path with \
             {split}"
        )),
        _ => Ok(()),
    }
}

/// Refuses keys of a recipe that the tune sets.
fn refuse_own(recipe: &Table) -> Result<()> {
    let own = [
        ("held_out", "set `unseen` at the top of the tune instead"),
        ("seed", "set `seed` at the top of the tune instead"),
        ("kappa", "set `kappa` at the top of the tune instead"),
        ("statistic", "set `statistic` at the top of the tune instead"),
        ("confidence", "set `confidence` at the top of the tune instead"),
        ("store", "leave it out: the trials share the teacher's hidden states"),
    ];
    if let Some((key, hint)) = own.into_iter().find(|(key, _)| recipe.contains_key(*key)) {
        bail!(usage!("`recipe.{key}` has no effect in a tune").hint(hint));
    }
    let minimax = recipe.get("minimax").and_then(toml::Value::as_table);
    if minimax.is_some_and(|own| own.contains_key("index")) {
        bail!(Diagnostic::usage("`recipe.minimax.index` has no effect in a tune")
            .hint("leave it out: the trials share the neighbours"));
    }
    Ok(())
}

/// The method, the model that teaches, and all settings of a recipe.
fn in_force(recipe: &Recipe) -> Result<serde_json::Value> {
    let rates = DropoutRates { hidden: 0.0, attention: 0.0, classifier: 0.0 };
    let settings = RecordedRecipe::of(recipe, rates, 1);
    Ok(serde_json::to_value((recipe.method.name, &recipe.learn_from, settings))?)
}

/// The first difference of two recipes in force.
fn difference(path: &str, a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    use serde_json::Value::{Array, Null, Object};
    let inner =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (a, b) {
        _ if a == b => None,
        (Object(a), Object(b)) => {
            let names = a.keys().chain(b.keys());
            names.into_iter().find_map(|name| {
                let (a, b) = (a.get(name).unwrap_or(&Null), b.get(name).unwrap_or(&Null));
                difference(&inner(name), a, b)
            })
        }
        (Array(a), Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(a, b)| difference(path, a, b))
        }
        _ => Some(format!("`{path}` is {a} there and {b} here")),
    }
}

/// The error of a recipe, with the entry of `start` that caused it.
pub fn wrong_start(entry: usize, error: &anyhow::Error) -> anyhow::Error {
    Diagnostic::usage_around(error, |why| format!("`start`, entry {entry}: {why}")).into()
}

/// The error of a recipe, with the key of the space that caused it.
pub fn wrong(name: &str, point: &TrialSettings, error: &anyhow::Error) -> anyhow::Error {
    let value = point.get(name).map(Value::to_string).unwrap_or_default();
    let word = |why: &str| format!("`space.\"{name}\"`: with {value}, {why}");
    Diagnostic::usage_around(error, word).into()
}
