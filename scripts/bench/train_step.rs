//! Our side of the training benchmark: some steps of the checkpoint of train_step.py.
//!
//! ```text
//! train_step FOLDER THREADS
//! ```

#[path = "clock.rs"]
mod clock;

use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use candle_nn::loss::cross_entropy;
use confidence_audit::checkpoint::TokenizedExample;
use confidence_audit::checkpoint::{Casing, Checkpoint};
use confidence_audit::distill::optimizer::{AdamW, AdamWOptions, Gradients};
use confidence_audit::hub::Hub;
use confidence_audit::model::encoder::Encoder;
use confidence_audit::model::{families, ops, Frozen, Mode, PackedBatch, Trainable, Wanted};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // as in src/main.rs

// As in train_step.py.
const BATCH: usize = 32;
const TOKENS: usize = 32;
const WARM_UP: usize = 3;
const STEPS: usize = 10;
const LEARNING_RATE: f64 = 1e-4;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("train_step FOLDER THREADS")?;
    let threads = arguments.next().context("train_step FOLDER THREADS")?.parse()?;
    // The threads of candle's own operations spin between two of them: a quarter of a step's time.
    std::env::set_var("CANDLE_NUM_THREADS", "1");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    pool.install(|| train(&folder, threads))
}

fn train(folder: &str, threads: usize) -> Result<()> {
    let mut checkpoint = Checkpoint::open(folder, Casing::Auto, &Hub::from_env())?;
    let family = families::family("bert").context("BERT is a family")?;
    let encoder = Encoder::load(
        family,
        &checkpoint.config,
        checkpoint.network.weights_mut()?,
        "pooled",
        &Device::Cpu,
    )?;
    let (encoder, parameters) = encoder.trainable(Frozen::Nothing)?;
    let options = AdamWOptions { weight_decay: 0.01, ..AdamWOptions::default() };
    let mut run = Run { encoder, adam: AdamW::new(parameters, options)? };
    for step in 0..WARM_UP {
        run.step(step)?;
    }
    let (clock, cpu) = (Instant::now(), clock::cpu_seconds());
    let mut loss = 0.0;
    for step in WARM_UP..WARM_UP + STEPS {
        loss = run.step(step)?;
    }
    let (wall, cpu) = (clock.elapsed().as_secs_f64(), clock::cpu_seconds() - cpu);
    let examples = (STEPS * BATCH) as f64;
    let line = json!({
        "engine": "confidence-audit",
        "threads": threads,
        "examples_per_cpu_second": examples / cpu,
        "examples_per_second": examples / wall,
        "loss": loss,
    });
    println!("{line}");
    Ok(())
}

struct Run {
    encoder: Encoder,
    adam: AdamW,
}

impl Run {
    /// One step -> its loss.
    fn step(&mut self, step: usize) -> Result<f32> {
        let logits = self.encoder.outputs(&batch(step), Wanted::default(), Mode::Eval)?.logits;
        let labels = Tensor::from_iter((0..BATCH as u32).map(|b| b % 2), &Device::Cpu)?;
        let loss = cross_entropy(&logits, &labels)?;
        let store = ops::backward(&loss)?;
        let mut gradients = Gradients::collect(store, self.adam.parameters())?;
        gradients.clip(1.0)?;
        self.adam.step(&gradients, LEARNING_RATE)?;
        Ok(loss.to_scalar()?)
    }
}

/// The batch of step number `step`, as in train_step.py.
fn batch(step: usize) -> PackedBatch {
    let example = |b: usize| {
        let id = |t: usize| 1_000 + ((step * BATCH + b) * TOKENS + t) * 7_919 % 29_000;
        let input_ids = (0..TOKENS).map(|t| id(t) as u32).collect();
        TokenizedExample { input_ids, token_type_ids: vec![0; TOKENS], truncated: false }
    };
    PackedBatch::new(&(0..BATCH).map(example).collect::<Vec<_>>())
}
