//! The predictions as CSV, a line per example.
//!
//! The file is opened in spreadsheets. A name that they would carry out as a formula has `'` before
//! it, and control characters are made visible.

use std::io::{self, Write};

use super::display::neutralise;
use crate::confidence::label_name;

/// What both models say of every example of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionTable {
    /// The task's name.
    pub task: String,
    /// The split's name.
    pub split: String,
    /// The task's label names (K), which label ids index.
    pub label_names: Vec<String>,
    /// The examples (N), in data set order.
    pub rows: Vec<PredictionRow>,
}

/// What both models say of one example.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictionRow {
    /// 0-based position in the split.
    pub index: usize,
    /// The label's id; `None` where the data has none.
    pub label: Option<u32>,
    /// The teacher's confidence, in the reading that gates.
    pub teacher_confidence: f64,
    /// The student's confidence, in the same reading.
    pub student_confidence: f64,
    /// The label that the teacher predicts.
    pub teacher_predicted: u32,
    /// The label that the student predicts.
    pub student_predicted: u32,
    /// d = teacher's confidence − student's.
    pub difference: f64,
}

/// The columns, in order.
pub(super) const HEADER: [&str; 9] = [
    "task",
    "split",
    "index",
    "label",
    "teacher_confidence",
    "student_confidence",
    "teacher_predicted",
    "student_predicted",
    "difference",
];

/// Writes one header and every table's rows. Labels by name; floats in the shortest form that
/// reads back the same; an absent label is an empty field.
pub(super) fn write(tables: &[PredictionTable], out: &mut dyn Write) -> io::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record(HEADER).map_err(as_io)?;
    for table in tables {
        for row in &table.rows {
            write_row(&mut writer, table, row)?;
        }
    }
    writer.flush()
}

fn write_row<W: Write>(
    writer: &mut ::csv::Writer<W>,
    table: &PredictionTable,
    row: &PredictionRow,
) -> io::Result<()> {
    let name = |id| cell(&label_name(&table.label_names, id));
    writer.write_field(cell(&table.task)).map_err(as_io)?;
    writer.write_field(cell(&table.split)).map_err(as_io)?;
    writer.write_field(row.index.to_string()).map_err(as_io)?;
    writer.write_field(row.label.map(name).unwrap_or_default()).map_err(as_io)?;
    writer.write_field(row.teacher_confidence.to_string()).map_err(as_io)?;
    writer.write_field(row.student_confidence.to_string()).map_err(as_io)?;
    writer.write_field(name(row.teacher_predicted)).map_err(as_io)?;
    writer.write_field(name(row.student_predicted)).map_err(as_io)?;
    writer.write_field(row.difference.to_string()).map_err(as_io)?;
    writer.write_record(None::<&[u8]>).map_err(as_io)
}

/// A name as a cell of the table.
pub fn cell(name: &str) -> String {
    let shown = neutralise(name);
    // Spreadsheets skip white space, and read full-width signs as well.
    match shown.trim_start().chars().next() {
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠') => format!("'{shown}"),
        _ => shown,
    }
}

/// Lines of predictions, as a file has them.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictionLine {
    /// The line in the file, counted from 1.
    pub line: u64,
    /// A field for each column.
    pub fields: ::csv::StringRecord,
}

/// The columns of predictions.csv, in order.
pub const PREDICTION_COLUMNS: [&str; 9] = HEADER;

/// The lines of predictions in `text`, below its header.
///
/// # Errors
/// Text that is not CSV, or a line without nine fields.
pub fn prediction_lines(text: impl io::Read) -> Result<Vec<PredictionLine>, ::csv::Error> {
    let mut reader = ::csv::Reader::from_reader(text);
    let of = |record: ::csv::StringRecord| PredictionLine {
        line: record.position().map_or(0, ::csv::Position::line),
        fields: record,
    };
    reader.records().map(|record| record.map(of)).collect()
}

/// The lines that `tables` are written as.
pub fn lines_of_tables(tables: &[PredictionTable]) -> Vec<PredictionLine> {
    let mut text = Vec::new();
    write(tables, &mut text).expect("memory takes every byte");
    prediction_lines(text.as_slice()).expect("what was written can be read")
}

/// The error underneath, so that a closed pipe is known for what it is.
fn as_io(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn read(tables: &[PredictionTable]) -> (::csv::StringRecord, Vec<::csv::StringRecord>) {
        let mut out = Vec::new();
        write(tables, &mut out).unwrap();
        let mut reader = ::csv::Reader::from_reader(out.as_slice());
        let header = reader.headers().unwrap().clone();
        (header, reader.records().map(Result::unwrap).collect())
    }

    #[test]
    fn the_header_is_the_documented_one_even_without_rows() {
        let (header, rows) = read(&[]);
        assert_eq!(
            header.iter().collect::<Vec<_>>().join(","),
            "task,split,index,label,teacher_confidence,student_confidence,\
             teacher_predicted,student_predicted,difference"
        );
        assert!(rows.is_empty());
    }

    #[test]
    fn every_float_reads_back_to_the_same_bits() {
        let table = samples::predictions();
        let (_, rows) = read(&[table.clone(), table.clone()]);
        assert_eq!(rows.len(), 6);
        for (record, row) in rows.iter().zip(table.rows.iter().chain(&table.rows)) {
            let float = |column: usize| record[column].parse::<f64>().unwrap().to_bits();
            assert_eq!(float(4), row.teacher_confidence.to_bits());
            assert_eq!(float(5), row.student_confidence.to_bits());
            assert_eq!(float(8), row.difference.to_bits());
        }
        assert_eq!(&rows[1][3], "negative");
        assert_eq!(&rows[2][3], "");
        assert_eq!((&rows[0][6], &rows[0][7]), ("positive", "negative"));
    }

    #[test]
    fn hostile_names_stay_in_their_field() {
        let mut table = samples::predictions();
        table.label_names = vec![samples::HOSTILE.join(" "), samples::HOSTILE[8].to_owned()];
        let (_, rows) = read(&[table.clone()]);
        assert_eq!(rows.len(), 3);
        assert_eq!(&rows[0][3], cell(&table.label_names[1]));
        assert_eq!(&rows[0][7], cell(&table.label_names[0]));
        let acts = |cell: &&str| cell.contains('\u{1b}') || cell.starts_with('=');
        assert!(rows.iter().all(|row| row.iter().find(acts).is_none()));
    }

    #[test]
    fn a_name_is_not_a_formula() {
        for name in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1"] {
            assert!(cell(name).starts_with('\''), "{name}");
        }
        for name in ["positive", "not-duplicate", "a=b", "0", ""] {
            assert_eq!(cell(name), name);
        }
        assert_eq!(cell("=a\u{1b}[2J\u{202e}"), "'=a␛[2J\\u{202e}");
    }
}
