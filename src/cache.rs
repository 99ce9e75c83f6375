//! The prediction cache: logits of earlier runs, kept on disk.
//!
//! A row of logits depends only on the model, the machine's float kernels and the text, so an
//! unchanged teacher need not run again. Files below the root folder:
//!
//! ```text
//! predictions/<model key>/model.json            the model's identity and facts
//! predictions/<model key>/<texts key>.logits    its rows over one list of texts
//! hashes/<key of a path>.json                   the SHA-256 of a large file that did not change
//! ```
//!
//! The cache never fails an audit: rows that cannot be read are computed again, rows that cannot be
//! written are not stored, and a [`CacheNote`] reports it. Everything read back has a checksum.

mod appender;
mod clear;
mod entry;
mod examine;
mod format;
mod hashes;
mod identity;
mod list;
mod location;
mod lock;
mod model_file;
mod note;
mod open;
mod replace;
mod shelves;
mod trust;
mod verify;

#[cfg(test)]
mod races;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use clear::{Cleared, Kept, Scope};
pub use entry::{CacheEntry, Row};
pub use identity::{CacheKey, ModelIdentity, TextsIdentity};
pub use list::EntryInfo;
pub use location::root_folder;
pub use model_file::ModelFile;
pub use note::{CacheNote, NoteKind};
pub use open::EntrySpec;
pub use verify::{Integrity, Verified};

use note::ReportedReasons;

/// The cache under one root folder. Creating one touches no file; clones share the reported reasons.
#[derive(Debug, Clone)]
pub struct PredictionCache {
    root: PathBuf,
    reported: ReportedReasons,
}

impl PredictionCache {
    /// The cache under `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        PredictionCache { root: root.into(), reported: ReportedReasons::default() }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one model's files.
    fn shelf(&self, model: CacheKey) -> PathBuf {
        self.root.join(PREDICTIONS).join(model.to_string())
    }
}

const PREDICTIONS: &str = "predictions";
const HASHES: &str = "hashes";
const ENTRY_SUFFIX: &str = ".logits";
const MODEL_FILE: &str = "model.json";
