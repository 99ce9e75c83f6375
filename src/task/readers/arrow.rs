//! Arrow IPC, as a stream or as a file (Feather version 2), read batch by batch.
//!
//! A file is a stream between two magic numbers with a footer behind it, so both are read as streams.
//! <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>

mod framing;

use std::io::{BufReader, Read, Seek, SeekFrom};

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Int8Type, UInt16Type,
    UInt32Type, UInt64Type, UInt8Type,
};
use arrow_array::Array;
use arrow_ipc::reader::StreamReader;
use arrow_schema::{ArrowError, DataType};

use super::lines::refuse_twins;
use super::parquet::class_names;
use super::{open, Cell, DataFile, RowSink, TableHeader, LONGEST_LIST};
use crate::error::{caught, failure};

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let mut input = open(file)?;
    let size = file.input.stamp().size;
    let checked = caught(|| framing::check(&mut input, size)).and_then(|checked| checked);
    let stream = checked.map_err(|why| damaged(file, &why))?;
    input.seek(SeekFrom::Start(stream.start))?;
    let text = BufReader::with_capacity(1 << 16, input.take(stream.end - stream.start));
    let mut batches = guarded(file, || StreamReader::try_new(text, None))?;
    let schema = batches.schema();
    let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    refuse_twins(&file.name, &columns)?;
    let class_names = class_names(schema.metadata().get("huggingface").map(String::as_str));
    let header = TableHeader { columns: &columns, class_names: &class_names };
    let wanted = sink.header(file, &header)?;
    let lists: Vec<bool> = wanted.iter().map(|&index| sink.wants_lists(&columns[index])).collect();
    let mut line = 0;
    while let Some(batch) = guarded(file, || batches.next().transpose())? {
        for row in 0..batch.num_rows() {
            file.go_on()?;
            line += 1;
            let one = |(&index, &list): (&usize, &bool)| cell(&**batch.column(index), row, list);
            let cells = || Ok(wanted.iter().zip(&lists).map(one).collect());
            sink.row(file, line, guarded(file, cells)?)?;
        }
    }
    Ok(())
}

/// The element `row` of an array. `list`: whether a list of numbers is read.
fn cell(array: &dyn Array, row: usize, list: bool) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    macro_rules! of {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row)
        };
    }
    match array.data_type() {
        DataType::Null => Cell::Null,
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => Cell::Integer(of!(Int8Type).into()),
        DataType::Int16 => Cell::Integer(of!(Int16Type).into()),
        DataType::Int32 => Cell::Integer(of!(Int32Type).into()),
        DataType::Int64 => Cell::Integer(of!(Int64Type)),
        DataType::UInt8 => Cell::Integer(of!(UInt8Type).into()),
        DataType::UInt16 => Cell::Integer(of!(UInt16Type).into()),
        DataType::UInt32 => Cell::Integer(of!(UInt32Type).into()),
        DataType::UInt64 => i64::try_from(of!(UInt64Type))
            .map_or(Cell::Other("a number out of range"), Cell::Integer),
        DataType::Float16 => Cell::Number(of!(Float16Type).to_f64()),
        DataType::Float32 => Cell::Number(of!(Float32Type).into()),
        DataType::Float64 => Cell::Number(of!(Float64Type)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Cell::Text(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Cell::Text(array.as_string_view().value(row).to_owned()),
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = match cell(dictionary.keys(), row, false) {
                Cell::Integer(key) => usize::try_from(key).ok(),
                _ => None,
            };
            let values = dictionary.values();
            match key.filter(|key| *key < values.len()) {
                Some(key) => cell(&**values, key, false),
                None => Cell::Other("a key that is not in its dictionary"),
            }
        }
        DataType::List(_) if list => numbers(&*array.as_list::<i32>().value(row)),
        DataType::LargeList(_) if list => numbers(&*array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) if list => numbers(&*array.as_fixed_size_list().value(row)),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            Cell::Other("a list")
        }
        DataType::Struct(_) | DataType::Map(..) => Cell::Other("an object"),
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..) => Cell::Other("a date or time"),
        _ => Cell::Other("a value of a type that is not read"),
    }
}

fn numbers(list: &dyn Array) -> Cell {
    if list.len() > LONGEST_LIST {
        return Cell::Other("a list");
    }
    let numbers = (0..list.len()).map(|at| cell(list, at, false).as_number());
    numbers.collect::<Option<_>>().map_or(Cell::Other("a list"), Cell::List)
}

/// Runs a call of the arrow crates, which panic on some damaged files.
fn guarded<T>(file: &DataFile, call: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    match caught(call) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(damaged(file, &error.to_string())),
        Err(_) => Err(damaged(file, "its parts contradict each other")),
    }
}

fn damaged(file: &DataFile, reason: &str) -> anyhow::Error {
    failure!("`{}` cannot be read as Arrow IPC: {reason}", file.name)
        .hint("it is cut short, damaged or of another format; download or write it again")
        .into()
}
