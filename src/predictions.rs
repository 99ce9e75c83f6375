//! Files of predictions, written by `audit predict` and read by `audit check`.
//!
//! One row per example, the same columns in CSV, TSV, JSONL and Parquet:
//!
//! | column | meaning |
//! |---|---|
//! | `id`, or another column of ids in [`examples`] | names the example; without it, rows are taken in order |
//! | `logit_<label>`, one per label | raw scores (read as f32), or |
//! | `probability_<label>`, one per label | probabilities that sum to one, or |
//! | `confidence` and `predicted` | the largest probability and its label; divergences are undefined |
//! | `label` | the true label, by name or id; may be left out or empty |

mod columns; //  which columns hold the predictions
mod examples; // which columns tell what example a row is of
mod of_split; // one model over the examples of a split
mod pair; //     teacher and student over the same examples
mod read; //     one model's predictions
mod renames; //  columns with other names
mod rounding; // probabilities with few digits
mod scores; //   numbers that may be logits or probabilities
mod write;

pub use examples::IDS;
pub use pair::{read_pair, JoinedBy, PredictionPair};
pub use read::{read_predictions, PredictionFile, PredictionOptions};
pub use rounding::Normalisation;
pub use write::{logits_bytes, write_logits, LogitsFormat};
