//! Gradients of the forward kernels, single-threaded.
//!
//! The caller divides the work into chunks for threads. Sums over rows are returned as one partial
//! sum per chunk, which the caller adds up in a fixed order.

mod activation; // element-wise, from the activation's input
mod attention; //  within each sequence; recomputes the probabilities
mod linear; //     products with transposes
mod norm; //       layer norm; recomputes its means

pub use activation::{activate, activation_gradient};
pub use attention::{
    attention_gradient, attention_scores, scores_gradient, GradientBuffers, SequenceView,
};
pub use linear::{add_rows, input_gradient, transpose, weight_gradient};
pub use norm::layer_norm_gradient;
