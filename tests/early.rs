//! Early stopping: `--fail-fast` and `--sequential`.

mod common;

use common::{demo, glue, number, reproducible, says, tiny_pair, with, Sandbox};
use serde_json::{json, Value};

/// Rows of [`large`]: several windows of an early run, whose first has [`FIRST_WINDOW`].
const N: usize = 1500;
const FIRST_WINDOW: u64 = 128;

/// A pair whose σ over 1,500 sentences is well above 0.05, and the arguments of its audit.
fn large() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let sentence = |i: usize| format!("{} {}", glue::sentence(i), glue::sentence(i / 105));
    let rows: String = (0..N).map(|i| format!("{}\t{}\n", sentence(i), i % 2)).collect();
    sandbox.write("glue/SST-2/train.tsv", format!("sentence\tlabel\n{rows}"));
    let (teacher, student) = (demo("student"), demo("student-overconfident"));
    let models = ["--teacher", &teacher, "--student", &student, "--data", "glue"];
    let arguments = with(&["--task", "sst2", "--split", "train"], &models);
    (sandbox, arguments)
}

/// The row of a report that has one.
fn row_of(report: &Value) -> &Value {
    &report["tasks"][0]
}

/// The fields that a run which ended early must leave out, with the reason for it.
fn the_reason_for_a_missing_sigma_is_shown(row: &Value) {
    for field in ["sigma", "sigma_centred", "sigma_interval"] {
        assert_eq!(row[field], Value::Null, "{field}");
        says(row["undefined"][field].as_str().unwrap(), &["ended", "before the last example"]);
    }
}

fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-15, "{found} is not {expected}");
}

#[test]
fn fail_fast_ends_with_the_full_run_s_verdict_at_the_full_run_s_example() {
    let (sandbox, audit) = large();
    for statistic in ["rms", "centred"] {
        let audit = with(&audit, &["--statistic", statistic, "--kappa", "0.08"]);
        let full = sandbox.report(&audit);
        let run = sandbox.audit(&with(&audit, &["--fail-fast", "--format", "json"]));
        let report = run.json();
        let (full, row) = (row_of(&full), row_of(&report));
        assert_eq!((run.code, &row["verdict"]), (1, &full["verdict"]));
        assert_eq!(row["certainty"], "exact");
        assert_eq!((&row["n"], &full["examples_run"]), (&json!(N), &json!(N)));
        let at = full["exhausted_at"].as_u64().unwrap();
        assert!(at > FIRST_WINDOW, "the budget lasts for more than a window: {at}");
        assert_eq!(row["exhausted_at"], at);
        // Windows of 128, 256, 512 …: the run ends with the one that holds that example.
        let ends = [128, 384, 896, N as u64].into_iter().find(|end| *end >= at).unwrap();
        assert!(ends < N as u64);
        assert_eq!(row["examples_run"], ends);

        the_reason_for_a_missing_sigma_is_shown(row);
        let spent = number(row, "spent");
        assert!(number(row, "budget") < spent && spent < number(full, "spent"));
        assert_eq!(row["budget"], full["budget"]);
        near(number(row, "sigma_at_least"), (spent / N as f64).sqrt());
        near(number(row, "sigma_prefix"), (spent / ends as f64).sqrt());
        let gating = if statistic == "rms" { "sigma" } else { "sigma_centred" };
        let sigma = number(full, gating);
        assert!(number(row, "kappa") < number(row, "sigma_at_least"));
        assert!(number(row, "sigma_at_least") <= sigma);
        // The first `ends` examples and no others: what a whole run over them says.
        let first = sandbox.row(&with(&audit, &["--limit", &ends.to_string()]));
        assert_eq!(row["sigma_prefix"], first[gating]);
        for same in ["spent", "agreement", "difference", "divergence", "groups", "worst"] {
            assert_eq!(row[same], first[same], "{same}");
        }
        for (early, whole) in
            row["variants"].as_array().unwrap().iter().zip(full["variants"].as_array().unwrap())
        {
            // A reading that is past its bound already stays there; of no other is anything known.
            assert_eq!(early["sigma"], Value::Null);
            assert_ne!(early["within_bound"], json!(true));
            if early["within_bound"] == false {
                assert_eq!(whole["within_bound"], false);
            }
        }
        assert_eq!((&full["sigma_prefix"], &full["sigma_at_least"]), (&Value::Null, &Value::Null));
    }
}

#[test]
fn where_fail_fast_ends_does_not_depend_on_threads_token_budget_or_cache() {
    let (sandbox, audit) = large();
    let audit = with(&audit, &["--fail-fast"]);
    let run = |flags: &[&str]| reproducible(sandbox.report(&with(&audit, flags)));
    let expected = run(&["--no-cache", "--threads", "1"]);
    for flags in [
        &["--no-cache", "--threads", "5", "--token-budget", "1"][..],
        &["--no-cache", "--threads", "2", "--token-budget", "4096"],
        &["--threads", "3"],
        &[],
    ] {
        assert_eq!(run(flags), expected, "{flags:?}");
    }
}

