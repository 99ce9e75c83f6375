//! Pretraining: fits a masked-language-model head, and on request the encoder, to a task's own texts.
//!
//! BERT's objective (Devlin et al. 2019, arXiv:1810.04805) without the next sentence: 15 % of the
//! tokens are predicted, of which 80 % are masked, 10 % replaced by a random token and 10 % left. The
//! decoder runs on the predicted tokens alone.

mod masking; // which tokens are hidden
mod record; //  pretraining.json

use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use candle_core::Tensor;
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{json, Map, Value};

pub use masking::{MaskedExample, Masking, MASKED, PREDICTED, RANDOM};
pub use record::{
    PretrainOptions, PretrainedBase, PretrainedEpoch, PretrainingData, PretrainingRecord,
};

use crate::audit::{load_gating_split, Session};
use crate::checkpoint::{Checkpoint, Draws, NewCheckpoint, TextTokenizer, TokenizedExample};
use crate::config::Settings;
use crate::distill::data::tokens;
use crate::distill::losses;
use crate::distill::optimizer::{AdamW, AdamWOptions, Gradients};
use crate::distill::schedule::{Decay, Schedule};
use crate::error::{failure, Interrupted};
use crate::inference::Observer;
use crate::input::InputFile;
use crate::model::families::{self, EncoderFamily};
use crate::model::{conventions, load_masked_lm, ops, Dropout, DropoutRates, Frozen, Head};
use crate::model::{MaskedLm, Mode, PackedBatch};
use crate::task::Dataset;

/// The share of the texts that is held out of the training.
pub const HELD_OUT: f64 = 0.05;
/// The share of the steps during which the learning rate rises.
const WARMUP: f64 = 0.1;
/// Maximum norm of all gradients.
const CLIP: f64 = 1.0;
/// Standard deviation of new weights where config.json has none.
const INITIALIZER_RANGE: f64 = 0.02;
/// What becomes of a pretraining that is stopped.
const NO_CHECKPOINT: &str = "no checkpoint was written";

/// Streams of the seed: the held-out texts and their masks, then one for each epoch.
const HELD_OUT_STREAM: u64 = 0;

/// What is trained, and on what.
pub struct Pretraining<'a> {
    /// The task, its data, the tokenizer's casing and the maximum length.
    pub settings: &'a Settings,
    /// The checkpoint to start from: a folder or a Hub id.
    pub base: &'a str,
    /// A new or empty folder.
    pub output: &'a Path,
    /// How it is trained.
    pub options: PretrainOptions,
}

/// A model under training and its texts.
struct PretrainingRun<'a> {
    options: PretrainOptions,
    session: &'a Session,
    model: MaskedLm,
    dropout: DropoutRates,
    masking: Masking,
    texts: Vec<TokenizedExample>,
    held_out: Vec<MaskedExample>,
}

