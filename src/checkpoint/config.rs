//! A checkpoint's config.json; errors name the file and the key.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use serde_json::{Map, Value};

use super::json;
use crate::error::{Diagnostic, FileLocation};
use crate::input::SmallFile;

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
    /// A file that cannot be read, or is not a JSON object (with line and column), a key with two values.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(&SmallFile::open(path)?)
    }

    /// The keys of a file in memory. JSON is nested at most 128 deep.
    ///
    /// # Errors
    /// A file that is not a JSON object (with line and column), a key with two values.
    pub fn parse(file: &SmallFile) -> Result<Self> {
        Ok(ModelConfig { path: file.path().to_owned(), keys: json::object(file)? })
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

    pub(super) fn wrong(&self, key: &str, wanted: &str) -> Diagnostic {
        let value = self.keys.get(key).unwrap_or(&Value::Null);
        self.error(key, format!("{value} is not {wanted}"))
    }

    /// An error about the value of `key`.
    pub(super) fn error(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        let file = self.path.display().to_string();
        let key = Some(key.to_owned());
        Diagnostic::failure(message).at(FileLocation { file, key, ..FileLocation::default() })
    }

    pub(super) fn present(&self, key: &str) -> Option<&Value> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> ModelConfig {
        ModelConfig { path: "config.json".into(), keys: serde_json::from_str(json).unwrap() }
    }

    #[test]
    fn wrong_values_name_the_file_and_the_key() {
        let c = config(r#"{"hidden_size": "x", "vocab_size": 0}"#);
        for (error, key) in [
            (c.size("hidden_size").unwrap_err(), "hidden_size"),
            (c.size("vocab_size").unwrap_err(), "vocab_size"),
            (c.size("num_hidden_layers").unwrap_err(), "num_hidden_layers"),
        ] {
            let text = error.to_string();
            assert!(text.contains("config.json") && text.contains(key), "{text}");
        }
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
}
