//! Downloads one file from the Hub into the cache, atomically.
//!
//! The layout is that of Hugging Face's tools: `blobs/HASH` has the bytes, and
//! `snapshots/COMMIT/FILE` is a link to it. A file gets these names only if its bytes have the hash.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::client::Answer;
use super::content::Content;
use super::failure::HubError;
use super::listing::ListedFile;
use super::{lock, Hub, HubRepo, TICK};

/// Progress of downloads.
pub trait DownloadProgress: Send + Sync {
    /// A download of `bytes` bytes begins (again, after a failed attempt); 0 if that is unknown.
    fn begin(&self, file: &str, bytes: u64);
    /// `bytes` more bytes have arrived.
    fn advance(&self, bytes: u64);
    /// The last byte has arrived.
    fn end(&self);
}

/// How long another process's download of the same file is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(300);

/// Bytes of the largest file whose size the Hub does not state.
const LARGEST_UNSTATED: u64 = 64 << 20;

/// One file at one commit.
struct WantedFile<'a> {
    repo: &'a HubRepo,
    commit: &'a str,
    file: &'a str,
}

impl Hub {
    /// The local path of a listed file, whose bytes have the hash that the Hub states: from the
    /// cache if it has them, else downloaded.
    pub(super) fn current(
        &self,
        repo: &HubRepo,
        commit: &str,
        listed: &ListedFile,
    ) -> Result<PathBuf> {
        let file = &listed.name;
        let cached = self.cached(repo, commit, file);
        if let Some(path) = cached.as_ref().filter(|path| lock(&self.verified).contains(*path)) {
            return Ok(path.clone());
        }
        let wanted = WantedFile { repo, commit, file };
        let content = match &listed.content {
            Some(content) => content.clone(),
            None => self.retried(&wanted, || self.ask_content(&wanted))?,
        };
        let path = match cached {
            Some(path) if content.is_of(&path).unwrap_or(false) => path,
            cached => {
                if cached.is_some() {
                    lock(&self.notes).push(format!(
                        "`{file}` of {repo} was downloaded again: the file in the cache is not the one that the Hub lists"
                    ));
                }
                self.retried(&wanted, || self.download(&wanted, &content))?
            }
        };
        lock(&self.verified).insert(path.clone());
        Ok(path)
    }

    /// Repeats a request after a temporary failure.
    fn retried<T>(
        &self,
        wanted: &WantedFile,
        request: impl Fn() -> Result<T, HubError>,
    ) -> Result<T> {
        let WantedFile { repo, file, .. } = wanted;
        let interrupted = || self.interrupt.check(|| format!("downloading `{file}` of {repo}"));
        let mut attempt = 0;
        loop {
            let failed = match request() {
                Ok(done) => return Ok(done),
                Err(failed) => failed,
            };
            interrupted()?;
            if !failed.is_temporary() || attempt >= self.settings.retries {
                return Err(failed.explain(repo, Some(file), &self.settings));
            }
            self.pause(attempt);
            interrupted()?;
            attempt += 1;
        }
    }

    /// Asks what a file is, where the listing does not say it.
    fn ask_content(&self, wanted: &WantedFile) -> Result<Content, HubError> {
        let answer = self.ask_file(wanted, Some("bytes=0-0".to_owned()))?;
        if !matches!(answer.head.status, 200 | 206) {
            return Err(refused(&answer));
        }
        Ok(Content { hash: answer.head.hash()?, size: answer.head.size() })
    }

    fn ask_file(&self, wanted: &WantedFile, range: Option<String>) -> Result<Answer, HubError> {
        let WantedFile { repo, commit, file } = wanted;
        let path = repo.web_path().chain(["resolve", commit]).chain(file.split('/'));
        let answer = self.client().get(path, None, range)?;
        match answer.head.own("x-repo-commit") {
            Some(other) if !other.eq_ignore_ascii_case(commit) => Err(HubError::NotTheHub {
                reason: format!("it answers with the commit `{other}`, not `{commit}`"),
            }),
            _ => Ok(answer),
        }
    }

    /// Puts the file into the cache, under its hash and under its name.
    fn download(&self, wanted: &WantedFile, content: &Content) -> Result<PathBuf, HubError> {
        let folder = self.repo_dir(wanted.repo);
        let blobs = folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(disk)?;
        let name = content.hash.name();
        let blob = blobs.join(name);
        let _lock = self.lock_blob(&blobs.join(format!("{name}.lock")))?;
        if !is_plain_file(&blob) || !content.is_of(&blob).unwrap_or(false) {
            let part = blobs.join(format!("{name}.part"));
            self.transfer(wanted, content, &part)?;
            fs::rename(part, &blob).map_err(disk)?;
        }
        let path = self.snapshot_dir(wanted.repo, wanted.commit).join(wanted.file);
        link(&blob, &path, wanted.file).map_err(disk)?;
        Ok(path)
    }

