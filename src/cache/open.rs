//! Opens an entry: reads its rows, and locks its file if rows are missing.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use super::appender::Appender;
use super::entry::{CacheEntry, EntryFile, RowTable};
use super::format::{logits_of, read_blocks, EntryHeader, Extent, Fault, Seal, MAX_EXAMPLES};
use super::identity::{CacheKey, TextsIdentity};
use super::lock::{self, LockError};
use super::note::{CacheNote, NoteKind};
use super::{PredictionCache, ENTRY_SUFFIX};
use crate::input::InputFile;

/// Names an entry.
#[derive(Debug, Clone, Copy)]
pub struct EntrySpec<'a> {
    /// The model.
    pub model: CacheKey,
    /// The texts (N).
    pub texts: TextsIdentity,
    /// K.
    pub labels: usize,
    /// The task's name, for listings.
    pub task: &'a str,
    /// The split's name, for listings.
    pub split: &'a str,
    /// Files that the rows are computed from: no row is stored once one of them has changed.
    pub inputs: &'a [InputFile],
}

impl EntrySpec<'_> {
    /// The entry's header; `None` if its numbers are too large for the format.
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
    /// The entry of `spec` with its stored rows, and warnings about its file.
    ///
    /// A complete entry is only read. Else its file is created if missing, locked until the entry is
    /// dropped or complete, and truncated after its last valid block. If another process holds the
    /// lock, or nothing can be written, the entry is not [writable](CacheEntry::writable).
    pub fn open(&self, spec: &EntrySpec<'_>) -> (CacheEntry, Vec<CacheNote>) {
        let path = self.shelf(spec.model).join(format!("{}{ENTRY_SUFFIX}", spec.texts.key));
        let Some(header) = spec.header() else {
            let table = RowTable::new(spec.texts.examples, spec.labels);
            let note = self.reported.not_stored(&path, "there are too many examples for one file");
            return (self.entry(&path, table), Vec::from_iter(note));
        };
        if let Some(note) = self.distrust(&path) {
            let table = RowTable::new(spec.texts.examples, spec.labels);
            return (self.entry(&path, table), Vec::from_iter(self.reported.not_trusted(note)));
        }
        let contents = match lock::open_to_read(&path) {
            Ok(file) => Contents::read(&file, &header),
            Err(error) if error.kind() == ErrorKind::NotFound => Contents::absent(&header),
            Err(error) => {
                Contents { fault: Some(Fault::Unreadable(error)), ..Contents::absent(&header) }
            }
        };
        if contents.table.is_complete() && contents.fault.is_none() {
            return (self.entry(&path, contents.table), Vec::new());
        }
        match lock::claim(&path) {
            Ok(file) => {
                drop(contents); // before the second table is allocated
                self.open_claimed(&path, file, &header, spec.inputs)
            }
            Err(LockError::InUse) => {
                // Damage may be the block that is being written, so it is not reported.
                let note = CacheNote::new(NoteKind::InUse, &path, "another process is writing it");
                (self.entry(&path, contents.table), vec![note])
            }
            Err(LockError::Failed(error)) => {
                let mut notes = Vec::from_iter(damage(&path, contents.fault.as_ref()));
                notes.extend(self.reported.not_stored(&path, error));
                (self.entry(&path, contents.table), notes)
            }
        }
    }

    /// The entry in the locked `file`, ready for more rows.
    fn open_claimed(
        &self,
        path: &Path,
        file: File,
        header: &EntryHeader,
        inputs: &[InputFile],
    ) -> (CacheEntry, Vec<CacheNote>) {
        let Contents { table, sound, fault } = Contents::read(&file, header);
        let mut notes = Vec::from_iter(damage(path, fault.as_ref()));
        let appender = match (fault, sound) {
            // Its valid part may be longer than what could be read: nothing is truncated.
            (Some(Fault::Unreadable(error)), _) => Err(error),
            (_, Some((seal, extent))) => Appender::resume(file, seal, &extent),
            (_, None) => Appender::start(file, header),
        };
        let appender = match appender {
            Ok(appender) => (!table.is_complete()).then_some(appender),
            Err(error) => {
                notes.extend(self.reported.not_stored(path, error));
                None
            }
        };
        let store = EntryFile { appender, inputs: inputs.to_vec(), ..self.store(path) };
        (CacheEntry { table, store: Some(store) }, notes)
    }

    /// A read-only entry.
    fn entry(&self, path: &Path, table: RowTable) -> CacheEntry {
        CacheEntry { table, store: Some(self.store(path)) }
    }

    fn store(&self, path: &Path) -> EntryFile {
        let (path, reported) = (path.to_owned(), self.reported.clone());
        EntryFile { path, appender: None, inputs: Vec::new(), reported }
    }
}

fn damage(path: &Path, fault: Option<&Fault>) -> Option<CacheNote> {
    let fault = fault?;
    let kind = match fault {
        Fault::Foreign(_) => NoteKind::Foreign,
        Fault::Damaged(_) => NoteKind::Damaged,
        // Nothing was lost, or the failure to open it for writing reports the same.
        Fault::Empty | Fault::Unreadable(_) => return None,
    };
    Some(CacheNote::new(kind, path, fault))
}

struct Contents {
    table: RowTable,
    /// The header's seal and the extent of the valid blocks; `None` without a matching header.
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

/// How a header differs from the expected one; task and split names do not count.
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
