//! The verdict in the JSON report: bound, budget and sums.

mod common;

use common::{
    codes, copy_folder, demo_audit, demo_reference, glue, note, number, reproducible, says,
    tiny_pair, with, Sandbox,
};
use serde_json::{json, Value};

#[test]
fn a_model_against_itself_spends_nothing_of_a_budget_of_zero() {
    let (sandbox, _) = tiny_pair();
    let same = ["--task", "sst2", "--data", "glue", "--teacher", "student", "--student", "student"];
    let report = sandbox.report(&with(&same, &["--kappa", "0"]));
    assert_eq!((&report["verdict"], &report["exit_code"]), (&json!("preserved"), &json!(0)));
    let row = &report["tasks"][0];
    for zero in ["sigma", "sigma_centred", "mean_difference", "spent", "budget", "kappa"] {
        assert_eq!(number(row, zero), 0.0, "{zero}");
    }
    assert_eq!(row["spent_share"], Value::Null);
    assert_eq!(row["undefined"]["spent_share"], "the budget is zero");
    assert_eq!((&row["agreement"], &row["agreement_share"]), (&row["n"], &json!(1.0)));
    assert_eq!(row["divergence"]["sum_kl"], 0.0);
    assert_eq!((&row["difference"]["max"], &row["negative_flips"]), (&json!(0.0), &json!(0)));
}

#[test]
fn no_student_but_the_teacher_itself_meets_a_bound_of_nearly_nothing() {
    let (sandbox, pair) = tiny_pair();
    let report = sandbox.report(&with(&pair, &["--kappa", "1e-9"]));
    assert_eq!((&report["verdict"], &report["exit_code"]), (&json!("not_preserved"), &json!(1)));
}

/// Flags of a bound, and its κ over n examples, γ·sqrt(β/(n(1−α))), by hand.
fn bounds(n: f64) -> Vec<(Vec<&'static str>, f64)> {
    vec![
        (vec![], 0.05), // sqrt(0.0025)
        (vec!["--kappa", "0.02"], 0.02),
        (vec!["--kappa", "0.0351"], 0.0351),
        (vec!["--kappa", "0.4"], 0.4),
        (vec!["--beta", "0.06"], (0.06 / n).sqrt()),
        (vec!["--beta", "0.06", "--alpha", "0.75", "--gamma", "3"], 3.0 * (0.06 / n / 0.25).sqrt()),
        (vec!["--beta-per-example", "0.0001"], 0.01),
        (vec!["--beta-per-example", "0.0004", "--gamma", "2"], 0.04),
        (vec!["--beta-per-example", "0.0004", "--alpha", "0.5"], 0.02 * 2f64.sqrt()),
        (vec!["--alpha", "0.75"], 0.1),
        (vec!["--gamma", "4"], 0.2),
    ]
}

#[test]
fn the_verdict_is_the_budget_s_and_the_exit_code_is_the_verdict_s() {
    let (sandbox, pair) = tiny_pair();
    let n = glue::TRAIN as f64;
    let mut seen = Vec::new();
    for (flags, kappa) in bounds(n) {
        let arguments = with(&pair, &flags);
        let run = sandbox.audit(&with(&arguments, &["--format", "json"]));
        let report = run.json();
        let row = &report["tasks"][0];
        let near = |key: &str, expected: f64| {
            let found = number(row, key);
            assert!((found - expected).abs() <= 1e-12 * expected, "{flags:?} {key}: {found}");
        };
        let (spent, budget) = (number(row, "spent"), number(row, "budget"));
        near("kappa", kappa);
        near("budget", kappa * kappa * n);
        near("spent_share", spent / budget);
        near("sigma", (spent / n).sqrt());
        let preserved = spent <= budget;
        let verdict = if preserved { "preserved" } else { "not_preserved" };
        assert_eq!((&row["verdict"], &report["verdict"]), (&json!(verdict), &json!(verdict)));
        assert_eq!(run.code, i32::from(!preserved), "{flags:?}");
        assert_eq!(report["exit_code"], run.code);
        // Pinsker: Σd² ≤ ½ΣKL, whatever the models.
        assert!(spent <= 0.5 * number(&row["divergence"], "sum_kl"));
        let course = row["course"].as_array().unwrap();
        assert_eq!(course.last().unwrap()["examples"], row["n"]);
        assert_eq!(course.last().unwrap()["spent_share"], row["spent_share"]);
        seen.push(preserved);
    }
    assert!(seen.contains(&true) && seen.contains(&false), "both verdicts are met: {seen:?}");
}

