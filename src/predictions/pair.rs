//! Teacher and student over the same examples: joined by a column of ids, else by row.

use std::collections::{HashMap, HashSet};

use anyhow::{bail, Context, Result};

use super::read::{read_predictions, PredictionFile, PredictionOptions};
use crate::error::{failure, Diagnostic};
use crate::task::table::{Cell, DataTable};

/// Both models' predictions.
#[derive(Debug, Clone)]
pub struct PredictionPair {
    /// The teacher's, in the order of its rows.
    pub teacher: PredictionFile,
    /// The student's, in the teacher's order.
    pub student: PredictionFile,
    /// How the rows were matched.
    pub joined: JoinedBy,
}

/// How the rows of two tables were matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinedBy {
    /// By the values of the column of that name, unique in each table.
    Column(String),
    /// In order.
    Rows,
}

/// A column that tells which example a row is of.
#[derive(Debug, Clone)]
pub(super) struct ExampleColumn {
    name: String,
    /// `None` for an empty cell.
    cells: Vec<Option<String>>,
}

/// Columns of ids, the first that both tables have before the others. `idx` is GLUE's, `guid` that of
/// older transformers.
const ID: &str = "id";
const IDS: [&str; 7] = [ID, "idx", "guid", "ID", "example_id", "uid", "index"];

/// The names under which the index of pandas is written. It numbers rows anew where it was reset, so
/// it joins only tables with the same values.
const PANDAS_INDEX: [&str; 3] = ["", "Unnamed: 0", "__index_level_0__"];

/// Columns that hold the example itself.
const TEXTS: [&str; 12] = [
    "text",
    "sentence",
    "sentence1",
    "sentence2",
    "question",
    "question1",
    "question2",
    "premise",
    "hypothesis",
    "input",
    "review",
    "content",
];

/// Further names of the true label.
const LABELS: [&str; 5] = ["labels", "gold", "gold_label", "target", "true_label"];

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
        let lists = [&IDS[..], &PANDAS_INDEX, &TEXTS, &LABELS];
        lists.iter().any(|list| list.contains(&name)) || texts.iter().any(|text| text == name)
    };
    let columns: Vec<usize> =
        (0..table.columns.len()).filter(|&column| known(&table.columns[column])).collect();
    let mut found = Vec::with_capacity(columns.len());
    for column in columns {
        let name = table.columns[column].clone();
        let is_exact = |cell: &Cell| !matches!(cell, Cell::Number(value) if value.abs() >= INEXACT);
        let is_text = |cell: &Cell| !matches!(cell, Cell::Other(_));
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

/// Teacher and student over the same examples, in the teacher's order: joined by the first column of
/// ids that both have, otherwise by row.
///
/// # Errors
/// Those of [`read_predictions`]; different examples or numbers of them; true labels, texts or ids
/// that contradict the join; an interrupt.
pub fn read_pair(
    teacher: &[String],
    student: &[String],
    options: &PredictionOptions,
) -> Result<PredictionPair> {
    let mut teacher = read_predictions("teacher", teacher, options)?;
    let names = teacher.label_names.clone();
    let of_student = PredictionOptions { labels: &names, ..*options };
    let mut student = read_predictions("student", student, &of_student)?;
    options.label_map.check_used(&teacher.own_labels, &student.own_labels)?;
    let joined = match common_ids(&teacher, &student) {
        Some((wanted, given)) => {
            let order = order_of_student(wanted, given, &teacher, &student)?;
            let joined = JoinedBy::Column(wanted.name.clone());
            student = student.reordered(&order);
            joined
        }
        None => {
            require_same_count(&teacher, &student)?;
            JoinedBy::Rows
        }
    };
    if joined != JoinedBy::Column(ID.to_owned()) {
        refuse_other_examples(&teacher, &student, &joined)?;
    }
    if joined == JoinedBy::Rows {
        refuse_same_ids_in_another_order(&teacher, &student)?;
    }
    take_labels(&mut teacher, &student, &joined)?;
    Ok(PredictionPair { teacher, student, joined })
}

/// The columns of both tables that join them.
fn common_ids<'a>(
    teacher: &'a PredictionFile,
    student: &'a PredictionFile,
) -> Option<(&'a ExampleColumn, &'a ExampleColumn)> {
    let of_both = |name: &&str| Some((teacher.example(name)?, student.example(name)?));
    let unique =
        |(t, s): &(&ExampleColumn, &ExampleColumn)| t.values().is_some() && s.values().is_some();
    let mut ids = IDS.iter().filter_map(of_both).filter(unique);
    ids.next().or_else(|| {
        let mut indices = PANDAS_INDEX.iter().filter_map(of_both).filter(unique);
        indices.find(|(t, s)| t.values() == s.values() && t.cells != s.cells)
    })
}

