//! Small files that announce or decode to much, written with the parquet crate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{BrotliLevel, Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::error::rendered;
use crate::interrupt::Interrupt;
use crate::task::table::{read_table, Cell, DataTable};

/// Writes `texts`, each `times` times, as the column `sentence`.
fn write(path: &Path, texts: &[&str], times: usize, properties: WriterProperties) {
    let schema = "message schema { required binary sentence (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    let values: Vec<ByteArray> = texts.iter().map(|text| ByteArray::from(*text)).collect();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    for _ in 0..times {
        column.typed::<ByteArrayType>().write_batch(&values, None, None).unwrap();
    }
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

fn file(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    (folder, path)
}

fn read(path: &Path) -> Result<DataTable, String> {
    read_table(&[path], &Interrupt::default()).map_err(|error| rendered(&error))
}

fn refused(path: &Path, why: &[&str]) {
    let error = read(path).unwrap_err();
    for why in why {
        assert!(error.contains(why), "{error}");
    }
    assert!(error.contains("bomb.parquet"), "{error}");
}

fn dictionary() -> WriterProperties {
    WriterProperties::builder()
        .set_dictionary_page_size_limit(64 << 20)
        .set_compression(Compression::ZSTD(Default::default()))
        .build()
}

#[test]
fn a_dictionary_that_is_repeated_without_end_is_refused() {
    // 1 MiB of text in every one of 2000 rows is 2 GiB; the file has some hundred bytes.
    let (_folder, path) = file("bomb.parquet");
    write(&path, &[&"a".repeat(1 << 20)], 2000, dictionary());
    assert!(path.metadata().unwrap().len() < 2000);
    refused(&path, &["line 65, column `sentence`", "the limit for a file of this size"]);
}

#[test]
fn a_cell_is_no_longer_than_a_line_of_text() {
    let (_folder, path) = file("bomb.parquet");
    write(&path, &[&"a".repeat((16 << 20) + 1)], 1, dictionary());
    refused(&path, &["line 1, column `sentence`: longer than 16 MiB"]);
}

#[test]
fn more_rows_than_a_file_can_hold_are_refused() {
    let (_folder, path) = file("bomb.parquet");
    write(&path, &["a"; 1000], 2000, dictionary());
    refused(&path, &["it announces 2000000 rows, and the limit for its size is"]);
}

#[test]
fn a_page_that_decompresses_to_more_than_it_may_is_refused() {
    let (_folder, path) = file("bomb.parquet");
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .set_write_batch_size(1)
        .set_compression(Compression::BROTLI(BrotliLevel::try_new(5).unwrap()))
        .build();
    // 80 texts of 1 MiB in one page: 80 MiB, and the limit is 64 MiB and a thousand times the file.
    write(&path, &[&"a".repeat(1 << 20)], 80, properties);
    assert!(path.metadata().unwrap().len() < 10_000);
    refused(&path, &["column `sentence`: a page announces 83886"]);
}

#[test]
fn a_page_that_understates_its_size_is_refused() {
    let (_folder, path) = file("bomb.parquet");
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::BROTLI(BrotliLevel::try_new(5).unwrap()))
        .build();
    let text = "a".repeat(1 << 16);
    write(&path, &[&text], 1, properties);
    // The page of 65540 bytes (4 of the length) announces 4 fewer: zigzag 131080 is 88 80 08.
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|bytes| bytes == [0x15, 0x88, 0x80, 0x08]).unwrap();
    bytes[at + 1] = 0x80;
    std::fs::write(&path, bytes).unwrap();
    refused(&path, &["column `sentence`: a page announces 65536 bytes and holds more"]);
}

