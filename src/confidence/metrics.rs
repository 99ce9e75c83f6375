//! Figures of one model against the labels, and of two models against each other.
//!
//! `labels` (N) gives each example's label id below K, or `None`; examples without one are left
//! out of every figure that needs a label. [`super::PairStatistics`] checks the lengths and ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::order_free_sum;
use super::{
    ece, known, reliability, Defined, FixedSum, ModelIntervals, Predictions, Reasons,
    ReliabilityBin, Undefined,
};

/// One model's own figures on one split, as a report lists them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ModelRow")]
pub struct ModelStatistics {
    /// Share of labelled examples predicted right; null without labels.
    pub accuracy: Option<f64>,
    /// Labelled examples predicted right.
    pub correct: Option<usize>,
    /// Labelled examples.
    pub labelled: usize,
    /// F1 of the label with id 1 (MRPC, QQP).
    pub f1: Option<f64>,
    /// Matthews correlation (CoLA).
    pub matthews_correlation: Option<f64>,
    /// Mean of max_k p_k.
    pub mean_confidence: f64,
    /// Brier score, summed over labels, in [0, 2].
    pub brier: Option<f64>,
    /// Mean negative log likelihood of the label, nats.
    pub nll: Option<f64>,
    /// Expected calibration error, 15 equal-width bins.
    pub ece: Option<f64>,
    /// Examples cut at the maximum length.
    pub truncated: usize,
    /// 95 % bootstrap intervals of the figures above.
    #[serde(default)]
    pub intervals: ModelIntervals,
    /// Accuracy by confidence: the bins of `ece` that have an example, in
    /// rising order. Empty without labels.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
}

/// One model's predictions on one split.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelInput<'a> {
    /// `teacher` or `student`, the prefix of its figures in a report.
    pub(super) role: &'a str,
    /// N examples.
    pub(super) predictions: &'a Predictions,
    /// N entries, each below K.
    pub(super) labels: &'a [Option<u32>],
    /// Examples whose text was cut.
    pub(super) truncated: usize,
    /// The intervals of its figures.
    pub(super) intervals: ModelIntervals,
}

impl ModelStatistics {
    /// All figures of one model; `reasons` gets the reason of each `None`.
    pub(super) fn new(input: &ModelInput<'_>, reasons: &mut Reasons) -> Self {
        let ModelInput { role, predictions, labels, truncated, intervals } = *input;
        let mut known =
            |figure: Defined<f64>, name| known(figure, format!("{role}.{name}"), reasons);
        let (labelled, correct) = (labelled(labels), correct(predictions, labels));
        known(correct.map(|c| c as f64), "correct");
        Self {
            accuracy: known(correct.map(|c| c as f64 / labelled as f64), "accuracy"),
            correct: correct.ok(),
            labelled,
            f1: known(f1(predictions, labels), "f1"),
            matthews_correlation: known(
                matthews_correlation(predictions, labels),
                "matthews_correlation",
            ),
            mean_confidence: mean_confidence(predictions),
            brier: known(brier(predictions, labels), "brier"),
            nll: known(nll(predictions, labels), "nll"),
            ece: known(ece(predictions, labels), "ece"),
            truncated,
            intervals,
            reliability: reliability(predictions, labels).unwrap_or_default(),
        }
    }
}

/// Number of examples that carry a label.
pub fn labelled(labels: &[Option<u32>]) -> usize {
    labels.iter().flatten().count()
}

