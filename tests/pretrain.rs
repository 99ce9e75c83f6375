//! `audit pretrain`: a masked language model on a task's own texts.

mod common;

use std::fs;

use common::{fixture, glue, read_tensors, with, Run, Sandbox, Tensors};
use serde_json::Value;

/// All tasks' data in `glue`, and an encoder without a head in `base`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    common::copy_folder(&fixture("masked-lm/bert"), &sandbox.path("base"));
    sandbox.edit_weights("base", |tensors| tensors.retain(|name, _| !name.starts_with("cls.")));
    sandbox
}

fn pretrain(sandbox: &Sandbox, output: &str, more: &[&str]) -> Run {
    let what = ["pretrain", "--task", "rte", "--data", "glue", "--base", "base"];
    let how = ["--batch-size", "8", "--output", output];
    sandbox.audit(&with(&with(&what, &how), more))
}

fn tensors(sandbox: &Sandbox, folder: &str) -> Tensors {
    read_tensors(&fs::read(sandbox.path(folder).join("model.safetensors")).unwrap())
}

#[test]
fn the_head_learns_and_the_encoder_stays() {
    let sandbox = sandbox();
    let run = pretrain(&sandbox, "lm", &["--epochs", "20", "--learning-rate", "0.01"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stdout.contains("masked language model on 22 texts of rte"), "{}", run.stdout);
    let record: Value = serde_json::from_str(&sandbox.read("lm/pretraining.json")).unwrap();
    // Of 24 texts one in twenty, rounded up.
    assert_eq!((&record["data"]["examples"], &record["data"]["held_out"]), (&22.into(), &2.into()));
    assert_eq!(record["base"]["new_head"], true);
    let loss = |epoch: usize| record["epochs"][epoch]["held_out_loss"].as_f64().unwrap();
    // Logits of a new head have a standard deviation of about 1: ln 74 + 1/2 = 4.8 nats.
    assert!((3.3..6.3).contains(&loss(0)) && loss(20) < loss(0) - 0.5, "{} {}", loss(0), loss(20));

    let (base, trained) = (tensors(&sandbox, "base"), tensors(&sandbox, "lm"));
    assert!(base.iter().all(|(name, tensor)| trained[name] == *tensor));
    let is_new = |name: &&String| !base.contains_key(*name);
    let new: Vec<String> = trained.keys().filter(is_new).cloned().collect();
    let parts = ["bias", "transform.LayerNorm.bias", "transform.LayerNorm.weight"];
    let parts = parts.iter().chain(&["transform.dense.bias", "transform.dense.weight"]);
    assert_eq!(new, parts.map(|part| format!("cls.predictions.{part}")).collect::<Vec<_>>());

    sandbox.write("vectors.txt", "film 1 0\nmovie 1 1\n");
    let what = ["augment", "--task", "rte", "--data", "glue", "--masked-lm", "lm"];
    let run = sandbox.audit(&with(&what, &["--vectors", "vectors.txt", "--output", "a.jsonl"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn the_seed_determines_the_bytes_on_any_number_of_threads() {
    let sandbox = sandbox();
    let bytes = |name: &str, more: &[&str]| {
        let run = pretrain(&sandbox, name, &with_encoder(more));
        assert_eq!(run.code, 0, "{}", run.stderr);
        fs::read(sandbox.path(name).join("model.safetensors")).unwrap()
    };
    let one = bytes("1", &["--threads", "1"]);
    assert!(one == bytes("2", &["--threads", "2"]));
    assert!(one != bytes("3", &["--seed", "1"]));
    let (base, trained) = (tensors(&sandbox, "base"), tensors(&sandbox, "1"));
    // Biases of keys cancel in the softmax.
    let kept = base.iter().filter(|(name, tensor)| trained[*name] == **tensor);
    assert!(kept.into_iter().all(|(name, _)| name.ends_with("key.bias")));
}

fn with_encoder<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--train-encoder", "--epochs", "2"], more].concat()
}

#[test]
fn a_base_with_a_head_keeps_it_as_the_start() {
    let sandbox = sandbox();
    common::copy_folder(&fixture("masked-lm/roberta"), &sandbox.path("base2"));
    let what = ["pretrain", "--task", "rte", "--data", "glue", "--base", "base2", "--output", "lm"];
    let run = sandbox.audit(&with(&what, &["--epochs", "1", "--max-length", "32"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record: Value = serde_json::from_str(&sandbox.read("lm/pretraining.json")).unwrap();
    assert_eq!(record["base"]["new_head"], false);
    assert_eq!(record["data"]["max_length"], 32);
    let config: Value = serde_json::from_str(&sandbox.read("lm/config.json")).unwrap();
    assert_eq!(config["architectures"], serde_json::json!(["RobertaForMaskedLM"]));
}

#[test]
fn what_cannot_be_pretrained_is_refused() {
    let sandbox = sandbox();
    sandbox.write("full/file", "");
    let run = pretrain(&sandbox, "full", &[]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("it is not empty"), "{}", run.stderr);
    let run = pretrain(&sandbox, "lm", &["--limit", "1"]);
    assert_eq!(run.code, 3);
    assert!(run.stderr.contains("one text is too few"), "{}", run.stderr);
    let run = pretrain(&sandbox, "lm", &["--learning-rate", "0"]);
    assert_eq!(run.code, 2);
    assert!(!sandbox.path("lm").exists());
}
