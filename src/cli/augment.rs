//! Arguments of `audit augment`.

use std::path::PathBuf;

use clap::Args;

use super::at_least_one;
use super::training_texts::TrainingTextArgs;

const AUGMENTED: &str = "\
A word is replaced if it has the letters a to z only and is not an English stop word: a word of one piece \
by one of the likeliest tokens of the masked language model, any other word by one of the nearest words of \
the vectors. Each row of OUTPUT has the texts and `row`, the place of its original in the split, counted \
from 0; labels are left out. Each original is followed by its copies. Of a pair, one text is changed at a \
time. The record beside OUTPUT, with the extension .json, has the SHA-256 of the model, the vectors, the \
data and OUTPUT.";

/// `audit augment …`
#[derive(Debug, Args)]
#[command(after_help = AUGMENTED)]
pub(crate) struct AugmentArgs {
    #[command(flatten)]
    pub(crate) texts: TrainingTextArgs,
    /// Masked language model with BERT's tokenizer: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]", help_heading = "Input")]
    pub(crate) masked_lm: String,
    /// Word vectors in the text format of GloVe or word2vec; the first 100,000 rows are read
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) vectors: PathBuf,
    /// Output file, a .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Overwrite an existing output
    #[arg(long)]
    pub(crate) force: bool,
    /// Copies drawn of each text; equal copies are written once [default: 30 for cola, mrpc and rte,
    /// 20 for sst2 and qnli, 10 for mnli and qqp]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) copies: Option<usize>,
    /// Probability that a word is replaced, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.4, value_parser = probability,
          allow_negative_numbers = true)]
    pub(crate) probability: f64,
    /// Candidates of each word
    #[arg(long, value_name = "M", default_value_t = 15, value_parser = at_least_one)]
    pub(crate) candidates: usize,
}

/// Parses a probability.
fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let why = "give a number from 0 to 1";
    (0.0..=1.0).contains(&value).then_some(value).ok_or_else(|| why.to_owned())
}
