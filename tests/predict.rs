//! `audit predict`: split, labels and head.

mod common;

use common::{glue, with, Run, Sandbox};

/// RTE's data in `glue`, and a model in `t`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    sandbox.checkpoint("t", "architectures/distilbert", glue::labels("rte"));
    sandbox
}

fn predict(sandbox: &Sandbox, model: &str, output: &str, more: &[&str]) -> Run {
    let what = ["predict", "--task", "rte", "--data", "glue", "--model", model, "-o", output];
    sandbox.audit(&with(&what, more))
}

/// The rows of a CSV file without its header.
fn rows(sandbox: &Sandbox, file: &str) -> Vec<String> {
    sandbox.read(file).lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn the_split_is_the_training_set_or_the_one_that_is_named() {
    let sandbox = sandbox();
    let run = predict(&sandbox, "t", "v.csv", &["--split", "validation", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(rows(&sandbox, "v.csv").len(), glue::VALIDATION);
    assert_eq!(predict(&sandbox, "t", "t.csv", &[]).code, 0);
    assert_eq!(rows(&sandbox, "t.csv").len(), glue::TRAIN);
}

#[test]
fn the_logits_are_in_the_task_s_label_order() {
    let sandbox = sandbox();
    sandbox.checkpoint("turned", "architectures/distilbert", &["not_entailment", "entailment"]);
    let logits = |model: &str| -> Vec<(String, String)> {
        assert_eq!(predict(&sandbox, model, "out.csv", &[]).code, 0);
        let cells = |row: &String| {
            let cells: Vec<_> = row.split(',').map(str::to_owned).collect();
            (cells[1].clone(), cells[2].clone())
        };
        rows(&sandbox, "out.csv").iter().map(cells).collect()
    };
    let swapped: Vec<_> = logits("t").into_iter().map(|(a, b)| (b, a)).collect();
    assert_eq!(logits("turned"), swapped);
}

#[test]
fn the_config_s_split_is_the_one_that_is_run() {
    let sandbox = sandbox();
    sandbox.write("audit.toml", "[task.rte]\nsplit = \"dev\"\n");
    assert_eq!(predict(&sandbox, "t", "v.csv", &[]).code, 0);
    assert_eq!(rows(&sandbox, "v.csv").len(), glue::VALIDATION);
    assert_eq!(predict(&sandbox, "t", "t.csv", &["--split", "train"]).code, 0);
    assert_eq!(rows(&sandbox, "t.csv").len(), glue::TRAIN);
}

#[test]
fn the_head_is_detected_whatever_the_config_sets_for_its_teacher() {
    let sandbox = Sandbox::new();
    glue::write_mnli(&sandbox, "glue");
    sandbox.checkpoint("bert", "architectures/bert", glue::labels("mnli"));
    let run = |output: &str, more: &[&str]| {
        let what = ["predict", "--task", "mnli", "--data", "glue", "--model", "bert"];
        let run = sandbox.audit(&with(&with(&what, &["--output", output]), more));
        assert_eq!(run.code, 0, "{}", run.stderr);
        rows(&sandbox, output)
    };
    let plain = run("plain.csv", &[]);
    sandbox.write("audit.toml", "[defaults]\nteacher_head = \"pooled-relu\"\n");
    assert_eq!(run("config.csv", &[]), plain);
    assert_ne!(run("relu.csv", &["--head", "pooled-relu"]), plain);
}

#[test]
fn a_label_map_that_is_not_the_model_s_is_a_usage_error() {
    let sandbox = sandbox();
    let map = |map: &str| predict(&sandbox, "t", "out.csv", &["--label-map", map]);
    map("nonsense=entailment").fails(2, &["`nonsense`", "[entailment, not_entailment]"]);
    for role in ["teacher", "student"] {
        let swapped = format!("{role}:entailment=not_entailment,{role}:not_entailment=entailment");
        map(&swapped).fails(2, &[&format!("`{role}:entailment=not_entailment`"), "alone"]);
        sandbox.write("audit.toml", format!("[defaults]\nlabel_map = \"{swapped}\"\n"));
        predict(&sandbox, "t", "out.csv", &[]).fails(2, &["alone", "--label-map"]);
        std::fs::remove_file(sandbox.path("audit.toml")).unwrap();
    }
    // The remedy that an error names is one that can be given.
    sandbox.checkpoint("t", "architectures/distilbert", &["yes", "no"]);
    predict(&sandbox, "t", "out.csv", &[]).fails(3, &["--label-map yes=entailment"]);
    assert!(!sandbox.path("out.csv").exists());
    sandbox.checkpoint("t", "architectures/distilbert", glue::labels("rte"));
    assert_eq!(map("entailment=not_entailment,not_entailment=entailment").code, 0);
}
