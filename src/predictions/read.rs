//! Reads files of predictions; joins teacher and student.

use std::collections::HashMap;

use anyhow::{bail, Context, Result};

use crate::checkpoint::labels::align;
use crate::checkpoint::LabelMap;
use crate::confidence::Predictions;
use crate::error::failure;
use crate::input::InputFile;
use crate::interrupt::Interrupt;
use crate::task::table::{expand_patterns, read_table, Cell, DataTable};
use crate::task::{label_ids, listed, LabelIndex, LabelReader, MOST_LABELS};

/// One model's predictions, one row per example.
#[derive(Debug, Clone)]
pub struct PredictionFile {
    /// The predictions, in the order of the rows.
    pub predictions: Predictions,
    /// The true labels, if the file has them.
    pub labels: Vec<Option<u32>>,
    /// The task's label names.
    pub label_names: Vec<String>,
    /// `columns[task label] = label of the file`.
    pub label_map: Vec<usize>,
    /// The label names of the file, in the order of its columns.
    pub own_labels: Vec<String>,
    /// The files read.
    pub files: Vec<InputFile>,
    /// SHA-256 of their bytes.
    pub sha256: String,
    ids: Option<Vec<String>>,
    places: Vec<String>,
}

/// The columns that hold the predictions.
enum PredictionColumns {
    Logits(Vec<usize>),
    Probabilities(Vec<usize>),
    Confidence { confidence: usize, predicted: usize },
}

/// Teacher and student over the same examples, in the teacher's order: joined by `id` if both have
/// it, otherwise by row.
///
/// # Errors
/// Those of [`read_predictions`]; different examples or numbers of them; contradictory true labels;
/// an interrupt.
pub fn read_pair(
    teacher: &[String],
    student: &[String],
    task: &str,
    task_labels: &[String],
    map: &LabelMap,
    interrupt: &Interrupt,
) -> Result<(PredictionFile, PredictionFile)> {
    let mut teacher = read_predictions("teacher", teacher, task, task_labels, map, interrupt)?;
    let names = teacher.label_names.clone();
    let mut student = read_predictions("student", student, task, &names, map, interrupt)?;
    map.check_used(&teacher.own_labels, &student.own_labels)?;
    if let (Some(wanted), Some(given)) = (&teacher.ids, &student.ids) {
        let order = join(wanted, given, &teacher, &student)?;
        student = student.reordered(&order)?;
    } else if teacher.labels.len() != student.labels.len() {
        bail!(failure!(
            "the teacher's predictions have {} rows, and the student's {}",
            teacher.labels.len(),
            student.labels.len()
        )
        .hint(
            "both must be of the same examples; with an `id` column in both they are joined by it"
        ));
    }
    for i in 0..teacher.labels.len() {
        match (teacher.labels[i], student.labels[i]) {
            (Some(t), Some(s)) if t != s => bail!(
                "{} has the label `{}`, and {} has `{}` for the same example",
                teacher.places[i],
                names[t as usize],
                student.places[i],
                names[s as usize]
            ),
            (None, given) => teacher.labels[i] = given,
            _ => {}
        }
    }
    Ok((teacher, student))
}

/// For each of the teacher's ids, the student's row.
fn join(
    wanted: &[String],
    given: &[String],
    teacher: &PredictionFile,
    student: &PredictionFile,
) -> Result<Vec<usize>> {
    let rows: HashMap<&str, usize> =
        given.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let missing = wanted.iter().position(|id| !rows.contains_key(id.as_str()));
    if let Some(i) = missing {
        bail!(
            "{}: the id `{}` is not among the student's predictions",
            teacher.places[i],
            wanted[i]
        );
    }
    if given.len() > wanted.len() {
        let known: HashMap<&str, ()> = wanted.iter().map(|id| (id.as_str(), ())).collect();
        let extra = given.iter().position(|id| !known.contains_key(id.as_str()));
        let i = extra.context("more ids than examples, and none of them new")?;
        bail!(
            "{}: the id `{}` is not among the teacher's predictions",
            student.places[i],
            given[i]
        );
    }
    Ok(wanted.iter().map(|id| rows[id.as_str()]).collect())
}

