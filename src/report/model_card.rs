//! The `model-index` of a Hugging Face model card, as YAML: the student's figures, by split.
//!
//! One entry for each student, with a result for each split that ran. Texts are double-quoted.

use std::path::Path;

use super::display::neutralise;
use super::rows::model;
use super::schema::{ModelManifest, Outcome, Report, TaskRow};
use crate::task::hub_split;

/// What to do with the text; YAML reads it as a comment.
const INTRODUCTION: &str =
    "# For the metadata of a Hugging Face model card: the lines between `---` in its README.md.\n";

/// A figure of a result: its type, its value, what it is called.
struct CardMetric {
    kind: &'static str,
    value: f64,
    name: String,
}

/// The whole text; `model-index: []` where nothing ran.
pub(super) fn render(report: &Report) -> String {
    let mut students: Vec<(&str, String, Vec<&TaskRow>)> = Vec::new();
    for row in report.tasks.iter().filter(|row| row.verdict != Outcome::Error) {
        let student = model(report, &row.task, "student");
        let source = student.map_or(row.task.as_str(), |student| &student.source);
        let name = || student.map_or_else(|| row.task.clone(), name);
        match students.iter_mut().find(|(known, ..)| *known == source) {
            Some((.., rows)) => rows.push(row),
            None => students.push((source, name(), vec![row])),
        }
    }
    if students.is_empty() {
        return format!("{INTRODUCTION}model-index: []\n");
    }
    let entries = students.iter().map(|(_, name, rows)| {
        let results: String = rows.iter().map(|row| result(report, row)).collect();
        format!("- name: {}\n  results:\n{results}", quote(name))
    });
    format!("{INTRODUCTION}model-index:\n{}", entries.collect::<String>())
}

/// A model's name on a card: a Hub id without its revision, a relative path as it is, the last folder
/// of an absolute path (the rest is private to the machine).
fn name(model: &ModelManifest) -> String {
    let ModelManifest { source, revision, .. } = model;
    if revision.is_some() {
        return source.split('@').next().unwrap_or(source).to_owned();
    }
    let path = Path::new(source);
    let last = path.file_name().filter(|_| path.is_absolute());
    last.map_or_else(|| source.clone(), |name| name.to_string_lossy().into_owned())
}

fn result(report: &Report, row: &TaskRow) -> String {
    let figures: String = figures(report, row)
        .iter()
        .map(|CardMetric { kind, value, name }| {
            format!(
                "    - type: {}\n      value: {value}\n      name: {}\n",
                quote(kind),
                quote(name)
            )
        })
        .collect();
    let metrics = if figures.is_empty() { " []\n".to_owned() } else { format!("\n{figures}") };
    format!(
        "  - task:\n      type: \"text-classification\"\n      name: \"Text Classification\"\n    \
         dataset:\n{}    metrics:{metrics}",
        dataset(row)
    )
}

/// GLUE's tasks by what the Hub calls them, others by their own names.
fn dataset(row: &TaskRow) -> String {
    let known = hub_split(&row.task, &row.split);
    let fields = match &known {
        Some(of) => vec![
            ("type", of.id),
            ("name", &of.title),
            ("config", of.config),
            ("split", of.split.unwrap_or(&row.split)),
        ],
        None => vec![("type", row.task.as_str()), ("name", &row.task), ("split", &row.split)],
    };
    let revision = row.data_revision.as_deref().map(|commit| ("revision", commit));
    let fields = fields.into_iter().chain(revision);
    fields.map(|(key, value)| format!("      {key}: {}\n", quote(value))).collect()
}

