//! A Parquet reader whose pages are checked before they are decoded: some decoders allocate what a
//! page announces.

use std::fs::File;

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

/// A file whose columns are all flat, as far as they are read.
pub(super) struct BoundedFile(pub(super) SerializedFileReader<File>);

impl FileReader for BoundedFile {
    fn metadata(&self) -> &ParquetMetaData {
        self.0.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.0.num_row_groups()
    }

    fn get_row_group(&self, i: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(BoundedRowGroup(self.0.get_row_group(i)?)))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct BoundedRowGroup<'a>(Box<dyn RowGroupReader + 'a>);

impl RowGroupReader for BoundedRowGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.0.metadata()
    }

    fn num_columns(&self) -> usize {
        self.0.num_columns()
    }

    fn get_column_page_reader(&self, i: usize) -> Result<Box<dyn PageReader>> {
        let column = self.metadata().column(i);
        Ok(Box::new(BoundedPages {
            inner: self.0.get_column_page_reader(i)?,
            rows: match column.column_descr().max_rep_level() {
                0 => u64::try_from(self.metadata().num_rows())?,
                // The values of lists were counted before.
                _ => u64::MAX,
            },
            is_optional: column.column_descr().max_def_level() > 0,
            has_prefixes: column.encodings().any(|it| it == Encoding::DELTA_BYTE_ARRAY),
        }))
    }

    fn get_column_bloom_filter(&self, i: usize) -> Option<&Sbbf> {
        self.0.get_column_bloom_filter(i)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// The pages of one column chunk.
struct BoundedPages {
    inner: Box<dyn PageReader>,
    /// Rows of the row group; a flat column has a value or a null for each.
    rows: u64,
    /// Whether definition levels precede the values.
    is_optional: bool,
    /// Whether the metadata lists DELTA_BYTE_ARRAY, which the caller reads row by row.
    has_prefixes: bool,
}

impl Iterator for BoundedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

impl PageReader for BoundedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        if let Some(page) = &page {
            self.check(page).map_err(|why| ParquetError::General(why.to_owned()))?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }
}

impl BoundedPages {
    fn check(&self, page: &Page) -> std::result::Result<(), &'static str> {
        let (count, bytes) = (u64::from(page.num_values()), page.buffer());
        let levels = match page {
            Page::DictionaryPage { .. } => {
                return match count > bytes.len() as u64 {
                    true => Err("a dictionary announces more values than it has bytes"),
                    false => Ok(()),
                };
            }
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                *def_levels_byte_len as usize + *rep_levels_byte_len as usize
            }
            Page::DataPage { .. } if !self.is_optional => 0,
            Page::DataPage { def_level_encoding: Encoding::RLE, .. } => {
                let length = bytes.get(..4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
                4 + length.ok_or("a page ends before its levels")? as usize
            }
            Page::DataPage { .. } => (count as usize).div_ceil(8),
        };
        if count > self.rows {
            return Err("a page announces more values than there are rows");
        }
        let values = bytes.get(levels..).ok_or("a page ends before its values")?;
        match page.encoding() {
            _ if values.is_empty() => Ok(()),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => delta_count(values, count).map(drop),
            Encoding::DELTA_BYTE_ARRAY if !self.has_prefixes => {
                Err("a page has an encoding that its column does not list")
            }
            Encoding::DELTA_BYTE_ARRAY => {
                let suffixes = delta_count(values, count)?;
                delta_count(values.get(suffixes..).ok_or(TRUNCATED)?, count).map(drop)
            }
            _ => Ok(()),
        }
    }
}

const TRUNCATED: &str = "a page ends within its lengths";

/// Checks that a block of DELTA_BINARY_PACKED announces at most `most` values; returns its length in
/// bytes. See Encodings.md of parquet-format.
fn delta_count(bytes: &[u8], most: u64) -> std::result::Result<usize, &'static str> {
    let mut at = 0;
    let block = varint(bytes, &mut at)?;
    let parts = varint(bytes, &mut at)?;
    let count = varint(bytes, &mut at)?;
    varint(bytes, &mut at)?; // the first value
    if count > most {
        return Err("a page announces more lengths than values");
    }
    if parts == 0 || block == 0 || block % parts != 0 || parts > bytes.len() as u64 {
        return Err("a page has lengths in blocks of no size");
    }
    skip_blocks(bytes, &mut at, count.saturating_sub(1), block / parts, parts as usize)?;
    Ok(at)
}

fn skip_blocks(
    bytes: &[u8],
    at: &mut usize,
    mut remaining: u64,
    part: u64,
    parts: usize,
) -> std::result::Result<(), &'static str> {
    while remaining > 0 {
        varint(bytes, at)?; // the smallest delta
        let widths = bytes.get(*at..*at + parts).ok_or(TRUNCATED)?;
        *at += parts;
        for &width in widths {
            if remaining == 0 {
                break;
            }
            let length = u64::from(width).saturating_mul(part) / 8;
            *at = at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            if *at > bytes.len() {
                return Err(TRUNCATED);
            }
            remaining = remaining.saturating_sub(part);
        }
    }
    Ok(())
}

fn varint(bytes: &[u8], at: &mut usize) -> std::result::Result<u64, &'static str> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or(TRUNCATED)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(TRUNCATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_and_skipped() {
        // A block of 128 values in 4 parts, 3 values, the first 5 (zigzag 10); then the smallest delta
        // 0 and widths 4, 0, 0, 0: the first part has 32 values of 4 bits.
        let mut bytes = vec![0x80, 0x01, 4, 3, 10, 0, 4, 0, 0, 0];
        bytes.extend([0; 16]);
        let end = bytes.len();
        bytes.extend(b"rest");
        assert_eq!(delta_count(&bytes, 3), Ok(end));
        assert_eq!(delta_count(&bytes, 2), Err("a page announces more lengths than values"));
        assert_eq!(delta_count(&bytes[..12], 3), Err(TRUNCATED));
        // One value has no block.
        assert_eq!(delta_count(&[0x80, 0x01, 4, 1, 10], 1), Ok(5));
        assert!(delta_count(&[0x80, 0x01, 0, 1, 10], 1).is_err());
        // 2^31 values of no bits.
        let many = [0x80, 0x01, 4, 0x80, 0x80, 0x80, 0x80, 0x08, 0];
        assert_eq!(delta_count(&many, 1000), Err("a page announces more lengths than values"));
    }
}
