//! Files as NumPy, pandas, polars, datasets and a pipeline of transformers write them
//! (scripts/fixtures/prediction_tables.py). All hold the logits of [`super::student_margin`], or their
//! softmax.

use std::path::PathBuf;

use super::common::{note, number, with, Sandbox};
use super::{check, csv, in_order, margin, refused_file, SIGMA};

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tables");
    folder.join(name).display().to_string()
}

/// The row of the check of `name` against `teacher`, both of the fixtures.
#[track_caller]
fn row_of(teacher: &str, name: &str) -> serde_json::Value {
    Sandbox::new().row(&check(&fixture(teacher), &fixture(name)))
}

#[track_caller]
fn has_sigma(teacher: &str, name: &str, tolerance: f64) -> serde_json::Value {
    let row = row_of(teacher, name);
    let sigma = number(&row, "sigma");
    assert!((sigma - SIGMA).abs() < tolerance, "{name}: {sigma}, expected {SIGMA}");
    row
}

#[track_caller]
fn refused_fixture(name: &str, words: &[&str]) {
    Sandbox::new().audit(&check(&fixture("teacher.csv"), &fixture(name))).fails(3, words);
}

#[test]
fn an_array_of_numpy_is_logits_or_probabilities_by_its_values() {
    for name in ["logits_f32.npy", "logits_f64.npy", "logits_fortran.npy", "probabilities.npy"] {
        has_sigma("teacher.csv", name, 1e-8);
    }
    // f16 has 11 bits: logits below 4 are rounded by at most 2^-10.
    let row = has_sigma("teacher.csv", "logits_f16.npy", 1e-3);
    assert!((number(&row, "sigma") - SIGMA).abs() > 1e-9, "the values of f16");
}

#[test]
fn the_arrays_of_an_npz_are_found_by_their_names() {
    let row = has_sigma("teacher_ids.csv", "arrays.npz", 1e-8);
    assert_eq!(row["student"]["labelled"], 40);
    has_sigma("teacher.csv", "compressed.npz", 1e-8);
    // What Trainer.predict returns.
    let row = has_sigma("teacher.csv", "trainer.npz", 1e-8);
    assert_eq!(row["student"]["labelled"], 40);
}

#[test]
fn arrays_that_cannot_be_read_are_refused() {
    refused_fixture("objects.npy", &["objects.npy", "Python objects", "np.stack"]);
    let header = |shape: &str, kind: &str| {
        let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.bytes());
        bytes
    };
    for (shape, words) in [
        ("(1000000000000, 2)", ["1000000000000 × 2 elements", "damaged"]),
        ("(1000000000000, 0)", ["no column", "s.npy"]),
        ("(4, 2, 2)", ["3 axes", "examples and labels"]),
        ("(4, 2)", ["cut short or damaged", "s.npy"]),
    ] {
        refused_file("s.npy", header(shape, "<f4"), &words);
    }
    refused_file("s.npy", header("(1, 2)", "<c8"), &["type", "float32"]);
    refused_file("s.npy", b"PK\x03\x04", &["an archive of arrays", "….npz"]);
    refused_file("s.npz", header("(4, 2)", "<f4"), &["is one array", "….npy"]);
    refused_file("s.npz", b"1,2\n", &["no array of NumPy"]);
}

#[test]
fn an_array_that_may_be_either_is_refused() {
    let mut bytes = b"\x93NUMPY\x01\x00\x46\x00".to_vec();
    bytes.extend(b"{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }".iter());
    bytes.resize(80, b' ');
    for value in [0.9f64, 0.8, 0.1, 0.3, 0.5, 0.25] {
        bytes.extend(value.to_le_bytes());
    }
    refused_file(
        "s.npy",
        bytes,
        &["logits or probabilities", "not every row sums to 1", "np.savez"],
    );
}

#[test]
fn columns_of_lists_are_read_in_every_format() {
    for name in [
        "pandas_lists.parquet",
        "pandas_lists.csv",
        "pandas_lists.jsonl",
        "pandas_records.json",
        "polars_lists.parquet",
        "polars_array.parquet",
        "pyarrow_fixed.parquet",
    ] {
        has_sigma("teacher_ids.csv", name, 1e-8);
    }
    // The rows are in another order, and the index of pandas is a column.
    has_sigma("teacher_ids.csv", "pandas_index.parquet", 1e-8);
    refused_fixture("pandas_arrays.csv", &["line 2, column `logits`", "array.tolist()"]);
}

#[test]
fn arrow_files_and_streams_are_read() {
    for name in ["pandas.feather", "polars_stream.arrow", "pyarrow_lz4.feather"] {
        has_sigma("teacher_ids.csv", name, 1e-8);
    }
    let bytes = std::fs::read(fixture("polars_stream.arrow")).unwrap();
    for cut in [bytes.len() - 1, bytes.len() / 2, 9, 0] {
        refused_file("s.arrow", &bytes[..cut], &["cannot be read as Arrow IPC", "cut short"]);
    }
    let bytes = std::fs::read(fixture("pandas.feather")).unwrap();
    refused_file("s.feather", &bytes[..bytes.len() - 1], &["does not end as a file"]);
    refused_file("s.feather", "FEA1 of the old version", &["Feather version 1"]);
}

