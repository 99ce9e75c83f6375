//! `audit augment`: copies of training texts with other words.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use common::{fixture, glue, with, Run, Sandbox};
use confidence_audit::audit::Session;
use confidence_audit::augment::{Augmentation, CopyOptions};
use confidence_audit::checkpoint::{ModelConfig, TokenizedExample, Weights};
use confidence_audit::config::{Config, Layer};
use confidence_audit::digest::sha256_of;
use confidence_audit::error::{exit_code, Exit};
use confidence_audit::hub::{Connection, Hub, HubSettings};
use confidence_audit::input::InputFile;
use confidence_audit::interrupt::Interrupt;
use confidence_audit::model::{load_masked_lm, Mode, PackedBatch};
use confidence_audit::terminal::Verbosity;
use serde_json::Value;

/// `played` is nearest to `acted`, which is two pieces of the fixtures' tokenizer.
const VECTORS: &str = "acted 1 0 0\nplayed 1 0.1 0\nliked 1 1 0\nplot 0 0 1\nfilm 0 1 1\n";

/// All tasks' data in `glue`, a masked language model in `lm` and word vectors.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    common::copy_folder(&fixture("masked-lm/bert"), &sandbox.path("lm"));
    sandbox.write("vectors.txt", VECTORS);
    sandbox
}

fn augment<S: AsRef<str>>(sandbox: &Sandbox, task: &str, output: &str, more: &[S]) -> Run {
    let what = ["augment", "--task", task, "--data", "glue", "--masked-lm", "lm"];
    let files = ["--vectors", "vectors.txt", "--output", output];
    sandbox.audit(&with(&with(&what, &files), more))
}

/// The rows of a table: its texts, and the place of its original.
fn rows(sandbox: &Sandbox, file: &str, columns: &[&str]) -> Vec<(Vec<String>, u64)> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = |column: &&str| row[*column].as_str().unwrap().to_owned();
        let keys: Vec<&String> = row.as_object().unwrap().keys().collect();
        assert_eq!(keys[..columns.len()], columns[..]);
        assert_eq!(keys[columns.len()..], ["row"]);
        (columns.iter().map(text).collect(), row["row"].as_u64().unwrap())
    };
    sandbox.read(file).lines().map(row).collect()
}

const RTE: [&str; 2] = ["sentence1", "sentence2"];

