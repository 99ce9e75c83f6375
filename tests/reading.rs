//! How texts become a model's input: segments, and the length that they are cut at, as transformers
//! does both.

mod common;

use common::{codes, demo, edit_json, glue, note, says, with, Run, Sandbox};
use serde_json::{json, Value};

/// RTE's data in `glue`, and two ELECTRAs, which have two segments and 40 positions.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    for name in ["t", "s"] {
        sandbox.checkpoint(name, "architectures/electra", glue::labels("rte"));
        edit(&sandbox, name, |keys| drop(keys.as_object_mut().unwrap().remove("model_max_length")));
    }
    sandbox
}

/// Changes the tokenizer_config.json of a checkpoint.
fn edit(sandbox: &Sandbox, model: &str, edit: impl FnOnce(&mut Value)) {
    edit_json(&sandbox.path(model).join("tokenizer_config.json"), edit);
}

fn set(sandbox: &Sandbox, model: &str, key: &str, value: impl Into<Value>) {
    edit(sandbox, model, |keys| keys[key] = value.into());
}

/// The logits of `model` as text, and what stderr said.
fn predicted(sandbox: &Sandbox, model: &str, flags: &[&str]) -> (String, String) {
    let what = ["predict", "--task", "rte", "--data", "glue", "--model", model, "-o", "out.csv"];
    let run = sandbox.audit(&with(&what, flags));
    assert_eq!(run.code, 0, "{}", run.stderr);
    (sandbox.read("out.csv"), run.stderr)
}

fn logits(sandbox: &Sandbox, model: &str, flags: &[&str]) -> String {
    predicted(sandbox, model, flags).0
}

const PAIR: [&str; 8] = ["--task", "rte", "--data", "glue", "--teacher", "t", "--student", "s"];

fn audited(sandbox: &Sandbox, flags: &[&str]) -> Value {
    sandbox.report(&with(&PAIR, flags))
}

const WITHOUT: [&str; 2] = ["input_ids", "attention_mask"];
const WITH: [&str; 3] = ["input_ids", "token_type_ids", "attention_mask"];

#[test]
fn a_model_sees_segments_only_if_its_tokenizer_returns_them() {
    let sandbox = sandbox();
    let with_segments = logits(&sandbox, "t", &[]);
    // A model whose segments are alike, as the independent reading of segment 0 throughout.
    sandbox.edit_weights("s", |tensors| {
        let name = "electra.embeddings.token_type_embeddings.weight";
        let (_, shape, bytes) = tensors.get_mut(name).unwrap();
        let width = bytes.len() / shape[0];
        let first = bytes[..width].to_vec();
        bytes[width..][..width].copy_from_slice(&first);
    });
    let without = logits(&sandbox, "s", &[]);
    assert_ne!(without, with_segments);
    for (class, inputs, expected) in [
        ("ElectraTokenizer", None, &with_segments),
        ("BertTokenizerFast", None, &with_segments),
        ("ElectraTokenizer", Some(&WITHOUT[..]), &without),
        ("DistilBertTokenizer", None, &without),
        ("RobertaTokenizerFast", None, &without),
        ("PreTrainedTokenizerFast", None, &without),
        ("NoSuchTokenizer", None, &without),
        ("PreTrainedTokenizerFast", Some(&WITH[..]), &with_segments),
    ] {
        edit(&sandbox, "t", |keys| *keys = json!({"tokenizer_class": class}));
        inputs.inspect(|inputs| set(&sandbox, "t", "model_input_names", *inputs));
        let (logits, said) = predicted(&sandbox, "t", &[]);
        assert!(logits == *expected, "{class} {inputs:?}");
        let warned = said.contains("returns no `token_type_ids`");
        assert_eq!(warned, std::ptr::eq(expected, &without), "{class} {inputs:?}: {said}");
    }
}

