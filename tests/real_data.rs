//! Whole audits of real checkpoints on real GLUE data, against what PyTorch says of them.
//!
//! `AUDIT_TEST_DATA` names a folder with `glue/` (the layout of the official release) and `models/`
//! (checkpoints and PyTorch's reference.json). Without it the tests say that they were skipped.
//! All of SST-2 takes minutes: run them with `--release`.

use std::io::Write;
use std::path::{Path, PathBuf};

use confidence_audit::audit::{judge, load_splits, Classifier, Gate, Role, Session, SplitPair};
use confidence_audit::config::{Config, Layer};
use confidence_audit::hub::{Connection, Hub, HubSettings};
use confidence_audit::interrupt::Interrupt;
use confidence_audit::progress::Progress;
use confidence_audit::report::schema::{ModelRow, Outcome, TaskRow};
use serde_json::Value;

/// σ agrees with PyTorch's to this.
const SIGMA: f64 = 1e-6;
/// Counts agree to this: margins near zero may fall either way.
const COUNT: i64 = 2;

fn reference(data: &Path) -> Value {
    let text = std::fs::read_to_string(data.join("models/reference.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn close(found: Option<f64>, expected: &Value, what: &str) {
    let (found, expected) = (found.unwrap(), expected.as_f64().unwrap());
    assert!((found - expected).abs() <= SIGMA, "{what}: {found} against PyTorch's {expected}");
}

fn about(found: Option<usize>, expected: &Value, what: &str) {
    let (found, expected) = (found.unwrap() as i64, expected.as_i64().unwrap());
    assert!((found - expected).abs() <= COUNT, "{what}: {found} against PyTorch's {expected}");
}

/// The folder of the real data; without it, a line that the test was skipped, past the harness that
/// keeps what a passing test prints.
fn real_data() -> Option<PathBuf> {
    let data = std::env::var_os("AUDIT_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        std::io::stderr().write_all(b"skipped: AUDIT_TEST_DATA is not set\n").unwrap();
    }
    data
}

/// Every figure that PyTorch's reference has for this row.
fn agrees(row: &TaskRow, student: &str, reference: &Value) {
    let split = if row.split == "train" { "train" } else { "dev" };
    let expected = &reference["tasks"][&row.task][split];
    let pair = &expected["pairs"][student];
    let what = format!("{}/{split}, {student}", row.task);
    assert_eq!(row.n as u64, expected["n"].as_u64().unwrap(), "{what}");
    close(row.sigma, &pair["sigma"], &what);
    close(row.sigma_centred, &pair["sigma_centred"], &what);
    close(row.mean_difference, &pair["mean_difference"], &what);
    for (statistic, key) in
        [("rms", "sigma_teacher_class"), ("centred", "sigma_teacher_class_centred")]
    {
        let variant = row
            .variants
            .iter()
            .find(|v| v.confidence == "teacher-class" && v.statistic == statistic)
            .unwrap();
        close(variant.sigma, &pair[key], &format!("{what}: {key}"));
    }
    about(row.agreement, &pair["agreement"], &what);
    let correct = |model: &Option<ModelRow>| model.as_ref().unwrap().correct;
    about(correct(&row.teacher), &expected["models"]["teacher-6l"]["correct"], &what);
    about(correct(&row.student), &expected["models"][student]["correct"], &what);
}

/// Audits both students of `task`, the teacher run once, and returns their gating verdicts.
fn audit_both(data: &Path, task: &str) -> Vec<Outcome> {
    let reference = reference(data);
    let models = data.join("models").join(task);
    let flags = Layer {
        data: Some(data.join("glue").display().to_string()),
        kappa: Some(0.05),
        ..Layer::default()
    };
    let settings = Config::default().settings(task, &flags).unwrap();
    let session = Session {
        hub: Hub::new(HubSettings {
            connection: Connection::Offline,
            ..HubSettings::new(std::env::temp_dir())
        })
        .unwrap(),
        interrupt: Interrupt::default(),
        progress: Progress::Quiet,
    };
    let splits = load_splits(&settings, &session.hub).unwrap();
    let open = |role, name: &str, known: &[String]| {
        let source = models.join(name);
        let gating = &splits[0].dataset;
        Classifier::open(role, source.to_str().unwrap(), &settings, known, gating, &session)
            .unwrap()
    };
    let teacher = open(Role::Teacher, "teacher-6l", &[]);
    let names = teacher.label_names().to_vec();
    let by_teacher: Vec<_> = splits
        .iter()
        .map(|s| teacher.predict(&s.dataset, &settings, &session, None).unwrap())
        .collect();
    let mut verdicts = Vec::new();
    for name in ["student-3l-kd", "student-3l-hard"] {
        let student = open(Role::Student, name, &names);
        let gate = Gate::new(&settings, None, splits[0].dataset.examples.len()).unwrap();
        for (split, (t, cut)) in splits.iter().zip(&by_teacher) {
            let (s, also_cut) = student.predict(&split.dataset, &settings, &session, None).unwrap();
            let pair = SplitPair::of(split, &names, t.clone(), s, (*cut, also_cut));
            let (row, _) = judge(&pair, &gate, &settings, None).unwrap();
            agrees(&row, name, &reference);
            if row.gates {
                verdicts.push(row.verdict);
            }
        }
    }
    verdicts
}

#[test]
fn sst2_tells_the_distilled_student_from_the_one_trained_on_labels() {
    let Some(data) = real_data() else { return };
    assert_eq!(audit_both(&data, "sst2"), [Outcome::Preserved, Outcome::NotPreserved]);
}

#[test]
fn mrpc_s_students_do_not_preserve() {
    let Some(data) = real_data() else { return };
    assert_eq!(audit_both(&data, "mrpc"), [Outcome::NotPreserved, Outcome::NotPreserved]);
}

/// Quora pairs are no task of GLUE here: a user's own task, described in a config.
#[test]
fn quora_pairs_are_audited_as_a_user_s_own_task() {
    let Some(data) = real_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("audit.toml");
    let models: PathBuf = data.join("models/mrpc");
    let text = format!(
        "[task.quora]\nteacher = {:?}\nstudent = {:?}\nsplit = \"train\"\n\
         text = [\"question1\", \"question2\"]\nlabel = \"is_duplicate\"\n\
         labels = [\"not_equivalent\", \"equivalent\"]\nmetric = \"accuracy_and_f1\"\n\
         splits = {{ train = {:?} }}\n",
        models.join("teacher-6l"),
        models.join("student-3l-kd"),
        data.join("glue/quora-sample/pairs.tsv"),
    );
    std::fs::write(&config, text).unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_audit"))
        .args(["--task", "quora", "--format", "json", "--quiet", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let row = &report["tasks"][0];
    assert_eq!((row["n"].as_u64(), row["of"].as_u64()), (Some(9_917), Some(9_917)));
    assert!(row["sigma"].as_f64().unwrap() > 0.0);
    // MRPC's teacher was made for paraphrases: on questions it is better than chance, no more.
    assert!(row["teacher"]["accuracy"].as_f64().unwrap() > 0.5);
    assert_eq!(output.status.code(), report["exit_code"].as_i64().map(|c| c as i32));
}
