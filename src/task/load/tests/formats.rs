//! CSV, JSONL and Parquet; any text is read back unchanged.

use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use proptest::prelude::*;

use super::*;

#[test]
fn csv_lines_are_counted_whatever_ends_them() {
    for end in ["\n", "\r\n"] {
        let folder = Folder::new();
        let rows = ["sentence,label", "\"two", "lines\",1", "\"a \"\"b\"\"\",0", "", "c,7"];
        folder.write("train.csv", format!("\u{feff}{}{end}", rows.join(end)));
        refuses(&folder, &["line 6", "label 7"]);
        let rows = &rows[..5];
        folder.write("train.csv", rows.join(end));
        let data = folder.load("sst2", "train").unwrap();
        let first = format!("two{end}lines");
        assert_eq!(data.examples, [example(&first, Some(1)), example("a \"b\"", Some(0))]);
    }
}

#[test]
fn a_csv_quote_that_is_never_closed_does_not_swallow_rows() {
    let folder = Folder::new();
    folder.write("train.csv", "sentence,label\na,1\n\"b,0\nc,1\nd,0\n");
    refuses(&folder, &["train.csv", "line 3", "never closed"]);
    folder.write("train.csv", "sentence,label\n5\" pipe,1\n");
    assert_eq!(folder.load("sst2", "train").unwrap().examples, [example("5\" pipe", Some(1))]);
}

#[test]
fn a_csv_quote_that_was_data_does_not_merge_rows() {
    let folder = Folder::new();
    let rows = "\"so they said,1\nit is good,0\n\"well\" he said,1\ngood film,0\n";
    folder.write("train.csv", format!("sentence,label\n{rows}"));
    refuses(&folder, &["train.csv", "line 2", "closing quote in line 4", "twice"]);
    for quoted in ["\"a\" b,1", "c,\"1\"x", "\"a\" ,1"] {
        folder.write("train.csv", format!("sentence,label\nd,0\n{quoted}\n"));
        refuses(&folder, &["train.csv", "line 3", "closing quote"]);
    }
    // What is quoted as it should be, up to the end of the file.
    let rows = "\"a, \"\"b\"\"\r\nc\",\"1\"\r\n\"\",0\nd \"e\" f,1\ng,\"0\"";
    folder.write("train.csv", format!("\u{feff}\"sentence\",\"label\"\n{rows}"));
    let texts = ["a, \"b\"\r\nc", "", "d \"e\" f", "g"];
    let read = folder.load("sst2", "train").unwrap().examples;
    assert_eq!(read.iter().map(|e| e.text.as_str()).collect::<Vec<_>>(), texts);
}

#[test]
fn jsonl_rows_may_differ_in_keys_and_broken_ones_have_a_place() {
    let folder = Folder::new();
    let good =
        "{\"idx\": 1, \"sentence\": \"a\"}\n\n{\"label\": \"positive\", \"sentence\": \"b\"}\n";
    folder.write("train.jsonl", good);
    let data = folder.load("sst2", "train").unwrap();
    assert_eq!(data.examples, [example("a", None), example("b", Some(1))]);
    folder.write("train.jsonl", format!("{good}{{\"sentence\": 5}}\n{{\"sentence\": \n[1]\n"));
    let error = failure(folder.load("sst2", "train"));
    says(&error, &["3 of 5 rows", "line 4: column `sentence` holds a number"]);
    says(&error, &["line 5: not a JSON object, at column", "line 6: not a JSON object"]);
    folder.write("train.jsonl", "[{\"sentence\": \"a\"}]");
    refuses(&folder, &["JSON array", "jq"]);
}

#[test]
fn parquet_is_read_in_every_compression() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::BROTLI(BrotliLevel::default()),
    ];
    for codec in codecs {
        let folder = Folder::new();
        let path = folder.path().join("sst2/train-00000-of-00001.parquet");
        let columns = [
            ("idx", Column::Integer(&[Some(0), Some(1), Some(2)])),
            ("label", Column::Integer(&[Some(1), Some(-1), None])),
            ("sentence", Column::Text(&[Some("a"), Some("b \"\t"), Some("")])),
        ];
        write_parquet(&path, &columns, codec, None);
        let data = folder.load("sst2", "train").unwrap();
        let expected = [example("a", Some(1)), example("b \"\t", None), example("", None)];
        assert_eq!(data.examples, expected, "{codec:?}");
    }
}

