//! The splits of an audit: the gating split and the secondary splits.

use std::path::Path;

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
    let dataset = task::load(&settings.task, name, &options(settings, hub))?;
    Ok(Split { dataset, gates: true })
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
    let dataset = task::load(&settings.task, name, &options(settings, hub))?;
    Ok(Split { dataset, gates: false })
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
        hub,
    }
}
