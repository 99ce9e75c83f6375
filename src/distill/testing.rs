//! Small random models for the tests of this room.

use std::collections::BTreeMap;

use serde_json::json;

use crate::checkpoint::{Draws, ModelConfig, Weights};
use crate::model::{load_trainable, Head, Trainable};

pub const VOCABULARY: usize = 12;
const LABELS: [&str; 2] = ["no", "yes"];

/// The config.json of `layers` layers over twelve tokens.
pub fn config(class: &str, layers: usize) -> ModelConfig {
    let config = json!({
        "model_type": "bert", "architectures": [class], "vocab_size": VOCABULARY,
        "hidden_size": 4, "num_hidden_layers": layers, "num_attention_heads": 2,
        "intermediate_size": 8, "max_position_embeddings": 8, "type_vocab_size": 2,
        "id2label": {"0": LABELS[0], "1": LABELS[1]},
    });
    ModelConfig::of("config.json".as_ref(), config.as_object().unwrap().clone())
}

/// Random weights, and these `tensors` by their names.
pub fn weights(seed: u64, tensors: &[(&str, &[usize])]) -> Weights {
    let draws = Draws { seed, deviation: 0.5, prefixes: vec![String::new()] };
    let tensor =
        |(name, dims): &(&str, &[usize])| ((*name).to_owned(), draws.tensor(name, dims).unwrap());
    let tensors: BTreeMap<_, _> = tensors.iter().map(tensor).collect();
    Weights::from_tensors("random", tensors).unwrap().with_draws(draws)
}

/// The head of a classifier.
pub const HEAD: [(&str, &[usize]); 2] = [("classifier.weight", &[2, 4]), ("classifier.bias", &[2])];

pub fn classifier(seed: u64, layers: usize) -> Box<dyn Trainable> {
    let config = config("BertForSequenceClassification", layers);
    load_trainable(&config, &mut weights(seed, &HEAD), Head::Pooled).unwrap().unwrap().0
}
