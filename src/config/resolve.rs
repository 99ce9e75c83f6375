//! Merges layers into settings, records the origin of each value, and rejects contradictions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{bail, Result};

use super::layer::{with_keys, CasingName};
use super::served::{library_of_environment, served, WrongValue};
use super::shown::shown;
use super::{BoundSource, Config, Layer, BOUND_KEYS};
use crate::check::{
    Bound, BoundPolicy, DEFAULT_BETA_PER_EXAMPLE, DEFAULT_DELTA, LARGEST_DELTA, SMALLEST_DELTA,
};
use crate::checkpoint::{Casing, LabelMap};
use crate::confidence::{ConfidenceKind, Statistic};
use crate::error::usage;
use crate::model::onnx::Served;
use crate::model::Head;
use crate::task::{self, TaskSpec};

/// The origin of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The program.
    Default,
    /// A table of the config file.
    Config {
        /// The file.
        file: PathBuf,
        /// `[defaults]` or `[task.NAME]`.
        table: String,
    },
    /// The command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            Origin::Config { file, table } => write!(f, "`{}` {table}", file.display()),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// The stopping rule of the gating split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// After the last example.
    AtEnd,
    /// Once the budget is spent.
    FailFast,
    /// Once an anytime-valid test reaches a verdict.
    Sequential {
        /// Largest probability of a wrong verdict.
        delta: f64,
    },
}

/// The settings of one task.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The task.
    pub task: TaskSpec,
    /// Folder or Hub id of the teacher.
    pub teacher: Option<String>,
    /// Folder or Hub id of the student.
    pub student: Option<String>,
    /// Folder of the data.
    pub data: Option<PathBuf>,
    /// The gating split; `None` for train, with validation as the secondary split.
    pub split: Option<String>,
    /// The splits that `--split` names after it: audited, but not gated on.
    pub secondary_splits: Vec<String>,
    /// Number of examples to audit, from the first; `None` for all.
    pub limit: Option<usize>,
    /// Whether more than 0.1 % of the rows may be unusable.
    pub allow_skipped: bool,
    /// The policy's bound.
    pub bound: Bound,
    /// Where it was set, such as `flag --kappa`.
    pub bound_origin: String,
    /// Whether the bound of the policy gates, or the one in the student's record.
    pub bound_source: BoundSource,
    /// The statistic that gates.
    pub statistic: Statistic,
    /// The confidence that gates.
    pub confidence: ConfidenceKind,
    /// The task's names of the models' labels.
    pub label_map: LabelMap,
    /// Head convention of the teacher.
    pub teacher_head: Head,
    /// Head convention of the student.
    pub student_head: Head,
    /// How a vocab.txt without a tokenizer.json is read.
    pub casing: Casing,
    /// The stopping rule of the gating split.
    pub stop: Stop,
    /// How a service runs an ONNX model.
    pub served: Served,
    /// The shared library of ONNX Runtime; `None` for the built-in runtime.
    pub onnxruntime: Option<PathBuf>,
    /// Maximum tokens of a sequence.
    pub max_length: usize,
    /// Maximum tokens of a batch.
    pub token_budget: usize,
    /// Worker threads.
    pub threads: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Whether logits are read from and written to the prediction cache.
    pub cache: bool,
    /// The config file, if any.
    pub config: Option<PathBuf>,
    origins: BTreeMap<&'static str, Origin>,
    values: BTreeMap<&'static str, String>,
}

/// The layers of one task merged so far.
struct Merged {
    layer: Layer,
    origins: BTreeMap<&'static str, Origin>,
}

impl Merged {
    fn new() -> Self {
        let mut merged = Merged { layer: Layer::default(), origins: BTreeMap::new() };
        merged.keys(&Layer::built_in(), |_| Origin::Default);
        merged
    }

    /// Merges the keys that `above` sets.
    fn keys(&mut self, above: &Layer, origin: impl Fn(&str) -> Origin) {
        macro_rules! take {
            ($($field:ident)*) => {$(
                if above.$field.is_some() {
                    self.layer.$field = above.$field.clone();
                    self.origins.insert(stringify!($field), origin(stringify!($field)));
                }
            )*};
        }
        with_keys!(take);
    }

