//! Which columns of a table hold the predictions, and tables that say two things.

use anyhow::{bail, Result};

use super::examples::INDICES;
use super::renames::missing;
use super::rounding::{allowed, decimals, WrittenDigits};
use super::scores::{bare, told_apart, SCORE};
use crate::confidence::NORMALISATION_TOLERANCE;
use crate::error::{failure, Diagnostic};
use crate::task::table::DataTable;
use crate::task::MOST_LABELS;

/// The columns that hold the predictions.
pub(super) enum PredictionColumns {
    Logits(Vec<usize>),
    Probabilities(Vec<usize>),
    Confidence { confidence: usize, predicted: usize },
}

/// Prefixes of the columns of each label.
pub(super) const LOGIT: &str = "logit_";
pub(super) const PROBABILITY: &str = "probability_";

/// Rows from which on logits that look like probabilities are not taken for logits.
pub(super) const EVIDENCE: usize = 3;

/// The label names in the columns' order (`None` for a bare confidence), and the columns.
///
/// # Errors
/// No such columns, with those that look like them; logits and probabilities that contradict each
/// other; probabilities called logits; numbers that may be either.
pub(super) fn shown(
    table: &DataTable,
    source: &str,
    task_labels: &[String],
    normalise: bool,
) -> Result<(Option<Vec<String>>, PredictionColumns)> {
    let logits = with_prefix(table, source, LOGIT)?;
    let probabilities = with_prefix(table, source, PROBABILITY)?;
    if let (Some(logits), Some(probabilities)) = (&logits, &probabilities) {
        refuse_contradiction(table, logits, probabilities)?;
    }
    if let Some((names, columns)) = logits {
        refuse_probabilities_called_logits(table, source, &names, &columns)?;
        return Ok((Some(names), PredictionColumns::Logits(columns)));
    }
    if let Some((names, columns)) = probabilities {
        return Ok((Some(names), PredictionColumns::Probabilities(columns)));
    }
    if let (Some(confidence), Some(predicted)) =
        (table.column("confidence"), table.column("predicted"))
    {
        return Ok((None, PredictionColumns::Confidence { confidence, predicted }));
    }
    if let Some(columns) = of_pipeline(table) {
        return Ok((None, columns));
    }
    // One column with this prefix may be anything.
    let scores = with_prefix(table, source, SCORE).ok().flatten();
    match scores.or_else(|| bare(table, task_labels)) {
        Some((names, columns)) => Ok((Some(names), told_apart(table, source, columns, normalise)?)),
        None => Err(missing(table, source, task_labels)),
    }
}

/// The columns of a Hugging Face pipeline's output: `label`, the predicted label, and `score`, its
/// probability. Only a table without other columns (save the index of pandas) is taken for one: in any
/// other, `label` may be the true label.
fn of_pipeline(table: &DataTable) -> Option<PredictionColumns> {
    let mut others = table.columns.iter().filter(|name| !INDICES.contains(&name.as_str()));
    let (confidence, predicted) = (table.column("score")?, table.column("label")?);
    let alone = others.all(|name| name == "score" || name == "label");
    alone.then_some(PredictionColumns::Confidence { confidence, predicted })
}

/// The labels and columns of one prefix.
fn with_prefix(
    table: &DataTable,
    source: &str,
    prefix: &str,
) -> Result<Option<(Vec<String>, Vec<usize>)>> {
    let columns = table.columns.iter().enumerate();
    let (names, columns): (Vec<String>, Vec<usize>) =
        columns.filter_map(|(i, c)| Some((c.strip_prefix(prefix)?.to_owned(), i))).unzip();
    match names.len() {
        0 => Ok(None),
        1 => {
            bail!("`{source}` has one `{prefix}` column, and a classifier has two labels or more")
        }
        count if count > MOST_LABELS => {
            bail!("`{source}` has {count} `{prefix}` columns, and the limit is {MOST_LABELS}")
        }
        _ => Ok(Some((names, columns))),
    }
}

/// Fails at the first row in which a probability is not the softmax of the logits, beyond rounding.
///
/// Labels are matched by name. Without a common name, both are sorted: whatever the names mean, the
/// numbers must be the same.
fn refuse_contradiction(
    table: &DataTable,
    (names, logits): &(Vec<String>, Vec<usize>),
    (other_names, probabilities): &(Vec<String>, Vec<usize>),
) -> Result<()> {
    let place = |name: &String| names.iter().position(|known| known == name);
    let places: Vec<Option<usize>> = other_names.iter().map(place).collect();
    let by_size = places.iter().all(Option::is_none) && logits.len() == probabilities.len();
    let rounding = StatementRounding::of(table, logits, probabilities);
    for row in 0..table.rows.len() {
        // Logits that are not numbers are an error of their own; probabilities are not used.
        let all = |columns: &[usize]| -> Option<Vec<f64>> {
            columns.iter().map(|&column| value(table, row, column)).collect()
        };
        let Some(scores) = all(logits) else { continue };
        let tolerance = rounding.tolerance(&scores);
        let mut expected = softmax(&scores);
        let mut columns = probabilities.clone();
        if by_size {
            let Some(given) = all(probabilities) else { continue };
            let mut order: Vec<usize> = (0..columns.len()).collect();
            order.sort_by(|&a, &b| given[a].total_cmp(&given[b]));
            columns = order.iter().map(|&i| probabilities[i]).collect();
            expected.sort_by(f64::total_cmp);
        }
        for (i, &column) in columns.iter().enumerate() {
            let label = if by_size { Some(i) } else { places[i] };
            let (Some(label), Some(given)) = (label, value(table, row, column)) else { continue };
            if (given - expected[label]).abs() > tolerance {
                bail!(contradiction(table, row, column, given, expected[label]));
            }
        }
    }
    Ok(())
}

