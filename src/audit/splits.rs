//! Which splits are run: the one that gates, and the validation split beside it.

use anyhow::Result;

use crate::config::Settings;
use crate::hub::Hub;
use crate::task::{self, Dataset, LoadOptions};

/// The split that is run beside the one that gates.
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

/// Whether a split is run beside it: validation, where there is one and `--split` names none.
///
/// # Errors
/// A file that the config names and that is missing.
pub fn has_beside(settings: &Settings, hub: &Hub) -> Result<bool> {
    Ok(settings.split.is_none() && has(BESIDE, settings, hub)?)
}

/// Whether there is a split of that name, without reading it.
///
/// # Errors
/// A file that the config names and that is missing.
pub fn has(name: &str, settings: &Settings, hub: &Hub) -> Result<bool> {
    task::has_split(&settings.task, name, &options(settings, hub))
}

/// Reads the split beside the gating one.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn beside(settings: &Settings, hub: &Hub) -> Result<Split> {
    let dataset = task::load(&settings.task, BESIDE, &options(settings, hub))?;
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
