//! Which trial is given up while it is trained.
//!
//! At each end of an epoch of the last stage the student is run over a fixed, seeded sample of the
//! training set. Two rules look at it:
//!
//! - **too far.** Of the finished trials' σ, the one that fell most from the same share of its epochs
//!   on came down to a part r. A trial that is not feasible is given up once the sequential test
//!   on the sample refutes σ ≤ 2κ/r over the training set: it would have to fall twice as steeply.
//!   The test errs with probability δ at most, at each look.
//! - **halving.** At given shares of its epochs a trial that is not yet feasible goes on only if it
//!   is among the best of those that came so far (Li et al. 2018, *A System for Massively Parallel
//!   Hyperparameter Tuning*, arXiv:1810.05934).
//!
//! Both compare with trials that are over, so that a tune of one process takes the same decisions
//! every time.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::journal::{Journal, TrainingRuns};
use super::outcome::{Constraints, RunOutcome, Standing};
use super::plan::{TrialStopping, TuneObjective};
use super::speaker::TuneLog;
use crate::audit::Gate;
use crate::check::{Bound, BoundPolicy, Budget, Certainty, SequentialTest, Verdict};
use crate::confidence::{
    confidence_differences, largest_difference, DifferenceSums, Predictions, Statistic,
};
use crate::distill::saved::Epoch;
use crate::distill::trainer::EpochCallback;
use crate::inference::Logits;

/// Finished trials from which something can be concluded.
const ENOUGH: usize = 3;
/// How much more steeply than in any of them σ may fall: a higher learning rate falls later and
/// further.
const STEEPER: f64 = 2.0;

/// Looks at one trial.
pub struct Watcher<'a> {
    /// Where the trials that are over stand.
    pub journal: &'a Journal,
    /// When a trial is given up.
    pub stopping: &'a TrialStopping,
    /// The constraints and the objective; without them the trial is looked at and never given up.
    pub rule: Option<Constraints>,
    /// The bound that gates.
    pub gate: &'a Gate,
    /// N of the training set.
    pub n: usize,
    /// Who is told how it goes.
    pub speaker: TuneLog,
    /// Why the trial was given up.
    pub why: Mutex<Option<String>>,
}

impl EpochCallback for Watcher<'_> {
    fn sigma(&self, teacher: &Logits, student: &Logits) -> Result<f64> {
        let sums = DifferenceSums::of(&self.differences(teacher, student)?);
        sums.sigma_of(self.gate.statistic).context("σ of no example")
    }

    fn goes_on(
        &self,
        course: &[Epoch],
        epochs: usize,
        teacher: &Logits,
        student: &Logits,
    ) -> Result<bool> {
        let course = standings(course, epochs);
        let Some(now) = course.last() else { return Ok(true) };
        self.speaker.epoch(now);
        let Some(rule) = self.rule else { return Ok(true) };
        // The state that is kept in the end may be that of any epoch.
        if course.iter().any(|at| rule.violation(at.sigma, at.accuracy) == 0.0) {
            return Ok(true);
        }
        let runs = self.journal.hold()?.runs;
        let why = match self.halved(&rule, &runs, &course) {
            Some(why) => Some(why),
            None => self.too_far(&runs, now, teacher, student)?,
        };
        let goes_on = why.is_none();
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        Ok(goes_on)
    }
}

