//! `--split` with several names, secondary splits, and the command that reproduces a row.

mod common;

use common::{demo, number, reproducible, says, with, Sandbox};
use serde_json::Value;

/// The demo's over-confident pair as a task of one's own, with a third split.
fn sandbox() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let validation = std::fs::read_to_string(demo("validation.tsv")).unwrap();
    // The header and the first half of the 150 examples.
    let held_out: Vec<&str> = validation.lines().take(1 + 75).collect();
    sandbox.write("held out.tsv", held_out.join("\n") + "\n");
    let config = format!(
        "[task.reviews]\ntext = \"sentence\"\nlabel = \"label\"\nlabels = [\"negative\", \
         \"positive\"]\nteacher = {:?}\nstudent = {:?}\nmax_length = 64\n[task.reviews.splits]\n\
         train = {:?}\nvalidation = {:?}\nextra = \"held out.tsv\"\ncopy = {:?}\n",
        demo("teacher"),
        demo("student-overconfident"),
        demo("train.tsv"),
        demo("validation.tsv"),
        demo("train.tsv")
    );
    sandbox.write("my audit.toml", config);
    let arguments = ["--task", "reviews", "--config", "my audit.toml"].map(str::to_owned).to_vec();
    (sandbox, arguments)
}

fn rows(report: &Value) -> Vec<(&str, bool, usize)> {
    report["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let n = row["n"].as_u64().unwrap() as usize;
            (row["split"].as_str().unwrap(), row["gates"].as_bool().unwrap(), n)
        })
        .collect()
}

#[test]
fn the_first_split_gates_and_the_others_are_secondary_in_order() {
    let (sandbox, pair) = sandbox();
    let report = sandbox.report(&with(&pair, &["--split", "validation,train,extra"]));
    assert_eq!(
        rows(&report),
        [("validation", true, 150), ("train", false, 500), ("extra", false, 75)]
    );
    // One name alone is run alone, and none means train with validation beside it.
    let alone = sandbox.report(&with(&pair, &["--split", "extra"]));
    assert_eq!(rows(&alone), [("extra", true, 75)]);
    let default = sandbox.report(&pair);
    assert_eq!(rows(&default), [("train", true, 500), ("validation", false, 150)]);
    // A row's figures do not depend on what stands beside it.
    let figures = |row: &Value| {
        let mut row = row.clone();
        let of_the_run = ["gates", "seconds", "rows_from_cache", "recalibrated"];
        for key in of_the_run.into_iter().chain(["undefined", "notes", "student_bound"]) {
            row[key] = Value::Null;
        }
        row
    };
    assert_eq!(figures(&report["tasks"][1]), figures(&default["tasks"][0]));
    assert_eq!(figures(&report["tasks"][2]), figures(&alone["tasks"][0]));
}

#[test]
fn the_exit_code_is_the_first_split_s() {
    let (sandbox, pair) = sandbox();
    // σ is 0.094 on train and 0.112 on validation.
    let at =
        |splits: &str| sandbox.audit(&with(&pair, &["--kappa", "0.1", "--split", splits])).code;
    assert_eq!((at("train,validation"), at("validation,train")), (0, 1));
}

#[test]
fn unseen_inputs_have_a_limit_from_every_split_but_the_training_set() {
    let (sandbox, pair) = sandbox();
    let report = sandbox.report(&with(&pair, &["--split", "train,validation,extra"]));
    let [train, validation, extra] = [0, 1, 2].map(|i| &report["tasks"][i]);
    assert_eq!(train["sigma_unseen"], Value::Null);
    says(train["undefined"]["sigma_unseen"].as_str().unwrap(), &["trained on"]);
    let limit = |row: &Value| number(&row["sigma_unseen"], "sigma");
    assert_eq!(validation["sigma_unseen"]["level"], 0.95);
    assert!(limit(validation) > number(validation, "sigma") && limit(validation) < 0.5);
    // The training data under another name, and the first rows of a file, are no sample of them.
    let copy = &sandbox.report(&with(&pair, &["--split", "train,copy"]))["tasks"][1];
    assert_eq!((&copy["sigma"], &copy["sigma_unseen"]), (&train["sigma"], &Value::Null));
    let first = &sandbox.report(&with(&pair, &["--split", "copy,train"]))["tasks"];
    for row in [&first[0], &first[1]] {
        says(row["undefined"]["sigma_unseen"].as_str().unwrap(), &["trained on"]);
        // Nor is a temperature told of the data that it was fitted on.
        assert_eq!(row["recalibrated"], Value::Null);
    }
    let part = sandbox.row(&with(&pair, &["--split", "validation", "--limit", "100"]));
    says(part["undefined"]["sigma_unseen"].as_str().unwrap(), &["no random sample"]);
    // Half as many examples say less.
    assert!(
        limit(extra) - number(extra, "sigma") > limit(validation) - number(validation, "sigma")
    );
    let text = sandbox.audit(&pair).stdout;
    says(&text, &[&format!("σ ≤ {:.4} on unseen inputs (95 % limit", limit(validation))]);
}

