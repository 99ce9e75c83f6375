//! Arrays of JSON: a `.json` file that is one array, and lines that each are one.
//!
//! An element is an object (pandas' `orient="records"`), or what a pipeline of transformers returns for
//! one example with `top_k=None`: a list of `{"label": …, "score": …}`, which gives a column
//! `score_<label>` for each label.

use std::collections::HashMap;
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{bail, Result};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::Deserialize;

use super::jsonl::{CellsSeed, JsonRow, Keys, Seed};
use super::lines::{refuse_utf16, LineReader};
use super::unpack::{open_text, unreadable};
use super::{header, Cell, DataFile, RowSink, LONGEST_LIST};
use crate::error::failure;

/// Before the label in the name of a column of a pipeline's list.
const SCORE: &str = "score_";

/// Whether the first character of the text opens an array.
pub(super) fn starts_with_array(file: &DataFile) -> Result<bool> {
    let mut text = BufReader::new(open_text(file)?);
    skip_mark(file, &mut text)?;
    loop {
        let bytes = text.fill_buf().map_err(|error| unreadable(file, "at its start", error))?;
        match bytes.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(bytes[at] == b'['),
            None if bytes.is_empty() => return Ok(false),
            None => {
                let count = bytes.len();
                text.consume(count);
            }
        }
    }
}

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let mut keys = Keys::default();
    each(file, &mut ArrayPass::Keys(&mut keys), &mut |_, _| Ok(()))?;
    let (mut columns, mut labels): (Vec<String>, Vec<String>) =
        keys.ordered.into_iter().partition(|key| !key.starts_with(SCORE));
    // A pipeline sorts by score: the order of the first example says nothing.
    labels.sort_unstable();
    columns.extend(labels);
    let wanted = header(file, &columns, sink)?;
    let places: HashMap<&str, usize> =
        wanted.iter().enumerate().map(|(place, &index)| (columns[index].as_str(), place)).collect();
    let lists: Vec<bool> = wanted.iter().map(|&index| sink.wants_lists(&columns[index])).collect();
    let mut pass = ArrayPass::Rows(CellsSeed { places: &places, lists: &lists });
    each(file, &mut pass, &mut |number, row| match row.twice {
        Some(key) => {
            bail!(failure!(
                "`{key}` is there twice in one element, and which value holds is unclear"
            )
            .hint("an element, or a line, is one example: its keys and its labels are there once")
            .at(file.line(number)))
        }
        None => sink.row(file, number, row.cells),
    })
}

/// Takes the row of each element with its number, the line or the position from 1.
type TakeRow<'a> = &'a mut dyn FnMut(usize, JsonRow) -> Result<()>;

/// Reads each element: of the whole text if the file is called `.json`, otherwise of its lines.
fn each(file: &DataFile, pass: &mut ArrayPass, take: TakeRow) -> Result<()> {
    let name = file.name.to_ascii_lowercase();
    let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
    if Path::new(name).extension().is_some_and(|extension| extension == "json") {
        return whole(file, pass, take);
    }
    let mut lines = LineReader::of(file)?;
    while let Some((number, line)) = lines.next()? {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut json = serde_json::Deserializer::from_slice(line);
        let row = ElementSeed(pass).deserialize(&mut json).and_then(|row| json.end().map(|()| row));
        match row {
            Ok(row) => row.map_or(Ok(()), |row| take(number, row))?,
            Err(error) => bail!(failure!("a JSON array, and not a list of one example's labels and scores: {error}")
                .hint("a file that is one array of all examples is called `.json`; or write each on a line: jq -c '.[]'")
                .at(file.line(number))),
        }
    }
    Ok(())
}

