//! What training needs beside the forward kernels: their gradients, single-threaded as they are.
//!
//! The caller cuts the work into chunks and hands them to threads. Sums over rows come back as one
//! partial sum for each chunk, so that the caller adds them up in an order of its own.

mod activation; // element by element, from what the activation was given
mod attention; //  within each sequence, probabilities computed anew
mod linear; //     products with transposes
mod norm; //       layer norm, its means computed anew

pub use activation::{activate, activation_gradient};
pub use attention::{
    attention_gradient, attention_scores, scores_gradient, GradientBuffers, SequenceView,
};
pub use linear::{add_rows, input_gradient, transpose, weight_gradient};
pub use norm::layer_norm_gradient;
