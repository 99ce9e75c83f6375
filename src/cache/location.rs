//! The root folder of the cache.

use std::ffi::OsStr;
use std::path::PathBuf;

const FOLDER: &str = "confidence-audit";

/// `configured` (the value of `AUDIT_CACHE_DIR`) if it is set and not empty, else
/// `confidence-audit` in the platform's cache folder. `None` if the platform has none, as for a user
/// without a home folder.
pub fn root_folder(configured: Option<&OsStr>) -> Option<PathBuf> {
    match configured {
        Some(folder) if !folder.is_empty() => Some(PathBuf::from(folder)),
        _ => dirs::cache_dir().map(|folder| folder.join(FOLDER)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_folder_is_used_unless_it_is_empty() {
        assert_eq!(root_folder(Some(OsStr::new("a/b"))), Some(PathBuf::from("a/b")));
        let default = root_folder(None);
        assert_eq!(root_folder(Some(OsStr::new(""))), default);
        assert!(default.is_none_or(|folder| folder.ends_with(FOLDER)));
    }
}
