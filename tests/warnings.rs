//! Each note and warning on real or tiny models; the demo's figures compared with PyTorch's.

mod common;

use std::path::Path;

use common::{
    codes, demo, demo_audit, demo_reference, edit_json, glue, note, number, says, tiny_pair, with,
    Sandbox, Tensors,
};
use safetensors::Dtype;
use serde_json::{json, Value};

/// σ may differ from PyTorch's by so much.
const SIGMA_TOLERANCE: f64 = 1e-6;

#[test]
fn the_demo_s_figures_are_pytorch_s() {
    let reference = demo_reference();
    let sandbox = Sandbox::new();
    for student in ["student", "student-overconfident"] {
        let report = sandbox.report(&demo_audit(student));
        for (row, split) in report["tasks"].as_array().unwrap().iter().zip(["train", "validation"])
        {
            let expected = &reference["splits"][split];
            assert_eq!((&row["split"], &row["n"]), (&json!(split), &expected["n"]));
            let pair = &expected["pairs"][student];
            for key in ["sigma", "sigma_centred", "mean_difference"] {
                let apart = (number(row, key) - number(pair, key)).abs();
                assert!(apart <= SIGMA_TOLERANCE, "{student}/{split}: {key} is {apart:e} off");
            }
            let apart = number(&row["difference"], "max") - number(pair, "max_absolute_difference");
            assert!(apart.abs() <= 1e-5, "{apart:e}");
            let apart = number(&row["divergence"], "sum_kl") / number(pair, "sum_kl") - 1.0;
            assert!(apart.abs() <= 1e-4, "{apart:e}");
            assert_eq!(row["agreement"], pair["agreement"]);
            for (role, model) in [("teacher", "teacher"), ("student", student)] {
                let expected = &expected["models"][model];
                assert_eq!(row[role]["correct"], expected["correct"]);
                assert_eq!(row[role]["accuracy"], expected["accuracy"]);
                let confidence = number(&row[role], "mean_confidence");
                assert!((confidence - number(expected, "mean_confidence")).abs() <= 1e-6);
            }
            let verdict = if student == "student" { "preserved" } else { "not_preserved" };
            assert_eq!(row["verdict"], verdict);
        }
    }
}

#[test]
fn the_demo_s_first_logits_are_pytorch_s() {
    let reference = demo_reference();
    let sandbox = Sandbox::new();
    let (data, model) = (demo(""), demo("teacher"));
    let what = ["predict", "--task", "sst2", "--data", &data, "--model", &model, "--limit", "5"];
    assert_eq!(sandbox.audit(&with(&what, &["--output", "t.jsonl"])).code, 0);
    let expected = &reference["splits"]["train"]["models"]["teacher"]["first_logits"];
    for (line, expected) in sandbox.read("t.jsonl").lines().zip(expected.as_array().unwrap()) {
        let row: Value = serde_json::from_str(line).unwrap();
        for (key, expected) in [("logit_negative", &expected[0]), ("logit_positive", &expected[1])]
        {
            let apart = number(&row, key) - expected.as_f64().unwrap();
            assert!(apart.abs() <= 1e-4, "{apart:e}");
        }
    }
}

const SWAP: &str = "negative=positive,positive=negative";

#[test]
fn swapped_labels_are_worse_than_the_majority_class() {
    let sandbox = Sandbox::new();
    let limited = with(&demo_audit("student"), &["--limit", "100", "--split", "train"]);
    assert!(!codes(&sandbox.row(&limited)).contains(&"worse-than-majority"));
    let swapped =
        with(&limited, &["--label-map", &format!("teacher:{}", SWAP.replace(',', ",teacher:"))]);
    let run = sandbox.audit(&with(&swapped, &["--format", "json"]));
    let row = &run.json()["tasks"][0];
    let warning = note(row, "worse-than-majority");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["teacher", "of 100", "most frequent label"]);
    says(&run.stderr, &["warning: teacher", "[worse-than-majority]"]);
    assert_eq!(codes(row).iter().filter(|code| **code == "worse-than-majority").count(), 1);
    // Both models swapped alike: both are warned of, and σ does not change.
    let both = sandbox.row(&with(&limited, &["--label-map", SWAP]));
    assert_eq!(codes(&both).iter().filter(|code| **code == "worse-than-majority").count(), 2);
    assert_eq!(both["sigma"], sandbox.row(&limited)["sigma"]);
    let text = sandbox.audit(&swapped).stdout;
    says(&text, &["warning: ", "[worse-than-majority]"]);
}

