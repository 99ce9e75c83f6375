//! Exported models in an audit: in the batches of a service, a text's logits are those of its batch.
//!
//! The batches are cut from the whole split, in its order or shuffled, so that they depend on nothing
//! but the data and the settings. Every row of a batch is stored.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use anyhow::{Context, Error, Result};

use super::classifier::Classifier;
use crate::cache::{CacheEntry, Row};
use crate::checkpoint::TokenizedExample;
use crate::config::{Origin, Settings};
use crate::error::{failure, usage, Interrupted, NO_REPORT};
use crate::inference::{tokenize, Logits, NotFinite, Observer, RunOptions};
use crate::model::onnx::Served;
use crate::model::Model;
use crate::task::Dataset;

/// Runs the batches that hold `rows` which `entry` lacks, if `classifier` is run in batches; else
/// nothing.
///
/// # Errors
/// A text that is longer than the padding, a model that cannot be run, an interrupt.
pub(super) fn fill(
    classifier: &Classifier,
    entry: &mut CacheEntry,
    dataset: &Dataset,
    rows: &[u32],
    options: &RunOptions,
    observer: &dyn Observer,
) -> Result<()> {
    let (Some(served), Some(model)) = (classifier.served(), classifier.model()) else {
        return Ok(());
    };
    let mut wanted = vec![false; dataset.examples.len()];
    rows.iter().for_each(|&row| wanted[row as usize] = entry.row(row as usize).is_none());
    let mut batches = served.batches(dataset.examples.len());
    batches.retain(|batch| batch.iter().any(|&row| wanted[row as usize]));
    let run = ServedRun { classifier, model, served, dataset, options, observer, batches };
    run.all(entry)
}

/// Fails if a flag says how ONNX models are run, and none of `models` is one.
///
/// # Errors
/// A usage error that names the flag.
pub fn refuse_unused(settings: &Settings, models: &[&Classifier]) -> Result<()> {
    if models.iter().any(|model| model.is_exported()) {
        return Ok(());
    }
    for key in ["onnx_batch", "onnx_pad", "onnx_shuffle"] {
        let origin = settings.origin(key);
        if matches!(origin, Origin::Flag(_)) {
            return Err(usage!("`{key}` ({origin}) is for ONNX models, and no model is one")
                .hint("leave it out, or name an ONNX file")
                .into());
        }
    }
    Ok(())
}

/// Rows from which on logits that look like probabilities are not taken for logits.
const EVIDENCE: usize = 3;

/// How far from 1 the probabilities of a row may sum.
const ROUNDING: f32 = 1e-3;

/// Fails if `classifier` is an export and all its `logits` are distributions: softmax would be applied
/// twice.
///
/// # Errors
/// Names the model and what to do.
pub(super) fn refuse_probabilities(classifier: &Classifier, logits: &Logits) -> Result<()> {
    if !classifier.is_exported() {
        return Ok(());
    }
    let is_distribution = |row: &[f32]| {
        row.iter().all(|p| (0.0..=1.0).contains(p))
            && (row.iter().sum::<f32>() - 1.0).abs() <= ROUNDING
    };
    let mut rows = logits.values.chunks_exact(logits.labels);
    let enough = rows.len() >= EVIDENCE;
    if enough && rows.all(is_distribution) {
        return Err(failure!(
            "every row of the {}'s output lies in [0, 1] and sums to 1: these are probabilities, and \
             softmax would be applied twice",
            classifier.role()
        )
        .hint("export the model's logits, or gate its probabilities with `audit check`")
        .into());
    }
    Ok(())
}

/// One run over the batches of a split.
struct ServedRun<'a> {
    classifier: &'a Classifier,
    model: &'a dyn Model,
    served: Served,
    dataset: &'a Dataset,
    options: &'a RunOptions,
    observer: &'a dyn Observer,
    batches: Vec<Vec<u32>>,
}

/// A batch with its results.
struct Done<'a> {
    rows: &'a [u32],
    tokens: Vec<TokenizedExample>,
    logits: Vec<f32>,
}

impl ServedRun<'_> {
    fn all(&self, entry: &mut CacheEntry) -> Result<()> {
        let next = AtomicUsize::new(0);
        let state = Mutex::new((entry, None));
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.clamp(1, self.batches.len().max(1)) {
                scope.spawn(|| self.work(&next, &state));
            }
        });
        match state.into_inner().expect("no worker panics with the lock").1 {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes batches until none is left or one failed. The first failed batch gives the error.
    fn work(&self, next: &AtomicUsize, state: &Mutex<(&mut CacheEntry, Option<(usize, Error)>)>) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(rows) = self.batches.get(number) else { return };
            let done = self.interrupted(number).and_then(|()| self.one(rows));
            let mut state = state.lock().expect("no worker panics with the lock");
            let stored = done.and_then(|done| self.store(&done, state.0));
            if let Err(error) = stored {
                if state.1.as_ref().is_none_or(|(first, _)| number < *first) {
                    state.1 = Some((number, error));
                }
            }
            if state.1.is_some() {
                return;
            }
        }
    }

    fn interrupted(&self, number: usize) -> Result<()> {
        if !self.options.interrupt.is_set() {
            return Ok(());
        }
        let (done, total) = (number * self.served.batch, self.dataset.examples.len());
        Err(Interrupted { what: self.what(), done, total, outcome: NO_REPORT }.into())
    }

    fn what(&self) -> String {
        format!("{} on {}/{}", self.classifier.role(), self.dataset.task, self.dataset.split)
    }

    fn one<'b>(&self, rows: &'b [u32]) -> Result<Done<'b>> {
        let vocabulary = self.model.vocabulary();
        let examples = &self.dataset.examples;
        let tokens = tokenize(self.classifier.tokenizer(), vocabulary, examples, rows)
            .with_context(|| self.what())?;
        let batch: Vec<_> = tokens.iter().collect();
        let logits = self.model.batch_logits(&batch).with_context(|| self.what())?;
        let labels = self.model.labels();
        if let Some(i) = logits.iter().position(|logit| !logit.is_finite()) {
            let (index, score) = (rows[i / labels] as usize, logits[i]);
            return Err(NotFinite { what: self.what(), index, score }.into());
        }
        Ok(Done { rows, tokens, logits })
    }

    fn store(&self, done: &Done, entry: &mut CacheEntry) -> Result<()> {
        let logits = done.logits.chunks_exact(self.model.labels());
        let new = done.rows.iter().zip(&done.tokens).zip(logits);
        let new: Vec<Row> = new
            .map(|((&row, tokens), logits)| Row {
                index: row as usize,
                logits,
                truncated: tokens.truncated,
            })
            .collect();
        if let Some(note) = entry.append(&new)? {
            self.observer.cache_note(&note);
        }
        let tokens = done.tokens.iter().map(TokenizedExample::len).sum();
        self.observer.rows_done(done.rows.len(), tokens);
        Ok(())
    }
}
