//! What holds for every format and every report.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{self, Write};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::comparison::{compare, Limits};
use super::*;

/// A writer that fails after this number of bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails where two formats of a report have one name or one file.
fn names_differ<R: Envelope>() {
    let names: BTreeSet<_> = R::FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(names.len(), R::FORMATS.len());
    let files: BTreeSet<_> = Format::<R>::files().map(|(file, _)| file).collect();
    assert_eq!(files.len(), Format::<R>::files().count());
}

#[test]
fn names_and_formats_are_one_to_one() {
    names_differ::<Report>();
    names_differ::<Comparison>();
    names_differ::<Recalibration>();
    names_differ::<Tuning>();
}

/// Fails where a report is not valid by its schema; returns each as JSON.
fn are_valid<R: Envelope + JsonSchema>(reports: &[R]) -> Vec<String> {
    let validator = jsonschema::validator_for(&json_schema::<R>()).unwrap();
    let texts: Vec<String> = reports.iter().map(|report| written("json", report)).collect();
    for text in &texts {
        let instance = serde_json::from_str(text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&instance).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    texts
}

/// Fails where a report is not valid by its schema or is not read back as it was.
fn are_valid_and_read_back<R>(reports: &[R])
where
    R: Envelope + DeserializeOwned + JsonSchema + PartialEq + Debug,
{
    for (text, report) in are_valid(reports).iter().zip(reports) {
        assert_eq!(serde_json::from_str::<R>(text).unwrap(), *report);
    }
}

#[test]
fn every_report_is_valid_by_its_schema_and_reads_back_the_same() {
    let reports: Vec<Report> = samples::all().into_iter().map(|(_, report)| report).collect();
    are_valid_and_read_back(&reports);
    let limits = Limits { max_sigma_increase: Some(0.01), max_accuracy_drop: Some(0.01) };
    let pairs = reports.iter().flat_map(|old| reports.iter().map(move |new| (old, new)));
    let pairs = pairs.map(|(old, new)| compare(("a", old), ("b", new), limits));
    are_valid(&pairs.collect::<Vec<Comparison>>());
    are_valid_and_read_back(&[recalibration::tests::sample()]);
    let real = std::fs::read("tests/fixtures/tuning/tune.json").unwrap();
    let real: Tuning = serde_json::from_slice(&real).unwrap();
    are_valid_and_read_back(&[tuning::samples::tuning(), real]);
}

/// The report in the format with that name, with the predictions of three examples.
pub(super) fn written<R: Envelope>(format: &str, report: &R) -> String {
    let (tables, options) = ([samples::predictions()], RenderOptions::default());
    let mut out = Vec::new();
    Format::named(format).unwrap().write(report, &tables, &options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Rows of the report that were run, and those that gate.
fn counts(report: &Report) -> (usize, usize) {
    let ran = report.tasks.iter().filter(|row| row.verdict != schema::Outcome::Error).count();
    (ran, report.tasks.iter().filter(|row| row.gates).count())
}

/// Every format of every outcome, and of hostile text, by a parser that is not what wrote it.
#[test]
fn every_format_is_read_by_a_parser_of_its_own() {
    let schema = std::fs::read_to_string("configs/report.schema.json").unwrap();
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (name, report) in samples::all() {
        for format in Report::FORMATS {
            let text = written(format.name, &report);
            let (ran, gating) = counts(&report);
            let what = format!("{format} of {name}");
            assert!(text.ends_with('\n') && !text.contains("NaN"), "{what}");
            match format.name {
                "text" => assert!(!text.contains('\u{1b}') && text.lines().count() > 2, "{what}"),
                "json" => assert!(schema.is_valid(&serde_json::from_str(&text).unwrap()), "{what}"),
                "markdown" => assert_eq!(markdown_rows(&text), report.tasks.len(), "{what}"),
                "html" => html_verdicts(&text, &report, &what),
                "junit" => {
                    let xml = roxmltree::Document::parse(&text).unwrap();
                    let cases = xml.descendants().filter(|node| node.has_tag_name("testcase"));
                    assert!(cases.count() >= gating, "{what}");
                }
                "csv" => {
                    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
                    assert_eq!(reader.records().map(Result::unwrap).count(), 3, "{what}");
                }
                "github" => {
                    let command = |line: &str| line.starts_with("::") && line[2..].contains("::");
                    assert!(text.lines().all(command) && text.lines().count() <= 10, "{what}");
                }
                "openmetrics" => {
                    let samples = openmetrics::tests::parse(&text);
                    let verdicts =
                        samples.iter().filter(|it| it.name == "confidence_audit_preserved");
                    assert_eq!(verdicts.count(), ran, "{what}");
                }
                "codequality" => {
                    let notes: usize = report.tasks.iter().map(|row| row.notes.len()).sum();
                    assert!(codequality::tests::parse(&text).len() >= notes, "{what}");
                }
                "model-card" => {
                    assert_eq!(model_card::tests::parse(&text).is_empty(), ran == 0, "{what}");
                }
                other => panic!("no parser reads `{other}`"),
            }
        }
    }
}

/// Rows of the first table of a Markdown text, in which no other HTML stands than what folds it.
fn markdown_rows(text: &str) -> usize {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
    let (mut rows, mut tables) = (0, 0);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableRow) if tables == 0 => rows += 1,
            Event::End(TagEnd::Table) => tables += 1,
            Event::Html(html) | Event::InlineHtml(html) => {
                let allowed = ["<details>", "</details>", "<summary>", "<br>"];
                let known = allowed.iter().any(|tag| html.trim_start().starts_with(tag));
                assert!(known, "{html}");
            }
            _ => {}
        }
    }
    rows
}

/// The page says every gating row's verdict.
fn html_verdicts(text: &str, report: &Report, what: &str) {
    let page = scraper::Html::parse_document(text);
    assert!(page.errors.is_empty(), "{what}: {:?}", page.errors);
    let verdicts = scraper::Selector::parse("main section .verdict .word").unwrap();
    let words: Vec<String> = page.select(&verdicts).map(|it| it.text().collect()).collect();
    for row in report.tasks.iter().filter(|row| row.gates) {
        let word = summary::verdict_word(row.verdict);
        assert!(words.iter().any(|it| it.ends_with(word)), "{what}: {words:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_in_every_format() {
    for format in Report::FORMATS {
        let tables = [samples::predictions()];
        let report = samples::preserved();
        let answer = format.write(&report, &tables, &RenderOptions::default(), &mut Full(10));
        assert!(answer.is_err(), "{format}");
    }
}
