//! The statistic of the paper's authors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Defined, DifferenceSums, Predictions, Undefined};

/// d(x) = p_T(x)_0 − p_S(x)_0, of the inputs that both models get right.
///
/// σ is the population standard deviation of `differences` about their mean
/// ([`super::Statistic::Published`]): `pairwise_conf_delta` in the `metrics.py` of Vengertsev &
/// Sherman's code (github.com/vengertsev/distill_abstraction_sgai23).
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedDifferences {
    /// Positions of the inputs that both models get right, ascending, at least one (n').
    pub rows: Vec<usize>,
    /// d (n'), in [−1/2, 1/2], but for rounding.
    pub differences: Vec<f64>,
    /// The other inputs.
    pub left_out: LeftOut,
    /// Inputs with the more frequent label, of all.
    pub most_frequent: usize,
}

/// The inputs that are not among those that both models get right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// Of these, those that the student gets wrong.
    pub student_wrong: usize,
    /// Of these, those that only the teacher gets wrong.
    pub only_teacher_wrong: usize,
}

impl PublishedDifferences {
    /// The differences of all inputs (N) with their true labels (N).
    ///
    /// Undefined for K other than two, for an input without a label, and where no input is right for
    /// both models. A model that shows only a confidence C has p_0 = C or 1 − C.
    ///
    /// # Panics
    /// If the numbers of examples differ ([`super::PairStatistics`] checks this).
    pub fn new(
        teacher: &Predictions,
        student: &Predictions,
        labels: &[Option<u32>],
    ) -> Defined<Self> {
        assert_eq!((teacher.len(), labels.len()), (student.len(), student.len()));
        Self::require_labels(teacher.labels(), labels)?;
        let (mut rows, mut differences) = (Vec::new(), Vec::new());
        let mut left_out = LeftOut::default();
        for (i, label) in labels.iter().enumerate() {
            let right = |model: &Predictions| Some(model.predicted(i)) == *label;
            match (right(teacher), right(student)) {
                (true, true) => {
                    rows.push(i);
                    differences.push(first_probability(teacher, i) - first_probability(student, i));
                }
                (_, false) => left_out.student_wrong += 1,
                (false, true) => left_out.only_teacher_wrong += 1,
            }
        }
        let ones = labels.iter().filter(|label| **label == Some(1)).count();
        left_out.count = left_out.student_wrong + left_out.only_teacher_wrong;
        match rows.is_empty() {
            true => Err(Undefined::NoneRightForBoth),
            false => Ok(Self {
                rows,
                differences,
                left_out,
                most_frequent: ones.max(labels.len() - ones),
            }),
        }
    }

    /// The sums of `differences`.
    pub fn sums(&self) -> DifferenceSums {
        DifferenceSums::of(&self.differences)
    }

    /// What can be told before the models are run: that there are two labels (`count`), and that
    /// every example has one.
    pub fn require_labels(count: usize, labels: &[Option<u32>]) -> Defined<()> {
        if count != 2 {
            return Err(Undefined::NotTwoLabels { labels: count });
        }
        match labels.iter().filter(|label| label.is_none()).count() {
            0 => Ok(()),
            all if all == labels.len() => Err(Undefined::NoLabels),
            unlabelled => Err(Undefined::Unlabelled { unlabelled }),
        }
    }
}

/// p(x)_0 of example `i` of a model of two labels.
fn first_probability(model: &Predictions, i: usize) -> f64 {
    match (model.probabilities(i), model.predicted(i)) {
        (Some(probabilities), _) => probabilities[0],
        (None, 0) => model.confidence(i),
        (None, _) => 1.0 - model.confidence(i),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confidence::Statistic;

    fn given(rows: &[f64]) -> Predictions {
        Predictions::from_probabilities(rows, 2).unwrap()
    }

    /// Five inputs: right for both as 0, as 1 and as 0, wrong for the student, wrong for the teacher.
    fn five() -> (Predictions, Predictions, Vec<Option<u32>>) {
        let teacher = given(&[0.75, 0.25, 0.125, 0.875, 1.0, 0.0, 0.875, 0.125, 0.75, 0.25]);
        let student = given(&[0.625, 0.375, 0.25, 0.75, 0.75, 0.25, 0.25, 0.75, 0.25, 0.75]);
        (teacher, student, [0, 1, 0, 0, 1].map(Some).to_vec())
    }

    #[test]
    fn only_what_both_get_right_counts_and_the_others_are_counted() {
        let (teacher, student, labels) = five();
        let found = PublishedDifferences::new(&teacher, &student, &labels).unwrap();
        assert_eq!(found.rows, [0, 1, 2]);
        assert_eq!(found.differences, [0.125, -0.125, 0.25]);
        let left_out = LeftOut { count: 2, student_wrong: 1, only_teacher_wrong: 1 };
        assert_eq!((found.left_out, found.most_frequent), (left_out, 3));
        // numpy.std([0.125, -0.125, 0.25]) = sqrt(7/288).
        let sigma = found.sums().sigma_of(Statistic::Published);
        assert!((sigma.unwrap() - (7.0f64 / 288.0).sqrt()).abs() < 1e-15);
    }

    #[test]
    fn an_input_that_both_get_wrong_is_the_students() {
        let (teacher, student) =
            (given(&[0.75, 0.25, 0.75, 0.25]), given(&[0.625, 0.375, 1.0, 0.0]));
        let found = PublishedDifferences::new(&teacher, &student, &[Some(0), Some(1)]).unwrap();
        let left_out = LeftOut { count: 1, student_wrong: 1, only_teacher_wrong: 0 };
        assert_eq!((found.left_out, found.differences), (left_out, vec![0.125]));
    }

    #[test]
    fn a_bare_confidence_gives_the_same_differences() {
        let (teacher, student, labels) = five();
        let bare = |model: &Predictions| {
            let (confidence, predicted): (Vec<f64>, Vec<u32>) =
                (0..model.len()).map(|i| (model.confidence(i), model.predicted(i))).unzip();
            Predictions::from_confidence(&confidence, &predicted, 2).unwrap()
        };
        let whole = PublishedDifferences::new(&teacher, &student, &labels);
        assert_eq!(PublishedDifferences::new(&bare(&teacher), &bare(&student), &labels), whole);
    }

    #[test]
    fn undefined_without_two_labels_a_label_each_and_an_input_right_for_both() {
        let (teacher, student, mut labels) = five();
        let of = |labels: &[Option<u32>]| {
            PublishedDifferences::new(&teacher, &student, labels).unwrap_err()
        };
        assert_eq!(of(&[None; 5]), Undefined::NoLabels);
        assert_eq!(of(&[1, 0, 1, 1, 0].map(Some)), Undefined::NoneRightForBoth);
        labels[2] = None;
        assert_eq!(of(&labels), Undefined::Unlabelled { unlabelled: 1 });
        let three = Predictions::from_confidence(&[0.5], &[1], 3).unwrap();
        let undefined = PublishedDifferences::new(&three, &three, &[Some(1)]).unwrap_err();
        assert_eq!(undefined, Undefined::NotTwoLabels { labels: 3 });
    }
}