#[test]
fn fail_fast_of_a_student_that_passes_is_the_ordinary_report() {
    let (sandbox, audit) = large();
    let audit = with(&audit, &["--kappa", "0.3"]);
    let mut full = reproducible(sandbox.report(&audit));
    let mut fast = reproducible(sandbox.report(&with(&audit, &["--fail-fast"])));
    assert_eq!(fast["verdict"], "preserved");
    for report in [&mut full, &mut fast] {
        report["manifest"]["config_sha256"] = Value::Null; // of settings, and this is one
        report["manifest"]["commands"] = Value::Null;
    }
    assert_eq!(fast, full);
}

#[test]
fn fail_fast_runs_the_secondary_split_to_its_end() {
    let (sandbox, pair) = tiny_pair();
    let full = sandbox.report(&with(&pair, &["--kappa", "0.001"]));
    let fast = sandbox.report(&with(&pair, &["--kappa", "0.001", "--fail-fast"]));
    let beside = |report: &Value| reproducible(report.clone())["tasks"][1].clone();
    assert_eq!(beside(&fast)["examples_run"], glue::VALIDATION);
    assert_eq!(beside(&fast), beside(&full));
}

#[test]
fn a_sequential_verdict_has_its_draws_and_does_not_depend_on_threads() {
    let (sandbox, audit) = large();
    let full = sandbox.row(&audit);
    let sigma = number(&full, "sigma");
    for (kappa, verdict) in [("0.05", "not_preserved"), ("0.3", "preserved")] {
        let audit = with(&audit, &["--sequential", "--delta", "0.02", "--kappa", kappa]);
        let run = |flags: &[&str]| reproducible(sandbox.report(&with(&audit, flags)));
        let report = run(&["--no-cache", "--threads", "1"]);
        for flags in [&["--no-cache", "--threads", "5", "--token-budget", "64"][..], &[]] {
            assert_eq!(run(flags), report, "{flags:?}");
        }
        let row = row_of(&report);
        assert_eq!((&row["verdict"], &row["certainty"]), (&json!(verdict), &json!("statistical")));
        the_reason_for_a_missing_sigma_is_shown(row);
        let draws = &row["sequential"];
        assert_eq!((&draws["delta"], &draws["draws"]), (&json!(0.02), &row["examples_run"]));
        assert!(number(row, "examples_run") < N as f64);
        assert!(draws["seed"].is_u64());
        let interval = &draws["sigma_interval"];
        assert_eq!(interval["level"], 0.98);
        assert!(number(interval, "low") <= sigma && sigma <= number(interval, "high"));
        let (spent, run) = (number(row, "spent"), number(row, "examples_run"));
        near(number(row, "sigma_prefix"), (spent / run).sqrt());
        near(number(row, "sigma_at_least"), (spent / N as f64).sqrt());
        assert!(number(row, "sigma_at_least") <= sigma);
    }
}

#[test]
fn every_format_shows_that_a_verdict_is_statistical() {
    let (sandbox, audit) = large();
    let audit = with(&audit, &["--sequential", "--delta", "0.02"]);
    let row = sandbox.row(&audit);
    let draws = row["sequential"]["draws"].as_u64().unwrap();
    for format in ["text", "markdown", "junit", "github"] {
        let run = sandbox.audit(&with(&audit, &["--format", format]));
        assert_eq!(run.code, 1, "{}", run.stderr);
        says(&run.stdout, &[&format!("{draws} of 1,500")]);
        says(&run.stdout, &["drawn at random (statistical, δ = 0.02)"]);
    }
    let seed = row["sequential"]["seed"].to_string();
    let text = sandbox.audit(&audit).stdout;
    says(&text, &["at 98 %", &seed, "statistical: wrong with probability 0.02 at most"]);
}

#[test]
fn every_format_shows_that_a_run_ended_at_a_spent_budget() {
    let (sandbox, audit) = large();
    let audit = with(&audit, &["--fail-fast"]);
    let row = sandbox.row(&audit);
    let run = row["examples_run"].as_u64().unwrap();
    let at_least = format!("≥ {:.4}", number(&row, "sigma_at_least"));
    for format in ["text", "markdown", "junit", "github"] {
        let shown = sandbox.audit(&with(&audit, &["--format", format]));
        says(
            &shown.stdout,
            &[&at_least, &format!("1,500 examples, certain after the first {run}")],
        );
        assert!(!shown.stdout.contains("at random"), "{}", shown.stdout);
    }
    let csv = sandbox.audit(&with(&audit, &["--format", "csv"]));
    assert_eq!(csv.stdout.lines().count() as u64, run + 1, "a line for each, and the header");
}

