//! Limits of a tokenizer.json, checked before a tokenizer is built from it: what one text costs must
//! not depend on numbers in the file.

use serde_json::{Map, Value};

use super::charsmap;
use crate::error::{failure, Diagnostic};

/// Maximum steps of a normalizer, a pre-tokenizer or a post-processor; real ones have up to ten.
const MOST_STEPS: usize = 64;
/// Maximum depth of sequences in sequences; real ones have one level, or two.
const MOST_DEPTH: usize = 8;
/// Maximum bytes that one step adds at one place of a text.
const LONGEST_CONTENT: usize = 1 << 10;
/// Maximum bytes of a regular expression; those of large language models have 500.
const LONGEST_PATTERN: usize = 16 << 10;
/// Maximum of WordPiece's `max_input_chars_per_word`, 100 in BERT: a word's time grows with its square.
const LONGEST_WORD: u64 = 1000;
/// Maximum number of added tokens; real tokenizers have up to a few thousand.
const MOST_ADDED_TOKENS: usize = 1 << 16;

type Checked = Result<(), Diagnostic>;

/// Checks a parsed tokenizer.json; `wrong` makes an error at a key.
///
/// # Errors
/// The first part beyond a limit, with its key and the limit.
pub(super) fn check(
    parts: &Map<String, Value>,
    wrong: &dyn Fn(&str, String) -> Diagnostic,
) -> Checked {
    for (key, inner, step) in [
        ("normalizer", "normalizers", normalizer as fn(&Value) -> Result<(), String>),
        ("pre_tokenizer", "pretokenizers", pre_tokenizer),
        ("post_processor", "processors", post_processor),
        ("decoder", "decoders", |_| Ok(())),
    ] {
        let mut steps = Vec::new();
        let part = parts.get(key).unwrap_or(&Value::Null);
        flatten(part, inner, MOST_DEPTH, &mut steps).map_err(|why| wrong(key, why))?;
        if steps.len() > MOST_STEPS {
            let why = format!("it has {} steps, and the limit is {MOST_STEPS}", steps.len());
            return Err(wrong(key, why));
        }
        for part in steps {
            step(part).map_err(|why| wrong(key, why))?;
        }
    }
    let added = parts.get("added_tokens").and_then(Value::as_array).map_or(0, Vec::len);
    if added > MOST_ADDED_TOKENS {
        let why = format!("it has {added} tokens, and the limit is {MOST_ADDED_TOKENS}");
        return Err(wrong("added_tokens", why));
    }
    model(parts.get("model").unwrap_or(&Value::Null)).map_err(|why| wrong("model", why))
}

/// The steps of `part`, those of sequences in their place.
fn flatten<'a>(
    part: &'a Value,
    inner: &str,
    depth: usize,
    steps: &mut Vec<&'a Value>,
) -> Result<(), String> {
    let Some(parts) = part.get(inner).and_then(Value::as_array) else {
        steps.push(part);
        return Ok(());
    };
    if depth == 0 {
        return Err(format!("its sequences are nested more than {MOST_DEPTH} deep"));
    }
    parts.iter().try_for_each(|part| flatten(part, inner, depth - 1, steps))
}

fn normalizer(step: &Value) -> Result<(), String> {
    for key in ["content", "prepend"] {
        let length = step.get(key).and_then(Value::as_str).map_or(0, str::len);
        if length > LONGEST_CONTENT {
            return Err(format!(
                "its `{key}` has {length} bytes, and the limit is {LONGEST_CONTENT}"
            ));
        }
    }
    if let Some(map) = step.get("precompiled_charsmap").and_then(Value::as_str) {
        charsmap::check(map).map_err(|why| format!("`precompiled_charsmap`: {why}"))?;
    }
    pattern(step)
}

fn pre_tokenizer(step: &Value) -> Result<(), String> {
    if step.get("length").and_then(Value::as_u64) == Some(0) {
        return Err("its `length` is 0, and pieces of no characters do not end".to_owned());
    }
    pattern(step)
}

fn pattern(step: &Value) -> Result<(), String> {
    let pattern = step.get("pattern");
    let text = ["String", "Regex"].iter().find_map(|kind| pattern?.get(kind)?.as_str());
    match text.map_or(0, str::len) {
        ..=LONGEST_PATTERN => Ok(()),
        length => {
            Err(format!("its `pattern` has {length} bytes, and the limit is {LONGEST_PATTERN}"))
        }
    }
}

