//! Settings: `audit init`, precedence, user tasks, and report outputs.

mod common;

use common::{glue, number, report_files, reproducible, says, tiny_pair, with, Run, Sandbox};
use confidence_audit::report::{Format, Report};
use serde_json::{json, Value};

#[test]
fn init_writes_the_defaults_and_overwrites_only_with_force() {
    let sandbox = Sandbox::new();
    let run = sandbox.audit(&["init"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""));
    says(&run.stderr, &["wrote audit.toml"]);
    let written = sandbox.read("audit.toml");
    says(&written, &["# ", "[defaults]", "beta_per_example", "token_budget"]);
    sandbox.write("audit.toml", "# mine\n");
    sandbox
        .audit(&["init"])
        .fails(2, &["`audit.toml` already exists", "--force"])
        .prints_no_report();
    assert_eq!(sandbox.read("audit.toml"), "# mine\n");
    assert_eq!(sandbox.audit(&["init", "--force"]).code, 0);
    assert_eq!(sandbox.read("audit.toml"), written);
    assert_eq!(sandbox.audit(&["init", "other.toml"]).code, 0);
    assert_eq!(sandbox.read("other.toml"), written);
    sandbox.audit(&["init", "none/audit.toml"]).fails(3, &["cannot write `none/audit.toml`"]);

    let values = |arguments: &[&str]| {
        let printed = sandbox.audit(arguments).stdout;
        let setting = |line: &str| Some(line.split_once(" #")?.0.trim().to_owned());
        printed.lines().filter(|l| !l.starts_with('#')).filter_map(setting).collect::<Vec<_>>()
    };
    let with_config = values(&["config", "--task", "sst2"]);
    std::fs::remove_file(sandbox.path("audit.toml")).unwrap();
    let built_in = values(&["config", "--task", "sst2"]);
    for line in &built_in {
        assert!(with_config.contains(line), "{line}");
    }
    assert!(built_in.contains(&"beta_per_example = 0.0025".to_owned()), "{built_in:?}");
}

/// A disk without room, as far as a test can have one: no file may grow beyond a few bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_keeps_the_old_config() {
    let sandbox = Sandbox::new();
    sandbox.write("audit.toml", "# mine\n");
    let mut command = assert_cmd::Command::new("sh");
    command.current_dir(sandbox.path(""));
    // SIGXFSZ ignored, so that the write fails as it does on a full disk.
    let program = env!("CARGO_BIN_EXE_audit");
    command.args(["-c", &format!("trap '' XFSZ; ulimit -f 1; exec '{program}' init --force")]);
    let run = Run::of(command);
    run.fails(3, &["cannot write `audit.toml`"]);
    assert_eq!(sandbox.read("audit.toml"), "# mine\n");
    assert_eq!(sandbox.names(""), ["audit.toml"]);
}

/// The line of `audit config` that sets `key`.
#[track_caller]
fn line<'a>(run: &'a Run, key: &str) -> &'a str {
    let found = run.stdout.lines().find(|line| line.starts_with(&format!("{key} = ")));
    found.unwrap_or_else(|| panic!("no `{key}` in {}", run.stdout))
}

