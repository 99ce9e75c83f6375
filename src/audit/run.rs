//! Runs both models on a split: to its end, until the budget is spent, or until the sequential test
//! decides.

use std::ops::ControlFlow;

use anyhow::Result;

use super::classifier::{Classifier, SplitTexts};
use super::exported::{fill, refuse_probabilities};
use super::gate::Gate;
use super::Session;
use crate::cache::CacheEntry;
use crate::check::{
    draw_order, seed_of_data, Budget, Certainty, Sequential, SequentialTest, Verdict,
};
use crate::confidence::{
    confidence_differences, largest_difference, DifferenceSums, Predictions, Statistic,
};
use crate::config::{Settings, Stop};
use crate::inference::{run, Logits, RunOptions, Windows};
use crate::progress::RunProgress;
use crate::report::schema::RowsFromCache;
use crate::task::Dataset;

/// Predictions of both models on the examples that were run.
pub struct PairRun {
    /// Predictions of the teacher (n).
    pub teacher: Predictions,
    /// Predictions of the student (n).
    pub student: Predictions,
    /// Texts truncated at the maximum length, for the teacher and the student.
    pub truncated: (usize, usize),
    /// The examples, in the order of the predictions (n).
    pub rows: Vec<u32>,
    /// How the run ended.
    pub ending: Ending,
    /// Of `rows`, those that the prediction cache held.
    pub from_cache: RowsFromCache,
}

/// How a run over a split ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ending {
    /// Verdict that ended the run early; `None` if every example was run.
    pub early: Option<Verdict>,
    /// Whether the verdict is exact or statistical.
    pub certainty: Certainty,
    /// Draws of a sequential run.
    pub draws: Option<Sequential>,
}

impl Ending {
    /// A run over every example.
    pub const WHOLE: Ending = Ending { early: None, certainty: Certainty::Exact, draws: None };
}

/// A classifier with its cache entry for a split.
pub(super) struct CachedClassifier<'a> {
    pub(super) classifier: &'a mut Classifier,
    pub(super) entry: CacheEntry,
    /// Whether the cache held each row when it was opened (N).
    held: Vec<bool>,
}

impl<'a> CachedClassifier<'a> {
    /// `classifier` with its `entry` as it was opened, for `n` examples.
    pub(super) fn new(classifier: &'a mut Classifier, entry: CacheEntry, n: usize) -> Self {
        let held = (0..n).map(|i| entry.row(i).is_some()).collect();
        CachedClassifier { classifier, entry, held }
    }

    /// The predictions of `rows` and the number of truncated texts, at the end of a run.
    fn predictions(&self, rows: &[u32]) -> Result<(Predictions, usize)> {
        let (logits, cut) = self.classifier.logits(&self.entry, rows);
        refuse_probabilities(self.classifier, &logits)?;
        Ok((Predictions::from_logits(&logits.values, logits.labels)?, cut))
    }

    /// Of `rows`, those that the cache held.
    fn held(&self, rows: &[u32]) -> usize {
        rows.iter().filter(|&&row| self.held[row as usize]).count()
    }
}

/// Runs both models on `dataset`; only a gating split may end early.
pub(super) fn run_pair(
    (teacher, student): (&mut CachedClassifier, &mut CachedClassifier),
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
    let mut monitor = BudgetMonitor::new(stop, gate, gates, n, teacher.classifier.facts().labels)?;
    let (t, s) = (&teacher.entry, &student.entry);
    let missing = n - t.known() + n - s.known();
    let phase = session.progress.phase(&format!("{}/{}", dataset.task, dataset.split), missing);
    teacher.classifier.load_for(&teacher.entry, &rows)?;
    student.classifier.load_for(&student.entry, &rows)?;
    let windows = if stop == Stop::AtEnd { Windows::WHOLE } else { Windows::EARLY };
    let options = run_options(settings, session, windows);
    fill(teacher.classifier, &mut teacher.entry, dataset, &rows, &options, &phase)?;
    fill(student.classifier, &mut student.entry, dataset, &rows, &options, &phase)?;
    {
        let (t, s) = (&*teacher.classifier, &*student.classifier);
        let what = [t, s].map(|c| format!("{} on {}/{}", c.role(), dataset.task, dataset.split));
        let mut lanes = [
            t.lane(&what[0], dataset, &mut teacher.entry),
            s.lane(&what[1], dataset, &mut student.entry),
        ];
        run(&mut lanes, &rows, &options, &phase, |rows, entries| {
            monitor.add_window((t, entries[0]), (s, entries[1]), rows, &phase)
        })?;
    }
    require_unchanged(&[teacher.classifier, student.classifier], dataset)?;
    let (ending, taken) = monitor.finish(seed);
    // A complete run is reported in data set order, in whatever order it was drawn.
    let rows = if taken == n { (0..n as u32).collect() } else { rows[..taken].to_vec() };
    let (t, truncated_t) = teacher.predictions(&rows)?;
    let (s, truncated_s) = student.predictions(&rows)?;
    let truncated = (truncated_t, truncated_s);
    let from_cache = RowsFromCache { teacher: teacher.held(&rows), student: student.held(&rows) };
    Ok(PairRun { teacher: t, student: s, truncated, rows, ending, from_cache })
}