fn contradiction(
    table: &DataTable,
    row: usize,
    column: usize,
    given: f64,
    expected: f64,
) -> Diagnostic {
    let what = format!("{given}, but the softmax of this row's logits is {expected:.4}");
    table.wrong(row, column, what).hint(format!(
        "the `{LOGIT}` and the `{PROBABILITY}` columns contradict each other: remove those that are \
         not the model's"
    ))
}

/// A cell of a column that may hold anything.
fn value(table: &DataTable, row: usize, column: usize) -> Option<f64> {
    table.number(row, column).ok().flatten()
}

/// How much rounding of the two statements of a table explains.
struct StatementRounding {
    /// Of a probability.
    probability: f64,
    /// Of a logit, by its digits.
    logit: WrittenDigits,
    /// Of a logit, for each unit of its size.
    relative: f64,
}

impl StatementRounding {
    fn of(table: &DataTable, logits: &[usize], probabilities: &[usize]) -> Self {
        let half_precision = |columns: &[usize]| match bits(table, columns) {
            bits @ 0..=11 => 0.5f64.powi(bits.max(8) as i32), // f16 has 11 bits, bf16 has 8
            _ => 0.0,
        };
        StatementRounding {
            probability: NORMALISATION_TOLERANCE
                .max(WrittenDigits::of(table, probabilities).half_unit(0.5))
                .max(half_precision(probabilities)),
            logit: WrittenDigits::of(table, logits),
            relative: half_precision(logits),
        }
    }

    /// The derivative of p by a logit is at most p(1 − p) ≤ 1/4, and all others may move against it.
    fn tolerance(&self, scores: &[f64]) -> f64 {
        let of = |z: &f64| self.logit.half_unit(*z) + self.relative * z.abs();
        self.probability + 0.5 * scores.iter().map(of).fold(0.0, f64::max)
    }
}

/// The most significant bits of f32 that any number of the columns needs, 24 at most.
fn bits(table: &DataTable, columns: &[usize]) -> u32 {
    let cells = (0..table.rows.len()).flat_map(|row| columns.iter().map(move |&c| (row, c)));
    let needed = cells.filter_map(|(row, column)| {
        let mantissa = (value(table, row, column)? as f32).to_bits() & 0x7F_FFFF;
        Some(24 - mantissa.trailing_zeros().min(23))
    });
    needed.max().unwrap_or(24)
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|z| (z - largest).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// Fails if every row of the logits is a distribution: softmax would be applied twice. Honest logits
/// are not, since nothing makes them sum to one; a table of fewer than three rows is not judged.
fn refuse_probabilities_called_logits(
    table: &DataTable,
    source: &str,
    names: &[String],
    columns: &[usize],
) -> Result<()> {
    if table.rows.len() < EVIDENCE || !is_distribution(table, columns) {
        return Ok(());
    }
    let renames: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{LOGIT}{name}"), format!("{PROBABILITY}{name}")))
        .collect();
    bail!(failure!(
        "every row of the `{LOGIT}` columns of `{source}` lies in [0, 1] and sums to 1: these are \
         probabilities, and softmax would be applied twice"
    )
    .hint(super::renames::listed_renames(&renames)))
}

/// Whether all rows of the columns lie in [0, 1] and sum to one, within rounding.
pub(super) fn is_distribution(table: &DataTable, columns: &[usize]) -> bool {
    let share =
        |row: usize, column: usize| value(table, row, column).filter(|p| (0.0..=1.0).contains(p));
    let within = |tolerance: f64| {
        (0..table.rows.len()).all(|row| {
            let sum: Option<f64> = columns.iter().map(|&column| share(row, column)).sum();
            sum.is_some_and(|sum| (sum - 1.0).abs() <= tolerance)
        })
    };
    // Nearly all logits end here, at the first row; the decimals of all cells take longer.
    if !within(0.1) {
        return false;
    }
    // One decimal or none would take any small numbers for rounded ones.
    let digits = decimals(table, columns);
    let rounding = allowed(digits.max(2), columns.len()).unwrap_or(0.0);
    within(NORMALISATION_TOLERANCE.max(rounding))
}
