//! Apache Parquet, read row by row.

mod bounded;
mod footer;
mod pages;
mod shapes;
#[cfg(test)]
mod tests;
mod thrift;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{bail, Result};
use parquet::basic::{ConvertedType, Encoding, LogicalType, Repetition, Type as Physical};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::Value;

use self::bounded::BoundedFile;
use self::pages::DecodedLimits;
use super::lines::{refuse_twins, LONGEST_LINE};
use super::{open, Cell, DataFile, RowSink, TableHeader, LONGEST_LIST};
use crate::error::{caught, failure};

/// Reads one file. Memory is bounded by [`DecodedLimits`] of its size.
pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let name = &file.name;
    let input = open(file)?;
    let limits = DecodedLimits::of(file.input.stamp().size);
    let pages = input.try_clone()?;
    if let Err(why) = footer::check(&pages) {
        bail!(damaged(name, why));
    }
    let reader = BoundedFile(guarded(name, || SerializedFileReader::new(input))?);
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema();
    let columns: Vec<String> =
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    refuse_twins(name, &columns)?;
    let entries = metadata.key_value_metadata().into_iter().flatten();
    let features =
        entries.filter(|entry| entry.key == "huggingface").find_map(|it| it.value.as_deref());
    let class_names = class_names(features);
    let wanted =
        sink.header(file, &TableHeader { columns: &columns, class_names: &class_names })?;

    // Columns are read in the file's order.
    let mut ordered = wanted.clone();
    ordered.sort_unstable();
    ordered.dedup();
    let lists: Vec<usize> = ordered
        .iter()
        .copied()
        .filter(|&index| {
            sink.wants_lists(&columns[index]) && is_list_of_numbers(&schema.get_fields()[index])
        })
        .collect();
    ordered.retain(|index| lists.contains(index) || nested(&schema.get_fields()[*index]).is_none());
    let leaves = leaves(&reader, &ordered);
    let checked = caught(|| pages::check(&pages, reader.metadata(), &leaves, limits));
    if let Err(why) = checked.and_then(|checked| checked) {
        bail!(damaged(name, &why));
    }
    let mut rows = guarded(name, || rows(&reader, schema, &ordered, &leaves))?;
    let mut room = limits.bytes;
    let mut line = 0_usize;
    while let Some(row) = guarded(name, || rows.next().transpose())? {
        file.go_on()?;
        line += 1;
        let read: Vec<Cell> =
            row.into_columns().into_iter().map(|(_, field)| cell(field)).collect();
        for (text, &column) in read.iter().zip(&ordered) {
            let length = if let Cell::Text(text) = text { text.len() } else { 0 };
            let fits = room.checked_sub(length as u64).filter(|_| length <= LONGEST_LINE);
            room = fits.ok_or_else(|| too_long(file, line, &columns, column, length, limits))?;
        }
        let one = |index: &usize| match ordered.binary_search(index) {
            Ok(place) => read[place].clone(),
            Err(_) => Cell::Other(nested(&schema.get_fields()[*index]).unwrap_or("an object")),
        };
        sink.row(file, line, wanted.iter().map(one).collect())?;
    }
    let announced = metadata.num_rows();
    if line as i64 != announced {
        return Err(damaged(name, &format!("it announces {announced} rows and holds {line}")));
    }
    Ok(())
}

/// What a column holds if it is not one value a row. Such a column is read only if the sink wants its
/// lists: a short file can announce lists of any length.
fn nested(field: &Type) -> Option<&'static str> {
    let info = field.get_basic_info();
    let is_list = info.converted_type() == ConvertedType::LIST
        || info.logical_type_ref() == Some(&LogicalType::List)
        || (info.has_repetition() && info.repetition() == Repetition::REPEATED);
    match (is_list, field.is_primitive()) {
        (true, _) => Some("a list"),
        (false, true) => None,
        (false, false) => Some("an object"),
    }
}

/// Whether each row is one list of numbers: a list with one leaf that is not text.
fn is_list_of_numbers(field: &Type) -> bool {
    let is_group = |field: &Type| !field.is_primitive() && field.get_fields().len() == 1;
    if nested(field) != Some("a list") || !is_group(field) {
        return false;
    }
    let repeated = &field.get_fields()[0];
    let element = match is_group(repeated) {
        true => &repeated.get_fields()[0],
        false => repeated,
    };
    let is_repeated = |field: &Type| {
        let info = field.get_basic_info();
        info.has_repetition() && info.repetition() == Repetition::REPEATED
    };
    let is_element = element.is_primitive()
        && !matches!(element.get_physical_type(), Physical::BYTE_ARRAY | Physical::INT96);
    let once = std::ptr::eq(element, repeated) || !is_repeated(element);
    is_element && is_repeated(repeated) && once
}

