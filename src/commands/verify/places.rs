//! Which files the command of a report may name. It was written by whoever made the report, and an
//! error of a file quotes what is wrong in it.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use crate::error::failure;

/// Fails unless `file`, which the command of the report in `report` names, is a regular file in the
/// current folder or in that of the report, or below, and not in a hidden folder. A file that is
/// missing passes: whoever opens it says so.
///
/// # Errors
/// A file elsewhere; the hint names `flag`, with which the user names it.
pub(super) fn require_near(file: &Path, report: &Path, flag: &str) -> Result<()> {
    let Ok(place) = file.canonicalize() else { return Ok(()) };
    let folder = report.parent().filter(|_| report != Path::new("-"));
    let folders = [Some(PathBuf::from(".")), folder.map(|folder| PathBuf::from(".").join(folder))];
    let is_near = folders
        .into_iter()
        .flatten()
        .any(|folder| folder.canonicalize().is_ok_and(|folder| is_below(&place, &folder)));
    match is_near && place.is_file() {
        true => Ok(()),
        false => bail!(failure!(
            "the report's command names `{}`, which is not a file of the current folder or of the \
             report's folder",
            file.display()
        )
        .hint(format!("name it with {flag} if it is the report's"))),
    }
}

/// Whether `place` is in `folder` or below, and no name below `folder` begins with a dot. Everything
/// is below the root folder, so that says nothing.
fn is_below(place: &Path, folder: &Path) -> bool {
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    folder.parent().is_some()
        && place.strip_prefix(folder).is_ok_and(|below| !below.iter().any(is_hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_below_a_folder_are_of_it() {
        let is = |place: &str, folder: &str| is_below(Path::new(place), Path::new(folder));
        assert!(is("/home/me/a.toml", "/home/me") && is("/home/me/b/a.toml", "/home/me"));
        assert!(!is("/home/me/.cache/token", "/home/me") && !is("/home/me/.netrc", "/home/me"));
        assert!(!is("/home/mean/a.toml", "/home/me") && !is("/etc/passwd", "/"));
        assert!(is("/home/me/.ci/a.toml", "/home/me/.ci"));
    }

    #[test]
    fn a_folder_and_a_file_elsewhere_are_refused_and_a_missing_file_is_not() {
        let near = tempfile::tempdir().unwrap();
        let report = near.path().join("report.json");
        let other = tempfile::NamedTempFile::new().unwrap();
        let near_file = near.path().join("a.toml");
        std::fs::write(&near_file, "").unwrap();
        let refused = |file: &Path| require_near(file, &report, "--config").is_err();
        assert!(!refused(&near_file) && !refused(&near.path().join("missing")));
        assert!(refused(other.path()) && refused(near.path()));
    }
}
