//! `audit verify`: a true report is verified, and a report that says anything else differs.

mod common;
#[path = "verify/forged.rs"]
mod forged;

use std::path::Path;

use common::{copy_folder, demo, edit_json, says, with, Run, Sandbox};
use serde_json::{json, Value};

/// Examples of the training split and of the validation split.
const EXAMPLES: [(&str, usize); 2] = [("train", 24), ("validation", 10)];

/// The demo's models and the first examples of its data, in a folder.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for model in ["teacher", "student", "student-overconfident"] {
        copy_folder(demo(model).as_ref(), &sandbox.path(model));
    }
    for (split, n) in EXAMPLES {
        let text = std::fs::read_to_string(demo(&format!("{split}.tsv"))).unwrap();
        let lines: Vec<&str> = text.lines().take(n + 1).collect();
        sandbox.write(&format!("data/{split}.tsv"), lines.join("\n") + "\n");
    }
    sandbox
}

/// Audits the student `name`, and leaves the report in `out`.
fn audit(sandbox: &Sandbox, name: &str, flags: &[&str], code: i32) {
    let models = ["--task", "sst2", "--data", "data", "--teacher", "teacher", "--student", name];
    let run = sandbox.audit(&with(&with(&models, flags), &["--output-dir", "out", "--quiet"]));
    assert_eq!(run.code, code, "{}", run.stderr);
}

/// The demo's student, audited.
fn audited() -> Sandbox {
    let sandbox = sandbox();
    audit(&sandbox, "student", &[], 0);
    sandbox
}

fn verify(sandbox: &Sandbox, flags: &[&str]) -> Run {
    sandbox.audit(&with(&["verify", "out/report.json"], flags))
}

/// The verification as JSON, which must have that verdict and that exit code.
#[track_caller]
fn verified_as(sandbox: &Sandbox, flags: &[&str], word: &str, code: i32) -> Value {
    let run = verify(
        sandbox,
        &with(flags, &["--format", "json"]).iter().map(|f| &**f).collect::<Vec<_>>(),
    );
    let found = run.json();
    assert_eq!(
        (&found["verdict"], run.code),
        (&word.into(), code),
        "{}\n{}",
        run.stdout,
        run.stderr
    );
    assert_eq!(found["exit_code"], code);
    found
}

fn edit(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) {
    edit_json(&sandbox.path("out/report.json"), change);
}

/// The paths of the values that differ.
fn paths(found: &Value) -> Vec<&str> {
    let differences = found["differences"].as_array().unwrap();
    differences.iter().map(|it| it["path"].as_str().unwrap()).collect()
}

