//! Probabilities that were written with few digits.

use crate::confidence::NORMALISATION_TOLERANCE;
use crate::task::table::{Cell, DataTable};

/// The largest distance of a sum from one that is ever taken for rounding: where most of many labels
/// are rounded to 0, the sum says nothing about the others.
const LARGEST: f64 = 0.05;

/// Room for the last bits of a sum.
const LAST_BITS: f64 = 1e-9;

/// The decimals with which the probabilities of a table were written: the most of any cell, since
/// trailing zeros may be left out.
pub(super) fn decimals(table: &DataTable, columns: &[usize]) -> u32 {
    let cells = (0..table.rows.len()).flat_map(|row| {
        columns.iter().map(move |&column| decimals_of(&table.rows[row].cells[column]))
    });
    cells.max().unwrap_or(0)
}

/// With how many digits the numbers of some columns were written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct WrittenDigits {
    /// The most behind the point.
    decimals: u32,
    /// The most that are significant.
    significant: u32,
}

impl WrittenDigits {
    /// Of all rows of the columns.
    pub(super) fn of(table: &DataTable, columns: &[usize]) -> Self {
        let cells = table.rows.iter().flat_map(|row| columns.iter().map(|&c| &row.cells[c]));
        let significant = cells.map(significant_of).max().unwrap_or(0);
        WrittenDigits { decimals: decimals(table, columns), significant }
    }

    /// By how much rounding may have changed `value`: half a unit of the last decimal, or of the last
    /// significant digit where that is more (`%.3g` writes 123.4 as 123).
    pub(super) fn half_unit(self, value: f64) -> f64 {
        let unit = |exponent: f64| 0.5 * 10f64.powf(exponent);
        let by_decimals = unit(-f64::from(self.decimals));
        match value == 0.0 || !value.is_finite() {
            true => by_decimals,
            false => by_decimals
                .max(unit(value.abs().log10().floor() + 1.0 - f64::from(self.significant))),
        }
    }
}

fn significant_of(cell: &Cell) -> u32 {
    let digits = |text: &str| {
        let mantissa = text.trim().split(['e', 'E']).next().unwrap_or_default();
        let digits = mantissa.chars().filter(char::is_ascii_digit);
        digits.skip_while(|digit| *digit == '0').count() as u32
    };
    match cell {
        Cell::Text(text) => digits(text),
        Cell::Number(value) if f64::from(*value as f32) == *value => {
            digits(&(*value as f32).to_string())
        }
        Cell::Number(value) => digits(&value.to_string()),
        Cell::Integer(value) => digits(&value.to_string()),
        _ => 0,
    }
}

fn decimals_of(cell: &Cell) -> u32 {
    match cell {
        Cell::Text(text) => decimals_of_text(text),
        // A number of 32 bits has the digits that it was written with.
        Cell::Number(value) if f64::from(*value as f32) == *value => {
            decimals_of_text(&(*value as f32).to_string())
        }
        Cell::Number(value) => decimals_of_text(&value.to_string()),
        _ => 0,
    }
}

/// Digits behind the point: 2 of `0.25`, 5 of `1e-05`.
fn decimals_of_text(text: &str) -> u32 {
    let text = text.trim();
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let fraction = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len() as i64);
    let exponent: i64 = exponent.parse().unwrap_or(0);
    u32::try_from(fraction.saturating_sub(exponent).clamp(0, 400)).expect("0 to 400")
}

/// By how much the sum of `labels` probabilities may differ from one if each is rounded to `decimals`:
/// half a unit of the last decimal per label, at most 0.05. `None` for whole numbers.
pub(super) fn allowed(decimals: u32, labels: usize) -> Option<f64> {
    let unit = 10f64.powi(-i32::try_from(decimals).ok()?);
    (decimals > 0).then_some((labels as f64 * unit / 2.0).min(LARGEST) + LAST_BITS)
}

/// What the normalisation of probabilities changed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Normalisation {
    /// Rows that were divided by their sum.
    pub rows: usize,
    /// The largest change of a probability by that, in [0, 1].
    pub largest: f64,
    /// Whether all rows were divided by 100 first.
    pub percent: bool,
}

/// Whether the columns hold percent values: all in [0, 100], some above one, and each row sums to 100
/// within the rounding of its digits.
pub(super) fn percent(table: &DataTable, columns: &[usize]) -> bool {
    let row = |row: usize| -> Option<(f64, f64)> {
        let values = columns.iter().map(|&column| table.number(row, column).ok().flatten());
        let values: Vec<f64> = values.collect::<Option<_>>()?;
        let is_share = values.iter().all(|value| (0.0..=100.0).contains(value));
        let largest = values.iter().copied().fold(0.0, f64::max);
        is_share.then(|| (values.iter().sum::<f64>() / 100.0, largest))
    };
    let within = |most: f64| {
        (0..table.rows.len()).all(|at| {
            row(at).is_some_and(|(sum, largest)| (sum - 1.0).abs() <= most && largest > 1.0)
        })
    };
    // Nearly all other tables end here, at the first row.
    let room = |decimals: u32| allowed(decimals + 2, columns.len()).unwrap_or(0.0);
    within(LARGEST + LAST_BITS)
        && within(NORMALISATION_TOLERANCE.max(room(decimals(table, columns))))
}

