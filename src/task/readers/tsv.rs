//! Tab-separated lines without quoting: GLUE's official release.

use anyhow::Result;

use super::lines::{decode, not_utf8, refuse_twins, LineReader};
use super::{empty, header, pick, DataFile, RowSink};

pub(super) fn read(file: &DataFile, sink: &mut dyn RowSink) -> Result<()> {
    let mut lines = LineReader::of(file)?;
    let Some((number, first)) = lines.next()? else { return Err(empty(file)) };
    let first = split(file, number, first, &[])?;
    let (columns, first_row) = match file.headerless {
        Some(columns) if !is_header(&first, columns) => {
            (columns.iter().map(|name| (*name).to_owned()).collect(), Some(first))
        }
        _ => (first.iter().map(|name| name.trim().to_owned()).collect::<Vec<_>>(), None),
    };
    refuse_twins(&file.name, &columns)?;
    let wanted = header(file, &columns, sink)?;

    let row = |number: usize, fields: &[&str], sink: &mut dyn RowSink| match pick(
        fields,
        &wanted,
        columns.len(),
    ) {
        Ok(cells) => sink.row(file, number, cells),
        Err(reason) => sink.broken(file, number, reason),
    };
    if let Some(fields) = first_row {
        row(number, &fields.iter().map(String::as_str).collect::<Vec<_>>(), sink)?;
    }
    // Empty lines at the end are not rows; in a file of one column every line is a row.
    let mut blanks = Vec::new();
    while let Some((number, line)) = lines.next()? {
        if line.is_empty() && columns.len() > 1 {
            blanks.push(number);
            continue;
        }
        for blank in blanks.drain(..) {
            sink.broken(file, blank, "an empty line".to_owned())?;
        }
        let text = decode(line).map_err(|byte| wrong_byte(file, number, line, &columns, byte))?;
        row(number, &text.split('\t').collect::<Vec<_>>(), sink)?;
    }
    Ok(())
}

/// Whether the first line is a header: one of its cells is the last name of `columns` (CoLA's
/// `sentence`).
fn is_header(first: &[String], columns: &[&str]) -> bool {
    let text = columns.last().expect("a headerless layout has columns");
    first.iter().any(|cell| cell == text)
}

fn split(file: &DataFile, number: usize, line: &[u8], columns: &[String]) -> Result<Vec<String>> {
    let text = decode(line).map_err(|byte| wrong_byte(file, number, line, columns, byte))?;
    Ok(text.split('\t').map(str::to_owned).collect())
}

fn wrong_byte(
    file: &DataFile,
    number: usize,
    line: &[u8],
    columns: &[String],
    byte: usize,
) -> anyhow::Error {
    let column = line[..byte - 1].iter().filter(|&&byte| byte == b'\t').count();
    not_utf8(file.cell(number, columns, column), byte, "line")
}