fn require_same_count(teacher: &PredictionFile, student: &PredictionFile) -> Result<()> {
    let counts = [teacher.labels.len(), student.labels.len()];
    if counts[0] == counts[1] {
        return Ok(());
    }
    bail!(failure!(
        "the teacher's predictions have {} rows, and the student's {}",
        counts[0],
        counts[1]
    )
    .hint("both must be of the same examples; with an `id` column in both they are joined by it"))
}

/// For each of the teacher's ids, the student's row.
fn order_of_student(
    wanted: &ExampleColumn,
    given: &ExampleColumn,
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<Vec<usize>> {
    let rows = |column: &ExampleColumn| -> HashMap<String, usize> {
        column.cells.iter().flatten().cloned().zip(0..).collect()
    };
    let given_rows = rows(given);
    let ids = |column: &'_ ExampleColumn| -> Vec<String> {
        column.cells.iter().flatten().cloned().collect()
    };
    let (wanted_ids, given_ids) = (ids(wanted), ids(given));
    if let Some(i) = wanted_ids.iter().position(|id| !given_rows.contains_key(id)) {
        bail!(unknown_id(&wanted.name, &wanted_ids[i], &teacher.places[i], "student", &given_ids));
    }
    if given_ids.len() > wanted_ids.len() {
        let known = rows(wanted);
        let extra = given_ids.iter().position(|id| !known.contains_key(id));
        let i = extra.context("more ids than examples, and none of them new")?;
        bail!(unknown_id(&given.name, &given_ids[i], &student.places[i], "teacher", &wanted_ids));
    }
    Ok(wanted_ids.iter().map(|id| given_rows[id]).collect())
}

/// The error of an id that the other table lacks, with the id there that is likely the same.
fn unknown_id(name: &str, id: &str, place: &str, other: &str, others: &[String]) -> Diagnostic {
    let (called, column) = match name {
        ID => (format!("the id `{id}`"), ""),
        name => (
            format!("the id `{id}` of the column `{name}`"),
            "; if the rows are in the same order, leave that column out of one table",
        ),
    };
    let plain = plain_id(id);
    let (twin, hint) = match others.iter().find(|other| plain_id(other) == plain) {
        Some(twin) => (format!(", which have `{twin}`"), difference(id, twin).to_owned()),
        None => {
            let first = &others[0];
            let hint = format!("both need the same ids; the first of the {other}'s is `{first}`");
            (String::new(), hint)
        }
    };
    failure!("{place}: {called} is not among the {other}'s predictions{twin}")
        .hint(format!("{hint}{column}"))
}

/// An id without what programs add to it or lose of it: spaces, `.0`, leading zeros, case.
fn plain_id(id: &str) -> String {
    let id = id.trim();
    let id = id.strip_suffix(".0").unwrap_or(id);
    let id = match id.bytes().all(|byte| byte.is_ascii_digit()) {
        true => id.trim_start_matches('0'),
        false => id,
    };
    id.to_lowercase()
}

