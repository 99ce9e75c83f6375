//! The normalizer and the pre-tokenizer of a tokenizer, step by step, so that no text grows beyond a
//! budget and no regular expression stops early.
//!
//! The tokenizers crate drops a normalizer's error, and ends the matches of a regular expression where
//! it gives up. Both would change the tokens silently; here they are a refusal of the text, which
//! [`take_refusal`] gives after an encoding.

use std::cell::RefCell;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::{
    DecoderWrapper, ModelWrapper, NormalizedString, Normalizer, NormalizerWrapper,
    OffsetReferential, OffsetType, PostProcessorWrapper, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, TokenizerImpl,
};

/// Maximum growth of a text; NFKC makes 33 bytes of 3, and steps after it make hardly any.
const MOST_GROWTH: usize = 16;
/// Bytes that a short text may always have.
const FLOOR: usize = 4096;
/// Maximum steps back of a regular expression for one match. Patterns of real tokenizers take a few.
const MOST_BACKTRACKING: usize = 100_000;
/// Steps of a pre-tokenizer that may go unmeasured: each makes a text at most three times as long.
const UNMEASURED_STEPS: usize = 2;

/// A tokenizer with bounded stages.
pub(super) type BoundedTokenizer = TokenizerImpl<
    ModelWrapper,
    BoundedNormalizer,
    BoundedPreTokenizer,
    PostProcessorWrapper,
    DecoderWrapper,
>;

thread_local! {
    /// Why the text that this thread encodes is refused.
    static REFUSAL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Why the last text that this thread encoded is refused, if it is.
pub(super) fn take_refusal() -> Option<String> {
    REFUSAL.take()
}

fn refuse(reason: String) -> Box<dyn std::error::Error + Send + Sync> {
    REFUSAL.with_borrow_mut(|refusal| _ = refusal.get_or_insert_with(|| reason.clone()));
    reason.into()
}

/// A pattern that only backtracking can match.
struct Backtracking {
    pattern: String,
    regex: fancy_regex::Regex,
}

impl Backtracking {
    /// For a step with such a pattern; others take a time that is linear in the text.
    fn of(step: &impl serde::Serialize) -> Option<Backtracking> {
        let step = serde_json::to_value(step).ok()?;
        let pattern = step.get("pattern")?.get("Regex")?.as_str()?.to_owned();
        if regex::Regex::new(&pattern).is_ok() {
            return None;
        }
        let mut builder = fancy_regex::RegexBuilder::new(&pattern);
        let regex = builder.backtrack_limit(MOST_BACKTRACKING).build().ok()?;
        Some(Backtracking { pattern, regex })
    }

    fn check(&self, text: &str) -> Result<(), String> {
        match self.regex.find_iter(text).find_map(Result::err) {
            None => Ok(()),
            Some(_) => Err(format!(
                "its pattern `{}` needs more than {MOST_BACKTRACKING} steps back for one match",
                self.pattern.chars().take(200).collect::<String>()
            )),
        }
    }
}

/// A normalizer whose steps run under a budget.
pub(super) struct BoundedNormalizer {
    steps: Vec<NormalizerStep>,
}

struct NormalizerStep {
    inner: NormalizerWrapper,
    backtracking: Option<Backtracking>,
    replacement: Option<Replacement>,
}

/// A `Replace`: the bytes of its content, and what it replaces.
struct Replacement {
    content: usize,
    matches: fancy_regex::Regex,
}

impl Replacement {
    fn of(step: &NormalizerWrapper) -> Option<Replacement> {
        let NormalizerWrapper::Replace(replace) = step else { return None };
        let step = serde_json::to_value(replace).ok()?;
        let pattern = match step.get("pattern")?.as_object()?.iter().next()? {
            (kind, Value::String(text)) if kind == "String" => regex::escape(text),
            (_, text) => text.as_str()?.to_owned(),
        };
        let matches = fancy_regex::Regex::new(&pattern).ok()?;
        Some(Replacement { content: replace.content.len(), matches })
    }
}

impl From<NormalizerWrapper> for BoundedNormalizer {
    fn from(normalizer: NormalizerWrapper) -> Self {
        let mut steps = Vec::new();
        flatten_normalizer(normalizer, &mut steps);
        BoundedNormalizer { steps }
    }
}

fn flatten_normalizer(normalizer: NormalizerWrapper, steps: &mut Vec<NormalizerStep>) {
    match normalizer {
        NormalizerWrapper::Sequence(sequence) => {
            sequence.into_iter().for_each(|inner| flatten_normalizer(inner, steps));
        }
        inner => steps.push(NormalizerStep {
            backtracking: Backtracking::of(&inner),
            replacement: Replacement::of(&inner),
            inner,
        }),
    }
}

impl<'de> Deserialize<'de> for BoundedNormalizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NormalizerWrapper::deserialize(deserializer).map(Self::from)
    }
}

