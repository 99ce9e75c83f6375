//! Checks every file of the cache.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::examine::examine;
use super::model_file;
use super::note::CacheNote;
use super::PredictionCache;

/// One checked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// The result.
    pub outcome: Integrity,
}

/// Whether a file is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Integrity {
    /// Every checksum holds, and the file is in its place.
    Sound,
    /// A process is writing it; its end was not checked.
    InUse,
    /// The file is not valid, or others can write to it; and why.
    Damaged(String),
}

impl PredictionCache {
    /// Reads every entry and every model.json, in the order of their paths. Remembered digests are
    /// checked when they are used, not here.
    ///
    /// # Errors
    /// A folder that cannot be read; an absent cache is an empty one.
    pub fn verify(&self) -> Result<Vec<Verified>> {
        let mut verified = Vec::new();
        for shelf in self.shelves()? {
            for (texts, path) in &shelf.entries {
                if let Some(note) = self.distrust(path) {
                    verified.push(not_trusted(path, &note));
                    continue;
                }
                let outcome = match examine(path, shelf.model, *texts) {
                    Ok(found) if found.in_use => Integrity::InUse,
                    Ok(found) => found
                        .fault
                        .map_or(Integrity::Sound, |fault| Integrity::Damaged(fault.to_string())),
                    Err(error) if error.kind() == ErrorKind::NotFound => continue, // just removed
                    Err(error) => Integrity::Damaged(format!("it cannot be read: {error}")),
                };
                verified.push(Verified { path: path.clone(), outcome });
            }
            let Some(path) = shelf.model_file else { continue };
            if let Some(note) = self.distrust(&path) {
                verified.push(not_trusted(&path, &note));
                continue;
            }
            let outcome = match model_file::read(&path) {
                Ok(Some(value)) => model_file::check(&value, shelf.model)
                    .map_or_else(Integrity::Damaged, |()| Integrity::Sound),
                Ok(None) => continue, // just removed
                Err(error) => Integrity::Damaged(error.to_string()),
            };
            verified.push(Verified { path, outcome });
        }
        Ok(verified)
    }
}

/// A file that no audit uses, whatever it holds.
fn not_trusted(path: &Path, note: &CacheNote) -> Verified {
    let why = format!("it is not used: `{}`: {}", note.path.display(), note.found);
    Verified { path: path.to_owned(), outcome: Integrity::Damaged(why) }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use std::fs;

    fn filled() -> (tempfile::TempDir, PredictionCache) {
        let (root, cache) = testing::cache();
        cache.write_model(&testing::model()).unwrap();
        testing::store(&cache, &testing::spec("train", 3, 2), &[0, 2, 1]);
        testing::store(&cache, &testing::spec("test", 4, 2), &[3]);
        (root, cache)
    }

    #[test]
    fn an_unchanged_cache_is_valid() {
        let (_root, cache) = filled();
        let verified = cache.verify().unwrap();
        assert_eq!(verified.len(), 3); // two entries, model.json
        assert!(verified.iter().all(|file| file.outcome == Integrity::Sound), "{verified:?}");
    }

    #[test]
    fn any_changed_byte_is_found_in_its_file() {
        let (_root, cache) = filled();
        for Verified { path, .. } in cache.verify().unwrap() {
            let bytes = fs::read(&path).unwrap();
            for at in (0..bytes.len()).filter(|&at| bytes[at].is_ascii_alphanumeric()) {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                fs::write(&path, changed).unwrap();
                let damaged: Vec<PathBuf> = (cache.verify().unwrap().into_iter())
                    .filter(|file| matches!(file.outcome, Integrity::Damaged(_)))
                    .map(|file| file.path)
                    .collect();
                assert_eq!(damaged, std::slice::from_ref(&path), "byte {at}");
            }
            fs::write(&path, bytes).unwrap();
        }
    }

    #[test]
    fn an_entry_or_a_model_in_the_wrong_place_is_found() {
        let (_root, cache) = filled();
        let folder = cache.shelf(testing::identity().key());
        let other = folder.with_file_name("0".repeat(64));
        fs::rename(folder, other).unwrap();
        let verified = cache.verify().unwrap();
        assert!(verified.iter().all(|file| matches!(file.outcome, Integrity::Damaged(_))));
    }

    #[test]
    fn an_entry_in_use_is_not_judged() {
        let (_root, cache) = filled();
        let (entry, _) = cache.open(&testing::spec("dev", 5, 2));
        let mut bytes = fs::read(entry.path().unwrap()).unwrap();
        bytes.extend([1, 0]);
        fs::write(entry.path().unwrap(), bytes).unwrap();
        let outcome = |path: &std::path::Path| {
            let files = cache.verify().unwrap();
            files.into_iter().find(|file| file.path == path).unwrap().outcome
        };
        let path = entry.path().unwrap().to_owned();
        assert_eq!(outcome(&path), Integrity::InUse);
        drop(entry);
        assert!(matches!(outcome(&path), Integrity::Damaged(_)));
    }

    #[cfg(unix)]
    #[test]
    fn a_cache_that_others_can_write_to_is_not_valid() {
        use std::os::unix::fs::PermissionsExt;
        let (_root, cache) = filled();
        fs::set_permissions(cache.root(), fs::Permissions::from_mode(0o770)).unwrap();
        let verified = cache.verify().unwrap();
        assert_eq!(verified.len(), 3);
        for file in verified {
            let Integrity::Damaged(why) = file.outcome else { panic!("{:?}", file.outcome) };
            assert!(why.contains("others can write to it (mode 0770)"), "{why}");
        }
    }
}
