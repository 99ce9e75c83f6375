//! `mate` and `annealing-mate`: a student that is trained against a generator.

mod common;

use std::path::Path;

use common::{copy_folder, demo, fixture, kill_at, student_files, with, Sandbox};
use safetensors::Dtype;
use serde_json::{json, Value};

/// A generator of the demo's vocabulary: the teacher's encoder with a new head.
fn generator(sandbox: &Sandbox) {
    copy_folder(Path::new(&demo("teacher")), &sandbox.path("generator"));
    sandbox.edit_config("generator", |config| {
        config["architectures"] = json!(["BertForMaskedLM"]);
        for labels in ["id2label", "label2id"] {
            config.as_object_mut().unwrap().remove(labels);
        }
    });
    let (width, vocabulary) = (64, 410);
    let identity = |i: usize| if i.is_multiple_of(width + 1) { 1.0f32 } else { 0.0 };
    let head = [
        ("transform.dense.weight", vec![width, width], (0..width * width).map(identity).collect()),
        ("transform.dense.bias", vec![width], vec![0.0; width]),
        ("transform.LayerNorm.weight", vec![width], vec![1.0; width]),
        ("transform.LayerNorm.bias", vec![width], vec![0.0; width]),
        ("bias", vec![vocabulary], vec![0.0; vocabulary]),
    ];
    sandbox.edit_weights("generator", |tensors| {
        tensors.retain(|name, _| !name.starts_with("classifier.") && !name.contains("pooler"));
        for (name, dims, values) in head {
            let bytes = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
            tensors.insert(format!("cls.predictions.{name}"), (Dtype::F32, dims, bytes));
        }
    });
}

/// A student of two layers, by two steps of the generator and three of the student in turn.
fn recipe(method: &str, generator: &str) -> String {
    format!(
        "task = \"sst2\"\nmethod = \"{method}\"\nmax_length = 64\nsave_every = 1\n\
         [student]\nlayers = 2\n[training]\nmax_epochs = 2\nlearning_rate = 1e-3\n\
         [{method}]\n{}[{method}.generator]\ncheckpoint = \"{generator}\"\nsteps = 2\n\
         student_steps = 3\nlearning_rate = 1e-3\n",
        if method == "mate" { "" } else { "tau_max = 2\n" }
    )
}

/// The arguments of a training on the demo's first 120 sentences.
fn training(sandbox: &Sandbox, recipe: &str, output: &str) -> Vec<String> {
    with(&common::training(sandbox, recipe, output), &["--limit", "120"])
}

#[test]
fn a_student_is_trained_against_a_generator_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    generator(&sandbox);
    for (method, losses) in [
        ("mate", &["hard", "soft", "adversarial", "generator"] as &[&str]),
        ("annealing-mate", &["logits", "adversarial", "generator"]),
    ] {
        let recipe = recipe(method, "generator");
        for threads in ["1", "3"] {
            let arguments = training(&sandbox, &recipe, &format!("{method}-{threads}"));
            let run = sandbox.audit(&with(&arguments, &["--threads", threads]));
            assert_eq!(run.code, 0, "{}", run.stderr);
        }
        let one = format!("{method}-1");
        assert!(
            student_files(&sandbox, &one) == student_files(&sandbox, &format!("{method}-3")),
            "{method}"
        );
        let record: Value =
            serde_json::from_str(&sandbox.read(&format!("{one}/distillation.json"))).unwrap();
        assert_eq!(record["generator"]["source"], "generator");
        let first = record["course"][0]["losses"].as_object().unwrap();
        assert_eq!(first.keys().map(String::as_str).collect::<Vec<_>>(), losses);
        let data = ["--task", "sst2", "--max-length", "64", "--limit", "120", "--data", &demo("")];
        let models = ["--teacher", &demo("teacher"), "--student", &one];
        let row = sandbox.row(&with(&data, &models));
        assert_eq!(row["sigma"], record["train"]["sigma"], "{method}");
    }
}

#[test]
fn a_training_killed_in_a_turn_is_resumed_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    generator(&sandbox);
    for method in ["mate", "annealing-mate"] {
        let recipe = recipe(method, "generator").replace("max_epochs = 2", "max_epochs = 6");
        let (whole, killed) = (format!("{method}-whole"), format!("{method}-killed"));
        let run = sandbox.audit(&training(&sandbox, &recipe, &whole));
        assert_eq!(run.code, 0, "{}", run.stderr);
        let arguments = training(&sandbox, &recipe, &killed);
        kill_at(&sandbox, &arguments, &format!("{killed}/training/state.safetensors"));
        let resumed = sandbox.audit(&with(&arguments, &["--resume"]));
        assert_eq!(resumed.code, 0, "{}", resumed.stderr);
        assert!(student_files(&sandbox, &whole) == student_files(&sandbox, &killed), "{method}");
    }
}

#[test]
fn a_generator_that_does_not_suit_the_student_is_refused() {
    let sandbox = Sandbox::new();
    generator(&sandbox);
    let refused = |recipe: &str, code: i32, words: &[&str]| {
        sandbox.audit(&training(&sandbox, recipe, "refused")).fails(code, words);
    };
    let good = recipe("mate", "generator");
    let without = good.replace("checkpoint = \"generator\"\n", "");
    refused(&without, 2, &["`mate.generator.checkpoint` is missing"]);
    let key = |key: &str| good.replace("steps = 2\n", &format!("steps = 2\n{key}\n"));
    refused(&key("mask = 0.0"), 2, &["`mate.generator.mask` must be a share above 0"]);
    refused(&key("temperature = 0.0"), 2, &["`mate.generator.temperature` must be above 0"]);
    refused(&good.replace("\nsteps = 2", "\nsteps = 0"), 2, &["`mate.generator.steps`"]);
    let classifier = recipe("mate", &demo("teacher"));
    refused(&classifier, 3, &["has no masked-language-model head"]);
    let other = fixture("masked-lm/bert");
    let other = recipe("mate", other.to_str().unwrap());
    refused(&other, 2, &["reads 40 tokens at most", "set `max_length` to 40"]);
    let other = other.replace("max_length = 64", "max_length = 40");
    refused(&other, 2, &["has another vocabulary than the student or the teacher"]);
    assert!(!sandbox.path("refused/config.json").exists());
}
