//! Invalid input: exit codes and error messages.

mod common;

use std::fs;
use std::net::TcpListener;

use common::{fixture, glue, names_in, note, report_files, says, with, Run, Sandbox};
use confidence_audit::report::{Envelope, Report};
use serde_json::Value;

/// A good teacher, a good student and four sentences; `--data glue` is theirs.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let labels = glue::labels("sst2");
    sandbox.checkpoint("teacher", "architectures/electra", labels);
    sandbox.checkpoint("student", "architectures/electra", labels);
    let rows = "sentence\tlabel\ngood film\t1\nbad plot\t0\na slow movie\t0\nit is great\t1\n";
    sandbox.write("glue/SST-2/train.tsv", rows);
    sandbox
}

fn audit(more: &[&str]) -> Vec<String> {
    let pair = ["--task", "sst2", "--data", "glue", "--teacher", "teacher", "--cased"];
    let student = if more.contains(&"--student") { &[][..] } else { &["--student", "student"] };
    with(&with(&pair, student), more)
}

/// The run could not be carried out: 3, a report that says so with `words`, and no traceback.
#[track_caller]
fn could_not_run(sandbox: &Sandbox, arguments: &[String], words: &[&str]) -> Run {
    let run = sandbox.audit(&with(arguments, &["--format", "json"]));
    run.fails(3, words);
    let report = run.json();
    assert_eq!(report["verdict"], "error");
    let error = &report["tasks"][0]["error"];
    let hint = error["hint"].as_str().unwrap_or_default();
    says(&format!("{} {hint}", error["message"].as_str().unwrap()), words);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

#[test]
fn every_damaged_checkpoint_is_refused_by_the_name_of_its_fault() {
    let sandbox = sandbox();
    let cases: [(&str, &[&str]); 11] = [
        (
            "lm-head",
            &["config.json", "BertForMaskedLM", "no sequence-classification head", "fine-tune"],
        ),
        ("no-head", &["config.json", "BertModel", "no sequence-classification head"]),
        ("missing-tensor", &["bert.encoder.layer.0.attention.output.dense.weight", "missing"]),
        ("surplus-tensor", &["bert.encoder.layer.7.", "and 3 more", "config.json"]),
        ("wrong-shape", &["classifier.weight", "[2, 8]", "[2, 16]"]),
        ("nan", &["bert.encoder.layer.0.output.dense.weight", "NaN", "save it again"]),
        ("not-json", &["config.json", "not a JSON object", "line 34"]),
        (
            "truncated",
            &[
                "model.safetensors",
                "truncated",
                "10120 of at least 20240 bytes",
                "fetch the file again",
            ],
        ),
        (
            "unsupported",
            &[
                "optimum-cli export onnx",
                "`t5`",
                "bert",
                "distilbert",
                "roberta",
                "electra",
                "deberta-v2",
                "modernbert",
            ],
        ),
        ("pickle-code", &["pytorch_model.bin", "system", "nothing was run", "safetensors"]),
        ("pickle-code-legacy", &["pytorch_model.bin", "system", "nothing was run"]),
    ];
    let mut tried: Vec<_> = cases.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    for (folder, words) in cases {
        let path = fixture("bad").join(folder);
        let student = ["--student", path.to_str().unwrap()];
        could_not_run(&sandbox, &audit(&student), &[words, &["student", folder]].concat());
    }
    for place in [sandbox.path(""), fixture("bad/pickle-code"), fixture("bad/pickle-code-legacy")] {
        assert!(!place.join("pwned").exists(), "{}", place.display());
    }
    tried.push("small-vocab".to_owned()); // below
    tried.sort();
    assert_eq!(tried, names_in(&fixture("bad")));
}

#[test]
fn a_token_id_without_an_embedding_names_the_example_and_both_numbers() {
    let sandbox = sandbox();
    // `films` is `film ##s`, and `##s` is token 61 of 74; the model has 60 embeddings.
    sandbox.write("glue/SST-2/train.tsv", "sentence\tlabel\ngood film\t1\nbad films\t0\n");
    let path = fixture("bad/small-vocab");
    let words = ["student", "example 1", "id 61", "60 embeddings", "different models"];
    could_not_run(&sandbox, &audit(&["--student", path.to_str().unwrap()]), &words);
}

#[test]
fn a_folder_without_a_checkpoint_error_names_the_required_files() {
    let sandbox = sandbox();
    let labels = glue::labels("sst2");
    let damaged = |name: &str, file: &str, bytes: Option<&[u8]>| {
        sandbox.checkpoint(name, "architectures/electra", labels);
        let path = sandbox.path(name).join(file);
        match bytes {
            Some(bytes) => fs::write(path, bytes).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    };
    damaged("no-config", "config.json", None);
    damaged("no-weights", "model.safetensors", None);
    damaged("no-tokenizer", "tokenizer.json", None);
    fs::remove_file(sandbox.path("no-tokenizer/vocab.txt")).unwrap();
    damaged("empty", "model.safetensors", Some(b""));
    damaged("bad-tokenizer", "tokenizer.json", Some(b"{"));
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    damaged("pointer", "model.safetensors", Some(pointer));
    damaged("link", "model.safetensors", Some(b"../../blobs/0123456789abcdef"));
    damaged("page", "model.safetensors", Some(b"<!DOCTYPE html><html><body>401</body></html>"));
    let cases: [(&str, &[&str]); 11] = [
        ("no-config", &["no-config", "`config.json`"]),
        ("no-weights", &["no weights", "model.safetensors", "pytorch_model.bin"]),
        ("no-tokenizer", &["no tokenizer", "tokenizer.json", "vocab.txt"]),
        ("empty", &["empty/model.safetensors", "truncated"]),
        ("bad-tokenizer", &["bad-tokenizer/tokenizer.json", "not a tokenizer"]),
        ("pointer", &["pointer/model.safetensors", "Git LFS pointer", "git lfs pull"]),
        ("link", &["link/model.safetensors", "symbolic link", "copy the file"]),
        ("page", &["page/model.safetensors", "HTML page", "download"]),
        ("./nowhere", &["there is no folder `./nowhere`", "Hub id"]),
        ("glue/SST-2/train.tsv", &["is a file, not a checkpoint", "folder"]),
        ("org/model@v1", &["there is no folder `org/model`", "HF_HUB_OFFLINE", "`v1`"]),
    ];
    for (student, words) in cases {
        could_not_run(&sandbox, &audit(&["--student", student]), words);
    }
}

#[test]
fn a_shard_that_is_missing_is_named() {
    let sandbox = sandbox();
    sandbox.checkpoint("sharded", "formats/sharded", glue::labels("sst2"));
    fs::remove_file(sandbox.path("sharded/model-00002-of-00002.safetensors")).unwrap();
    let words = ["model.safetensors.index.json", "model-00002-of-00002.safetensors"];
    could_not_run(&sandbox, &audit(&["--student", "sharded"]), &words);
}

#[test]
fn a_config_json_with_a_wrong_value_names_the_key() {
    let sandbox = sandbox();
    let cases: [(&str, Value, &[&str]); 7] = [
        ("hidden_size", "16".into(), &["`hidden_size`", "\"16\""]),
        ("num_attention_heads", 3.into(), &["`num_attention_heads`", "multiple"]),
        ("vocab_size", 0.into(), &["`vocab_size`"]),
        ("num_hidden_layers", Value::Null, &["`num_hidden_layers`"]),
        ("id2label", serde_json::json!({"0": "a", "1": "a"}), &["`id2label`", "two ids"]),
        ("id2label", serde_json::json!({"0": "a", "1": "b", "2": "c"}), &["2 rows", "3 labels"]),
        ("problem_type", "regression".into(), &["problem type `regression`"]),
    ];
    for (key, value, words) in cases {
        sandbox.checkpoint("wrong", "architectures/electra", glue::labels("sst2"));
        sandbox.edit_config("wrong", |config| {
            config["label2id"] = Value::Null;
            config[key] = value;
        });
        could_not_run(&sandbox, &audit(&["--student", "wrong"]), words);
    }
}

#[test]
fn weights_that_overflow_name_the_example() {
    let sandbox = sandbox();
    sandbox.edit_weights("student", |tensors| {
        let (_, _, bytes) = tensors.get_mut("classifier.out_proj.weight").unwrap();
        *bytes = bytes.chunks(4).flat_map(|_| f32::MAX.to_le_bytes()).collect();
    });
    could_not_run(&sandbox, &audit(&[]), &["student", "the logits of example", "overflows"]);
}

#[test]
fn labels_that_disagree_are_an_error_with_the_remedy() {
    let sandbox = sandbox();
    sandbox.checkpoint("other", "architectures/electra", &["NEG", "POS"]);
    let arguments = audit(&["--student", "other"]);
    let words = ["different labels", "[NEG, POS]", "[negative, positive]"];
    could_not_run(&sandbox, &arguments, &words);
    could_not_run(&sandbox, &arguments, &["--label-map student:NEG=negative"]);
    let map = with(&arguments, &["--label-map", "student:NEG=negative,student:POS=positive"]);
    assert_eq!(sandbox.row(&map)["sigma"], 0.0);
    sandbox.checkpoint("three", "architectures/bert", glue::labels("mnli"));
    let words = ["student `three`", "3 labels", "2 [negative, positive]", "another task"];
    could_not_run(&sandbox, &audit(&["--student", "three"]), &words);
}

#[test]
fn a_bad_label_map_is_a_usage_error() {
    let sandbox = sandbox();
    for (map, words) in [
        ("NEG", &["`NEG`", "MODEL_LABEL=TASK_LABEL", "LABEL_0=negative"][..]),
        ("NEG=", &["`NEG=`"]),
        ("pupil:a=b", &["`pupil:a=b`", "student:"]),
        ("student:great=positive", &["`great`", "[negative, positive]"]),
    ] {
        let run = sandbox.audit(&audit(&["--label-map", map]));
        run.fails(2, words).prints_no_report();
    }
}

#[test]
fn damaged_data_names_the_file_the_line_and_the_column() {
    let sandbox = sandbox();
    let cases: [(&[u8], &[&str]); 9] = [
        (b"sentence\tlabel\n", &["split `train`", "`sst2` is empty", "train.tsv"]),
        (b"", &["train.tsv", "empty"]),
        (
            b"sentence\tlabel\na\t0\nb\t7\n",
            &["line 3", "`label`", "label 7 is out of range", "0 to 1"],
        ),
        (b"sentence\tlabel\na\t0\nb\tgoood\n", &["line 3", "`label`", "goood", "negative"]),
        (
            b"sentence\tlabel\na\t0\nb\xff\t1\n",
            &["line 3", "`sentence`", "byte 2", "not UTF-8", "iconv"],
        ),
        (b"sentence\tlabel\na\t0\n\0\t1\n", &["line 3", "NUL"]),
        (b"\xff\xfes\0e\0", &["UTF-16", "iconv"]),
        (b"phrase\tlabel\na\t0\n", &["`sentence`", "[phrase, label]"]),
        (b"version https://git-lfs.github.com/spec/v1\n", &["Git LFS pointer", "git lfs pull"]),
    ];
    for (bytes, words) in cases {
        sandbox.write("glue/SST-2/train.tsv", bytes);
        could_not_run(&sandbox, &audit(&[]), &[words, &["train.tsv"]].concat());
    }
}

#[test]
fn a_line_of_seventeen_mebibytes_is_refused() {
    let sandbox = sandbox();
    let line = "x".repeat(17 << 20);
    sandbox.write("glue/SST-2/train.tsv", format!("sentence\tlabel\na\t0\n{line}\t1\n"));
    could_not_run(&sandbox, &audit(&[]), &["train.tsv` line 3", "16 MiB", "line end"]);
}

#[test]
fn a_single_label_is_a_warning() {
    let sandbox = sandbox();
    sandbox.write("glue/SST-2/train.tsv", "sentence\tlabel\ngood film\t1\nbad plot\t1\n");
    let row = sandbox.row(&audit(&[]));
    let note = note(&row, "one-label");
    assert_eq!(note["level"], "warning");
    says(note["message"].as_str().unwrap(), &["`positive`"]);
    says(note["hint"].as_str().unwrap(), &["whole split"]);
}

#[test]
fn a_missing_split_or_folder_error_names_what_was_searched() {
    let sandbox = sandbox();
    let words = ["split `extra`", "glue/SST-2/extra.{tsv,csv,jsonl,parquet}", "train, validation"];
    could_not_run(&sandbox, &audit(&["--split", "extra"]), &words);
    let nowhere = with(&audit(&[]), &["--data", "nowhere"]);
    assert_eq!(sandbox.audit(&nowhere).code, 2, "--data twice");
    let pair = ["--task", "sst2", "--teacher", "teacher", "--student", "student"];
    let run = sandbox.audit(&with(&pair, &["--data", "nowhere"]));
    run.fails(2, &["`nowhere` does not exist", "--data"]).prints_no_report();
    let run = sandbox.audit(&with(&pair, &["--data", "glue/SST-2/train.tsv"]));
    run.fails(2, &["is a file, not a folder"]).prints_no_report();
}

#[test]
fn sequences_above_the_model_s_positions_are_cut_and_counted_or_refused() {
    let sandbox = sandbox();
    let long = "good film ".repeat(50);
    sandbox.write("glue/SST-2/train.tsv", format!("sentence\tlabel\n{long}\t1\nbad plot\t0\n"));
    let row = sandbox.row(&audit(&[])); // 128 by default, and the models have 40 positions
    assert_eq!(
        (&row["teacher"]["truncated"], &row["student"]["truncated"]),
        (&1.into(), &1.into())
    );
    let run = sandbox.audit(&audit(&["--max-length", "64"]));
    run.fails(2, &["64", "--max-length", "40 positions", "40 or less"]).prints_no_report();
    assert_eq!(sandbox.audit(&audit(&["--max-length", "40"])).code, 0);
    let run = sandbox.audit(&audit(&["--max-length", "7"]));
    run.fails(2, &["max_length", "at least 8"]).prints_no_report();
}

#[test]
fn a_vocabulary_of_unknown_casing_requires_the_casing_flag() {
    let sandbox = sandbox();
    let student = sandbox.checkpoint("vocab", "formats/vocab-only", glue::labels("sst2"));
    let pair = ["--task", "sst2", "--data", "glue", "--teacher", "teacher", "--student", &student];
    could_not_run(&sandbox, &with::<_, &str>(&pair, &[]), &["vocab.txt", "--cased or --uncased"]);
    let row = |flag: &str| sandbox.row(&with(&pair, &[flag]));
    assert_eq!(row("--uncased")["n"], 4);
    assert_eq!(row("--cased")["sigma"], row("--uncased")["sigma"], "the text has no capitals");
}

#[test]
fn an_unknown_task_error_lists_the_known_tasks() {
    let sandbox = sandbox();
    for (task, words) in [
        ("stsb", &["regression", "confidence is not defined", "sst2"][..]),
        ("STS-B", &["regression"]),
        ("sst22", &["no task `sst22`", "did you mean `sst2`?", "[task.NAME]"]),
        ("all,qnil", &["no task `qnil`", "did you mean `qnli`?"]),
    ] {
        let pair = ["--teacher", "teacher", "--student", "student", "--task", task];
        sandbox.audit(&pair).fails(2, words).prints_no_report();
    }
}

#[test]
fn a_mistake_in_the_config_names_line_and_column() {
    let sandbox = sandbox();
    for (text, words) in [
        ("[defaults]\nseed = 1\nkapa = 0.05\n", &["line 3, column 1", "`kapa`", "`kappa`"][..]),
        ("[task.sst2]\nteachr = \"x\"\n", &["line 2, column 1", "`teachr`", "`teacher`"]),
        ("[default]\nseed = 1\n", &["line 1, column 2", "`default`", "`defaults`"]),
        ("[defaults\nseed = 1\n", &["line 1, column 10"]),
        ("[defaults]\nstatistic = \"mean\"\n", &["line 2, column 13", "`mean`", "`rms`"]),
        ("[defaults]\nkappa = \"0.1\"\n", &["line 2, column 9"]),
        ("[defaults]\ntext = \"sentence\"\n", &["`text`", "[task.NAME]"]),
        ("[task.sst2]\ntext = \"sentence\"\n", &["task.sst2", "another name"]),
        ("[task.mine]\nseed = 1\n", &["[task.mine]", "`text`"]),
    ] {
        sandbox.write("bad.toml", text);
        let task = if text.contains("mine") { "mine" } else { "sst2" };
        let run = sandbox.audit(&["--config", "bad.toml", "--task", task]);
        run.fails(2, words).prints_no_report();
    }
    sandbox.audit(&["--config", "none.toml", "--task", "sst2"]).fails(2, &["`none.toml`"]);
}

#[test]
fn an_unknown_format_or_device_error_lists_the_known_ones() {
    let sandbox = sandbox();
    let run = sandbox.audit(&audit(&["--format", "yaml"]));
    let formats: Vec<&str> = Report::FORMATS.iter().map(|format| format.name).collect();
    run.fails(2, &["'yaml'", "text, json, markdown", &formats.join(", ")]).prints_no_report();
    let run = sandbox.audit(&audit(&["--device", "gpu"]));
    run.fails(2, &["`gpu`", "cpu, cuda or cuda:N"]).prints_no_report();
    let run = sandbox.audit(&audit(&["--student-head", "pooled"]));
    run.fails(2, &["`pooled`", "electra", "BERT"]).prints_no_report();
}

#[cfg(not(feature = "cuda"))]
#[test]
fn cuda_in_a_build_without_it_has_a_hint() {
    let sandbox = sandbox();
    let words = ["no CUDA device", "`cuda:1`", "--features cuda", "--device cpu"];
    could_not_run(&sandbox, &audit(&["--device", "cuda:1"]), &words);
}

#[test]
fn without_a_network_the_error_has_a_hint() {
    let sandbox = sandbox();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let endpoint = format!("http://127.0.0.1:{port}"); // nobody listens there any more
    let online = |arguments: &[String]| {
        let mut command = sandbox.command();
        command.env("HF_ENDPOINT", &endpoint).env("HF_HUB_OFFLINE", "0").args(arguments);
        Run::of(command)
    };
    let remedies = [endpoint.as_str(), "cannot be reached", "local folder", "HF_HUB_OFFLINE"];
    let model = online(&audit(&["--student", "org/model@v2"]));
    model.fails(3, &remedies).fails(3, &["`org/model`", "`v2`"]);
    let pair = ["--task", "sst2", "--teacher", "teacher", "--student", "student"];
    online(&with::<_, &str>(&pair, &[])).fails(3, &remedies).fails(3, &["`nyu-mll/glue`"]);
}

#[test]
fn an_unwritable_output_folder_is_found_before_the_run() {
    let sandbox = sandbox();
    sandbox.write("file", "kept");
    for folder in ["file", "file/below"] {
        // The student does not exist either: that would be found by running.
        let run = sandbox.audit(&audit(&["--student", "./nowhere", "--output-dir", folder]));
        run.fails(3, &["cannot write in the output folder", folder, "--output-dir"]);
        run.prints_no_report();
        assert!(!run.stderr.contains("nowhere"), "{}", run.stderr);
    }
    assert_eq!(sandbox.read("file"), "kept");
}

#[test]
fn predictions_that_cannot_be_written_are_found_before_the_run() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("folder.csv")).unwrap();
    let predict = ["predict", "--task", "sst2", "--data", "glue", "--model", "./nowhere"];
    for (output, code, words) in [
        ("none/x.csv", 3, &["cannot write `none/x.csv`"][..]),
        ("folder.csv", 3, &["cannot write `folder.csv`", "folder"]),
        ("x.txt", 2, &["`x.txt`", ".parquet, .csv or .jsonl"]),
        ("x", 2, &["`x`", ".parquet"]),
    ] {
        let run = sandbox.audit(&with(&predict, &["--output", output]));
        run.fails(code, words).prints_no_report();
        assert!(!run.stderr.contains("nowhere"), "{}", run.stderr);
    }
    assert_eq!(sandbox.names("folder.csv"), [""; 0]);
}

