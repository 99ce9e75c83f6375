//! `teacher_predictions`: students of a teacher that is a table.

mod common;

use std::fs;
use std::sync::Arc;

use common::{demo, kill_at, says, student_files, with, write_group, Run, Sandbox};
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

/// Examples of the demo's training set that students are trained on.
const LIMIT: usize = 100;

/// A short training of `method` on the demo's data.
fn recipe(method: &str, more: &str) -> String {
    format!(
        "task = \"sst2\"\nmethod = \"{method}\"\nmax_length = 64\n{more}\n\
         [training]\nmax_epochs = 2\nlearning_rate = 1e-3\n"
    )
}

/// A student of two layers of the demo's teacher.
const TWO_LAYERS: &str = "student = { layers = 2 }";

/// The arguments of a training of `recipe` on the demo's data, which starts from the demo's teacher.
fn training(sandbox: &Sandbox, recipe: &str, output: &str, more: &[&str]) -> Vec<String> {
    let config = format!("{output}.toml");
    sandbox.write(&config, recipe);
    let (data, base) = (demo(""), demo("teacher"));
    let given = ["--config", &config, "--data", &data, "--output", output];
    let start = with(&given, &["--init", "base", "--base", &base, "--limit", "100"]);
    with(&with(&["distill"], &start), more)
}

/// `arguments` without `flag` and its value.
fn without(arguments: &[String], flag: &str) -> Vec<String> {
    let at = arguments.iter().position(|argument| argument == flag).unwrap();
    [&arguments[..at], &arguments[at + 2..]].concat()
}

fn distilled(sandbox: &Sandbox, recipe: &str, output: &str, more: &[&str]) -> Run {
    sandbox.audit(&training(sandbox, recipe, output, more))
}

#[track_caller]
fn trained(sandbox: &Sandbox, recipe: &str, output: &str, more: &[&str]) -> Value {
    let run = distilled(sandbox, recipe, output, more);
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&sandbox.read(&format!("{output}/distillation.json"))).unwrap()
}

fn weights(sandbox: &Sandbox, folder: &str) -> Vec<u8> {
    fs::read(sandbox.path(folder).join("model.safetensors")).unwrap()
}

fn digest(sandbox: &Sandbox, file: &str) -> String {
    let bytes = Sha256::digest(fs::read(sandbox.path(file)).unwrap());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The demo's teacher's logits on a split, as `audit predict` writes them.
fn predict(sandbox: &Sandbox, split: &str, file: &str) {
    let (data, model) = (demo(""), demo("teacher"));
    let given = ["--task", "sst2", "--data", &data, "--model", &model, "--split", split];
    let arguments = with(&["predict", "--max-length", "64", "--output", file], &given);
    assert_eq!(sandbox.audit(&arguments).code, 0);
}

/// A table as rows of text, the header first.
type Rows = Vec<Vec<String>>;

fn rows(sandbox: &Sandbox, file: &str) -> Rows {
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).from_path(sandbox.path(file)).unwrap();
    let record = |record: Result<csv::StringRecord, csv::Error>| {
        record.unwrap().iter().map(str::to_owned).collect()
    };
    reader.records().map(record).collect()
}

fn write_rows(sandbox: &Sandbox, file: &str, rows: &Rows) {
    let mut writer = csv::Writer::from_path(sandbox.path(file)).unwrap();
    rows.iter().for_each(|row| writer.write_record(row).unwrap());
    writer.flush().unwrap();
}

/// The first `count` rows of the demo's training set: sentence and label.
fn examples(count: usize) -> Vec<(String, String)> {
    let text = fs::read_to_string(demo("train.tsv")).unwrap();
    let examples = text.lines().skip(1).take(count).map(|line| line.split_once('\t').unwrap());
    examples.map(|(sentence, label)| (sentence.to_owned(), label.to_owned())).collect()
}

/// The header and the first rows of `table` in another order: 37 and 100 have no common divisor.
fn shuffled(table: &Rows) -> Rows {
    let order = (0..LIMIT).map(|i| 1 + i * 37 % LIMIT);
    std::iter::once(0).chain(order).map(|row| table[row].clone()).collect()
}

/// A sandbox with logits-train.csv and logits-validation.csv.
fn with_tables() -> Sandbox {
    let sandbox = Sandbox::new();
    predict(&sandbox, "train", "logits-train.csv");
    predict(&sandbox, "validation", "logits-validation.csv");
    sandbox
}