#[test]
fn a_kappa_set_directly_has_no_beta_and_gives_the_reason() {
    let (sandbox, pair) = tiny_pair();
    let row = sandbox.row(&with(&pair, &["--kappa", "0.2"]));
    assert_eq!((&row["beta"], &row["bound_origin"]), (&Value::Null, &json!("flag --kappa")));
    assert_eq!(row["undefined"]["beta"], "kappa was given outright");
}

/// A classifier with its labels in another order: names and classifier rows together.
fn permuted(sandbox: &Sandbox, from: &str, name: &str, classifier: &str, order: &[usize]) {
    copy_folder(&sandbox.path(from), &sandbox.path(name));
    sandbox.edit_config(name, |config| {
        let old = config["id2label"].clone();
        let renamed = order.iter().enumerate();
        config["id2label"] =
            renamed.map(|(new, id)| (new.to_string(), old[id.to_string()].clone())).collect();
        config["label2id"] = Value::Null;
    });
    sandbox.edit_weights(name, |tensors| {
        common::reorder_rows(tensors, &format!("{classifier}.weight"), order);
        common::reorder_rows(tensors, &format!("{classifier}.bias"), order);
    });
}

#[test]
fn the_order_of_a_model_s_labels_changes_no_bit_of_the_row() {
    let sandbox = Sandbox::new();
    glue::write_mnli(&sandbox, "glue");
    let labels = glue::labels("mnli");
    sandbox.checkpoint("teacher", "architectures/bert", labels);
    sandbox.checkpoint("student", "architectures/roberta", labels);
    permuted(&sandbox, "teacher", "teacher-2", "classifier", &[2, 0, 1]);
    permuted(&sandbox, "student", "student-2", "classifier.out_proj", &[1, 2, 0]);
    let audit = |teacher: &str, student: &str| {
        let models = ["--teacher", teacher, "--student", student, "--data", "glue"];
        reproducible(sandbox.report(&with(&["--task", "mnli"], &models)))
    };
    let expected = audit("teacher", "student");
    for (teacher, student) in [("teacher-2", "student-2"), ("teacher-2", "student")] {
        let report = audit(teacher, student);
        assert_eq!(report["tasks"], expected["tasks"]);
        let model = &report["manifest"]["models"][0];
        assert_eq!(model["labels"], json!(["contradiction", "entailment", "neutral"]));
        assert_eq!(model["label_map"], json!([1, 2, 0]));
    }
}

#[test]
fn threads_and_token_budget_change_nothing_of_the_report() {
    let (sandbox, pair) = tiny_pair();
    let audit = |threads: &str, budget: &str| {
        let how = ["--threads", threads, "--token-budget", budget];
        reproducible(sandbox.report(&with(&pair, &how)))
    };
    let expected = audit("1", "4096");
    for (threads, budget) in [("1", "1"), ("2", "64"), ("5", "4096"), ("5", "1"), ("2", "4096")] {
        assert_eq!(audit(threads, budget), expected, "--threads {threads} --token-budget {budget}");
    }
}

