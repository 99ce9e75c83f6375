//! Removes entries: all, or old ones, but never one that is being written.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::lock::{seize, LockError};
use super::shelves::Shelf;
use super::PredictionCache;

/// A temporary file of this age was left by a killed process.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// Which files are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Everything,
    /// Files last written at least this long ago. Reading an entry does not count.
    UnmodifiedFor(Duration),
}

/// The result of [`PredictionCache::clear`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The files, in order.
    pub removed: Vec<PathBuf>,
    /// Their total size.
    pub bytes: u64,
    /// Files that could not be removed.
    pub kept: Vec<Kept>,
}

/// A file that was not removed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The file.
    pub path: PathBuf,
    /// `None` for an entry that a process is writing.
    pub error: Option<String>,
}

impl PredictionCache {
    /// Removes the entries and remembered digests in `scope`, except those being written, and the
    /// folders of models without entries. Ages are measured at `now`.
    ///
    /// Only files named like this cache's are removed; links are not followed.
    ///
    /// # Errors
    /// A folder that cannot be read; an absent cache is an empty one. A file that cannot be
    /// removed is in [`Cleared::kept`].
    pub fn clear(&self, scope: Scope, now: SystemTime) -> Result<Cleared> {
        let mut sweep = Sweep { scope, now, cleared: Cleared::default() };
        for shelf in self.shelves()? {
            sweep.shelf(&shelf);
        }
        let hashes = self.hash_files()?;
        for path in hashes.memos {
            sweep.file(&path, scope);
        }
        for path in hashes.unfinished {
            sweep.file(&path, Scope::UnmodifiedFor(LEFT_BEHIND));
        }
        Ok(sweep.cleared)
    }
}

struct Sweep {
    scope: Scope,
    now: SystemTime,
    cleared: Cleared,
}

impl Sweep {
    fn shelf(&mut self, shelf: &Shelf) {
        for (_, path) in &shelf.entries {
            let outcome = self.entry(path);
            self.count(path, outcome);
        }
        for path in &shelf.unfinished {
            self.file(path, Scope::UnmodifiedFor(LEFT_BEHIND));
        }
        // Looked up again: an entry may have been kept, or opened in between. A writer that still
        // loses its model.json writes it again with the next load.
        if !shelf.is_bare() {
            return;
        }
        if let Some(path) = &shelf.model_file {
            self.file(path, self.scope);
        }
        // Fails if the folder is not empty, as it should.
        let _ = fs::remove_dir(&shelf.folder);
    }

    /// Removes an entry that is old enough and not in use; returns its size.
    fn entry(&self, path: &Path) -> Result<Option<u64>, LockError> {
        if !self.is_due(&fs::symlink_metadata(path)?, self.scope) {
            return Ok(None);
        }
        let file = seize(path)?;
        // It may have been written before the lock was taken.
        let metadata = file.metadata()?;
        if !self.is_due(&metadata, self.scope) {
            return Ok(None);
        }
        // With the lock held, so that no writer opens it meanwhile.
        fs::remove_file(path)?;
        Ok(Some(metadata.len()))
    }

    /// Removes a file without a lock, if it is old enough.
    fn file(&mut self, path: &Path, scope: Scope) {
        let remove = || -> io::Result<Option<u64>> {
            let metadata = fs::symlink_metadata(path)?;
            if !self.is_due(&metadata, scope) {
                return Ok(None);
            }
            fs::remove_file(path)?;
            Ok(Some(metadata.len()))
        };
        let outcome = remove().map_err(LockError::Failed);
        self.count(path, outcome);
    }

    fn is_due(&self, metadata: &fs::Metadata, scope: Scope) -> bool {
        match scope {
            Scope::Everything => true,
            // A time in the future has no age.
            Scope::UnmodifiedFor(least) => metadata
                .modified()
                .is_ok_and(|time| self.now.duration_since(time).is_ok_and(|age| age >= least)),
        }
    }

    fn count(&mut self, path: &Path, outcome: Result<Option<u64>, LockError>) {
        let error = match outcome {
            Ok(Some(bytes)) => {
                self.cleared.removed.push(path.to_owned());
                self.cleared.bytes += bytes;
                return;
            }
            Ok(None) => return,
            Err(LockError::Failed(error)) if error.kind() == ErrorKind::NotFound => return,
            Err(LockError::Failed(error)) => Some(error.to_string()),
            Err(LockError::InUse) => None,
        };
        self.cleared.kept.push(Kept { path: path.to_owned(), error });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A cache with model.json, one entry and one remembered digest.
    fn filled() -> (tempfile::TempDir, PredictionCache) {
        let (root, cache) = testing::cache();
        cache.write_model(&testing::model()).unwrap();
        testing::store(&cache, &testing::spec("train", 3, 2), &[0, 2]);
        fs::create_dir_all(cache.root().join("hashes")).unwrap();
        fs::write(cache.root().join(format!("hashes/{}.json", "0".repeat(64))), "{}").unwrap();
        (root, cache)
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for child in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match child.file_type().unwrap().is_dir() {
                true => names.extend(files(&child.path())),
                false => names.push(child.file_name().into_string().unwrap()),
            }
        }
        names.sort();
        names
    }

