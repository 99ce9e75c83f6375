//! Numbers whose names do not say whether they are logits or probabilities, and columns of lists.

use anyhow::{bail, Result};

use super::columns::{is_distribution, PredictionColumns, EVIDENCE, LOGIT, PROBABILITY};
use super::rounding::percent;
use crate::error::{failure, Diagnostic};
use crate::task::table::{Cell, DataTable, LIST_COLUMNS};
use crate::task::{find_label, label_ids};

/// Prefix of columns of either kind: a pipeline's scores, and lists called `scores` or `predictions`.
pub(super) const SCORE: &str = "score_";

/// Numbers so close to [0, 1] may be probabilities with an error of rounding.
const MARGIN: f64 = 1e-3;

/// The distance of a row's sum from one that still looks like a distribution.
const NEAR_ONE: f64 = 0.02;

/// Gives each number of a list a column: `logits` becomes `logit_0`, `logit_1`, …, `probabilities`
/// `probability_0`, …, and `scores` or `predictions` `score_0`, ….
///
/// # Errors
/// A list that is not one of numbers, rows with lists of different lengths, a table that has such
/// columns already.
pub(super) fn widen(table: &mut DataTable) -> Result<()> {
    let names = table.columns.clone();
    let has = |name: &str| names.iter().any(|known| known == name);
    let is_own = |name: &String| name.starts_with(LOGIT) || name.starts_with(PROBABILITY);
    let has_own = names.iter().any(is_own) || (has("confidence") && has("predicted"));
    for (column, name) in names.iter().enumerate() {
        if !LIST_COLUMNS.contains(&name.as_str()) || !has_lists(table, column) {
            continue;
        }
        let lists = match lists(table, column) {
            Ok(lists) => lists,
            // A further column, which may hold anything.
            Err(_) if has_own => continue,
            Err(error) => return Err(error),
        };
        let prefix = prefix_of(name);
        if let Some(other) = table.columns.iter().find(|known| known.starts_with(prefix)) {
            bail!(failure!("the list `{name}` and the column `{other}` may say two things")
                .hint("leave one of the two out"));
        }
        table.columns.extend((0..lists[0].len()).map(|label| format!("{prefix}{label}")));
        table.columns[column] = format!("{name} (a list)");
        for (row, list) in table.rows.iter_mut().zip(lists) {
            row.cells[column] = Cell::Null;
            row.cells.extend(list.into_iter().map(Cell::Number));
        }
    }
    Ok(())
}

/// The lists of all rows, of one length.
fn lists(table: &DataTable, column: usize) -> Result<Vec<Vec<f64>>> {
    let mut lists: Vec<Vec<f64>> = Vec::with_capacity(table.rows.len());
    for row in 0..table.rows.len() {
        let list = list_of(table, row, column)?;
        let count = lists.first().map_or(list.len(), Vec::len);
        if list.len() < 2 {
            bail!(table.wrong(
                row,
                column,
                "a list of fewer than two numbers, and a classifier has two labels or more"
            ));
        }
        if list.len() != count {
            let length = list.len();
            bail!(table
                .wrong(row, column, format!("a list of {length} numbers, the first has {count}"))
                .hint("each row has one number for each label"));
        }
        lists.push(list);
    }
    Ok(lists)
}

fn prefix_of(list: &str) -> &'static str {
    match list {
        "logits" | "logit" => LOGIT,
        "probabilities" | "probability" | "probas" | "probs" => PROBABILITY,
        _ => SCORE,
    }
}

/// Whether the first cell that holds anything is a list, as such or as text.
fn has_lists(table: &DataTable, column: usize) -> bool {
    let cells = table.rows.iter().map(|row| &row.cells[column]);
    match cells.into_iter().find(|cell| **cell != Cell::Null) {
        Some(Cell::List(_)) => true,
        Some(Cell::Other(kind)) => kind.starts_with("a list"),
        Some(Cell::Text(text)) => text.trim_start().starts_with('['),
        _ => false,
    }
}

