//! Ctrl-C once and twice; no partial file is left.

#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use common::{demo, says, with, Sandbox};

/// Starts `audit` with its output piped.
fn start(sandbox: &Sandbox, arguments: &[String]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
    command.env("TMPDIR", sandbox.path("tmp"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn interrupt(child: &Child) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
}

/// Runs `arguments`, sends SIGINT once stderr says `cue`, and returns the exit code and stderr.
fn interrupted(sandbox: &Sandbox, arguments: &[String], cue: &str) -> (Option<i32>, String) {
    let mut child = start(sandbox, arguments);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(cue) {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended before `{cue}`: {said}");
    }
    interrupt(&child);
    stderr.read_to_string(&mut said).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    (output.status.code(), said)
}

/// More of the demo's sentences than any machine runs between a warning and the signal after it.
fn write_many(sandbox: &Sandbox, file: &str) {
    let text = std::fs::read_to_string(demo("train.tsv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    sandbox.write(file, format!("{header}\n{}", rows.repeat(300)));
}

/// With its labels swapped the teacher is worse than the majority class, which the pre-flight says.
const SWAPPED: &str = "teacher:negative=positive,teacher:positive=negative";

#[test]
fn ctrl_c_exits_with_130_and_reports_the_progress() {
    let sandbox = Sandbox::new();
    write_many(&sandbox, "big/SST-2/train.tsv");
    let (teacher, student) = (demo("teacher"), demo("student"));
    let pair = ["--task", "sst2", "--data", "big", "--teacher", &teacher, "--student", &student];
    let arguments = with(&pair, &["--label-map", SWAPPED, "--output-dir", "out"]);
    let (code, said) = interrupted(&sandbox, &arguments, "[worse-than-majority]");
    assert_eq!(code, Some(130), "{said}");
    says(&said, &["stopping; press Ctrl-C again to stop at once\n"]);
    says(&said, &["interrupted: ", " of 150000 examples were done", "no report was written"]);
    assert_eq!(sandbox.names("out"), [""; 0]);
}

#[test]
fn ctrl_c_in_a_suite_prints_the_finished_tasks() {
    let sandbox = Sandbox::new();
    write_many(&sandbox, "big.tsv");
    sandbox.write("few.tsv", "sentence\nThe acting is dull.\nThe plot is fresh.\n");
    let config = format!(
        "[defaults]\nteacher = {0:?}\nstudent = {0:?}\n\
         [task.few]\ntext = \"sentence\"\nsplits = {{ train = \"few.tsv\" }}\n\
         [task.many]\ntext = \"sentence\"\nlabel = \"label\"\n\
         labels = [\"negative\", \"positive\"]\nlabel_map = \"{SWAPPED}\"\n\
         splits = {{ train = \"big.tsv\" }}\n",
        demo("teacher")
    );
    sandbox.write("audit.toml", config);
    let arguments = with(&["--task", "few,many"], &["--output-dir", "out"]);
    let (code, said) = interrupted(&sandbox, &arguments, "[worse-than-majority]");
    assert_eq!(code, Some(130), "{said}");
    says(&said, &["preserves", "on few/train", "over 2 examples", "interrupted: "]);
    assert_eq!(sandbox.names("out"), [""; 0]);
}

#[test]
fn a_second_ctrl_c_leaves_no_temporary_files() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("tmp")).unwrap();
    let mut child = start(&sandbox, &with(&["demo"], &["--threads", "1", "--quiet"]));
    // The demo's files lie in a temporary folder; this is the last of them.
    let last = "student-overconfident/tokenizer_config.json";
    let unpacked = || {
        let folders = sandbox.names("tmp");
        folders.iter().any(|folder| sandbox.path(&format!("tmp/{folder}/{last}")).exists())
    };
    while !unpacked() {
        assert!(child.try_wait().unwrap().is_none(), "it ended without a temporary folder");
        std::thread::yield_now();
    }
    interrupt(&child);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert_eq!(sandbox.names("tmp"), [""; 0]);
}

#[test]
fn ctrl_c_saves_a_training_that_can_be_resumed() {
    let sandbox = Sandbox::new();
    let recipe = "task = \"sst2\"\nmethod = \"kd\"\nmax_length = 64\nlog_every = 1\n\
                  [student]\nlayers = 2\n[training]\nmax_epochs = 20\n";
    sandbox.write("kd.toml", recipe);
    let (data, teacher) = (demo(""), demo("teacher"));
    let given = ["--config", "kd.toml", "--data", &data, "--teacher", &teacher, "-o", "student"];
    let arguments = with(&["distill"], &given);
    let (code, said) = interrupted(&sandbox, &arguments, "train 3/");
    assert_eq!(code, Some(130), "{said}");
    says(
        &said,
        &[
            "stage `train`, epoch 1",
            "the training is saved; run the same command with --resume to resume it",
        ],
    );
    assert_eq!(sandbox.names("student"), ["training"]);
    let run = sandbox.audit(&with(&arguments, &["--resume"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(sandbox.path("student/distillation.json").exists());
}

#[test]
fn a_stage_that_freezes_embeddings_keeps_those_of_the_previous_stage() {
    let sandbox = Sandbox::new();
    let recipe = "task = \"sst2\"\nmethod = \"tinybert\"\nmax_length = 64\nlog_every = 1\n\
                  [student]\nlayers = 2\n[training]\nmax_epochs = 1\nlearning_rate = 1e-3\n\
                  [stage.prediction]\nmax_epochs = 9\nfreeze_embeddings = true\n";
    sandbox.write("tinybert.toml", recipe);
    let (data, teacher) = (demo(""), demo("teacher"));
    let given = ["--config", "tinybert.toml", "--data", &data, "--teacher", &teacher];
    let to = |output: &str| with(&with(&["distill"], &given), &["--output", output]);
    let (code, said) = interrupted(&sandbox, &to("stopped"), "prediction 2/");
    assert_eq!(code, Some(130), "{said}");
    for arguments in [with(&to("stopped"), &["--resume"]), to("whole")] {
        let run = sandbox.audit(&arguments);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    let weights =
        |folder: &str| std::fs::read(sandbox.path(folder).join("model.safetensors")).unwrap();
    assert!(weights("stopped") == weights("whole"));
}