#[test]
fn every_encoding_of_texts_is_read() {
    let texts: Vec<String> = (0..3000).map(|i| format!("the same start, and then {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for encoding in [Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY]
    {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let (_folder, path) = file("texts.parquet");
            let properties = WriterProperties::builder()
                .set_dictionary_enabled(false)
                .set_writer_version(version)
                .set_encoding(encoding)
                .set_compression(Compression::BROTLI(BrotliLevel::try_new(2).unwrap()))
                .build();
            write(&path, &texts, 2, properties);
            let table = read(&path).unwrap();
            assert_eq!(table.rows.len(), 6000);
            for (row, text) in table.rows.iter().zip(texts.iter().cycle()) {
                assert_eq!(row.cells, [Cell::Text((*text).to_owned())], "{encoding} {version:?}");
            }
        }
    }
}

/// Writes a file of metadata alone: version 1, the field `before`, and a schema of `list`, the number of
/// elements, and the elements.
fn write_schema(path: &Path, before: &[u8], list: &[u8], elements: &[u8]) {
    // Field 2, with its id written out.
    let metadata = [&[0x15, 0x02], before, &[0x09, 0x04], list, elements, &[0]].concat();
    let length = (metadata.len() as u32).to_le_bytes();
    std::fs::write(path, [b"PAR1", &metadata[..], &length, b"PAR1"].concat()).unwrap();
}

/// 200,000 structs.
const MANY: [u8; 4] = [0xFC, 0xC0, 0x9A, 0x0C];
/// A group has the name "a" (field 4) and one child (field 5).
const GROUP: [u8; 6] = [0x48, 0x01, b'a', 0x15, 0x02, 0x00];
/// An element without children.
const LEAF: [u8; 4] = [0x48, 0x01, b'a', 0x00];

fn many_groups(group: &[u8]) -> Vec<u8> {
    [&group.repeat(199_999), &LEAF[..]].concat()
}

#[test]
fn a_schema_that_is_nested_without_end_is_refused() {
    let (_folder, path) = file("bomb.parquet");
    let structs = [[0x9C; 20], [0; 20]].concat();
    // Fields before the schema that are unknown: none, a map of a byte to a byte, structs in structs.
    for before in [&[][..], &[0xAB, 0x01, 0x33, 0x00, 0x00], &structs] {
        write_schema(&path, before, &MANY, &many_groups(&GROUP));
        refused(&path, &["its schema has groups in groups without end"]);
    }
}

#[test]
fn a_number_of_children_that_could_be_read_in_two_ways_is_refused() {
    let (_folder, path) = file("bomb.parquet");
    for children in [
        &[0x15, 0x82, 0x80, 0x80, 0x80, 0x20][..], // 2^32 + 1
        &[0x05, 0x8A, 0x80, 0x08, 0x02],           // as field 65541
        &[0x16, 0x02],                             // as a number of 64 bits
        &[0x15, 0x00, 0x05, 0x0A, 0x02],           // twice
        &[0x15, 0x01],                             // -1
    ] {
        let group = [&GROUP[..3], children, &[0]].concat();
        write_schema(&path, &[], &MANY, &many_groups(&group));
        refused(&path, &["its metadata cannot be read"]);
    }
    // A number where a text is announced: its bytes are fields for one reader and a text for another.
    let hidden = [0x18, 0x02, 0x55, 0x02, 0x38, 0x01, b'a', 0x00];
    write_schema(&path, &[], &MANY, &many_groups(&hidden));
    refused(&path, &["its metadata cannot be read"]);
}

#[test]
fn a_schema_has_the_children_that_it_announces() {
    let (_folder, path) = file("bomb.parquet");
    // 2^31 - 1 children of one element; two of the first of two elements.
    let most = [0x48, 0x01, b'a', 0x15, 0xFE, 0xFF, 0xFF, 0xFF, 0x0F, 0x00];
    let two = [&[0x48, 0x01, b'a', 0x15, 0x04, 0x00], &LEAF[..]].concat();
    for (list, elements) in [(0x1C, &most[..]), (0x2C, &two)] {
        write_schema(&path, &[], &[list], elements);
        refused(&path, &["its metadata cannot be read"]);
    }
}

#[test]
fn columns_of_every_type_are_read() {
    let (_folder, path) = file("types.parquet");
    let schema = "message schema {
        required binary text (STRING);
        optional int32 small (INTEGER(8, true));
        optional int32 day (DATE);
        optional int64 time (TIMESTAMP(MICROS, true));
        optional int32 clock (TIME(MILLIS, false));
        optional int64 price (DECIMAL(9, 2));
        optional group words (LIST) { repeated group list { optional binary element (JSON); } }
        optional group pairs (MAP) {
            repeated group key_value { required binary key (ENUM); optional double value; }
        }
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let output = std::fs::File::create(&path).unwrap();
    SerializedFileWriter::new(output, schema, Default::default()).unwrap().close().unwrap();
    assert_eq!(read(&path).unwrap().columns.len(), 8);
}

#[test]
fn a_list_is_not_read_and_is_named() {
    let (_folder, path) = file("lists.parquet");
    let schema = "message schema { repeated binary words (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let output = std::fs::File::create(&path).unwrap();
    let mut writer = SerializedFileWriter::new(output, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let (words, levels) = (["a", "b", "c"].map(ByteArray::from), [1; 3]);
    column.typed::<ByteArrayType>().write_batch(&words, Some(&levels), Some(&[0, 1, 0])).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let table = read(&path).unwrap();
    assert_eq!(table.rows.len(), 2);
    assert_eq!(table.rows[1].cells, [Cell::Other("a list")]);
}
