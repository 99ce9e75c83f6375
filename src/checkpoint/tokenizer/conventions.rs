//! What transformers' tokenizer of a checkpoint returns beside the token ids, and where it cuts a
//! text. Its class and tokenizer_config.json decide that, not tokenizer.json.
//!
//! The rules are those of version 5 of transformers. The classes come from
//! `models/auto/tokenization_auto.py`, their inputs from `model_input_names` of each class, and the
//! rest from the constructor in `tokenization_utils_base.py`.

use anyhow::{bail, Result};
use serde_json::Value;
use tokenizers::TruncationDirection;

use crate::checkpoint::ModelConfig;

/// The class of tokenizers that no class of their own describes.
const GENERIC: &str = "TokenizersBackend";

/// The class that AutoTokenizer chooses for a `model_type` (`TOKENIZER_MAPPING_NAMES`).
const REGISTERED: [(&str, &str); 7] = [
    ("bert", "BertTokenizer"),
    ("deberta-v2", "DebertaV2Tokenizer"),
    ("distilbert", "BertTokenizer"),
    ("electra", "BertTokenizer"),
    ("modernbert", GENERIC),
    ("roberta", "RobertaTokenizer"),
    ("xlm-roberta", "XLMRobertaTokenizer"),
];

/// The classes whose `model_input_names` have `token_type_ids`. [`GENERIC`] is not one of them: in
/// version 4, PreTrainedTokenizerFast was.
const WITH_TOKEN_TYPES: [&str; 16] = [
    "BertTokenizer",
    "CanineTokenizer",
    "ConvBertTokenizer",
    "DPRContextEncoderTokenizer",
    "DPRQuestionEncoderTokenizer",
    "DebertaTokenizer",
    "DebertaV2Tokenizer",
    "ElectraTokenizer",
    "FNetTokenizer",
    "LayoutLMTokenizer",
    "LayoutLMv2Tokenizer",
    "LxmertTokenizer",
    "MarkupLMTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
    "TapasTokenizer",
];

/// Lengths above this one mean that there is no limit (`LARGE_INTEGER`).
const LARGE: f64 = 1e20;

/// What a tokenizer returns and where it cuts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Conventions {
    /// The tokenizer's class, without `Fast`.
    pub class: String,
    /// Whether it returns `token_type_ids`. Where it does not, the model sees segment 0 throughout.
    pub returns_token_types: bool,
    /// `model_max_length`, if it limits the length. Any number that the file has.
    pub longest: Option<i64>,
    /// The side that a long text loses.
    pub direction: TruncationDirection,
}

impl Conventions {
    /// Those of the tokenizer beside the config.json `model`. `config` is tokenizer_config.json, and
    /// `truncation` the key of that name in tokenizer.json.
    ///
    /// # Errors
    /// A key of tokenizer_config.json with a value that transformers does not accept.
    pub fn read(
        config: Option<&ModelConfig>,
        model: &ModelConfig,
        truncation: Option<&Value>,
    ) -> Result<Self> {
        let class = class_of(config, model)?;
        let returns_token_types = match config.map(returned_inputs).transpose()?.flatten() {
            Some(inputs) => inputs.contains(&"token_type_ids"),
            None => WITH_TOKEN_TYPES.contains(&class),
        };
        Ok(Conventions {
            class: class.to_owned(),
            returns_token_types,
            longest: config.map(longest).transpose()?.flatten(),
            direction: direction(config, truncation)?,
        })
    }
}

/// The class that AutoTokenizer chooses, without `Fast`.
///
/// # Errors
/// A `tokenizer_class` or `model_type` that is not a text.
pub(super) fn class_of<'a>(
    config: Option<&'a ModelConfig>,
    model: &'a ModelConfig,
) -> Result<&'a str> {
    let named = match config.map(|config| config.text("tokenizer_class")).transpose()? {
        Some(Some(name)) => Some(name),
        _ => model.text("tokenizer_class")?,
    };
    Ok(class(model.text("model_type")?.unwrap_or("bert"), named))
}

/// The class where the files name the class `named`.
fn class<'a>(model_type: &str, named: Option<&'a str>) -> &'a str {
    let registered = REGISTERED.iter().find(|(name, _)| *name == model_type);
    match (registered.map(|(_, class)| *class), named) {
        // Checkpoints of these models name wrong classes, so none is read.
        (Some(GENERIC), _) | (None, None) => GENERIC,
        (_, Some(named)) => named.trim_end_matches("Fast"),
        (Some(class), None) => class,
    }
}