/// One model's run over a split.
pub struct ModelRun {
    /// Its logits (N, K) in the task's label order.
    pub logits: Logits,
    /// Texts truncated at the maximum length.
    pub truncated: usize,
    /// Rows that the prediction cache held.
    pub from_cache: usize,
}

/// Runs one model on `dataset`.
///
/// # Errors
/// A model that cannot be loaded or run.
pub fn run_one(
    classifier: &mut Classifier,
    dataset: &Dataset,
    settings: &Settings,
    session: &Session,
) -> Result<ModelRun> {
    let rows: Vec<u32> = (0..dataset.examples.len() as u32).collect();
    run_rows(classifier, dataset, &rows, settings, session)
}

/// Runs one model on the examples `rows` (n) of `dataset`, with the logits in their order (n, K).
///
/// # Errors
/// As [`run_one`].
pub(super) fn run_rows(
    classifier: &mut Classifier,
    dataset: &Dataset,
    rows: &[u32],
    settings: &Settings,
    session: &Session,
) -> Result<ModelRun> {
    let mut entry = classifier.entry(&SplitTexts::of(dataset), session)?;
    classifier.load_for(&entry, rows)?;
    let what = format!("{} on {}/{}", classifier.role(), dataset.task, dataset.split);
    let from_cache = rows.iter().filter(|&&row| entry.row(row as usize).is_some()).count();
    let phase = session.progress.phase(&what, rows.len() - from_cache);
    let options = run_options(settings, session, Windows::WHOLE);
    fill(classifier, &mut entry, dataset, rows, &options, &phase)?;
    let mut lanes = [classifier.lane(&what, dataset, &mut entry)];
    run(&mut lanes, rows, &options, &phase, |_, _| Ok(ControlFlow::Continue(())))?;
    require_unchanged(&[classifier], dataset)?;
    let (logits, truncated) = classifier.logits(&entry, rows);
    refuse_probabilities(classifier, &logits)?;
    Ok(ModelRun { logits, truncated, from_cache })
}

/// Fails if a file of the models or of the data changed during the run.
fn require_unchanged(classifiers: &[&Classifier], dataset: &Dataset) -> Result<()> {
    classifiers.iter().try_for_each(|classifier| classifier.require_unchanged())?;
    dataset.require_unchanged()
}

/// Tracks the spent budget of a run and decides when it ends.
struct BudgetMonitor {
    stop: Stop,
    budget: Budget,
    gate: Gate,
    n: usize,
    sums: DifferenceSums,
    test: Option<SequentialTest>,
    ended: Option<(Verdict, Certainty)>,
}

impl BudgetMonitor {
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
        Ok(BudgetMonitor { stop, budget, gate: gate.clone(), n, sums, test, ended: None })
    }

    /// Adds the rows of a window; breaks once the verdict is decided.
    fn add_window(
        &mut self,
        teacher: (&Classifier, &CacheEntry),
        student: (&Classifier, &CacheEntry),
        rows: &[u32],
        progress: &RunProgress,
    ) -> Result<ControlFlow<()>> {
        // The published statistic is not a sum over all examples, so its share is not shown.
        let unused = !progress.is_live() || self.gate.statistic == Statistic::Published;
        if self.stop == Stop::AtEnd && unused {
            return Ok(ControlFlow::Continue(()));
        }
        let (teacher, _) = teacher.0.predictions(teacher.1, rows)?;
        let (student, _) = student.0.predictions(student.1, rows)?;
        let differences = confidence_differences(&teacher, &student, self.gate.kind)
            .expect("models that are run here have distributions");
        for d in differences {
            self.sums.add(d);
            if let Some(decision) = self.test.as_mut().and_then(|test| test.draw(d)) {
                self.ended = Some((decision.verdict, decision.certainty));
                return Ok(ControlFlow::Break(()));
            }
        }
        let spent = self.sums.spent(self.gate.statistic);
        progress.spent(self.budget.share(spent));
        if self.stop == Stop::FailFast && !self.budget.allows(spent) {
            self.ended = Some((Verdict::NotPreserved, Certainty::Exact));
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How the run ended and the number of examples that were run.
    fn finish(self, seed: u64) -> (Ending, usize) {
        let draws = self.test.as_ref().map(|test| test.summary(seed));
        let taken = if self.ended.is_some() { self.sums.n() } else { self.n };
        let early = self.ended.filter(|_| taken < self.n);
        let certainty = early.map_or(Certainty::Exact, |(_, certainty)| certainty);
        (Ending { early: early.map(|(verdict, _)| verdict), certainty, draws }, taken)
    }
}

/// Run options of the settings.
pub fn run_options(settings: &Settings, session: &Session, windows: Windows) -> RunOptions {
    RunOptions {
        threads: settings.threads,
        batch_threads: if settings.device == "cpu" { settings.threads } else { 1 },
        token_budget: settings.token_budget,
        windows,
        interrupt: session.interrupt.clone(),
    }
}
