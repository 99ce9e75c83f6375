//! A tune as it is written: TOML, every key optional, unknown keys refused.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::TuneFlags;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::Layer;
use crate::distill::recipe::{resolved, Flags, WrittenTables};
use crate::error::usage;

/// The accuracy that students are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Reference {
    /// That of a model.
    Model(ReferenceModel),
    /// A number.
    Accuracy(f64),
}

/// A model whose accuracy students are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReferenceModel {
    /// The default settings: the mean over their seeds.
    Default,
    /// The teacher.
    Teacher,
}

/// The objective among feasible students.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TuneObjective {
    /// The highest accuracy.
    Accuracy,
    /// The smallest σ.
    Sigma,
    /// The cheapest training.
    Cost,
    /// The fewest parameters.
    Size,
}

/// A search algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SearchName {
    /// Tree-structured Parzen estimator
    Tpe,
    /// Uniform draws from the whole space
    Random,
}

/// Early stopping of trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrialStopping {
    /// Examples of the training set that σ is measured on during a training.
    pub sample: usize,
    /// Largest probability, per epoch, that the test on σ stops a trial wrongly.
    pub delta: f64,
    /// Shares of a trial's epochs at which it must be among the best.
    pub rungs: Vec<f64>,
    /// One trial in this many continues at a rung; 1 stops none.
    pub halving: f64,
}

impl Default for TrialStopping {
    fn default() -> Self {
        TrialStopping { sample: 512, delta: 0.001, rungs: vec![0.5], halving: 1.5 }
    }
}

/// The keys of a tune.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TuneFile {
    pub recipe: Option<Value>,
    pub task: Option<String>,
    pub teacher: Option<String>,
    pub teacher_predictions: Option<WrittenTables>,
    pub data: Option<String>,
    pub output: Option<String>,
    pub trials: Option<usize>,
    pub time: Option<String>,
    pub seed: Option<u64>,
    pub kappa: Option<f64>,
    pub beta: Option<f64>,
    pub beta_per_example: Option<f64>,
    pub alpha: Option<f64>,
    pub gamma: Option<f64>,
    pub statistic: Option<Statistic>,
    pub confidence: Option<ConfidenceKind>,
    pub epsilon: Option<f64>,
    pub reference: Option<Value>,
    pub objective: Option<TuneObjective>,
    pub search: Option<SearchName>,
    pub unseen: Option<f64>,
    pub further_seeds: Option<u64>,
    pub confirm: Option<usize>,
    pub non_inferiority: Option<f64>,
    pub recalibrate: Option<bool>,
    pub stopping: Option<TrialStopping>,
    pub start: Vec<Table>,
    pub warm_start: Option<String>,
    pub space: Table,
}

impl TuneFile {
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: &str| Err(usage!("`{key}` {why}").into());
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
        if self.confirm == Some(0) {
            return wrong("confirm", "must be at least 1: the best trial is the first finalist");
        }
        if self.non_inferiority.is_some_and(|level| !(level > 0.0 && level < 0.5)) {
            return wrong("non_inferiority", "is the level of a test, above 0 and below 0.5");
        }
        let stopping = self.stopping.clone().unwrap_or_default();
        if stopping.sample == 0 {
            return wrong("stopping.sample", "must be at least 1");
        }
        if !(stopping.delta > 0.0 && stopping.delta <= 0.5) {
            return wrong("stopping.delta", "is a probability above 0 and at most 0.5");
        }
        if !(stopping.halving >= 1.0 && stopping.halving.is_finite()) {
            return wrong("stopping.halving", "must be at least 1");
        }
        match stopping.rungs.iter().all(|rung| share(*rung)) {
            true => Ok(()),
            false => wrong("stopping.rungs", "are shares of the epochs, above 0 and below 1"),
        }
    }

    pub fn reference(&self) -> Result<Reference> {
        let of = |whose| Ok(Reference::Model(whose));
        match &self.reference {
            None => of(ReferenceModel::Default),
            Some(Value::String(name)) if name == "default" => of(ReferenceModel::Default),
            Some(Value::String(name)) if name == "teacher" => of(ReferenceModel::Teacher),
            Some(Value::Float(a)) if (0.0..=1.0).contains(a) => Ok(Reference::Accuracy(*a)),
            Some(Value::Integer(a @ 0..=1)) => Ok(Reference::Accuracy(*a as f64)),
            Some(other) => {
                let kinds = "neither `default` nor `teacher` nor an accuracy from 0 to 1";
                Err(usage!("`reference` = {other} is {kinds}").into())
            }
        }
    }

    /// The origin of the bound, if it is this file: flags replace it as a whole.
    pub fn bound_origin(&self, flags: &TuneFlags, path: &Path) -> Option<String> {
        let keys = self.bound().bound_keys();
        let is_here = flags.training.settings.bound_keys().is_empty() && !keys.is_empty();
        is_here.then(|| format!("`{}` of {}", keys.join("`, `"), path.display()))
    }

    pub fn bound(&self) -> Layer {
        Layer {
            kappa: self.kappa,
            beta: self.beta,
            beta_per_example: self.beta_per_example,
            alpha: self.alpha,
            gamma: self.gamma,
            ..Layer::default()
        }
    }

    pub fn time(&self) -> Result<Option<Duration>> {
        let parse = |text: &String| {
            humantime::parse_duration(text)
                .map_err(|e| usage!("`time` = `{text}`: {e}").hint("write it as 90m, 2h or 1h 30m"))
        };
        Ok(self.time.as_ref().map(parse).transpose()?)
    }

    /// The file's keys for trainings under `flags`. Flags replace the bound as a whole.
    pub fn under(&self, flags: &Flags, path: &Path) -> Flags {
        let mut flags = flags.clone();
        let above = &mut flags.settings;
        if above.bound_keys().is_empty() {
            let Layer { kappa, beta, beta_per_example, alpha, gamma, .. } = self.bound();
            (above.kappa, above.beta, above.beta_per_example) = (kappa, beta, beta_per_example);
            (above.alpha, above.gamma) = (alpha, gamma);
        }
        above.statistic = above.statistic.or(self.statistic);
        above.confidence = above.confidence.or(self.confidence);
        let folder = path.parent().unwrap_or(Path::new("."));
        let here = |value: &String| resolved(folder, value).display().to_string();
        // A flag replaces the file's teacher of the other kind too.
        if above.teacher.is_none() && flags.teacher_predictions.is_none() {
            above.teacher = self.teacher.as_ref().map(here);
            let written = self.teacher_predictions.clone();
            flags.teacher_predictions = written.map(|written| written.within(folder));
        }
        above.data = above.data.take().or(self.data.as_ref().map(here));
        flags.task = flags.task.or(self.task.clone());
        flags
    }
}
