//! Several tasks in one run: `--task all` on data in GLUE's layout, and tasks that fail.

mod common;

use common::{glue, note, says, with, Run, Sandbox, SIX};
use serde_json::{json, Value};

/// κ's on either side of every σ of the fixtures (about 0.03 to 0.04).
const WIDE: &str = "0.2";
const NARROW: &str = "0.001";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    glue::write_models(&sandbox);
    sandbox
}

fn all(more: &[&str]) -> Vec<String> {
    with(&with(&["--task", "all"], &glue::SUITE), more)
}

fn rows(report: &Value) -> &Vec<Value> {
    report["tasks"].as_array().unwrap()
}

fn row<'a>(report: &'a Value, task: &str, split: &str) -> &'a Value {
    rows(report).iter().find(|row| row["task"] == task && row["split"] == split).unwrap()
}

/// The exit code, the JSON's verdict and code, and the text's first and last line say the same.
#[track_caller]
fn agree(sandbox: &Sandbox, arguments: &[String], code: i32) -> Value {
    let (verdict, words) = match code {
        0 => ("preserved", "PRESERVED  6 audits"),
        1 => ("not_preserved", "NOT PRESERVED  6 audits"),
        _ => ("error", "COULD NOT RUN  6 audits"),
    };
    let report = sandbox.report(arguments);
    assert_eq!((&report["verdict"], &report["exit_code"]), (&verdict.into(), &code.into()));
    let text = sandbox.audit(arguments);
    assert_eq!(text.code, code);
    assert!(text.stdout.starts_with(words), "{}", text.stdout);
    let last = text.stdout.lines().last().unwrap();
    assert!(last.starts_with(words) && last.ends_with(&format!("exit {code}")), "{last}");
    report
}