#[test]
fn config_prints_what_is_in_force_and_where_it_comes_from() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "a.toml",
        "[defaults]\nseed = 1\nmax_length = 64\nkappa = 0.1\n[task.sst2]\nseed = 2\n",
    );
    let run = sandbox.audit(&["config", "--config", "a.toml", "--task", "sst2", "--threads", "3"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    says(&run.stdout, &["# config: a.toml", "[task.sst2]"]);
    for (key, value, origin) in [
        ("seed", "2", "`a.toml` [task.sst2]"),
        ("max_length", "64", "`a.toml` [defaults]"),
        ("kappa", "0.1", "`a.toml` [defaults]"),
        ("threads", "3", "flag --threads"),
        ("token_budget", "512", "default"),
    ] {
        let line = line(&run, key);
        assert!(line.starts_with(&format!("{key} = {value} ")), "{line}");
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    let unset = run.stdout.lines().find(|line| line.starts_with("# beta_per_example ")).unwrap();
    assert!(unset.ends_with("# not set"), "a bound is one unit: {unset}");
    let run = sandbox.audit(&["config", "--config", "a.toml", "--task", "SST-2,rte"]);
    says(&run.stdout, &["[task.sst2]\n", "[task.rte]\n"]);
    let toml: toml::Table = run.stdout.parse().unwrap();
    assert_eq!(toml["task"]["sst2"]["seed"].as_integer(), Some(2));
    assert_eq!(toml["task"]["rte"]["seed"].as_integer(), Some(1));
}

#[test]
fn flags_override_the_task_table_which_overrides_the_defaults() {
    let (sandbox, pair) = tiny_pair();
    let audit = |flags: &[&str]| sandbox.row(&with(&pair, flags));
    let limited = |row: &Value| (row["n"].as_u64().unwrap(), number(row, "kappa"));
    assert_eq!(limited(&audit(&[])), (24, 0.05));
    sandbox.write("audit.toml", "[defaults]\nlimit = 9\nkappa = 0.3\n");
    assert_eq!(limited(&audit(&[])), (9, 0.3), "audit.toml of the current folder is read");
    sandbox.write(
        "audit.toml",
        "[defaults]\nlimit = 9\nkappa = 0.3\n[task.sst2]\nlimit = 8\nkappa = 0.2\n",
    );
    assert_eq!(limited(&audit(&[])), (8, 0.2));
    assert_eq!(limited(&audit(&["--limit", "7"])), (7, 0.2));
    assert_eq!(limited(&audit(&["--kappa", "0.1"])), (8, 0.1));
    let row = audit(&["--beta-per-example", "0.0001"]);
    assert_eq!(
        (number(&row, "kappa"), &row["bound_origin"]),
        (0.01, &json!("flag --beta-per-example"))
    );
    sandbox.write("other.toml", "[task.SST-2]\nlimit = 6\n");
    let row = audit(&["--config", "other.toml"]);
    assert_eq!(limited(&row), (6, 0.05), "--config is read instead of audit.toml");
}

#[test]
fn a_bound_is_one_unit_across_the_layers() {
    let (sandbox, pair) = tiny_pair();
    sandbox.write("audit.toml", "[defaults]\nbeta = 1\nalpha = 0.5\ngamma = 2\n");
    let row = sandbox.row(&pair);
    // 2·sqrt(1/(24·0.5))
    assert!((number(&row, "kappa") - 2.0 * (1.0f64 / 12.0).sqrt()).abs() < 1e-15);
    says(row["bound_origin"].as_str().unwrap(), &["audit.toml", "[defaults]", "beta"]);
    let row = sandbox.row(&with(&pair, &["--beta", "1"]));
    assert_eq!((number(&row, "alpha"), number(&row, "gamma")), (0.0, 1.0));
    let run = sandbox.audit(&with(&pair, &["--alpha", "0.2"]));
    run.fails(2, &["--alpha", "audit.toml", "one unit"]).prints_no_report();
}

/// A task of the user's own, in a config beside its models and its data.
const OWN: &str = r#"
[task.reviews]
teacher = "models/teacher"
student = "models/student"
text = "sentence"
label = "label"
labels = ["negative", "positive"]
splits = { train = "data/part-*.tsv", validation = ["data/dev.csv"] }
"#;

/// SST-2's data as the user's own, the training split in two files, validation as CSV; and the
/// arguments of the same audit as SST-2.
fn own_task() -> (Sandbox, Vec<String>) {
    let (sandbox, pair) = tiny_pair();
    for model in ["teacher", "student"] {
        common::copy_folder(&sandbox.path(model), &sandbox.path(&format!("own/models/{model}")));
    }
    let text = sandbox.read("glue/SST-2/train.tsv");
    let lines: Vec<&str> = text.lines().collect();
    for (i, rows) in [&lines[1..11], &lines[11..]].iter().enumerate() {
        let part = format!("{}\n{}", lines[0], rows.join("\n"));
        sandbox.write(&format!("own/data/part-{i}.tsv"), part);
    }
    let mut csv = csv::Writer::from_path(sandbox.path("own/data/dev.csv")).unwrap();
    for line in sandbox.read("glue/SST-2/dev.tsv").lines() {
        csv.write_record(line.split('\t')).unwrap();
    }
    csv.flush().unwrap();
    sandbox.write("own/reviews.toml", OWN);
    (sandbox, pair)
}

#[test]
fn a_user_task_is_read_relative_to_its_config() {
    let (sandbox, pair) = own_task();
    let report = sandbox.report(&["--task", "reviews", "--config", "own/reviews.toml"]);
    let expected = sandbox.report(&pair);
    for (i, n) in [(0, glue::TRAIN), (1, glue::VALIDATION)] {
        let (row, glue) = (&report["tasks"][i], &expected["tasks"][i]);
        assert_eq!((&row["task"], &row["n"]), (&json!("reviews"), &json!(n)));
        for key in ["sigma", "teacher", "student", "agreement", "verdict", "worst", "split"] {
            assert_eq!(row[key], glue[key], "{key}");
        }
    }
    let files = &report["tasks"][0]["data_files"];
    says(&files.to_string(), &["part-0.tsv", "part-1.tsv"]);
}

#[test]
fn a_user_task_may_have_no_labels() {
    let (sandbox, _) = own_task();
    let config = OWN.lines().filter(|line| !line.starts_with("label"));
    sandbox.write("own/audit.toml", config.collect::<Vec<_>>().join("\n"));
    let mut command = sandbox.command();
    command.current_dir(sandbox.path("own")).args(["--task", "reviews", "--format", "json"]);
    let run = Run::of(command);
    let row = &run.json()["tasks"][0];
    assert_eq!((&row["error"], &row["n"]), (&Value::Null, &json!(glue::TRAIN)));
    assert_eq!(row["teacher"]["accuracy"], Value::Null);
    says(row["undefined"]["teacher.accuracy"].as_str().unwrap(), &["reviews", "no label column"]);
    let labels: Vec<_> = row["worst"].as_array().unwrap().iter().map(|w| &w["label"]).collect();
    assert_eq!(labels, [&Value::Null; 10]);
}

#[test]
fn the_task_placeholder_gives_each_task_its_models() {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "project/glue");
    for task in ["rte", "qnli"] {
        for model in ["teacher", "student"] {
            let name = format!("project/{task}/{model}");
            sandbox.checkpoint(&name, "architectures/electra", glue::labels(task));
        }
    }
    let text =
        "[defaults]\nteacher = \"{task}/teacher\"\nstudent = \"{task}/student\"\ndata = \"glue\"\n";
    sandbox.write("project/suite.toml", text);
    let report = sandbox.report(&["--task", "rte,qnli", "--config", "project/suite.toml"]);
    assert_eq!(
        (&report["verdict"], report["tasks"].as_array().unwrap().len()),
        (&json!("preserved"), 4)
    );
}

#[test]
fn each_format_on_stdout_is_parsed_and_has_the_same_verdict() {
    let (sandbox, pair) = tiny_pair();
    let arguments = with(&pair, &["--quiet"]);
    let print = |format: &str| {
        let run = sandbox.audit(&with(&arguments, &["--format", format]));
        assert_eq!((run.code, run.stderr.as_str()), (1, ""), "{format}");
        run.stdout
    };
    let report: Value = serde_json::from_str(&print("json")).unwrap();
    assert_eq!(report["verdict"], "not_preserved");
    let sigma = number(&report["tasks"][0], "sigma");

    let junit = print("junit");
    let xml = roxmltree::Document::parse(&junit).unwrap();
    let count = |name: &str| xml.descendants().filter(|node| node.has_tag_name(name)).count();
    let (failures, cases) = (count("failure"), count("testcase"));
    assert_eq!((failures, cases >= 1), (1, true), "{junit}");

    let table = print("csv");
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let (mut squares, mut n) = (0.0, 0.0);
    for record in reader.deserialize::<std::collections::HashMap<String, String>>() {
        let record = record.unwrap();
        if record["split"] == "train" {
            let figure = |key: &str| record[key].parse::<f64>().unwrap();
            let difference = figure("teacher_confidence") - figure("student_confidence");
            assert_eq!(difference, figure("difference"));
            squares += difference * difference;
            n += 1.0;
        }
    }
    assert_eq!(n, 24.0);
    assert!((f64::sqrt(squares / n) - sigma).abs() < 1e-12);

    let markdown = print("markdown");
    let shown = format!("{sigma:.4}");
    says(&markdown, &["|", &shown, "0.0500"]);
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.iter().any(|row| row.replace([' ', '|', ':', '-'], "").is_empty()), "{markdown}");
    let github = print("github");
    assert!(github
        .lines()
        .all(|l| ["::error ", "::warning ", "::notice "].iter().any(|c| l.starts_with(c))));
    says(&github, &["::error title=sst2/train", &shown]);
    let first = format!("NOT PRESERVED  sst2/train  σ {shown} > κ 0.0500");
    assert!(print("text").starts_with(&first), "{first}");
}

