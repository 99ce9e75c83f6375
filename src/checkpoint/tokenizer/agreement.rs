//! Whether tokenizer.json agrees with tokenizer_config.json and the tokenizer's class. transformers
//! goes by these two where they differ, and would read another text.

use anyhow::{bail, Result};
use serde_json::Value;

use crate::checkpoint::ModelConfig;
use crate::error::failure;

/// BERT's class, and those that take its settings with the same defaults.
const LIKE_BERT: [&str; 8] = [
    "BertTokenizer",
    "ConvBertTokenizer",
    "DistilBertTokenizer",
    "ElectraTokenizer",
    "LayoutLMTokenizer",
    "LxmertTokenizer",
    "MobileBertTokenizer",
    "SqueezeBertTokenizer",
];

/// Checks the parts of a tokenizer.json.
///
/// # Errors
/// The first setting that differs; a class with special tokens of its own, and none in the file.
pub(super) fn check(
    parts: &ModelConfig,
    recorded: Option<&ModelConfig>,
    class: &str,
) -> Result<()> {
    let is_like_bert = LIKE_BERT.contains(&class);
    let bert_default = |key: &str| match key {
        "lowercase" | "handle_chinese_chars" if is_like_bert => Value::Bool(true),
        _ => Value::Null,
    };
    for (part, kind, key, name) in [
        ("normalizer", "BertNormalizer", "lowercase", "do_lower_case"),
        ("normalizer", "BertNormalizer", "strip_accents", "strip_accents"),
        ("normalizer", "BertNormalizer", "handle_chinese_chars", "tokenize_chinese_chars"),
        ("pre_tokenizer", "ByteLevel", "add_prefix_space", "add_prefix_space"),
    ] {
        let part = parts.keys().get(part).filter(|p| p["type"] == kind);
        let Some(inside) = part.map(|p| &p[key]) else { continue };
        let outside = recorded.and_then(|recorded| recorded.keys().get(name));
        let by_default = bert_default(key);
        let (outside, source) = match (outside.filter(|value| !value.is_null()), recorded) {
            (Some(value), Some(recorded)) => (value, recorded.path().display().to_string()),
            _ => (&by_default, String::new()),
        };
        if outside.is_null() || inside == outside {
            continue;
        }
        let file = parts.path().display();
        bail!(match source.as_str() {
            "" => failure!(
                "`{file}` has `{key}` = {inside}, and the tokenizer's class ({class}) has `{name}` = \
                 {outside}, as nothing else is recorded"
            )
            .hint(format!(
                "set `{name}` in tokenizer_config.json as the model was trained: transformers goes \
                 by it, and not by tokenizer.json"
            )),
            source => failure!(
                "`{file}` has `{key}` = {inside}, and `{source}` has `{name}` = {outside}"
            )
            .hint("make them agree: save the tokenizer again with transformers' save_pretrained"),
        });
    }
    if is_like_bert && parts.keys().get("post_processor").is_none_or(Value::is_null) {
        bail!(failure!(
            "`{}` has no `post_processor`: {class} adds [CLS] and [SEP] in version 5 of \
             transformers, and nothing in version 4",
            parts.path().display()
        )
        .hint("save the tokenizer again with the version that the model was trained with"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(parts: Value, recorded: Option<Value>, class: &str) -> Result<(), String> {
        let config = |name: &str, keys: Value| {
            let Value::Object(keys) = keys else { panic!("{keys}") };
            ModelConfig::of(name.as_ref(), keys)
        };
        let recorded = recorded.map(|keys| config("tokenizer_config.json", keys));
        let checked = check(&config("tokenizer.json", parts), recorded.as_ref(), class);
        checked.map_err(|error| format!("{error:#}"))
    }

    fn cased(lowercase: bool) -> Value {
        json!({
            "normalizer": {"type": "BertNormalizer", "lowercase": lowercase,
                           "strip_accents": null, "handle_chinese_chars": true},
            "post_processor": {"type": "BertProcessing"}
        })
    }

    #[test]
    fn a_cased_file_needs_the_setting_where_bert_s_class_would_lower_case() {
        for class in ["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"] {
            checked(cased(true), None, class).unwrap();
            for recorded in [None, Some(json!({})), Some(json!({"do_lower_case": null}))] {
                let error = checked(cased(false), recorded, class).unwrap_err();
                let words = format!("class ({class}) has `do_lower_case` = true");
                assert!(error.contains(&words), "{error}");
            }
            checked(cased(false), Some(json!({"do_lower_case": false})), class).unwrap();
        }
        // The generic class takes tokenizer.json as it is.
        checked(cased(false), None, "PreTrainedTokenizer").unwrap();
        let both = checked(cased(false), Some(json!({"do_lower_case": true})), "TokenizersBackend");
        assert!(both.unwrap_err().contains("`tokenizer_config.json` has `do_lower_case` = true"));
    }

    #[test]
    fn bert_s_class_without_special_tokens_is_two_tokenizers() {
        let mut parts = cased(true);
        parts["post_processor"] = Value::Null;
        checked(parts.clone(), None, "TokenizersBackend").unwrap();
        let error = checked(parts, None, "BertTokenizer").unwrap_err();
        assert!(error.contains("tokenizer.json` has no `post_processor`"), "{error}");
    }
}