impl Pretraining<'_> {
    /// Trains the model and writes its checkpoint with `pretraining.json`. The same seed gives the same
    /// bytes on any number of threads.
    ///
    /// # Errors
    /// A base that is not an encoder of the BERT family or has no mask token, data that cannot be
    /// read, a loss that is not finite, an interrupt.
    pub fn run(&self, session: &Session) -> Result<PretrainingRecord> {
        let dataset = load_gating_split(self.settings, &session.hub)?.dataset;
        let opening = || format!("cannot load the base `{}`", self.base);
        let checkpoint = Checkpoint::open(self.base, self.settings.casing, &session.hub);
        let mut checkpoint = checkpoint.with_context(opening)?;
        let weights_sha256 =
            session.weights_sha256(checkpoint.network.weights_mut()?).with_context(opening)?;
        let tokenizer_files = checkpoint.tokenizer_files(&session.hub)?;
        let Checkpoint { revision, config, tokenizer, network, inputs, tokenizer_sha256, .. } =
            checkpoint;
        let weights = network.into_weights()?;
        let (architecture, _) = conventions(&config, &weights, Head::Auto)?;
        let family = families::family(&architecture);
        let family =
            family.with_context(|| format!("`{}` is a {architecture} model", self.base))?;
        let new_head = !family.has_masked_head(&weights);
        let deviation = config.number_or("initializer_range", INITIALIZER_RANGE)?;
        let prefixes = family.masked_head_prefixes();
        let mut weights =
            weights.with_draws(Draws { seed: self.options.seed, deviation, prefixes });
        let (model, dropout) = load_masked_lm(&config, &mut weights).with_context(opening)?;

        let (mut run, max_length) = self.prepare(model, dropout, tokenizer, &dataset, session)?;
        let (model, epochs) = run.train()?;
        inputs.iter().try_for_each(InputFile::require_unchanged)?;
        let record = PretrainingRecord {
            version: env!("CARGO_PKG_VERSION"),
            task: dataset.task,
            options: self.options,
            base: PretrainedBase {
                source: self.base.to_owned(),
                revision,
                weights_sha256,
                tokenizer_sha256,
                new_head,
            },
            data: PretrainingData {
                examples: run.texts.len(),
                held_out: run.held_out.len(),
                held_out_tokens: run.held_out.iter().map(|text| text.places.len()).sum(),
                max_length,
                sha256: dataset.sha256,
                revision: dataset.commit,
            },
            epochs,
        };
        let mut json = serde_json::to_vec_pretty(&record)?;
        json.push(b'\n');
        let checkpoint = NewCheckpoint {
            config: written_config(config.keys(), family, &architecture),
            tensors: model.export()?,
            tokenizer_files,
            extra_files: vec![("pretraining.json", json)],
        };
        checkpoint.write(self.output)?;
        Ok(record)
    }

    /// Tokenises the texts and divides them -> the run, and the maximum length in tokens.
    fn prepare<'s>(
        &self,
        model: MaskedLm,
        dropout: DropoutRates,
        mut tokenizer: TextTokenizer,
        dataset: &Dataset,
        session: &'s Session,
    ) -> Result<(PretrainingRun<'s>, usize)> {
        let own = tokenizer.model_max_length().and_then(|length| usize::try_from(length).ok());
        let limits = [Some(self.settings.max_length), Some(model.shape().positions), own];
        let max_length = limits.into_iter().flatten().min().unwrap_or_default();
        tokenizer.set_max_length(max_length)?;
        let mut texts = tokens(dataset, &tokenizer, model.vocabulary())?;
        let mask = tokenizer.mask_token().filter(|id| (*id as usize) < model.vocabulary());
        let mask = mask.with_context(|| format!("`{}` has no mask token", self.base))?;
        let masking = Masking::new(&tokenizer, mask, model.vocabulary())?;

        let mut random = stream(self.options.seed, HELD_OUT_STREAM);
        texts.shuffle(&mut random);
        let count = (texts.len() as f64 * HELD_OUT).ceil() as usize;
        ensure!(count < texts.len(), "one text is too few: some are held out of the training");
        let held_out = texts.split_off(texts.len() - count);
        let held_out: Vec<MaskedExample> =
            held_out.iter().map(|tokens| masking.hide(tokens, &mut random)).collect();
        if held_out.iter().all(|text| text.places.is_empty()) {
            bail!("the held-out texts have no tokens to predict");
        }
        let options = self.options;
        Ok((
            PretrainingRun { options, session, model, dropout, masking, texts, held_out },
            max_length,
        ))
    }
}

