//! Temperature scaling: the one temperature that brings a student's confidence nearest to its
//! teacher's.
//!
//! ```text
//!  confidence(T), logits(S) ──► Scores ──► fit ──► τ ──► recalibrated: weights with τ folded in
//! ```

mod fold; //        the temperature divided into the last linear layer
mod temperature; // the search over temperatures

pub use fold::recalibrated;
pub use temperature::{fit, moved, Fit, Scores, LARGEST_TEMPERATURE, SMALLEST_TEMPERATURE};
