//! Atomic writes: a file is written under a temporary name in its folder, then renamed, so that it is
//! there whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::{NamedTempFile, PersistError};

use crate::interrupt::RemovalGuard;

/// How a temporary name begins and ends; a killed process may leave such a file.
const PREFIX: &str = ".new-";
const SUFFIX: &str = ".tmp";
/// How the name of the file begins that proves that a folder can be written.
pub const PROBE: &str = ".writable.";

/// A file under a temporary name. It is removed when dropped, and by a second Ctrl-C.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: NamedTempFile,
    listed: RemovalGuard, // dropped after the file
}

impl AtomicFile {
    /// An empty file in the folder of `path`, which is there already.
    ///
    /// # Errors
    /// A folder that is missing or cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = temporary_file(folder, PREFIX)?;
        let listed = RemovalGuard::new(file.path());
        Ok(AtomicFile { path: path.to_owned(), file, listed })
    }

    /// A file that holds what `fill` writes, flushed to the disk.
    ///
    /// # Errors
    /// A folder that cannot be written, a full disk, an error of `fill`. The message names `path`.
    pub fn written(
        path: &Path,
        fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
    ) -> Result<Self> {
        let write = || -> Result<Self> {
            let mut file = Self::create(path)?;
            let mut writer = BufWriter::new(file.as_file_mut());
            fill(&mut writer)?;
            writer.flush()?;
            drop(writer);
            file.as_file_mut().sync_all()?;
            Ok(file)
        };
        write().with_context(|| cannot_write(path))
    }

    /// The open file.
    pub fn as_file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// The name that it is to have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name, in place of an earlier file.
    ///
    /// # Errors
    /// A name that cannot be given; an earlier file is then as it was.
    pub fn rename(self) -> io::Result<()> {
        self.renamed(NamedTempFile::persist)
    }

    /// As [`AtomicFile::rename`], but never in place of an earlier file.
    ///
    /// # Errors
    /// As there; [`io::ErrorKind::AlreadyExists`] where there is a file.
    pub fn rename_new(self) -> io::Result<()> {
        self.renamed(NamedTempFile::persist_noclobber)
    }

    fn renamed(
        self,
        rename: impl FnOnce(NamedTempFile, PathBuf) -> std::result::Result<File, PersistError>,
    ) -> io::Result<()> {
        let AtomicFile { path, file, listed: _listed } = self; // listed until it has its name
        rename(file, path).map(drop).map_err(|refused| refused.error)
    }
}

/// What precedes the cause of a failed write.
pub fn cannot_write(path: &Path) -> String {
    format!("cannot write `{}`", path.display())
}

/// Writes what `fill` writes to the file at `path`, in place of an earlier file.
///
/// # Errors
/// As [`AtomicFile::written`]; an earlier file is then as it was.
pub fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>,
) -> Result<()> {
    AtomicFile::written(path, fill)?.rename().with_context(|| cannot_write(path))
}

/// Writes `bytes` to the file at `path`, in place of an earlier file.
///
/// # Errors
/// As [`write_atomically`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomically(path, |file| Ok(file.write_all(bytes)?))
}

/// Gives the files their names, in this order; adds each that has its name to `renamed`.
///
/// # Errors
/// The first name that cannot be given.
pub fn rename_all(files: Vec<AtomicFile>, renamed: &mut Vec<PathBuf>) -> Result<()> {
    for file in files {
        let path = file.path().to_owned();
        file.rename().with_context(|| cannot_write(&path))?;
        renamed.push(path);
    }
    Ok(())
}

/// Makes the renames in `folder` durable.
///
/// # Errors
/// A folder that cannot be flushed; the files in it are whole all the same.
pub fn flush_folder(folder: &Path) -> Result<()> {
    sync_folder(folder).with_context(|| format!("cannot flush the folder `{}`", folder.display()))
}

/// Proves that a file can be written in `folder`; leaves nothing behind.
///
/// # Errors
/// A folder that is missing or cannot be written, a full disk.
pub fn prove_writable(folder: &Path) -> io::Result<()> {
    let mut probe = temporary_file(folder, PROBE)?;
    probe.write_all(b"?").and_then(|()| probe.close())
}

/// Whether `name` is that of an [`AtomicFile`] which has not been renamed.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}

/// Readable by whom the umask allows: a temporary file is private by default.
fn temporary_file(folder: &Path, prefix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes the renames in `folder` durable; nothing to do where a folder is not a file.
///
/// # Errors
/// A folder that cannot be opened or flushed.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// The names in `folder`, sorted: a test looks there for files that should not have stayed.
#[cfg(test)]
pub(crate) fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
