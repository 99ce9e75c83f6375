//! Tensor and config names of the BERT family's checkpoints: one row per family of architectures.

use super::kernels::Activation;
use super::Head;
use crate::checkpoint::{ModelConfig, Weights};

/// The names and properties of one family of architectures.
pub struct EncoderFamily {
    /// Each `model_type` with transformers' class of its classifiers.
    pub architectures: &'static [(&'static str, &'static str)],
    pub(crate) prefix: &'static str,
    pub(crate) layers: &'static str,
    /// Query, key, value, attention output, intermediate, output, and the two layer norms.
    pub(crate) layer: [&'static str; 8],
    pub(crate) keys: ConfigKeys,
    /// Whether positions are counted from `pad_token_id + 1`, as fairseq does.
    pub(crate) positions_after_padding: bool,
    /// The key of LayerNorm's epsilon; DistilBERT has none and uses 1e-12.
    pub(crate) eps_key: Option<&'static str>,
    pub(crate) token_types: bool,
    pub(crate) dropout: DropoutPlaces,
    pub(crate) head: HeadNames,
    pub(crate) masked_head: MaskedHeadNames,
    /// Whether checkpoints may have TinyBERT's head.
    pub(crate) has_two_heads: bool,
}

/// The dropout sites that differ between families, and the keys of the rates.
pub(crate) struct DropoutPlaces {
    /// Keys of the rates after embeddings and dense layers, of attention probabilities, of the head.
    pub(crate) keys: [&'static str; 3],
    /// Whether dropout follows the attention's dense layer.
    pub(crate) attention_output: bool,
    /// Whether dropout precedes the head's first layer.
    pub(crate) head_input: bool,
}

/// The keys of config.json.
pub(crate) struct ConfigKeys {
    pub(crate) hidden: &'static str,
    /// The width of the embeddings, if it may differ from the hidden size.
    pub(crate) embedding: Option<&'static str>,
    pub(crate) layers: &'static str,
    pub(crate) heads: &'static str,
    pub(crate) intermediate: &'static str,
    pub(crate) activation: &'static str,
}

/// The two linear layers of a head, and the activation after the first.
pub(crate) struct HeadNames {
    pub(crate) dense: &'static str,
    pub(crate) activation: Activation,
    pub(crate) output: &'static str,
}

/// The parts of a masked-language-model head.
pub(crate) struct MaskedHeadNames {
    pub(crate) dense: &'static str,
    /// The activation after `dense`, where it is not the encoder's.
    pub(crate) activation: Option<Activation>,
    pub(crate) norm: &'static str,
    /// The matrix over the vocabulary; not stored where it is the table of word embeddings.
    pub(crate) decoder: &'static str,
    /// The decoder's bias; some files have it as the bias of `decoder` too.
    pub(crate) bias: &'static str,
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
    embedding: None,
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
pub static FAMILIES: [EncoderFamily; 4] = [
    EncoderFamily {
        architectures: &[("bert", "BertForSequenceClassification")],
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
        masked_head: MaskedHeadNames {
            dense: "cls.predictions.transform.dense",
            activation: None,
            norm: "cls.predictions.transform.LayerNorm",
            decoder: "cls.predictions.decoder",
            bias: "cls.predictions.bias",
        },
        has_two_heads: true,
    },
    EncoderFamily {
        architectures: &[
            ("roberta", "RobertaForSequenceClassification"),
            ("xlm-roberta", "XLMRobertaForSequenceClassification"),
        ],
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
        masked_head: MaskedHeadNames {
            dense: "lm_head.dense",
            activation: Some(Activation::Gelu),
            norm: "lm_head.layer_norm",
            decoder: "lm_head.decoder",
            bias: "lm_head.bias",
        },
        has_two_heads: false,
    },
    EncoderFamily {
        architectures: &[("electra", "ElectraForSequenceClassification")],
        prefix: "electra.",
        layers: "encoder.layer.",
        layer: BERT_LAYER,
        keys: ConfigKeys { embedding: Some("embedding_size"), ..BERT_KEYS },
        positions_after_padding: false,
        eps_key: Some("layer_norm_eps"),
        token_types: true,
        dropout: DropoutPlaces { head_input: true, ..BERT_DROPOUT },
        head: HeadNames {
            dense: "classifier.dense",
            activation: Activation::Gelu,
            output: "classifier.out_proj",
        },
        masked_head: MaskedHeadNames {
            dense: "generator_predictions.dense",
            activation: Some(Activation::Gelu),
            norm: "generator_predictions.LayerNorm",
            decoder: "generator_lm_head",
            bias: "generator_lm_head.bias",
        },
        has_two_heads: false,
    },
    EncoderFamily {
        architectures: &[("distilbert", "DistilBertForSequenceClassification")],
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
            embedding: None,
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
        masked_head: MaskedHeadNames {
            dense: "vocab_transform",
            activation: None,
            norm: "vocab_layer_norm",
            decoder: "vocab_projector",
            bias: "vocab_projector.bias",
        },
        has_two_heads: false,
    },
];

/// The family of the architecture `name`, if any.
pub fn family(name: &str) -> Option<&'static EncoderFamily> {
    FAMILIES.iter().find(|family| family.class_of(name).is_some())
}

/// The `model_type`s of all rows.
pub fn model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.architectures).map(|(model_type, _)| *model_type)
}

impl EncoderFamily {
    /// Transformers' class of a classifier of the architecture `name`; `None` if it is not of this
    /// family.
    pub fn class_of(&self, name: &str) -> Option<&'static str> {
        self.architectures.iter().find(|(model_type, _)| *model_type == name).map(|row| row.1)
    }

    /// Transformers' class of a masked language model of the architecture `name`; `None` if it is not
    /// of this family.
    pub fn masked_lm_class_of(&self, name: &str) -> Option<String> {
        Some(self.class_of(name)?.replace("SequenceClassification", "MaskedLM"))
    }

    /// Whether `weights` has a masked-language-model head.
    pub fn has_masked_head(&self, weights: &Weights) -> bool {
        weights.has_prefix(self.masked_head.dense)
    }

    /// The prefixes of the tensors of a masked-language-model head that is tied to the embeddings.
    pub fn masked_head_prefixes(&self) -> Vec<String> {
        let MaskedHeadNames { dense, norm, bias, .. } = self.masked_head;
        [dense, norm, bias].map(str::to_owned).to_vec()
    }

    /// The prefix of the encoder's tensor names in `weights`.
    pub fn prefix_in(&self, weights: &Weights) -> &'static str {
        if weights.has_prefix(self.prefix) {
            self.prefix
        } else {
            ""
        }
    }
}

/// The head convention in force, as reports name it.
pub fn head_convention(family: &EncoderFamily, config: &ModelConfig, asked: Head) -> &'static str {
    if !family.has_two_heads {
        return "standard";
    }
    match asked {
        Head::Auto if config.is_original_tinybert() => Head::PooledRelu.as_str(),
        Head::Auto => Head::Pooled.as_str(),
        asked => asked.as_str(),
    }
}
