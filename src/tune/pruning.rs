//! Early stopping of trials.
//!
//! After each epoch whose state may be kept the student is run on a fixed, seeded sample of the training
//! set. Two rules may stop a trial that is not feasible yet:
//!
//! - **too far.** Let r be the smallest ratio of a finished trial's least σ to its σ at this share of
//!   the epochs. The trial stops if the sequential test on the sample refutes σ ≤ 2κ/r over the
//!   training set: σ would have to fall twice as steeply. The test errs with probability at most δ in
//!   each epoch.
//! - **halving.** At given shares of its epochs a trial continues only if it is among the best that
//!   reached this share (Li et al. 2018, *A System for Massively Parallel Hyperparameter Tuning*,
//!   arXiv:1810.05934).
//!
//! Both compare with finished trials only, so that a tune of one process is reproducible.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::constraints::Constraints;
use super::journal::{Journal, TrainingRuns};
use super::log::TuneLog;
use super::outcome::{RunOutcome, TrialEpoch};
use super::plan::{TrialStopping, TuneObjective};
use crate::audit::Gate;
use crate::check::{Bound, BoundPolicy, Budget, Certainty, SequentialTest, Verdict};
use crate::confidence::{
    confidence_differences, largest_difference, DifferenceSums, PairError, Predictions,
    PublishedDifferences, Statistic,
};
use crate::distill::saved::Epoch;
use crate::distill::trainer::{EpochCallback, SampleLogits};

/// Finished trials that both rules need.
const ENOUGH: usize = 3;
/// Factor by which σ may fall more steeply than in any of them: with a higher learning rate it falls
/// later and further.
const STEEPER: f64 = 2.0;

/// The early stopping of one trial.
pub struct TrialPruner<'a> {
    pub journal: &'a Journal,
    pub stopping: &'a TrialStopping,
    /// Without constraints the trial never stops.
    pub constraints: Option<Constraints>,
    pub gate: &'a Gate,
    /// N of the training set.
    pub n: usize,
    pub log: TuneLog,
    /// The reason, once the trial is stopped.
    pub why: Mutex<Option<String>>,
}

impl EpochCallback for TrialPruner<'_> {
    fn sigma(&self, sample: &SampleLogits) -> Result<f64> {
        let sums = DifferenceSums::of(&self.gating_differences(sample)?);
        sums.sigma_of(self.gate.statistic).context("σ of no example")
    }

    fn continues(&self, course: &[Epoch], epochs: usize, sample: &SampleLogits) -> Result<bool> {
        let course = trial_epochs(course, epochs);
        let Some(now) = course.last() else { return Ok(true) };
        self.log.epoch(now);
        let Some(constraints) = &self.constraints else { return Ok(true) };
        // Any epoch may be the one that is kept.
        if course.iter().any(|at| constraints.violation(at.sigma, at.accuracy) == 0.0) {
            return Ok(true);
        }
        let runs = self.journal.lock()?.runs;
        let why = match self.halved(constraints, &runs, &course) {
            Some(why) => Some(why),
            None => self.too_far(&runs, now, sample)?,
        };
        let continues = why.is_none();
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(continues)
    }
}

impl TrialPruner<'_> {
    pub fn reason(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// d(x) that the statistic of the gate is over.
    fn gating_differences(&self, sample: &SampleLogits) -> Result<Vec<f64>> {
        if self.gate.statistic != Statistic::Published {
            return self.differences(sample);
        }
        let [teacher, student] = predictions(sample)?;
        let published = PublishedDifferences::new(&teacher, &student, sample.labels);
        let published = published.map_err(|reason| PairError::PublishedUndefined { reason })?;
        Ok(published.differences)
    }

    /// d(x) on the sample, in the order of the draw.
    fn differences(&self, sample: &SampleLogits) -> Result<Vec<f64>> {
        let [teacher, student] = predictions(sample)?;
        Ok(confidence_differences(&teacher, &student, self.gate.kind)
            .expect("models that are run here show their distributions"))
    }

    /// The reason to stop at a rung that the trial has just reached.
    fn halved(
        &self,
        constraints: &Constraints,
        runs: &TrainingRuns,
        course: &[TrialEpoch],
    ) -> Option<String> {
        let now = course.last()?;
        let before = course.len().checked_sub(2).map_or(0.0, |i| course[i].share);
        let rung = self.stopping.rungs.iter().copied().rfind(|&r| before < r && now.share >= r)?;
        let others: Vec<TrialEpoch> = courses(runs).filter_map(|(c, _)| at_rung(c, rung)).collect();
        let better = others
            .iter()
            .filter(|other| order(constraints, other) < order(constraints, now))
            .count();
        let places = ((others.len() + 1) as f64 / self.stopping.halving).ceil() as usize;
        (others.len() >= ENOUGH && better >= places).then(|| {
            format!(
                "at {:.0} % of its epochs σ was {:.4} and accuracy {:.4}: {better} of {} trials were \
                 better there",
                100.0 * now.share,
                now.sigma,
                now.accuracy,
                others.len()
            )
        })
    }

    /// The reason to stop because σ is too large by now.
    fn too_far(
        &self,
        runs: &TrainingRuns,
        now: &TrialEpoch,
        sample: &SampleLogits,
    ) -> Result<Option<String>> {
        let falls = courses(runs).filter_map(|(course, end)| fall(course, end?, now.share));
        let falls: Vec<f64> = falls.collect();
        let steepest = falls.iter().copied().fold(f64::INFINITY, f64::min);
        // The test needs a sum over all examples, which a sum about the mean, or of those that both
        // models get right, is not.
        if falls.len() < ENOUGH || self.gate.statistic != Statistic::Rms || steepest <= 0.0 {
            return Ok(None);
        }
        let kappa = STEEPER * self.gate.bound.kappa(self.n) / steepest;
        let largest = largest_difference(self.gate.kind, sample.student.labels);
        if kappa >= largest {
            return Ok(None);
        }
        let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0)?;
        let budget = Budget::new(&bound, self.n);
        let mut test = SequentialTest::new(budget, self.n, largest, self.stopping.delta)?;
        let differences = self.differences(sample)?;
        let decision = differences.iter().find_map(|&difference| test.draw(difference));
        Ok(decision.filter(|d| d.verdict == Verdict::NotPreserved).map(|decision| {
            let sure = match decision.certainty {
                Certainty::Exact => "certainly".to_owned(),
                Certainty::Statistical => format!("but for a chance of {}", self.stopping.delta),
            };
            format!(
                "at {:.0} % of its epochs σ is above {kappa:.4}, {sure}: to come to κ from there it \
                 would have to fall twice as steeply as any trial's",
                100.0 * now.share
            )
        }))
    }
}

