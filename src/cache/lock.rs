//! The lock on an entry's file, held by its only writer.
//!
//! It is the system's advisory lock on the open file, so it ends with the process. Another process
//! may remove the file between opening and locking it, so the name is checked again under the lock.
//!
//! On Windows a locked file cannot be read by others, so an entry in use looks empty there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use super::replace::in_its_folder;

/// Attempts to lock a file. A listing holds the lock for an instant, a writer for minutes.
const ATTEMPTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(20);

/// Why a file could not be locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process holds it.
    InUse,
    /// It cannot be created, opened or locked.
    Failed(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        LockError::Failed(error)
    }
}

/// Opens the file at `path`, created with its folders if missing, locked until dropped.
pub(super) fn claim(path: &Path) -> Result<File, LockError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let file = in_its_folder(path, || open(path, &options))?;
        if let Some(file) = lock(file, path)? {
            return Ok(file);
        }
    }
    Err(LockError::InUse)
}

/// Opens the existing file at `path`, locked until dropped. Does not wait for another process.
pub(super) fn seize(path: &Path) -> Result<File, LockError> {
    let file = open(path, OpenOptions::new().read(true).write(true))?;
    lock(file, path)?.ok_or(LockError::InUse)
}

pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Opens regular files only: a link could lead out of the cache, and a pipe would block.
fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => options.open(path),
    }
}

/// Locks `file`; `None` if another process holds the lock or removed or replaced `path`.
fn lock(file: File, path: &Path) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => Ok(is_named(&file, path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Puts a shared lock on `file`, which excludes writers until it is closed; `false` if a writer holds
/// it. Always `true` on a file system without locks.
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

/// Compares creation times, as there are no inodes.
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
        assert!(matches!(claim(&path), Err(LockError::InUse)));
        assert!(matches!(seize(&path), Err(LockError::InUse)));
        let shared = open_to_read(&path).unwrap();
        assert!(!share(&shared));
        drop(first);
        assert!(share(&shared));
        assert!(matches!(seize(&path), Err(LockError::InUse)));
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
        assert!(matches!(claim(&link), Err(LockError::Failed(_))));
        assert!(open_to_read(&link).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"mine");
    }
}
