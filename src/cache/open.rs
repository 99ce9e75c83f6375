//! Opening an entry: reading what is there, and claiming its file where something is missing.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use super::appender::Appender;
use super::entry::{CacheEntry, EntryFile, RowTable};
use super::format::{logits_of, read_blocks, EntryHeader, Extent, Fault, Seal, MAX_EXAMPLES};
use super::identity::{CacheKey, TextsIdentity};
use super::lock::{self, Refusal};
use super::note::{CacheNote, NoteKind};
use super::{PredictionCache, ENTRY_SUFFIX};

/// Which entry is meant.
#[derive(Debug, Clone, Copy)]
pub struct EntrySpec<'a> {
    /// Whose rows.
    pub model: CacheKey,
    /// Over which texts (N).
    pub texts: TextsIdentity,
    /// K.
    pub labels: usize,
    /// The task's name, for people who list the cache.
    pub task: &'a str,
    /// The split's name, for the same.
    pub split: &'a str,
}

impl EntrySpec<'_> {
    /// The header of this entry; `None` where its numbers fit in no file.
    fn header(&self) -> Option<EntryHeader> {
        (self.texts.examples <= MAX_EXAMPLES).then_some(())?;
        Some(EntryHeader {
            model: self.model,
            texts: self.texts.key,
            task: self.task.to_owned(),
            split: self.split.to_owned(),
            examples: u32::try_from(self.texts.examples).ok()?,
            labels: u32::try_from(self.labels).ok()?,
        })
    }
}

impl PredictionCache {
    /// The entry of `spec` with the rows that are stored, and what is to be told about its file.
    ///
    /// A complete entry is only read. Else its file is created where it is missing, locked until
    /// the entry is dropped or complete, and cut behind its last sound block. Where another
    /// process has the lock, or nothing can be written, the entry is not
    /// [writable](Entry::writable).
    pub fn open(&self, spec: &EntrySpec<'_>) -> (CacheEntry, Vec<CacheNote>) {
        let path = self.shelf(spec.model).join(format!("{}{ENTRY_SUFFIX}", spec.texts.key));
        let Some(header) = spec.header() else {
            let table = RowTable::new(spec.texts.examples, spec.labels);
            let note = self.said.not_stored(&path, "there are too many examples for one file");
            return (self.entry(&path, table), Vec::from_iter(note));
        };
        let seen = match lock::open_to_read(&path) {
            Ok(file) => Contents::read(&file, &header),
            Err(error) if error.kind() == ErrorKind::NotFound => Contents::absent(&header),
            Err(error) => {
                Contents { fault: Some(Fault::Unreadable(error)), ..Contents::absent(&header) }
            }
        };
        if seen.table.is_complete() && seen.fault.is_none() {
            return (self.entry(&path, seen.table), Vec::new());
        }
        match lock::claim(&path) {
            Ok(file) => {
                drop(seen); // before the second table is made
                self.open_claimed(&path, file, &header)
            }
            Err(Refusal::InUse) => {
                // What looks like damage is the block that is being written.
                let note = CacheNote::new(NoteKind::InUse, &path, "another process writes it");
                (self.entry(&path, seen.table), vec![note])
            }
            Err(Refusal::Failed(error)) => {
                let mut notes = Vec::from_iter(damage(&path, seen.fault.as_ref()));
                notes.extend(self.said.not_stored(&path, error));
                (self.entry(&path, seen.table), notes)
            }
        }
    }

    /// The entry in `file`, which is locked, ready for more rows.
    fn open_claimed(
        &self,
        path: &Path,
        file: File,
        header: &EntryHeader,
    ) -> (CacheEntry, Vec<CacheNote>) {
        let Contents { table, sound, fault } = Contents::read(&file, header);
        let mut notes = Vec::from_iter(damage(path, fault.as_ref()));
        let appender = match (fault, sound) {
            // Its sound part may be longer than what could be read: nothing is cut.
            (Some(Fault::Unreadable(error)), _) => Err(error),
            (_, Some((seal, extent))) => Appender::resume(file, seal, &extent),
            (_, None) => Appender::start(file, header),
        };
        let appender = match appender {
            Ok(appender) => (!table.is_complete()).then_some(appender),
            Err(error) => {
                notes.extend(self.said.not_stored(path, error));
                None
            }
        };
        let store = EntryFile { appender, ..self.store(path) };
        (CacheEntry { table, store: Some(store) }, notes)
    }

    /// The entry that is read only.
    fn entry(&self, path: &Path, table: RowTable) -> CacheEntry {
        CacheEntry { table, store: Some(self.store(path)) }
    }

    fn store(&self, path: &Path) -> EntryFile {
        EntryFile { path: path.to_owned(), appender: None, said: self.said.clone() }
    }
}

/// What a fault tells the user.
fn damage(path: &Path, fault: Option<&Fault>) -> Option<CacheNote> {
    let fault = fault?;
    let kind = match fault {
        Fault::Foreign(_) => NoteKind::Foreign,
        Fault::Damaged(_) => NoteKind::Damaged,
        // Nothing was lost, or the failure to open it for writing tells the same.
        Fault::Empty | Fault::Unreadable(_) => return None,
    };
    Some(CacheNote::new(kind, path, fault))
}

/// What a file holds of the entry that is looked for.
struct Contents {
    table: RowTable,
    /// The seal of its header and the extent of its sound blocks; `None` for no such header.
    sound: Option<(Seal, Extent)>,
    fault: Option<Fault>,
}

impl Contents {
    fn absent(header: &EntryHeader) -> Self {
        let table = RowTable::new(header.examples as usize, header.labels as usize);
        Contents { table, sound: None, fault: None }
    }

    fn read(file: &File, header: &EntryHeader) -> Self {
        let mut contents = Contents::absent(header);
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let start = match EntryHeader::read(&mut reader) {
            Ok((found, seal, length)) => match mismatch(&found, header) {
                None => (found, seal, length),
                Some(found) => {
                    contents.fault = Some(Fault::Foreign(found));
                    return contents;
                }
            },
            Err(fault) => {
                contents.fault = Some(fault);
                return contents;
            }
        };
        let table = &mut contents.table;
        let mut extent = read_blocks(&mut reader, &start, |index, truncated, logits| {
            table.set(index, truncated, logits_of(logits));
        });
        contents.fault = extent.fault.take();
        contents.sound = Some((start.1, extent));
        contents
    }
}

/// How a header that was found differs from the one that belongs there, names for people aside.
fn mismatch(found: &EntryHeader, expected: &EntryHeader) -> Option<String> {
    let fields = |header: &EntryHeader| {
        [
            ("model", header.model.to_string()),
            ("list of texts", header.texts.to_string()),
            ("number of examples", header.examples.to_string()),
            ("number of labels", header.labels.to_string()),
        ]
    };
    fields(found).into_iter().zip(fields(expected)).find_map(|((what, found), (_, expected))| {
        (found != expected).then(|| format!("its {what} is {found}, not {expected}"))
    })
}