#[test]
fn parquet_names_labels_where_the_task_does_not() {
    let folder = Folder::new();
    let features = r#"{"info": {"features": {"l": {"names": ["bad", "good"], "_type": "ClassLabel"},
                       "t": {"dtype": "string", "_type": "Value"}}}}"#;
    let columns =
        [("t", Column::Text(&[Some("a"), Some("b")])), ("l", Column::Integer(&[Some(1), Some(0)]))];
    let path = folder.path().join("rows.parquet");
    write_parquet(&path, &columns, Compression::SNAPPY, Some(features));
    let table = "text = 't'\nlabel = 'l'\nsplits = { train = 'rows.parquet' }";
    let data = folder.load_custom(table, "train").unwrap();
    assert_eq!(data.label_names, ["bad", "good"]);
    assert_eq!(data.examples, [example("a", Some(1)), example("b", Some(0))]);
    let turned = format!("{table}\nlabels = ['good', 'bad']");
    let data = folder.load_custom(&turned, "train").unwrap();
    assert_eq!(data.examples, [example("a", Some(0)), example("b", Some(1))], "matched by name");
}

#[test]
fn parquet_labels_may_be_names_and_nulls_in_texts_are_skipped_rows() {
    let folder = Folder::new();
    let path = folder.path().join("train.parquet");
    let labels = Column::Text(&[Some("positive"), Some("negative")]);
    let columns = [("sentence", Column::Text(&[Some("a"), None])), ("label", labels)];
    write_parquet(&path, &columns, Compression::SNAPPY, None);
    refuses(&folder, &["train.parquet", "line 2: column `sentence` holds null"]);
}

#[test]
fn a_parquet_file_that_was_damaged_is_an_error_and_no_crash() {
    let folder = Folder::new();
    let path = folder.path().join("train.parquet");
    let texts: Vec<String> = (0..50).map(|index| format!("sentence {index}")).collect();
    let texts: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
    let labels: Vec<Option<i64>> = (0..50).map(|index| Some(index % 2)).collect();
    let columns = [("sentence", Column::Text(&texts)), ("label", Column::Integer(&labels))];
    write_parquet(&path, &columns, Compression::UNCOMPRESSED, None);
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        refuses(&folder, &["train.parquet"]);
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xFF;
        std::fs::write(&path, damaged).unwrap();
        let _ = folder.load("sst2", "train"); // an error or other values, as the byte decides
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tsv_gives_back_any_text_without_tabs_and_line_ends(
        rows in prop::collection::vec(("[^\t\r\n\0]{0,30}", "[\"' ,a-z]{0,10}", 0..2u32), 1..20),
        crlf: bool,
        last_end: bool,
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut text = format!("sentence1\tsentence2\tlabel{end}");
        for (first, second, label) in &rows {
            text.push_str(&format!("{first}\t{second}\t{label}{end}"));
        }
        if !last_end {
            text.truncate(text.len() - end.len());
        }
        let folder = Folder::new();
        folder.write("RTE/train.tsv", text);
        let data = folder.load("rte", "train").unwrap();
        let expected: Vec<Example> =
            rows.iter().map(|(first, second, label)| pair(first, second, Some(*label))).collect();
        prop_assert_eq!(data.examples, expected);
    }

    #[test]
    fn csv_and_jsonl_give_back_any_text(
        rows in prop::collection::vec(("[^\0]{1,30}", 0..2u32), 1..20),
    ) {
        let expected: Vec<Example> =
            rows.iter().map(|(text, label)| example(text, Some(*label))).collect();
        let folder = Folder::new();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["sentence", "label"]).unwrap();
        let mut lines = String::new();
        for (text, label) in &rows {
            writer.write_record([text, &label.to_string()]).unwrap();
            let line = serde_json::json!({ "label": label, "sentence": text });
            lines.push_str(&format!("{line}\n"));
        }
        folder.write("train.csv", writer.into_inner().unwrap());
        folder.write("validation.jsonl", lines);
        prop_assert_eq!(&folder.load("sst2", "train").unwrap().examples, &expected);
        prop_assert_eq!(&folder.load("sst2", "validation").unwrap().examples, &expected);
    }
}
