//! `audit predict`: which split, which labels and which head a model is run with.

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
fn the_config_s_split_is_the_one_that_is_run() {
    let sandbox = sandbox();
    sandbox.write("audit.toml", "[task.rte]\nsplit = \"dev\"\n");
    assert_eq!(predict(&sandbox, "t", "v.csv", &[]).code, 0);
    assert_eq!(rows(&sandbox, "v.csv").len(), glue::VALIDATION);
    assert_eq!(predict(&sandbox, "t", "t.csv", &["--split", "train"]).code, 0);
    assert_eq!(rows(&sandbox, "t.csv").len(), glue::TRAIN);
}
