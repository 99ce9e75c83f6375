//! The zip archive of torch.save: entries are stored as they are, never compressed.
//!
//! A zip file has its list of entries at the end, and readers differ in what they make of two lists,
//! of two entries of one name, or of entries that overlap. All of that is refused; then there is one
//! reading. Entries are slices of the file, and nothing is copied.
//!
//! Format: APPNOTE.TXT of PKWARE, sections 4.3 and 4.5.3.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{bail, ensure, Context, Result};

use super::foreign;
use crate::error::{failure, Diagnostic};

/// The signature of an entry; a file of torch.save starts with one.
pub(super) const LOCAL_HEADER: &[u8] = b"PK\x03\x04";
const LOCAL_HEADER_BYTES: usize = 30;
const LISTED: &[u8] = b"PK\x01\x02";
const LISTED_BYTES: usize = 46;
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: &[u8] = b"PK\x06\x06";
const END_64_BYTES: usize = 56;
const LOCATOR_64: &[u8] = b"PK\x06\x07";
const LOCATOR_64_BYTES: usize = 20;

/// A 32-bit field whose value is in the 64-bit extra field instead.
const IN_EXTRA: u32 = u32::MAX;
const EXTRA_64: u16 = 1;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;

/// The entries of an archive.
pub(super) struct StoredArchive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, StoredEntry>,
}

struct StoredEntry {
    /// The content in the file.
    content: Range<usize>,
    crc32: u32,
}

/// One record of the list at the end.
struct ListedEntry<'a> {
    name: &'a str,
    header: usize,
    length: usize,
    crc32: u32,
}

impl<'a> StoredArchive<'a> {
    /// Reads the list of entries. Their content is not read.
    ///
    /// # Errors
    /// A truncated archive, a comment, two entries of one name, entries that overlap, a compressed or
    /// encrypted entry.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let (count, list) = find_list(bytes).ok_or_else(damaged)?;
        let mut rest = &bytes[list.clone()];
        let (mut entries, mut spans) = (BTreeMap::new(), Vec::new());
        for _ in 0..count {
            let listed;
            (listed, rest) = ListedEntry::read(rest)?;
            let content = listed.content(bytes, list.start).ok_or_else(damaged)?;
            spans.push((listed.header..content.end, listed.name));
            let entry = StoredEntry { content, crc32: listed.crc32 };
            if entries.insert(listed.name, entry).is_some() {
                bail!("the archive holds `{}` twice", listed.name);
            }
        }
        ensure!(rest.is_empty(), damaged());
        spans.sort_by_key(|(span, _)| span.start);
        for pair in spans.windows(2) {
            let ((before, one), (after, other)) = (&pair[0], &pair[1]);
            ensure!(before.end <= after.start, "in the archive `{one}` and `{other}` overlap");
        }
        Ok(StoredArchive { bytes, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.entries.keys().copied()
    }

    /// Where the content of `name` is in the file; its checksum was compared.
    ///
    /// # Errors
    /// No such entry, another checksum.
    pub(super) fn content(&self, name: &str) -> Result<Range<usize>> {
        let entry = self.entries.get(name);
        let entry = entry.with_context(|| format!("the archive holds no `{name}`"))?;
        if crc32fast::hash(&self.bytes[entry.content.clone()]) != entry.crc32 {
            bail!(failure!("`{name}` in the archive is damaged: its checksum differs")
                .hint("fetch the file again"));
        }
        Ok(entry.content.clone())
    }
}

fn damaged() -> anyhow::Error {
    Diagnostic::failure("the zip archive is truncated or damaged")
        .hint("the copy or the download was cut short; fetch the file again")
        .into()
}

/// Number of entries and the place of their list. The records after the list must reach exactly to
/// the end of the file.
fn find_list(bytes: &[u8]) -> Option<(u64, Range<usize>)> {
    let end_at = bytes.len().checked_sub(END_BYTES)?;
    let end = ZipFields::of(bytes, end_at, END)?;
    let (disks, comment) = (end.u32(4)?, end.u16(20)?);
    let (here, count) = (end.u16(8)?, end.u16(10)?);
    let (size, start) = (end.u32(12)?, end.u32(16)?);
    if disks != 0 || comment != 0 || here != count {
        return None;
    }
    let locator_at = end_at.checked_sub(LOCATOR_64_BYTES);
    let locator = locator_at.and_then(|at| ZipFields::of(bytes, at, LOCATOR_64));
    let (count, size, start, list_end) = match (locator, locator_at) {
        (Some(locator), Some(locator_at)) => {
            let at = locator_at.checked_sub(END_64_BYTES)?;
            let end_64 = ZipFields::of(bytes, at, END_64)?;
            let wide = (end_64.u64(32)?, end_64.u64(40)?, end_64.u64(48)?);
            let same_place = locator.u32(4)? == 0 && locator.u64(8)? == at as u64;
            let same_length = end_64.u64(4)? == (END_64_BYTES - 12) as u64 && end_64.u64(16)? == 0;
            let same = u64::from(count) == wide.0.min(0xffff)
                && u64::from(size) == wide.1.min(IN_EXTRA.into())
                && u64::from(start) == wide.2.min(IN_EXTRA.into())
                && end_64.u64(24)? == wide.0;
            if !(same_place && same_length && same) {
                return None;
            }
            (wide.0, wide.1, wide.2, at)
        }
        _ => (count.into(), size.into(), start.into(), end_at),
    };
    let (start, size) = (usize::try_from(start).ok()?, usize::try_from(size).ok()?);
    (start.checked_add(size) == Some(list_end)).then_some((count, start..list_end))
}

impl<'a> ListedEntry<'a> {
    /// The first record of `list`, and the rest.
    fn read(list: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let fields = ZipFields::of(list, 0, LISTED).ok_or_else(damaged)?;
        let (record, name) = Self::sizes(&fields).ok_or_else(damaged)?;
        let (flags, method) = (fields.u16(8), fields.u16(10));
        let name = std::str::from_utf8(name).context("a name in the archive is not UTF-8")?;
        if flags.is_none_or(|f| f & ENCRYPTED != 0) || method != Some(STORED) {
            // Of all that torch writes, it compresses the code of a program.
            ensure!(!name.contains("/code/"), foreign::torch_script());
            bail!(failure!("`{name}` in the archive is compressed or encrypted")
                .hint("torch.save stores entries as they are; save the checkpoint again"));
        }
        let (header, length) = Self::place(&fields, record).ok_or_else(damaged)?;
        let crc32 = fields.u32(16).ok_or_else(damaged)?;
        Ok((ListedEntry { name, header, length, crc32 }, &list[record..]))
    }

