//! A user's own task: the data keys of a `[task.NAME]` table.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::labels::MOST_LABELS;
use super::readers::DataFormat;
use super::spec::Metric;
use crate::error::usage;
use crate::hub::{HubRepo, RepoKind};

/// The data of a user's own task.
///
/// ```toml
/// [task.quora]
/// text = ["question1", "question2"]          # one column, or two for a pair
/// label = "is_duplicate"                     # left out: nothing is labelled, accuracy is null
/// labels = ["not_duplicate", "duplicate"]    # names in the order of their ids
/// splits = { train = "pairs.tsv", validation = ["dev-*.csv"] }
///
/// [task.reviews]
/// dataset = "owner/name@revision"            # of the Hugging Face Hub
/// subset = "en"                              # its configuration, if it has several
/// text = "review"
/// label = "stars"
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CustomTask {
    /// A data set of the Hub, `owner/name` or `owner/name@revision`. Without it, files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// The configuration of that data set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset: Option<String>,
    /// The column of the text, or the two columns of a pair.
    pub text: TextColumns,
    /// The column of the label: names, ids, or −1 (or nothing) for no label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Label names in the order of their ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Split name → file, files or patterns (`*`, `?`, `[ab]`, `**`), relative to `--data` or to
    /// the config file; with `dataset`, files of the data set, or the name that it gives a split.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub splits: BTreeMap<String, SplitPaths>,
    /// The format of the files, if their extension does not determine it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<DataFormat>,
    /// The figure reported in addition to accuracy; `accuracy` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
}

/// One text column, or the two of a pair.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "the name of a text column, or two names: [\"first\", \"second\"]")]
pub enum TextColumns {
    /// A single text.
    One(String),
    /// A pair of texts.
    Two([String; 2]),
}

impl TextColumns {
    /// One or two names.
    pub fn names(&self) -> Vec<String> {
        match self {
            TextColumns::One(name) => vec![name.clone()],
            TextColumns::Two(names) => names.to_vec(),
        }
    }
}

/// One path or pattern, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "a path or a list of paths")]
pub enum SplitPaths {
    /// One.
    One(String),
    /// Several: together they are the split, in this order.
    Several(Vec<String>),
}

impl SplitPaths {
    /// The paths, in order.
    pub fn paths(&self) -> &[String] {
        match self {
            SplitPaths::One(path) => std::slice::from_ref(path),
            SplitPaths::Several(paths) => paths,
        }
    }
}

impl CustomTask {
    pub(super) fn repo(&self) -> Option<Result<HubRepo>> {
        self.dataset.as_deref().map(|dataset| HubRepo::parse(RepoKind::Dataset, dataset))
    }

    /// Refuses contradictory descriptions.
    pub(super) fn validate(&self, name: &str) -> Result<()> {
        let wrong =
            |what: &str, hint: &str| Err(usage!("`[task.{name}]`: {what}").hint(hint).into());
        if let Some(repo) = self.repo() {
            repo?;
        } else if self.subset.is_some() {
            return wrong(
                "`subset` without `dataset`",
                "`subset` is a configuration of a data set of the Hub; name files under `splits`",
            );
        }
        let mut columns = self.text.names();
        columns.extend(self.label.clone());
        if columns.iter().any(|column| column.is_empty()) {
            return wrong("a column name is empty", "`text` and `label` name columns of the file");
        }
        if columns.iter().collect::<BTreeSet<_>>().len() < columns.len() {
            return wrong(
                "one column is named twice",
                "`text` and `label` must name different columns",
            );
        }
        if let Some(labels) = &self.labels {
            if labels.len() < 2 || labels.iter().collect::<BTreeSet<_>>().len() < labels.len() {
                return wrong(
                    "`labels` must be two or more different names",
                    "list them in the order of their ids, for example [\"negative\", \"positive\"]",
                );
            }
            if labels.len() > MOST_LABELS {
                let count = labels.len();
                return wrong(
                    &format!("`labels` has {count} names, and the limit is {MOST_LABELS}"),
                    "a classifier with more labels cannot be audited",
                );
            }
        }
        if let Some((split, _)) = self.splits.iter().find(|(_, paths)| paths.paths().is_empty()) {
            return wrong(
                &format!("split `{split}` names no file"),
                "give it a path or leave it out",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::spec::TaskSpec;
    use super::*;
    use crate::error::{exit_code, Exit};
    use std::path::Path;

    fn parse(text: &str) -> CustomTask {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_table_of_files_is_read() {
        let task = parse(
            "text = ['a', 'b']\nlabel = 'c'\nlabels = ['x', 'y']\n\
             splits = { train = 'pairs.tsv', validation = ['d1.csv', 'd2.csv'] }\nformat = 'csv'",
        );
        assert_eq!(task.text.names(), ["a", "b"]);
        assert_eq!(task.splits["validation"].paths(), ["d1.csv", "d2.csv"]);
        assert_eq!(task.format, Some(DataFormat::Csv));
        let spec = TaskSpec::custom("mine", task, Path::new(".")).unwrap();
        assert_eq!(spec.columns.text, [["a", "b"]]);
        assert_eq!(spec.label_names, ["x", "y"]);
    }

    #[test]
    fn unknown_keys_and_contradictions_are_errors() {
        assert!(toml::from_str::<CustomTask>("text = 'a'\nlable = 'b'").is_err());
        let error = toml::from_str::<CustomTask>("text = ['a', 'b', 'c']").unwrap_err();
        assert!(error.to_string().contains("two names"), "{error}");
        for text in [
            "text = 'a'\nsubset = 's'",
            "text = ['a', 'a']",
            "text = 'a'\nlabel = 'a'",
            "text = 'a'\nlabels = ['x']",
            "text = 'a'\nlabels = ['x', 'x']",
            "text = ''",
            "text = 'a'\ndataset = '../x'",
            "text = 'a'\nsplits = { train = [] }",
        ] {
            let error = TaskSpec::custom("mine", parse(text), Path::new(".")).unwrap_err();
            assert_eq!(exit_code(&error), Exit::Usage, "{text}");
        }
    }

    #[test]
    fn a_built_in_name_is_taken() {
        for name in ["sst2", "SST-2", "stsb"] {
            assert!(TaskSpec::custom(name, parse("text = 'a'"), Path::new(".")).is_err());
        }
    }
}
