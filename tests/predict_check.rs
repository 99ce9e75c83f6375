//! `audit predict` and `audit check`: prediction files give the same verdict as the models.

mod common;

use common::{codes, glue, note, number, says, with, Sandbox};
use serde_json::{json, Value};

/// What of a row is worked out from the predictions alone.
const FIGURES: [&str; 25] = [
    "n",
    "of",
    "verdict",
    "sigma",
    "sigma_centred",
    "mean_difference",
    "variants",
    "sigma_interval",
    "kappa",
    "beta",
    "budget",
    "spent",
    "spent_share",
    "course",
    "teacher",
    "student",
    "agreement",
    "agreement_share",
    "negative_flips",
    "intervals",
    "difference",
    "differences",
    "confidences",
    "divergence",
    "undefined",
];

fn figures(row: &Value) -> Vec<(&str, &Value)> {
    FIGURES.iter().map(|key| (*key, &row[*key])).collect()
}

/// The two models' logits on RTE's training split as CSV, JSONL and Parquet, and the audit of the
/// models themselves.
fn sandbox() -> (Sandbox, Value) {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    let labels = glue::labels("rte");
    sandbox.checkpoint("t", "architectures/distilbert", labels);
    sandbox.checkpoint("s", "architectures/electra", labels);
    for model in ["t", "s"] {
        for format in ["csv", "jsonl", "parquet"] {
            let file = format!("{model}.{format}");
            let what = ["--task", "rte", "--data", "glue", "--model", model, "--output", &file];
            let run = sandbox.audit(&with(&["predict"], &what));
            assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
            says(&run.stderr, &["wrote", &file, "24 examples"]);
        }
    }
    let models = ["--teacher", "t", "--student", "s", "--split", "train", "--data", "glue"];
    let row = sandbox.row(&with(&["--task", "rte"], &models));
    (sandbox, row)
}

fn check(teacher: &str, student: &str) -> Vec<String> {
    let files = ["--teacher-predictions", teacher, "--student-predictions", student];
    with(&["check", "--task", "rte"], &files)
}

/// The lines of a CSV file of predictions: its header and its rows.
fn lines(sandbox: &Sandbox, file: &str) -> (String, Vec<String>) {
    let text = sandbox.read(file);
    let mut lines = text.lines().map(str::to_owned);
    (lines.next().unwrap(), lines.collect())
}

fn write(sandbox: &Sandbox, file: &str, header: &str, rows: &[String]) {
    sandbox.write(file, format!("{header}\n{}\n", rows.join("\n")));
}

#[test]
fn predictions_of_every_format_are_judged_as_the_models_are_to_the_last_bit() {
    let (sandbox, row) = sandbox();
    let formats = ["csv", "jsonl", "parquet"];
    for teacher in formats {
        for student in formats {
            let files = check(&format!("t.{teacher}"), &format!("s.{student}"));
            let checked = sandbox.row(&files);
            assert_eq!(figures(&checked), figures(&row), "{teacher} against {student}");
        }
    }
}

#[test]
fn what_predict_writes_has_a_column_for_each_thing_that_check_reads() {
    let (sandbox, _) = sandbox();
    let (header, rows) = lines(&sandbox, "t.csv");
    assert_eq!(header, "id,logit_entailment,logit_not_entailment,label");
    assert_eq!(rows.len(), glue::TRAIN);
    assert!(rows[0].starts_with("0,") && rows[0].ends_with(",entailment"), "{}", rows[0]);
    let first: Value =
        serde_json::from_str(sandbox.read("t.jsonl").lines().next().unwrap()).unwrap();
    let keys: Vec<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, header.split(',').collect::<Vec<_>>());
}

