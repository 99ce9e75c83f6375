//! The values of a saved report against those of a new run.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::again::Again;
use super::json;
use crate::cli::VerifyArgs;
use crate::report::recalibration::Recalibration;
use crate::report::schema::{Manifest, ModelManifest, Outcome, Report};
use crate::report::verification::{
    differences, Comparable, Precision, ValueDifference, Verification, TOLERANCE,
};
use crate::report::{
    lines_of_tables, NoPredictions, PredictionLine, PredictionTable, Saved, PREDICTION_COLUMNS,
};

/// Differences that are named where another version may have computed other values.
const NAMED: usize = 5;

/// What is left out where the last digits may differ.
const AT_AN_EDGE: &str =
    "counts of bins, groups, ECE and the order of the worst inputs, which a last \
                          digit may change";

/// What is never compared.
pub(super) const OF_THE_PROGRAM: &str =
    "manifest.version, platform and arithmetic, which only say what made the report; seconds; \
     rows_from_cache";

/// A report that was derived again, and how it is compared with the saved one.
pub(super) struct Derived {
    now: Value,
    pub(super) comparable: Comparable,
    /// Why the bits may differ; `None` if the program promises the same ones.
    pub(super) other_bits: Option<String>,
    pub(super) other_version: bool,
    /// The folder of the report's config and that of the one that `--config` names.
    config_folders: Option<[PathBuf; 2]>,
    /// What is left out of this report, for the reader.
    not_checked: Vec<String>,
    /// Rows that could be run for the report and not now: index, name, error.
    failed: Vec<(usize, String, String)>,
}

impl Derived {
    /// Of the report of an audit.
    pub(super) fn of_audit(
        report: &Report,
        now: &Report,
        args: &VerifyArgs,
        again: &Again,
    ) -> Self {
        let rows = report.tasks.iter().zip(&now.tasks).enumerate();
        let failed = rows.filter_map(|(i, (before, now))| {
            let error = now.error.as_ref().filter(|_| before.verdict != Outcome::Error)?;
            Some((i, format!("{}/{}", now.task, now.split), error.message.clone()))
        });
        let files = |report: &Report| -> Vec<String> {
            report.tasks.iter().flat_map(|row| row.data_files.clone()).collect()
        };
        let mut derived = Derived::new(&report.manifest, &now.manifest, args, again);
        derived.failed = failed.collect();
        derived.renamed(args, &files(report), &files(now));
        for (i, (row, now)) in report.tasks.iter().zip(&now.tasks).enumerate() {
            if row.data_sha256.is_some() && row.data_sha256 == now.data_sha256 {
                let commits = [&row.data_revision, &now.data_revision];
                derived.same_data(&format!("tasks[{i}]"), commits);
            }
        }
        derived.now = json(now);
        for (i, ..) in &derived.failed {
            let left_out = [format!("tasks[{i}]"), "verdict".to_owned(), "exit_code".to_owned()];
            derived.comparable.left_out.extend(left_out);
            derived.comparable.left_out.push("manifest.models".to_owned());
        }
        derived
    }

    /// Of the report of a recalibration.
    pub(super) fn of_recalibration(
        report: &Recalibration,
        now: &Recalibration,
        args: &VerifyArgs,
        again: &Again,
    ) -> Self {
        let files = |report: &Recalibration| {
            [report.fit.data_files.clone(), report.gate.data_files.clone()].concat()
        };
        let mut derived = Derived::new(&report.manifest, &now.manifest, args, again);
        derived.renamed(args, &files(report), &files(now));
        for (name, row, now) in [("fit", &report.fit, &now.fit), ("gate", &report.gate, &now.gate)]
        {
            if row.data_sha256 == now.data_sha256 {
                derived.same_data(name, [&row.data_revision, &now.data_revision]);
            }
        }
        derived.now = json(now);
        derived
    }

    /// How reports with these manifests are compared.
    pub(super) fn new(report: &Manifest, now: &Manifest, args: &VerifyArgs, again: &Again) -> Self {
        let mut comparable =
            Comparable { may_lack_keys: report.arithmetic.is_none(), ..Comparable::default() };
        let mut config_folders = None;
        if let (Some(given), Some(now)) = (&args.config, again.config()) {
            // `bound_origin` names the file.
            let named = report.commands.first().and_then(|it| config_of(&it.command));
            let named = named.unwrap_or_else(|| given.display().to_string());
            config_folders = Some([&named, &now].map(|file| folder_of(file)));
            comparable.renamed.push((now, named));
        }
        for (i, (model, now)) in report.models.iter().zip(&now.models).enumerate() {
            let given = match model.role.as_str() {
                "teacher" => args.teacher.is_some(),
                _ => args.student.is_some(),
            };
            let same_place = moved(&config_folders, &model.source, &now.source);
            if given || same_place || is_pinned(model, now) {
                comparable.left_out.push(format!("manifest.models[{i}].source"));
                comparable.renamed.push((now.source.clone(), model.source.clone()));
            }
            if given {
                comparable.left_out.push(format!("manifest.models[{i}].revision"));
            }
        }
        let other_version = report.version != now.version;
        let other_bits = other_bits(report, now);
        let (failed, not_checked) = (Vec::new(), vec![OF_THE_PROGRAM.to_owned()]);
        Derived {
            now: Value::Null,
            comparable,
            other_bits,
            other_version,
            config_folders,
            not_checked,
            failed,
        }
    }

