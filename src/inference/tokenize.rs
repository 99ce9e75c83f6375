//! Examples to token ids, on all cores.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{bail, Context, Result};

use crate::checkpoint::TextTokenizer;
use crate::error::hinted;
use crate::interrupt::{Interrupt, Interrupted};
use crate::model::TokenizedExample;
use crate::task::Example;

/// Tokenises `examples` in order; every id must lie below `vocabulary`, the model's V.
///
/// # Errors
/// An id that the model has no embedding for, a text without any token.
pub fn tokenize(
    tokenizer: &TextTokenizer,
    vocabulary: usize,
    examples: &[Example],
    threads: usize,
    interrupt: &Interrupt,
) -> Result<Vec<TokenizedExample>> {
    let chunk = examples.len().div_ceil(threads.max(1)).max(1);
    let stop = AtomicBool::new(false);
    let parts: Vec<Result<Vec<_>>> = std::thread::scope(|scope| {
        let workers: Vec<_> = examples
            .chunks(chunk)
            .enumerate()
            .map(|(part, examples)| {
                let stop = &stop;
                scope.spawn(move || {
                    let mut tokenized = Vec::with_capacity(examples.len());
                    for (i, example) in examples.iter().enumerate() {
                        if interrupt.is_set() || stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let tokens = encode(tokenizer, vocabulary, example)
                            .with_context(|| format!("example {}", part * chunk + i));
                        stop.fetch_or(tokens.is_err(), Ordering::Relaxed);
                        tokenized.push(tokens?);
                    }
                    Ok(tokenized)
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().expect("a tokeniser does not panic")).collect()
    });
    let mut all = Vec::with_capacity(examples.len());
    for part in parts {
        all.extend(part?);
    }
    if all.len() < examples.len() {
        let what = "tokenisation".to_owned();
        bail!(Interrupted { what, done: all.len(), total: examples.len() });
    }
    Ok(all)
}

fn encode(
    tokenizer: &TextTokenizer,
    vocabulary: usize,
    example: &Example,
) -> Result<TokenizedExample> {
    let tokens = tokenizer.encode(&example.text, example.pair.as_deref())?;
    if tokens.is_empty() {
        bail!("the tokenizer makes no token of it, not even a special one");
    }
    match tokens.input_ids.iter().find(|&&id| id as usize >= vocabulary) {
        None => Ok(tokens),
        Some(id) => Err(hinted(
            format!("the tokenizer gives the id {id}, and the model has {vocabulary} embeddings"),
            "the tokenizer's files and the weights are of two models; put the right ones together",
        )),
    }
}
