//! Arguments of `audit check`.

use clap::Args;

use super::{OutputArgs, TaskArgs};
use crate::config::Layer;

/// `audit check …`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Teacher prediction files (CSV, TSV, JSONL or Parquet) or glob patterns; several files are one
    /// table
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub(crate) teacher_predictions: Vec<String>,
    /// Student prediction files or glob patterns
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub(crate) student_predictions: Vec<String>,
    /// Divide each row of probabilities by its sum if rounding explains why that is not 1
    #[arg(long)]
    pub(crate) normalise: bool,
    #[command(flatten)]
    pub(crate) settings: Layer,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
