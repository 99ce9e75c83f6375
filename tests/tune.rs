//! `audit tune`: search, resume to the same journal, parallel processes, invalid search files.

mod common;
#[path = "tune/confirmation.rs"]
mod confirmation;
#[path = "tune/warm.rs"]
mod warm;

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{demo, number, read_markdown, says, training, with, Run, Sandbox};
use confidence_audit::distill::data::cut;
use confidence_audit::distill::recipe::HeldOut;
use serde_json::Value;

/// A default that is trained too briefly, and room to train longer.
const TUNE: &str = r#"
trials = 6
kappa = 0.05
further_seeds = 1

[recipe]
task = "sst2"
method = "tinybert"
max_length = 64
save_every = 3

[recipe.student]
init = "teacher-layers"
layers = [2, 4]

[recipe.training]
dropout = { hidden = 0.0, attention = 0.0, classifier = 0.0 }

[recipe.stage.intermediate]
max_epochs = 1
learning_rate = 2e-4

[recipe.stage.prediction]
max_epochs = 1
learning_rate = 1e-4

[space]
"stage.intermediate.max_epochs" = { choices = [1, 2] }
"stage.prediction.max_epochs" = { low = 1, high = 12 }
"stage.prediction.learning_rate" = { low = 1e-4, high = 2e-3, scale = "log" }
keep = { choices = ["best-accuracy", "last"], default = "best-accuracy" }
"#;

/// Two trials of one epoch each.
fn brief() -> String {
    TUNE.replace("trials = 6", "trials = 2")
        .replace("further_seeds = 1", "further_seeds = 0")
        .replace("high = 12", "high = 2")
}

/// `text` with so many epochs of the last stage in the default settings.
fn longer(text: &str, epochs: usize) -> String {
    let rate = "\nlearning_rate = 1e-4";
    let changed =
        text.replace(&format!("max_epochs = 1{rate}"), &format!("max_epochs = {epochs}{rate}"));
    assert_ne!(changed, text);
    changed
}

/// The arguments of the tune `text` on the demo's data, into `output`.
fn arguments(sandbox: &Sandbox, text: &str, output: &str) -> Vec<String> {
    let config = format!("{output}.toml");
    sandbox.write(&config, text);
    let (data, teacher) = (demo(""), demo("teacher"));
    let given = ["--config", &config, "--data", &data, "--teacher", &teacher, "--output", output];
    with(&["tune"], &given)
}

fn tuned(sandbox: &Sandbox, text: &str, output: &str, more: &[&str]) -> Run {
    sandbox.audit(&with(&arguments(sandbox, text, output), more))
}

fn report(sandbox: &Sandbox, output: &str) -> Value {
    serde_json::from_str(&sandbox.read(&format!("{output}/tune.json"))).unwrap()
}

