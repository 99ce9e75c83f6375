//! GitLab's code quality report: what a merge request shows as its findings.
//!
//! | severity | for |
//! |---|---|
//! | blocker | a gate that could not run |
//! | critical | a gate that failed, for certain and over the whole split |
//! | major | a gate that failed over a part (`--limit`), or by a statistical verdict |
//! | minor | a warning, splits that disagree, a secondary split that could not run |
//! | info | a note |

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::display::{neutralise, truncate};
use super::findings::{Finding, FindingKind};
use super::rows::model;
use super::schema::{NoteLevel, Outcome, Report, TaskRow};
use crate::digest::hexadecimal;

/// Columns of a description and of a check's name.
const DESCRIPTION: usize = 1_000;
const NAME: usize = 120;

/// Stands for a student whose source is not known and whose task has no name that a path can have.
const NAMELESS: &str = "student";

/// How serious a finding is, by GitLab's names.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    Info,
    Minor,
    Major,
    Critical,
    Blocker,
}

/// One finding, with the fields that GitLab reads.
#[derive(Debug, Serialize)]
struct CodeQualityFinding {
    description: String,
    check_name: String,
    fingerprint: String,
    severity: Severity,
    location: Location,
}

#[derive(Debug, Serialize)]
struct Location {
    path: String,
    lines: Lines,
}

#[derive(Debug, Serialize)]
struct Lines {
    begin: usize,
}

/// Writes the findings as one JSON array; an empty one where there is nothing to say.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &findings(report, &PathBase::here()))?;
    out.write_all(b"\n")
}

fn findings(report: &Report, place: &PathBase) -> Vec<CodeQualityFinding> {
    let mut taken = BTreeSet::new();
    let finding = |finding: Finding<'_>| {
        let severity = severity(&finding)?;
        let Finding { row, code, kind, text, hint } = finding;
        let row_ahead =
            if let FindingKind::Note(_) = kind { row.name() + ": " } else { String::new() };
        let hint = hint.map(|hint| format!(" (hint: {hint})")).unwrap_or_default();
        let mut candidates = (0_u64..).map(|before| fingerprint(row, code, before));
        let fingerprint = candidates.find(|it| taken.insert(it.clone()));
        Some(CodeQualityFinding {
            description: truncate(&neutralise(&format!("{row_ahead}{text}{hint}")), DESCRIPTION),
            check_name: truncate(&neutralise(code), NAME),
            fingerprint: fingerprint.expect("unbounded range yields a free fingerprint"),
            severity,
            location: Location { path: path(report, row, place), lines: Lines { begin: 1 } },
        })
    };
    super::findings::findings(report).into_iter().filter_map(finding).collect()
}

/// How serious a finding is; `None` for a gate that was preserved.
fn severity(Finding { row, kind, .. }: &Finding) -> Option<Severity> {
    Some(match (kind, row.verdict) {
        (FindingKind::Verdict, Outcome::Preserved) => return None,
        (FindingKind::Verdict, Outcome::Error) if row.gates => Severity::Blocker,
        (FindingKind::Verdict, Outcome::NotPreserved) => {
            let is_partial = row.partial || row.is_statistical();
            if is_partial {
                Severity::Major
            } else {
                Severity::Critical
            }
        }
        (FindingKind::Note(NoteLevel::Note), _) => Severity::Info,
        _ => Severity::Minor,
    })
}

