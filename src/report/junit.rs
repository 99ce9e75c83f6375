//! JUnit XML: a test suite per task, a test case per gating split.
//!
//! A gate that failed is a `failure`, one that could not run an `error`. Splits that do not gate
//! are no test cases, since a dashboard counts those: they stand in the suite's `system-out`.

use std::io::{self, Write};

use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::Writer;

use super::display::neutralise;
use super::rows::{by_task, TaskRows};
use super::schema::{Outcome, Report, TaskRow};
use super::summary::{comparison, row_summary};

/// Writes the report as one `testsuites` element.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = Writer::new_with_indent(out, b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let gating: Vec<&TaskRow> = report.tasks.iter().filter(|row| row.gates).collect();
    let root = with_counts(element("testsuites", &[("name", "confidence-audit")]), &gating);
    writer.write_event(Event::Start(root))?;
    for task in by_task(report) {
        write_suite(&mut writer, report, &task)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuites")))?;
    writer.into_inner().write_all(b"\n")
}

fn write_suite<W: Write>(
    writer: &mut Writer<W>,
    report: &Report,
    task: &TaskRows<'_>,
) -> io::Result<()> {
    let suite = element("testsuite", &[("name", task.task)]);
    writer.write_event(Event::Start(with_counts(suite, &task.gating)))?;
    write_properties(writer, report, task)?;
    for row in &task.gating {
        write_case(writer, row)?;
    }
    let said: Vec<String> = task
        .beside
        .iter()
        .map(|row| format!("beside the gate: {}", row_summary(row)))
        .chain(task.gating.iter().chain(&task.beside).flat_map(|row| notes(row)))
        .collect();
    if !said.is_empty() {
        write_text(writer, "system-out", &[], &said)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testsuite")))
}

fn notes(row: &TaskRow) -> impl Iterator<Item = String> + '_ {
    row.notes.iter().map(|note| {
        let hint = note.hint.as_ref().map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        format!("{}: {}: {}{hint}", row.name(), note.code, note.message)
    })
}

/// What dashboards can plot: the numbers of each gating split, in full precision.
fn write_properties<W: Write>(
    writer: &mut Writer<W>,
    report: &Report,
    task: &TaskRows<'_>,
) -> io::Result<()> {
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
    writer.write_event(Event::Start(BytesStart::new("properties")))?;
    for (name, value) in properties {
        let property = element("property", &[("name", &name), ("value", &value)]);
        writer.write_event(Event::Empty(property))?;
    }
    writer.write_event(Event::End(BytesEnd::new("properties")))
}

fn write_case<W: Write>(writer: &mut Writer<W>, row: &TaskRow) -> io::Result<()> {
    let class = format!("confidence-audit.{}", row.task);
    let mut case = element("testcase", &[("classname", &class), ("name", &row.split)]);
    push(&mut case, "time", &row.seconds.unwrap_or_default().to_string());
    if row.verdict == Outcome::Preserved {
        return writer.write_event(Event::Empty(case));
    }
    writer.write_event(Event::Start(case))?;
    let body = row_summary(row);
    if row.verdict == Outcome::NotPreserved {
        let message = comparison(row).unwrap_or_else(|| body.clone());
        let attributes = [("message", message.as_str()), ("type", "not_preserved")];
        write_text(writer, "failure", &attributes, &[body])?;
    } else {
        let error = row.error.as_ref();
        let message = error.map_or(body.as_str(), |error| &error.message).to_owned();
        let hint = error.and_then(|error| error.hint.as_ref());
        let lines: Vec<String> =
            std::iter::once(body).chain(hint.map(|hint| format!("hint: {hint}"))).collect();
        let attributes = [("message", message.as_str()), ("type", "could_not_run")];
        write_text(writer, "error", &attributes, &lines)?;
    }
    writer.write_event(Event::End(BytesEnd::new("testcase")))
}

fn write_text<W: Write>(
    writer: &mut Writer<W>,
    name: &'static str,
    attributes: &[(&str, &str)],
    lines: &[String],
) -> io::Result<()> {
    writer.write_event(Event::Start(element(name, attributes)))?;
    let lines: Vec<String> = lines.iter().map(|line| shown(line)).collect();
    writer.write_event(Event::Text(BytesText::new(&lines.join("\n"))))?;
    writer.write_event(Event::End(BytesEnd::new(name)))
}

