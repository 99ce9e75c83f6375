//! What the checkpoints of the BERT family call their parts: one row per family of architectures.

use super::kernels::Activation;
use super::Head;
use crate::checkpoint::{ModelConfig, Weights};

/// What the checkpoints of one family of architectures call the parts of the encoder.
pub struct Family {
    /// The `model_type`s that share these names.
    pub model_types: &'static [&'static str],
    pub(crate) prefix: &'static str,
    pub(crate) layers: &'static str,
    /// Query, key, value, attention output, intermediate, output, and the two layer norms.
    pub(crate) layer: [&'static str; 8],
    pub(crate) keys: ConfigKeys,
    /// Whether positions are counted from `pad_token_id + 1`, as fairseq does.
    pub(crate) positions_after_padding: bool,
    /// The key of LayerNorm's epsilon; DistilBERT has none, and 1e-12 like the others' default.
    pub(crate) eps_key: Option<&'static str>,
    pub(crate) token_types: bool,
    pub(crate) dropout: DropoutPlaces,
    pub(crate) head: HeadNames,
}

/// Where a family drops out in training, beyond what all do, and what config.json calls the rates.
pub(crate) struct DropoutPlaces {
    /// The rate after embeddings and dense layers, of the attention probabilities, of the head.
    pub(crate) keys: [&'static str; 3],
    /// Whether the attention's dense layer is followed by dropout.
    pub(crate) attention_output: bool,
    /// Whether the head's first layer is preceded by dropout.
    pub(crate) head_input: bool,
}

/// What config.json calls the sizes.
pub(crate) struct ConfigKeys {
    pub(crate) hidden: &'static str,
    pub(crate) layers: &'static str,
    pub(crate) heads: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) activation: &'static str,
}

/// The two linear layers of a head: their names and what follows the first.
pub(crate) struct HeadNames {
    pub(crate) dense: &'static str,
    pub(crate) activation: Activation,
    pub(crate) output: &'static str,
}

const BERT_LAYER: [&str; 8] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
    "attention.output.LayerNorm",
    "output.LayerNorm",
];
const BERT_KEYS: ConfigKeys = ConfigKeys {
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    intermediate: "intermediate_size",
    activation: "hidden_act",
};

const BERT_DROPOUT: DropoutPlaces = DropoutPlaces {
    keys: ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"],
    attention_output: true,
    head_input: false,
};

/// The families, one row each.
pub static FAMILIES: [Family; 4] = [
    Family {
        model_types: &["bert"],
        prefix: "bert.",
        layers: "encoder.layer.",
        layer: BERT_LAYER,
        keys: BERT_KEYS,
        positions_after_padding: false,
        eps_key: Some("layer_norm_eps"),
        token_types: true,
        dropout: BERT_DROPOUT,
        head: HeadNames {
            dense: "bert.pooler.dense",
            activation: Activation::Tanh,
            output: "classifier",
        },
    },
    Family {
        model_types: &["roberta", "xlm-roberta"],
        prefix: "roberta.",
        layers: "encoder.layer.",
        layer: BERT_LAYER,
        keys: BERT_KEYS,
        positions_after_padding: true,
        eps_key: Some("layer_norm_eps"),
        token_types: true,
        dropout: DropoutPlaces { head_input: true, ..BERT_DROPOUT },
        head: HeadNames {
            dense: "classifier.dense",
            activation: Activation::Tanh,
            output: "classifier.out_proj",
        },
    },
    Family {
        model_types: &["electra"],
        prefix: "electra.",
        layers: "encoder.layer.",
        layer: BERT_LAYER,
        keys: BERT_KEYS,
        positions_after_padding: false,
        eps_key: Some("layer_norm_eps"),
        token_types: true,
        dropout: DropoutPlaces { head_input: true, ..BERT_DROPOUT },
        head: HeadNames {
            dense: "classifier.dense",
            activation: Activation::Gelu,
            output: "classifier.out_proj",
        },
    },
    Family {
        model_types: &["distilbert"],
        prefix: "distilbert.",
        layers: "transformer.layer.",
        layer: [
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "ffn.lin1",
            "ffn.lin2",
            "sa_layer_norm",
            "output_layer_norm",
        ],
        keys: ConfigKeys {
            hidden: "dim",
            layers: "n_layers",
            heads: "n_heads",
            intermediate: "hidden_dim",
            activation: "activation",
        },
        positions_after_padding: false,
        eps_key: None,
        token_types: false,
        dropout: DropoutPlaces {
            keys: ["dropout", "attention_dropout", "seq_classif_dropout"],
            attention_output: false,
            head_input: false,
        },
        head: HeadNames {
            dense: "pre_classifier",
            activation: Activation::Relu,
            output: "classifier",
        },
    },
];

/// The family of the architecture `name`; `None` where its encoder is not our own.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.model_types.contains(&name))
}

impl Family {
    /// The class of transformers that reads a classifier of the architecture `name`.
    pub fn class_of(&self, name: &str) -> &'static str {
        match name {
            "roberta" => "RobertaForSequenceClassification",
            "xlm-roberta" => "XLMRobertaForSequenceClassification",
            "electra" => "ElectraForSequenceClassification",
            "distilbert" => "DistilBertForSequenceClassification",
            _ => "BertForSequenceClassification",
        }
    }

    /// The prefix that the names of an encoder's tensors have in `weights`.
    pub fn prefix_in(&self, weights: &Weights) -> &'static str {
        if weights.has_prefix(self.prefix) {
            self.prefix
        } else {
            ""
        }
    }
}

/// The head convention that is in force, as the report names it.
pub fn head_convention(family: &Family, config: &ModelConfig, asked: Head) -> &'static str {
    if family.model_types != ["bert"] {
        return "standard";
    }
    match asked {
        Head::Auto if config.is_original_tinybert() => Head::PooledRelu.as_str(),
        Head::Auto => Head::Pooled.as_str(),
        asked => asked.as_str(),
    }
}