/// Turns the sign of pooled units, in the pooler and in the classifier alike, so that each speaks
/// where it is positive for the label that the bias favours, and for the other one where it is
/// negative: the logits stay, and a ReLU leaves the one label alone.
fn say_the_other_label_by_negative_units(tensors: &mut Tensors) {
    let (dtype, shape, bytes) = &tensors["classifier.weight"]; // (2, H)
    assert_eq!((*dtype, shape[0]), (Dtype::F32, 2));
    let hidden = shape[1];
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    let (weight, bias) = (floats(bytes), floats(&tensors["classifier.bias"].2));
    let sign = (bias[1] - bias[0]).signum();
    let speaks_for_other = |u: &usize| (weight[hidden + u] - weight[*u]) * sign < 0.0;
    let wrong: Vec<usize> = (0..hidden).filter(speaks_for_other).collect();
    let mut negate = |name: &str, elements: Vec<usize>| {
        let (_, _, bytes) = tensors.get_mut(name).unwrap();
        elements.into_iter().for_each(|i| bytes[4 * i + 3] ^= 0x80); // the sign of an f32
    };
    let row = |u: &usize| (0..hidden).map(|i| u * hidden + i).collect::<Vec<_>>();
    negate("bert.pooler.dense.weight", wrong.iter().flat_map(row).collect());
    negate("bert.pooler.dense.bias", wrong.clone());
    negate("classifier.weight", wrong.iter().flat_map(|&u| [u, hidden + u]).collect());
}

#[test]
fn a_head_convention_that_would_do_better_is_named() {
    let sandbox = Sandbox::new();
    common::copy_folder(Path::new(&demo("teacher")), &sandbox.path("turned"));
    sandbox.edit_weights("turned", say_the_other_label_by_negative_units);
    let (data, teacher) = (demo(""), demo("teacher"));
    let pair = ["--task", "sst2", "--data", &data, "--teacher", &teacher, "--student", "turned"];
    let pair = with(&pair, &["--split", "train", "--limit", "300"]);
    let row = sandbox.row(&pair);
    assert!(number(&row, "sigma") < 1e-6, "the logits stay");
    assert!(!codes(&row).contains(&"head-convention"));
    let row = sandbox.row(&with(&pair, &["--student-head", "pooled-relu"]));
    let warning = note(&row, "head-convention");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["student", "of 256", "`pooled`"]);
    says(warning["hint"].as_str().unwrap(), &["--student-head pooled"]);
}

#[test]
fn tokenizers_that_differ_are_a_note() {
    let (sandbox, _) = tiny_pair();
    let labels = glue::labels("sst2");
    sandbox.checkpoint("student", "architectures/xlm-roberta", labels);
    let pair = ["--task", "sst2", "--data", "glue", "--teacher", "teacher", "--student", "student"];
    let row = sandbox.row(&pair);
    let note = note(&row, "tokenizers-differ");
    assert_eq!(note["level"], "note");
    says(note["message"].as_str().unwrap(), &["24 of 24", "its own tokenizer"]);
}

/// Gives the student a tokenizer that marks both sentences of a pair with segment 0.
fn lose_segments(sandbox: &Sandbox) {
    edit_json(&sandbox.path("student/tokenizer.json"), |tokenizer| {
        for part in tokenizer["post_processor"]["pair"].as_array_mut().unwrap() {
            for (_, value) in part.as_object_mut().unwrap() {
                value["type_id"] = json!(0);
            }
        }
    });
}

#[test]
fn a_tokenizer_that_loses_the_segments_of_a_pair_is_warned_of() {
    let (sandbox, _) = tiny_pair();
    let labels = glue::labels("rte");
    sandbox.checkpoint("teacher", "architectures/electra", labels);
    sandbox.checkpoint("student", "architectures/electra", labels);
    let pair = ["--task", "rte", "--data", "glue", "--teacher", "teacher", "--student", "student"];
    assert!(!codes(&sandbox.row(&pair)).contains(&"token-types-lost"));
    lose_segments(&sandbox);
    let row = sandbox.row(&pair);
    let warning = note(&row, "token-types-lost");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["student", "segment 0"]);
    says(warning["hint"].as_str().unwrap(), &["tokenizer.json", "save"]);
    assert!(number(&row, "sigma") > 0.0, "the segments make a difference");
    // Single sentences have one segment only.
    for model in ["teacher", "student"] {
        sandbox.checkpoint(model, "architectures/electra", glue::labels("sst2"));
    }
    lose_segments(&sandbox);
    let single = with(&["--task", "sst2"], &pair[2..]);
    assert!(!codes(&sandbox.row(&single)).contains(&"token-types-lost"));
}