/// A template must not repeat a text: the tokens would be more than the maximum length allows.
fn post_processor(step: &Value) -> Result<(), String> {
    for (template, texts) in [("single", 1), ("pair", 2)] {
        let pieces = step.get(template).and_then(Value::as_array);
        let of_text = pieces.into_iter().flatten().filter(|piece| piece.get("Sequence").is_some());
        let count = of_text.count();
        if count > texts {
            return Err(format!(
                "its template `{template}` has {count} texts, and may have {texts}"
            ));
        }
    }
    Ok(())
}

fn model(model: &Value) -> Result<(), String> {
    let longest = model.get("max_input_chars_per_word").and_then(Value::as_u64).unwrap_or(0);
    if longest > LONGEST_WORD {
        return Err(format!(
            "its `max_input_chars_per_word` is {longest}, and the limit is {LONGEST_WORD}"
        ));
    }
    match model.get("dropout").and_then(Value::as_f64) {
        Some(rate) if rate != 0.0 => Err(format!(
            "its `dropout` is {rate}: the tokens of a text would be random; set it to null"
        )),
        _ => Ok(()),
    }
}

/// The error of a text that a tokenizer makes too long, or cannot match in time.
pub(super) fn refused(tokenizer: &str, reason: &str) -> Diagnostic {
    failure!("the tokenizer in `{tokenizer}` refuses this text: {reason}")
        .hint("leave the text out, or use the tokenizer that the model was trained with")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(parts: Value) -> Result<(), String> {
        let Value::Object(parts) = parts else { panic!("{parts}") };
        check(&parts, &|key, why| failure!("{key}: {why}")).map_err(|error| error.message)
    }

    fn refused_with(parts: Value, why: &str) {
        let error = checked(parts).unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    fn replace(content: usize) -> Value {
        json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "a".repeat(content)})
    }

    #[test]
    fn what_a_step_adds_is_limited() {
        checked(json!({"normalizer": replace(1024)})).unwrap();
        refused_with(json!({"normalizer": replace(1025)}), "normalizer: its `content` has 1025");
        let prepend = json!({"type": "Prepend", "prepend": "\u{2581}".repeat(400)});
        refused_with(json!({"normalizer": prepend}), "its `prepend` has 1200 bytes");
        let map = json!({"type": "Precompiled", "precompiled_charsmap": "////////"});
        refused_with(json!({"normalizer": map}), "trie of 4294967295 bytes");
    }

    #[test]
    fn steps_and_their_nesting_are_limited() {
        let many = |count| json!({"type": "Sequence", "normalizers": vec![replace(1); count]});
        checked(json!({"normalizer": many(64)})).unwrap();
        refused_with(json!({"normalizer": many(65)}), "65 steps, and the limit is 64");
        let mut nested = json!({"type": "Lowercase"});
        for _ in 0..9 {
            nested = json!({"type": "Sequence", "normalizers": [nested]});
        }
        refused_with(json!({"normalizer": nested}), "nested more than 8 deep");
    }

    #[test]
    fn a_pre_tokenizer_makes_progress() {
        let fixed = |length| json!({"pre_tokenizer": {"type": "FixedLength", "length": length}});
        checked(fixed(1)).unwrap();
        refused_with(fixed(0), "pre_tokenizer: its `length` is 0");
        let split = json!({"type": "Split", "pattern": {"Regex": "a".repeat(20_000)}});
        refused_with(json!({"pre_tokenizer": split}), "`pattern` has 20000 bytes");
    }

    #[test]
    fn a_template_has_each_text_once() {
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let template = |single: Vec<Value>| {
            json!({"post_processor": {"type": "TemplateProcessing", "single": single,
                   "pair": [text("A"), text("B")]}})
        };
        checked(template(vec![text("A")])).unwrap();
        refused_with(template(vec![text("A"), text("A")]), "`single` has 2 texts, and may have 1");
    }

    #[test]
    fn a_model_is_not_random_and_not_quadratic() {
        refused_with(json!({"model": {"type": "BPE", "dropout": 0.1}}), "would be random");
        checked(json!({"model": {"type": "BPE", "dropout": null}})).unwrap();
        let words = json!({"type": "WordPiece", "max_input_chars_per_word": 1_000_000});
        refused_with(json!({"model": words}), "the limit is 1000");
        let tokens = vec![json!({}); 65_537];
        refused_with(json!({"added_tokens": tokens}), "65537 tokens, and the limit is 65536");
    }
}
