//! Reads files of any format as rows of cells.
//!
//! Each format is one file here. [`read`] passes the header to a [`RowSink`], which selects columns,
//! and then the rows. An unusable row is reported to the sink, which decides whether to skip it; an
//! error of the file ends the reading.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};

use crate::error::{failure, FileLocation, Interrupted};
use crate::input::InputFile;
use crate::interrupt::Interrupt;

mod arrow;
mod csv;
mod jsonl;
mod json_arrays;
mod lines;
mod numpy;
mod parquet;
mod separators;
mod tsv;
mod unpack;

pub(crate) use separators::{refuse_other_separator, with_decimal_point};
pub(crate) use unpack::OuterCompression;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataFormat {
    /// Tab-separated without quoting, as GLUE's official release: a `"` is data.
    Tsv,
    /// Comma-separated, fields quoted where they need it (RFC 4180).
    Csv,
    /// One JSON object a line, or an array of objects.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// One array of NumPy.
    Npy,
    /// Several arrays of NumPy.
    Npz,
    /// Arrow IPC, a stream or a file.
    Arrow,
}

impl DataFormat {
    /// The format by a file's extension: the one before `.gz` or `.zst`, if it ends so.
    pub fn of(path: &Path) -> Option<DataFormat> {
        let unpacked = OuterCompression::of(path).map(|_| path.with_extension(""));
        let path = unpacked.as_deref().unwrap_or(path);
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "tsv" | "txt" => DataFormat::Tsv,
            "csv" => DataFormat::Csv,
            "jsonl" | "ndjson" | "json" => DataFormat::Jsonl,
            "parquet" => DataFormat::Parquet,
            "npy" => DataFormat::Npy,
            "npz" => DataFormat::Npz,
            "arrow" | "feather" => DataFormat::Arrow,
            _ => return None,
        })
    }

    /// Whether it is text, which may be compressed as a whole.
    fn is_text(self) -> bool {
        matches!(self, DataFormat::Tsv | DataFormat::Csv | DataFormat::Jsonl)
    }
}

/// One value of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// The row ends before this column.
    Missing,
    /// Null; in JSONL also a missing key.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number of a typed format.
    Integer(i64),
    /// Any other number of a typed format.
    Number(f64),
    /// Text; every cell of a TSV or CSV file.
    Text(String),
    /// A list of numbers, of a column whose lists the sink wants.
    List(Vec<f64>),
    /// An unsupported value: any other list, a date, bytes that are not text.
    Other(&'static str),
}

impl Cell {
    /// Its text; whole numbers have no decimal point, so that ids agree between formats. `None` for
    /// nothing, and for a list or the like.
    pub fn text(&self) -> Option<String> {
        match self {
            Cell::Missing | Cell::Null | Cell::List(_) | Cell::Other(_) => None,
            Cell::Bool(value) => Some(value.to_string()),
            Cell::Integer(value) => Some(value.to_string()),
            Cell::Number(value) => Some(value.to_string()),
            Cell::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        }
    }

    /// A typed number.
    fn as_number(&self) -> Option<f64> {
        match self {
            Cell::Integer(value) => Some(*value as f64),
            Cell::Number(value) => Some(*value),
            _ => None,
        }
    }

    /// The cell's kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Cell::Missing => "nothing: the row ends before it",
            Cell::Null => "null, or is missing",
            Cell::Bool(_) => "true or false",
            Cell::Integer(_) | Cell::Number(_) => "a number",
            Cell::Text(_) => "text",
            Cell::List(_) => "a list",
            Cell::Other(kind) => kind,
        }
    }
}

/// One file to read.
#[derive(Debug, Clone)]
pub(crate) struct DataFile {
    /// The open file.
    pub(crate) input: InputFile,
    /// Its name in messages: its path, or `hub id/file`.
    pub(crate) name: String,
    pub(crate) format: DataFormat,
    /// How the whole file is compressed.
    pub(crate) compression: Option<OuterCompression>,
    /// The columns if the file has no header line (TSV only).
    pub(crate) headerless: Option<&'static [&'static str]>,
    /// Ends the reading between two rows.
    pub(crate) interrupt: Interrupt,
}