fn list_of(table: &DataTable, row: usize, column: usize) -> Result<Vec<f64>> {
    let wrong = |what: &str| table.wrong(row, column, what);
    match &table.rows[row].cells[column] {
        Cell::List(list) => Ok(list.clone()),
        Cell::Text(text) => match serde_json::from_str(text) {
            Ok(list) => Ok(list),
            Err(_) => bail!(wrong("not a list of numbers as JSON")
                .hint("write it as [0.5, -1.25]; of an array of NumPy: array.tolist()")),
        },
        Cell::Null | Cell::Missing => bail!(wrong("it is empty")),
        _ => bail!(wrong("not a list of one number for each label")
            .hint("a list holds finite numbers alone; nested lists are not read")),
    }
}

/// The columns that are called after the labels alone: `0`, `1`, …, `LABEL_0`, `LABEL_1`, …, or all of
/// the task's label names. The names, and the columns.
pub(super) fn bare(table: &DataTable, labels: &[String]) -> Option<(Vec<String>, Vec<usize>)> {
    let of = |is_wanted: &dyn Fn(&str) -> bool| -> (Vec<String>, Vec<usize>) {
        let columns = table.columns.iter().enumerate().filter(|(_, name)| is_wanted(name));
        columns.map(|(column, name)| (name.clone(), column)).unzip()
    };
    let is_id = |text: &str| text.parse::<usize>().is_ok();
    let ids = [of(&|name| name.strip_prefix("LABEL_").is_some_and(is_id)), of(&is_id)];
    let named = of(&|name| find_label(labels, name).is_some());
    let mut known: Vec<usize> =
        named.0.iter().filter_map(|name| find_label(labels, name)).collect();
    known.sort_unstable();
    known.dedup();
    let is_whole = labels.len() > 1 && known.len() == labels.len() && named.0.len() == known.len();
    let mut found: Vec<_> = ids
        .into_iter()
        .filter(|(names, _)| names.len() > 1 && label_ids(names).is_some())
        .chain(is_whole.then_some(named))
        .collect();
    // A task's labels may be ids.
    found.dedup();
    // Two sets of columns may be two things.
    (found.len() == 1).then(|| found.remove(0))
}

/// What the numbers of `columns` are.
///
/// # Errors
/// Numbers that may be either, or percent values that were not asked for (`normalise`).
pub(super) fn told_apart(
    table: &DataTable,
    source: &str,
    columns: Vec<usize>,
    normalise: bool,
) -> Result<PredictionColumns> {
    for row in 0..table.rows.len() {
        for &column in &columns {
            number(table, row, column)?;
        }
    }
    let rows = table.rows.len();
    if rows >= EVIDENCE && is_distribution(table, &columns) {
        return Ok(PredictionColumns::Probabilities(columns));
    }
    if percent(table, &columns) {
        if normalise {
            return Ok(PredictionColumns::Probabilities(columns));
        }
        bail!(failure!("every row of `{source}` sums to 100: these look like percent values")
            .hint(format!(
                "pass --normalise to take them as percent values, or name the columns \
                 {LOGIT}<label> if they are logits"
            )));
    }
    let value = |row: usize, column: &usize| table.number(row, *column).ok().flatten();
    let within = |row: usize| {
        let mut values = columns.iter().filter_map(|column| value(row, column));
        values.all(|value| (-MARGIN..=1.0 + MARGIN).contains(&value))
    };
    let sum = |row: usize| columns.iter().filter_map(|column| value(row, column)).sum::<f64>();
    let like_one = (0..rows).filter(|&row| within(row) && (sum(row) - 1.0).abs() <= NEAR_ONE);
    let outside = (0..rows).any(|row| !within(row));
    let count = like_one.count();
    // A few rows of logits look like probabilities by chance.
    if outside && 2 * count <= rows {
        return Ok(PredictionColumns::Logits(columns));
    }
    let why = match (outside, count == rows) {
        (true, _) => format!("{count} of {rows} rows sum to 1, and others lie outside [0, 1]"),
        (false, true) => format!("all {rows} rows sum to 1, too few to tell them from logits"),
        (false, false) => "all lie in [0, 1], and not every row sums to 1".to_owned(),
    };
    Err(Diagnostic::failure(format!(
        "the numbers of `{source}` may be logits or probabilities: {why}"
    ))
    .hint(format!(
        "say which: name the columns {LOGIT}<label> or {PROBABILITY}<label>, a list `logits` or \
         `probabilities` (NumPy: np.savez(FILE, logits=array))"
    ))
    .into())
}

