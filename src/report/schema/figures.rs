//! The figures that stand beside σ.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Interval;

/// One model's own figures on one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelRow {
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
    /// How often the model is right at which confidence: the bins of `ece` that have an example, in
    /// rising order. Empty without labels.
    #[serde(default)]
    pub reliability: Vec<ReliabilityBin>,
}

/// 95 % bootstrap intervals of one model's figures; null where the figure is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelIntervals {
    /// Of `accuracy`.
    pub accuracy: Option<Interval>,
    /// Of `f1`.
    pub f1: Option<Interval>,
    /// Of `matthews_correlation`.
    pub matthews_correlation: Option<Interval>,
    /// Of `mean_confidence`.
    pub mean_confidence: Option<Interval>,
    /// Of `brier`.
    pub brier: Option<Interval>,
    /// Of `nll`.
    pub nll: Option<Interval>,
    /// Of `ece`.
    pub ece: Option<Interval>,
}

/// 95 % bootstrap intervals of what both models give together; null where the figure is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairIntervals {
    /// Of the student's accuracy less its teacher's, on the same resamples.
    pub accuracy_difference: Option<Interval>,
    /// Of `agreement_share`.
    pub agreement_share: Option<Interval>,
    /// Of `mean_difference`.
    pub mean_difference: Option<Interval>,
    /// Of `divergence.mean_kl`.
    pub mean_kl: Option<Interval>,
}

/// Labelled examples of like confidence, and how many of them the model has right.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReliabilityBin {
    /// Least confidence of the bin.
    pub low: f64,
    /// Its end, which belongs to it for the last bin alone.
    pub high: f64,
    /// Labelled examples in it, at least 1.
    pub n: usize,
    /// Their mean confidence.
    pub mean_confidence: f64,
    /// The share of them that is predicted right.
    pub accuracy: f64,
}

/// Counts in bins of equal width; the last one is closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// Where the first bin begins.
    pub low: f64,
    /// Where the last one ends.
    pub high: f64,
    /// Examples in each.
    pub counts: Vec<usize>,
}

/// How often the two models are how sure, in bins of equal width; the last ones are closed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfidenceCounts {
    /// Where the first bin of either model begins; the last ends at 1.
    pub low: f64,
    /// Examples: a list per bin of the teacher's confidence, with a count per bin of the student's
    /// (in the gating confidence).
    pub counts: Vec<Vec<usize>>,
}

/// A limit that holds with a stated probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UpperLimit {
    /// The limit of σ about zero.
    pub sigma: f64,
    /// Probability that the examples drawn give a limit that holds, such as 0.95.
    pub level: f64,
}

/// σ with the student's logits divided by one temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recalibrated {
    /// The temperature.
    pub temperature: f64,
    /// The split that it was fitted on.
    pub fitted_on: String,
    /// Whether it is an end of the grid that is searched.
    pub at_edge: bool,
    /// The gating σ of this row's split at that temperature.
    pub sigma: f64,
    /// Whether that is within the bound.
    pub within_bound: bool,
}

/// How |d| is spread. Quantiles by linear interpolation (NumPy's default).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Mean of |d|.
    pub mean: f64,
    /// 50th percentile of |d|.
    pub median: f64,
    /// 90th percentile of |d|.
    pub p90: f64,
    /// 99th percentile of |d|.
    pub p99: f64,
    /// Largest |d|.
    pub max: f64,
}

/// How far the two distributions are apart, teacher first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Divergence {
    /// Σ KL(p_T ‖ p_S), nats.
    pub sum_kl: f64,
    /// Mean KL, nats.
    pub mean_kl: f64,
    /// Σ CE(p_T, p_S), nats.
    pub sum_cross_entropy: f64,
    /// Mean CE, nats.
    pub mean_cross_entropy: f64,
    /// Mean total variation, in [0, 1].
    pub mean_total_variation: f64,
}

/// σ over part of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// What the split is cut by: `label`, `length` (words) or `teacher_confidence`.
    pub by: String,
    /// The group's name, such as `positive`, `11-20` or `0.9-1.0`.
    pub name: String,
    /// Examples in it.
    pub n: usize,
    /// The gating σ over them.
    pub sigma: f64,
    /// Mean of d over them.
    pub mean_difference: f64,
}