#[test]
fn a_report_says_what_each_model_was_given_and_is_verified() {
    let sandbox = sandbox();
    set(&sandbox, "s", "model_input_names", &WITHOUT[..]);
    let report = audited(&sandbox, &[]);
    let inputs = |i: usize| &report["manifest"]["models"][i]["inputs"];
    assert_eq!((inputs(0), inputs(1)), (&json!(WITH), &json!(WITHOUT)));
    let warning = note(&report["tasks"][0], "token-types-lost");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["student's tokenizer (ElectraTokenizer)"]);
    // Reports of earlier versions do not have the keys.
    let mut earlier = report.clone();
    for model in earlier["manifest"]["models"].as_array_mut().unwrap() {
        model.as_object_mut().unwrap().remove("inputs").unwrap();
        model.as_object_mut().unwrap().remove("max_length_from").unwrap();
    }
    for report in [&report, &earlier] {
        sandbox.write("report.json", report.to_string());
        let verified = sandbox.audit(&["verify", "report.json"]);
        assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    }
    // One sentence has one segment in any case.
    let single = with(
        &["--task", "sst2", "--label-map", "entailment=negative,not_entailment=positive"],
        &PAIR[2..],
    );
    assert!(!codes(&sandbox.row(&single)).contains(&"token-types-lost"));
}

#[test]
fn models_that_share_tokenizer_files_are_read_each_by_its_own_class() {
    let sandbox = sandbox();
    // config.json names the class if tokenizer_config.json does not.
    for name in ["t", "s"] {
        edit(&sandbox, name, |keys| drop(keys.as_object_mut().unwrap().remove("tokenizer_class")));
    }
    let alike = audited(&sandbox, &["--no-cache"]);
    assert_eq!(alike["tasks"][0]["sigma"], 0.0);
    sandbox.edit_config("s", |keys| keys["tokenizer_class"] = "DistilBertTokenizer".into());
    let first = audited(&sandbox, &[]);
    assert!(first["tasks"][0]["sigma"].as_f64().unwrap() > 0.0);
    let without = logits(&sandbox, "s", &["--no-cache"]);
    assert_ne!(without, logits(&sandbox, "t", &["--no-cache"]));
    // The cache holds both readings.
    assert_eq!(logits(&sandbox, "s", &[]), without);
    assert_eq!(audited(&sandbox, &[])["tasks"][0]["sigma"], first["tasks"][0]["sigma"]);
}

#[test]
fn a_tokenizer_s_own_limit_is_in_force_unless_a_length_is_given() {
    let sandbox = sandbox();
    let at = |length: &str| logits(&sandbox, "t", &["--max-length", length]);
    let (at_10, at_16, default) = (at("10"), at("16"), logits(&sandbox, "t", &[]));
    assert!(at_10 != at_16 && at_16 != default);
    set(&sandbox, "t", "model_max_length", 10);
    let (limited, said) = predicted(&sandbox, "t", &[]);
    assert_eq!(limited, at_10);
    says(&said, &["truncated at 10 tokens (the tokenizer's limit)"]);
    // A given length goes before the tokenizer's: also the default one, and also from a config.
    let (given, said) = predicted(&sandbox, "t", &["--max-length", "16"]);
    assert_eq!(given, at_16);
    says(&said, &["cut at 16 tokens (flag --max-length is 16)", "`model_max_length` of 10"]);
    assert_eq!(logits(&sandbox, "t", &["--max-length", "128"]), default);
    sandbox.write("audit.toml", "[defaults]\nmax_length = 16\n");
    assert_eq!(logits(&sandbox, "t", &[]), at_16);
    std::fs::remove_file(sandbox.path("audit.toml")).unwrap();
    let (_, said) = predicted(&sandbox, "t", &["--max-length", "9"]);
    assert!(!said.contains("model_max_length"), "{said}");
    // The side that a long text loses, where only some texts are cut.
    set(&sandbox, "t", "truncation_side", "left");
    let left = logits(&sandbox, "t", &[]);
    assert!(left != at_10 && left != default);
}

