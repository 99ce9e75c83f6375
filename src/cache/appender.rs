//! Appends blocks to an entry's file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use super::entry::Row;
use super::format::{encode_block, EntryHeader, Extent, Seal, BLOCK_ROWS};

/// A file that can be written at its end and shortened.
pub(super) trait Tail: Write {
    /// Truncates to `length` bytes; the next write starts there.
    fn cut(&mut self, length: u64) -> io::Result<()>;
}

impl Tail for File {
    fn cut(&mut self, length: u64) -> io::Result<()> {
        // Setting an unchanged length would still change the modification time.
        if self.metadata()?.len() != length {
            self.set_len(length)?;
        }
        self.seek(SeekFrom::Start(length)).map(drop)
    }
}

/// Appends to a file whose valid length is known. Drop it after the first failure.
#[derive(Debug)]
pub(super) struct Appender<F> {
    file: F,
    seal: Seal,
    length: u64,
    /// The length before the first row of this process.
    resumed: u64,
    blocks: u64,
}

impl<F: Tail> Appender<F> {
    /// Truncates `file` and writes `header`.
    pub(super) fn start(mut file: F, header: &EntryHeader) -> io::Result<Self> {
        let (bytes, seal) = header.encode();
        file.cut(0)?;
        let resumed = bytes.len() as u64;
        let mut appender = Appender { file, seal, length: 0, resumed, blocks: 0 };
        appender.write(&bytes)?;
        Ok(appender)
    }

    /// Continues after the valid blocks of `file`.
    pub(super) fn resume(mut file: F, seal: Seal, sound: &Extent) -> io::Result<Self> {
        file.cut(sound.length)?;
        let (length, blocks) = (sound.length, sound.blocks);
        Ok(Appender { file, seal, length, resumed: length, blocks })
    }

    /// Removes the rows of this process from the file. Nothing can be appended afterwards.
    ///
    /// # Errors
    /// A file that cannot be shortened.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        self.file.cut(self.resumed)
    }

    /// Writes `rows` in blocks of at most [`BLOCK_ROWS`], one write call for each.
    ///
    /// The file is not synced: written blocks survive a killed process, but perhaps not a loss of
    /// power; the checksums detect what was lost.
    ///
    /// # Errors
    /// A failed write. A partial block is cut off, or found by its checksum at the next reading.
    pub(super) fn append(&mut self, rows: &[&Row]) -> io::Result<()> {
        for rows in rows.chunks(BLOCK_ROWS) {
            let block = encode_block(&self.seal, self.blocks, rows);
            self.write(&block)?;
            self.blocks += 1;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.file.write_all(bytes) {
            // Only the first failure is reported.
            let _ = self.file.cut(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::read_blocks;
    use super::super::identity::CacheKey;
    use super::*;

    /// A file on a disk with room for `room` bytes, that can or cannot be shortened.
    struct SmallDisk<'a> {
        bytes: &'a mut Vec<u8>,
        room: usize,
        can_cut: bool,
    }

    impl Write for SmallDisk<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room - self.bytes.len());
            if count == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.bytes.extend(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tail for SmallDisk<'_> {
        fn cut(&mut self, length: u64) -> io::Result<()> {
            if !self.can_cut && (length as usize) < self.bytes.len() {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            self.bytes.truncate(length as usize);
            Ok(())
        }
    }

    fn header() -> EntryHeader {
        let (model, texts) = (CacheKey([1; 32]), CacheKey([2; 32]));
        let (task, split) = ("mrpc".to_owned(), "test".to_owned());
        EntryHeader { model, texts, task, split, examples: 10, labels: 1 }
    }

    fn row(index: usize) -> Row<'static> {
        Row { index, logits: &[0.5], truncated: false }
    }

    fn rows_of(bytes: &[u8]) -> (Vec<usize>, Extent) {
        let mut reader = bytes;
        let start = EntryHeader::read(&mut reader).unwrap();
        let mut rows = Vec::new();
        let extent = read_blocks(&mut reader, &start, |index, _, _| rows.push(index));
        (rows, extent)
    }

    #[test]
    fn a_full_disk_keeps_earlier_blocks_and_a_later_run_appends_to_them() {
        let whole = header().encode().0.len() + 2 * 20; // 20 = 4 count, 8 row, 8 checksum
        for can_cut in [true, false] {
            for room in 0..whole {
                let mut bytes = Vec::new();
                let disk = SmallDisk { bytes: &mut bytes, room, can_cut };
                let outcome = Appender::start(disk, &header())
                    .and_then(|mut file| file.append(&[&row(3)]).and(file.append(&[&row(7)])));
                assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
                if room < header().encode().0.len() {
                    assert!(!can_cut || bytes.is_empty());
                    continue;
                }
                let (rows, extent) = rows_of(&bytes);
                assert_eq!(rows, if room < whole - 20 { vec![] } else { vec![3] });
                assert!(!can_cut || extent.fault.is_none());

                let disk = SmallDisk { bytes: &mut bytes, room: whole + 20, can_cut: true };
                let mut file = Appender::resume(disk, header().encode().1, &extent).unwrap();
                file.append(&[&row(8)]).unwrap();
                let (more, extent) = rows_of(&bytes);
                assert_eq!(more, [rows, vec![8]].concat());
                assert!(extent.fault.is_none());
            }
        }
    }

    #[test]
    fn many_rows_are_several_blocks() {
        let header = EntryHeader { examples: 10_000, ..header() };
        let mut bytes = Vec::new();
        let disk = SmallDisk { bytes: &mut bytes, room: 1 << 20, can_cut: true };
        let rows: Vec<Row> = (0..10_000).map(row).collect();
        let mut file = Appender::start(disk, &header).unwrap();
        file.append(&rows.iter().collect::<Vec<_>>()).unwrap();
        let (read, extent) = rows_of(&bytes);
        assert_eq!(read, (0..10_000).collect::<Vec<_>>());
        assert_eq!(extent.blocks, 3); // 4096 + 4096 + 1808
    }
}
