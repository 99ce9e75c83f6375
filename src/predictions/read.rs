//! Reads files of predictions.

use std::collections::HashMap;

use anyhow::{bail, Result};

use super::columns::{shown, PredictionColumns};
use super::examples::{example_columns, ExampleColumn};
use super::rounding::{allowed, decimals, normalise, percent, Normalisation};
use super::scores::{number, widen};
use crate::checkpoint::labels::align;
use crate::checkpoint::LabelMap;
use crate::confidence::{PredictionError, Predictions};
use crate::error::failure;
use crate::inference::Logits;
use crate::input::InputFile;
use crate::interrupt::Interrupt;
use crate::task::table::{expand_patterns, read_table, Cell, DataTable};
use crate::task::{label_ids, listed, LabelIndex, LabelReader};

/// One model's predictions, one row per example.
#[derive(Debug, Clone)]
pub struct PredictionFile {
    /// The predictions, in the order of the rows.
    pub predictions: Predictions,
    /// The logits as the file has them (N, K), in the order of the rows and of the task's labels; `None`
    /// if it has probabilities.
    pub logits: Option<Logits>,
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
    /// What [`PredictionOptions::normalise`] changed.
    pub normalised: Normalisation,
    /// Which example each row is of.
    pub(super) examples: Vec<ExampleColumn>,
    /// The file and line of each row.
    pub(super) places: Vec<String>,
}

