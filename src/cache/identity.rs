//! The keys of the cache: a model with its arithmetic, and a list of texts.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::digest::hexadecimal;

/// A SHA-256 that names a file or a folder of the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CacheKey(pub(super) [u8; 32]);

impl CacheKey {
    /// Parses 64 lower-case hexadecimal digits.
    pub(super) fn parse(digits: &str) -> Option<CacheKey> {
        let mut bytes = [0; 32];
        if digits.len() != 64 || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * i..][..2], 16).ok()?;
        }
        Some(CacheKey(bytes))
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hexadecimal(&self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Everything that determines the bits of a model's logits, given a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of the weights' files.
    pub weights_sha256: String,
    /// SHA-256 of config.json.
    pub config_sha256: String,
    /// SHA-256 of the tokenizer's files and of the settings that change how they are read.
    pub tokenizer_sha256: String,
    /// The classification head.
    pub head: String,
    /// Maximum tokens of a sequence; longer texts are cut.
    pub max_length: usize,
    /// Device, such as `cpu` or `cuda`.
    pub device: String,
    /// Number format of the computation, such as `f32`.
    pub dtype: String,
    /// Fingerprint of the float kernels of this machine.
    pub arithmetic: String,
    /// Raised when a change of the program alters any bit of a logit.
    pub encoder_version: u32,
}

impl ModelIdentity {
    /// The name of the model's folder; depends on every field.
    pub fn key(&self) -> CacheKey {
        let fields = serde_json::to_value(self).expect("strings and integers are always JSON");
        key_of(&fields)
    }
}

/// The key of an identity in model.json with any fields, so that those of other versions of the
/// program can be checked too.
pub(super) fn key_of(identity: &Value) -> CacheKey {
    let mut hasher = Sha256::new_with_prefix("confidence-audit model identity\0");
    hasher.update(canonical(identity));
    CacheKey(hasher.finalize().into())
}

/// JSON without spaces and with sorted keys.
pub(super) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<&String, &Value> = members.iter().collect();
            let members: Vec<String> = sorted
                .into_iter()
                .map(|(name, member)| {
                    format!("{}:{}", Value::from(name.as_str()), canonical(member))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// A list of texts, with their columns and order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextsIdentity {
    /// The name of its entries' files.
    pub key: CacheKey,
    /// N.
    pub examples: usize,
}

impl TextsIdentity {
    /// The identity of `texts`, each with its pair if the task has two columns.
    pub fn of<'a>(texts: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut hasher = Sha256::new_with_prefix("confidence-audit texts\0");
        let mut examples = 0;
        for (text, pair) in texts {
            add_text(&mut hasher, text);
            // An empty pair is another input than no pair: it has a second separator.
            hasher.update([u8::from(pair.is_some())]);
            if let Some(pair) = pair {
                add_text(&mut hasher, pair);
            }
            examples += 1;
        }
        hasher.update((examples as u64).to_le_bytes());
        TextsIdentity { key: CacheKey(hasher.finalize().into()), examples }
    }
}

/// The length comes first, so that neighbouring texts cannot be confused.
fn add_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text);
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_field_changes_the_key() {
        let fields = serde_json::to_value(testing::identity()).unwrap();
        let mut keys = vec![key_of(&fields)];
        for name in fields.as_object().unwrap().keys() {
            let mut other = fields.clone();
            other[name] = match &other[name] {
                Value::String(text) => Value::from(format!("{text}x")),
                number => Value::from(number.as_u64().unwrap() + 1),
            };
            keys.push(serde_json::from_value::<ModelIdentity>(other).unwrap().key());
        }
        let mut more = fields.clone();
        more["later"] = Value::from("");
        keys.push(key_of(&more));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!((keys.len(), count), (11, 11)); // itself, nine fields, one field more
    }

    #[test]
    fn the_key_does_not_depend_on_the_order_in_the_file() {
        let forward: Value =
            serde_json::from_str(r#"{"a": 1, "b": {"c": [2], "d": "é"}}"#).unwrap();
        let backward: Value =
            serde_json::from_str(r#"{"b": {"d": "é", "c": [2]}, "a": 1}"#).unwrap();
        assert_eq!(canonical(&forward), r#"{"a":1,"b":{"c":[2],"d":"é"}}"#);
        assert_eq!(key_of(&forward), key_of(&backward));
    }

    #[test]
    fn a_key_is_read_back_from_its_digits_only() {
        let key = testing::identity().key();
        assert_eq!(CacheKey::parse(&key.to_string()), Some(key));
        for wrong in ["", "ab", &"A".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(CacheKey::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn columns_and_examples_are_delimited() {
        let lists: [&[(&str, Option<&str>)]; 9] = [
            &[],
            &[("", None)],
            &[("", Some(""))],
            &[("ab", None)],
            &[("a", Some("b"))],
            &[("b", Some("a"))],
            &[("a", None), ("b", None)],
            &[("b", None), ("a", None)],
            &[("ab", Some(""))],
        ];
        let mut keys: Vec<CacheKey> =
            lists.iter().map(|list| TextsIdentity::of(list.iter().copied()).key).collect();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), lists.len());
    }

    proptest! {
        #[test]
        fn other_texts_have_another_key(
            a in prop::collection::vec(("[ab]{0,3}", prop::option::of("[ab]{0,3}")), 0..4),
            b in prop::collection::vec(("[ab]{0,3}", prop::option::of("[ab]{0,3}")), 0..4),
        ) {
            let of = |list: &[(String, Option<String>)]| {
                TextsIdentity::of(list.iter().map(|(text, pair)| (text.as_str(), pair.as_deref())))
            };
            prop_assert_eq!(of(&a).examples, a.len());
            prop_assert_eq!(of(&a) == of(&b), a == b);
        }
    }
}
