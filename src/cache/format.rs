//! The file format of an entry: a header, then blocks of rows.
//!
//! ```text
//! header  magic (8) · format version u32 · length of the body u32 · body · checksum (8)
//! body    model key · texts key · task · split (each u32 length, bytes) · N u32 · K u32
//! block   rows in it u32 · rows · checksum (8)
//! row     index u32, bit 31: the text was truncated · K × f32
//! ```
//!
//! Numbers are little-endian. A checksum is the start of a SHA-256; that of a block also covers the
//! header and the block's index, so a block counts only at its own place.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use super::entry::Row;
use super::identity::CacheKey;

/// The first byte is not text, and a transfer in text mode changes the last.
const MAGIC: [u8; 8] = *b"\x89audlgt\n";
/// Raised when an earlier version of the program could not read the file.
const FORMAT_VERSION: u32 = 1;
/// Maximum length of a header's body; a larger one means damage.
const MAX_BODY: u32 = 1 << 16;
/// Maximum length of a task's or split's name; longer ones are cut, as they are informative only.
const MAX_NAME: usize = 1 << 12;
/// Maximum rows of a block: what is read at once, and what a killed process can lose.
pub(super) const BLOCK_ROWS: usize = 4096;
/// Maximum examples of an entry: bit 31 of an index is the flag.
pub(super) const MAX_EXAMPLES: usize = (1 << 31) - 1;
const TRUNCATED: u32 = 1 << 31;
const CHECKSUM: usize = 8;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryHeader {
    pub model: CacheKey,
    pub texts: CacheKey,
    /// Informative only; the same texts may have another name.
    pub task: String,
    pub split: String,
    /// N.
    pub examples: u32,
    /// K.
    pub labels: u32,
}

/// SHA-256 of a header, which every block's checksum covers.
pub(super) type Seal = [u8; 32];

