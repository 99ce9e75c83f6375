//! A report that an earlier run wrote, read back: what `audit render` and `audit compare` begin with.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::csv::{prediction_lines, PredictionLine};
use super::display::neutralise;
use super::numbers::counted;
use super::output_dir::PREDICTIONS;
use super::recalibration::Recalibration;
use super::schema::{Report, TaskCommand, TaskRow, SCHEMA_VERSION};
use crate::error::Diagnostic;

/// Stands for stdin.
const STDIN: &str = "-";

/// What stdin is called.
const STDIN_NAME: &str = "stdin";

/// What to pass instead of a file that is not a report.
const WANTED: &str =
    "pass what `audit --format json` printed, or the report.json of an --output-dir";

/// A report and where it was read from.
#[derive(Debug)]
pub struct Saved {
    /// The report.
    pub report: Report,
    /// Keys that the file has and this version does not know: a later one wrote it.
    pub unknown: Vec<String>,
    /// The file; `None` for stdin.
    pub file: Option<PathBuf>,
}

/// Why there is no row per example for a saved report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPredictions {
    /// The report was read from a pipe.
    #[error(
        "a report holds no row per example, and stdin has no folder to find `{PREDICTIONS}` in"
    )]
    Stdin,
    /// The folder has none.
    #[error("a report holds no row per example, and there is no `{}`", .0.display())]
    Missing(PathBuf),
    /// The file in its folder is another run's, or is not a table of predictions.
    #[error("a report holds no row per example, and `{file}` is not of this run: {1}", file = .0.display())]
    Other(PathBuf, String),
}

impl Saved {
    /// Reads the report in `path`, `-` for stdin.
    ///
    /// # Errors
    /// A usage error where the file cannot be read or is not a report, with its name and the line or
    /// the key.
    pub fn read(path: &Path) -> anyhow::Result<Saved> {
        let (file, bytes) = read_bytes(path)?;
        Self::of(file, &bytes)
    }

    fn of(file: Option<PathBuf>, bytes: &[u8]) -> anyhow::Result<Saved> {
        let name = quoted(file.as_deref());
        let (report, unknown) = parse(bytes).map_err(|why| refused(format!("{name} {why}")))?;
        Ok(Saved { report, unknown, file })
    }

    /// The report, in which a task and a split name one row.
    ///
    /// # Errors
    /// A usage error that names a row that is there twice: nobody could say which of the two is meant.
    pub fn with_distinct_rows(self) -> anyhow::Result<Saved> {
        let mut seen = BTreeSet::new();
        match self.report.tasks.iter().find(|row| !seen.insert((&row.task, &row.split))) {
            None => Ok(self),
            Some(row) => {
                let (file, row) = (self.quoted_name(), neutralise(&row.name()));
                Err(refused(format!("{file} has two rows of {row}")).into())
            }
        }
    }

    /// What the report is called: its file, or `stdin`.
    pub fn name(&self) -> String {
        self.file.as_ref().map_or(STDIN_NAME.to_owned(), |file| file.display().to_string())
    }

    /// [`Saved::name`] as messages write it, a file in backticks.
    pub fn quoted_name(&self) -> String {
        quoted(self.file.as_deref())
    }

    /// The predictions.csv in the report's folder, if it is of the same run: a row for each example that
    /// was run.
    ///
    /// # Errors
    /// Why there is none.
    pub fn predictions(&self) -> Result<PathBuf, NoPredictions> {
        let path = self.predictions_file()?;
        let of = |file| of_this_run(std::io::BufReader::new(file), &self.report);
        match File::open(&path).map_err(|error| error.to_string()).and_then(of) {
            Ok(()) => Ok(path),
            Err(why) => Err(NoPredictions::Other(path, why)),
        }
    }

