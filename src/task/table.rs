//! Tables of named columns with typed cells, for `audit check`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use super::files::expand;
use super::labels::{listed, LabelReader};
use super::readers::{
    self, refuse_other_separator, DataFile, DataFormat, OuterCompression, RowSink, TableHeader,
};
use crate::error::{failure, Diagnostic, FileLocation};
use crate::input::{sha256_of_inputs, InputFile};
use crate::interrupt::Interrupt;

pub use super::readers::Cell;

mod saved;
#[cfg(test)]
mod tests;

/// The rows of one or more files with the same columns, in the order of the files.
#[derive(Debug, Clone)]
pub struct DataTable {
    /// Column names, in the first file's order.
    pub columns: Vec<String>,
    /// Column → names of its ids, as the files' metadata has them.
    pub class_names: BTreeMap<String, Vec<String>>,
    /// Every row has a cell for every column.
    pub rows: Vec<TableRow>,
    /// The files read, in order.
    pub files: Vec<InputFile>,
    /// SHA-256 of the bytes of `files`, in order, as lower-case hexadecimal digits.
    pub sha256: String,
}

/// One row and its position.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    /// Index into [`DataTable::files`].
    pub file: usize,
    /// 1-based line (text formats) or row (Parquet).
    pub line: usize,
    /// One per column of the table.
    pub cells: Vec<Cell>,
}

impl DataTable {
    /// The index of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// The file and line of a row.
    pub fn place(&self, row: usize) -> FileLocation {
        let TableRow { file, line, .. } = self.rows[row];
        let file = self.files[file].name().to_owned();
        FileLocation { file, line: Some(line), ..FileLocation::default() }
    }

    /// A cell as a number; `None` for null or an empty field. NaN and infinities are numbers.
    ///
    /// # Errors
    /// Naming file, line and column of a cell that holds anything else.
    pub fn number(&self, row: usize, column: usize) -> Result<Option<f64>> {
        match &self.rows[row].cells[column] {
            Cell::Null | Cell::Missing => Ok(None),
            Cell::Integer(value) => Ok(Some(*value as f64)),
            Cell::Number(value) => Ok(Some(*value)),
            Cell::Text(text) if text.trim().is_empty() => Ok(None),
            Cell::Text(text) => match text.trim().parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.no_number(row, column, text).into()),
            },
            other => bail!(self.wrong(row, column, format!("{} is not a number", other.kind()))),
        }
    }

    fn no_number(&self, row: usize, column: usize, text: &str) -> Diagnostic {
        let wrong = self.wrong(row, column, format!("`{text}` is not a number"));
        match readers::with_decimal_point(text) {
            Some(point) => wrong.hint(format!(
                "write a decimal point: {point} (pandas: `to_csv` without `decimal=\",\"`)"
            )),
            None => wrong,
        }
    }

    /// A cell as text; `None` for null or an empty field. Whole numbers have no decimal point, so
    /// that ids agree between formats.
    ///
    /// # Errors
    /// Naming file, line and column of a cell that holds a list or the like.
    pub fn text(&self, row: usize, column: usize) -> Result<Option<String>> {
        match &self.rows[row].cells[column] {
            cell @ (Cell::List(_) | Cell::Other(_)) => {
                let kind = cell.kind();
                bail!(self.wrong(row, column, format!("{kind} is neither text nor number")))
            }
            cell => Ok(cell.text()),
        }
    }

    /// A cell as a label id; `None` for null, an empty field or -1.
    ///
    /// # Errors
    /// Naming file, line and column of a cell that is not a label of the reader's task.
    pub fn label(&self, row: usize, column: usize, labels: &LabelReader) -> Result<Option<u32>> {
        let label = labels.read(&self.rows[row].cells[column]);
        Ok(label.map_err(|wrong| wrong.at(self.cell(row, column)))?)
    }

    /// An error about one cell, with file, line and column.
    pub fn wrong(&self, row: usize, column: usize, what: impl Into<String>) -> Diagnostic {
        Diagnostic::failure(what).at(self.cell(row, column))
    }

    fn cell(&self, row: usize, column: usize) -> FileLocation {
        FileLocation { column: Some(self.columns[column].clone()), ..self.place(row) }
    }
}

/// Reads files (TSV, CSV, JSONL, Parquet, Arrow, NumPy, by extension) as one table.
///
/// # Errors
/// A file that cannot be read, a row with too few or too many fields, files with different columns
/// (their order may differ), or an interrupt.
pub fn read_table<P: AsRef<Path>>(paths: &[P], interrupt: &Interrupt) -> Result<DataTable> {
    let mut builder = Builder { most_cells: FLOOR_OF_CELLS, ..Builder::default() };
    let mut files = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let path = path.as_ref();
        let name = path.display().to_string();
        let Some(format) = DataFormat::of(path) else {
            bail!(failure!("`{name}`: its extension does not determine its format").hint(
                "a table is a .csv, .tsv, .json, .jsonl, .parquet, .arrow, .feather, .npy or .npz file; \
                 text may be compressed as .gz or .zst"
            ));
        };
        let compression = OuterCompression::of(path);
        builder.file = index;
        let input = InputFile::open(path)?;
        let cells = input.stamp().size.saturating_mul(cells_per_byte(format, compression));
        builder.most_cells = builder.most_cells.saturating_add(cells);
        let interrupt = interrupt.clone();
        let file = DataFile { input, name, format, compression, headerless: None, interrupt };
        readers::read(&file, &mut builder)?;
        files.push(file.input);
    }
    let sha256 = sha256_of_inputs(&files)?;
    files.iter().try_for_each(InputFile::require_unchanged)?;
    let Builder { columns, class_names, rows, .. } = builder;
    Ok(DataTable { columns, class_names, rows, files, sha256 })
}

