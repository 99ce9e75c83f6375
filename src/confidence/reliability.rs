//! Accuracy by confidence, and the calibration error.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metrics::{some_labelled, with_label};
use super::{Defined, FixedSum, Predictions};

/// Equal-width bins of the calibration error. Guo et al. 2017, *On Calibration of Modern Neural
/// Networks*.
pub const ECE_BINS: usize = 15;

/// Labelled examples of similar confidence, and the model's accuracy on them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReliabilityBin {
    /// Least confidence of the bin.
    pub low: f64,
    /// End of the bin, included in the last bin only.
    pub high: f64,
    /// Labelled examples in it, at least 1.
    pub n: usize,
    /// Their mean confidence.
    pub mean_confidence: f64,
    /// Share of them predicted right.
    pub accuracy: f64,
}

/// The sums of one bin.
#[derive(Debug, Clone, Copy)]
struct BinSums {
    n: usize,
    correct: usize,
    confidence: FixedSum,
}

impl BinSums {
    fn bin(&self, index: usize) -> ReliabilityBin {
        let edge = |i: usize| i as f64 / ECE_BINS as f64;
        ReliabilityBin {
            low: edge(index),
            high: edge(index + 1),
            n: self.n,
            mean_confidence: self.confidence.to_f64() / self.n as f64,
            accuracy: self.correct as f64 / self.n as f64,
        }
    }
}

/// The bins of the [`ECE_BINS`] that hold a labelled example, in rising order. Undefined without
/// labels.
pub fn reliability(
    predictions: &Predictions,
    labels: &[Option<u32>],
) -> Defined<Vec<ReliabilityBin>> {
    let bins = bins(predictions, labels)?.into_iter().enumerate();
    Ok(bins.filter(|(_, sums)| sums.n > 0).map(|(index, sums)| sums.bin(index)).collect())
}

fn bins(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<[BinSums; ECE_BINS]> {
    some_labelled(labels)?;
    let mut bins = [BinSums { n: 0, correct: 0, confidence: FixedSum::ZERO }; ECE_BINS];
    for (i, label) in with_label(labels) {
        let confidence = predictions.confidence(i);
        let bin = &mut bins[ece_bin(confidence)];
        bin.n += 1;
        bin.correct += usize::from(predictions.predicted(i) == label);
        bin.confidence.add(confidence);
    }
    Ok(bins)
}

/// Expected calibration error over the labelled examples, in [0, 1]: Σ_b |Σ_b C − correct_b| / N.
///
/// [`ECE_BINS`] bins of equal width, [i/15, (i+1)/15) and the last one closed, [14/15, 1]. (Guo et
/// al. close them above instead: the same but for a confidence that is a multiple of 1/15.) Needs
/// a confidence only. Undefined without labels.
pub fn ece(predictions: &Predictions, labels: &[Option<u32>]) -> Defined<f64> {
    let n = some_labelled(labels)?;
    let bins = bins(predictions, labels)?;
    let gap = |bin: &BinSums| (bin.confidence.to_f64() - bin.correct as f64).abs();
    Ok(bins.iter().map(gap).sum::<f64>() / n as f64)
}

/// The bin of a confidence in [0, 1].
pub(super) fn ece_bin(confidence: f64) -> usize {
    ((confidence * ECE_BINS as f64) as usize).min(ECE_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bin 11 holds 0.75 twice (right, right): |1.5 − 2|; bin 9 holds 0.625 twice (both wrong): 1.25;
    /// bin 13 holds 0.875 (right): 0.125. The sum 1.875 over 5.
    #[test]
    fn calibration_error_worked_by_hand() {
        let confidence = [0.75, 0.625, 0.75, 0.625, 0.875];
        let predicted = [1, 1, 0, 0, 1];
        let model = Predictions::from_confidence(&confidence, &predicted, 2).unwrap();
        let labels = [1, 0, 0, 1, 1].map(Some);
        assert!((ece(&model, &labels).unwrap() - 1.875 / 5.0).abs() < 1e-15);
        let bins = reliability(&model, &labels).unwrap();
        let seen: Vec<_> = bins.iter().map(|b| (b.low, b.n, b.accuracy)).collect();
        assert_eq!(seen, [(9.0 / 15.0, 2, 0.0), (11.0 / 15.0, 2, 1.0), (13.0 / 15.0, 1, 1.0)]);
        assert_eq!((bins[1].mean_confidence, bins[1].accuracy), (0.75, 1.0));
        assert_eq!((bins[0].low, bins[0].high), (0.6, 10.0 / 15.0));
    }

    #[test]
    fn certain_and_right_is_calibrated_and_lies_in_the_last_bin() {
        let model = Predictions::from_confidence(&[1.0, 1.0], &[1, 0], 2).unwrap();
        let labels = [Some(1), Some(0)];
        assert_eq!(ece(&model, &labels), Ok(0.0));
        assert_eq!(reliability(&model, &labels).unwrap()[0].high, 1.0);
        assert!(reliability(&model, &[None, None]).is_err());
    }
}