#[test]
fn a_student_of_a_table_is_that_of_the_checkpoint_that_wrote_it() {
    let sandbox = with_tables();
    predict(&sandbox, "train", "logits-train.parquet");
    predict(&sandbox, "validation", "logits-validation.parquet");
    let kd = recipe("kd", &format!("beta_per_example = 1e-6\n{TWO_LAYERS}"));
    let teacher = demo("teacher");
    let mut taught = trained(&sandbox, &kd, "taught", &["--teacher", &teacher]);
    for format in ["csv", "parquet"] {
        let tables = format!("logits-{{split}}.{format}");
        let more = ["--teacher-predictions", &tables];
        let mut student = trained(&sandbox, &kd, format, &more);
        assert!(weights(&sandbox, format) == weights(&sandbox, "taught"), "{format}");
        let of = student["teacher_predictions"].take();
        for (split, examples) in [("train", 100), ("validation", 150)] {
            let file = format!("logits-{split}.{format}");
            let expected = json!({
                "source": [file], "sha256": digest(&sandbox, &file), "examples": examples,
                "scores": "logits", "joined_by": "id",
            });
            assert_eq!(of[split], expected);
        }
        // σ, KL and what else is measured against the teacher are the same too.
        student.as_object_mut().unwrap().remove("teacher_predictions");
        assert_eq!(student["teacher"].take(), Value::Null);
        assert!(student["train"]["sigma"].is_f64() && student["validation"]["sigma"].is_f64());
        taught["teacher"] = Value::Null;
        assert_eq!(student, taught, "{format}");
    }
}

