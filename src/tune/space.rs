//! What a search may change: keys of a recipe, each with a range, a scale and a default.

use std::collections::BTreeMap;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::distill::methods::{self, Method};
use crate::distill::terms::Term;
use crate::error::usage;
use crate::task::spelling::did_you_mean;

/// Digits of a real value that is proposed: more would say nothing, and nobody could read them.
const DIGITS: usize = 3;
/// Whole numbers that are all tried beforehand.
const FEW: u64 = 12;

/// Keys whose value says what is judged, where it lies or how fast it goes, and not how the student
/// is made: two trials that differ in one could not be compared, or would not differ.
const NOT_SEARCHED: [&str; 19] = [
    "task",
    "own_task",
    "data",
    "teacher",
    "teacher_head",
    "label_map",
    "max_length",
    "limit",
    "allow_skipped",
    "seed",
    "threads",
    "output",
    "store",
    "teacher_states",
    "held_out",
    "log_every",
    "save_every",
    "student",
    "student.base",
];

/// Values of some keys of the space, by key.
pub type Point = BTreeMap<String, Value>;

/// The keys, in their order.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Space(pub Vec<Key>);

/// One key of the space.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    /// Its path in a recipe, such as `stage.prediction.learning_rate`.
    pub name: String,
    /// What it may be.
    pub range: Range,
    /// What the first trial has.
    pub default: Value,
}

/// What a key may be.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// A real number, ends included.
    Real {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
        /// How it is spread.
        scale: Scale,
    },
    /// A whole number, ends included.
    Whole {
        /// The smallest.
        low: i64,
        /// The largest.
        high: i64,
        /// How it is spread.
        scale: Scale,
    },
    /// One of these.
    Choices(Vec<Value>),
}

/// How a number is spread over its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Its logarithm evenly.
    Log,
}

/// A key as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    low: Option<Value>,
    high: Option<Value>,
    scale: Option<Scale>,
    choices: Option<Vec<Value>>,
    default: Option<Value>,
}

impl Space {
    /// The space that `table` describes; its keys may be quoted paths or nested tables. `known`
    /// gives what the recipe says of a key, for those without a default of their own.
    ///
    /// # Errors
    /// An empty space, a key that decides what is judged, a range that is none, a default that is
    /// missing or outside: usage errors that name the key.
    pub fn read(table: &Table, known: impl Fn(&str) -> Option<Value>) -> Result<Self> {
        let mut written = Vec::new();
        flatten("", table, &mut written)?;
        if written.is_empty() {
            bail!(usage(
                "`space` is empty: there is nothing to search over\n  hint: give it a key of the \
                 recipe, such as `\"stage.prediction.learning_rate\" = { low = 1e-5, high = 5e-4, \
                 scale = \"log\", default = 3e-5 }`"
            ));
        }
        let keys = written.into_iter().map(|(name, value)| Key::read(name, value, &known));
        Ok(Space(keys.collect::<Result<_>>()?))
    }

    /// The settings of the first trial, of the keys that `method` has.
    pub fn defaults(&self, method: &str) -> Point {
        let keys = self.0.iter();
        let point: Point = keys.map(|key| (key.name.clone(), key.default.clone())).collect();
        let method = point.get("method").and_then(Value::as_str).unwrap_or(method).to_owned();
        self.active(point, &method)
    }

