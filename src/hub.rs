//! Files of the Hugging Face Hub, downloaded once into its cache.
//!
//! A revision is turned into a commit once per run, and every file is then fetched at that
//! commit: a branch that moves in the middle cannot mix the files of two commits. (hf-hub by
//! itself takes each file from wherever the branch stands when it is asked.) The cache is the
//! one that Hugging Face's own tools use.

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
use failure::FailedRequest;
use repo::{is_commit, is_safe_path};

/// The Hub, as one run sees it.
pub struct Hub {
    settings: HubSettings,
    api: Api,
    cache: Cache,
    progress: Option<Arc<dyn DownloadProgress>>,
    interrupt: Interrupt,
    snapshots: Mutex<HashMap<HubRepo, Snapshot>>,
    notes: Mutex<Vec<String>>,
}

/// The commit that a revision stood for when this run first asked.
#[derive(Debug, Clone)]
struct Snapshot {
    commit: String,
    origin: SnapshotSource,
}

#[derive(Debug, Clone)]
enum SnapshotSource {
    /// The Hub answered: these are all the files there are.
    Hub { files: Vec<String> },
    /// The cache answered: it may hold only some of the files. Why the Hub was not asked, or
    /// what came of it.
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

    /// Tells `progress` of every download from now on.
    pub fn with_progress(mut self, progress: Arc<dyn DownloadProgress>) -> Hub {
        self.progress = Some(progress);
        self
    }

    /// Stops waiting and downloading once `interrupt` is set.
    pub fn with_interrupt(mut self, interrupt: Interrupt) -> Hub {
        self.interrupt = interrupt;
        self
    }

    /// Whether the user asked to stop: for those who read what was downloaded, too.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The settings in force.
    pub fn settings(&self) -> &HubSettings {
        &self.settings
    }

    /// What has happened since this was last asked that the user should hear of although the run
    /// goes on: one sentence each.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.notes))
    }

    /// The local path of one file of `repo`, downloaded if the cache lacks it.
    ///
    /// # Errors
    /// When the repository, the revision or the file does not exist or may not be read, when the
    /// Hub cannot be reached or breaks off, or when the cache cannot be written. Nothing that is
    /// not complete is ever left where it would be taken for the file.
    pub fn fetch(&self, repo: &HubRepo, file: &str) -> Result<PathBuf> {
        if !is_safe_path(file) {
            anyhow::bail!("`{file}`, named by {repo}, is no path inside a repository");
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

    /// Like [`Hub::fetch`], but `None` where the repository has no such file.
    ///
    /// Offline, a file that the cache lacks counts as one that the repository lacks.
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
    /// When the repository or the revision does not exist or may not be read, or when neither
    /// the Hub nor the cache can answer.
    pub fn list(&self, repo: &HubRepo) -> Result<Vec<String>> {
        let snapshot = self.resolve(repo)?;
        match snapshot.origin {
            SnapshotSource::Hub { files } => Ok(files),
            SnapshotSource::Cache { .. } => {
                Ok(files_below(&self.snapshot_dir(repo, &snapshot.commit)))
            }
        }
    }

    /// The commit that the revision of `repo` stood for; `None` before anything was asked of it.
    pub fn commit(&self, repo: &HubRepo) -> Option<String> {
        let known = lock(&self.snapshots).get(repo).map(|snapshot| snapshot.commit.clone());
        known.or_else(|| is_commit(repo.revision()).then(|| repo.revision().to_owned()))
    }

    /// Turns the revision into a commit, once.
    fn resolve(&self, repo: &HubRepo) -> Result<Snapshot> {
        // Held while asking: two threads that want one repository must agree on its commit.
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

    /// Asks the Hub which commit and which files a revision stands for; where the Hub cannot be
    /// reached, the commit that the cache last saw.
    fn ask(&self, repo: &HubRepo) -> Result<Snapshot> {
        let mut attempt = 0;
        let refusal = loop {
            match self.ask_once(repo) {
                Ok(snapshot) => return Ok(snapshot),
                Err(refusal) if refusal.is_passing() && attempt < self.settings.retries => {
                    self.pause(attempt);
                    self.interrupt.check(|| format!("asking for {repo}"))?;
                    attempt += 1;
                }
                Err(refusal) => break refusal,
            }
        };
        if refusal.is_answer() {
            return Err(refusal.explain(repo, None, &self.settings));
        }
        let Some(commit) = self.cached_commit(repo) else {
            return Err(refusal.explain(repo, None, &self.settings));
        };
        let because = refusal.to_string();
        lock(&self.notes).push(format!(
            "{repo} was taken from the cache (commit `{commit}`): `{}` did not say whether it is current: {because}",
            self.settings.endpoint
        ));
        Ok(Snapshot { commit, origin: SnapshotSource::Cache { because } })
    }

    fn ask_once(&self, repo: &HubRepo) -> Result<Snapshot, FailedRequest> {
        let request = self.api.repo(repo.at(repo.revision())).info_request().config();
        let request = request.http_status_as_error(false).timeout_global(Some(self.settings.stall));
        let mut response = request
            .build()
            .call()
            .map_err(|error| FailedRequest::Unreachable { reason: error.to_string() })?;
        let code = response.headers().get("x-error-code").and_then(|code| code.to_str().ok());
        let code = code.map(str::to_owned);
        match response.status().as_u16() {
            200 => {}
            status => return Err(FailedRequest::Status { status, code }),
        }
        let info = response.body_mut().with_config().limit(LARGEST_LISTING);
        let info: hf_hub::api::RepoInfo = info
            .read_json()
            .map_err(|error| FailedRequest::NotTheHub { reason: error.to_string() })?;
        if !is_safe_path(&info.sha) || info.sha.contains('/') {
            return Err(FailedRequest::NotTheHub {
                reason: format!("`{}` is no commit", info.sha),
            });
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

    /// The commit that the cache last saw the revision stand for.
    fn cached_commit(&self, repo: &HubRepo) -> Option<String> {
        let folder = self.settings.cache_dir.join(repo.at("main").folder_name());
        let commit = match std::fs::read_to_string(folder.join("refs").join(repo.revision())) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => repo.revision().to_owned(),
        };
        self.snapshot_dir(repo, &commit).is_dir().then_some(commit)
    }

    /// Notes in the cache what the revision stands for, so that it is found offline.
    fn remember(&self, repo: &HubRepo, commit: &str) {
        if repo.revision() != commit && self.cached_commit(repo).as_deref() != Some(commit) {
            // The cache may be read-only and complete: then there is nothing to note.
            let _ = self.cache.repo(repo.at(repo.revision())).create_ref(commit);
        }
    }
}

/// How often a wait looks whether the user asked to stop.
const TICK: Duration = Duration::from_millis(100);

/// A listing of a repository above this is no listing (the Hub's largest are some tens of MB).
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
