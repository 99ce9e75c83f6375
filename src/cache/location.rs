//! Where the cache lies on this machine.

use std::ffi::OsStr;
use std::path::PathBuf;

/// The folder of this program under the platform's cache folder.
const FOLDER: &str = "confidence-audit";

/// The root: `configured` (the value of `AUDIT_CACHE_DIR`) where it is set and not empty, else
/// `confidence-audit` in the platform's cache folder. `None` where the platform names none, as for
/// a user without a home folder.
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
    fn a_configured_folder_is_taken_as_it_is() {
        assert_eq!(root_folder(Some(OsStr::new("a/b"))), Some(PathBuf::from("a/b")));
    }

    #[test]
    fn an_empty_setting_is_no_setting() {
        let default = root_folder(None);
        assert_eq!(root_folder(Some(OsStr::new(""))), default);
        assert!(default.is_none_or(|folder| folder.ends_with(FOLDER)));
    }
}