    /// Length of the whole record, and the name.
    fn sizes(fields: &ZipFields<'a>) -> Option<(usize, &'a [u8])> {
        let (name, extra, comment) = (fields.u16(28)?, fields.u16(30)?, fields.u16(32)?);
        let name_end = LISTED_BYTES + usize::from(name);
        let record = name_end + usize::from(extra) + usize::from(comment);
        let bytes = fields.0;
        (record <= bytes.len()).then(|| (record, &bytes[LISTED_BYTES..name_end]))
    }

    /// Position of the local header, and length of the content.
    fn place(fields: &ZipFields<'a>, record: usize) -> Option<(usize, usize)> {
        let extra_at = LISTED_BYTES + usize::from(fields.u16(28)?);
        let extra_end = extra_at + usize::from(fields.u16(30)?);
        let mut wide = WideFields { extra: extra_64(&fields.0[extra_at..extra_end.min(record)])? };
        let length = wide.value(fields.u32(24)?)?;
        let stored = wide.value(fields.u32(20)?)?;
        let header = wide.value(fields.u32(42)?)?;
        (length == stored && fields.u16(34)? == 0).then_some((header, length))
    }

    /// The content, which must lie before the list at `list`.
    fn content(&self, bytes: &[u8], list: usize) -> Option<Range<usize>> {
        let local = ZipFields::of(bytes.get(..list)?, self.header, LOCAL_HEADER)?;
        let (name, extra) = (usize::from(local.u16(26)?), usize::from(local.u16(28)?));
        let named = local.0.get(LOCAL_HEADER_BYTES..LOCAL_HEADER_BYTES + name)?;
        let stored = local.u16(8)? == STORED && local.u16(6)? & ENCRYPTED == 0;
        let start = self.header + LOCAL_HEADER_BYTES + name + extra;
        let end = start.checked_add(self.length)?;
        (named == self.name.as_bytes() && stored && end <= list).then_some(start..end)
    }
}

/// Values of the 64-bit extra field that are not read yet.
struct WideFields<'a> {
    extra: &'a [u8],
}

impl WideFields<'_> {
    /// `narrow`, or the next 64-bit value where the 32-bit field is full.
    fn value(&mut self, narrow: u32) -> Option<usize> {
        if narrow != IN_EXTRA {
            return usize::try_from(narrow).ok();
        }
        let (value, rest) = self.extra.split_first_chunk()?;
        self.extra = rest;
        usize::try_from(u64::from_le_bytes(*value)).ok()
    }
}

/// The 64-bit extra field, empty if there is none; `None` if the fields are damaged or it is twice.
fn extra_64(mut extra: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    while !extra.is_empty() {
        let fields = ZipFields(extra);
        let (kind, length) = (fields.u16(0)?, usize::from(fields.u16(2)?));
        let content = extra.get(4..4 + length)?;
        if kind == EXTRA_64 && found.replace(content).is_some() {
            return None;
        }
        extra = &extra[4 + length..];
    }
    Some(found.unwrap_or_default())
}

/// Little-endian fields of a record, by their position in it.
struct ZipFields<'a>(&'a [u8]);

impl<'a> ZipFields<'a> {
    /// The record at `at` if it has that signature.
    fn of(bytes: &'a [u8], at: usize, signature: &[u8]) -> Option<Self> {
        let record = bytes.get(at..)?;
        record.starts_with(signature).then_some(ZipFields(record))
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}
