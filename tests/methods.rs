//! Methods of distillation that compare several layers at once, or need no teacher of their own.

mod common;

use std::fs;

use common::{
    copy_folder, demo, folder_bytes, kill_at, reorder_rows, says, training, with, Run, Sandbox,
};
use serde_json::{json, Value};

/// A recipe of `method` for a short training of a student of two layers.
fn recipe(method: &str, more: &str) -> String {
    format!(
        "task = \"sst2\"\nmethod = \"{method}\"\nmax_length = 64\n{more}\n\
         [training]\nmax_epochs = 2\nlearning_rate = 1e-3\n"
    )
}

const TWO_LAYERS: &str = "[student]\nlayers = 2\n";
const OF_THE_TEACHER: &str = "[student]\ninit = \"teacher-layers\"\nlayers = 2\n";

/// The training of `recipe` on 100 texts of the demo.
fn distil(sandbox: &Sandbox, recipe: &str, output: &str, more: &[&str]) -> Run {
    let arguments = with(&training(sandbox, recipe, output), &["--limit", "100"]);
    sandbox.audit(&with(&arguments, more))
}

fn trained(sandbox: &Sandbox, recipe: &str, output: &str) -> Run {
    let run = distil(sandbox, recipe, output, &[]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    run
}

fn weights(sandbox: &Sandbox, folder: &str) -> Vec<u8> {
    fs::read(sandbox.path(folder).join("model.safetensors")).unwrap()
}

fn record(sandbox: &Sandbox, folder: &str) -> Value {
    serde_json::from_str(&sandbox.read(&format!("{folder}/distillation.json"))).unwrap()
}

#[test]
fn ckd_records_the_lengths_of_its_combinations() {
    let sandbox = Sandbox::new();
    let run = trained(&sandbox, &recipe("ckd", TWO_LAYERS), "ckd");
    let record = record(&sandbox, "ckd");
    assert_eq!(record["recipe"]["ckd"], json!({"buckets": "non-overlapping"}));
    let course = record["course"].as_array().unwrap();
    assert_eq!(course.len(), 2);
    for epoch in course {
        assert!(epoch["losses"]["combined"].as_f64().unwrap() > 0.0);
        let figures = epoch["figures"].as_object().unwrap();
        assert_eq!(figures.keys().collect::<Vec<_>>(), ["target_norm_1", "target_norm_2"]);
        assert!(figures.values().all(|norm| norm.as_f64().unwrap() > 0.0));
    }
    let norm = course[1]["figures"]["target_norm_2"].as_f64().unwrap();
    says(&run.stderr, &[&format!("  target_norm_2 {norm:.4}")]);
    let moved = course.iter().map(|epoch| &epoch["figures"]["target_norm_1"]);
    assert_eq!(moved.clone().count(), 2);
    assert_ne!(moved.clone().next(), moved.clone().next_back(), "the projections are trained");
}

#[test]
fn ckd_is_the_same_on_any_number_of_threads_and_reaches_any_width() {
    let sandbox = Sandbox::new();
    let narrow = "[student]\ninit = \"scratch\"\nlayers = 2\nhidden_size = 32\nheads = 2\n\
                  [ckd]\nbuckets = \"overlapping\"\n";
    for threads in ["1", "3"] {
        let run = distil(&sandbox, &recipe("ckd", narrow), threads, &["--threads", threads]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    assert!(weights(&sandbox, "1") == weights(&sandbox, "3"));
}

#[test]
fn alp_attends_to_its_buckets_alone() {
    let sandbox = Sandbox::new();
    let of = |buckets: &str, output: &str| {
        let more = format!("{TWO_LAYERS}[alp]\nbuckets = {buckets}\n");
        trained(&sandbox, &recipe("alp", &more), output);
        record(&sandbox, output)["recipe"]["alp"].clone()
    };
    trained(&sandbox, &recipe("alp", TWO_LAYERS), "default");
    assert_eq!(of("\"all\"", "all"), Value::Null);
    assert!(weights(&sandbox, "all") == weights(&sandbox, "default"));
    assert_eq!(of("\"non-overlapping\"", "apart"), json!({"buckets": "non-overlapping"}));
    assert!(weights(&sandbox, "apart") != weights(&sandbox, "default"));
    // The demo's teacher has four layers.
    assert_eq!(of("[[1, 2], [3, 4]]", "written"), json!({"buckets": [[1, 2], [3, 4]]}));
    assert!(weights(&sandbox, "written") == weights(&sandbox, "apart"));
}

#[test]
fn buckets_that_do_not_fit_are_refused() {
    let sandbox = Sandbox::new();
    let three = "[student]\nlayers = [1, 2, 4]\n";
    let cases = [
        (three.to_owned(), "the teacher's 4 layers evenly among the student's 3"),
        (
            format!("{TWO_LAYERS}[ckd]\nbuckets = [[1], [2, 5]]\n"),
            "names layer 5 of the teacher's 4",
        ),
        (format!("{TWO_LAYERS}[ckd]\nbuckets = \"half\"\n"), "`non-overlapping`, `overlapping`"),
        (format!("{TWO_LAYERS}[alp]\nbuckets = \"all\"\n"), "`[alp]` belongs to the method alp"),
    ];
    for (i, (more, why)) in cases.into_iter().enumerate() {
        let run = distil(&sandbox, &recipe("ckd", &more), &format!("refused-{i}"), &[]);
        run.fails(2, &[why]).prints_no_report();
    }
}

#[test]
fn rail_is_the_same_on_any_number_of_threads_and_reaches_any_width() {
    let sandbox = Sandbox::new();
    let narrow = "[student]\ninit = \"scratch\"\nlayers = 3\nhidden_size = 32\nheads = 2\n\
                  [rail]\nwidth = 8\n";
    for threads in ["1", "3"] {
        let run = distil(&sandbox, &recipe("rail", narrow), threads, &["--threads", threads]);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    assert!(weights(&sandbox, "1") == weights(&sandbox, "3"));
    let record = record(&sandbox, "1");
    assert_eq!(record["recipe"]["rail"], json!({"width": 8}));
    for epoch in record["course"].as_array().unwrap() {
        let drawn = epoch["losses"]["drawn"].as_f64().unwrap();
        let spread = epoch["figures"]["target_spread"].as_f64().unwrap();
        assert!((0.0..4.0).contains(&drawn) && (0.0..=1.0).contains(&spread), "{epoch}");
    }
}

#[test]
fn killed_trainings_are_resumed_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    let cases = [
        ("ckd", TWO_LAYERS, "state.safetensors"),
        ("rail", TWO_LAYERS, "state.safetensors"),
        ("virtual", OF_THE_TEACHER, "state.safetensors"),
        ("born-again", BORN_AGAIN, "trained-assistant-1.safetensors"),
    ];
    for (method, more, file) in cases {
        let recipe = recipe(method, more).replace("max_epochs = 2", "max_epochs = 5");
        let recipe = format!("save_every = 3\nstates = \"all\"\n{recipe}");
        let (whole, again) = (format!("{method}-whole"), format!("{method}-killed"));
        trained(&sandbox, &recipe, &whole);
        let arguments = with(&training(&sandbox, &recipe, &again), &["--limit", "100"]);
        kill_at(&sandbox, &arguments, &format!("{again}/training/{file}"));
        let run = sandbox.audit(&with(&arguments, &["--resume"]));
        assert_eq!(run.code, 0, "{}", run.stderr);
        for folder in ["", "/epoch-1", "/epoch-5"] {
            let of = |output: &str| folder_bytes(&sandbox, &format!("{output}{folder}"));
            assert!(of(&whole) == of(&again), "{method}{folder}");
        }
    }
}

#[test]
fn trainings_are_the_same_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    let buckets = format!("{TWO_LAYERS}[alp]\nbuckets = \"overlapping\"\n");
    let cases = [
        ("virtual", OF_THE_TEACHER, ""),
        ("alp", &buckets, ""),
        ("kd", TWO_LAYERS, "smoothing = 0.1\n"),
        ("born-again", BORN_AGAIN, ""),
    ];
    for (method, more, of_training) in cases {
        let recipe = format!("states = \"all\"\n{}{of_training}", recipe(method, more));
        let [one, three] = ["1", "3"].map(|threads| {
            let output = format!("{method}-{threads}");
            let run = distil(&sandbox, &recipe, &output, &["--threads", threads]);
            assert_eq!(run.code, 0, "{}", run.stderr);
            ["", "/epoch-1"].map(|folder| folder_bytes(&sandbox, &format!("{output}{folder}")))
        });
        assert!(one == three, "{method}");
    }
}

const BORN_AGAIN: &str = "[student]\ninit = \"scratch\"\nlayers = 2\nhidden_size = 32\nheads = 2\n\
                          [born-again]\ngenerations = 2\n";

#[test]
fn the_mean_of_the_generations_is_what_the_audit_reads() {
    let sandbox = Sandbox::new();
    let run = trained(&sandbox, &recipe("born-again", BORN_AGAIN), "out");
    says(&run.stdout, &["the mean of 2 generations:\n  train "]);
    let record = record(&sandbox, "out");
    let members = record["ensemble"]["members"].as_array().unwrap();
    assert_eq!(members.iter().map(|m| &m["seed"]).collect::<Vec<_>>(), [&json!(1), &json!(0)]);
    assert_eq!(members[1]["train"], record["train"], "the student is the last");
    assert_eq!(members[1]["validation"], record["validation"]);
    let (data, teacher) = (demo(""), demo("teacher"));
    for (split, limit) in [("train", vec!["--limit", "100"]), ("validation", vec![])] {
        let file = format!("{split}.parquet");
        let model = ["--data", &data, "--model", &teacher, "--split", split, "--output", &file];
        let predict = with(&["predict", "--task", "sst2", "--max-length", "64"], &model);
        assert_eq!(sandbox.audit(&with(&predict, &limit)).code, 0);
        let mean = format!("out/ensemble-{split}.parquet");
        let files = ["--teacher-predictions", &file, "--student-predictions", &mean];
        let row = sandbox.row(&with(&["check", "--task", "sst2"], &files));
        let figures = &record["ensemble"][split];
        assert_eq!(row["sigma"], figures["sigma"], "{split}");
        assert_eq!(row["student"]["accuracy"], figures["accuracy"], "{split}");
    }
    let alone = BORN_AGAIN.replace("generations = 2", "generations = 2\nensemble = false");
    trained(&sandbox, &recipe("born-again", &alone), "alone");
    assert!(weights(&sandbox, "alone") == weights(&sandbox, "out"));
    assert_eq!(self::record(&sandbox, "alone")["ensemble"], Value::Null);
    assert!(!sandbox.path("alone/ensemble-train.parquet").exists());
}

#[test]
fn generations_of_equal_seeds_start_from_equal_weights() {
    let sandbox = Sandbox::new();
    // Trained too little to move: σ is that of the start.
    let sigmas = |seed: u64| {
        let more =
            BORN_AGAIN.replace("generations = 2", &format!("generations = 2\nseeds = [{seed}]"));
        let recipe = recipe("born-again", &more)
            .replace("learning_rate = 1e-3", "learning_rate = 1e-12")
            .replace("max_epochs = 2", "max_epochs = 1");
        let output = format!("seed-{seed}");
        trained(&sandbox, &recipe, &output);
        let record = record(&sandbox, &output);
        let members = record["ensemble"]["members"].as_array().unwrap();
        let sigmas = members.iter().map(|member| member["train"]["sigma"].as_f64().unwrap());
        sigmas.collect::<Vec<_>>()
    };
    let (equal, other) = (sigmas(0), sigmas(1));
    assert!((equal[0] - equal[1]).abs() < 1e-9, "{equal:?}");
    assert!((other[0] - other[1]).abs() > 1e-6, "{other:?}");
    assert_eq!(equal[1].to_bits(), other[1].to_bits(), "the student has the recipe's seed in both");
}

#[test]
fn a_virtual_teacher_needs_no_model() {
    let sandbox = Sandbox::new();
    let (data, base) = (demo(""), demo("teacher"));
    sandbox.write("virtual.toml", recipe("virtual", "[virtual]\nprobability = 0.9\n"));
    let given = ["--config", "virtual.toml", "--data", &data, "--base", &base, "--output", "out"];
    let run = sandbox.audit(&with(&with(&["distill"], &given), &["--limit", "100"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record = record(&sandbox, "out");
    assert_eq!(record["recipe"]["virtual"], json!({"probability": 0.9}));
    assert_eq!((&record["teacher"], &record["train"]["sigma"]), (&Value::Null, &Value::Null));
    let losses = record["course"][0]["losses"].as_object().unwrap();
    assert_eq!(losses.keys().collect::<Vec<_>>(), ["hard", "virtual"]);
}

#[test]
fn a_smoothing_of_zero_changes_nothing() {
    let sandbox = Sandbox::new();
    let of = |more: &str, output: &str| {
        trained(&sandbox, &format!("{}{more}", recipe("kd", TWO_LAYERS)), output);
        fs::read(sandbox.path(output).join("distillation.json")).unwrap()
    };
    let plain = of("", "plain");
    assert!(of("smoothing = 0.0\n", "zero") == plain);
    assert!(weights(&sandbox, "zero") == weights(&sandbox, "plain"));
    of("smoothing = 0.2\n", "smooth");
    assert!(weights(&sandbox, "smooth") != weights(&sandbox, "plain"));
    let record = record(&sandbox, "smooth");
    assert_eq!(record["recipe"]["stages"][0]["smoothing"], 0.2);
}

#[test]
fn every_epoch_is_written_where_all_states_are_asked_for() {
    let sandbox = Sandbox::new();
    let recipe = recipe("kd", TWO_LAYERS).replace("max_epochs = 2", "max_epochs = 3");
    trained(&sandbox, &recipe, "one");
    let run = trained(&sandbox, &format!("states = \"all\"\n{recipe}"), "all");
    says(&run.stdout, &["the state after each epoch in epoch-1"]);
    assert!(weights(&sandbox, "all") == weights(&sandbox, "one"));
    assert_eq!(record(&sandbox, "all")["recipe"]["states"], "all");
    assert_eq!(record(&sandbox, "one")["recipe"].get("states"), None);
    assert!(!sandbox.path("one/epoch-1").exists() && !sandbox.path("all/epoch-4").exists());
    let of: Vec<_> =
        (1..=3).map(|epoch| weights(&sandbox, &format!("all/epoch-{epoch}"))).collect();
    assert!(of[0] != of[1] && of[1] != of[2]);
    let kept = record(&sandbox, "all")["epoch"].as_u64().unwrap() as usize;
    assert!(of[kept - 1] == weights(&sandbox, "all"));
    // Each is a checkpoint: the training measured what an audit does.
    for epoch in 1..=3 {
        let (data, teacher, student) = (demo(""), demo("teacher"), format!("all/epoch-{epoch}"));
        let models = ["--data", &data, "--teacher", &teacher, "--student", &student];
        let task = ["--task", "sst2", "--max-length", "64", "--split", "validation"];
        let row = sandbox.row(&with(&task, &models));
        let measured = &record(&sandbox, "all")["course"][epoch - 1]["validation"]["sigma"];
        assert_eq!(row["sigma"], *measured, "epoch {epoch}");
    }
}

#[test]
fn a_student_may_learn_from_a_checkpoint_that_is_not_its_teacher() {
    let sandbox = Sandbox::new();
    let other = format!("states = \"all\"\n{}", recipe("kd", "[student]\nlayers = [1, 2, 3]\n"));
    trained(&sandbox, &other, "other");
    let start = ["--init", "base", "--base", "other"];
    let student = |more: &str| {
        format!(
            "task = \"sst2\"\nmethod = \"tinybert\"\nmax_length = 64\nkeep = \"last\"\n{more}\n\
             [stage.intermediate]\nmax_epochs = 1\n[stage.prediction]\nmax_epochs = 1\n"
        )
    };
    let learning = student("learn_from = \"other/epoch-1\"\n");
    let run = distil(&sandbox, &learning, "learning", &start);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Hidden states and logits are the other's: the same student as with the other as the teacher.
    let arguments = training(&sandbox, &student(""), "taught");
    let mut arguments = with(&arguments, &["--limit", "100"]);
    let at = arguments.iter().position(|argument| argument == "--teacher").unwrap() + 1;
    arguments[at] = "other/epoch-1".to_owned();
    let run = sandbox.audit(&with(&arguments, &start));
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(weights(&sandbox, "learning") == weights(&sandbox, "taught"));
    // Its labels are taken by name.
    copy_folder(&sandbox.path("other/epoch-1"), &sandbox.path("turned"));
    sandbox.edit_weights("turned", |tensors| {
        for name in ["classifier.weight", "classifier.bias"] {
            reorder_rows(tensors, name, &[1, 0]);
        }
    });
    sandbox.edit_config("turned", |config| {
        config["id2label"] = json!({"0": "positive", "1": "negative"});
        config["label2id"] = json!({"positive": 0, "negative": 1});
    });
    let turned = student("learn_from = \"turned\"\n");
    let run = distil(&sandbox, &turned, "of-turned", &start);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(weights(&sandbox, "of-turned") == weights(&sandbox, "taught"));
    // σ is measured against the teacher.
    let (learning, taught) = (record(&sandbox, "learning"), record(&sandbox, "taught"));
    assert_ne!(learning["train"]["sigma"], taught["train"]["sigma"]);
    assert_eq!(learning["learn_from"]["source"], "other/epoch-1");
    assert_eq!(taught.get("learn_from"), None);
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", "learning"];
    let task = ["--task", "sst2", "--max-length", "64", "--limit", "100"];
    assert_eq!(sandbox.row(&with(&task, &models))["sigma"], learning["train"]["sigma"]);
}

#[test]
fn a_checkpoint_that_teaches_nothing_is_refused() {
    let sandbox = Sandbox::new();
    let of = |method: &str, more: &str| recipe(method, &format!("learn_from = \"./no\"\n{more}"));
    distil(&sandbox, &of("virtual", ""), "out", &["--base", &demo("teacher")])
        .fails(2, &["`learn_from` has no effect", "hint: leave it out"]);
    sandbox.write("alone.toml", of("finetune", ""));
    let (data, base) = (demo(""), demo("teacher"));
    let given = ["--config", "alone.toml", "--data", &data, "--base", &base, "--output", "out"];
    sandbox.audit(&with(&["distill"], &given)).fails(2, &["`learn_from` needs a teacher"]);
    distil(&sandbox, &of("kd", TWO_LAYERS), "out", &[])
        .fails(3, &["`learn_from` = `./no`: there is no folder `./no`"]);
    assert!(!sandbox.path("out").exists());
}
