//! One split of one task, from its files to its examples.

use std::path::PathBuf;

use anyhow::{bail, Context, Result};

use super::collect::Collector;
use super::files::{locate, FoundFiles, Located};
use super::readers;
use super::spec::{TaskSource, TaskSpec};
use super::{Dataset, SkippedRow};
use crate::digest::sha256_of;
use crate::error::Diagnostic;
use crate::hub::Hub;

#[cfg(test)]
mod tests;

/// More skipped rows than one in so many end the reading, unless they are allowed.
const ONE_SKIPPED_IN: usize = 1000;

/// How many skipped rows an error shows.
const SHOWN: usize = 5;

/// Where a split is read from, and how strictly.
pub struct LoadOptions<'a> {
    /// A folder: GLUE's release, the task's own folder, or one with `train.csv` and the like.
    /// `None`: the Hub (for a user's own task, what it says itself).
    pub data: Option<PathBuf>,
    /// Keep only the first so many examples; the rest is read and counted.
    pub limit: Option<usize>,
    /// Accept any share of rows that cannot be used (they are listed all the same).
    pub allow_skipped: bool,
    /// Where data sets without files come from.
    pub hub: &'a Hub,
}

/// Reads one split.
///
/// # Errors
/// When no file is found (naming what was looked for), a file cannot be read or is not what its
/// name says, a label is none of the task's, more than one row in a thousand cannot be used and
/// `allow_skipped` is off, or nothing is left.
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
    let mut collector = Collector::new(spec, &split, options.limit);
    let (mut files, mut names) = (Vec::new(), Vec::new());
    let mut commit = None;
    for located in found {
        if let Located::Hub(repo, _) = &located {
            commit = options.hub.commit(repo);
        }
        let file = located.into_data_file(spec, options.hub)?;
        readers::read(&file, &mut collector)?;
        files.push(file.path);
        names.push(file.name);
    }
    refuse_many_skipped(spec, &split, &collector, options)?;
    let place = names.join("`, `");
    if collector.available == 0 {
        bail!("split `{split}` of `{}` is empty: `{place}` holds no example", spec.name);
    }
    let sha256 = sha256_of(&files).with_context(|| format!("cannot read `{place}`"))?;
    let is_labelled = collector.examples.iter().any(|example| example.label.is_some());
    let unlabelled = (!is_labelled).then(|| {
        let why = collector.unlabelled.take();
        why.unwrap_or_else(|| format!("no row of `{place}` has a label"))
    });
    Ok(Dataset {
        task: spec.name.clone(),
        split: split.clone(),
        label_names: collector.label_names,
        examples: collector.examples,
        available: collector.available,
        skipped: collector.skipped,
        unlabelled,
        files,
        names,
        commit,
        sha256,
    })
}

/// Whether a split has files, without reading them. Asks the Hub for its list of files where the
/// data comes from there.
///
/// # Errors
/// When the data folder does not exist, the Hub gives no answer, or a user's own task names files
/// for the split and they are not there.
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
    Err(Diagnostic::failure(format!(
            "{} of {rows} rows of split `{split}` of `{}` cannot be used, more than one in {ONE_SKIPPED_IN}:{shown}",
            skipped.len(),
            spec.name
        )).hint("repair these rows, or pass --allow-skipped to leave them out (the report counts them)").into())
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
            format!("mend `splits.{split}` of `[task.{}]`, which names it", spec.name)
        }
        TaskSource::Custom { task, .. } => format!(
            "`[task.{}]` names the splits {}",
            spec.name,
            task.splits.keys().cloned().collect::<Vec<_>>().join(", ")
        ),
    };
    Diagnostic::failure(format!("{message}{looked}")).hint(hint).into()
}
