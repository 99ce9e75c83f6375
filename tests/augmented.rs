//! `augmented`: a student that is trained on other texts than the training set.

mod common;

use std::fs;

use common::{demo, with, Sandbox};
use serde_json::{json, Value};

/// The first examples of the demo's training set.
const LIMIT: usize = 96;

const TINYBERT: &str = r#"
task = "sst2"
method = "tinybert"
max_length = 64

[student]
layers = 2

[training]
max_epochs = 1
learning_rate = 1e-3
"#;

/// The arguments of a training on the texts of `augmented`, if it names a file.
fn training(sandbox: &Sandbox, augmented: Option<&str>, output: &str) -> Vec<String> {
    let key = augmented.map(|file| format!("augmented = \"{file}\"\n")).unwrap_or_default();
    let arguments = common::training(sandbox, &format!("{key}{TINYBERT}"), output);
    with(&arguments, &["--limit", &LIMIT.to_string()])
}

/// The student's weights, and its record.
fn trained(sandbox: &Sandbox, augmented: Option<&str>, output: &str) -> (Vec<u8>, Value) {
    let run = sandbox.audit(&training(sandbox, augmented, output));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let weights = fs::read(sandbox.path(&format!("{output}/model.safetensors"))).unwrap();
    let record = sandbox.read(&format!("{output}/distillation.json"));
    (weights, serde_json::from_str(&record).unwrap())
}

/// The first `count` sentences of the demo's training set, as a JSONL file of `audit augment`.
fn sentences(sandbox: &Sandbox, count: usize, file: &str) {
    let table = fs::read_to_string(demo("train.tsv")).unwrap();
    let sentences = table.lines().skip(1).take(count).map(|line| line.split('\t').next().unwrap());
    let lines =
        sentences.map(|sentence| format!("{}\n", json!({ "sentence": sentence, "row": 7 })));
    sandbox.write(file, lines.collect::<String>());
}

#[test]
fn the_training_set_as_augmented_texts_makes_the_same_student() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, LIMIT, "same.jsonl");
    let (weights, record) = trained(&sandbox, None, "plain");
    let (same, mut of_same) = trained(&sandbox, Some("same.jsonl"), "same");
    assert!(weights == same);
    let added = of_same["data"].as_object_mut().unwrap().remove("augmented").unwrap();
    assert_eq!(added["examples"], LIMIT);
    assert_eq!(record, of_same);
}

#[test]
fn the_student_is_measured_on_the_training_set() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, 40, "fewer.jsonl");
    let (weights, _) = trained(&sandbox, None, "plain");
    let (fewer, record) = trained(&sandbox, Some("fewer.jsonl"), "fewer");
    assert!(weights != fewer);
    let data = &record["data"];
    assert_eq!(
        (&data["train"]["examples"], &data["augmented"]["examples"]),
        (&json!(LIMIT), &json!(40))
    );
    assert_eq!(record["loss_reached"]["examples"], LIMIT);
    let (data, teacher, limit) = (demo(""), demo("teacher"), LIMIT.to_string());
    let audit = ["--task", "sst2", "--max-length", "64", "--data", &data, "--limit", &limit];
    let row = sandbox.row(&with(&audit, &["--teacher", &teacher, "--student", "fewer"]));
    assert_eq!(row["sigma"], record["train"]["sigma"]);
    assert_eq!(row["n"], LIMIT);
}

#[test]
fn augmented_texts_that_cannot_be_used_are_refused() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, 4, "texts.jsonl");
    sandbox.write("other.jsonl", "{\"text\": \"of another task\"}\n");
    let refused = |augmented: &str, more: &str, code: i32, parts: &[&str]| {
        let arguments = training(&sandbox, Some(augmented), "refused");
        let recipe = sandbox.read("refused.toml");
        sandbox.write("refused.toml", format!("{recipe}{more}"));
        sandbox.audit(&arguments).fails(code, parts);
    };
    let hard = "[stage.prediction.losses]\nhard = 0.5\nsoft = 0.5\n";
    refused("texts.jsonl", hard, 2, &["`augmented` texts have no labels", "`prediction`"]);
    refused("other.jsonl", "", 3, &["other.jsonl", "lacks the text columns of `sst2`"]);
    refused("absent.jsonl", "", 3, &["absent.jsonl"]);
    assert!(!sandbox.path("refused/config.json").exists());
}
