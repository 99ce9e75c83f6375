//! scripts/reproduce/published.sh: audits the paper's own models, and refuses figures that are not NumPy's.

#![cfg(unix)]

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::{says, Run, Sandbox};
use serde_json::{json, Value};

/// Inputs: labels 0, 0, 1, 1, three times.
const N: usize = 12;
const LABELS: [usize; N] = thrice([0, 0, 1, 1]);
/// p(x)_0 of the teacher, which is right everywhere.
const TEACHER: [f64; N] = thrice([0.875, 0.875, 0.125, 0.125]);
/// p(x)_0 of the students.
const STUDENTS: [(&str, [f64; N]); 4] = [
    // d = ±1/16: every σ is 0.0625.
    ("1", thrice([0.8125, 0.9375, 0.1875, 0.0625])),
    // d = ±1/32: every σ is 0.03125, written as 0.0312.
    ("2", thrice(NEAR)),
    // The same but for the last input, with 5/8 for the wrong label: d = 1/4. The published σ of the
    // other 11, whose differences of ±1/32 sum to −1/32, is √(120/121)/32 = 0.0311; the RMS of d is
    // √((11/32² + 1/4²)/12) = 0.0781, and (1/4²)/(11/32² + 1/4²) = 85.3 % is the last input's part.
    ("3", but_last(thrice(NEAR), 0.625)),
    // Always label 0 with 3/4: d = 1/8 everywhere, so the published σ is 0 and the RMS 0.125. Right on
    // 6 of 12, where P(at least 6 of 12 at ½) = 2510/4096 = 0.61.
    ("4", [0.75; N]),
];
const NEAR: [f64; 4] = [0.84375, 0.90625, 0.15625, 0.09375];

const fn thrice<T: Copy>(it: [T; 4]) -> [T; N] {
    let [a, b, c, d] = it;
    [a, b, c, d, a, b, c, d, a, b, c, d]
}

const fn but_last(mut it: [f64; N], last: f64) -> [f64; N] {
    it[N - 1] = last;
    it
}

fn table(probabilities: &[f64; N]) -> String {
    let mut csv = "probability_unacceptable,probability_acceptable,label\n".to_owned();
    for (p, label) in probabilities.iter().zip(LABELS) {
        csv += &format!("{p},{},{}\n", 1.0 - p, ["unacceptable", "acceptable"][label]);
    }
    csv
}

fn right(p: f64, label: usize) -> bool {
    usize::from(p < 0.5) == label
}

fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// The figures of a student as runs.json has them.
fn figures(student: &[f64; N]) -> Value {
    let rows = || TEACHER.iter().zip(student).zip(LABELS).map(|((t, s), label)| (*t, *s, label));
    let d: Vec<f64> = rows().map(|(t, s, _)| t.max(1.0 - t) - s.max(1.0 - s)).collect();
    let both = rows().filter(|&(t, s, label)| right(t, label) && right(s, label));
    let kept: Vec<f64> = both.map(|(t, s, _)| t - s).collect();
    json!({
        "n": N,
        "both_right": kept.len(),
        "sigma_published": deviation(&kept),
        "sigma_rms_max": (d.iter().map(|d| d * d).sum::<f64>() / N as f64).sqrt(),
        "sigma_centred_max": deviation(&d),
        "student_correct": rows().filter(|&(_, s, label)| right(s, label)).count(),
        "teacher_correct": N,
    })
}

/// `published/` of four students of CoLA on the training set, of which the first is on dev too, and its
/// runs.json. Students 1 and 2 have the default settings, the others none.
fn folder() -> (Sandbox, Value) {
    let sandbox = Sandbox::new();
    for split in ["train", "dev"] {
        sandbox.write(&format!("published/cola/{split}/teacher.csv"), table(&TEACHER));
    }
    sandbox.write("published/cola/dev/1.csv", table(&STUDENTS[0].1));
    let stage = |name: &str, rate: Value| {
        json!({"stage": name, "epochs": "3", "learning_rate": rate, "batch_size": "32",
               "max_length": "128", "weight_decay": null, "temperature": null, "augmented": true})
    };
    let stages = json!([stage("intermediate", Value::Null), stage("prediction", json!("3e-5"))]);
    let mut runs = json!([]);
    for (i, (name, probabilities)) in STUDENTS.iter().enumerate() {
        sandbox.write(&format!("published/cola/train/{name}.csv"), table(probabilities));
        let stages = if i < 2 { stages.clone() } else { json!([]) };
        runs.as_array_mut().unwrap().push(json!({
            "run": name, "task": "cola", "student": "6L-768D", "stages": stages,
            "train": figures(probabilities),
        }));
    }
    runs[0]["dev"] = figures(&STUDENTS[0].1);
    (sandbox, runs)
}

