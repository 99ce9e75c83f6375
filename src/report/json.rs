//! Reports as JSON, and the JSON Schema that describes each.

use std::fmt::Write as _;
use std::io::{self, Write};

use schemars::generate::SchemaSettings;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::terminal::is_hidden;

/// Writes a report as indented JSON with a newline at its end. What would act on a terminal or change
/// how its neighbours are read is written as `\u`, which is the same value.
///
/// # Errors
/// Whatever `out` answers.
pub fn write_json<R: Serialize>(report: &R, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(visible(serde_json::to_string_pretty(report)?).as_bytes())?;
    out.write_all(b"\n")
}

/// `json` with such characters, which only its strings have, as `\u`.
fn visible(json: String) -> String {
    let acts = |c: char| c != '\n' && (c.is_control() || is_hidden(c));
    if !json.contains(acts) {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match acts(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}"); // a String takes all
            }),
            false => out.push(c),
        }
    }
    out
}

/// The JSON Schema (draft 2020-12) of a report: that of an audit is configs/report.schema.json.
///
/// Every field is required: a value that is not defined is written as `null`.
pub fn json_schema<R: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<R>().to_value();
    match schema {
        Value::Object(fields) => Value::Object(named_first(fields)),
        other => other,
    }
}

/// A reader of the file wants to know first what it is.
fn named_first(mut fields: Map<String, Value>) -> Map<String, Value> {
    let first = ["$schema", "title", "description"];
    let head = first.map(|name| (name.to_owned(), fields.shift_remove(name)));
    let head = head.into_iter().filter_map(|(name, value)| Some((name, value?)));
    head.collect::<Vec<_>>().into_iter().chain(fields).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::comparison::Comparison;
    use super::super::recalibration::Recalibration;
    use super::super::tests::written;
    use super::super::tuning::Tuning;
    use super::super::verification::Verification;
    use super::super::{samples, Report};
    use super::*;

    #[test]
    fn the_schemas_on_disk_are_fresh() {
        for (name, schema) in [
            ("report", json_schema::<Report>()),
            ("comparison", json_schema::<Comparison>()),
            ("recalibration", json_schema::<Recalibration>()),
            ("tuning", json_schema::<Tuning>()),
            ("verification", json_schema::<Verification>()),
        ] {
            let file = format!("configs/{name}.schema.json");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
            let fresh = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                std::fs::write(&path, &fresh).unwrap();
            }
            assert!(
                std::fs::read_to_string(&path).unwrap_or_default() == fresh,
                "{file} is stale; run `UPDATE_SCHEMA=1 cargo test --lib report::json`"
            );
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_escaped_and_read_back() {
        let value =
            serde_json::json!({"text": "a\u{85}b\u{9b}2J\u{202e}c\u{7f}\u{e0001} é\n\"👩\""});
        let mut out = Vec::new();
        write_json(&value, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let escaped = r#"{
  "text": "a\u0085b\u009b2J\u202ec\u007f\udb40\udc01 é\n\"👩\""
}
"#;
        assert_eq!(text, escaped);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }

    #[test]
    fn the_schema_refuses_what_is_no_report() {
        let validator = jsonschema::validator_for(&json_schema::<Report>()).unwrap();
        let whole = serde_json::to_value(samples::preserved()).unwrap();
        let mut instance = whole.clone();
        instance["verdict"] = "perhaps".into();
        assert!(!validator.is_valid(&instance));
        let mut instance = whole;
        instance["tasks"][0].as_object_mut().unwrap().remove("sigma");
        assert!(!validator.is_valid(&instance));
    }

    #[test]
    fn the_names_that_scripts_rely_on_stand_where_they_should() {
        let report: Value = serde_json::from_str(&written("json", &samples::preserved())).unwrap();
        assert_eq!(report["verdict"], "preserved");
        let row = &report["tasks"][0];
        let fields = "task split gates n of partial sigma sigma_centred kappa beta alpha gamma \
                      budget spent verdict agreement agreement_share";
        for field in fields.split_whitespace() {
            assert!(!row[field].is_null(), "{field}");
        }
        assert!(row["teacher"]["accuracy"].is_f64() && row["student"]["accuracy"].is_f64());
        let unlabelled = written("json", &samples::unlabelled());
        let row = &serde_json::from_str::<Value>(&unlabelled).unwrap()["tasks"][0];
        assert!(row["teacher"]["accuracy"].is_null());
        assert!(row["undefined"]["teacher.accuracy"].is_string());
    }
}