    #[test]
    fn everything_is_removed_with_its_folders() {
        let (_root, cache) = filled();
        let sizes: u64 = [cache.list().unwrap()[0].bytes, 2].iter().sum();
        let model_file = cache.shelf(testing::identity().key()).join("model.json");
        let sizes = sizes + fs::metadata(model_file).unwrap().len();
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!((cleared.removed.len(), cleared.bytes, cleared.kept.len()), (3, sizes, 0));
        assert_eq!(fs::read_dir(cache.root().join("predictions")).unwrap().count(), 0);
        assert_eq!(files(cache.root()), [""; 0]);
        let again = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(again, Cleared::default());
    }

    #[test]
    fn an_absent_cache_is_cleared_already() {
        let (_root, cache) = testing::cache();
        assert_eq!(cache.clear(Scope::Everything, SystemTime::now()).unwrap(), Cleared::default());
    }

    #[test]
    fn only_old_files_are_removed() {
        let (_root, cache) = filled();
        let now = SystemTime::now();
        assert_eq!(cache.clear(Scope::UnmodifiedFor(DAY), now).unwrap(), Cleared::default());
        let old = cache.list().unwrap().remove(0).path;
        testing::store(&cache, &testing::spec("test", 3, 2), &[1]);
        fs::File::options().write(true).open(&old).unwrap().set_modified(now - DAY).unwrap();
        let cleared = cache.clear(Scope::UnmodifiedFor(DAY), now).unwrap();
        assert_eq!(cleared.removed, [old]);
        assert_eq!(cache.list().unwrap().len(), 1);
        let cleared = cache.clear(Scope::UnmodifiedFor(DAY), now + 2 * DAY).unwrap();
        assert_eq!(cleared.removed.len(), 3); // the other entry, model.json, the digest
    }

    #[test]
    fn an_entry_in_use_stays_with_its_model() {
        let (_root, cache) = filled();
        let (mut entry, _) = cache.open(&testing::spec("dev", 3, 2));
        let path = entry.path().unwrap().to_owned();
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(cleared.kept, [Kept { path: path.clone(), error: None }]);
        testing::append(&mut entry, 2, &[1]);
        drop(entry);
        let list = cache.list().unwrap();
        assert_eq!((list.len(), list[0].known), (1, 1));
        assert_eq!(list[0].model_name.as_deref(), Some("out/bert"));
    }

    #[cfg(unix)]
    #[test]
    fn foreign_files_stay_and_links_are_not_followed() {
        use std::os::unix::fs::symlink;
        let ((_root, cache), outside) = (filled(), tempfile::tempdir().unwrap());
        let shelf = cache.shelf(testing::identity().key());
        let entry_name = format!("{}.logits", "0".repeat(64));
        for path in [&entry_name, "model.json"] {
            fs::write(outside.path().join(path), "precious").unwrap();
        }
        fs::write(shelf.join("notes.txt"), "mine").unwrap();
        fs::write(cache.root().join("predictions/notes.txt"), "mine").unwrap();
        fs::write(cache.root().join("hashes/model.json"), "mine").unwrap();
        symlink(outside.path(), shelf.with_file_name("1".repeat(64))).unwrap();
        symlink(outside.path().join("model.json"), shelf.join(&entry_name)).unwrap();
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(cleared.removed.len(), 3);
        assert_eq!(files(outside.path()).len(), 2);
        let links = ["1".repeat(64), entry_name];
        let mut left = files(cache.root());
        left.retain(|name| !links.contains(name));
        assert_eq!(left, ["model.json", "notes.txt", "notes.txt"]);
    }

    #[test]
    fn old_temporary_files_of_killed_processes_are_removed() {
        let (_root, cache) = filled();
        let left = cache.root().join("hashes/.new-abc.tmp");
        fs::write(&left, "").unwrap();
        let now = SystemTime::now();
        cache.clear(Scope::Everything, now).unwrap();
        assert!(left.exists());
        cache.clear(Scope::Everything, now + LEFT_BEHIND * 2).unwrap();
        assert!(!left.exists());
    }
}
