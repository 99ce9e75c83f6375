//! Reads one entry's file from end to end without disturbing its writer.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Seek};
use std::path::Path;

use super::entry::Bits;
use super::format::{read_blocks, EntryHeader, Fault};
use super::identity::CacheKey;
use super::lock;

pub(super) struct Examination {
    /// `None` if it is damaged, foreign or empty.
    pub header: Option<EntryHeader>,
    /// Known rows.
    pub known: usize,
    pub metadata: Metadata,
    /// Whether a process is writing it.
    pub in_use: bool,
    /// Always `None` for a file in use, whose end may be incomplete.
    pub fault: Option<Fault>,
}

/// Reads the file at `path`, which should hold the rows of `model` over `texts`.
///
/// # Errors
/// When it cannot be opened.
pub(super) fn examine(path: &Path, model: CacheKey, texts: CacheKey) -> io::Result<Examination> {
    let mut file = lock::open_to_read(path)?;
    let mut examination = read(&file, model, texts)?;
    // A writer may have been active meanwhile, so a faulty file is read again under the lock; a
    // valid one is locked only to find out whether it is in use.
    if !lock::share(&file) {
        examination.in_use = true;
        examination.fault = None;
    } else if examination.fault.is_some() {
        file.rewind()?;
        examination = read(&file, model, texts)?;
    }
    Ok(examination)
}

fn read(file: &File, model: CacheKey, texts: CacheKey) -> io::Result<Examination> {
    let metadata = file.metadata()?;
    let mut found = Examination { header: None, known: 0, metadata, in_use: false, fault: None };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let start = match EntryHeader::read(&mut reader) {
        Ok(start) => start,
        Err(Fault::Empty) => return Ok(found),
        Err(fault) => return Ok(Examination { fault: Some(fault), ..found }),
    };
    if (start.0.model, start.0.texts) != (model, texts) {
        let fault = Fault::Foreign("it belongs under another name".to_owned());
        return Ok(Examination { fault: Some(fault), ..found });
    }
    let mut known = Bits::default();
    let extent = read_blocks(&mut reader, &start, |index, _, _| {
        found.known += usize::from(known.insert(index));
    });
    Ok(Examination { header: Some(start.0), fault: extent.fault, ..found })
}
