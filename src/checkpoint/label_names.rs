//! The label names of a config.json: `id2label`, which `label2id` must not contradict.

use std::collections::HashMap;

use anyhow::{bail, Result};
use serde_json::{Map, Value};

use super::config::ModelConfig;
use crate::error::Diagnostic;
use crate::task::{LabelIndex, MOST_LABELS};

const IDS: &str = "id2label";
const NAMES: &str = "label2id";

impl ModelConfig {
    /// The names under `id2label`, else `label2id`, in id order; `None` without either. Where
    /// `id2label` has transformers' `LABEL_0`, `LABEL_1`, … only and `label2id` names every id, those
    /// names.
    ///
    /// # Errors
    /// Ids that are not 0, 1, … K−1, two ids with one name, more than [`MOST_LABELS`] of them; a
    /// `label2id` that contradicts `id2label`.
    pub fn label_names(&self) -> Result<Option<Vec<String>>> {
        let names = match self.present(IDS) {
            Some(value) => {
                let names = self.names_by_id(value)?;
                self.with_label2id(names)?
            }
            None => match self.present(NAMES) {
                Some(value) => self.ids_by_name(value)?,
                None => return Ok(None),
            },
        };
        Ok(Some(names))
    }

    /// Fails if `num_labels` is there and is not `count`. For a model without names of labels:
    /// transformers ignores `num_labels` beside `id2label`.
    ///
    /// # Errors
    /// Names both numbers.
    pub fn require_num_labels(&self, count: usize) -> Result<()> {
        match self.present("num_labels").and_then(Value::as_i64) {
            Some(number) if usize::try_from(number) != Ok(count) => {
                let message = format!("it is {number}, and the model has {count} labels");
                bail!(self.error("num_labels", message).hint("one of the two is of another model"))
            }
            _ => Ok(()),
        }
    }

    /// The names of `id2label`.
    fn names_by_id(&self, value: &Value) -> Result<Vec<String>> {
        let wanted = "a map from 0, 1, … to names";
        let Some(map) = value.as_object() else {
            bail!(self.error(IDS, format!("it is not {wanted}")));
        };
        self.refuse_many_labels(IDS, map.len())?;
        let mut names = vec![None; map.len()];
        for (id, name) in map {
            let slot = id.parse::<usize>().ok().and_then(|id| names.get_mut(id));
            match (slot, name) {
                (Some(slot), Value::String(name)) => *slot = Some(name.clone()),
                // Some exporters write the id itself as the name.
                (Some(slot), Value::Number(name)) => *slot = Some(format!("LABEL_{name}")),
                _ => bail!(self.wrong_labels(IDS, value, wanted)),
            }
        }
        let names: Option<Vec<String>> = names.into_iter().collect();
        let names = names.ok_or_else(|| self.wrong_labels(IDS, value, wanted))?;
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (id, name) in names.iter().enumerate() {
            if first.insert(name, id).is_some() {
                bail!(self.error(IDS, format!("two ids have the name `{name}`")));
            }
        }
        Ok(names)
    }

    /// The names of `label2id`, where there is no `id2label`.
    fn ids_by_name(&self, value: &Value) -> Result<Vec<String>> {
        let wrong = || self.wrong_labels(NAMES, value, "a map from names to 0, 1, …");
        let map = value.as_object().ok_or_else(wrong)?;
        self.refuse_many_labels(NAMES, map.len())?;
        let mut names = vec![None; map.len()];
        for (name, id) in map {
            let slot = id.as_u64().and_then(|id| names.get_mut(id as usize)).ok_or_else(wrong)?;
            *slot = Some(name.clone());
        }
        Ok(names.into_iter().collect::<Option<_>>().ok_or_else(wrong)?)
    }

    /// `names` of `id2label`, or those of `label2id` if only it has names.
    ///
    /// `id2label` decides, as in transformers, so a name that it lacks says nothing: `label2id` is often
    /// that of the base model, or has synonyms.
    ///
    /// # Errors
    /// A `label2id` that gives a name of `id2label` another id.
    fn with_label2id(&self, names: Vec<String>) -> Result<Vec<String>> {
        let entries = self.label2id();
        let (index, numbers) = (LabelIndex::new(&names), ids_by_number(&names));
        for (name, id) in &entries {
            let own = match number(name) {
                Some(number) => numbers.get(number).copied(),
                None => index.find(name),
            };
            if let Some(own) = own.filter(|own| own != id) {
                bail!(self.contradiction(&names[own], own, name, *id));
            }
        }
        // What transformers writes where no names are given.
        let unnamed = names
            .iter()
            .enumerate()
            .all(|(id, name)| number(name).and_then(|number| number.parse().ok()) == Some(id));
        let named = names_of_every_id(&entries, names.len()).filter(|_| unnamed);
        Ok(named.unwrap_or(names))
    }