impl DataFile {
    /// Called before each row.
    fn go_on(&self) -> Result<(), Interrupted> {
        self.interrupt.check(|| format!("reading `{}`", self.name))
    }

    /// The location of a line, counted from 1.
    pub(crate) fn line(&self, line: usize) -> FileLocation {
        FileLocation { file: self.name.clone(), line: Some(line), ..FileLocation::default() }
    }

    /// The location of the cell at `index` of a line, where its column is known.
    fn cell(&self, line: usize, columns: &[String], index: usize) -> FileLocation {
        FileLocation { column: columns.get(index).cloned(), ..self.line(line) }
    }
}

/// The header of a file.
pub(crate) struct TableHeader<'a> {
    pub(crate) columns: &'a [String],
    /// Column → names of its ids, as Hugging Face stores them in Parquet and Arrow files.
    pub(crate) class_names: &'a BTreeMap<String, Vec<String>>,
}

/// Numbers of a list; a longer one is not read.
const LONGEST_LIST: usize = super::labels::MOST_LABELS;

/// Takes the rows of a file.
pub(crate) trait RowSink {
    /// Whether a column's lists of numbers are read. Others are [`Cell::Other`].
    fn wants_lists(&self, _column: &str) -> bool {
        false
    }

    /// Takes the columns, once per file, and returns the indices of those it wants.
    fn header(&mut self, file: &DataFile, header: &TableHeader) -> Result<Vec<usize>>;
    /// Takes one row: the wanted cells in the wanted order. `line` counts from 1 (rows in Parquet).
    fn row(&mut self, file: &DataFile, line: usize, cells: Vec<Cell>) -> Result<()>;
    /// Takes the reason why a row cannot be read.
    fn broken(&mut self, file: &DataFile, line: usize, reason: String) -> Result<()>;
}

/// Reads one file into `sink`.
pub(crate) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    refuse_other_content(file)?;
    match file.format {
        DataFormat::Tsv => tsv::read(file, sink),
        DataFormat::Csv => csv::read(file, sink),
        DataFormat::Jsonl => jsonl::read(file, sink),
        DataFormat::Parquet => parquet::read(file, sink),
        DataFormat::Npy | DataFormat::Npz => numpy::read(file, sink),
        DataFormat::Arrow => arrow::read(file, sink),
    }
}

fn open(file: &DataFile) -> Result<File> {
    file.input.reader().with_context(|| format!("cannot read `{}`", file.name))
}

/// Refuses Git LFS pointers in place of files, and files compressed otherwise than their names say.
fn refuse_other_content(file: &DataFile) -> Result<()> {
    const POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
    let mut head = Vec::new();
    open(file)?
        .take(POINTER.len() as u64)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read `{}`", file.name))?;
    if head == POINTER {
        bail!(failure!("`{}` is a Git LFS pointer, not the data itself", file.name).hint(
            "run `git lfs pull` in the repository it comes from, or download the file itself"
        ));
    }
    unpack::refuse_other_packing(file, &head)
}

/// Gives the columns of a text to `sink`; returns those that it wants. Where it does not find them,
/// another separator is the likely reason.
fn header(file: &DataFile, columns: &[String], sink: &mut dyn RowSink) -> Result<Vec<usize>> {
    let wanted = sink.header(file, &TableHeader { columns, class_names: &BTreeMap::new() });
    if wanted.is_err() {
        refuse_other_separator(file, columns)?;
    }
    wanted
}

/// The wanted fields of a row of text, or why the row cannot be used.
fn pick(fields: &[&str], wanted: &[usize], columns: usize) -> Result<Vec<Cell>, String> {
    if fields.len() > columns && fields[columns..].iter().any(|field| !field.is_empty()) {
        return Err(separators::too_many(fields, columns));
    }
    let cell = |&index: &usize| match fields.get(index) {
        Some(field) => Cell::Text((*field).to_owned()),
        None => Cell::Missing,
    };
    Ok(wanted.iter().map(cell).collect())
}

fn empty(file: &DataFile) -> anyhow::Error {
    anyhow::anyhow!("`{}` is empty", file.name)
}