    /// Replaces the commands of the new run, which has the places that flags name, by `texts`: those of
    /// the report as the program writes them.
    pub(super) fn with_commands(mut self, texts: &[String]) -> Self {
        let commands = self.now.pointer_mut("/manifest/commands").and_then(Value::as_array_mut);
        for (command, text) in commands.into_iter().flatten().zip(texts) {
            command["command"] = text.as_str().into();
        }
        self
    }

    /// Leaves out the commit of data whose files are the same: any change of a data set on the Hub
    /// makes another commit.
    fn same_data(&mut self, row: &str, [report, now]: [&Option<String>; 2]) {
        if report.is_some() && now.is_some() && report != now {
            let path = format!("{row}.data_revision");
            self.not_checked.push(format!("{path}: another commit now, with the same files"));
            self.comparable.left_out.push(path);
        }
    }

    /// Names of data files, which a flag may have changed: `--data`, or `--config` for files that the
    /// config names, which lie where they lay beside it.
    fn renamed(&mut self, args: &VerifyArgs, report: &[String], now: &[String]) {
        if args.data.is_some() {
            for row in ["tasks[]", "fit", "gate"] {
                let places = ["data_files", "data_revision"].map(|key| format!("{row}.{key}"));
                self.comparable.left_out.extend(places);
            }
        }
        let is_renamed = |(now, report): &(&String, &String)| {
            args.data.is_some() || moved(&self.config_folders, report, now)
        };
        if report.len() == now.len() {
            let pairs = now.iter().zip(report).filter(is_renamed);
            let pairs: Vec<_> = pairs.map(|(now, report)| (now.clone(), report.clone())).collect();
            self.comparable.renamed.extend(pairs);
        }
    }

    /// Compares every value with that of `report`.
    pub(super) fn compare(&self, report: &Value, found: &mut Verification) {
        for (_, name, error) in &self.failed {
            found.reasons.push(format!("{name} could be run for the report and not now: {error}"));
        }
        let of = |how| differences(report, &self.now, &self.comparable, how);
        found.not_checked.extend(self.not_checked.iter().cloned());
        let what = "every value of a new run without the cache";
        self.settle(of, what, found);
    }

    /// Compares by `of`, exactly where the bits must be the same, else with a tolerance.
    pub(super) fn settle(
        &self,
        of: impl Fn(Precision) -> Vec<ValueDifference>,
        what: &str,
        found: &mut Verification,
    ) {
        let exact = of(Precision::Exact);
        let Some(why) = self.other_bits.as_ref().filter(|_| !exact.is_empty()) else {
            found.checked.push(format!("{what}, to the last bit"));
            found.differences.extend(exact);
            return;
        };
        found.tolerance = Some(TOLERANCE);
        found.checked.push(format!("{what}, within a tolerance: {why}"));
        if !found.not_checked.iter().any(|it| it == AT_AN_EDGE) {
            found.not_checked.push(AT_AN_EDGE.to_owned());
        }
        let tolerant = of(Precision::Tolerant);
        if tolerant.is_empty() || !self.other_version {
            found.differences.extend(tolerant);
            return;
        }
        let named =
            |it: &ValueDifference| format!("{}: report {}, now {}", it.path, it.report, it.now);
        let listed: Vec<String> = tolerant.iter().take(NAMED).map(named).collect();
        let (count, listed) = (tolerant.len(), listed.join("; "));
        found.reasons.push(format!(
            "{why}, and {count} values differ, which that version may have computed so: {listed} \
             (hint: verify it with that version)"
        ));
    }
}

/// Whether `now` is the Hub's model of the report, at its commit.
fn is_pinned(report: &ModelManifest, now: &ModelManifest) -> bool {
    let id = |model: &ModelManifest| model.source.split('@').next().map(str::to_owned);
    report.revision.is_some() && report.revision == now.revision && id(report) == id(now)
}

