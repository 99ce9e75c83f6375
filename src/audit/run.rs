//! Both models over one split: over all of it, until the budget is spent, or until a test is sure.

use std::ops::ControlFlow;

use anyhow::Result;

use super::classifier::{Classifier, Texts};
use super::gate::Gate;
use super::Session;
use crate::cache::CacheEntry;
use crate::check::{
    draw_order, seed_of_data, Budget, Certainty, Sequential, SequentialTest, Verdict,
};
use crate::confidence::{confidence_differences, largest_difference, DifferenceSums, Predictions};
use crate::config::{Settings, Stop};
use crate::inference::{run, Logits, RunOptions, Windows};
use crate::progress::Phase;
use crate::task::Dataset;

/// What both models say of the examples that were taken.
pub struct PairRun {
    /// What the teacher says (n).
    pub teacher: Predictions,
    /// What the student says (n).
    pub student: Predictions,
    /// Texts cut at the maximum length, by the teacher and by the student.
    pub truncated: (usize, usize),
    /// The examples, in the order of the predictions (n).
    pub rows: Vec<u32>,
    /// How the run ended.
    pub ending: Ending,
}

/// How a run over a split ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ending {
    /// The verdict that ended it before the last example; `None` where every example was taken.
    pub early: Option<Verdict>,
    /// Whether the verdict could be wrong.
    pub certainty: Certainty,
    /// The draws, where examples were drawn at random.
    pub draws: Option<Sequential>,
}

impl Ending {
    /// Every example was taken.
    pub const WHOLE: Ending = Ending { early: None, certainty: Certainty::Exact, draws: None };
}

/// A classifier with its rows over a split.
pub(super) struct Side<'a> {
    pub(super) classifier: &'a mut Classifier,
    pub(super) entry: CacheEntry,
}

/// Runs both models over `dataset` as the settings ask for; only a gating split ends early.
pub(super) fn run_pair(
    (teacher, student): (&mut Side, &mut Side),
    dataset: &Dataset,
    gate: &Gate,
    gates: bool,
    settings: &Settings,
    session: &Session,
) -> Result<PairRun> {
    let n = dataset.examples.len();
    let stop = if gates { settings.stop } else { Stop::AtEnd };
    let seed = if settings.seed == 0 { seed_of_data(&dataset.sha256) } else { settings.seed };
    let rows = match stop {
        Stop::Sequential { .. } => draw_order(n, seed),
        _ => (0..n as u32).collect(),
    };
    let mut watch = Watch::new(stop, gate, gates, n, teacher.classifier.facts().labels)?;
    let (t, s) = (&teacher.entry, &student.entry);
    let missing = n - t.known() + n - s.known();
    let phase = session.progress.phase(&format!("{}/{}", dataset.task, dataset.split), missing);
    teacher.classifier.load_for(&teacher.entry, &rows)?;
    student.classifier.load_for(&student.entry, &rows)?;
    {
        let (t, s) = (&*teacher.classifier, &*student.classifier);
        let what = [t, s].map(|c| format!("{} on {}/{}", c.role(), dataset.task, dataset.split));
        let mut lanes = [
            t.lane(&what[0], dataset, &mut teacher.entry),
            s.lane(&what[1], dataset, &mut student.entry),
        ];
        let windows = if stop == Stop::AtEnd { Windows::WHOLE } else { Windows::EARLY };
        let options = run_options(settings, session, windows);
        run(&mut lanes, &rows, &options, &phase, |rows, entries| {
            watch.window((t, entries[0]), (s, entries[1]), rows, &phase)
        })?;
    }
    let (ending, taken) = watch.end(seed);
    // A run over all of it is told in data set order, however it was drawn.
    let rows = if taken == n { (0..n as u32).collect() } else { rows[..taken].to_vec() };
    let (t, truncated_t) = teacher.classifier.predictions(&teacher.entry, &rows)?;
    let (s, truncated_s) = student.classifier.predictions(&student.entry, &rows)?;
    let truncated = (truncated_t, truncated_s);
    Ok(PairRun { teacher: t, student: s, truncated, rows, ending })
}

