//! The gating split and the secondary splits.

use anyhow::Result;

use crate::config::Settings;
use crate::hub::Hub;
use crate::task::{self, Dataset, LoadOptions};

/// The secondary split that is run unless `--split` names others.
pub const SECONDARY_SPLIT: &str = "validation";

/// One split, and whether its verdict counts.
pub struct Split {
    /// Its examples.
    pub dataset: Dataset,
    /// Whether it decides the exit code.
    pub gates: bool,
}

/// Reads the split that gates: the one that `--split` names, else train.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn gating(settings: &Settings, hub: &Hub) -> Result<Split> {
    let name = settings.split.as_deref().unwrap_or("train");
    let dataset = task::load(&settings.task, name, &options(settings, hub))?;
    Ok(Split { dataset, gates: true })
}

/// The secondary splits: those that `--split` names after the first; without `--split`, validation
/// if there is one.
///
/// # Errors
/// A named split that does not exist.
pub fn secondary_names(settings: &Settings, hub: &Hub) -> Result<Vec<String>> {
    for name in &settings.secondary_splits {
        if !has(name, settings, hub)? {
            secondary_split(name, settings, hub)?;
        }
    }
    Ok(match settings.split {
        None if has(SECONDARY_SPLIT, settings, hub)? => vec![SECONDARY_SPLIT.to_owned()],
        _ => settings.secondary_splits.clone(),
    })
}

/// Whether there is a split of that name, without reading it.
///
/// # Errors
/// A file that the config names and that is missing.
pub fn has(name: &str, settings: &Settings, hub: &Hub) -> Result<bool> {
    task::has_split(&settings.task, name, &options(settings, hub))
}

/// Reads a secondary split.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn secondary_split(name: &str, settings: &Settings, hub: &Hub) -> Result<Split> {
    let dataset = task::load(&settings.task, name, &options(settings, hub))?;
    Ok(Split { dataset, gates: false })
}

fn options<'a>(settings: &Settings, hub: &'a Hub) -> LoadOptions<'a> {
    LoadOptions {
        data: settings.data.clone(),
        limit: settings.limit,
        allow_skipped: settings.allow_skipped,
        hub,
    }
}
