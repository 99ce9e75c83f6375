//! One model's predictions of N examples over K labels.

use super::order::order_free_sum;

/// Maximum examples of one audit, plus one: the limit of exact sums.
pub const MAX_EXAMPLES: usize = 1 << 30;

/// Tolerance of the sum of given probabilities, and of a given confidence below 1/K: the rounding of
/// three or more decimals.
pub const NORMALISATION_TOLERANCE: f64 = 1e-3;

/// By how much the rounding of a softmax in f32 moves the sum of a row: a few units of 2⁻²⁴. Rows whose
/// sum is nearer to one are taken as they are, so that figures are those of the same formula in NumPy.
const SOFTMAX_ROUNDING: f64 = 8.0 / (1 << 24) as f64;

/// One model's predictions of N ≥ 1 examples over K ≥ 2 labels, in the task's label order.
///
/// Every number is finite except the logarithm of a given probability of exactly zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    labels: usize,
    predicted: Vec<u32>,  // (N)
    confidence: Vec<f64>, // (N), in [1/K, 1]
    distribution: Option<Distribution>,
}

#[derive(Debug, Clone, PartialEq)]
struct Distribution {
    probabilities: Vec<f64>, // (N, K), each row sums to one, or within SOFTMAX_ROUNDING of it
    log_probabilities: Vec<f64>, // (N, K), nats
}

/// Why rows of numbers are not the predictions of a classifier: `example` is a row, counted from 0,
/// `label` a column, `value` what was found, `examples` N and `labels` K.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // of the fields above
pub enum PredictionError {
    /// No rows.
    #[error("there are no predictions: an empty split cannot be audited")]
    Empty,
    /// 2³⁰ rows or more.
    #[error("{examples} examples are more than one audit can sum exactly (fewer than 2^30)")]
    TooMany { examples: usize },
    /// Fewer than two labels.
    #[error("a classifier needs two labels or more, and this one has {labels}")]
    TooFewLabels { labels: usize },
    /// The values do not form rows of K, or the columns have different lengths.
    #[error("{values} values do not match {expected}")]
    Shape { values: usize, expected: String },
    /// A logit that is NaN or infinite.
    #[error("the logit of label {label} at example {example} is {value}, not a finite number")]
    NotFinite { example: usize, label: usize, value: f32 },
    /// A probability outside [0, 1], or NaN.
    #[error("the probability of label {label} at example {example} is {value}, outside [0, 1]")]
    NotAProbability { example: usize, label: usize, value: f64 },
    /// Probabilities that do not sum to one.
    #[error("the probabilities of example {example} sum to {sum}, not to 1")]
    NotNormalised { example: usize, sum: f64 },
    /// A confidence outside [1/K, 1], or NaN.
    #[error(
        "the confidence of example {example} is {value}, outside [1/{labels}, 1]: it is to be the \
         probability of the predicted label, the largest of {labels}"
    )]
    NotAConfidence { example: usize, value: f64, labels: usize },
    /// A predicted label that the task does not have.
    #[error("the predicted label of example {example} is {value}, and the task has {labels}")]
    NoSuchLabel { example: usize, value: u32, labels: usize },
}

impl PredictionError {
    /// The wrong row, if the error is in one row.
    pub fn example(&self) -> Option<usize> {
        match self {
            Self::NotFinite { example, .. }
            | Self::NotAProbability { example, .. }
            | Self::NotNormalised { example, .. }
            | Self::NotAConfidence { example, .. }
            | Self::NoSuchLabel { example, .. } => Some(*example),
            Self::Empty | Self::TooMany { .. } | Self::TooFewLabels { .. } | Self::Shape { .. } => {
                None
            }
        }
    }
}

impl Predictions {
    /// From logits (N, K), row by row.
    ///
    /// The predicted label is the argmax of the raw logits, the lowest id on ties. Softmax and
    /// log-softmax are computed in f64. The exponentials are summed in sorted order, so that
    /// permuting the labels permutes the probabilities and changes none of their bits.
    ///
    /// # Errors
    /// NaN or infinity (with its row and label), values not in rows of K, no rows, K < 2.
    pub fn from_logits(logits: &[f32], labels: usize) -> Result<Self, PredictionError> {
        let examples = rows(logits.len(), labels)?;
        let mut predictions = Self::with_capacity(examples, labels);
        let (mut probabilities, mut log_probabilities) =
            (Vec::with_capacity(logits.len()), Vec::with_capacity(logits.len()));
        let mut sorted = vec![0.0; labels];
        for (example, row) in logits.chunks_exact(labels).enumerate() {
            if let Some(label) = row.iter().position(|z| !z.is_finite()) {
                return Err(PredictionError::NotFinite { example, label, value: row[label] });
            }
            let predicted = argmax(row);
            let largest = f64::from(row[predicted]);
            for (slot, &z) in sorted.iter_mut().zip(row) {
                *slot = (f64::from(z) - largest).exp();
            }
            let start = probabilities.len();
            probabilities.extend_from_slice(&sorted);
            sorted.sort_unstable_by(f64::total_cmp);
            let sum: f64 = sorted.iter().sum();
            probabilities[start..].iter_mut().for_each(|p| *p /= sum);
            let log_sum = sum.ln();
            log_probabilities.extend(row.iter().map(|&z| (f64::from(z) - largest) - log_sum));
            predictions.push(predicted, probabilities[start + predicted]);
        }
        predictions.distribution = Some(Distribution { probabilities, log_probabilities });
        Ok(predictions)
    }

