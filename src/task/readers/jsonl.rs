//! One JSON object a line.

use std::collections::HashSet;
use std::fmt;

use anyhow::{bail, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::{decode, not_utf8, LineReader};
use super::{empty, header, Cell, DataFile, RowSink};
use crate::error::failure;

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let columns = keys(file)?;
    let wanted = header(file, &columns, sink)?;
    let mut lines = LineReader::of(file)?;
    while let Some((number, line)) = lines.next()? {
        let text = decode(line).map_err(|byte| not_utf8(file.line(number), byte, "line"))?;
        if text.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(mut object) => {
                let cell = |&index: &usize| object.remove(&columns[index]).map_or(Cell::Null, cell);
                sink.row(file, number, wanted.iter().map(cell).collect())?;
            }
            Err(error) => sink.broken(file, number, reason(&error))?,
        }
    }
    Ok(())
}

/// The keys of all objects, in order of appearance. The second reading reports invalid lines.
fn keys(file: &DataFile) -> Result<Vec<String>> {
    let mut keys = Keys::default();
    let mut lines = LineReader::of(file)?;
    let mut first = None;
    while let Some((_, line)) = lines.next()? {
        let line = line.trim_ascii();
        if let (None, Some(byte)) = (first, line.first()) {
            first = Some(*byte);
        }
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let _ = Seed(&mut keys).deserialize(&mut deserializer);
    }
    match first {
        None => Err(empty(file)),
        Some(b'[') => bail!(failure!("`{}` is a JSON array, not one object a line", file.name)
            .hint("write each object on a line of its own, for example: jq -c '.[]'")),
        Some(_) => Ok(keys.ordered),
    }
}

#[derive(Default)]
struct Keys {
    ordered: Vec<String>,
    known: HashSet<String>,
}

/// Reads the keys of an object.
struct Seed<'a>(&'a mut Keys);

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if self.0.known.insert(key.clone()) {
                self.0.ordered.push(key);
            }
        }
        Ok(())
    }
}

fn cell(value: Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Cell::Integer(integer),
            (None, Some(number)) => Cell::Number(number),
            (None, None) => Cell::Other("a number out of range"),
        },
        Value::String(text) => Cell::Text(text),
        Value::Array(_) => Cell::Other("a list"),
        Value::Object(_) => Cell::Other("an object"),
    }
}

/// serde_json counts lines of the text it was given, which is one line of the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    format!("not a JSON object, at column {}: {what}", error.column())
}
