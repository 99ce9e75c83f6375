//! Columns that are separated otherwise than the file's name says, and decimal commas.

use anyhow::{bail, Result};

use super::{DataFile, DataFormat};
use crate::error::failure;

/// Refuses a text whose header is one column that contains another separator.
///
/// # Errors
/// Naming the file, the separator and what to do.
pub(crate) fn refuse_other_separator(file: &DataFile, columns: &[String]) -> Result<()> {
    let own = match file.format {
        DataFormat::Csv => ',',
        DataFormat::Tsv => '\t',
        _ => return Ok(()),
    };
    let name = &file.name;
    // Excel's first line `sep=;` says how the others are separated.
    if columns[0].starts_with("sep=") {
        bail!(failure!("`{name}` begins with the line `{}` of a spreadsheet", columns[0])
            .hint("remove that line; the columns of a .csv are separated by commas"));
    }
    let [header] = columns else { return Ok(()) };
    let is_other = |&(separator, _): &(char, &str)| {
        separator != own && {
            let parts: Vec<&str> = header.split(separator).collect();
            parts.len() > 1 && parts.iter().skip(1).all(|part| !part.trim().is_empty())
        }
    };
    let Some((separator, called)) = SEPARATORS.into_iter().find(is_other) else { return Ok(()) };
    let hint = match separator {
        '\t' => "name it .tsv",
        ',' => "name it .csv",
        _ => {
            "write it with commas and decimal points (pandas: `to_csv` without `sep` and \
             `decimal`), or as .jsonl or .parquet"
        }
    };
    let (extension, expected) = match own {
        ',' => ("csv", "commas"),
        _ => ("tsv", "tabs"),
    };
    bail!(failure!(
        "`{name}` separates its columns by {called}, and a .{extension} file has {expected}"
    )
    .hint(hint))
}

const SEPARATORS: [(char, &str); 4] =
    [('\t', "tabs"), (';', "semicolons (`;`)"), (',', "commas"), ('|', "bars (`|`)")];

/// Why a row with more fields than columns cannot be used.
pub(super) fn too_many(fields: &[&str], columns: usize) -> String {
    let count = fields.len();
    let digits = |field: &&str| {
        let digits = field.trim().trim_start_matches('-');
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let pairs = fields.windows(2).filter(|pair| pair.iter().all(digits)).count();
    let why = match pairs >= count - columns {
        true => "; a number with a decimal comma is two: write `0.9`, not `0,9`",
        false => "",
    };
    format!("{count} columns where the header has {columns}{why}")
}

/// A number with a decimal comma, written with a point.
pub(crate) fn with_decimal_point(text: &str) -> Option<String> {
    let (whole, fraction) = text.trim().split_once(',')?;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = format!("{whole}.{fraction}");
    let (mantissa, _) = fraction.split_once(['e', 'E']).unwrap_or((fraction, ""));
    let is_number = digits(whole.trim_start_matches(['-', '+'])) && digits(mantissa);
    (is_number && number.parse::<f64>().is_ok()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_commas_are_told_from_other_text() {
        for (text, point) in
            [("0,9", "0.9"), (" -1,25 ", "-1.25"), ("3,0e-05", "3.0e-05"), ("+7,1", "+7.1")]
        {
            assert_eq!(with_decimal_point(text).as_deref(), Some(point), "{text}");
        }
        for text in ["0.9", "a,b", "1,", ",5", "1,2,3", "", "1,inf"] {
            assert_eq!(with_decimal_point(text), None, "{text}");
        }
    }

    #[test]
    fn extra_fields_of_digits_are_decimal_commas() {
        let why = too_many(&["7", "0", "9", "0", "1"], 3);
        assert!(why.starts_with("5 columns where the header has 3; a number with"), "{why}");
        assert_eq!(too_many(&["a", "b", "c"], 2), "3 columns where the header has 2");
    }
}
