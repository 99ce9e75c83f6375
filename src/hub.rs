//! Files of the Hugging Face Hub, downloaded once into its cache.
//!
//! A revision is resolved to a commit once per run, and every file is fetched at that commit, so
//! that a branch that moves cannot mix the files of two commits. (hf-hub itself resolves the branch
//! for each file.) The cache is that of Hugging Face's own tools.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::Cache;

mod download;
mod failure;
mod repo;
mod settings;
#[cfg(test)]
mod tests;

pub use download::DownloadProgress;
pub use repo::{is_id, HubRepo, RepoKind};
pub use settings::{Connection, HubSettings};

use crate::interrupt::Interrupt;
use failure::HubError;
use repo::{is_commit, is_safe_path};

/// The Hub during one run.
pub struct Hub {
    settings: HubSettings,
    api: Api,
    cache: Cache,
    progress: Option<Arc<dyn DownloadProgress>>,
    interrupt: Interrupt,
    snapshots: Mutex<HashMap<HubRepo, Snapshot>>,
    notes: Mutex<Vec<String>>,
}

/// The commit of a revision at the first request of this run.
#[derive(Debug, Clone)]
struct Snapshot {
    commit: String,
    origin: SnapshotSource,
}

#[derive(Debug, Clone)]
enum SnapshotSource {
    /// The Hub answered with all files.
    Hub { files: Vec<String> },
    /// From the cache, which may hold only some of the files; why the Hub did not answer.
    Cache { because: String },
}

