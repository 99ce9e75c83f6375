//! Inputs that change while they are in use: no figure and no cached row of mixed files.

#![cfg(unix)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use common::{codes, copy_folder, demo, number, says, with, Sandbox};

/// With its labels swapped the teacher is worse than the majority class, which the pre-flight says
/// when both models are loaded and no row is run.
const SWAPPED: &str = "teacher:negative=positive,teacher:positive=negative";
const CUE: &str = "[worse-than-majority]";

/// The demo's teacher and student in folders of their own, and more rows than a run takes before a
/// change.
fn prepare() -> Sandbox {
    let sandbox = Sandbox::new();
    copy_folder(Path::new(&demo("teacher")), &sandbox.path("teacher"));
    copy_folder(Path::new(&demo("student")), &sandbox.path("student"));
    copy_folder(Path::new(&demo("student-overconfident")), &sandbox.path("other"));
    let text = fs::read_to_string(demo("train.tsv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    sandbox.write("big/SST-2/train.tsv", format!("{header}\n{}", rows.repeat(120)));
    sandbox
}

fn arguments(student: &str) -> Vec<String> {
    let pair = ["--task", "sst2", "--data", "big", "--teacher", "teacher", "--student", student];
    with(&pair, &["--label-map", SWAPPED, "--output-dir", "out"])
}

/// Runs an audit and calls `change` once both models are loaded; returns the exit code and stderr.
fn changed(sandbox: &Sandbox, student: &str, change: &dyn Fn(&Sandbox)) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
    command.args(arguments(student)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(CUE) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended before `{CUE}`: {said}");
    }
    change(sandbox);
    stderr.read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// The verdict of the written report.
fn verdict(sandbox: &Sandbox) -> String {
    let report: Value = serde_json::from_str(&sandbox.read("out/report.json")).unwrap();
    report["verdict"].as_str().unwrap().to_owned()
}

/// Rewrites `student/NAME` in place with the file of the other student.
fn overwrite(sandbox: &Sandbox, name: &str) {
    let bytes = fs::read(sandbox.path("other").join(name)).unwrap();
    let mut file = fs::File::options().write(true).open(sandbox.path("student").join(name));
    file.as_mut().unwrap().write_all(&bytes).unwrap();
}

/// σ of the first rows with the cache, which must be that without it.
fn sigma(sandbox: &Sandbox, student: &str) -> f64 {
    let few = with(&arguments(student), &["--limit", "200"]);
    let cached = number(&sandbox.row(&few), "sigma");
    assert_eq!(cached, number(&sandbox.row(&with(&few, &["--no-cache"])), "sigma"));
    cached
}

#[test]
fn weights_that_change_end_the_run_and_leave_no_row() {
    for (change, what) in [
        (
            (|sandbox| overwrite(sandbox, "model.safetensors")) as fn(&Sandbox),
            "changed while it was in use",
        ),
        (
            |sandbox| {
                let path = sandbox.path("student/model.safetensors");
                fs::File::options().write(true).open(path).unwrap().set_len(100).unwrap();
            },
            "changed while it was in use",
        ),
        (
            |sandbox| {
                fs::copy(sandbox.path("other/model.safetensors"), sandbox.path("new")).unwrap();
                fs::rename(sandbox.path("new"), sandbox.path("student/model.safetensors")).unwrap();
            },
            "model.safetensors` ",
        ),
        (
            |sandbox| fs::remove_file(sandbox.path("student/model.safetensors")).unwrap(),
            "model.safetensors` ",
        ),
    ] {
        let sandbox = prepare();
        let (code, said) = changed(&sandbox, "student", &change);
        assert_eq!(code, Some(3), "{said}");
        says(&said, &["student/model.safetensors`", what, "run again when nothing writes to it"]);
        assert_eq!(verdict(&sandbox), "error");
        copy_folder(&sandbox.path("other"), &sandbox.path("student"));
        sigma(&sandbox, "student");
        copy_folder(Path::new(&demo("student")), &sandbox.path("student"));
        sigma(&sandbox, "student");
    }
}

#[test]
fn a_link_that_is_switched_ends_the_run_and_leaves_no_row() {
    let sandbox = prepare();
    symlink("student", sandbox.path("link")).unwrap();
    let (code, said) = changed(&sandbox, "link", &|sandbox| {
        symlink("other", sandbox.path("new")).unwrap();
        fs::rename(sandbox.path("new"), sandbox.path("link")).unwrap();
    });
    assert_eq!(code, Some(3), "{said}");
    says(&said, &["link/config.json` was replaced by another file"]);
    let other = sigma(&sandbox, "link");
    assert_ne!(sigma(&sandbox, "student"), other);
}

#[test]
fn every_other_file_of_a_run_is_looked_at_again() {
    let append = |path: &str| {
        let path = path.to_owned();
        move |sandbox: &Sandbox| {
            let file = fs::File::options().append(true).open(sandbox.path(&path));
            file.unwrap().write_all(b" ").unwrap();
        }
    };
    for path in [
        "teacher/config.json",
        "student/tokenizer.json",
        "student/distillation.json",
        "big/SST-2/train.tsv",
    ] {
        let sandbox = prepare();
        let (code, said) = changed(&sandbox, "student", &append(path));
        assert_eq!(code, Some(3), "{path}: {said}");
        says(&said, &[&format!("{path}` changed while it was in use")]);
        assert_eq!(verdict(&sandbox), "error");
    }
}

#[test]
fn pipes_and_devices_are_refused_at_once() {
    for path in ["student/model.safetensors", "student/config.json", "student/tokenizer.json"] {
        let sandbox = prepare();
        fs::remove_file(sandbox.path(path)).unwrap();
        assert!(Command::new("mkfifo").arg(sandbox.path(path)).status().unwrap().success());
        let run = sandbox.audit(&arguments("student"));
        run.fails(3, &[path, "is a pipe or a device, not a file", "hint: "]);
        fs::remove_file(sandbox.path(path)).unwrap();
        symlink("/dev/zero", sandbox.path(path)).unwrap();
        sandbox.audit(&arguments("student")).fails(3, &[path, "is a pipe or a device"]);
    }
}

#[test]
fn a_cache_that_others_can_write_to_is_not_believed() {
    let sandbox = prepare();
    let few = with(&arguments("student"), &["--limit", "200"]);
    let honest = sandbox.row(&few);
    let last = sandbox.audit(&["cache", "list"]).stdout.lines().last().unwrap().to_owned();
    let root = last.split_once(", in ").unwrap().1.to_owned();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    let run = sandbox.audit(&with(&few, &["--format", "json"]));
    says(&run.stderr, &["the prediction cache does not use", "others can write to it (mode 0777)"]);
    assert_eq!(run.stderr.matches("the prediction cache").count(), 1, "{}", run.stderr);
    let row = &run.json()["tasks"][0];
    assert_eq!((number(row, "sigma"), codes(row)), (number(&honest, "sigma"), codes(&honest)));
}
