//! Masked language models against PyTorch's: logits, the likeliest tokens, gradients.
//!
//! The checkpoints and what PyTorch computes come from scripts/fixtures/masked_lms.py.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use confidence_audit::checkpoint::{ModelConfig, TokenizedExample, Weights};
use confidence_audit::distill::losses;
use confidence_audit::error::rendered;
use confidence_audit::input::InputFile;
use confidence_audit::model::{
    load_masked_lm, ops, Dropout, DropoutRates, Frozen, MaskedLm, Mode, PackedBatch,
};
use serde::Deserialize;

const NAMES: [&str; 5] = ["bert", "bert-untied", "roberta", "distilbert", "electra"];

/// Largest difference from PyTorch's results that rounding explains.
const TOLERANCE: f64 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    batch: Vec<Row>,
    places: Vec<u32>,
    likeliest: Vec<Vec<usize>>,
    loss: f64,
}

#[derive(Deserialize)]
struct Row {
    input_ids: Vec<u32>,
    token_type_ids: Vec<u32>,
}

impl Reference {
    fn of(name: &str) -> Self {
        let file = folder(name).join("reference.json");
        serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
    }

    fn packed(&self) -> PackedBatch {
        let example = |row: &Row| TokenizedExample {
            input_ids: row.input_ids.clone(),
            token_type_ids: row.token_type_ids.clone(),
            truncated: false,
        };
        PackedBatch::new(&self.batch.iter().map(example).collect::<Vec<_>>())
    }

