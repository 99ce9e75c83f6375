//! d(x): the teacher's confidence less the student's.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Defined, Predictions, Undefined};

/// The confidence that is compared: C(x) = max_k p(x)_k of each model, with |d| ≤ 1 − 1/K; or p(x)_ŷ
/// of both, with ŷ the label that the teacher predicts and |d| ≤ 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ConfidenceKind {
    /// Each model's largest probability
    #[default]
    Max,
    /// Both models' probability of the teacher's label
    TeacherClass,
}

/// The standard deviation that is σ (population).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// Root mean square of d about zero
    #[default]
    Rms,
    /// Standard deviation of d about its mean; ignores a constant shift
    Centred,
    /// As in the paper's code: standard deviation of p_T(x)_0 − p_S(x)_0 about its mean, over the
    /// inputs that both models get right; for two labels
    Published,
}

impl ConfidenceKind {
    /// Both kinds, the default first.
    pub const ALL: [Self; 2] = [Self::Max, Self::TeacherClass];

    /// `max` or `teacher-class`: the name in flags, configs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::TeacherClass => "teacher-class",
        }
    }
}

impl Statistic {
    /// Every statistic, the default first.
    pub const ALL: [Self; 3] = [Self::Rms, Self::Centred, Self::Published];

    /// The statistics of d(x) over all examples: every one but [`Statistic::Published`].
    pub const OF_ALL_EXAMPLES: [Self; 2] = [Self::Rms, Self::Centred];

    /// `rms`, `centred` or `published`: the name in flags, configs and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rms => "rms",
            Self::Centred => "centred",
            Self::Published => "published",
        }
    }
}

impl fmt::Display for ConfidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Statistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// R: the largest possible |d|, 1 − 1/K for [`ConfidenceKind::Max`], otherwise 1.
pub fn largest_difference(kind: ConfidenceKind, labels: usize) -> f64 {
    match kind {
        ConfidenceKind::Max => 1.0 - 1.0 / labels as f64,
        ConfidenceKind::TeacherClass => 1.0,
    }
}

/// d(x) = C_T(x) − C_S(x) for each example (N), in [−R, R] with R = [`largest_difference`].
/// Positive where the student is less confident than its teacher.
///
/// [`ConfidenceKind::Max`] needs no distribution; [`ConfidenceKind::TeacherClass`] needs the
/// student's and is undefined without it, even if both predict the same label.
///
/// # Panics
/// If the numbers of examples or labels differ ([`super::PairStatistics`] checks this).
pub fn confidence_differences(
    teacher: &Predictions,
    student: &Predictions,
    kind: ConfidenceKind,
) -> Defined<Vec<f64>> {
    assert_eq!((teacher.len(), teacher.labels()), (student.len(), student.labels()));
    let difference = |i| {
        student_confidence(teacher, student, kind, i)
            .map(|confidence| teacher.confidence(i) - confidence)
    };
    (0..teacher.len()).map(difference).collect()
}

/// C_S(x) of example `i`, in [0, 1]. C_T(x) is the teacher's confidence for either kind.
///
/// Undefined for [`ConfidenceKind::TeacherClass`] without a distribution of the student.
pub fn student_confidence(
    teacher: &Predictions,
    student: &Predictions,
    kind: ConfidenceKind,
    i: usize,
) -> Defined<f64> {
    match kind {
        ConfidenceKind::Max => Ok(student.confidence(i)),
        ConfidenceKind::TeacherClass => {
            let class = teacher.predicted(i) as usize;
            let probabilities = student.probabilities(i);
            probabilities.map(|p| p[class]).ok_or(Undefined::NoDistribution("student"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_flags_and_reports() {
        assert_eq!(Statistic::ALL.map(|it| it.to_string()), ["rms", "centred", "published"]);
        assert_eq!(ConfidenceKind::ALL.map(|it| it.to_string()), ["max", "teacher-class"]);
    }

    #[test]
    fn the_two_kinds_differ_where_the_models_disagree() {
        let teacher = Predictions::from_probabilities(&[0.75, 0.25], 2).unwrap();
        let student = Predictions::from_probabilities(&[0.375, 0.625], 2).unwrap();
        let d = |kind| confidence_differences(&teacher, &student, kind).unwrap();
        assert_eq!(d(ConfidenceKind::Max), [0.125]); // 0.75 − 0.625
        assert_eq!(d(ConfidenceKind::TeacherClass), [0.375]); // 0.75 − 0.375
    }

    #[test]
    fn teacher_class_needs_only_the_students_distribution() {
        let full = Predictions::from_probabilities(&[0.75, 0.25], 2).unwrap();
        let bare = Predictions::from_confidence(&[0.5], &[1], 2).unwrap();
        let kind = ConfidenceKind::TeacherClass;
        assert_eq!(confidence_differences(&bare, &full, kind), Ok(vec![0.25]));
        let undefined = confidence_differences(&full, &bare, kind).unwrap_err();
        assert_eq!(undefined, Undefined::NoDistribution("student"));
        assert_eq!(confidence_differences(&full, &bare, ConfidenceKind::Max), Ok(vec![0.25]));
    }

    #[test]
    fn the_largest_difference_is_the_theorys_r() {
        assert_eq!(largest_difference(ConfidenceKind::Max, 2), 0.5);
        assert_eq!(largest_difference(ConfidenceKind::TeacherClass, 2), 1.0);
    }
}
