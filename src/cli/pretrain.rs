//! Arguments of `audit pretrain`.

use std::path::PathBuf;

use clap::Args;

use super::{at_least_one, TaskArgs};
use crate::config::Layer;

const PRETRAINED: &str = "\
15 % of the tokens of each text are predicted: 80 % of them are masked, 10 % replaced by a random token, \
and 10 % left. One text in twenty is held out of the training; loss and accuracy on it are printed for \
each epoch and written to pretraining.json. A head that BASE lacks is new. The result is a masked \
language model for `audit augment --masked-lm`. An interrupted pretraining cannot be resumed.";

/// `audit pretrain …`
#[derive(Debug, Args)]
#[command(after_help = PRETRAINED)]
pub(crate) struct PretrainArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Pretrained checkpoint to start from: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]", help_heading = "Input")]
    pub(crate) base: String,
    /// New or empty folder for the checkpoint
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Train the encoder too, not the head alone
    #[arg(long)]
    pub(crate) train_encoder: bool,
    /// Passes over the texts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub(crate) epochs: usize,
    /// Texts of a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub(crate) batch_size: usize,
    /// Highest learning rate [default: 1e-3 for the head alone, 5e-5 with --train-encoder]
    #[arg(long, value_name = "RATE", value_parser = learning_rate, allow_negative_numbers = true)]
    pub(crate) learning_rate: Option<f64>,
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
    /// Maximum sequence length in tokens [default: 128]
    #[arg(long, value_name = "TOKENS", help_heading = "Input")]
    pub(crate) max_length: Option<usize>,
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

impl PretrainArgs {
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
            max_length: self.max_length,
            seed: self.seed,
            threads: self.threads,
            ..Layer::default()
        }
    }
}

/// Parses a learning rate.
fn learning_rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let why = "give a number above 0 and at most 1";
    (value > 0.0 && value <= 1.0).then_some(value).ok_or_else(|| why.to_owned())
}