#[test]
fn a_mean_given_for_a_sum_is_noticed_from_a_hundred_examples_on() {
    let sandbox = Sandbox::new();
    let run = |n: &str, beta: &str| {
        let more = ["--split", "train", "--limit", n, "--beta", beta];
        sandbox.row(&with(&demo_audit("student"), &more))
    };
    let row = run("100", "0.0025");
    assert_eq!(row["verdict"], "not_preserved");
    let warning = note(&row, "mean-for-sum");
    says(
        warning["message"].as_str().unwrap(),
        &["beta = 0.0025", "100 examples", "the bound is 0.005"],
    );
    says(warning["hint"].as_str().unwrap(), &["--beta-per-example 0.0025", "0.05"]);
    assert!(!codes(&run("99", "0.0025")).contains(&"mean-for-sum"));
    assert!(!codes(&run("100", "0.7")).contains(&"mean-for-sum"), "above ln 2");
}

#[test]
fn a_bound_that_no_student_can_fail_is_vacuous() {
    let (sandbox, pair) = tiny_pair();
    let row = sandbox.row(&with(&pair, &["--kappa", "0.5"]));
    let warning = note(&row, "vacuous");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["0.5", "2 labels", "no student can fail"]);
    // The teacher's class may differ by 1, so there 0.5 can be failed.
    let flags = ["--kappa", "0.5", "--confidence", "teacher-class"];
    assert!(!codes(&sandbox.row(&with(&pair, &flags))).contains(&"vacuous"));
    assert!(!codes(&sandbox.row(&with(&pair, &["--kappa", "0.499"]))).contains(&"vacuous"));
}

#[test]
fn a_verdict_implied_by_the_measured_loss_has_a_note() {
    let (sandbox, pair) = tiny_pair();
    let implied = (number(&sandbox.row(&pair)["divergence"], "mean_kl") / 2.0).sqrt();
    for (kappa, expected) in [(implied * 1.01, true), (implied * 0.99, false)] {
        let row = sandbox.row(&with(&pair, &["--kappa", &kappa.to_string()]));
        assert_eq!(codes(&row).contains(&"implied-by-loss"), expected, "{kappa}");
        if expected {
            assert_eq!(note(&row, "implied-by-loss")["level"], "note");
            assert_eq!(row["verdict"], "preserved");
        }
    }
}

#[test]
fn a_sigma_next_to_its_bound_is_borderline() {
    let (sandbox, pair) = tiny_pair();
    let sigma = number(&sandbox.row(&pair), "sigma");
    for (kappa, verdict, near) in [
        (sigma + 5e-7, "preserved", true),
        (sigma - 5e-7, "not_preserved", true),
        (sigma + 2e-6, "preserved", false),
        (sigma - 2e-6, "not_preserved", false),
    ] {
        let row = sandbox.row(&with(&pair, &["--kappa", &kappa.to_string()]));
        assert_eq!((&row["verdict"], codes(&row).contains(&"borderline")), (&json!(verdict), near));
    }
}

#[test]
fn a_temperature_with_five_labels_leaves_the_bound_unproved() {
    let sandbox = Sandbox::new();
    let config = "[task.stars]\ntext = \"x\"\nlabels = [\"a\", \"b\", \"c\", \"d\", \"e\"]\n";
    sandbox.write("audit.toml", config);
    let header = "probability_a,probability_b,probability_c,probability_d,probability_e\n";
    sandbox.write("t.csv", format!("{header}0.5,0.125,0.125,0.125,0.125\n"));
    sandbox.write("s.csv", format!("{header}0.25,0.375,0.125,0.125,0.125\n"));
    let files = ["--teacher-predictions", "t.csv", "--student-predictions", "s.csv"];
    let check = with(&["check", "--task", "stars"], &files);
    let at = |gamma: &str| {
        let row = sandbox.row(&with(&check, &["--beta-per-example", "0.01", "--gamma", gamma]));
        codes(&row).contains(&"bound-unproved")
    };
    assert!(at("2") && !at("1"));
}
