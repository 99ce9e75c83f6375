//! The settings of each task, and the origin of each value: built-in defaults, a config file, flags.
//!
//! Layers are merged key by key, and the last one wins: built-in defaults, the config's `[defaults]`,
//! its `[task.NAME]`, flags. The bound is one unit: a layer that sets any of `kappa`, `beta`,
//! `beta_per_example`, `alpha` and `gamma` replaces all five.

mod command;
mod layer;
mod resolve;
mod served;
mod shown;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use serde::Deserialize;

pub use command::{command_line, quoted, WITHOUT_EFFECT};
pub use layer::{BoundSource, Layer, BOUND_KEYS};
pub use resolve::{Origin, Settings, Stop};

use crate::error::{usage, Diagnostic};
use crate::task;

/// The commented config that `audit init` writes; equal to the built-in defaults by test.
pub const DEFAULT_TOML: &str = include_str!("../configs/default.toml");

/// The config that is read from the current folder when `--config` is not given.
pub const DEFAULT_NAME: &str = "audit.toml";

/// The largest config that is read, in bytes.
const LARGEST_CONFIG: u64 = 16 << 20;

/// A config file: `[defaults]` and a `[task.NAME]` per task.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// For every task.
    #[serde(default)]
    pub defaults: Layer,
    /// For one task, built in or the user's own.
    #[serde(default)]
    pub task: BTreeMap<String, Layer>,
    /// The file that was read; `None` for no file.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// The file's text, for its hash.
    #[serde(skip)]
    pub text: String,
}

/// The text of a config, which may be a pipe: `--config <(…)`.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST_CONFIG + 1).read_to_string(&mut text)?;
    match text.len() as u64 > LARGEST_CONFIG {
        true => Err(io::Error::other(format!("it has more than {LARGEST_CONFIG} bytes"))),
        false => Ok(text),
    }
}

impl Config {
    /// Reads `path`; without one, `audit.toml` of the current folder if there is one.
    ///
    /// # Errors
    /// A file that cannot be read, is not valid TOML, or has an unknown key (with line and column).
    pub fn load(path: Option<&Path>) -> Result<Self> {
        match path {
            Some(path) => Self::read(path),
            None if Path::new(DEFAULT_NAME).is_file() => Self::read(Path::new(DEFAULT_NAME)),
            None => Ok(Config::default()),
        }
    }

    fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)
            .map_err(|e| usage!("cannot read the config `{}`: {e}", path.display()))?;
        Ok(Self::from_text(&text, path).map_err(|e| {
            let name = path.display();
            Diagnostic::usage_around(&e, |why| format!("the config `{name}` is wrong: {why}"))
        })?)
    }

    /// Parses config text; relative paths resolve against the folder of `path`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_text(text: &str, path: &Path) -> Result<Self> {
        let config = Self::parse(text)?;
        Ok(Config { path: Some(path.to_owned()), text: text.to_owned(), ..config })
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Config =
            toml::from_str(text).map_err(|e| Diagnostic::usage(e.to_string().trim_end()))?;
        if let Some(key) = config.defaults.task_keys().first() {
            bail!(usage!("`{key}` is in [defaults], but it describes one task's data")
                .hint("move it into a [task.NAME] table"));
        }
        Ok(Config { task: by_canonical_name(config.task)?, ..config })
    }

    /// The folder that relative paths in the file resolve against.
    pub fn folder(&self) -> PathBuf {
        let parent =
            self.path.as_deref().and_then(Path::parent).filter(|p| !p.as_os_str().is_empty());
        parent.unwrap_or(Path::new(".")).to_owned()
    }

    /// The merged settings of `task`.
    ///
    /// # Errors
    /// A value outside its range, or settings that contradict each other; the message names the key
    /// and its origin.
    pub fn settings(&self, task: &str, flags: &Layer) -> Result<Settings> {
        Settings::resolve(self, task, flags)
    }
}

