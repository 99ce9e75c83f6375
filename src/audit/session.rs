//! What a run shares between its tasks.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::cache::{root_folder, PredictionCache};
use crate::digest::{hexadecimal, sha256_of};
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::model;
use crate::terminal::Verbosity;

/// What a run shares between its tasks.
pub struct Session {
    /// Where checkpoints and data sets come from that are not on this machine.
    pub hub: Hub,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
    /// What a person at a terminal sees meanwhile.
    pub progress: Verbosity,
    /// Logits of earlier runs; `None` where they are neither used nor kept.
    pub cache: Option<PredictionCache>,
    /// What this machine's arithmetic is, to the last bit.
    pub arithmetic: String,
}

impl Session {
    /// A session without a cache.
    pub fn new(hub: Hub, interrupt: Interrupt, progress: Verbosity) -> Self {
        Session { hub, interrupt, progress, cache: None, arithmetic: model::fingerprint() }
    }

    /// The same with the cache that this machine has: the folder that `AUDIT_CACHE_DIR` names, else
    /// the platform's.
    pub fn with_cache(self) -> Self {
        let configured = std::env::var_os("AUDIT_CACHE_DIR");
        let root = root_folder(configured.as_deref());
        Session { cache: root.map(PredictionCache::at), ..self }
    }

    /// SHA-256 of a checkpoint's weights; of several files, that of their digests in hexadecimal.
    /// What did not change since it was hashed last is not read again.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn weights_sha256(&self, files: &[PathBuf]) -> Result<String> {
        let of = |path: &PathBuf| match &self.cache {
            Some(cache) => cache.file_sha256(path, |path| Ok(sha256_of(&[path])?)),
            None => Ok(sha256_of(&[path])?),
        };
        let named =
            |path: &PathBuf| of(path).with_context(|| format!("cannot read `{}`", path.display()));
        match files {
            [file] => named(file),
            files => {
                let digests = files.iter().map(named).collect::<Result<Vec<_>>>()?;
                Ok(hexadecimal(&Sha256::digest(digests.concat())))
            }
        }
    }
}