impl Normalizer for BoundedNormalizer {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        let budget = text.len_original().saturating_mul(MOST_GROWTH) + FLOOR;
        let too_long = |length: usize| {
            refuse(format!("its normalizer makes {length} bytes of it, and the limit is {budget}"))
        };
        for step in &self.steps {
            if let Some(backtracking) = &step.backtracking {
                backtracking.check(text.get()).map_err(refuse)?;
            }
            if let Some(Replacement { content, matches }) = &step.replacement {
                // Counted before it is done, where it could be too much.
                let most = text.len().saturating_mul(content + 1);
                if most > budget {
                    let count = matches.find_iter(text.get()).count();
                    let length = text.len().saturating_add(count.saturating_mul(*content));
                    if length > budget.saturating_add(text.len()) {
                        return Err(too_long(length));
                    }
                }
            }
            step.inner.normalize(text)?;
            if text.len() > budget {
                return Err(too_long(text.len()));
            }
        }
        Ok(())
    }
}

/// A pre-tokenizer whose steps run under a budget.
pub(super) struct BoundedPreTokenizer {
    steps: Vec<(PreTokenizerWrapper, Option<Backtracking>)>,
}

impl From<PreTokenizerWrapper> for BoundedPreTokenizer {
    fn from(pre_tokenizer: PreTokenizerWrapper) -> Self {
        let mut steps = Vec::new();
        flatten_pre_tokenizer(pre_tokenizer, &mut steps);
        BoundedPreTokenizer { steps }
    }
}

fn flatten_pre_tokenizer(
    pre_tokenizer: PreTokenizerWrapper,
    steps: &mut Vec<(PreTokenizerWrapper, Option<Backtracking>)>,
) {
    match pre_tokenizer {
        PreTokenizerWrapper::Sequence(sequence) => {
            sequence.into_iter().for_each(|inner| flatten_pre_tokenizer(inner, steps));
        }
        inner => {
            let backtracking = Backtracking::of(&inner);
            steps.push((inner, backtracking));
        }
    }
}

impl<'de> Deserialize<'de> for BoundedPreTokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        PreTokenizerWrapper::deserialize(deserializer).map(Self::from)
    }
}

impl PreTokenizer for BoundedPreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        let measured = self.steps.len() > UNMEASURED_STEPS;
        let budget = if measured { length(text).saturating_mul(MOST_GROWTH) + FLOOR } else { 0 };
        for (i, (step, backtracking)) in self.steps.iter().enumerate() {
            if let Some(backtracking) = backtracking {
                let pieces = text.get_splits(OffsetReferential::Original, OffsetType::None);
                let mut open = pieces.iter().filter(|(_, _, tokens)| tokens.is_none());
                open.try_for_each(|(piece, ..)| backtracking.check(piece)).map_err(refuse)?;
            }
            step.pre_tokenize(text)?;
            if i >= UNMEASURED_STEPS && length(text) > budget {
                return Err(refuse(format!(
                    "its pre-tokenizer makes {} bytes of it, and the limit is {budget}",
                    length(text)
                )));
            }
        }
        Ok(())
    }
}

