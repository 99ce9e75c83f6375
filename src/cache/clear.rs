//! Removing entries, all or the old ones, and never one that is being written.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::lock::{seize, Refusal};
use super::shelves::Shelf;
use super::PredictionCache;

/// A file on its way to its place is there for an instant; one of this age was left by a kill.
const LEFT_BEHIND: Duration = Duration::from_secs(3600);

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Everything,
    /// What was last written at least this long ago. Reading an entry does not count.
    UnmodifiedFor(Duration),
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The files, in order.
    pub removed: Vec<PathBuf>,
    /// Their size together.
    pub bytes: u64,
    /// The files that were to be removed and are still there.
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
    /// Removes the entries and remembered digests of `scope` that nobody writes, and the folders
    /// of the models that have no entry left. `now` is the time that ages are counted from.
    ///
    /// Only files that bear a name of this cache are removed, and no link is followed.
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

/// A removal under way.
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
        // Looked up again: an entry may have been kept, or opened in between. A writer that
        // loses its model.json to this all the same writes it anew with the next load.
        if !shelf.is_bare() {
            return;
        }
        if let Some(path) = &shelf.model_file {
            self.file(path, self.scope);
        }
        // Fails, and rightly, where something is left in it.
        let _ = fs::remove_dir(&shelf.folder);
    }

    /// Removes an entry, if it is old enough and nobody writes it; its size if it did.
    fn entry(&self, path: &Path) -> Result<Option<u64>, Refusal> {
        if !self.is_due(&fs::symlink_metadata(path)?, self.scope) {
            return Ok(None);
        }
        let file = seize(path)?;
        // It may have been written until just now.
        let metadata = file.metadata()?;
        if !self.is_due(&metadata, self.scope) {
            return Ok(None);
        }
        // With the lock held, so that nobody begins to write what is going away.
        fs::remove_file(path)?;
        Ok(Some(metadata.len()))
    }

    /// Removes a file that nobody locks, if it is old enough.
    fn file(&mut self, path: &Path, scope: Scope) {
        let remove = || -> io::Result<Option<u64>> {
            let metadata = fs::symlink_metadata(path)?;
            if !self.is_due(&metadata, scope) {
                return Ok(None);
            }
            fs::remove_file(path)?;
            Ok(Some(metadata.len()))
        };
        let outcome = remove().map_err(Refusal::Failed);
        self.count(path, outcome);
    }

    fn is_due(&self, metadata: &fs::Metadata, scope: Scope) -> bool {
        match scope {
            Scope::Everything => true,
            // A time in the future is no age.
            Scope::UnmodifiedFor(least) => metadata
                .modified()
                .is_ok_and(|time| self.now.duration_since(time).is_ok_and(|age| age >= least)),
        }
    }

    fn count(&mut self, path: &Path, outcome: Result<Option<u64>, Refusal>) {
        let error = match outcome {
            Ok(Some(bytes)) => {
                self.cleared.removed.push(path.to_owned());
                self.cleared.bytes += bytes;
                return;
            }
            Ok(None) => return,
            Err(Refusal::Failed(error)) if error.kind() == ErrorKind::NotFound => return,
            Err(Refusal::Failed(error)) => Some(error.to_string()),
            Err(Refusal::InUse) => None,
        };
        self.cleared.kept.push(Kept { path: path.to_owned(), error });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{testing, ModelFile};
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    /// A cache with model.json, one entry and one remembered digest.
    fn filled(root: &Path) -> PredictionCache {
        let cache = PredictionCache::at(root);
        let identity = testing::identity();
        cache.write_model(&ModelFile { name: "out/bert".to_owned(), identity, facts: 1 }).unwrap();
        testing::store(&cache, &testing::spec("train", 3, 2), &[0, 2]);
        fs::create_dir_all(root.join("hashes")).unwrap();
        fs::write(root.join(format!("hashes/{}.json", "0".repeat(64))), "{}").unwrap();
        cache
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
    fn everything_goes_with_its_folders() {
        let root = tempfile::tempdir().unwrap();
        let cache = filled(root.path());
        let sizes: u64 = [cache.list().unwrap()[0].bytes, 2].iter().sum();
        let model_file = cache.shelf(testing::identity().key()).join("model.json");
        let sizes = sizes + fs::metadata(model_file).unwrap().len();
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!((cleared.removed.len(), cleared.bytes, cleared.kept.len()), (3, sizes, 0));
        assert_eq!(fs::read_dir(root.path().join("predictions")).unwrap().count(), 0);
        assert_eq!(files(root.path()), [""; 0]);
        let again = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(again, Cleared::default());
    }

    #[test]
    fn an_absent_cache_is_cleared_already() {
        let root = tempfile::tempdir().unwrap();
        let cache = PredictionCache::at(root.path().join("none"));
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(cleared, Cleared::default());
    }

    #[test]
    fn only_what_is_old_goes() {
        let root = tempfile::tempdir().unwrap();
        let cache = filled(root.path());
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
        let root = tempfile::tempdir().unwrap();
        let cache = filled(root.path());
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
    fn what_is_not_of_the_cache_stays_and_links_are_not_followed() {
        use std::os::unix::fs::symlink;
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cache = filled(root.path());
        let shelf = cache.shelf(testing::identity().key());
        let entry_name = format!("{}.logits", "0".repeat(64));
        for path in [&entry_name, "model.json"] {
            fs::write(outside.path().join(path), "precious").unwrap();
        }
        fs::write(shelf.join("notes.txt"), "mine").unwrap();
        fs::write(root.path().join("predictions/notes.txt"), "mine").unwrap();
        fs::write(root.path().join("hashes/model.json"), "mine").unwrap();
        symlink(outside.path(), shelf.with_file_name("1".repeat(64))).unwrap();
        symlink(outside.path().join("model.json"), shelf.join(&entry_name)).unwrap();
        let cleared = cache.clear(Scope::Everything, SystemTime::now()).unwrap();
        assert_eq!(cleared.removed.len(), 3);
        assert_eq!(files(outside.path()).len(), 2);
        let links = ["1".repeat(64), entry_name];
        let mut left = files(root.path());
        left.retain(|name| !links.contains(name));
        assert_eq!(left, ["model.json", "notes.txt", "notes.txt"]);
    }

    #[test]
    fn what_a_kill_left_on_its_way_goes_when_it_is_surely_left() {
        let root = tempfile::tempdir().unwrap();
        let cache = filled(root.path());
        let left = root.path().join("hashes/.new-abc.tmp");
        fs::write(&left, "").unwrap();
        let now = SystemTime::now();
        cache.clear(Scope::Everything, now).unwrap();
        assert!(left.exists());
        cache.clear(Scope::Everything, now + LEFT_BEHIND * 2).unwrap();
        assert!(!left.exists());
    }
}