    /// The lines of [`Saved::predictions`]. The file is read once, so the lines are those that were
    /// found to be of the run.
    ///
    /// # Errors
    /// Why there are none.
    pub fn prediction_lines(&self) -> Result<Vec<PredictionLine>, NoPredictions> {
        let path = self.predictions_file()?;
        let bytes = std::fs::read(&path).map_err(|error| error.to_string());
        let of = |bytes: Vec<u8>| {
            of_this_run(bytes.as_slice(), &self.report)?;
            prediction_lines(bytes.as_slice()).map_err(|error| error.to_string())
        };
        bytes.and_then(of).map_err(|why| NoPredictions::Other(path, why))
    }

    fn predictions_file(&self) -> Result<PathBuf, NoPredictions> {
        let file = self.file.as_ref().ok_or(NoPredictions::Stdin)?;
        let path = file.with_file_name(PREDICTIONS);
        match path.is_file() {
            true => Ok(path),
            false => Err(NoPredictions::Missing(path)),
        }
    }
}

/// A report that `audit verify` derives again, and the values that its file has.
#[derive(Debug)]
pub struct Verifiable {
    /// The report.
    pub kind: VerifiableKind,
    /// Every value of the file, known or not.
    pub value: Value,
    /// The file's name, or `stdin`.
    pub name: String,
}

/// The kinds of reports that can be derived again.
#[derive(Debug)]
pub enum VerifiableKind {
    /// Of `audit`, `audit check` or `audit demo`.
    Audit(Box<Saved>),
    /// Of `audit recalibrate`.
    Recalibration(Box<Recalibration>),
}

impl Verifiable {
    /// Reads the report in `path`, `-` for stdin.
    ///
    /// # Errors
    /// As [`Saved::read`] and [`Saved::with_distinct_rows`].
    pub fn read(path: &Path) -> anyhow::Result<Verifiable> {
        let (file, bytes) = read_bytes(path)?;
        let name = file.as_ref().map_or(STDIN_NAME.to_owned(), |file| file.display().to_string());
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let kind = match is_recalibration(&value) {
            true => {
                let report = serde_json::from_slice(&bytes).map_err(|error| {
                    let file = quoted(file.as_deref());
                    refused(format!("{file} is not the report of a recalibration: {error}"))
                })?;
                VerifiableKind::Recalibration(report)
            }
            false => {
                VerifiableKind::Audit(Box::new(Saved::of(file, &bytes)?.with_distinct_rows()?))
            }
        };
        Ok(Verifiable { kind, value, name })
    }

    /// The commands that give the report again.
    pub fn commands(&self) -> &[TaskCommand] {
        match &self.kind {
            VerifiableKind::Audit(saved) => &saved.report.manifest.commands,
            VerifiableKind::Recalibration(report) => &report.manifest.commands,
        }
    }
}

/// The bytes of `path`, and the file; `-` is stdin.
fn read_bytes(path: &Path) -> anyhow::Result<(Option<PathBuf>, Vec<u8>)> {
    let file = (path.as_os_str() != STDIN).then(|| path.to_owned());
    let mut bytes = Vec::new();
    match &file {
        Some(file) => File::open(file).and_then(|mut f| f.read_to_end(&mut bytes)),
        None => std::io::stdin().lock().read_to_end(&mut bytes),
    }
    .map_err(|error| refused(format!("cannot read {}: {error}", quoted(file.as_deref()))))?;
    Ok((file, bytes))
}

/// The error of a file that is not a report, or not one that can be used.
fn refused(message: String) -> Diagnostic {
    Diagnostic::usage(message).hint(WANTED)
}

fn quoted(file: Option<&Path>) -> String {
    file.map_or(STDIN_NAME.to_owned(), |file| format!("`{}`", file.display()))
}

/// The report in `bytes` and the keys that are not known; or what is wrong, to follow the file's name.
fn parse(bytes: &[u8]) -> Result<(Report, Vec<String>), String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => format!("ends too soon: {error}"),
        _ => format!("is not valid JSON: {error}"),
    })?;
    recognise(&value)?;
    let report: Report =
        serde_json::from_slice(bytes).map_err(|error| format!("is not a report: {error}"))?;
    let known =
        serde_json::to_value(&report).map_err(|error| format!("is not a report: {error}"))?;
    let mut unknown = Vec::new();
    unknown_keys(&value, &known, "", &mut unknown);
    Ok((report, unknown))
}

