//! JUnit XML: a test suite per task, a test case per gating split.
//!
//! A gate that failed is a `failure`, one that could not run an `error`. Splits that do not gate
//! are in the suite's `system-out`: a dashboard counts test cases.

use std::time::Duration;

use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::display::neutralise;
use super::rows::{by_task, TaskRows};
use super::schema::{Outcome, Report, TaskRow};
use super::summary::{comparison, row_summary};

/// The report as one `testsuites` element.
pub(super) fn render(report: &Report) -> String {
    let mut suites = quick_junit::Report::new("confidence-audit");
    let gating: Vec<&TaskRow> = report.tasks.iter().filter(|row| row.gates).collect();
    suites.set_time(seconds(&gating));
    suites.add_test_suites(by_task(report).iter().map(|task| suite(report, task)));
    suites.to_string().expect("neutralised text is UTF-8, and a string has room")
}

fn suite(report: &Report, task: &TaskRows<'_>) -> TestSuite {
    let mut suite = TestSuite::new(shown(task.task));
    suite.set_time(seconds(&task.gating));
    for (name, value) in properties(report, task) {
        suite.add_property((shown(&name), shown(&value)));
    }
    suite.add_test_cases(task.gating.iter().map(|row| case(row)));
    let beside = task.beside.iter();
    let lines: Vec<String> = beside
        .map(|row| format!("beside the gate: {}", row_summary(row)))
        .chain(task.gating.iter().chain(&task.beside).flat_map(|row| notes(row)))
        .map(|line| shown(&line))
        .collect();
    if !lines.is_empty() {
        suite.set_system_out(lines.join("\n"));
    }
    suite
}

/// Seconds that the rows took.
fn seconds(rows: &[&TaskRow]) -> Duration {
    let seconds: f64 = rows.iter().filter_map(|row| row.seconds).sum();
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn notes(row: &TaskRow) -> impl Iterator<Item = String> + '_ {
    row.notes.iter().map(|note| {
        let hint = note.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        format!("{}: {}: {}{hint}", row.name(), note.code, note.message)
    })
}

/// What dashboards can plot: the numbers of each gating split, in full precision.
fn properties(report: &Report, task: &TaskRows<'_>) -> Vec<(String, String)> {
    let manifest = &report.manifest;
    let mut properties = vec![
        ("program".to_owned(), format!("{} {}", manifest.program, manifest.version)),
        ("config_sha256".to_owned(), manifest.config_sha256.clone()),
    ];
    if let Some(row) = task.main().first() {
        properties.push(("device".to_owned(), row.device.clone()));
        properties.push(("seed".to_owned(), row.seed.to_string()));
    }
    for model in manifest.models.iter().filter(|model| model.task == task.task) {
        properties.push((model.role.clone(), model.source.clone()));
        properties.push((format!("{}_sha256", model.role), model.weights_sha256.clone()));
    }
    for row in &task.gating {
        let mut number = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                properties.push((format!("{}.{name}", row.split), value.to_string()));
            }
        };
        number("n", Some(row.n as f64));
        number("of", Some(row.of as f64));
        number("examples_run", Some(row.examples_run as f64));
        number("sigma", row.gating_sigma());
        number("sigma_at_least", row.sigma_at_least);
        number("delta", row.sequential.filter(|_| row.is_statistical()).map(|draws| draws.delta));
        number("kappa", row.kappa);
        number("budget", row.budget);
        number("spent", row.spent);
        number("teacher.accuracy", row.figures.teacher.as_ref().and_then(|model| model.accuracy));
        number("student.accuracy", row.figures.student.as_ref().and_then(|model| model.accuracy));
        number("agreement", row.figures.agreement.map(|count| count as f64));
    }
    properties
}

fn case(row: &TaskRow) -> TestCase {
    let body = row_summary(row);
    let (kind, name, message, lines) = match (row.verdict, &row.error) {
        (Outcome::Preserved, _) => return case_with(row, TestCaseStatus::success()),
        (Outcome::NotPreserved, _) => {
            let message = comparison(row).unwrap_or_else(|| body.clone());
            (NonSuccessKind::Failure, "not_preserved", message, vec![body])
        }
        (Outcome::Error, error) => {
            let message = error.as_ref().map_or_else(|| body.clone(), |it| it.message.clone());
            let hint = error.as_ref().and_then(|error| error.hint.as_ref());
            let hint = hint.map(|hint| format!("hint: {hint}"));
            (
                NonSuccessKind::Error,
                "could_not_run",
                message,
                [body].into_iter().chain(hint).collect(),
            )
        }
    };
    let mut status = TestCaseStatus::non_success(kind);
    let lines: Vec<String> = lines.iter().map(|line| shown(line)).collect();
    status.set_message(shown(&message)).set_type(name).set_description(lines.join("\n"));
    case_with(row, status)
}

fn case_with(row: &TaskRow, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(shown(&row.split), status);
    case.set_classname(shown(&format!("confidence-audit.{}", row.task)));
    case.set_time(seconds(&[row]));
    case
}

/// `text` as one line, without the characters that XML 1.0 forbids even when escaped.
fn shown(text: &str) -> String {
    let allowed = |&c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    neutralise(&text.chars().filter(allowed).collect::<String>())
}

#[cfg(test)]
mod tests {
    use roxmltree::{Document, Node};

    use super::super::samples;
    use super::*;

    /// The value of the property with that name.
    fn property<'a>(xml: &'a Document, name: &str) -> &'a str {
        let named = |node: &Node| node.attribute("name") == Some(name);
        xml.descendants().find(named).unwrap().attribute("value").unwrap()
    }

    #[test]
    fn a_failed_gate_is_a_failure_and_a_run_that_failed_an_error() {
        let text = render(&samples::suite());
        let xml = Document::parse(&text).unwrap();
        let count = |name: &str| xml.descendants().filter(|node| node.has_tag_name(name)).count();
        let counts = ["testsuite", "testcase", "failure", "error"].map(count);
        assert_eq!(counts, [3, 3, 1, 1]);
        let root = xml.root_element();
        let counted = ["tests", "failures", "errors", "time"].map(|it| root.attribute(it).unwrap());
        assert_eq!(counted, ["3", "1", "1", "124.500"]);
        let failure = xml.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(failure.attribute("message"), Some("σ 0.1460 > κ 0.0500"));
        assert!(text.contains("beside the gate: The student does not preserve"));
        assert!(text.contains("hint: these look like checkpoints of two tasks"));
    }

    #[test]
    fn the_numbers_stand_as_properties() {
        let text = render(&samples::preserved());
        let xml = Document::parse(&text).unwrap();
        assert_eq!(property(&xml, "train.sigma"), "0.0446");
        assert_eq!(property(&xml, "train.n"), "67349");
        assert_eq!(property(&xml, "student"), "models/sst2/student");
    }

    #[test]
    fn hostile_text_arrives_as_text_without_forbidden_characters() {
        let text = render(&samples::hostile());
        assert!(text.chars().all(|c| c == '\n' || c >= ' '), "a forbidden character");
        let xml = Document::parse(&text).unwrap();
        let texts: String = xml.descendants().filter_map(|node| node.text()).collect();
        assert!(texts.contains("<script>alert(1)</script>"));
        assert!(texts.contains("]]> &amp;"));
        assert!(!texts.contains('\u{1b}') && !texts.contains('\u{fffe}'));
        assert!(xml.descendants().all(|node| !node.has_tag_name("script")));
        let suite = xml.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
        assert!(suite.attribute("name").unwrap().contains("👩\u{200d}🔬"));
    }
}
