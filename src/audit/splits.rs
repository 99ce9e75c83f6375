//! The splits of an audit: the gating split and the secondary splits.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::Settings;
use crate::hub::Hub;
use crate::task::{self, Dataset, LoadOptions};

/// Secondary split of an audit without `--split`.
pub const SECONDARY_SPLIT: &str = "validation";

/// A split and its role.
pub struct Split {
    /// Its examples.
    pub dataset: Dataset,
    /// Whether its verdict decides the exit code.
    pub gates: bool,
}

/// Loads the gating split: the first that `--split` names, by default train.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn load_gating_split(settings: &Settings, hub: &Hub) -> Result<Split> {
    let name = settings.split.as_deref().unwrap_or("train");
    Ok(Split { dataset: load_with_ids(name, settings, hub, &[])?, gates: true })
}

/// Loads the split `name` with those of the columns `ids` that its files have.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn load_with_ids(name: &str, settings: &Settings, hub: &Hub, ids: &[&str]) -> Result<Dataset> {
    task::load(&settings.task, name, &LoadOptions { ids, ..options(settings, hub) })
}

/// Loads tables with the task's text columns as the split `name`, with labels where they have some.
///
/// # Errors
/// A file that is missing, empty or damaged.
pub fn load_table(
    name: &str,
    paths: &[PathBuf],
    settings: &Settings,
    hub: &Hub,
) -> Result<Dataset> {
    task::load_table(&settings.task, name, paths, &options(settings, hub))
}

/// Names of the secondary splits: those after the first in `--split`; without `--split`, validation
/// if it exists.
///
/// # Errors
/// A named split that does not exist.
pub fn secondary_names(settings: &Settings, hub: &Hub) -> Result<Vec<String>> {
    for name in &settings.secondary_splits {
        if !has_split(name, settings, hub)? {
            load_secondary_split(name, settings, hub)?;
        }
    }
    Ok(match settings.split {
        None if has_split(SECONDARY_SPLIT, settings, hub)? => vec![SECONDARY_SPLIT.to_owned()],
        _ => settings.secondary_splits.clone(),
    })
}

/// Whether the split `name` exists; does not read it.
///
/// # Errors
/// A file that the config names and that is missing.
pub fn has_split(name: &str, settings: &Settings, hub: &Hub) -> Result<bool> {
    task::has_split(&settings.task, name, &options(settings, hub))
}

/// Loads a secondary split.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn load_secondary_split(name: &str, settings: &Settings, hub: &Hub) -> Result<Split> {
    Ok(Split { dataset: load_with_ids(name, settings, hub, &[])?, gates: false })
}

/// Loads the texts of a file in the columns of the task, without labels, as the split `name`.
///
/// # Errors
/// A file that is missing, empty or damaged.
pub fn load_texts(name: &str, path: &Path, settings: &Settings, hub: &Hub) -> Result<Dataset> {
    // `limit` is for the splits of the task.
    let options = LoadOptions { limit: None, ..options(settings, hub) };
    task::load_texts(&settings.task, name, path, &options)
}

fn options<'a>(settings: &Settings, hub: &'a Hub) -> LoadOptions<'a> {
    LoadOptions {
        data: settings.data.clone(),
        limit: settings.limit,
        allow_skipped: settings.allow_skipped,
        ids: &[],
        hub,
    }
}
