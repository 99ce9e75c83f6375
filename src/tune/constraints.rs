//! The constraints and the objective of a tune, which order its students.

use std::cmp::Ordering;

use super::answers::{AccuracyReference, Answers};
use super::outcome::{Finished, StudentForm, TrainingSpend};
use super::plan::{Plan, TuneObjective};
use super::scale::ViolationScale;
use crate::check::{AccuracyTest, NonInferiority};

/// Level of the test of the accuracy where the tune sets none.
const LEVEL: f64 = 0.05;

/// A possible winner: a student without or with its temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrialCandidate<'a> {
    pub trial: usize,
    pub student: &'a Finished,
    /// τ; `None` without one.
    pub temperature: Option<f64>,
    pub spend: TrainingSpend,
    /// Accuracy that is missing to what is required; 0 if it is enough.
    pub shortfall: f64,
}

impl TrialCandidate<'_> {
    pub fn form(&self) -> StudentForm {
        StudentForm { temperature: self.temperature, spend: self.spend }
    }
}

/// The constraints and the objective.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraints {
    /// κ.
    pub kappa: f64,
    /// The accuracy to compare with.
    pub reference: AccuracyReference,
    /// The accuracy that may be lost.
    pub epsilon: f64,
    /// Level of the test that must show that no more is lost; without one the accuracy is compared as
    /// it is.
    pub non_inferiority: Option<f64>,
    /// Orders feasible students.
    pub objective: TuneObjective,
    /// Units of a violation.
    pub scale: ViolationScale,
}

