//! `audit recalibrate`: one temperature, two splits, a checkpoint.

mod common;

use common::{
    codes, demo, edit_json, number, read_markdown, read_tensors, says, with, Run, Sandbox,
};
use confidence_audit::report::json_schema;
use confidence_audit::report::recalibration::Recalibration;
use serde_json::Value;

/// Arguments for a student of the demo, or for a folder of the sandbox.
fn arguments(student: &str, more: &[&str]) -> Vec<String> {
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", student];
    with(&with(&["recalibrate", "--task", "sst2"], &models), more)
}

/// The report of a run, which must be valid by its schema.
fn report(sandbox: &Sandbox, student: &str, more: &[&str]) -> Value {
    let run = sandbox.audit(&arguments(student, &with_json(more)));
    let report = run.json();
    assert_eq!(report["exit_code"], run.code, "{}", run.stderr);
    let validator = jsonschema::validator_for(&json_schema::<Recalibration>()).unwrap();
    let errors: Vec<_> = validator.iter_errors(&report).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    report
}

fn with_json<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &["--format", "json"]].concat()
}

fn sigma(report: &Value, split: &str, when: &str) -> f64 {
    number(&report[split][when], "sigma")
}

/// The rows of an audit of the demo's teacher with that student: train, then validation.
fn audited(sandbox: &Sandbox, student: &str, more: &[&str]) -> Vec<Value> {
    let (data, teacher) = (demo(""), demo("teacher"));
    let pair = ["--task", "sst2", "--data", &data, "--teacher", &teacher, "--student", student];
    let report = sandbox.report(&with(&pair, more));
    report["tasks"].as_array().unwrap().clone()
}

/// What an audit and a recalibration must agree about.
#[track_caller]
fn same(row: &Value, split: &Value, when: &str, tolerance: f64) {
    assert_eq!((&row["split"], &row["n"]), (&split["split"], &split["n"]));
    for key in ["sigma", "sigma_centred", "mean_difference"] {
        let (audit, own) = (number(row, key), number(&split[when], key));
        assert!((audit - own).abs() <= tolerance, "{key}: {audit} against {own}");
    }
    assert_eq!(row["verdict"], split[when]["verdict"]);
    assert_eq!(row["kappa"], split["kappa"]);
    assert_eq!(row["student"]["correct"], split["student_correct"]);
    assert_eq!(row["student"]["accuracy"], split["student_accuracy"]);
    assert_eq!(row["teacher"]["correct"], split["teacher_correct"]);
    assert_eq!(row["agreement"], split["agreement"]);
}

#[test]
fn before_is_the_audit_s_and_after_is_the_audit_s_of_the_folder_that_was_written() {
    let sandbox = Sandbox::new();
    let student = demo("student-overconfident");
    let output = sandbox.arg("new/student");
    let report = report(&sandbox, &student, &["--output", &output]);
    let (fit, gate) = (&report["fit"], &report["gate"]);
    let before = audited(&sandbox, &student, &[]);
    same(&before[0], gate, "before", 0.0);
    same(&before[1], fit, "before", 0.0);
    let after = audited(&sandbox, &output, &[]);
    same(&after[0], gate, "after", 1e-6);
    same(&after[1], fit, "after", 1e-6);
    // The student was trained on labels alone: it is too sure, and less so now.
    assert!(number(&report, "temperature") > 1.0);
    assert!(sigma(&report, "fit", "after") <= sigma(&report, "fit", "before"));
    assert_eq!(fit["best_temperature"], report["temperature"]);
    assert!(sigma(&report, "gate", "best") <= sigma(&report, "gate", "after"));
    assert_eq!(gate["predictions_moved"], 0);
    assert_eq!(report["schema_version"], 1);
}

