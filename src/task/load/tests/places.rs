//! The places of files: folders, shards, the Hub, a user's own task.

use parquet::basic::Compression;

use super::*;

#[test]
fn the_folder_may_be_glues_or_the_tasks_own_or_the_hubs() {
    let text = "sentence\tlabel\na\t1\n";
    for name in ["SST-2/train.tsv", "SST2/train.tsv", "sst2/train.tsv", "train.tsv"] {
        let folder = Folder::new();
        folder.write(name, text);
        assert_eq!(folder.load("sst2", "train").unwrap().available, 1, "{name}");
    }
    let folder = Folder::new();
    folder.write("train.csv", "sentence,label\n\"a, b\",positive\n");
    folder.write("dev.jsonl", "{\"sentence\": \"c\", \"label\": 0}\n");
    assert_eq!(folder.load("sst2", "train").unwrap().examples, [example("a, b", Some(1))]);
    assert_eq!(folder.load("sst2", "validation").unwrap().examples, [example("c", Some(0))]);
    folder.write("QNLI/train.sample10pct.tsv", "question\tsentence\tlabel\na\tb\tentailment\n");
    assert_eq!(folder.load("qnli", "train.sample10pct").unwrap().available, 1);
}

#[test]
fn another_tasks_folder_is_not_taken_for_ours() {
    let folder = Folder::new();
    folder.write("RTE/train.tsv", "sentence1\tsentence2\tlabel\na\tb\tentailment\n");
    let hub = offline(folder.path());
    let data = Some(folder.path().join("RTE"));
    let options = LoadOptions { data, ..folder.options(&hub) };
    assert!(load(&TaskSpec::glue("rte").unwrap(), "train", &options).is_ok());
    says(&failure(load(&TaskSpec::glue("wnli").unwrap(), "train", &options)), &["no data"]);
}

#[test]
fn missing_files_are_reported_with_the_places_searched() {
    let folder = Folder::new();
    refuses(&folder, &["SST-2/train.tsv", "train.{tsv,csv,jsonl,parquet}", "hint: "]);
    let hub = offline(folder.path());
    let missing = folder.path().join("nowhere");
    let options = LoadOptions { data: Some(missing), ..folder.options(&hub) };
    says(&failure(load(&TaskSpec::glue("sst2").unwrap(), "train", &options)), &["does not exist"]);
    let file = folder.write("file.tsv", "");
    let options = LoadOptions { data: Some(file), ..folder.options(&hub) };
    says(&failure(load(&TaskSpec::glue("sst2").unwrap(), "train", &options)), &["not a folder"]);
    let options = LoadOptions { data: None, ..folder.options(&hub) };
    let error = failure(load(&TaskSpec::glue("sst2").unwrap(), "train", &options));
    says(&error, &["dataset `nyu-mll/glue`", "HF_HUB_OFFLINE"]);
}

#[test]
fn a_split_is_known_without_being_read() {
    let folder = Folder::new();
    folder.write("SST-2/dev.tsv", [0xFF; 10]); // unreadable
    let hub = offline(folder.path());
    let spec = TaskSpec::glue("sst2").unwrap();
    let has = |split: &str| has_split(&spec, split, &folder.options(&hub)).unwrap();
    assert!(has("validation") && has("dev") && !has("train"));
}

#[test]
fn shards_are_one_split_and_all_must_exist() {
    let folder = Folder::new();
    let name = |index| format!("sst2/train-0000{index}-of-00002.csv");
    folder.write(&name(1), "label,sentence\n0,second\n");
    refuses(&folder, &["of the 2 shards", "1 exist"]);
    folder.write(&name(0), "sentence,label\nfirst,1\n");
    let data = folder.load("sst2", "train").unwrap();
    assert_eq!(data.examples, [example("first", Some(1)), example("second", Some(0))]);
    assert_eq!(data.files.len(), 2);
}