#[test]
fn the_order_of_the_examples_changes_no_bit_of_sigma() {
    let (sandbox, pair) = tiny_pair();
    let sums = |row: &Value| {
        ["sigma", "sigma_centred", "mean_difference", "spent", "agreement", "variants"]
            .map(|key| row[key].clone())
    };
    let before = sums(&sandbox.row(&pair));
    let text = sandbox.read("glue/SST-2/train.tsv");
    let mut lines: Vec<&str> = text.lines().collect();
    lines[1..].reverse();
    sandbox.write("glue/SST-2/train.tsv", lines.join("\n"));
    assert_eq!(sums(&sandbox.row(&pair)), before);
}

#[test]
fn sigma_needs_no_labels_and_accuracy_is_null_with_a_reason() {
    let (sandbox, pair) = tiny_pair();
    let row = sandbox.row(&with(&pair, &["--split", "test"]));
    assert_eq!((&row["split"], &row["n"]), (&json!("test"), &json!(glue::VALIDATION)));
    assert!(number(&row, "sigma") > 0.0);
    for model in ["teacher", "student"] {
        assert_eq!(row[model]["labelled"], 0);
        for figure in ["accuracy", "correct", "brier", "nll", "ece"] {
            assert_eq!(row[model][figure], Value::Null, "{figure}");
            assert!(row["undefined"][format!("{model}.{figure}")].is_string(), "{figure}");
        }
        let why = &row["undefined"][format!("{model}.accuracy")];
        says(why.as_str().unwrap(), &["test.tsv", "no column `label`"]);
    }
    assert_eq!(row["negative_flips"], Value::Null);
    assert!(row["undefined"]["negative_flips"].is_string());
}

#[test]
fn minus_one_is_a_missing_label() {
    let (sandbox, pair) = tiny_pair();
    let labelled = sandbox.row(&pair);
    let text = sandbox.read("glue/SST-2/train.tsv");
    let text = text.replace("\t0\n", "\t-1\n").replace("\t1\n", "\t-1\n");
    sandbox.write("glue/SST-2/train.tsv", text);
    let row = sandbox.row(&pair);
    assert_eq!(row["sigma"], labelled["sigma"]);
    let why = row["undefined"]["teacher.accuracy"].as_str().unwrap();
    says(why, &["train.tsv", "no row", "label"]);
}

#[test]
fn a_limited_audit_is_marked_partial_in_every_format() {
    let (sandbox, pair) = tiny_pair();
    let limited = with(&pair, &["--limit", "7"]);
    let row = sandbox.row(&limited);
    assert_eq!((&row["n"], &row["of"]), (&json!(7), &json!(glue::TRAIN)));
    assert_eq!(row["partial"], true);
    for format in ["text", "markdown", "junit", "github"] {
        let run = sandbox.audit(&with(&limited, &["--format", format]));
        says(&run.stdout, &["partial", "7 of 24"]);
    }
    let whole = sandbox.row(&with(&pair, &["--limit", "24"]));
    assert_eq!(whole["partial"], false);
    // The first seven of the whole, not any seven.
    let first: Vec<String> =
        sandbox.read("glue/SST-2/train.tsv").lines().take(8).map(str::to_owned).collect();
    sandbox.write("glue/SST-2/train.tsv", first.join("\n"));
    assert_eq!(sandbox.row(&pair)["sigma"], row["sigma"]);
}

#[test]
fn a_split_that_is_named_gates_alone() {
    let (sandbox, pair) = tiny_pair();
    let both = sandbox.report(&pair);
    for name in ["validation", "dev"] {
        let report = sandbox.report(&with(&pair, &["--split", name]));
        assert_eq!(report["tasks"].as_array().unwrap().len(), 1);
        let row = &report["tasks"][0];
        assert_eq!((&row["split"], &row["gates"]), (&json!("validation"), &json!(true)));
        assert_eq!(row["sigma"], both["tasks"][1]["sigma"]);
    }
}