#[test]
fn the_folder_is_the_student_s_but_for_its_last_layer() {
    let sandbox = Sandbox::new();
    common::copy_folder(demo("student-overconfident").as_ref(), &sandbox.path("student"));
    sandbox.write("student/distillation.json", "{}");
    sandbox.write("student/special_tokens_map.json", "{}");
    let student = sandbox.arg("student");
    let mut report = report(&sandbox, &student, &["--output", "out", "--quiet"]);
    for split in ["fit", "gate"] {
        // The checkpoint has the same bytes with and without the cache.
        let cached = report[split]["rows_from_cache"].take();
        assert_eq!(cached, serde_json::json!({"teacher": 0, "student": 0}));
    }
    let mut names = sandbox.names("student");
    names.retain(|name| name != "distillation.json");
    names.push("recalibration.json".to_owned());
    names.sort();
    assert_eq!(sandbox.names("out"), names);
    let json = |file: &str| serde_json::from_str::<Value>(&sandbox.read(file)).unwrap();
    assert_eq!(json("out/config.json"), json("student/config.json"));
    assert_eq!(json("out/recalibration.json"), report);
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        assert_eq!(sandbox.read(&format!("out/{file}")), sandbox.read(&format!("student/{file}")));
    }
    let tensors = |folder: &str| {
        read_tensors(&std::fs::read(sandbox.path(folder).join("model.safetensors")).unwrap())
    };
    let (old, new) = (tensors("student"), tensors("out"));
    assert!(old.keys().eq(new.keys()));
    let changed: Vec<_> = old.keys().filter(|name| old[*name] != new[*name]).collect();
    assert_eq!(changed, ["classifier.bias", "classifier.weight"]);
    // The same again is the same bytes.
    let again = arguments(&student, &["--output", "again", "--no-cache", "--threads", "1"]);
    sandbox.audit(&again);
    for name in names {
        let bytes = |folder: &str| std::fs::read(sandbox.path(folder).join(&name)).unwrap();
        assert_eq!(bytes("out"), bytes("again"), "{name}");
    }
}

#[test]
fn the_report_as_markdown_has_the_verdict_and_the_figures() {
    let sandbox = Sandbox::new();
    let student = demo("student-overconfident");
    let report = report(&sandbox, &student, &[]);
    let run = sandbox.audit(&arguments(&student, &["--format", "markdown"]));
    assert_eq!(report["exit_code"], run.code, "{}", run.stderr);
    let (heading, text) = read_markdown(&run.stdout);
    let word = if report["exit_code"] == 0 { "✅ PRESERVED" } else { "❌ NOT PRESERVED" };
    let tau = number(&report, "temperature");
    assert!(heading.ends_with("examples") && heading.contains(&format!("τ {tau:.4}")), "{heading}");
    assert!(heading.starts_with(&format!("{word}: sst2/train, ")), "{heading}");
    for split in ["fit", "gate"] {
        let [before, after] = ["before", "after"].map(|when| sigma(&report, split, when));
        assert!(text.contains(&format!("σ {before:.4} → {after:.4}")), "{text}");
    }
    assert!(text.contains(report["conclusion"].as_str().unwrap()), "{text}");
}

/// A copy of the demo's teacher whose logits are `factor` times as large, in the sandbox.
fn scaled_teacher(sandbox: &Sandbox, name: &str, factor: f32) -> String {
    common::copy_folder(demo("teacher").as_ref(), &sandbox.path(name));
    sandbox.edit_weights(name, |tensors| {
        for part in ["classifier.weight", "classifier.bias"] {
            let (dtype, shape, bytes) = tensors.get_mut(part).unwrap();
            let values: Vec<f32> = match dtype {
                safetensors::Dtype::F32 => bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                    .collect(),
                safetensors::Dtype::F16 => bytes
                    .chunks_exact(2)
                    .map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f32())
                    .collect(),
                other => panic!("the demo is stored as {other:?}"),
            };
            *bytes = values.iter().flat_map(|w| (w * factor).to_le_bytes()).collect();
            *dtype = safetensors::Dtype::F32;
            assert_eq!(bytes.len(), 4 * shape.iter().product::<usize>());
        }
    });
    sandbox.arg(name)
}

#[test]
fn a_student_that_is_off_by_a_scale_is_corrected() {
    let sandbox = Sandbox::new();
    let student = scaled_teacher(&sandbox, "student", 4.0);
    let report = report(&sandbox, &student, &["--output", "out", "--kappa", "0.001"]);
    assert!((number(&report, "temperature") - 4.0).abs() < 1e-3);
    assert_eq!(report["gate"]["before"]["verdict"], "not_preserved");
    assert_eq!((&report["verdict"], &report["exit_code"]), (&"preserved".into(), &0.into()));
    assert!(sigma(&report, "gate", "after") < 1e-4);
    let rows = audited(&sandbox, "out", &["--kappa", "0.001"]);
    assert_eq!(rows[0]["verdict"], "preserved");
    let text = sandbox.audit(&arguments(&student, &["--kappa", "0.001"]));
    assert_eq!(text.code, 0);
    says(&text.stdout, &["PRESERVED  sst2/train  τ 4.0", "Recalibrated, the student keeps"]);
}