#[test]
fn a_true_report_is_verified_whatever_its_verdict() {
    let sandbox = audited();
    let run = verify(&sandbox, &[]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.starts_with("verified  sst2/train  sst2/validation\n"), "{}", run.stdout);
    says(&run.stdout, &["sst2/train: PRESERVED, σ 0.0", "set by", "the SHA-256 of 2 models"]);
    says(&run.stdout, &["every value of a new run without the cache, to the last bit"]);
    says(&run.stdout, &["34 lines of predictions.csv, to the last bit"]);
    audit(&sandbox, "student-overconfident", &["--kappa", "0.01"], 1);
    let run = verify(&sandbox, &["--quiet"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    says(&run.stdout, &["verified  sst2/train", "sst2/train: NOT PRESERVED", "flag --kappa"]);
    // From stdin, and without the cache: a folder of its own stays empty.
    let mut command = sandbox.command();
    command.args(["verify", "-"]).write_stdin(sandbox.read("out/report.json"));
    command.env("AUDIT_CACHE_DIR", sandbox.path("cache"));
    assert_eq!(Run::of(command).code, 0);
    assert_eq!(sandbox.names("cache"), [""; 0]);
}

#[test]
fn every_changed_value_is_named() {
    let sandbox = audited();
    let changes: [(&str, Value); 14] = [
        ("/exit_code", 1.into()),
        ("/verdict", "not_preserved".into()),
        ("/tasks/0/verdict", "not_preserved".into()),
        ("/tasks/0/sigma", 0.001.into()),
        ("/tasks/0/kappa", 0.06.into()),
        ("/tasks/0/budget", 0.5.into()),
        ("/tasks/0/spent", 0.001.into()),
        ("/tasks/0/n", 25.into()),
        ("/tasks/0/bound_origin", "flag --kappa".into()),
        ("/tasks/0/student/accuracy", 1.0.into()),
        ("/tasks/0/worst/0/text", "another text".into()),
        ("/tasks/1/sigma_interval/low", 0.0.into()),
        ("/tasks/1/gates", true.into()),
        ("/manifest/config_sha256", "00".into()),
    ];
    edit(&sandbox, |report| {
        for (place, value) in &changes {
            *report.pointer_mut(place).unwrap() = value.clone();
        }
        report["approved"] = true.into();
    });
    let found = verified_as(&sandbox, &[], "differs", 1);
    let mut expected: Vec<String> = changes
        .iter()
        .map(|(place, _)| {
            let parts = place[1..].split('/').map(|part| match part.parse::<usize>() {
                Ok(index) => format!("[{index}]"),
                Err(_) => format!(".{part}"),
            });
            parts.collect::<String>()[1..].to_owned()
        })
        .chain(["approved".to_owned()])
        .collect();
    let mut found = paths(&found);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    // The text names the rows, and both values.
    let text = verify(&sandbox, &[]).stdout;
    assert!(text.starts_with("differs  sst2/train  sst2/validation\n"), "{text}");
    says(&text, &["tasks[0].sigma: report 0.001, now 0.0", "exit_code: report 1, now 0"]);
}

#[test]
fn seconds_and_the_cache_are_of_no_account() {
    let sandbox = audited();
    edit(&sandbox, |report| {
        report["tasks"][0]["seconds"] = 1e6.into();
        report["tasks"][0]["rows_from_cache"] = json!({"teacher": 24, "student": 24});
    });
    verified_as(&sandbox, &[], "verified", 0);
}

#[test]
fn a_changed_input_differs_and_nothing_is_run() {
    let sandbox = audited();
    let weights = sandbox.path("student/model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let mut changed = bytes.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, changed).unwrap();
    let found = verified_as(&sandbox, &[], "differs", 1);
    assert_eq!(paths(&found), ["manifest.models[1].weights_sha256"]);
    says(&found["not_checked"][0].to_string(), &["the models were not run"]);
    std::fs::write(&weights, bytes).unwrap();
    let data = sandbox.read("data/train.tsv");
    sandbox.write("data/train.tsv", data.replacen(" ", "  ", 1));
    let found = verified_as(&sandbox, &[], "differs", 1);
    assert_eq!(paths(&found), ["tasks[0].data_sha256"]);
    sandbox.write("data/train.tsv", data);
    sandbox.edit_config("teacher", |config| config["note"] = 1.into());
    let found = verified_as(&sandbox, &["--sample", "3"], "differs", 1);
    assert_eq!(paths(&found), ["manifest.models[0].config_sha256"]);
}

#[test]
fn a_changed_bound_is_caught_and_a_consistent_one_is_shown() {
    let sandbox = audited();
    let original = sandbox.read("out/report.json");
    edit(&sandbox, |report| {
        let command = report["manifest"]["commands"][0]["command"].as_str().unwrap();
        report["manifest"]["commands"][0]["command"] = format!("{command} --kappa 0.9").into();
    });
    let found = verified_as(&sandbox, &[], "differs", 1);
    let found = paths(&found);
    assert!(found.contains(&"manifest.config_sha256") && found.contains(&"tasks[0].kappa"));
    // In the report alone, also where only a sample is run.
    sandbox.write("out/report.json", original);
    edit(&sandbox, |report| report["tasks"][0]["kappa"] = 0.9.into());
    for flags in [&[][..], &["--sample", "2"]] {
        assert_eq!(paths(&verified_as(&sandbox, flags, "differs", 1)), ["tasks[0].kappa"]);
    }
    audit(&sandbox, "student-overconfident", &["--kappa", "0.9"], 0);
    let run = verify(&sandbox, &[]);
    assert_eq!(run.code, 0);
    says(&run.stdout, &["≤ κ 0.9000", "κ given outright; set by flag --kappa"]);
}

#[test]
fn what_is_missing_cannot_be_verified_until_its_place_is_named() {
    let sandbox = audited();
    std::fs::rename(sandbox.path("student"), sandbox.path("moved")).unwrap();
    let found = verified_as(&sandbox, &[], "cannot", 3);
    says(&found["reasons"][0].to_string(), &["cannot load the student `student`", "hint: "]);
    let run = verify(&sandbox, &[]);
    assert!(run.stdout.starts_with("cannot  sst2/train"), "{}", run.stdout);
    std::fs::rename(sandbox.path("data"), sandbox.path("elsewhere")).unwrap();
    let places = ["--student", "moved", "--data", "elsewhere"];
    verified_as(&sandbox, &places, "verified", 0);
    verified_as(
        &sandbox,
        &with(&places, &["--sample", "2"]).iter().map(|f| &**f).collect::<Vec<_>>(),
        "verified",
        0,
    );
    // Another model in its place is another model.
    let other = ["--student", "student-overconfident", "--data", "elsewhere"];
    let found = verified_as(&sandbox, &other, "differs", 1);
    assert_eq!(paths(&found)[0], "manifest.models[1].weights_sha256");
}

#[test]
fn the_report_s_command_is_read_and_never_run() {
    let sandbox = audited();
    let original = sandbox.read("out/report.json");
    let command = |text: &str| {
        sandbox.write("out/report.json", &original);
        edit(&sandbox, |report| {
            let command = report["manifest"]["commands"][0]["command"].as_str().unwrap();
            report["manifest"]["commands"][0]["command"] = text.replace("{}", command).into();
        });
        verify(&sandbox, &[])
    };
    for (text, words) in [
        ("{}; touch made", "cannot be read"),
        ("touch made", "it does not begin with `audit`"),
        ("{} 'open", "a quote is not closed"),
        ("audit distill --config x --output made", "makes no report"),
        ("audit init made", "makes no report"),
    ] {
        let run = command(text);
        assert_eq!(run.code, 3, "{text}: {}", run.stdout);
        says(&run.stdout.split_whitespace().collect::<Vec<_>>().join(" "), &[words]);
    }
    // Outputs of the command are not written; what it says in addition is a difference.
    let run = command("{} --output-dir made --threads 3");
    assert_eq!(run.code, 1, "{}", run.stdout);
    says(&run.stdout, &["manifest.commands[0].command"]);
    assert!(!Path::new(&sandbox.arg("made")).exists());
    // An audit.toml of the current folder is none of the report's settings.
    sandbox.write("out/report.json", &original);
    sandbox.write("audit.toml", "[defaults]\nkappa = 0.001\n");
    verified_as(&sandbox, &[], "verified", 0);
}

#[test]
fn a_config_is_read_where_it_is() {
    let sandbox = sandbox();
    sandbox.write("a.toml", "[defaults]\nkappa = 0.2\nteacher = \"teacher\"\n");
    let arguments =
        ["--task", "sst2", "--config", "a.toml", "--data", "data", "--student", "student"];
    let run = sandbox.audit(&with(&arguments, &["--output-dir", "out"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    verified_as(&sandbox, &[], "verified", 0);
    std::fs::rename(sandbox.path("a.toml"), sandbox.path("b.toml")).unwrap();
    let found = verified_as(&sandbox, &[], "cannot", 3);
    says(&found["reasons"][0].to_string(), &["cannot read the config `a.toml`"]);
    verified_as(&sandbox, &["--config", "b.toml"], "verified", 0);
    sandbox.write("b.toml", "[defaults]\nkappa = 0.3\nteacher = \"teacher\"\n");
    let found = verified_as(&sandbox, &["--config", "b.toml"], "differs", 1);
    assert!(paths(&found).contains(&"manifest.config_sha256"));
}

#[test]
fn a_config_may_move_with_its_data() {
    let sandbox = sandbox();
    let task = "[task.reviews]\nteacher = \"../teacher\"\nstudent = \"../student\"\ntext = \
                \"sentence\"\nlabels = [\"negative\", \"positive\"]\nsplits = { train = \
                \"train.tsv\" }\n";
    sandbox.write("old/audit.toml", task);
    let train = sandbox.read("data/train.tsv");
    sandbox.write("old/train.tsv", &train);
    let arguments = ["--config", "old/audit.toml", "--task", "reviews", "--output-dir", "out"];
    let run = sandbox.audit(&arguments);
    assert_eq!(run.code, 0, "{}", run.stderr);
    std::fs::rename(sandbox.path("old"), sandbox.path("new")).unwrap();
    let moved = ["--config", "new/audit.toml"];
    verified_as(&sandbox, &moved, "verified", 0);
    // Other files of the new folder are not those of the report, whatever they hold.
    sandbox.write("new/other.tsv", &train);
    sandbox.write("new/audit.toml", task.replace("train.tsv", "other.tsv"));
    let found = verified_as(&sandbox, &moved, "differs", 1);
    assert!(paths(&found).contains(&"tasks[0].data_files[0]"), "{found}");
}

#[test]
fn a_config_that_no_command_names_is_a_usage_error() {
    let sandbox = audited();
    sandbox.write("a.toml", "[defaults]\nkappa = 0.01\n");
    let run = verify(&sandbox, &["--config", "a.toml"]);
    run.fails(2, &["--config has no effect", "names no config", "hint: "]);
}

/// The lines of predictions.csv.
fn predictions(sandbox: &Sandbox) -> Vec<String> {
    sandbox.read("out/predictions.csv").lines().map(str::to_owned).collect()
}

#[test]
fn a_sample_derives_the_verdict_from_the_predictions() {
    let sandbox = audited();
    let sample = ["--sample", "4", "--seed", "7"];
    let found = verified_as(&sandbox, &sample, "verified", 0);
    assert_eq!(found["sample"], json!({"asked": 4, "run": 8, "seed": 7}));
    says(&found["checked"].to_string(), &["budget and verdict of 24 lines", "4 of them run again"]);
    says(&found["not_checked"].to_string(), &["intervals", "the worst inputs"]);
    let original = predictions(&sandbox);
    let forged = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = original.clone();
        change(&mut lines);
        sandbox.write("out/predictions.csv", lines.join("\n") + "\n");
        verified_as(&sandbox, &sample, "differs", 1)
    };
    // One line with another confidence: σ is another.
    let found = forged(&|lines| {
        let mut fields: Vec<&str> = lines[5].split(',').collect();
        (fields[4], fields[5], fields[8]) = ("0.75", "0.5", "0.25");
        lines[5] = fields.join(",");
    });
    assert!(paths(&found).contains(&"tasks[0].sigma") && paths(&found).contains(&"tasks[0].spent"));
    let found = forged(&|lines| lines.swap(5, 6));
    assert!(paths(&found).contains(&"predictions.csv line 6, index"), "{:?}", paths(&found));
    let found = forged(&|lines| {
        let mut fields: Vec<&str> = lines[5].split(',').collect();
        fields[8] = "0";
        lines[5] = fields.join(",");
    });
    assert!(paths(&found).contains(&"predictions.csv line 6, difference"));
    sandbox.write("out/predictions.csv", original[..original.len() - 1].join("\n"));
    let found = verified_as(&sandbox, &sample, "cannot", 3);
    says(&found["reasons"][0].to_string(), &["is not of this run", "leave --sample out"]);
}

/// Report and predictions of one student under the name and the hashes of another: every figure fits
/// every other, and only the models tell.
#[test]
fn a_sample_catches_predictions_of_another_model() {
    let sandbox = audited();
    let models = |report: &Value| report["manifest"].clone();
    let claimed = models(&serde_json::from_str(&sandbox.read("out/report.json")).unwrap());
    audit(&sandbox, "student-overconfident", &[], 1);
    edit(&sandbox, |report| report["manifest"] = claimed);
    let found = verified_as(&sandbox, &["--sample", "1"], "differs", 1);
    let lines: Vec<&str> = paths(&found);
    assert!(lines.iter().all(|it| it.starts_with("predictions.csv line ")), "{lines:?}");
    assert!(lines.iter().any(|it| it.ends_with(", student_confidence")), "{lines:?}");
}

#[test]
fn a_report_of_an_early_end_is_verified_in_whole_and_by_a_sample() {
    let sandbox = sandbox();
    for (split, _) in EXAMPLES {
        std::fs::copy(demo(&format!("{split}.tsv")), sandbox.path(&format!("data/{split}.tsv")))
            .unwrap();
    }
    for flags in [&["--fail-fast", "--kappa", "0.01"][..], &["--sequential", "--kappa", "0.3"]] {
        let code = i32::from(flags[0] == "--fail-fast");
        audit(&sandbox, "student-overconfident", flags, code);
        let report: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
        assert!(report["tasks"][0]["examples_run"].as_u64() < report["tasks"][0]["n"].as_u64());
        verified_as(&sandbox, &["--sample", "2"], "verified", 0);
        edit(&sandbox, |report| report["tasks"][0]["certainty"] = "statistical".into());
        let statistical = report["tasks"][0]["certainty"] == "statistical";
        if !statistical {
            let found = verified_as(&sandbox, &["--sample", "2"], "differs", 1);
            assert_eq!(paths(&found), ["tasks[0].certainty"]);
        }
        sandbox.write("out/report.json", report.to_string());
    }
    verified_as(&sandbox, &[], "verified", 0);
}

#[test]
fn rows_that_could_not_be_run_are_part_of_a_report() {
    let sandbox = sandbox();
    let config = "[defaults]\nteacher = \"teacher\"\nstudent = \"student\"\ndata = \"data\"\n\
                  [task.rte]\nteacher = \"missing\"\n";
    sandbox.write("a.toml", config);
    let arguments = ["--task", "sst2,rte", "--config", "a.toml", "--output-dir", "out", "--quiet"];
    assert_eq!(sandbox.audit(&arguments).code, 3);
    let found = verified_as(&sandbox, &[], "verified", 0);
    assert_eq!(found["rows"][2]["verdict"], "error");
    let found = verified_as(&sandbox, &["--sample", "2"], "cannot", 3);
    says(&found["reasons"].to_string(), &["rte: it could not be run for the report"]);
    // A row that failed and is said to have been run has no models in the report.
    edit(&sandbox, |report| {
        let mut row = report["tasks"][0].clone();
        row["task"] = "rte".into();
        report["tasks"][2] = row;
    });
    let found = verified_as(&sandbox, &[], "differs", 1);
    assert_eq!(paths(&found)[0], "manifest.models, the student of rte.weights_sha256");
    says(&found["reasons"].to_string(), &["cannot load the teacher `missing`"]);
    // A row that was run and is said to have failed differs.
    edit(&sandbox, |report| {
        report["tasks"].as_array_mut().unwrap().pop();
        report["tasks"][0]["verdict"] = "error".into();
        report["manifest"]["commands"].as_array_mut().unwrap().pop();
    });
    let found = verified_as(&sandbox, &[], "differs", 1);
    assert!(paths(&found).contains(&"tasks[0].verdict"), "{:?}", paths(&found));
}

#[test]
fn another_version_or_arithmetic_is_compared_with_a_tolerance() {
    let sandbox = audited();
    let original: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    let sigma = original["tasks"][0]["sigma"].as_f64().unwrap();
    let with_manifest = |key: &str, value: Value, sigma: f64| {
        let mut report = original.clone();
        report["manifest"][key] = value;
        report["tasks"][0]["sigma"] = sigma.into();
        sandbox.write("out/report.json", report.to_string());
    };
    with_manifest("version", "0.0.1".into(), sigma);
    assert_eq!(verified_as(&sandbox, &[], "verified", 0)["tolerance"], Value::Null);
    with_manifest("version", "0.0.1".into(), sigma + 0.01);
    let found = verified_as(&sandbox, &[], "cannot", 3);
    says(
        &found["reasons"][0].to_string(),
        &["version 0.0.1", "tasks[0].sigma", "hint: verify it with"],
    );
    with_manifest("arithmetic", "1-00".into(), sigma + 1e-7);
    let found = verified_as(&sandbox, &[], "verified", 0);
    assert_eq!(found["tolerance"], 1e-5);
    says(&found["checked"].to_string(), &["a machine with another arithmetic"]);
    with_manifest("arithmetic", "1-00".into(), sigma + 0.01);
    assert_eq!(paths(&verified_as(&sandbox, &[], "differs", 1)), ["tasks[0].sigma"]);
    // On this arithmetic a last digit is a difference.
    with_manifest("dtype", "f32".into(), sigma + 1e-7);
    assert_eq!(paths(&verified_as(&sandbox, &[], "differs", 1)), ["tasks[0].sigma"]);
}

#[test]
fn a_check_is_verified_from_its_tables() {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", "confidence,predicted,label\n0.75,negative,0\n0.5,positive,1\n");
    sandbox.write("s.csv", "confidence,predicted,label\n0.73,negative,0\n0.52,positive,1\n");
    let files = ["--teacher-predictions", "t.csv", "--student-predictions", "s.csv"];
    let run =
        sandbox.audit(&with(&with(&["check", "--task", "sst2"], &files), &["--output-dir", "out"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    verified_as(&sandbox, &[], "verified", 0);
    edit(&sandbox, |report| report["tasks"][0]["sigma"] = 0.01.into());
    assert_eq!(paths(&verified_as(&sandbox, &[], "differs", 1)), ["tasks[0].sigma"]);
    let data = sandbox.audit(&["verify", "out/report.json", "--data", "x"]);
    data.fails(2, &["--data has no effect on a report of `audit check`", "hint: "]);
    sandbox.write("s.csv", "confidence,predicted,label\n0.73,negative,0\n0.53,positive,1\n");
    let found = verified_as(&sandbox, &[], "differs", 1);
    assert!(paths(&found).contains(&"manifest.models[1].weights_sha256"));
    std::fs::remove_file(sandbox.path("s.csv")).unwrap();
    verified_as(&sandbox, &[], "cannot", 3);
}

#[test]
fn a_recalibration_is_verified() {
    let sandbox = sandbox();
    let models = ["--data", "data", "--teacher", "teacher", "--student", "student-overconfident"];
    let arguments =
        with(&["recalibrate", "--task", "sst2", "--output", "out", "--exit-zero"], &models);
    let run = sandbox.audit(&with(&arguments, &["--quiet"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let verify = |sandbox: &Sandbox| sandbox.audit(&["verify", "out/recalibration.json"]);
    let run = verify(&sandbox);
    assert_eq!(run.code, 0, "{}", run.stdout);
    says(&run.stdout, &["verified  sst2/train\n", "NOT PRESERVED, τ "]);
    edit_json(&sandbox.path("out/recalibration.json"), |report| {
        report["temperature"] = 1.5.into();
        report["gate"]["after"]["verdict"] = "preserved".into();
    });
    let run = verify(&sandbox);
    assert_eq!(run.code, 1);
    says(
        &run.stdout,
        &["temperature: report 1.5, now 1.", "gate.after.verdict: report \"preserved\""],
    );
}

#[test]
fn what_is_no_report_is_a_usage_error_and_an_old_one_cannot_be_verified() {
    let sandbox = audited();
    sandbox.write("other.json", "{}");
    let run = |arguments: &[&str]| sandbox.audit(&with(&["verify"], arguments));
    run(&["other.json"]).fails(2, &["`other.json` is not a report"]).prints_no_report();
    run(&["missing.json"]).fails(2, &["cannot read `missing.json`"]).prints_no_report();
    run(&["out/report.json", "--seed", "1"]).fails(2, &["--sample"]);
    run(&["out/report.json", "--sample", "0"]).fails(2, &["give 1 or more"]);
    edit(&sandbox, |report| {
        report["manifest"].as_object_mut().unwrap().remove("commands").unwrap();
    });
    let found = verified_as(&sandbox, &[], "cannot", 3);
    says(&found["reasons"][0].to_string(), &["does not say how it was made"]);
}
