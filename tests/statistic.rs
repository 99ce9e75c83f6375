//! The statistic of the paper's authors: NumPy's figures, its gate, its warnings, and its refusals.

mod common;

use common::{codes, fixture, note, number, says, tiny_pair, with, Sandbox};
use serde_json::{json, Value};

/// The pairs of models that `scripts/fixtures/published.py` writes.
fn cases() -> (Vec<u64>, Vec<Value>) {
    let text = std::fs::read_to_string(fixture("published.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    let labels = recorded["labels"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap());
    (labels.collect(), recorded["cases"].as_array().unwrap().clone())
}

/// The flags of `audit check` on one of the pairs, for which two files are written.
fn check(sandbox: &Sandbox, case: &Value, labels: &[u64]) -> Vec<String> {
    for (file, columns) in [("t.csv", [0, 1]), ("s.csv", [2, 3])] {
        let header = "id,label,probability_not_entailment,probability_entailment\n".to_owned();
        let line = |(i, row): (usize, &Value)| {
            let [a, b] = columns.map(|column| &row[column]);
            format!("{i},{},{a},{b}\n", ["not_entailment", "entailment"][labels[i] as usize])
        };
        let rows = case["rows"].as_array().unwrap().iter().enumerate();
        sandbox.write(file, header + &rows.map(line).collect::<String>());
    }
    // The columns' order is the published statistic's: label 0 first.
    sandbox.write("audit.toml", TASK);
    let files = ["--teacher-predictions", "t.csv", "--student-predictions", "s.csv"];
    with(&["check", "--task", "pairs"], &files)
}

const TASK: &str = "[task.pairs]\ntext = [\"a\", \"b\"]\n\
    labels = [\"not_entailment\", \"entailment\"]\nsplits = { train = \"train.csv\" }\n";

fn published(row: &Value) -> &Value {
    row["variants"].as_array().unwrap().last().unwrap()
}

fn near(found: &Value, expected: &Value) {
    let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!((found - expected).abs() < 1e-12, "{found} is not NumPy's {expected}");
}

#[test]
fn every_figure_is_numpys_and_the_reading_never_gates_by_itself() {
    let (labels, cases) = cases();
    assert_eq!(cases.len(), 3);
    for case in &cases {
        let sandbox = Sandbox::new();
        let row = sandbox.row(&check(&sandbox, case, &labels));
        let (variant, figures) = (published(&row), &case["figures"]);
        near(&variant["sigma"], &figures["sigma_published"]);
        near(&row["sigma"], &figures["sigma_rms"]);
        near(&row["sigma_centred"], &figures["sigma_centred"]);
        assert_eq!(variant["examples"], figures["examples"]);
        let left_out = &variant["left_out"];
        assert_eq!(left_out["student_wrong"], figures["student_wrong"]);
        assert_eq!(left_out["only_teacher_wrong"], figures["only_teacher_wrong"]);
        assert_eq!(number(left_out, "count") + number(variant, "examples"), labels.len() as f64);
        assert_eq!(variant["gates"], false);
        assert_eq!(row["statistic"], "rms");
        assert_eq!(row["verdict"], "not_preserved");
    }
}

#[test]
fn it_gates_where_it_is_asked_for_and_its_figures_are_those_of_the_gate() {
    let (labels, cases) = cases();
    let sandbox = Sandbox::new();
    let check = check(&sandbox, &cases[0], &labels);
    let sigma = number(&cases[0]["figures"], "sigma_published");
    // On either side of σ: the standard of the others stays.
    for (kappa, verdict) in [(sigma + 1e-9, "preserved"), (sigma - 1e-9, "not_preserved")] {
        let kappa = kappa.to_string();
        let flags = ["--statistic", "published", "--kappa", &kappa];
        let row = sandbox.row(&with(&check, &flags));
        assert_eq!((&row["statistic"], &row["verdict"]), (&json!("published"), &json!(verdict)));
        let variant = published(&row);
        assert_eq!(
            (&variant["gates"], &variant["confidence"]),
            (&json!(true), &json!("first-label"))
        );
        let examples = number(variant, "examples");
        assert!((number(&row, "spent") / examples - sigma * sigma).abs() < 1e-12);
        assert!(
            (number(&row, "budget") / examples - kappa.parse::<f64>().unwrap().powi(2)).abs()
                < 1e-12
        );
        assert_eq!(row["exhausted_at"].is_null(), verdict == "preserved");
        let interval = &row["sigma_interval"];
        assert!(number(interval, "low") < sigma && sigma < number(interval, "high"));
        // Groups are of the same examples.
        let groups = row["groups"].as_array().unwrap().iter();
        let of_label =
            groups.filter(|group| group["by"] == "label").map(|group| number(group, "n"));
        assert_eq!(of_label.sum::<f64>(), examples);
        // What is measured on all examples does not change.
        near(&row["sigma"], &cases[0]["figures"]["sigma_rms"]);
    }
    let text = sandbox.audit(&with(&check, &["--statistic", "published"])).stdout;
    says(
        &text,
        &[
            "(published)",
            "σ 0.0674 > κ 0.0500",
            "Σ(d − mean)²",
            "0.0674; leaves out 7 examples",
            "83 of 90 examples that both models get right",
        ],
    );
}

#[test]
fn a_summed_beta_is_spread_over_all_examples_and_kappa_is_the_same() {
    let (labels, cases) = cases();
    let sandbox = Sandbox::new();
    let check = check(&sandbox, &cases[0], &labels);
    let sum = (0.0025 * labels.len() as f64).to_string();
    let row =
        |bound: [&str; 2]| sandbox.row(&with(&with(&check, &["--statistic", "published"]), &bound));
    let (summed, each) = (row(["--beta", &sum]), row(["--beta-per-example", "0.0025"]));
    for key in ["kappa", "budget", "spent", "verdict"] {
        assert_eq!(summed[key], each[key], "{key}");
    }
}

#[test]
fn other_readings_with_another_verdict_and_a_student_at_chance_are_warned_of() {
    let (labels, cases) = cases();
    let by_chance = cases.iter().find(|case| case["name"] == "by chance").unwrap();
    let sandbox = Sandbox::new();
    let check = check(&sandbox, by_chance, &labels);
    // Between the published σ, 0.0765, and the root mean square over all, 0.0880.
    for statistic in ["rms", "published"] {
        let flags = ["--kappa", "0.08", "--statistic", statistic];
        let row = sandbox.row(&with(&check, &flags));
        let message = note(&row, "published-disagrees")["message"].as_str().unwrap();
        says(message, &["leaves out 48 of 90 examples, and the student gets 45 of these wrong"]);
        let message = note(&row, "collapse")["message"].as_str().unwrap();
        says(message, &["not significantly better", "45 of 90 examples right (50.0 %)"]);
    }
    let row = sandbox.row(&with(&check, &["--kappa", "0.09"]));
    assert!(!codes(&row).contains(&"published-disagrees"));
    assert!(codes(&row).contains(&"collapse"));
    let row = sandbox.row(&with(&check, &["--kappa", "0.07"]));
    assert!(!codes(&row).contains(&"collapse"));
}

#[test]
fn every_format_shows_it_with_what_it_leaves_out() {
    let (labels, cases) = cases();
    let sandbox = Sandbox::new();
    let check = check(&sandbox, &cases[0], &labels);
    for (format, words) in [
        ("text", "published   0.0674; leaves out 7 examples, 7 that the student gets wrong"),
        ("markdown", "left out are 7 examples, 7 that the student gets wrong"),
        ("openmetrics", "confidence_audit_sigma_published{"),
        (
            "openmetrics",
            "confidence_audit_published_left_out{task=\"pairs\",split=\"train\",gates=\"true\"} 7",
        ),
    ] {
        let run = sandbox.audit(&with(&check, &["--format", format]));
        says(&run.stdout, &[words]);
    }
    let output = sandbox.audit(&with(&check, &["--output-dir", "out"]));
    assert_eq!(output.code, 1, "{}", output.stderr);
    says(
        &sandbox.read("out/report.html"),
        &["σ first-label, published", "left out by it", "student wrong: 7"],
    );
    let compared =
        sandbox.audit(&["compare", "out/report.json", "out/report.json", "--format", "json"]);
    says(&compared.stdout, &["\"sigma_published\""]);
    for word in ["published", "first-label", "published-disagrees", "collapse", "left_out"] {
        assert_eq!(sandbox.audit(&["explain", word]).code, 0, "{word}");
    }
}

#[test]
fn it_is_null_with_a_reason_and_refused_as_a_gate_where_it_is_not_defined() {
    let (labels, cases) = cases();
    let sandbox = Sandbox::new();
    let check = check(&sandbox, &cases[0], &labels);
    let gate = with(&check, &["--statistic", "published"]);
    let whole = sandbox.read("t.csv");
    // One label is missing.
    for file in ["t.csv", "s.csv"] {
        let text = sandbox.read(file);
        let (header, rows) = text.split_once('\n').unwrap();
        let rows = rows.replacen(",entailment,", ",,", 1);
        sandbox.write(file, format!("{header}\n{rows}"));
    }
    assert_ne!(sandbox.read("t.csv"), whole);
    let row = sandbox.row(&check);
    assert_eq!(
        (&published(&row)["sigma"], &published(&row)["left_out"]),
        (&Value::Null, &Value::Null)
    );
    let reason = row["undefined"]["variants.first-label"].as_str().unwrap();
    assert_eq!(reason, "it needs the label of every example, and 1 have none");
    let refused = sandbox.audit(&gate);
    refused.fails(3, &["`published` is not defined here", "1 have none", "use `rms`"]);
}

#[test]
fn a_run_of_models_gates_on_it_and_refuses_to_end_early() {
    let (sandbox, pair) = tiny_pair();
    let gate = with(&pair, &["--statistic", "published"]);
    let (row, standard) = (sandbox.row(&gate), sandbox.row(&pair));
    assert_eq!((&row["statistic"], &published(&row)["gates"]), (&json!("published"), &json!(true)));
    assert_eq!(published(&row)["sigma"], published(&standard)["sigma"]);
    let within = number(published(&row), "sigma") <= number(&row, "kappa");
    assert_eq!(row["verdict"] == "preserved", within);
    let examples = number(published(&row), "examples");
    assert!(examples < number(&row, "n"), "{examples}");
    assert!((number(&row, "budget") - 0.0025 * examples).abs() < 1e-12);
    // The temperature is fitted for this statistic, over the same examples.
    assert_ne!(row["recalibrated"]["sigma"], standard["recalibrated"]["sigma"]);
    for flag in ["--fail-fast", "--sequential"] {
        let run = sandbox.audit(&with(&gate, &[flag]));
        let key = flag.trim_start_matches('-').replace('-', "_");
        run.fails(2, &[&key, "does not work with the statistic published"]).prints_no_report();
    }
    sandbox.write("early.toml", "[defaults]\nstatistic = \"published\"\nsequential = true\n");
    let run = sandbox.audit(&with(&pair, &["--config", "early.toml"]));
    run.fails(2, &["sequential", "does not work with the statistic published"]);
}