fn folder_of(file: &str) -> PathBuf {
    Path::new(file).parent().unwrap_or(Path::new("")).to_owned()
}

/// Whether `report` and `now` are the same place as seen from the config of each.
fn moved(config_folders: &Option<[PathBuf; 2]>, report: &str, now: &str) -> bool {
    config_folders.as_ref().is_some_and(|[was, is]| {
        let report = Path::new(report).strip_prefix(was);
        report.is_ok() && report == Path::new(now).strip_prefix(is)
    })
}

/// The config file that a command names.
fn config_of(command: &str) -> Option<String> {
    let words = shlex::split(command)?;
    let i = words.iter().position(|word| word == "--config")?;
    words.get(i + 1).cloned()
}

/// Why the bits of the two may differ, if they may.
fn other_bits(report: &Manifest, now: &Manifest) -> Option<String> {
    if report.version != now.version {
        let (before, now) = (&report.version, &now.version);
        return Some(format!(
            "the report is of version {before} of the program, and this is {now}"
        ));
    }
    let is_cpu = |manifest: &Manifest| manifest.device.as_deref() == Some("cpu");
    if !is_cpu(report) || !is_cpu(now) {
        return Some("a device other than the CPU does not promise the same bits".to_owned());
    }
    match (&report.arithmetic, &now.arithmetic) {
        (Some(one), Some(other)) if one == other => None,
        (None, _) => Some("the report does not say with which arithmetic it was made".to_owned()),
        _ => Some(format!(
            "the report is of a machine with another arithmetic ({})",
            report.platform
        )),
    }
}

/// Compares the predictions.csv in the report's folder, if there is one.
pub(super) fn predictions(
    saved: &Saved,
    tables: &[PredictionTable],
    derived: &Derived,
    found: &mut Verification,
) {
    let lines = match saved.prediction_lines() {
        Ok(lines) => lines,
        Err(NoPredictions::Other(_, why)) => {
            return found.reasons.push(format!(
                "predictions.csv in the report's folder is not of this run: {why} (hint: if it is of \
                 another run, move the report to a folder of its own)"
            ));
        }
        Err(_) => return,
    };
    let now = lines_of_tables(tables);
    if lines.len() != now.len() {
        return found.differs("predictions.csv, its lines".to_owned(), lines.len(), now.len());
    }
    let of = |how| {
        let pairs = lines.iter().zip(&now);
        pairs.flat_map(|(line, now)| line_differences(line, now, how)).collect()
    };
    derived.settle(of, &format!("{} lines of predictions.csv", lines.len()), found);
}

/// The fields of a line of predictions that are not those of `now`.
pub(super) fn line_differences(
    line: &PredictionLine,
    now: &PredictionLine,
    how: Precision,
) -> Vec<ValueDifference> {
    let fields = PREDICTION_COLUMNS.iter().zip(line.fields.iter().zip(&now.fields));
    let differ = fields.filter(|(_, (report, now))| !is_equal(report, now, how));
    let difference = |(column, (report, now)): (&&str, (&str, &str))| ValueDifference {
        path: format!("predictions.csv line {}, {column}", line.line),
        report: report.into(),
        now: now.into(),
    };
    differ.map(difference).collect()
}

fn is_equal(report: &str, now: &str, how: Precision) -> bool {
    let near = || match (report.parse::<f64>(), now.parse::<f64>()) {
        (Ok(report), Ok(now)) => (report - now).abs() <= TOLERANCE,
        _ => false,
    };
    report == now || (how == Precision::Tolerant && near())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn another_commit_with_the_same_files_is_no_difference() {
        let row = |commit: &str| json!({"tasks": [{"data_sha256": "aa", "data_revision": commit}]});
        let mut derived = Derived {
            now: row("b"),
            comparable: Comparable::default(),
            other_bits: None,
            other_version: false,
            config_folders: None,
            not_checked: Vec::new(),
            failed: Vec::new(),
        };
        let compared = |derived: &Derived| {
            let mut found = Verification::new("r.json".to_owned(), Vec::new());
            derived.compare(&row("a"), &mut found);
            found
        };
        assert_eq!(compared(&derived).differences[0].path, "tasks[0].data_revision");
        derived.same_data("tasks[0]", [&Some("a".to_owned()), &Some("b".to_owned())]);
        let found = compared(&derived);
        assert!(found.differences.is_empty());
        assert!(found.not_checked[0].starts_with("tasks[0].data_revision: another commit"));
        // A commit of local data is one that nobody derives.
        derived.comparable.left_out.clear();
        derived.same_data("tasks[0]", [&Some("a".to_owned()), &None]);
        assert!(derived.comparable.left_out.is_empty());
    }
}
