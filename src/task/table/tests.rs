//! Tables of every format, and their errors.

use parquet::basic::Compression;

use super::*;
use crate::error::Interrupted;
use crate::task::testing::{write_parquet, Column, Folder};

fn failure<T: std::fmt::Debug>(result: Result<T>) -> String {
    crate::error::rendered(&result.unwrap_err())
}

fn read_table<P: AsRef<Path>>(paths: &[P]) -> Result<DataTable> {
    super::read_table(paths, &Interrupt::default())
}

#[test]
fn the_three_formats_give_the_same_table() {
    let folder = Folder::new();
    let csv = folder.write("a.csv", "id,logit_no,label\n1,0.5,no\n2,-1e3,\n");
    let jsonl = folder.write(
        "a.jsonl",
        "{\"id\": 1, \"logit_no\": 0.5, \"label\": \"no\"}\n{\"id\": 2, \"logit_no\": -1000, \"label\": null}\n",
    );
    let parquet = folder.path().join("a.parquet");
    let columns = [
        ("id", Column::Integer(&[Some(1), Some(2)])),
        ("logit_no", Column::Number(&[Some(0.5), Some(-1000.0)])),
        ("label", Column::Text(&[Some("no"), None])),
    ];
    write_parquet(&parquet, &columns, Compression::SNAPPY, None);
    for path in [csv, jsonl, parquet] {
        let table = read_table(&[&path]).unwrap();
        assert_eq!(table.columns, ["id", "logit_no", "label"]);
        let (id, logit, label) = (0, table.column("logit_no").unwrap(), 2);
        assert_eq!(table.text(1, id).unwrap().as_deref(), Some("2"), "{path:?}");
        assert_eq!(table.number(0, logit).unwrap(), Some(0.5));
        assert_eq!(table.number(1, logit).unwrap(), Some(-1000.0));
        assert_eq!(table.text(0, label).unwrap().as_deref(), Some("no"));
        assert_eq!(table.text(1, label).unwrap(), None);
        assert_eq!(table.number(1, label).unwrap(), None);
        assert_eq!(table.sha256, InputFile::open(&path).unwrap().sha256().unwrap());
    }
}

#[test]
fn files_are_one_table_whatever_the_order_of_their_columns() {
    let folder = Folder::new();
    folder.write("p-2.csv", "b,a\n4,3\n");
    folder.write("p-1.csv", "a,b\n1,2\n");
    let pattern = folder.path().join("p-*.csv").display().to_string();
    let files = expand_patterns(&[pattern]).unwrap();
    let table = read_table(&files).unwrap();
    assert_eq!(table.columns, ["a", "b"]);
    let cell = |row, column| table.number(row, column).unwrap().unwrap();
    assert_eq!([cell(0, 0), cell(0, 1), cell(1, 0), cell(1, 1)], [1.0, 2.0, 3.0, 4.0]);
    assert!(table.place(1).to_string().ends_with("p-2.csv` line 2"), "{}", table.place(1));

    let other = folder.write("q.csv", "a,c\n1,2\n");
    let error = failure(read_table(&[files[0].clone(), other]));
    assert!(error.contains("[a, c]") && error.contains("[a, b]"), "{error}");
}

#[test]
fn a_cell_that_is_not_a_number_is_named_by_place() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "x\n1\nmany\nNaN\n");
    let table = read_table(&[path]).unwrap();
    let error = failure(table.number(1, 0));
    assert!(error.contains("a.csv` line 3, column `x`: `many` is not a number"), "{error}");
    assert!(table.number(2, 0).unwrap().unwrap().is_nan());
    let path = folder.write("a.jsonl", "{\"x\": [1]}\n");
    let table = read_table(&[path]).unwrap();
    assert!(failure(table.number(0, 0)).contains("line 1, column `x`: a list is not a number"));
    assert!(failure(table.text(0, 0)).contains("a list"));
}

#[test]
fn a_table_loses_no_row() {
    let folder = Folder::new();
    for (name, text) in [
        ("long.csv", "a,b\n1,2,3\n"),
        ("short.csv", "a,b\n1\n"),
        ("short.tsv", "a\tb\n1\n"),
        ("broken.jsonl", "{\"a\": 1}\nnonsense\n"),
    ] {
        let error = failure(read_table(&[folder.write(name, text)]));
        assert!(error.contains(name) && error.contains("line "), "{error}");
    }
    let error = failure(read_table(&[folder.write("twins.csv", "a,a\n1,2\n")]));
    assert!(error.contains("two columns `a`"), "{error}");
}

#[test]
fn paths_that_are_not_tables_are_named() {
    let folder = Folder::new();
    let path = folder.write("a.csv", "logit_no,logit_yes\n1,2\n");
    let text = path.display().to_string();
    assert!(failure(expand_patterns(&[&text, &text])).contains("named twice"));
    assert!(failure(expand_patterns(&["nowhere-*.csv"])).contains("`nowhere-*.csv`"));
    assert!(failure(read_table(&[folder.write("a.xls", "")])).contains(".parquet"));
}

#[test]
fn reading_ends_between_two_rows_when_the_user_asks_to_stop() {
    let folder = Folder::new();
    let parquet = folder.path().join("a.parquet");
    let columns = [("x", Column::Integer(&[Some(1), Some(2)]))];
    write_parquet(&parquet, &columns, Compression::SNAPPY, None);
    let stop = Interrupt::default();
    stop.set();
    for path in [
        folder.write("a.csv", "x\n1\n"),
        folder.write("a.tsv", "x\n1\n"),
        folder.write("a.jsonl", "{\"x\": 1}\n"),
        parquet,
    ] {
        let error = super::read_table(&[&path], &stop).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error:#}");
        let expected = format!("interrupted: reading `{}`; no report was written", path.display());
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn columns_of_one_value_need_no_bytes_in_parquet() {
    let folder = Folder::new();
    let path = folder.path().join("constants.parquet");
    let (ones, bits): (Vec<_>, Vec<_>) = (0..800_000).map(|i| (Some(1), Some(i % 2))).unzip();
    let mut columns: Vec<(&str, Column)> =
        ["a", "b", "c", "d", "e"].map(|name| (name, Column::Integer(&ones))).into();
    columns.push(("f", Column::Integer(&bits)));
    write_parquet(&path, &columns, Compression::UNCOMPRESSED, None);
    let (size, cells) = (path.metadata().unwrap().len(), 6 * 800_000);
    assert!(FLOOR_OF_CELLS + size < cells, "{size} bytes");
    let table = read_table(&[&path]).unwrap();
    assert_eq!(table.rows.len(), 800_000);
    assert_eq!(table.number(799_999, 5).unwrap(), Some(1.0));
    // Empty cells of JSONL need no byte either, and honest rows have no columns that are always empty.
    let sparse: String = (0..3_000).map(|i| format!("{{\"k{i}\": 1}}\n")).collect();
    let error = failure(read_table(&[folder.write("sparse.jsonl", &sparse)]));
    assert!(error.contains("cells, the limit for files of this size"), "{error}");
}