#[test]
fn the_next_commands_audit_the_student_of_a_table() {
    let sandbox = with_tables();
    let kd = recipe("kd", &format!("keep = \"best-preserved\"\nkappa = 0.9\n{TWO_LAYERS}"));
    let tables = ["--teacher-predictions", "logits-train.csv"];
    let arguments = training(&sandbox, &kd, "out", &tables);
    // The whole training set: `audit check` compares all rows of both tables.
    let run = sandbox.audit(&without(&arguments, "--limit"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let record: Value = serde_json::from_str(&sandbox.read("out/distillation.json")).unwrap();
    assert_eq!(record["validation"]["sigma"], Value::Null, "no table of it was given");
    let command = |start: &str| {
        let line = run.stdout.lines().find_map(|line| line.strip_prefix(start)).unwrap();
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sandbox.audit(&command("next: audit ")).code, 0);
    let row = sandbox.row(&command("then: audit "));
    assert_eq!(row["sigma"], record["train"]["sigma"]);
    assert_eq!(row["kappa"], 0.9);
}

#[test]
fn rows_in_another_order_are_joined_by_their_ids() {
    let sandbox = with_tables();
    let table = rows(&sandbox, "logits-train.csv");
    let kd = recipe("kd", TWO_LAYERS);
    let student = |file: &str| {
        let record =
            trained(&sandbox, &kd, &format!("{file}-out"), &["--teacher-predictions", file]);
        (weights(&sandbox, &format!("{file}-out")), record["teacher_predictions"]["train"].clone())
    };
    let (in_order, recorded) = student("logits-train.csv");
    assert_eq!(recorded["joined_by"], "id");
    // A table of the training set alone, not of the examples that the limit leaves out.
    write_rows(&sandbox, "turned.csv", &shuffled(&table));
    let (turned, recorded) = student("turned.csv");
    assert_eq!((&recorded["joined_by"], &recorded["examples"]), (&"id".into(), &100.into()));
    assert!(turned == in_order);
    let without_ids: Rows = table.iter().map(|row| row[1..].to_vec()).collect();
    write_rows(&sandbox, "plain.csv", &without_ids);
    let (by_row, recorded) = student("plain.csv");
    assert_eq!(recorded["joined_by"], Value::Null);
    assert!(by_row == in_order);
    // Other logits make another student.
    let mut other = table.clone();
    other[1][1] = "3.5".to_owned();
    write_rows(&sandbox, "other.csv", &other);
    assert!(student("other.csv").0 != in_order);
}

/// A task of the user's own over the demo's sentences.
fn own_task(more: &str) -> String {
    format!(
        "own_task = {{ text = \"review\", label = \"stars\", labels = [\"negative\", \"positive\"]\
         {more} }}\n"
    )
}

#[test]
fn ids_of_the_training_set_join_a_table_of_a_service() {
    let sandbox = with_tables();
    let logits = rows(&sandbox, "logits-train.csv");
    let id = |i: usize| format!("r-{:03}", (i * 71) % 1000);
    let line =
        |i: usize, (text, label): &(String, String)| vec![id(i), text.clone(), label.clone()];
    let header = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut data = vec![header(&["id", "review", "stars"])];
    data.extend(examples(LIMIT).iter().enumerate().map(|(i, example)| line(i, example)));
    write_rows(&sandbox, "reviews.csv", &data);
    let mut table = vec![header(&["id", "logit_negative", "logit_positive"])];
    table.extend(
        (0..LIMIT).map(|i| vec![id(i), logits[i + 1][1].clone(), logits[i + 1][2].clone()]),
    );
    write_rows(&sandbox, "service.csv", &shuffled(&table));
    let last = format!("keep = \"last\"\n{TWO_LAYERS}");
    let kd = recipe("kd", &(own_task(", splits = { train = \"reviews.csv\" }") + &last));
    let kd = kd.replace("sst2", "reviews");
    let own = |output: &str, file: &str| {
        let arguments = training(&sandbox, &kd, output, &["--teacher-predictions", file]);
        sandbox.audit(&without(&arguments, "--data"))
    };
    let run = own("own", "service.csv");
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(&run.stderr, &["100 rows of `service.csv`, joined by `id`"]);
    trained(&sandbox, &recipe("kd", &last), "sst2", &["--teacher-predictions", "logits-train.csv"]);
    assert!(weights(&sandbox, "own") == weights(&sandbox, "sst2"));
    table[7][0] = "r-999".to_owned();
    write_rows(&sandbox, "unknown.csv", &table);
    own("unknown", "unknown.csv").fails(
        3,
        &["`unknown.csv`, column `id`: no row has `r-426`, the id of example 6 of reviews/train"],
    );
    // Positions are not the data's ids: with both, a number may be either.
    let mut numbered = |order: fn(usize) -> usize| {
        let mut data = data.clone();
        (0..LIMIT).for_each(|i| data[i + 1][0] = order(i).to_string());
        write_rows(&sandbox, "reviews.csv", &data);
        (0..LIMIT).for_each(|i| table[i + 1][0] = order(i).to_string());
        write_rows(&sandbox, "numbered.csv", &table);
        own("numbered", "numbered.csv")
    };
    numbered(|i| LIMIT - 1 - i).fails(3, &["in two orders", "leave one column out"]);
    assert_eq!(numbered(|i| i).code, 0);
    assert!(weights(&sandbox, "numbered") == weights(&sandbox, "sst2"));
}

#[test]
fn a_table_with_texts_is_the_training_set() {
    let sandbox = with_tables();
    let logits = rows(&sandbox, "logits-train.csv");
    let table = |with_labels: bool| -> Rows {
        let header = ["id", "review", "logit_negative", "logit_positive", "stars"];
        let mut rows =
            vec![header[..4 + usize::from(with_labels)].iter().map(|h| (*h).to_owned()).collect()];
        rows.extend(examples(LIMIT).into_iter().zip(&logits[1..]).map(|((text, label), row)| {
            // An id of the service says nothing: the rows are the training set.
            let id = format!("{}", 7 * row[0].parse::<usize>().unwrap() % 200);
            let mut cells = vec![id, text, row[1].clone(), row[2].clone()];
            cells.extend(with_labels.then_some(label));
            cells
        }));
        rows
    };
    write_rows(&sandbox, "labelled.csv", &table(true));
    write_rows(&sandbox, "texts.csv", &table(false));
    let last = format!("{TWO_LAYERS}\nkeep = \"last\"\n");
    let soft = format!("{last}stage.train.losses = {{ soft = 1.0 }}\n");
    let student = |keys: &str, output: &str, file: &str| {
        let own = recipe("kd", &(own_task("") + keys)).replace("sst2", "reviews");
        let arguments = training(&sandbox, &own, output, &["--teacher-predictions", file]);
        sandbox.audit(&without(&arguments, "--data"))
    };
    let of_sst2 = |keys: &str, output: &str| {
        let tables = ["--teacher-predictions", "logits-train.csv"];
        trained(&sandbox, &recipe("kd", keys), output, &tables);
        weights(&sandbox, output)
    };
    // Without labels, on the teacher's outputs alone.
    let run = student(&soft, "unlabelled", "texts.csv");
    assert_eq!(run.code, 0, "{}", run.stderr);
    says(&run.stderr, &["the training set is the 100 texts of `texts.csv`"]);
    says(&run.stdout, &["accuracy unknown", "texts.csv as the split `train` of [task.reviews]"]);
    assert!(weights(&sandbox, "unlabelled") == of_sst2(&soft, "soft"));
    let record: Value =
        serde_json::from_str(&sandbox.read("unlabelled/distillation.json")).unwrap();
    let table_sha256 = digest(&sandbox, "texts.csv");
    assert_eq!(record["data"]["train"]["sha256"], table_sha256.as_str());
    assert_eq!(record["teacher_predictions"]["train"]["sha256"], table_sha256.as_str());
    student(&last, "no-labels", "texts.csv").fails(2, &["has no label", "`hard`"]);
    // With labels, for both losses.
    let run = student(&last, "both", "labelled.csv");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(weights(&sandbox, "both") == of_sst2(&last, "hard"));
    // A row without its text is not left out.
    let broken = json!({ "review": null, "logit_negative": 1.0, "logit_positive": 2.5 });
    sandbox.write("broken.jsonl", broken.to_string());
    let why = ["`broken.jsonl`", "column `review` holds null"];
    student(&soft, "broken", "broken.jsonl").fails(3, &why);
}

/// A table of probabilities (N, 2), from logits.
fn probabilities(logits: &Rows, zeros: bool) -> Rows {
    let mut table =
        vec![["id", "probability_negative", "probability_positive"].map(str::to_owned).to_vec()];
    table.extend(logits[1..].iter().map(|row| {
        let [a, b] = [1, 2].map(|column| row[column].parse::<f64>().unwrap());
        let p = 1.0 / (1.0 + (b - a).exp());
        let p = if zeros { p.round() } else { p };
        vec![row[0].clone(), p.to_string(), (1.0 - p).to_string()]
    }));
    table
}

#[test]
fn probabilities_teach_by_their_logarithms() {
    let sandbox = with_tables();
    let logits = rows(&sandbox, "logits-train.csv");
    write_rows(&sandbox, "p.csv", &probabilities(&logits, false));
    let kd = recipe("kd", TWO_LAYERS);
    let of_p = trained(&sandbox, &kd, "p", &["--teacher-predictions", "p.csv"]);
    let of_z = trained(&sandbox, &kd, "z", &["--teacher-predictions", "logits-train.csv"]);
    assert_eq!(of_p["teacher_predictions"]["train"]["scores"], "probabilities");
    // Rounded to two digits they teach something else, which is said where logarithms enlarge it.
    let mut rounded = probabilities(&logits, false);
    for row in &mut rounded[1..] {
        let p: f64 = row[1].parse().unwrap();
        let p = (100.0 * p).round().clamp(1.0, 99.0) / 100.0;
        row[1..].clone_from_slice(&[format!("{p:.2}"), format!("{:.2}", 1.0 - p)]);
    }
    write_rows(&sandbox, "rounded.csv", &rounded);
    let tables = ["--teacher-predictions", "rounded.csv"];
    let note = "have at most three decimals, and temperature 10 divides their logarithms";
    says(&distilled(&sandbox, &kd, "rounded", &tables).stderr, &["note: ", note]);
    let soft = format!("{TWO_LAYERS}\n[stage.train]\ntemperature = 1.0");
    let run = distilled(&sandbox, &recipe("kd", &soft), "at-1", &tables);
    assert!(run.code == 0 && !run.stderr.contains("decimals"), "{}", run.stderr);
    let run = distilled(&sandbox, &kd, "digits", &["--teacher-predictions", "p.csv"]);
    assert!(!run.stderr.contains("decimals"), "{}", run.stderr);
    // Softmax does not depend on a constant, so only the last bits of f32 differ.
    for path in ["/train/sigma", "/loss_reached/mean_kl"] {
        let [p, z] = [&of_p, &of_z].map(|record| record.pointer(path).unwrap().as_f64().unwrap());
        assert!((p - z).abs() < 1e-3 * z, "{path}: {p} and {z}");
    }
}

#[test]
fn a_probability_of_zero_is_refused_where_its_logarithm_counts() {
    let sandbox = with_tables();
    let logits = rows(&sandbox, "logits-train.csv");
    write_rows(&sandbox, "labels.csv", &probabilities(&logits, true));
    let tables = ["--teacher-predictions", "labels.csv"];
    let place = "`labels.csv` line 2, label `";
    distilled(&sandbox, &recipe("kd", TWO_LAYERS), "hot", &tables)
        .fails(2, &[place, "temperature 10 divides", "stage.train.temperature = 1"])
        .prints_no_report();
    distilled(
        &sandbox,
        &recipe("annealing", TWO_LAYERS).replace("epochs = 2", "epochs = 7"),
        "mse",
        &tables,
    )
    .fails(2, &[place, "the loss `logits` compares"]);
    // At temperature 1 a label of probability 0 adds nothing: KL is the cross-entropy to the other.
    let soft =
        format!("{TWO_LAYERS}\nstage.train = {{ temperature = 1.0, losses = {{ soft = 1.0 }} }}\n");
    let record = trained(&sandbox, &recipe("kd", &soft), "out", &tables);
    let [kl, entropy] =
        ["sum_kl", "sum_cross_entropy"].map(|key| record["loss_reached"][key].as_f64().unwrap());
    assert!(kl > 0.0 && (kl - entropy).abs() < 1e-9 * kl, "{kl} and {entropy}");
}

#[test]
fn tables_that_cannot_teach_are_refused() {
    let sandbox = with_tables();
    let table = rows(&sandbox, "logits-train.csv");
    let changed = |file: &str, change: &dyn Fn(&mut Rows)| {
        let mut table = table.clone();
        change(&mut table);
        write_rows(&sandbox, file, &table);
    };
    changed("short.csv", &|table| {
        table.truncate(90);
        table.iter_mut().for_each(|row| _ = row.remove(0));
    });
    changed("ids.csv", &|table| table[3][0] = "x-2".to_owned());
    changed("labels.csv", &|table| {
        let other = if table[9][3] == "positive" { "negative" } else { "positive" };
        table[9][3] = other.to_owned();
    });
    changed("names.csv", &|table| table[0][1] = "logit_bad".to_owned());
    changed("one.csv", &|table| {
        table[0][1..3].clone_from_slice(&["confidence".to_owned(), "predicted".to_owned()]);
        for row in &mut table[1..] {
            row[1..3].clone_from_slice(&["0.75".to_owned(), "positive".to_owned()]);
        }
    });
    for column in ["index", "idx"] {
        changed(&format!("{column}.csv"), &|table| {
            table[0][0] = column.to_owned();
            table.swap(1, 2);
        });
    }
    let cases: [(&str, i32, &[&str]); 8] = [
        ("short.csv", 3, &["`short.csv` has 89 rows, and sst2/train has 500 examples", "`id`"]),
        ("ids.csv", 3, &["`ids.csv`: the column `id`", "does not name the examples of sst2/train"]),
        ("labels.csv", 3, &["`labels.csv` line 10 has the label", "example 8 of sst2/train has"]),
        ("names.csv", 3, &["`teacher_predictions`", "bad"]),
        ("one.csv", 3, &["`one.csv` has only the predicted label", "probability_<label>"]),
        ("index.csv", 3, &["column `index` numbers the rows in another order"]),
        ("idx.csv", 3, &["column `idx` numbers the rows in another order"]),
        ("none.csv", 3, &["`teacher_predictions`: there is no file `none.csv`"]),
    ];
    for (file, code, why) in cases {
        let run =
            distilled(&sandbox, &recipe("kd", TWO_LAYERS), "out", &["--teacher-predictions", file]);
        run.fails(code, why).prints_no_report();
    }
    // Predictions of the validation split on its own texts.
    let mut validation = rows(&sandbox, "logits-validation.csv");
    let text = fs::read_to_string(demo("validation.tsv")).unwrap();
    validation[0][0] = "sentence".to_owned();
    for (row, line) in validation[1..].iter_mut().zip(text.lines().skip(1)) {
        row[0] = line.split('\t').next().unwrap().to_owned();
    }
    write_rows(&sandbox, "own-validation.csv", &validation);
    let of = |validation: &str| {
        let tables = format!(
            "teacher_predictions = {{ train = \"logits-train.csv\", validation = \"{validation}\" }}"
        );
        recipe("kd", &format!("keep = \"best-sigma\"\n{tables}\n{TWO_LAYERS}"))
    };
    trained(&sandbox, &of("own-validation.csv"), "own", &[]);
    validation[1..].rotate_left(1);
    write_rows(&sandbox, "turned.csv", &validation);
    distilled(&sandbox, &of("turned.csv"), "out", &[])
        .fails(3, &["`teacher_predictions`, validation", "column `sentence`", "example 0 of"]);
    assert!(!sandbox.path("out").exists());
}

#[test]
fn recipes_that_need_the_teacher_itself_are_refused() {
    let sandbox = Sandbox::new();
    let given = "teacher_predictions = \"t.csv\"\n";
    let cases: [(String, &[&str], &[&str]); 10] = [
        (
            recipe("tinybert", ""),
            &[],
            &[
                "tinybert runs the teacher itself",
                "finetune, kd, annealing, takd, born-again, virtual",
            ],
        ),
        (recipe("minimax", "minimax = { corpus = \"c.csv\" }"), &[], &["minimax runs the teacher"]),
        (recipe("mate", "mate = { generator = { checkpoint = \"g\" } }"), &[], &["mate runs"]),
        (recipe("kd", ""), &["--init", "teacher-layers"], &["`student.", "teacher-layers"]),
        (
            recipe(
                "kd",
                "student = { init = \"scratch\", layers = 1, hidden_size = 8, heads = 1 }",
            ),
            &["--init", "scratch"],
            &["= `scratch` needs a vocabulary", "--base"],
        ),
        (recipe("kd", ""), &[], &["`student.base` is missing"]),
        (recipe("kd", "teacher = \"t\""), &[], &["`teacher` and `teacher_predictions` are both"]),
        (recipe("kd", "learn_from = \"t\""), &[], &["`learn_from` has no effect"]),
        (recipe("kd", "teacher_head = \"pooled\""), &[], &["`teacher_head` has no effect"]),
        (
            recipe("kd", "keep = \"best-sigma\"\nstudent = { base = \"b\" }"),
            &[],
            &["validation = FILE"],
        ),
    ];
    for (recipe, more, why) in cases {
        sandbox.write("recipe.toml", format!("{given}{recipe}"));
        let arguments = ["distill", "--config", "recipe.toml", "--output", "out"];
        sandbox.audit(&with(&arguments, more)).fails(2, why).prints_no_report();
    }
    let soft =
        "augmented = \"a.csv\"\nstage.train.losses = { soft = 1.0 }\n[student]\nbase = \"b\"";
    sandbox.write("recipe.toml", format!("{given}{}", recipe("kd", soft)));
    let arguments = ["distill", "--config", "recipe.toml", "--output", "out"];
    sandbox.audit(&arguments).fails(2, &["`augmented` texts need the teacher's predictions"]);
    let both = with(&arguments, &["--teacher", "t", "--teacher-predictions", "t.csv"]);
    sandbox.audit(&both).fails(2, &["--teacher-predictions"]);
}

#[test]
fn every_method_on_logits_makes_the_same_student_of_a_table() {
    let sandbox = with_tables();
    let teacher = demo("teacher");
    let methods = [
        ("finetune", ""),
        ("annealing", "annealing = { tau_max = 2 }"),
        ("takd", "takd = { assistants = [{ layers = 4 }] }"),
        ("born-again", "born-again = { generations = 2 }"),
        ("virtual", ""),
    ];
    for (method, keys) in methods {
        let recipe = recipe(method, &format!("{keys}\n{TWO_LAYERS}"));
        let tables = ["--teacher-predictions", "logits-{split}.csv"];
        let of_tables = trained(&sandbox, &recipe, &format!("{method}-t"), &tables);
        let of_model = trained(&sandbox, &recipe, method, &["--teacher", &teacher]);
        assert!(weights(&sandbox, &format!("{method}-t")) == weights(&sandbox, method), "{method}");
        for split in ["train", "validation"] {
            assert!(of_tables[split]["sigma"].is_f64());
            assert_eq!(of_tables[split], of_model[split], "{method}");
        }
    }
    // The mean of the generations teaches in turn.
    let mean = ["--teacher-predictions", "born-again/ensemble-{split}.parquet"];
    let record = trained(&sandbox, &recipe("kd", TWO_LAYERS), "of-mean", &mean);
    assert_eq!(record["teacher_predictions"]["validation"]["examples"], 150);
    assert!(weights(&sandbox, "of-mean") != weights(&sandbox, "finetune"));
}

/// Writes the first rows of the demo's training set, with label names in the metadata.
fn named_data(sandbox: &Sandbox, file: &str) {
    let schema = "message data { required binary sentence (UTF8); required int64 label; }";
    let features = json!({ "info": { "features": {
        "sentence": { "dtype": "string", "_type": "Value" },
        "label": { "names": ["negative", "positive"], "_type": "ClassLabel" },
    } } });
    let metadata = KeyValue::new("huggingface".to_owned(), features.to_string());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![metadata]));
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let (properties, path) = (Arc::new(properties.build()), sandbox.write(file, ""));
    let mut writer =
        SerializedFileWriter::new(fs::File::create(path).unwrap(), schema, properties).unwrap();
    let examples = examples(LIMIT);
    let sentences: Vec<ByteArray> = examples.iter().map(|(s, _)| s.as_str().into()).collect();
    let labels: Vec<i64> = examples.iter().map(|(_, label)| label.parse().unwrap()).collect();
    write_group(&mut writer, &sentences, &labels);
    writer.close().unwrap();
}

