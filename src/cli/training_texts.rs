//! Arguments of commands that read the training texts of a task.

use clap::Args;

use super::TaskArgs;
use crate::config::Layer;

#[derive(Debug, Args)]
pub(crate) struct TrainingTextArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Data folder, as for the audit [default: the Hub's nyu-mll/glue]
    #[arg(long, value_name = "DIR", help_heading = "Input")]
    pub(crate) data: Option<String>,
    /// Use only the first N examples
    #[arg(long, value_name = "N", help_heading = "Input")]
    pub(crate) limit: Option<usize>,
    /// Accept a split in which more than 0.1 % of the rows cannot be used
    #[arg(long, help_heading = "Input")]
    pub(crate) allow_skipped: bool,
    /// Read a vocab.txt without a tokenizer.json as cased
    #[arg(long, conflicts_with = "uncased", help_heading = "Input")]
    pub(crate) cased: bool,
    /// Read a vocab.txt without a tokenizer.json as uncased
    #[arg(long, help_heading = "Input")]
    pub(crate) uncased: bool,
    /// Seed of all draws; the same seed gives the same bytes [default: 0]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Worker threads; affects speed, never the result [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Print only errors to stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl TrainingTextArgs {
    /// These flags as a layer of settings, which overrides the config.
    pub(crate) fn layer(&self) -> Layer {
        Layer {
            // The config's splits are those of audits.
            split: Some("train".to_owned()),
            data: self.data.clone(),
            limit: self.limit,
            allow_skipped: self.allow_skipped.then_some(true),
            cased: self.cased,
            uncased: self.uncased,
            seed: self.seed,
            threads: self.threads,
            ..Layer::default()
        }
    }
}
