//! Shared state of a run.

use anyhow::Result;

use crate::cache::{root_folder, PredictionCache};
use crate::checkpoint::{Network, Weights};
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::model;
use crate::terminal::Verbosity;

/// State shared by the tasks of a run.
pub struct Session {
    /// Client of the Hugging Face Hub.
    pub hub: Hub,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
    /// Verbosity on stderr.
    pub progress: Verbosity,
    /// Where the error of a task is shown.
    pub errors: ErrorDisplay,
    /// Cache of logits; `None` if it is disabled.
    pub cache: Option<PredictionCache>,
    /// Fingerprint of this machine's arithmetic, part of the cache key.
    pub arithmetic: String,
}

/// Where the error of a task that could not be run is shown. The report always has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorDisplay {
    /// On stderr too, at once.
    Stderr,
    /// In the report alone, which the same reader sees.
    Report,
}

impl Session {
    /// A session without a cache.
    pub fn new(hub: Hub, interrupt: Interrupt, progress: Verbosity) -> Self {
        let (errors, arithmetic) = (ErrorDisplay::Stderr, model::fingerprint());
        Session { hub, interrupt, progress, errors, cache: None, arithmetic }
    }

    /// Adds the cache in `AUDIT_CACHE_DIR`, by default in the platform's cache folder.
    pub fn with_cache(self) -> Self {
        let configured = std::env::var_os("AUDIT_CACHE_DIR");
        let root = root_folder(configured.as_deref());
        Session { cache: root.map(PredictionCache::at), ..self }
    }

    /// SHA-256 of what computes a checkpoint's logits.
    ///
    /// # Errors
    /// As [`Session::weights_sha256`].
    pub fn network_sha256(&self, network: &mut Network) -> Result<String> {
        match network {
            Network::Weights(weights) => self.weights_sha256(weights),
            Network::Onnx(file) => Ok(file.sha256().to_owned()),
        }
    }

    /// SHA-256 of a checkpoint's weights; for several files, of their hexadecimal digests. Unchanged
    /// files are not read again; others are read, and stay in memory for the model.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn weights_sha256(&self, weights: &mut Weights) -> Result<String> {
        weights.sha256(|input, load| match &self.cache {
            Some(cache) => cache.file_sha256(input, load),
            None => load(),
        })
    }
}
