//! JSON objects of a checkpoint's small files, with one reading.
//!
//! Of a key that is there twice, serde_json and Python keep the last value without a word. A file that
//! gives a key two different values is therefore refused. Python also writes `NaN` and `Infinity`, which
//! are not JSON: an error names them.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{anyhow, bail, Error, Result};
use serde_json::{Map, Value};

use crate::error::{failure, FileLocation};
use crate::input::SmallFile;

/// The deepest nesting that serde_json reads.
const DEEPEST: usize = 128;
/// Numbers that Python's json writes and that are not JSON.
const PYTHON_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
/// Most characters of a value in a message.
const LONGEST_SHOWN: usize = 60;

/// The keys of the object in `file`.
///
/// # Errors
/// A file that is not a JSON object, with line and column; a key with two values, at any depth.
pub(super) fn object(file: &SmallFile) -> Result<Map<String, Value>> {
    let keys = serde_json::from_slice(&file.bytes).map_err(|error| not_json(file, &error))?;
    match JsonScanner::of(&file.bytes).first(|finding| matches!(finding, JsonFinding::Twice { .. }))
    {
        Some(JsonFinding::Twice { key, first, second }) => {
            let shown = |value: &Range<usize>| shown(&file.bytes[value.clone()]);
            let (line, before) = (line(&file.bytes, second.start), line(&file.bytes, first.start));
            let (one, other) = (shown(&first), shown(&second));
            bail!(failure!("it is given twice, as {one} on line {before} and as {other}")
                .hint("keep the one that is meant: programs differ in which of the two they read")
                .at(location(file, line, key)))
        }
        _ => Ok(keys),
    }
}

fn not_json(file: &SmallFile, error: &serde_json::Error) -> Error {
    let odd = JsonScanner::of(&file.bytes).first(|it| matches!(it, JsonFinding::Number { .. }));
    if let Some(JsonFinding::Number { key, at, token }) = odd {
        let start = file.bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |it| it + 1);
        let (line, byte) = (line(&file.bytes, at), at - start + 1);
        let column = String::from_utf8_lossy(&file.bytes[start..at]).chars().count() + 1;
        // Another fault before it is the reason why the file cannot be read.
        if line == error.line() && (byte..=byte + token.len()).contains(&error.column()) {
            return failure!("`{token}` at column {column} is not JSON, though Python writes it")
                .hint("write a number or null there; `json.dump(…, allow_nan=False)` finds such values")
                .at(location(file, line, key))
                .into();
        }
    }
    anyhow!("`{}` is not a JSON object: {error}", file.input.name())
}

fn location(file: &SmallFile, line: usize, key: String) -> FileLocation {
    let key = Some(key).filter(|key| !key.is_empty());
    FileLocation { file: file.input.name().to_owned(), line: Some(line), key, column: None }
}

/// The line of a position, counted from 1.
fn line(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count()
}

/// The start of a value's text.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(4 * LONGEST_SHOWN)]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What a [`JsonScanner`] comes across.
enum JsonFinding {
    /// A key with two different values, whose places are given.
    Twice { key: String, first: Range<usize>, second: Range<usize> },
    /// One of [`PYTHON_NUMBERS`].
    Number { key: String, at: usize, token: String },
}

/// Walks over the tokens of a text that is JSON but for [`PYTHON_NUMBERS`]; of another text it makes
/// something, without an error.
struct JsonScanner<'a> {
    bytes: &'a [u8],
    at: usize,
    open: Vec<JsonContainer>,
}

/// An object or a list that is not closed yet.
struct JsonContainer {
    start: usize,
    /// The values of an object so far; `None` for a list.
    values: Option<HashMap<String, Range<usize>>>,
    /// The key whose value comes next.
    key: Option<String>,
}