    /// The rows in another order: row i of the result is row `order[i]` of this one.
    ///
    /// # Panics
    /// An entry of `order` that is not a row.
    pub fn reordered(&self, order: &[usize]) -> Self {
        let k = self.labels;
        let rows = |values: &[f64]| -> Vec<f64> {
            order.iter().flat_map(|&i| values[i * k..][..k].iter().copied()).collect()
        };
        Predictions {
            labels: k,
            predicted: order.iter().map(|&i| self.predicted[i]).collect(),
            confidence: order.iter().map(|&i| self.confidence[i]).collect(),
            distribution: self.distribution.as_ref().map(|d| Distribution {
                probabilities: rows(&d.probabilities),
                log_probabilities: rows(&d.log_probabilities),
            }),
        }
    }

    /// From probabilities (N, K), row by row.
    ///
    /// The sum of a row may differ from one by [`NORMALISATION_TOLERANCE`]. The row is divided by it,
    /// unless the difference is no more than the rounding of a softmax in f32 (2⁻²¹); then only the
    /// logarithms are of the divided row. The predicted label is the argmax as given, the lowest id on ties.
    ///
    /// # Errors
    /// A value outside [0, 1] or NaN, a sum further from one (each with its row), values not in rows
    /// of K, no rows, K < 2.
    pub fn from_probabilities(given: &[f64], labels: usize) -> Result<Self, PredictionError> {
        let examples = rows(given.len(), labels)?;
        let mut predictions = Self::with_capacity(examples, labels);
        let (mut probabilities, mut log_probabilities) =
            (Vec::with_capacity(given.len()), Vec::with_capacity(given.len()));
        let mut sorted = vec![0.0; labels];
        for (example, row) in given.chunks_exact(labels).enumerate() {
            if let Some(label) = row.iter().position(|p| !(0.0..=1.0).contains(p)) {
                let value = row[label];
                return Err(PredictionError::NotAProbability { example, label, value });
            }
            sorted.copy_from_slice(row);
            let sum = order_free_sum(&mut sorted);
            if (sum - 1.0).abs() > NORMALISATION_TOLERANCE {
                return Err(PredictionError::NotNormalised { example, sum });
            }
            let predicted = argmax(row);
            let divisor = if (sum - 1.0).abs() <= SOFTMAX_ROUNDING { 1.0 } else { sum };
            let divided = |divisor: f64| {
                // Rounding may leave the largest of K equal values one bit below 1/K.
                let largest = (row[predicted] / divisor).max(1.0 / labels as f64);
                move |&p: &f64| if p == row[predicted] { largest } else { p / divisor }
            };
            probabilities.extend(row.iter().map(divided(divisor)));
            // A divergence of rows that sum to more or less than one could be negative.
            log_probabilities.extend(row.iter().map(divided(sum)).map(f64::ln));
            predictions.push(predicted, divided(divisor)(&row[predicted]));
        }
        predictions.distribution = Some(Distribution { probabilities, log_probabilities });
        Ok(predictions)
    }

    /// From a confidence (N) and a predicted label (N), for a model without a distribution.
    ///
    /// `confidence` is the probability of the predicted label. A value below 1/K by up to
    /// [`NORMALISATION_TOLERANCE`] is raised to it.
    ///
    /// # Errors
    /// A confidence outside [1/K, 1] or NaN, a predicted label of K or more (each with its row),
    /// columns of different lengths, no rows, K < 2.
    pub fn from_confidence(
        confidence: &[f64],
        predicted: &[u32],
        labels: usize,
    ) -> Result<Self, PredictionError> {
        let examples = rows(confidence.len().saturating_mul(labels), labels)?;
        if predicted.len() != examples {
            let expected = format!("{examples} confidences");
            return Err(PredictionError::Shape { values: predicted.len(), expected });
        }
        let mut predictions = Self::with_capacity(examples, labels);
        let lowest = 1.0 / labels as f64;
        for (example, (&value, &label)) in confidence.iter().zip(predicted).enumerate() {
            if !(lowest - NORMALISATION_TOLERANCE..=1.0).contains(&value) {
                return Err(PredictionError::NotAConfidence { example, value, labels });
            }
            if label as usize >= labels {
                return Err(PredictionError::NoSuchLabel { example, value: label, labels });
            }
            predictions.push(label as usize, value.max(lowest));
        }
        Ok(predictions)
    }

