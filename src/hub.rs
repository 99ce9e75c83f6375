//! Files of the Hugging Face Hub, downloaded once into its cache.
//!
//! A revision is resolved to a commit once per run, and every file is fetched at that commit, so
//! that a branch that moves cannot mix the files of two commits. The cache is that of Hugging Face's
//! own tools. Its files are used only if they have the hashes that the Hub lists; offline they are
//! trusted.
//!
//! The crate hf-hub knows the cache's layout. Requests are made here: hf-hub follows a redirect with
//! the token, names files after what the server answers, and bounds neither time nor size.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use hf_hub::Cache;

mod client;
mod content;
mod download;
mod failure;
mod listing;
mod repo;
mod settings;
#[cfg(test)]
mod tests;

pub use download::DownloadProgress;
pub use repo::{is_id, HubRepo, RepoKind};
pub use settings::{Connection, HubSettings};

use crate::interrupt::Interrupt;
use crate::temporary::write_whole;
use client::Client;
use failure::HubError;
use listing::{ListedFile, Listing};
use repo::{is_commit, is_safe_path};

/// The Hub during one run.
pub struct Hub {
    settings: HubSettings,
    cache: Cache,
    client: OnceLock<Client>,
    progress: Option<Arc<dyn DownloadProgress>>,
    interrupt: Interrupt,
    snapshots: Mutex<HashMap<HubRepo, Snapshot>>,
    /// Files of the cache whose hash was compared with the Hub's in this run.
    verified: Mutex<HashSet<PathBuf>>,
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
    Hub { files: Vec<ListedFile> },
    /// From the cache, which may hold only some of the files; why the Hub did not answer.
    Cache { because: String },
}

impl Hub {
    /// The Hub with the settings of this process's environment.
    pub fn from_env() -> Hub {
        Hub::new(HubSettings::from_env())
    }

    /// The Hub with explicit settings. Connects to nothing yet.
    pub fn new(settings: HubSettings) -> Hub {
        let cache = Cache::new(settings.cache_dir.clone());
        let (snapshots, verified, notes) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (client, interrupt) = (OnceLock::new(), Interrupt::default());
        Hub { settings, cache, client, progress: None, interrupt, snapshots, verified, notes }
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

    /// The local path of one file of `repo`, downloaded if the cache lacks it or has other bytes
    /// under its name.
    ///
    /// # Errors
    /// A repository, revision or file that does not exist or may not be read, a Hub that cannot be
    /// reached or breaks off, a cache that cannot be written. An incomplete file is never left in
    /// place.
    pub fn fetch(&self, repo: &HubRepo, file: &str) -> Result<PathBuf> {
        if !is_safe_path(file) {
            anyhow::bail!("`{file}`, named by {repo}, is not a path inside a repository");
        }
        let snapshot = self.resolve(repo)?;
        let path = match &snapshot.origin {
            SnapshotSource::Hub { files } => {
                let Some(listed) = files.iter().find(|listed| listed.name == file) else {
                    return Err(failure::no_such_file(repo, file, files));
                };
                self.current(repo, &snapshot.commit, listed)?
            }
            SnapshotSource::Cache { because } => {
                let cached = self.cached(repo, &snapshot.commit, file);
                let missing = || failure::not_cached(repo, Some(file), because, &self.settings);
                cached.ok_or_else(missing)?
            }
        };
        self.remember(repo, &snapshot.commit);
        Ok(path)
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
            SnapshotSource::Hub { files } => Ok(files.into_iter().map(|it| it.name).collect()),
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
                    attempt += 1;
                }
                Err(failed) => break failed,
            }
            self.interrupt.check(|| format!("asking for {repo}"))?;
        };
        self.interrupt.check(|| format!("asking for {repo}"))?;
        if failed.is_answer() {
            return Err(failed.explain(repo, None, &self.settings));
        }
        let Some(commit) = self.cached_commit(repo) else {
            return Err(failed.explain(repo, None, &self.settings));
        };
        let because = failed.to_string();
        lock(&self.notes).push(format!(
            "{repo} was taken from the cache (commit `{commit}`): `{}` did not confirm that it is current: {because}",
            self.settings.shown_endpoint()
        ));
        Ok(Snapshot { commit, origin: SnapshotSource::Cache { because } })
    }

    fn ask_once(&self, repo: &HubRepo) -> Result<Snapshot, HubError> {
        // With `blobs`, the answer has the hash of every file.
        let answer = self.client().get(repo.api_path(), Some("blobs=true"), None)?;
        match answer.head.status {
            200 => {}
            status => {
                let code = answer.head.own("x-error-code").map(str::to_owned);
                return Err(HubError::Status { status, code });
            }
        }
        let Listing { commit, files } = Listing::parse(&answer.whole(listing::LARGEST)?, repo)?;
        Ok(Snapshot { commit, origin: SnapshotSource::Hub { files } })
    }

    fn client(&self) -> &Client {
        self.client.get_or_init(|| Client::new(&self.settings, self.interrupt.clone()))
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

    fn repo_dir(&self, repo: &HubRepo) -> PathBuf {
        self.settings.cache_dir.join(repo.at("main").folder_name())
    }

    fn cached(&self, repo: &HubRepo, commit: &str, file: &str) -> Option<PathBuf> {
        let path = self.snapshot_dir(repo, commit).join(file);
        path.is_file().then_some(path)
    }

    /// The last commit of the revision in the cache.
    fn cached_commit(&self, repo: &HubRepo) -> Option<String> {
        let refs = self.repo_dir(repo).join("refs");
        let commit = match std::fs::read_to_string(refs.join(repo.revision())) {
            Ok(commit) => commit.trim().to_owned(),
            Err(_) => repo.revision().to_owned(),
        };
        (is_commit(&commit) && self.snapshot_dir(repo, &commit).is_dir()).then_some(commit)
    }

    /// Stores the commit of the revision in the cache, so that it is found offline.
    fn remember(&self, repo: &HubRepo, commit: &str) {
        if repo.revision() != commit && self.cached_commit(repo).as_deref() != Some(commit) {
            let path = self.repo_dir(repo).join("refs").join(repo.revision());
            // The cache may be read-only and complete. A link in its place is replaced, not followed.
            let _ = std::fs::create_dir_all(path.parent().unwrap_or(&path));
            let _ = write_whole(&path, commit.as_bytes());
        }
    }
}

/// Interval at which a wait checks for an interrupt.
const TICK: Duration = Duration::from_millis(100);

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
