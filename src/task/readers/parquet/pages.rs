//! The sizes of a Parquet file's pages, read from their headers before anything is decompressed.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::shapes;
use super::thrift::Counted;

/// What a file of some size may decode to: [`FLOOR`] and [`FACTOR`] bytes for each of its own.
///
/// Texts compress to a tenth; a dictionary of few texts compresses further, to some bits a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecodedLimits {
    /// Bytes of all pages, and bytes of all texts.
    pub(super) bytes: u64,
    /// Rows.
    pub(super) rows: u64,
}

const FLOOR: u64 = 64 << 20;
const FACTOR: u64 = 1000;
/// Rows of a small file, and rows for each byte of a large one; a row of a few labels takes some bits.
const FLOOR_OF_ROWS: u64 = 1 << 20;
const ROWS_PER_BYTE: u64 = 64;
/// Maximum bytes of one page. Most writers cut them at 1 MiB; some write a column of a row group as one.
const LARGEST_PAGE: u64 = 1 << 30;

impl DecodedLimits {
    /// The limits of a file of `size` bytes.
    pub(super) fn of(size: u64) -> DecodedLimits {
        DecodedLimits {
            bytes: size.saturating_mul(FACTOR).saturating_add(FLOOR),
            rows: size.saturating_mul(ROWS_PER_BYTE).saturating_add(FLOOR_OF_ROWS),
        }
    }
}

/// Checks rows and page sizes of the leaf columns `wanted`.
///
/// # Errors
/// What is beyond a limit, or where the pages' headers cannot be read.
pub(super) fn check(
    file: &File,
    metadata: &ParquetMetaData,
    wanted: &[usize],
    limits: DecodedLimits,
) -> Result<(), String> {
    let mut rows = 0_u64;
    let (mut decoded, mut values) = (0_u64, 0_u64);
    let mut input = BufReader::with_capacity(1 << 14, file);
    for group in metadata.row_groups() {
        let count = u64::try_from(group.num_rows()).map_err(|_| "it announces negative rows")?;
        rows = rows.saturating_add(count);
        if rows > limits.rows {
            return Err(format!(
                "it announces {rows} rows, and the limit for its size is {}",
                limits.rows
            ));
        }
        for &leaf in wanted {
            let column = group.column(leaf);
            let name = column.column_path().string();
            check_chunk(&mut input, column, limits, &mut decoded, &mut values)
                .map_err(|why| format!("column `{name}`: {why}"))?;
        }
    }
    Ok(())
}

fn check_chunk(
    input: &mut BufReader<&File>,
    column: &ColumnChunkMetaData,
    limits: DecodedLimits,
    decoded: &mut u64,
    values: &mut u64,
) -> Result<(), String> {
    let is_list = column.column_descr().max_rep_level() > 0;
    let (start, length) = column.byte_range();
    let end = start.saturating_add(length);
    let unreadable = |_: io::Error| "its pages cannot be read".to_owned();
    let mut position = start;
    input.seek(SeekFrom::Start(position)).map_err(unreadable)?;
    while position < end {
        let header = PageHeader::read(input).map_err(unreadable)?;
        *decoded = decoded.saturating_add(header.uncompressed);
        if header.uncompressed > LARGEST_PAGE || *decoded > limits.bytes {
            let most = LARGEST_PAGE.min(limits.bytes);
            return Err(format!(
                "a page announces {} bytes, {} bytes in all, and the limits for its size are {most} \
                 and {}",
                header.uncompressed, decoded, limits.bytes
            ));
        }
        // Rows bound the values of any other column.
        *values = values.saturating_add(if is_list { header.values } else { 0 });
        if *values > limits.rows {
            return Err(format!(
                "its lists announce {values} values, and the limit for its size is {}",
                limits.rows
            ));
        }
        if matches!(column.compression(), Compression::BROTLI(_)) {
            check_brotli(input, &header).map_err(unreadable)??;
        } else {
            let compressed = i64::try_from(header.compressed).expect("an i32");
            input.seek_relative(compressed).map_err(unreadable)?;
        }
        position = position.saturating_add(header.length + header.compressed);
    }
    Ok(())
}

/// Counts what a page decompresses to: the parquet crate writes all of it, whatever is announced. (The
/// other codecs stop at the announced size, or cannot make more than about 1000 bytes of one.)
fn check_brotli(input: &mut impl Read, header: &PageHeader) -> io::Result<Result<(), String>> {
    let mut page = Vec::new();
    input.take(header.compressed).read_to_end(&mut page)?;
    let most = header.uncompressed.saturating_sub(header.levels);
    // Without values there is nothing to decompress.
    if header.is_stored || most == 0 {
        return Ok(Ok(()));
    }
    let levels = usize::try_from(header.levels).unwrap_or(usize::MAX).min(page.len());
    let mut content = brotli::Decompressor::new(&page[levels..], 1 << 14).take(most + 1);
    match io::copy(&mut content, &mut io::sink())? > most {
        true => Ok(Err(format!("a page announces {} bytes and holds more", header.uncompressed))),
        false => Ok(Ok(())),
    }
}

