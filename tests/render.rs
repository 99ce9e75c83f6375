//! `audit render`: the output of an audit from its saved report.

mod common;

use std::process::Stdio;

use common::{edit_json, says, tiny_pair, with, Run, Sandbox};
use confidence_audit::report::{Envelope, Report};

/// The tiny pair, audited with `--output-dir out` and in `format`.
fn audited(format: &str) -> (Sandbox, Run) {
    let (sandbox, arguments) = tiny_pair();
    let run = sandbox.audit(&with(&arguments, &["--format", format, "--output-dir", "out"]));
    assert!([0, 1].contains(&run.code), "{}", run.stderr);
    (sandbox, run)
}

fn render(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.audit(&[&["render"], arguments].concat())
}

#[test]
fn every_format_of_a_saved_report_is_what_the_audit_printed() {
    let (sandbox, arguments) = tiny_pair();
    for format in Report::FORMATS.iter().map(|format| format.name) {
        // A run for each: its seconds stand in some formats.
        let audit = sandbox.audit(&with(&arguments, &["--format", format, "--output-dir", "out"]));
        let run = render(&sandbox, &["out/report.json", "--format", format]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{format}");
        assert!(run.stdout == audit.stdout, "{format}:\n{}\n{}", run.stdout, audit.stdout);
    }
    let run = render(&sandbox, &["out/report.json", "--format", "json"]);
    assert!(run.stdout == sandbox.read("out/report.json"));
}

#[test]
fn the_files_of_a_folder_are_written_again() {
    let (sandbox, _) = audited("text");
    let run = render(&sandbox, &["out/report.json", "--output-dir", "again"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(&run.stderr, &["wrote ", "predictions.csv", "report.json"]);
    assert_eq!(sandbox.names("again"), sandbox.names("out"));
    for name in sandbox.names("out") {
        assert!(sandbox.read(&format!("again/{name}")) == sandbox.read(&format!("out/{name}")));
    }
    // Into its own folder: what was read stays, what was lost comes back.
    let before = sandbox.path("out/report.json").metadata().unwrap().modified().unwrap();
    std::fs::remove_file(sandbox.path("out/report.md")).unwrap();
    let run = render(&sandbox, &["out/report.json", "--output-dir", "out", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(sandbox.names("again"), sandbox.names("out"));
    assert_eq!(sandbox.path("out/report.json").metadata().unwrap().modified().unwrap(), before);
}

#[test]
fn an_unwritable_folder_is_not_a_usage_error() {
    let (sandbox, _) = audited("text");
    sandbox.write("file", "");
    let run = render(&sandbox, &["out/report.json", "--output-dir", "file"]);
    run.fails(3, &["cannot write in the output folder `file`", "hint: "]).prints_no_report();
}

#[test]
fn without_predictions_there_is_no_csv() {
    let (sandbox, audit) = audited("csv");
    std::fs::rename(sandbox.path("out/predictions.csv"), sandbox.path("rows.csv")).unwrap();
    let csv = ["out/report.json", "--format", "csv"];
    render(&sandbox, &csv)
        .fails(2, &["holds no row per example, and there is no `out/predictions.csv`", "hint: "])
        .prints_no_report();
    let run = render(&sandbox, &["out/report.json", "--output-dir", "again"]);
    assert_eq!(run.code, 0);
    says(&run.stderr, &["note: no predictions.csv is written: "]);
    let mut names = sandbox.names("out");
    assert_eq!(sandbox.names("again"), names);
    // Another run's: fewer rows.
    let rows: Vec<&str> = audit.stdout.lines().collect();
    sandbox.write("out/predictions.csv", rows[..rows.len() - 1].join("\n"));
    render(&sandbox, &csv).fails(2, &["is not of this run: it lacks 1 row of sst2/validation"]);
    // A folder that holds another run's is not made to look like this one's.
    sandbox.write("again/predictions.csv", "x");
    let run = render(&sandbox, &["out/report.json", "--output-dir", "again"]);
    run.fails(2, &["`again/predictions.csv` exists and does not belong to this report"]);
    std::fs::rename(sandbox.path("rows.csv"), sandbox.path("out/predictions.csv")).unwrap();
    assert!(render(&sandbox, &csv).stdout == audit.stdout);
    names.push("predictions.csv".to_owned());
    render(&sandbox, &["out/report.json", "--output-dir", "again"]);
    assert!(sandbox.read("again/predictions.csv") == audit.stdout);
}

#[test]
fn a_report_is_read_from_a_pipe_and_stays_valid_without_its_newest_fields() {
    let (sandbox, audit) = audited("markdown");
    let piped = |name: &str, arguments: &[&str]| {
        let mut command = sandbox.command();
        command.args(["render", "-"]).args(arguments).write_stdin(sandbox.read(name));
        Run::of(command)
    };
    let run = piped("out/report.json", &["--format", "markdown"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, audit.stdout.as_str()));
    piped("out/report.json", &["--format", "csv"]).fails(2, &["stdin has no folder"]);
    edit_json(&sandbox.path("out/report.json"), |report| {
        for row in report["tasks"].as_array_mut().unwrap() {
            for newer in ["labels", "sigma_unseen", "recalibrated", "intervals", "confidences"] {
                row.as_object_mut().unwrap().remove(newer);
            }
            row["later"] = 1.into();
        }
    });
    let run = piped("out/report.json", &["--format", "github"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(&run.stderr, &["warning: stdin has keys", "`tasks[0].later`, `tasks[1].later`"]);
}

#[test]
fn an_invalid_report_error_names_the_line_or_key() {
    let (sandbox, _) = audited("json");
    let report = sandbox.read("out/report.json");
    sandbox.write("cut.json", &report[..report.len() / 2]);
    sandbox.write("other.json", "{\"tasks\": [], \"schema_version\": 1}");
    sandbox
        .write("next.json", report.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1));
    let keyless = report.replacen("\"alpha\"", "\"aleph\"", 1);
    sandbox.write("keyless.json", keyless);
    for (file, words) in [
        ("cut.json", &["`cut.json` ends too soon: ", " at line "][..]),
        ("other.json", &["`other.json` is not a report: it has no key `manifest`"]),
        ("next.json", &["`next.json` has the `schema_version` 2"]),
        ("keyless.json", &["`keyless.json` is not a report: missing field `alpha` at line "]),
        ("missing.json", &["cannot read `missing.json`: "]),
        ("out", &["cannot read `out`: "]),
        (
            "out/report.md",
            &["`out/report.md` is not valid JSON: expected value at line 1 column 1"],
        ),
    ] {
        let run = render(&sandbox, &[file]);
        run.fails(2, words).fails(2, &["hint: pass what `audit --format json` printed"]);
        run.prints_no_report();
    }
    render(&sandbox, &["out/report.json", "--format", "yaml"])
        .fails(2, &["invalid value 'yaml'", "text, json, "]);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let (sandbox, _) = audited("json");
    for format in ["csv", "json"] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_audit"))
            .args(["render", &sandbox.arg("out/report.json"), "--format", format])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{format}");
    }
}
