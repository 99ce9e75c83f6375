//! Augmented training texts: copies of each text in which words are replaced by likely ones.
//!
//! TinyBERT's data augmentation (Jiao et al. 2020, arXiv:1909.10351, appendix A). A word of one piece
//! is replaced by one of the M likeliest tokens of a masked language model, any other word by one of
//! the M nearest words of word vectors. Only words of the letters a to z that are not stop words are
//! replaced. Of a pair each column is changed alone, while the other stays the original.

mod candidates; // the words of a text, and what may replace them
mod copies; //     draws
mod record; //     what a table was made of
mod stop_words; // words that are never replaced
mod table; //      the rows as JSON lines
mod vectors; //    GloVe and word2vec

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Error, Result};
use rayon::prelude::*;

pub use candidates::{CandidateSource, CandidateWords, Origins};
pub use copies::CopyOptions;
pub use record::{AugmentationRecord, MaskedLmRecord, OriginalData, VectorsRecord};
pub use table::{AugmentedRow, ROW_KEY};
pub use vectors::{WordVectors, MOST_ROWS};

use self::table::TableWriter;
use crate::audit::{load_gating_split, Session};
use crate::checkpoint::Checkpoint;
use crate::config::Settings;
use crate::error::Interrupted;
use crate::inference::Observer;
use crate::input::InputFile;
use crate::task::{Dataset, Example};

/// Rows that are augmented at a time.
const ROWS: usize = 64;
/// What becomes of an augmentation that is stopped.
const NO_TABLE: &str = "no table was written";

/// The copies per text of the authors' code; `None` for tasks that it does not have.
pub fn published_copies(task: &str) -> Option<usize> {
    Some(match task {
        "cola" | "mrpc" | "rte" => 30,
        "sst2" | "qnli" => 20,
        "mnli" | "mnli-mm" | "qqp" => 10,
        _ => return None,
    })
}

/// What is augmented, and by what.
pub struct Augmentation<'a> {
    /// The task, its data, the tokenizer's casing and the threads.
    pub settings: &'a Settings,
    /// The checkpoint of the masked language model: a folder or a Hub id.
    pub masked_lm: &'a str,
    /// The file of word vectors.
    pub vectors: &'a InputFile,
    /// The file of the table, for messages.
    pub output: &'a Path,
    /// How copies are drawn.
    pub options: CopyOptions,
}

impl Augmentation<'_> {
    /// Writes the rows of the training split and their copies to `out`, one JSON object a line: the
    /// columns of the texts, and [`ROW_KEY`]. Of each row the original is first, then the copies with
    /// another first text, then those with another second text. Labels are left out.
    ///
    /// The same seed gives the same bytes on any number of threads.
    ///
    /// # Errors
    /// A checkpoint that is not a masked language model with a WordPiece tokenizer, vectors or data
    /// that cannot be read, an interrupt, a full disk.
    pub fn write(&self, session: &Session, out: &mut dyn Write) -> Result<AugmentationRecord> {
        self.run(session, out).map_err(|error| stopped(error, 0, 0))
    }

    fn run(&self, session: &Session, out: &mut dyn Write) -> Result<AugmentationRecord> {
        let Augmentation { settings, vectors, options, .. } = *self;
        let dataset = load_gating_split(settings, &session.hub)?.dataset;
        let opening = || format!("cannot load the masked language model `{}`", self.masked_lm);
        let checkpoint = Checkpoint::open(self.masked_lm, settings.casing, &session.hub);
        let mut checkpoint = checkpoint.with_context(opening)?;
        let masked_lm = MaskedLmRecord {
            source: self.masked_lm.to_owned(),
            revision: checkpoint.revision.clone(),
            weights_sha256: session
                .weights_sha256(checkpoint.network.weights_mut()?)
                .with_context(opening)?,
            tokenizer_sha256: checkpoint.tokenizer_sha256.clone(),
            config_sha256: checkpoint.config_sha256.clone(),
        };
        let known = WordVectors::read(vectors, &session.interrupt)?;
        let inputs = checkpoint.inputs.clone();
        let (count, interrupt) = (options.candidates, &session.interrupt);
        let mut source = CandidateSource::open(&mut checkpoint, &known, count, interrupt)
            .with_context(opening)?;
        let mut table = TableWriter::new(settings.task.written_text_columns(), self.output, out);
        self.rows(&dataset, &mut source, session, &mut table)?;
        let (words, (rows, sha256)) = (source.origins(), table.finish());
        let recorded = VectorsRecord {
            source: vectors.name().to_owned(),
            sha256: vectors.sha256()?,
            rows: known.len(),
            dimensions: known.dimensions(),
        };
        inputs.iter().chain([vectors]).try_for_each(InputFile::require_unchanged)?;
        Ok(AugmentationRecord {
            version: env!("CARGO_PKG_VERSION"),
            task: dataset.task,
            split: dataset.split,
            options,
            masked_lm,
            vectors: recorded,
            data: OriginalData {
                examples: dataset.examples.len(),
                limit: settings.limit,
                sha256: dataset.sha256,
                revision: dataset.commit,
            },
            words,
            rows,
            sha256,
        })
    }

    fn rows(
        &self,
        dataset: &Dataset,
        source: &mut CandidateSource,
        session: &Session,
        table: &mut TableWriter,
    ) -> Result<()> {
        let total = dataset.examples.len();
        let progress = session.progress.phase(&format!("augmenting {}", dataset.task), total);
        for (block, examples) in dataset.examples.chunks(ROWS).enumerate() {
            let done = block * ROWS;
            let rows = block_of(source, examples, done, self.options)
                .map_err(|error| stopped(error, done, total))?;
            rows.into_iter().try_for_each(|row| table.write(row))?;
            progress.rows_done(examples.len(), 0);
        }
        Ok(())
    }
}

