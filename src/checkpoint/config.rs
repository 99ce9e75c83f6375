//! A checkpoint's config.json; errors name the file and the key.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Result};
use serde_json::{Map, Value};

use crate::error::{Diagnostic, FileLocation};
use crate::input::SmallFile;
use crate::task::MOST_LABELS;

/// The keys of a config.json.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    path: PathBuf,
    keys: Map<String, Value>,
}

impl ModelConfig {
    /// Reads `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a JSON object (with line and column).
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&SmallFile::open(path)?)
    }

    /// The keys of a file in memory. JSON is nested at most 128 deep.
    ///
    /// # Errors
    /// A file that is not a JSON object (with line and column).
    pub fn parse(file: &SmallFile) -> Result<Self> {
        let keys = serde_json::from_slice(&file.bytes)
            .map_err(|e| anyhow!("`{}` is not a JSON object: {e}", file.input.name()))?;
        Ok(ModelConfig { path: file.path().to_owned(), keys })
    }

    /// A config from `keys`; errors name it `path`.
    pub fn of(path: &Path, keys: Map<String, Value>) -> Self {
        ModelConfig { path: path.to_owned(), keys }
    }

    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All keys, for a deserialiser of candle-transformers.
    pub fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }

    fn wrong(&self, key: &str, wanted: &str) -> Diagnostic {
        let value = self.keys.get(key).unwrap_or(&Value::Null);
        self.error(key, format!("{value} is not {wanted}"))
    }

    /// An error about the value of `key`.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        let file = self.path.display().to_string();
        let key = Some(key.to_owned());
        Diagnostic::failure(message).at(FileLocation { file, key, ..FileLocation::default() })
    }

    fn present(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|v| !v.is_null())
    }

    /// The value of `key` as `read` takes it, if the key is present.
    fn value<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let value = self.present(key).map(|v| read(v).ok_or_else(|| self.wrong(key, wanted)));
        Ok(value.transpose()?)
    }

    /// A positive whole number that must be present.
    pub fn size(&self, key: &str) -> Result<usize> {
        match self.present(key) {
            None => bail!(self.error(key, "it is missing")),
            Some(_) => self.size_or(key, 0),
        }
    }

    /// A positive whole number, or `default` if the key is missing.
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        match self.size_or_zero(key, default)? {
            0 if self.present(key).is_some() => {
                Err(self.wrong(key, "a positive whole number").into())
            }
            size => Ok(size),
        }
    }

    /// A whole number that may be zero, or `default` if the key is missing.
    pub fn size_or_zero(&self, key: &str, default: usize) -> Result<usize> {
        let small = |v: &Value| v.as_u64().filter(|n| *n < 1 << 32).map(|n| n as usize);
        Ok(self.value(key, "a whole number below 2^32", small)?.unwrap_or(default))
    }

    /// A number, or `default` if the key is missing.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.value(key, "a number", Value::as_f64)?.unwrap_or(default))
    }

    /// A number in `range`, or `default` if the key is missing.
    ///
    /// # Errors
    /// A value that is not a number, or outside of `range`.
    pub fn number_in(&self, key: &str, default: f64, range: RangeInclusive<f64>) -> Result<f64> {
        let value = self.number_or(key, default)?;
        if !range.contains(&value) {
            let (least, most) = (range.start(), range.end());
            bail!(self.wrong(key, &format!("a number from {least} to {most}")));
        }
        Ok(value)
    }

    /// A positive whole number up to `most`, or `default` if the key is missing.
    ///
    /// # Errors
    /// Any other value.
    pub fn size_up_to(&self, key: &str, default: usize, most: usize) -> Result<usize> {
        let size = self.size_or(key, default)?;
        if size > most {
            bail!(self.wrong(key, &format!("a whole number from 1 to {most}")));
        }
        Ok(size)
    }

    /// A whole number that may be negative, if the key is present.
    ///
    /// # Errors
    /// Any other value.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.value(key, "a whole number", Value::as_i64)
    }

    /// A text, if the key is present.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.value(key, "a text", Value::as_str)
    }

    /// A truth value, false if the key is missing.
    pub fn flag(&self, key: &str) -> Result<bool> {
        Ok(self.value(key, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    /// The class names under `architectures`.
    pub fn architectures(&self) -> Vec<&str> {
        let list = self.present("architectures").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Whether the original TinyBERT code wrote the file: no `model_type`, and the empty training keys
    /// of its general distillation.
    pub fn is_original_tinybert(&self) -> bool {
        let marks = ["cell", "emb_size", "pre_trained", "structure", "training"];
        self.present("model_type").is_none()
            && marks.iter().filter(|k| self.keys.contains_key(**k)).count() >= 2
    }

    /// The names under `id2label`, else `label2id`, in id order; `None` without either.
    ///
    /// # Errors
    /// Ids that are not 0, 1, … K−1, two ids with one name, more than [`MOST_LABELS`] of them.
    pub fn label_names(&self) -> Result<Option<Vec<String>>> {
        let Some(value) = self.present("id2label") else { return self.names_by_id() };
        let wanted = "a map from 0, 1, … to names";
        let Some(map) = value.as_object() else {
            bail!(self.error("id2label", format!("it is not {wanted}")));
        };
        self.refuse_many_labels("id2label", map.len())?;
        let mut names = vec![None; map.len()];
        for (id, name) in map {
            let slot = id.parse::<usize>().ok().and_then(|id| names.get_mut(id));
            match (slot, name) {
                (Some(slot), Value::String(name)) => *slot = Some(name.clone()),
                // Some exporters write the id itself as the name.
                (Some(slot), Value::Number(name)) => *slot = Some(format!("LABEL_{name}")),
                _ => bail!(self.wrong_labels("id2label", value, wanted)),
            }
        }
        let names: Option<Vec<String>> = names.into_iter().collect();
        let names = names.ok_or_else(|| self.wrong_labels("id2label", value, wanted))?;
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (id, name) in names.iter().enumerate() {
            if first.insert(name, id).is_some() {
                bail!(self.error("id2label", format!("two ids have the name `{name}`")));
            }
        }
        Ok(Some(names))
    }

    fn names_by_id(&self) -> Result<Option<Vec<String>>> {
        let Some(value) = self.present("label2id") else { return Ok(None) };
        let wrong = || self.wrong_labels("label2id", value, "a map from names to 0, 1, …");
        let map = value.as_object().ok_or_else(wrong)?;
        self.refuse_many_labels("label2id", map.len())?;
        let mut names = vec![None; map.len()];
        for (name, id) in map {
            let slot = id.as_u64().and_then(|id| names.get_mut(id as usize)).ok_or_else(wrong)?;
            *slot = Some(name.clone());
        }
        Ok(Some(names.into_iter().collect::<Option<_>>().ok_or_else(wrong)?))
    }

    fn refuse_many_labels(&self, key: &str, count: usize) -> Result<()> {
        if count > MOST_LABELS {
            let message = format!("it has {count} labels, and the limit is {MOST_LABELS}");
            bail!(self.error(key, message));
        }
        Ok(())
    }

    /// As [`ModelConfig::wrong`], without a long value.
    fn wrong_labels(&self, key: &str, value: &Value, wanted: &str) -> Diagnostic {
        match value.as_object().map_or(0, Map::len) {
            ..=20 => self.wrong(key, wanted),
            count => self.error(key, format!("its {count} entries are not {wanted}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> ModelConfig {
        ModelConfig { path: "config.json".into(), keys: serde_json::from_str(json).unwrap() }
    }

    #[test]
    fn labels_are_in_id_order() {
        let c = config(
            r#"{"id2label": {"10":"k","2":"c","0":"a","1":"b","3":"d","4":"e","5":"f","6":"g","7":"h","8":"i","9":"j"}}"#,
        );
        assert_eq!(c.label_names().unwrap().unwrap().concat(), "abcdefghijk");
    }

    #[test]
    fn wrong_values_name_the_file_and_the_key() {
        let c =
            config(r#"{"hidden_size": "x", "id2label": {"0": "a", "2": "b"}, "vocab_size": 0}"#);
        for (error, key) in [
            (c.size("hidden_size").unwrap_err(), "hidden_size"),
            (c.size("vocab_size").unwrap_err(), "vocab_size"),
            (c.size("num_hidden_layers").unwrap_err(), "num_hidden_layers"),
            (c.label_names().unwrap_err(), "id2label"),
        ] {
            let text = error.to_string();
            assert!(text.contains("config.json") && text.contains(key), "{text}");
        }
    }

    #[test]
    fn many_labels_are_refused_and_a_long_map_is_not_printed() {
        let map = |ids: std::ops::Range<usize>| {
            let entries: Vec<String> = ids.map(|id| format!("\"{id}\": \"l{id}\"")).collect();
            config(&format!("{{\"id2label\": {{{}}}}}", entries.join(", ")))
        };
        assert_eq!(map(0..MOST_LABELS).label_names().unwrap().unwrap().len(), 65_536);
        let error = map(0..MOST_LABELS + 1).label_names().unwrap_err().to_string();
        assert!(error.ends_with("it has 65537 labels, and the limit is 65536"), "{error}");
        let gap = map(1..1001).label_names().unwrap_err().to_string();
        assert!(gap.contains("its 1000 entries are not a map") && gap.len() < 200, "{gap}");
    }

    #[test]
    fn numbers_outside_of_their_range_are_refused() {
        let c = config(r#"{"eps": -1e5, "positions": 4294967295, "dropout": 1.0, "buckets": 1.5}"#);
        for (error, text) in [
            (
                c.number_in("eps", 0.0, 0.0..=1.0).unwrap_err(),
                "`eps`: -100000.0 is not a number from 0 to 1",
            ),
            (c.size_up_to("positions", 1, 9).unwrap_err(), "is not a whole number from 1 to 9"),
            (c.integer("buckets").unwrap_err(), "1.5 is not a whole number"),
        ] {
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(c.number_in("absent", 0.5, 0.0..=1.0).unwrap(), 0.5);
        assert_eq!(c.integer("absent").unwrap(), None);
    }

    #[test]
    fn two_ids_with_one_name_are_refused() {
        let c = config(r#"{"id2label": {"0": "a", "1": "a"}}"#);
        assert!(c.label_names().unwrap_err().to_string().contains("two ids"));
    }
}