impl<'a> JsonScanner<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        JsonScanner { bytes, at: 0, open: Vec::new() }
    }

    /// The first finding that is `wanted`.
    fn first(mut self, wanted: impl Fn(&JsonFinding) -> bool) -> Option<JsonFinding> {
        while let Some(byte) = self.bytes.get(self.at) {
            let start = self.at;
            let found = match byte {
                b'{' | b'[' => {
                    self.at += 1;
                    if self.open.len() == DEEPEST {
                        return None;
                    }
                    let values = (*byte == b'{').then(HashMap::new);
                    self.open.push(JsonContainer { start, values, key: None });
                    None
                }
                b'}' | b']' => {
                    self.at += 1;
                    let closed = self.open.pop()?;
                    self.value_ends(closed.start..self.at)
                }
                b'"' => self.text(),
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => {
                    self.at += 1;
                    None
                }
                _ => self.scalar(),
            };
            if found.as_ref().is_some_and(&wanted) {
                return found;
            }
        }
        None
    }

    /// A key, or a value that is a text.
    fn text(&mut self) -> Option<JsonFinding> {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.bytes.get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        let text = start..self.at.min(self.bytes.len());
        match self.open.last_mut() {
            Some(JsonContainer { values: Some(_), key: key @ None, .. }) => {
                let raw = &self.bytes[text];
                let read = serde_json::from_slice(raw);
                *key = Some(read.unwrap_or_else(|_| String::from_utf8_lossy(raw).into_owned()));
                None
            }
            _ => self.value_ends(text),
        }
    }

    /// A number, `true`, `false` or `null`.
    fn scalar(&mut self) -> Option<JsonFinding> {
        let start = self.at;
        let ends = |byte: &u8| b",:]}[{\" \t\r\n".contains(byte);
        let length = self.bytes[start..].iter().position(ends);
        self.at = length.map_or(self.bytes.len(), |length| start + length);
        let token = &self.bytes[start..self.at];
        if PYTHON_NUMBERS.contains(&token) {
            let token = String::from_utf8_lossy(token).into_owned();
            return Some(JsonFinding::Number { key: self.key(), at: start, token });
        }
        self.value_ends(start..self.at)
    }

    /// Enters a value under its key.
    fn value_ends(&mut self, value: Range<usize>) -> Option<JsonFinding> {
        let inside = self.open.last_mut()?;
        let (values, key) = (inside.values.as_mut()?, inside.key.take()?);
        let first = values.insert(key.clone(), value.clone())?;
        let read = |place: &Range<usize>| -> Option<Value> {
            serde_json::from_slice(&self.bytes[place.clone()]).ok()
        };
        if read(&first) == read(&value) {
            return None;
        }
        inside.key = Some(key);
        Some(JsonFinding::Twice { key: self.key(), first, second: value })
    }

    /// The keys around this place, such as `id2label.0`. They may be long: for a finding only.
    fn key(&self) -> String {
        let keys = self.open.iter().filter_map(|container| container.key.as_deref());
        keys.collect::<Vec<_>>().join(".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;
    use std::path::Path;

    fn read(text: &str) -> Result<Map<String, Value>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        object(&SmallFile::open(Path::new(&path)).unwrap())
    }

    #[track_caller]
    fn refused(text: &str, words: &[&str]) {
        let error = rendered(&read(text).unwrap_err());
        for word in words {
            assert!(error.contains(word), "no `{word}` in {error}");
        }
    }

    #[test]
    fn a_key_with_two_values_is_refused_at_any_depth() {
        refused(
            "{\"a\": 1,\n \"a\": 2}",
            &["config.json` line 2, key `a`", "as 1 on line 1 and as 2"],
        );
        refused("{\"m\": {\"0\": \"x\",\n\"0\": \"y\"}}", &["line 2, key `m.0`", "\"x\"", "\"y\""]);
        refused("{\"l\": [1, {\"k\": [1, 2], \"k\": [1]}]}", &["key `l.k`", "[1, 2]", "[1]"]);
        // The same key in another spelling, behind brackets and quotes inside of a text.
        refused(r#"{"a": "}\"],", "b": {"a": 1}, "\u0061": 2}"#, &["key `a`", "line 1"]);
        refused(&format!("{{\"a\": \"{}\", \"a\": 1}}", "é".repeat(100)), &["é…"]);
    }

    #[test]
    fn a_key_that_is_repeated_with_its_value_and_equal_keys_of_two_objects_are_read() {
        let keys = read(r#"{"a": [1, {"b": 2}], "c": {"b": 3}, "a": [1,{"b":2}]}"#).unwrap();
        assert_eq!(Value::from(keys), serde_json::json!({"a": [1, {"b": 2}], "c": {"b": 3}}));
    }

    #[test]
    fn numbers_of_python_are_named_with_their_place() {
        for token in ["NaN", "Infinity", "-Infinity"] {
            let text = format!("{{\"a\": [1,\n  2],\n  \"é\": {{\"b\": {token}}}}}");
            let place =
                format!("config.json` line 3, key `é.b`: `{token}` at column 14 is not JSON");
            refused(&text, &[&place, "allow_nan=False"]);
        }
        refused("{\"a\": NaN}", &["key `a`: `NaN` at column 7"]);
        // A text is not a number, and the first fault is named.
        read("{\"a\": \"NaN\"}").unwrap();
        refused("{\"a\": 1 2, \"b\": NaN}", &["is not a JSON object", "column 9"]);
        refused("{\"a\": NaNs}", &["is not a JSON object"]);
    }

    #[test]
    fn a_text_of_any_form_ends() {
        for text in
            ["", "]", "{\"a", "{\"\\", "[1", "}}", &"[".repeat(100_000), "{\"a\" \"b\": NaN"]
        {
            assert!(read(text).is_err(), "{text:.20}");
        }
    }
}
