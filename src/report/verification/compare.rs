//! Two reports as JSON, value by value.

use serde_json::{Map, Number, Value};

use super::ValueDifference;

/// Largest difference of two numbers from another arithmetic that counts as none, of 1 or of the
/// number itself, where that is larger. Last digits of f32 logits move a probability by about 1e-6.
pub const TOLERANCE: f64 = 1e-5;

/// Values that no run can give again: how long it took, and what an earlier one had left.
const OF_THE_RUN: [&str; 4] =
    ["tasks[].seconds", "tasks[].rows_from_cache", "fit.rows_from_cache", "gate.rows_from_cache"];

/// What made a report. It decides how the other values are compared, and is not compared itself.
const OF_THE_PROGRAM: [&str; 3] = ["manifest.version", "manifest.platform", "manifest.arithmetic"];

/// Keys that the first version of the schema lacks.
const NEWER_KEYS: [&str; 7] = [
    "manifest.arithmetic",
    "tasks[].labels",
    "tasks[].sigma_unseen",
    "tasks[].recalibrated",
    "tasks[].rows_from_cache",
    "fit.rows_from_cache",
    "gate.rows_from_cache",
];

/// Keys that any report may lack: they explain values that are compared as well.
const EXPLAINING_KEYS: [&str; 5] = [
    "manifest.models[].inputs",
    "manifest.models[].max_length_from",
    "tasks[].variants[].examples",
    "tasks[].variants[].left_out",
    "tasks[].undefined.variants.first-label",
];

/// Settings, and what follows from them alone: the last digits of a logit change none of these, so
/// they are compared exactly even where other values may differ.
const OF_THE_SETTINGS: [&str; 7] =
    ["kappa", "beta", "beta_per_example", "alpha", "gamma", "budget", "level"];

/// Keys of text that names places. No other text is compared with names replaced: a forged name
/// could make another verdict of one.
const NAMING_PLACES: [&str; 6] =
    ["source", "data_files[]", "bound_origin", "message", "hint", "first[]"];

/// Parts of a path behind which a last digit may change a count or an order.
const AT_AN_EDGE: [&str; 6] =
    [".counts", ".reliability", ".ece", ".groups", ".worst", ".exhausted_at"];

/// How numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// They have the same bits.
    Exact,
    /// They are within [`TOLERANCE`]; counts of bins and orders, which a last digit may change, are
    /// left out.
    Tolerant,
}

/// What of two reports is comparable.
#[derive(Debug, Default)]
pub struct Comparable {
    /// Paths that are left out, with or without the indices: `manifest.models[0].source`,
    /// `tasks[].data_files`.
    pub left_out: Vec<String>,
    /// Names of places now, with the report's name of each.
    pub renamed: Vec<(String, String)>,
    /// Whether the report may lack the keys that earlier versions of the program did not write.
    pub may_lack_keys: bool,
}

/// The values of `report` that are not those of `now`.
pub fn differences(
    report: &Value,
    now: &Value,
    comparable: &Comparable,
    precision: Precision,
) -> Vec<ValueDifference> {
    let mut walk = Walk { comparable, precision, found: Vec::new() };
    walk.value(&Place::default(), Some(report), Some(now));
    walk.found
}

/// A place in a report, with and without its indices.
#[derive(Debug, Clone, Default)]
struct Place {
    path: String,
    pattern: String,
}

impl Place {
    fn key(&self, key: &str) -> Place {
        let dot = if self.path.is_empty() { "" } else { "." };
        let (path, pattern) = (&self.path, &self.pattern);
        Place { path: format!("{path}{dot}{key}"), pattern: format!("{pattern}{dot}{key}") }
    }

    fn index(&self, i: usize) -> Place {
        let (path, pattern) = (&self.path, &self.pattern);
        Place { path: format!("{path}[{i}]"), pattern: format!("{pattern}[]") }
    }

    fn key_is_of(&self, keys: &[&str]) -> bool {
        let key = self.pattern.rsplit('.').next().unwrap_or_default();
        keys.contains(&key)
    }
}

struct Walk<'a> {
    comparable: &'a Comparable,
    precision: Precision,
    found: Vec<ValueDifference>,
}

