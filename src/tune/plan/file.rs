//! A tune as it is written, and what stands in it by itself.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::TuneFlags;
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::Layer;
use crate::distill::recipe::{beside, Flags};
use crate::error::Diagnostic;

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

/// How the next settings are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum SearchName {
    /// Tree-structured Parzen estimator
    Tpe,
    /// Uniform draws from the whole space
    Random,
}

/// When a trial is given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrialStopping {
    /// Examples of the training set on which a student is looked at while it is trained.
    pub sample: usize,
    /// Probability with which one is given up wrongly for a σ that is too large by now.
    pub delta: f64,
    /// Shares of a trial's epochs at which it must be among the best of those that came so far.
    pub rungs: Vec<f64>,
    /// One in so many is; 1 gives none up at the rungs.
    pub halving: f64,
}

impl Default for TrialStopping {
    fn default() -> Self {
        TrialStopping { sample: 512, delta: 0.001, rungs: vec![0.5], halving: 1.5 }
    }
}

/// A tune as it is written; unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TuneFile {
    pub recipe: Option<Value>,
    pub task: Option<String>,
    pub teacher: Option<String>,
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
    pub recalibrate: Option<bool>,
    pub stopping: Option<TrialStopping>,
    pub space: Table,
}

impl TuneFile {
    pub fn check(&self) -> Result<()> {
        let wrong = |key: &str, why: &str| Err(Diagnostic::usage(format!("`{key}` {why}")).into());
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
            return wrong("stopping.halving", "must be at least 1");
        }
        match stopping.rungs.iter().all(|rung| share(*rung)) {
            true => Ok(()),
            false => wrong("stopping.rungs", "are shares of the epochs, above 0 and below 1"),
        }
    }

    pub fn reference(&self) -> Result<Reference> {
        let of = |whose| Ok(Reference::Of(whose));
        match &self.reference {
            None => of(Whose::Default),
            Some(Value::String(name)) if name == "default" => of(Whose::Default),
            Some(Value::String(name)) if name == "teacher" => of(Whose::Teacher),
            Some(Value::Float(a)) if (0.0..=1.0).contains(a) => Ok(Reference::Accuracy(*a)),
            Some(Value::Integer(a @ 0..=1)) => Ok(Reference::Accuracy(*a as f64)),
            Some(other) => Err(Diagnostic::usage(format!(
                "`reference` = {other} is neither `default` nor `teacher` nor an accuracy from 0 to 1"
            )).into()),
        }
    }

    /// Who set the bound, where it is this file: flags that name a part of it say all of it.
    pub fn bound_origin(&self, flags: &TuneFlags, path: &Path) -> Option<String> {
        let keys = self.bound().bound_keys();
        let is_here = flags.training.settings.bound_keys().is_empty() && !keys.is_empty();
        is_here.then(|| format!("`{}` of {}", keys.join("`, `"), path.display()))
    }

    /// What it says of the bound.
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
            humantime::parse_duration(text).map_err(|e| {
                Diagnostic::usage(format!("`time` = `{text}`: {e}"))
                    .hint("write it as 90m, 2h or 1h 30m")
            })
        };
        Ok(self.time.as_ref().map(parse).transpose()?)
    }

    /// What trainings have too, under `flags`. The bound is one unit: flags that name a part of it
    /// say all of it.
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
        let here = |value: &String| beside(folder, value).display().to_string();
        above.teacher = above.teacher.take().or(self.teacher.as_ref().map(here));
        above.data = above.data.take().or(self.data.as_ref().map(here));
        flags.task = flags.task.or(self.task.clone());
        flags
    }
}
