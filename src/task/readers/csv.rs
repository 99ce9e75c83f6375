//! Comma-separated values, quoted where they need it.

use std::io::Read;

use anyhow::{bail, Context, Result};

use super::lines::LONGEST_LINE;
use super::lines::{decode, not_utf8, refuse_nul, refuse_twins, refuse_utf16, too_long};
use super::unpack::{open_text, unreadable};
use super::{empty, header, pick, DataFile, RowSink};
use crate::error::{failure, Diagnostic};

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let mut bytes = Vec::new();
    let read = open_text(file)?.read_to_end(&mut bytes);
    read.map_err(|error| unreadable(file, &format!("after {} bytes", bytes.len()), error))?;
    refuse_utf16(&file.name, &bytes)?;
    let mut records = Records::of(file, &bytes);
    if !records.advance()? {
        return Err(empty(file));
    }
    let columns: Vec<String> =
        records.fields(&[])?.into_iter().map(|name| name.trim().to_owned()).collect();
    refuse_twins(&file.name, &columns)?;
    let wanted = header(file, &columns, sink)?;

    while records.advance()? {
        match pick(&records.fields(&columns)?, &wanted, columns.len()) {
            Ok(cells) => sink.row(file, records.line, cells)?,
            Err(reason) => sink.broken(file, records.line, reason)?,
        }
    }
    records.refuse_open_quote()
}

/// The records of one file with their first lines.
struct Records<'a> {
    file: &'a DataFile,
    bytes: &'a [u8],
    reader: ::csv::Reader<&'a [u8]>,
    record: ::csv::ByteRecord,
    /// Start of the current record.
    start: usize,
    line: usize,
}

impl<'a> Records<'a> {
    fn of(file: &'a DataFile, bytes: &'a [u8]) -> Records<'a> {
        let mut builder = ::csv::ReaderBuilder::new();
        let reader = builder.has_headers(false).flexible(true).from_reader(bytes);
        Records { file, bytes, reader, record: ::csv::ByteRecord::new(), start: 0, line: 1 }
    }

    /// Reads the next record; false after the last.
    fn advance(&mut self) -> Result<bool> {
        self.file.go_on()?;
        let name = &self.file.name;
        let found = self
            .reader
            .read_byte_record(&mut self.record)
            .with_context(|| format!("cannot read `{name}` after line {}", self.line))?;
        if !found {
            return Ok(false);
        }
        // The csv crate's records start with the previous line end and empty lines.
        let position = self.record.position().expect("a record that was read has a position");
        let mut start = position.byte() as usize;
        while matches!(self.bytes.get(start), Some(b'\r' | b'\n')) {
            start += 1;
        }
        self.line += newlines(&self.bytes[self.start..start]);
        self.start = start;
        if self.record.as_slice().len() > LONGEST_LINE {
            return Err(too_long(self.file, self.line));
        }
        refuse_nul(self.file, self.line, self.record.as_slice())?;
        self.refuse_stray_quote()?;
        Ok(true)
    }

    fn fields(&self, columns: &[String]) -> Result<Vec<&str>> {
        let field = |(index, bytes)| {
            decode(bytes)
                .map_err(|byte| not_utf8(self.file.cell(self.line, columns, index), byte, "field"))
        };
        self.record.iter().enumerate().map(field).collect()
    }

    /// Refuses a quoted field that continues after its closing quote: its quotes are data, and rows
    /// between them would be read as one field.
    fn refuse_stray_quote(&self) -> Result<()> {
        let end = self.reader.position().byte() as usize;
        let mut rest = &self.bytes[self.start..end];
        rest = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest); // only the file's head has it
        loop {
            if let Some(quoted) = rest.strip_prefix(b"\"") {
                let Some(after) = after_closing_quote(quoted) else { return Ok(()) };
                if !matches!(after.first(), None | Some(b',' | b'\r' | b'\n')) {
                    let opens = self.line + newlines(&self.bytes[self.start..end - rest.len()]);
                    let closes = self.line + newlines(&self.bytes[self.start..end - after.len()]);
                    bail!(failure!(
                        "the field that a quote opens here continues after its closing quote in \
                         line {closes}"
                    )
                    .hint(
                        "write each quote inside a quoted field twice, or give the file as `.tsv` \
                         if its quotes are data"
                    )
                    .at(self.file.line(opens)));
                }
                rest = after;
            }
            match rest.iter().position(|&byte| byte == b',') {
                Some(comma) => rest = &rest[comma + 1..],
                None => return Ok(()),
            }
        }
    }

    /// Refuses a quote that is never closed: the rest of the file would be read as one field.
    fn refuse_open_quote(&self) -> Result<()> {
        let last = self.bytes[self.start..].trim_ascii();
        let quotes = last.iter().filter(|&&byte| byte == b'"').count();
        if quotes % 2 == 1 && newlines(last) > 0 {
            bail!(Diagnostic::failure("a quote that opens here is never closed")
                .hint("close it, or give the file as `.tsv` if its quotes are data")
                .at(self.file.line(self.line)));
        }
        Ok(())
    }
}

/// The bytes after the closing quote of a field; `None` if it is never closed.
fn after_closing_quote(mut quoted: &[u8]) -> Option<&[u8]> {
    loop {
        let at = quoted.iter().position(|&byte| byte == b'"')?;
        quoted = &quoted[at + 1..];
        match quoted.strip_prefix(b"\"") {
            Some(rest) => quoted = rest, // a doubled quote
            None => return Some(quoted),
        }
    }
}

fn newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&byte| byte == b'\n').count()
}