impl Walk<'_> {
    fn value(&mut self, place: &Place, report: Option<&Value>, now: Option<&Value>) {
        if self.is_left_out(place) {
            return;
        }
        match (report, now) {
            (Some(Value::Object(report)), Some(Value::Object(now))) => {
                self.object(place, report, now);
            }
            (Some(Value::Array(report)), Some(Value::Array(now))) => {
                self.array(place, report, now);
            }
            (None, Some(_)) if self.may_lack(place) => {}
            (Some(report), Some(now)) if self.is_equal(place, report, now) => {}
            (report, now) => self.differs(place, report, now),
        }
    }

    fn object(&mut self, place: &Place, report: &Map<String, Value>, now: &Map<String, Value>) {
        for (key, value) in report {
            self.value(&place.key(key), Some(value), now.get(key));
        }
        for (key, value) in now.iter().filter(|(key, _)| !report.contains_key(*key)) {
            self.value(&place.key(key), None, Some(value));
        }
    }

    fn array(&mut self, place: &Place, report: &[Value], now: &[Value]) {
        let now = match place.pattern.as_str() {
            "tasks[].variants" => without_newer_reading(report, now),
            _ => now,
        };
        let items = |values: &[Value]| Value::from(format!("{} items", values.len()));
        if report.len() != now.len() {
            return self.differs(place, Some(&items(report)), Some(&items(now)));
        }
        for (i, (report, now)) in report.iter().zip(now).enumerate() {
            self.value(&place.index(i), Some(report), Some(now));
        }
    }

    fn differs(&mut self, place: &Place, report: Option<&Value>, now: Option<&Value>) {
        let value = |value: Option<&Value>| value.cloned().unwrap_or_default();
        let path = place.path.clone();
        self.found.push(ValueDifference { path, report: value(report), now: value(now) });
    }

    fn is_left_out(&self, place: &Place) -> bool {
        let Place { path, pattern } = place;
        let always = || OF_THE_RUN.iter().chain(&OF_THE_PROGRAM).any(|it| it == pattern);
        let given = || self.comparable.left_out.iter().any(|it| it == path || it == pattern);
        let at_an_edge = || {
            let ends =
                |part: &&str| pattern.ends_with(*part) || pattern.contains(&format!("{part}["));
            self.precision == Precision::Tolerant && AT_AN_EDGE.iter().any(ends)
        };
        always() || given() || at_an_edge()
    }

    fn may_lack(&self, place: &Place) -> bool {
        let key = place.pattern.as_str();
        EXPLAINING_KEYS.contains(&key) || self.comparable.may_lack_keys && NEWER_KEYS.contains(&key)
    }

    fn is_equal(&self, place: &Place, report: &Value, now: &Value) -> bool {
        match (report, now) {
            (Value::Number(report), Value::Number(now)) => {
                report == now || self.is_equal_number(place, report, now)
            }
            (Value::String(report), Value::String(now)) => {
                let names_places = place.key_is_of(&NAMING_PLACES);
                report == now || (names_places && *report == self.renamed(now))
            }
            (report, now) => report == now,
        }
    }

    fn is_equal_number(&self, place: &Place, report: &Number, now: &Number) -> bool {
        // Large integers are not exact as f64.
        if !report.is_f64() && !now.is_f64() {
            return false;
        }
        let (Some(report), Some(now)) = (report.as_f64(), now.as_f64()) else { return false };
        match self.precision {
            _ if place.key_is_of(&OF_THE_SETTINGS) => report == now,
            Precision::Exact => report == now,
            Precision::Tolerant => (report - now).abs() <= TOLERANCE * now.abs().max(1.0),
        }
    }

    /// `text` with the report's names of places.
    fn renamed(&self, text: &str) -> String {
        let renamed = self.comparable.renamed.iter();
        renamed.fold(text.to_owned(), |text, (now, report)| text.replace(now.as_str(), report))
    }
}