/// Of the teacher and of the student.
fn predictions(sample: &SampleLogits) -> Result<[Predictions; 2]> {
    let SampleLogits { teacher, student, .. } = sample;
    Ok([
        Predictions::from_logits(&teacher.values, teacher.labels)?,
        Predictions::from_logits(&student.values, student.labels)?,
    ])
}

/// The violation, then the objective as far as it is known; smaller is better.
fn order(constraints: &Constraints, at: &TrialEpoch) -> (f64, f64) {
    let figure = match constraints.objective {
        TuneObjective::Sigma => at.sigma,
        _ => -at.accuracy,
    };
    (constraints.violation(at.sigma, at.accuracy), figure)
}

/// The epochs whose states may be kept, of at most `epochs`.
pub fn trial_epochs(course: &[Epoch], epochs: usize) -> Vec<TrialEpoch> {
    let measured = course.iter().filter_map(|epoch| epoch.sample_sigma.zip(epoch.validation));
    let measured = measured.enumerate().filter_map(|(i, (sigma, validation))| {
        let accuracy = validation.accuracy?;
        Some(TrialEpoch { share: (i + 1) as f64 / epochs as f64, sigma, accuracy })
    });
    measured.collect()
}

/// The epochs of all trials that are over, with the least final σ of the finished ones.
fn courses(runs: &TrainingRuns) -> impl Iterator<Item = (&[TrialEpoch], Option<f64>)> {
    runs.trials().filter_map(|run| match run.end.as_ref()? {
        RunOutcome::Finished(student) => {
            let recalibrated = student.recalibrated.map_or(f64::INFINITY, |r| r.spend.sigma);
            Some((student.course.as_slice(), Some(student.plain.sigma.min(recalibrated))))
        }
        RunOutcome::Stopped { course, .. } => Some((course.as_slice(), None)),
        RunOutcome::Failed { .. } => None,
    })
}

/// The first epoch of a trial at or after `rung`.
fn at_rung(course: &[TrialEpoch], rung: f64) -> Option<TrialEpoch> {
    course.iter().copied().find(|epoch| epoch.share >= rung)
}