/// The leaf columns of the columns `ordered`.
fn leaves(reader: &BoundedFile, ordered: &[usize]) -> Vec<usize> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let is_wanted =
        |&leaf: &usize| ordered.binary_search(&schema.get_column_root_idx(leaf)).is_ok();
    (0..schema.num_columns()).filter(is_wanted).collect()
}

fn rows<'a>(
    reader: &'a BoundedFile,
    schema: &Type,
    ordered: &[usize],
    leaves: &[usize],
) -> parquet::errors::Result<RowIter<'a>> {
    let fields = ordered.iter().map(|&index| Arc::clone(&schema.get_fields()[index])).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(fields);
    let rows = reader.get_row_iter(Some(projection.build()?))?;
    // Values of this encoding repeat the start of the one before: a batch of long ones is many times
    // their page.
    let mut chunks = reader
        .metadata()
        .row_groups()
        .iter()
        .flat_map(|group| leaves.iter().map(|&leaf| group.column(leaf)));
    match chunks.any(|chunk| chunk.encodings().any(|it| it == Encoding::DELTA_BYTE_ARRAY)) {
        true => Ok(rows.with_batch_size(1)),
        false => Ok(rows),
    }
}

fn too_long(
    file: &DataFile,
    line: usize,
    columns: &[String],
    column: usize,
    length: usize,
    limits: DecodedLimits,
) -> anyhow::Error {
    let place = file.cell(line, columns, column);
    if length > LONGEST_LINE {
        return failure!("longer than {} MiB", LONGEST_LINE >> 20)
            .hint("no example is that long; the file is damaged")
            .at(place)
            .into();
    }
    failure!(
        "the texts so far are more than {} MiB, the limit for a file of this size",
        limits.bytes >> 20
    )
    .hint("its texts repeat without end; write it again without a dictionary if they are real")
    .at(place)
    .into()
}

/// Runs a call of the parquet crate, which panics on some damaged files.
fn guarded<T>(name: &str, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let reason = match caught(call) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "its parts contradict each other".to_owned(),
    };
    Err(damaged(name, &reason))
}

fn damaged(name: &str, reason: &str) -> anyhow::Error {
    failure!("`{name}` cannot be read as Parquet: {reason}")
        .hint("it is cut short, damaged or of another format; download or write it again")
        .into()
}

fn cell(field: Field) -> Cell {
    match field {
        Field::Null => Cell::Null,
        Field::Bool(value) => Cell::Bool(value),
        Field::Byte(value) => Cell::Integer(value.into()),
        Field::Short(value) => Cell::Integer(value.into()),
        Field::Int(value) => Cell::Integer(value.into()),
        Field::Long(value) => Cell::Integer(value),
        Field::UByte(value) => Cell::Integer(value.into()),
        Field::UShort(value) => Cell::Integer(value.into()),
        Field::UInt(value) => Cell::Integer(value.into()),
        Field::ULong(value) => {
            i64::try_from(value).map_or(Cell::Other("a number out of range"), Cell::Integer)
        }
        Field::Float16(value) => Cell::Number(value.to_f64()),
        Field::Float(value) => Cell::Number(value.into()),
        Field::Double(value) => Cell::Number(value),
        Field::Str(text) => Cell::Text(text),
        // Some writers omit the annotation that bytes are text.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Cell::Text(text.to_owned()),
            Err(_) => Cell::Other("bytes that are not UTF-8"),
        },
        Field::Decimal(_) => Cell::Other("a decimal"),
        Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Cell::Other("a date or time"),
        Field::ListInternal(list) if list.len() <= LONGEST_LIST => {
            let numbers = list.elements().iter().map(|element| cell(element.clone()).as_number());
            numbers.collect::<Option<_>>().map_or(Cell::Other("a list"), Cell::List)
        }
        Field::ListInternal(_) => Cell::Other("a list"),
        Field::Group(_) | Field::MapInternal(_) => Cell::Other("an object"),
    }
}

/// The names of `ClassLabel` columns, from the value of the key `huggingface`, under which its libraries
/// keep the features of a table.
pub(super) fn class_names(info: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let features = || -> Option<Value> {
        let mut value: Value = serde_json::from_str(info?).ok()?;
        Some(value.get_mut("info")?.get_mut("features")?.take())
    };
    let mut named = BTreeMap::new();
    for (column, feature) in features().as_ref().and_then(Value::as_object).into_iter().flatten() {
        let names = feature.get("names").and_then(Value::as_array);
        let names: Option<Vec<String>> = names.map(|names| {
            names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        });
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            named.insert(column.clone(), names);
        }
    }
    named
}
