//! Arguments of `audit check`.

use clap::Args;

use super::{OutputArgs, TaskArgs};
use crate::config::Layer;

/// `audit check …`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Label names in the order of their ids, for a task of your own that no config describes
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Input")]
    pub(crate) labels: Vec<String>,
    /// Teacher prediction files (CSV, TSV, JSON, JSONL, Parquet, .npy or .npz) or glob patterns;
    /// several files are one table
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub(crate) teacher_predictions: Vec<String>,
    /// Student prediction files or glob patterns
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub(crate) student_predictions: Vec<String>,
    /// Divide each row of probabilities by its sum if rounding explains why that is not 1, and percent
    /// values by 100
    #[arg(long)]
    pub(crate) normalise: bool,
    #[command(flatten)]
    pub(crate) settings: Layer,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}