    /// Replaces the bound by that of `above`, as one unit.
    fn bound(&mut self, above: &Layer, origin: impl Fn(&str) -> Origin) -> Result<()> {
        let keys = above.bound_keys();
        let Some(first) = keys.first() else { return Ok(()) };
        let thresholds: Vec<_> = keys.iter().filter(|k| BOUND_KEYS[..3].contains(k)).collect();
        let would_drop = |below: &Origin| {
            usage!("{} alone would drop the bound of {below}: a bound is one unit", origin(first))
                .hint("give kappa, beta or beta_per_example too")
        };
        match above.bound {
            Some(BoundSource::FromStudent) => bail!(usage!(
                "{} and `bound = \"from-student\"` each set the bound ({})",
                first,
                origin(first)
            )
            .hint("keep one of them")),
            Some(BoundSource::Policy) => {}
            None if thresholds.is_empty() && self.layer.bound == Some(BoundSource::FromStudent) => {
                bail!(would_drop(self.origins.get("bound").unwrap_or(&Origin::Default)))
            }
            // A given bound gates, even over a from-student of a lower layer.
            None => {
                self.layer.bound = Some(BoundSource::Policy);
                self.origins.insert("bound", origin(first));
            }
        }
        if thresholds.len() > 1 {
            let places: Vec<_> = thresholds.iter().map(|k| origin(k).to_string()).collect();
            bail!(usage!("the bound is set twice: {}", places.join(" and "))
                .hint("give one of kappa, beta and beta_per_example"));
        }
        let below =
            self.origins.get("kappa").filter(|_| bound(&self.layer) != Ok(Bound::default()));
        if let (true, Some(below)) = (thresholds.is_empty(), below) {
            bail!(would_drop(below));
        }
        self.layer.kappa = above.kappa;
        self.layer.beta = above.beta;
        self.layer.beta_per_example = above.beta_per_example;
        self.layer.alpha = above.alpha;
        self.layer.gamma = above.gamma;
        for key in BOUND_KEYS {
            self.origins.insert(key, origin(keys.first().expect("at least one key is named")));
        }
        Ok(())
    }
}

impl Settings {
    pub(super) fn resolve(config: &Config, task: &str, flags: &Layer) -> Result<Self> {
        let mut merged = Merged::new();
        let table = config.task.get(task);
        let file = config.path.clone().unwrap_or_default();
        let in_file = |table: String| {
            let file = file.clone();
            move |_: &str| Origin::Config { file: file.clone(), table: table.clone() }
        };
        let flag = |key: &str| Origin::Flag(key.replace('_', "-"));
        for (layer, table) in
            [(Some(&config.defaults), "[defaults]".to_owned()), (table, format!("[task.{task}]"))]
        {
            if let Some(layer) = layer {
                merged.keys(layer, in_file(table.clone()));
                merged.bound(layer, in_file(table))?;
            }
        }
        merged.keys(flags, flag);
        merged.bound(flags, flag)?;
        if flags.cased || flags.uncased {
            let casing = if flags.cased { CasingName::Cased } else { CasingName::Uncased };
            merged.layer.casing = Some(casing);
            merged.origins.insert("casing", flag(if flags.cased { "cased" } else { "uncased" }));
        }
        if flags.no_cache {
            merged.layer.cache = Some(false);
            merged.origins.insert("cache", flag("no_cache"));
        }
        if flags.onnxruntime.is_some() {
            merged.layer.onnxruntime = flags.onnxruntime.clone();
            merged.origins.insert("onnxruntime", flag("onnxruntime"));
        }
        let spec = task_spec(config, task, table)?;
        Self::checked(spec, merged, config)
    }