/// Bytes of all pieces.
fn length(text: &PreTokenizedString) -> usize {
    let pieces = text.get_splits(OffsetReferential::Original, OffsetType::None);
    pieces.iter().map(|(piece, ..)| piece.len()).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokenizer(normalizer: Value, pre_tokenizer: Value) -> BoundedTokenizer {
        let model = json!({"type": "WordLevel", "unk_token": "u", "vocab": {"u": 0, "a": 1}});
        let parts = json!({"version": "1.0", "normalizer": normalizer,
                           "pre_tokenizer": pre_tokenizer, "model": model});
        serde_json::from_str(&parts.to_string()).unwrap()
    }

    fn refusal(tokenizer: &BoundedTokenizer, text: &str) -> Option<String> {
        take_refusal();
        let _ = tokenizer.encode_fast(text, true);
        take_refusal()
    }

    fn replace(pattern: &str, content: &str) -> Value {
        json!({"type": "Replace", "pattern": {"Regex": pattern}, "content": content})
    }

    #[test]
    fn bounded_stages_give_the_tokens_of_the_library() {
        let texts = [
            "",
            " The  acting is [SEP] DULL,\tisn't it? ",
            "Ça coûte 12,50 € — naïve ﷺ ﬁ １２ 日本語 \u{0301}e\u{0301}",
            "<mask> </s>a\u{200b}b\u{0}c\u{fffd}",
        ];
        let architectures = ["bert", "distilbert", "electra", "roberta", "xlm-roberta"];
        for name in architectures.iter().chain(&["deberta-v2", "modernbert"]) {
            let root = env!("CARGO_MANIFEST_DIR");
            let path = format!("{root}/tests/fixtures/architectures/{name}/tokenizer.json");
            let bytes = std::fs::read(path).unwrap();
            let plain = tokenizers::Tokenizer::from_bytes(&bytes).unwrap();
            let bounded: BoundedTokenizer = serde_json::from_slice(&bytes).unwrap();
            for text in texts {
                assert_eq!(
                    bounded.encode(text, true).unwrap(),
                    plain.encode(text, true).unwrap(),
                    "{name}: {text:?}"
                );
                let pair = (text, texts[1]);
                assert_eq!(
                    bounded.encode(pair, true).unwrap(),
                    plain.encode(pair, true).unwrap(),
                    "{name}: {text:?}"
                );
            }
            assert_eq!(take_refusal(), None);
        }
    }

    #[test]
    fn a_replacement_of_nothing_is_refused_before_it_is_done() {
        let grows = tokenizer(replace("", &"x".repeat(1000)), Value::Null);
        // 100 letters have 101 empty matches: 100 + 101 · 1000, and the limit is 16 · 100 + 4096.
        let reason = refusal(&grows, &"b".repeat(100)).unwrap();
        assert_eq!(reason, "its normalizer makes 101100 bytes of it, and the limit is 5696");
        assert_eq!(refusal(&grows, "b"), None, "2001 bytes are within the limit");
    }

    #[test]
    fn replacements_that_multiply_are_refused() {
        let steps = vec![replace(".", "xxxxxxxxxx"); 5];
        let chain = json!({"type": "Sequence", "normalizers": steps});
        let reason = refusal(&tokenizer(chain, Value::Null), "abc").unwrap();
        assert!(reason.contains("the limit is 4144"), "{reason}"); // 16 · 3 + 4096
    }

    #[test]
    fn pre_tokenizers_that_multiply_are_refused() {
        // Each ByteLevel makes two bytes of one that is not ASCII.
        let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false,
                                "trim_offsets": false, "use_regex": false});
        let steps = vec![byte_level; 12];
        let chain = json!({"type": "Sequence", "pretokenizers": steps});
        let reason = refusal(&tokenizer(Value::Null, chain), &"é".repeat(100)).unwrap();
        assert!(reason.contains("its pre-tokenizer makes"), "{reason}");
    }

    #[test]
    fn a_pattern_that_gives_up_is_a_refusal_and_not_other_tokens() {
        let split = |pattern: &str| {
            tokenizer(
                Value::Null,
                json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                       "invert": false}),
            )
        };
        let nested = split(r"(?:(?:a*)*)*(?=\d{9})b");
        let reason = refusal(&nested, &"a".repeat(40)).unwrap();
        assert!(reason.contains("100000 steps back"), "{reason}");
        // GPT-2's lookahead is harmless.
        let spaces = split(r"\s+(?!\S)|\s+|\S+");
        assert_eq!(refusal(&spaces, &" a".repeat(10_000)), None);
        assert_eq!(refusal(&spaces, &" ".repeat(100_000)), None);
    }

    #[test]
    fn honest_texts_pass_the_widest_normal_form() {
        let nfkc = tokenizer(json!({"type": "NFKC"}), Value::Null);
        assert_eq!(refusal(&nfkc, &"\u{FDFA}".repeat(10_000)), None, "11 times as long");
    }
}