#[test]
fn what_one_temperature_does_not_mend_is_said_and_ends_with_1() {
    let sandbox = Sandbox::new();
    let student = demo("student-overconfident");
    let strict = ["--kappa", "1e-6", "--no-cache"];
    let run = sandbox.audit(&arguments(&student, &strict));
    assert_eq!(run.code, 1, "{}", run.stderr);
    says(&run.stdout, &["NOT PRESERVED  sst2/train", "does not suffice", "teacher's logits"]);
    says(&run.stdout, &["no prediction moved", "is the best for train itself"]);
    let zero = sandbox
        .audit(&arguments(&student, &["--kappa", "1e-6", "--no-cache", "--exit-zero", "--quiet"]));
    assert_eq!((zero.code, zero.stderr.as_str()), (0, ""));
    assert_eq!(zero.stdout, run.stdout);
    // The checkpoint is written whatever the verdict is.
    let run = sandbox.audit(&arguments(&student, &["--kappa", "1e-6", "--output", "out"]));
    assert_eq!(run.code, 1);
    assert!(sandbox.path("out/config.json").exists());
    says(&run.stderr, &["wrote out"]);
}

#[test]
fn the_confidence_and_the_statistic_that_gate_are_those_that_are_fit() {
    let sandbox = Sandbox::new();
    let student = demo("student-overconfident");
    let pair = |more: &[&str]| report(&sandbox, &student, more);
    let (max, class) = (pair(&[]), pair(&["--confidence", "teacher-class"]));
    assert_ne!(max["temperature"], class["temperature"]);
    assert_eq!(class["confidence"], "teacher-class");
    let rows = audited(&sandbox, &student, &["--confidence", "teacher-class"]);
    same(&rows[0], &class["gate"], "before", 0.0);
    let centred = pair(&["--statistic", "centred"]);
    let spread = |report: &Value| number(&report["fit"]["after"], "sigma_centred");
    assert!(spread(&centred) <= spread(&max));
}

#[test]
fn other_splits_may_be_named_and_never_one_twice() {
    let sandbox = Sandbox::new();
    let student = demo("student");
    let turned = report(&sandbox, &student, &["--fit-split", "train", "--split", "dev"]);
    assert_eq!(
        (&turned["fit"]["split"], &turned["gate"]["split"]),
        (&"train".into(), &"validation".into())
    );
    for more in [
        &["--split", "validation"][..],
        &["--fit-split", "train"],
        &["--split", "dev", "--fit-split", "validation"],
    ] {
        let run = sandbox.audit(&arguments(&student, more));
        run.fails(2, &["the gating split", "--fit-split"]).prints_no_report();
    }
    let run = sandbox.audit(&arguments(&student, &["--fit-split", "calibration"]));
    run.fails(3, &["no split `calibration` to fit", "--fit-split"]).prints_no_report();
    // Two names for one file.
    let (data, teacher) = (demo("train.tsv"), demo("teacher"));
    let config = format!(
        "[task.own]\ntext = \"sentence\"\nlabel = \"label\"\nlabels = [\"negative\", \"positive\"]\n\
         splits = {{ train = \"{data}\", validation = \"{data}\" }}\n"
    );
    sandbox.write("audit.toml", config);
    let own = ["recalibrate", "--task", "own", "--teacher", &teacher, "--student", &student];
    sandbox.audit(&own).fails(2, &["the same data"]);
}

