//! Hashes of what an audit reads, before any model is run.

use anyhow::{Context, Result};

use super::classifier::Role;
use super::splits::{load_gating_split, load_secondary_split, secondary_names};
use super::Session;
use crate::checkpoint::Checkpoint;
use crate::config::Settings;

/// SHA-256 of the files of a model, as the manifest of a report has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelHashes {
    /// Of the weights.
    pub weights: String,
    /// Of the tokenizer's files.
    pub tokenizer: String,
    /// Of config.json.
    pub config: String,
}

/// The hashes of the teacher or the student of `settings`.
///
/// # Errors
/// No such model, or files that cannot be read.
pub fn model_hashes(role: Role, settings: &Settings, session: &Session) -> Result<ModelHashes> {
    let source = match role {
        Role::Student => settings.require_student()?,
        Role::Teacher | Role::Model => settings.require_teacher()?,
    };
    let loading = || format!("cannot load the {role} `{source}`");
    let mut checkpoint =
        Checkpoint::open(source, settings.casing, &session.hub).with_context(loading)?;
    Ok(ModelHashes {
        weights: session.network_sha256(&mut checkpoint.network).with_context(loading)?,
        tokenizer: checkpoint.tokenizer_sha256,
        config: checkpoint.config_sha256,
    })
}

/// The splits of an audit of `settings`, the gating one first, each with the SHA-256 of its files or
/// with the error of reading them.
///
/// # Errors
/// A split that `--split` names and that does not exist.
pub fn split_hashes(
    settings: &Settings,
    session: &Session,
) -> Result<Vec<(String, Result<String>)>> {
    let gating = settings.task.canonical_split(settings.split.as_deref().unwrap_or("train"));
    let sha256 = load_gating_split(settings, &session.hub).map(|split| split.dataset.sha256);
    let mut hashes = vec![(gating, sha256)];
    for name in secondary_names(settings, &session.hub)? {
        let split = load_secondary_split(&name, settings, &session.hub);
        hashes.push((name, split.map(|split| split.dataset.sha256)));
    }
    Ok(hashes)
}