#[test]
fn the_seed_of_the_draws_follows_from_the_data_and_a_flag_overrides_it() {
    let (sandbox, audit) = large();
    let sequential = with(&audit, &["--sequential"]);
    let draws = |flags: &[&str]| sandbox.row(&with(&sequential, flags));
    let row = draws(&[]);
    // The first thirteen digits of the data's SHA-256.
    let sha256 = row["data_sha256"].as_str().unwrap();
    let seed = u64::from_str_radix(&sha256[..13], 16).unwrap();
    assert_eq!(row["sequential"]["seed"], seed);
    assert_eq!(draws(&["--seed", &seed.to_string()])["sequential"], row["sequential"]);
    let seven = draws(&["--seed", "7"]);
    assert_eq!(seven["sequential"]["seed"], 7);
    assert_ne!(seven["worst"], row["worst"], "other examples");
    assert_eq!(seven["worst"], draws(&["--seed", "7", "--no-cache"])["worst"]);

    let text = sandbox.read("glue/SST-2/train.tsv").replacen("\t0\n", "\t1\n", 1);
    sandbox.write("glue/SST-2/train.tsv", text);
    assert_ne!(draws(&[])["sequential"]["seed"], seed);
}

#[test]
fn a_set_that_is_drawn_to_its_end_has_a_sigma_and_an_exact_verdict() {
    // 24 examples: with κ = 0.06 the budget is 0.0864, and one difference may spend 0.25 of it.
    let (sandbox, pair) = tiny_pair();
    let pair = with(&pair, &["--kappa", "0.06"]);
    let full = sandbox.row(&pair);
    let row = sandbox.row(&with(&pair, &["--sequential"]));
    assert_eq!((&row["verdict"], &row["certainty"]), (&json!("preserved"), &json!("exact")));
    assert_eq!((&row["examples_run"], &row["sequential"]["draws"]), (&json!(24), &json!(24)));
    let interval = &row["sequential"]["sigma_interval"];
    for end in ["low", "high"] {
        assert!((number(interval, end) - number(&full, "sigma")).abs() < 1e-12, "{end}");
    }
    for same in
        ["sigma", "sigma_interval", "spent", "course", "worst", "groups", "variants", "agreement"]
    {
        assert_eq!(row[same], full[same], "{same}");
    }
    assert_eq!(row["undefined"].get("sigma"), None);
}

#[test]
fn a_sequential_verdict_that_is_certain_is_exact() {
    // One difference spends more than such a budget has.
    let (sandbox, audit) = large();
    let row = sandbox.row(&with(&audit, &["--sequential", "--kappa", "1e-9"]));
    assert_eq!((&row["verdict"], &row["certainty"]), (&json!("not_preserved"), &json!("exact")));
    assert!(number(&row, "examples_run") < N as f64);
    the_reason_for_a_missing_sigma_is_shown(&row);
    // And no difference of two labels' confidences is above one half.
    let row = sandbox.row(&with(&audit, &["--sequential", "--kappa", "0.5"]));
    assert_eq!((&row["verdict"], &row["certainty"]), (&json!("preserved"), &json!("exact")));
}

#[test]
fn flags_that_contradict_each_other_or_their_range_are_usage_errors() {
    let (sandbox, pair) = tiny_pair();
    for (flags, words) in [
        (&["--sequential", "--statistic", "centred"][..], &["sequential", "rms", "centred"][..]),
        (&["--sequential", "--fail-fast"], &["fail_fast", "sequential", "keep one"]),
        (&["--sequential", "--delta", "0"], &["delta", "0.5", "it is 0"]),
        (&["--sequential", "--delta", "0.9"], &["delta", "0.5", "it is 0.9"]),
        (&["--sequential", "--delta", "-1"], &["delta", "it is -1"]),
        (&["--sequential", "--delta", "nan"], &["delta", "NaN"]),
    ] {
        sandbox.audit(&with(&pair, flags)).fails(2, words).prints_no_report();
    }
    sandbox.write("both.toml", "[defaults]\nfail_fast = true\n[task.sst2]\nsequential = true\n");
    let run = sandbox.audit(&with(&pair, &["--config", "both.toml"]));
    run.fails(2, &["fail_fast", "`both.toml` [defaults]"]).prints_no_report();
}

#[test]
fn predict_and_check_refuse_to_stop_early() {
    let (sandbox, _) = tiny_pair();
    sandbox.write("p.csv", "probability_negative,probability_positive\n0.5,0.5\n");
    let predict =
        ["predict", "--task", "sst2", "--data", "glue", "--model", "teacher", "-o", "out.csv"];
    let check = ["check", "--task", "sst2", "--teacher-predictions", "p.csv"];
    let check = with(&check, &["--student-predictions", "p.csv"]);
    assert_eq!(sandbox.audit(&check).code, 0);
    for flags in [&["--fail-fast"][..], &["--sequential"], &["--delta", "0.01"]] {
        let words = [flags[0], "no effect"];
        sandbox.audit(&with(&predict, flags)).fails(2, &words).prints_no_report();
        sandbox.audit(&with(&check, flags)).fails(2, &words).prints_no_report();
    }
    assert!(!sandbox.path("out.csv").exists());
}
