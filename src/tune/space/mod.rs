//! The search space: keys of a recipe, each with a range, a scale and a default.

mod keys; //  the keys that may be searched
mod range; // the values of a key
mod start; // settings to try first
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::distill::methods;
use crate::error::{usage, Diagnostic};

pub use self::keys::foreign;
pub use self::range::{Range, RangeScale};

/// Values of some keys of the space, by key.
pub type TrialSettings = BTreeMap<String, Value>;

/// A search space.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Space(pub Vec<SpaceKey>);

/// One key of the space.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpaceKey {
    /// Its path in a recipe, such as `stage.prediction.learning_rate`.
    pub name: String,
    pub range: Range,
    /// The value of the first trial.
    pub default: Value,
}

/// A key as a tune writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpaceKeyTable {
    low: Option<Value>,
    high: Option<Value>,
    scale: Option<RangeScale>,
    choices: Option<Vec<Value>>,
    default: Option<Value>,
}

impl Space {
    /// Reads the space in `table`; its keys may be quoted paths or nested tables. `known` gives the
    /// recipe's value of a key, the default where none is written.
    ///
    /// # Errors
    /// An empty space, a key that may not be searched, a wrong range, a default that is missing or
    /// outside: usage errors that name the key.
    pub fn read(table: &Table, known: impl Fn(&str) -> Option<Value>) -> Result<Self> {
        let mut written = Vec::new();
        flatten("", table, &mut written)?;
        if written.is_empty() {
            bail!(Diagnostic::usage("`space` is empty: there is nothing to search over").hint(
                "give it a key of the recipe, such as `\"stage.prediction.learning_rate\" = \
                     { low = 1e-5, high = 5e-4, scale = \"log\", default = 3e-5 }`"
            ));
        }
        let keys = written.into_iter().map(|(name, value)| SpaceKey::read(name, value, &known));
        Ok(Space(keys.collect::<Result<_>>()?))
    }

    /// The settings of the first trial, for the keys that `method` has.
    pub fn defaults(&self, method: &str) -> TrialSettings {
        let keys = self.0.iter();
        let point: TrialSettings =
            keys.map(|key| (key.name.clone(), key.default.clone())).collect();
        let method = point.get("method").and_then(Value::as_str).unwrap_or(method).to_owned();
        self.active(point, &method)
    }

    /// All points of a space of at most `most`; `None` for a larger one.
    pub fn every(&self, most: u64) -> Option<Vec<TrialSettings>> {
        let mut product = 1u64;
        for key in &self.0 {
            product = product.checked_mul(key.range.count()?).filter(|&n| n <= most)?;
        }
        let mut points = vec![TrialSettings::new()];
        for key in &self.0 {
            let with = |point: &TrialSettings| {
                let place = |value| {
                    let mut point = point.clone();
                    point.insert(key.name.clone(), value);
                    point
                };
                key.range.values().into_iter().map(place).collect::<Vec<_>>()
            };
            points = points.iter().flat_map(with).collect();
        }
        Some(points)
    }

    /// `point` without the keys that `method` does not have.
    pub fn active(&self, point: TrialSettings, method: &str) -> TrialSettings {
        let method = methods::find(method).ok();
        let has = |name: &str| method.is_none_or(|method| method.has_key(name));
        point.into_iter().filter(|(name, _)| has(name)).collect()
    }

    /// The methods that the search chooses from; `own` if it does not choose.
    pub fn methods<'a>(&'a self, own: &'a str) -> Vec<&'a str> {
        match self.0.iter().find(|key| key.name == "method").map(|key| &key.range) {
            Some(Range::Choices(choices)) => choices.iter().filter_map(Value::as_str).collect(),
            _ => vec![own],
        }
    }
}

impl SpaceKey {
    fn read(name: String, value: Value, known: &impl Fn(&str) -> Option<Value>) -> Result<Self> {
        let wrong = |why: &str| usage!("`space.\"{name}\"` {why}");
        if !keys::is_setting(&name) {
            bail!(wrong(
                "is not a setting of the student's training: trials that differ in it cannot be \
                 compared"
            )
            .hint(match name.as_str() {
                "teacher" => {
                    "search `learn_from`, the checkpoint that teaches: every trial is measured \
                     against the teacher"
                }
                _ => "leave it out, and set it in the recipe or by a flag",
            }));
        }
        let SpaceKeyTable { low, high, scale, choices, default } =
            SpaceKeyTable::deserialize(value)
                .map_err(|e| wrong(&format!("cannot be read: {}", e.to_string().trim_end())))?;
        let range = match (low, high, choices) {
            (None, None, Some(choices)) if scale.is_none() => Range::choices(choices),
            (Some(low), Some(high), None) => Range::numbers(&low, &high, scale.unwrap_or_default()),
            _ => Err("needs `low` and `high` with an optional `scale`, or `choices` alone".into()),
        };
        let range = range.map_err(|why| wrong(&why))?;
        let default = default.or_else(|| known(&name)).ok_or_else(|| {
            wrong("has no default").hint("give it `default`, the value of the first trial")
        })?;
        match range.converted(&default) {
            Some(default) => Ok(SpaceKey { name, range, default }),
            None => Err(wrong(&format!("has the default {default}, which is not {range}"))
                .hint("the default is the value of the first trial")
                .into()),
        }
    }
}

/// Collects the keys of a space, nested tables as paths. A table with a field of [`SpaceKeyTable`] is
/// a key.
fn flatten(path: &str, table: &Table, keys: &mut Vec<(String, Value)>) -> Result<()> {
    for (name, value) in table {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let words = ["low", "high", "scale", "choices", "default"];
        match value {
            Value::Table(inner) if !inner.keys().any(|key| words.contains(&key.as_str())) => {
                if inner.is_empty() {
                    bail!(usage!("`space.\"{path}\"` has no range")
                        .hint("give it `low` and `high`, or `choices`"));
                }
                flatten(&path, inner, keys)?;
            }
            Value::Table(_) => keys.push((path, value.clone())),
            _ => {
                bail!(usage!("`space.\"{path}\"` = {value} is not a range")
                .hint(
                "write { low = …, high = … } or { choices = […] }; what does not change belongs \
                     in the recipe",
            ))
            }
        }
    }
    Ok(())
}