#[test]
fn shards_are_one_table() {
    let (sandbox, row) = sandbox();
    let (header, rows) = lines(&sandbox, "t.csv");
    for (i, part) in rows.chunks(7).enumerate() {
        write(&sandbox, &format!("shards/t-{i}.csv"), &header, part);
    }
    assert_eq!(figures(&sandbox.row(&check("shards/t-*.csv", "s.parquet"))), figures(&row));
    // The same without ids: the shards' order is then the examples'.
    let without_id = |line: &String| line.split_once(',').unwrap().1.to_owned();
    for (i, part) in rows.chunks(7).enumerate() {
        let part: Vec<_> = part.iter().map(without_id).collect();
        write(&sandbox, &format!("shards/u-{i}.csv"), &without_id(&header), &part);
    }
    let by_order = sandbox.row(&check("shards/u-*.csv", "s.jsonl"));
    assert_eq!(figures(&by_order), figures(&row));
    // A pattern that finds a file twice would count its rows double.
    let run = sandbox.audit(&with(&check("shards/t-*.csv", "s.csv"), &["--quiet"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let twice = ["--teacher-predictions", "t.csv", "t.csv", "--student-predictions", "s.csv"];
    sandbox.audit(&with(&["check", "--task", "rte"], &twice)).fails(3, &["t.csv", "named twice"]);
}

#[test]
fn shards_without_ids_are_taken_in_the_order_of_their_numbers_with_a_warning() {
    let (sandbox, row) = sandbox();
    for model in ["t", "s"] {
        let (header, rows) = lines(&sandbox, &format!("{model}.csv"));
        let without_id = |line: &String| line.split_once(',').unwrap().1.to_owned();
        let rows: Vec<_> = rows.iter().map(without_id).collect();
        write(&sandbox, &format!("{model}-plain.csv"), &without_id(&header), &rows);
        // Twelve shards, z-1 to z-12.
        for (i, part) in rows.chunks(2).enumerate() {
            let shard = format!("{model}-shards/z-{}.csv", i + 1);
            write(&sandbox, &shard, &without_id(&header), part);
        }
    }
    let checked = sandbox.row(&check("t-shards/z-*.csv", "s-plain.csv"));
    assert_eq!(figures(&checked), figures(&row));
    for (teacher, student) in
        [("t-shards/z-*.csv", "s-plain.csv"), ("t-plain.csv", "s-shards/z-*.csv")]
    {
        let checked = sandbox.row(&check(teacher, student));
        let warning = note(&checked, "joined-by-row");
        assert_eq!(warning["level"], "warning");
        says(warning["message"].as_str().unwrap(), &["no `id` column", "order of their names"]);
    }
    assert!(!codes(&sandbox.row(&check("t-plain.csv", "s-plain.csv"))).contains(&"joined-by-row"));
}

#[test]
fn shuffled_rows_are_joined_by_id() {
    let (sandbox, row) = sandbox();
    let (header, mut rows) = lines(&sandbox, "s.csv");
    rows.reverse();
    rows.swap(3, 11);
    write(&sandbox, "shuffled.csv", &header, &rows);
    assert_eq!(figures(&sandbox.row(&check("t.jsonl", "shuffled.csv"))), figures(&row));
}

#[test]
fn columns_may_be_in_any_order() {
    let (sandbox, row) = sandbox();
    let turned = |line: &String| line.split(',').rev().collect::<Vec<_>>().join(",");
    let (header, rows) = lines(&sandbox, "s.csv");
    let rows: Vec<_> = rows.iter().map(turned).collect();
    write(&sandbox, "turned.csv", &turned(&header), &rows);
    assert_eq!(figures(&sandbox.row(&check("t.csv", "turned.csv"))), figures(&row));
}

/// Softmax of two logits as written in a CSV row.
fn softmax(row: &str) -> [f64; 2] {
    let cells: Vec<&str> = row.split(',').collect();
    let [a, b] = [cells[1], cells[2]].map(|cell| f64::from(cell.parse::<f32>().unwrap()));
    let first = 1.0 / (1.0 + (b - a).exp());
    [first, 1.0 - first]
}

/// Rewrites `file`'s logits as `id,probability_entailment,probability_not_entailment`.
fn as_probabilities(sandbox: &Sandbox, file: &str, to: &str) {
    let (_, rows) = lines(sandbox, file);
    let row = |(i, row): (usize, &String)| {
        let [a, b] = softmax(row);
        format!("{i},{a},{b}")
    };
    let rows: Vec<_> = rows.iter().enumerate().map(row).collect();
    write(sandbox, to, "id,probability_entailment,probability_not_entailment", &rows);
}

/// Rewrites `file`'s logits as `id,confidence,predicted`.
fn as_confidences(sandbox: &Sandbox, file: &str, to: &str) {
    let (_, rows) = lines(sandbox, file);
    let row = |(i, row): (usize, &String)| {
        let [a, b] = softmax(row);
        let predicted = if a >= b { "entailment" } else { "not_entailment" };
        format!("{i},{},{predicted}", a.max(b))
    };
    let rows: Vec<_> = rows.iter().enumerate().map(row).collect();
    write(sandbox, to, "id,confidence,predicted", &rows);
}

#[track_caller]
fn near(found: &Value, expected: &Value) {
    let (a, b) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!((a - b).abs() <= 1e-9, "{a} and {b}");
}

#[test]
fn probabilities_give_the_same_verdict_as_logits() {
    let (sandbox, row) = sandbox();
    as_probabilities(&sandbox, "t.csv", "pt.csv");
    as_probabilities(&sandbox, "s.csv", "ps.csv");
    // The true labels come from whichever file has them.
    for (teacher, student) in [("pt.csv", "s.csv"), ("t.csv", "ps.csv"), ("pt.csv", "ps.csv")] {
        let checked = sandbox.row(&check(teacher, student));
        for key in ["sigma", "sigma_centred", "mean_difference"] {
            near(&checked[key], &row[key]);
        }
        near(&checked["divergence"]["sum_kl"], &row["divergence"]["sum_kl"]);
        assert_eq!(checked["agreement"], row["agreement"]);
        let labelled = checked["teacher"]["labelled"].as_u64().unwrap();
        assert_eq!(labelled, if (teacher, student) == ("pt.csv", "ps.csv") { 0 } else { 24 });
    }
}

#[test]
fn predictions_with_only_a_confidence_are_audited_and_other_figures_are_null() {
    let (sandbox, row) = sandbox();
    as_confidences(&sandbox, "s.csv", "c.csv");
    let checked = sandbox.row(&check("t.csv", "c.csv"));
    near(&checked["sigma"], &row["sigma"]);
    for key in ["verdict", "agreement", "negative_flips"] {
        assert_eq!(checked[key], row[key], "{key}");
    }
    assert_eq!(checked["student"]["accuracy"], row["student"]["accuracy"]);
    assert_eq!(checked["divergence"], Value::Null);
    assert!(checked["undefined"]["divergence"].is_string());
    for figure in ["brier", "nll"] {
        assert_eq!(checked["student"][figure], Value::Null, "{figure}");
        assert!(checked["undefined"][format!("student.{figure}")].is_string(), "{figure}");
        assert_eq!(checked["teacher"][figure], row["teacher"][figure], "{figure}");
    }
    let variants = checked["variants"].as_array().unwrap();
    // A confidence and a predicted label are a distribution where there are two labels.
    let defined = |v: &Value| v["confidence"] != "teacher-class";
    assert!(variants.iter().all(|v| v["sigma"].is_number() == defined(v)));
    assert!(checked["undefined"]["variants.teacher-class"].is_string());
    let refused =
        sandbox.audit(&with(&check("t.csv", "c.csv"), &["--confidence", "teacher-class"]));
    refused.fails(3, &["teacher-class"]);
}

#[test]
fn a_limit_takes_the_first_rows() {
    let (sandbox, _) = sandbox();
    let row = sandbox.row(&with(&check("t.csv", "s.csv"), &["--limit", "5"]));
    assert_eq!((&row["n"], &row["of"], &row["partial"]), (&json!(5), &json!(24), &json!(true)));
    let models = ["--teacher", "t", "--student", "s", "--data", "glue", "--limit", "5"];
    let models = with(&models, &["--split", "train"]);
    let audited = sandbox.row(&with(&["--task", "rte"], &models));
    assert_eq!(figures(&row), figures(&audited));
}

#[test]
fn other_label_names_are_matched_by_the_label_map() {
    let (sandbox, row) = sandbox();
    let (header, rows) = lines(&sandbox, "s.csv");
    let header = header.replace("not_entailment", "no").replace("logit_entailment", "logit_yes");
    let header = header.replace(",label", "");
    let rows: Vec<_> = rows.iter().map(|row| row.rsplit_once(',').unwrap().0.to_owned()).collect();
    write(&sandbox, "renamed.csv", &header, &rows);
    let files = check("t.csv", "renamed.csv");
    sandbox.audit(&files).fails(3, &["different labels", "[yes, no]", "--label-map student:yes"]);
    let map = ["--label-map", "student:yes=entailment,student:no=not_entailment"];
    assert_eq!(figures(&sandbox.row(&with(&files, &map))), figures(&row));
}

#[test]
fn the_label_map_renames_what_a_model_predicted() {
    let (sandbox, _) = sandbox();
    as_confidences(&sandbox, "s.csv", "c.csv");
    let expected = sandbox.row(&check("t.csv", "c.csv"));
    let (header, rows) = lines(&sandbox, "c.csv");
    let named = |names: [&str; 2]| -> Vec<String> {
        let cell = |name: &str| names[usize::from(name == "not_entailment")].to_owned();
        let row = |row: &String| row.rsplit_once(',').map(|(a, b)| format!("{a},{}", cell(b)));
        rows.iter().map(|r| row(r).unwrap()).collect()
    };
    let files = check("t.csv", "named.csv");
    let checked = |map: &str| sandbox.audit(&with(&files, &["--label-map", map]));
    for (names, map) in [
        (["yes", "no"], "student:yes=entailment,student:no=not_entailment"),
        (["yes", "no"], "yes=entailment,no=not_entailment"),
        (["1", "0"], "student:LABEL_0=not_entailment,student:LABEL_1=entailment"),
        (
            ["not_entailment", "entailment"],
            "student:entailment=not_entailment,student:not_entailment=entailment",
        ),
    ] {
        write(&sandbox, "named.csv", &header, &named(names));
        let row = sandbox.row(&with(&files, &["--label-map", map]));
        assert_eq!(figures(&row), figures(&expected), "{names:?}");
    }
    // Half a swap would make one label of two.
    let half = "student:entailment=not_entailment,student:not_entailmnt=entailment";
    checked(half).fails(3, &["named.csv", "`predicted`", "`not_entailment`", "label map"]);
    checked("student:nonsense=entailment").fails(2, &["`nonsense`", "student's labels"]);
    checked("nonsense=entailment").fails(2, &["`nonsense`"]);
}

#[test]
fn tables_that_do_not_fit_together_name_the_file_and_the_line() {
    let (sandbox, _) = sandbox();
    let (header, rows) = lines(&sandbox, "s.csv");
    let plain = |line: &str| line.split_once(',').unwrap().1.to_owned();
    let file = |rows: &[String]| write(&sandbox, "bad.csv", &header, rows);
    let refused = |words: &[&str]| {
        let run = sandbox.audit(&with(&check("t.csv", "bad.csv"), &["--format", "json"]));
        run.fails(3, words);
        assert_eq!(run.json()["verdict"], "error");
    };
    file(&rows[..20]);
    refused(&["t.csv` line 22", "id `20`", "student"]); // the header is line 1
    let mut extra = rows.clone();
    extra.push("77,0.1,0.2,entailment".to_owned());
    file(&extra);
    refused(&["bad.csv` line 26", "id `77`", "teacher"]);
    let mut twice = rows.clone();
    twice[9] = rows[2].clone();
    file(&twice);
    refused(&["bad.csv` line 11", "the id `2`", "line 4"]);
    let mut other = rows.clone();
    other[4] = other[4].replace("not_entailment", "entailment");
    if other[4] == rows[4] {
        other[4] = other[4].replace(",entailment", ",not_entailment");
    }
    file(&other);
    refused(&["t.csv` line 6", "bad.csv` line 6", "same example"]);
    let unnamed: Vec<_> = rows[..20].iter().map(|row| plain(row)).collect();
    write(&sandbox, "bad.csv", &plain(&header), &unnamed);
    refused(&["24 rows", "20", "`id` column"]);
}

#[test]
fn invalid_cells_are_reported_with_file_line_and_column() {
    let (sandbox, _) = sandbox();
    let logits = "id,logit_entailment,logit_not_entailment,label";
    let probabilities = "id,probability_entailment,probability_not_entailment";
    let confidences = "id,confidence,predicted";
    let cases: [(&str, &str, &[&str]); 14] = [
        (logits, "1,NaN,0.5,entailment", &["line 3", "logit_entailment", "not finite"]),
        (logits, "1,0.5,inf,entailment", &["line 3", "logit_not_entailment", "not finite"]),
        (logits, "1,0.5,,entailment", &["line 3", "logit_not_entailment", "empty"]),
        (logits, "1,0.5,much,entailment", &["line 3", "logit_not_entailment", "much"]),
        (logits, "1,0.5,1e39,entailment", &["line 3"]), // above the largest f32
        (logits, "1,0.5,0.5,maybe", &["line 3", "label", "maybe", "entailment"]),
        (logits, "1,0.5", &["line 3", "logit_not_entailment"]),
        (logits, ",0.5,0.5,entailment", &["line 3", "`id`", "empty"]),
        (probabilities, "1,0.75,0.125", &["line 3", "sum", "0.875"]),
        (probabilities, "1,1.2,-0.2", &["line 3"]),
        (confidences, "1,1.5,entailment", &["line 3", "1.5"]),
        (confidences, "1,0.2,entailment", &["line 3", "0.2"]), // below 1/K
        (confidences, "1,0.7,perhaps", &["line 3", "predicted", "perhaps"]),
        (confidences, "1,0.7,", &["line 3", "predicted", "empty"]),
    ];
    for (header, row, words) in cases {
        let good = if header == confidences { "0,0.7,entailment" } else { "0,0.5,0.5" };
        let good = if header == logits { "0,0.5,0.5,entailment" } else { good };
        sandbox.write("bad.csv", format!("{header}\n{good}\n{row}\n"));
        let run = sandbox.audit(&with(&check("t.csv", "bad.csv"), &["--quiet"]));
        assert_eq!(run.code, 3, "{row}: {}", run.stdout);
        let json = sandbox.audit(&with(&check("t.csv", "bad.csv"), &["--format", "json"])).json();
        let message = json["tasks"][0]["error"]["message"].as_str().unwrap().to_owned();
        let hint = json["tasks"][0]["error"]["hint"].as_str().unwrap_or_default();
        says(&message, &["bad.csv"]);
        says(&format!("{message} {hint}"), words);
    }
}

#[test]
fn files_without_predictions_are_refused_with_the_required_columns() {
    let (sandbox, _) = sandbox();
    for (text, words) in [
        ("id,score\n0,0.5\n", &["[id, score]", "logit_<label>", "confidence"][..]),
        ("id,logit_entailment\n0,0.5\n", &["one `logit_` column"]),
        ("id,logit_entailment,logit_not_entailment\n", &["bad.csv", "empty split"]),
        ("", &["bad.csv", "empty"]),
    ] {
        sandbox.write("bad.csv", text);
        sandbox.audit(&check("t.csv", "bad.csv")).fails(3, words);
    }
    sandbox.audit(&check("t.csv", "none-*.csv")).fails(3, &["none-*.csv", "no file"]);
    sandbox.write("x-1.csv", "id,logit_entailment,logit_not_entailment\n0,1,2\n");
    sandbox.write("x-2.csv", "id,confidence,predicted\n1,0.7,entailment\n");
    sandbox.audit(&check("t.csv", "x-*.csv")).fails(3, &["x-2.csv", "columns"]);
}

#[test]
fn a_student_with_other_labels_but_the_same_confidence_is_audited() {
    let sandbox = Sandbox::new();
    let rows = |shift: f64| -> String {
        let row = |i: usize| format!("{},entailment\n", 0.6 + 0.03 * i as f64 + shift);
        (0..8).map(row).collect()
    };
    sandbox.write("t.csv", format!("confidence,predicted\n{}", rows(0.0)));
    sandbox.write("s.csv", format!("confidence,predicted\n{}", rows(0.04)));
    let row = sandbox.row(&check("t.csv", "s.csv"));
    // d is −0.04 everywhere, so σ = 0.04 and σ about the mean is 0.
    assert!((number(&row, "sigma") - 0.04).abs() < 1e-12);
    assert!(number(&row, "sigma_centred") < 1e-9);
    assert_eq!(row["verdict"], "preserved");
    assert_eq!(row["undefined"]["teacher.accuracy"], "the predictions carry no label");
    let run = sandbox.audit(&with(&check("t.csv", "s.csv"), &["--kappa", "0.039"]));
    assert_eq!(run.code, 1);
    let row = sandbox.row(&with(&check("t.csv", "s.csv"), &["--kappa", "0.6"]));
    says(note(&row, "vacuous")["message"].as_str().unwrap(), &["0.6", "2 labels"]);
}

#[test]
fn a_table_of_predictions_has_no_record_to_take_the_bound_from() {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", "confidence,predicted\n0.75,entailment\n");
    sandbox.write("audit.toml", "[defaults]\nbound = \"from-student\"\n");
    let words = ["`audit.toml` [defaults]", "distillation.json", "audit check", "--kappa"];
    sandbox.audit(&check("t.csv", "t.csv")).fails(2, &words).prints_no_report();
    assert_eq!(sandbox.audit(&with(&check("t.csv", "t.csv"), &["--kappa", "0.05"])).code, 0);
}

#[test]
fn a_limit_leaves_the_rows_behind_it_out_of_the_warnings() {
    let sandbox = Sandbox::new();
    // Ten rows of which both models have all right, then a hundred that they have wrong.
    let row = |i: usize| {
        let names = glue::labels("rte");
        let predicted = usize::from(i >= 10) ^ (i % 2);
        format!("0.75,{},{}\n", names[predicted], names[i % 2])
    };
    let rows: String = (0..110).map(row).collect();
    sandbox.write("t.csv", format!("confidence,predicted,label\n{rows}"));
    let files = check("t.csv", "t.csv");
    note(&sandbox.row(&files), "worse-than-majority");
    let limited = sandbox.row(&with(&files, &["--limit", "10"]));
    assert_eq!(limited["teacher"]["accuracy"], 1.0);
    assert!(!codes(&limited).contains(&"worse-than-majority"));
}

/// A user's own task without `labels`, and models that name none: `LABEL_0`, `LABEL_1`.
#[test]
fn labels_without_names_go_through_a_file_too() {
    let sandbox = Sandbox::new();
    for model in ["t", "s"] {
        let from = if model == "t" { "architectures/distilbert" } else { "architectures/electra" };
        sandbox.checkpoint(model, from, &["LABEL_0", "LABEL_1"]);
    }
    let rows: String = (0..8).map(|i| format!("{}\t{}\n", glue::sentence(i), i % 2)).collect();
    sandbox.write("train.tsv", format!("x\ty\n{rows}"));
    let config = "[task.mine]\ntext = \"x\"\nlabel = \"y\"\nsplits = { train = \"train.tsv\" }\n";
    sandbox.write("audit.toml", config);
    let mine = ["--task", "mine"];
    let models = with(&mine, &["--teacher", "t", "--student", "s"]);
    let expected = sandbox.row(&models);
    for format in ["csv", "jsonl", "parquet"] {
        let files = ["t", "s"].map(|model| format!("{model}.{format}"));
        for (model, file) in ["t", "s"].iter().zip(&files) {
            let what = with(&with(&["predict"], &mine), &["--model", *model, "--output", file]);
            assert_eq!(sandbox.audit(&what).code, 0);
        }
        let [t, s] = files;
        let what = ["--teacher-predictions", t.as_str(), "--student-predictions", s.as_str()];
        let checked = sandbox.row(&with(&with(&["check"], &mine), &what));
        assert_eq!(figures(&checked), figures(&expected), "{format}");
        assert_eq!(checked["groups"][0]["name"], "LABEL_0");
    }
    // Ids alone, in columns and cells.
    let (header, rows) = lines(&sandbox, "t.csv");
    let rows: Vec<_> = rows.iter().map(|row| row.replace("LABEL_", "")).collect();
    write(&sandbox, "t.csv", &header.replace("LABEL_", ""), &rows);
    let what = ["--teacher-predictions", "t.csv", "--student-predictions", "s.csv"];
    let checked = sandbox.row(&with(&with(&["check"], &mine), &what));
    assert_eq!(figures(&checked), figures(&expected));
}