#[test]
fn a_limit_keeps_the_first_and_counts_all() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", "sentence\tlabel\na\t1\nb\t0\nc\t1\n");
    let hub = offline(folder.path());
    let options = LoadOptions { limit: Some(2), ..folder.options(&hub) };
    let data = load(&TaskSpec::glue("sst2").unwrap(), "train", &options).unwrap();
    assert_eq!(data.examples, [example("a", Some(1)), example("b", Some(0))]);
    assert!(data.available == 3 && data.examples.len() < 3);
    let options = LoadOptions { limit: Some(0), ..folder.options(&hub) };
    assert!(load(&TaskSpec::glue("sst2").unwrap(), "train", &options).is_err());
}

/// Puts files into `folder` as the Hub's cache keeps them, at one commit.
fn cached_dataset(folder: &Folder, id: &str, files: &[(&str, &str)]) -> String {
    let commit = "c".repeat(40);
    let root = format!("no-cache/datasets--{}", id.replace('/', "--"));
    folder.write(&format!("{root}/refs/main"), &commit);
    for (name, text) in files {
        folder.write(&format!("{root}/snapshots/{commit}/{name}"), text);
    }
    commit
}

fn load_cached(folder: &Folder, spec: &TaskSpec, split: &str) -> Result<Dataset> {
    let hub = offline(folder.path());
    load(spec, split, &LoadOptions { data: None, ..folder.options(&hub) })
}

#[test]
fn glue_comes_from_the_hub_without_a_data_folder() {
    let folder = Folder::new();
    let commit = cached_dataset(&folder, "nyu-mll/glue", &[]);
    let snapshot = format!("no-cache/datasets--nyu-mll--glue/snapshots/{commit}");
    for (config, split, names) in [
        ("sst2", "train", ["sentence", "unused"]),
        ("qqp", "train", ["question1", "question2"]),
        ("qnli", "train", ["question", "sentence"]),
        ("mnli", "validation_mismatched", ["premise", "hypothesis"]),
    ] {
        let path = format!("{snapshot}/{config}/{split}-00000-of-00001.parquet");
        let columns = [
            (names[0], Column::Text(&[Some("a")])),
            (names[1], Column::Text(&[Some("b")])),
            ("label", Column::Integer(&[Some(1)])),
            ("idx", Column::Integer(&[Some(0)])),
        ];
        write_parquet(&folder.path().join(path), &columns, Compression::SNAPPY, None);
    }
    let from_hub =
        |task: &str, split: &str| load_cached(&folder, &TaskSpec::glue(task).unwrap(), split);
    let data = from_hub("sst2", "train").unwrap();
    assert_eq!(data.examples, [example("a", Some(1))]);
    assert_eq!(data.names, ["nyu-mll/glue/sst2/train-00000-of-00001.parquet"]);
    assert_eq!(data.commit, Some(commit));
    for (task, split) in [("qqp", "train"), ("qnli", "train"), ("mnli-mm", "validation")] {
        assert_eq!(from_hub(task, split).unwrap().examples, [pair("a", "b", Some(1))]);
    }
    says(&failure(from_hub("mnli", "validation")), &["nyu-mll/glue/mnli/validation_matched"]);
}

#[test]
fn a_users_task_may_be_a_data_set_of_the_hub() {
    let folder = Folder::new();
    let csv = |text: &str| format!("t,l\n{text},1\n");
    let files = [
        ("en/train-00000-of-00001.csv", csv("english")),
        ("de/train.csv", csv("german")),
        ("data/train.csv", csv("plain")),
        ("data/dev.csv", csv("dev")),
        ("extra/logs-1.csv", csv("log")),
    ];
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    cached_dataset(&folder, "owner/name", &files);
    let text = |table: &str, split: &str| {
        let table = format!("dataset = 'owner/name'\ntext = 't'\nlabel = 'l'\n{table}");
        let data = load_cached(&folder, &custom(&table, folder.path()), split);
        data.map(|data| data.examples[0].text.clone())
    };
    assert_eq!(text("", "train").unwrap(), "plain");
    assert_eq!(text("", "validation").unwrap(), "dev");
    assert_eq!(text("subset = 'en'", "train").unwrap(), "english");
    assert_eq!(text("subset = 'de'", "train").unwrap(), "german");
    assert_eq!(text("splits = { logs = 'extra/*.csv' }", "logs").unwrap(), "log");
    assert_eq!(text("splits = { mine = 'dev' }", "mine").unwrap(), "dev");
    assert!(text("subset = 'fr'", "train").is_err());
    assert!(text("splits = { mine = 'nothing/*.csv' }", "mine").is_err());
}