/// Divides each row by its sum where that differs from one by more than is accepted in any case and
/// by no more than `decimals` allow. Percent values are divided by 100 first.
pub(super) fn normalise(
    values: &mut [f64],
    labels: usize,
    decimals: u32,
    percent: bool,
) -> Normalisation {
    let mut done = Normalisation { percent, ..Normalisation::default() };
    if percent {
        values.iter_mut().for_each(|value| *value /= 100.0);
    }
    let decimals = if percent { decimals + 2 } else { decimals };
    let Some(allowed) = allowed(decimals, labels) else { return done };
    let mut sorted = vec![0.0; labels];
    for row in values.chunks_exact_mut(labels) {
        // Sorted, so that the order of the labels changes no bit.
        sorted.copy_from_slice(row);
        sorted.sort_unstable_by(f64::total_cmp);
        let sum: f64 = sorted.iter().sum();
        let apart = (sum - 1.0).abs();
        let is_probability = row.iter().all(|p| (0.0..=1.0).contains(p));
        if is_probability && apart > NORMALISATION_TOLERANCE && apart <= allowed {
            for p in row.iter_mut() {
                done.largest = done.largest.max((*p - *p / sum).abs());
                *p /= sum;
            }
            done.rows += 1;
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_those_written() {
        for (text, decimals) in [
            ("0.25", 2),
            (" 0.5 ", 1),
            ("1", 0),
            ("0.50", 2),
            ("1e-05", 5),
            ("1.5E-5", 6),
            ("2.5e1", 0),
            ("1e-999999999999", 400),
        ] {
            assert_eq!(decimals_of_text(text), decimals, "{text}");
        }
        assert_eq!(decimals_of(&Cell::Number(0.125)), 3);
        assert_eq!(decimals_of(&Cell::Number(f64::from(0.57f32))), 2);
        assert_eq!(decimals_of(&Cell::Number(0.57)), 2);
        assert_eq!(decimals_of(&Cell::Number(0.1234567890123)), 13);
        assert_eq!(decimals_of(&Cell::Integer(1)), 0);
    }

    #[test]
    fn a_number_is_as_exact_as_its_last_decimal_and_its_last_significant_digit() {
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
        // `%.2g`: -1.2 beside 0.017, and 120 as 1.2e+02.
        let short = WrittenDigits { decimals: 3, significant: 2 };
        assert!(near(short.half_unit(-1.2), 0.05) && near(short.half_unit(0.017), 0.0005));
        assert!(near(short.half_unit(120.0), 5.0) && near(short.half_unit(0.0), 0.0005));
        // `%.2f`.
        let fixed = WrittenDigits { decimals: 2, significant: 4 };
        assert!(near(fixed.half_unit(12.34), 0.005) && near(fixed.half_unit(0.05), 0.005));
        for (cell, digits) in [
            (Cell::Text("-0.017".into()), 2),
            (Cell::Text("1.2e+02".into()), 2),
            (Cell::Text("0".into()), 0),
            (Cell::Integer(12), 2),
            (Cell::Number(f64::from(0.57f32)), 2),
        ] {
            assert_eq!(significant_of(&cell), digits, "{cell:?}");
        }
    }

    #[test]
    fn rounding_allows_half_a_unit_for_each_label() {
        let near = |found: Option<f64>, expected: f64| (found.unwrap() - expected).abs() < 1e-8;
        assert!(near(allowed(2, 2), 0.01));
        assert!(near(allowed(3, 3), 0.0015));
        assert!(near(allowed(1, 2), 0.05) && near(allowed(2, 1000), 0.05), "no more than 0.05");
        assert_eq!(allowed(0, 2), None, "hard labels");
    }

    #[test]
    fn rows_within_rounding_are_divided_and_others_stay() {
        // 0.33 + 0.33 + 0.33 = 0.99; 3·0.005 = 0.015 allows it. 0.97 is 0.03 off.
        let mut values = [0.33, 0.33, 0.33, 0.5, 0.3, 0.17, 0.5, 0.25, 0.25];
        let done = normalise(&mut values, 3, 2, false);
        // 1/3 − 0.33.
        assert!(done.rows == 1 && (done.largest - (1.0 / 3.0 - 0.33)).abs() < 1e-12);
        assert!(values[..3].iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-15));
        assert_eq!(values[3..], [0.5, 0.3, 0.17, 0.5, 0.25, 0.25]);
        // Exactly at the limit of two labels: 0.49 + 0.5.
        let rows = |mut values: [f64; 2], decimals| normalise(&mut values, 2, decimals, false).rows;
        assert_eq!(rows([0.49, 0.5], 2), 1);
        assert_eq!(rows([0.49, 0.5], 3), 0);
        assert_eq!(rows([0.0, 0.0], 0), 0);
        assert_eq!(rows([1.02, -0.03], 2), 0, "not probabilities");
    }

    #[test]
    fn percent_values_are_divided_by_100_before_rounding_is_judged() {
        // 97.5 + 2.5 is exact; 33 + 66 is 1 off, and whole numbers of two labels allow 1.
        let mut values = [97.5, 2.5, 33.0, 66.0];
        let done = normalise(&mut values, 2, 0, true);
        assert!(done.percent && done.rows == 1, "{done:?}");
        assert!((values[0] - 0.975).abs() < 1e-15 && (values[2] - 1.0 / 3.0).abs() < 1e-15);
        assert!((done.largest - (2.0 / 3.0 - 0.66)).abs() < 1e-12);
    }
}
