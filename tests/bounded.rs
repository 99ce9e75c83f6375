//! Files whose numbers ask for more than they hold: each ends in an error that names the file, with a
//! documented exit code.

mod common;

use common::{copy_folder, fixture, with, Run, Sandbox};
use serde_json::{json, Value};

/// A checkpoint of `architecture` as `model`, and four sentences as the task `t`.
fn sandbox(architecture: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    copy_folder(&fixture(&format!("architectures/{architecture}")), &sandbox.path("model"));
    let rows = "sentence\tlabel\ngood film\t1\nbad plot\t0\na slow movie\t0\nit is great\t1\n";
    sandbox.write("train.tsv", rows);
    let task = "text = 'sentence'\nlabel = 'label'\nsplits = { train = 'train.tsv' }";
    sandbox.write("audit.toml", format!("[task.t]\n{task}\n"));
    sandbox
}

fn audit(sandbox: &Sandbox, more: &[&str]) -> Run {
    let models = ["--task", "t", "--teacher", "model", "--student", "model"];
    sandbox.audit(&with(&models, more))
}

fn edit_tokenizer(sandbox: &Sandbox, edit: impl FnOnce(&mut Value)) {
    common::edit_json(&sandbox.path("model/tokenizer.json"), edit);
}

/// A template with `count` special tokens before a text.
fn template(count: usize) -> Value {
    let special = json!({"SpecialToken": {"id": "[CLS]", "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let mut single = vec![special; count];
    single.push(text("A"));
    json!({
        "type": "TemplateProcessing", "single": single, "pair": [text("A"), text("B")],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}
    })
}

#[test]
fn a_template_leaves_room_for_text_within_the_maximum_length() {
    let sandbox = sandbox("bert");
    audit(&sandbox, &[]).fails(0, &[]);
    edit_tokenizer(&sandbox, |tokenizer| tokenizer["post_processor"] = template(33));
    audit(&sandbox, &["--max-length", "32"]).fails(
        2,
        &["the maximum length 32 (flag --max-length)", "adds 33 special tokens", "use 35 or more"],
    );
    edit_tokenizer(&sandbox, |tokenizer| tokenizer["post_processor"] = template(500));
    audit(&sandbox, &[]).fails(3, &["model/tokenizer.json", "adds 500 special tokens"]);
}

#[test]
fn a_token_s_segment_must_be_one_of_the_model_s() {
    let sandbox = sandbox("bert");
    edit_tokenizer(&sandbox, |tokenizer| {
        let mut template = template(1);
        template["single"][1]["Sequence"]["type_id"] = json!(4_000_000_000_u32);
        tokenizer["post_processor"] = template;
    });
    audit(&sandbox, &[])
        .fails(3, &["example 2", "gives the segment 4000000000, and the model has 2 segments"]);
}

#[test]
fn a_tokenizer_beyond_its_limits_is_refused_by_its_key() {
    for (part, value, words) in [
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "its `length` is 0"),
        (
            "normalizer",
            json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "a".repeat(100_000)}),
            "its `content` has 100000 bytes",
        ),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "////////"}),
            "its trie of 4294967295 bytes is not among its 6 bytes",
        ),
    ] {
        let sandbox = sandbox("bert");
        edit_tokenizer(&sandbox, |tokenizer| tokenizer[part] = value);
        audit(&sandbox, &[]).fails(3, &["model/tokenizer.json`", part, words]);
    }
}

#[test]
fn a_tokenizer_that_makes_a_library_panic_is_named_and_nothing_else_is_printed() {
    let sandbox = sandbox("bert");
    // A trie of one unit that leads out of it: the library indexes without a check.
    let map = json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="});
    edit_tokenizer(&sandbox, |tokenizer| tokenizer["normalizer"] = map);
    let run = audit(&sandbox, &[]);
    run.fails(3, &["the tokenizer in `model/tokenizer.json` cannot be used: index out of bounds"]);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

#[test]
fn numbers_of_config_json_are_checked_before_they_are_used() {
    let cases: [(&str, &str, Value, &str); 8] = [
        ("bert", "hidden_size", json!(1_u64 << 40), "not a whole number below 2^32"),
        ("bert", "layer_norm_eps", json!(-1e5), "not a number from 0 to 1"),
        ("bert", "vocab_size", json!(4_294_967_295_u32), "config.json asks for [4294967295, 16]"),
        ("roberta", "pad_token_id", json!(1_000_000_000), "has no positions left"),
        ("modernbert", "global_attn_every_n_layers", json!(0), "not a positive whole number"),
        ("modernbert", "max_position_embeddings", json!(1_u64 << 31), "from 1 to 131072"),
        ("modernbert", "global_rope_theta", json!(0), "not a number from 1 to 1e12"),
        ("deberta-v2", "position_buckets", json!(1), "does not fit `max_relative_positions`"),
    ];
    for (architecture, key, value, words) in cases {
        let sandbox = sandbox(architecture);
        audit(&sandbox, &["--no-cache"]).fails(0, &[]);
        sandbox.edit_config("model", |config| config[key] = value);
        audit(&sandbox, &["--no-cache"]).fails(3, &["model", words]);
    }
}

#[test]
fn two_hundred_thousand_labels_are_refused_at_once() {
    let sandbox = sandbox("bert");
    sandbox.edit_config("model", |config| {
        let names = (0..200_000).map(|i| (i.to_string(), json!(format!("l{i}"))));
        config["id2label"] = Value::Object(names.collect());
    });
    audit(&sandbox, &[]).fails(3, &["`id2label`: it has 200000 labels, and the limit is 65536"]);
}

#[test]
fn a_table_of_many_labels_is_refused_and_one_of_empty_cells_too() {
    let sandbox = Sandbox::new();
    let header: Vec<String> = (0..70_000).map(|i| format!("logit_l{i}")).collect();
    let row = vec!["0.5"; 70_000].join(",");
    sandbox.write("many.csv", format!("{}\n{row}\n", header.join(",")));
    let sparse: String = (0..5_000).map(|i| format!("{{\"k{i}\": 1}}\n")).collect();
    sandbox.write("sparse.jsonl", sparse);
    for (file, words) in [
        ("many.csv", "has 70000 `logit_` columns, and the limit is 65536"),
        ("sparse.jsonl", "cells, the limit for files of this size"),
    ] {
        let files = ["--teacher-predictions", file, "--student-predictions", file];
        sandbox.audit(&with(&["check", "--task", "sst2"], &files)).fails(3, &[file, words]);
    }
}
