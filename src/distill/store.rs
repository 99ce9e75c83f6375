//! A file of the teacher's hidden states: written once, then read batch by batch.
//!
//! ```text
//! magic | length of the header (u64) | header (JSON) | records | offsets of the records (u64 × N+1) | SHA-256 of all before
//! ```
//!
//! All numbers are little-endian. The file is renamed into place when it is complete.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{bail, ensure, Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::states::Selection;
use crate::error::failure;
use crate::temporary::{cannot_write, AtomicFile};

const MAGIC: &[u8; 8] = b"AUDITTS1";
const DIGEST: u64 = 32;

/// The contents of a store, and the teacher and texts that they are of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreHeader {
    pub selection: Selection,
    /// SHA-256 of the teacher's weights.
    pub teacher_sha256: String,
    /// SHA-256 of its config.json.
    pub config_sha256: String,
    /// SHA-256 of the texts' tokens.
    pub tokens_sha256: String,
    /// N.
    pub examples: usize,
    /// The teacher's H.
    pub hidden: usize,
    /// The teacher's attention heads.
    pub heads: usize,
}

/// A store that is open for reading.
pub struct Store {
    header: StoreHeader,
    offsets: Vec<u64>,
    file: Mutex<File>,
}

/// A store that is being written.
pub struct StoreWriter {
    file: AtomicFile,
    digest: Sha256,
    offsets: Vec<u64>,
}

impl StoreWriter {
    /// Starts a temporary file in the folder of `path`.
    pub fn begin(path: &Path, header: &StoreHeader) -> Result<Self> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let file = std::fs::create_dir_all(folder).and_then(|()| AtomicFile::create(path));
        let mut writer = StoreWriter {
            file: file.with_context(|| cannot_write(path))?,
            digest: Sha256::new(),
            offsets: Vec::with_capacity(header.examples + 1),
        };
        let json = serde_json::to_vec(header)?;
        writer.put(MAGIC)?;
        writer.put(&(json.len() as u64).to_le_bytes())?;
        writer.put(&json)?;
        writer.offsets.push((MAGIC.len() + 8 + json.len()) as u64);
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.digest.update(bytes);
        self.file.as_file_mut().write_all(bytes).context("cannot write the teacher's hidden states")
    }

    /// Adds the records of the next examples.
    pub fn add(&mut self, records: &[Vec<u8>]) -> Result<()> {
        let all: Vec<u8> = records.concat();
        self.put(&all)?;
        for record in records {
            let last = self.offsets.last().copied().unwrap_or(0);
            self.offsets.push(last + record.len() as u64);
        }
        Ok(())
    }

    /// Completes the file and renames it into place -> its size in bytes.
    pub fn finish(mut self) -> Result<u64> {
        let offsets: Vec<u8> = self.offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
        self.put(&offsets)?;
        let digest = self.digest.clone().finalize();
        let file = self.file.as_file_mut();
        let written = file.write_all(&digest).and_then(|()| file.sync_all());
        written.context("cannot write the teacher's hidden states")?;
        let length = file.metadata()?.len();
        let path = self.file.path().to_owned();
        self.file.rename().with_context(|| cannot_write(&path))?;
        Ok(length)
    }
}

impl Store {
    /// Opens `path` and verifies its checksum.
    ///
    /// # Errors
    /// A file that cannot be read, is not a store, or is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |why: String| {
            failure!("the teacher's hidden states in `{}` cannot be read: {why}", path.display())
                .hint("remove the file; it will be written again")
        };
        let mut file =
            File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        verify(&mut file).map_err(|e| damaged(format!("{e:#}")))?;
        let header = read_header(&mut file).map_err(|e| damaged(format!("{e:#}")))?;
        let offsets =
            read_offsets(&mut file, header.examples).map_err(|e| damaged(format!("{e:#}")))?;
        Ok(Store { header, offsets, file: Mutex::new(file) })
    }

    pub fn header(&self) -> &StoreHeader {
        &self.header
    }

    /// The records of the examples `rows`.
    pub fn records(&self, rows: &[u32]) -> Result<Vec<Vec<u8>>> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let record = |&row: &u32| {
            let (from, to) = (self.offsets[row as usize], self.offsets[row as usize + 1]);
            let mut record = vec![0; (to - from) as usize];
            file.seek(SeekFrom::Start(from))?;
            file.read_exact(&mut record)?;
            Ok(record)
        };
        let records: std::io::Result<Vec<_>> = rows.iter().map(record).collect();
        records.context("cannot read the teacher's hidden states")
    }
}