#[test]
fn every_reading_of_sigma_may_gate_and_the_others_are_reported() {
    let (sandbox, pair) = tiny_pair();
    let standard = sandbox.row(&pair);
    for confidence in ["max", "teacher-class"] {
        for statistic in ["rms", "centred"] {
            let flags = ["--confidence", confidence, "--statistic", statistic];
            let row = sandbox.row(&with(&pair, &flags));
            assert_eq!(
                (&row["confidence"], &row["statistic"]),
                (&json!(confidence), &json!(statistic))
            );
            let variants = row["variants"].as_array().unwrap();
            assert_eq!(variants.len(), 5);
            for (variant, before) in variants.iter().zip(standard["variants"].as_array().unwrap()) {
                assert_eq!(variant["sigma"], before["sigma"]);
                let gates =
                    variant["confidence"] == confidence && variant["statistic"] == statistic;
                assert_eq!(variant["gates"], gates);
                if gates {
                    let sigma = if statistic == "rms" { "sigma" } else { "sigma_centred" };
                    assert_eq!(variant["sigma"], row[sigma]);
                    assert_eq!(variant["within_bound"], row["verdict"] == "preserved");
                    // Σ(d − mean)², or Σd², is what is held against the budget.
                    let spent = number(&row, "spent") / number(&row, "n");
                    assert!((spent.sqrt() - number(variant, "sigma")).abs() < 1e-12);
                }
            }
        }
    }
}

#[test]
fn centred_forgives_a_constant_shift() {
    // A bound between the two σ of the demo's over-confident student.
    let student = "student-overconfident";
    let pair = &demo_reference()["splits"]["train"]["pairs"][student];
    let kappa = (number(pair, "sigma") + number(pair, "sigma_centred")) / 2.0;
    let sandbox = Sandbox::new();
    let demo = with(&demo_audit(student), &["--kappa", &kappa.to_string()]);
    assert_eq!(sandbox.report(&demo)["exit_code"], 1);
    assert_eq!(sandbox.report(&with(&demo, &["--statistic", "centred"]))["exit_code"], 0);
}

