//! Small files that are there whole or not at all: written beside their place, then renamed.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::temporary::AtomicFile;

/// How often a folder is made for a file, before its vanishing is taken for an error.
const ATTEMPTS: usize = 8;

/// Puts `bytes` in the file at `path` and creates its folder where it is missing.
///
/// # Errors
/// When that fails; an earlier file is then as it was.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = in_its_folder(path, || AtomicFile::create(path))?;
    file.as_file_mut().write_all(bytes)?;
    file.rename()
}

/// Creates `folder` and the folders above it where they are missing; new ones are for this user alone.
fn create_folders(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Creates the folder of `path` where it is missing, then calls `create`. Tries again where another
/// process removes the empty folder in between.
pub(super) fn in_its_folder<T>(path: &Path, create: impl Fn() -> io::Result<T>) -> io::Result<T> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut attempt = 1;
    loop {
        match create_folders(folder).and_then(|()| create()) {
            // "Already exists" is what the creation of a folder that then vanishes says.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists)
                    && attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary::{is_unfinished, names_in};

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("new/a.json");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_none_behind() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.json");
        fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"one").is_err());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_on_its_way_is_known_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let _file = AtomicFile::create(&root.path().join("model.json")).unwrap();
        assert!(is_unfinished(&names_in(root.path())[0]));
        assert!(!is_unfinished("model.json"));
    }
}
