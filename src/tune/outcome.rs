//! The outcome of a training, and the order of two students.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::plan::{Plan, Reference, ReferenceModel, TuneObjective};

/// How a training ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RunOutcome {
    Finished(Box<Finished>),
    /// It was stopped early.
    Stopped {
        why: String,
        /// The finished epochs of the last stage.
        course: Vec<TrialEpoch>,
    },
    /// It could not be trained.
    Failed {
        error: String,
    },
}

/// The figures of a student.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// N of the training set.
    pub n: usize,
    /// Without a temperature.
    pub plain: TrainingSpend,
    /// With a temperature that is fit on the seen part of the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated: Option<RecalibratedStudent>,
    /// On the training set; `None` without labels.
    pub train_accuracy: Option<f64>,
    /// On the seen part of the validation split.
    pub seen: CorrectCount,
    /// The teacher's.
    pub teacher_seen: CorrectCount,
    /// σ on the seen part.
    pub seen_sigma: f64,
    /// Epochs of all stages.
    pub epochs: usize,
    /// `ended_by` of `distillation.json`.
    pub ended_by: String,
    /// The epoch of the last stage that is kept.
    pub epoch: usize,
    /// Epochs times layers of the student.
    pub cost: usize,
    /// Number of parameters.
    pub parameters: usize,
    /// The epochs of the last stage.
    pub course: Vec<TrialEpoch>,
}

/// A student compared with the bound on the training set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpend {
    /// In the statistic and confidence of the gate.
    pub sigma: f64,
    /// Σd² ≤ B.
    pub preserved: bool,
}

/// The same student with its logits divided by a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecalibratedStudent {
    /// τ.
    pub temperature: f64,
    #[serde(flatten)]
    pub spend: TrainingSpend,
}

/// Correct predictions of the labelled examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorrectCount {
    pub correct: usize,
    pub labelled: usize,
}

impl CorrectCount {
    pub fn accuracy(self) -> f64 {
        self.correct as f64 / self.labelled as f64
    }
}

/// The figures of a training at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrialEpoch {
    /// Finished share of the last stage's epochs.
    pub share: f64,
    /// On the sample of the training set.
    pub sigma: f64,
    /// On the seen part of the validation split.
    pub accuracy: f64,
}

/// A finalist on the part of the validation split that the search did not see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    pub student: CorrectCount,
    pub teacher: CorrectCount,
    /// Without a temperature.
    pub sigma: f64,
    /// With its temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated_sigma: Option<f64>,
}

/// A possible winner: a student without or with its temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    pub trial: usize,
    pub student: &'a Finished,
    /// τ; `None` without one.
    pub temperature: Option<f64>,
    pub spend: TrainingSpend,
}

impl Finished {
    /// Without its temperature, then with it.
    pub fn candidates(&self, trial: usize) -> impl Iterator<Item = Candidate<'_>> {
        let plain = Candidate { trial, student: self, temperature: None, spend: self.plain };
        let recalibrated = self.recalibrated.map(|recalibrated| Candidate {
            temperature: Some(recalibrated.temperature),
            spend: recalibrated.spend,
            ..plain
        });
        [Some(plain), recalibrated].into_iter().flatten()
    }
}

/// The two constraints and the objective, which order the students.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraints {
    /// κ.
    pub kappa: f64,
    /// The accuracy to compare with.
    pub reference: f64,
    /// The accuracy that may be lost.
    pub epsilon: f64,
    /// Orders feasible students.
    pub objective: TuneObjective,
}

impl Constraints {
    /// The constraints of `plan`; `default` is the first trial's student.
    pub fn new(plan: &Plan, kappa: f64, default: &Finished) -> Self {
        let reference = match plan.reference {
            Reference::Model(ReferenceModel::Default) => default.seen.accuracy(),
            Reference::Model(ReferenceModel::Teacher) => default.teacher_seen.accuracy(),
            Reference::Accuracy(accuracy) => accuracy,
        };
        Constraints { kappa, reference, epsilon: plan.epsilon, objective: plan.objective }
    }

    pub fn least_accuracy(&self) -> f64 {
        self.reference - self.epsilon
    }

    /// Whether the accuracy is enough. Counts are compared, so that exactly the least accuracy is.
    pub fn is_accurate(&self, count: CorrectCount) -> bool {
        count.correct as f64 >= self.least_accuracy() * count.labelled as f64 - 1e-9
    }