/// The files that match paths and patterns (`*`, `?`, `[ab]`, `**`): each pattern's files in natural
/// order (`part-2` before `part-10`), the patterns in the order given. A folder of `save_to_disk` is its
/// data files in their order.
///
/// # Errors
/// A pattern that matches no file, or two that match the same.
pub fn expand_patterns<S: AsRef<str>>(patterns: &[S]) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for pattern in patterns {
        let pattern = pattern.as_ref();
        let path = Path::new(pattern);
        let matched = match path {
            path if path.is_file() => vec![path.to_owned()],
            path if path.is_dir() => saved::files(path)?,
            path => expand(path)?,
        };
        if matched.is_empty() {
            bail!(failure!("there is no file `{pattern}`")
                .hint("a path, or a pattern in quotes: 'logits-*.parquet'"));
        }
        if let Some(twice) = matched.iter().find(|file| files.contains(file)) {
            bail!("`{}` is named twice: its rows would count double", twice.display());
        }
        files.extend(matched);
    }
    Ok(files)
}

#[derive(Default)]
struct Builder {
    columns: Vec<String>,
    class_names: BTreeMap<String, Vec<String>>,
    rows: Vec<TableRow>,
    /// Index of the file being read.
    file: usize,
    /// Cells of all rows.
    cells: u64,
    /// The limit of `cells`. JSONL and Parquet need no byte for an empty cell.
    most_cells: u64,
}

/// Names of columns that hold the numbers of all labels as a list.
pub(crate) const LIST_COLUMNS: [&str; 9] = [
    "logits",
    "logit",
    "probabilities",
    "probability",
    "probas",
    "probs",
    "scores",
    "predictions",
    "prediction",
];

/// Cells that a small table may always have.
const FLOOR_OF_CELLS: u64 = 4 << 20;

/// Cells for each byte of a large file. In Parquet a column with few different values takes some bits a
/// row, or none; compressed text may be as dense. A cell takes 24 bytes of memory and its text.
fn cells_per_byte(format: DataFormat, compression: Option<OuterCompression>) -> u64 {
    match (format, compression) {
        (DataFormat::Parquet | DataFormat::Npz | DataFormat::Arrow, _) | (_, Some(_)) => 16,
        (DataFormat::Tsv | DataFormat::Csv | DataFormat::Jsonl | DataFormat::Npy, None) => 1,
    }
}

impl RowSink for Builder {
    fn wants_lists(&self, column: &str) -> bool {
        LIST_COLUMNS.contains(&column)
    }

    fn header(&mut self, file: &DataFile, header: &TableHeader) -> Result<Vec<usize>> {
        refuse_other_separator(file, header.columns)?;
        if self.file == 0 {
            self.columns = header.columns.to_vec();
        }
        if self.class_names.is_empty() && self.file == 0 {
            self.class_names = header.class_names.clone();
        } else if self.class_names != *header.class_names {
            bail!(failure!(
                "`{}` names the ids of its labels otherwise than the file before it",
                file.name
            )
            .hint("write the files of one table by one data set"));
        }
        let mut places: HashMap<&String, usize> = HashMap::new();
        for (index, column) in header.columns.iter().enumerate() {
            places.entry(column).or_insert(index);
        }
        let index = |name: &String| places.get(name).copied();
        let order: Option<Vec<usize>> = self.columns.iter().map(index).collect();
        match order {
            Some(order) if order.len() == header.columns.len() => Ok(order),
            _ => bail!(failure!(
                "`{}` has the columns [{}], the file before it [{}]",
                file.name,
                listed(header.columns),
                listed(&self.columns)
            )
            .hint("files of one table have the same columns")),
        }
    }

    fn row(&mut self, file: &DataFile, line: usize, cells: Vec<Cell>) -> Result<()> {
        if let Some(missing) = cells.iter().position(|cell| *cell == Cell::Missing) {
            let column = &self.columns[missing];
            return self.broken(file, line, format!("the row ends before column `{column}`"));
        }
        let size = |cell: &Cell| if let Cell::List(list) = cell { list.len() } else { 1 };
        self.cells += cells.iter().map(size).sum::<usize>() as u64;
        if self.cells > self.most_cells {
            bail!(failure!(
                "the table has more than {} cells, the limit for files of this size",
                self.most_cells
            )
            .hint("each row has a cell for every column of the file; leave unused columns out")
            .at(file.line(line)));
        }
        self.rows.push(TableRow { file: self.file, line, cells });
        Ok(())
    }

    fn broken(&mut self, file: &DataFile, line: usize, reason: String) -> Result<()> {
        bail!(Diagnostic::failure(reason).at(file.line(line)))
    }
}