#[test]
fn a_users_task_names_its_files_in_its_configs_folder_or_the_data_folder() {
    let (folder, other) = (Folder::new(), Folder::new());
    let table = "text = ['q1', 'q2']\nlabel = 'same'\nlabels = ['no', 'yes']\n\
                 splits = { train = 'pairs.tsv', validation = 'd-*.csv' }";
    folder.write("pairs.tsv", "id\tq1\tq2\tsame\n1\ta\tb\t1\n");
    folder.write("d-2.csv", "q1,q2,same\ne,f,yes\n");
    folder.write("d-1.csv", "q1,q2,same\nc,d,no\n");
    assert_eq!(folder.load_custom(table, "train").unwrap().examples, [pair("a", "b", Some(1))]);
    let validation = folder.load_custom(table, "dev").unwrap();
    assert_eq!(validation.examples, [pair("c", "d", Some(0)), pair("e", "f", Some(1))]);
    assert_eq!(validation.label_names, ["no", "yes"]);
    says(&failure(folder.load_custom(table, "test")), &["no data", "train, validation"]);

    folder.write("test.tsv", "q1\tq2\nunrelated\tfile\n");
    says(&failure(folder.load_custom(table, "test")), &["no data"]);

    other.write("pairs.tsv", "id\tq1\tq2\tsame\n1\tx\ty\t0\n");
    let hub = offline(folder.path());
    let spec = custom(table, folder.path());
    let data = load(&spec, "train", &other.options(&hub)).unwrap();
    assert_eq!(data.examples, [pair("x", "y", Some(0))], "--data comes before the config's folder");
}

#[test]
fn a_folder_whose_name_looks_like_a_pattern_is_a_folder() {
    let folder = Folder::new();
    folder.write("[v1]/rows-1.csv", "t\na\n");
    let hub = offline(folder.path());
    let spec = custom("text = 't'\nsplits = { train = 'rows-*.csv' }", folder.path());
    let data = Some(folder.path().join("[v1]"));
    let options = LoadOptions { data, ..folder.options(&hub) };
    assert_eq!(load(&spec, "train", &options).unwrap().available, 1);
}

#[test]
fn a_format_may_be_forced_and_must_be_known() {
    let folder = Folder::new();
    folder.write("rows.dat", "t,l\na,1\n");
    let table = "text = 't'\nlabel = 'l'\nsplits = { train = 'rows.dat' }";
    says(&failure(folder.load_custom(table, "train")), &["rows.dat", "format = "]);
    let table = format!("{table}\nformat = 'csv'");
    assert_eq!(folder.load_custom(&table, "train").unwrap().examples, [example("a", Some(1))]);
}

#[test]
fn a_mistyped_column_is_an_error_and_no_label_column_is_not() {
    let folder = Folder::new();
    folder.write("rows.csv", "text,label\na,1\n");
    let splits = "splits = { train = 'rows.csv', test = 'rows.csv' }";
    let error = failure(folder.load_custom(&format!("text = 'txt'\n{splits}"), "train"));
    says(&error, &["`txt`", "did you mean `text`?", "[text, label]"]);
    let lable = format!("text = 'text'\nlabel = 'lable'\n{splits}");
    let error = failure(folder.load_custom(&lable, "train"));
    says(&error, &["no label column `lable`", "did you mean `label`?"]);
    assert!(folder.load_custom(&lable, "test").unwrap().unlabelled.is_some());
    let data = folder.load_custom(&format!("text = 'text'\n{splits}"), "train").unwrap();
    assert_eq!(data.examples, [example("a", None)]);
    says(data.unlabelled.as_deref().unwrap(), &["`mine` names no label column"]);
}
