//! Files of predictions, written by `audit predict` and read by `audit check`.
//!
//! One row per example, the same columns in CSV, TSV, JSONL and Parquet:
//!
//! | column | meaning |
//! |---|---|
//! | `id` | names the example; without it, rows are taken in order |
//! | `logit_<label>`, one per label | raw scores (read as f32), or |
//! | `probability_<label>`, one per label | probabilities that sum to one, or |
//! | `confidence` and `predicted` | the largest probability and its label; divergences are undefined |
//! | `label` | the true label, by name or id; may be left out or empty |

mod read;
mod write;

pub use read::{read_pair, read_predictions, PredictionFile};
pub use write::{write_logits, LogitsFormat};