#[test]
fn all_means_six_tasks_each_with_a_gating_and_a_validation_row() {
    let sandbox = sandbox();
    let report = agree(&sandbox, &all(&["--kappa", WIDE]), 0);
    let found: Vec<_> = rows(&report)
        .iter()
        .map(|row| (row["task"].as_str().unwrap(), row["split"].as_str().unwrap(), &row["gates"]))
        .collect();
    let (yes, no) = (Value::from(true), Value::from(false));
    let expected: Vec<_> =
        SIX.iter().flat_map(|&task| [(task, "train", &yes), (task, "validation", &no)]).collect();
    assert_eq!(found, expected);
    for row in rows(&report) {
        let n = match (row["split"].as_str().unwrap(), row["task"].as_str().unwrap()) {
            ("train", "qqp") => glue::QQP,
            ("train", _) => glue::TRAIN,
            _ => glue::VALIDATION,
        };
        assert_eq!((&row["n"], &row["of"]), (&n.into(), &n.into()), "{}", row["task"]);
        assert_eq!(row["teacher"]["labelled"], n, "{}", row["task"]);
        assert!(row["sigma"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(report["manifest"]["models"].as_array().unwrap().len(), 12);
}

#[test]
fn glue_s_quirks_are_read_as_data_and_its_own_figures_are_reported() {
    let sandbox = sandbox();
    let report = sandbox.report(&all(&["--kappa", WIDE]));
    let skipped = &row(&report, "qqp", "train")["skipped"];
    assert_eq!(skipped["count"], 1);
    // A header, 999 rows, and then the broken one.
    says(skipped["first"][0].as_str().unwrap(), &["QQP/train.tsv:1001:", "question2"]);
    for task in SIX {
        let row = row(&report, task, "train");
        assert_eq!(row["skipped"]["count"], usize::from(task == "qqp"));
        let teacher = &row["teacher"];
        assert_eq!(teacher["f1"].is_number(), matches!(task, "mrpc" | "qqp"), "{task}");
        let why = &row["undefined"]["teacher.matthews_correlation"];
        assert_eq!(why == "another task's metric", task != "cola", "{task}: {why}");
        let pair = &row["worst"][0]["pair"];
        assert_eq!(pair.is_string(), !matches!(task, "cola" | "sst2"), "{task}");
    }
    let first = with(&glue::SUITE, &["--task", "sst2", "--limit", "1", "--split", "train"]);
    assert_eq!(sandbox.row(&first)["worst"][0]["text"], "\"good film");
    let mrpc = with(&glue::SUITE, &["--task", "mrpc", "--limit", "1", "--split", "train"]);
    let worst = &sandbox.row(&mrpc)["worst"][0];
    assert_eq!(
        (&worst["text"], &worst["pair"]),
        (&glue::sentence(0).into(), &glue::sentence(1).into())
    );
    assert_eq!(worst["label"], "not_equivalent");
}

#[test]
fn too_many_broken_rows_are_an_error_unless_they_are_allowed() {
    let sandbox = sandbox();
    let file = "glue/QQP/train.tsv";
    let shorter: Vec<String> = sandbox.read(file).lines().skip(500).map(str::to_owned).collect();
    let header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
    sandbox.write(file, header.to_owned() + &shorter.join("\n") + "\n");
    let arguments = with(&with(&["--task", "qqp"], &glue::SUITE), &["--kappa", WIDE]);
    let run = sandbox.audit(&arguments);
    run.fails(3, &["1 of 501 rows", "QQP/train.tsv", "line 502", "question2", "--allow-skipped"]);
    let row = sandbox.row(&with(&arguments, &["--allow-skipped"]));
    assert_eq!((&row["n"], &row["skipped"]["count"]), (&500.into(), &1.into()));
}

#[test]
fn one_student_that_fails_makes_the_suite_fail() {
    let sandbox = sandbox();
    sandbox.write("a.toml", format!("[defaults]\nkappa = {WIDE}\n[task.mrpc]\nkappa = {NARROW}\n"));
    let report = agree(&sandbox, &all(&["--config", "a.toml"]), 1);
    for task in SIX {
        let expected = if task == "mrpc" { "not_preserved" } else { "preserved" };
        assert_eq!(row(&report, task, "train")["verdict"], expected, "{task}");
    }
}

#[test]
fn the_validation_row_does_not_gate_and_the_text_says_when_it_disagrees() {
    let sandbox = sandbox();
    let sst2 = with(&["--task", "sst2"], &glue::SUITE);
    let report = sandbox.report(&with(&sst2, &["--kappa", WIDE]));
    let sigma = |split| row(&report, "sst2", split)["sigma"].as_f64().unwrap();
    let between = (sigma("train") + sigma("validation")) / 2.0;
    let train_fails = sigma("train") > sigma("validation");
    let run = sandbox.audit(&with(&sst2, &["--kappa", &between.to_string()]));
    assert_eq!(run.code, i32::from(train_fails));
    says(&run.stdout, &["not gating", "validation"]);
    let (gating, beside) = match train_fails {
        true => ("NOT PRESERVED  sst2/train", "validation: PRESERVED"),
        false => ("PRESERVED  sst2/train", "validation: NOT PRESERVED"),
    };
    assert!(run.stdout.starts_with(gating), "{}", run.stdout);
    says(&run.stdout, &[beside]);
}

#[test]
fn a_task_that_cannot_run_does_not_stop_the_others() {
    let sandbox = sandbox();
    std::fs::remove_file(sandbox.path("models/mrpc/student/model.safetensors")).unwrap();
    std::fs::remove_file(sandbox.path("glue/RTE/train.tsv")).unwrap();
    let report = agree(&sandbox, &all(&["--kappa", WIDE]), 3);
    for task in SIX {
        let row = row(&report, task, "train");
        let failed = matches!(task, "mrpc" | "rte");
        assert_eq!(row["verdict"], if failed { "error" } else { "preserved" }, "{task}");
        assert_eq!(row["sigma"].is_null(), failed, "{task}");
        assert_eq!(row["error"].is_null(), !failed, "{task}");
    }
    let mrpc = &row(&report, "mrpc", "train")["error"];
    says(mrpc["message"].as_str().unwrap(), &["student", "models/mrpc/student", "no weights"]);
    says(mrpc["hint"].as_str().unwrap(), &["model.safetensors"]);
    says(row(&report, "rte", "train")["error"]["message"].as_str().unwrap(), &["RTE/train.tsv"]);
    // 3 wins over 1, whatever the order of the tasks.
    agree(&sandbox, &all(&["--kappa", NARROW]), 3);
}

#[test]
fn a_usage_error_of_a_later_task_keeps_the_finished_rows() {
    let sandbox = sandbox();
    sandbox.write("a.toml", format!("[defaults]\nkappa = {WIDE}\n[task.qnli]\nmax_length = 64\n"));
    let report = agree(&sandbox, &all(&["--config", "a.toml"]), 3);
    let error = &row(&report, "qnli", "train")["error"];
    says(error["message"].as_str().unwrap(), &["64", "40 positions", "[task.qnli]"]);
    assert_eq!(error["hint"], "use 40 or less");
    assert_eq!(row(&report, "cola", "train")["verdict"], "preserved");
    assert_eq!(row(&report, "rte", "train")["verdict"], "preserved");
}

#[test]
fn exit_zero_changes_the_code_of_a_failed_gate_but_not_of_an_error() {
    let sandbox = sandbox();
    let run = sandbox.audit(&all(&["--kappa", NARROW, "--exit-zero", "--format", "json"]));
    assert_eq!((run.code, &run.json()["exit_code"]), (0, &1.into()));
    assert_eq!(run.json()["verdict"], "not_preserved");
    std::fs::remove_dir_all(sandbox.path("models/rte/teacher")).unwrap();
    let run = sandbox.audit(&all(&["--kappa", WIDE, "--exit-zero", "--format", "json"]));
    assert_eq!((run.code, &run.json()["exit_code"]), (3, &3.into()));
}

#[test]
fn usage_errors_come_before_anything_runs() {
    let sandbox = sandbox();
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--kappa", "0.1", "--beta", "2"], &["--kappa", "--beta", "set twice"]),
        (&["--kappa=-1"], &["kappa", "-1"]),
        (&["--alpha", "1"], &["alpha"]),
        (&["--gamma", "0.5"], &["gamma"]),
        (&["--limit", "0"], &["limit", "at least 1"]),
        (&["--statistic", "median"], &["median", "rms", "centred"]),
        (&["--cased", "--uncased"], &["--uncased"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
    ];
    for (more, words) in cases {
        let arguments = with(&all(more), &["--output-dir", "out"]);
        sandbox.audit(&arguments).fails(2, words).prints_no_report();
        assert!(!sandbox.path("out").exists(), "{more:?}");
    }
}

#[test]
fn the_last_task_s_usage_error_comes_before_the_first_task() {
    let sandbox = sandbox();
    sandbox.write("a.toml", "[task.rte]\nkappa = 0.1\nbeta = 2\n");
    let run = sandbox.audit(&all(&["--config", "a.toml"]));
    run.fails(2, &["[task.rte]", "set twice"]).prints_no_report();
    sandbox.write("b.toml", "[task.cola]\nteacher = \"models/cola/teacher\"\nstudent = \"s\"\n");
    let run = sandbox.audit(&["--task", "cola,rte", "--config", "b.toml", "--data", "glue"]);
    run.fails(2, &["rte has no teacher", "--teacher"]).prints_no_report();
}

#[test]
fn without_a_task_the_tasks_are_named() {
    let sandbox = Sandbox::new();
    sandbox.audit::<&str>(&[]).fails(2, &["no task", "sst2", "audit demo"]).prints_no_report();
}

#[test]
fn a_task_that_is_named_twice_is_run_once() {
    let sandbox = sandbox();
    let arguments = with(&glue::SUITE, &["--task", "sst2,SST-2", "--task", "sst2"]);
    let report = sandbox.report(&arguments);
    assert_eq!(rows(&report).len(), 2, "a gating row and a validation row");
    let arguments = with(&glue::SUITE, &["--task", "rte,all"]);
    let report = sandbox.report(&arguments);
    let gating: Vec<_> =
        rows(&report).iter().filter(|r| r["gates"] == true).map(|r| &r["task"]).collect();
    assert_eq!(gating, ["rte", "cola", "sst2", "mrpc", "qqp", "qnli"]);
}

#[test]
fn a_row_of_a_suite_equals_the_row_of_a_single_audit() {
    let sandbox = sandbox();
    let suite = common::reproducible(sandbox.report(&all(&[])));
    for task in SIX {
        let alone = with(&with(&["--task", task], &glue::SUITE), &["--quiet"]);
        let alone = common::reproducible(sandbox.report(&alone));
        for own in rows(&alone) {
            assert_eq!(own, row(&suite, task, own["split"].as_str().unwrap()));
        }
    }
}

#[test]
fn quiet_does_not_change_the_report() {
    let sandbox = sandbox();
    std::fs::remove_file(sandbox.path("models/cola/teacher/config.json")).unwrap();
    let run = sandbox.audit(&all(&["--no-cache"]));
    says(&run.stderr, &["error: cola:", "config.json", "hint: "]);
    let quiet: Run = sandbox.audit(&all(&["--no-cache", "--quiet"]));
    assert_eq!((quiet.code, &quiet.stdout), (run.code, &run.stdout));
}

#[test]
fn a_summed_beta_over_part_of_a_split_is_noticed() {
    let sandbox = sandbox();
    let arguments = with(&with(&["--task", "qqp"], &glue::SUITE), &["--beta", "2", "--limit", "9"]);
    let row = sandbox.row(&arguments);
    says(note(&row, "beta-over-part")["message"].as_str().unwrap(), &["9 of 999"]);
}

#[test]
fn the_manifest_has_the_settings_of_each_task() {
    let sandbox = sandbox();
    let two = with(&with(&["--task", "rte,sst2"], &glue::SUITE), &["--split", "train"]);
    let report = sandbox.report(&with(&two, &["--seed", "3"]));
    assert_eq!(
        (&report["manifest"]["seed"], &report["manifest"]["device"]),
        (&json!(3), &json!("cpu"))
    );
    sandbox.write("audit.toml", "[task.rte]\nseed = 1\n[task.sst2]\nseed = 2\n");
    let report = sandbox.report(&two);
    assert_eq!(report["manifest"]["seed"], Value::Null);
    let seeds: Vec<_> = rows(&report).iter().map(|row| &row["seed"]).collect();
    assert_eq!(seeds, [&json!(1), &json!(2)]);
    assert!(rows(&report).iter().all(|row| row["device"] == "cpu"));
}

#[test]
fn the_hash_of_the_configuration_covers_what_describes_a_task_of_one_s_own() {
    let sandbox = Sandbox::new();
    sandbox.write("t.csv", "confidence,predicted\n0.75,a\n");
    let files = ["--teacher-predictions", "t.csv", "--student-predictions", "t.csv"];
    let hash = |more: &str| {
        sandbox.write("audit.toml", format!("[task.mine]\ntext = \"x\"\n{more}"));
        let report = sandbox.report(&with(&["check", "--task", "mine"], &files));
        report["manifest"]["config_sha256"].as_str().unwrap().to_owned()
    };
    let labels = "labels = [\"a\", \"b\"]\n";
    let plain = hash(labels);
    assert_eq!(hash(labels), plain);
    for more in [
        "labels = [\"b\", \"a\"]\n",
        &format!("{labels}label = \"y\"\n"),
        &format!("{labels}metric = \"matthews\"\n"),
        &format!("{labels}splits = {{ train = \"t.csv\" }}\n"),
        &format!("{labels}dataset = \"org/data@v1\"\n"),
    ] {
        assert_ne!(hash(more), plain, "{more}");
    }
    // What changes the speed alone is none of it.
    assert_eq!(hash(&format!("{labels}threads = 1\n")), plain);
}
