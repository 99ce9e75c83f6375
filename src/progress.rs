//! What a person at a terminal sees while a run goes on: one line on stderr, and warnings.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::Gate;
use crate::check::Budget;
use crate::confidence::{ConfidenceKind, DifferenceSums, Predictions, Statistic};
use crate::hub::DownloadProgress;
use crate::inference::Observer;
use crate::model::TokenizedExample;
use crate::report::schema::{Note, NoteLevel};

/// Redraws a second; more only costs time.
const REDRAWS: u8 = 10;

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A live line and messages: stderr is a terminal.
    Live,
    /// Messages alone.
    Plain,
    /// Nothing (`--quiet`); errors are still said.
    Quiet,
}

impl Progress {
    /// Live where stderr is a terminal.
    pub fn for_stderr(quiet: bool) -> Self {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Progress::Quiet,
            (false, true) => Progress::Live,
            (false, false) => Progress::Plain,
        }
    }

    /// Says something in passing.
    pub fn message(self, text: &str) {
        if self != Progress::Quiet {
            eprintln!("{text}");
        }
    }

    /// Says what failed, whatever else is said.
    pub fn error(self, text: &str) {
        eprintln!("error: {text}");
    }

    /// Says a note or a warning as soon as it is known.
    pub fn note(self, note: &Note) {
        let level = match note.level {
            NoteLevel::Warning => "warning",
            NoteLevel::Note => "note",
        };
        self.message(&format!("{level}: {} [{}]", note.message, note.code));
        if let Some(hint) = &note.hint {
            self.message(&format!("  hint: {hint}"));
        }
    }

    /// The live line of one model over one split. With `spend`, the share of the gate's budget that
    /// the examples done so far have spent.
    pub fn phase<'a>(
        self,
        what: &str,
        tokens: &[TokenizedExample],
        spend: Option<(&'a Predictions, &'a Gate)>,
    ) -> Phase<'a> {
        let bar = (self == Progress::Live).then(|| {
            let total: usize = tokens.iter().map(TokenizedExample::len).sum();
            let bar = ProgressBar::new(total as u64);
            let line = "{prefix} {wide_bar} {msg}  {per_sec}  {eta} left";
            let style = ProgressStyle::with_template(line).expect("the template is well formed");
            bar.set_style(style.with_key(
                "per_sec",
                |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = write!(out, "{:.0} tokens/s", state.per_sec());
                },
            ));
            bar.set_prefix(what.to_owned());
            bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(REDRAWS));
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        let spend = spend.map(|(teacher, gate)| Spend {
            teacher,
            kind: gate.kind,
            statistic: gate.statistic,
            budget: gate.budget(),
        });
        let done = Mutex::new(Done { examples: 0, sums: DifferenceSums::default() });
        Phase { bar, total: tokens.len(), done, spend }
    }
}

/// One model over one split.
pub struct Phase<'a> {
    bar: Option<ProgressBar>,
    total: usize,
    done: Mutex<Done>,
    spend: Option<Spend<'a>>,
}

struct Done {
    examples: usize,
    sums: DifferenceSums,
}

struct Spend<'a> {
    teacher: &'a Predictions,
    kind: ConfidenceKind,
    statistic: Statistic,
    budget: Budget,
}

impl Spend<'_> {
    /// Adds the differences of the batch.
    fn add(&self, sums: &mut DifferenceSums, examples: &[usize], rows: &[f32]) {
        let labels = rows.len() / examples.len();
        // Scores that are not finite end the run; the line need not say so too.
        let Ok(student) = Predictions::from_logits(rows, labels) else { return };
        for (row, &example) in examples.iter().enumerate() {
            let confidence = match self.kind {
                ConfidenceKind::Max => student.confidence(row),
                ConfidenceKind::TeacherClass => {
                    let class = self.teacher.predicted(example) as usize;
                    student.probabilities(row).map_or(0.0, |p| p[class])
                }
            };
            sums.add(self.teacher.confidence(example) - confidence);
        }
    }
}

impl Observer for Phase<'_> {
    fn batch_done(&self, examples: &[usize], rows: &[f32], tokens: usize) {
        let Some(bar) = &self.bar else { return };
        let mut done = self.done.lock().expect("no worker panics with the lock");
        done.examples += examples.len();
        let mut message = format!("{}/{} examples", done.examples, self.total);
        if let Some(spend) = &self.spend {
            spend.add(&mut done.sums, examples, rows);
            if let Some(share) = spend.budget.share(done.sums.spent(spend.statistic)) {
                message += &format!("  budget {:.1} % spent", share * 100.0);
            }
        }
        bar.set_message(message);
        bar.inc(tokens as u64);
    }
}

impl Drop for Phase<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line per file that comes from the Hub.
pub struct Downloads(pub Progress);

impl DownloadProgress for Downloads {
    fn begin(&self, file: &str, bytes: u64) {
        self.0.message(&format!("downloading {file} ({:.1} MB)", bytes as f64 / 1e6));
    }

    fn advance(&self, _bytes: u64) {}

    fn end(&self) {}
}