/// Why two ids with the same [`plain_id`] differ, and what to do.
fn difference(a: &str, b: &str) -> &'static str {
    let zeros = |id: &str| id.trim().len() - id.trim().trim_start_matches('0').len();
    if a.trim() != a || b.trim() != b {
        "one of the two has spaces around it: remove them"
    } else if a.ends_with(".0") != b.ends_with(".0") {
        "one of the two was read as a decimal number (pandas does so where an id of the column is \
         missing): write the ids as integers or text in both tables"
    } else if zeros(a) != zeros(b) {
        "one of the two lost its leading zeros: read and write the ids as text (pandas: dtype=str)"
    } else {
        "the two differ in case: write the ids alike in both tables"
    }
}

/// Fails at the first row whose text, true label or id differs between the tables.
fn refuse_other_examples(
    teacher: &PredictionFile,
    student: &PredictionFile,
    joined: &JoinedBy,
) -> Result<()> {
    let by = |name: &str| matches!(joined, JoinedBy::Column(column) if column == name);
    let differs = |t: &ExampleColumn| -> Option<usize> {
        let s = student.example(&t.name).filter(|_| !by(&t.name))?;
        // An index that was reset, or is of a part, names other rows.
        let is_index = PANDAS_INDEX.contains(&t.name.as_str());
        if is_index && (*joined != JoinedBy::Rows || t.sorted() != s.sorted()) {
            return None;
        }
        // The same labels may be written by name and by id.
        if LABELS.contains(&t.name.as_str()) && t.distinct() != s.distinct() {
            return None;
        }
        let apart = |(t, s): (&Option<String>, &Option<String>)| match (t, s) {
            (Some(t), Some(s)) => t.trim() != s.trim(),
            _ => false,
        };
        t.cells.iter().zip(&s.cells).position(apart)
    };
    let first =
        teacher.examples.iter().filter_map(|t| Some((differs(t)?, t))).min_by_key(|it| it.0);
    let Some((row, column)) = first else { return Ok(()) };
    let other = student.example(&column.name).expect("it was compared");
    let [t, s] = [column, other].map(|it| it.cells[row].as_deref().unwrap_or_default());
    let name = shown_name(&column.name);
    bail!(failure!(
        "{}, {name}: `{}`, and {} has `{}`: the rows are not of the same example",
        student.places[row],
        cut(s),
        teacher.places[row],
        cut(t)
    )
    .hint(how_to_join(teacher, student, joined)))
}

/// What to do about rows that do not fit together.
fn how_to_join(teacher: &PredictionFile, student: &PredictionFile, joined: &JoinedBy) -> String {
    if let JoinedBy::Column(name) = joined {
        return format!(
            "the tables were joined by {}: if it does not name the examples, leave it out, and give \
             both an `id`",
            shown_name(name)
        );
    }
    let why = IDS.iter().find_map(|name| {
        let (t, s) = (teacher.example(name)?, student.example(name)?);
        let (column, file) = if t.values().is_none() { (t, teacher) } else { (s, student) };
        Some(match column.first_twice() {
            Some((value, a, b)) => format!(
                "`{name}` cannot join them, because `{}` is in {} and in {}",
                cut(value),
                file.places[a],
                file.places[b]
            ),
            None => format!("`{name}` cannot join them, because it is empty in some rows"),
        })
    });
    let why = why.unwrap_or_else(|| "they have no column of ids in common".to_owned());
    format!(
        "the tables are compared row by row ({why}): give both an `id` column, or sort them alike; a \
         column that is not of the example has to go from one table"
    )
}

