//! A student mended after its training, without a step of training: pure functions.
//!
//! ```text
//! confidence(T), logits(S) ──► Scores ──► fit ──► τ ──► recalibrated: the weights with τ folded in
//! ```

mod fold; //        τ into the last linear layer
mod recalibrate; // the one temperature that brings σ down most

pub use fold::recalibrated;
pub use recalibrate::{fit, moved, Fit, Scores, LARGEST_TEMPERATURE, SMALLEST_TEMPERATURE};
