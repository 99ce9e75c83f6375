//! Apache Parquet, read row by row.

use std::cell::Cell as Flag;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use anyhow::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::Value;

use super::lines::refuse_twins;
use super::{open, Cell, DataFile, RowSink, TableHeader};
use crate::error::failure;

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let name = &file.name;
    let input = open(file)?;
    let reader = guarded(name, || SerializedFileReader::new(input))?;
    let metadata = reader.metadata().file_metadata();
    let schema = metadata.schema();
    let columns: Vec<String> =
        schema.get_fields().iter().map(|field| field.name().to_owned()).collect();
    refuse_twins(name, &columns)?;
    let class_names = class_names(metadata.key_value_metadata());
    let wanted =
        sink.header(file, &TableHeader { columns: &columns, class_names: &class_names })?;

    // Columns are read in the file's order.
    let mut ordered = wanted.clone();
    ordered.sort_unstable();
    ordered.dedup();
    let place = |index: &usize| ordered.binary_search(index).expect("wanted is in ordered");
    let fields = ordered.iter().map(|&index| Arc::clone(&schema.get_fields()[index])).collect();
    let projection = Type::group_type_builder(schema.name()).with_fields(fields);
    let mut rows = guarded(name, || reader.get_row_iter(Some(projection.build()?)))?;
    let mut line = 0_usize;
    while let Some(row) = guarded(name, || rows.next().transpose())? {
        file.go_on()?;
        line += 1;
        let cells: Vec<Cell> =
            row.into_columns().into_iter().map(|(_, field)| cell(field)).collect();
        sink.row(file, line, wanted.iter().map(|index| cells[place(index)].clone()).collect())?;
    }
    let announced = metadata.num_rows();
    if line as i64 != announced {
        return Err(damaged(name, &format!("it announces {announced} rows and holds {line}")));
    }
    Ok(())
}

/// Runs a call of the parquet crate, which panics on some damaged files.
fn guarded<T>(name: &str, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let reason = match quietly(call) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(()) => "its parts contradict each other".to_owned(),
    };
    Err(damaged(name, &reason))
}

fn damaged(name: &str, reason: &str) -> anyhow::Error {
    failure!("`{name}` cannot be read as Parquet: {reason}")
        .hint("it is cut short, damaged or of another format; download or write it again")
        .into()
}

thread_local! {
    static QUIET: Flag<bool> = const { Flag::new(false) };
}

/// Catches a panic of `call` without the message on stderr that panics print.
fn quietly<T>(call: impl FnOnce() -> T) -> Result<T, ()> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    QUIET.set(true);
    // Nothing that the call may leave half done is used after a panic.
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    QUIET.set(false);
    result.map_err(drop)
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
        Field::ListInternal(_) => Cell::Other("a list"),
        Field::Group(_) | Field::MapInternal(_) => Cell::Other("an object"),
    }
}

/// The names of `ClassLabel` columns, from the key under which Hugging Face keeps its features.
fn class_names(metadata: Option<&Vec<KeyValue>>) -> BTreeMap<String, Vec<String>> {
    let features = || -> Option<Value> {
        let entry = metadata?.iter().find(|entry| entry.key == "huggingface")?;
        let mut value: Value = serde_json::from_str(entry.value.as_deref()?).ok()?;
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