impl PretrainingRun<'_> {
    /// The trained model, and the course of its training.
    fn train(&mut self) -> Result<(MaskedLm, Vec<PretrainedEpoch>)> {
        let PretrainOptions { train_encoder, epochs, batch_size, seed, .. } = self.options;
        let (model, parameters) = match train_encoder {
            true => self.model.trainable(Frozen::Nothing)?,
            false => self.model.trainable_head()?,
        };
        let mut optimizer = AdamW::new(parameters, AdamWOptions::default())?;
        let steps = (epochs * self.texts.len().div_ceil(batch_size)) as u64;
        let total = epochs * self.texts.len();
        let progress = self.session.progress.phase("pretraining", total);
        let mut course = vec![self.evaluate(&model, 0, None)?];
        let mut step = 0;
        for epoch in 1..=epochs {
            let mut random = stream(seed, epoch as u64);
            let mut order: Vec<usize> = (0..self.texts.len()).collect();
            order.shuffle(&mut random);
            let (mut sum, mut tokens) = (0.0, 0);
            for (i, batch) in order.chunks(batch_size).enumerate() {
                let done = (epoch - 1) * self.texts.len() + i * batch_size;
                self.session.interrupt.check(String::new).map_err(|_| Interrupted {
                    what: "pretraining".to_owned(),
                    done,
                    total,
                    outcome: NO_CHECKPOINT,
                })?;
                let hide = |row: &usize| self.masking.hide(&self.texts[*row], &mut random);
                let batch: Vec<MaskedExample> = batch.iter().map(hide).collect();
                let targets: usize = batch.iter().map(|text| text.places.len()).sum();
                if targets > 0 {
                    let loss = self.step(&model, &mut optimizer, &batch, (step, steps))?;
                    (sum, tokens) = (sum + loss * targets as f64, tokens + targets);
                }
                step += 1;
                progress.rows_done(batch.len(), 0);
            }
            let loss = (tokens > 0).then(|| sum / tokens as f64);
            course.push(self.evaluate(&model, epoch, loss)?);
        }
        Ok((model, course))
    }

    /// One step -> the loss before it.
    fn step(
        &self,
        model: &MaskedLm,
        optimizer: &mut AdamW,
        batch: &[MaskedExample],
        (step, steps): (u64, u64),
    ) -> Result<f64> {
        let PretrainOptions { train_encoder, learning_rate, seed, .. } = self.options;
        let dropout = Dropout::new(self.dropout, seed, step);
        // A frozen encoder is read as it will be used.
        let mode = if train_encoder { Mode::Train(&dropout) } else { Mode::Eval };
        let loss = losses::hard(&logits(model, batch, mode)?, &targets(batch))?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            bail!(failure!("the loss of step {} is {value}", step + 1)
                .hint("use a lower --learning-rate"));
        }
        let mut gradients = Gradients::collect(ops::backward(&loss)?, optimizer.parameters())?;
        gradients.clip(CLIP)?;
        let schedule = Schedule { decay: Decay::Linear, warmup: WARMUP };
        optimizer.step(&gradients, learning_rate * schedule.factor(step, steps))?;
        Ok(value)
    }

    /// Loss and accuracy on the held-out texts.
    fn evaluate(
        &self,
        model: &MaskedLm,
        epoch: usize,
        train_loss: Option<f64>,
    ) -> Result<PretrainedEpoch> {
        let model = model.snapshot()?;
        let (mut sum, mut right, mut tokens) = (0.0, 0, 0);
        for batch in self.held_out.chunks(self.options.batch_size) {
            self.session.interrupt.check(|| "evaluating the held-out texts".to_owned())?;
            let targets = targets(batch);
            if targets.is_empty() {
                continue;
            }
            let logits = logits(&model, batch, Mode::Eval)?;
            let loss = f64::from(losses::hard(&logits, &targets)?.to_scalar::<f32>()?);
            let found = logits.argmax(1)?.to_vec1::<u32>()?;
            sum += loss * targets.len() as f64;
            right += found.iter().zip(&targets).filter(|(found, target)| found == target).count();
            tokens += targets.len();
        }
        let (held_out_loss, held_out_accuracy) =
            (sum / tokens as f64, right as f64 / tokens as f64);
        let trained = train_loss.map_or(String::new(), |loss| format!("loss {loss:.4}, "));
        self.session.progress.message(&format!(
            "epoch {epoch} of {}: {trained}held out: loss {held_out_loss:.4}, accuracy {held_out_accuracy:.4}",
            self.options.epochs
        ));
        Ok(PretrainedEpoch { epoch, train_loss, held_out_loss, held_out_accuracy })
    }
}

/// Logits (M, V) of the predicted tokens of `batch`.
fn logits(model: &MaskedLm, batch: &[MaskedExample], mode: Mode) -> Result<Tensor> {
    let packed = PackedBatch::new(batch.iter().map(|text| &text.tokens));
    let starts = packed.first_tokens().zip(batch);
    let rows: Vec<u32> = starts
        .flat_map(|(start, text)| text.places.iter().map(move |place| start + *place as u32))
        .collect();
    Ok(model.logits(&packed, &rows, mode)?)
}

fn targets(batch: &[MaskedExample]) -> Vec<u32> {
    batch.iter().flat_map(|text| &text.targets).copied().collect()
}

/// Stream number `stream` of `seed`.
fn stream(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// config.json of the masked language model: the base's with its class, and no labels.
fn written_config(
    base: &Map<String, Value>,
    family: &EncoderFamily,
    architecture: &str,
) -> Map<String, Value> {
    let mut config = base.clone();
    for leftover in
        ["_name_or_path", "torch_dtype", "num_labels", "problem_type", "id2label", "label2id"]
    {
        config.remove(leftover);
    }
    config.insert("architectures".to_owned(), json!([family.masked_lm_class_of(architecture)]));
    config.insert("model_type".to_owned(), json!(architecture));
    config.insert("dtype".to_owned(), json!("float32"));
    config
}