    /// The entries of `label2id` whose values are ids; others say nothing.
    fn label2id(&self) -> Vec<(&str, usize)> {
        let map = self.present(NAMES).and_then(Value::as_object);
        let id = |value: &Value| match value {
            Value::String(digits) => digits.parse().ok(),
            number => number.as_u64().map(|id| id as usize),
        };
        let entries = map.into_iter().flatten();
        entries.filter_map(|(name, value)| Some((name.as_str(), id(value)?))).collect()
    }

    fn contradiction(&self, name: &str, id: usize, other: &str, other_id: usize) -> Diagnostic {
        let message = format!(
            "`{other}` has the id {other_id}, and `{IDS}` names {id} `{name}`: one is wrong"
        );
        self.error(NAMES, message).hint(
            "the order of the labels decides every figure by label: make both maps say what the model \
             was trained with",
        )
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

/// The number in `LABEL_1` or `1`, which is an id or a value and not a name.
fn number(name: &str) -> Option<&str> {
    let number = name.strip_prefix("LABEL_").unwrap_or(name);
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_number =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.parse::<f64>().is_ok();
    is_number.then_some(number)
}

/// The id of each name that is a number.
fn ids_by_number(names: &[String]) -> HashMap<&str, usize> {
    names.iter().enumerate().filter_map(|(id, name)| Some((number(name)?, id))).collect()
}

/// The names of ids 0 to `count` − 1, if every id has one name but for spelling; of several spellings
/// the first. Numbers do not count as names.
fn names_of_every_id(entries: &[(&str, usize)], count: usize) -> Option<Vec<String>> {
    let mut names: Vec<Option<String>> = vec![None; count];
    for (name, id) in entries.iter().filter(|(name, _)| number(name).is_none()) {
        match names.get_mut(*id)? {
            Some(known) => _ = LabelIndex::new(std::slice::from_ref(known)).find(name)?,
            free => *free = Some((*name).to_owned()),
        }
    }
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;
    use std::path::Path;

    fn config(json: &str) -> ModelConfig {
        ModelConfig::of(Path::new("config.json"), serde_json::from_str(json).unwrap())
    }

    fn names(json: &str) -> Vec<String> {
        config(json).label_names().unwrap().unwrap()
    }

    #[track_caller]
    fn refused(json: &str, words: &[&str]) {
        let error = rendered(&config(json).label_names().unwrap_err());
        for word in words {
            assert!(error.contains(word), "no `{word}` in {error}");
        }
    }

    #[test]
    fn labels_are_in_id_order() {
        let c = r#"{"id2label": {"10":"k","2":"c","0":"a","1":"b","3":"d","4":"e","5":"f","6":"g","7":"h","8":"i","9":"j"}}"#;
        assert_eq!(names(c).concat(), "abcdefghijk");
        assert_eq!(names(r#"{"label2id": {"b": 1, "a": 0}}"#), ["a", "b"]);
    }

    #[test]
    fn ids_with_a_gap_and_two_ids_with_one_name_are_refused() {
        refused(r#"{"id2label": {"0": "a", "2": "b"}}"#, &["config.json", "id2label", "a map"]);
        refused(r#"{"id2label": {"0": "a", "1": "a"}}"#, &["two ids have the name `a`"]);
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
    fn a_label2id_that_contradicts_id2label_is_refused_with_both_entries() {
        let ids = r#""id2label": {"0": "negative", "1": "positive"}"#;
        for (label2id, words) in [
            (
                r#"{"negative": 1, "positive": 0}"#,
                &["key `label2id`", "`negative` has the id 1", "`id2label` names 0 `negative`"][..],
            ),
            (r#"{"NEGATIVE": 1, "positive": 1}"#, &["`NEGATIVE` has the id 1"]),
        ] {
            refused(&format!("{{{ids}, \"label2id\": {label2id}}}"), words);
        }
        for (ids, label2id) in [
            (r#"{"0": "LABEL_1", "1": "LABEL_0"}"#, r#"{"LABEL_0": 0}"#),
            (r#"{"0": "LABEL_0", "1": "LABEL_1"}"#, r#"{"LABEL_0": 1, "LABEL_1": 0}"#),
            (r#"{"0": "LABEL_0", "1": "LABEL_1"}"#, r#"{"0": 1, "1": 0}"#),
            (r#"{"0": 0, "1": 1}"#, r#"{"pos": 0, "neg": 1, "0": 1}"#),
        ] {
            let config = format!("{{\"id2label\": {ids}, \"label2id\": {label2id}}}");
            refused(&config, &["key `label2id`", "0` has the id", "one is wrong"]);
        }
    }

    #[test]
    fn numbers_as_labels_are_compared_as_numbers() {
        for (ids, label2id, expected) in [
            (r#"{"0": 1, "1": 2}"#, r#"{"1": 0, "2": 1}"#, ["LABEL_1", "LABEL_2"]),
            (r#"{"0": -1, "1": 1}"#, r#"{"-1": 0, "1": 1}"#, ["LABEL_-1", "LABEL_1"]),
            (r#"{"0": 0.5, "1": 1.5}"#, r#"{"0.5": 0, "1.5": 1}"#, ["LABEL_0.5", "LABEL_1.5"]),
            // run_glue.py writes the ids of the data so where a model has another order.
            (r#"{"0": 1, "1": 0}"#, r#"{"1": 0, "0": 1}"#, ["LABEL_1", "LABEL_0"]),
            (r#"{"0": "no", "1": "yes"}"#, r#"{"0": 1, "1": 0}"#, ["no", "yes"]),
        ] {
            let config = format!("{{\"id2label\": {ids}, \"label2id\": {label2id}}}");
            assert_eq!(names(&config), expected, "{config}");
        }
    }

    #[test]
    fn a_label2id_in_other_spellings_or_with_the_defaults_is_harmless() {
        let ids = r#""id2label": {"0": "negative", "1": "positive"}"#;
        for label2id in [
            r#"{"negative": 0, "positive": 1}"#,
            r#"{"NEGATIVE": 0, "Positive": 1, "negative": 0, "bad": 0}"#,
            r#"{"LABEL_0": 0, "LABEL_1": 1}"#,
            r#"{"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}"#,
            r#"{"0": 0, "1": 1}"#,
            r#"{"negative": "0"}"#,
            r#"{"no": 0, "yes": 1}"#,
            r#"{"negative": 0, "positive": 1, "mixed": 2}"#,
            "{}",
            "null",
        ] {
            let read = names(&format!("{{{ids}, \"label2id\": {label2id}}}"));
            assert_eq!(read, ["negative", "positive"], "{label2id}");
        }
    }

    #[test]
    fn names_of_label2id_count_where_id2label_has_the_defaults() {
        let ids = r#""id2label": {"0": "LABEL_0", "1": "LABEL_1"}"#;
        let read = |label2id: &str| names(&format!("{{{ids}, \"label2id\": {label2id}}}"));
        assert_eq!(read(r#"{"pos": 0, "neg": 1}"#), ["pos", "neg"]);
        assert_eq!(read(r#"{"POS": 0, "neg": 1, "pos": 0}"#), ["POS", "neg"]);
        for unclear in [r#"{"pos": 0}"#, r#"{"pos": 0, "good": 0, "neg": 1}"#, r#"{"c": 2}"#] {
            assert_eq!(read(unclear), ["LABEL_0", "LABEL_1"], "{unclear}");
        }
    }

    #[test]
    fn num_labels_counts_only_without_names() {
        let ids = r#""id2label": {"0": "a", "1": "b"}"#;
        assert_eq!(names(&format!("{{{ids}, \"num_labels\": 3}}")), ["a", "b"]);
        for wrong in [3, -2] {
            let config = config(&format!("{{\"num_labels\": {wrong}}}"));
            let error = rendered(&config.require_num_labels(2).unwrap_err());
            assert!(
                error.contains(&format!("it is {wrong}, and the model has 2 labels")),
                "{error}"
            );
        }
        assert!(config(r#"{"num_labels": 2}"#).require_num_labels(2).is_ok());
    }
}
