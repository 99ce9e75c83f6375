//! Thrift's compact protocol, as far as the sizes of a Parquet file need it. See
//! thrift-compact-protocol.md of Apache Thrift.

use std::io::{self, Read};

pub(super) const TRUE: u8 = 1;
pub(super) const FALSE: u8 = 2;
pub(super) const I32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Maximum depth of structs in a struct that is skipped; Parquet's have five.
const MOST_DEPTH: usize = 16;

/// A reader that counts its bytes.
pub(super) struct Counted<R> {
    input: R,
    count: u64,
}

impl<R: Read> Counted<R> {
    pub(super) fn new(input: R) -> Self {
        Counted { input, count: 0 }
    }

    /// Bytes read so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.input.read_exact(&mut byte)?;
        self.count += 1;
        Ok(byte[0])
    }

    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    /// A number of bytes: a whole number that is not negative, and below 2^31.
    pub(super) fn size(&mut self) -> io::Result<u64> {
        let zigzag = self.varint()?;
        match zigzag & 1 == 0 && zigzag >> 1 < 1 << 31 {
            true => Ok(zigzag >> 1),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// The type of the next field, whose id is put into `id`; `None` at the end of the struct.
    pub(super) fn field(&mut self, id: &mut i64) -> io::Result<Option<u8>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Ok(None);
        }
        match byte >> 4 {
            0 => {
                let zigzag = self.varint()?;
                *id = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
            }
            delta => *id += i64::from(delta),
        }
        Ok(Some(byte & 0xF))
    }

    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        self.count += skipped;
        if skipped < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The type of a list's elements, and their number.
    pub(super) fn list(&mut self) -> io::Result<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Ok((head & 0xF, count))
    }

    /// Skips a value.
    pub(super) fn skip(&mut self, kind: u8) -> io::Result<()> {
        self.skip_within(kind, MOST_DEPTH)
    }

    fn skip_within(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if depth == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match kind {
            TRUE | FALSE => Ok(()),
            3 => self.skip_bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => self.varint().and_then(|length| self.skip_bytes(length)),
            LIST | 10 => {
                let (kind, count) = self.list()?;
                // In a list a truth value takes a byte.
                let kind = if matches!(kind, TRUE | FALSE) { 3 } else { kind };
                (0..count).try_for_each(|_| self.skip_within(kind, depth - 1))
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip_within(kind, depth - 1)?;
                }
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
