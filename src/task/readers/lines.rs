//! Lines of a text file, numbered, within bounds.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read};

use anyhow::{bail, Result};

use super::unpack::{open_text, unreadable};
use super::DataFile;
use crate::error::{failure, FileLocation};

/// Maximum length of a line, 16 MiB; a longer one means a damaged file.
pub(super) const LONGEST_LINE: usize = 16 << 20;

/// The lines of one file without their ends (`\n`, `\r\n`), byte-order mark removed.
pub(super) struct LineReader<'a> {
    file: &'a DataFile,
    reader: BufReader<Box<dyn Read>>,
    line: Vec<u8>,
    number: usize,
}

impl<'a> LineReader<'a> {
    pub(super) fn of(file: &'a DataFile) -> Result<LineReader<'a>> {
        let reader = BufReader::with_capacity(1 << 16, open_text(file)?);
        Ok(LineReader { file, reader, line: Vec::new(), number: 0 })
    }

    /// The next line and its number, counted from 1; `None` after the last.
    ///
    /// # Errors
    /// A file that cannot be read, a line longer than [`LONGEST_LINE`], UTF-16 or NUL bytes.
    pub(super) fn next(&mut self) -> Result<Option<(usize, &[u8])>> {
        self.file.go_on()?;
        let name = &self.file.name;
        self.line.clear();
        self.number += 1;
        let read = Read::by_ref(&mut self.reader)
            .take(LONGEST_LINE as u64 + 1)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| unreadable(self.file, &format!("at line {}", self.number), error))?;
        if read == 0 {
            return Ok(None);
        }
        if read > LONGEST_LINE {
            return Err(too_long(self.file, self.number));
        }
        if self.number == 1 {
            refuse_utf16(name, &self.line)?;
            if self.line.starts_with(b"\xEF\xBB\xBF") {
                self.line.drain(..3);
            }
        }
        if self.line.ends_with(b"\n") {
            self.line.pop();
        }
        if self.line.ends_with(b"\r") {
            self.line.pop();
        }
        refuse_nul(self.file, self.number, &self.line)?;
        Ok(Some((self.number, &self.line)))
    }
}

pub(super) fn too_long(file: &DataFile, line: usize) -> anyhow::Error {
    failure!("longer than {} MiB", LONGEST_LINE >> 20)
        .hint("no example is that long: a line end or a closing quote is missing there")
        .at(file.line(line))
        .into()
}

/// Refuses UTF-16, which some spreadsheets write, by its byte-order mark.
pub(super) fn refuse_utf16(name: &str, start: &[u8]) -> Result<()> {
    if start.starts_with(b"\xFF\xFE") || start.starts_with(b"\xFE\xFF") {
        bail!(failure!("`{name}` is written in UTF-16")
            .hint("save it as UTF-8, for example: iconv -f UTF-16 -t UTF-8"));
    }
    Ok(())
}

pub(super) fn refuse_nul(file: &DataFile, line: usize, bytes: &[u8]) -> Result<()> {
    if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
        // Text in UTF-16 without a byte-order mark: about every other byte is NUL.
        let zeros = bytes.iter().filter(|&&byte| byte == 0).count();
        let is_utf16 = line == 1 && zeros * 5 >= bytes.len() * 2;
        bail!(failure!("a NUL byte at byte {}", at + 1)
            .hint(match is_utf16 {
                true => "it is probably UTF-16; save it as UTF-8: iconv -f UTF-16LE -t UTF-8",
                false => "this is not a text file, or it is damaged",
            })
            .at(file.line(line)));
    }
    Ok(())
}

/// Bytes as text; the error is the 1-based byte where they stop being UTF-8.
pub(super) fn decode(bytes: &[u8]) -> Result<&str, usize> {
    std::str::from_utf8(bytes).map_err(|error| error.valid_up_to() + 1)
}

/// The error for text that is not UTF-8; `byte` counts from the start of `part`.
pub(super) fn not_utf8(at: FileLocation, byte: usize, part: &str) -> anyhow::Error {
    failure!("byte {byte} of the {part} is not UTF-8")
        .hint("convert the file, for example: iconv -f LATIN1 -t UTF-8")
        .at(at)
        .into()
}

/// Refuses a header with two columns of one name.
pub(super) fn refuse_twins(name: &str, columns: &[String]) -> Result<()> {
    let mut known = HashSet::new();
    for column in columns {
        if !column.is_empty() && !known.insert(column) {
            bail!("`{name}` has two columns `{column}`");
        }
    }
    Ok(())
}