    /// Locks a blob against other processes; waits for them.
    fn lock_blob(&self, path: &Path) -> Result<File, HubError> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(disk)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(disk(error)),
                Err(TryLockError::WouldBlock) => {}
            }
            if self.interrupt.is_set() || begun.elapsed() >= LOCK_WAIT {
                return Err(HubError::Locked { path: path.display().to_string() });
            }
            std::thread::sleep(TICK);
        }
    }

    /// Downloads into `part`, or the rest of it. A `part` that cannot become the file is removed.
    fn transfer(
        &self,
        wanted: &WantedFile,
        content: &Content,
        part: &Path,
    ) -> Result<(), HubError> {
        let left = usable_part(part, content.size).map_err(disk)?;
        let range = (left > 0).then(|| format!("bytes={left}-"));
        let mut answer = self.ask_file(wanted, range)?;
        let start = match answer.head.status {
            200 => 0,
            206 if answer.head.resumes_at(left) => left,
            206 | 416 => {
                let _ = fs::remove_file(part);
                return Err(HubError::Corrupt { reason: "it cannot be resumed".to_owned() });
            }
            _ => return Err(refused(&answer)),
        };
        let size = content.size.or(answer.head.size());
        let done = self.receive(&mut answer, wanted.file, part, start, size);
        let done = done.and_then(|()| verify(part, content, size));
        if done.as_ref().is_err_and(|failed| !failed.leaves_a_part()) {
            let _ = fs::remove_file(part);
        }
        done
    }

    /// Writes the body of `answer` to `part`, from byte `start` on.
    fn receive(
        &self,
        answer: &mut Answer,
        file: &str,
        part: &Path,
        start: u64,
        size: Option<u64>,
    ) -> Result<(), HubError> {
        let limit = size.unwrap_or(LARGEST_UNSTATED);
        let free = free_space(part);
        if let Some(free) = free.filter(|free| limit.saturating_sub(start) > *free) {
            let reason = format!("{limit} bytes are needed, and {free} are free");
            return Err(HubError::Disk { reason });
        }
        let mut out = OpenOptions::new().write(true).create(true).truncate(start == 0).open(part);
        let out = out.as_mut().map_err(|error| HubError::Disk { reason: error.to_string() })?;
        io::Seek::seek(out, io::SeekFrom::Start(start)).map_err(disk)?;
        let progress = self.progress.as_deref();
        if let Some(progress) = progress {
            progress.begin(file, size.unwrap_or(0));
            progress.advance(start);
        }
        let mut arrived = start;
        while let Some(bytes) = answer.next()? {
            arrived += bytes.len() as u64;
            if arrived > limit {
                let reason = format!("it sends more than the {limit} bytes of the file");
                return Err(HubError::NotTheHub { reason });
            }
            out.write_all(&bytes).map_err(disk)?;
            if let Some(progress) = progress {
                progress.advance(bytes.len() as u64);
            }
        }
        if let Some(progress) = progress {
            progress.end();
        }
        Ok(())
    }
}

fn disk(error: io::Error) -> HubError {
    HubError::Disk { reason: error.to_string() }
}

fn refused(answer: &Answer) -> HubError {
    let code = answer.head.own("x-error-code").map(str::to_owned);
    HubError::Status { status: answer.head.status, code }
}

/// Whether `path` is a file and not a link to one.
fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// The bytes of an earlier attempt. What cannot be the start of the file is removed.
fn usable_part(part: &Path, size: Option<u64>) -> io::Result<u64> {
    let found = match fs::symlink_metadata(part) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if found.is_file() && size.is_none_or(|size| found.len() < size) {
        return Ok(found.len());
    }
    fs::remove_file(part).map(|()| 0)
}

/// Checks the stated size and the hash.
fn verify(part: &Path, content: &Content, size: Option<u64>) -> Result<(), HubError> {
    let arrived = fs::metadata(part).map_err(disk)?.len();
    if let Some(size) = size.filter(|size| *size != arrived) {
        let reason = format!("{arrived} bytes arrived of {size}; the connection broke off");
        return Err(HubError::Unreachable { reason });
    }
    let found = content.hash.of_file(part).map_err(disk)?;
    if found != content.hash.name() {
        return Err(HubError::Corrupt {
            reason: format!("its {} is {found}", content.hash.kind()),
        });
    }
    Ok(())
}

/// Gives the blob its name in a snapshot.
fn link(blob: &Path, path: &Path, file: &str) -> io::Result<()> {
    if path.canonicalize().is_ok_and(|found| blob.canonicalize().is_ok_and(|blob| blob == found)) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    {
        // From snapshots/COMMIT/FILE to blobs/HASH. The blob's lock is held, so the name is free.
        let up = "../".repeat(2 + file.matches('/').count());
        let made = blob.with_extension("link");
        let _ = fs::remove_file(&made);
        let name = blob.file_name().unwrap_or_default();
        std::os::unix::fs::symlink(Path::new(&up).join("blobs").join(name), &made)?;
        fs::rename(made, path)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        fs::copy(blob, path).map(drop)
    }
}

/// Bytes that can be written next to `path`, where the system says so.
fn free_space(path: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let found = rustix::fs::statvfs(path.parent()?).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}