/// Reads the files that match `patterns` as one model's predictions over the task's labels.
///
/// A task without label names takes them from the columns.
///
/// # Errors
/// Naming file, line and column: missing columns, labels that are not the task's, values that are not
/// numbers, not finite or not a distribution, a repeated id.
pub fn read_predictions(
    role: &str,
    patterns: &[String],
    task: &str,
    task_labels: &[String],
    map: &LabelMap,
    interrupt: &Interrupt,
) -> Result<PredictionFile> {
    let files = expand_patterns(patterns)?;
    let mut table = read_table(&files, interrupt)?;
    let source = files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
    if table.rows.is_empty() {
        bail!("`{source}` has no predictions: an empty split cannot be audited");
    }
    let (own, shown) = shown(&table, &source)?;
    let names = match (task_labels.is_empty(), &own) {
        (false, _) => task_labels.to_vec(),
        // As `audit predict` writes them; ids are read too.
        (true, Some(own)) if label_ids(own).is_some() => {
            (0..own.len()).map(|i| format!("LABEL_{i}")).collect()
        }
        (true, Some(own)) => own.clone(),
        (true, None) => {
            bail!(failure!("`{source}` has only `predicted`, and the task {task} names no labels")
                .hint("give the task `labels` in a [task.NAME] table"))
        }
    };
    let (own, columns) = match (own, &shown) {
        (Some(own), _) => {
            let columns = align(role, &source, &own, task, &names, map)?;
            (own, columns)
        }
        (None, PredictionColumns::Confidence { predicted, .. }) => {
            let own = rename_predicted(&mut table, *predicted, role, &names, map)?;
            (own, (0..names.len()).collect())
        }
        (None, _) => (names.clone(), (0..names.len()).collect()),
    };
    let reader = LabelReader::new(&names, None);
    let labels = match table.column("label") {
        Some(column) => {
            (0..table.rows.len()).map(|r| table.label(r, column, &reader)).collect::<Result<_>>()?
        }
        None => vec![None; table.rows.len()],
    };
    Ok(PredictionFile {
        predictions: predictions(&table, &shown, &columns, &reader, names.len())?,
        labels,
        own_labels: own,
        label_names: names,
        label_map: columns,
        ids: ids(&table)?,
        places: (0..table.rows.len()).map(|row| table.place(row).to_string()).collect(),
        files: table.files,
        sha256: table.sha256,
    })
}

/// Replaces the model's names by the task's in the column `predicted`, and returns the model's name
/// of each label of the task.
///
/// # Errors
/// An entry for this model only that names no label; a cell with a name that the map gives to another
/// label of the same model.
fn rename_predicted(
    table: &mut DataTable,
    column: usize,
    role: &str,
    names: &[String],
    map: &LabelMap,
) -> Result<Vec<String>> {
    let entries = map.entries(role);
    let own: Vec<String> = entries.iter().map(|(own, _)| (*own).to_owned()).collect();
    let index = LabelIndex::new(&own);
    let (mut renamed, mut kept) = (0, Vec::new());
    for row in 0..table.rows.len() {
        let Some(text) = table.text(row, column)? else { continue };
        // A label without a name is LABEL_0, LABEL_1, … in the map, and may be an id in the cell.
        let by_id = || index.find(&format!("LABEL_{}", text.parse::<usize>().ok()?));
        match index.find(text.trim()).or_else(by_id) {
            Some(entry) => {
                table.rows[row].cells[column] = Cell::Text(entries[entry].1.to_owned());
                renamed += 1;
            }
            None => kept.push((row, text)),
        }
    }
    if renamed == 0 {
        map.rename(role, names)?; // it may be for the other model only
        return Ok(names.to_vec());
    }
    let mut givers: HashMap<&str, &str> = HashMap::new();
    for (own, given) in &entries {
        givers.entry(given).or_insert(own);
    }
    for (row, text) in kept {
        if let Some((given, own)) = givers.get_key_value(text.trim()) {
            let twice = format!("`{text}` is the label map's name of `{own}`: `{own}={given}`");
            bail!(table
                .wrong(row, column, twice)
                .hint("map every label of the table to the task's name"));
        }
    }
    let mut own_names = names.to_vec();
    for name in &mut own_names {
        if let Some(own) = givers.get(name.as_str()) {
            *name = (*own).to_owned();
        }
    }
    Ok(own_names)
}