/// Fails unless `value` is a report of this program, of the version that is read here.
fn recognise(value: &Value) -> Result<(), String> {
    let Some(fields) = value.as_object() else {
        return Err("is not a report: it is not a JSON object".to_owned());
    };
    let has = |keys: &[&str]| keys.iter().all(|key| fields.contains_key(*key));
    if is_recalibration(value) {
        return Err("is what `audit recalibrate` wrote, not the report of an audit".to_owned());
    }
    if has(&["limits", "rows"]) {
        return Err("is what `audit compare` wrote, not the report of an audit".to_owned());
    }
    if let Some(key) = ["schema_version", "tasks", "manifest"].into_iter().find(|key| !has(&[key]))
    {
        return Err(format!("is not a report: it has no key `{key}`"));
    }
    let program = &value["manifest"]["program"];
    if program != env!("CARGO_PKG_NAME") {
        let own = env!("CARGO_PKG_NAME");
        return Err(format!("is not a report of {own}: its `manifest.program` is {program}"));
    }
    match &value["schema_version"] {
        version if *version == SCHEMA_VERSION => Ok(()),
        version => Err(format!(
            "has the `schema_version` {version}, and this version of the program reads \
             {SCHEMA_VERSION}"
        )),
    }
}

/// Whether `value` is what `audit recalibrate` writes.
fn is_recalibration(value: &Value) -> bool {
    ["temperature", "fit", "gate"].iter().all(|key| value.get(key).is_some())
}