/// A number of a prediction.
///
/// # Errors
/// Naming its place: it is empty, not a number or not finite.
pub(super) fn number(table: &DataTable, row: usize, column: usize) -> Result<f64> {
    match table.number(row, column)? {
        Some(value) if value.is_finite() => Ok(value),
        Some(value) => bail!(table
            .wrong(row, column, format!("{value} is not finite"))
            .hint("find out why the model gives it; a prediction is a finite number")),
        None => bail!(table.wrong(row, column, "it is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;
    use crate::interrupt::Interrupt;
    use crate::task::table::read_table;

    fn table(text: &str) -> DataTable {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        read_table(&[path], &Interrupt::default()).unwrap()
    }

    fn kind(rows: &str, normalise: bool) -> Result<&'static str, String> {
        let table = table(&format!("0,1\n{rows}"));
        match told_apart(&table, "t.csv", vec![0, 1], normalise) {
            Ok(PredictionColumns::Logits(_)) => Ok("logits"),
            Ok(_) => Ok("probabilities"),
            Err(error) => Err(rendered(&error)),
        }
    }

    #[test]
    fn rows_that_are_distributions_are_probabilities_and_others_outside_0_to_1_are_logits() {
        assert_eq!(kind("0.9,0.1\n0.25,0.75\n1,0\n", false), Ok("probabilities"));
        assert_eq!(kind("3.5,-1\n0.25,0.75\n0.5,0.25\n", false), Ok("logits"));
        // log_softmax, whose softmax is the distribution.
        assert_eq!(kind("-0.1,-2.35\n-0.7,-0.7\n-3,-0.05\n", false), Ok("logits"));
    }

    #[test]
    fn numbers_that_may_be_either_are_refused() {
        for (rows, words) in [
            ("0.9,0.1\n0.25,0.75\n", "too few"),
            ("0.9,0.8\n0.25,0.75\n0.5,0.5\n", "all lie in [0, 1]"),
            ("0.9,0.1\n0.25,0.75\n0.5,1.5\n", "2 of 3 rows sum to 1"),
            ("1.0005,0.2\n0.25,0.1\n0.5,0.3\n", "all lie in [0, 1]"),
            ("90,10\n25,75\n50,50\n", "percent"),
            ("90,\n25,75\n50,50\n", "it is empty"),
            ("90,nan\n25,75\n50,50\n", "not finite"),
        ] {
            let error = kind(rows, false).unwrap_err();
            assert!(error.contains(words), "{rows}: {error}");
        }
        assert_eq!(kind("90,10\n25,75\n50,50\n", true), Ok("probabilities"));
    }

    #[test]
    fn columns_called_after_labels_are_found_if_they_are_all_there() {
        let labels = ["negative", "positive"].map(str::to_owned);
        for (header, names) in [
            ("id,0,1", Some(["0", "1"])),
            ("LABEL_1,LABEL_0,text", Some(["LABEL_1", "LABEL_0"])),
            ("Positive,label,negative", Some(["Positive", "negative"])),
            ("positive,text,label", None),
            ("1,2,label", None),
            ("0,1,negative,positive", None),
        ] {
            let found = bare(&table(&format!("{header}\n")), &labels).map(|(names, _)| names);
            assert_eq!(found, names.map(|names| names.map(str::to_owned).to_vec()), "{header}");
        }
    }

    #[test]
    fn a_list_becomes_one_column_for_each_label() {
        let mut read = table("id,logits\na,\"[1.5, -2]\"\nb,\"[0, 1e-3]\"\n");
        widen(&mut read).unwrap();
        assert_eq!(read.columns[2..], ["logit_0", "logit_1"]);
        assert_eq!(read.rows[1].cells[2..], [Cell::Number(0.0), Cell::Number(1e-3)]);
        for (text, words) in [
            (
                "probs\n\"[0.5, 0.5]\"\n\"[0.2, 0.3, 0.5]\"\n",
                "a list of 3 numbers, the first has 2",
            ),
            ("probs\n\"[0.5, 0.5]\"\n\"\"\n", "not a list of numbers as JSON"),
            ("probs\n[0.5 0.5]\n", "tolist()"),
            ("probs\n\"[1.0]\"\n", "fewer than two"),
            ("probs,probability_0\n\"[0.5, 0.5]\",1\n", "leave one of the two out"),
        ] {
            let error = rendered(&widen(&mut table(text)).unwrap_err());
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
