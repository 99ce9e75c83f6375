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

/// Reads the splits of a task: the one that `--split` names; without it, train, and beside it
/// validation where there is one. The gating split comes first.
///
/// # Errors
/// A split that is missing, empty or damaged.
pub fn load_splits(settings: &Settings, hub: &Hub) -> Result<Vec<Split>> {
    let options = LoadOptions {
        data: settings.data.clone(),
        limit: settings.limit,
        allow_skipped: settings.allow_skipped,
        hub,
    };
    let gating = settings.split.as_deref().unwrap_or("train");
    let mut splits =
        vec![Split { dataset: task::load(&settings.task, gating, &options)?, gates: true }];
    if settings.split.is_none() && task::has_split(&settings.task, "validation", &options)? {
        let dataset = task::load(&settings.task, "validation", &options)?;
        splits.push(Split { dataset, gates: false });
    }
    Ok(splits)
}
