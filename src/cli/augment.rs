//! Arguments of `audit augment`.

use std::path::PathBuf;

use clap::Args;

use super::{at_least_one, TaskArgs};
use crate::config::Layer;

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
    pub(crate) tasks: TaskArgs,
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

impl AugmentArgs {
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

/// Parses a probability.
fn probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let why = "give a number from 0 to 1";
    (0.0..=1.0).contains(&value).then_some(value).ok_or_else(|| why.to_owned())
}
