//! Thrift's compact protocol, as far as the sizes of a Parquet file need it. See
//! thrift-compact-protocol.md of Apache Thrift.
//!
//! The parquet crate reads a known field by its id whatever its type says, cuts numbers to 32 or 16
//! bits and takes the last of two equal fields. What is checked here must be what it reads, so all of
//! that is an error here.

use std::io::{self, Read};

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Maximum depth of values in a value that is skipped, that of the parquet crate.
const MOST_DEPTH: usize = 64;

/// The type of a known field.
#[derive(Debug, Clone, Copy)]
pub(super) enum ThriftType {
    Bool,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    List(&'static ThriftType),
    /// The known fields by their id, which is below 64.
    Struct(&'static [(i64, ThriftType)]),
}

impl ThriftType {
    /// Whether a value of this shape may have the type `kind`.
    fn is(self, kind: u8) -> bool {
        match self {
            ThriftType::Bool => matches!(kind, TRUE | FALSE),
            ThriftType::Byte => kind == 3,
            ThriftType::I16 => kind == 4,
            ThriftType::I32 => kind == 5,
            ThriftType::I64 => kind == 6,
            ThriftType::Double => kind == 7,
            ThriftType::Binary => kind == 8,
            ThriftType::List(_) => kind == LIST,
            ThriftType::Struct(_) => kind == STRUCT,
        }
    }
}

/// A known field of a struct, whose value is still to be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownField {
    pub(super) id: i64,
    /// The value of a truth value, which is part of the field's type.
    pub(super) is_true: bool,
}

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
        Err(damaged())
    }

    /// A whole number that fits `T`.
    fn integer<T: TryFrom<i64>>(&mut self) -> io::Result<T> {
        let zigzag = self.varint()?;
        let value = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        T::try_from(value).map_err(|_| damaged())
    }

    /// A count or a number of bytes: a whole number that is not negative, and below 2^31.
    pub(super) fn size(&mut self) -> io::Result<u64> {
        u64::try_from(self.integer::<i32>()?).map_err(|_| damaged())
    }

    /// The type of the next field, whose id is put into `id`; `None` at the end of the struct.
    fn field(&mut self, id: &mut i64) -> io::Result<Option<u8>> {
        let byte = self.byte()?;
        if byte & 0xF == 0 {
            return Ok(None);
        }
        match byte >> 4 {
            0 => *id = self.integer::<i16>()?.into(),
            delta => *id += i64::from(delta),
        }
        match (0..=i64::from(i16::MAX)).contains(id) {
            true => Ok(Some(byte & 0xF)),
            false => Err(damaged()),
        }
    }

    fn skip_bytes(&mut self, count: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.input.by_ref().take(count), &mut io::sink())?;
        self.count += skipped;
        if skipped < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The number of a list's elements, all of which are of the type `shape`.
    pub(super) fn list(&mut self, shape: ThriftType) -> io::Result<u64> {
        let (kind, count) = self.any_list()?;
        match count == 0 || shape.is(kind) {
            true => Ok(count),
            false => Err(damaged()),
        }
    }

    /// The type of a list's elements, and their number.
    fn any_list(&mut self) -> io::Result<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.varint()? } else { u64::from(head >> 4) };
        Ok((head & 0xF, within_i32(count)?))
    }

    /// Reads a struct with the known `fields`. `take` reads a field and returns whether it did; other
    /// fields are checked and skipped.
    ///
    /// # Errors
    /// A known field that is there twice, or whose value is not of its shape.
    pub(super) fn fields(
        &mut self,
        fields: &[(i64, ThriftType)],
        take: &mut dyn FnMut(&mut Self, KnownField) -> io::Result<bool>,
    ) -> io::Result<()> {
        let (mut id, mut seen) = (0, 0_u64);
        while let Some(kind) = self.field(&mut id)? {
            let Some((_, shape)) = fields.iter().find(|(known, _)| *known == id) else {
                self.skip(kind, MOST_DEPTH)?;
                continue;
            };
            if !shape.is(kind) || seen & (1 << id) != 0 {
                return Err(damaged());
            }
            seen |= 1 << id;
            if !take(self, KnownField { id, is_true: kind == TRUE })? {
                self.value(*shape)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, shape: ThriftType) -> io::Result<()> {
        match shape {
            ThriftType::Bool => Ok(()),
            ThriftType::Byte => self.skip_bytes(1),
            ThriftType::I16 => self.integer::<i16>().map(drop),
            ThriftType::I32 => self.integer::<i32>().map(drop),
            ThriftType::I64 => self.varint().map(drop),
            ThriftType::Double => self.skip_bytes(8),
            ThriftType::Binary => self.varint().and_then(|length| self.skip_bytes(length)),
            ThriftType::List(shape) => {
                let count = self.list(*shape)?;
                (0..count).try_for_each(|_| self.value(*shape))
            }
            ThriftType::Struct(fields) => self.fields(fields, &mut |_, _| Ok(false)),
        }
    }

    /// Skips the value of an unknown field.
    fn skip(&mut self, kind: u8, depth: usize) -> io::Result<()> {
        if depth == 0 {
            return Err(damaged());
        }
        match kind {
            TRUE | FALSE => Ok(()),
            3 => self.skip_bytes(1),
            4..=6 => self.varint().map(drop),
            7 => self.skip_bytes(8),
            8 => self.varint().and_then(|length| self.skip_bytes(length)),
            LIST | SET => {
                let (kind, count) = self.any_list()?;
                self.skip_elements(&[kind], count, depth)
            }
            MAP => {
                let count = within_i32(self.varint()?)?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                self.skip_elements(&[kinds >> 4, kinds & 0xF], count, depth)
            }
            STRUCT => {
                let mut id = 0;
                while let Some(kind) = self.field(&mut id)? {
                    self.skip(kind, depth - 1)?;
                }
                Ok(())
            }
            13 => self.skip_bytes(16),
            _ => Err(damaged()),
        }
    }

    fn skip_elements(&mut self, kinds: &[u8], count: u64, depth: usize) -> io::Result<()> {
        for _ in 0..count {
            for &kind in kinds {
                // A truth value in a list takes a byte, and none for the parquet crate.
                if matches!(kind, TRUE | FALSE) {
                    return Err(damaged());
                }
                self.skip(kind, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// The number of elements, which the parquet crate limits to 2^31 − 1.
fn within_i32(count: u64) -> io::Result<u64> {
    i32::try_from(count).map(|_| count).map_err(|_| damaged())
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that are read of a struct whose field 1 is known as `shape`.
    fn read(bytes: &[u8], shape: ThriftType) -> Option<u64> {
        let mut input = Counted::new(bytes);
        input.fields(&[(1, shape)], &mut |_, _| Ok(false)).ok().map(|()| input.count())
    }

    #[test]
    fn unknown_fields_of_every_type_are_skipped() {
        // Field 2: a map of one byte to the text "a"; an empty map; a UUID; a list of two numbers.
        for value in
            [&[0x2B, 1, 0x38, 9, 1, b'a'][..], &[0x2B, 0], &[0x2D; 17], &[0x29, 0x25, 0, 0]]
        {
            let bytes = [value, &[0x00]].concat();
            assert_eq!(read(&bytes, ThriftType::I32), Some(bytes.len() as u64), "{value:?}");
        }
        let nested = |depth: usize| {
            read(&[&vec![0x2C; depth][..], &vec![0; depth + 1][..]].concat(), ThriftType::I32)
        };
        assert_eq!(nested(MOST_DEPTH), Some(2 * MOST_DEPTH as u64 + 1));
        assert_eq!(nested(MOST_DEPTH + 1), None);
        assert_eq!(
            read(&[0x29, 0x12, 0x00, 0x00], ThriftType::I32),
            None,
            "a list of truth values"
        );
    }

    #[test]
    fn a_known_field_is_of_its_type_and_there_once() {
        assert_eq!(read(&[0x15, 2, 0], ThriftType::I32), Some(3));
        assert_eq!(read(&[0x05, 2, 2, 0], ThriftType::I32), Some(4), "the id is written out");
        assert_eq!(read(&[0x16, 2, 0], ThriftType::I32), None, "64 bits");
        assert_eq!(read(&[0x15, 2, 0x05, 2, 2, 0], ThriftType::I32), None, "twice");
        let beyond = [0x15, 0x80, 0x80, 0x80, 0x80, 0x10, 0];
        assert_eq!(read(&beyond, ThriftType::I32), None, "2^31");
        assert_eq!(read(&[0x05, 0x82, 0x80, 0x08, 2, 0], ThriftType::I32), None, "id 65537");
        assert_eq!(read(&[0x05, 1, 2, 0], ThriftType::I32), None, "id -1");
        assert_eq!(read(&[0x19, 0x15, 2, 0], ThriftType::List(&ThriftType::I32)), Some(4));
        assert_eq!(read(&[0x19, 0x16, 2, 0], ThriftType::List(&ThriftType::I32)), None);
        assert_eq!(
            read(&[0x19, 0x00, 0], ThriftType::List(&ThriftType::I32)),
            Some(3),
            "empty, of no type"
        );
    }
}