#[test]
fn what_will_not_do_is_refused_before_the_run() {
    let sandbox = Sandbox::new();
    let student = demo("student");
    let refused = |more: &[&str], words: &[&str]| -> Run {
        let run = sandbox.audit(&arguments(&student, more));
        run.fails(2, words).prints_no_report();
        run
    };
    sandbox.write("full/file", "");
    refused(&["--output", "full"], &["`full`", "not empty", "--output"]);
    refused(&["--output", "full/file"], &["`full/file`", "a file"]);
    refused(&["--format", "junit"], &["invalid value 'junit'", "text, json"]);
    for flag in ["--fail-fast", "--sequential"] {
        refused(&[flag], &[flag, "no effect on `audit recalibrate`"]);
    }
    refused(&["--seed", "3"], &["--seed"]);
    refused(&["--task", "rte"], &["one task"]);
    assert_eq!(sandbox.names("full"), ["file"]);
    let no_student = ["recalibrate", "--task", "sst2", "--teacher", "t"];
    sandbox.audit(&no_student).fails(2, &["no student"]);
    // A student that cannot be loaded leaves no folder behind.
    let run = sandbox.audit(&arguments("./nowhere", &["--output", "out"]));
    run.fails(3, &["nowhere"]).prints_no_report();
    assert!(!sandbox.path("out").exists());
}

#[test]
fn a_student_beyond_the_temperatures_that_are_tried_draws_a_warning() {
    let sandbox = Sandbox::new();
    let student = scaled_teacher(&sandbox, "student", 256.0);
    let report = report(&sandbox, &student, &[]);
    assert_eq!(report["temperature"], 20.0);
    assert!(codes(&report).contains(&"temperature-at-edge"), "{:?}", codes(&report));
}

#[test]
fn the_student_s_own_bound_gates_with_from_student() {
    let sandbox = Sandbox::new();
    common::copy_folder(demo("student-overconfident").as_ref(), &sandbox.path("student"));
    let student = sandbox.arg("student");
    let from_student = ["--bound", "from-student"];
    sandbox.audit(&arguments(&student, &from_student)).fails(3, &["no bound of its own"]);
    let record = r#"{"bound": {"beta_per_example": 0.0004, "alpha": 0.0, "temperature": 1.0}}"#;
    sandbox.write("student/distillation.json", record);
    let report = report(&sandbox, &student, &from_student);
    assert!((number(&report["gate"], "kappa") - 0.02).abs() < 1e-15); // sqrt(0.0004)
    assert_eq!(report["bound_origin"], "student's distillation.json");
}

#[test]
fn unlabelled_text_will_do() {
    let sandbox = Sandbox::new();
    let (teacher, student) = (demo("teacher"), demo("student-overconfident"));
    for split in ["train", "validation"] {
        sandbox
            .write(&format!("{split}.tsv"), std::fs::read(demo(&format!("{split}.tsv"))).unwrap());
    }
    sandbox.write(
        "audit.toml",
        "[task.own]\ntext = \"sentence\"\nlabels = [\"negative\", \"positive\"]\n\
         splits = { train = \"train.tsv\", validation = \"validation.tsv\" }\n",
    );
    let own = ["recalibrate", "--task", "own", "--teacher", &teacher, "--student", &student];
    let run = sandbox.audit(&with(&own, &["--format", "json", "--limit", "100"]));
    let report = run.json();
    let gate = &report["gate"];
    assert_eq!((&gate["n"], &gate["partial"]), (&100.into(), &true.into()));
    assert_eq!((&gate["student_accuracy"], &gate["labelled"]), (&Value::Null, &0.into()));
    assert!(gate["undefined"]["student_accuracy"].is_string());
}

#[test]
fn a_label_map_and_an_odd_order_of_labels_change_nothing() {
    let sandbox = Sandbox::new();
    let plain = report(&sandbox, &demo("student-overconfident"), &["--output", "plain"]);
    common::copy_folder(demo("student-overconfident").as_ref(), &sandbox.path("turned"));
    sandbox.edit_weights("turned", |tensors| {
        common::reorder_rows(tensors, "classifier.weight", &[1, 0]);
        common::reorder_rows(tensors, "classifier.bias", &[1, 0]);
    });
    edit_json(&sandbox.path("turned/config.json"), |config| {
        config["id2label"] = serde_json::json!({"0": "positive", "1": "negative"});
        config["label2id"] = serde_json::json!({"positive": 0, "negative": 1});
    });
    let student = sandbox.arg("turned");
    let turned = report(&sandbox, &student, &["--output", "out"]);
    assert_eq!(turned["temperature"], plain["temperature"]);
    assert_eq!(turned["gate"]["after"], plain["gate"]["after"]);
    let rows = audited(&sandbox, "out", &[]);
    same(&rows[0], &turned["gate"], "after", 1e-6);
}