/// The label names in the columns' order (`None` for a bare confidence), and the columns.
fn shown(table: &DataTable, source: &str) -> Result<(Option<Vec<String>>, PredictionColumns)> {
    let with_prefix = |prefix: &str| -> (Vec<String>, Vec<usize>) {
        let columns = table.columns.iter().enumerate();
        columns.filter_map(|(i, c)| Some((c.strip_prefix(prefix)?.to_owned(), i))).unzip()
    };
    for (prefix, shown) in [
        ("logit_", PredictionColumns::Logits as fn(Vec<usize>) -> PredictionColumns),
        ("probability_", PredictionColumns::Probabilities),
    ] {
        let (names, columns) = with_prefix(prefix);
        if names.len() > MOST_LABELS {
            let count = names.len();
            bail!("`{source}` has {count} `{prefix}` columns, and the limit is {MOST_LABELS}");
        }
        if names.len() == 1 {
            bail!("`{source}` has one `{prefix}` column, and a classifier has two labels or more");
        }
        if !names.is_empty() {
            return Ok((Some(names), shown(columns)));
        }
    }
    match (table.column("confidence"), table.column("predicted")) {
        (Some(confidence), Some(predicted)) => {
            Ok((None, PredictionColumns::Confidence { confidence, predicted }))
        }
        _ => {
            bail!(failure!("`{source}` has the columns [{}], and none has the model's confidence",
            listed(&table.columns))
        .hint(
            "it needs logit_<label> for every label, or probability_<label>, or confidence and \
             predicted",
        ))
        }
    }
}

fn predictions(
    table: &DataTable,
    shown: &PredictionColumns,
    order: &[usize],
    reader: &LabelReader,
    labels: usize,
) -> Result<Predictions> {
    let rows = 0..table.rows.len();
    let at_row = |error: crate::confidence::PredictionError| match error.example() {
        Some(row) => anyhow::Error::new(error).context(table.place(row)),
        None => error.into(),
    };
    match shown {
        PredictionColumns::Logits(columns) | PredictionColumns::Probabilities(columns) => {
            let mut values = Vec::with_capacity(table.rows.len() * labels);
            for row in rows {
                for &label in order {
                    values.push(number(table, row, columns[label])?);
                }
            }
            if matches!(shown, PredictionColumns::Probabilities(_)) {
                return Predictions::from_probabilities(&values, labels).map_err(at_row);
            }
            let logits: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
                let column = columns[order[at % labels]];
                bail!(table.wrong(at / labels, column, "it is too large for f32"));
            }
            Predictions::from_logits(&logits, labels).map_err(at_row)
        }
        PredictionColumns::Confidence { confidence, predicted } => {
            let (mut sure, mut classes) = (Vec::new(), Vec::new());
            for row in rows {
                sure.push(number(table, row, *confidence)?);
                let class = table.label(row, *predicted, reader)?;
                classes.push(class.ok_or_else(|| table.wrong(row, *predicted, "it is empty"))?);
            }
            Predictions::from_confidence(&sure, &classes, labels).map_err(at_row)
        }
    }
}

fn number(table: &DataTable, row: usize, column: usize) -> Result<f64> {
    match table.number(row, column)? {
        Some(value) if value.is_finite() => Ok(value),
        Some(value) => bail!(table.wrong(row, column, format!("{value} is not finite"))),
        None => bail!(table.wrong(row, column, "it is empty")),
    }
}

fn ids(table: &DataTable) -> Result<Option<Vec<String>>> {
    let Some(column) = table.column("id") else { return Ok(None) };
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut ids = Vec::with_capacity(table.rows.len());
    for row in 0..table.rows.len() {
        let id = table.text(row, column)?.ok_or_else(|| table.wrong(row, column, "it is empty"))?;
        if let Some(other) = first.insert(id.clone(), row) {
            let twice = format!("the id `{id}` is also in {}", table.place(other));
            bail!(table.wrong(row, column, twice));
        }
        ids.push(id);
    }
    Ok(Some(ids))
}

impl PredictionFile {
    /// Whether the file names its examples.
    pub fn has_ids(&self) -> bool {
        self.ids.is_some()
    }

    /// The rows in another order: row i of the result is row `order[i]` of this one.
    fn reordered(self, order: &[usize]) -> Result<Self> {
        Ok(PredictionFile {
            predictions: self.predictions.reordered(order),
            labels: order.iter().map(|&i| self.labels[i]).collect(),
            places: order.iter().map(|&i| self.places[i].clone()).collect(),
            ids: self.ids.map(|ids| order.iter().map(|&i| ids[i].clone()).collect()),
            ..self
        })
    }
}