/// Compares the file with its checksum.
fn verify(file: &mut File) -> Result<()> {
    let length = file.metadata()?.len();
    ensure!(length > MAGIC.len() as u64 + 8 + DIGEST, "it is truncated");
    let mut digest = HashWriter(Sha256::new());
    let mut reader = BufReader::with_capacity(1 << 20, &*file).take(length - DIGEST);
    let mut writer = BufWriter::with_capacity(1 << 20, &mut digest);
    std::io::copy(&mut reader, &mut writer)?;
    writer.flush()?;
    drop(writer);
    let mut stored = [0; DIGEST as usize];
    file.seek(SeekFrom::Start(length - DIGEST))?;
    file.read_exact(&mut stored)?;
    ensure!(digest.0.finalize()[..] == stored, "its checksum does not match");
    Ok(())
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn read_header(file: &mut File) -> Result<StoreHeader> {
    file.seek(SeekFrom::Start(0))?;
    let mut start = [0; 16];
    file.read_exact(&mut start)?;
    let (magic, length) = start.split_at(8);
    if magic != MAGIC {
        bail!("it is not a file of hidden states");
    }
    let length = u64::from_le_bytes(length.try_into().expect("8 of 16 bytes"));
    ensure!(length < file.metadata()?.len(), "it is truncated");
    let mut json = vec![0; length as usize];
    file.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn read_offsets(file: &mut File, examples: usize) -> Result<Vec<u64>> {
    let bytes = 8 * (examples as u64 + 1);
    let at = file.metadata()?.len().checked_sub(DIGEST + bytes).context("it is truncated")?;
    file.seek(SeekFrom::Start(at))?;
    let mut offsets = vec![0; bytes as usize];
    file.read_exact(&mut offsets)?;
    let chunks = offsets.chunks_exact(8);
    Ok(chunks.map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes"))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> StoreHeader {
        StoreHeader {
            selection: Selection::First { hidden: vec![1] },
            teacher_sha256: "t".to_owned(),
            config_sha256: "c".to_owned(),
            tokens_sha256: "x".to_owned(),
            examples: 3,
            hidden: 2,
            heads: 1,
        }
    }

    fn written(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("teacher.states");
        let mut writer = StoreWriter::begin(&path, &header()).unwrap();
        writer.add(&[vec![1, 2], vec![]]).unwrap();
        writer.add(&[vec![3]]).unwrap();
        assert!(!path.exists(), "an unfinished store has no name");
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes, std::fs::metadata(&path).unwrap().len());
        path
    }

    #[test]
    fn records_come_back_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&written(folder.path())).unwrap();
        assert_eq!(store.header(), &header());
        assert_eq!(store.records(&[2, 0, 1]).unwrap(), [vec![3], vec![1, 2], vec![]]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_damaged_store_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = written(folder.path());
        let whole = std::fs::read(&path).unwrap();
        for at in [0, 12, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            let error = crate::error::rendered(&Store::open(&path).err().expect("damaged"));
            assert!(error.contains("checksum") && error.contains("remove the file"), "{error}");
        }
        std::fs::write(&path, &whole[..whole.len() - 40]).unwrap();
        assert!(Store::open(&path).is_err());
        std::fs::write(&path, b"short").unwrap();
        assert!(Store::open(&path).is_err());
    }
}