/// Canonical task names: `[task.SST-2]` is `[task.sst2]`, as `--task SST-2` is `--task sst2`.
fn by_canonical_name(tables: BTreeMap<String, Layer>) -> Result<BTreeMap<String, Layer>> {
    let mut canonical = BTreeMap::new();
    for (name, table) in tables {
        let task = task::canonical_name(&name);
        if canonical.insert(task.clone(), table).is_some() {
            bail!(usage!("two tables describe the task {task}: it has more than one spelling")
                .hint(format!("keep [task.{task}] alone")));
        }
    }
    Ok(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::{ConfidenceKind, Statistic};

    #[test]
    fn the_commented_config_is_the_built_in_one() {
        let parsed = Config::parse(DEFAULT_TOML).unwrap();
        // As a setting, the default would go before the tokenizer's limit.
        let max_length = Layer::built_in().max_length;
        assert_eq!(Layer { max_length, ..parsed.defaults }, Layer::built_in());
        assert!(parsed.task.is_empty());
    }

    #[test]
    fn every_key_is_in_the_commented_config() {
        for key in Layer::keys() {
            let has_key =
                |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} ="));
            assert!(
                DEFAULT_TOML.lines().any(has_key),
                "configs/default.toml does not have `{key}`"
            );
        }
    }

    #[test]
    fn the_keys_of_a_user_s_own_task_are_those_of_its_description() {
        let full = "dataset = 'a/b'\nsubset = 's'\ntext = 't'\nlabel = 'l'\nlabels = ['x', 'y']\n\
                    splits = { train = 't' }\nformat = 'tsv'\nmetric = 'matthews'";
        let layer: Layer = toml::from_str(full).unwrap();
        let task = serde_json::to_value(layer.custom_task().unwrap()).unwrap();
        let keys: Vec<&String> = task.as_object().unwrap().keys().collect();
        assert_eq!(keys, layer.task_keys());
        assert_eq!(toml::from_str::<task::CustomTask>(full).unwrap(), layer.custom_task().unwrap());
    }

    #[test]
    fn the_glue_config_names_the_six_tasks() {
        let config = Config::parse(include_str!("../configs/glue.toml")).unwrap();
        let mut names: Vec<_> = config.task.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cola", "mrpc", "qnli", "qqp", "rte", "sst2"]);
        for task in names {
            config.settings(task, &Layer::default()).unwrap();
        }
    }

    #[test]
    fn unknown_keys_name_line_and_column() {
        let error =
            Config::parse("[defaults]\nmax_length = 128\nkapa = 0.05\n").unwrap_err().to_string();
        assert!(error.contains("line 3, column 1") && error.contains("kapa"), "{error}");
        let error = Config::parse("[task.sst2]\nteachr = \"t\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2, column 1"), "{error}");
    }

    #[test]
    fn a_task_s_table_is_found_in_any_spelling() {
        let config = Config::parse("[task.SST-2]\nmax_length = 64\n").unwrap();
        assert_eq!(config.settings("sst2", &Layer::default()).unwrap().max_length, 64);
        let twice = Config::parse("[task.SST-2]\nseed = 1\n[task.sst2]\nseed = 2\n");
        assert!(crate::error::rendered(&twice.unwrap_err()).contains("keep [task.sst2] alone"));
    }

    #[test]
    fn later_layers_win_and_are_the_origin() {
        let mut config = Config::parse(
            "[defaults]\nmax_length = 64\nseed = 1\nteacher = \"a\"\n[task.sst2]\nseed = 2\n",
        )
        .unwrap();
        config.path = Some("audit.toml".into());
        let flags = Layer { teacher: Some("b".into()), ..Layer::default() };
        let settings = config.settings("sst2", &flags).unwrap();
        assert_eq!((settings.max_length, settings.seed), (64, 2));
        assert_eq!(settings.teacher.as_deref(), Some("b"));
        assert_eq!(settings.origin("teacher").to_string(), "flag --teacher");
        assert_eq!(settings.origin("seed").to_string(), "`audit.toml` [task.sst2]");
        assert_eq!(settings.origin("max_length").to_string(), "`audit.toml` [defaults]");
        assert_eq!(settings.origin("token_budget").to_string(), "default");
        assert_eq!(config.settings("rte", &Layer::default()).unwrap().seed, 1);
    }

    #[test]
    fn a_report_names_statistic_and_confidence_as_flags_do() {
        use clap::ValueEnum;
        for statistic in Statistic::ALL {
            assert_eq!(Statistic::from_str(statistic.as_str(), false), Ok(statistic));
            assert_eq!(serde_json::to_value(statistic).unwrap(), statistic.as_str());
            let flags = Layer { statistic: Some(statistic), ..Layer::default() };
            assert_eq!(Config::default().settings("sst2", &flags).unwrap().statistic, statistic);
        }
        for kind in ConfidenceKind::ALL {
            assert_eq!(ConfidenceKind::from_str(kind.as_str(), false), Ok(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            let flags = Layer { confidence: Some(kind), ..Layer::default() };
            assert_eq!(Config::default().settings("sst2", &flags).unwrap().confidence, kind);
        }
    }

    #[test]
    fn a_bound_is_one_unit() {
        let config = Config::parse("[defaults]\nbeta = 10.0\nalpha = 0.5\ngamma = 2.0\n").unwrap();
        let kappa = |flags: &Layer| config.settings("sst2", flags).map(|s| s.bound.kappa(1000));
        // 2·sqrt(10/(1000·0.5)) = 0.2828…
        assert!((kappa(&Layer::default()).unwrap() - 0.282_842_712).abs() < 1e-9);
        // The flag's β comes with the built-in α and γ: sqrt(2.5/1000) = 0.05.
        let flags = Layer { beta: Some(2.5), ..Layer::default() };
        assert!((kappa(&flags).unwrap() - 0.05).abs() < 1e-12);
        // α alone would silently drop the config's β.
        let flags = Layer { alpha: Some(0.2), ..Layer::default() };
        assert!(kappa(&flags).unwrap_err().to_string().contains("one unit"));
        let two = Layer { beta: Some(1.0), kappa: Some(0.1), ..Layer::default() };
        assert!(kappa(&two).unwrap_err().to_string().contains("kappa"));
    }

    #[test]
    fn alpha_alone_does_not_drop_the_student_s_own_bound() {
        let config = Config::parse("[defaults]\nbound = \"from-student\"\n").unwrap();
        let alone = Layer { alpha: Some(0.5), ..Layer::default() };
        let error = config.settings("sst2", &alone).unwrap_err().to_string();
        assert!(error.contains("flag --alpha alone") && error.contains("one unit"), "{error}");
        let whole = Layer { kappa: Some(0.1), ..alone.clone() };
        assert_eq!(config.settings("sst2", &whole).unwrap().bound_source, BoundSource::Policy);
        let policy = Layer { bound: Some(BoundSource::Policy), ..alone };
        assert_eq!(config.settings("sst2", &policy).unwrap().bound_source, BoundSource::Policy);
    }

    #[test]
    fn alpha_alone_weighs_the_built_in_bound() {
        let flags = Layer { alpha: Some(0.75), ..Layer::default() };
        let settings = Config::default().settings("sst2", &flags).unwrap();
        assert!((settings.bound.kappa(7) - 0.1).abs() < 1e-12); // sqrt(0.0025/0.25)
    }
}