    /// PyTorch's mean cross-entropy: the target of place i is token i.
    fn loss(&self, model: &MaskedLm) -> Tensor {
        let logits = model.logits(&self.packed(), &self.places, Mode::Eval).unwrap();
        let targets: Vec<u32> = (0..self.places.len() as u32).collect();
        losses::hard(&logits, &targets).unwrap()
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/masked-lm").join(name)
}

fn parts(name: &str) -> (ModelConfig, Weights) {
    let folder = folder(name);
    let config = ModelConfig::read(&folder.join("config.json")).unwrap();
    let file = InputFile::open(&folder.join("model.safetensors")).unwrap();
    (config, Weights::open(name, &[file]).unwrap())
}

fn model(name: &str) -> MaskedLm {
    let (config, mut weights) = parts(name);
    load_masked_lm(&config, &mut weights).unwrap().0
}

fn tensors(name: &str, file: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(folder(name).join(file), &Device::Cpu).unwrap()
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

#[track_caller]
fn agree(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    for (i, (a, b)) in flat(found).into_iter().zip(flat(expected)).enumerate() {
        let difference = (a - b).abs() / b.abs().max(1.0);
        assert!(difference <= tolerance, "{what}, element {i}: {a} is not PyTorch's {b}");
    }
}

/// The ids of a row's largest logits, the largest first.
fn likeliest(logits: &[f64], count: usize) -> Vec<usize> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    ids.truncate(count);
    ids
}

#[test]
fn logits_and_the_likeliest_tokens_are_pytorchs() {
    for name in NAMES {
        let (reference, model) = (Reference::of(name), model(name));
        let logits = model.logits(&reference.packed(), &reference.places, Mode::Eval).unwrap();
        assert_eq!(logits.dims(), [20, model.vocabulary()], "{name}");
        agree(name, &logits, &tensors(name, "logits.safetensors")["logits"], TOLERANCE);
        let rows = flat(&logits);
        for (row, expected) in rows.chunks(model.vocabulary()).zip(&reference.likeliest) {
            assert_eq!(&likeliest(row, expected.len()), expected, "{name}");
        }
        assert_eq!(model.is_tied(), name != "bert-untied", "{name}");
    }
}

#[test]
fn the_gradient_of_every_parameter_is_pytorchs() {
    for name in NAMES {
        let reference = Reference::of(name);
        let (model, parameters) = model(name).trainable(Frozen::Nothing).unwrap();
        let loss = reference.loss(&model);
        let value = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((value - reference.loss).abs() < TOLERANCE, "{name}: {value} {}", reference.loss);
        let gradients = ops::backward(&loss).unwrap();
        for parameter in &parameters {
            let gradient = gradients.get(&parameter.var).expect(&parameter.name).clone();
            parameter.var.set(&gradient).unwrap();
        }
        // Where each parameter is its gradient, an export names the gradients.
        let (found, expected) = (model.export().unwrap(), tensors(name, "gradients.safetensors"));
        let mut names: Vec<&String> = expected.keys().collect();
        names.sort();
        assert_eq!(found.keys().collect::<Vec<_>>(), names, "{name}");
        for (tensor, gradient) in &found {
            agree(&format!("{name}, {tensor}"), gradient, &expected[tensor], TOLERANCE);
        }
    }
}

#[test]
fn an_exported_model_is_loaded_back_with_its_parameters() {
    for name in NAMES {
        let (reference, first) = (Reference::of(name), model(name));
        let logits = |model: &MaskedLm| {
            flat(&model.logits(&reference.packed(), &reference.places, Mode::Eval).unwrap())
        };
        let (config, _) = parts(name);
        let mut weights = Weights::from_tensors(name, first.export().unwrap()).unwrap();
        let again = load_masked_lm(&config, &mut weights).unwrap().0;
        assert_eq!(logits(&first), logits(&again), "{name}");

        let (trainable, parameters) = first.trainable(Frozen::Nothing).unwrap();
        let snapshot = trainable.snapshot().unwrap();
        for parameter in &parameters {
            parameter.var.set(&(parameter.var.as_tensor() * 0.5).unwrap()).unwrap();
        }
        assert_ne!(logits(&first), logits(&trainable), "{name}");
        assert_eq!(logits(&first), logits(&snapshot), "{name}");
    }
}

#[test]
fn parameters_have_a_fixed_order_and_frozen_embeddings_have_none() {
    let head = |name: &str, frozen| {
        let (_, parameters) = model(name).trainable(frozen).unwrap();
        let names: Vec<String> = parameters.into_iter().map(|p| p.name).collect();
        (names[0].clone(), names.iter().skip_while(|n| !n.starts_with("tr")).cloned().collect())
    };
    let tied = ["transform.weight", "transform.bias", "transform_norm", "decoder_bias"];
    let (first, last): (String, Vec<String>) = head("bert", Frozen::Nothing);
    assert_eq!((first.as_str(), last), ("words", tied.map(str::to_owned).to_vec()));
    let (first, last) = head("bert-untied", Frozen::Embeddings);
    assert_eq!(first, "layers.0.query_key_value.weight");
    assert_eq!(last[3..], ["decoder", "decoder_bias"]);
}

#[test]
fn the_logits_are_differentiable_in_the_word_rows() {
    let (reference, model) = (Reference::of("electra"), model("electra"));
    let model = model.to_dtype(DType::F64).unwrap();
    let (batch, places) = (reference.packed(), &reference.places);
    let words = ops::embed(model.word_embeddings(), batch.input_ids.clone()).unwrap();
    let words = Var::from_tensor(&words).unwrap();
    let loss = || {
        let logits = model.logits_from(&words, &batch, places, Mode::Eval).unwrap();
        (logits.sqr().unwrap().sum_all().unwrap() * 1e-3).unwrap()
    };
    let gradients = loss().backward().unwrap();
    let slopes = flat(gradients.get(&words).unwrap());
    let (start, step) = (flat(&words), 1e-5);
    for element in [0, 7, 100, start.len() - 1] {
        let at = |change: f64| {
            let mut moved = start.clone();
            moved[element] += change;
            let moved = Tensor::from_vec(moved, words.shape(), &Device::Cpu).unwrap();
            words.set(&moved).unwrap();
            loss().to_scalar::<f64>().unwrap()
        };
        let slope = (at(step) - at(-step)) / (2.0 * step);
        let difference = (slope - slopes[element]).abs() / slope.abs().max(1e-3);
        assert!(difference < 1e-5, "element {element}: {slope} and {}", slopes[element]);
    }
}

#[test]
fn dropout_changes_the_logits_and_its_pass_determines_them() {
    let (reference, model) = (Reference::of("bert"), model("bert"));
    let rates = DropoutRates { hidden: 0.1, attention: 0.1, classifier: 0.1 };
    let of = |pass| {
        let dropout = Dropout::new(rates, 3, pass);
        let mode = Mode::Train(&dropout);
        flat(&model.logits(&reference.packed(), &reference.places, mode).unwrap())
    };
    assert_eq!(of(0), of(0));
    assert_ne!(of(0), of(1));
}

/// The error of `change`d tensors of the fixture `name`.
fn refused(
    name: &str,
    change: impl FnOnce(&mut std::collections::BTreeMap<String, Tensor>, &mut ModelConfig),
) -> String {
    let (mut config, mut weights) = parts(name);
    let mut tensors = weights.stored().unwrap();
    change(&mut tensors, &mut config);
    let mut weights = Weights::from_tensors(name, tensors).unwrap();
    let error = load_masked_lm(&config, &mut weights).err().expect("it is refused");
    rendered(&error)
}

fn set(config: &mut ModelConfig, key: &str, value: serde_json::Value) {
    let mut keys = config.keys().clone();
    keys.insert(key.to_owned(), value);
    *config = ModelConfig::of(Path::new("config.json"), keys);
}

#[test]
fn contradictory_decoders_are_refused() {
    let error = refused("bert-untied", |_, config| set(config, "tie_word_embeddings", true.into()));
    assert!(error.contains("differs from the word embeddings"), "{error}");
    let error = refused("bert", |_, config| set(config, "tie_word_embeddings", false.into()));
    assert!(error.contains("no tensor `cls.predictions.decoder.weight`"), "{error}");
    let error = refused("bert-untied", |tensors, _| {
        let bias = &tensors["cls.predictions.bias"];
        let other = (bias + 1.0).unwrap();
        tensors.insert("cls.predictions.decoder.bias".to_owned(), other);
    });
    assert!(error.contains("are one bias, and they differ"), "{error}");
}

#[test]
fn a_stored_copy_of_the_word_embeddings_is_tied() {
    let (config, mut weights) = parts("bert");
    let mut tensors = weights.stored().unwrap();
    let words = tensors["bert.embeddings.word_embeddings.weight"].clone();
    tensors.insert("cls.predictions.decoder.weight".to_owned(), words);
    let bias = tensors.remove("cls.predictions.bias").unwrap();
    tensors.insert("cls.predictions.decoder.bias".to_owned(), bias);
    let mut weights = Weights::from_tensors("bert", tensors).unwrap();
    let model = load_masked_lm(&config, &mut weights).unwrap().0;
    assert!(model.is_tied());
    let reference = Reference::of("bert");
    let logits = model.logits(&reference.packed(), &reference.places, Mode::Eval).unwrap();
    let expected = &crate::tensors("bert", "logits.safetensors")["logits"];
    agree("bert", &logits, expected, TOLERANCE);
}

#[test]
fn a_checkpoint_without_the_head_is_refused() {
    let error = refused("bert", |tensors, _| {
        tensors.retain(|name, _| !name.starts_with("cls."));
    });
    assert!(error.contains("has no masked-language-model head"), "{error}");
    assert!(error.contains("ForMaskedLM"), "{error}");
    let error = refused("roberta", |tensors, _| {
        tensors.remove("lm_head.bias");
    });
    assert!(error.contains("the tensor `lm_head.bias` is missing"), "{error}");
}