/// What is defined of the student's accuracy, the task's own metric, σ, κ and the agreement.
fn figures(report: &Report, row: &TaskRow) -> Vec<CardMetric> {
    let teacher =
        model(report, &row.task, "teacher").map_or_else(|| "its teacher".to_owned(), name);
    let student = row.figures.student.as_ref();
    let reading = row.unusual_reading().map(|it| format!(" ({it})")).unwrap_or_default();
    [
        ("accuracy", student.and_then(|it| it.accuracy), "Accuracy".to_owned()),
        ("f1", student.and_then(|it| it.f1), "F1".to_owned()),
        (
            "matthews_correlation",
            student.and_then(|it| it.matthews_correlation),
            "Matthews Correlation".to_owned(),
        ),
        (
            "confidence_sigma",
            row.gating_sigma(),
            format!("σ, confidence difference to {teacher}{reading}"),
        ),
        ("confidence_kappa", row.kappa, "κ, bound of σ".to_owned()),
        ("teacher_agreement", row.figures.agreement_share, format!("Agreement with {teacher}")),
    ]
    .into_iter()
    .filter_map(|(kind, value, name)| {
        let value = value.filter(|value| value.is_finite())?;
        Some(CardMetric { kind, value, name })
    })
    .collect()
}

/// `text` as a double-quoted scalar of one line, in printable characters alone.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in neutralise(text).chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if is_plain(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push_str(&format!("\\U{:08X}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// Whether YAML 1.1 and 1.2 both take `c` as it is. What they read as a line break, a mark or
/// nothing at all is written as an escape.
fn is_plain(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
pub(super) mod tests {
    use serde_norway::Value;

    use super::super::samples;
    use super::*;

    /// Reads the text as YAML and holds it against the specification of a model card's metadata.
    pub fn parse(text: &str) -> Vec<Value> {
        let value: Value = serde_norway::from_str(text).unwrap();
        assert_eq!(keys(&value), ["model-index"]);
        let models = value["model-index"].as_sequence().unwrap().clone();
        for model in &models {
            assert_eq!(keys(model), ["name", "results"]);
            strings(model, &["name"]);
            let results = model["results"].as_sequence().unwrap();
            assert!(!results.is_empty());
            for result in results {
                assert_eq!(keys(result), ["task", "dataset", "metrics"]);
                strings(&result["task"], &["type", "name"]);
                let optional = ["config", "split", "revision"];
                let dataset: Vec<&str> = keys(&result["dataset"]);
                assert_eq!(dataset[..2], ["type", "name"]);
                assert!(dataset[2..].iter().all(|key| optional.contains(key)), "{dataset:?}");
                strings(&result["dataset"], &dataset);
                for metric in result["metrics"].as_sequence().unwrap() {
                    assert_eq!(keys(metric), ["type", "value", "name"]);
                    strings(metric, &["type", "name"]);
                    assert!(metric["value"].as_f64().is_some_and(f64::is_finite));
                }
            }
        }
        models
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_mapping().unwrap().keys().map(|key| key.as_str().unwrap()).collect()
    }

    fn strings(value: &Value, names: &[&str]) {
        for name in names {
            assert!(value[*name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        }
    }

    fn metric(result: &Value, kind: &str) -> Option<f64> {
        let metrics = result["metrics"].as_sequence().unwrap();
        metrics.iter().find(|it| it["type"] == kind)?["value"].as_f64()
    }

    #[test]
    fn a_result_says_what_was_run_and_what_was_found() {
        let mut report = samples::preserved();
        report.tasks[0].data_revision = Some("bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c".into());
        let models = parse(&render(&report));
        assert_eq!(models.len(), 1);
        assert_eq!(models[0]["name"], "models/sst2/student");
        let results = models[0]["results"].as_sequence().unwrap();
        assert_eq!(results.len(), 2);
        let dataset = &results[0]["dataset"];
        assert_eq!(
            (&dataset["type"], &dataset["config"]),
            (&"nyu-mll/glue".into(), &"sst2".into())
        );
        assert_eq!((&dataset["name"], &dataset["split"]), (&"GLUE SST-2".into(), &"train".into()));
        assert_eq!(dataset["revision"], "bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c");
        assert_eq!(results[1]["dataset"]["split"], "validation");
        let found = |kind| metric(&results[0], kind);
        assert_eq!(found("accuracy"), Some(0.9478));
        assert_eq!(found("confidence_sigma"), Some(0.0446));
        assert_eq!(found("confidence_kappa"), Some(0.05));
        assert_eq!(found("teacher_agreement"), Some(66_003.0 / 67_349.0));
        assert_eq!(found("f1"), None);
        let names = results[0]["metrics"].as_sequence().unwrap();
        assert_eq!(names[1]["name"], "σ, confidence difference to models/sst2/teacher");
    }

    #[test]
    fn each_student_is_one_entry_with_the_splits_that_ran() {
        let report = samples::suite();
        let models = parse(&render(&report));
        let names: Vec<_> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["models/sst2/student", "models/mrpc/student"]);
        assert_eq!(metric(&models[1]["results"][0], "f1"), Some(0.9147));
        let mut report = samples::suite();
        for model in &mut report.manifest.models {
            model.source = "org/tiny@v1.0".into();
            model.revision = Some("0123abcd".into());
        }
        let models = parse(&render(&report));
        assert_eq!(models.len(), 1);
        assert_eq!(models[0]["name"], "org/tiny");
        assert_eq!(models[0]["results"].as_sequence().unwrap().len(), 3);
    }

    #[test]
    fn the_hub_s_own_names_are_given_where_it_has_them() {
        let mut report = samples::preserved();
        report.tasks[0].task = "mnli-mm".into();
        report.tasks[0].split = "validation".into();
        report.tasks[1].task = "reviews".into();
        let models = parse(&render(&report));
        let of = |model: &Value| model["results"][0]["dataset"].clone();
        assert_eq!(of(&models[0])["split"], "validation_mismatched");
        assert_eq!(of(&models[0])["config"], "mnli");
        assert_eq!(of(&models[1])["type"], "reviews");
        assert_eq!(keys(&of(&models[1])), ["type", "name", "split"]);
    }

    #[test]
    fn nothing_that_ran_is_an_empty_list() {
        assert!(parse(&render(&samples::could_not_run())).is_empty());
        let mut report = samples::preserved();
        report.tasks.clear();
        assert!(parse(&render(&report)).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_machine_s_folders_stay_its_own() {
        let mut report = samples::preserved();
        report.manifest.models[1].source = "/home/somebody/out/tiny/".into();
        let text = render(&report);
        assert_eq!(parse(&text)[0]["name"], "tiny");
        assert!(!text.contains("somebody"));
    }

    #[test]
    fn whatever_is_quoted_comes_back_as_one_string() {
        let every = (0..=0x11_0000).filter_map(char::from_u32);
        let every: Vec<char> = every.filter(|c| (*c as u32) < 0x3100 || c.is_control()).collect();
        let texts = samples::HOSTILE
            .map(str::to_owned)
            .into_iter()
            .chain(every.chunks(64).map(|part| part.iter().collect()));
        let odd =
            ["", "null", "yes", "1e3", "- a", "a: b", "#", "---", "...", "{x}", "\u{10ffff}🙂"];
        for text in texts.chain(odd.map(str::to_owned)) {
            let quoted = quote(&text);
            let read: Value = serde_norway::from_str(&format!("a: {quoted}\n")).unwrap();
            assert_eq!(read["a"].as_str(), Some(&neutralise(&text)[..]), "{quoted}");
            assert_eq!(quoted.lines().count(), 1);
        }
    }

    #[test]
    fn hostile_names_come_back_whole() {
        let models = parse(&render(&samples::hostile()));
        let all = neutralise(&samples::HOSTILE.join(" "));
        assert_eq!(models[0]["name"].as_str(), Some(&all[..]));
        let dataset = &models[0]["results"][0]["dataset"];
        for field in ["type", "name", "split"] {
            assert_eq!(dataset[field].as_str(), Some(&all[..]), "{field}");
        }
    }
}
