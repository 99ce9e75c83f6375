//! Every folder of tests/fixtures/tokenizer_inputs.json, read as transformers reads it.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokenizers::TruncationDirection;

use super::*;
use crate::hub::Hub;

/// What transformers says. Where version 5 cannot read a folder, version 4 is followed; where it makes
/// another tokenizer of the vocabulary, as of a WordPiece vocabulary for RoBERTa's class, the ids are
/// those of version 4, which are those of tokenizer.json.
struct Expected<'a> {
    ids: &'a Value,
    inputs: &'a Value,
}

impl<'a> Expected<'a> {
    fn of(answers: &'a Value, readings: &'a Value) -> Self {
        let has = |version: &str| answers[version]["error"].is_null();
        let reading =
            |version: &str| &readings[answers[version]["reading"].as_u64().unwrap() as usize];
        Expected {
            ids: reading(if has("4") { "4" } else { "5" }),
            inputs: reading(if has("5") { "5" } else { "4" }),
        }
    }
}

/// The tokenizer of a case's folder.
fn tokenizer(asked: &Value, folders: &Value) -> (TempDir, TextTokenizer) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    for (name, text) in folders[asked["files"].as_str().unwrap()].as_object().unwrap() {
        write(name, text.as_str().unwrap());
    }
    if !asked["tokenizer_config"].is_null() {
        write("tokenizer_config.json", &asked["tokenizer_config"].to_string());
    }
    write("config.json", &asked["config"].to_string());
    let hub = Hub::from_env();
    let place = CheckpointFiles::find(folder.path().to_str().unwrap(), &hub).unwrap().0;
    let model = ModelConfig::read(&folder.path().join("config.json")).unwrap();
    let files = files(&place, &model).unwrap();
    let tokenizer = TextTokenizer::open(&files, &model, Casing::Uncased).unwrap();
    (folder, tokenizer)
}

fn numbers(list: &Value) -> Vec<u32> {
    let list = list.as_array().unwrap().iter();
    list.map(|number| number.as_u64().unwrap() as u32).collect()
}

/// The tokens of each text are those under `key`.
fn compare(case: &Value, tokenizer: &TextTokenizer, readings: &Value, key: &str) {
    let asked = &case["asked"];
    let Expected { ids, inputs } = Expected::of(&case["answers"], readings);
    for (i, texts) in asked["texts"].as_array().unwrap().iter().enumerate() {
        let encoded = tokenizer.encode(texts[0].as_str().unwrap(), texts[1].as_str()).unwrap();
        let expected = numbers(&ids[key][i]["ids"]);
        assert_eq!(encoded.input_ids, expected, "{key} of {asked}");
        let inputs = &inputs[key][i];
        let types = match inputs["types"].is_null() {
            true => vec![0; expected.len()],
            false if inputs["ids"] != ids[key][i]["ids"] => numbers(&ids[key][i]["types"]),
            false => numbers(&inputs["types"]),
        };
        assert_eq!(encoded.token_type_ids, types, "{key} of {asked}");
    }
}

#[test]
fn every_folder_is_read_as_transformers_reads_it() {
    let text = include_str!("../../../tests/fixtures/tokenizer_inputs.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    let readings = &fixture["readings"];
    let (mut returned, mut cut_left) = (0, 0);
    for case in cases {
        let (_folder, mut tokenizer) = tokenizer(&case["asked"], &fixture["folders"]);
        let inputs = Expected::of(&case["answers"], readings).inputs;
        let types = !inputs["whole"][0]["types"].is_null();
        assert_eq!(tokenizer.returns_token_types(), types, "{}", case["asked"]);
        let both = ["5", "4"].map(|version| &case["answers"][version]["model_max_length"]);
        let longest = both.into_iter().find_map(Value::as_f64).filter(|n| *n < 1e20);
        let own = tokenizer.model_max_length().filter(|length| *length != i64::MAX);
        assert_eq!(own.map(|n| n as f64), longest, "{}", case["asked"]);
        compare(case, &tokenizer, readings, "whole");
        tokenizer.set_max_length(10).unwrap();
        compare(case, &tokenizer, readings, "cut");
        returned += usize::from(types);
        cut_left += usize::from(tokenizer.conventions.direction == TruncationDirection::Left);
    }
    assert!(returned > 40 && cases.len() - returned > 40 && cut_left > 4, "{returned} {cut_left}");
}
