//! Reading spaces, and positions in their ranges.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Space> {
    Space::read(&text.parse().unwrap(), |name| (name == "known").then_some(Value::Integer(3)))
}

fn refused(text: &str) -> String {
    crate::error::rendered(&read(text).unwrap_err())
}

#[test]
fn quoted_paths_and_nested_tables_are_the_same() {
    let quoted = "\"a.b\" = { low = 1, high = 9, default = 2 }";
    let nested = "[a.b]\nlow = 1\nhigh = 9\ndefault = 2";
    assert_eq!(read(quoted).unwrap(), read(nested).unwrap());
    assert_eq!(read(quoted).unwrap().0[0].name, "a.b");
}

#[test]
fn the_recipe_s_value_is_the_default() {
    let space = read("known = { low = 1, high = 9 }").unwrap();
    assert_eq!(space.0[0].default, Value::Integer(3));
}

#[test]
fn a_wrong_range_is_refused_by_its_key() {
    let cases = [
        ("", "`space` is empty"),
        ("[a]", "`space.\"a\"` has no range"),
        ("a = 3", "`space.\"a\"` = 3 is not a range"),
        ("a = { low = 2, high = 1, default = 1 }", "`space.\"a\"` goes from 2 to 1: `low` must"),
        ("a = { low = 2, high = 2, default = 2 }", "goes from 2 to 2: `low` must be below"),
        ("a = { low = 0.0, high = 1, scale = \"log\", default = 1 }", "begins at 0"),
        ("a = { low = \"x\", high = 1, default = 1 }", "two numbers"),
        ("a = { low = 1, default = 1 }", "needs `low` and `high`"),
        ("a = { choices = [1], default = 1 }", "at least two"),
        ("a = { choices = [1, 2, 1], default = 1 }", "the choice 1 twice"),
        ("a = { choices = [1, 2], scale = \"log\", default = 1 }", "`choices` alone"),
        ("a = { low = 1, high = 2 }", "`space.\"a\"` has no default"),
        ("a = { low = 1, high = 2, default = 3 }", "the default 3, which is not a whole number"),
        ("a = { low = 1, high = 2, default = 1.5 }", "the default 1.5"),
        ("a = { low = 1.0, high = 2, default = \"x\" }", "the default \"x\""),
        ("a = { choices = [1, 2], default = 3 }", "not one of 1, 2"),
        ("a = { low = 1, high = 2, default = 1, step = 1 }", "unknown field `step`"),
        ("a = { choices = [1.0, inf], default = 1.0 }", "the choice inf"),
        ("student = { choices = [{ layers = 2 }, { layers = 3 }] }", "not a setting"),
        ("seed = { low = 1, high = 2, default = 1 }", "not a setting of the student's training"),
        ("held_out.share = { low = 0.1, high = 0.2, default = 0.1 }", "not a setting"),
        ("kappa = { low = 0.02, high = 0.2, default = 0.2 }", "not a setting"),
    ];
    for (text, why) in cases {
        assert!(refused(text).contains(why), "{text}: {}", refused(text));
    }
}

#[test]
fn keys_belong_to_methods() {
    let of = |name: &str, method: &str| methods::find(method).unwrap().has_key(name);
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
            Range::Real { low: 1e-6, high: 3.3e-4, scale: RangeScale::Log },
            Range::Real { low: -2.0, high: 5.5, scale: RangeScale::Linear },
            Range::Whole { low: 1, high: 40, scale: RangeScale::Log },
            Range::Whole { low: -3, high: 3, scale: RangeScale::Linear },
            Range::Choices(vec![Value::Boolean(true), Value::Integer(2), Value::Integer(3)]),
        ];
        for range in ranges {
            let (low, high) = range.interval();
            let value = range.value(low + share * (high - low));
            prop_assert_eq!(range.converted(&value), Some(value.clone()));
            let position = range.position(&value).unwrap();
            prop_assert!((low..=high).contains(&position));
            prop_assert_eq!(range.value(position), value);
        }
    }
}
