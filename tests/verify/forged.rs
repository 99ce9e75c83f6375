//! Reports that say more than was run, or that name files of others.

use serde_json::{json, Value};

use super::common::says;
use super::{audited, edit, paths, predictions, verified_as, verify};

#[test]
fn a_file_elsewhere_that_the_command_names_is_not_read() {
    let sandbox = audited();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hf_secret\n").unwrap();
    let elsewhere = secret.path().to_str().unwrap().to_owned();
    let named = |text: &str| {
        edit(&sandbox, |report| report["manifest"]["commands"][0]["command"] = text.into());
        let run = verify(&sandbox, &[]);
        assert_eq!(run.code, 3, "{text}: {}", run.stdout);
        assert!(!(run.stdout.clone() + &run.stderr).contains("hf_secret"), "{}", run.stdout);
        run.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for file in [&elsewhere, "/proc/self/environ", "out"] {
        let text = named(&format!("audit --task sst2 --config {file}"));
        says(&text, &["is not a file of the current folder", "hint: name it with --config"]);
    }
    let check = "audit check --task sst2 --teacher-predictions";
    let text = named(&format!("{check} {elsewhere} --student-predictions out/predictions.csv"));
    says(&text, &["hint: name it with --teacher"]);
    let text = named(&format!("{check} out/predictions.csv --student-predictions {elsewhere}"));
    says(&text, &["hint: name it with --student"]);
    // A link to it lies elsewhere too.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&elsewhere, sandbox.path("link.toml")).unwrap();
        says(&named("audit --task sst2 --config link.toml"), &["hint: name it with --config"]);
    }
}

#[test]
fn a_sample_misses_no_row_and_no_key() {
    let sandbox = audited();
    let original = sandbox.read("out/report.json");
    let sample = ["--sample", "2"];
    let forged = |change: &dyn Fn(&mut Value)| {
        sandbox.write("out/report.json", &original);
        edit(&sandbox, change);
        let found = verified_as(&sandbox, &sample, "differs", 1);
        paths(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let error = json!({"message": "x", "hint": null});
    // A row that is not in the data, with an error and a verdict.
    let found = forged(&|report| {
        let mut row = report["tasks"][1].clone();
        (row["split"], row["error"]) = ("test".into(), error.clone());
        (row["examples_run"], row["sigma"]) = (0.into(), 0.001.into());
        report["tasks"].as_array_mut().unwrap().push(row);
    });
    assert_eq!(found, ["tasks[2].error", "tasks, the rows of sst2"]);
    let found = forged(&|report| {
        report["tasks"][1]["error"] = error.clone();
        report["tasks"][1]["verdict"] = "preserved".into();
    });
    assert!(found.contains(&"tasks[1].error".to_owned()), "{found:?}");
    for (place, value, path) in [
        ("/tasks/0/partial", true.into(), "tasks[0].partial"),
        ("/tasks/0/labels", json!(["a"]), "tasks[0].labels"),
        ("/manifest/models/0/source", "other".into(), "manifest.models[0].source"),
        ("/manifest/models/1/architecture", "gpt".into(), "manifest.models[1].architecture"),
        ("/manifest/models/1/max_length", 5.into(), "manifest.models[1].max_length"),
    ] {
        let found = forged(&|report| *report.pointer_mut(place).unwrap() = value.clone());
        assert_eq!(found, [path]);
    }
    assert_eq!(forged(&|report| report["tasks"][0]["approved"] = 1.into()), ["tasks[0].approved"]);
    let found = forged(&|report| {
        let models = report["manifest"]["models"].as_array_mut().unwrap();
        models.push(models[0].clone());
    });
    assert_eq!(found, ["manifest.models"]);
    sandbox.write("out/report.json", &original);
    let found = verified_as(&sandbox, &sample, "verified", 0);
    says(&found["not_checked"].to_string(), &["of the rows: ", "student_bound", "skipped"]);
    says(&found["not_checked"].to_string(), &["undefined", "data_files", "manifest.version"]);
}

#[test]
fn a_command_is_compared_where_flags_name_the_places() {
    let sandbox = audited();
    let places = ["--student", "student", "--data", "data"];
    verified_as(&sandbox, &places, "verified", 0);
    edit(&sandbox, |report| {
        let command = &mut report["manifest"]["commands"][0]["command"];
        *command = format!("{} --output-dir made", command.as_str().unwrap()).into();
    });
    let path = ["manifest.commands[0].command"];
    for flags in [&places[..], &["--sample", "2"], &["--sample", "2", "--student", "student"]] {
        assert_eq!(paths(&verified_as(&sandbox, flags, "differs", 1)), path, "{flags:?}");
    }
}

#[test]
fn a_table_of_predictions_that_is_not_of_the_run_is_no_pass() {
    let sandbox = audited();
    let lines = predictions(&sandbox);
    let text = lines.join("\n") + "\n";
    let more = format!("{text}{}\n", lines.last().unwrap());
    for (text, why) in [
        (more, "too many rows of sst2/validation"),
        (text.replacen("index", "place", 1), "its columns are others"),
    ] {
        sandbox.write("out/predictions.csv", text);
        let found = verified_as(&sandbox, &[], "cannot", 3);
        says(&found["reasons"][0].to_string(), &["predictions.csv", why, "hint: "]);
    }
}

#[test]
fn a_report_without_its_arithmetic_lacks_no_figure() {
    let sandbox = audited();
    edit(&sandbox, |report| {
        report["manifest"].as_object_mut().unwrap().remove("arithmetic").unwrap();
        report["tasks"][0].as_object_mut().unwrap().remove("sigma_unseen").unwrap();
    });
    let found = verified_as(&sandbox, &[], "verified", 0);
    says(&found["not_checked"].to_string(), &["manifest.version, platform and arithmetic"]);
    edit(&sandbox, |report| {
        report["tasks"][0].as_object_mut().unwrap().remove("kappa").unwrap();
    });
    assert_eq!(paths(&verified_as(&sandbox, &[], "differs", 1)), ["tasks[0].kappa"]);
}