/// SHA-256 of task, split and code, so that GitLab recognises a finding in the next run.
///
/// `before` counts the findings of the same code ahead of it: a row may have one for either model.
fn fingerprint(row: &TaskRow, check: &str, before: u64) -> String {
    let mut hasher = Sha256::new();
    for part in [&row.task, &row.split, check] {
        // With its length ahead, no part can run into the next.
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    if before > 0 {
        hasher.update(before.to_le_bytes());
    }
    hexadecimal(&hasher.finalize())
}

/// What a finding is about, as a path in the repository: the student, or the task where no student
/// was loaded.
fn path(report: &Report, row: &TaskRow, place: &PathBase) -> String {
    let student = model(report, &row.task, "student").and_then(|student| {
        match (&student.revision, student.source.split_once('@')) {
            (Some(_), Some((id, _))) => below_root(Path::new(id)),
            (Some(_), None) => below_root(Path::new(&student.source)),
            (None, _) => place.relative(&student.source),
        }
    });
    let path = student.or_else(|| below_root(Path::new(&row.task)));
    path.map_or_else(|| NAMELESS.to_owned(), |path| neutralise(&path))
}

/// Where relative paths begin, and where GitLab's do.
struct PathBase {
    current: PathBuf,
    repository: PathBuf,
}

impl PathBase {
    /// The current folder, in the repository that a GitLab job has in `CI_PROJECT_DIR`.
    fn here() -> PathBase {
        let current = std::env::current_dir().unwrap_or_default();
        let project = std::env::var_os("CI_PROJECT_DIR").map(PathBuf::from);
        let project = project.and_then(|path| path.canonicalize().ok());
        let repository = project.filter(|path| current.starts_with(path));
        PathBase { repository: repository.unwrap_or_else(|| current.clone()), current }
    }

    /// `source` relative to the repository, without `.` and `..`; a folder outside of it without
    /// the file system's root.
    fn relative(&self, source: &str) -> Option<String> {
        let whole = plain(&self.current.join(source));
        below_root(whole.strip_prefix(&self.repository).unwrap_or(&whole))
    }
}

/// `path` with `.` and `..` worked out by name alone: the folder need not be there any more.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// The names of `path` with `/` between them; `None` where there is none.
fn below_root(path: &Path) -> Option<String> {
    let path = plain(path);
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    });
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join("/"))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{json, Value};

    use super::super::glossary::explain;
    use super::super::samples;
    use super::*;

    /// The fields that GitLab documents for a code quality report, as a JSON Schema, and no other.
    fn documented() -> Value {
        let text = json!({ "type": "string", "minLength": 1 });
        let object = |properties: Value| {
            let names: Vec<&String> = properties.as_object().unwrap().keys().collect();
            let required = json!(names);
            json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        };
        let lines = object(json!({ "begin": { "type": "integer", "minimum": 1 } }));
        // Relative to the repository, without `.`, `..` or an empty name.
        let path = json!({ "type": "string", "pattern": "^[^/]+(/[^/]+)*$" });
        let severities = ["info", "minor", "major", "critical", "blocker"];
        let finding = object(json!({
            "description": text,
            "check_name": text,
            "fingerprint": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
            "severity": { "enum": severities },
            "location": object(json!({ "path": path, "lines": lines })),
        }));
        json!({ "type": "array", "items": finding })
    }

    /// Reads a report and holds it against what GitLab documents.
    pub fn parse(text: &str) -> Vec<Value> {
        let value: Value = serde_json::from_str(text).unwrap();
        let validator = jsonschema::validator_for(&documented()).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let findings = value.as_array().unwrap().clone();
        let of = |finding: &Value| finding["fingerprint"].as_str().unwrap().to_owned();
        let distinct: BTreeSet<String> = findings.iter().map(of).collect();
        assert_eq!(distinct.len(), findings.len(), "a fingerprint stands twice");
        for finding in &findings {
            let path = finding["location"]["path"].as_str().unwrap();
            assert!(path.split('/').all(|name| name != "." && name != ".."), "{path}");
        }
        findings
    }

    fn written(report: &Report) -> Vec<Value> {
        let mut out = Vec::new();
        write(report, &mut out).unwrap();
        parse(std::str::from_utf8(&out).unwrap())
    }

    /// Name and severity of each finding.
    fn kinds(report: &Report) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let kind = |it: &Value| (text(&it["check_name"]), text(&it["severity"]));
        written(report).iter().map(kind).collect()
    }

    #[test]
    fn each_kind_of_finding_has_its_severity() {
        let mut partial = samples::not_preserved();
        partial.tasks[0].partial = true;
        let mut beside = samples::could_not_run();
        beside.tasks[0].gates = false;
        let suite = "not-preserved critical, could-not-run blocker, splits-disagree minor, \
                     implied-by-loss info";
        for (report, expected) in [
            (samples::suite(), suite),
            (samples::not_preserved(), "not-preserved critical, mean-for-sum minor"),
            (partial, "not-preserved major, mean-for-sum minor"),
            (beside, "could-not-run minor"),
        ] {
            let found = kinds(&report).into_iter().map(|(name, severity)| name + " " + &severity);
            assert_eq!(found.collect::<Vec<_>>().join(", "), expected);
        }
    }

    #[test]
    fn every_check_s_name_is_explained() {
        let reports = samples::all().into_iter().filter(|(name, _)| *name != "hostile");
        let checks: BTreeSet<String> =
            reports.flat_map(|(_, report)| kinds(&report)).map(|(check, _)| check).collect();
        for own in ["could-not-run", "not-preserved", "splits-disagree"] {
            assert!(checks.contains(own), "{own}: {checks:?}");
        }
        for check in checks {
            assert!(explain(&check).is_some(), "the glossary says nothing of {check}");
        }
    }

    #[test]
    fn a_preserved_gate_without_notes_is_an_empty_array() {
        let mut report = samples::partial();
        report.tasks[0].notes.clear();
        let mut out = Vec::new();
        write(&report, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "[]\n");
    }

    #[test]
    fn a_fingerprint_is_that_of_the_finding_and_not_of_its_figures() {
        let fingerprints = |report: &Report| -> Vec<String> {
            let of = |it: &Value| it["fingerprint"].as_str().unwrap().to_owned();
            written(report).iter().map(of).collect()
        };
        let before = fingerprints(&samples::not_preserved());
        let mut report = samples::not_preserved();
        (report.tasks[0].sigma, report.tasks[0].n) = (Some(0.0911), 60_000);
        report.tasks[0].notes[0].message = "β 0.2".into();
        assert_eq!(fingerprints(&report), before);
        let (row, code) = (&report.tasks[0], "not-preserved");
        assert_eq!(before[0], fingerprint(row, code, 0));
        // python3 -c 'import hashlib; p = ["sst2", "train", "not-preserved"]; print(hashlib.sha256(
        // b"".join(len(x).to_bytes(8, "little") + x.encode() for x in p)).hexdigest())'
        assert_eq!(before[0], "c747bb8e8504c36ae4abf2f4f1f0ad5aff2ca338679cf6604eeb047cbf1751f3");
        // One note for either model: the same code twice in a row.
        let again = report.tasks[0].notes[0].clone();
        report.tasks[0].notes.push(again);
        assert_eq!(fingerprints(&report)[..2], before[..]);
        assert_eq!(written(&report).len(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_place_is_a_path_in_the_repository() {
        let place = PathBase {
            current: "/builds/team/app/models".into(),
            repository: "/builds/team/app".into(),
        };
        for (source, path) in [
            ("out/tiny", Some("models/out/tiny")),
            ("./out//tiny/", Some("models/out/tiny")),
            ("../out/./tiny", Some("out/tiny")),
            ("/builds/team/app/out/tiny", Some("out/tiny")),
            ("../../elsewhere/tiny", Some("builds/team/elsewhere/tiny")),
            ("/srv/models/tiny", Some("srv/models/tiny")),
            ("../../../../../../..", None),
            ("", Some("models")),
        ] {
            assert_eq!(place.relative(source).as_deref(), path, "{source}");
        }
        let mut report = samples::not_preserved();
        let path = |report: &Report| path(report, &report.tasks[0], &place);
        assert_eq!(path(&report), "models/models/sst2/student");
        report.manifest.models[1].source = "org/tiny@v1.0".into();
        report.manifest.models[1].revision = Some("0123abcd".into());
        assert_eq!(path(&report), "org/tiny");
        report.manifest.models[1].source = "org/tiny".into();
        assert_eq!(path(&report), "org/tiny");
        report.manifest.models.clear();
        assert_eq!(path(&report), "sst2");
        report.tasks[0].task = "../..".into();
        assert_eq!(path(&report), "student");
    }

    #[test]
    fn hostile_text_stays_text_of_one_line() {
        let findings = written(&samples::hostile());
        assert!(findings.len() >= 3);
        for finding in findings {
            for text in
                [&finding["description"], &finding["check_name"], &finding["location"]["path"]]
            {
                let text = text.as_str().unwrap();
                assert_eq!(neutralise(text), text);
                assert!(text.chars().count() <= 4 * DESCRIPTION, "{}", text.len());
            }
        }
    }
}