/// Fails if ids under two names are the same in another order.
fn refuse_same_ids_in_another_order(
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<()> {
    let ids = |file: &PredictionFile| -> Vec<ExampleColumn> {
        IDS.iter().filter_map(|name| file.example(name).cloned()).collect()
    };
    for t in ids(teacher) {
        for s in ids(student).iter().filter(|s| s.name != t.name) {
            let is_same = t.values().is_some() && t.values() == s.values() && t.cells != s.cells;
            if let (true, Some(row)) =
                (is_same, t.cells.iter().zip(&s.cells).position(|(t, s)| t != s))
            {
                let [a, b] = [&t, s].map(|it| it.cells[row].as_deref().unwrap_or_default());
                bail!(failure!(
                    "{}, column `{}`: `{}`, and {}, column `{}`, has `{}`: the same ids in another \
                     order",
                    student.places[row],
                    s.name,
                    cut(b),
                    teacher.places[row],
                    t.name,
                    cut(a)
                )
                .hint("give both columns the name `id`, and the tables are joined by it"));
            }
        }
    }
    Ok(())
}

/// Gives the teacher's file the labels that only the student's has.
fn take_labels(
    teacher: &mut PredictionFile,
    student: &PredictionFile,
    joined: &JoinedBy,
) -> Result<()> {
    for i in 0..teacher.labels.len() {
        match (teacher.labels[i], student.labels[i]) {
            (Some(t), Some(s)) if t != s => {
                let names = &teacher.label_names;
                let error = failure!(
                    "{} has the label `{}`, and {} has `{}` for the same example",
                    teacher.places[i],
                    names[t as usize],
                    student.places[i],
                    names[s as usize]
                );
                bail!(error.hint(match joined {
                    JoinedBy::Column(name) if name == ID => {
                        "the ids of one table are of other examples, or its labels are wrong"
                            .to_owned()
                    }
                    joined => how_to_join(teacher, student, joined),
                }))
            }
            (None, given) => teacher.labels[i] = given,
            _ => {}
        }
    }
    Ok(())
}

/// A column's name for a message.
fn shown_name(name: &str) -> String {
    match name {
        "" => "the column without a name (the index of pandas)".to_owned(),
        name => format!("column `{name}`"),
    }
}

/// The beginning of a long text.
fn cut(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl ExampleColumn {
    /// Its values if every row has another; `None` if one is empty or twice.
    fn values(&self) -> Option<HashSet<&str>> {
        let values: HashSet<&str> =
            self.cells.iter().map(Option::as_deref).collect::<Option<_>>()?;
        (values.len() == self.cells.len()).then_some(values)
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
    fn first_twice(&self) -> Option<(&str, usize, usize)> {
        let mut rows: HashMap<&str, usize> = HashMap::new();
        self.cells.iter().enumerate().find_map(|(row, cell)| {
            let value = cell.as_deref()?;
            rows.insert(value, row).map(|first| (value, first, row))
        })
    }
}

impl PredictionFile {
    /// The name of the column that names its examples, each with a value of its own.
    pub fn ids(&self) -> Option<&str> {
        let mut found = IDS.iter().filter_map(|name| self.example(name));
        found.find(|column| column.values().is_some()).map(|column| column.name.as_str())
    }

    /// Whether a column of ids of each has the same values in the same order.
    pub fn has_same_ids(&self, other: &PredictionFile) -> bool {
        let ids = |file: &'_ PredictionFile| -> Vec<Vec<Option<String>>> {
            let columns = IDS.iter().filter_map(|name| file.example(name));
            columns.map(|column| column.cells.clone()).collect()
        };
        let others = ids(other);
        ids(self).iter().any(|cells| others.contains(cells))
    }

    fn example(&self, name: &str) -> Option<&ExampleColumn> {
        self.examples.iter().find(|column| column.name == name)
    }

    /// The rows in another order: row i of the result is row `order[i]` of this one.
    fn reordered(self, order: &[usize]) -> Self {
        let examples = self.examples.into_iter().map(|column| ExampleColumn {
            cells: order.iter().map(|&i| column.cells[i].clone()).collect(),
            ..column
        });
        PredictionFile {
            predictions: self.predictions.reordered(order),
            labels: order.iter().map(|&i| self.labels[i]).collect(),
            places: order.iter().map(|&i| self.places[i].clone()).collect(),
            examples: examples.collect(),
            ..self
        }
    }
}