    /// Every point of a space of at most `most`, in an order of its own; `None` of a larger one.
    pub fn every(&self, most: u64) -> Option<Vec<Point>> {
        let mut product = 1u64;
        for key in &self.0 {
            product = product.checked_mul(key.range.count()?).filter(|&n| n <= most)?;
        }
        let mut points = vec![Point::new()];
        for key in &self.0 {
            let with = |point: &Point| {
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
    pub fn active(&self, point: Point, method: &str) -> Point {
        let method = methods::find(method).ok();
        let has = |name: &str| method.is_none_or(|method| belongs(name, method));
        point.into_iter().filter(|(name, _)| has(name)).collect()
    }

    /// The methods among which the search chooses; `own` where it does not choose.
    pub fn methods<'a>(&'a self, own: &'a str) -> Vec<&'a str> {
        match self.0.iter().find(|key| key.name == "method").map(|key| &key.range) {
            Some(Range::Choices(choices)) => choices.iter().filter_map(Value::as_str).collect(),
            _ => vec![own],
        }
    }
}

impl Key {
    fn read(name: String, value: Value, known: &impl Fn(&str) -> Option<Value>) -> Result<Self> {
        let wrong = |why: &str| usage(format!("`space.\"{name}\"` {why}"));
        let root = name.split('.').next().unwrap_or_default();
        let is_table = root == "student" && name != root;
        if NOT_SEARCHED.iter().any(|key| *key == name || (*key == root && !is_table)) {
            bail!(wrong(
                "is no setting of the student's training: trials that differ in it could not be \
                 compared\n  hint: leave it out; the recipe or a flag sets it"
            ));
        }
        let Written { low, high, scale, choices, default } = Written::deserialize(value)
            .map_err(|e| wrong(&format!("cannot be read: {}", e.to_string().trim_end())))?;
        let range = match (low, high, choices) {
            (None, None, Some(choices)) if scale.is_none() => Range::choices(choices),
            (Some(low), Some(high), None) => Range::numbers(&low, &high, scale.unwrap_or_default()),
            _ => {
                Err("needs `low` and `high`, with a `scale` or without, or `choices` alone".into())
            }
        };
        let range = range.map_err(|why| wrong(&why))?;
        let default = default.or_else(|| known(&name)).ok_or_else(|| {
            wrong("has no default\n  hint: give it `default`, the value of the first trial")
        })?;
        match range.place(&default) {
            Some(default) => Ok(Key { name, range, default }),
            None => Err(wrong(&format!(
                "has the default {default}, which is not {range}\n  hint: the first trial has the \
                 default, so that it must be inside"
            ))),
        }
    }
}

impl Range {
    fn choices(choices: Vec<Value>) -> Result<Self, String> {
        if let Some(wrong) = choices.iter().find(|choice| !is_finite(choice)) {
            return Err(format!("names the choice {wrong}, which is no number"));
        }
        if choices.len() < 2 {
            return Err("needs at least two `choices`".to_owned());
        }
        match (1..choices.len()).find(|&i| choices[..i].contains(&choices[i])) {
            Some(i) => Err(format!("names the choice {} twice", choices[i])),
            None => Ok(Range::Choices(choices)),
        }
    }

    fn numbers(low: &Value, high: &Value, scale: Scale) -> Result<Self, String> {
        let range = match (low, high) {
            (Value::Integer(low), Value::Integer(high)) => {
                Range::Whole { low: *low, high: *high, scale }
            }
            _ => match (number(low), number(high)) {
                (Some(low), Some(high)) if low.is_finite() && high.is_finite() => {
                    Range::Real { low, high, scale }
                }
                _ => return Err(format!("goes from {low} to {high}: two numbers are needed")),
            },
        };
        let (low, high) = range.ends().expect("numbers have ends");
        if low >= high {
            return Err(format!(
                "goes from {low} to {high}: it is turned round, or a single value\n  hint: `low` \
                 must be below `high`"
            ));
        }
        if scale == Scale::Log && low <= 0.0 {
            return Err(format!("begins at {low}: a `log` scale has positive numbers alone"));
        }
        Ok(range)
    }

    /// Both ends of a range of numbers.
    pub fn ends(&self) -> Option<(f64, f64)> {
        match *self {
            Range::Real { low, high, .. } => Some((low, high)),
            Range::Whole { low, high, .. } => Some((low as f64, high as f64)),
            Range::Choices(_) => None,
        }
    }

    /// How many values it has; `None` for a real number's.
    pub fn count(&self) -> Option<u64> {
        match self {
            Range::Real { .. } => None,
            Range::Whole { low, high, .. } => Some(high.abs_diff(*low).saturating_add(1)),
            Range::Choices(choices) => Some(choices.len() as u64),
        }
    }

    /// The values that a check tries: every one of a few, else those at the ends.
    pub fn tried(&self) -> Vec<Value> {
        match self {
            Range::Whole { low, high, .. } if self.count().is_some_and(|n| n <= FEW) => {
                (*low..=*high).map(Value::Integer).collect()
            }
            Range::Real { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
            Range::Whole { low, high, .. } => vec![Value::Integer(*low), Value::Integer(*high)],
            Range::Choices(choices) => choices.clone(),
        }
    }

    /// All its values; none of a real number's.
    fn values(&self) -> Vec<Value> {
        match self {
            Range::Real { .. } => Vec::new(),
            Range::Whole { low, high, .. } => (*low..=*high).map(Value::Integer).collect(),
            Range::Choices(choices) => choices.clone(),
        }
    }

    /// `value` as one of the range, a whole number written as such; `None` outside.
    fn place(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Range::Real { low, high, .. }, value) => {
                number(value).filter(|x| (*low..=*high).contains(x)).map(Value::Float)
            }
            (Range::Whole { low, high, .. }, Value::Integer(x)) => {
                (*low..=*high).contains(x).then(|| value.clone())
            }
            (Range::Whole { .. }, _) => None,
            (Range::Choices(choices), _) => choices.contains(value).then(|| value.clone()),
        }
    }

    /// The interval in which a search sees the range: logarithms on a `log` scale, half a step more
    /// on either side of whole numbers, the number of the choice.
    pub fn interval(&self) -> (f64, f64) {
        match self {
            Range::Real { low, high, scale } => (scale.forth(*low), scale.forth(*high)),
            Range::Whole { low, high, scale } => {
                (scale.forth(*low as f64 - 0.5), scale.forth(*high as f64 + 0.5))
            }
            Range::Choices(choices) => (0.0, choices.len() as f64),
        }
    }

    /// Where `value` lies in [`Range::interval`].
    pub fn position(&self, value: &Value) -> Option<f64> {
        match self {
            Range::Real { scale, .. } | Range::Whole { scale, .. } => {
                number(value).map(|x| scale.forth(x))
            }
            Range::Choices(choices) => {
                choices.iter().position(|choice| choice == value).map(|i| i as f64)
            }
        }
    }

    /// The value at `position` of [`Range::interval`].
    pub fn value(&self, position: f64) -> Value {
        match self {
            Range::Real { low, high, scale } => {
                Value::Float(rounded(scale.back(position)).clamp(*low, *high))
            }
            Range::Whole { low, high, scale } => {
                Value::Integer((scale.back(position).round() as i64).clamp(*low, *high))
            }
            Range::Choices(choices) => {
                choices[(position.max(0.0) as usize).min(choices.len() - 1)].clone()
            }
        }
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Range::Real { low, high, .. } => write!(f, "from {low} to {high}"),
            Range::Whole { low, high, .. } => write!(f, "a whole number from {low} to {high}"),
            Range::Choices(choices) => {
                let choices: Vec<_> = choices.iter().map(Value::to_string).collect();
                write!(f, "one of {}", choices.join(", "))
            }
        }
    }
}

impl Scale {
    fn forth(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::Log => x.ln(),
        }
    }