/// Runs the script on a folder; the page goes to stdout.
fn script(folder: &Path) -> Run {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new(root.join("scripts/reproduce/published.sh"));
    command.env("AUDIT", env!("CARGO_BIN_EXE_audit")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(folder).arg("-");
    Run::of(command)
}

/// Whether the script can run; without Python, a line that the test was skipped, past the harness that
/// keeps what a passing test prints.
fn python() -> bool {
    let found = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !found {
        std::io::stderr().write_all(b"skipped: no python3\n").unwrap();
    }
    found
}

#[test]
fn the_page_has_the_figures_of_every_student() {
    if !python() {
        return;
    }
    let (sandbox, runs) = folder();
    sandbox.write("published/runs.json", runs.to_string());
    let run = script(&sandbox.path("published"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(
        &run.stdout,
        &[
            "5 audits of 4 students on 1 tasks",
            "3 of 4 students are within κ by the published statistic, 1 by the gate: 2 by the \
             published statistic alone, none by the gate alone",
            "The CoLA 6L student 4 is right on 50.0 % of the training set",
            "The CoLA 6L students 1 and 2 come from equal scripts and have a published σ of 0.0625 \
             and 0.0312",
            "| CoLA 6L | 12 | 1.0000 | 1.0000 | 0.0625 | 0.0625 | neither | 0 (0.0 %) |",
            "| CoLA 6L 3 | 0.0311 | 0.0781 | 1 of 12 | 1 | 0 | 0 | 0.0312 | 0.2500 | 85.3 % |",
            "| CoLA 6L 4 | 6 of 12 | 0.5000 | 0.5000 | 0.61 | 0.0000 (0.0625) | 0.1250 (0.0625) | 6 | \
             100.0 % | 0.1250 |",
        ],
    );
}

#[test]
fn a_figure_that_is_not_numpys_ends_the_script_with_its_name() {
    if !python() {
        return;
    }
    let (sandbox, mut runs) = folder();
    for (figure, delta) in [("sigma_published", 2e-9), ("sigma_centred_max", -2e-9)] {
        let exact = runs[2]["train"][figure].clone();
        runs[2]["train"][figure] = json!(exact.as_f64().unwrap() + delta);
        sandbox.write("published/runs.json", runs.to_string());
        let what = format!("cola/train/3: {figure} is ");
        script(&sandbox.path("published")).fails(1, &[&what]).prints_no_report();
        runs[2]["train"][figure] = exact;
    }
    runs[0]["dev"]["student_correct"] = json!(7);
    sandbox.write("published/runs.json", runs.to_string());
    let run = script(&sandbox.path("published"));
    run.fails(1, &["cola/dev/1: student_correct is 12, and 7"]).prints_no_report();
}

#[test]
fn a_missing_or_a_surplus_table_ends_the_script_with_its_name() {
    if !python() {
        return;
    }
    let (sandbox, runs) = folder();
    sandbox.write("published/runs.json", runs.to_string());
    sandbox.write("published/cola/train/5.csv", table(&TEACHER));
    let run = script(&sandbox.path("published"));
    run.fails(1, &["cola/train/5: runs.json has no figures"]).prints_no_report();
    let moved = sandbox.path("published/cola/train/5.csv");
    std::fs::remove_file(moved).unwrap();
    std::fs::remove_file(sandbox.path("published/cola/train/3.csv")).unwrap();
    let run = script(&sandbox.path("published"));
    run.fails(1, &["cola/train/3: there is no table"]).prints_no_report();
}

/// The folder of the authors' predictions; without it, a line that the test was skipped.
fn real_data() -> Option<PathBuf> {
    let data = std::env::var_os("AUDIT_TEST_DATA").map(|data| Path::new(&data).join("published"));
    let found = data.filter(|data| data.join("runs.json").exists());
    if found.is_none() {
        let line = b"skipped: AUDIT_TEST_DATA is not set, or has no published/\n";
        std::io::stderr().write_all(line).unwrap();
    }
    found
}

#[test]
fn docs_published_is_what_the_script_writes() {
    let Some(data) = real_data() else { return };
    let run = script(&data);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/published.md");
    assert_eq!(run.stdout, std::fs::read_to_string(page).unwrap());
}
