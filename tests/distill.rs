//! `audit distill` and `audit finetune`: early stopping at β, same seed same bytes, resume, invalid
//! recipes.

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::{demo, says, student_files, training, with, Sandbox};
use serde_json::Value;

/// κ = sqrt(0.0025) = 0.05.
const KD: &str = r#"
task = "sst2"
method = "kd"
max_length = 64
beta_per_example = 0.0025
save_every = 1

[student]
init = "teacher-layers"
layers = 2

[training]
max_epochs = 40
learning_rate = 5e-4
schedule = "constant"
temperature = 1.0
t_squared = false
losses = { soft = 1.0 }
"#;

fn trained(sandbox: &Sandbox, recipe: &str, output: &str, more: &[&str]) -> String {
    let run = sandbox.audit(&with(&training(sandbox, recipe, output), more));
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout
}

/// The audit of the student `folder` against the demo's teacher.
fn audited(sandbox: &Sandbox, folder: &str, more: &[&str]) -> Value {
    let (data, teacher) = (demo(""), demo("teacher"));
    let models = ["--data", &data, "--teacher", &teacher, "--student", folder];
    let arguments = with(&["--task", "sst2", "--max-length", "64"], &models);
    sandbox.row(&with(&arguments, more))
}

fn record(sandbox: &Sandbox, folder: &str) -> Value {
    serde_json::from_str(&sandbox.read(&format!("{folder}/distillation.json"))).unwrap()
}

/// The recipe trained so little that its student is the teacher's layers as they were.
fn untrained(recipe: &str) -> String {
    recipe
        .replace("beta_per_example = 0.0025", "")
        .replace("max_epochs = 40", "max_epochs = 1")
        .replace("learning_rate = 5e-4", "learning_rate = 1e-12")
}

#[test]
fn a_student_that_ended_at_beta_is_preserved_and_one_of_the_labels_alone_is_not() {
    let sandbox = Sandbox::new();
    let said = trained(&sandbox, KD, "kd", &[]);
    says(&said, &["the soft-label loss reached β", "--bound from-student"]);
    let own = audited(&sandbox, "kd", &["--bound", "from-student"]);
    assert_eq!(own["verdict"], "preserved");
    let kappa = own["kappa"].as_f64().unwrap();
    assert!((kappa - 0.05).abs() < 1e-12);
    let record = record(&sandbox, "kd");
    assert_eq!((&record["ended_by"], &record["bound"]["alpha"]), (&"beta".into(), &0.0.into()));
    let reached = &record["loss_reached"];
    assert!(reached["mean_kl"].as_f64().unwrap() <= 0.0025);
    // The audit measures the same divergence that ended the training.
    let difference =
        own["divergence"]["sum_kl"].as_f64().unwrap() - reached["sum_kl"].as_f64().unwrap();
    assert!(difference.abs() < 1e-9);

    trained(&sandbox, &untrained(KD), "untrained", &[]);
    let sigma = |row: &Value| row["sigma"].as_f64().unwrap();
    assert!(sigma(&audited(&sandbox, "untrained", &[])) > kappa);
    let epochs = format!("max_epochs = {}", record["epoch"].as_u64().unwrap());
    let hard = KD
        .replace("method = \"kd\"", "method = \"finetune\"")
        .replace("beta_per_example = 0.0025", "keep = \"last\"")
        .replace("max_epochs = 40", &epochs)
        .replace("losses = { soft = 1.0 }", "");
    trained(&sandbox, &hard, "hard", &[]);
    let hard = audited(&sandbox, "hard", &["--kappa", "0.05"]);
    assert_eq!(hard["verdict"], "not_preserved");
    assert_eq!(self::record(&sandbox, "hard")["bound"], Value::Null);
}