/// `model_input_names`, if the file has them.
fn returned_inputs(config: &ModelConfig) -> Result<Option<Vec<&str>>> {
    let key = "model_input_names";
    match config.keys().get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(names)) => Ok(Some(names.iter().filter_map(Value::as_str).collect())),
        Some(other) => bail!(config.error(key, format!("{other} is not a list of names"))),
    }
}

/// `model_max_length`, else `max_len` of old files; `None` if neither is a limit.
fn longest(config: &ModelConfig) -> Result<Option<i64>> {
    let keys = ["model_max_length", "max_len"];
    let Some(key) = keys.into_iter().find(|key| config.keys().contains_key(*key)) else {
        return Ok(None);
    };
    let value = &config.keys()[key];
    match (value, value.as_i64(), value.as_f64()) {
        (Value::Null, ..) => Ok(None),
        (_, Some(length), _) => Ok(Some(length)),
        (_, _, Some(length)) if length > LARGE => Ok(None),
        // A conversion of a larger float saturates.
        (_, _, Some(length)) if length.fract() == 0.0 => Ok(Some(length as i64)),
        _ => bail!(config.error(key, format!("{value} is not a whole number"))),
    }
}

/// `truncation_side`, else the side of tokenizer.json's own truncation, else the right. Nothing else of
/// that truncation is in force: a call of the tokenizer sets its own.
fn direction(
    config: Option<&ModelConfig>,
    truncation: Option<&Value>,
) -> Result<TruncationDirection> {
    let key = "truncation_side";
    let side = config.map(|config| config.text(key)).transpose()?.flatten();
    match (side, config) {
        (Some("left"), _) => Ok(TruncationDirection::Left),
        (Some("right"), _) => Ok(TruncationDirection::Right),
        (Some(other), Some(config)) => {
            bail!(config.error(key, format!("`{other}` is not `left` or `right`")))
        }
        _ => match truncation.is_some_and(|truncation| truncation["direction"] == "Left") {
            true => Ok(TruncationDirection::Left),
            false => Ok(TruncationDirection::Right),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn config(keys: Value) -> ModelConfig {
        let Value::Object(keys) = keys else { panic!("{keys}") };
        ModelConfig::of(Path::new("tokenizer_config.json"), keys)
    }

    fn read(keys: Value) -> Result<Conventions> {
        let model = config(json!({"model_type": "bert"}));
        Conventions::read(Some(&config(keys)), &model, None)
    }

    #[test]
    fn a_length_beyond_all_texts_is_no_limit() {
        let longest = |value: Value| read(json!({"model_max_length": value})).unwrap().longest;
        assert_eq!(longest(json!(512)), Some(512));
        assert_eq!(longest(json!(512.0)), Some(512));
        assert_eq!(longest(json!(-1)), Some(-1));
        assert_eq!(longest(json!(1e20)), Some(i64::MAX));
        assert_eq!(longest(json!(1e30)), None);
        let written = serde_json::from_str("1000000000000000019884624838656").unwrap();
        assert_eq!(longest(written), None);
        assert_eq!(longest(Value::Null), None);
        let null = json!({"model_max_length": null, "max_len": 16});
        assert_eq!(read(null).unwrap().longest, None);
        assert_eq!(read(json!({"max_len": 16})).unwrap().longest, Some(16));
    }

    #[test]
    fn values_that_transformers_does_not_accept_are_errors_at_their_key() {
        for (keys, words) in [
            (json!({"model_max_length": "40"}), "`model_max_length`: \"40\" is not a whole number"),
            (json!({"model_max_length": 40.5}), "`model_max_length`: 40.5 is not a whole number"),
            (json!({"model_max_length": true}), "`model_max_length`: true is not a whole number"),
            (json!({"max_len": []}), "`max_len`: [] is not a whole number"),
            (json!({"truncation_side": "middle"}), "`middle` is not `left` or `right`"),
            (json!({"model_input_names": "input_ids"}), "\"input_ids\" is not a list of names"),
            (json!({"tokenizer_class": 3}), "`tokenizer_class`: 3 is not a text"),
        ] {
            let error = format!("{:#}", read(keys).unwrap_err());
            assert!(error.contains("tokenizer_config.json") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn every_class_that_is_registered_returns_what_its_model_reads() {
        for (model_type, class) in REGISTERED {
            let with = ["bert", "deberta-v2", "distilbert", "electra"].contains(&model_type);
            assert_eq!(WITH_TOKEN_TYPES.contains(&class), with, "{model_type}");
        }
        assert!(WITH_TOKEN_TYPES.is_sorted() && REGISTERED.is_sorted());
    }
}
