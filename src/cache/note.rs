//! What the cache tells its caller, who prints it as a warning: never an error.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Something that the user may want to know about a file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheNote {
    /// What sort of thing happened.
    pub kind: NoteKind,
    /// The file.
    pub path: PathBuf,
    /// What was found, or why it failed.
    pub found: String,
}

/// The sorts of [`CacheNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoteKind {
    /// The file ends early or fails a checksum: the part before is used, the rest computed again.
    Damaged,
    /// The file is sound or strange, but not what belongs there: it is replaced.
    Foreign,
    /// Another process writes the entry; what it lacks is computed here and not stored.
    InUse,
    /// Nothing can be written; told once per reason.
    NotStored,
}

impl CacheNote {
    pub(super) fn new(kind: NoteKind, path: &Path, found: impl fmt::Display) -> Self {
        CacheNote { kind, path: path.to_owned(), found: found.to_string() }
    }
}

impl fmt::Display for CacheNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CacheNote { kind, path, found } = self;
        let path = path.display();
        match kind {
            NoteKind::Damaged => write!(
                f,
                "`{path}` in the prediction cache is damaged: {found}; \
                 what was lost is computed again"
            ),
            NoteKind::Foreign => {
                write!(f, "`{path}` in the prediction cache does not fit: {found}; it is replaced")
            }
            NoteKind::InUse => write!(
                f,
                "`{path}` in the prediction cache is in use: {found}; \
                 the rows that it lacks are computed here and not stored"
            ),
            NoteKind::NotStored => write!(
                f,
                "cannot store `{path}` in the prediction cache: {found}; the audit goes on \
                 without (AUDIT_CACHE_DIR names another folder)"
            ),
        }
    }
}

/// Why nothing could be stored, as told so far: six tasks on one full disk are one warning.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportedReasons(Arc<Mutex<BTreeSet<String>>>);

impl ReportedReasons {
    /// A [`NoteKind::NotStored`] note, unless its reason was told before.
    pub(super) fn not_stored(&self, path: &Path, why: impl fmt::Display) -> Option<CacheNote> {
        let note = CacheNote::new(NoteKind::NotStored, path, why);
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.insert(note.found.clone()).then_some(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_whatever_the_file() {
        let said = ReportedReasons::default();
        assert!(said.not_stored(Path::new("a"), "disk full").is_some());
        assert!(said.clone().not_stored(Path::new("b"), "disk full").is_none());
        assert!(said.not_stored(Path::new("b"), "no permission").is_some());
    }

    #[test]
    fn every_kind_names_the_file_and_what_was_found() {
        use NoteKind::*;
        for kind in [Damaged, Foreign, InUse, NotStored] {
            let text = CacheNote::new(kind, Path::new("a/b.logits"), "xyz").to_string();
            assert!(text.contains("`a/b.logits`") && text.contains("xyz"), "{text}");
        }
    }
}
