//! Descriptions of tasks: name, labels, columns and the source of the splits.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

use super::custom::CustomTask;
use super::glue::{plain, GlueTask, GLUE, HUB_ID};
use super::spelling::did_you_mean;
use crate::error::usage;
use crate::hub::{HubRepo, RepoKind};

/// The figure of a task that is reported in addition to accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of correct predictions.
    Accuracy,
    /// Accuracy, and F1 of label id 1 (MRPC, QQP).
    AccuracyAndF1,
    /// Matthews' correlation coefficient (CoLA).
    Matthews,
}

/// A task of GLUE or a user's own.
#[derive(Debug, Clone)]
pub struct TaskSpec {
    /// `sst2`, or the NAME of `[task.NAME]`.
    pub name: String,
    /// Index = label id. Empty if a user's task names none.
    pub label_names: Vec<String>,
    /// The task's own figure.
    pub metric: Metric,
    pub(super) columns: Columns,
    pub(super) source: TaskSource,
}

#[derive(Debug, Clone)]
pub(super) struct Columns {
    /// Alternatives of one or two names; the first that a file has in full is taken.
    pub(super) text: Vec<Vec<String>>,
    /// Alternatives; the first that a file has is taken.
    pub(super) label: Vec<String>,
    /// Whether a file without any of these label columns is an error.
    pub(super) label_expected: bool,
    /// The columns of files without a header line.
    pub(super) headerless: Option<&'static [&'static str]>,
}

/// The source of a task's splits.
#[derive(Debug, Clone)]
pub(super) enum TaskSource {
    Glue(&'static GlueTask),
    Custom { task: Box<CustomTask>, base_dir: PathBuf },
}

impl TaskSpec {
    /// The built-in task of that name, in any case and hyphenation.
    ///
    /// # Errors
    /// A usage error for STS-B (a regression) and for unknown names.
    pub fn glue(name: &str) -> Result<TaskSpec> {
        let key = match plain(name).as_str() {
            "mnlim" | "mnlimatched" => "mnli".to_owned(),
            "mnlimismatched" => "mnlimm".to_owned(),
            key => key.to_owned(),
        };
        if key == "stsb" {
            bail!(usage!("task `{name}` is a regression: it has no classes, so confidence is not defined for it").hint(format!("the classification tasks are {}", names())));
        }
        let Some(task) = GLUE.iter().find(|task| plain(task.name) == key) else {
            return Err(unknown(name));
        };
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Ok(TaskSpec {
            name: task.name.to_owned(),
            label_names: owned(task.labels),
            metric: task.metric,
            columns: Columns {
                text: task.text.iter().map(|names| owned(names)).collect(),
                label: owned(task.label),
                label_expected: false,
                headerless: task.headerless,
            },
            source: TaskSource::Glue(task),
        })
    }

    /// A user's own task; its paths are relative to the folder given by `--data`, then to `base_dir`
    /// (the config file's folder).
    ///
    /// # Errors
    /// A usage error for the name of a built-in task or a contradictory description.
    pub fn custom(name: &str, task: CustomTask, base_dir: &Path) -> Result<TaskSpec> {
        if is_builtin(name) {
            bail!(usage!("`[task.{name}]` describes data, but `{name}` is a built-in task")
                .hint("give your own task another name"));
        }
        task.validate(name)?;
        Ok(TaskSpec {
            name: name.to_owned(),
            label_names: task.labels.clone().unwrap_or_default(),
            metric: task.metric.unwrap_or(Metric::Accuracy),
            columns: Columns {
                text: vec![task.text.names()],
                label: task.label.iter().cloned().collect(),
                label_expected: task.label.is_some(),
                headerless: None,
            },
            source: TaskSource::Custom { task: Box::new(task), base_dir: base_dir.to_owned() },
        })
    }

    /// The canonical name of a split: `dev` is `validation`, and so is MNLI's
    /// `validation_matched`.
    pub fn canonical_split(&self, split: &str) -> String {
        let canonical = match &self.source {
            TaskSource::Glue(task) => {
                ["train", "validation", "test"].into_iter().find(|canonical| {
                    let files = task.split(canonical).expect("each task has these three");
                    *canonical == split || files.stems.contains(&split)
                })
            }
            TaskSource::Custom { .. } => None,
        };
        match canonical {
            Some(canonical) => canonical.to_owned(),
            None if split == "dev" && !self.names_split("dev") => "validation".to_owned(),
            None => split.to_owned(),
        }
    }

    /// The Hub's data set of the task, for use without local files.
    ///
    /// # Errors
    /// Never for a built-in task or one that [`TaskSpec::custom`] accepted.
    pub fn hub_repo(&self) -> Result<Option<HubRepo>> {
        match &self.source {
            TaskSource::Glue(_) => HubRepo::parse(RepoKind::Dataset, HUB_ID).map(Some),
            TaskSource::Custom { task, .. } => task.repo().transpose(),
        }
    }

    /// The names of the columns of its texts, of all layouts.
    pub fn text_columns(&self) -> Vec<String> {
        self.columns.text.concat()
    }

    /// The names of the columns of its texts in each layout: one, or two for a pair.
    pub fn text_layouts(&self) -> &[Vec<String>] {
        &self.columns.text
    }

    /// The columns under which its texts are written: the Hub's, or those of a user's own task.
    pub fn written_text_columns(&self) -> &[String] {
        self.columns.text.last().expect("a task has a text column")
    }