/// The ratio of a trial's later least σ, `end` of the kept state included, to its σ at `share`.
fn fall(course: &[TrialEpoch], end: f64, share: f64) -> Option<f64> {
    let at = course.iter().rposition(|epoch| epoch.share <= share + 1e-9)?;
    let least = course[at..].iter().map(|epoch| epoch.sigma).fold(end, f64::min);
    (course[at].sigma > 0.0).then(|| least / course[at].sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::ConfidenceKind;
    use crate::distill::evaluate::Score;
    use crate::inference::Logits;
    use crate::terminal::Verbosity;
    use crate::tune::constraints::tests::{constraints, finished};
    use crate::tune::journal::tests::open;
    use crate::tune::journal::RunId;
    use crate::tune::outcome::Finished;
    use crate::tune::space::TrialSettings;

    fn at(share: f64, sigma: f64) -> TrialEpoch {
        TrialEpoch { share, sigma, accuracy: 0.8 }
    }

    fn epoch(epoch: usize, sigma: f64) -> Epoch {
        let validation = Some(Score { accuracy: Some(0.8), sigma: Some(sigma) });
        Epoch { epoch, validation, sample_sigma: Some(sigma), ..Epoch::default() }
    }

    /// Logits of two labels whose confidences differ by `d` everywhere.
    fn logits(d: f64, n: usize) -> [Logits; 2] {
        let of = |p: f64| Logits {
            values: (0..n).flat_map(|_| [(p / (1.0 - p)).ln() as f32, 0.0]).collect(),
            labels: 2,
        };
        [of(0.95), of(0.95 - d)]
    }

    /// A journal whose trials fell from `course` to `end`.
    fn journal(folder: &std::path::Path, trials: &[(&[(f64, f64)], f64)]) -> Journal {
        let journal = open(folder, "f").unwrap();
        let mut locked = journal.lock().unwrap();
        for (i, (course, end)) in trials.iter().enumerate() {
            let course = course.iter().map(|&(share, sigma)| at(share, sigma)).collect();
            let student = Finished { course, ..finished(*end, 80, 1) };
            locked.begin(RunId::trial(i + 1), &TrialSettings::new()).unwrap();
            locked.end(RunId::trial(i + 1), RunOutcome::Finished(Box::new(student))).unwrap();
        }
        drop(locked);
        journal
    }

    /// The reason to stop a trial with `halving` after the epochs `sigmas`, of four.
    fn reason(journal: &Journal, halving: f64, sigmas: &[f64]) -> Option<String> {
        let gate = Gate::fixed(0.05, Statistic::Rms, ConfidenceKind::Max, 1000);
        let stopping =
            TrialStopping { halving, rungs: vec![0.25, 0.5], ..TrialStopping::default() };
        let constraints = Constraints { epsilon: 0.0, ..constraints(TuneObjective::Accuracy) };
        let (stopping, gate) = (&stopping, &gate);
        let (constraints, log) = (Some(constraints), TuneLog(Verbosity::Quiet));
        let why = Mutex::default();
        let pruner = TrialPruner { journal, stopping, constraints, gate, n: 1000, log, why };
        let course: Vec<_> = sigmas.iter().enumerate().map(|(i, &s)| epoch(i + 1, s)).collect();
        let [teacher, student] = logits(*sigmas.last().unwrap(), 400);
        let sample = SampleLogits { teacher: &teacher, student, labels: &[Some(0); 400] };
        let continues = pruner.continues(&course, 4, &sample).unwrap();
        let why = pruner.why.into_inner().unwrap();
        assert_eq!(continues, why.is_none());
        why
    }

    /// Halves its σ from a quarter of its epochs to the end.
    const HALF: (&[(f64, f64)], f64) = (&[(0.25, 0.16), (0.5, 0.12), (1.0, 0.08)], 0.08);

    #[test]
    fn a_trial_that_would_have_to_fall_further_than_any_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let known = journal(folder.path(), &[HALF, HALF, HALF]);
        let why = reason(&known, 1.0, &[0.3]).expect("0.3 falls to 0.075, twice as steeply as any");
        assert!(why.contains("25 %") && why.contains("σ is above 0.2000"), "{why}");
        assert_eq!(reason(&known, 1.0, &[0.18]), None, "0.18 may fall to 0.045");
        assert_eq!(reason(&known, 1.0, &[0.20001]), None, "too near to 0.2 for the sample to tell");
        // The state that is kept need not be the one with the least σ.
        let further = journal(folder.path().join("further").as_path(), &[(HALF.0, 0.12); 3]);
        assert!(reason(&further, 1.0, &[0.3]).unwrap().contains("σ is above 0.2000"));
    }

    #[test]
    fn two_trials_are_not_enough_to_conclude_from() {
        let folder = tempfile::tempdir().unwrap();
        let known = journal(folder.path(), &[HALF, HALF]);
        assert_eq!(reason(&known, 2.0, &[0.3]), None);
    }

    #[test]
    fn at_a_rung_the_better_half_continues() {
        let folder = tempfile::tempdir().unwrap();
        let steep = |at: f64| [(0.25, at), (1.0, 0.01)];
        let (a, b, c) = (steep(0.08), steep(0.09), steep(0.2));
        let known = journal(folder.path(), &[(&a, 0.01), (&b, 0.01), (&c, 0.01)]);
        assert_eq!(reason(&known, 2.0, &[0.085]), None);
        let why = reason(&known, 2.0, &[0.1]).expect("two of three were better");
        assert!(why.contains("2 of 3 trials were better"), "{why}");
        assert_eq!(reason(&known, 1.0, &[0.1]), None, "no halving");
        assert_eq!(reason(&known, 2.0, &[0.1, 0.1, 0.1]), None, "between rungs");
    }

    #[test]
    fn a_feasible_trial_continues() {
        let folder = tempfile::tempdir().unwrap();
        let steep = [(0.25, 0.001), (1.0, 0.001)];
        let known = journal(folder.path(), &[(steep.as_slice(), 0.001); 4]);
        assert_eq!(reason(&known, 4.0, &[0.05]), None);
    }
}
