//! Who may write an entry: the process that holds the lock on its file.
//!
//! The lock is the system's advisory one on the open file, so it ends with the process, however
//! that ends. A lock on a file says nothing about its name: another process may have removed the
//! file between our opening and our locking it, and we would write where nobody looks. So the name
//! is looked up again once the lock is held.
//!
//! On Windows nobody reads a file that another process has locked: an entry in use is an empty one
//! there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::replace::in_its_folder;

/// How often a lock is asked for. A listing holds it for an instant, a writer for minutes.
const ATTEMPTS: usize = 6;
/// How long to wait between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Why a file is not ours to write.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Another process holds it.
    InUse,
    /// It cannot be created, opened or locked.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Failed(error)
    }
}

/// The file at `path`, created with its folders where it is missing, and locked until dropped.
pub(super) fn claim(path: &Path) -> Result<File, Refusal> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let file = in_its_folder(path, |_| open(path, &options))?;
        if let Some(file) = lock(file, path)? {
            return Ok(file);
        }
    }
    Err(Refusal::InUse)
}

/// The existing file at `path`, locked until dropped: no other process opens it for writing, and
/// none that holds it is disturbed.
pub(super) fn seize(path: &Path) -> Result<File, Refusal> {
    let file = open(path, OpenOptions::new().read(true).write(true))?;
    lock(file, path)?.ok_or(Refusal::InUse)
}

/// Opens the regular file at `path` for reading.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Opens a regular file: a link could lead out of the cache, and a pipe would wait for ever.
fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => options.open(path),
    }
}

/// `file` with the lock on it, `None` where another process holds the lock or took the name away.
fn lock(file: File, path: &Path) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(is_named(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Puts a shared lock on `file`, which keeps writers away until it is closed; whether none is at
/// work. Where the file system has no locks, none ever is.
pub(super) fn share(file: &File) -> bool {
    !matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether `path` is still the name of `file`.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(same_file(&named, &file.metadata()?)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Without the numbers of files, the time of creation tells a file from its successor.
#[cfg(not(unix))]
fn same_file(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.is_file() && a.created().ok() == b.created().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_free_again_when_dropped() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/folder/a.logits");
        let first = claim(&path).unwrap();
        assert!(matches!(claim(&path), Err(Refusal::InUse)));
        assert!(matches!(seize(&path), Err(Refusal::InUse)));
        let shared = open_to_read(&path).unwrap();
        assert!(!share(&shared));
        drop(first);
        assert!(share(&shared));
        assert!(matches!(seize(&path), Err(Refusal::InUse)));
        drop(shared);
        claim(&path).unwrap();
    }

    #[test]
    fn a_reader_that_lets_go_soon_is_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.logits");
        drop(claim(&path).unwrap());
        let shared = open_to_read(&path).unwrap();
        assert!(share(&shared));
        std::thread::scope(|scope| {
            scope.spawn(|| claim(&path).unwrap());
            std::thread::sleep(PAUSE);
            drop(shared);
        });
    }

    #[test]
    fn a_file_that_lost_its_name_is_not_claimed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.logits");
        let file = File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(lock(file, &path).unwrap().is_none());

        let file = File::create(&path).unwrap();
        fs::rename(&path, root.path().join("b")).unwrap();
        File::create(&path).unwrap();
        assert!(lock(file, &path).unwrap().is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_not_followed_and_a_pipe_not_waited_for() {
        let root = tempfile::tempdir().unwrap();
        let (target, link) = (root.path().join("precious"), root.path().join("a.logits"));
        fs::write(&target, "mine").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(claim(&link), Err(Refusal::Failed(_))));
        assert!(open_to_read(&link).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
