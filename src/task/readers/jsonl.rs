//! One JSON object a line. Files that start with an array are read by [`super::json_arrays`].

use std::collections::{HashMap, HashSet};
use std::fmt;

use anyhow::{bail, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::lines::{decode, not_utf8, LineReader};
use super::{empty, header, json_arrays, Cell, DataFile, RowSink, LONGEST_LIST};
use crate::error::{failure, FileLocation};

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    if json_arrays::starts_with_array(file)? {
        return json_arrays::read(file, sink);
    }
    let columns = keys(file)?;
    let wanted = header(file, &columns, sink)?;
    let places: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(place, &index)| (columns[index].as_str(), place)).collect();
    let lists: Vec<bool> = wanted.iter().map(|&index| sink.wants_lists(&columns[index])).collect();
    let mut lines = LineReader::of(file)?;
    while let Some((number, line)) = lines.next()? {
        let text = decode(line).map_err(|byte| not_utf8(file.line(number), byte, "line"))?;
        if text.trim().is_empty() {
            continue;
        }
        match object(text, &places, &lists) {
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
    let mut is_empty = true;
    while let Some((_, line)) = lines.next()? {
        let line = line.trim_ascii();
        is_empty &= line.is_empty();
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let _ = Seed(&mut keys).deserialize(&mut deserializer);
    }
    match is_empty {
        true => Err(empty(file)),
        false => Ok(keys.ordered),
    }
}

/// Keys of objects, in order of appearance.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) ordered: Vec<String>,
    known: HashSet<String>,
}

impl Keys {
    pub(super) fn add(&mut self, key: String) {
        if self.known.insert(key.clone()) {
            self.ordered.push(key);
        }
    }
}

/// Reads the keys of an object.
pub(super) struct Seed<'a>(pub(super) &'a mut Keys);

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
            self.0.add(key);
        }
        Ok(())
    }
}

/// What was read of one object.
#[derive(Debug, PartialEq)]
pub(super) struct JsonRow {
    /// The wanted cells; null where a key is missing.
    pub(super) cells: Vec<Cell>,
    /// A wanted key that is there more than once.
    pub(super) twice: Option<String>,
}

/// The cells of an object at the `places` of its keys.
fn object(
    text: &str,
    places: &HashMap<&str, usize>,
    lists: &[bool],
) -> serde_json::Result<JsonRow> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let row = CellsSeed { places, lists }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(row)
}

/// Reads the wanted values of an object; others are skipped, at any depth and without memory.
#[derive(Clone, Copy)]
pub(super) struct CellsSeed<'a> {
    /// The place of each wanted key.
    pub(super) places: &'a HashMap<&'a str, usize>,
    /// Whether lists are read, by place.
    pub(super) lists: &'a [bool],
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
        let mut cells = vec![Cell::Null; self.lists.len()];
        let mut twice = None;
        let mut known = vec![false; self.lists.len()];
        while let Some(key) = map.next_key::<String>()? {
            let Some(&place) = self.places.get(key.as_str()) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut known[place], true) {
                twice.get_or_insert(key);
            }
            cells[place] = map.next_value_seed(CellSeed { list: self.lists[place] })?;
        }
        Ok(JsonRow { cells, twice })
    }
}

/// Reads one value.
struct CellSeed {
    /// Whether a list of numbers is read.
    list: bool,
}

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
        let mut numbers = self.list.then(Vec::new);
        while let Some(values) = &mut numbers {
            let Some(cell) = list.next_element_seed(CellSeed { list: false })? else {
                return Ok(Cell::List(numbers.unwrap_or_default()));
            };
            match cell.as_number() {
                Some(value) if values.len() < LONGEST_LIST => values.push(value),
                _ => numbers = None,
            }
        }
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
        object(text, &places, &[false, true]).map_err(|error| reason(text, &error))
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
            ("[1, -2.5]", Cell::List(vec![1.0, -2.5])),
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