fn element(name: &'static str, attributes: &[(&str, &str)]) -> BytesStart<'static> {
    let mut element = BytesStart::new(name);
    for (name, value) in attributes {
        push(&mut element, name, value);
    }
    element
}

fn push(element: &mut BytesStart<'static>, name: &str, value: &str) {
    element.push_attribute((name, shown(value).as_str()));
}

fn with_counts(mut element: BytesStart<'static>, rows: &[&TaskRow]) -> BytesStart<'static> {
    let count = |outcome| rows.iter().filter(|row| row.verdict == outcome).count().to_string();
    push(&mut element, "tests", &rows.len().to_string());
    push(&mut element, "failures", &count(Outcome::NotPreserved));
    push(&mut element, "errors", &count(Outcome::Error));
    push(&mut element, "skipped", "0");
    let seconds: f64 = rows.iter().filter_map(|row| row.seconds).sum();
    push(&mut element, "time", &seconds.to_string());
    element
}

/// `text` as one line, without the characters that XML 1.0 forbids even when escaped.
fn shown(text: &str) -> String {
    let allowed = |&c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
    neutralise(&text.chars().filter(allowed).collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quick_xml::Reader;

    use super::super::samples;
    use super::*;

    /// An element's name and attributes.
    type Element = (String, BTreeMap<String, String>);

    /// Element names with their attributes, and all text, as an XML parser reads them.
    fn parse(report: &Report) -> (Vec<Element>, String) {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        let xml = String::from_utf8(out).unwrap();
        assert!(xml.chars().all(|c| c == '\n' || c >= ' '), "a forbidden character");
        let mut reader = Reader::from_str(&xml);
        reader.config_mut().check_end_names = true;
        let (mut elements, mut text) = (Vec::new(), String::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) | Event::Empty(start) => {
                    let attributes = start.attributes().map(|attribute| {
                        let attribute = attribute.unwrap();
                        let value = quick_xml::escape::unescape(attribute.value.as_ref()).unwrap();
                        (attribute.key.as_ref().to_owned(), value.into_owned())
                    });
                    elements.push((start.name().as_ref().to_owned(), attributes.collect()));
                }
                Event::Text(part) => text.push_str(&part.xml10_content()),
                Event::GeneralRef(entity) => {
                    let entity = format!("&{};", &*entity);
                    text.push_str(&quick_xml::escape::unescape(&entity).unwrap());
                }
                Event::Eof => return (elements, text),
                _ => {}
            }
        }
    }

    #[test]
    fn a_failed_gate_is_a_failure_and_a_run_that_failed_an_error() {
        let (elements, text) = parse(&samples::suite());
        let count = |name: &str| elements.iter().filter(|(element, _)| element == name).count();
        assert_eq!((count("testsuite"), count("testcase")), (3, 3));
        assert_eq!((count("failure"), count("error")), (1, 1));
        let root = &elements[0].1;
        assert_eq!(
            (&root["tests"][..], &root["failures"][..], &root["errors"][..]),
            ("3", "1", "1")
        );
        let failure = elements.iter().find(|(element, _)| element == "failure").unwrap();
        assert_eq!(failure.1["message"], "σ 0.1460 > κ 0.0500");
        assert!(text.contains("beside the gate: The student does not preserve"));
        assert!(text.contains("hint: these look like checkpoints of two tasks"));
    }

    #[test]
    fn the_numbers_stand_as_properties() {
        let (elements, _) = parse(&samples::preserved());
        let property = |name: &str| {
            let named = |(_, of): &&Element| of.get("name").is_some_and(|it| it == name);
            elements.iter().find(named).unwrap().1["value"].clone()
        };
        assert_eq!(property("train.sigma"), "0.0446");
        assert_eq!(property("train.n"), "67349");
        assert_eq!(property("student"), "models/sst2/student");
    }

    #[test]
    fn hostile_text_arrives_as_text_without_forbidden_characters() {
        let (elements, text) = parse(&samples::hostile());
        assert!(text.contains("<script>alert(1)</script>"));
        assert!(text.contains("]]> &amp;"));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{fffe}'));
        assert!(elements.iter().all(|(name, _)| name != "script"));
        assert!(elements[1].1["name"].contains("👩\u{200d}🔬"));
    }
}