    fn checked(task: TaskSpec, merged: Merged, config: &Config) -> Result<Self> {
        let folder = config.folder();
        let Merged { layer, origins } = merged;
        let name = task.name.clone();
        let from_config = |key: &str| matches!(origins.get(key), Some(Origin::Config { .. }));
        let located = |key: &'static str, value: &Option<String>| {
            value.as_ref().map(|value| {
                let value = value.replace("{task}", &name);
                let in_folder = folder.join(&value);
                match from_config(key) && in_folder.exists() {
                    true => in_folder.display().to_string(),
                    false => value,
                }
            })
        };
        let bound = bound(&layer).map_err(|e| {
            let origin = origins.get("kappa").unwrap_or(&Origin::Default);
            usage!("{e} ({origin})")
        })?;
        let wrong = |key: &str, why: &str| {
            let origin = origins.get(key).unwrap_or(&Origin::Default);
            usage!("`{key}` ({origin}) {why}")
        };
        let unusable = |WrongValue { key, why, hint }: WrongValue| {
            let error = wrong(key, &why);
            match hint {
                Some(hint) => error.hint(hint),
                None => error,
            }
        };
        for (key, value, least) in [
            ("limit", layer.limit, 1),
            ("onnx_batch", layer.onnx_batch, 1),
            ("threads", layer.threads, 1),
            ("token_budget", layer.token_budget, 1),
            ("max_length", layer.max_length, 8),
        ] {
            if value.is_some_and(|v| v < least) {
                return Err(wrong(key, &format!("must be at least {least}")).into());
            }
        }
        if layer.sequential != Some(true) && matches!(origins.get("delta"), Some(Origin::Flag(_))) {
            let without = wrong("delta", "has no effect without --sequential");
            return Err(without.hint("give both, or neither").into());
        }
        let label_map = match &layer.label_map {
            Some(text) => LabelMap::from_str(text)?,
            None => LabelMap::default(),
        };
        let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = layer.threads.unwrap_or_else(cores);
        let splits = layer.split.as_ref().map(|list| split_names(list, &task)).transpose();
        let mut splits = splits.map_err(unusable)?.unwrap_or_default().into_iter();
        Ok(Settings {
            teacher: located("teacher", &layer.teacher),
            student: located("student", &layer.student),
            data: located("data", &layer.data).map(PathBuf::from),
            split: splits.next(),
            secondary_splits: splits.collect(),
            limit: layer.limit,
            allow_skipped: layer.allow_skipped.unwrap_or(false),
            bound,
            bound_origin: bound_origin(&layer, &origins),
            bound_source: layer.bound.unwrap_or(BoundSource::Policy),
            statistic: layer.statistic.unwrap_or_default(),
            confidence: layer.confidence.unwrap_or_default(),
            label_map,
            teacher_head: layer.teacher_head.unwrap_or_default(),
            student_head: layer.student_head.unwrap_or_default(),
            casing: match layer.casing {
                Some(CasingName::Cased) => Casing::Cased,
                Some(CasingName::Uncased) => Casing::Uncased,
                _ => Casing::Auto,
            },
            stop: stop(&layer).map_err(unusable)?,
            served: served(&layer).map_err(unusable)?,
            onnxruntime: layer.onnxruntime.clone().or_else(library_of_environment),
            max_length: layer.max_length.unwrap_or(128),
            token_budget: layer.token_budget.unwrap_or(512),
            threads,
            seed: layer.seed.unwrap_or(0),
            device: layer.device.clone().unwrap_or_else(|| "cpu".to_owned()),
            cache: layer.cache.unwrap_or(true),
            task,
            config: config.path.clone(),
            values: shown(&layer, threads),
            origins,
        })
    }

    /// The origin of `key`.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Each key with its value as TOML, in a fixed order; `None` for a key that is not set.
    pub fn values(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        Layer::keys().into_iter().map(|key| (key, self.values.get(key).map(String::as_str)))
    }

    /// The value of `key` as TOML; `None` if it is not set.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Whether the maximum length was set to another value than the default.
    pub fn max_length_is_explicit(&self) -> bool {
        self.origin("max_length") != Origin::Default
            && Some(self.max_length) != Layer::built_in().max_length
    }

    /// Whether the command line or the config sets the maximum length.
    pub fn max_length_is_given(&self) -> bool {
        self.origin("max_length") != Origin::Default
    }

    /// The teacher; a usage error if none is set.
    pub fn require_teacher(&self) -> Result<&str> {
        self.require("teacher", &self.teacher)
    }

    /// The student; a usage error if none is set.
    pub fn require_student(&self) -> Result<&str> {
        self.require("student", &self.student)
    }

    fn require<'a>(&self, role: &str, value: &'a Option<String>) -> Result<&'a str> {
        Ok(value.as_deref().ok_or_else(|| {
            let task = &self.task.name;
            usage!("the task {task} has no {role}").hint(format!(
                "pass --{role} DIR_OR_HUB_ID, or set `{role}` in [task.{task}] or [defaults] of a \
                 config"
            ))
        })?)
    }
}

