//! `minimax`: a student that is also trained on the neighbours of its texts in a corpus.

mod common;

use std::fs;
use std::path::Path;

use common::{demo, kill_at, student_files, with, Sandbox};
use serde_json::{json, Value};

/// The sentences of a file of the demo from `first` on, as a JSONL file.
fn sentences(sandbox: &Sandbox, from: &str, (first, count): (usize, usize), file: &str) {
    let table = fs::read_to_string(demo(from)).unwrap();
    let lines = table.lines().skip(1 + first).take(count);
    let sentences = lines.map(|line| json!({ "sentence": line.split('\t').next().unwrap() }));
    sandbox.write(file, sentences.map(|line| format!("{line}\n")).collect::<String>());
}

/// A recipe with these keys of `[minimax]`.
fn recipe(keys: &str) -> String {
    format!(
        "task = \"sst2\"\nmethod = \"minimax\"\nmax_length = 64\n[student]\nlayers = 2\n\
         [training]\nmax_epochs = 2\nlearning_rate = 1e-3\n[minimax]\n{keys}\n"
    )
}

const KEYS: &str = "corpus = \"corpus.jsonl\"\nneighbours = 4\nchosen = 2";

/// The arguments of a training on the demo's first 100 sentences.
fn training(sandbox: &Sandbox, keys: &str, output: &str) -> Vec<String> {
    with(&common::training(sandbox, &recipe(keys), output), &["--limit", "100"])
}

fn trained(sandbox: &Sandbox, keys: &str, output: &str, more: &[&str]) -> (Vec<u8>, Value) {
    let run = sandbox.audit(&with(&training(sandbox, keys, output), more));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let weights = fs::read(sandbox.path(&format!("{output}/model.safetensors"))).unwrap();
    let record = sandbox.read(&format!("{output}/distillation.json"));
    (weights, serde_json::from_str(&record).unwrap())
}

#[test]
fn a_student_learns_from_neighbours_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, "train.tsv", (100, 200), "corpus.jsonl");
    let (one, record) = trained(&sandbox, KEYS, "one", &["--threads", "1"]);
    let (three, of_three) = trained(&sandbox, KEYS, "three", &["--threads", "3"]);
    assert!(one == three);
    assert_eq!(record, of_three);
    let losses = record["course"][0]["losses"].as_object().unwrap();
    assert_eq!(losses.keys().collect::<Vec<_>>(), ["hard", "soft", "neighbours"]);
    let data = &record["data"];
    assert_eq!(
        (&data["train"]["examples"], &data["corpus"]["examples"]),
        (&json!(100), &json!(200))
    );
    assert_eq!(record["recipe"]["minimax"]["chosen"], 2);
    // Every neighbour in place of those furthest from the teacher makes another student.
    let (all, _) = trained(&sandbox, &KEYS.replace("chosen = 2", "chosen = 4"), "all", &[]);
    assert!(one != all);
}

#[test]
fn a_named_index_is_written_once() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, "train.tsv", (100, 200), "corpus.jsonl");
    let keys = format!("index = \"near.index\"\n{KEYS}");
    let (first, _) = trained(&sandbox, &keys, "first", &[]);
    let written = fs::metadata(sandbox.path("near.index")).unwrap().modified().unwrap();
    let (second, _) = trained(&sandbox, &keys, "second", &[]);
    assert!(first == second);
    let (without, _) = trained(&sandbox, KEYS, "without", &[]);
    assert!(first == without);
    assert_eq!(fs::metadata(sandbox.path("near.index")).unwrap().modified().unwrap(), written);
    let other = keys.replace("neighbours = 4", "neighbours = 3");
    let refused = sandbox.audit(&training(&sandbox, &other, "other"));
    refused.fails(2, &["`minimax.index` = `near.index`", "another search"]);
}

#[test]
fn a_killed_training_is_resumed_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, "train.tsv", (100, 200), "corpus.jsonl");
    let keys = format!("{KEYS}\n[stage.train]\nmax_epochs = 5\n");
    let saving = |output: &str| {
        sandbox.write("saving.toml", format!("save_every = 3\n{}", recipe(&keys)));
        let mut arguments = training(&sandbox, &keys, output);
        let at = arguments.iter().position(|argument| argument == "--config").unwrap() + 1;
        arguments[at] = "saving.toml".to_owned();
        arguments
    };
    assert_eq!(sandbox.audit(&saving("whole")).code, 0);
    let arguments = saving("killed");
    kill_at(&sandbox, &arguments, "killed/training/state.safetensors");
    let resumed = sandbox.audit(&with(&arguments, &["--resume"]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(student_files(&sandbox, "whole") == student_files(&sandbox, "killed"));
}

#[test]
fn a_search_goes_on_where_settings_find_no_neighbour() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, "train.tsv", (100, 200), "corpus.jsonl");
    let data = demo("");
    sandbox.write("student.toml", format!("limit = 100\n{}", recipe(KEYS)));
    sandbox.write(
        "tune.toml",
        "trials = 2\nkappa = 1.0\nfurther_seeds = 0\nrecipe = \"student.toml\"\n[space]\n\
         \"minimax.radius\" = { choices = [0.22, 1e-9], default = 0.22 }\n",
    );
    let teacher = demo("teacher");
    let models = ["--data", &data, "--teacher", &teacher, "--output", "out", "--format", "json"];
    let run = sandbox.audit(&with(&["tune", "--config", "tune.toml"], &models));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let why = report["trials"][1]["why"].as_str().unwrap();
    assert!(why.contains("no text of the training set has a neighbour"), "{why}");
    // The recipe of the winner names its files from any folder.
    let winner: toml::Table = sandbox.read("out/winner.toml").parse().unwrap();
    let corpus = winner["minimax"]["corpus"].as_str().unwrap();
    assert!(corpus.ends_with("corpus.jsonl") && Path::new(corpus).is_absolute(), "{corpus}");
}

#[test]
fn more_neighbours_than_the_corpus_has_are_all_of_them() {
    let sandbox = Sandbox::new();
    sentences(&sandbox, "train.tsv", (100, 200), "corpus.jsonl");
    let of = |count: &str| KEYS.replace("neighbours = 4", &format!("neighbours = {count}"));
    let (all, _) = trained(&sandbox, &of("200"), "all", &[]);
    let (more, _) = trained(&sandbox, &of("4000000000000"), "more", &[]);
    assert!(all == more);
}

#[test]
fn a_corpus_that_cannot_be_used_is_refused() {
    let sandbox = Sandbox::new();
    let refused = |keys: &str, code: i32, words: &[&str]| {
        sandbox.audit(&training(&sandbox, keys, "refused")).fails(code, words);
    };
    refused("", 2, &["`minimax.corpus` is missing"]);
    refused("corpus = \"absent.jsonl\"", 3, &["absent.jsonl"]);
    sentences(&sandbox, "validation.tsv", (3, 4), "corpus.jsonl");
    refused(KEYS, 2, &["corpus.jsonl", "4 texts of sst2/validation", "as number 1"]);
    refused("corpus = \"c\"\nchosen = 9", 2, &["`minimax.chosen` = 9 is more than"]);
    refused("corpus = \"c\"\nradius = 0.0", 2, &["`minimax.radius` must be above 0"]);
    assert!(!sandbox.path("refused/config.json").exists());
}
