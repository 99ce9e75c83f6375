//! Input files: opened once, read and hashed through the same handle, and checked for changes.
//!
//! A path can name another file a moment later, and a file can be written again while it is read. So
//! no input is looked up by its path twice, and [`InputFile::require_unchanged`] says whether the
//! file and its path are still what they were.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::{hexadecimal, update_from};
use crate::error::{failure, Diagnostic};

/// A regular file, opened for reading. Clones share the handle.
#[derive(Debug, Clone)]
pub struct InputFile {
    path: PathBuf,
    name: String,
    file: Arc<File>,
    stamp: FileStamp,
}

/// Metadata that changes with any write to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    /// mtime in ns since 1970; programs can set it.
    pub modified_ns: i64,
    /// ctime in ns since 1970; programs cannot set it. 0 on systems without it.
    pub changed_ns: i64,
    /// 0 on systems without inodes.
    pub inode: u64,
    /// 0 on systems without inodes.
    pub device: u64,
}

impl FileStamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> FileStamp {
        use std::os::unix::fs::MetadataExt;
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        FileStamp {
            size: metadata.size(),
            modified_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> FileStamp {
        let since = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
        let modified = metadata.modified().ok().and_then(since);
        FileStamp {
            size: metadata.len(),
            modified_ns: modified.map_or(0, |time| time.as_nanos() as i64),
            changed_ns: 0,
            inode: 0,
            device: 0,
        }
    }
}

impl InputFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// A file that does not exist or cannot be opened; a folder, a pipe or a device, at once.
    pub fn open(path: &Path) -> Result<InputFile> {
        Self::named(path, path.display().to_string())
    }

    /// Opens the file at `path`, which messages call `name`.
    ///
    /// # Errors
    /// As [`InputFile::open`].
    pub fn named(path: &Path, name: String) -> Result<InputFile> {
        let cannot = || format!("cannot read `{name}`");
        // Before it is opened: opening a device can have an effect.
        require_regular(&fs::metadata(path).with_context(cannot)?, &name)?;
        let file = open_at_once(path).with_context(cannot)?;
        let metadata = file.metadata().with_context(cannot)?;
        require_regular(&metadata, &name)?;
        let stamp = FileStamp::of(&metadata);
        Ok(InputFile { path: path.to_owned(), name, file: Arc::new(file), stamp })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its name in messages: its path, or `hub id/file`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its metadata when it was opened.
    pub fn stamp(&self) -> &FileStamp {
        &self.stamp
    }

    /// A reader of the file from its start. Only one reader of a file may be in use at a time, since
    /// all share one position.
    ///
    /// # Errors
    /// A file that cannot be read from its start.
    pub fn reader(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(file)
    }

    /// All its bytes.
    ///
    /// # Errors
    /// A failed read.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader()
            .and_then(|mut file| file.read_to_end(&mut bytes))
            .with_context(|| format!("cannot read `{}`", self.name))?;
        Ok(bytes)
    }

    /// SHA-256 of its bytes, in lower-case hexadecimal.
    ///
    /// # Errors
    /// A failed read.
    pub fn sha256(&self) -> Result<String> {
        sha256_of_inputs(std::slice::from_ref(self))
    }

    /// Fails if the file was written to, or its path names another file, since it was opened.
    ///
    /// # Errors
    /// Names the file.
    pub fn require_unchanged(&self) -> Result<()> {
        let now = self.file.metadata();
        let now = now.with_context(|| format!("cannot read the metadata of `{}`", self.name))?;
        if FileStamp::of(&now) != self.stamp {
            bail!(self.changed());
        }
        match fs::metadata(&self.path) {
            Ok(now) if FileStamp::of(&now) == self.stamp => Ok(()),
            Ok(_) => bail!(self.error("was replaced by another file while it was in use")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                bail!(self.error("was removed while it was in use"))
            }
            Err(error) => bail!(self.error(&format!("cannot be found any more: {error}"))),
        }
    }

