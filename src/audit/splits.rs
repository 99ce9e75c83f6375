//! Which splits are run: the one that gates, and the validation split beside it.

use anyhow::Result;

use crate::config::Settings;
use crate::hub::Hub;
use crate::task::{self, Dataset, LoadOptions};

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

/// Reads the split beside it: validation, where there is one and `--split` names none.
///
/// # Errors
/// A split that is damaged.
pub fn beside(settings: &Settings, hub: &Hub) -> Result<Option<Split>> {
    let options = options(settings, hub);
    if settings.split.is_some() || !task::has_split(&settings.task, "validation", &options)? {
        return Ok(None);
    }
    let dataset = task::load(&settings.task, "validation", &options)?;
    Ok(Some(Split { dataset, gates: false }))
}

fn options<'a>(settings: &Settings, hub: &'a Hub) -> LoadOptions<'a> {
    LoadOptions {
        data: settings.data.clone(),
        limit: settings.limit,
        allow_skipped: settings.allow_skipped,
        hub,
    }
}