impl Watcher<'_> {
    /// Why the trial was given up, if it was.
    pub fn why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// d(x) on the sample, in the order of the draw.
    fn differences(&self, teacher: &Logits, student: &Logits) -> Result<Vec<f64>> {
        let teacher = Predictions::from_logits(&teacher.values, teacher.labels)?;
        let student = Predictions::from_logits(&student.values, student.labels)?;
        Ok(confidence_differences(&teacher, &student, self.gate.kind)
            .expect("models that are run here show their distributions"))
    }

    /// Whether the trial has just come to a rung and is not among the best there.
    fn halved(
        &self,
        rule: &Constraints,
        runs: &TrainingRuns,
        course: &[Standing],
    ) -> Option<String> {
        let now = course.last()?;
        let before = course.len().checked_sub(2).map_or(0.0, |i| course[i].share);
        let rung = self.stopping.rungs.iter().copied().rfind(|&r| before < r && now.share >= r)?;
        let others: Vec<Standing> = courses(runs).filter_map(|(c, _)| at_rung(c, rung)).collect();
        let better = others.iter().filter(|other| order(rule, other) < order(rule, now)).count();
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

    /// Whether σ would have to fall further than it ever did.
    fn too_far(
        &self,
        runs: &TrainingRuns,
        now: &Standing,
        teacher: &Logits,
        student: &Logits,
    ) -> Result<Option<String>> {
        let falls = courses(runs).filter_map(|(course, end)| fall(course, end?, now.share));
        let falls: Vec<f64> = falls.collect();
        let steepest = falls.iter().copied().fold(f64::INFINITY, f64::min);
        // A sum about the mean is no sum over examples, so that the test does not hold for it.
        if falls.len() < ENOUGH || self.gate.statistic != Statistic::Rms || steepest <= 0.0 {
            return Ok(None);
        }
        let kappa = STEEPER * self.gate.bound.kappa(self.n) / steepest;
        let largest = largest_difference(self.gate.kind, student.labels);
        if kappa >= largest {
            return Ok(None);
        }
        let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0)?;
        let budget = Budget::new(&bound, self.n);
        let mut test = SequentialTest::new(budget, self.n, largest, self.stopping.delta)?;
        let differences = self.differences(teacher, student)?;
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

/// The smaller the better: the violation, then the objective, as far as it can be known.
fn order(rule: &Constraints, at: &Standing) -> (f64, f64) {
    let figure = match rule.objective {
        TuneObjective::Sigma => at.sigma,
        _ => -at.accuracy,
    };
    (rule.violation(at.sigma, at.accuracy), figure)
}

/// The epochs of the last stage that were watched, of `epochs` that it may have.
pub fn standings(course: &[Epoch], epochs: usize) -> Vec<Standing> {
    let watched = course.iter().filter_map(|epoch| {
        Some(Standing {
            share: epoch.epoch as f64 / epochs as f64,
            sigma: epoch.sample_sigma?,
            accuracy: epoch.validation?.accuracy?,
        })
    });
    watched.collect()
}

/// The courses of the trials that are over, with the least σ of those that finished.
fn courses(runs: &TrainingRuns) -> impl Iterator<Item = (&[Standing], Option<f64>)> {
    runs.trials().filter_map(|run| match run.end.as_ref()? {
        RunOutcome::Finished(student) => {
            let recalibrated = student.recalibrated.map_or(f64::INFINITY, |r| r.spend.sigma);
            Some((student.course.as_slice(), Some(student.plain.sigma.min(recalibrated))))
        }
        RunOutcome::Stopped { course, .. } => Some((course.as_slice(), None)),
        RunOutcome::Failed { .. } => None,
    })
}

/// Where a trial stood when it came to `rung`.
fn at_rung(course: &[Standing], rung: f64) -> Option<Standing> {
    course.iter().copied().find(|standing| standing.share >= rung)
}

/// The part of its σ at `share` of its epochs, or just before, to which a trial came later: in the
/// state that was kept, whose σ is `end`, or in any other.
fn fall(course: &[Standing], end: f64, share: f64) -> Option<f64> {
    let at = course.iter().rposition(|standing| standing.share <= share + 1e-9)?;
    let least = course[at..].iter().map(|standing| standing.sigma).fold(end, f64::min);
    (course[at].sigma > 0.0).then(|| least / course[at].sigma)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::ConfidenceKind;
    use crate::terminal::Verbosity;
    use crate::tune::journal::RunId;
    use crate::tune::outcome::tests::finished;
    use crate::tune::outcome::Finished;
    use crate::tune::space::TrialSettings;

    fn standing(share: f64, sigma: f64) -> Standing {
        Standing { share, sigma, accuracy: 0.8 }
    }

    fn epoch(epoch: usize, sigma: f64) -> Epoch {
        let score = crate::distill::evaluate::Score { accuracy: Some(0.8), sigma: Some(sigma) };
        Epoch {
            stage: "prediction".to_owned(),
            epoch,
            losses: Default::default(),
            soft_loss: None,
            validation: Some(score),
            train: None,
            sample_sigma: Some(sigma),
        }
    }

    /// Logits of two labels whose confidences differ by `d` everywhere.
    fn logits(d: f64, n: usize) -> (Logits, Logits) {
        let of = |p: f64| Logits {
            values: (0..n).flat_map(|_| [(p / (1.0 - p)).ln() as f32, 0.0]).collect(),
            labels: 2,
        };
        (of(0.95), of(0.95 - d))
    }

    /// A journal whose trials fell from `course` to `end`.
    fn journal(folder: &std::path::Path, trials: &[(&[(f64, f64)], f64)]) -> Journal {
        let journal = Journal::open(folder, "f", serde_json::json!({})).unwrap();
        let mut held = journal.hold().unwrap();
        for (i, (course, end)) in trials.iter().enumerate() {
            let course = course.iter().map(|&(share, sigma)| standing(share, sigma)).collect();
            let student = Finished { course, ..finished(*end, 80, 1) };
            held.begin(RunId::trial(i + 1), &TrialSettings::new()).unwrap();
            held.end(RunId::trial(i + 1), RunOutcome::Finished(Box::new(student))).unwrap();
        }
        drop(held);
        journal
    }

    /// What a watcher with `halving` says of a trial after the epochs `sigmas`, of four.
    fn says(journal: &Journal, halving: f64, sigmas: &[f64]) -> Option<String> {
        let gate = Gate::fixed(0.05, Statistic::Rms, ConfidenceKind::Max, 1000);
        let stopping =
            TrialStopping { halving, rungs: vec![0.25, 0.5], ..TrialStopping::default() };
        let rule = Constraints {
            kappa: 0.05,
            reference: 0.8,
            epsilon: 0.0,
            objective: TuneObjective::Accuracy,
        };
        let (stopping, gate) = (&stopping, &gate);
        let (rule, speaker) = (Some(rule), TuneLog(Verbosity::Quiet));
        let why = Mutex::default();
        let watcher = Watcher { journal, stopping, rule, gate, n: 1000, speaker, why };
        let course: Vec<_> = sigmas.iter().enumerate().map(|(i, &s)| epoch(i + 1, s)).collect();
        let (teacher, student) = logits(*sigmas.last().unwrap(), 400);
        let goes_on = watcher.goes_on(&course, 4, &teacher, &student).unwrap();
        let why = watcher.why.into_inner().unwrap();
        assert_eq!(goes_on, why.is_none());
        why
    }

    /// Halves its σ from a quarter of its epochs to the end.
    const HALF: (&[(f64, f64)], f64) = (&[(0.25, 0.16), (0.5, 0.12), (1.0, 0.08)], 0.08);

    #[test]
    fn a_trial_that_would_have_to_fall_further_than_any_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let known = journal(folder.path(), &[HALF, HALF, HALF]);
        let why = says(&known, 1.0, &[0.3]).expect("0.3 falls to 0.075, twice as steeply as any");
        assert!(why.contains("25 %") && why.contains("σ is above 0.2000"), "{why}");
        assert_eq!(says(&known, 1.0, &[0.18]), None, "0.18 may fall to 0.045");
        assert_eq!(says(&known, 1.0, &[0.20001]), None, "too near to 0.2 for the sample to tell");
        // The state that is kept need not be the one with the least σ.
        let further = journal(folder.path().join("further").as_path(), &[(HALF.0, 0.12); 3]);
        assert!(says(&further, 1.0, &[0.3]).unwrap().contains("σ is above 0.2000"));
    }

    #[test]
    fn two_trials_are_not_enough_to_conclude_from() {
        let folder = tempfile::tempdir().unwrap();
        let known = journal(folder.path(), &[HALF, HALF]);
        assert_eq!(says(&known, 2.0, &[0.3]), None);
    }

    #[test]
    fn at_a_rung_the_better_half_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let steep = |at: f64| [(0.25, at), (1.0, 0.01)];
        let (a, b, c) = (steep(0.08), steep(0.09), steep(0.2));
        let known = journal(folder.path(), &[(&a, 0.01), (&b, 0.01), (&c, 0.01)]);
        assert_eq!(says(&known, 2.0, &[0.085]), None);
        let why = says(&known, 2.0, &[0.1]).expect("two of three were better");
        assert!(why.contains("2 of 3 trials were better"), "{why}");
        assert_eq!(says(&known, 1.0, &[0.1]), None, "no halving");
        assert_eq!(says(&known, 2.0, &[0.1, 0.1, 0.1]), None, "between rungs");
    }

    #[test]
    fn what_is_feasible_already_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let steep = [(0.25, 0.001), (1.0, 0.001)];
        let known = journal(folder.path(), &[(steep.as_slice(), 0.001); 4]);
        assert_eq!(says(&known, 4.0, &[0.05]), None);
    }
}