#[test]
fn the_most_accurate_state_whose_sigma_is_within_kappa_is_kept() {
    let sandbox = Sandbox::new();
    let recipe = |keep: &str| {
        let recipe = KD.replace("beta_per_example = 0.0025", keep);
        recipe.replace("max_epochs = 40", "max_epochs = 5")
    };
    let kept = |keep: &str, output: &str| {
        let said = trained(&sandbox, &recipe(keep), output, &[]);
        let record = record(&sandbox, output);
        let of = |epoch: &Value| {
            (epoch["train"]["sigma"].as_f64(), epoch["validation"]["accuracy"].as_f64())
        };
        let course: Vec<_> = record["course"].as_array().unwrap().iter().map(of).collect();
        (said, record["epoch"].as_u64().unwrap() as usize, course, record)
    };
    let (said, nearest, course, record) = kept("keep = \"best-preserved\"\nkappa = 0.0", "nearest");
    says(&said, &["--kappa 0\n"]);
    assert_eq!(record["recipe"]["kappa"], 0.0);
    let sigma = |epoch: usize| course[epoch - 1].0.unwrap();
    let mut by_sigma: Vec<usize> = (1..=5).collect();
    by_sigma.sort_by(|&a, &b| sigma(a).total_cmp(&sigma(b)));
    assert_eq!(nearest, by_sigma[0], "none is within κ");
    let row = audited(&sandbox, "nearest", &[]);
    assert!((row["sigma"].as_f64().unwrap() - sigma(nearest)).abs() < 1e-9, "as the audit says");

    // κ of the three nearest: the most accurate of these.
    let kappa = sigma(by_sigma[2]) + 1e-9;
    let keep = format!("keep = \"best-preserved\"\nkappa = {kappa}");
    let (_, within, again, record) = kept(&keep, "within");
    assert_eq!(again, course, "what is kept changes nothing else");
    let held = |epoch: usize| &record["course"][epoch - 1]["train"]["preserved"];
    assert!((1..=5).all(|epoch| *held(epoch) == Value::Bool(by_sigma[..3].contains(&epoch))));
    let best = by_sigma[..3].iter().copied().reduce(|best, epoch| {
        let accuracy = |epoch: usize| course[epoch - 1].1.unwrap();
        if accuracy(epoch) > accuracy(best) {
            epoch
        } else {
            best
        }
    });
    assert_eq!(Some(within), best);
    assert_ne!(within, nearest, "accuracy decides among those within κ");
    let row = audited(&sandbox, "within", &["--kappa", &kappa.to_string()]);
    assert_eq!(row["verdict"], "preserved");

    let (_, _, course, _) = kept("keep = \"best-accuracy\"", "accurate");
    assert!(
        course.iter().all(|(sigma, _)| sigma.is_none()),
        "it is measured where it is asked for"
    );
    let unknown = recipe("keep = \"best-preserved\"").replace("\"kd\"", "\"finetune\"");
    let unknown =
        unknown.replace("losses = { soft = 1.0 }", "").replace("init = \"teacher-layers\"", "");
    sandbox.write("alone.toml", &unknown);
    let (data, base) = (demo(""), demo("teacher"));
    let alone = ["--config", "alone.toml", "--data", &data, "--base", &base, "--output", "alone"];
    let alone = sandbox.audit(&with(&["finetune"], &alone));
    alone.fails(2, &["`keep` = `best-preserved` compares with a teacher"]);
}

