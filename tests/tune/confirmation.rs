//! Finalists, and the accuracy that they are compared with.

use super::*;

/// Five trials that all keep a wide bound, each finalist with one further seed.
fn all_feasible() -> String {
    TUNE.replace("trials = 6", "trials = 5\nepsilon = 0.5")
        .replace("kappa = 0.05", "kappa = 0.4")
        .replace("high = 12", "high = 3")
}

/// The journal with a further seed of `trial` above κ, and without what follows the trainings.
fn with_a_failing_seed(sandbox: &Sandbox, output: &str, trial: u64) {
    let mut lines = journal(sandbox, output);
    lines.retain(|line| line["event"] != "published");
    let of = |line: &&mut Value| {
        let run = &line["run"];
        line["event"] == "ended" && run["trial"] == trial && run["seed"] == 1
    };
    let ended = lines.iter_mut().find(of).unwrap_or_else(|| panic!("trial {trial} has no seed 1"));
    for form in ["plain", "recalibrated"] {
        ended["end"][form]["sigma"] = 0.5.into();
        ended["end"][form]["preserved"] = false.into();
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    sandbox.write(&format!("{output}/journal.jsonl"), lines.concat());
}

/// The trials in the order of their accuracy, then of σ, as the reports have them.
fn by_accuracy(report: &Value) -> Vec<u64> {
    let mut trials: Vec<&Value> = report["trials"].as_array().unwrap().iter().collect();
    let figures = |trial: &Value, key: &str| number(&trial["figures"], key);
    trials.sort_by(|a, b| {
        let by_accuracy = figures(b, "accuracy").total_cmp(&figures(a, "accuracy"));
        by_accuracy.then(figures(a, "sigma").total_cmp(&figures(b, "sigma")))
    });
    trials.iter().map(|trial| trial["trial"].as_u64().unwrap()).collect()
}

#[test]
fn finalists_are_confirmed_in_their_order_until_one_holds() {
    let sandbox = Sandbox::new();
    let text = all_feasible();
    let mut winners = Vec::new();
    let last = loop {
        let run = tuned(&sandbox, &text, "out", &[]);
        let report = report(&sandbox, "out");
        let winner = report["winner"]["trial"].as_u64().unwrap();
        let finalists = report["finalists"].as_array().unwrap();
        let refuted = finalists.iter().filter(|finalist| !finalist["why"].is_null());
        assert_eq!(refuted.count(), winners.len(), "{}", run.stderr);
        if run.code != 0 {
            break (run, report);
        }
        assert_eq!(report["confirmed"], true);
        assert_eq!(finalists.last().unwrap()["trial"], winner);
        assert_eq!(report["winner"]["seeds"].as_array().unwrap().len(), 2);
        assert!(!run.stdout.contains("not confirmed"), "{}", run.stdout);
        assert_eq!(run.stdout.contains("lucky-seed"), !winners.is_empty(), "{}", run.stdout);
        winners.push(winner);
        assert!(winners.len() < 5, "no more than three finalists and the default");
        with_a_failing_seed(&sandbox, "out", winner);
    };
    let (run, report) = last;
    // Three finalists, and the default in its place, which has its seeds anyway.
    let ranked = by_accuracy(&report);
    let fourth = ranked.iter().filter(|trial| **trial != 1).nth(3);
    let order: Vec<u64> = ranked.iter().filter(|trial| Some(*trial) != fourth).copied().collect();
    assert_eq!(winners, order);
    assert_eq!((run.code, &report["confirmed"]), (1, &false.into()), "{}", run.stderr);
    assert_eq!(report["winner"]["trial"], order[0], "the best of them is written");
    says(
        &run.stdout,
        &["NOT PRESERVED", "but not confirmed", "no finalist keeps both constraints"],
    );
    for trial in order {
        let why = format!("trial {trial}: seed 1: σ 0.500000 > κ 0.4");
        assert_eq!(run.stdout.matches(&why).count(), 1, "{}", run.stdout);
    }
    // The fourth was not trained again.
    says(&run.stdout, &["with a larger `confirm`: 1 more feasible", "a smaller kappa"]);
    assert_eq!(sandbox.names("out"), FILES);
    says(&sandbox.read("out/winner.toml"), &["# NOT CONFIRMED: "]);
    says(&sandbox.read("out/tune.html"), &["not confirmed", "seed 1: σ 0.500000"]);
    let markdown = tuned(&sandbox, &text, "out", &["--format", "markdown"]);
    says(&markdown.stdout, &["not confirmed"]);
    assert!(sandbox.path("out/winner/config.json").exists());
}

#[test]
fn a_finalist_that_is_settled_is_not_trained_further() {
    let sandbox = Sandbox::new();
    // The default is trained for the fewest epochs, with the lowest rate: its σ is the largest.
    let seeds = "further_seeds = 2\nconfirm = 1\nobjective = \"sigma\"";
    let text = all_feasible().replace("further_seeds = 1", seeds);
    assert_eq!(tuned(&sandbox, &text, "out", &[]).code, 0);
    let winner = report(&sandbox, "out")["winner"]["trial"].as_u64().unwrap();
    assert_ne!(winner, 1);
    with_a_failing_seed(&sandbox, "out", winner);
    let mut lines = journal(&sandbox, "out");
    lines.retain(|line| line["run"]["trial"] != winner || line["run"]["seed"] != 2);
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    sandbox.write("out/journal.jsonl", lines.concat());
    let run = tuned(&sandbox, &text, "out", &[]);
    let report = report(&sandbox, "out");
    assert_eq!(report["finalists"][0]["trial"], winner);
    assert_eq!(report["finalists"][0]["untrained_seeds"], serde_json::json!([2]));
    says(&run.stdout, &["not trained with seed 2"]);
    assert!(!run.stderr.contains(&format!("trial-{winner}-seed-2: ")), "{}", run.stderr);
}

#[test]
fn the_reference_is_the_mean_of_the_default_s_seeds() {
    let sandbox = Sandbox::new();
    let text = all_feasible().replace("further_seeds = 1", "further_seeds = 2");
    let run = tuned(&sandbox, &text, "out", &["--trials", "2"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = report(&sandbox, "out");
    let seeds = report["default"]["seeds"].as_array().unwrap();
    let accuracy = |seed: &Value| number(&seed["figures"], "seen_accuracy");
    let mean = seeds.iter().map(accuracy).sum::<f64>() / 3.0;
    assert!((number(&report, "reference_accuracy") - mean).abs() < 1e-12);
    assert_eq!(report["reference_seeds"], serde_json::json!([0, 1, 2]));
    // They are trained ahead of the other trials, which are compared with them.
    let journal = journal(&sandbox, "out");
    let begun: Vec<String> =
        events(&journal, "begun").iter().map(|line| line["run"].to_string()).collect();
    let default = |seed: &str| format!("{{\"trial\":1{seed}}}");
    assert_eq!(begun[..3], [default(""), default(",\"seed\":1"), default(",\"seed\":2")]);
    // The difference of the test is that of the accuracies.
    let test = &report["trials"][1]["figures"];
    let difference = number(test, "accuracy") - mean;
    assert!((number(&test["accuracy_test"], "difference") - difference).abs() < 1e-12);
}

#[test]
fn a_loss_that_is_not_excluded_may_be_a_broken_constraint() {
    let sandbox = Sandbox::new();
    let text = all_feasible();
    let with = |epsilon: &str, output: &str| {
        let text =
            text.replace("epsilon = 0.5", &format!("epsilon = {epsilon}\nnon_inferiority = 0.05"));
        tuned(&sandbox, &text, output, &["--trials", "1"])
    };
    let default = |output: &str| report(&sandbox, output)["trials"][0].clone();
    let lower = |trial: &Value| number(&trial["figures"]["accuracy_test"], "lower");
    // Of 75 examples alike the lower limit is −0.035, and the default is compared with its own seeds.
    let run = with("0.01", "strict");
    let of = default("strict");
    assert!(lower(&of) <= -0.01, "{of}");
    assert!(number(&of["figures"], "accuracy") >= reference(&sandbox, "strict") - 0.01, "{of}");
    assert_eq!(of["feasible"], false);
    assert_eq!(run.code, 1, "{}", run.stderr);
    says(&run.stdout, &["accuracy: no student whose σ is within κ is shown, at level 0.05"]);

    assert_eq!(with("0.5", "wide").code, 0);
    let of = default("wide");
    assert!(lower(&of) > -0.5, "{of}");
    assert_eq!(of["feasible"], true);
    assert_eq!(of["figures"]["accuracy_test"]["outcome"], "non-inferior");
    assert_eq!(report(&sandbox, "wide")["non_inferiority"], 0.05);
}

fn reference(sandbox: &Sandbox, output: &str) -> f64 {
    number(&report(sandbox, output), "reference_accuracy")
}