#[test]
fn the_student_s_own_bound_gates_only_with_from_student() {
    let (sandbox, pair) = tiny_pair();
    // κ = sqrt(0.04) = 0.2, above the pair's σ; the built-in 0.05 is below it.
    sandbox.write("student/distillation.json", r#"{"bound": {"beta_per_example": 0.04}}"#);
    let run = sandbox.audit(&with(&pair, &["--format", "json"]));
    let row = &run.json()["tasks"][0];
    assert_eq!(
        (run.code, number(row, "kappa"), &row["verdict"]),
        (1, 0.05, &json!("not_preserved"))
    );
    let own = &row["student_bound"];
    assert!((number(own, "kappa") - 0.2).abs() < 1e-15);
    assert!((number(own, "beta") - 0.04 * glue::TRAIN as f64).abs() < 1e-12);
    assert_eq!(own["within_bound"], true);
    let run = sandbox.audit(&with(&pair, &["--bound", "from-student", "--format", "json"]));
    let row = &run.json()["tasks"][0];
    assert_eq!((run.code, &row["verdict"]), (0, &json!("preserved")));
    assert!((number(row, "kappa") - 0.2).abs() < 1e-15);
    says(row["bound_origin"].as_str().unwrap(), &["student", "distillation.json"]);
}

#[test]
fn from_student_needs_a_recorded_bound() {
    let (sandbox, pair) = tiny_pair();
    let own = with(&pair, &["--bound", "from-student"]);
    let words = ["no bound of its own", "distillation.json", "--bound policy", "--kappa"];
    sandbox.audit(&own).fails(3, &words);
    // Fine-tuned on labels alone: a record without a soft-label loss.
    sandbox.write("student/distillation.json", r#"{"bound": {"beta": 1, "alpha": 1}}"#);
    sandbox.audit(&own).fails(3, &words);
    assert_eq!(sandbox.row(&pair)["student_bound"], Value::Null);
}

#[test]
fn a_record_that_contradicts_itself_is_an_error_before_the_run_that_it_is_to_gate() {
    let (sandbox, _) = tiny_pair();
    let labels = glue::labels("sst2");
    sandbox.checkpoint("student", "architectures/xlm-roberta", labels);
    let pair = ["--task", "sst2", "--data", "glue", "--teacher", "teacher", "--student", "student"];
    says(&sandbox.audit(&pair).stderr, &["[tokenizers-differ]"]); // what the pre-flight says first
    for (record, words) in [
        ("{", ["distillation.json", "line 1"]),
        (r#"{"bound": {"beta": 1, "beta_per_example": 1}}"#, ["record", "both `beta`"]),
        (r#"{"bound": {"beta": 1, "temperature": 2}}"#, ["record", "`t_squared`"]),
    ] {
        sandbox.write("student/distillation.json", record);
        let run = sandbox.audit(&with(&pair, &["--bound", "from-student"]));
        run.fails(3, &words);
        assert!(!run.stderr.contains("[tokenizers-differ]"), "{}", run.stderr);
    }
    // Where it does not gate, it is a note and no reason not to judge.
    let row = sandbox.row(&pair);
    says(note(&row, "record-unusable")["message"].as_str().unwrap(), &["`t_squared`"]);
    sandbox.write("student/distillation.json", r#"{"bound": {"beta": -1}}"#);
    let row = sandbox.row(&pair);
    let message = note(&row, "record-unusable")["message"].as_str().unwrap();
    assert_eq!(message.matches("beta is -1").count(), 1, "{message}");
}

#[test]
fn a_bound_that_is_given_gates_over_the_student_s_own() {
    let (sandbox, pair) = tiny_pair();
    sandbox.write("student/distillation.json", r#"{"bound": {"beta": 50}}"#);
    sandbox.write("own.toml", "[defaults]\nbound = \"from-student\"\n");
    let row = sandbox.row(&with(&pair, &["--config", "own.toml", "--kappa", "0.01"]));
    assert_eq!((&row["kappa"], &row["bound_origin"]), (&json!(0.01), &json!("flag --kappa")));
    let both = with(&pair, &["--bound", "from-student", "--kappa", "0.01"]);
    sandbox.audit(&both).fails(2, &["from-student", "--kappa", "keep one"]);
}

#[test]
fn a_beta_set_to_the_loss_that_was_reached_is_vacuous() {
    let (sandbox, pair) = tiny_pair();
    let sum = number(&sandbox.row(&pair)["divergence"], "sum_kl");
    let row = sandbox.row(&with(&pair, &["--beta", &sum.to_string()]));
    says(note(&row, "vacuous")["message"].as_str().unwrap(), &["sum of KL"]);
    let record = json!({"bound": {"beta": 1.0}, "loss_reached": {"sum_kl": 1.005}});
    sandbox.write("student/distillation.json", record.to_string());
    let row = sandbox.row(&with(&pair, &["--bound", "from-student"]));
    says(note(&row, "vacuous")["message"].as_str().unwrap(), &["sum of KL: 1.005"]);
}

#[test]
fn the_secondary_row_has_the_given_weights() {
    let (sandbox, pair) = tiny_pair();
    let report = sandbox.report(&with(&pair, &["--beta", "1", "--alpha", "0.3"]));
    let [gate, beside] = report["tasks"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!((&gate["alpha"], &beside["alpha"]), (&json!(0.3), &json!(0.3)));
    assert!((number(gate, "kappa") - number(beside, "kappa")).abs() < 1e-15);
}

#[test]
fn a_summed_beta_is_not_compared_on_other_examples() {
    let (sandbox, pair) = tiny_pair();
    sandbox.write("student/distillation.json", r#"{"bound": {"beta": 50}}"#);
    let report = sandbox.report(&pair);
    let [train, validation] = report["tasks"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(train["student_bound"]["beta"], 50.0);
    let limited = sandbox.row(&with(&pair, &["--limit", "5"]));
    for row in [validation, &limited] {
        assert_eq!(row["student_bound"], Value::Null);
        says(row["undefined"]["student_bound"].as_str().unwrap(), &["beta", "unknown number"]);
        assert!(!codes(row).contains(&"record-unusable"));
    }
    let record = r#"{"bound": {"beta": 50}, "loss_reached": {"examples": 20000}}"#;
    sandbox.write("student/distillation.json", record);
    let own = &sandbox.row(&with(&pair, &["--limit", "5"]))["student_bound"];
    assert!((number(own, "kappa") - 0.05).abs() < 1e-12); // sqrt(50/20000)
}

/// Whichever confidence gates, what is shown of both models is what d is the difference of.
#[test]
fn the_confidences_that_are_shown_differ_by_d() {
    let (sandbox, pair) = tiny_pair();
    let mut shown = Vec::new();
    for kind in ["max", "teacher-class"] {
        let run = with(&pair, &["--confidence", kind, "--split", "train", "--output-dir", "out"]);
        let row = sandbox.row(&run);
        let mut squares = 0.0;
        for line in sandbox.read("out/predictions.csv").lines().skip(1) {
            let cell = |i: usize| line.split(',').nth(i).unwrap().parse::<f64>().unwrap();
            assert_eq!(cell(4) - cell(5), cell(8), "{kind}: {line}");
            squares += cell(8) * cell(8);
        }
        assert!((squares - number(&row, "spent")).abs() < 1e-12);
        for input in row["worst"].as_array().unwrap() {
            let [t, s] = ["teacher", "student"].map(|role| number(&input[role], "confidence"));
            assert_eq!(t - s, number(input, "difference"), "{kind}");
        }
        shown.push(sandbox.audit(&with(&pair, &["--confidence", kind])).stdout);
    }
    says(&shown[0], &["furthest apart (d = teacher's confidence − student's)"]);
    says(&shown[1], &["furthest apart (probability of the teacher's label)"]);
}

/// The report's schema says which nulls have a reason, and how a bound's origin is written.
#[test]
fn a_figure_that_is_null_has_a_reason_and_the_bound_an_origin() {
    let (sandbox, pair) = tiny_pair();
    sandbox.write("t.csv", "confidence,predicted\n0.75,negative\n0.5,positive\n");
    let check = ["check", "--task", "sst2", "--teacher-predictions", "t.csv"];
    let check = with(&check, &["--student-predictions", "t.csv", "--kappa", "0"]);
    let nothing_of_the_kind = [
        "error",
        "sigma_prefix",
        "sigma_at_least",
        "sequential",
        "exhausted_at",
        "student_bound",
        "data_sha256",
        "data_revision",
        "seconds",
        "rows_from_cache",
    ];
    for arguments in [pair.clone(), check] {
        let row = sandbox.row(&arguments);
        let nested = ["teacher", "student"].map(|role| (format!("{role}."), &row[role]));
        for (path, object) in [(String::new(), &row)].into_iter().chain(nested) {
            for (key, value) in object.as_object().unwrap() {
                let explained = row["undefined"][format!("{path}{key}")].is_string();
                let exempt = nothing_of_the_kind.contains(&key.as_str());
                assert!(!value.is_null() || explained || exempt, "{path}{key}");
            }
        }
        for variant in row["variants"].as_array().unwrap() {
            let key = format!("variants.{}", variant["confidence"].as_str().unwrap());
            assert!(!variant["sigma"].is_null() || row["undefined"][key].is_string());
        }
    }
    sandbox.write("a.toml", "[defaults]\nkappa = 0.1\n");
    sandbox.write("student/distillation.json", r#"{"bound": {"beta_per_example": 0.04}}"#);
    for (more, origin) in [
        (&[][..], "default"),
        (&["--kappa", "0.1"], "flag --kappa"),
        (&["--config", "a.toml"], "`a.toml` [defaults] kappa"),
        (&["--bound", "from-student"], "student's distillation.json"),
    ] {
        assert_eq!(sandbox.row(&with(&pair, more))["bound_origin"], origin);
    }
}
