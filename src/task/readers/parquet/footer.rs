//! The schema and the other metadata of a Parquet file, checked before the parquet crate reads them: it
//! builds the schema by recursion, and allocates what the metadata announce.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::shapes;
use super::thrift::{Counted, ThriftType};

/// Maximum depth of groups in groups; real schemas have up to ten.
const MOST_DEPTH: usize = 64;
/// Bytes at the end of a file: the length of the metadata, and `PAR1`.
const END: i64 = 8;

/// Checks the metadata of a file.
///
/// # Errors
/// A schema that is nested more than [`MOST_DEPTH`] deep, or metadata that cannot be read: the parquet
/// crate may read from them something else.
pub(super) fn check(file: &File) -> Result<(), &'static str> {
    let mut input = BufReader::with_capacity(1 << 14, file);
    match depth(&mut input) {
        Ok(depth) if depth > MOST_DEPTH => Err("its schema has groups in groups without end"),
        Ok(_) => Ok(()),
        Err(_) => Err("its metadata cannot be read"),
    }
}

/// The depth of the schema.
fn depth(input: &mut (impl Read + Seek)) -> io::Result<usize> {
    input.seek(SeekFrom::End(-END))?;
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    input.seek(SeekFrom::End(-END - i64::from(length)))?;
    let mut depth = 0;
    Counted::new(input.take(length.into())).fields(shapes::FILE, &mut |input, field| {
        if field.id == 2 {
            depth = schema_depth(input)?;
        }
        Ok(field.id == 2)
    })?;
    Ok(depth)
}

/// The depth of a list of schema elements, each followed by its children.
fn schema_depth(input: &mut Counted<impl Read>) -> io::Result<usize> {
    let count = input.list(ThriftType::Struct(shapes::SCHEMA_ELEMENT))?;
    // Children that are still to come, of each element that has some, and those of all elements.
    let (mut open, mut deepest): (Vec<u64>, usize) = (Vec::new(), 0);
    let mut announced = 0;
    for _ in 0..count {
        let mut children = 0;
        input.fields(shapes::SCHEMA_ELEMENT, &mut |input, field| {
            if field.id == 5 {
                children = input.size()?;
            }
            Ok(field.id == 5)
        })?;
        // Every element but the first is the child of one.
        announced += children;
        if announced >= count {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if let Some(siblings) = open.last_mut() {
            *siblings -= 1;
        }
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    Ok(deepest)
}