    /// Excess of σ over κ and shortfall of the accuracy, each as a share of the limit; 0 if feasible.
    pub fn violation(&self, sigma: f64, accuracy: f64) -> f64 {
        let excess = |over: f64, limit: f64| (over / limit.max(f64::MIN_POSITIVE)).max(0.0);
        let least = self.least_accuracy();
        excess(sigma - self.kappa, self.kappa) + excess(least - accuracy, least)
    }

    /// Whether `candidate` is feasible.
    pub fn allows(&self, candidate: &Candidate) -> bool {
        candidate.spend.preserved && self.is_accurate(candidate.student.seen)
    }

    /// The violation of `candidate`; 0 only if it is feasible.
    pub fn violation_of(&self, candidate: &Candidate) -> f64 {
        if self.allows(candidate) {
            return 0.0;
        }
        let sigma = match candidate.spend.preserved {
            true => 0.0,
            false => candidate.spend.sigma,
        };
        let accuracy = match self.is_accurate(candidate.student.seen) {
            true => 1.0,
            false => candidate.student.seen.accuracy(),
        };
        // Rounding may give 0 for a candidate that is not feasible.
        self.violation(sigma, accuracy).max(f64::MIN_POSITIVE)
    }

    /// The figure that the objective minimises.
    fn figure(&self, candidate: &Candidate) -> f64 {
        match self.objective {
            TuneObjective::Accuracy => -candidate.student.seen.accuracy(),
            TuneObjective::Sigma => candidate.spend.sigma,
            TuneObjective::Cost => candidate.student.cost as f64,
            TuneObjective::Size => candidate.student.parameters as f64,
        }
    }

    /// The candidate of a student: with its temperature only if that has the smaller violation.
    pub fn candidate<'a>(&self, trial: usize, student: &'a Finished) -> Candidate<'a> {
        let mut both = student.candidates(trial);
        let plain = both.next().expect("a student without a temperature");
        match both.next() {
            Some(other) if self.violation_of(&other) < self.violation_of(&plain) => other,
            _ => plain,
        }
    }

    /// Orders the better one first: by violation, objective, σ, trial.
    pub fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        self.violation_of(a)
            .total_cmp(&self.violation_of(b))
            .then(self.figure(a).total_cmp(&self.figure(b)))
            .then(a.spend.sigma.total_cmp(&b.spend.sigma))
            .then(a.trial.cmp(&b.trial))
    }

    /// The best of `students`, given with the numbers of their trials.
    pub fn best<'a>(
        &self,
        students: impl Iterator<Item = (usize, &'a Finished)>,
    ) -> Option<Candidate<'a>> {
        let candidates = students.map(|(trial, student)| self.candidate(trial, student));
        candidates.min_by(|a, b| self.compare(a, b))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A student with this σ, `correct` of 100, and this cost.
    pub fn finished(sigma: f64, correct: usize, cost: usize) -> Finished {
        Finished {
            n: 1000,
            plain: TrainingSpend { sigma, preserved: sigma <= 0.05 },
            recalibrated: None,
            train_accuracy: Some(0.9),
            seen: CorrectCount { correct, labelled: 100 },
            teacher_seen: CorrectCount { correct: 85, labelled: 100 },
            seen_sigma: 0.1,
            epochs: 3,
            ended_by: "max-epochs".to_owned(),
            epoch: 3,
            cost,
            parameters: 10 * cost,
            course: Vec::new(),
        }
    }

    fn recalibrated_to(student: Finished, sigma: f64) -> Finished {
        let spend = TrainingSpend { sigma, preserved: sigma <= 0.05 };
        Finished { recalibrated: Some(RecalibratedStudent { temperature: 1.3, spend }), ..student }
    }

    fn constraints(objective: TuneObjective) -> Constraints {
        Constraints { kappa: 0.05, reference: 0.80, epsilon: 0.01, objective }
    }

    fn best(objective: TuneObjective, students: &[Finished]) -> (usize, bool) {
        let numbered = students.iter().enumerate().map(|(i, student)| (i + 1, student));
        let best = constraints(objective).best(numbered).unwrap();
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
        assert_eq!(best(TuneObjective::Accuracy, &students), (2, false));
        let constraints = constraints(TuneObjective::Accuracy);
        let far = |s: &Finished| constraints.violation_of(&s.candidates(1).next().unwrap());
        assert!((far(&students[0]) - 1.0).abs() < 1e-12);
        assert!((far(&students[1]) - (0.2 + 0.09 / 0.79)).abs() < 1e-12);
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
                let best = constraints(objective).best(numbered).unwrap();
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
