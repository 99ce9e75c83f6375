//! NumPy's arrays: one in a `.npy` file, several in a `.npz` archive.
//!
//! The first axis has the examples. An array of two axes (N, K) gives K columns, one of one axis (N)
//! gives one. In an archive the columns are named after the array, in the singular: `logits` gives
//! `logit_0`, `logit_1`, …, `labels` gives `label`. The columns of a `.npy` file are `0`, `1`, …, and so
//! are those of `predictions`, as which `Trainer.predict` of transformers returns a model's outputs.

use std::fmt::Display;
use std::io::{BufReader, Chain, Cursor, Read};

use anyhow::{bail, ensure, Context, Error, Result};
use half::f16;
use npyz::npz::array_name_from_file_name;
use npyz::{DType, Deserialize, NpyFile, Order, TypeChar, TypeStr};
use zip::ZipArchive;

use super::lines::refuse_twins;
use super::{header, open, Cell, DataFile, DataFormat, RowSink};
use crate::error::{failure, guarded};

/// Elements that the arrays of a small file may always have.
const FLOOR: u64 = 4 << 20;
/// Elements for each byte of a larger file. An archive may be compressed.
const ELEMENTS_PER_BYTE: u64 = 16;
/// Bytes of an archive's arrays in memory: these, and [`BYTES_PER_BYTE`] for each of the file.
const FLOOR_OF_BYTES: u64 = 64 << 20;
const BYTES_PER_BYTE: u64 = 100;
/// Maximum length of an array's header; one of two axes takes 128 bytes.
const LONGEST_HEADER: usize = 1 << 16;

/// The bytes that an archive starts with.
const ARCHIVE: &[u8] = b"PK";
/// The bytes that an array starts with.
const ARRAY: &[u8] = b"\x93NUMPY";

/// The columns of arrays with one number of rows.
struct Arrays {
    columns: Vec<(String, ArrayColumn)>,
    cells: Vec<Vec<Cell>>,
    /// The first array with its number of rows.
    first: Option<(String, u64)>,
    /// Elements that further arrays may have.
    room: u64,
}

/// Where the elements of a column lie in an array.
struct ArrayColumn {
    array: usize,
    first: usize,
    step: usize,
}

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    require_content(file)?;
    let size = file.input.stamp().size;
    let room = size.saturating_mul(ELEMENTS_PER_BYTE).max(FLOOR);
    let mut arrays = Arrays { columns: Vec::new(), cells: Vec::new(), first: None, room };
    let what = || format!("`{}`", file.name);
    guarded(what, || match file.format {
        DataFormat::Npz => archive(file, &mut arrays),
        _ => arrays.add(file, "", open(file)?),
    })?;
    let names: Vec<String> = arrays.columns.iter().map(|(name, _)| name.clone()).collect();
    refuse_twins(&file.name, &names)?;
    let wanted = header(file, &names, sink)?;
    let rows = arrays.first.as_ref().map_or(0, |(_, rows)| *rows as usize);
    for row in 0..rows {
        file.go_on()?;
        let cell = |&index: &usize| {
            let (_, column) = &arrays.columns[index];
            arrays.cells[column.array][column.first + row * column.step].clone()
        };
        sink.row(file, row + 1, wanted.iter().map(cell).collect())?;
    }
    Ok(())
}

fn archive(file: &DataFile, arrays: &mut Arrays) -> Result<()> {
    let mut archive = ZipArchive::new(BufReader::new(open(file)?)).map_err(|e| damaged(file, e))?;
    let size = file.input.stamp().size;
    let mut room = size.saturating_mul(BYTES_PER_BYTE).saturating_add(FLOOR_OF_BYTES);
    for index in 0..archive.len() {
        file.go_on()?;
        let entry = archive.by_index(index).map_err(|e| damaged(file, e))?;
        let path = entry.name().map_err(|e| damaged(file, e))?.into_owned();
        let Some(name) = array_name_from_file_name(&path) else { continue };
        let Some(left) = room.checked_sub(entry.size()) else {
            bail!(failure!("the arrays of `{}` unpack to more than its size allows", file.name)
                .hint("save them without compression if they are real: np.savez"));
        };
        room = left;
        let size = entry.size();
        arrays.add(file, name, entry.take(size))?;
    }
    ensure!(arrays.first.is_some(), "`{}` holds no array", file.name);
    Ok(())
}

impl Arrays {
    /// Adds the columns of the array `name`; without a name for one that is alone in its file.
    fn add<R: Read>(&mut self, file: &DataFile, name: &str, bytes: R) -> Result<()> {
        let called = || match name {
            "" => format!("`{}`", file.name),
            name => format!("the array `{name}` of `{}`", file.name),
        };
        let array = open_array(file, BufReader::new(bytes))?;
        let (shape, order) = (array.shape().to_vec(), array.order());
        let columns = match shape.as_slice() {
            [_] => 1,
            [_, columns] if *columns > 0 => *columns,
            [_, _] => bail!("{} has no column: its shape is {shape:?}", called()),
            _ => bail!(failure!("{} has {} axes", called(), shape.len())
                .hint("an array of a table has one axis, or two: examples and labels")),
        };
        let rows = shape[0];
        let (first, count) = self.first.get_or_insert_with(|| (name.to_owned(), rows));
        if *count != rows {
            bail!(failure!("{} has {rows} rows, and `{first}` has {count}", called())
                .hint("the first axis of every array is that of the examples"));
        }
        let elements = rows.checked_mul(columns).filter(|elements| *elements <= self.room);
        let Some(elements) = elements else {
            bail!(failure!("{} announces {rows} × {columns} elements", called())
                .hint("that is more than a file of this size holds; it is damaged"));
        };
        self.room -= elements;
        let cells = cells(array, file, &called())?;
        ensure!(cells.len() as u64 == elements, "{} ends early", called());
        let (rows, columns) = (rows as usize, columns as usize);
        for column in 0..columns {
            let (first, step) = match order {
                Order::C => (column, columns),
                Order::Fortran => (column * rows, 1),
            };
            let name = match (column_name(name), shape.len()) {
                ("", _) => column.to_string(),
                (name, 1) => name.to_owned(),
                (name, _) => format!("{name}_{column}"),
            };
            self.columns.push((name, ArrayColumn { array: self.cells.len(), first, step }));
        }
        self.cells.push(cells);
        Ok(())
    }
}