fn whole(file: &DataFile, pass: &mut ArrayPass, take: TakeRow) -> Result<()> {
    let mut text = BufReader::with_capacity(1 << 16, open_text(file)?);
    skip_mark(file, &mut text)?;
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_reader(text);
    let elements = ArraySeed { file, pass, take, failed: &mut failed };
    let read = elements.deserialize(&mut json).and_then(|()| json.end());
    match (failed, read) {
        (Some(error), _) => Err(error),
        (None, Ok(())) => Ok(()),
        (None, Err(error)) if error.is_io() => Err(unreadable(file, "as JSON", error.into())),
        (None, Err(error)) => Err(failure!("`{}` is not one array of JSON: {error}", file.name)
            .hint("a file with one object or list a line is called `.jsonl`")
            .into()),
    }
}

fn skip_mark(file: &DataFile, text: &mut impl BufRead) -> Result<()> {
    let start = text.fill_buf().map_err(|error| unreadable(file, "at its start", error))?;
    refuse_utf16(&file.name, start)?;
    if start.starts_with(b"\xEF\xBB\xBF") {
        text.consume(3);
    }
    Ok(())
}

/// What a reading of the file is for.
enum ArrayPass<'a> {
    Keys(&'a mut Keys),
    Rows(CellsSeed<'a>),
}

/// Reads the elements of an array, each on its own.
struct ArraySeed<'s, 'p, 'a> {
    file: &'s DataFile,
    pass: &'p mut ArrayPass<'a>,
    take: TakeRow<'s>,
    /// The error of `take`, which is not one of JSON.
    failed: &'s mut Option<anyhow::Error>,
}

impl<'de> DeserializeSeed<'de> for ArraySeed<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArraySeed<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(row) = list.next_element_seed(ElementSeed(self.pass))? {
            number += 1;
            let go_on = self.file.go_on().map_err(anyhow::Error::from);
            let taken = go_on.and_then(|()| row.map_or(Ok(()), |row| (self.take)(number, row)));
            if let Err(error) = taken {
                *self.failed = Some(error);
                return Err(A::Error::custom("ended"));
            }
        }
        Ok(())
    }
}

/// Reads one element: an object, or the labels and scores of one example.
struct ElementSeed<'p, 'a>(&'p mut ArrayPass<'a>);

impl<'de> DeserializeSeed<'de> for ElementSeed<'_, '_> {
    type Value = Option<JsonRow>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// One label's score of a pipeline.
#[derive(Deserialize)]
struct LabelScore {
    label: String,
    score: f64,
}

impl<'de> Visitor<'de> for ElementSeed<'_, '_> {
    type Value = Option<JsonRow>;

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an object, or a list of {\"label\": …, \"score\": …}")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        match self.0 {
            ArrayPass::Keys(keys) => Seed(keys).visit_map(map).map(|()| None),
            ArrayPass::Rows(seed) => seed.visit_map(map).map(Some),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut scores: Vec<(String, Cell)> = Vec::new();
        while let Some(LabelScore { label, score }) = list.next_element()? {
            if scores.len() == LONGEST_LIST {
                return Err(A::Error::custom("more labels than a classifier has"));
            }
            scores.push((format!("{SCORE}{label}"), Cell::Number(score)));
        }
        if scores.is_empty() {
            return Err(A::Error::custom("an empty list"));
        }
        // The best label alone is what the pipeline gives without `top_k`.
        if let [(label, score)] = scores.as_slice() {
            let label = Cell::Text(label[SCORE.len()..].to_owned());
            scores = vec![("label".to_owned(), label), ("score".to_owned(), score.clone())];
        }
        match self.0 {
            ArrayPass::Keys(keys) => {
                scores.into_iter().for_each(|(key, _)| keys.add(key));
                Ok(None)
            }
            ArrayPass::Rows(seed) => Ok(Some(row_of(seed, scores))),
        }
    }
}

fn row_of(seed: &CellsSeed, scores: Vec<(String, Cell)>) -> JsonRow {
    let mut row = JsonRow { cells: vec![Cell::Null; seed.lists.len()], twice: None };
    for (key, score) in scores {
        let Some(&place) = seed.places.get(key.as_str()) else { continue };
        if std::mem::replace(&mut row.cells[place], score) != Cell::Null {
            row.twice.get_or_insert(key);
        }
    }
    row
}