#[test]
fn the_temperature_of_a_secondary_split_agrees_with_recalibrate() {
    let (sandbox, pair) = sandbox();
    let report = sandbox.report(&pair);
    let [train, validation] = [0, 1].map(|i| &report["tasks"][i]);
    assert_eq!(validation["recalibrated"], Value::Null);
    says(validation["undefined"]["recalibrated"].as_str().unwrap(), &["fitted on this split"]);
    let arguments = with(&["recalibrate"], &with(&pair, &["--format", "json"]));
    let fitted = sandbox.audit(&arguments).json();
    let of = &train["recalibrated"];
    assert_eq!(of["temperature"], fitted["temperature"]);
    assert_eq!(of["sigma"], fitted["gate"]["after"]["sigma"]);
    assert_eq!(of["fitted_on"], "validation");
    assert!(number(of, "sigma") < number(train, "sigma"));
    let alone = sandbox.row(&with(&pair, &["--split", "train"]));
    says(alone["undefined"]["recalibrated"].as_str().unwrap(), &["no other split"]);
    let early = sandbox.row(&with(&pair, &["--fail-fast"]));
    assert_eq!(
        (&early["recalibrated"], &early["verdict"]),
        (&Value::Null, &"not_preserved".into())
    );
}

#[test]
fn the_manifest_s_command_gives_the_report_again() {
    let (sandbox, pair) = sandbox();
    let flags = ["--split", "train,extra", "--seed", "7", "--kappa", "0.1", "--threads", "1"];
    let report = sandbox.report(&with(&pair, &flags));
    let command = report["manifest"]["commands"][0]["command"].as_str().unwrap();
    says(
        command,
        &["--config 'my audit.toml'", "--split 'train,extra'", "--kappa 0.1", "--seed 7"],
    );
    assert!(!command.contains("--threads"), "{command}");
    let words = shlex::split(command).unwrap();
    assert_eq!(words[0], "audit");
    assert_eq!(reproducible(sandbox.report(&words[1..])), reproducible(report));
}

#[test]
fn a_list_that_means_nothing_is_refused_before_anything_is_run() {
    let (sandbox, pair) = sandbox();
    for (splits, words) in [
        ("train,train", &["`split` (flag --split)", "names `train` twice", "hint: "][..]),
        ("train,dev,validation", &["names `validation` twice"]),
        ("train,,extra", &["a missing name"]),
        (",train", &["a missing name"]),
    ] {
        sandbox.audit(&with(&pair, &["--split", splits])).fails(2, words).prints_no_report();
    }
    let missing = with(&pair, &["--split", "train,nowhere"]);
    sandbox.audit(&missing).fails(3, &["nowhere"]);
    for command in [&["recalibrate"][..], &["predict", "--output", "x.csv", "--model", "m"]] {
        let arguments = with(command, &["--task", "reviews", "--config", "my audit.toml"]);
        let arguments = with(&arguments, &["--split", "train,extra"]);
        let words = ["takes one split", "names 2", "leave `,extra` out"];
        sandbox.audit(&arguments).fails(2, &words).prints_no_report();
    }
}

#[test]
fn a_secondary_split_that_cannot_be_read_is_a_row_with_an_error() {
    let (sandbox, pair) = sandbox();
    sandbox.write("held out.tsv", "sentence\tlabel\n");
    let run =
        sandbox.audit(&with(&pair, &["--split", "train,extra,validation", "--format", "json"]));
    assert_eq!(run.code, 1);
    let report = run.json();
    let verdicts: Vec<&Value> =
        report["tasks"].as_array().unwrap().iter().map(|row| &row["verdict"]).collect();
    assert_eq!(verdicts, ["not_preserved", "error", "not_preserved"]);
    says(&run.stderr, &["reviews/extra, secondary split", "held out.tsv"]);
    assert_eq!(report["tasks"][0]["recalibrated"]["fitted_on"], "validation");
}