/// Adds the paths of what `value` has and `known` has not.
fn unknown_keys(value: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
    match (value, known) {
        (Value::Object(value), Value::Object(known)) => {
            for (key, inner) in value {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => unknown_keys(inner, known, &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(value), Value::Array(known)) => {
            for (i, (value, known)) in value.iter().zip(known).enumerate() {
                unknown_keys(value, known, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

/// Fails unless `table` has a row for each example that `report` was made of.
fn of_this_run(table: impl Read, report: &Report) -> Result<(), String> {
    let ran = report.tasks.iter().filter(|row| row.examples_run > 0);
    let mut left: Vec<(&TaskRow, usize)> = ran.map(|row| (row, row.examples_run)).collect();
    let mut reader = ::csv::Reader::from_reader(table);
    let header = reader.headers().map_err(|error| error.to_string())?;
    if !header.iter().eq(super::csv::HEADER) {
        return Err("its columns are others".to_owned());
    }
    let mut record = ::csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| error.to_string())? {
        let (task, split) = (&record[0], &record[1]);
        match left.iter_mut().find(|(row, _)| {
            super::csv::cell(&row.task) == *task && super::csv::cell(&row.split) == *split
        }) {
            None => return Err(format!("the report has no {task}/{split}")),
            Some((row, 0)) => return Err(format!("it has too many rows of {}", row.name())),
            Some((_, rows)) => *rows -= 1,
        }
    }
    match left.iter().find(|(_, rows)| *rows > 0) {
        None => Ok(()),
        Some((row, rows)) => {
            Err(format!("it lacks {} of {}", counted(*rows, "row", "rows"), row.name()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::super::{samples, Envelope, Format};
    use super::*;

    #[test]
    fn a_report_read_back_is_written_to_the_same_bytes_in_every_format() {
        for (name, report) in samples::all() {
            let (back, unknown) = parse(written("json", &report).as_bytes()).unwrap();
            assert!(unknown.is_empty(), "{name}: {unknown:?}");
            for Format { name: format, .. } in Report::FORMATS {
                assert!(written(format, &back) == written(format, &report), "{format} of {name}");
            }
        }
    }

    fn refused(edit: impl FnOnce(&mut Value)) -> String {
        let mut value = serde_json::to_value(samples::preserved()).unwrap();
        edit(&mut value);
        parse(&serde_json::to_vec_pretty(&value).unwrap()).unwrap_err()
    }

    #[test]
    fn what_is_not_a_report_is_refused_with_the_line_or_the_key() {
        let json = written("json", &samples::preserved());
        let cut = parse(&json.as_bytes()[..json.len() / 2]).unwrap_err();
        assert!(cut.starts_with("ends too soon: ") && cut.contains(" at line "), "{cut}");
        assert!(parse(b"").unwrap_err().starts_with("ends too soon"));
        assert!(parse(b"\xff\xfe{").unwrap_err().starts_with("is not valid JSON: "));
        assert_eq!(parse(b"[1]").unwrap_err(), "is not a report: it is not a JSON object");
        assert_eq!(parse(b"{}").unwrap_err(), "is not a report: it has no key `schema_version`");
        for (key, value, words) in [
            ("schema_version", 2.into(), "has the `schema_version` 2, and this version"),
            ("verdict", "perhaps".into(), "unknown variant `perhaps`"),
            ("tasks", "none".into(), "is not a report: invalid type: string \"none\""),
            ("exit_code", (-1).into(), "is not a report: invalid value: integer `-1`"),
        ] {
            let why = refused(|report| report[key] = value);
            assert!(why.contains(words), "{why}");
        }
        let why = refused(|report| report["manifest"]["program"] = "another".into());
        assert_eq!(
            why,
            "is not a report of confidence-audit: its `manifest.program` is \"another\""
        );
        let why = refused(|report| {
            report["tasks"][0].as_object_mut().unwrap().remove("spent_share");
            report["tasks"][0].as_object_mut().unwrap().remove("alpha");
        });
        assert!(why.starts_with("is not a report: missing field `alpha` at line "), "{why}");
        let recalibration = super::super::recalibration::tests::sample();
        let why = parse(&serde_json::to_vec(&recalibration).unwrap()).unwrap_err();
        assert_eq!(why, "is what `audit recalibrate` wrote, not the report of an audit");
    }

    #[test]
    fn older_reports_are_read_and_what_a_later_one_adds_is_named() {
        let mut value = serde_json::to_value(samples::preserved()).unwrap();
        for newer in ["sigma_unseen", "recalibrated", "intervals", "differences", "confidences"] {
            value["tasks"][0].as_object_mut().unwrap().remove(newer).unwrap();
        }
        value["manifest"].as_object_mut().unwrap().remove("commands").unwrap();
        let (report, unknown) = parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!((report.tasks[0].sigma, unknown), (Some(0.0446), Vec::new()));
        value["tasks"][1]["teacher"]["shoe_size"] = 43.into();
        value["mood"] = "good".into();
        let (_, unknown) = parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(unknown, ["tasks[1].teacher.shoe_size", "mood"]);
    }

    #[test]
    fn predictions_are_a_report_s_own_only_with_a_row_for_each_example() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("report.json");
        let mut report = samples::preserved();
        report.tasks.truncate(1);
        report.tasks[0].examples_run = 3;
        let saved = Saved { report, unknown: Vec::new(), file: Some(file) };
        let table = folder.path().join(PREDICTIONS);
        assert_eq!(saved.predictions(), Err(NoPredictions::Missing(table.clone())));
        let csv = written("csv", &saved.report);
        std::fs::write(&table, &csv).unwrap();
        assert_eq!(saved.predictions(), Ok(table.clone()));
        let last = csv.trim_end().rsplit_once('\n').unwrap();
        for (text, why) in [
            (format!("{}\n", last.0), "it lacks 1 row of sst2/train"),
            (format!("{csv}{}\n", last.1), "it has too many rows of sst2/train"),
            (csv.replace("sst2,train,0", "sst2,dev,0"), "the report has no sst2/dev"),
            ("id,label\n1,2\n".to_owned(), "its columns are others"),
        ] {
            std::fs::write(&table, text).unwrap();
            let refused = saved.predictions().unwrap_err();
            assert!(matches!(&refused, NoPredictions::Other(_, said) if said == why), "{refused}");
        }
        let stdin = Saved { file: None, ..saved };
        assert_eq!(stdin.predictions(), Err(NoPredictions::Stdin));
    }
}
