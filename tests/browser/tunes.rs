//! The pages of `audit tune` under test: one of a real search, and variants of it.

use std::sync::OnceLock;

use confidence_audit::report::tuning::Tuning;
use confidence_audit::report::{Format, RenderOptions};
use serde_json::{json, Value};

use super::pages::hostile_texts;
use crate::common::fixture;

/// A page, and the tune that it is of.
pub struct TunePage {
    pub name: &'static str,
    pub html: String,
    pub tune: Value,
}

/// Every page; made once for all tests.
pub fn tunes() -> &'static [TunePage] {
    static PAGES: OnceLock<Vec<TunePage>> = OnceLock::new();
    PAGES.get_or_init(|| {
        let text = std::fs::read_to_string(fixture("tuning/tune.json")).unwrap();
        let found: Value = serde_json::from_str(&text).unwrap();
        let changed = |name: &'static str, change: fn(&mut Value)| {
            let mut tune = found.clone();
            change(&mut tune);
            let report: Tuning = serde_json::from_value(tune.clone()).unwrap();
            let mut html = Vec::new();
            let page = Format::named("html").unwrap();
            page.write(&report, &[], &RenderOptions::default(), &mut html).unwrap();
            TunePage { name, html: String::from_utf8(html).unwrap(), tune }
        };
        vec![
            changed("tune", |_| ()),
            changed("tune-in-vain", in_vain),
            changed("tune-of-one", of_one),
            changed("tune-of-nothing", of_nothing),
            changed("tune-hostile", hostile),
        ]
    })
}

pub fn tune(name: &str) -> &'static TunePage {
    tunes().iter().find(|page| page.name == name).unwrap()
}

fn each_trial(tune: &mut Value, change: impl Fn(&mut Value)) {
    tune["trials"].as_array_mut().unwrap().iter_mut().for_each(change);
}

/// A bound that no trial meets, a nearest one with a temperature, a seed that failed, a note of each
/// level.
fn in_vain(tune: &mut Value) {
    (tune["verdict"], tune["exit_code"]) = ("not_preserved".into(), 1.into());
    (tune["kappa"], tune["objective"]) = (0.002.into(), "sigma".into());
    tune["obstacle"] =
        "σ: the least of any trial is 0.0427, and κ is 0.002; trial 22 comes nearest".into();
    tune["winner"]["recalibrated"] = true.into();
    for finalist in ["winner", "default"] {
        for seed in tune[finalist]["seeds"].as_array_mut().unwrap() {
            seed["figures"]["preserved"] = false.into();
        }
        tune[finalist]["mean"]["preserved"] = 0.into();
    }
    let missing = json!({ "seed": 3, "error": "the loss is not finite", "figures": null });
    tune["winner"]["seeds"].as_array_mut().unwrap().push(missing);
    each_trial(tune, |trial| {
        trial["feasible"] = false.into();
        for preserved in ["preserved", "recalibrated_preserved"] {
            if !trial["figures"][preserved].is_null() {
                trial["figures"][preserved] = false.into();
            }
        }
    });
    tune["notes"] = json!([
        { "code": "lucky-seed", "level": "warning", "message": "with 1 of 3 seeds", "hint": "look" },
        { "code": "vacuous", "level": "note", "message": "κ says nothing", "hint": null },
    ]);
}

/// The default alone, and a bound that asks for its teacher's confidence to the last bit.
fn of_one(tune: &mut Value) {
    tune["trials"].as_array_mut().unwrap().truncate(1);
    tune["winner"] = tune["default"].clone();
    (tune["importance"], tune["kappa"]) = (json!([]), 0.0.into());
    (tune["verdict"], tune["exit_code"]) = ("not_preserved".into(), 1.into());
    tune["obstacle"] = "σ: the least of any trial is 0.1151, and κ is 0".into();
}

/// Nothing that could be trained.
fn of_nothing(tune: &mut Value) {
    each_trial(tune, |trial| {
        (trial["outcome"], trial["figures"]) = ("failed".into(), Value::Null);
        (trial["why"], trial["feasible"]) = ("the loss is not finite".into(), false.into());
        (trial["violation"], trial["pareto"]) = (Value::Null, false.into());
    });
    for finalist in ["winner", "default"] {
        tune[finalist]["mean"] = Value::Null;
        for seed in tune[finalist]["seeds"].as_array_mut().unwrap() {
            (seed["figures"], seed["error"]) = (Value::Null, "the loss is not finite".into());
        }
    }
    tune["importance"] = json!([]);
}

/// Keys, values, names and errors are hostile.
fn hostile(tune: &mut Value) {
    let texts = hostile_texts();
    let all = texts[..9].join(" ");
    let values = || {
        let values = texts[..9].iter().map(|text| (text.clone(), Value::from(text.as_str())));
        Value::Object(values.collect())
    };
    for name in ["task", "bound_origin", "objective", "search", "statistic", "confidence"] {
        tune[name] = all.clone().into();
    }
    tune["obstacle"] = all.clone().into();
    each_trial(tune, |trial| {
        trial["values"] = values();
        trial["why"] = all.clone().into();
    });
    for finalist in ["winner", "default"] {
        tune[finalist]["values"] = values();
        tune[finalist]["seeds"][0]["figures"] = Value::Null;
        tune[finalist]["seeds"][0]["error"] = all.clone().into();
    }
    for key in tune["importance"].as_array_mut().unwrap() {
        key["key"] = all.clone().into();
    }
    for model in tune["manifest"]["models"].as_array_mut().unwrap() {
        model["source"] = all.clone().into();
    }
    tune["notes"] = json!([
        { "code": all, "level": "warning", "message": all, "hint": all },
    ]);
}
