//! The columns of a table that tell which example a row is of: ids, indices, texts, true labels.

use std::collections::{HashMap, HashSet};

use anyhow::{bail, Result};

use crate::task::table::{Cell, DataTable};

/// A column that tells which example a row is of.
#[derive(Debug, Clone)]
pub(super) struct ExampleColumn {
    pub(super) name: String,
    /// `None` for an empty cell.
    pub(super) cells: Vec<Option<String>>,
}

pub(super) const ID: &str = "id";

/// Columns of ids in their order of preference. `idx` is GLUE's, `guid` that of older transformers.
pub const IDS: [&str; 6] = [ID, "idx", "guid", "ID", "example_id", "uid"];

/// Names under which tables number their rows. Such numbers name the example only where they were not
/// made again for rows in another order.
pub(super) const INDICES: [&str; 4] = [INDEX, "", "Unnamed: 0", "__index_level_0__"];
pub(super) const INDEX: &str = "index";

/// Columns that hold the example itself.
const TEXTS: [&str; 11] = [
    "text",
    "sentence",
    "sentence1",
    "sentence2",
    "question",
    "question1",
    "question2",
    "premise",
    "hypothesis",
    "review",
    "content",
];

/// Further names of the true label.
const LABELS: [&str; 3] = ["gold", "gold_label", "true_label"];

/// Whole numbers from here on are not exact in f64.
const INEXACT: f64 = 9_007_199_254_740_992.0; // 2^53

/// Takes the columns of a table that tell its examples apart.
///
/// # Errors
/// A column `id` that is empty somewhere, has a value twice or numbers too large to be exact.
pub(super) fn example_columns(
    table: &mut DataTable,
    texts: &[String],
) -> Result<Vec<ExampleColumn>> {
    if let Some(column) = table.column(ID) {
        require_ids(table, column)?;
    }
    let known = |name: &str| {
        let lists = [&IDS[..], &INDICES, &TEXTS, &LABELS];
        lists.iter().any(|list| list.contains(&name)) || texts.iter().any(|text| text == name)
    };
    let columns: Vec<usize> =
        (0..table.columns.len()).filter(|&column| known(&table.columns[column])).collect();
    let mut found = Vec::with_capacity(columns.len());
    for column in columns {
        let name = table.columns[column].clone();
        let is_exact = |cell: &Cell| !matches!(cell, Cell::Number(value) if value.abs() >= INEXACT);
        let is_text = |cell: &Cell| !matches!(cell, Cell::List(_) | Cell::Other(_));
        // Lists and numbers that are not exact say nothing of the example.
        if table.rows.iter().all(|row| is_text(&row.cells[column]) && is_exact(&row.cells[column]))
        {
            let cells = (0..table.rows.len()).map(|row| id_text(table, row, column));
            found.push(ExampleColumn { name, cells: cells.collect::<Result<_>>()? });
        }
        // Texts may be long, and nothing else reads them.
        table.rows.iter_mut().for_each(|row| row.cells[column] = Cell::Null);
    }
    Ok(found)
}

/// A cell as text; NaN, with which pandas fills gaps, is an empty one.
fn id_text(table: &DataTable, row: usize, column: usize) -> Result<Option<String>> {
    match table.rows[row].cells[column] {
        Cell::Number(value) if value.is_nan() => Ok(None),
        _ => table.text(row, column),
    }
}

fn require_ids(table: &DataTable, column: usize) -> Result<()> {
    let mut first: HashMap<String, usize> = HashMap::with_capacity(table.rows.len());
    for row in 0..table.rows.len() {
        if matches!(table.rows[row].cells[column], Cell::Number(value) if value.abs() >= INEXACT) {
            bail!(table
                .wrong(row, column, "an id of this size is not exact as a number")
                .hint("write the ids as text, in quotes"));
        }
        let id =
            id_text(table, row, column)?.ok_or_else(|| table.wrong(row, column, "it is empty"))?;
        if let Some(other) = first.insert(id.clone(), row) {
            let twice = format!("the id `{id}` is also in {}", table.place(other));
            bail!(table.wrong(row, column, twice));
        }
    }
    Ok(())
}

/// Whether two cells hold different texts, but for spaces and case. An empty one says nothing.
pub(super) fn apart(t: Option<&String>, s: Option<&String>) -> bool {
    let words = |text: &str| text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>();
    t.zip(s).is_some_and(|(t, s)| t != s && words(t) != words(s))
}

/// A column's name for a message.
pub(super) fn shown_name(name: &str) -> String {
    match name {
        "" => "the column without a name (the index of pandas)".to_owned(),
        name => format!("column `{name}`"),
    }
}

/// The beginning of a long text.
pub(super) fn cut(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl ExampleColumn {
    /// Its values if every row has another; `None` if one is empty or twice.
    pub(super) fn values(&self) -> Option<HashSet<&str>> {
        let values: HashSet<&str> =
            self.cells.iter().map(Option::as_deref).collect::<Option<_>>()?;
        (values.len() == self.cells.len()).then_some(values)
    }

    /// The first row that is of another example than the same row of `other`, if the column tells
    /// examples apart.
    pub(super) fn first_of_another_example(&self, other: &Self, by_row: bool) -> Option<usize> {
        let name = self.name.as_str();
        let cells = || self.cells.iter().zip(&other.cells);
        let first = cells().position(|(t, s)| apart(t.as_ref(), s.as_ref()))?;
        if IDS.contains(&name) {
            // After a join by another column, ids may be those of a run.
            return Some(first).filter(|_| by_row);
        }
        if INDICES.contains(&name) {
            // One of numbers that occur once was weighed before; of a part, it names other rows.
            let repeats = self.values().is_none();
            return Some(first).filter(|_| by_row && repeats && self.sorted() == other.sorted());
        }
        if LABELS.contains(&name) {
            // The same labels may be written by name and by id.
            return Some(first).filter(|_| self.distinct() == other.distinct());
        }
        // One of the two may be cut or cleaned. Rows in another order have the text of another row,
        // and other data have other texts.
        let known = self.distinct();
        let moved = |(t, s): (&Option<String>, &Option<String>)| {
            apart(t.as_ref(), s.as_ref()) && s.as_deref().is_some_and(|s| known.contains(s))
        };
        let count = cells().filter(|(t, s)| apart(t.as_ref(), s.as_ref())).count();
        let is_other_data = 2 * count > self.cells.len();
        cells().position(moved).or(Some(first).filter(|_| is_other_data))
    }

    fn distinct(&self) -> HashSet<&str> {
        self.cells.iter().flatten().map(String::as_str).collect()
    }

    /// Its values in order.
    fn sorted(&self) -> Vec<Option<&str>> {
        let mut cells: Vec<Option<&str>> = self.cells.iter().map(Option::as_deref).collect();
        cells.sort_unstable();
        cells
    }

    /// The first value that is there again, and both rows.
    pub(super) fn first_twice(&self) -> Option<(&str, usize, usize)> {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        self.cells.iter().enumerate().find_map(|(row, cell)| {
            let value = cell.as_deref()?;
            rows.insert(value, row).map(|first| (value, first, row))
        })
    }
}