#[test]
fn each_model_is_cut_at_its_own_limit_and_the_report_says_which() {
    let sandbox = sandbox();
    set(&sandbox, "s", "model_max_length", 10);
    let report = audited(&sandbox, &[]);
    let of = |i: usize| {
        let model = &report["manifest"]["models"][i];
        (model["max_length"].as_u64().unwrap(), model["max_length_from"].as_str().unwrap())
    };
    assert_eq!((of(0), of(1)), ((40, "positions"), (10, "tokenizer")));
    let row = &report["tasks"][0];
    assert_eq!(row["teacher"]["truncated"], 0);
    assert!(row["student"]["truncated"].as_u64().unwrap() > 0);
    let message = note(row, "lengths-differ")["message"].as_str().unwrap();
    says(message, &["40 tokens (the model's positions)", "10 tokens (the tokenizer's limit)"]);
    let text = sandbox.audit(&PAIR).stdout;
    says(&text, &["truncated", "10 tokens (the tokenizer's limit)"]);
    // Same files, same length: each model alone gives the same rows.
    assert_ne!(logits(&sandbox, "t", &[]), logits(&sandbox, "s", &[]));
    sandbox.write("report.json", report.to_string());
    assert_eq!(sandbox.audit(&["verify", "report.json"]).code, 0);
    let both = audited(&sandbox, &["--max-length", "16"]);
    let notes = codes(&both["tasks"][0]);
    assert!(notes.contains(&"beyond-max-length") && !notes.contains(&"lengths-differ"));
    assert_eq!(both["tasks"][0]["sigma"], 0.0);
}

#[test]
fn a_limit_that_leaves_no_room_is_an_error_and_a_huge_one_is_none() {
    let sandbox = sandbox();
    let default = logits(&sandbox, "t", &[]);
    for huge in [json!(1e30), json!(512), Value::Null] {
        set(&sandbox, "t", "model_max_length", huge);
        assert_eq!(logits(&sandbox, "t", &[]), default);
    }
    let failed = |flags: &[&str]| -> Run {
        let what = ["predict", "--task", "rte", "--data", "glue", "--model", "t", "-o", "o.csv"];
        sandbox.audit(&with(&what, flags))
    };
    for length in [-1, 0, 7] {
        set(&sandbox, "t", "model_max_length", length);
        let words = format!("has a `model_max_length` of {length}, which leaves no room for text");
        failed(&[]).fails(3, &[&words, "or pass --max-length"]);
        assert_eq!(failed(&["--max-length", "10"]).code, 0);
    }
    set(&sandbox, "t", "model_max_length", "40");
    failed(&[]).fails(3, &["t/tokenizer_config.json", "`model_max_length`", "not a whole number"]);
}

#[test]
fn a_training_reads_texts_as_an_audit_does() {
    let sandbox = Sandbox::new();
    common::copy_folder(demo("teacher").as_ref(), &sandbox.path("teacher"));
    set(&sandbox, "teacher", "model_max_length", 9);
    let recipe =
        "task = \"sst2\"\nmethod = \"kd\"\nlimit = 40\n[student]\ninit = \"teacher-layers\"\n\
                  layers = 1\n[training]\nmax_epochs = 1\n";
    sandbox.write("kd.toml", recipe);
    let data = demo("");
    let words = ["distill", "--config", "kd.toml", "--data", &data, "--teacher", "teacher"];
    let train = |output: &str, flags: &[&str]| {
        let run = sandbox.audit(&with(&with(&words, &["--output", output]), flags));
        assert_eq!(run.code, 0, "{}", run.stderr);
        let record: Value =
            serde_json::from_str(&sandbox.read(&format!("{output}/distillation.json"))).unwrap();
        (record["recipe"]["max_length"].clone(), run.stderr)
    };
    assert_eq!(train("own", &[]).0, 9);
    let (length, said) = train("given", &["--max-length", "64"]);
    assert_eq!(length, 64);
    says(&said, &["the teacher's texts are cut at 64 tokens (flag", "the student's texts"]);
}