impl Constraints {
    /// The constraints of `plan`, with the violations of `finished` students as units.
    pub fn new<'a>(
        plan: &Plan,
        kappa: f64,
        reference: AccuracyReference,
        finished: impl Iterator<Item = &'a Finished>,
    ) -> Self {
        let figures: Vec<(f64, f64, usize)> = finished
            .map(|student| (student.plain.sigma, student.seen.accuracy(), student.seen.labelled()))
            .collect();
        Constraints {
            kappa,
            scale: ViolationScale::of(&figures, kappa, reference.accuracy),
            reference,
            epsilon: plan.epsilon,
            non_inferiority: plan.non_inferiority,
            objective: plan.objective,
        }
    }

    pub fn least_accuracy(&self) -> f64 {
        self.reference.accuracy - self.epsilon
    }

    /// Level of the test of an accuracy: that which is required, or 0.05 where it is only shown.
    pub fn level(&self) -> f64 {
        self.non_inferiority.unwrap_or(LEVEL)
    }

    /// Compares `answers` with the reference, example by example.
    pub fn test(&self, answers: &Answers) -> Option<AccuracyTest> {
        self.reference.test(answers, self.epsilon, self.level())
    }

    /// Accuracy that is missing; 0 if it is enough. Where a test is required, what its lower limit
    /// lacks.
    pub fn shortfall(&self, answers: &Answers) -> f64 {
        let missing = match self.non_inferiority.and_then(|_| self.test(answers)) {
            Some(test) if test.outcome == NonInferiority::NonInferior => return 0.0,
            Some(test) => -self.epsilon - test.lower,
            None if self.is_accurate(answers) => return 0.0,
            None => self.least_accuracy() - answers.accuracy(),
        };
        // Rounding may give 0 for an accuracy that is not enough.
        missing.max(f64::MIN_POSITIVE)
    }

    /// Whether the accuracy is enough as it is. Counts are compared, so that exactly the least accuracy
    /// is.
    fn is_accurate(&self, answers: &Answers) -> bool {
        let labelled = answers.labelled() as f64;
        answers.correct() as f64 >= self.least_accuracy() * labelled - 1e-9
    }

    /// Excess of σ over κ and shortfall of the accuracy, each in units of the scale; 0 if feasible.
    pub fn violation(&self, sigma: f64, accuracy: f64) -> f64 {
        let (excess, shortfall) = (sigma - self.kappa, self.least_accuracy() - accuracy);
        self.scaled(excess.max(0.0), shortfall.max(0.0))
    }

    fn scaled(&self, excess: f64, shortfall: f64) -> f64 {
        excess / self.scale.sigma + shortfall / self.scale.accuracy
    }

    /// Whether `candidate` is feasible.
    pub fn allows(&self, candidate: &TrialCandidate) -> bool {
        candidate.spend.preserved && candidate.shortfall == 0.0
    }

    /// The violation of `candidate`; 0 only if it is feasible.
    pub fn violation_of(&self, candidate: &TrialCandidate) -> f64 {
        if self.allows(candidate) {
            return 0.0;
        }
        let excess = match candidate.spend.preserved {
            true => 0.0,
            false => (candidate.spend.sigma - self.kappa).max(0.0),
        };
        // Rounding may give 0 for a candidate that is not feasible.
        self.scaled(excess, candidate.shortfall).max(f64::MIN_POSITIVE)
    }

    /// The figure that the objective minimises.
    fn figure(&self, candidate: &TrialCandidate) -> f64 {
        match self.objective {
            TuneObjective::Accuracy => -candidate.student.seen.accuracy(),
            TuneObjective::Sigma => candidate.spend.sigma,
            TuneObjective::Cost => candidate.student.cost as f64,
            TuneObjective::Size => candidate.student.parameters as f64,
        }
    }

    /// The forms of a student: without its temperature, then with it.
    pub fn candidates<'a>(&self, trial: usize, student: &'a Finished) -> Vec<TrialCandidate<'a>> {
        let shortfall = self.shortfall(&student.seen);
        let of = |StudentForm { temperature, spend }| TrialCandidate {
            trial,
            student,
            temperature,
            spend,
            shortfall,
        };
        student.forms().map(of).collect()
    }

    /// The candidate of a student: with its temperature only if that has the smaller violation.
    pub fn candidate<'a>(&self, trial: usize, student: &'a Finished) -> TrialCandidate<'a> {
        let both = self.candidates(trial, student);
        let better = both.into_iter().reduce(|plain, other| {
            match self.violation_of(&other) < self.violation_of(&plain) {
                true => other,
                false => plain,
            }
        });
        better.expect("a student without a temperature")
    }

    /// Orders the better one first: by violation, objective, σ, trial.
    pub fn compare(&self, a: &TrialCandidate, b: &TrialCandidate) -> Ordering {
        self.violation_of(a)
            .total_cmp(&self.violation_of(b))
            .then(self.figure(a).total_cmp(&self.figure(b)))
            .then(a.spend.sigma.total_cmp(&b.spend.sigma))
            .then(a.trial.cmp(&b.trial))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::tune::outcome::RecalibratedStudent;

    /// The first `correct` of 100 right.
    pub fn answers(correct: usize) -> Answers {
        Answers::new((0..100).map(|i| i < correct).collect())
    }

    /// A student with this σ, `correct` of 100, and this cost.
    pub fn finished(sigma: f64, correct: usize, cost: usize) -> Finished {
        Finished {
            n: 1000,
            plain: TrainingSpend { sigma, preserved: sigma <= 0.05 },
            recalibrated: None,
            train_accuracy: Some(0.9),
            seen: answers(correct),
            teacher_seen: answers(85),
            seen_sigma: 0.1,
            epochs: 3,
            ended_by: "max-epochs".to_owned(),
            stage: "prediction".to_owned(),
            epoch: 3,
            cost,
            parameters: 10 * cost,
            course: Vec::new(),
            history: Vec::new(),
        }
    }

    pub fn recalibrated_to(student: Finished, sigma: f64) -> Finished {
        let spend = TrainingSpend { sigma, preserved: sigma <= 0.05 };
        Finished { recalibrated: Some(RecalibratedStudent { temperature: 1.3, spend }), ..student }
    }

    pub fn constraints(objective: TuneObjective) -> Constraints {
        Constraints {
            kappa: 0.05,
            reference: AccuracyReference::mean(&[&answers(80)]).unwrap(),
            epsilon: 0.01,
            non_inferiority: None,
            objective,
            scale: ViolationScale { sigma: 0.05, accuracy: 0.04, is_spread: [false; 2] },
        }
    }

    fn best_of<'a>(
        constraints: &Constraints,
        students: impl Iterator<Item = (usize, &'a Finished)>,
    ) -> TrialCandidate<'a> {
        let candidates = students.map(|(trial, student)| constraints.candidate(trial, student));
        candidates.min_by(|a, b| constraints.compare(a, b)).unwrap()
    }

    fn best(objective: TuneObjective, students: &[Finished]) -> (usize, bool) {
        let numbered = students.iter().enumerate().map(|(i, student)| (i + 1, student));
        let best = best_of(&constraints(objective), numbered);
        (best.trial, best.temperature.is_some())
    }

    #[test]
    fn a_feasible_student_is_better_than_an_infeasible_one() {
        let students = [
            finished(0.06, 95, 1), // σ
            finished(0.01, 78, 1), // accuracy
            finished(0.04, 79, 9), // both, just so
            finished(0.02, 79, 7),
            finished(0.05, 83, 8),
        ];
        assert_eq!(best(TuneObjective::Accuracy, &students), (5, false));
        for objective in [TuneObjective::Sigma, TuneObjective::Cost, TuneObjective::Size] {
            assert_eq!(best(objective, &students), (4, false));
        }
        // Of the same accuracy, the one with the smaller σ.
        assert_eq!(best(TuneObjective::Accuracy, &students[..4]), (4, false));
    }

    #[test]
    fn without_a_feasible_student_the_least_violation_is_best() {
        let students = [finished(0.10, 90, 1), finished(0.06, 70, 1), finished(0.07, 80, 1)];
        assert_eq!(best(TuneObjective::Accuracy, &students), (3, false));
        let constraints = constraints(TuneObjective::Accuracy);
        let far = |s: &Finished| constraints.violation_of(&constraints.candidates(1, s)[0]);
        assert!((far(&students[0]) - 1.0).abs() < 1e-12);
        assert!((far(&students[1]) - (0.2 + 0.09 / 0.04)).abs() < 1e-12);
        assert_eq!(far(&finished(0.05, 79, 1)), 0.0);
        assert!(far(&finished(f64::from_bits(0.05f64.to_bits() + 1), 79, 1)) > 0.0);
    }

    #[test]
    fn a_temperature_is_used_only_where_it_is_needed() {
        let cases =
            [(0.06, 0.04, true), (0.04, 0.03, false), (0.08, 0.07, true), (0.06, 0.06, false)];
        for (plain, recalibrated, used) in cases {
            let student = recalibrated_to(finished(plain, 80, 1), recalibrated);
            assert_eq!(best(TuneObjective::Accuracy, &[student]), (1, used), "{plain}");
        }
    }

    #[test]
    fn the_best_does_not_depend_on_the_order() {
        let students = [recalibrated_to(finished(0.04, 80, 1), 0.02), finished(0.03, 80, 1)];
        for objective in [TuneObjective::Accuracy, TuneObjective::Sigma] {
            for order in [[0, 1], [1, 0]] {
                let numbered = order.into_iter().map(|i| (i + 1, &students[i]));
                let best = best_of(&constraints(objective), numbered);
                assert_eq!((best.trial, best.temperature), (2, None));
            }
        }
    }

    #[test]
    fn a_bound_of_zero_has_violations_that_can_be_compared() {
        let constraints = Constraints { kappa: 0.0, ..constraints(TuneObjective::Accuracy) };
        let (near, far) = (constraints.violation(1e-6, 0.9), constraints.violation(1e-3, 0.9));
        assert!(near.is_finite() && near < far, "{near} {far}");
    }
}