/// An array after its header, whose announced length is checked first.
fn open_array<R: Read>(
    file: &DataFile,
    mut bytes: R,
) -> Result<NpyFile<Chain<Cursor<Vec<u8>>, R>>> {
    let mut head = vec![0; 12];
    bytes.read_exact(&mut head).map_err(|e| damaged(file, e))?;
    let length = match head[6] {
        0 | 1 => u32::from(u16::from_le_bytes([head[8], head[9]])),
        _ => u32::from_le_bytes([head[8], head[9], head[10], head[11]]),
    };
    if length as usize > LONGEST_HEADER {
        return Err(damaged(file, format!("its header announces {length} bytes")));
    }
    NpyFile::new(Cursor::new(head).chain(bytes)).map_err(|e| damaged(file, e))
}

/// The name of an array's columns, without the label.
fn column_name(array: &str) -> &str {
    match array {
        "logits" => "logit",
        "probabilities" | "probs" => "probability",
        "labels" | "label_ids" | "y_true" => "label",
        "ids" => "id",
        "predictions" => "",
        other => other,
    }
}

/// The elements in the order of the file.
///
/// # Errors
/// A type that is neither number, truth value nor text; a file that ends early.
fn cells<R: Read>(array: NpyFile<R>, file: &DataFile, called: &str) -> Result<Vec<Cell>> {
    let DType::Plain(kind) = array.dtype() else {
        bail!(failure!("{called} has records of several fields")
            .hint("save each field as an array of its own: np.savez(FILE, logits=…, labels=…)"));
    };
    let size = kind.size_field();
    let number = |value: f64| Cell::Number(value);
    let read = match (kind.type_char(), size) {
        (TypeChar::Float, 2) => of(array, |value: f16| number(value.to_f64())),
        (TypeChar::Float, 4) => of(array, |value: f32| number(value.into())),
        (TypeChar::Float, 8) => of(array, number),
        (TypeChar::Int, 1) => of(array, |value: i8| Cell::Integer(value.into())),
        (TypeChar::Int, 2) => of(array, |value: i16| Cell::Integer(value.into())),
        (TypeChar::Int, 4) => of(array, |value: i32| Cell::Integer(value.into())),
        (TypeChar::Int, 8) => of(array, Cell::Integer),
        (TypeChar::Uint, 1) => of(array, |value: u8| Cell::Integer(value.into())),
        (TypeChar::Uint, 2) => of(array, |value: u16| Cell::Integer(value.into())),
        (TypeChar::Uint, 4) => of(array, |value: u32| Cell::Integer(value.into())),
        (TypeChar::Uint, 8) => of(array, |value: u64| {
            i64::try_from(value).map_or(Cell::Other("a number out of range"), Cell::Integer)
        }),
        (TypeChar::Bool, _) => of(array, Cell::Bool),
        // One text takes as much memory as the longest.
        (TypeChar::UnicodeStr | TypeChar::ByteStr, ..=LONGEST_TEXT) => of(array, Cell::Text),
        _ => return Err(unreadable(called, &kind)),
    };
    read.map_err(|error| damaged(file, error))
}

/// Characters of the longest text of an array.
const LONGEST_TEXT: u64 = 1 << 16;

fn unreadable(called: &str, kind: &TypeStr) -> Error {
    let hint = match kind.type_char() {
        TypeChar::Object => {
            "they are Python objects, which only Python can read; save numbers: \
             np.save(FILE, np.stack(array).astype(np.float32))"
        }
        _ => "save them as float32, float64, int64 or text",
    };
    failure!("the elements of {called} have the type `{kind}`, which is not read").hint(hint).into()
}

fn of<R: Read, T: Deserialize>(
    array: NpyFile<R>,
    cell: impl Fn(T) -> Cell,
) -> std::io::Result<Vec<Cell>> {
    let values = array.data::<T>().map_err(std::io::Error::other)?;
    values.map(|value| Ok(cell(value?))).collect()
}

/// Refuses an archive under the name of an array, and the other way round.
fn require_content(file: &DataFile) -> Result<()> {
    let mut head = Vec::new();
    open(file)?
        .take(ARRAY.len() as u64)
        .read_to_end(&mut head)
        .with_context(|| format!("cannot read `{}`", file.name))?;
    let (is_archive, is_array) = (head.starts_with(ARCHIVE), head == ARRAY);
    match (file.format, is_archive, is_array) {
        (DataFormat::Npz, true, _) | (DataFormat::Npy, _, true) => Ok(()),
        (DataFormat::Npy, true, _) => {
            bail!(failure!("`{}` is an archive of arrays", file.name).hint("name it `….npz`"))
        }
        (_, _, true) => bail!(failure!("`{}` is one array", file.name).hint("name it `….npy`")),
        _ => bail!(failure!("`{}` holds no array of NumPy", file.name)
            .hint("it is cut short, damaged or of another format; save it again with np.save")),
    }
}

fn damaged(file: &DataFile, error: impl Display) -> Error {
    failure!("`{}` cannot be read as NumPy's format: {error}", file.name)
        .hint("it is cut short or damaged; save it again with np.save or np.savez")
        .into()
}