    /// N, at least 1.
    #[allow(clippy::len_without_is_empty)] // never empty, by construction
    pub fn len(&self) -> usize {
        self.predicted.len()
    }

    /// K, at least 2.
    pub fn labels(&self) -> usize {
        self.labels
    }

    /// C(x) = max_k p(x)_k of example `i`, in [1/K, 1].
    pub fn confidence(&self, i: usize) -> f64 {
        self.confidence[i]
    }

    /// The predicted label of example `i`, below K.
    pub fn predicted(&self, i: usize) -> u32 {
        self.predicted[i]
    }

    /// The K probabilities of example `i`; `None` without a distribution.
    pub fn probabilities(&self, i: usize) -> Option<&[f64]> {
        let all = &self.distribution.as_ref()?.probabilities;
        Some(&all[i * self.labels..(i + 1) * self.labels])
    }

    /// The K log probabilities of example `i`, in nats: by log-softmax from logits, so finite even if
    /// the probability underflows; −∞ for a given probability of 0. `None` without a distribution.
    pub fn log_probabilities(&self, i: usize) -> Option<&[f64]> {
        let all = &self.distribution.as_ref()?.log_probabilities;
        Some(&all[i * self.labels..(i + 1) * self.labels])
    }

    fn with_capacity(examples: usize, labels: usize) -> Self {
        Self {
            labels,
            predicted: Vec::with_capacity(examples),
            confidence: Vec::with_capacity(examples),
            distribution: None,
        }
    }

    fn push(&mut self, predicted: usize, confidence: f64) {
        self.predicted.push(u32::try_from(predicted).expect("fewer than 2^32 labels"));
        self.confidence.push(confidence);
    }
}

/// N, for `values` numbers in rows of `labels`.
fn rows(values: usize, labels: usize) -> Result<usize, PredictionError> {
    if labels < 2 {
        return Err(PredictionError::TooFewLabels { labels });
    }
    if !values.is_multiple_of(labels) {
        let expected = format!("rows of {labels} labels");
        return Err(PredictionError::Shape { values, expected });
    }
    match values / labels {
        0 => Err(PredictionError::Empty),
        examples if examples >= MAX_EXAMPLES => Err(PredictionError::TooMany { examples }),
        examples => Ok(examples),
    }
}