/// Labelled examples predicted right. Undefined without labels.
pub fn correct(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<usize> {
    some_labelled(labels)?;
    Ok(with_label(labels).filter(|&(i, label)| predictions.predicted(i) == label).count())
}

/// F1 of the label with id 1, in [0, 1]: 2·TP / (2·TP + FP + FN), GLUE's for MRPC and QQP.
///
/// Undefined for K ≠ 2, without labels, and if label 1 is neither given nor predicted (0/0, for
/// which scikit-learn and so GLUE's script print 0).
pub fn f1(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<f64> {
    if predictions.labels() != 2 {
        return Err(Undefined::NotBinary { labels: predictions.labels() });
    }
    some_labelled(labels)?;
    let mut confusion = Confusion::new(2);
    with_label(labels).for_each(|(i, label)| confusion.add(label, predictions.predicted(i)));
    confusion.f1().ok_or(Undefined::NoPositives)
}

/// Matthews correlation of predictions and labels, in [−1, 1]: GLUE's for CoLA.
///
/// For K > 2 the R_K of Gorodkin 2004, which is Matthews' for K = 2. Undefined without labels, and if
/// all labels or all predictions are the same (0/0, for which GLUE's script prints 0).
pub fn matthews_correlation(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<f64> {
    some_labelled(labels)?;
    let mut confusion = Confusion::new(predictions.labels());
    with_label(labels).for_each(|(i, label)| confusion.add(label, predictions.predicted(i)));
    confusion.matthews_correlation().ok_or(Undefined::Constant)
}

/// Counts of each label as given, predicted, and both.
#[derive(Debug, Clone)]
pub(super) struct Confusion {
    given: Vec<u32>,
    predicted: Vec<u32>,
    right: Vec<u32>,
}

impl Confusion {
    pub(super) fn new(labels: usize) -> Self {
        let none = vec![0; labels];
        Self { given: none.clone(), predicted: none.clone(), right: none }
    }

    pub(super) fn add(&mut self, label: u32, predicted: u32) {
        self.given[label as usize] += 1;
        self.predicted[predicted as usize] += 1;
        self.right[label as usize] += u32::from(label == predicted);
    }

    /// 2·TP / (2·TP + FP + FN) of label 1, where given + predicted = 2·TP + FP + FN; `None` for 0/0
    /// and for K ≠ 2.
    pub(super) fn f1(&self) -> Option<f64> {
        if self.given.len() != 2 {
            return None;
        }
        let either = f64::from(self.given[1]) + f64::from(self.predicted[1]);
        (either > 0.0).then(|| 2.0 * f64::from(self.right[1]) / either)
    }

    /// R_K; `None` if all labels or all predictions are the same.
    pub(super) fn matthews_correlation(&self) -> Option<f64> {
        // Exact in integers (N < 2^30), so that the order of the labels has no effect.
        let sum = |counts: &[u32]| counts.iter().map(|&count| i128::from(count)).sum::<i128>();
        let dot = |a: &[u32], b: &[u32]| {
            a.iter().zip(b).map(|(&x, &y)| i128::from(x) * i128::from(y)).sum::<i128>()
        };
        let (n, right) = (sum(&self.given), sum(&self.right));
        let covariance = right * n - dot(&self.given, &self.predicted);
        let spread_given = n * n - dot(&self.given, &self.given);
        let spread_predicted = n * n - dot(&self.predicted, &self.predicted);
        let spread = spread_given * spread_predicted;
        (spread != 0).then(|| covariance as f64 / (spread as f64).sqrt())
    }
}

/// Examples for which both models predict the same label.
pub fn agreement(teacher: &Predictions, student: &Predictions) -> usize {
    (0..teacher.len()).filter(|&i| teacher.predicted(i) == student.predicted(i)).count()
}

/// Labelled examples that the teacher has right and the student wrong. Undefined without labels.
pub fn negative_flips(
    teacher: &Predictions,
    student: &Predictions,
    labels: &[Option<u32>],
) -> Defined<usize> {
    some_labelled(labels)?;
    let flipped =
        |&(i, label): &(usize, u32)| teacher.predicted(i) == label && student.predicted(i) != label;
    Ok(with_label(labels).filter(flipped).count())
}

/// Mean of max_k p_k over all examples, in [1/K, 1].
pub fn mean_confidence(predictions: &Predictions) -> f64 {
    let mut sum = FixedSum::ZERO;
    (0..predictions.len()).for_each(|i| sum.add(predictions.confidence(i)));
    sum.to_f64() / predictions.len() as f64
}

/// Brier score: mean of Σ_k (p_k − y_k)² over the labelled examples, in [0, 2]. Brier 1950.
///
/// For two labels this is twice the score of the positive label, which scikit-learn's
/// `brier_score_loss` prints. Undefined without labels or a distribution.
pub fn brier(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<f64> {
    let n = some_labelled(labels)?;
    let mut sum = FixedSum::ZERO;
    for (i, label) in with_label(labels) {
        sum.add(brier_of(predictions, i, label)?);
    }
    Ok(sum.to_f64() / n as f64)
}

/// The Brier score of example `i`, in [0, 2].
pub(super) fn brier_of(predictions: &Predictions, i: usize, label: u32) -> Defined<f64> {
    let p = predictions.probabilities(i).ok_or(Undefined::NoDistribution("model"))?;
    let square = |(k, p): (usize, &f64)| (p - f64::from(k == label as usize)).powi(2);
    let mut squares: Vec<f64> = p.iter().enumerate().map(square).collect();
    Ok(order_free_sum(&mut squares).min(2.0))
}

/// Mean negative log likelihood of the label in nats, at least 0.
///
/// Undefined without labels or a distribution, and if a label's given probability is exactly 0. From
/// logits it is finite, by log-softmax.
pub fn nll(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<f64> {
    let n = some_labelled(labels)?;
    let mut terms = Vec::with_capacity(n);
    for (i, label) in with_label(labels) {
        terms.push(nll_of(predictions, i, label)?);
    }
    Ok(order_free_sum(&mut terms) / n as f64)
}

/// The negative log likelihood of example `i`, nats.
pub(super) fn nll_of(predictions: &Predictions, i: usize, label: u32) -> Defined<f64> {
    let log_p = predictions.log_probabilities(i).ok_or(Undefined::NoDistribution("model"))?;
    match -log_p[label as usize] {
        term if term.is_infinite() => Err(Undefined::Infinite { example: i }),
        term => Ok(term.max(0.0)), // not -0.0 for a certain and right model
    }
}

pub(super) fn with_label(labels: &[Option<u32>]) -> impl Iterator<Item = (usize, u32)> + '_ {
    labels.iter().enumerate().filter_map(|(i, label)| label.map(|label| (i, label)))
}

pub(super) fn some_labelled(labels: &[Option<u32>]) -> Defined<usize> {
    match labelled(labels) {
        0 => Err(Undefined::NoLabels),
        n => Ok(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Predictions of label 1 with the given probabilities.
    fn binary(p1: &[f64]) -> Predictions {
        let rows: Vec<f64> = p1.iter().flat_map(|p| [1.0 - p, *p]).collect();
        Predictions::from_probabilities(&rows, 2).unwrap()
    }

    fn figures(predictions: &Predictions, labels: &[Option<u32>]) -> (ModelStatistics, Reasons) {
        let intervals = ModelIntervals::default();
        let input = ModelInput { role: "student", predictions, labels, truncated: 0, intervals };
        let mut reasons = Reasons::new();
        (ModelStatistics::new(&input, &mut reasons), reasons)
    }

    fn some(labels: &[u32]) -> Vec<Option<u32>> {
        labels.iter().map(|&label| Some(label)).collect()
    }

    #[test]
    fn binary_figures_worked_by_hand() {
        // Predicted 1 1 0 0 1, labels 1 0 0 1 1: TP 2, FP 1, FN 1, TN 1; the last is unlabelled.
        let model = binary(&[0.75, 0.625, 0.25, 0.375, 0.875, 0.9]);
        let mut labels = some(&[1, 0, 0, 1, 1]);
        labels.push(None);
        let (s, reasons) = figures(&model, &labels);
        assert_eq!((s.labelled, s.correct, s.accuracy), (5, Some(3), Some(0.6)));
        assert!(reasons.is_empty());
        assert_eq!(s.f1, Some(2.0 / 3.0)); // 4 / (4 + 1 + 1)
                                           // (TP·TN − FP·FN) / sqrt(3·3·2·2) = (2 − 1) / 6.
        assert!((s.matthews_correlation.unwrap() - 1.0 / 6.0).abs() < 1e-15);
        // 2·(1/16 + 25/64 + 1/16 + 25/64 + 1/64) / 5 = 2·(59/64)/5.
        assert!((s.brier.unwrap() - 2.0 * 59.0 / 64.0 / 5.0).abs() < 1e-15);
        let likelihood = 0.75f64 * 0.375 * 0.75 * 0.375 * 0.875;
        assert!((s.nll.unwrap() + likelihood.ln() / 5.0).abs() < 1e-15);
        assert!(
            (s.mean_confidence - (0.75 + 0.625 + 0.75 + 0.625 + 0.875 + 0.9) / 6.0).abs() < 1e-15
        );
    }

    #[test]
    fn matthews_of_three_labels() {
        // Confusion (label, predicted): (0,0)=2, (1,1)=1, (1,2)=1, (2,0)=1, (2,2)=1; n = 6, right 4.
        // given (2,2,2), predicted (3,1,2): (4·6 − 12) / sqrt((36−12)·(36−14)) = 12/sqrt(528).
        let one_hot = |k: usize| (0..3).map(move |j| if j == k { 0.8 } else { 0.1 });
        let rows: Vec<f64> = [0, 0, 1, 2, 0, 2].into_iter().flat_map(one_hot).collect();
        let model = Predictions::from_probabilities(&rows, 3).unwrap();
        let labels = some(&[0, 0, 1, 1, 2, 2]);
        let r = matthews_correlation(&model, &labels).unwrap();
        assert!((r - 12.0 / 528f64.sqrt()).abs() < 1e-15);
        assert_eq!(f1(&model, &labels), Err(Undefined::NotBinary { labels: 3 }));
    }

    #[test]
    fn unlabelled_text_has_no_accuracy() {
        let (s, reasons) = figures(&binary(&[0.75]), &[None]);
        assert_eq!((s.labelled, s.correct), (0, None));
        for figure in [s.accuracy, s.f1, s.matthews_correlation, s.brier, s.nll, s.ece] {
            assert_eq!(figure, None);
        }
        for name in ["correct", "accuracy", "f1", "matthews_correlation", "brier", "nll", "ece"] {
            assert_eq!(reasons[&format!("student.{name}")], Undefined::NoLabels.to_string());
        }
        assert_eq!(s.mean_confidence, 0.75);
    }

    #[test]
    fn zero_over_zero_is_undefined() {
        let model = binary(&[0.25, 0.125]);
        assert_eq!(f1(&model, &some(&[0, 0])), Err(Undefined::NoPositives));
        assert_eq!(matthews_correlation(&model, &some(&[0, 1])), Err(Undefined::Constant));
        assert_eq!(f1(&model, &some(&[0, 1])), Ok(0.0));
    }

    #[test]
    fn a_certain_and_wrong_model_has_no_finite_nll() {
        let certain = binary(&[0.5, 0.0]);
        assert_eq!(nll(&certain, &some(&[1, 1])), Err(Undefined::Infinite { example: 1 }));
        assert_eq!(brier(&certain, &some(&[1, 1])), Ok(1.25)); // (1/2 + 2) / 2
        let from_logits = Predictions::from_logits(&[2000.0, 0.0], 2).unwrap();
        assert_eq!(nll(&from_logits, &some(&[1])), Ok(2000.0));
    }

    #[test]
    fn a_bare_confidence_still_has_accuracy_and_calibration() {
        let bare = Predictions::from_confidence(&[0.75, 0.75], &[1, 1], 2).unwrap();
        let (s, reasons) = figures(&bare, &some(&[1, 0]));
        assert_eq!((s.accuracy, s.ece), (Some(0.5), Some(0.25)));
        assert_eq!((s.brier, s.nll), (None, None));
        for field in ["student.brier", "student.nll"] {
            assert_eq!(reasons[field], Undefined::NoDistribution("model").to_string());
        }
    }

    #[test]
    fn flips_and_agreement() {
        let teacher = binary(&[0.9, 0.9, 0.1, 0.1]);
        let student = binary(&[0.8, 0.2, 0.8, 0.8]);
        let labels = [Some(1), Some(1), Some(1), None];
        assert_eq!(agreement(&teacher, &student), 1);
        assert_eq!(negative_flips(&teacher, &student, &labels), Ok(1)); // the second only
        assert_eq!(negative_flips(&teacher, &student, &[None; 4]), Err(Undefined::NoLabels));
    }
}