/// Why an entry, or the rest of it, is not usable.
#[derive(Debug)]
pub(super) enum Fault {
    /// No bytes: a file that was just created.
    Empty,
    /// A file of another program, version or model.
    Foreign(String),
    /// It ends early or fails a checksum.
    Damaged(String),
    /// Reading failed.
    Unreadable(io::Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Empty => f.write_str("it is empty"),
            Fault::Foreign(found) | Fault::Damaged(found) => f.write_str(found),
            Fault::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl EntryHeader {
    /// The header's bytes and seal.
    pub(super) fn encode(&self) -> (Vec<u8>, Seal) {
        let mut body = Vec::new();
        for field in [&self.model.0[..], &self.texts.0, cut(&self.task), cut(&self.split)] {
            body.extend((field.len() as u32).to_le_bytes());
            body.extend(field);
        }
        body.extend(self.examples.to_le_bytes());
        body.extend(self.labels.to_le_bytes());
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        let seal: Seal = Sha256::digest(&bytes).into();
        bytes.extend(&seal[..CHECKSUM]);
        (bytes, seal)
    }

    /// Reads a header; also returns its seal and its length in bytes.
    pub(super) fn read(reader: &mut impl Read) -> Result<(EntryHeader, Seal, u64), Fault> {
        let short = || Fault::Damaged("its header is cut short".to_owned());
        let mut bytes = Vec::new();
        fill(reader, &mut bytes, MAGIC.len() + 8)?;
        if bytes.is_empty() {
            return Err(Fault::Empty);
        }
        if !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
            return Err(Fault::Foreign("it is not a file of this cache".to_owned()));
        }
        let mut fixed = Fields(bytes.get(MAGIC.len()..).unwrap_or_default());
        let version = fixed.number().ok_or_else(short)?;
        if version != FORMAT_VERSION {
            let found = format!("its format version is {version}, not {FORMAT_VERSION}");
            return Err(Fault::Foreign(found));
        }
        let length = fixed.number().ok_or_else(short)?;
        if length > MAX_BODY {
            return Err(Fault::Damaged(format!("its header claims {length} bytes")));
        }
        let start = bytes.len();
        if !fill(reader, &mut bytes, length as usize + CHECKSUM)? {
            return Err(short());
        }
        let (sealed, checksum) = bytes.split_at(bytes.len() - CHECKSUM);
        let seal: Seal = Sha256::digest(sealed).into();
        if checksum != &seal[..CHECKSUM] {
            return Err(Fault::Damaged("its header fails its checksum".to_owned()));
        }
        let header = Fields(&sealed[start..])
            .header()
            .ok_or_else(|| Fault::Damaged("its header holds other fields".to_owned()))?;
        Ok((header, seal, bytes.len() as u64))
    }
}

/// At most [`MAX_NAME`] bytes of a name, cut between characters.
fn cut(name: &str) -> &[u8] {
    let end = (0..=MAX_NAME.min(name.len())).rev().find(|&end| name.is_char_boundary(end));
    &name.as_bytes()[..end.unwrap_or(0)]
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    fn header(mut self) -> Option<EntryHeader> {
        let header = EntryHeader {
            model: CacheKey(self.bytes()?.try_into().ok()?),
            texts: CacheKey(self.bytes()?.try_into().ok()?),
            task: self.text()?,
            split: self.text()?,
            examples: self.number()?,
            labels: self.number()?,
        };
        self.0.is_empty().then_some(header)
    }
}

/// Appends up to `length` bytes to `bytes`; returns whether there were as many. Reserves no memory
/// for a length that may be damaged.
fn fill(reader: &mut impl Read, bytes: &mut Vec<u8>, length: usize) -> Result<bool, Fault> {
    let read = reader.take(length as u64).read_to_end(bytes).map_err(Fault::Unreadable)?;
    Ok(read == length)
}

/// A block of at most [`BLOCK_ROWS`] rows, as the `sequence`-th of its file.
pub(super) fn encode_block(seal: &Seal, sequence: u64, rows: &[&Row]) -> Vec<u8> {
    let mut bytes = (rows.len() as u32).to_le_bytes().to_vec();
    for row in rows {
        let flag = if row.truncated { TRUNCATED } else { 0 };
        bytes.extend((row.index as u32 | flag).to_le_bytes());
        bytes.extend(row.logits.iter().flat_map(|logit| logit.to_le_bytes()));
    }
    let checksum = block_checksum(seal, sequence, &bytes);
    bytes.extend(checksum);
    bytes
}

fn block_checksum(seal: &Seal, sequence: u64, block: &[u8]) -> [u8; CHECKSUM] {
    let mut hasher = Sha256::new_with_prefix(seal);
    hasher.update(sequence.to_le_bytes());
    hasher.update(block);
    let digest: [u8; 32] = hasher.finalize().into();
    std::array::from_fn(|i| digest[i])
}

/// The valid part of a file's blocks.
#[derive(Debug)]
pub(super) struct Extent {
    /// Bytes up to the end of the last valid block.
    pub length: u64,
    /// Valid blocks.
    pub blocks: u64,
    /// What is wrong with the next block; `None` at the end of the file.
    pub fault: Option<Fault>,
}

/// Reads the blocks after a header of `length` bytes and passes every row of each valid one to
/// `visit` as (index, truncated, K logits as bytes). Ends at the first block that is not valid.
pub(super) fn read_blocks(
    reader: &mut impl Read,
    (header, seal, length): &(EntryHeader, Seal, u64),
    mut visit: impl FnMut(usize, bool, &[u8]),
) -> Extent {
    let mut extent = Extent { length: *length, blocks: 0, fault: None };
    let record = 4 + 4 * header.labels as usize;
    let mut block = Vec::new();
    loop {
        match read_block(reader, header, seal, extent.blocks, &mut block) {
            Ok(0) => return extent,
            Ok(rows) => {
                for row in block[4..][..rows * record].chunks_exact(record) {
                    let (index, flag) = index_of(row);
                    visit(index as usize, flag, &row[4..]);
                }
                extent.length += block.len() as u64;
                extent.blocks += 1;
            }
            Err(fault) => {
                let place = format!("block {} at byte {}", extent.blocks, extent.length);
                extent.fault = Some(match fault {
                    Fault::Damaged(found) => Fault::Damaged(format!("{place} {found}")),
                    other => other,
                });
                return extent;
            }
        }
    }
}

/// Reads the next block into `block` and checks it; returns its rows, 0 at the end of the file.
fn read_block(
    reader: &mut impl Read,
    header: &EntryHeader,
    seal: &Seal,
    sequence: u64,
    block: &mut Vec<u8>,
) -> Result<usize, Fault> {
    let damaged = |found: &str| Err(Fault::Damaged(found.to_owned()));
    block.clear();
    if !fill(reader, block, 4)? {
        return if block.is_empty() { Ok(0) } else { damaged("is cut short") };
    }
    let rows = u32::from_le_bytes([block[0], block[1], block[2], block[3]]) as usize;
    if !(1..=BLOCK_ROWS).contains(&rows) {
        return Err(Fault::Damaged(format!("claims {rows} rows")));
    }
    let record = 4 + 4 * header.labels as usize;
    if !fill(reader, block, rows * record + CHECKSUM)? {
        return damaged("is cut short");
    }
    let (sealed, checksum) = block.split_at(block.len() - CHECKSUM);
    if checksum != block_checksum(seal, sequence, sealed) {
        return damaged("fails its checksum");
    }
    for row in sealed[4..].chunks_exact(record) {
        let (index, _) = index_of(row);
        if index >= header.examples {
            return Err(Fault::Damaged(format!("holds row {index} of {}", header.examples)));
        }
        if !logits_of(&row[4..]).all(f32::is_finite) {
            return Err(Fault::Damaged(format!("holds a logit of row {index} that is not finite")));
        }
    }
    Ok(rows)
}

fn index_of(row: &[u8]) -> (u32, bool) {
    let number = u32::from_le_bytes([row[0], row[1], row[2], row[3]]);
    (number & !TRUNCATED, number & TRUNCATED != 0)
}

pub(super) fn logits_of(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> EntryHeader {
        let (model, texts) = (CacheKey([1; 32]), CacheKey([2; 32]));
        let (task, split) = ("sst2".to_owned(), "validation".to_owned());
        EntryHeader { model, texts, task, split, examples: 9, labels: 2 }
    }

    fn block(header: &EntryHeader, sequence: u64, index: usize, logits: &[f32]) -> Vec<u8> {
        encode_block(&header.encode().1, sequence, &[&Row { index, logits, truncated: false }])
    }

    /// Indices of the rows of a file, and the fault that ended the reading.
    fn read(bytes: &[u8]) -> (Vec<usize>, Option<String>) {
        let mut reader = bytes;
        let start = EntryHeader::read(&mut reader).unwrap();
        let mut rows = Vec::new();
        let extent = read_blocks(&mut reader, &start, |index, _, _| rows.push(index));
        (rows, extent.fault.map(|fault| fault.to_string()))
    }

    #[test]
    fn a_header_is_read_back() {
        let (bytes, seal) = header().encode();
        let (read, read_seal, length) = EntryHeader::read(&mut &bytes[..]).unwrap();
        assert_eq!((read, read_seal, length), (header(), seal, bytes.len() as u64));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let header = EntryHeader { task: "é".repeat(5000), ..header() };
        let (read, ..) = EntryHeader::read(&mut &header.encode().0[..]).unwrap();
        assert_eq!(read.task, "é".repeat(2048)); // 4096 bytes of two-byte characters
    }

    #[test]
    fn another_format_is_distinguished_from_damage() {
        let found = |bytes: &[u8]| EntryHeader::read(&mut &bytes[..]).unwrap_err();
        assert!(matches!(found(b""), Fault::Empty));
        assert!(matches!(found(b"PK\x03\x04"), Fault::Foreign(_)));
        let (mut bytes, _) = header().encode();
        assert!(matches!(found(&bytes[..5]), Fault::Damaged(_)));
        bytes[8] = 2;
        assert_eq!(found(&bytes).to_string(), "its format version is 2, not 1");
    }

    #[test]
    fn a_block_counts_only_at_its_place_in_its_own_file() {
        let (own, other) = (header(), EntryHeader { texts: CacheKey([3; 32]), ..header() });
        let first = block(&own, 0, 4, &[1.0, 2.0]);
        let second = block(&own, 1, 5, &[1.0, 2.0]);
        let join = |blocks: &[&[u8]]| [&own.encode().0, blocks.concat().as_slice()].concat();
        assert_eq!(read(&join(&[&first, &second])), (vec![4, 5], None));
        assert_eq!(read(&join(&[&second, &first])).0, [0; 0]);
        assert_eq!(read(&join(&[&first, &first])).0, [4]);
        let (rows, fault) = read(&join(&[&block(&other, 0, 4, &[1.0, 2.0])]));
        assert_eq!(rows, [0; 0]);
        let start = own.encode().0.len();
        assert_eq!(fault.unwrap(), format!("block 0 at byte {start} fails its checksum"));
    }

    #[test]
    fn an_invalid_row_with_a_valid_checksum_is_damage() {
        let own = header();
        let cases: [(usize, [f32; 2], &str); 3] = [
            (9, [0.0, 0.0], "holds row 9 of 9"),
            (3, [0.0, f32::NAN], "logit of row 3 that is not finite"),
            (3, [f32::INFINITY, 0.0], "logit of row 3 that is not finite"),
        ];
        for (index, logits, expected) in cases {
            let bytes = [own.encode().0, block(&own, 0, index, &logits)].concat();
            let (rows, fault) = read(&bytes);
            assert_eq!(rows, [0; 0]);
            assert!(fault.as_ref().is_some_and(|found| found.contains(expected)), "{fault:?}");
        }
    }

    #[test]
    fn zeros_after_the_last_block_are_damage() {
        let own = header();
        let bytes = [own.encode().0, block(&own, 0, 1, &[0.0, 0.0]), vec![0; 64]].concat();
        let (rows, fault) = read(&bytes);
        assert_eq!(rows, [1]);
        assert!(fault.unwrap().contains("claims 0 rows"));
    }
}