#[test]
fn the_printed_audit_command_of_a_user_task_names_a_config() {
    let sandbox = Sandbox::new();
    let table = "text = \"sentence\"\nlabel = \"label\"\nlabels = [\"negative\", \"positive\"]\n\
                 splits = { train = \"train.tsv\" }\n";
    std::fs::copy(demo("train.tsv"), sandbox.path("train.tsv")).unwrap();
    let student = "[student]\nlayers = 2\n[training]\nmax_epochs = 1\nlearning_rate = 1e-3\n";
    sandbox.write(
        "kd.toml",
        format!("task = \"own\"\nmethod = \"kd\"\nkeep = \"last\"\n[own_task]\n{table}{student}"),
    );
    let teacher = demo("teacher");
    let recipe = ["--config", "kd.toml", "--teacher", &teacher, "--output", "out"];
    let run = sandbox.audit(&with(&with(&["distill"], &recipe), &["--limit", "64"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let next = format!("next: audit --config CONFIG --task own --teacher {teacher} --student out");
    says(&run.stdout, &[&next, "[own_task] as [task.own]"]);
    sandbox.write("audit.toml", format!("[task.own]\n{table}"));
    sandbox.row(&[
        "--config",
        "audit.toml",
        "--task",
        "own",
        "--teacher",
        &teacher,
        "--student",
        "out",
    ]);
}

const SHORT: &str = r#"
task = "sst2"
method = "tinybert"
max_length = 64
save_every = 3
log_every = 1

[student]
init = "teacher-layers"
layers = 2

[training]
max_epochs = 2
learning_rate = 1e-3
dropout = { hidden = 0.1, attention = 0.1, classifier = 0.1 }
"#;

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    trained(&sandbox, SHORT, "one", &["--limit", "150", "--threads", "1"]);
    trained(&sandbox, SHORT, "three", &["--limit", "150", "--threads", "3"]);
    assert!(student_files(&sandbox, "one") == student_files(&sandbox, "three"));
    trained(&sandbox, SHORT, "other", &["--limit", "150", "--seed", "1"]);
    assert!(student_files(&sandbox, "one")[1] != student_files(&sandbox, "other")[1]);
}

#[test]
fn hidden_states_from_a_file_and_from_the_teacher_make_the_same_student() {
    let sandbox = Sandbox::new();
    for source in ["stored", "in-the-loop"] {
        let recipe = format!("teacher_states = \"{source}\"\n{SHORT}");
        trained(&sandbox, &recipe, source, &["--limit", "150"]);
    }
    assert!(student_files(&sandbox, "stored")[1] == student_files(&sandbox, "in-the-loop")[1]);
}

#[test]
fn a_named_store_is_kept_for_the_next_student_of_the_same_teacher() {
    let sandbox = Sandbox::new();
    let recipe = |length: usize| {
        format!(
            "task = \"sst2\"\nmethod = \"hsk\"\nmax_length = 64\nstore = \"demo.states\"\n\
             [student]\nlayers = 2\n[hsk]\nlength = {length}\n[training]\nmax_epochs = 1\n"
        )
    };
    trained(&sandbox, &recipe(4), "first", &["--limit", "100"]);
    let written = fs::metadata(sandbox.path("demo.states")).unwrap().modified().unwrap();
    trained(&sandbox, &recipe(4), "second", &["--limit", "100"]);
    assert!(student_files(&sandbox, "first") == student_files(&sandbox, "second"));
    let kept = fs::metadata(sandbox.path("demo.states")).unwrap().modified().unwrap();
    assert_eq!(written, kept);
    let other = with(&training(&sandbox, &recipe(5), "third"), &["--limit", "100"]);
    sandbox.audit(&other).fails(2, &["`store` = `demo.states`", "another"]);
}

#[test]
fn a_killed_training_is_resumed_to_the_same_bytes() {
    let sandbox = Sandbox::new();
    // Epochs enough that the training is not over when it is killed.
    let recipe = format!("keep = \"best-preserved\"\nkappa = 0.2\n{SHORT}")
        .replace("max_epochs = 2", "max_epochs = 6");
    let arguments = |output| with(&training(&sandbox, &recipe, output), &["--limit", "150"]);
    let whole = sandbox.audit(&arguments("whole"));
    assert_eq!(whole.code, 0, "{}", whole.stderr);

    let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
    command.args(arguments("killed")).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let state = sandbox.path("killed/training/state.safetensors");
    while !state.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(state.exists(), "the training ended before it was killed");
    assert!(!sandbox.path("killed/config.json").exists(), "an unfinished student is none");

    let again = sandbox.audit(&arguments("killed"));
    again.fails(2, &["not finished", "--resume"]);
    let other = sandbox.audit(&with(&arguments("killed"), &["--resume", "--seed", "7"]));
    other.fails(2, &["is another one"]);
    let saved = fs::read(&state).unwrap();
    let key = b"\"format\":\"";
    let at = saved.windows(key.len()).position(|bytes| bytes == key).unwrap() + key.len();
    let mut old = saved.clone();
    old[at] = b'0';
    fs::write(&state, old).unwrap();
    let old = sandbox.audit(&with(&arguments("killed"), &["--resume"]));
    let remedy = "remove `killed/training`, and start again without --resume";
    old.fails(2, &["was saved by another version of this program", remedy]);
    fs::write(&state, saved).unwrap();
    let resumed = sandbox.audit(&with(&arguments("killed"), &["--resume"]));
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    assert!(student_files(&sandbox, "whole") == student_files(&sandbox, "killed"));
    assert!(!sandbox.path("killed/training").exists());
}

#[test]
fn every_method_trains_a_student_that_is_a_checkpoint_with_a_record() {
    let sandbox = Sandbox::new();
    let methods = [
        ("finetune", ""),
        ("kd", ""),
        ("tinybert", ""),
        ("pkd", ""),
        ("alp", ""),
        ("ckd", ""),
        ("rail", ""),
        ("born-again", ""),
        ("virtual", ""),
        ("annealing", "[annealing]\ntau_max = 1\n"),
        ("takd", "[takd]\nassistants = [{ layers = [1, 2, 4] }]\n"),
        ("hsk", ""),
    ];
    for (method, more) in methods {
        let recipe = format!(
            "task = \"sst2\"\nmethod = \"{method}\"\nmax_length = 64\n{more}\
             [student]\ninit = \"teacher-layers\"\nlayers = 2\n\
             [training]\nmax_epochs = 1\nlearning_rate = 1e-3\n"
        );
        trained(&sandbox, &recipe, method, &["--limit", "100"]);
        let record = record(&sandbox, method);
        assert_eq!(record["method"], method);
        assert_eq!(record["bound"], Value::Null, "{method} was not asked for a β");
        assert!(record["course"].as_array().unwrap().iter().all(|epoch| {
            epoch["losses"].as_object().unwrap().values().all(|loss| loss.as_f64().unwrap() > 0.0)
        }));
        let row = audited(&sandbox, method, &["--limit", "100"]);
        let sigma = row["sigma"].as_f64().unwrap();
        assert!((sigma - record["train"]["sigma"].as_f64().unwrap()).abs() < 1e-12, "{method}");
    }
}

#[test]
fn the_original_code_s_habits_make_a_student_that_the_audit_reads() {
    let sandbox = Sandbox::new();
    let recipe =
        format!("compat = \"huawei\"\n{SHORT}").replace("max_epochs = 2", "max_epochs = 1");
    trained(&sandbox, &recipe, "huawei", &["--limit", "100"]);
    let config: Value = serde_json::from_str(&sandbox.read("huawei/config.json")).unwrap();
    assert_eq!(config["model_type"], Value::Null);
    let report = sandbox.report(&with(
        &["--task", "sst2", "--data", &demo(""), "--max-length", "64", "--limit", "100"],
        &["--teacher", &demo("teacher"), "--student", "huawei"],
    ));
    assert_eq!(report["manifest"]["models"][1]["head"], "pooled-relu");
    let sigma = report["tasks"][0]["sigma"].as_f64().unwrap();
    let recorded = record(&sandbox, "huawei")["train"]["sigma"].as_f64().unwrap();
    assert!((sigma - recorded).abs() < 1e-12);
}

#[test]
fn students_begin_from_scratch_and_from_a_base_checkpoint_too() {
    let sandbox = Sandbox::new();
    let recipe = |student: &str| {
        format!(
            "task = \"sst2\"\nmethod = \"tinybert\"\nmax_length = 64\n[student]\n{student}\n\
             [training]\nmax_epochs = 1\nlearning_rate = 1e-3\n"
        )
    };
    let scratch = "init = \"scratch\"\nlayers = 2\nhidden_size = 32\nheads = 4";
    trained(&sandbox, &recipe(scratch), "scratch", &["--limit", "100"]);
    let config: Value = serde_json::from_str(&sandbox.read("scratch/config.json")).unwrap();
    let sizes = ["hidden_size", "num_hidden_layers", "intermediate_size"].map(|key| &config[key]);
    assert_eq!(sizes, [32, 2, 128]);
    assert_eq!(config["id2label"]["1"], "positive");

    let base = demo("student");
    let based = ["--base", &base, "--init", "base", "--limit", "100"];
    trained(&sandbox, &recipe("layers = 2"), "based", &based);
    audited(&sandbox, "based", &["--limit", "100"]);
}

#[test]
fn what_contradicts_the_models_is_refused_before_training() {
    let sandbox = Sandbox::new();
    let cases = [
        ("layers = 3", "", "`student.layers` = 3 does not divide"),
        ("layers = [2, 9]", "", "`student.layers` names layer 9"),
        ("layers = 2", "layer_map = [1, 9]\n", "`layer_map` names layer 9"),
        ("layers = [1, 2, 4]", "", "`layer_map`"),
        (
            "init = \"scratch\"\nlayers = 2\nhidden_size = 32\nheads = 2",
            "",
            "`stage.intermediate.losses.attention`",
        ),
    ];
    for (i, (student, top, named)) in cases.into_iter().enumerate() {
        let recipe = format!(
            "task = \"sst2\"\nmethod = \"tinybert\"\nmax_length = 64\n{top}[student]\n{student}\n"
        );
        let output = format!("refused-{i}");
        let run = sandbox.audit(&training(&sandbox, &recipe, &output));
        run.fails(2, &[named]).prints_no_report();
        assert!(!sandbox.path(&output).exists(), "{named}");
    }
    let recipe = KD.replace("losses = { soft = 1.0 }", "losses = { hard = 1.0 }");
    sandbox.audit(&training(&sandbox, &recipe, "no-soft")).fails(2, &["`beta_per_example`"]);
    let recipe = KD.replace("temperature = 1.0", "temperature = 0.0");
    sandbox.audit(&training(&sandbox, &recipe, "cold")).fails(2, &["`stage.train.temperature`"]);
    let recipe = KD.replace("\"kd\"", "\"dk\"");
    sandbox.audit(&training(&sandbox, &recipe, "dk")).fails(2, &["`method` = `dk`"]);
}

#[test]
fn tokens_that_differ_are_refused_where_they_are_compared() {
    let sandbox = Sandbox::new();
    let base = common::fixture("architectures/bert");
    let recipe = "task = \"sst2\"\nmethod = \"tinybert\"\nmax_length = 40\n[student]\nlayers = 2\n";
    let arguments = training(&sandbox, recipe, "other");
    let base = ["--init", "base", "--base", base.to_str().unwrap()];
    let run = sandbox.audit(&with(&arguments, &base));
    run.fails(2, &["token by token", "`student.base`"]);
}

#[test]
fn a_training_that_diverges_stops_with_the_step_and_the_examples() {
    let sandbox = Sandbox::new();
    let recipe = KD.replace("learning_rate = 5e-4", "learning_rate = 1e30");
    let run = sandbox.audit(&training(&sandbox, &recipe, "nan"));
    run.fails(
        3,
        &[
            "in stage `train`, epoch 1, step",
            "in the batch of the examples ",
            "lower `learning_rate`",
        ],
    );
    assert!(!sandbox.path("nan/config.json").exists());
}

#[test]
fn a_training_killed_before_its_first_state_starts_again() {
    let sandbox = Sandbox::new();
    sandbox.write("early/training/teacher.states", "half written");
    let recipe = untrained(KD);
    let run = sandbox.audit(&with(&training(&sandbox, &recipe, "early"), &["--resume"]));
    run.fails(2, &["no training to resume"]);
    let stored = format!("teacher_states = \"stored\"\n{SHORT}");
    trained(&sandbox, &stored, "early", &["--limit", "32"]);
    assert!(!sandbox.path("early/training").exists());
}

#[test]
fn a_folder_with_files_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("taken/notes.txt", "mine");
    let run = sandbox.audit(&training(&sandbox, KD, "taken"));
    run.fails(2, &["not empty", "--output"]);
    let run = sandbox.audit(&with(&training(&sandbox, KD, "taken"), &["--resume"]));
    run.fails(2, &["no training to resume"]);
    assert_eq!(sandbox.read("taken/notes.txt"), "mine");
}

/// The tensors of a student by name, as f32.
fn tensors(sandbox: &Sandbox, folder: &str) -> std::collections::BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(sandbox.path(folder).join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |data: &[u8]| {
        data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    };
    file.iter().map(|(name, view)| (name.to_owned(), values(view.data()))).collect()
}

#[test]
fn accumulated_batches_make_the_step_of_one_large_batch() {
    let sandbox = Sandbox::new();
    let recipe = |size: &str| {
        format!(
            "task = \"sst2\"\nmethod = \"kd\"\nmax_length = 64\nkeep = \"last\"\n[student]\nlayers = 2\n\
             [training]\nmax_epochs = 1\nlearning_rate = 1e-3\n{size}\n\
             dropout = {{ hidden = 0.0, attention = 0.0, classifier = 0.0 }}\n"
        )
    };
    trained(&sandbox, &recipe("batch_size = 32"), "large", &["--limit", "96"]);
    trained(&sandbox, &recipe("batch_size = 8\naccumulate = 4"), "small", &["--limit", "96"]);
    let (large, small) = (tensors(&sandbox, "large"), tensors(&sandbox, "small"));
    let start = tensors_of_teacher();
    let moved = |name: &str, values: &[f32]| {
        let from = &start[name];
        values.iter().zip(from).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    // Adam's first steps have the size of the learning rate, whatever the gradient's is.
    let name = "bert.embeddings.word_embeddings.weight";
    assert!(moved(name, &large[name]) > 1e-4);
    let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-4;
    let (a, b) = (&large["classifier.weight"], &small["classifier.weight"]);
    assert!(!a.iter().zip(b).any(far), "{a:?} {b:?}");
}

/// The embeddings of the demo's teacher, widened where they are stored in 16 bits.
fn tensors_of_teacher() -> std::collections::BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(demo("teacher/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values = |view: &safetensors::tensor::TensorView| match view.dtype() {
        safetensors::Dtype::F16 => {
            let halves = view.data().chunks_exact(2);
            halves.map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        _ => {
            let words = view.data().chunks_exact(4);
            words.map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
        }
    };
    file.iter().map(|(name, view)| (name.to_owned(), values(&view))).collect()
}

#[test]
fn frozen_embeddings_stay_those_of_the_teacher() {
    let sandbox = Sandbox::new();
    let recipe = "task = \"sst2\"\nmethod = \"kd\"\nmax_length = 64\n[student]\nlayers = 2\n\
                  [training]\nmax_epochs = 1\nlearning_rate = 1e-3\nfreeze_embeddings = true\n";
    trained(&sandbox, recipe, "frozen", &["--limit", "64"]);
    let (student, teacher) = (tensors(&sandbox, "frozen"), tensors_of_teacher());
    for name in ["word_embeddings.weight", "LayerNorm.weight"] {
        let name = format!("bert.embeddings.{name}");
        assert_eq!(student[&name], teacher[&name], "{name}");
    }
    assert_ne!(student["classifier.weight"], teacher["classifier.weight"]);
}

#[test]
fn the_cross_entropy_can_end_a_training_too() {
    let sandbox = Sandbox::new();
    let recipe = KD.replace("beta_per_example = 0.0025", "stopping_loss = \"ce\"\nbeta = 250.0");
    trained(&sandbox, &recipe, "ce", &[]);
    let record = record(&sandbox, "ce");
    assert_eq!(record["ended_by"], "beta");
    let reached = &record["loss_reached"];
    let sum = |key: &str| reached[key].as_f64().unwrap();
    assert!(sum("sum_cross_entropy") <= 250.0 && sum("sum_kl") < sum("sum_cross_entropy"));
    assert_eq!(audited(&sandbox, "ce", &["--bound", "from-student"])["verdict"], "preserved");
}

#[test]
fn without_labels_to_validate_on_the_smallest_sigma_is_kept() {
    let sandbox = Sandbox::new();
    for split in ["train", "validation"] {
        let rows = fs::read_to_string(demo(&format!("{split}.tsv"))).unwrap();
        let sentences = rows.lines().take(101).map(|row| row.split('\t').next().unwrap());
        sandbox.write(&format!("{split}.tsv"), sentences.collect::<Vec<_>>().join("\n") + "\n");
    }
    let own = "[own_task]\ntext = \"sentence\"\nlabels = [\"negative\", \"positive\"]\n\
               splits = { train = \"train.tsv\", validation = \"validation.tsv\" }\n\
               [student]\nlayers = 2\n";
    let trained = |recipe: &str, output: &str| {
        sandbox.write("reviews.toml", recipe);
        let given = ["distill", "--config", "reviews.toml", "--output", output];
        let run = sandbox.audit(&with(&given, &["--teacher", &demo("teacher")]));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout
    };
    // The rate rises far too high in the second of three epochs.
    let recipe = format!(
        "task = \"reviews\"\nmethod = \"kd\"\nmax_length = 64\n{own}[training]\n\
         max_epochs = 3\nwarmup = 1.0\nlearning_rate = 5e-2\nlosses = {{ soft = 1.0 }}\n"
    );
    let said = trained(&recipe, "student");
    let record = record(&sandbox, "student");
    let sigmas = course_of(&record, |epoch| epoch["train"]["sigma"].as_f64().unwrap());
    let least = (1..=3).min_by(|&a, &b| sigmas[a - 1].total_cmp(&sigmas[b - 1])).unwrap();
    assert!(least < 3, "the last state is not the one: {sigmas:?}");
    assert_eq!(record["epoch"], least);
    says(&said, &[&format!("epoch {least} is kept"), "accuracy unknown"]);
    assert_eq!(record["train"]["sigma"], sigmas[least - 1]);

    // The first stage of annealing needs no labels, and the second none where it has no epoch.
    let labels = |epochs: usize| {
        format!(
            "task = \"reviews\"\nmethod = \"annealing\"\nmax_length = 64\n{own}\
             [annealing]\ntau_max = 1\n[stage.logits]\nmax_epochs = 1\n\
             [stage.labels]\nmax_epochs = {epochs}\n"
        )
    };
    says(&trained(&labels(0), "annealed"), &["epoch 1 is kept"]);
    sandbox.write("published.toml", format!("statistic = \"published\"\n{}", labels(0)));
    let given = ["distill", "--config", "published.toml", "--output", "published"];
    let run = sandbox.audit(&with(&given, &["--teacher", &demo("teacher")]));
    run.fails(2, &["`statistic` = `published` is not defined for the split `reviews/train`"]);
    sandbox.write("labels.toml", labels(1));
    let given = ["distill", "--config", "labels.toml", "--output", "labelled"];
    let run = sandbox.audit(&with(&given, &["--teacher", &demo("teacher")]));
    run.fails(2, &["label"]);
}

/// A figure of every epoch of a record.
fn course_of<T>(record: &Value, figure: impl Fn(&Value) -> T) -> Vec<T> {
    record["course"].as_array().unwrap().iter().map(figure).collect()
}

#[test]
fn of_states_as_accurate_within_one_standard_error_the_smallest_sigma_is_kept() {
    let sandbox = Sandbox::new();
    // The labels at a high rate: the accuracy falls while σ goes on falling.
    let recipe = |keep: &str| {
        let recipe = KD.replace("beta_per_example = 0.0025", &format!("seed = 3\n{keep}"));
        let recipe = recipe.replace("max_epochs = 40", "max_epochs = 6");
        recipe.replace("5e-4", "2e-3").replace("{ soft = 1.0 }", "{ hard = 1.0 }")
    };
    let accurate = |epoch: &Value| epoch["validation"]["accuracy"].as_f64().unwrap();
    let sigma = |epoch: &Value| epoch["train"]["sigma"].as_f64();
    let expected = |record: &Value| {
        let n = record["data"]["validation"]["examples"].as_f64().unwrap();
        let accuracies = course_of(record, accurate);
        let p = accuracies.iter().copied().fold(0.0, f64::max);
        let least = p - (p * (1.0 - p) / n).sqrt();
        let sigmas = course_of(record, sigma);
        let near = (0..6).filter(|&i| accuracies[i] >= least);
        let kept = near.min_by(|&a, &b| sigmas[a].unwrap().total_cmp(&sigmas[b].unwrap()));
        kept.unwrap() + 1
    };
    for threads in ["1", "2"] {
        trained(&sandbox, &recipe(""), threads, &["--threads", threads]);
    }
    assert!(student_files(&sandbox, "1") == student_files(&sandbox, "2"));
    let usual = record(&sandbox, "1");
    assert_eq!(usual["recipe"]["keep"], "one-standard-error");
    assert_eq!((&usual["recipe"]["statistic"], &usual["stage"]), (&"rms".into(), &Value::Null));
    assert_eq!(usual["epoch"], expected(&usual));
    // Neither the last, nor the most accurate, nor the one with the smallest σ of all.
    for other in ["keep = \"best-preserved\"\nkappa = 0.0", "keep = \"best-accuracy\""] {
        trained(&sandbox, &recipe(other), "other", &[]);
        let other = record(&sandbox, "other");
        assert_eq!(course_of(&other, accurate), course_of(&usual, accurate));
        assert_ne!(other["epoch"], usual["epoch"], "{}", other["recipe"]["keep"]);
        fs::remove_dir_all(sandbox.path("other")).unwrap();
    }
    assert_ne!(usual["epoch"], 6);
    let row = audited(&sandbox, "1", &[]);
    let kept = usual["epoch"].as_u64().unwrap() as usize;
    assert!(
        (row["sigma"].as_f64().unwrap() - course_of(&usual, sigma)[kept - 1].unwrap()).abs()
            < 1e-12
    );

    // Another σ chooses, and nothing else changes.
    let by = "statistic = \"centred\"\nconfidence = \"teacher-class\"";
    let said = trained(&sandbox, &recipe(by), "centred", &[]);
    says(&said, &["(centred, teacher-class)", "--statistic centred --confidence teacher-class"]);
    let centred = record(&sandbox, "centred");
    assert_eq!(centred["recipe"]["confidence"], "teacher-class");
    assert_eq!(centred["epoch"], expected(&centred));
    assert_eq!(course_of(&centred, accurate), course_of(&usual, accurate));
    assert_ne!(course_of(&centred, sigma), course_of(&usual, sigma));
    let as_kept = ["--statistic", "centred", "--confidence", "teacher-class"];
    let row = audited(&sandbox, "centred", &as_kept);
    let kept = centred["epoch"].as_u64().unwrap() as usize;
    let of_kept = course_of(&centred, sigma)[kept - 1].unwrap();
    assert!((row["sigma_centred"].as_f64().unwrap() - of_kept).abs() < 1e-12);
    let said = trained(&sandbox, &recipe("statistic = \"published\""), "published", &[]);
    says(&said, &["(published)", "--statistic published\n"]);
    let published = record(&sandbox, "published");
    assert_eq!(published["recipe"]["statistic"], "published");
    assert_eq!(
        (&published["recipe"]["confidence"], published["epoch"].as_u64().unwrap() as usize),
        (&Value::Null, expected(&published))
    );
    let row = audited(&sandbox, "published", &[]);
    let variants = row["variants"].as_array().unwrap();
    let of = variants.iter().find(|variant| variant["statistic"] == "published").unwrap();
    let of_kept = course_of(&published, sigma)[expected(&published) - 1].unwrap();
    assert!((of["sigma"].as_f64().unwrap() - of_kept).abs() < 1e-12);
    let by = format!("keep = \"best-sigma\"\n{by}");
    let said = trained(&sandbox, &recipe(&by), "nearest", &[]);
    let nearest = record(&sandbox, "nearest");
    let seen = course_of(&nearest, |epoch| epoch["validation_sigma"].as_f64().unwrap());
    let least = (0..6).min_by(|&a, &b| seen[a].total_cmp(&seen[b])).unwrap();
    assert_eq!(nearest["epoch"], least + 1);
    says(&said, &[&format!("sigma {:.4} (centred, teacher-class)\n", seen[least])]);
}

#[test]
fn annealing_keeps_the_best_state_of_both_of_its_stages() {
    let sandbox = Sandbox::new();
    // The labels are learned at a rate that destroys the student.
    let recipe = |epochs: usize, top: &str| {
        format!(
            "task = \"sst2\"\nmethod = \"annealing\"\nmax_length = 64\n{top}[annealing]\n\
             tau_max = 2\n[student]\nlayers = 2\n[stage.logits]\nmax_epochs = 2\n\
             learning_rate = 1e-3\n[stage.labels]\nmax_epochs = {epochs}\nlearning_rate = 0.2\n"
        )
    };
    let said = trained(&sandbox, &recipe(1, ""), "both", &["--limit", "300"]);
    let both = record(&sandbox, "both");
    assert_eq!((&both["stage"], both["course"].as_array().unwrap().len()), (&"logits".into(), 3));
    let epoch = &both["epoch"];
    says(&said, &[&format!("epoch {epoch} of the stage logits is kept")]);
    assert!(course_of(&both, |epoch| epoch["validation"]["accuracy"].is_number())
        .iter()
        .all(|measured| *measured));

    // The stage left out: the same student.
    let said = trained(&sandbox, &recipe(0, ""), "logits", &["--limit", "300"]);
    says(&said, &[&format!("epoch {epoch} is kept")]);
    assert!(student_files(&sandbox, "both")[1] == student_files(&sandbox, "logits")[1]);
    assert_eq!(record(&sandbox, "logits")["recipe"]["stages"].as_array().unwrap().len(), 1);

    let last = recipe(1, "keep = \"last\"\n");
    let said = trained(&sandbox, &last, "last", &["--limit", "300"]);
    says(&said, &["epoch 1 of the stage labels is kept"]);
}

#[test]
fn tinybert_without_its_first_stage_is_kd_on_the_probabilities() {
    let sandbox = Sandbox::new();
    let recipe = |method: &str, more: &str| {
        format!(
            "task = \"sst2\"\nmethod = \"{method}\"\nmax_length = 64\nkeep = \"last\"\n\
             [student]\nlayers = 2\n[training]\nlearning_rate = 1e-3\n{more}"
        )
    };
    let tinybert = "[stage.intermediate]\nmax_epochs = 0\n[stage.prediction]\nmax_epochs = 1\n";
    trained(&sandbox, &recipe("tinybert", tinybert), "tinybert", &["--limit", "100"]);
    let kd = "max_epochs = 1\neps = 1e-6\ntemperature = 1.0\nt_squared = false\n\
              losses = { soft = 1.0 }\n";
    trained(&sandbox, &recipe("kd", kd), "kd", &["--limit", "100"]);
    assert!(student_files(&sandbox, "tinybert")[1] == student_files(&sandbox, "kd")[1]);
}

#[test]
fn resume_does_not_change_a_finished_student() {
    let sandbox = Sandbox::new();
    trained(&sandbox, &untrained(KD), "done", &["--limit", "32"]);
    let before = student_files(&sandbox, "done");
    let arguments = training(&sandbox, &untrained(KD), "done");
    let run = sandbox.audit(&with(&arguments, &["--limit", "32", "--seed", "7", "--resume"]));
    run.fails(2, &["no training to resume", "--resume"]);
    assert!(before == student_files(&sandbox, "done"));
}

#[test]
fn what_contradicts_itself_is_found_before_the_teacher_runs() {
    let sandbox = Sandbox::new();
    let cache = sandbox.arg("cache");
    let recipe = "task = \"sst2\"\nmethod = \"kd\"\nmax_length = 64\n[student]\nlayers = 3\n";
    let mut command = sandbox.command();
    command.env("AUDIT_CACHE_DIR", &cache).args(training(&sandbox, recipe, "uneven"));
    common::Run::of(command).fails(2, &["`student.layers` = 3"]);
    let mut command = sandbox.command();
    command.env("AUDIT_CACHE_DIR", &cache).args(["cache", "list"]);
    let listed = common::Run::of(command);
    assert!(!listed.stdout.contains("500"), "{}", listed.stdout);
}
