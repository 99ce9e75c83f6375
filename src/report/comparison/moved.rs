//! The figures of a row in both reports: those that [`super::super::figures`] compares.

use std::borrow::Cow;

use schemars::{json_schema, JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use serde_json::Map;

use super::super::figures::{compared, ComparedFigure};
use super::super::numbers::{decimal, signed, thousands};
use super::super::schema::TaskRow;

/// A figure in both reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
pub struct Moved {
    /// In the old report.
    pub old: Option<f64>,
    /// In the new one.
    pub new: Option<f64>,
    /// new − old; null unless both are known.
    pub change: Option<f64>,
}

/// A count in both reports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MovedCount {
    /// In the old report.
    pub old: Option<usize>,
    /// In the new one.
    pub new: Option<usize>,
    /// new − old; null unless both are known.
    pub change: Option<i64>,
}

/// A figure or a count in both reports.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MovedFigure {
    /// A real number.
    Real(Moved),
    /// A count.
    Count(MovedCount),
}

/// Every figure that is compared, by its key, in the order of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct MovedFigures(pub(super) Vec<(String, MovedFigure)>);

/// Stands where nothing moved.
const SAME: &str = "=";

impl MovedFigures {
    /// The figures of a row and of its old one.
    pub(super) fn new(old: Option<&TaskRow>, new: Option<&TaskRow>) -> Self {
        let moved = |figure: &ComparedFigure| {
            let of = |row: Option<&TaskRow>| row.and_then(|row| figure.of(row));
            let (old, new) = (of(old), of(new));
            let count = |value: Option<f64>| value.map(|value| value as usize);
            let moved = match figure.is_count() {
                true => MovedFigure::Count(MovedCount::new(count(old), count(new))),
                false => MovedFigure::Real(Moved::new(old, new)),
            };
            (figure.key(), moved)
        };
        MovedFigures(compared().iter().map(moved).collect())
    }
}

impl Moved {
    fn new(old: Option<f64>, new: Option<f64>) -> Self {
        Moved { old, new, change: old.zip(new).map(|(old, new)| new - old) }
    }
}

impl MovedCount {
    pub(super) fn new(old: Option<usize>, new: Option<usize>) -> Self {
        let change = |(old, new): (usize, usize)| new as i64 - old as i64;
        MovedCount { old, new, change: old.zip(new).map(change) }
    }
}

impl MovedFigure {
    /// Old, new and the change, for people.
    pub(super) fn written(&self) -> [Option<String>; 3] {
        let same = |is_zero: bool, text: String| if is_zero { SAME.to_owned() } else { text };
        match self {
            Self::Real(Moved { old, new, change }) => [
                old.map(decimal),
                new.map(decimal),
                change.map(|change| same(change == 0.0, signed(change))),
            ],
            Self::Count(MovedCount { old, new, change }) => {
                let sign = |change: i64| if change < 0 { '−' } else { '+' };
                let written = |change: i64| format!("{}{}", sign(change), change.unsigned_abs());
                let change = change.map(|change| same(change == 0, written(change)));
                [old.map(thousands), new.map(thousands), change]
            }
        }
    }
}

impl Serialize for MovedFigures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, moved)| (key, moved)))
    }
}

impl JsonSchema for MovedFigures {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MovedFigures".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut properties = Map::new();
        for figure in compared() {
            let mut schema = match figure.is_count() {
                true => generator.subschema_for::<MovedCount>(),
                false => generator.subschema_for::<Moved>(),
            };
            schema.insert("description".to_owned(), figure.help().into());
            properties.insert(figure.key(), schema.to_value());
        }
        let required: Vec<&String> = properties.keys().collect();
        json_schema!({ "type": "object", "properties": properties, "required": required })
    }
}