/// The position of the largest value, the first on ties.
fn argmax<T: PartialOrd>(row: &[T]) -> usize {
    (1..row.len()).fold(0, |best, k| if row[k] > row[best] { k } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LN_3: f32 = 1.0986123;

    #[test]
    fn softmax_of_ln_3_and_0_is_three_quarters() {
        let p = Predictions::from_logits(&[LN_3, 0.0, 0.0, LN_3], 2).unwrap();
        assert_eq!((p.len(), p.labels()), (2, 2));
        assert!((p.confidence(0) - 0.75).abs() < 1e-7); // LN_3 is an f32
        assert_eq!(p.predicted(0), 0);
        assert_eq!(p.predicted(1), 1);
        assert_eq!(p.confidence(0), p.confidence(1));
        assert!((p.log_probabilities(0).unwrap()[1] - 0.25f64.ln()).abs() < 1e-7);
    }

    #[test]
    fn a_tie_goes_to_the_lowest_id() {
        let p = Predictions::from_logits(&[1.0, 2.0, 2.0], 3).unwrap();
        assert_eq!(p.predicted(0), 1);
        let p = Predictions::from_probabilities(&[0.2, 0.4, 0.4], 3).unwrap();
        assert_eq!(p.predicted(0), 1);
    }

    #[test]
    fn logs_stay_finite_where_probabilities_underflow() {
        let p = Predictions::from_logits(&[2000.0, 0.0], 2).unwrap();
        assert_eq!(p.probabilities(0).unwrap(), [1.0, 0.0]);
        assert_eq!(p.log_probabilities(0).unwrap(), [0.0, -2000.0]);
        assert_eq!(Predictions::from_logits(&[3e38, -3e38], 2).unwrap().confidence(0), 1.0);
    }

    #[test]
    fn nan_names_its_row() {
        let error = Predictions::from_logits(&[0.0, 1.0, f32::NAN, 0.0], 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the logit of label 0 at example 1 is NaN, not a finite number"
        );
        assert!(Predictions::from_logits(&[0.0, f32::INFINITY], 2).is_err());
    }

    #[test]
    fn shapes_are_checked() {
        use PredictionError::*;
        assert_eq!(Predictions::from_logits(&[], 2), Err(Empty));
        assert_eq!(Predictions::from_logits(&[1.0], 1), Err(TooFewLabels { labels: 1 }));
        assert!(matches!(Predictions::from_logits(&[1.0; 3], 2), Err(Shape { values: 3, .. })));
        assert!(matches!(Predictions::from_confidence(&[1.0], &[], 2), Err(Shape { .. })));
        assert_eq!(Predictions::from_confidence(&[], &[], 2), Err(Empty));
        assert_eq!(rows(2 * MAX_EXAMPLES, 2), Err(TooMany { examples: MAX_EXAMPLES }));
        assert_eq!(rows(2 * MAX_EXAMPLES - 2, 2), Ok(MAX_EXAMPLES - 1));
    }

    #[test]
    fn rounded_probabilities_are_renormalised() {
        let p = Predictions::from_probabilities(&[0.333, 0.333, 0.333], 3).unwrap();
        assert_eq!(p.probabilities(0).unwrap(), [1.0 / 3.0; 3]);
        let p = Predictions::from_probabilities(&[0.25, 0.75], 2).unwrap();
        assert_eq!(p.probabilities(0).unwrap(), [0.25, 0.75]);
        let p = Predictions::from_probabilities(&[0.25, 0.7508], 2).unwrap();
        assert_eq!(p.probabilities(0).unwrap(), [0.25 / 1.0008, 0.7508 / 1.0008]);
        assert_eq!(p.confidence(0), 0.7508 / 1.0008);
        let error = Predictions::from_probabilities(&[0.5, 0.5, 0.5, 0.498], 2).unwrap_err();
        assert_eq!(error, PredictionError::NotNormalised { example: 1, sum: 0.998 });
    }

    #[test]
    fn a_softmax_in_f32_is_taken_as_it_is_and_its_logarithms_are_of_a_distribution() {
        // The sums are 1 + 2^-21, 1 - 2^-21, and a little more than that.
        let unit = 2f64.powi(-21);
        for (first, is_divided) in [(0.25 + unit, false), (0.25 - unit, false), (0.250001, true)] {
            let p = Predictions::from_probabilities(&[first, 0.75], 2).unwrap();
            let sum = first + 0.75;
            let expected = if is_divided { [first / sum, 0.75 / sum] } else { [first, 0.75] };
            assert_eq!(p.probabilities(0).unwrap(), expected);
            assert_eq!(p.confidence(0), expected[1]);
            assert_eq!(p.log_probabilities(0).unwrap(), [first / sum, 0.75 / sum].map(f64::ln));
        }
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        for wrong in [[-0.1, 1.1], [f64::NAN, 1.0], [1.2, 0.0]] {
            let error = Predictions::from_probabilities(&wrong, 2).unwrap_err();
            assert!(matches!(error, PredictionError::NotAProbability { .. }), "{error}");
        }
        for wrong in [0.3, 1.01, f64::NAN] {
            let error = Predictions::from_confidence(&[wrong], &[0], 2).unwrap_err();
            assert!(matches!(error, PredictionError::NotAConfidence { .. }), "{error}");
        }
        let error = Predictions::from_confidence(&[0.9], &[2], 2).unwrap_err();
        assert_eq!(error.to_string(), "the predicted label of example 0 is 2, and the task has 2");
    }

    #[test]
    fn an_error_in_one_row_has_its_row() {
        let example = |result: Result<Predictions, PredictionError>| result.unwrap_err().example();
        let logits = [0.0, 1.0, 0.0, 1.0, f32::NAN, 1.0];
        assert_eq!(example(Predictions::from_logits(&logits, 2)), Some(2));
        assert_eq!(example(Predictions::from_logits(&logits[..3], 2)), None);
        assert_eq!(example(Predictions::from_confidence(&[0.9, 0.9, 0.1], &[0; 3], 2)), Some(2));
    }

    #[test]
    fn rows_in_another_order_keep_their_values() {
        let three = [0.5, 0.25, 0.25, 0.125, 0.75, 0.125, 0.0, 0.0, 1.0];
        let p = Predictions::from_probabilities(&three, 3).unwrap();
        let turned = [0.0, 0.0, 1.0, 0.5, 0.25, 0.25, 0.125, 0.75, 0.125];
        let expected = Predictions::from_probabilities(&turned, 3).unwrap();
        assert_eq!(p.reordered(&[2, 0, 1]), expected);
    }

    #[test]
    fn a_confidence_has_no_distribution() {
        let p = Predictions::from_confidence(&[0.9, 0.4995], &[1, 0], 2).unwrap();
        assert_eq!((p.predicted(0), p.confidence(0)), (1, 0.9));
        assert_eq!(p.confidence(1), 0.5);
        assert_eq!(p.probabilities(0), None);
        assert_eq!(p.log_probabilities(0), None);
    }
}