    fn back(self, x: f64) -> f64 {
        match self {
            Scale::Linear => x,
            Scale::Log => x.exp(),
        }
    }
}

fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(x) => x.is_finite(),
        Value::Array(values) => values.iter().all(is_finite),
        Value::Table(table) => table.values().all(is_finite),
        _ => true,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(x) => Some(*x),
        Value::Integer(x) => Some(*x as f64),
        _ => None,
    }
}

/// `x` with [`DIGITS`] digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.*e}", DIGITS - 1).parse().expect("a number that was just written")
}

/// The keys of a space, nested tables as paths. A table with a word of [`Written`] is a key.
fn flatten(path: &str, table: &Table, keys: &mut Vec<(String, Value)>) -> Result<()> {
    for (name, value) in table {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let words = ["low", "high", "scale", "choices", "default"];
        match value {
            Value::Table(inner) if !inner.keys().any(|key| words.contains(&key.as_str())) => {
                if inner.is_empty() {
                    bail!(usage(format!(
                        "`space.\"{path}\"` has no range\n  hint: give it `low` and `high`, or \
                         `choices`"
                    )));
                }
                flatten(&path, inner, keys)?;
            }
            Value::Table(_) => keys.push((path, value.clone())),
            _ => bail!(usage(format!(
                "`space.\"{path}\"` = {value} is no range\n  hint: write {{ low = …, high = … }} or \
                 {{ choices = […] }}; what does not change belongs in the recipe"
            ))),
        }
    }
    Ok(())
}

