//! Loads one split of one task.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use super::collect::Collector;
use super::files::{locate, FoundFiles, Located};
use super::readers;
use super::spec::{Columns, TaskSource, TaskSpec};
use super::{Dataset, SkippedRow};
use crate::error::{failure, Diagnostic};
use crate::hub::Hub;
use crate::input::{sha256_of_inputs, InputFile};

#[cfg(test)]
mod tests;

/// A larger share of skipped rows is an error, unless allowed.
const ONE_SKIPPED_IN: usize = 1000;

/// Maximum number of skipped rows in an error.
const SHOWN: usize = 5;

/// Options for loading a split.
pub struct LoadOptions<'a> {
    /// A folder: GLUE's release, the task's own folder, or one with files such as `train.csv`.
    /// `None`: the Hub (for a user's own task, the source that it names).
    pub data: Option<PathBuf>,
    /// Keep only this many examples, from the first; the others are read and counted.
    pub limit: Option<usize>,
    /// Accept any share of unusable rows, which are still listed.
    pub allow_skipped: bool,
    /// Columns of ids to keep where the files have them.
    pub ids: &'a [&'a str],
    /// The Hub, for data sets without local files.
    pub hub: &'a Hub,
}

/// Reads one split.
///
/// # Errors
/// No file (with the places searched), a file that cannot be read or has another format, a label
/// that the task does not have, more than one unusable row in a thousand without `allow_skipped`, or
/// no example.
pub fn load(spec: &TaskSpec, split: &str, options: &LoadOptions) -> Result<Dataset> {
    if options.limit == Some(0) {
        bail!(Diagnostic::usage("a limit of 0 leaves nothing to audit")
            .hint("--limit takes 1 or more"));
    }
    let split = spec.canonical_split(split);
    let found = match locate(spec, &split, options.data.as_deref(), options.hub)? {
        FoundFiles::Files(files) => files,
        FoundFiles::Nothing { tried } => return Err(not_found(spec, &split, &tried)),
    };
    read_files(spec, &split, found, options)
}

/// Reads the texts of the file `path`, which has the task's text columns and a header, as the split
/// `split`. Its labels, if it has any, are not read.
///
/// # Errors
/// As [`load`].
pub fn load_texts(
    spec: &TaskSpec,
    split: &str,
    path: &Path,
    options: &LoadOptions,
) -> Result<Dataset> {
    let columns = Columns {
        label: Vec::new(),
        label_expected: false,
        headerless: None,
        ..spec.columns.clone()
    };
    let spec = TaskSpec { columns, ..spec.clone() };
    read_files(&spec, split, vec![Located::Local(path.to_owned())], options)
}

/// Reads the tables `paths`, which have the task's text columns and a header, as the split `split`. They
/// may have its label column.
///
/// # Errors
/// As [`load`].
pub fn load_table(
    spec: &TaskSpec,
    split: &str,
    paths: &[PathBuf],
    options: &LoadOptions,
) -> Result<Dataset> {
    let columns = Columns { label_expected: false, headerless: None, ..spec.columns.clone() };
    let mut spec = TaskSpec { columns, ..spec.clone() };
    // A task's `format` is that of its own files.
    if let TaskSource::Custom { task, .. } = &mut spec.source {
        task.format = None;
    }
    read_files(&spec, split, paths.iter().cloned().map(Located::Local).collect(), options)
}

/// Reads the files of a split.
fn read_files(
    spec: &TaskSpec,
    split: &str,
    found: Vec<Located>,
    options: &LoadOptions,
) -> Result<Dataset> {
    let mut collector = Collector::new(spec, split, options);
    let (mut files, mut names) = (Vec::new(), Vec::new());
    let mut commit = None;
    for located in found {
        if let Located::Hub(repo, _) = &located {
            commit = options.hub.commit(repo);
        }
        let file = located.into_data_file(spec, options.hub)?;
        readers::read(&file, &mut collector)?;
        files.push(file.input);
        names.push(file.name);
    }
    refuse_many_skipped(spec, split, &collector, options)?;
    let place = names.join("`, `");
    if collector.available == 0 {
        bail!("split `{split}` of `{}` is empty: `{place}` holds no example", spec.name);
    }
    let sha256 = sha256_of_inputs(&files)?;
    files.iter().try_for_each(InputFile::require_unchanged)?;
    let is_labelled = collector.examples.iter().any(|example| example.label.is_some());
    let unlabelled = (!is_labelled).then(|| {
        let why = collector.unlabelled.take();
        why.unwrap_or_else(|| format!("no row of `{place}` has a label"))
    });
    Ok(Dataset {
        task: spec.name.clone(),
        split: split.to_owned(),
        label_names: collector.label_names,
        examples: collector.examples,
        ids: collector.ids,
        available: collector.available,
        skipped: collector.skipped,
        unlabelled,
        files,
        names,
        commit,
        sha256,
    })
}

/// Whether a split has files, without reading them; from the Hub's list of files if necessary.
///
/// # Errors
/// A missing data folder, no answer of the Hub, or missing files that a user's own task names for
/// the split.
pub fn has_split(spec: &TaskSpec, split: &str, options: &LoadOptions) -> Result<bool> {
    let split = spec.canonical_split(split);
    let found = locate(spec, &split, options.data.as_deref(), options.hub)?;
    match found {
        FoundFiles::Files(_) => Ok(true),
        FoundFiles::Nothing { tried } if spec.names_split(&split) => {
            Err(not_found(spec, &split, &tried))
        }
        FoundFiles::Nothing { .. } => Ok(false),
    }
}

fn refuse_many_skipped(
    spec: &TaskSpec,
    split: &str,
    collector: &Collector,
    options: &LoadOptions,
) -> Result<()> {
    let skipped = &collector.skipped;
    let rows = collector.available + skipped.len();
    if options.allow_skipped || skipped.len() * ONE_SKIPPED_IN <= rows {
        return Ok(());
    }
    let show = |row: &SkippedRow| format!("\n  `{}` line {}: {}", row.file, row.line, row.reason);
    let mut shown: String = skipped.iter().take(SHOWN).map(show).collect();
    if skipped.len() > SHOWN {
        shown.push_str(&format!("\n  and {} more", skipped.len() - SHOWN));
    }
    bail!(failure!("{} of {rows} rows of split `{split}` of `{}` cannot be used, more than one in {ONE_SKIPPED_IN}:{shown}",
            skipped.len(),
            spec.name).hint("repair these rows, or pass --allow-skipped to leave them out (the report counts them)"))
}

fn not_found(spec: &TaskSpec, split: &str, tried: &[String]) -> anyhow::Error {
    let message = format!("no data for split `{split}` of `{}`", spec.name);
    let looked = match tried {
        [] => String::new(),
        tried => format!("; looked for\n    {}", tried.join("\n    ")),
    };
    let hint = match &spec.source {
        TaskSource::Glue(_) => "a split is train, validation, test or the name of a file; --data takes GLUE's folder or the task's own".to_owned(),
        TaskSource::Custom { task, .. } if task.splits.is_empty() => {
            format!("name its file in the config: splits = {{ {split} = \"…\" }}")
        }
        TaskSource::Custom { .. } if spec.names_split(split) => {
            format!("correct `splits.{split}` of `[task.{}]`", spec.name)
        }
        TaskSource::Custom { task, .. } => format!(
            "`[task.{}]` names the splits {}",
            spec.name,
            task.splits.keys().cloned().collect::<Vec<_>>().join(", ")
        ),
    };
    failure!("{message}{looked}").hint(hint).into()
}
