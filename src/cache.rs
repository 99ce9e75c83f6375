//! The prediction cache: what a model said about a text, kept on disk.
//!
//! A row of logits depends on the model, on the machine's float kernels and on the text, and on
//! nothing else: so a teacher that did not change need not run again. Under the root lie
//!
//! ```text
//! predictions/<model key>/model.json            who the model is, and what is known about it
//! predictions/<model key>/<texts key>.logits    its rows over one list of texts
//! hashes/<key of a path>.json                   the SHA-256 of a large file that did not change
//! ```
//!
//! Nothing here fails an audit: what cannot be read is computed again, what cannot be written is
//! not stored, and a [`CacheNote`] says why. Everything that is read back carries a checksum.

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
pub use identity::{CacheKey, ModelIdentity, TextsHasher, TextsIdentity};
pub use list::EntryInfo;
pub use location::root_folder;
pub use model_file::ModelFile;
pub use note::{CacheNote, NoteKind};
pub use open::EntrySpec;
pub use verify::{Integrity, Verified};

use note::ReportedReasons;

/// The cache under one root folder. Making one touches no file; clones share what was said.
#[derive(Debug, Clone)]
pub struct PredictionCache {
    root: PathBuf,
    said: ReportedReasons,
}

impl PredictionCache {
    /// The cache under `root`, which need not exist yet.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        PredictionCache { root: root.into(), said: ReportedReasons::default() }
    }

    /// The folder that everything lies under.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of one model's files.
    fn shelf(&self, model: CacheKey) -> PathBuf {
        self.root.join(PREDICTIONS).join(model.to_string())
    }
}

/// The folder of the models' folders.
const PREDICTIONS: &str = "predictions";
/// The folder of the remembered digests.
const HASHES: &str = "hashes";
/// The ending of an entry's file.
const ENTRY_SUFFIX: &str = ".logits";
/// The file that says who a model is.
const MODEL_FILE: &str = "model.json";