#[test]
fn a_data_set_that_was_saved_to_disk_is_read_in_the_order_of_its_rows() {
    let row = has_sigma("teacher_ids.csv", "saved", 1e-8);
    assert_eq!(row["student"]["labelled"], 40);
    has_sigma("teacher.csv", "saved", 1e-8);
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", csv("", &in_order(), |_| String::new(), margin));
    sandbox.write("all/dataset_dict.json", "{\"splits\": [\"test\"]}");
    sandbox.audit(&check("t.csv", "all")).fails(3, &["several splits", "all/test"]);
    sandbox.write("none/a.csv", "");
    sandbox.audit(&check("t.csv", "none")).fails(3, &["`none` is a folder", "save_to_disk"]);
    sandbox.write("gone/state.json", "{\"_data_files\": [{\"filename\": \"data-0.arrow\"}]}");
    sandbox.audit(&check("t.csv", "gone")).fails(3, &["`data-0.arrow`, which is not there"]);
    sandbox.write("out/state.json", "{\"_data_files\": [{\"filename\": \"../t.csv\"}]}");
    sandbox.audit(&check("t.csv", "out")).fails(3, &["`../t.csv`, which is not there"]);
    sandbox.write("order/state.json", "{\"_data_files\": [], \"_indices_data_files\": [1]}");
    sandbox.audit(&check("t.csv", "order")).fails(3, &["flatten_indices"]);
}

#[test]
fn lists_of_a_data_set_that_orders_its_labels_otherwise_are_refused() {
    let words =
        ["[positive, negative]", "[negative, positive]", "order is not known", "logit_<label>"];
    refused_fixture("other_order.parquet", &words);
}

#[test]
fn columns_called_after_the_labels_alone_are_told_apart_by_their_values() {
    has_sigma("teacher.csv", "pandas_bare.csv", 1e-8);
    has_sigma("teacher.csv", "pandas_named.csv", 1e-8);
    let text = csv("", &in_order(), |_| String::new(), super::student_margin);
    let text = text.replace("logit_negative,logit_positive", "LABEL_0,LABEL_1");
    let sandbox = Sandbox::new();
    sandbox.write("s.csv", text);
    let row = sandbox.row(&check(&fixture("teacher.csv"), "s.csv"));
    assert!((number(&row, "sigma") - SIGMA).abs() < 1e-8);
}

#[test]
fn the_lists_of_a_pipeline_are_the_scores_of_all_labels() {
    let sandbox = Sandbox::new();
    let exact = fixture("pipeline.csv");
    let mut teacher = String::from("probability_negative,probability_positive\n");
    for i in 0..40 {
        let p = 1.0 / (1.0 + (-margin(i)).exp());
        teacher.push_str(&format!("{p},{}\n", 1.0 - p));
    }
    sandbox.write("t.csv", teacher);
    let expected = sandbox.row(&check("t.csv", &exact));
    assert!(number(&expected, "sigma") > 0.01);
    for name in ["pipeline_all.json", "pipeline_all.jsonl", "pipeline.json", "pipeline.jsonl"] {
        let row = sandbox.row(&check("t.csv", &fixture(name)));
        let apart = (number(&row, "sigma") - number(&expected, "sigma")).abs();
        assert!(apart < 1e-7, "{name}: {apart}");
        assert_eq!(row["student"]["labelled"], 0, "{name}");
    }
    for (name, text, words) in [
        ("s.json", "[{\"label\": \"positive\"", ["not one array of JSON", "`.jsonl`"]),
        ("s.json", "[1, 2]", ["not one array of JSON", "an object, or a list"]),
        ("s.json", "[[]]", ["an empty list", "s.json"]),
        ("s.jsonl", "[[[1]]]\n", ["not a list of one example", "`.json`"]),
        (
            "s.jsonl",
            "[{\"label\": \"positive\", \"score\": 0.9}, {\"label\": \"positive\", \"score\": 0.8}]\n",
            ["`score_positive` is there twice", "one example"],
        ),
    ] {
        refused_file(name, text, &words);
    }
}

#[test]
fn percent_values_are_taken_on_request_and_the_largest_correction_is_noted() {
    let files = check(&fixture("teacher.csv"), &fixture("percent.csv"));
    let sandbox = Sandbox::new();
    sandbox.audit(&files).fails(3, &["sums to 100", "percent", "--normalise"]);
    let row = sandbox.row(&with(&files, &["--normalise"]));
    // Rounded to 0.1 percent: probabilities are off by 0.0005 at most.
    assert!((number(&row, "sigma") - SIGMA).abs() < 5e-4, "{}", row["sigma"]);
    let note = note(&row, "rows-normalised")["message"].as_str().unwrap().to_owned();
    assert!(note.contains("percent values were divided by 100"), "{note}");
    assert!(note.contains("largest correction of a probability is"), "{note}");
}

#[test]
fn labels_on_the_command_line_are_a_task_without_a_config() {
    let sandbox = Sandbox::new();
    let text = "0,1,2\n3.5,-1,0.5\n0.25,2,-3\n0,1,4\n";
    sandbox.write("t.csv", text);
    sandbox.write("s.csv", text.replace("3.5", "2.5"));
    let files = ["--teacher-predictions", "t.csv", "--student-predictions", "s.csv"];
    let labels = ["--labels", "bad, fair,good"];
    let own = with(&with(&["check", "--task", "reviews"], &labels), &files);
    let report = sandbox.report(&own);
    let command = report["manifest"]["commands"][0]["command"].as_str().unwrap().to_owned();
    assert!(command.contains("--task reviews") && command.contains("--labels"), "{command}");
    assert_eq!(report["tasks"][0]["n"], 3);
    let names = &report["manifest"]["models"][0];
    assert_eq!(names["task"], "reviews");
    let wrong = with(&with(&["check", "--task", "sst2"], &labels), &files);
    sandbox.audit(&wrong).fails(2, &["--labels cannot change", "another name"]);
    let none = with(&with(&["check"], &labels), &files);
    sandbox.audit(&none).fails(2, &["--labels needs one --task"]);
}