/// The sizes in a page's header, a struct in Thrift's compact protocol.
#[derive(Debug, Default, PartialEq)]
struct PageHeader {
    /// Bytes of the header itself.
    length: u64,
    /// Bytes of the page in the file.
    compressed: u64,
    /// Bytes of the page in memory.
    uncompressed: u64,
    /// Values of a data page.
    values: u64,
    /// Bytes before the values that are never compressed (version 2).
    levels: u64,
    /// Whether the page says that it is not compressed (version 2).
    is_stored: bool,
}

impl PageHeader {
    fn read(input: &mut impl Read) -> io::Result<PageHeader> {
        let mut input = Counted::new(input);
        let mut header = PageHeader::default();
        input.fields(shapes::PAGE, &mut |input, field| {
            match field.id {
                2 => header.uncompressed = input.size()?,
                3 => header.compressed = input.size()?,
                5 => input.fields(shapes::PAGE_VERSION_1, &mut |input, field| {
                    let is_count = field.id == 1;
                    if is_count {
                        header.values = input.size()?;
                    }
                    Ok(is_count)
                })?,
                8 => header.read_version_2(input)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        header.length = input.count();
        Ok(header)
    }

    fn read_version_2(&mut self, input: &mut Counted<impl Read>) -> io::Result<()> {
        input.fields(shapes::PAGE_VERSION_2, &mut |input, field| {
            match field.id {
                1 => self.values = input.size()?,
                5 | 6 => self.levels += input.size()?,
                7 => self.is_stored = !field.is_true,
                _ => return Ok(false),
            }
            Ok(true)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_page_is_read_as_thrift_writes_it() {
        // type 0; uncompressed 1000 → zigzag 2000 = 0xD0 0x0F; compressed 300 → 600 = 0xD8 0x04;
        // data_page_header {num_values 5, statistics {max "ab"}}.
        let bytes = [
            0x15, 0x00, 0x15, 0xD0, 0x0F, 0x15, 0xD8, 0x04, 0x2C, 0x15, 0x0A, 0x4C, 0x18, 0x02,
            b'a', b'b', 0x00, 0x00, 0x00,
        ];
        let header = PageHeader::read(&mut &bytes[..]).unwrap();
        let sizes = (header.length, header.compressed, header.uncompressed);
        assert_eq!(sizes, (bytes.len() as u64, 300, 1000));
        assert!(PageHeader::read(&mut &bytes[..10]).is_err());
    }

    #[test]
    fn negative_sizes_and_endless_headers_are_refused() {
        assert!(PageHeader::read(&mut &[0x25, 0x01, 0x00][..]).is_err(), "-1 bytes");
        let nested = vec![0x1C; 1 << 20];
        assert!(PageHeader::read(&mut &nested[..]).is_err());
    }

    #[test]
    fn a_size_is_there_once_and_is_read_as_the_parquet_crate_reads_it() {
        // Uncompressed 2, compressed 1, and levels of 1 and 2 bytes of a stored page of version 2.
        let good = [0x25, 0x04, 0x15, 0x02, 0x5C, 0x55, 0x02, 0x15, 0x04, 0x12, 0x00, 0x00];
        let header = PageHeader::read(&mut &good[..]).unwrap();
        assert_eq!((header.uncompressed, header.compressed, header.length), (2, 1, 12));
        assert_eq!((header.levels, header.is_stored), (3, true));
        let changed = |at: usize, bytes: &[u8]| {
            let bytes = [&good[..at], bytes, &good[at..]].concat();
            PageHeader::read(&mut &bytes[..]).is_err()
        };
        assert!(!changed(4, &[]));
        assert!(changed(2, &[0x05, 0x04, 0x04]), "the size twice");
        assert!(changed(4, &[0x05, 0x84, 0x80, 0x08, 0x04]), "the size as field 65538");
        assert!(changed(9, &[0x05, 0x0C, 0x04]), "levels twice");
        assert!(changed(10, &[0x01, 0x8E, 0x80, 0x08]), "compressed, as field 65543");
        assert!(changed(10, &[0x01, 0x0E]), "compressed, after all");
        let wide = [0x26, 0x04, 0x15, 0x02, 0x00];
        assert!(PageHeader::read(&mut &wide[..]).is_err(), "a size of 64 bits");
    }

    #[test]
    fn a_brotli_page_is_readable_or_has_no_values() {
        let header = PageHeader { compressed: 3, uncompressed: 9, ..PageHeader::default() };
        assert!(check_brotli(&mut &[0xFF; 3][..], &header).is_err());
        let nulls = PageHeader { levels: 9, ..header };
        assert_eq!(check_brotli(&mut &[0xFF; 3][..], &nulls).unwrap(), Ok(()));
    }

    #[test]
    fn limits_follow_the_size_of_the_file() {
        let limits = DecodedLimits::of(1000);
        assert_eq!((limits.bytes, limits.rows), ((64 << 20) + 1_000_000, (1 << 20) + 64_000));
        DecodedLimits::of(u64::MAX / 2);
    }
}
