//! Downloads one file from the Hub into the cache, atomically.
//!
//! hf-hub does the transfer. This module adds what it lacks: checks of size and hash, retries,
//! timeouts, and the removal of a `.part` file that cannot be resumed.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use hf_hub::api::sync::{ApiError, ApiRepo};
use hf_hub::api::Progress;

use super::failure::HubError;
use super::{Hub, HubRepo, TICK};
use crate::digest::sha256_of;

/// Progress of downloads. Called from the downloading thread.
pub trait DownloadProgress: Send + Sync {
    /// A download of `bytes` bytes begins (again, after a failed attempt).
    fn begin(&self, file: &str, bytes: u64);
    /// `bytes` more bytes have arrived.
    fn advance(&self, bytes: u64);
    /// The last byte has arrived.
    fn end(&self);
}

/// Waits for another process's lock, of five seconds each (hf-hub's).
const LOCK_WAITS: usize = 60;

impl Hub {
    /// Downloads one file at one commit; retries temporary failures.
    pub(super) fn download(&self, repo: &HubRepo, commit: &str, file: &str) -> Result<PathBuf> {
        let (mut attempt, mut waits) = (0, 0);
        loop {
            let failed = match self.download_once(repo, commit, file) {
                Ok(path) => return Ok(path),
                Err(failed) => failed,
            };
            self.interrupt.check(|| format!("downloading `{file}` of {repo}"))?;
            if let Some(path) = self.cached(repo, commit, file) {
                return Ok(path); // another process finished it meanwhile
            }
            match failed {
                HubError::Locked { .. } if waits < LOCK_WAITS => waits += 1,
                _ if failed.is_temporary() && attempt < self.settings.retries => {
                    self.pause(attempt);
                    self.interrupt.check(|| format!("downloading `{file}` of {repo}"))?;
                    attempt += 1;
                }
                _ => return Err(failed.explain(repo, Some(file), &self.settings)),
            }
        }
    }

    fn download_once(&self, repo: &HubRepo, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        let size = Arc::new(AtomicU64::new(u64::MAX));
        match self.transfer(repo, commit, file, &size) {
            Ok(path) => verify(&path, size.load(Ordering::Relaxed))
                .inspect_err(|_| discard(&path))
                .map(|()| path),
            Err(failed) => {
                if matches!(failed, HubError::Corrupt { .. }) {
                    self.discard_part(repo, commit, file);
                }
                Err(failed)
            }
        }
    }

    /// Runs hf-hub's download on its own thread, to add a timeout.
    fn transfer(
        &self,
        repo: &HubRepo,
        commit: &str,
        file: &str,
        size: &Arc<AtomicU64>,
    ) -> Result<PathBuf, HubError> {
        let unreachable = |reason| Err(HubError::Unreachable { reason });
        let api: ApiRepo = self.api.repo(repo.at(commit));
        let beat = Arc::new(AtomicU64::new(0));
        let meter =
            Meter { size: size.clone(), beat: beat.clone(), progress: self.progress.clone() };
        let (sender, receiver) = channel();
        let file = file.to_owned();
        std::thread::spawn(move || {
            // The receiver is gone after a timeout.
            let _ = sender.send(api.download_with_progress(&file, meter));
        });

        let mut last = (beat.load(Ordering::Relaxed), Instant::now());
        loop {
            match receiver.recv_timeout(TICK.min(self.settings.stall / 4)) {
                Ok(result) => return result.map_err(|error| failed_request(&error)),
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = "hf-hub could not read the answer".to_owned();
                    return Err(HubError::NotTheHub { reason });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.interrupt.is_set() {
                return unreachable("the user asked to stop".to_owned());
            }
            let now = beat.load(Ordering::Relaxed);
            if now != last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() >= self.settings.stall {
                let waited = last.1.elapsed().as_secs();
                return unreachable(format!("nothing has arrived for {waited} s"));
            }
        }
    }

    /// Removes a partial download that cannot be resumed.
    fn discard_part(&self, repo: &HubRepo, commit: &str, file: &str) {
        let url = self.api.repo(repo.at(commit)).url(file);
        if let Ok(metadata) = self.api.metadata(&url) {
            let mut part = self.cache.repo(repo.at(commit)).blob_path(metadata.etag());
            part.set_extension("part"); // hf-hub's name for it
            let _ = std::fs::remove_file(part);
        }
    }
}

/// Forwards hf-hub's progress, and records the announced size.
struct Meter {
    size: Arc<AtomicU64>,
    beat: Arc<AtomicU64>,
    progress: Option<Arc<dyn DownloadProgress>>,
}

impl Progress for Meter {
    fn init(&mut self, size: usize, file: &str) {
        // hf-hub calls this twice per file, before and after the connection is made.
        let known = self.size.swap(size as u64, Ordering::Relaxed) == size as u64;
        self.beat.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = self.progress.as_ref().filter(|_| !known) {
            progress.begin(file, size as u64);
        }
    }

    fn update(&mut self, bytes: usize) {
        self.beat.fetch_add(1, Ordering::Relaxed);
        if let Some(progress) = &self.progress {
            progress.advance(bytes as u64);
        }
    }

    fn finish(&mut self) {
        if let Some(progress) = &self.progress {
            progress.end();
        }
    }
}

/// Checks the announced size, and the SHA-256 if the Hub gives one (the name of a large file's blob).
fn verify(path: &Path, size: u64) -> Result<(), HubError> {
    let disk = |error: std::io::Error| HubError::Disk { reason: error.to_string() };
    let blob = path.canonicalize().map_err(disk)?;
    let arrived = blob.metadata().map_err(disk)?.len();
    if arrived != size {
        return Err(HubError::Corrupt {
            reason: format!("{arrived} bytes arrived of {size}; the connection broke off"),
        });
    }
    let name = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digest = sha256_of(&[&blob]).map_err(disk)?;
        if digest != name.to_ascii_lowercase() {
            return Err(HubError::Corrupt { reason: format!("its SHA-256 is {digest}") });
        }
    }
    Ok(())
}

/// Removes a file from the cache: the blob and the link to it.
fn discard(path: &Path) {
    if let Ok(blob) = path.canonicalize() {
        let _ = std::fs::remove_file(blob);
    }
    let _ = std::fs::remove_file(path);
}

fn failed_request(error: &ApiError) -> HubError {
    match error {
        ApiError::RequestError(error) => {
            // hf-hub does not re-export ureq's error, so its text is parsed.
            let text = error.to_string();
            match text.strip_prefix("http status: ").map(str::parse) {
                // The part is complete, or longer than the file.
                Some(Ok(416)) => {
                    HubError::Corrupt { reason: "nothing is left to resume".to_owned() }
                }
                Some(Ok(status)) => HubError::Status { status, code: None },
                _ => HubError::Unreachable { reason: text },
            }
        }
        ApiError::IoError(error) => match error.kind() {
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::NotFound => HubError::Disk { reason: error.to_string() },
            _ => HubError::Unreachable { reason: format!("the connection broke off: {error}") },
        },
        ApiError::InvalidResume => HubError::Corrupt { reason: error.to_string() },
        ApiError::LockAcquisition(path) => HubError::Locked { path: path.display().to_string() },
        ApiError::TooManyRetries(error) => failed_request(error),
        _ => HubError::NotTheHub { reason: error.to_string() },
    }
}
