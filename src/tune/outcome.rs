//! What became of a run, and which of two students is the better one.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::plan::{Plan, Reference, TuneObjective, Whose};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum RunOutcome {
    /// A student.
    Finished(Box<Finished>),
    /// It was given up.
    Stopped {
        /// Why.
        why: String,
        /// The epochs of the last stage that it had.
        course: Vec<Standing>,
    },
    /// It could not be trained.
    Failed {
        /// Why.
        error: String,
    },
}

/// A student, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// N of the training set.
    pub n: usize,
    /// As it was trained.
    pub plain: TrainingSpend,
    /// With a temperature that was fit on the seen part of the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated: Option<RecalibratedStudent>,
    /// Share of the training set that it gets right; `None` without labels.
    pub train_accuracy: Option<f64>,
    /// On the seen part of the validation split.
    pub seen: Right,
    /// The teacher there.
    pub teacher_seen: Right,
    /// σ there.
    pub seen_sigma: f64,
    /// Epochs of all stages.
    pub epochs: usize,
    /// What ended the training, as `distillation.json` says it.
    pub ended_by: String,
    /// The epoch of the last stage that is kept.
    pub epoch: usize,
    /// Passes of the training set through one layer: epochs times layers of the student.
    pub cost: usize,
    /// Parameters of the student.
    pub parameters: usize,
    /// The epochs of the last stage.
    pub course: Vec<Standing>,
}

/// A student held against the bound on the training set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpend {
    /// σ in the statistic and confidence that gate.
    pub sigma: f64,
    /// Σd² ≤ B.
    pub preserved: bool,
}

/// The same student with its logits divided by a temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RecalibratedStudent {
    /// τ.
    pub temperature: f64,
    /// What that makes of it.
    #[serde(flatten)]
    pub spend: TrainingSpend,
}

/// How many of the labelled examples are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Right {
    /// Examples that are right.
    pub correct: usize,
    /// Examples with a label.
    pub labelled: usize,
}

impl Right {
    /// correct / labelled.
    pub fn accuracy(self) -> f64 {
        self.correct as f64 / self.labelled as f64
    }
}

/// Where a training stands at the end of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Share of the last stage's epochs that are over.
    pub share: f64,
    /// σ on the watched sample of the training set.
    pub sigma: f64,
    /// Accuracy on the seen part of the validation split.
    pub accuracy: f64,
}

/// A finalist on the part of the validation split that the search did not see.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Unseen {
    /// The student.
    pub student: Right,
    /// The teacher.
    pub teacher: Right,
    /// σ as it was trained.
    pub sigma: f64,
    /// σ with its temperature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recalibrated_sigma: Option<f64>,
}

/// What may be released: a student as it was trained, or with its temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Number of the trial.
    pub trial: usize,
    /// The student.
    pub student: &'a Finished,
    /// τ, where it is the recalibrated one.
    pub temperature: Option<f64>,
    /// Held against the bound.
    pub spend: TrainingSpend,
}

impl Finished {
    /// As it was trained, then with its temperature.
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

/// The two constraints and the objective: what makes one student better than another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Constraints {
    /// κ.
    pub kappa: f64,
    /// What accuracy is held against.
    pub reference: f64,
    /// What may be lost of it.
    pub epsilon: f64,
    /// What decides among what is feasible.
    pub objective: TuneObjective,
}

impl Constraints {
    /// The rule of `plan`; `default` is the first trial's student.
    pub fn new(plan: &Plan, kappa: f64, default: &Finished) -> Self {
        let reference = match plan.reference {
            Reference::Of(Whose::Default) => default.seen.accuracy(),
            Reference::Of(Whose::Teacher) => default.teacher_seen.accuracy(),
            Reference::Accuracy(accuracy) => accuracy,
        };
        Constraints { kappa, reference, epsilon: plan.epsilon, objective: plan.objective }
    }

    /// The least accuracy that is enough.
    pub fn least_accuracy(&self) -> f64 {
        self.reference - self.epsilon
    }

    /// Whether so many right answers are enough: compared as counts, so that a share of examples
    /// that is exactly the least one is.
    pub fn is_accurate(&self, right: Right) -> bool {
        right.correct as f64 >= self.least_accuracy() * right.labelled as f64 - 1e-9
    }

    /// How far σ is above κ and accuracy below the least, each as a share of the limit; 0 where
    /// both are kept.
    pub fn violation(&self, sigma: f64, accuracy: f64) -> f64 {
        let excess = |over: f64, limit: f64| (over / limit.max(f64::MIN_POSITIVE)).max(0.0);
        let least = self.least_accuracy();
        excess(sigma - self.kappa, self.kappa) + excess(least - accuracy, least)
    }

    /// Whether `candidate` keeps both constraints.
    pub fn allows(&self, candidate: &Candidate) -> bool {
        candidate.spend.preserved && self.is_accurate(candidate.student.seen)
    }

