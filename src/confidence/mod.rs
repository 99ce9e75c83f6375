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

mod difference; //  d(x), and which σ is meant
mod fixed; //       exact sums
mod order; //       sums and quantiles that do not depend on order
mod predictions; // what one model says
mod sums; //        n, Σd, Σd² and the σ that follow
mod undefined; //   why a figure is missing

pub use difference::{
    confidence_differences, largest_difference, ConfidenceKind, Statistic, UnknownName,
};
pub use fixed::FixedSum;
pub use predictions::{PredictionError, Predictions, MAX_EXAMPLES, NORMALISATION_TOLERANCE};
pub use sums::DifferenceSums;
pub use undefined::{Defined, Undefined};