/// The splits of `train,validation,NAME` by their canonical names, each once; at least one.
fn split_names(list: &str, task: &TaskSpec) -> Result<Vec<String>, WrongValue> {
    let mut names: Vec<String> = Vec::new();
    for name in list.split(',').map(|name| task.canonical_split(name.trim())) {
        if name.is_empty() {
            return Err(WrongValue {
                key: "split",
                why: format!("is `{list}`, with a missing name"),
                hint: Some("separate the splits by commas, the gating one first"),
            });
        }
        if names.contains(&name) {
            return Err(WrongValue {
                key: "split",
                why: format!("names `{name}` twice"),
                hint: Some("name each split once"),
            });
        }
        names.push(name);
    }
    Ok(names)
}

fn task_spec(config: &Config, task: &str, table: Option<&Layer>) -> Result<TaskSpec> {
    let keys = table.map(Layer::task_keys).unwrap_or_default();
    match table.and_then(Layer::custom_task) {
        Some(_) if task::is_builtin(task) => bail!(usage!(
            "[task.{task}] describes its own data (`{}`), and `{task}` is a task of GLUE",
            keys.join("`, `")
        )
        .hint("give your task another name")),
        Some(custom) => TaskSpec::custom(task, custom, &config.folder()),
        None if !keys.is_empty() => {
            bail!(usage!("[task.{task}] has `{}` but no `text` column", keys.join("`, `"))
                .hint("a task of your own needs `text`"))
        }
        None if table.is_some() && !task::is_builtin(task) => {
            bail!(usage!("[task.{task}] is not a task of GLUE and describes no data")
                .hint("a task of your own needs `text` and `splits` (or `dataset`)"))
        }
        None => TaskSpec::glue(task),
    }
}

fn bound(layer: &Layer) -> Result<Bound, crate::check::BoundError> {
    let policy = match (layer.kappa, layer.beta, layer.beta_per_example) {
        (Some(kappa), _, _) => BoundPolicy::Kappa(kappa),
        (_, Some(beta), _) => BoundPolicy::Beta(beta),
        (_, _, beta) => BoundPolicy::BetaPerExample(beta.unwrap_or(DEFAULT_BETA_PER_EXAMPLE)),
    };
    Bound::new(policy, layer.alpha.unwrap_or(0.0), layer.gamma.unwrap_or(1.0))
}

fn stop(layer: &Layer) -> Result<Stop, WrongValue> {
    let delta = layer.delta.unwrap_or(DEFAULT_DELTA);
    if !(SMALLEST_DELTA..=LARGEST_DELTA).contains(&delta) {
        let range = format!("from {SMALLEST_DELTA:e} to {LARGEST_DELTA}");
        let why = format!("must be a probability {range}, but it is {delta}");
        return Err(WrongValue { key: "delta", why, hint: None });
    }
    let (fail_fast, sequential) =
        (layer.fail_fast.unwrap_or(false), layer.sequential.unwrap_or(false));
    if layer.statistic == Some(Statistic::Published) && (fail_fast || sequential) {
        return Err(WrongValue {
            key: if sequential { "sequential" } else { "fail_fast" },
            why: "does not work with the statistic published, which needs every prediction: only \
                  then is known which examples both models get right"
                .to_owned(),
            hint: Some("use another statistic, or run to the end"),
        });
    }
    match (fail_fast, sequential) {
        (true, true) => Err(WrongValue {
            key: "fail_fast",
            why: "and `sequential` are both set".to_owned(),
            hint: Some("keep one; a sequential run stops at a spent budget too"),
        }),
        (true, false) => Ok(Stop::FailFast),
        (false, true) if layer.statistic == Some(Statistic::Centred) => Err(WrongValue {
            key: "sequential",
            why: "is for the statistic rms only: the centred one is not a sum over the examples"
                .to_owned(),
            hint: Some("leave --sequential or --statistic centred out"),
        }),
        (false, true) => Ok(Stop::Sequential { delta }),
        (false, false) => Ok(Stop::AtEnd),
    }
}

fn bound_origin(layer: &Layer, origins: &BTreeMap<&'static str, Origin>) -> String {
    let key = layer.bound_keys().first().copied().unwrap_or("beta_per_example");
    match origins.get("kappa") {
        None | Some(Origin::Default) => "default".to_owned(),
        Some(Origin::Flag(_)) => format!("flag --{}", key.replace('_', "-")),
        Some(origin) => format!("{origin} {key}"),
    }
}