/// `now` without the published reading of σ where an earlier version of the program wrote `report`,
/// which lacks it. Where it gates, it is not left out.
fn without_newer_reading<'a>(report: &[Value], now: &'a [Value]) -> &'a [Value] {
    let is_newer = |value: &Value| value["statistic"] == "published" && value["gates"] == false;
    match now.split_last() {
        Some((last, others)) if others.len() == report.len() && is_newer(last) => others,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(report: Value, now: Value, comparable: &Comparable, how: Precision) -> Vec<String> {
        differences(&report, &now, comparable, how).into_iter().map(|it| it.path).collect()
    }

    fn exact(report: Value, now: Value) -> Vec<String> {
        paths(report, now, &Comparable::default(), Precision::Exact)
    }

    #[test]
    fn every_value_that_differs_is_named() {
        let report = json!({"verdict": "preserved", "tasks": [{"sigma": 0.5, "n": 3}], "new": 1});
        let now =
            json!({"verdict": "not_preserved", "tasks": [{"sigma": 0.25, "n": 3}], "more": 2});
        assert_eq!(exact(report, now), ["verdict", "tasks[0].sigma", "new", "more"]);
        assert_eq!(exact(json!({"tasks": [1, 2]}), json!({"tasks": [1]})), ["tasks"]);
        assert_eq!(exact(json!({"a": null}), json!({"a": 0})), ["a"]);
        assert_eq!(exact(json!({"a": [1]}), json!({"a": {"b": 1}})), ["a"]);
        assert_eq!(exact(json!({"a": "1"}), json!({"a": 1})), ["a"]);
    }

    #[test]
    fn a_report_may_lack_the_published_reading_unless_it_gates() {
        let row = |variants: &[Value]| json!({"tasks": [{"variants": variants}]});
        let reading = |statistic: &str, gates: bool, more: Value| {
            let mut reading = json!({"statistic": statistic, "gates": gates});
            reading.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            reading
        };
        let old = row(&[reading("rms", true, json!({}))]);
        let now = |gates| {
            let nulls = json!({"examples": null, "left_out": null});
            let published = reading("published", gates, json!({"examples": 3, "left_out": {}}));
            row(&[reading("rms", true, nulls), published])
        };
        assert_eq!(exact(old.clone(), now(false)), [""; 0]);
        assert_eq!(exact(old, now(true)), ["tasks[0].variants"]);
        let other = row(&[reading("rms", true, json!({})), reading("centred", false, json!({}))]);
        assert_eq!(exact(row(&[reading("rms", true, json!({}))]), other), ["tasks[0].variants"]);
    }

    #[test]
    fn numbers_are_equal_as_numbers_and_integers_to_the_last_digit() {
        assert_eq!(exact(json!({"a": 1}), json!({"a": 1.0})), [""; 0]);
        assert_eq!(exact(json!({"a": 0.1}), json!({"a": 0.1 + 2e-17})), ["a"]);
        let seed = 18_446_744_073_709_551_615u64;
        assert_eq!(exact(json!({"a": seed}), json!({"a": seed - 1})), ["a"]);
    }

    #[test]
    fn what_a_run_cannot_give_again_is_left_out() {
        let report = json!({"tasks": [{"seconds": 1.0, "rows_from_cache": {"teacher": 3}}],
            "manifest": {"version": "0.0.1", "arithmetic": "a"}});
        let now = json!({"tasks": [{"seconds": 2.0, "rows_from_cache": {"teacher": 0}}],
            "manifest": {"version": "0.0.2", "arithmetic": "b"}});
        assert_eq!(exact(report, now), [""; 0]);
        assert_eq!(exact(json!({"seconds": 1}), json!({"seconds": 2})), ["seconds"]);
    }

    #[test]
    fn another_arithmetic_is_compared_with_a_tolerance() {
        let report =
            json!({"sigma": 0.04, "spent": 1000.0, "n": 5, "differences": {"counts": [1]}});
        let now =
            json!({"sigma": 0.040009, "spent": 1000.009, "n": 5, "differences": {"counts": [2]}});
        let comparable = Comparable::default();
        let tolerant = |now| paths(report.clone(), now, &comparable, Precision::Tolerant);
        assert_eq!(tolerant(now), [""; 0]);
        let now = json!({"sigma": 0.0402, "spent": 1000.1, "n": 6, "differences": {"counts": [2]}});
        assert_eq!(tolerant(now), ["sigma", "spent", "n"]);
        let bound = |kappa: f64| json!({"kappa": kappa, "student_bound": {"beta": kappa}});
        let found = paths(bound(0.05), bound(0.050001), &comparable, Precision::Tolerant);
        assert_eq!(found, ["kappa", "student_bound.beta"]);
    }

    #[test]
    fn only_text_that_names_places_may_have_other_names() {
        let renamed = vec![("p".to_owned(), "not_p".to_owned())];
        let comparable = Comparable { renamed, ..Comparable::default() };
        let report =
            json!({"verdict": "not_preserved", "note": {"message": "not_p is borderline"}});
        let now = json!({"verdict": "preserved", "note": {"message": "p is borderline"}});
        assert_eq!(paths(report, now, &comparable, Precision::Exact), ["verdict"]);
    }

    #[test]
    fn places_given_by_flags_are_named_as_in_the_report() {
        let comparable = Comparable {
            left_out: vec!["models[0].source".to_owned(), "tasks[].data_files".to_owned()],
            renamed: vec![("/new/train.tsv".to_owned(), "train.tsv".to_owned())],
            may_lack_keys: true,
        };
        let report = json!({"models": [{"source": "a"}, {"source": "b"}],
            "tasks": [{"data_files": ["train.tsv"], "first": ["train.tsv:3: cut"]}]});
        let now = json!({"models": [{"source": "x"}, {"source": "y"}],
            "tasks": [{"data_files": [], "first": ["/new/train.tsv:3: cut"], "labels": [],
                       "sigma": 0.5}]});
        let found = paths(report, now, &comparable, Precision::Exact);
        assert_eq!(found, ["models[1].source", "tasks[0].sigma"]);
    }
}
