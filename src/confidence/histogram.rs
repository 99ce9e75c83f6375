//! Counts for plots, of differences and of pairs of confidences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    largest_difference, student_confidence, ConfidenceKind, Defined, Predictions, Undefined,
};

/// Bins of d over [−R, R]: for two labels a hundredth each, with an edge at zero.
pub const DIFFERENCE_BINS: usize = 100;

/// Bins of each model's confidence over [1/K, 1].
pub const CONFIDENCE_BINS: usize = 20;

/// Counts in bins of equal width; the last one is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// Start of the first bin.
    pub low: f64,
    /// End of the last bin.
    pub high: f64,
    /// Examples in each bin.
    pub counts: Vec<usize>,
}

/// Counts of pairs of confidences, in bins of equal width; the last ones are closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfidenceCounts {
    /// Start of the first bin: 1/K, or 0 for the probability of the teacher's label. The last bin ends
    /// at 1.
    pub low: f64,
    /// Examples: a list per bin of the teacher's confidence, with a count per bin of the student's
    /// (in the gating confidence).
    pub counts: Vec<Vec<usize>>,
}

/// The histogram of `differences`, each in [−R, R] for K = `labels`.
pub fn difference_histogram(differences: &[f64], kind: ConfidenceKind, labels: usize) -> Histogram {
    let largest = largest_difference(kind, labels);
    let mut counts = vec![0; DIFFERENCE_BINS];
    for &d in differences {
        counts[bin(d, -largest, largest, DIFFERENCE_BINS)] += 1;
    }
    Histogram { low: -largest, high: largest, counts }
}

/// Counts of pairs of confidences.
///
/// Undefined for [`ConfidenceKind::TeacherClass`] without a distribution of the student.
pub fn confidence_counts(
    teacher: &Predictions,
    student: &Predictions,
    kind: ConfidenceKind,
) -> Defined<ConfidenceCounts> {
    let low = match kind {
        ConfidenceKind::Max => 1.0 / teacher.labels() as f64,
        ConfidenceKind::TeacherClass => 0.0,
    };
    let place = |confidence| bin(confidence, low, 1.0, CONFIDENCE_BINS);
    let mut counts = vec![vec![0; CONFIDENCE_BINS]; CONFIDENCE_BINS];
    for i in 0..teacher.len() {
        let student: Result<f64, Undefined> = student_confidence(teacher, student, kind, i);
        counts[place(teacher.confidence(i))][place(student?)] += 1;
    }
    Ok(ConfidenceCounts { low, counts })
}

/// The bin of `value`; values outside, by rounding, are in the bin at that end.
fn bin(value: f64, low: f64, high: f64, bins: usize) -> usize {
    let position = (value - low) / (high - low) * bins as f64;
    (position.max(0.0) as usize).min(bins - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_fall_into_hundredths_for_two_labels() {
        let d = [-0.5, -0.001, 0.0, 0.004, 0.015, 0.5];
        let h = difference_histogram(&d, ConfidenceKind::Max, 2);
        assert_eq!((h.low, h.high, h.counts.len()), (-0.5, 0.5, 100));
        let filled: Vec<(usize, usize)> =
            h.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0, 1), (49, 1), (50, 2), (51, 1), (99, 1)]);
    }

    #[test]
    fn pairs_of_confidences_are_counted_by_teacher_then_student() {
        // Bins of a fortieth from one half: 0.5 is in the first, 0.76 in the eleventh, 1 in the last.
        let teacher = Predictions::from_confidence(&[0.5, 0.76, 1.0, 1.0], &[0; 4], 2).unwrap();
        let student = Predictions::from_confidence(&[1.0, 0.76, 0.5, 0.5], &[0; 4], 2).unwrap();
        let c = confidence_counts(&teacher, &student, ConfidenceKind::Max).unwrap();
        assert_eq!(c.low, 0.5);
        assert_eq!((c.counts[0][19], c.counts[10][10], c.counts[19][0]), (1, 1, 2));
        assert_eq!(c.counts.iter().flatten().sum::<usize>(), 4);
    }

    #[test]
    fn the_teacher_s_label_may_have_any_probability() {
        let teacher = Predictions::from_probabilities(&[0.9, 0.1], 2).unwrap();
        let student = Predictions::from_probabilities(&[0.01, 0.99], 2).unwrap();
        let kind = ConfidenceKind::TeacherClass;
        let c = confidence_counts(&teacher, &student, kind).unwrap();
        assert_eq!((c.low, c.counts[18][0]), (0.0, 1));
        let bare = Predictions::from_confidence(&[0.9], &[0], 2).unwrap();
        assert!(confidence_counts(&teacher, &bare, kind).is_err());
        assert_eq!(difference_histogram(&[0.89], kind, 2).high, 1.0);
    }
}
