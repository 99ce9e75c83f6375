//! Audits of real checkpoints on GLUE, compared with PyTorch's figures.
//!
//! `AUDIT_TEST_DATA` names a folder with `glue/` (the layout of the official release) and `models/`
//! (checkpoints and PyTorch's reference.json). Without it the tests say that they were skipped.
//! All of SST-2 takes minutes: run them with `--release`.

use std::io::Write;
use std::path::{Path, PathBuf};

use confidence_audit::audit::{audit, Session, TaskOutcome};
use confidence_audit::cache::PredictionCache;
use confidence_audit::check::{draw_order, Bound, BoundPolicy, Budget, SequentialTest, Verdict};
use confidence_audit::config::{Config, Layer};
use confidence_audit::hub::{Connection, Hub, HubSettings};
use confidence_audit::interrupt::Interrupt;
use confidence_audit::report::schema::{Certainty, ModelStatistics, Outcome, TaskRow};
use confidence_audit::terminal::Verbosity;
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
            .find(|v| v.confidence.as_str() == "teacher-class" && v.statistic.as_str() == statistic)
            .unwrap();
        close(variant.sigma, &pair[key], &format!("{what}: {key}"));
    }
    about(row.figures.agreement, &pair["agreement"], &what);
    let correct = |model: &Option<ModelStatistics>| model.as_ref().unwrap().correct;
    about(correct(&row.figures.teacher), &expected["models"]["teacher-6l"]["correct"], &what);
    about(correct(&row.figures.student), &expected["models"][student]["correct"], &what);
}

/// Both students of a task, and a cache that keeps what the models said.
struct Pairs {
    data: PathBuf,
    task: &'static str,
    session: Session,
    _cache: tempfile::TempDir,
}

impl Pairs {
    fn new(data: PathBuf, task: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::Offline;
        let hub = Hub::new(HubSettings { connection, ..HubSettings::new(folder.path()) });
        let session = Session {
            cache: Some(PredictionCache::at(folder.path())),
            ..Session::new(hub, Interrupt::default(), Verbosity::Quiet)
        };
        Pairs { data, task, session, _cache: folder }
    }

    fn audit(&self, student: &str, flags: Layer) -> TaskOutcome {
        let model = |name: &str| {
            self.data.join("models").join(self.task).join(name).to_str().unwrap().to_owned()
        };
        let flags = Layer {
            data: Some(self.data.join("glue").display().to_string()),
            teacher: Some(model("teacher-6l")),
            student: Some(model(student)),
            kappa: Some(0.05),
            ..flags
        };
        let settings = Config::default().settings(self.task, &flags).unwrap();
        audit(&settings, &self.session).unwrap()
    }

    /// A whole audit, held against PyTorch: the gating row and its differences.
    fn whole(&self, student: &str) -> (TaskRow, Vec<f64>) {
        let reference = reference(&self.data);
        let mut outcome = self.audit(student, Layer::default());
        outcome.rows.iter().for_each(|row| agrees(row, student, &reference));
        let differences = outcome.tables[0].rows.iter().map(|row| row.difference).collect();
        (outcome.rows.remove(0), differences)
    }

    /// The audit that stops when the budget is spent: at `example`, with the whole run's verdict.
    fn fails_fast(&self, student: &str, example: usize) {
        let flags = Layer { fail_fast: Some(true), ..Layer::default() };
        let row = &self.audit(student, flags).rows[0];
        assert_eq!((row.verdict, row.exhausted_at), (Outcome::NotPreserved, Some(example)));
        assert!(row.examples_run >= example && row.examples_run < example + 2_048);
        assert_eq!((row.sigma, row.certainty), (None, Some(Certainty::Exact)));
        assert!(row.sigma_at_least.unwrap() > 0.05 && row.sigma_prefix.unwrap() > 0.05);
    }

    /// The audit that draws at random comes to `verdict`.
    fn is_judged_by_draws(&self, student: &str, verdict: Outcome) {
        let flags = Layer { sequential: Some(true), ..Layer::default() };
        let row = &self.audit(student, flags).rows[0];
        let sequential = row.sequential.unwrap();
        assert_eq!((row.verdict, row.certainty), (verdict, Some(Certainty::Statistical)));
        assert_eq!((sequential.delta, sequential.draws), (0.001, row.examples_run));
        assert!(sequential.draws < row.n && row.sigma.is_none());
    }
}

/// Median number of draws to a verdict at δ = 0.001 over 200 seeds; every verdict is `verdict`.
fn median_draws(differences: &[f64], verdict: Verdict) -> usize {
    let n = differences.len();
    let bound = Bound::new(BoundPolicy::Kappa(0.05), 0.0, 1.0).unwrap();
    let mut draws: Vec<usize> = (0..200)
        .map(|seed| {
            let mut test = SequentialTest::new(Budget::new(&bound, n), n, 0.5, 0.001).unwrap();
            let order = draw_order(n, seed);
            let decision = order.iter().find_map(|&i| test.draw(differences[i as usize])).unwrap();
            assert_eq!(decision.verdict, verdict, "seed {seed}");
            test.draws()
        })
        .collect();
    draws.sort_unstable();
    (draws[99] + draws[100]) / 2
}

/// The figures: examples after which the budget is spent in data set order, and the limits of the
/// median draws, are those that a plain prototype in Python needed, with a tenth to spare.
#[test]
fn sst2_tells_the_distilled_student_from_the_one_trained_on_labels() {
    let Some(data) = real_data() else { return };
    let pairs = Pairs::new(data, "sst2");
    let (kd, by_kd) = pairs.whole("student-3l-kd");
    let (hard, by_hard) = pairs.whole("student-3l-hard");
    assert_eq!((kd.verdict, hard.verdict), (Outcome::Preserved, Outcome::NotPreserved));
    pairs.fails_fast("student-3l-hard", 26_027);
    pairs.is_judged_by_draws("student-3l-kd", Outcome::Preserved);
    pairs.is_judged_by_draws("student-3l-hard", Outcome::NotPreserved);
    assert!(median_draws(&by_kd, Verdict::Preserved) <= 8_800);
    assert!(median_draws(&by_hard, Verdict::NotPreserved) <= 600);
}

#[test]
fn mrpc_s_students_do_not_preserve() {
    let Some(data) = real_data() else { return };
    let pairs = Pairs::new(data, "mrpc");
    let (kd, by_kd) = pairs.whole("student-3l-kd");
    let (hard, by_hard) = pairs.whole("student-3l-hard");
    assert_eq!((kd.verdict, hard.verdict), (Outcome::NotPreserved, Outcome::NotPreserved));
    pairs.fails_fast("student-3l-hard", 129);
    assert!(median_draws(&by_kd, Verdict::NotPreserved) <= 57);
    assert!(median_draws(&by_hard, Verdict::NotPreserved) <= 11);
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
        .args(["--task", "quora", "--format", "json", "--quiet", "--no-cache", "--config"])
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
