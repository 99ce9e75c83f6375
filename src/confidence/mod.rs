//! 5. Logits to numbers: pure f64 functions over slices.
//!
//! ```text
//! logits (N, K) ──► Predictions(T), Predictions(S) ──► d(x) ──► DifferenceSums ──► σ
//!                                   └──► metrics, divergence, groups, interval ──► PairStatistics
//! ```
//!
//! No tensors and no input or output. A figure that is not defined is an [`Undefined`] with its
//! reason, never NaN. Permuting the examples, or the labels of both models, changes no aggregate
//! to the last bit: every sum is exact ([`FixedSum`]) or taken in sorted order.

mod bootstrap; //   seeded interval of σ
mod difference; //  d(x), kinds of confidence and σ
mod divergence; //  KL, cross-entropy, total variation
mod fixed; //       exact sums
mod groups; //      σ by label, by length, by teacher confidence
mod histogram; //   counts of d, and of pairs of confidences
mod intervals; //   seeded intervals of the other figures
mod metrics; //     accuracy, F1, Matthews, Brier, NLL
mod order; //       sums and quantiles that do not depend on order
mod pair; //        all statistics of a split
mod predictions; // one model's predictions
mod published; //   the statistic of the paper's authors
mod reliability; // accuracy by confidence; calibration error
mod soft; //         the soft-label loss of distillation
mod spread; //      quantiles of |d|, the worst inputs
mod sums; //        n, Σd, Σd² and σ
mod undefined; //   why a figure is missing

pub use bootstrap::{
    bootstrap_interval, Interval, BOOTSTRAP_DRAWS, BOOTSTRAP_LEVEL, BOOTSTRAP_RESAMPLES,
};
pub use difference::{
    confidence_differences, largest_difference, student_confidence, ConfidenceKind, Statistic,
};
pub use divergence::{divergence, Divergence};
pub use fixed::FixedSum;
pub use groups::{label_name, Group, LENGTH_STARTS};
pub use histogram::{
    confidence_counts, difference_histogram, ConfidenceCounts, Histogram, CONFIDENCE_BINS,
    DIFFERENCE_BINS,
};
pub use intervals::{intervals, Intervals, ModelIntervals, PairIntervals, INTERVAL_DRAWS};
pub use metrics::{
    agreement, brier, correct, f1, labelled, matthews_correlation, mean_confidence, negative_flips,
    nll, ModelStatistics,
};
pub(crate) use order::quantile;
pub use pair::{PairError, PairFigures, PairInput, PairOptions, PairStatistics};
pub use predictions::{PredictionError, Predictions, MAX_EXAMPLES, NORMALISATION_TOLERANCE};
pub use published::{LeftOut, PublishedDifferences};
pub use reliability::{ece, reliability, ReliabilityBin, ECE_BINS};
pub use soft::soft_losses;
pub use spread::{spread, worst, Spread};
pub use sums::DifferenceSums;
pub use undefined::{known, Defined, Reasons, Undefined};