/// The journal's lines.
fn journal(sandbox: &Sandbox, output: &str) -> Vec<Value> {
    let text = sandbox.read(&format!("{output}/journal.jsonl"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn events<'a>(journal: &'a [Value], event: &str) -> Vec<&'a Value> {
    journal.iter().filter(|line| line["event"] == event).collect()
}

/// What the output folder holds when a tune is over.
const FILES: [&str; 8] = [
    ".locks",
    "epochs.csv",
    "journal.jsonl",
    "trials.csv",
    "tune.html",
    "tune.json",
    "winner",
    "winner.toml",
];

#[test]
fn a_failing_default_becomes_a_preserved_student() {
    let sandbox = Sandbox::new();
    let run = tuned(&sandbox, TUNE, "out", &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    says(&run.stdout, &["PRESERVED", "winner", "default", "unseen", "mean"]);
    says(&run.stderr, &["trial-1 of 6", "best so far", "-seed-1", "holds with every seed"]);
    assert_eq!(sandbox.names("out"), FILES);

    let report = report(&sandbox, "out");
    assert_eq!((&report["verdict"], &report["exit_code"]), (&"preserved".into(), &0.into()));
    let trials = report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 6);
    assert_eq!(trials[0]["values"]["stage.prediction.learning_rate"], 1e-4);
    assert_eq!(trials[0]["feasible"], false, "the default fails");
    assert_eq!((&report["seen"], &report["unseen"]), (&75.into(), &75.into()));
    for finalist in ["winner", "default"] {
        assert_eq!(report[finalist]["seeds"].as_array().unwrap().len(), 2, "{finalist}");
    }

    // The winner audits as the tune said, and its recipe makes it again.
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", "out/winner"];
    let audit = with(&["--task", "sst2", "--max-length", "64", "--kappa", "0.05"], &models);
    let row = sandbox.row(&audit);
    let winner = &report["winner"]["seeds"][0]["figures"];
    assert_eq!(row["verdict"], "preserved");
    assert!((number(&row, "sigma") - number(winner, "sigma")).abs() < 1e-6);
    assert_eq!(report["winner"]["recalibrated"], false);
    let again = with(&["distill"], &["--config", "out/winner.toml", "--output", "again"]);
    assert_eq!(sandbox.audit(&again).code, 0);
    let weights =
        |folder: &str| fs::read(sandbox.path(&format!("{folder}/model.safetensors"))).unwrap();
    assert_eq!(weights("again"), weights("out/winner"));

    // Every epoch of every training is a line; one of each is kept.
    let mut epochs = csv::Reader::from_path(sandbox.path("out/epochs.csv")).unwrap();
    let header = epochs.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let rows: Vec<csv::StringRecord> = epochs.records().map(Result::unwrap).collect();
    let default = |row: &&csv::StringRecord| &row[column("trial")] == "1";
    let default: Vec<_> = rows.iter().filter(default).collect();
    let stages: Vec<&str> = default.iter().map(|row| &row[column("stage")]).collect();
    assert_eq!(stages, ["intermediate", "prediction"].repeat(2));
    let kept = rows.iter().filter(|row| &row[column("kept")] == "true");
    assert_eq!(kept.count(), events(&journal(&sandbox, "out"), "ended").len());
    let accuracy: f64 = default[1][column("accuracy")].parse().unwrap();
    assert_eq!(trials[0]["figures"]["accuracy"], accuracy);

    // A tune that is over tells the same again, and goes on where more trials are asked for.
    let (before, told) = (sandbox.read("out/tune.json"), sandbox.read("out/journal.jsonl"));
    let same = tuned(&sandbox, TUNE, "out", &["--format", "json"]);
    assert_eq!((same.code, same.json()), (0, serde_json::from_str(&before).unwrap()));
    let more = tuned(&sandbox, TUNE, "out", &["--trials", "7"]);
    assert_eq!(more.code, 0, "{}", more.stderr);
    assert!(!more.stderr.contains("trial-6 of"), "{}", more.stderr);
    assert!(sandbox.read("out/journal.jsonl").starts_with(&told), "nothing is written anew");
    assert_eq!(self::report(&sandbox, "out")["trials"].as_array().unwrap().len(), 7);
}

/// The tune with these arguments, for a process of its own.
fn process(sandbox: &Sandbox, arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
    command.current_dir(sandbox.path("")).envs(sandbox.environment()).args(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Waits until there is `sign` of what `child` does.
fn wait_for(child: &mut Child, sign: impl Fn() -> bool) {
    loop {
        let over = child.try_wait().unwrap().is_some();
        if sign() {
            return;
        }
        assert!(!over, "it ended without a sign");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills the tune as soon as its journal or its folder holds `sign`.
fn killed(sandbox: &Sandbox, text: &str, output: &str, sign: impl Fn() -> bool) {
    let mut child = process(sandbox, &arguments(sandbox, text, output)).spawn().unwrap();
    wait_for(&mut child, sign);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_killed_search_is_resumed_to_the_same_journal() {
    // Defaults of many epochs, so that they are still trained when the signal comes.
    let text = longer(&TUNE.replace("trials = 6", "trials = 4"), 6);
    let sandbox = Sandbox::new();
    let whole = tuned(&sandbox, &text, "whole", &[]);
    let journal = |output: &str| sandbox.read(&format!("{output}/journal.jsonl"));
    let holds = |words: &str| {
        sandbox.path("killed/journal.jsonl").exists() && journal("killed").contains(words)
    };
    let state =
        |run: &str| sandbox.path(&format!("killed/runs/{run}/training/state.safetensors")).exists();
    killed(&sandbox, &text, "killed", || state("trial-1"));
    killed(&sandbox, &text, "killed", || holds("{\"event\":\"begun\",\"run\":{\"trial\":3}"));
    killed(&sandbox, &text, "killed", || holds("\"seed\":1}"));
    // In the middle of a finalist's further seed.
    let finalist = report(&sandbox, "whole")["finalists"][0]["trial"].as_u64().unwrap();
    assert_ne!(finalist, 1, "the default has its seeds before");
    let begun = format!("{{\"event\":\"begun\",\"run\":{{\"trial\":{finalist},\"seed\":1}}");
    killed(&sandbox, &text, "killed", || holds(&begun));
    // A line that was being written.
    let mut torn = journal("killed");
    torn.push_str("{\"event\":\"ended\",\"run\":{\"tri");
    sandbox.write("killed/journal.jsonl", torn);
    let resumed = tuned(&sandbox, &text, "killed", &[]);
    assert_eq!(resumed.code, whole.code, "{}", resumed.stderr);
    assert_eq!(journal("killed"), journal("whole"));
    for file in ["trials.csv", "epochs.csv", "winner/model.safetensors", "winner/distillation.json"]
    {
        let of = |output: &str| fs::read(sandbox.path(&format!("{output}/{file}"))).unwrap();
        assert_eq!(of("killed"), of("whole"), "{file}");
    }
    assert_eq!(sandbox.names("killed"), FILES);
}

#[test]
fn an_interrupted_search_is_resumed() {
    let sandbox = Sandbox::new();
    let text = TUNE.replace("trials = 6", "trials = 2").replace("kappa = 0.05", "kappa = 0.4");
    let text = longer(&text, 12);
    let mut command = process(&sandbox, &arguments(&sandbox, &text, "out"));
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let state = sandbox.path("out/runs/trial-1/training/state.safetensors");
    wait_for(&mut child, || state.exists());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    says(&said, &["run the same command to resume it"]);
    let begun = sandbox.read("out/journal.jsonl");
    let resumed = tuned(&sandbox, &text, "out", &[]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    says(&resumed.stderr, &["trial-1 of 2, resumed: "]);
    assert!(sandbox.read("out/journal.jsonl").starts_with(&begun));
}

#[test]
fn several_processes_share_one_journal() {
    let sandbox = Sandbox::new();
    let text = TUNE.replace("trials = 6", "trials = 5");
    // Written once: a process reads its file while the others are started.
    let arguments = with(&arguments(&sandbox, &text, "out"), &["--threads", "1"]);
    let spawn = |_| process(&sandbox, &arguments).stderr(Stdio::piped()).spawn().unwrap();
    let children: Vec<Child> = (0..3).map(spawn).collect();
    let ended = children.into_iter().map(|child| child.wait_with_output().unwrap());
    let ended: Vec<_> = ended.collect();
    let report = report(&sandbox, "out");
    for process in ended {
        let code = process.status.code().map(Value::from);
        assert_eq!(
            code,
            Some(report["exit_code"].clone()),
            "{}",
            String::from_utf8_lossy(&process.stderr)
        );
    }
    let journal = journal(&sandbox, "out");
    let name = |line: &&Value| line["run"].to_string();
    for event in ["begun", "ended"] {
        let mut runs: Vec<String> = events(&journal, event).iter().map(name).collect();
        let all = runs.len();
        runs.sort();
        runs.dedup();
        assert_eq!(runs.len(), all, "{event} twice");
    }
    let trials = events(&journal, "begun").iter().filter(|l| l["run"]["seed"].is_null()).count();
    assert_eq!((trials, report["trials"].as_array().unwrap().len()), (5, 5));
    assert_eq!(sandbox.names("out"), FILES);
}

#[test]
fn a_bound_that_nothing_keeps_ends_with_the_least_violation_and_what_stood_in_the_way() {
    let sandbox = Sandbox::new();
    let run = tuned(&sandbox, &brief(), "out", &["--kappa", "1e-6"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    says(&run.stdout, &["NOT PRESERVED", "in the way", "σ: the least of any trial", "violation"]);
    let report = report(&sandbox, "out");
    assert_eq!((&report["verdict"], &report["exit_code"]), (&"not_preserved".into(), &1.into()));
    let trials = report["trials"].as_array().unwrap();
    let least = trials.iter().filter_map(|t| t["violation"].as_f64()).fold(f64::MAX, f64::min);
    let winner = report["winner"]["trial"].as_u64().unwrap() as usize;
    assert_eq!(trials[winner - 1]["violation"], least);
    assert!(sandbox.path("out/winner/config.json").exists());

    let accuracy = brief().replace("kappa = 0.05", "kappa = 0.4\nreference = 1.0\nepsilon = 0.0");
    let run = tuned(&sandbox, &accuracy, "accuracy", &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    says(&run.stdout, &["in the way", "accuracy: the students whose σ is within κ"]);
}

#[test]
fn a_temperature_that_suffices_wins_and_is_folded_into_the_checkpoint() {
    let sandbox = Sandbox::new();
    // The default student alone: too timid, and a temperature makes up for half of it.
    let text = brief().replace("trials = 2", "trials = 1").replace("kappa = 0.05", "kappa = 0.13");
    let run = tuned(&sandbox, &text, "out", &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    says(&run.stdout, &["recalibrated", "with τ"]);
    let report = report(&sandbox, "out");
    let winner = &report["winner"];
    assert_eq!(winner["recalibrated"], true);
    let figures = &winner["seeds"][0]["figures"];
    let record: Value =
        serde_json::from_str(&sandbox.read("out/winner/distillation.json")).unwrap();
    assert_eq!(record["recalibrated"]["temperature"], figures["temperature"]);
    assert_eq!((&record["bound"], &record["loss_reached"]), (&Value::Null, &Value::Null));
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", "out/winner"];
    let row = sandbox.row(&with(&["--task", "sst2", "--max-length", "64"], &models));
    assert!((number(&row, "sigma") - number(figures, "sigma")).abs() < 1e-6);

    let without = text.replace("trials = 1", "trials = 1\nrecalibrate = false");
    assert_eq!(tuned(&sandbox, &without, "plain", &[]).code, 1);
}

#[test]
fn diverging_settings_are_a_failed_trial_and_the_search_continues() {
    says(&why_a_rate_without_bounds_failed(""), &["the training diverged", "NaN"]);
}

#[test]
fn logits_that_are_not_finite_are_a_failed_trial_too() {
    // One step an epoch: no loss is computed after it.
    let stage = "batch_size = 500\nwarmup = 0.0\nschedule = \"constant\"\n";
    let why = why_a_rate_without_bounds_failed(stage);
    says(&why, &["the training diverged", "logits of example"]);
}

/// Tunes over a learning rate and one that no training survives, with more keys of the last stage;
/// why the second trial failed.
fn why_a_rate_without_bounds_failed(stage: &str) -> String {
    let sandbox = Sandbox::new();
    let (recipe, _) = TUNE.split_once("[space]").unwrap();
    let rates = "\"stage.prediction.learning_rate\" = { choices = [1e-4, 1e30] }";
    let text = format!("{recipe}{stage}\n[space]\n{rates}\n");
    let run = tuned(&sandbox, &text, "out", &["--kappa", "0.4"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = report(&sandbox, "out");
    let trials = report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 2, "the space has no more");
    assert_eq!(trials[1]["outcome"], "failed");
    trials[1]["why"].as_str().unwrap().to_owned()
}

#[test]
fn settings_that_contradict_each_other_are_a_failed_trial() {
    let sandbox = Sandbox::new();
    let (space, _) = TUNE.split_once("[space]").unwrap();
    let text = format!(
        "{space}\n[space]\n\"stage.prediction.losses.soft\" = {{ choices = [0.0, 1.0], default = 1.0 }}\n\
         \"stage.prediction.losses.hard\" = {{ choices = [0.0, 1.0], default = 1.0 }}\n"
    );
    let run = tuned(&sandbox, &text, "out", &["--kappa", "0.4"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(&run.stderr, &["all 4 settings of the space were tried"]);
    let report = report(&sandbox, "out");
    let failed = |trial: &&Value| trial["outcome"] == "failed";
    let failed: Vec<&Value> = report["trials"].as_array().unwrap().iter().filter(failed).collect();
    assert_eq!(failed.len(), 1);
    says(failed[0]["why"].as_str().unwrap(), &["has no loss above 0"]);
}

#[test]
fn a_stage_that_trials_have_in_common_is_trained_once() {
    let sandbox = Sandbox::new();
    let (recipe, _) = TUNE.split_once("[space]").unwrap();
    let rates = "\"stage.prediction.learning_rate\" = { choices = [1e-4, 2e-4, 4e-4] }";
    let text =
        format!("{recipe}[space]\n{rates}\n").replace("further_seeds = 1", "further_seeds = 0");
    let run = tuned(&sandbox, &text, "out", &["--verbose"]);
    assert_eq!(report(&sandbox, "out")["trials"].as_array().unwrap().len(), 3);
    let ends = |stage: &str| {
        run.stderr.lines().filter(|line| line.contains(&format!("{stage} epoch 1/1 done"))).count()
    };
    assert_eq!((ends("intermediate"), ends("prediction")), (1, 3), "{}", run.stderr);
}

#[test]
fn a_trial_that_is_not_among_the_best_half_way_is_given_up() {
    let sandbox = Sandbox::new();
    let stopping = "stopping = { rungs = [0.5], halving = 1000.0 }";
    let text = TUNE
        .replace("kappa = 0.05", &format!("kappa = 1e-6\n{stopping}"))
        .replace("trials = 6", "trials = 8")
        .replace("further_seeds = 1", "further_seeds = 0")
        .replace("low = 1, high = 12", "low = 1, high = 4");
    let run = tuned(&sandbox, &text, "out", &[]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let report = report(&sandbox, "out");
    let trials = report["trials"].as_array().unwrap();
    let of = |outcome: &str| trials.iter().filter(|t| t["outcome"] == outcome).collect::<Vec<_>>();
    let (finished, given_up) = (of("finished"), of("stopped"));
    assert!(finished.len() >= 3 && !given_up.is_empty(), "{}", run.stderr);
    assert_eq!(finished.len() + given_up.len(), 8);
    for trial in given_up {
        says(trial["why"].as_str().unwrap(), &["of its epochs", "were better there"]);
    }
    let winner = report["winner"]["trial"].as_u64().unwrap() as usize;
    assert_eq!(trials[winner - 1]["outcome"], "finished");
}

#[test]
fn missing_data_ends_the_search_without_a_failed_trial() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).unwrap();
    for file in ["train.tsv", "validation.tsv"] {
        fs::copy(demo(file), sandbox.path(&format!("data/{file}"))).unwrap();
    }
    let teacher = demo("teacher");
    sandbox.write("tune.toml", brief());
    let given =
        ["--config", "tune.toml", "--data", "data", "--teacher", &teacher, "--output", "out"];
    let arguments = |trials: &str| with(&["tune", "--trials", trials], &given);
    let mut one = process(&sandbox, &arguments("40")).spawn().unwrap();
    let path = sandbox.path("out/journal.jsonl");
    let journal_holds = |words| fs::read_to_string(&path).unwrap_or_default().contains(words);
    wait_for(&mut one, || journal_holds("\"ended\""));
    fs::rename(sandbox.path("data"), sandbox.path("gone")).unwrap();
    assert!(one.wait().unwrap().code().unwrap() > 1);
    let text = sandbox.read("out/journal.jsonl");
    assert!(!text.contains("\"failed\""), "{text}");
    fs::rename(sandbox.path("gone"), sandbox.path("data")).unwrap();
    let trials = events(&journal(&sandbox, "out"), "begun").len();
    let more = arguments(&trials.to_string());
    assert!(sandbox.audit(&more).code < 2);
    assert!(sandbox.read("out/journal.jsonl").starts_with(&text));
}

#[test]
fn a_label_map_is_the_teacher_s_and_the_winner_s_recipe_says_what_flags_said() {
    let sandbox = Sandbox::new();
    let swapped = "negative=positive,positive=negative";
    let flags = ["--label-map", swapped, "--max-length", "48", "--trials", "1"];
    let text = brief().replace("max_length = 64\n", "");
    let text = text.replace("kappa = 0.05", "kappa = 0.05\nrecalibrate = false");
    assert!(tuned(&sandbox, &text, "out", &flags).code < 2);
    let report = report(&sandbox, "out");
    let of = |value: &Value| value.as_f64().unwrap();
    let student = &report["default"]["seeds"][0]["figures"];
    // Teacher and student say the opposite of the labels, on either part.
    for part in ["seen_accuracy", "unseen_accuracy"] {
        assert!(number(student, part) < 0.5, "{part}");
    }
    assert!(report["teacher_accuracy"].as_array().unwrap().iter().all(|a| of(a) < 0.5));
    assert!((of(&report["audited"]["sigma"]) - number(student, "sigma")).abs() < 1e-6);
    let recipe = sandbox.read("out/winner.toml");
    says(&recipe, &[&format!("label_map = \"{swapped}\""), "max_length = 48"]);
    assert!(!recipe.contains("kappa"), "nothing in it depends on the bound");
    let again = with(&["distill"], &["--config", "out/winner.toml", "--output", "again"]);
    let run = sandbox.audit(&again);
    says(&run.stdout, &["--label-map 'teacher:negative=positive,teacher:positive=negative'"]);
    let weights =
        |folder: &str| fs::read(sandbox.path(&format!("{folder}/model.safetensors"))).unwrap();
    assert_eq!(weights("again"), weights("out/winner"));
}

#[test]
fn the_most_accurate_state_within_the_tune_s_bound_is_kept() {
    let sandbox = Sandbox::new();
    let text = brief().replace("max_length = 64\n", "max_length = 64\nkeep = \"best-preserved\"\n");
    let text = longer(&text, 6).replace("learning_rate = 1e-4", "learning_rate = 1e-3");
    let text =
        text.replace("high = 2 }", "high = 6 }").replace("kappa = 0.05", "recalibrate = false");
    let (text, _) = text.split_once("keep = { choices").unwrap();
    let kept = |beta: &str, output: &str| {
        let bound = ["--trials", "1", "--beta-per-example", beta];
        let run = tuned(&sandbox, text, output, &bound);
        let record = sandbox.read(&format!("{output}/winner/distillation.json"));
        (run.code, serde_json::from_str::<Value>(&record).unwrap())
    };
    let (code, record) = kept("1e-12", "nearest");
    let course = record["course"].as_array().unwrap();
    let sigmas: Vec<f64> = course.iter().filter_map(|e| e["train"]["sigma"].as_f64()).collect();
    let least = sigmas.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!((code, sigmas.len()), (1, 6));
    assert_eq!(number(&record["train"], "sigma"), least, "none is within κ: the nearest");

    // κ that every state keeps: the most accurate of all.
    let largest = sigmas.iter().copied().fold(0.0, f64::max) + 1e-6;
    let (code, record) = kept(&(largest * largest).to_string(), "all");
    let of = |epoch: &Value| epoch["validation"]["accuracy"].as_f64();
    let best = record["course"].as_array().unwrap().iter().filter_map(of).fold(0.0, f64::max);
    assert_eq!((code, number(&record["validation"], "accuracy")), (0, best));
    assert!((number(&record["recipe"], "kappa") - largest).abs() < 1e-12);
    let again = with(&["distill"], &["--config", "all/winner.toml", "--output", "again"]);
    says(&sandbox.audit(&again).stdout, &["--kappa 0."]);
    let weights =
        |folder: &str| fs::read(sandbox.path(&format!("{folder}/model.safetensors"))).unwrap();
    assert_eq!(weights("again"), weights("all/winner"));
}

#[test]
fn a_later_stage_may_train_parameters_that_an_earlier_one_freezes() {
    let sandbox = Sandbox::new();
    let (space, _) = TUNE.split_once("[space]").unwrap();
    let space = space.replace(
        "[recipe.stage.intermediate]",
        "[recipe.stage.intermediate]\nfreeze_embeddings = true",
    );
    let text = format!(
        "{space}\n[space]\n\"stage.prediction.freeze_embeddings\" = {{ choices = [true, false] }}\n"
    );
    let run = tuned(&sandbox, &text, "out", &["--kappa", "0.4"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = report(&sandbox, "out");
    let finished = |trial: &Value| trial["outcome"] == "finished";
    assert!(report["trials"].as_array().unwrap().iter().all(finished));
}

#[test]
fn what_the_search_does_not_see_decides_nothing() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).unwrap();
    fs::copy(demo("train.tsv"), sandbox.path("data/train.tsv")).unwrap();
    let text = fs::read_to_string(demo("validation.tsv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let (_, unseen) = cut(rows.lines().count(), HeldOut { share: 0.5, seed: 0 });
    let flipped =
        |(i, row): (usize, &str)| match (unseen.contains(&(i as u32)), row.rsplit_once('\t')) {
            (true, Some((text, label))) => {
                format!("{text}\t{}\n", if label == "0" { "1" } else { "0" })
            }
            _ => format!("{row}\n"),
        };
    let flipped: String = rows.lines().enumerate().map(flipped).collect();
    assert_ne!(flipped, rows);
    let lines = |validation: String, output: &str| {
        sandbox.write("data/validation.tsv", validation);
        let more = ["--data", "data", "--trials", "3"];
        let arguments: Vec<String> = arguments(&sandbox, TUNE, output)
            .into_iter()
            .filter(|argument| *argument != "--data" && *argument != demo(""))
            .collect();
        assert!(sandbox.audit(&with(&arguments, &more)).code < 2);
        let journal = journal(&sandbox, output);
        let of = |event: &str| events(&journal, event).into_iter().cloned().collect::<Vec<_>>();
        ([of("begun"), of("ended")], of("unseen"))
    };
    let (as_it_is, unseen) = lines(text.clone(), "one");
    let (otherwise, unseen_otherwise) = lines(format!("{header}\n{flipped}"), "other");
    assert_eq!(as_it_is, otherwise);
    assert_ne!(unseen, unseen_otherwise, "and the labels were read there");
}

#[test]
fn the_page_is_written_after_each_training() {
    let sandbox = Sandbox::new();
    let mut child = process(&sandbox, &arguments(&sandbox, TUNE, "out")).spawn().unwrap();
    let page = sandbox.path("out/tune.html");
    let shown = || fs::read_to_string(&page).unwrap_or_default();
    wait_for(&mut child, || shown().contains("RUNNING"));
    let running = shown();
    assert!(
        running.contains("of 6 trials are over") && running.ends_with("</html>\n"),
        "{running}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sandbox.path("out/tune.json").exists(), "that is of a tune that is over");
    assert!(tuned(&sandbox, TUNE, "out", &[]).code < 2);
    assert!(!shown().contains("RUNNING"));
}

#[test]
fn the_end_of_one_process_does_not_affect_another() {
    let sandbox = Sandbox::new();
    let (long, short) = (["--trials", "9"], ["--trials", "1"]);
    let all = arguments(&sandbox, &brief(), "out");
    let mut one = process(&sandbox, &with(&all, &long)).spawn().unwrap();
    let journal = sandbox.path("out/journal.jsonl");
    let begun = || fs::read_to_string(&journal).unwrap_or_default().contains("{\"trial\":2}");
    wait_for(&mut one, begun);
    for _ in 0..3 {
        let code = process(&sandbox, &with(&all, &short)).status().unwrap().code().unwrap();
        assert!(code < 2, "{code}");
    }
    assert!(one.wait().unwrap().code().unwrap() < 2);
    assert_eq!(report(&sandbox, "out")["trials"].as_array().unwrap().len(), 9);
    // What a kill at the end may leave behind does no harm to the winner.
    let winner = fs::read(sandbox.path("out/winner/model.safetensors")).unwrap();
    for trial in 1..10 {
        fs::create_dir_all(sandbox.path(&format!("out/runs/trial-{trial}"))).unwrap();
    }
    assert!(tuned(&sandbox, &brief(), "out", &["--trials", "9"]).code < 2);
    assert_eq!(fs::read(sandbox.path("out/winner/model.safetensors")).unwrap(), winner);
}

#[test]
fn every_reading_of_the_constraints_runs_through() {
    let sandbox = Sandbox::new();
    let readings = [
        ("statistic = \"centred\"", ("statistic", "centred")),
        ("statistic = \"published\"", ("statistic", "published")),
        ("confidence = \"teacher-class\"", ("confidence", "teacher-class")),
        ("reference = \"teacher\"\nepsilon = 0.2", ("reference", "teacher")),
        ("reference = 0.5\nobjective = \"sigma\"", ("objective", "sigma")),
        ("objective = \"cost\"\nsearch = \"random\"", ("search", "random")),
        ("objective = \"size\"\nstopping = { rungs = [], halving = 1.0 }", ("objective", "size")),
    ];
    for (i, (reading, (key, value))) in readings.into_iter().enumerate() {
        let text = brief().replace("kappa = 0.05", &format!("kappa = 0.4\n{reading}"));
        let run = tuned(&sandbox, &text, &format!("out-{i}"), &[]);
        assert_eq!(run.code, 0, "{reading}: {}", run.stderr);
        let report = report(&sandbox, &format!("out-{i}"));
        assert_eq!(report[key], value, "{reading}");
        if value == "teacher" {
            assert_eq!(report["reference_accuracy"], report["teacher_accuracy"][0]);
        }
        // The audit of the written winner reads σ as the trial did.
        let winner = &report["winner"]["seeds"][0]["figures"];
        let audited = number(&report["audited"], "sigma");
        assert!((audited - number(winner, "sigma")).abs() < 1e-6, "{reading}");
    }
    let summed = brief().replace("kappa = 0.05", "beta = 40.0");
    let run = tuned(&sandbox, &summed, "summed", &["--limit", "250"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let kappa = number(&report(&sandbox, "summed"), "kappa");
    assert!((kappa - (40.0f64 / 250.0).sqrt()).abs() < 1e-12, "{kappa}");
    says(&run.stdout, &["`beta` of summed.toml"]);
}

#[test]
fn the_method_is_a_setting_like_any_other() {
    let sandbox = Sandbox::new();
    let text = brief().replace("[space]", "[space]\nmethod = { choices = [\"tinybert\", \"kd\"] }");
    let text = text.replace("trials = 2", "trials = 6")
        + "\"stage.train.max_epochs\" = { low = 1, high = 3, default = 1 }\n";
    let run = tuned(&sandbox, &text, "out", &["--kappa", "0.4"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report = report(&sandbox, "out");
    let trials = report["trials"].as_array().unwrap();
    let kd: Vec<&Value> = trials.iter().filter(|t| t["values"]["method"] == "kd").collect();
    assert!(!kd.is_empty());
    for trial in kd {
        let keys: Vec<&String> = trial["values"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["keep", "method", "stage.train.max_epochs"]);
    }
}

#[test]
fn the_checkpoint_that_teaches_is_a_setting_and_the_teacher_measures() {
    let sandbox = Sandbox::new();
    let recipe = "task = \"sst2\"\nmethod = \"kd\"\nmax_length = 64\nlimit = 100\n";
    let epochs = |n: usize| format!("[training]\nmax_epochs = {n}\nlearning_rate = 1e-3\n");
    let teachers =
        format!("{recipe}states = \"all\"\n[student]\nlayers = [1, 2, 3]\n{}", epochs(2));
    let run = sandbox.audit(&training(&sandbox, &teachers, "teachers"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    sandbox.write("student.toml", format!("{recipe}[student]\nlayers = 2\n{}", epochs(1)));
    let text = "trials = 2\nkappa = 1.0\nfurther_seeds = 0\nrecipe = \"student.toml\"\n[space]\n\
                learn_from = { choices = [\"teachers/epoch-1\", \"teachers/epoch-2\"], default = \
                \"teachers/epoch-1\" }\n";
    let run = tuned(&sandbox, text, "out", &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let trials = report(&sandbox, "out")["trials"].as_array().unwrap().clone();
    for (trial, epoch) in trials.iter().zip(1..) {
        let teaches = format!("teachers/epoch-{epoch}");
        assert_eq!(trial["values"]["learn_from"], teaches.as_str());
        let kept = "held_out = { share = 0.5, seed = 0 }\n";
        let alone = format!("learn_from = \"{teaches}\"\n{kept}{}", sandbox.read("student.toml"));
        let output = format!("alone-{epoch}");
        assert_eq!(sandbox.audit(&training(&sandbox, &alone, &output)).code, 0);
        let record = sandbox.read(&format!("{output}/distillation.json"));
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(trial["figures"]["sigma"], record["train"]["sigma"], "{teaches}");
    }
    // The recipe of the winner works from any folder.
    let winner: toml::Table = sandbox.read("out/winner.toml").parse().unwrap();
    let teaches = winner["learn_from"].as_str().unwrap();
    assert!(std::path::Path::new(teaches).is_absolute(), "{teaches}");
    let again = ["distill", "--config", "out/winner.toml", "--output", "again"];
    assert_eq!(sandbox.audit(&again).code, 0);
    let weights = |folder: &str| fs::read(sandbox.path(folder).join("model.safetensors")).unwrap();
    assert!(weights("again") == weights("out/winner"));
    fs::copy(
        sandbox.path("teachers/epoch-1/model.safetensors"),
        sandbox.path("teachers/epoch-2/model.safetensors"),
    )
    .unwrap();
    tuned(&sandbox, text, "out", &[]).fails(2, &["another tune: its learn_from was different"]);
    let warm = format!("warm_start = \"out\"\n{text}");
    tuned(&sandbox, &warm, "warm", &[]).fails(2, &["`learn_from` = \"teachers/epoch-2\""]);
}

#[test]
fn the_folder_of_another_search_is_refused() {
    let sandbox = Sandbox::new();
    assert!(tuned(&sandbox, &brief(), "out", &[]).code < 2);
    let before = sandbox.read("out/journal.jsonl");
    tuned(&sandbox, &brief(), "out", &["--seed", "1"])
        .fails(2, &["another tune: its seed was different"]);
    tuned(&sandbox, &brief(), "out", &["--kappa", "0.1"])
        .fails(2, &["another tune: its kappa was different"]);
    tuned(&sandbox, &brief(), "out", &["--limit", "100"])
        .fails(2, &["another tune: its teacher, its data"]);
    assert_eq!(sandbox.read("out/journal.jsonl"), before);
}

#[test]
fn the_report_as_markdown_has_the_verdict_and_the_figures() {
    let sandbox = Sandbox::new();
    let run = tuned(&sandbox, &brief(), "out", &["--time", "0s", "--format", "markdown"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    let (heading, text) = read_markdown(&run.stdout);
    let report = report(&sandbox, "out");
    let sigma = number(&report["audited"], "sigma");
    let verdict = format!("❌ NOT PRESERVED: sst2, σ {sigma:.4} > κ 0.0500, 1 trial");
    assert_eq!(heading, verdict);
    let figures = &report["winner"]["seeds"][0]["figures"];
    let (seen, unseen) = (number(figures, "seen_accuracy"), number(figures, "unseen_accuracy"));
    let accuracy = format!("accuracy {seen:.4} seen, {unseen:.4} unseen");
    for part in ["trial 1: ", "stage.prediction.learning_rate 0.0001", &accuracy] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}

#[test]
fn time_that_is_over_ends_the_search_after_the_default() {
    let sandbox = Sandbox::new();
    let run = tuned(&sandbox, &brief(), "out", &["--time", "0s"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_eq!(report(&sandbox, "out")["trials"].as_array().unwrap().len(), 1);
}

#[test]
fn what_contradicts_itself_is_refused_before_the_first_trial() {
    let sandbox = Sandbox::new();
    let space = |space: &str| {
        let (recipe, _) = TUNE.split_once("[space]").unwrap();
        format!("{recipe}[space]\n{space}\n")
    };
    let cases = [
        (space(""), "`space` is empty"),
        (
            space("\"stage.prediction.learning_rate\" = { low = 1e-3, high = 1e-4 }"),
            "`space.\"stage.prediction.learning_rate\"` goes from 0.001 to 0.0001: `low` must be below `high`",
        ),
        (
            space("\"stage.train.learning_rate\" = { low = 1e-4, high = 1e-3, default = 1e-4 }"),
            "`space.\"stage.train.learning_rate\"` is not a key of the method tinybert",
        ),
        (
            space("\"stage.prediction.max_epochs\" = { low = 2, high = 3 }"),
            "`space.\"stage.prediction.max_epochs\"` has the default 1",
        ),
        (
            space("\"student.layers\" = { choices = [2, 3], default = 2 }"),
            "`space.\"student.layers\"`: with 3",
        ),
        (
            space("\"student.layers\" = { choices = [2, 9], default = 2 }"),
            "`space.\"student.layers\"`: with 9",
        ),
        (space("seed = { low = 1, high = 2 }"), "`space.\"seed\"` is not a setting"),
        (space("teacher = { choices = [\"a\", \"b\"] }"), "hint: search `learn_from`"),
        (TUNE.replace("kappa = 0.05", "kapa = 0.05"), "unknown field `kapa`"),
        (TUNE.replace("tinybert", "tinibert"), "`method` = `tinibert`"),
        (
            TUNE.replace("max_epochs = 1\nlearning_rate = 2e-4", "max_epochs = \"many\""),
            "`recipe`: `max_epochs = \"many\"`: invalid type",
        ),
    ];
    for (i, (text, why)) in cases.iter().enumerate() {
        let output = format!("out-{i}");
        let run = tuned(&sandbox, text, &output, &[]);
        run.fails(2, &[why]).prints_no_report();
        assert!(!sandbox.path(&output).exists(), "{why}");
    }
    let missing = with(&["tune"], &["--config", "none.toml", "--output", "out"]);
    sandbox.audit(&missing).fails(2, &["none.toml"]);
    sandbox.write("bare.toml", TUNE);
    let bare = ["tune", "--config", "bare.toml", "--output", "out"];
    sandbox.audit(&bare).fails(2, &["--teacher"]);
    let none = with(&arguments(&sandbox, TUNE, "out"), &["--trials", "0"]);
    sandbox.audit(&none).fails(2, &["trials"]);
    let form = with(&arguments(&sandbox, TUNE, "out"), &["--format", "junit"]);
    sandbox.audit(&form).fails(2, &["junit"]);
}

#[test]
fn a_task_without_a_labelled_validation_split_is_refused() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("data")).unwrap();
    fs::copy(demo("train.tsv"), sandbox.path("data/train.tsv")).unwrap();
    let own = |splits: &str| {
        TUNE.replace("task = \"sst2\"", "task = \"own\"").replace(
            "[recipe.student]",
            &format!(
                "[recipe.own_task]\ntext = \"sentence\"\nlabel = \"label\"\nlabels = [\"negative\", \
                 \"positive\"]\nsplits = {{ {splits} }}\n\n[recipe.student]"
            ),
        )
    };
    let run = |text: &str, output: &str| {
        sandbox.write(&format!("{output}.toml"), text);
        let (config, teacher) = (format!("{output}.toml"), demo("teacher"));
        let given = ["--config", &config, "--data", "data", "--teacher", &teacher];
        sandbox.audit(&with(&with(&["tune"], &given), &["--output", output]))
    };
    run(&own("train = \"train.tsv\""), "none").fails(2, &["`own` has no validation split"]);
    let text = fs::read_to_string(demo("validation.tsv")).unwrap();
    let bare: String =
        text.lines().map(|line| format!("{}\n", line.split('\t').next().unwrap())).collect();
    sandbox.write("data/bare.tsv", bare);
    let unlabelled = own("train = \"train.tsv\", validation = \"bare.tsv\"");
    let refused = run(&unlabelled, "bare");
    refused.fails(3, &["label"]);
    assert!(!sandbox.path("bare").exists());
}