/// Runs one model over `dataset`: its scores in the task's label order, and how many texts were cut.
///
/// # Errors
/// Whatever keeps the model from being run.
pub fn run_one(
    classifier: &mut Classifier,
    dataset: &Dataset,
    settings: &Settings,
    session: &Session,
) -> Result<(Logits, usize)> {
    let rows: Vec<u32> = (0..dataset.examples.len() as u32).collect();
    let mut entry = classifier.entry(&Texts::of(dataset), session)?;
    classifier.load_for(&entry, &rows)?;
    let what = format!("{} on {}/{}", classifier.role(), dataset.task, dataset.split);
    let phase = session.progress.phase(&what, rows.len() - entry.known());
    let options = run_options(settings, session, Windows::WHOLE);
    let mut lanes = [classifier.lane(&what, dataset, &mut entry)];
    run(&mut lanes, &rows, &options, &phase, |_, _| Ok(ControlFlow::Continue(())))?;
    Ok(classifier.logits(&entry, &rows))
}

/// Follows the spend of a run and says when to end it.
struct Watch {
    stop: Stop,
    budget: Budget,
    gate: Gate,
    n: usize,
    sums: DifferenceSums,
    test: Option<SequentialTest>,
    ended: Option<(Verdict, Certainty)>,
}

impl Watch {
    fn new(stop: Stop, gate: &Gate, gates: bool, n: usize, labels: usize) -> Result<Self> {
        let budget = Budget::new(&gate.bound_of(gates), n);
        let test = match stop {
            Stop::Sequential { delta } => {
                let largest = largest_difference(gate.kind, labels);
                Some(SequentialTest::new(budget, n, largest, delta)?)
            }
            _ => None,
        };
        let sums = DifferenceSums::default();
        Ok(Watch { stop, budget, gate: gate.clone(), n, sums, test, ended: None })
    }

    /// Takes in a window; whether to go on.
    fn window(
        &mut self,
        teacher: (&Classifier, &CacheEntry),
        student: (&Classifier, &CacheEntry),
        rows: &[u32],
        phase: &Phase,
    ) -> Result<ControlFlow<()>> {
        if self.stop == Stop::AtEnd && !phase.is_live() {
            return Ok(ControlFlow::Continue(()));
        }
        let (teacher, _) = teacher.0.predictions(teacher.1, rows)?;
        let (student, _) = student.0.predictions(student.1, rows)?;
        let differences = confidence_differences(&teacher, &student, self.gate.kind)
            .expect("models that are run here show their distributions");
        for d in differences {
            self.sums.add(d);
            if let Some(decision) = self.test.as_mut().and_then(|test| test.draw(d)) {
                self.ended = Some((decision.verdict, decision.certainty));
                return Ok(ControlFlow::Break(()));
            }
        }
        let spent = self.sums.spent(self.gate.statistic);
        phase.spent(self.budget.share(spent));
        if self.stop == Stop::FailFast && !self.budget.allows(spent) {
            self.ended = Some((Verdict::NotPreserved, Certainty::Exact));
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How the run ended, and how many examples were taken.
    fn end(self, seed: u64) -> (Ending, usize) {
        let draws = self.test.as_ref().map(|test| test.summary(seed));
        let taken = if self.ended.is_some() { self.sums.n() } else { self.n };
        let early = self.ended.filter(|_| taken < self.n);
        let certainty = early.map_or(Certainty::Exact, |(_, certainty)| certainty);
        (Ending { early: early.map(|(verdict, _)| verdict), certainty, draws }, taken)
    }
}

/// How the settings ask for models to be run.
pub fn run_options(settings: &Settings, session: &Session, windows: Windows) -> RunOptions {
    RunOptions {
        threads: settings.threads,
        batch_threads: if settings.device == "cpu" { settings.threads } else { 1 },
        token_budget: settings.token_budget,
        windows,
        interrupt: session.interrupt.clone(),
    }
}
