//! Files on their way to their place.

use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

use crate::interrupt::Temporary;

/// A new file in `folder`, gone when dropped unless it is renamed; its name begins with `prefix`
/// and ends with `suffix`.
///
/// Readable by whom the umask allows: a temporary file is private by default, and what is made here
/// is there to be read.
///
/// # Errors
/// A folder that is missing or cannot be written.
pub fn temporary_file(folder: &Path, prefix: &str, suffix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Writes `bytes` to the file at `path` as a whole, in place of the one that was there; the folder
/// is there already.
///
/// # Errors
/// A full disk, a folder that cannot be written: the earlier file is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let cannot = || format!("cannot write `{}`", path.display());
    let folder = path.parent().context("a file without a folder")?;
    let file = Temporary::new(temporary_file(folder, ".saved-", ".tmp").with_context(cannot)?);
    std::fs::write(file.path(), bytes).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let (file, guard) = file.into_parts();
    file.persist(path).with_context(cannot)?;
    drop(guard);
    Ok(())
}

/// Makes the renames in `folder` durable: a rename is once the folder that holds the name is.
///
/// # Errors
/// A folder that cannot be opened or flushed.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Nothing to do where folders are no files.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// The names in `folder`, sorted: what a test looks at for files that should not have stayed.
#[cfg(test)]
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
