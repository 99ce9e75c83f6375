//! `audit predict`: split, labels and head.

mod common;

use common::{glue, with, Run, Sandbox};

/// RTE's data in `glue`, and a model in `t`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    sandbox.checkpoint("t", "architectures/distilbert", glue::labels("rte"));
    sandbox
}

fn predict(sandbox: &Sandbox, model: &str, output: &str, more: &[&str]) -> Run {
    let what = ["predict", "--task", "rte", "--data", "glue", "--model", model, "-o", output];
    sandbox.audit(&with(&what, more))
}

/// The rows of a CSV file without its header.
fn rows(sandbox: &Sandbox, file: &str) -> Vec<String> {
    sandbox.read(file).lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn the_split_is_the_training_set_or_the_one_that_is_named() {
    let sandbox = sandbox();
    let run = predict(&sandbox, "t", "v.csv", &["--split", "validation", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_eq!(rows(&sandbox, "v.csv").len(), glue::VALIDATION);
    assert_eq!(predict(&sandbox, "t", "t.csv", &[]).code, 0);
    assert_eq!(rows(&sandbox, "t.csv").len(), glue::TRAIN);
}

#[test]
fn the_logits_are_in_the_task_s_label_order() {
    let sandbox = sandbox();
    sandbox.checkpoint("turned", "architectures/distilbert", &["not_entailment", "entailment"]);
    let logits = |model: &str| -> Vec<(String, String)> {
        assert_eq!(predict(&sandbox, model, "out.csv", &[]).code, 0);
        let cells = |row: &String| {
            let cells: Vec<_> = row.split(',').map(str::to_owned).collect();
            (cells[1].clone(), cells[2].clone())
        };
        rows(&sandbox, "out.csv").iter().map(cells).collect()
    };
    let swapped: Vec<_> = logits("t").into_iter().map(|(a, b)| (b, a)).collect();
    assert_eq!(logits("turned"), swapped);
}

#[test]
fn the_config_s_split_is_the_one_that_is_run() {
    let sandbox = sandbox();
    sandbox.write("audit.toml", "[task.rte]\nsplit = \"dev\"\n");
    assert_eq!(predict(&sandbox, "t", "v.csv", &[]).code, 0);
    assert_eq!(rows(&sandbox, "v.csv").len(), glue::VALIDATION);
    assert_eq!(predict(&sandbox, "t", "t.csv", &["--split", "train"]).code, 0);
    assert_eq!(rows(&sandbox, "t.csv").len(), glue::TRAIN);
}

#[test]
fn the_head_is_detected_whatever_the_config_sets_for_its_teacher() {
    let sandbox = Sandbox::new();
    glue::write_mnli(&sandbox, "glue");
    sandbox.checkpoint("bert", "architectures/bert", glue::labels("mnli"));
    let run = |output: &str, more: &[&str]| {
        let what = ["predict", "--task", "mnli", "--data", "glue", "--model", "bert"];
        let run = sandbox.audit(&with(&with(&what, &["--output", output]), more));
        assert_eq!(run.code, 0, "{}", run.stderr);
        rows(&sandbox, output)
    };
    let plain = run("plain.csv", &[]);
    sandbox.write("audit.toml", "[defaults]\nteacher_head = \"pooled-relu\"\n");
    assert_eq!(run("config.csv", &[]), plain);
    assert_ne!(run("relu.csv", &["--head", "pooled-relu"]), plain);
}

#[test]
fn a_label_map_that_is_not_the_model_s_is_a_usage_error() {
    let sandbox = sandbox();
    let map = |map: &str| predict(&sandbox, "t", "out.csv", &["--label-map", map]);
    map("nonsense=entailment").fails(2, &["`nonsense`", "[entailment, not_entailment]"]);
    for role in ["teacher", "student"] {
        let swapped = format!("{role}:entailment=not_entailment,{role}:not_entailment=entailment");
        map(&swapped).fails(2, &[&format!("`{role}:entailment=not_entailment`"), "alone"]);
        sandbox.write("audit.toml", format!("[defaults]\nlabel_map = \"{swapped}\"\n"));
        predict(&sandbox, "t", "out.csv", &[]).fails(2, &["alone", "--label-map"]);
        std::fs::remove_file(sandbox.path("audit.toml")).unwrap();
    }
    // The remedy that an error names is one that can be given.
    sandbox.checkpoint("t", "architectures/distilbert", &["yes", "no"]);
    predict(&sandbox, "t", "out.csv", &[]).fails(3, &["--label-map yes=entailment"]);
    assert!(!sandbox.path("out.csv").exists());
    sandbox.checkpoint("t", "architectures/distilbert", glue::labels("rte"));
    assert_eq!(map("entailment=not_entailment,not_entailment=entailment").code, 0);
}

/// Kills at moments of a run that a seed draws: an earlier file stays, or the new one is whole.
#[cfg(unix)]
#[test]
fn a_killed_run_leaves_the_earlier_file_or_the_whole_new_one() {
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use rand_chacha::rand_core::{Rng, SeedableRng};

    let sandbox = sandbox();
    let rows = sandbox.read("glue/RTE/train.tsv");
    let (header, rows) = rows.split_once('\n').unwrap();
    sandbox.write("glue/RTE/train.tsv", format!("{header}\n{}", format!("{rows}\n").repeat(20)));
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(15);
    let mut stopped = 0;
    for format in ["csv", "jsonl", "parquet"] {
        let (whole, output) = (format!("whole.{format}"), format!("out/new.{format}"));
        let began = Instant::now();
        assert_eq!(predict(&sandbox, "t", &whole, &[]).code, 0);
        let takes = began.elapsed();
        let whole = std::fs::read(sandbox.path(&whole)).unwrap();
        for (signal, code) in [("KILL", None), ("TERM", Some(130)), ("INT", Some(130))] {
            sandbox.write(&output, "earlier");
            let what =
                ["predict", "--task", "rte", "--data", "glue", "--model", "t", "-o", &output];
            let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
            command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
            command.args(what).stdout(Stdio::null()).stderr(Stdio::piped());
            let child = command.spawn().unwrap();
            std::thread::sleep(takes.mul_f64(f64::from(random.next_u32()) / f64::from(u32::MAX)));
            let id = child.id().to_string();
            let _ = Command::new("kill").args(["-s", signal, &id]).status().unwrap();
            let ended = child.wait_with_output().unwrap();

            let left = std::fs::read(sandbox.path(&output)).unwrap();
            if ended.status.code() == Some(0) {
                assert_eq!(left, whole, "{format} {signal}");
            } else {
                stopped += 1;
                // Before its handler is set, a signal ends the process as it does any other.
                let by_handler = ended.status.code().is_some();
                assert!(!by_handler || ended.status.code() == code, "{signal}: {ended:?}");
                assert!(left == b"earlier" || left == whole, "{format} {signal}");
                if by_handler {
                    assert_eq!(sandbox.names("out"), [output.trim_start_matches("out/")]);
                }
            }
            assert_eq!(predict(&sandbox, "t", &output, &[]).code, 0);
            assert_eq!(std::fs::read(sandbox.path(&output)).unwrap(), whole, "{format} {signal}");
            std::fs::remove_dir_all(sandbox.path("out")).unwrap();
        }
    }
    assert!(stopped >= 3, "{stopped} of 9 runs were stopped");
}
