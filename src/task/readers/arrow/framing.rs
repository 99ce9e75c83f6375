//! The lengths that an Arrow file announces, checked before anything is read by them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;

use arrow_ipc::{root_as_footer, root_as_message, MessageHeader, RecordBatch};

/// The first and the last bytes of a file; a stream has none.
const MAGIC: &[u8; 6] = b"ARROW1";
/// The first bytes of Feather version 1.
const FEATHER: &[u8; 4] = b"FEA1";
/// Before each message, since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Bytes that any file may decompress to, and further ones for each of its own.
const FLOOR: u64 = 64 << 20;
const FACTOR: u64 = 100;
/// Maximum length of a message without its body: some bytes for each column.
const LONGEST_MESSAGE: u64 = 64 << 20;

/// The bytes of the stream in `file`, after its messages' lengths were checked.
///
/// # Errors
/// Why the file cannot be read.
pub(super) fn check(file: &mut File, size: u64) -> Result<Range<u64>, String> {
    let mut head = [0; 8];
    read_at(file, 0, &mut head)?;
    if head.starts_with(FEATHER) {
        return Err("it is Feather version 1; write it as version 2".to_owned());
    }
    if !head.starts_with(MAGIC) {
        let (end, _) = messages(file, 0, size, false)?;
        return Ok(0..end);
    }
    let mut tail = [0; 10];
    read_at(file, size.checked_sub(10).ok_or("it ends early")?, &mut tail)?;
    if !tail.ends_with(MAGIC) {
        return Err("it does not end as a file".to_owned());
    }
    let length = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let start = (size - 10).checked_sub(length).filter(|start| *start >= 8);
    let start = start.filter(|_| length <= LONGEST_MESSAGE).ok_or("its footer is too long")?;
    let mut footer = vec![0; length as usize];
    read_at(file, start, &mut footer)?;
    let footer = root_as_footer(&footer).map_err(|error| format!("its footer: {error}"))?;
    let announced = footer.recordBatches().map_or(0, |blocks| blocks.len());
    let (end, batches) = messages(file, 8, start, true)?;
    match batches == announced {
        true => Ok(8..end),
        false => Err(format!("it announces {announced} batches and holds {batches}")),
    }
}

/// Walks over the messages from `position` to the mark of the end; its place, and the number of record
/// batches.
fn messages(
    file: &mut File,
    mut position: u64,
    limit: u64,
    has_footer: bool,
) -> Result<(u64, usize), String> {
    let mut room = FLOOR.saturating_add(limit.saturating_mul(FACTOR));
    let mut batches = 0;
    loop {
        // Some writers leave the mark out before a footer, which has the number of batches.
        if position == limit && has_footer {
            return Ok((position, batches));
        }
        let mut prefix = [0; 8];
        if position.saturating_add(8) > limit {
            return Err("it ends before the mark of its end".to_owned());
        }
        read_at(file, position, &mut prefix)?;
        position += 8;
        if prefix[..4] != CONTINUATION {
            return Err("a message does not start as one".to_owned());
        }
        let length = u64::from(u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]));
        if length == 0 {
            return Ok((position, batches));
        }
        if length > LONGEST_MESSAGE || length > limit - position {
            return Err(format!("a message announces {length} bytes"));
        }
        let mut bytes = vec![0; length as usize];
        read_at(file, position, &mut bytes)?;
        position += length;
        let message = root_as_message(&bytes).map_err(|error| format!("a message: {error}"))?;
        let body = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
        if body > limit - position {
            return Err(format!("a batch announces {body} bytes"));
        }
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => {
                batches += 1;
                message.header_as_record_batch()
            }
            MessageHeader::DictionaryBatch => {
                message.header_as_dictionary_batch().and_then(|batch| batch.data())
            }
            _ => None,
        };
        if let Some(batch) = batch {
            check_buffers(file, position..position + body, &batch, &mut room)?;
        }
        position += body;
    }
}

/// The sizes of a batch's buffers, which may lie over each other, after decompression.
fn check_buffers(
    file: &mut File,
    body: Range<u64>,
    batch: &RecordBatch,
    room: &mut u64,
) -> Result<(), String> {
    let is_compressed = batch.compression().is_some();
    for buffer in batch.buffers().iter().flatten() {
        let offset = u64::try_from(buffer.offset()).map_err(|_| "a negative offset")?;
        let length = u64::try_from(buffer.length()).map_err(|_| "a negative length")?;
        let start = body.start.saturating_add(offset);
        if start.saturating_add(length) > body.end {
            return Err("a column lies outside its batch".to_owned());
        }
        let mut size = length;
        if is_compressed && length > 0 {
            let mut announced = [0; 8];
            if length < 8 {
                return Err("a compressed column without its length".to_owned());
            }
            read_at(file, start, &mut announced)?;
            // -1: this buffer alone is not compressed.
            size = u64::try_from(i64::from_le_bytes(announced)).unwrap_or(length);
        }
        *room = room.checked_sub(size).ok_or_else(|| {
            format!("its columns are more than {} MiB, the limit for its size", *room >> 20)
        })?;
    }
    Ok(())
}

fn read_at(file: &mut File, position: u64, bytes: &mut [u8]) -> Result<(), String> {
    let read = file.seek(SeekFrom::Start(position)).and_then(|_| file.read_exact(bytes));
    read.map_err(|error| format!("it ends early ({error})"))
}
