//! The range of a key, and its position in the interval that a search samples from.

use serde::{Deserialize, Serialize};
use toml::Value;

/// Significant digits of a proposed real value.
const DIGITS: usize = 3;
/// Largest number of whole numbers that are all checked before the search.
const FEW: u64 = 12;

/// The values of a key.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Range {
    /// A real number, ends included.
    Real { low: f64, high: f64, scale: RangeScale },
    /// A whole number, ends included.
    Whole { low: i64, high: i64, scale: RangeScale },
    /// One of these.
    Choices(Vec<Value>),
}

/// The distribution of a number over its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RangeScale {
    /// Uniform.
    #[default]
    Linear,
    /// Uniform logarithm.
    Log,
}

impl Range {
    /// One of `choices`, or why they are wrong.
    pub(super) fn choices(choices: Vec<Value>) -> Result<Self, String> {
        if let Some(wrong) = choices.iter().find(|choice| !is_finite(choice)) {
            return Err(format!("has the choice {wrong}, which is not a number"));
        }
        if choices.len() < 2 {
            return Err("needs at least two `choices`".to_owned());
        }
        match (1..choices.len()).find(|&i| choices[..i].contains(&choices[i])) {
            Some(i) => Err(format!("names the choice {} twice", choices[i])),
            None => Ok(Range::Choices(choices)),
        }
    }

    /// From `low` to `high`, or why they are wrong.
    pub(super) fn numbers(low: &Value, high: &Value, scale: RangeScale) -> Result<Self, String> {
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
            return Err(format!("goes from {low} to {high}: `low` must be below `high`"));
        }
        if scale == RangeScale::Log && low <= 0.0 {
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

    /// The number of values; `None` for real numbers.
    pub fn count(&self) -> Option<u64> {
        match self {
            Range::Real { .. } => None,
            Range::Whole { low, high, .. } => Some(high.abs_diff(*low).saturating_add(1)),
            Range::Choices(choices) => Some(choices.len() as u64),
        }
    }

    /// The values that a check uses: all of a few, else both ends.
    pub fn checked(&self) -> Vec<Value> {
        match self {
            Range::Whole { low, high, .. } if self.count().is_some_and(|n| n <= FEW) => {
                (*low..=*high).map(Value::Integer).collect()
            }
            Range::Real { low, high, .. } => vec![Value::Float(*low), Value::Float(*high)],
            Range::Whole { low, high, .. } => vec![Value::Integer(*low), Value::Integer(*high)],
            Range::Choices(choices) => choices.clone(),
        }
    }

    /// All values; empty for real numbers.
    pub(super) fn values(&self) -> Vec<Value> {
        match self {
            Range::Real { .. } => Vec::new(),
            Range::Whole { low, high, .. } => (*low..=*high).map(Value::Integer).collect(),
            Range::Choices(choices) => choices.clone(),
        }
    }

    /// `value` in the type of the range; `None` outside.
    pub fn converted(&self, value: &Value) -> Option<Value> {
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

    /// The interval that a search samples from: logarithms on a `log` scale, half a step more at
    /// either end for whole numbers, indices of choices.
    pub fn interval(&self) -> (f64, f64) {
        match self {
            Range::Real { low, high, scale } => (scale.to_interval(*low), scale.to_interval(*high)),
            Range::Whole { low, high, scale } => {
                (scale.to_interval(*low as f64 - 0.5), scale.to_interval(*high as f64 + 0.5))
            }
            Range::Choices(choices) => (0.0, choices.len() as f64),
        }
    }

    /// The position of `value` in [`Range::interval`].
    pub fn position(&self, value: &Value) -> Option<f64> {
        match self {
            Range::Real { scale, .. } | Range::Whole { scale, .. } => {
                number(value).map(|x| scale.to_interval(x))
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
                Value::Float(rounded(scale.value_in_interval(position)).clamp(*low, *high))
            }
            Range::Whole { low, high, scale } => Value::Integer(
                (scale.value_in_interval(position).round() as i64).clamp(*low, *high),
            ),
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

impl RangeScale {
    fn to_interval(self, x: f64) -> f64 {
        match self {
            RangeScale::Linear => x,
            RangeScale::Log => x.ln(),
        }
    }

    fn value_in_interval(self, x: f64) -> f64 {
        match self {
            RangeScale::Linear => x,
            RangeScale::Log => x.exp(),
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

/// `x` with [`DIGITS`] significant digits.
fn rounded(x: f64) -> f64 {
    format!("{x:.*e}", DIGITS - 1).parse().expect("a number that was just written")
}