    /// The description of a user's own task; `None` for a built-in one.
    pub fn description(&self) -> Option<&CustomTask> {
        match &self.source {
            TaskSource::Glue(_) => None,
            TaskSource::Custom { task, .. } => Some(task),
        }
    }

    /// Whether a user's own task names files for the split.
    pub(super) fn names_split(&self, split: &str) -> bool {
        matches!(&self.source, TaskSource::Custom { task, .. } if task.splits.contains_key(split))
    }
}

/// Whether a name is that of a built-in task, or of STS-B, which is refused.
pub fn is_builtin(name: &str) -> bool {
    plain(name) == "stsb" || TaskSpec::glue(name).is_ok()
}

/// The canonical name of a task: `sst2` for `SST-2`; other names stay unchanged.
pub fn canonical_name(name: &str) -> String {
    TaskSpec::glue(name).map_or_else(|_| name.to_owned(), |task| task.name)
}

/// A split of a built-in task in the names of its data set on the Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubSplit {
    /// The data set's id.
    pub id: &'static str,
    /// The task's title, such as `GLUE SST-2`.
    pub title: String,
    /// The data set's configuration.
    pub config: &'static str,
    /// The split's name there, such as `validation_matched`; `None` if GLUE does not have it.
    pub split: Option<&'static str>,
}

/// The Hub's names for `split` of the built-in task `task`; `None` for a user's own task.
pub fn hub_split(task: &str, split: &str) -> Option<HubSplit> {
    let glue = GLUE.iter().find(|glue| glue.name == task)?;
    Some(HubSplit {
        id: HUB_ID,
        title: format!("GLUE {}", glue.folder),
        config: glue.config(),
        split: glue.split(split).and_then(|files| files.stems.first().copied()),
    })
}

/// The built-in tasks' names.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    GLUE.iter().map(|task| task.name)
}

fn names() -> String {
    builtin_names().collect::<Vec<_>>().join(", ")
}

fn unknown(name: &str) -> anyhow::Error {
    usage!("there is no task `{name}`")
        .hint(format!(
            "{}the tasks are {}, and what `[task.NAME]` tables of a config describe",
            did_you_mean(name, builtin_names()),
            names()
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{exit_code, rendered, Exit};

    #[test]
    fn names_are_found_in_any_spelling() {
        for (written, name) in [
            ("sst2", "sst2"),
            ("SST-2", "sst2"),
            ("CoLA", "cola"),
            ("mnli_mm", "mnli-mm"),
            ("MNLI-mismatched", "mnli-mm"),
            ("mnli-m", "mnli"),
        ] {
            assert_eq!(TaskSpec::glue(written).unwrap().name, name);
        }
    }

    #[test]
    fn labels_have_the_order_of_the_hubs_data_set() {
        let labels = |name: &str| TaskSpec::glue(name).unwrap().label_names.join(" ");
        assert_eq!(labels("cola"), "unacceptable acceptable");
        assert_eq!(labels("sst2"), "negative positive");
        assert_eq!(labels("mrpc"), "not_equivalent equivalent");
        assert_eq!(labels("qqp"), "not_duplicate duplicate");
        assert_eq!(labels("qnli"), "entailment not_entailment");
        assert_eq!(labels("rte"), "entailment not_entailment");
        assert_eq!(labels("mnli"), "entailment neutral contradiction");
        assert_eq!(labels("mnli-mm"), "entailment neutral contradiction");
        assert_eq!(labels("wnli"), "not_entailment entailment");
    }

    #[test]
    fn metrics_and_pairs_are_glues() {
        let spec = |name: &str| TaskSpec::glue(name).unwrap();
        assert_eq!(spec("cola").metric, Metric::Matthews);
        assert_eq!(spec("mrpc").metric, Metric::AccuracyAndF1);
        assert_eq!(spec("qqp").metric, Metric::AccuracyAndF1);
        assert_eq!(spec("rte").metric, Metric::Accuracy);
        let columns = |name: &str| spec(name).columns.text[0].len();
        assert_eq!(["cola", "sst2", "qnli"].map(columns), [1, 1, 2]);
    }

    #[test]
    fn a_regression_is_refused_with_the_reason() {
        for name in ["stsb", "STS-B", "sts-b"] {
            let error = TaskSpec::glue(name).unwrap_err();
            assert_eq!(exit_code(&error), Exit::Usage);
            assert!(error.to_string().contains("regression"), "{error}");
            assert!(error.to_string().contains("confidence is not defined"), "{error}");
        }
    }

    #[test]
    fn an_unknown_task_names_the_known_ones() {
        let error = TaskSpec::glue("sst").unwrap_err();
        assert_eq!(exit_code(&error), Exit::Usage);
        let text = rendered(&error);
        assert!(text.contains("did you mean `sst2`?") && text.contains("mnli-mm"), "{text}");
    }

    #[test]
    fn splits_have_one_name() {
        let spec = TaskSpec::glue("mnli-mm").unwrap();
        for name in ["dev", "validation", "dev_mismatched", "validation_mismatched"] {
            assert_eq!(spec.canonical_split(name), "validation");
        }
        assert_eq!(spec.canonical_split("train"), "train");
        assert_eq!(spec.canonical_split("train.sample10pct"), "train.sample10pct");
    }
}
