//! Arguments of `audit pretrain`.

use std::path::PathBuf;

use clap::Args;

use super::at_least_one;
use super::training_texts::TrainingTextArgs;
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
    pub(crate) texts: TrainingTextArgs,
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
    /// Maximum sequence length in tokens [default: 128]
    #[arg(long, value_name = "TOKENS", help_heading = "Input")]
    pub(crate) max_length: Option<usize>,
}

impl PretrainArgs {
    /// These flags as a layer of settings, which overrides the config.
    pub(crate) fn layer(&self) -> Layer {
        Layer { max_length: self.max_length, ..self.texts.layer() }
    }
}

/// Parses a learning rate.
fn learning_rate(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let why = "give a number above 0 and at most 1";
    (value > 0.0 && value <= 1.0).then_some(value).ok_or_else(|| why.to_owned())
}
