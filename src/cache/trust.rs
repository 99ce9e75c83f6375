//! Whose cache is believed: files that only this user can have written.
//!
//! Rows and remembered digests decide verdicts. So the root, the folder and the file must belong to
//! the user who runs the program, and nobody else may be able to write to them. Systems without Unix
//! permissions are not checked.

use std::path::Path;

#[cfg(unix)]
use super::note::{CacheNote, NoteKind};
use super::PredictionCache;

impl PredictionCache {
    /// Why the file at `path`, which need not exist, is not believed: the first of the root, the
    /// folders below it and the file that is not this user's alone.
    #[cfg(unix)]
    pub(super) fn distrust(&self, path: &Path) -> Option<CacheNote> {
        let below = path.ancestors().take_while(|folder| *folder != self.root);
        let mut places: Vec<&Path> = below.chain([self.root.as_path()]).collect();
        places.reverse();
        let found = places.into_iter().find_map(|place| Some((place, shared(place)?)));
        found.map(|(place, why)| CacheNote::new(NoteKind::NotTrusted, place, why))
    }

    #[cfg(not(unix))]
    pub(super) fn distrust(&self, _: &Path) -> Option<super::CacheNote> {
        None
    }
}

/// Who else may have written to `place`; `None` if nobody, or if it does not exist.
#[cfg(unix)]
fn shared(place: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    const OTHERS_WRITE: u32 = 0o022;
    let metadata = std::fs::metadata(place).ok()?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
    if owner != rustix::process::geteuid().as_raw() {
        return Some(format!("it belongs to another user (uid {owner})"));
    }
    (mode & OTHERS_WRITE != 0).then(|| format!("others can write to it (mode {mode:04o})"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::{testing, ModelFile, NoteKind, MODEL_FILE};
    use super::*;
    use std::fs::{set_permissions, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn chmod(path: &Path, mode: u32) {
        set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_write_to_is_neither_read_nor_written() {
        let (_root, cache) = testing::cache();
        let spec = testing::spec("train", 3, 2);
        cache.write_model(&testing::model()).unwrap();
        testing::store(&cache, &spec, &[0, 1]);
        let shelf = cache.shelf(spec.model);
        let file = shelf.join(format!("{}.logits", spec.texts.key));
        for (place, ordinary) in [
            (cache.root(), 0o700),
            (shelf.parent().unwrap(), 0o700),
            (shelf.as_path(), 0o700),
            (file.as_path(), 0o600),
        ] {
            for mode in [ordinary | 0o020, ordinary | 0o002] {
                let cache = PredictionCache::at(cache.root()); // has reported nothing
                chmod(place, mode);
                let (mut entry, notes) = cache.open(&spec);
                assert_eq!((entry.known(), entry.writable()), (0, false), "{place:?} {mode:o}");
                assert_eq!(notes.len(), 1, "{notes:?}");
                assert_eq!((notes[0].kind, notes[0].path.as_path()), (NoteKind::NotTrusted, place));
                testing::append(&mut entry, 2, &[2]);
                chmod(place, ordinary);
                assert_eq!(cache.open(&spec).0.known(), 2);
            }
        }
    }

    #[test]
    fn a_model_file_of_others_is_reported_once_and_not_replaced() {
        let (_root, cache) = testing::cache();
        cache.write_model(&testing::model()).unwrap();
        let file = cache.shelf(testing::identity().key()).join(MODEL_FILE);
        chmod(&file, 0o666);
        let note = cache.read_model::<usize>(&testing::identity()).unwrap_err();
        assert_eq!(note.kind, NoteKind::NotTrusted);
        assert_eq!(cache.read_model::<usize>(&testing::identity()), Ok(None));
        assert_eq!(cache.write_model(&ModelFile { facts: 2, ..testing::model() }), Ok(()));
        chmod(&file, 0o600);
        assert_eq!(cache.read_model(&testing::identity()), Ok(Some(testing::model())));
    }

    #[test]
    fn new_folders_and_files_are_the_users_alone_whatever_the_umask() {
        let (_root, cache) = testing::cache();
        let spec = testing::spec("train", 3, 2);
        testing::store(&cache, &spec, &[0]);
        let file = cache.shelf(spec.model).join(format!("{}.logits", spec.texts.key));
        for place in [cache.root(), file.parent().unwrap(), &file] {
            let mode = std::fs::metadata(place).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{place:?} {mode:o}");
        }
    }
}
