//! The depth of a Parquet file's schema, read before the parquet crate builds it by recursion.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::thrift::{self, Counted};

/// Maximum depth of groups in groups; real schemas have up to ten.
const MOST_DEPTH: usize = 64;
/// Bytes at the end of a file: the length of the metadata, and `PAR1`.
const END: i64 = 8;

/// Whether the schema is nested more than [`MOST_DEPTH`] deep. False where the metadata cannot be read:
/// the parquet crate says why.
pub(super) fn is_too_deep(file: &File) -> bool {
    let mut input = BufReader::with_capacity(1 << 14, file);
    depth(&mut input).is_ok_and(|depth| depth > MOST_DEPTH)
}

/// The depth of the schema, or some depth above the limit.
fn depth(input: &mut (impl Read + Seek)) -> io::Result<usize> {
    input.seek(SeekFrom::End(-END))?;
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = i64::from(u32::from_le_bytes(length));
    input.seek(SeekFrom::End(-END - length))?;
    let mut input = Counted::new(input);
    let (mut id, mut deepest) = (0, 0);
    while let Some(kind) = input.field(&mut id)? {
        match (id, kind) {
            (2, thrift::LIST) => deepest = deepest.max(schema_depth(&mut input)?),
            (_, kind) => input.skip(kind)?,
        }
    }
    Ok(deepest)
}

/// The depth of a list of schema elements, each followed by its children.
fn schema_depth(input: &mut Counted<impl Read>) -> io::Result<usize> {
    let (kind, count) = input.list()?;
    // Children that are still to come, of each element that has some.
    let (mut open, mut deepest): (Vec<u64>, usize) = (Vec::new(), 0);
    for _ in 0..count {
        if kind != thrift::STRUCT {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (mut id, mut children) = (0, 0);
        while let Some(kind) = input.field(&mut id)? {
            match (id, kind) {
                (5, thrift::I32) => children = input.size()?,
                (_, kind) => input.skip(kind)?,
            }
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
