//! Warnings about files of the cache; none of them is an error.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A warning about a file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheNote {
    /// The kind of warning.
    pub kind: NoteKind,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, or why it failed.
    pub found: String,
}

/// The kinds of [`CacheNote`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoteKind {
    /// The file ends early or fails a checksum: the valid part is used, the rest computed again.
    Damaged,
    /// The file is of another program, version or model: it is replaced.
    Foreign,
    /// Another process is writing the entry; missing rows are computed here and not stored.
    InUse,
    /// Nothing can be written; reported once per reason.
    NotStored,
    /// Others may have written to the file or its folders: nothing there is used. Reported once.
    NotTrusted,
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
                "cannot store `{path}` in the prediction cache: {found}; the audit runs \
                 without it (AUDIT_CACHE_DIR names another folder)"
            ),
            NoteKind::NotTrusted => write!(
                f,
                "the prediction cache does not use `{path}`: {found}; the audit runs without it \
                 (it must belong to you, and `chmod -R go-w` ends the access of others; \
                 AUDIT_CACHE_DIR names another folder)"
            ),
        }
    }
}

/// Reasons reported so far, so that six tasks on one full disk give one warning.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportedReasons(Arc<Mutex<BTreeSet<String>>>);

impl ReportedReasons {
    /// A [`NoteKind::NotStored`] note, unless its reason was reported before.
    pub(super) fn not_stored(&self, path: &Path, why: impl fmt::Display) -> Option<CacheNote> {
        let note = CacheNote::new(NoteKind::NotStored, path, why);
        self.is_new(note.found.clone()).then_some(note)
    }

    /// `note` about a folder or a file that is not trusted, unless it was reported before.
    pub(super) fn not_trusted(&self, note: CacheNote) -> Option<CacheNote> {
        self.is_new(note.to_string()).then_some(note)
    }

    fn is_new(&self, reason: String) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_reported_once_for_all_files() {
        let reported = ReportedReasons::default();
        assert!(reported.not_stored(Path::new("a"), "disk full").is_some());
        assert!(reported.clone().not_stored(Path::new("b"), "disk full").is_none());
        assert!(reported.not_stored(Path::new("b"), "no permission").is_some());
    }

    #[test]
    fn every_kind_names_the_file_and_what_was_found() {
        use NoteKind::*;
        for kind in [Damaged, Foreign, InUse, NotStored, NotTrusted] {
            let text = CacheNote::new(kind, Path::new("a/b.logits"), "xyz").to_string();
            assert!(text.contains("`a/b.logits`") && text.contains("xyz"), "{text}");
        }
    }
}
