//! One JSON object a line.

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{bail, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::lines::{decode, not_utf8, LineReader};
use super::{empty, header, Cell, DataFile, RowSink};
use crate::error::{failure, FileLocation};

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let columns = keys(file)?;
    let wanted = header(file, &columns, sink)?;
    let places: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(place, &index)| (columns[index].as_str(), place)).collect();
    let mut lines = LineReader::of(file)?;
    while let Some((number, line)) = lines.next()? {
        let text = decode(line).map_err(|byte| not_utf8(file.line(number), byte, "line"))?;
        if text.trim().is_empty() {
            continue;
        }
        match object(text, &places, wanted.len()) {
            Ok(JsonRow { twice: Some(key), .. }) => {
                let place = FileLocation { column: Some(key.clone()), ..file.line(number) };
                bail!(failure!("the key `{key}` is there twice, and which value holds is unclear")
                    .hint("leave one of the two")
                    .at(place));
            }
            Ok(JsonRow { cells, .. }) => sink.row(file, number, cells)?,
            Err(error) => sink.broken(file, number, reason(text, &error))?,
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

/// What was read of one object.
#[derive(Debug, PartialEq)]
struct JsonRow {
    /// The wanted cells; null where a key is missing.
    cells: Vec<Cell>,
    /// A wanted key that is there more than once.
    twice: Option<String>,
}

/// The cells of an object at the `places` of its keys.
fn object(text: &str, places: &HashMap<&str, usize>, wanted: usize) -> serde_json::Result<JsonRow> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let row = CellsSeed { places, wanted }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(row)
}

/// Reads the wanted values of an object; others are skipped, at any depth and without memory.
struct CellsSeed<'a> {
    places: &'a HashMap<&'a str, usize>,
    wanted: usize,
}

impl<'de> DeserializeSeed<'de> for CellsSeed<'_> {
    type Value = JsonRow;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<JsonRow, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellsSeed<'_> {
    type Value = JsonRow;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonRow, A::Error> {
        let mut cells = vec![Cell::Null; self.wanted];
        let mut twice = None;
        let mut known = vec![false; self.wanted];
        while let Some(key) = map.next_key::<String>()? {
            let Some(&place) = self.places.get(key.as_str()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut known[place], true) {
                twice.get_or_insert(key);
            }
            cells[place] = map.next_value_seed(CellSeed)?;
        }
        Ok(JsonRow { cells, twice })
    }
}

/// Reads one value.
struct CellSeed;

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = Cell;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(i64::try_from(value).map_or(Cell::Number(value as f64), Cell::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Number(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Cell, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Cell::Other("an object"))
    }
}

/// Numbers that Python's json module writes and JSON does not have.
const NOT_JSON: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// serde_json counts lines of the text it was given, which is one line of the file.
fn reason(line: &str, error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let column = error.column();
    // The column is that of the byte at fault or the one before it.
    let token = (column.saturating_sub(2)..=column).find_map(|at| {
        let rest = line.get(at..)?;
        Some((at, *NOT_JSON.iter().find(|token| rest.starts_with(**token))?))
    });
    match token {
        Some((at, token)) => {
            let key = key_before(&line[..at]).map(|key| format!(" of the key `{key}`"));
            let key = key.unwrap_or_default();
            format!(
                "`{token}`{key}, at column {}, is not JSON: find out why the value is not finite, \
                 and write a number or null (Python: `json.dumps(…, allow_nan=False)` finds it)",
                at + 1
            )
        }
        None => format!("not a JSON object, at column {column}: {what}"),
    }
}

/// The key whose value follows `text`.
fn key_before(text: &str) -> Option<String> {
    let key = text.trim_end().strip_suffix(':')?.trim_end();
    let inner = key.strip_suffix('"')?;
    let is_quote = |&(at, _): &(usize, &str)| {
        let slashes = inner[..at].bytes().rev().take_while(|&byte| byte == b'\\').count();
        slashes % 2 == 0
    };
    let (start, _) = inner.rmatch_indices('"').find(is_quote)?;
    serde_json::from_str(&key[start..]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Result<JsonRow, String> {
        let places = HashMap::from([("a", 0), ("b", 1)]);
        object(text, &places, 2).map_err(|error| reason(text, &error))
    }

    fn cells(text: &str) -> Result<Vec<Cell>, String> {
        row(text).map(|row| row.cells)
    }

    #[test]
    fn values_have_their_kinds() {
        let text = |text: &str| Cell::Text(text.to_owned());
        for (value, cell) in [
            ("null", Cell::Null),
            ("true", Cell::Bool(true)),
            ("-7", Cell::Integer(-7)),
            ("9223372036854775808", Cell::Number(9223372036854775808.0)), // 2^63
            ("0.1", Cell::Number(0.1)),
            (r#""x\ny""#, text("x\ny")),
            ("[1, [2]]", Cell::Other("a list")),
            (r#"{"c": {}}"#, Cell::Other("an object")),
        ] {
            let read = cells(&format!("{{\"other\": [[]], \"b\": {value}}}")).unwrap();
            assert_eq!(read, [Cell::Null, cell], "{value}");
        }
        assert!(cells("{} {}").unwrap_err().contains("trailing characters"));
        assert!(cells("[1]").unwrap_err().contains("expected a map"));
    }

    #[test]
    fn a_wanted_key_that_is_there_twice_is_found() {
        assert_eq!(row(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap().twice.as_deref(), Some("a"));
        assert_eq!(row(r#"{"c": 1, "c": 2}"#).unwrap().twice, None, "unused");
    }

    #[test]
    fn numbers_that_are_not_json_are_named_with_their_key() {
        for (text, parts) in [
            (r#"{"a": NaN, "b": 1}"#, ["`NaN` of the key `a`, at column 7,", "allow_nan"]),
            (r#"{"b": 1, "a":Infinity}"#, ["`Infinity` of the key `a`, at column 14,", "null"]),
            (r#"{"x \"y": -Infinity}"#, ["`-Infinity` of the key `x \"y`, at column 11,", "null"]),
            (r#"{"b": [1, NaN]}"#, ["`NaN`, at column 11,", "is not JSON"]),
        ] {
            let error = row(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
        let error = row(r#"{"a": Nan}"#).unwrap_err();
        assert!(error.starts_with("not a JSON object, at column"), "{error}");
    }

    #[test]
    fn nesting_without_end_is_no_fault_of_other_columns() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(cells(&format!("{{\"c\": {deep}, \"a\": 1}}")).unwrap()[0], Cell::Integer(1));
        assert_eq!(cells(&format!("{{\"a\": {deep}}}")).unwrap()[0], Cell::Other("a list"));
    }
}