    /// The error of a file that was written to while it was in use.
    pub fn changed(&self) -> Diagnostic {
        self.error("changed while it was in use")
    }

    fn error(&self, what: &str) -> Diagnostic {
        failure!("`{}` {what}", self.name).hint("run again when nothing writes to it")
    }
}

/// SHA-256 of the concatenated bytes of `files`, in lower-case hexadecimal.
///
/// # Errors
/// A failed read, with the file's name.
pub fn sha256_of_inputs(files: &[InputFile]) -> Result<String> {
    let mut hasher = Sha256::new();
    for input in files {
        let hashed = input.reader().and_then(|file| update_from(&mut hasher, file));
        hashed.with_context(|| format!("cannot read `{}`", input.name))?;
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// A small file with all its bytes, so that what is hashed is what is parsed.
#[derive(Debug, Clone)]
pub struct SmallFile {
    /// The file.
    pub input: InputFile,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl SmallFile {
    /// Opens and reads the file at `path`.
    ///
    /// # Errors
    /// As [`InputFile::open`] and [`InputFile::read`].
    pub fn open(path: &Path) -> Result<SmallFile> {
        let input = InputFile::open(path)?;
        Ok(SmallFile { bytes: input.read()?, input })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        self.input.path()
    }

    /// Its bytes as text.
    ///
    /// # Errors
    /// A file that is not UTF-8.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(&self.bytes)
            .map_err(|_| failure!("`{}` is not UTF-8 text", self.input.name()).into())
    }
}

fn require_regular(metadata: &Metadata, name: &str) -> Result<()> {
    if metadata.is_dir() {
        bail!("`{name}` is a folder, not a file");
    }
    if !metadata.is_file() {
        bail!(failure!("`{name}` is a pipe or a device, not a file")
            .hint("write it to a file first: an audit reads a file more than once"));
    }
    Ok(())
}

/// Opens a file without waiting: a pipe that took its place would block.
#[cfg(unix)]
fn open_at_once(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    File::options().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
fn open_at_once(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf abc | sha256sum (the first example of FIPS 180-2)
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, content).unwrap();
        (folder, path)
    }

    #[test]
    fn a_file_is_read_and_hashed_as_often_as_asked() {
        let (_folder, path) = file("abc");
        let input = InputFile::open(&path).unwrap();
        for _ in 0..2 {
            assert_eq!(input.read().unwrap(), b"abc");
            assert_eq!(input.sha256().unwrap(), ABC);
        }
        let halves = [file("a"), file("bc")].map(|(folder, path)| (InputFile::open(&path), folder));
        let inputs: Vec<InputFile> = halves.into_iter().map(|(input, _)| input.unwrap()).collect();
        assert_eq!(sha256_of_inputs(&inputs).unwrap(), ABC);
        input.require_unchanged().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_is_read_through_the_old_handle_and_found() {
        let (folder, path) = file("abc");
        let input = InputFile::open(&path).unwrap();
        let other = folder.path().join("b");
        fs::write(&other, "xyz").unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(input.sha256().unwrap(), ABC);
        let error = input.require_unchanged().unwrap_err().to_string();
        assert!(error.contains("was replaced") || error.contains("changed"), "{error}");
    }

    #[test]
    fn a_rewritten_shortened_or_removed_file_is_found() {
        for change in [
            |path: &Path| fs::write(path, "xyz"),
            |path: &Path| fs::write(path, "a"),
            |path: &Path| fs::remove_file(path),
        ] {
            let (_folder, path) = file("abc");
            let input = InputFile::open(&path).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(30)); // past the clock's tick
            change(&path).unwrap();
            let error = input.require_unchanged().unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_folders_are_refused_at_once() {
        let (folder, _) = file("");
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            let error = InputFile::open(path).unwrap_err().to_string();
            assert!(error.contains("is a pipe or a device"), "{error}");
        }
        let error = InputFile::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is a folder, not a file"), "{error}");
    }
}