#[test]
fn files_of_an_earlier_run_stay_when_a_run_cannot_begin() {
    let sandbox = sandbox();
    assert_eq!(sandbox.audit(&audit(&["--output-dir", "out"])).code, 0);
    let files = report_files();
    assert_eq!(sandbox.names("out"), files);
    let before: Vec<String> = files.iter().map(|f| sandbox.read(&format!("out/{f}"))).collect();
    for wrong in [["--kappa", "x"], ["--device", "gpu"], ["--max-length", "64"]] {
        let run = sandbox.audit(&audit(&[wrong, ["--output-dir", "out"]].concat()));
        run.fails(2, &[]).prints_no_report();
        let after: Vec<String> = files.iter().map(|f| sandbox.read(&format!("out/{f}"))).collect();
        assert_eq!(after, before);
        assert_eq!(sandbox.names("out"), files, "no half-written file");
    }
    sandbox.write("t.csv", "kept");
    let predict = ["predict", "--task", "sst2", "--data", "glue", "--output", "t.csv", "--model"];
    sandbox.audit(&with(&predict, &["./nowhere"])).fails(3, &["./nowhere"]).prints_no_report();
    assert_eq!(sandbox.read("t.csv"), "kept");
    let names = sandbox.names("");
    assert!(!names.iter().any(|n| n.starts_with('.') || n.ends_with(".tmp")), "{names:?}");
}

#[test]
fn quiet_keeps_errors() {
    let sandbox = sandbox();
    let run = sandbox.audit(&audit(&["--student", "./nowhere", "--quiet"]));
    run.fails(3, &["error: sst2: ", "./nowhere"]);
    let run = sandbox.audit(&audit(&["--quiet"]));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_stdout_is_an_error_and_the_folder_has_the_report() {
    let sandbox = sandbox();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_audit"));
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.args(audit(&["--output-dir", "out"])).stdout(full).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    says(&stderr, &["cannot write to stdout", "No space left", "wrote out/report.json"]);
    assert_eq!(sandbox.names("out"), report_files());
}
