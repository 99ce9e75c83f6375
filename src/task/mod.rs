//! 1. What is audited: the GLUE tasks and a user's own, read into [`Dataset`]s.

mod collect; //   rows of cells -> examples
mod custom; //    a user's own task
mod files; //     which files a split is read from
mod glue; //      the GLUE table
mod labels; //    label cells -> label ids
mod load; //      a split, from its files to its examples
mod natural; //   natural sort order of names
mod readers; //   TSV, CSV, JSONL, Parquet -> rows of cells
mod spec; //      task descriptions
pub mod spelling; // did you mean
pub mod table; // any table of named columns
#[cfg(test)]
mod testing; //   builders for the tests of this room

pub use custom::{CustomTask, SplitPaths, TextColumns};
pub use glue::ALL_TASKS;
pub use labels::{find_label, label_ids, listed, LabelIndex, LabelReader, MOST_LABELS};
pub use load::{has_split, load, load_table, load_texts, LoadOptions};
pub use readers::DataFormat;
pub use spec::{builtin_names, canonical_name, hub_split, is_builtin, HubSplit, Metric, TaskSpec};

use crate::input::InputFile;

/// One row of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The sentence, or the first of a pair.
    pub text: String,
    /// The second sentence of a pair.
    pub pair: Option<String>,
    /// Index into [`Dataset::label_names`]; `None` if the row has no label (or −1).
    pub label: Option<u32>,
}

/// A column of the data that names each example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdColumn {
    /// The column's name.
    pub name: String,
    /// The id of each example (N), as text; `None` for an empty cell.
    pub ids: Vec<Option<String>>,
}

/// A row that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRow {
    /// Its file (or `hub id/file`).
    pub file: String,
    /// 1-based line (text formats) or row (Parquet).
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// One split of one task, in file order. Never empty.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// `sst2`, or the name of a user's own task.
    pub task: String,
    /// `train`, `validation`, `test`, or a user's own name.
    pub split: String,
    /// Label names in the task's order (index = label id). Empty when a user's task names none.
    pub label_names: Vec<String>,
    /// The examples to audit: the first `limit` of them when `--limit` is given.
    pub examples: Vec<Example>,
    /// The columns of ids that were asked for and that the files have.
    pub ids: Vec<IdColumn>,
    /// Usable examples of the whole split, before `--limit`.
    pub available: usize,
    /// Rows that could not be used, in file order.
    pub skipped: Vec<SkippedRow>,
    /// Why no example has a label; `None` if at least one has.
    pub unlabelled: Option<String>,
    /// The files read, in order.
    pub files: Vec<InputFile>,
    /// The name of each of `files`: its path, or `hub id/file`.
    pub names: Vec<String>,
    /// The commit of the Hub's data set; `None` for local files.
    pub commit: Option<String>,
    /// SHA-256 of the bytes of `files`, in order, as lower-case hexadecimal digits.
    pub sha256: String,
}

impl Dataset {
    /// The label of each example (N).
    pub fn labels(&self) -> Vec<Option<u32>> {
        self.examples.iter().map(|example| example.label).collect()
    }

    /// Fails if one of its files was written to or replaced since it was opened.
    ///
    /// # Errors
    /// Names the first such file.
    pub fn require_unchanged(&self) -> anyhow::Result<()> {
        self.files.iter().try_for_each(InputFile::require_unchanged)
    }
}
