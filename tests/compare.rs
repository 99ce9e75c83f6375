//! `audit compare`: two saved reports of real runs, and copies of them with other figures.

mod common;

use common::{edit_json, says, tiny_pair, with, Run, Sandbox};
use confidence_audit::report::comparison::Comparison;
use confidence_audit::report::json_schema;
use serde_json::{json, Value};

/// `old/report.json`, of the teacher against itself, and `new/report.json`, of the tiny pair, which
/// is not preserved.
fn two_reports() -> Sandbox {
    let (sandbox, arguments) = tiny_pair();
    let audit = |more: &[&str]| {
        let run = sandbox.audit(&with(&arguments, more));
        assert!([0, 1].contains(&run.code), "{}", run.stderr);
        run.code
    };
    let teacher = sandbox.arg("teacher");
    assert_eq!(audit(&["--output-dir", "new", "--quiet"]), 1);
    let mut same = arguments.clone();
    *same.last_mut().unwrap() = teacher;
    let run = sandbox.audit(&with(&same, &["--output-dir", "old"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    sandbox
}

fn compare(sandbox: &Sandbox, arguments: &[&str]) -> Run {
    sandbox.audit(&[&["compare"], arguments].concat())
}

/// The comparison as JSON, which must be valid by its schema and carry its exit code.
fn compared(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let run = compare(sandbox, &[arguments, &["--format", "json"]].concat());
    let comparison = run.json();
    assert_eq!(comparison["exit_code"], run.code, "{}", run.stderr);
    let validator = jsonschema::validator_for(&json_schema::<Comparison>()).unwrap();
    let errors: Vec<_> = validator.iter_errors(&comparison).map(|e| e.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    comparison
}

/// A copy of new/report.json in which `edit` changed the row that gates.
fn edited(sandbox: &Sandbox, name: &str, edit: impl FnOnce(&mut Value)) {
    sandbox.write(name, sandbox.read("new/report.json"));
    edit_json(&sandbox.path(name), |report| edit(&mut report["tasks"][0]));
}

#[test]
fn a_verdict_changed_to_not_preserved_is_a_regression_with_any_limits() {
    let sandbox = two_reports();
    let found = compared(&sandbox, &["old/report.json", "new/report.json"]);
    assert_eq!((&found["verdict"], &found["exit_code"]), (&json!("regression"), &json!(1)));
    let row = &found["rows"][0];
    let report: Value = serde_json::from_str(&sandbox.read("new/report.json")).unwrap();
    assert_eq!(
        (&row["sigma"]["old"], &row["sigma"]["new"]),
        (&json!(0.0), &report["tasks"][0]["sigma"])
    );
    assert_eq!(row["sigma"]["change"], row["sigma"]["new"]);
    assert_eq!(row["student_accuracy"]["new"], report["tasks"][0]["student"]["accuracy"]);
    assert_eq!(
        (&row["old_outcome"], &row["new_outcome"]),
        (&json!("preserved"), &json!("not_preserved"))
    );
    assert_eq!(
        (&found["rows"][1]["gates"], &found["rows"][1]["verdict"]),
        (&json!(false), &Value::Null)
    );
    // Only the student is another.
    let changed: Vec<_> = found["changes"].as_array().unwrap().iter().map(|c| &c["what"]).collect();
    let student = ["student weights", "student tokenizer", "student config.json"];
    assert!(student.iter().all(|what| changed.contains(&&json!(what))), "{changed:?}");
    assert!(
        !changed.iter().any(|what| what.as_str().unwrap().starts_with("teacher")),
        "{changed:?}"
    );
    assert!(!changed.contains(&&json!("configuration in force")), "{changed:?}");
    assert_eq!(found["warnings"], json!([]));
    let back =
        compare(&sandbox, &["new/report.json", "old/report.json", "--max-sigma-increase", "0"]);
    assert_eq!((back.code, back.stderr.as_str()), (0, ""));
    assert!(back.stdout.starts_with("NO REGRESSION  sst2/train\n"), "{}", back.stdout);
    let zero = compare(&sandbox, &["old/report.json", "new/report.json", "--exit-zero"]);
    assert_eq!(zero.code, 0);
    says(&zero.stdout, &["REGRESSION  sst2/train", "regression: the verdict turned"]);
}

#[test]
fn a_report_compared_with_itself_is_not_a_regression() {
    let sandbox = two_reports();
    let limits = ["--max-sigma-increase", "0", "--max-accuracy-drop", "0"];
    for report in ["old/report.json", "new/report.json"] {
        let found = compared(&sandbox, &[&[report, report][..], &limits].concat());
        assert_eq!(
            (&found["exit_code"], &found["changes"], &found["warnings"]),
            (&json!(0), &json!([]), &json!([]))
        );
        let mut command = sandbox.command();
        command.args(["compare", report, "-"]).args(limits).write_stdin(sandbox.read(report));
        let run = Run::of(command);
        assert_eq!(run.code, 0, "{}", run.stderr);
        says(&run.stdout, &["  new         stdin (", "  σ  "]);
    }
}

#[test]
fn limits_apply_to_sigma_and_accuracy() {
    let sandbox = two_reports();
    let (old, new) = ("a.json", "b.json");
    edited(&sandbox, old, |row| {
        (row["sigma"], row["student"]["accuracy"]) = (json!(0.7), json!(0.8))
    });
    edited(&sandbox, new, |row| {
        (row["sigma"], row["student"]["accuracy"]) = (json!(0.8), json!(0.7))
    });
    for (limits, code) in [
        (&["--max-sigma-increase", "0.1", "--max-accuracy-drop", "0.1"][..], 0),
        (&["--max-sigma-increase", "0.0999"], 1),
        (&["--max-accuracy-drop", "0.0999"], 1),
        (&[], 0),
    ] {
        let run = compare(&sandbox, &[&[old, new][..], limits].concat());
        assert_eq!(run.code, code, "{limits:?}: {}", run.stdout);
    }
    let shown =
        compare(&sandbox, &[old, new, "--max-sigma-increase", "0.05", "--format", "markdown"]);
    assert_eq!(shown.code, 1);
    says(&shown.stdout, &["## ❌ REGRESSION: sst2/train", "σ rose by 0.1000", "may rise by 0.05"]);
}

#[test]
fn a_student_above_the_old_kappa_does_not_pass_by_a_raised_one() {
    let sandbox = two_reports();
    edited(&sandbox, "raised.json", |row| {
        let sigma = row["sigma"].as_f64().unwrap();
        (row["verdict"], row["kappa"]) = (json!("preserved"), json!(2.0 * sigma));
    });
    let run = compare(&sandbox, &["old/report.json", "raised.json"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    says(&run.stdout, &["REGRESSION  sst2/train", "above the old report's κ of 0.0500"]);
    let run = compare(&sandbox, &["new/report.json", "raised.json"]);
    assert_eq!(run.code, 0, "it was not preserved before: {}", run.stdout);
}

#[test]
fn what_the_limits_need_and_is_not_there_ends_with_3() {
    let sandbox = two_reports();
    let report = "new/report.json";
    type Case = (&'static str, fn(&mut Value), &'static str);
    let cases: [Case; 4] = [
        ("beside.json", |row| row["gates"] = json!(false), "does not gate in the new one"),
        (
            "failed.json",
            |row| row["verdict"] = json!("error"),
            "could not be run in the new report",
        ),
        ("other.json", |row| row["confidence"] = json!("teacher-class"), "another reading gates"),
        ("renamed.json", |row| row["task"] = json!("sst"), "is not in the new one"),
    ];
    for (name, edit, why) in cases {
        edited(&sandbox, name, edit);
        let run = compare(&sandbox, &[report, name, "--exit-zero"]);
        assert_eq!(run.code, 3, "{name}: {}", run.stdout);
        let flat = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        says(&flat, &["NOT COMPARABLE sst2/train", why]);
    }
    // Nor is the student fine where the baseline could not be run.
    let run = compare(&sandbox, &["failed.json", report]);
    assert_eq!(run.code, 3, "{}", run.stdout);
    says(&run.stdout, &["NOT COMPARABLE  sst2/train", "could not be run in the old report"]);
    // A run that ended early has no σ.
    edited(&sandbox, "early.json", |row| {
        (row["sigma"], row["examples_run"]) = (Value::Null, json!(3));
    });
    assert_eq!(compare(&sandbox, &[report, "early.json"]).code, 0);
    let run = compare(&sandbox, &[report, "early.json", "--max-sigma-increase", "0.1"]);
    assert_eq!(run.code, 3);
    let flat = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    says(&flat, &["σ of the new report is not known: the run ended before the last example"]);
}

#[test]
fn what_makes_it_doubtful_is_said() {
    let sandbox = two_reports();
    edited(&sandbox, "b.json", |row| {
        (row["n"], row["kappa"]) = (json!(24_000), json!(0.1));
        row["examples_run"] = json!(24_000);
        row["data_sha256"] = json!("00".repeat(32));
    });
    edit_json(&sandbox.path("b.json"), |report| {
        report["manifest"]["platform"] = json!("macos-aarch64")
    });
    let run = compare(&sandbox, &["new/report.json", "b.json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let flat = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    says(
        &flat,
        &[
            "warning: sst2/train: the data is not the same",
            "warning: sst2/train: 24,000 examples were audited, and 24 before",
            "warning: sst2/train: κ is 0.1000, and was 0.0500",
            "warning: the platform is not the same",
            "data of sst2/train: ",
        ],
    );
}

#[test]
fn mistakes_are_usage_errors() {
    let sandbox = two_reports();
    let report = "new/report.json";
    sandbox.write("cut.json", "{\"schema_version\": 1,\n");
    sandbox.write("twice.json", sandbox.read(report));
    edit_json(&sandbox.path("twice.json"), |report| {
        report["tasks"][1]["split"] = report["tasks"][0]["split"].clone();
    });
    assert_eq!(sandbox.audit(&["render", "twice.json"]).code, 0);
    for (arguments, words) in [
        (&[report, "cut.json"][..], &["`cut.json` ends too soon: ", "line 2"][..]),
        (&[report, "twice.json"], &["`twice.json` has two rows of sst2/train", "hint: "]),
        (&["twice.json", report], &["`twice.json` has two rows of sst2/train"]),
        (&["missing.json", report], &["cannot read `missing.json`"]),
        (&["-", "-"], &["only one of the two reports can be read from stdin"]),
        (
            &[report, report, "--format", "junit"],
            &["invalid value 'junit'", "text, json, markdown"],
        ),
        (&[report], &["NEW.json"]),
        (&[report, report, "--max-sigma-increase", "NaN"], &["at least 0 and below 1"]),
        (&[report, report, "--max-sigma-increase", "-0.1"], &["at least 0 and below 1"]),
        (&[report, report, "--max-accuracy-drop", "1"], &["at least 0 and below 1"]),
        (&[report, report, "--max-accuracy-drop", "inf"], &["at least 0 and below 1"]),
        (&[report, report, "--max-accuracy-drop", "much"], &["it is not a number"]),
    ] {
        compare(&sandbox, arguments).fails(2, words).prints_no_report();
    }
    let comparison = compare(&sandbox, &[report, report, "--format", "json"]).stdout;
    sandbox.write("comparison.json", comparison);
    let run = compare(&sandbox, &["comparison.json", report]);
    run.fails(2, &["`comparison.json` is what `audit compare` wrote"]);
}
