//! 4. Examples to logits (N, K), in example order.
//!
//! Examples are sorted by length and packed into batches under a token budget; one worker per core
//! takes the next batch. A row of the result has the same bits whatever the batches, the budget and
//! the number of workers were, because the model's rows do not depend on their batch-mates.

mod tokenize;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use anyhow::{bail, Context, Result};

pub use tokenize::tokenize;

use crate::interrupt::{Interrupt, Interrupted};
use crate::model::{Model, PackedBatch, TokenizedExample, Workspace};

/// Raw scores of N examples over K labels, row-major (N, K).
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// The scores; row i is `values[i * labels..][..labels]`.
    pub values: Vec<f32>,
    /// K.
    pub labels: usize,
}

impl Logits {
    /// Row `i` (K).
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.labels..][..self.labels]
    }
}

/// How a model is run; none of it changes a bit of the result.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Workers, each on one core.
    pub threads: usize,
    /// Most tokens of a batch; a longer sequence is a batch of its own.
    pub token_budget: usize,
    /// Set when the user asks to stop.
    pub interrupt: Interrupt,
}

/// Hears of the batches as they end, from any worker.
pub trait Observer: Sync {
    /// `rows[i]` are the logits of example `examples[i]`, the model's columns in the task's order.
    fn batch_done(&self, examples: &[usize], rows: &[f32], tokens: usize);
}

/// An observer that does not listen.
pub struct Silent;

impl Observer for Silent {
    fn batch_done(&self, _: &[usize], _: &[f32], _: usize) {}
}

/// Indices of the examples of each batch: sorted by length, longest first, under `token_budget`.
///
/// Long batches come first so that the workers end at about the same time.
pub fn plan(examples: &[TokenizedExample], token_budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(examples[i].len()), i));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut tokens = usize::MAX;
    for i in order {
        tokens = tokens.saturating_add(examples[i].len());
        match batches.last_mut() {
            Some(batch) if tokens <= token_budget => batch.push(i),
            _ => {
                batches.push(vec![i]);
                tokens = examples[i].len();
            }
        }
    }
    batches
}

/// Runs `model` over `examples`; `columns[task label] = model label` brings its scores into the
/// task's order. `what` names the run in errors.
///
/// # Errors
/// A score that is not finite (naming the example), an interrupt, a failure of the device.
pub fn run(
    model: &dyn Model,
    columns: &[usize],
    examples: &[TokenizedExample],
    what: &str,
    options: &RunOptions,
    observer: &dyn Observer,
) -> Result<Logits> {
    let labels = columns.len();
    let batches = plan(examples, options.token_budget);
    let values = Mutex::new(vec![0f32; examples.len() * labels]);
    let failure = Mutex::new(None);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut workspace = Workspace::default();
        while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
            if options.interrupt.is_set() {
                return;
            }
            match run_batch(model, columns, examples, batch, &mut workspace) {
                Ok((rows, tokens)) => {
                    let mut values = values.lock().expect("no worker panics with the lock");
                    for (row, &i) in rows.chunks_exact(labels).zip(batch) {
                        values[i * labels..][..labels].copy_from_slice(row);
                    }
                    drop(values);
                    done.fetch_add(batch.len(), Ordering::Relaxed);
                    observer.batch_done(batch, &rows, tokens);
                }
                Err(error) => {
                    failure.lock().expect("no worker panics with the lock").get_or_insert(error);
                    next.store(batches.len(), Ordering::Relaxed);
                    return;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.threads.min(batches.len()) {
            scope.spawn(work);
        }
        work();
    });
    if let Some(error) = failure.into_inner().expect("the workers have ended") {
        return Err(error).with_context(|| format!("cannot run the {what}"));
    }
    let done = done.into_inner();
    if done < examples.len() {
        bail!(Interrupted { what: what.to_owned(), done, total: examples.len() });
    }
    let values = values.into_inner().expect("the workers have ended");
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(crate::error::hinted(
            format!("{what}: the logits of example {} hold {}", at / labels, values[at]),
            "the model overflows on this input; its training diverged, or it needs another dtype",
        ));
    }
    Ok(Logits { values, labels })
}

/// One batch -> its rows in the task's label order (B, K), and its number of tokens.
fn run_batch(
    model: &dyn Model,
    columns: &[usize],
    examples: &[TokenizedExample],
    batch: &[usize],
    workspace: &mut Workspace,
) -> Result<(Vec<f32>, usize)> {
    let packed = PackedBatch::new(batch.iter().map(|&i| &examples[i]));
    let logits = model.logits(&packed, workspace)?; // (B, K)
    let rows = logits.chunks_exact(model.labels());
    let rows = rows.flat_map(|row| columns.iter().map(|&c| row[c])).collect();
    Ok((rows, packed.tokens()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_plan_holds_every_example_once_and_keeps_the_budget(
            lengths in prop::collection::vec(1usize..90, 1..200), budget in 1usize..400
        ) {
            let examples: Vec<_> = lengths.iter().map(|&n| TokenizedExample {
                input_ids: vec![0; n], token_type_ids: vec![0; n], truncated: false,
            }).collect();
            let plan = plan(&examples, budget);
            let mut seen: Vec<usize> = plan.iter().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in plan {
                let tokens: usize = batch.iter().map(|&i| lengths[i]).sum();
                prop_assert!(tokens <= budget || batch.len() == 1);
            }
        }
    }
}
