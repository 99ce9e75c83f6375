//! Which splits are run: the one that gates, and those beside it.

use anyhow::Result;

use crate::config::Settings;
use crate::hub::Hub;
use crate::task::{self, Dataset, LoadOptions};

/// The split that is run beside the one that gates, unless others are named.
pub const BESIDE: &str = "validation";

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

/// The splits that are run beside it: those that `--split` names after the first; where it names
/// none at all, validation if there is one.
///
/// # Errors
/// A split that was asked for and is not there: found before the long run.
pub fn beside_names(settings: &Settings, hub: &Hub) -> Result<Vec<String>> {
    for name in &settings.beside {
        if !has(name, settings, hub)? {
            beside(name, settings, hub)?;
        }
    }
    Ok(match settings.split {
        None if has(BESIDE, settings, hub)? => vec![BESIDE.to_owned()],
        _ => settings.beside.clone(),
    })
}

/// Whether there is a split of that name, without reading it.
///
/// # Errors
/// A file that the config names and that is missing.
pub fn has(name: &str, settings: &Settings, hub: &Hub) -> Result<bool> {
    task::has_split(&settings.task, name, &options(settings, hub))
}

/// Reads a split beside the gating one.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn beside(name: &str, settings: &Settings, hub: &Hub) -> Result<Split> {
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