    /// How far `candidate` is from being allowed; 0 where it is.
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
        // A tie of floating point numbers is a violation all the same.
        self.violation(sigma, accuracy).max(f64::MIN_POSITIVE)
    }

    /// What the objective makes smallest.
    fn figure(&self, candidate: &Candidate) -> f64 {
        match self.objective {
            TuneObjective::Accuracy => -candidate.student.seen.accuracy(),
            TuneObjective::Sigma => candidate.spend.sigma,
            TuneObjective::Cost => candidate.student.cost as f64,
            TuneObjective::Size => candidate.student.parameters as f64,
        }
    }

    /// What may be released of a student: as it was trained where that is allowed, else with its
    /// temperature where that is; where neither is, the one that is nearer.
    pub fn candidate<'a>(&self, trial: usize, student: &'a Finished) -> Candidate<'a> {
        let mut both = student.candidates(trial);
        let plain = both.next().expect("a student as it was trained");
        match both.next() {
            Some(other) if self.violation_of(&other) < self.violation_of(&plain) => other,
            _ => plain,
        }
    }

    /// The better one first: what is allowed by the objective, what is not by its violation; then by
    /// σ, and the earlier trial. Of each student one candidate is compared.
    pub fn compare(&self, a: &Candidate, b: &Candidate) -> Ordering {
        self.violation_of(a)
            .total_cmp(&self.violation_of(b))
            .then(self.figure(a).total_cmp(&self.figure(b)))
            .then(a.spend.sigma.total_cmp(&b.spend.sigma))
            .then(a.trial.cmp(&b.trial))
    }

    /// The best of `students`, with the numbers of their trials.
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

    /// A student with that σ, so many right of 100, and that cost.
    pub fn finished(sigma: f64, correct: usize, cost: usize) -> Finished {
        Finished {
            n: 1000,
            plain: TrainingSpend { sigma, preserved: sigma <= 0.05 },
            recalibrated: None,
            train_accuracy: Some(0.9),
            seen: Right { correct, labelled: 100 },
            teacher_seen: Right { correct: 85, labelled: 100 },
            seen_sigma: 0.1,
            epochs: 3,
            ended_by: "max-epochs".to_owned(),
            epoch: 3,
            cost,
            parameters: 10 * cost,
            course: Vec::new(),
        }
    }

    fn rule(objective: TuneObjective) -> Constraints {
        Constraints { kappa: 0.05, reference: 0.80, epsilon: 0.01, objective }
    }

    fn best(objective: TuneObjective, students: &[Finished]) -> (usize, bool) {
        let numbered = students.iter().enumerate().map(|(i, student)| (i + 1, student));
        let best = rule(objective).best(numbered).unwrap();
        (best.trial, best.temperature.is_some())
    }

    #[test]
    fn what_keeps_both_constraints_is_better_than_what_does_not() {
        let students = [
            finished(0.06, 95, 1), // σ
            finished(0.01, 78, 1), // accuracy
            finished(0.04, 79, 9), // both, just so
            finished(0.02, 79, 7),
            finished(0.05, 83, 8),
        ];
        assert_eq!(best(TuneObjective::Accuracy, &students), (5, false));
        assert_eq!(best(TuneObjective::Sigma, &students), (4, false));
        assert_eq!(best(TuneObjective::Cost, &students), (4, false));
        assert_eq!(best(TuneObjective::Size, &students), (4, false));
        // Of the same accuracy, the one with the smaller σ.
        assert_eq!(best(TuneObjective::Accuracy, &students[..4]), (4, false));
    }

    #[test]
    fn where_nothing_is_allowed_the_least_violation_is_best() {
        let students = [finished(0.10, 90, 1), finished(0.06, 70, 1), finished(0.07, 80, 1)];
        assert_eq!(best(TuneObjective::Accuracy, &students), (2, false));
        let rule = rule(TuneObjective::Accuracy);
        let far = |s: &Finished| rule.violation_of(&s.candidates(1).next().unwrap());
        assert!((far(&students[0]) - 1.0).abs() < 1e-12);
        assert!((far(&students[1]) - (0.2 + 0.09 / 0.79)).abs() < 1e-12);
        assert_eq!(far(&finished(0.05, 79, 1)), 0.0);
        assert!(far(&finished(f64::from_bits(0.05f64.to_bits() + 1), 79, 1)) > 0.0);
    }

    #[test]
    fn a_temperature_is_taken_only_where_it_is_needed() {
        let with = |student: Finished, sigma: f64| Finished {
            recalibrated: Some(RecalibratedStudent {
                temperature: 1.3,
                spend: TrainingSpend { sigma, preserved: sigma <= 0.05 },
            }),
            ..student
        };
        assert_eq!(best(TuneObjective::Accuracy, &[with(finished(0.06, 80, 1), 0.04)]), (1, true));
        assert_eq!(best(TuneObjective::Accuracy, &[with(finished(0.04, 80, 1), 0.03)]), (1, false));
        assert_eq!(best(TuneObjective::Accuracy, &[with(finished(0.08, 80, 1), 0.07)]), (1, true));
        assert_eq!(best(TuneObjective::Accuracy, &[with(finished(0.06, 80, 1), 0.06)]), (1, false));
    }

    #[test]
    fn the_best_does_not_depend_on_the_order() {
        let with = |student: Finished, sigma: f64| Finished {
            recalibrated: Some(RecalibratedStudent {
                temperature: 2.0,
                spend: TrainingSpend { sigma, preserved: true },
            }),
            ..student
        };
        let students = [with(finished(0.04, 80, 1), 0.02), finished(0.03, 80, 1)];
        for objective in [TuneObjective::Accuracy, TuneObjective::Sigma] {
            for order in [[0, 1], [1, 0]] {
                let numbered = order.into_iter().map(|i| (i + 1, &students[i]));
                let best = rule(objective).best(numbered).unwrap();
                assert_eq!((best.trial, best.temperature), (2, None));
            }
        }
    }

    #[test]
    fn a_bound_of_zero_has_violations_that_can_be_compared() {
        let rule = Constraints { kappa: 0.0, ..rule(TuneObjective::Accuracy) };
        let (near, far) = (rule.violation(1e-6, 0.9), rule.violation(1e-3, 0.9));
        assert!(near.is_finite() && near < far, "{near} {far}");
    }
}