#[test]
fn the_json_report_follows_its_published_schema() {
    let schema = include_str!("../configs/report.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let (sandbox, pair) = tiny_pair();
    let nowhere = ["--task", "sst2", "--teacher", "./nowhere", "--student", "./nowhere"];
    for (arguments, code) in [
        (with(&pair, &["--kappa", "0.2"]), 0),
        (pair.clone(), 1),
        (with(&nowhere, &["--data", "glue"]), 3),
        (with(&["demo"], &["--limit", "20"]), 0),
    ] {
        let run = sandbox.audit(&with(&arguments, &["--format", "json"]));
        assert_eq!(run.code, code, "{}", run.stderr);
        let errors: Vec<_> = schema.iter_errors(&run.json()).map(|e| e.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
}

#[test]
fn the_output_folder_has_every_file_and_they_equal_stdout() {
    let (sandbox, pair) = tiny_pair();
    sandbox.report(&pair); // every later run finds its rows in the cache
    let arguments = with(&pair, &["--output-dir", "new/out"]);
    let run = sandbox.audit(&arguments);
    assert_eq!(run.code, 1);
    says(&run.stderr, &["wrote", "report.json", "report.md", "junit.xml", "predictions.csv"]);
    assert_eq!(sandbox.names("new/out"), report_files());
    let report: Value = serde_json::from_str(&sandbox.read("new/out/report.json")).unwrap();
    assert_eq!(reproducible(report), reproducible(sandbox.report(&pair)));
    assert!(run.stderr.trim_end().ends_with("new/out/report.html"), "{}", run.stderr);
    for (file, format) in Format::<Report>::files() {
        let run = sandbox.audit(&with(&pair, &["--format", format.name]));
        let seconds = |line: &&str| !line.contains("seconds") && !line.contains(" time=\"");
        let lines =
            |text: &str| text.lines().filter(seconds).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            lines(&sandbox.read(&format!("new/out/{file}"))),
            lines(&run.stdout),
            "{format}"
        );
    }
}

#[test]
fn help_and_version_exit_with_0() {
    let sandbox = Sandbox::new();
    for arguments in [&["--help"][..], &["check", "--help"], &["--version"]] {
        let run = sandbox.audit(arguments);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        assert!(!run.stdout.is_empty());
    }
    let help = sandbox.audit(&["--help"]).stdout;
    for flag in [
        "--task",
        "--teacher",
        "--student",
        "--data",
        "--split",
        "--beta",
        "--beta-per-example",
        "--kappa",
        "--alpha",
        "--gamma",
        "--statistic",
        "--confidence",
        "--bound",
        "--label-map",
        "--teacher-head",
        "--student-head",
        "--cased",
        "--uncased",
        "--max-length",
        "--token-budget",
        "--seed",
        "--limit",
        "--allow-skipped",
        "--device",
        "--threads",
        "--format",
        "--output-dir",
        "--config",
        "--quiet",
        "--exit-zero",
    ] {
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
            "{flag}"
        );
    }
}

#[test]
fn the_demo_exits_with_0_and_prints_the_code_of_each_audit() {
    let sandbox = Sandbox::new();
    let run = sandbox.audit(&["demo"]);
    assert_eq!(run.code, 0);
    says(&run.stdout, &["NOT PRESERVED  2 audits: 1 preserved, 1 not preserved"]);
    says(&run.stdout, &["demo: an audit of this pair alone ends with exit code 0"]);
    says(&run.stdout, &["demo-overconfident: an audit of this pair alone ends with exit code 1"]);
    let json = sandbox.audit(&["demo", "--format", "json", "--limit", "50"]);
    assert_eq!((json.code, &json.json()["exit_code"]), (0, &json!(1)));
    says(&json.stderr, &["exit code 0", "exit code 1"]);
    assert_eq!(json.json()["tasks"].as_array().unwrap().len(), 4);
}

#[test]
fn the_demo_does_not_end_well_where_nothing_was_run() {
    let sandbox = Sandbox::new();
    let run = sandbox.audit(&["demo", "--split", "nowhere"]);
    run.fails(3, &["nowhere"]);
    says(&run.stdout, &["the demo itself ends with exit code 3"]);
    for flag in ["--teacher", "--student", "--data", "--bound"] {
        let value = if flag == "--bound" { "from-student" } else { "./nowhere" };
        sandbox.audit(&["demo", flag, value]).fails(2, &[flag, "no effect", "audit demo"]);
    }
}

#[test]
fn a_validation_file_that_the_config_names_must_be_there() {
    let (sandbox, _) = tiny_pair();
    sandbox.write("train.tsv", "x\ty\na good film\t1\na bad film\t0\n");
    let task = "[task.mine]\nteacher = \"teacher\"\nstudent = \"student\"\ntext = \"x\"\n\
                label = \"y\"\nlabels = [\"negative\", \"positive\"]\n";
    let audit = |splits: &str| {
        sandbox.write("audit.toml", format!("{task}splits = {{ {splits} }}\n"));
        sandbox.audit(&["--task", "mine", "--format", "json"])
    };
    let mistyped = audit("train = \"train.tsv\", validation = \"dev-typo.tsv\"");
    mistyped.fails(3, &["dev-typo.tsv", "`splits.validation` of `[task.mine]`"]);
    let unnamed = audit("train = \"train.tsv\"").json();
    assert_eq!(unnamed["tasks"].as_array().unwrap().len(), 1);
}