/// The error of an augmentation: if the user stopped it, how far it had come.
fn stopped(error: Error, done: usize, total: usize) -> Error {
    match error.downcast::<Interrupted>() {
        Ok(by_user) if total > 0 => {
            Interrupted { done, total, outcome: NO_TABLE, ..by_user }.into()
        }
        Ok(by_user) => Interrupted { outcome: NO_TABLE, ..by_user }.into(),
        Err(other) => other,
    }
}

/// The rows of `examples`, the first of which is at `first` in its split.
fn block_of(
    source: &mut CandidateSource,
    examples: &[Example],
    first: usize,
    options: CopyOptions,
) -> Result<Vec<AugmentedRow>> {
    let flat: Vec<&str> = examples.iter().flat_map(texts_of).collect();
    let mut words = source.of(&flat)?.into_iter();
    let of_example = |example| words.by_ref().take(texts_of(example).len()).collect();
    let words: Vec<Vec<CandidateWords>> = examples.iter().map(of_example).collect();
    let rows = examples.par_iter().zip(words).enumerate();
    let rows = rows.map(|(i, (example, words))| rows_of(example, &words, first + i, options));
    Ok(rows.collect::<Vec<_>>().into_iter().flatten().collect())
}

/// One text, or the two of a pair.
fn texts_of(example: &Example) -> Vec<&str> {
    std::iter::once(example.text.as_str()).chain(example.pair.as_deref()).collect()
}

/// The original row, then its copies, one column after the other.
fn rows_of(
    example: &Example,
    words: &[CandidateWords],
    original: usize,
    options: CopyOptions,
) -> Vec<AugmentedRow> {
    let texts = texts_of(example);
    let row = |texts: &[&str]| AugmentedRow {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        original,
    };
    let mut rows = vec![row(&texts)];
    for (column, words) in words.iter().enumerate() {
        // Two streams a row, whether it is a pair or not.
        let stream = 2 * original as u64 + column as u64;
        for copy in options.copies_of(texts[column], words, stream) {
            let mut texts = texts.clone();
            texts[column] = &copy;
            rows.push(row(&texts));
        }
    }
    rows
}

/// The places of the `count` largest of `values`, the largest first; equal ones in their order.
fn largest(values: &[f32], count: usize) -> Vec<u32> {
    let count = count.min(values.len());
    let mut places: Vec<u32> = (0..values.len() as u32).collect();
    let order = |a: &u32, b: &u32| {
        let (x, y) = (values[*a as usize], values[*b as usize]);
        y.total_cmp(&x).then(a.cmp(b))
    };
    if count < places.len() {
        places.select_nth_unstable_by(count, order);
        places.truncate(count);
    }
    places.sort_unstable_by(order);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_in_order_and_ties_in_theirs() {
        assert_eq!(largest(&[1.0, 3.0, 2.0, 3.0], 3), [1, 3, 2]);
        assert_eq!(largest(&[1.0, 3.0], 5), [1, 0]);
        assert!(largest(&[1.0], 0).is_empty());
    }
}