impl Hub {
    /// The Hub with the settings of this process's environment.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn from_env() -> Result<Hub> {
        Hub::new(HubSettings::from_env())
    }

    /// The Hub with explicit settings. Connects to nothing yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub fn new(settings: HubSettings) -> Result<Hub> {
        let cache = Cache::new(settings.cache_dir.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_user_agent("confidence-audit", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .with_retries(0) // download.rs retries: hf-hub's own retry may append a part twice
            .build()
            .context("cannot set up the client for the Hugging Face Hub")?;
        let (snapshots, notes) = (Mutex::default(), Mutex::default());
        let interrupt = Interrupt::default();
        Ok(Hub { settings, api, cache, progress: None, interrupt, snapshots, notes })
    }

    /// Reports every download to `progress`.
    pub fn with_progress(mut self, progress: Arc<dyn DownloadProgress>) -> Hub {
        self.progress = Some(progress);
        self
    }

    /// Stops waiting and downloading once `interrupt` is set.
    pub fn with_interrupt(mut self, interrupt: Interrupt) -> Hub {
        self.interrupt = interrupt;
        self
    }

    /// The interrupt, also for readers of the downloaded files.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The settings in force.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// Takes the warnings since the last call, one sentence each.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.notes))
    }

    /// The local path of one file of `repo`, downloaded if the cache lacks it.
    ///
    /// # Errors
    /// A repository, revision or file that does not exist or may not be read, a Hub that cannot be
    /// reached or breaks off, a cache that cannot be written. An incomplete file is never left in
    /// place.
    pub fn fetch(&self, repo: &HubRepo, file: &str) -> Result<PathBuf> {
        if !is_safe_path(file) {
            anyhow::bail!("`{file}`, named by {repo}, is not a path inside a repository");
        }
        if is_commit(repo.revision()) {
            if let Some(path) = self.cached(repo, repo.revision(), file) {
                return Ok(path);
            }
        }
        let snapshot = self.resolve(repo)?;
        if let Some(path) = self.cached(repo, &snapshot.commit, file) {
            self.remember(repo, &snapshot.commit);
            return Ok(path);
        }
        match &snapshot.origin {
            SnapshotSource::Hub { files } if !files.iter().any(|name| name == file) => {
                Err(failure::no_such_file(repo, file, files))
            }
            SnapshotSource::Hub { .. } => {
                let path = self.download(repo, &snapshot.commit, file)?;
                self.remember(repo, &snapshot.commit);
                Ok(path)
            }
            SnapshotSource::Cache { because } => {
                Err(failure::not_cached(repo, Some(file), because, &self.settings))
            }
        }
    }

    /// Like [`Hub::fetch`], but `None` if the repository does not have the file.
    ///
    /// Offline, a file that is not in the cache counts as missing.
    ///
    /// # Errors
    /// As [`Hub::fetch`], except for the missing file.
    pub fn fetch_optional(&self, repo: &HubRepo, file: &str) -> Result<Option<PathBuf>> {
        if self.list(repo)?.iter().any(|name| name == file) {
            self.fetch(repo, file).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The files of `repo`, in the Hub's order; offline, those that the cache holds, sorted.
    ///
    /// # Errors
    /// A repository or revision that does not exist or may not be read, or no answer of Hub and
    /// cache.
    pub fn list(&self, repo: &HubRepo) -> Result<Vec<String>> {
        let snapshot = self.resolve(repo)?;
        match snapshot.origin {
            SnapshotSource::Hub { files } => Ok(files),
            SnapshotSource::Cache { .. } => {
                Ok(files_below(&self.snapshot_dir(repo, &snapshot.commit)))
            }
        }
    }

    /// The commit of the revision of `repo`; `None` before the first request.
    pub fn commit(&self, repo: &HubRepo) -> Option<String> {
        let known = lock(&self.snapshots).get(repo).map(|snapshot| snapshot.commit.clone());
        known.or_else(|| is_commit(repo.revision()).then(|| repo.revision().to_owned()))
    }

    /// Resolves the revision to a commit, once.
    fn resolve(&self, repo: &HubRepo) -> Result<Snapshot> {
        // Locked during the request, so that all threads use the same commit.
        let mut snapshots = lock(&self.snapshots);
        if let Some(snapshot) = snapshots.get(repo) {
            return Ok(snapshot.clone());
        }
        let snapshot = match self.settings.connection {
            Connection::Offline => {
                let because = "HF_HUB_OFFLINE is set".to_owned();
                match self.cached_commit(repo) {
                    Some(commit) => Snapshot { commit, origin: SnapshotSource::Cache { because } },
                    None => return Err(failure::not_cached(repo, None, &because, &self.settings)),
                }
            }
            Connection::Online => self.ask(repo)?,
        };
        snapshots.insert(repo.clone(), snapshot.clone());
        Ok(snapshot)
    }

    /// The commit and the files of a revision from the Hub; if it cannot be reached, the last commit
    /// in the cache.
    fn ask(&self, repo: &HubRepo) -> Result<Snapshot> {
        let mut attempt = 0;
        let failed = loop {
            match self.ask_once(repo) {
                Ok(snapshot) => return Ok(snapshot),
                Err(failed) if failed.is_temporary() && attempt < self.settings.retries => {
                    self.pause(attempt);
                    self.interrupt.check(|| format!("asking for {repo}"))?;
                    attempt += 1;
                }
                Err(failed) => break failed,
            }
        };
        if failed.is_answer() {
            return Err(failed.explain(repo, None, &self.settings));
        }
        let Some(commit) = self.cached_commit(repo) else {
            return Err(failed.explain(repo, None, &self.settings));
        };
        let because = failed.to_string();
        lock(&self.notes).push(format!(
            "{repo} was taken from the cache (commit `{commit}`): `{}` did not confirm that it is current: {because}",
            self.settings.endpoint
        ));
        Ok(Snapshot { commit, origin: SnapshotSource::Cache { because } })
    }

    fn ask_once(&self, repo: &HubRepo) -> Result<Snapshot, HubError> {
        let request = self.api.repo(repo.at(repo.revision())).info_request().config();
        let request = request.http_status_as_error(false).timeout_global(Some(self.settings.stall));
        let mut response = request
            .build()
            .call()
            .map_err(|error| HubError::Unreachable { reason: error.to_string() })?;
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let code = code.map(str::to_owned);
        match response.status().as_u16() {
            200 => {}
            status => return Err(HubError::Status { status, code }),
        }
        let info = response.body_mut().with_config().limit(LARGEST_LISTING);
        let info: hf_hub::api::RepoInfo =
            info.read_json().map_err(|error| HubError::NotTheHub { reason: error.to_string() })?;
        if !is_safe_path(&info.sha) || info.sha.contains('/') {
            return Err(HubError::NotTheHub { reason: format!("`{}` is not a commit", info.sha) });
        }
        let files = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Snapshot { commit: info.sha, origin: SnapshotSource::Hub { files } })
    }

    /// Waits before another attempt, or until the user asks to stop.
    fn pause(&self, attempt: usize) {
        let end = Instant::now() + self.settings.retry_pause * (1 << attempt.min(6));
        while !self.interrupt.is_set() && Instant::now() < end {
            std::thread::sleep(TICK.min(end - Instant::now()));
        }
    }

    fn snapshot_dir(&self, repo: &HubRepo, commit: &str) -> PathBuf {
        self.cache.repo(repo.at(commit)).pointer_path(commit)
    }

    fn cached(&self, repo: &HubRepo, commit: &str, file: &str) -> Option<PathBuf> {
        let path = self.snapshot_dir(repo, commit).join(file);
        path.is_file().then_some(path)
    }

    /// The last commit of the revision in the cache.
    fn cached_commit(&self, repo: &HubRepo) -> Option<String> {
        let folder = self.settings.cache_dir.join(repo.at("main").folder_name());
        let commit = match std::fs::read_to_string(folder.join("refs").join(repo.revision())) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => repo.revision().to_owned(),
        };
        self.snapshot_dir(repo, &commit).is_dir().then_some(commit)
    }

    /// Stores the commit of the revision in the cache, so that it is found offline.
    fn remember(&self, repo: &HubRepo, commit: &str) {
        if repo.revision() != commit && self.cached_commit(repo).as_deref() != Some(commit) {
            // The cache may be read-only and complete.
            let _ = self.cache.repo(repo.at(repo.revision())).create_ref(commit);
        }
    }
}

/// Interval at which a wait checks for an interrupt.
const TICK: Duration = Duration::from_millis(100);

/// Maximum size of a repository's listing; the Hub's largest have some tens of MB.
const LARGEST_LISTING: u64 = 256 << 20;

/// The files below `folder`, as paths with `/` relative to it, sorted.
fn files_below(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path() {
                path if path.is_dir() => walk(&path, &format!("{name}/"), files),
                path if path.is_file() => files.push(name),
                _ => {} // a link whose blob is gone
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, "", &mut files);
    files.sort();
    files
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