/// The rows of the training set itself.
fn originals(sandbox: &Sandbox, task: &str, columns: &[&str]) -> Vec<Vec<String>> {
    let run = augment(sandbox, task, "originals.jsonl", &["--probability", "0", "--force"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    rows(sandbox, "originals.jsonl", columns).into_iter().map(|(texts, _)| texts).collect()
}

#[test]
fn without_a_replacement_the_table_has_the_originals_alone() {
    let sandbox = sandbox();
    let originals = originals(&sandbox, "rte", &RTE);
    assert_eq!(originals.len(), glue::TRAIN);
    // As glue::write has them.
    assert_eq!(originals[2], [glue::sentence(2), glue::sentence(7)]);
}

#[test]
fn the_training_set_is_augmented_whatever_split_the_config_audits() {
    let sandbox = sandbox();
    sandbox.write("audit.toml", "[task.rte]\nsplit = \"validation,test\"\n");
    assert_eq!(originals(&sandbox, "rte", &RTE).len(), glue::TRAIN);
}

/// The likeliest token at each masked piece of `pieces`, computed as the method describes it.
fn likeliest(pieces: &[&str], masked: &[usize]) -> BTreeMap<usize, String> {
    let folder = fixture("masked-lm/bert");
    let text = fs::read_to_string(folder.join("vocab.txt")).unwrap();
    let vocabulary: Vec<&str> = text.lines().collect();
    let id = |piece: &str| vocabulary.iter().position(|it| *it == piece).expect(piece) as u32;
    let ids: Vec<u32> = pieces.iter().map(|piece| id(piece)).collect();
    let config = ModelConfig::read(&folder.join("config.json")).unwrap();
    let file = InputFile::open(&folder.join("model.safetensors")).unwrap();
    let mut weights = Weights::open("lm", &[file]).unwrap();
    let (model, _) = load_masked_lm(&config, &mut weights).unwrap();
    let mut likeliest = BTreeMap::new();
    for &place in masked {
        let mut copy = ids.clone();
        copy[place] = id("[MASK]");
        let input_ids = [&[id("[CLS]")], &copy[..], &[id("[SEP]")], &ids[..], &[id("[SEP]")]];
        let input_ids = input_ids.concat();
        let mut token_type_ids = vec![0; ids.len() + 2];
        token_type_ids.resize(input_ids.len(), 1);
        let example = TokenizedExample { input_ids, token_type_ids, truncated: false };
        let batch = PackedBatch::new([&example]);
        let logits = model.logits(&batch, &[1 + place as u32], Mode::Eval).unwrap();
        let logits = logits.to_vec2::<f32>().unwrap().remove(0);
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        let token = vocabulary[best];
        let is_word = !token.starts_with("##") && !token.starts_with('[');
        likeliest.insert(place, if is_word { token } else { pieces[place] }.to_owned());
    }
    likeliest
}

#[test]
fn every_replaceable_word_becomes_the_likeliest_and_no_other_word_changes() {
    let sandbox = sandbox();
    let text = "The film isn't well-acted, and it is very good 3!";
    sandbox.write("glue/SST-2/train.tsv", format!("sentence\tlabel\n{text}\t1\n"));
    let more = ["--probability", "1", "--candidates", "1"];
    let run = augment(&sandbox, "sst2", "a.jsonl", &more);
    assert_eq!(run.code, 0, "{}", run.stderr);
    // 3 is unknown to the tokenizer; the others are its pieces.
    let pieces = [
        "the", "film", "is", "##n", "'", "t", "well", "-", "act", "##ed", ",", "and", "it", "is",
        "very", "good", "[UNK]", "!",
    ];
    let found = likeliest(&pieces, &[1, 6, 15]);
    let [film, well, good] = [1, 6, 15].map(|place| found[&place].as_str());
    let copy = format!("the {film} isn ' t {well} - played , and it is very {good} 3 !");
    let texts: Vec<String> =
        rows(&sandbox, "a.jsonl", &["sentence"]).into_iter().flat_map(|row| row.0).collect();
    assert_eq!(texts, [text, &copy]);
    let replaced = [film != "film", well != "well", good != "good"];
    assert!(replaced.contains(&true), "the fixture replaces no word: {copy}");
}

#[test]
fn copies_of_a_pair_change_one_text_and_are_distinct() {
    let sandbox = sandbox();
    let originals = originals(&sandbox, "rte", &RTE);
    assert_eq!(augment(&sandbox, "rte", "a.jsonl", &["--copies", "6"]).code, 0);
    let rows = rows(&sandbox, "a.jsonl", &RTE);
    for (place, original) in originals.iter().enumerate() {
        let own: Vec<&Vec<String>> =
            rows.iter().filter(|row| row.1 == place as u64).map(|row| &row.0).collect();
        assert_eq!(own[0], original);
        assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len(), "{own:?}");
        let changed =
            |column: usize| own[1..].iter().filter(|row| row[column] != original[column]).count();
        assert!(changed(0) <= 6 && changed(1) <= 6);
        assert_eq!(changed(0) + changed(1), own.len() - 1, "{own:?}");
    }
    assert!(rows.len() > 4 * originals.len(), "{} rows", rows.len());
}

#[test]
fn the_seed_determines_the_bytes_on_any_number_of_threads() {
    let sandbox = sandbox();
    let table = |name: &str, more: &[&str]| {
        let run = augment(&sandbox, "mrpc", name, &with(&["--copies", "5"], more));
        assert_eq!(run.code, 0, "{}", run.stderr);
        sandbox.read(name)
    };
    let one = table("1.jsonl", &["--threads", "1"]);
    assert_eq!(one, table("2.jsonl", &["--threads", "2"]));
    assert_ne!(one, table("3.jsonl", &["--seed", "1"]));
    // The rows of the first examples do not depend on the others.
    assert!(one.starts_with(&table("4.jsonl", &["--limit", "7"])));
    assert_eq!(sandbox.read("1.json"), sandbox.read("2.json"));
}

#[test]
fn the_record_says_what_the_table_was_made_of() {
    let sandbox = sandbox();
    let run = augment(&sandbox, "cola", "a.jsonl", &["--limit", "9", "--seed", "4"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    let record: Value = serde_json::from_str(&sandbox.read("a.json")).unwrap();
    let sha256 = |file: &str| Value::from(sha256_of(&[sandbox.path(file)]).unwrap());
    assert_eq!(record["sha256"], sha256("a.jsonl"));
    assert_eq!(record["masked_lm"]["weights_sha256"], sha256("lm/model.safetensors"));
    assert_eq!(record["masked_lm"]["config_sha256"], sha256("lm/config.json"));
    assert_eq!(record["vectors"]["sha256"], sha256("vectors.txt"));
    assert_eq!(
        (&record["vectors"]["rows"], &record["vectors"]["dimensions"]),
        (&5.into(), &3.into())
    );
    assert_eq!(record["data"]["sha256"], sha256("glue/CoLA/train.tsv"));
    assert_eq!((&record["data"]["examples"], &record["data"]["limit"]), (&9.into(), &9.into()));
    let options = ["task", "split", "copies", "probability", "candidates", "seed"];
    let expected: [Value; 6] =
        ["cola".into(), "train".into(), 30.into(), 0.4.into(), 15.into(), 4.into()];
    assert_eq!(options.map(|key| record[key].clone()), expected);
    let lines = sandbox.read("a.jsonl").lines().count();
    assert_eq!(record["rows"], lines);
    assert!(
        run.stderr.contains(&format!("wrote a.jsonl: {lines} rows of 9 examples")),
        "{}",
        run.stderr
    );
}

#[test]
fn an_existing_output_is_kept_unless_it_is_to_be_replaced() {
    let sandbox = sandbox();
    for existing in ["a.jsonl", "a.json"] {
        sandbox.write(existing, "old");
        let run = augment::<&str>(&sandbox, "rte", "a.jsonl", &[]);
        assert_eq!(run.code, 2);
        assert!(run.stderr.contains(&format!("`{existing}` already exists")), "{}", run.stderr);
        assert_eq!(sandbox.read(existing), "old");
        fs::remove_file(sandbox.path(existing)).unwrap();
    }
    sandbox.write("a.jsonl", "old");
    let run = augment(&sandbox, "rte", "a.jsonl", &["--force", "--copies", "1", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert_ne!(sandbox.read("a.jsonl"), "old");
}

#[test]
fn what_cannot_be_augmented_is_refused() {
    let sandbox = sandbox();
    sandbox.checkpoint("classifier", "architectures/bert", glue::labels("mnli"));
    common::copy_folder(&fixture("masked-lm/roberta"), &sandbox.path("roberta"));
    sandbox.write("bad.txt", "film 1 0\nplot 1\n");
    sandbox.write("glue/WNLI/train.tsv", "sentence1\tsentence2\tlabel\na\tb\t1\n");
    let files = |masked_lm, vectors, output| {
        ["--masked-lm", masked_lm, "--vectors", vectors, "--output", output]
    };
    /// The task, the files, other arguments, the exit code and the reason.
    type Case<'a> = (&'a str, [&'a str; 6], &'a [&'a str], i32, &'a str);
    let cases: [Case; 8] = [
        (
            "rte",
            files("classifier", "vectors.txt", "a.jsonl"),
            &[],
            3,
            "no masked-language-model head",
        ),
        ("rte", files("roberta", "vectors.txt", "a.jsonl"), &[], 3, "not a WordPiece tokenizer"),
        ("rte", files("lm", "bad.txt", "a.jsonl"), &[], 3, "`bad.txt` line 2: it has 1 values"),
        ("rte", files("lm", "absent.txt", "a.jsonl"), &[], 3, "cannot read `absent.txt`"),
        ("rte", files("lm", "vectors.txt", "a.tsv"), &[], 2, "does not end in .jsonl"),
        ("rte", files("lm", "vectors.txt", "no/a.jsonl"), &[], 3, "cannot write `no/a.jsonl`"),
        ("wnli", files("lm", "vectors.txt", "a.jsonl"), &[], 2, "pass --copies"),
        ("rte", files("lm", "vectors.txt", "a.jsonl"), &["--probability", "1.5"], 2, "from 0 to 1"),
    ];
    for (task, files, more, code, why) in cases {
        let what = with(&["augment", "--task", task, "--data", "glue"], &files);
        let run = sandbox.audit(&with(&what, more));
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(run.stderr.contains(why), "{}", run.stderr);
    }
    assert!(!sandbox.names("").iter().any(|name| name.starts_with("a.")));
}

#[test]
fn an_interrupt_says_how_far_it_came() {
    let sandbox = sandbox();
    let data = Some(sandbox.arg("glue"));
    let settings = Config::default().settings("rte", &Layer { data, ..Layer::default() }).unwrap();
    let hub = HubSettings::new(sandbox.path("hub"));
    let hub = Hub::new(HubSettings { connection: Connection::Offline, ..hub });
    let interrupt = Interrupt::default();
    interrupt.set();
    let session = Session::new(hub, interrupt, Verbosity::Quiet);
    let augmentation = Augmentation {
        settings: &settings,
        masked_lm: &sandbox.arg("lm"),
        vectors: &InputFile::open(&sandbox.path("vectors.txt")).unwrap(),
        output: &sandbox.path("a.jsonl"),
        options: CopyOptions { copies: 1, probability: 0.4, candidates: 15, seed: 0 },
    };
    let error = augmentation.write(&session, &mut Vec::new()).unwrap_err();
    assert_eq!(exit_code(&error), Exit::Interrupted);
    let expected = "interrupted: 0 of 24 examples were done (running the masked language model); no table was written";
    assert_eq!(error.to_string(), expected);
}