/// What a table of predictions is read for.
#[derive(Debug, Clone, Copy)]
pub struct PredictionOptions<'a> {
    /// The task's name.
    pub task: &'a str,
    /// Its label names in the order of their ids; empty if it names none.
    pub labels: &'a [String],
    /// The names of its text columns.
    pub texts: &'a [String],
    /// The task's names for the labels of the tables.
    pub label_map: &'a LabelMap,
    /// Divide rows of probabilities by their sum if that differs from one by rounding, and percent values
    /// by 100.
    pub normalise: bool,
    /// Ends the reading.
    pub interrupt: &'a Interrupt,
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
    options: &PredictionOptions,
) -> Result<PredictionFile> {
    let PredictionOptions { task, labels: task_labels, label_map: map, .. } = *options;
    let files = expand_patterns(patterns)?;
    let mut table = read_table(&files, options.interrupt)?;
    let source = files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ");
    if table.rows.is_empty() {
        bail!("`{source}` has no predictions: an empty split cannot be audited");
    }
    widen(&mut table)?;
    let (own, shown) = shown(&table, &source, task_labels, options.normalise)?;
    let names = match (task_labels.is_empty(), &own) {
        (false, _) => task_labels.to_vec(),
        // As `audit predict` writes them; ids are read too.
        (true, Some(own)) if label_ids(own).is_some() => {
            (0..own.len()).map(|i| format!("LABEL_{i}")).collect()
        }
        (true, Some(own)) => own.clone(),
        (true, None) => {
            bail!(failure!(
                "`{source}` has only the predicted label, and the task {task} names no labels"
            )
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
    let in_file = class_names(&table, &source, &names, &own, &shown)?;
    let reader = LabelReader::new(&names, in_file.as_ref());
    let predicted = match shown {
        PredictionColumns::Confidence { predicted, .. } => Some(predicted),
        _ => None,
    };
    // A pipeline's `label` is the predicted one.
    let labels = match table.column("label").filter(|column| Some(*column) != predicted) {
        Some(column) => {
            (0..table.rows.len()).map(|r| table.label(r, column, &reader)).collect::<Result<_>>()?
        }
        None => vec![None; table.rows.len()],
    };
    let (predictions, logits, normalised) =
        predictions(&table, &shown, &columns, &reader, options)?;
    Ok(PredictionFile {
        predictions,
        logits,
        normalised,
        labels,
        own_labels: own,
        label_names: names,
        label_map: columns,
        places: (0..table.rows.len()).map(|row| table.place(row).to_string()).collect(),
        examples: example_columns(&mut table, options.texts)?,
        files: table.files,
        sha256: table.sha256,
    })
}

/// The names of the ids in the column `label`, if they are the task's.
///
/// # Errors
/// Predictions by id in a table whose own ids are in another order: their columns may be in either.
fn class_names(
    table: &DataTable,
    source: &str,
    names: &[String],
    own: &[String],
    shown: &PredictionColumns,
) -> Result<Option<Vec<String>>> {
    let index = LabelIndex::new(names);
    let Some(in_file) = table.class_names.get("label") else { return Ok(None) };
    let ids: Option<Vec<usize>> = in_file.iter().map(|name| index.find(name)).collect();
    let Some(ids) = ids.filter(|ids| ids.len() == names.len()) else { return Ok(None) };
    let is_by_id = !matches!(shown, PredictionColumns::Confidence { .. });
    if is_by_id && label_ids(own).is_some() && !ids.iter().copied().eq(0..names.len()) {
        bail!(failure!(
            "`{source}` names its labels [{}] in this order, the task has [{}], and its predictions \
             are by number: their order is not known",
            listed(in_file),
            listed(names)
        )
        .hint("give each label's numbers a column, logit_<label> or probability_<label>"));
    }
    Ok(Some(in_file.clone()))
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
        name_ids(table, column, names);
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

/// Replaces `LABEL_1`, which a model without label names gives, by the task's name of that id.
fn name_ids(table: &mut DataTable, column: usize, names: &[String]) {
    let known = LabelIndex::new(names);
    for row in &mut table.rows {
        let Cell::Text(text) = &row.cells[column] else { continue };
        let id = text.trim().strip_prefix("LABEL_").and_then(|id| id.parse::<usize>().ok());
        if let Some(name) = id.filter(|_| known.find(text).is_none()).and_then(|id| names.get(id)) {
            row.cells[column] = Cell::Text(name.clone());
        }
    }
}

/// The predictions, the logits that they were computed from, and what was normalised.
fn predictions(
    table: &DataTable,
    shown: &PredictionColumns,
    order: &[usize],
    reader: &LabelReader,
    options: &PredictionOptions,
) -> Result<(Predictions, Option<Logits>, Normalisation)> {
    let rows = 0..table.rows.len();
    let labels = order.len();
    match shown {
        PredictionColumns::Logits(columns) => {
            let values = numbers(table, columns, order)?;
            let logits: Vec<f32> = values.into_iter().map(|v| v as f32).collect();
            if let Some(at) = logits.iter().position(|logit| !logit.is_finite()) {
                let column = columns[order[at % labels]];
                bail!(table.wrong(at / labels, column, "it is too large for f32"));
            }
            let predictions = Predictions::from_logits(&logits, labels);
            let predictions = predictions.map_err(|error| at_row(table, error, None))?;
            Ok((predictions, Some(Logits { values: logits, labels }), Normalisation::default()))
        }
        PredictionColumns::Probabilities(columns) => {
            let mut values = numbers(table, columns, order)?;
            let decimals = decimals(table, columns);
            let percent = percent(table, columns);
            if percent && !options.normalise {
                bail!(failure!("every row sums to 100: these look like percent values")
                    .hint(
                        "pass --normalise to divide them by 100, or write probabilities in [0, 1]"
                    )
                    .at(table.place(0)));
            }
            let normalised = match options.normalise {
                true => normalise(&mut values, labels, decimals, percent),
                false => Normalisation::default(),
            };
            let offer = (!options.normalise).then(|| allowed(decimals, labels)).flatten();
            let predictions = Predictions::from_probabilities(&values, labels);
            Ok((predictions.map_err(|error| at_row(table, error, offer))?, None, normalised))
        }
        PredictionColumns::Confidence { confidence, predicted } => {
            let (mut sure, mut classes) = (Vec::new(), Vec::new());
            for row in rows {
                sure.push(number(table, row, *confidence)?);
                let class = table.label(row, *predicted, reader)?;
                classes.push(class.ok_or_else(|| table.wrong(row, *predicted, "it is empty"))?);
            }
            let predictions = Predictions::from_confidence(&sure, &classes, labels);
            let predictions = predictions.map_err(|error| at_row(table, error, None))?;
            Ok((predictions, None, Normalisation::default()))
        }
    }
}

/// The error with the place of its row and what to do. `offer`: the distance of a sum from one that
/// `--normalise` accepts.
fn at_row(table: &DataTable, error: PredictionError, offer: Option<f64>) -> anyhow::Error {
    let hint = match &error {
        PredictionError::NotNormalised { sum, .. } => match offer {
            Some(most) if (sum - 1.0).abs() <= most => {
                "they look rounded: write more digits, or logits, or pass --normalise to divide \
                 each row by its sum"
            }
            _ => "give the probabilities of all labels with more digits, or the logits",
        },
        PredictionError::NotAProbability { .. } => {
            "name the columns logit_<label> if these are raw scores"
        }
        _ => {
            return match error.example() {
                Some(row) => anyhow::Error::new(error).context(table.place(row)),
                None => error.into(),
            }
        }
    };
    let place = table.place(error.example().expect("both are of one row"));
    failure!("{error}").hint(hint).at(place).into()
}

/// The numbers of all rows, each in the order of the task's labels.
fn numbers(table: &DataTable, columns: &[usize], order: &[usize]) -> Result<Vec<f64>> {
    let mut values = Vec::with_capacity(table.rows.len() * order.len());
    for row in 0..table.rows.len() {
        for &label in order {
            values.push(number(table, row, columns[label])?);
        }
    }
    Ok(values)
}