#[test]
fn labels_are_taken_by_name_or_by_id_and_never_by_guess() {
    let sandbox = with_tables();
    let table = rows(&sandbox, "logits-train.csv");
    let kd = recipe("kd", TWO_LAYERS);
    trained(&sandbox, &kd, "plain", &["--teacher-predictions", "logits-train.csv"]);
    let renamed = |file: &str, names: [&str; 2]| {
        let mut table = table.clone();
        table[0][1..3].clone_from_slice(&names.map(str::to_owned));
        table[1..].iter_mut().for_each(|row| row.truncate(3));
        table[0].truncate(3);
        write_rows(&sandbox, file, &table);
    };
    renamed("other.csv", ["logit_BAD", "logit_GOOD"]);
    let map = ["--teacher-predictions", "other.csv", "--label-map", "BAD=negative,GOOD=positive"];
    trained(&sandbox, &kd, "mapped", &map);
    assert!(weights(&sandbox, "mapped") == weights(&sandbox, "plain"));
    // The other order of columns.
    let mut turned = table.clone();
    turned.iter_mut().for_each(|row| row.swap(1, 2));
    write_rows(&sandbox, "turned.csv", &turned);
    trained(&sandbox, &kd, "turned", &["--teacher-predictions", "turned.csv"]);
    assert!(weights(&sandbox, "turned") == weights(&sandbox, "plain"));
    // A task without label names, whose data have ids.
    let own = |labels: &str| {
        let own = format!("own_task = {{ text = \"sentence\", label = \"label\"{labels} }}\n");
        recipe("kd", &format!("{own}{TWO_LAYERS}")).replace("sst2", "own")
    };
    distilled(&sandbox, &own(""), "named", &["--teacher-predictions", "logits-train.csv"])
        .fails(3, &["are ids, and the columns of `logits-train.csv` name labels", "`labels`"]);
    renamed("ids.csv", ["logit_0", "logit_1"]);
    trained(&sandbox, &own(""), "ids", &["--teacher-predictions", "ids.csv"]);
    let known = own(", labels = [\"LABEL_0\", \"LABEL_1\"]");
    trained(&sandbox, &known, "known", &["--teacher-predictions", "ids.csv"]);
    assert!(weights(&sandbox, "ids") == weights(&sandbox, "known"));
    // Data that name the labels of their ids, as `datasets` writes them, decide the order.
    named_data(&sandbox, "data/train.parquet");
    let files = "own_task = { text = \"sentence\", label = \"label\", splits = { train = \
                 \"data/train.parquet\" } }\nkeep = \"last\"\n";
    let of_files = recipe("kd", &format!("{files}{TWO_LAYERS}")).replace("sst2", "own");
    let arguments =
        training(&sandbox, &of_files, "files", &["--teacher-predictions", "turned.csv"]);
    sandbox
        .audit(&without(&arguments, "--data"))
        .fails(3, &["`turned.csv` has 500 rows, and own/train has 100 examples"]);
    turned.truncate(1 + LIMIT);
    write_rows(&sandbox, "turned.csv", &turned);
    let run = sandbox.audit(&without(&arguments, "--data"));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let last = recipe("kd", &format!("keep = \"last\"\n{TWO_LAYERS}"));
    trained(&sandbox, &last, "last", &["--teacher-predictions", "logits-train.csv"]);
    assert!(weights(&sandbox, "files") == weights(&sandbox, "last"));
    // Two digits of a probability are not enough for logarithms.
    let mut rounded = probabilities(&table, false);
    rounded[4][1..3].clone_from_slice(&["0.49".to_owned(), "0.5".to_owned()]);
    for row in &mut rounded[1..] {
        row[1..3].iter_mut().for_each(|p| *p = format!("{:.2}", p.parse::<f64>().unwrap()));
    }
    write_rows(&sandbox, "rounded.csv", &rounded);
    let run = distilled(&sandbox, &kd, "rounded", &["--teacher-predictions", "rounded.csv"]);
    run.fails(3, &["sum to 0.99", "write more digits"]);
    assert!(!run.stderr.contains("--normalise"), "a flag of `audit check`: {}", run.stderr);
}