/// Whether recipes of `method` may have the key `name`.
pub fn belongs(name: &str, method: &Method) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let weighs = |term: &str| method.terms.iter().any(|known| known.as_str() == term);
    let looks = |terms: &[Term]| terms.iter().any(|term| method.terms.contains(term));
    use Term::*;
    match parts.as_slice() {
        ["stage", stage, rest @ ..] => {
            let has = (method.stages)().iter().any(|(name, _)| name == stage);
            has && !matches!(rest, ["losses", term] if !weighs(term))
        }
        ["training", "losses", term] => (method.stages)().len() == 1 && weighs(term),
        [table @ ("pkd" | "annealing" | "takd" | "hsk"), ..] => *table == method.name,
        ["compat"] => method.name == "tinybert",
        ["layer_map"] => looks(&[Hidden, Patient, Kept]),
        _ => true,
    }
}

/// What to say of a key that no method of the search has.
pub fn foreign(name: &str, methods: &[&str]) -> anyhow::Error {
    let parts: Vec<&str> = name.split('.').collect();
    let of: Vec<&Method> = methods.iter().filter_map(|name| methods::find(name).ok()).collect();
    let stages: Vec<&str> =
        of.iter().flat_map(|method| (method.stages)()).map(|(name, _)| name).collect();
    let hint = match parts.as_slice() {
        ["stage", stage, ..] if !stages.contains(stage) => {
            format!(
                "{}its stages are {}",
                did_you_mean(stage, stages.iter().copied()),
                stages.join(", ")
            )
        }
        [.., "losses", _] => {
            let terms = of.iter().flat_map(|method| method.terms).map(|term| term.as_str());
            format!("its losses are {}", terms.collect::<Vec<_>>().join(", "))
        }
        _ => "leave it out".to_owned(),
    };
    usage(format!(
        "`space.\"{name}\"` is no key of the method {}\n  hint: {hint}",
        methods.join(" or ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Space> {
        Space::read(&text.parse().unwrap(), |name| (name == "known").then_some(Value::Integer(3)))
    }

    fn refused(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn quoted_paths_and_nested_tables_are_the_same() {
        let quoted = "\"a.b\" = { low = 1, high = 9, default = 2 }";
        let nested = "[a.b]\nlow = 1\nhigh = 9\ndefault = 2";
        assert_eq!(read(quoted).unwrap(), read(nested).unwrap());
        assert_eq!(read(quoted).unwrap().0[0].name, "a.b");
    }

    #[test]
    fn what_the_recipe_says_is_the_default() {
        let space = read("known = { low = 1, high = 9 }").unwrap();
        assert_eq!(space.0[0].default, Value::Integer(3));
    }

    #[test]
    fn a_range_that_is_none_is_refused_by_its_key() {
        let cases = [
            ("", "`space` is empty"),
            ("[a]", "`space.\"a\"` has no range"),
            ("a = 3", "`space.\"a\"` = 3 is no range"),
            (
                "a = { low = 2, high = 1, default = 1 }",
                "`space.\"a\"` goes from 2 to 1: it is turned",
            ),
            ("a = { low = 2, high = 2, default = 2 }", "a single value"),
            ("a = { low = 0.0, high = 1, scale = \"log\", default = 1 }", "begins at 0"),
            ("a = { low = \"x\", high = 1, default = 1 }", "two numbers"),
            ("a = { low = 1, default = 1 }", "needs `low` and `high`"),
            ("a = { choices = [1], default = 1 }", "at least two"),
            ("a = { choices = [1, 2, 1], default = 1 }", "the choice 1 twice"),
            ("a = { choices = [1, 2], scale = \"log\", default = 1 }", "`choices` alone"),
            ("a = { low = 1, high = 2 }", "`space.\"a\"` has no default"),
            (
                "a = { low = 1, high = 2, default = 3 }",
                "the default 3, which is not a whole number",
            ),
            ("a = { low = 1, high = 2, default = 1.5 }", "the default 1.5"),
            ("a = { low = 1.0, high = 2, default = \"x\" }", "the default \"x\""),
            ("a = { choices = [1, 2], default = 3 }", "not one of 1, 2"),
            ("a = { low = 1, high = 2, default = 1, step = 1 }", "unknown field `step`"),
            ("a = { choices = [1.0, inf], default = 1.0 }", "the choice inf"),
            ("student = { choices = [{ layers = 2 }, { layers = 3 }] }", "no setting"),
            ("seed = { low = 1, high = 2, default = 1 }", "no setting of the student's training"),
            ("held_out.share = { low = 0.1, high = 0.2, default = 0.1 }", "no setting"),
        ];
        for (text, why) in cases {
            assert!(refused(text).contains(why), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn keys_belong_to_methods() {
        let of = |name: &str, method: &str| belongs(name, methods::find(method).unwrap());
        assert!(of("stage.prediction.learning_rate", "tinybert"));
        assert!(!of("stage.prediction.learning_rate", "kd"));
        assert!(of("stage.prediction.losses.hard", "tinybert"));
        assert!(!of("stage.prediction.losses.patient", "tinybert"));
        assert!(of("training.losses.soft", "kd") && !of("training.losses.soft", "tinybert"));
        assert!(of("hsk.depth", "hsk") && !of("hsk.depth", "kd"));
        assert!(of("layer_map", "pkd") && !of("layer_map", "kd"));
        assert!(of("student.layers", "kd") && of("keep", "kd"));
        let space = read(
            "method = { choices = [\"kd\", \"tinybert\"], default = \"kd\" }\n\
             \"stage.train.temperature\" = { low = 1.0, high = 9.0, default = 2 }\n\
             \"stage.prediction.max_epochs\" = { low = 1, high = 9, default = 2 }",
        );
        let space = space.unwrap();
        let names: Vec<_> = space.defaults("tinybert").into_keys().collect();
        assert_eq!(names, ["method", "stage.train.temperature"]);
        assert_eq!(space.methods("hsk"), ["kd", "tinybert"]);
    }

    proptest! {
        #[test]
        fn every_position_is_a_value_inside_whose_position_is_inside(share in 0.0..1.0f64) {
            let ranges = [
                Range::Real { low: 1e-6, high: 3.3e-4, scale: Scale::Log },
                Range::Real { low: -2.0, high: 5.5, scale: Scale::Linear },
                Range::Whole { low: 1, high: 40, scale: Scale::Log },
                Range::Whole { low: -3, high: 3, scale: Scale::Linear },
                Range::Choices(vec![Value::Boolean(true), Value::Integer(2), Value::Integer(3)]),
            ];
            for range in ranges {
                let (low, high) = range.interval();
                let value = range.value(low + share * (high - low));
                prop_assert_eq!(range.place(&value), Some(value.clone()));
                let position = range.position(&value).unwrap();
                prop_assert!((low..=high).contains(&position));
                prop_assert_eq!(range.value(position), value);
            }
        }
    }
}