#[test]
fn a_flag_replaces_the_teacher_of_a_recipe() {
    let sandbox = with_tables();
    let teacher = demo("teacher");
    let named =
        |key: &str, value: &str| recipe("kd", &format!("{key} = \"{value}\"\n{TWO_LAYERS}"));
    let tables = ["--teacher-predictions", "logits-train.csv"];
    let of_tables = trained(&sandbox, &named("teacher", "./no"), "tables", &tables);
    assert_eq!(of_tables["teacher"], Value::Null);
    let checkpoint = ["--teacher", teacher.as_str()];
    let of = trained(&sandbox, &named("teacher_predictions", "no.csv"), "checkpoint", &checkpoint);
    assert_eq!(of.get("teacher_predictions"), None);
    assert!(weights(&sandbox, "tables") == weights(&sandbox, "checkpoint"));
}

#[test]
fn augmented_texts_have_predictions_of_their_own() {
    let sandbox = with_tables();
    let logits = rows(&sandbox, "logits-train.csv");
    let mut table =
        vec![["sentence", "logit_negative", "logit_positive"].map(str::to_owned).to_vec()];
    table.extend(
        examples(LIMIT)
            .into_iter()
            .zip(&logits[1..])
            .map(|((text, _), row)| vec![text, row[1].clone(), row[2].clone()]),
    );
    write_rows(&sandbox, "more.csv", &table);
    let soft = "student = { layers = 2 }\nstage.train.losses = { soft = 1.0 }\n";
    let tables = |augmented: &str| {
        format!("teacher_predictions = {{ train = \"logits-train.csv\"{augmented} }}\n{soft}")
    };
    let augmented = "augmented = \"more.csv\"\n".to_owned() + &tables(", augmented = \"more.csv\"");
    let record = trained(&sandbox, &recipe("kd", &augmented), "more", &[]);
    assert_eq!(record["teacher_predictions"]["augmented"]["source"], json!(["more.csv"]));
    trained(&sandbox, &recipe("kd", &tables("")), "plain", &[]);
    assert!(weights(&sandbox, "more") == weights(&sandbox, "plain"));
}

#[test]
fn a_training_is_resumed_with_the_same_table_only() {
    let sandbox = with_tables();
    let kd = recipe("kd", &format!("save_every = 1\n{TWO_LAYERS}"));
    let tables = ["--teacher-predictions", "logits-{split}.csv"];
    trained(&sandbox, &kd, "whole", &tables);
    let resumed = with(&tables, &["--resume"]);
    let resumed: Vec<&str> = resumed.iter().map(String::as_str).collect();
    kill_at(&sandbox, &training(&sandbox, &kd, "out", &tables), "out/training/state.safetensors");
    for file in ["logits-train.csv", "logits-validation.csv"] {
        let before = sandbox.read(file);
        let table = rows(&sandbox, file);
        let mut other = table.clone();
        other[1].swap(1, 2);
        write_rows(&sandbox, file, &other);
        distilled(&sandbox, &kd, "out", &resumed)
            .fails(2, &["is another one", "teacher, data or program version differs"]);
        sandbox.write(file, before);
    }
    trained(&sandbox, &kd, "out", &resumed);
    assert!(student_files(&sandbox, "out") == student_files(&sandbox, "whole"));
}

#[test]
fn a_search_compares_its_students_with_the_tables() {
    let sandbox = with_tables();
    let (data, base) = (demo(""), demo("teacher"));
    let tune = |more: &str| {
        format!(
            "trials = 2\nkappa = 1.0\nfurther_seeds = 0\n{more}\n[recipe]\ntask = \"sst2\"\n\
             method = \"kd\"\nmax_length = 64\nlimit = 100\n[recipe.student]\ninit = \"base\"\n\
             base = {base:?}\nlayers = 2\n[recipe.training]\nmax_epochs = 1\nlearning_rate = 1e-3\n\
             [space]\n\"stage.train.temperature\" = {{ choices = [1.0, 4.0], default = 1.0 }}\n"
        )
    };
    let tuned = |text: &str, output: &str, more: &[&str]| {
        sandbox.write(&format!("{output}.toml"), text);
        let config = format!("{output}.toml");
        let given = ["tune", "--config", &config, "--data", &data, "--output", output];
        sandbox.audit(&with(&given, more))
    };
    let report = |output: &str| -> Value {
        serde_json::from_str(&sandbox.read(&format!("{output}/tune.json"))).unwrap()
    };
    let tables = "teacher_predictions = \"logits-{split}.csv\"";
    let run = tuned(&tune(tables), "out", &[]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(tuned(&tune(""), "model", &["--teacher", &base]).code, 0);
    let (out, model) = (report("out"), report("model"));
    for key in ["trials", "winner", "default", "audited", "teacher_accuracy", "epochs"] {
        assert_eq!(out[key], model[key], "{key}");
    }
    let manifest = &out["manifest"]["models"][0];
    assert_eq!(manifest["source"], "logits-train.csv");
    assert_eq!(manifest["weights_sha256"], digest(&sandbox, "logits-train.csv").as_str());
    assert!(weights(&sandbox, "out/winner") == weights(&sandbox, "model/winner"));
    // The recipe of the winner works from any folder.
    let winner: toml::Table = sandbox.read("out/winner.toml").parse().unwrap();
    let of = &winner["teacher_predictions"];
    assert_eq!(of["train"].as_str().unwrap(), sandbox.arg("logits-train.csv"));
    assert_eq!(of["validation"].as_str().unwrap(), sandbox.arg("logits-validation.csv"));
    let again = ["distill", "--config", "out/winner.toml", "--output", "again"];
    assert_eq!(sandbox.audit(&again).code, 0);
    assert!(weights(&sandbox, "again") == weights(&sandbox, "out/winner"));
    // Without the validation split students cannot be compared.
    tuned(&tune("teacher_predictions = \"logits-train.csv\""), "half", &[])
        .fails(2, &["`teacher_predictions` names no table of it", "{split}"]);
    let searched = "[space]\nteacher_predictions = { choices = [\"a\", \"b\"], default = \"a\" }\n";
    tuned(&tune(tables).replace("[space]\n", searched), "searched", &[])
        .fails(2, &["`space.\"teacher_predictions\"` is not a setting"]);
    // Another file at the same path is another teacher.
    let mut other = rows(&sandbox, "logits-train.csv");
    other[1].swap(1, 2);
    write_rows(&sandbox, "logits-train.csv", &other);
    tuned(&tune(tables), "out", &[]).fails(2, &["another tune: its teacher, its data"]);
    tuned(&tune(&format!("warm_start = \"out\"\n{tables}")), "warm", &[])
        .fails(2, &["is of a search with another teacher, task or data"]);
    // Probabilities of 0 do not suit every temperature of the search.
    let logits = rows(&sandbox, "logits-train.csv");
    write_rows(&sandbox, "logits-train.csv", &probabilities(&logits, true));
    tuned(&tune(tables), "zeros", &[])
        .fails(2, &["`space.\"stage.train.temperature\"`: with 4", "the probability is 0"]);
}
