//! The differentiable forward pass, with what distillation looks at on the way.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Encoder, Layer, Linear, Shape};
use crate::checkpoint::ModelConfig;
use crate::model::families::Family;
use crate::model::kernels::Activation;
use crate::model::{ops, Model, PackedBatch};

/// What [`Encoder::outputs`] returns beside the logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The embeddings' output and every layer's.
    pub hidden: bool,
    /// Every layer's attention scores.
    pub scores: bool,
}

/// What a forward pass gives.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Raw scores (B, K).
    pub logits: Tensor,
    /// The embeddings' output, then each layer's, (T, H) each; empty where not wanted.
    pub hidden: Vec<Tensor>,
    /// Each layer's attention scores before the softmax, scaled by 1/√width: sequence by sequence,
    /// head by head, query by query, key by key (Σ heads·L²) each; empty where not wanted.
    pub scores: Vec<Tensor>,
}

/// Whether a forward pass drops out.
#[derive(Debug, Clone, Copy)]
pub enum Mode<'a> {
    /// As in an audit.
    Eval,
    /// With dropout.
    Train(&'a Dropout),
}

/// Shares of elements that training sets to zero, each in [0, 1).
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct DropoutRates {
    /// After the embeddings and after the dense layers.
    pub hidden: f64,
    /// Of the attention probabilities.
    pub attention: f64,
    /// Of what the head's layers read.
    pub classifier: f64,
}

impl DropoutRates {
    /// Those of config.json, 0 where it has none; the classifier's is the hidden one by default.
    ///
    /// # Errors
    /// A rate that is no number.
    pub fn read(family: &Family, config: &ModelConfig) -> anyhow::Result<Self> {
        let [hidden, attention, classifier] = family.dropout.keys;
        let hidden = config.number_or(hidden, 0.0)?;
        Ok(DropoutRates {
            hidden,
            attention: config.number_or(attention, 0.0)?,
            classifier: config.number_or(classifier, hidden)?,
        })
    }
}

/// Dropout of one forward pass: the same pass of the same step drops the same elements, whatever
/// came before.
#[derive(Debug, Clone)]
pub struct Dropout {
    rates: DropoutRates,
    seed: u64,
    pass: u64,
}

/// Places of dropout in a forward pass, counted; each has its own stream of random numbers.
const SITES: u64 = 1 << 16;

impl Dropout {
    /// The dropout of forward pass number `pass` of a training with `seed`.
    pub fn new(rates: DropoutRates, seed: u64, pass: u64) -> Self {
        Dropout { rates, seed, pass }
    }

    /// A factor for each of `count` elements: 0, or 1/(1 − rate).
    fn factors(&self, site: u64, rate: f64, count: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(self.pass * SITES + site);
        let dropped_below = (rate * 2f64.powi(32)) as u32;
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut draw = || if random.next_u32() < dropped_below { 0.0 } else { kept };
        (0..count).map(|_| draw()).collect()
    }
}

impl Mode<'_> {
    fn rates(self) -> DropoutRates {
        match self {
            Mode::Eval => DropoutRates::default(),
            Mode::Train(dropout) => dropout.rates,
        }
    }

    /// The factors of `count` elements at `site`; `None` where none is dropped.
    fn factors(self, site: u64, rate: f64, count: usize) -> Option<Vec<f32>> {
        match self {
            Mode::Train(dropout) if rate > 0.0 => Some(dropout.factors(site, rate, count)),
            _ => None,
        }
    }

    fn drop(self, site: u64, rate: f64, x: Tensor) -> Result<Tensor> {
        match self.factors(site, rate, x.elem_count()) {
            None => Ok(x),
            Some(factors) => {
                let factors = Tensor::from_vec(factors, x.shape(), x.device())?;
                &x * factors.to_dtype(x.dtype())?
            }
        }
    }
}

/// Sites of the layers follow those of the embeddings and the head, three to a layer.
const EMBEDDINGS: u64 = 0;
const HEAD_INPUT: u64 = 1;
const CLASSIFIER: u64 = 2;
const FIRST_LAYER: u64 = 3;
const PROBABILITIES: u64 = 0;
const ATTENTION_OUTPUT: u64 = 1;
const OUTPUT: u64 = 2;
const PER_LAYER: u64 = 3;

impl Encoder {
    /// Logits of every sequence of `batch`, and what else is `wanted`; differentiable.
    ///
    /// Matches transformers' `*ForSequenceClassification` with `output_hidden_states`, the scores
    /// being those that its softmax reads.
    pub fn outputs(&self, batch: &PackedBatch, wanted: Wanted, mode: Mode) -> Result<Outputs> {
        let pass = Pass { encoder: self, offsets: Arc::new(batch.offsets.clone()), mode };
        let mut outputs = Outputs { logits: self.words.clone(), hidden: vec![], scores: vec![] };
        let mut hidden = pass.embed(batch)?; // (T, H)
        for (i, layer) in self.layers.iter().enumerate() {
            let qkv = layer.query_key_value.forward(&hidden, Activation::Identity)?; // (T, 3H)
            if wanted.scores {
                outputs.scores.push(ops::attention_scores(&qkv, &pass.offsets, self.heads)?);
            }
            let output = pass.layer(layer, i as u64, &hidden, &qkv)?;
            let input = std::mem::replace(&mut hidden, output);
            if wanted.hidden {
                outputs.hidden.push(input);
            }
        }
        outputs.logits = pass.head(&ops::embed(&hidden, batch.first_tokens().collect())?)?;
        if wanted.hidden {
            outputs.hidden.push(hidden);
        }
        Ok(outputs)
    }

    /// Its sizes.
    pub fn shape(&self) -> Shape {
        Shape {
            layers: self.layers.len(),
            hidden: self.dense.bias.elem_count(),
            heads: self.heads,
            positions: self.positions(),
        }
    }
}

/// One forward pass under way.
struct Pass<'a> {
    encoder: &'a Encoder,
    offsets: Arc<Vec<usize>>,
    mode: Mode<'a>,
}

impl Pass<'_> {
    /// Token, position and segment embeddings, normalised -> (T, H).
    fn embed(&self, batch: &PackedBatch) -> Result<Tensor> {
        let encoder = self.encoder;
        let words = ops::embed(&encoder.words, batch.input_ids.clone())?; // (T, E)
        let mut places = ops::embed(&encoder.positions, encoder.places(batch))?; // (T, E)
        if let Some(table) = &encoder.token_types {
            places = (places + ops::embed(table, encoder.segments(table, batch))?)?;
        }
        let norm = &encoder.embedding_norm;
        let embedded = ops::add_layer_norm(&words, &places, norm, encoder.eps)?;
        let embedded = self.mode.drop(EMBEDDINGS, self.mode.rates().hidden, embedded)?;
        match &encoder.projection {
            Some(projection) => projection.forward(&embedded, Activation::Identity),
            None => Ok(embedded),
        }
    }

    /// What layer number `i` makes of `hidden` (T, H), given its queries, keys and values (T, 3H).
    fn layer(&self, layer: &Layer, i: u64, hidden: &Tensor, qkv: &Tensor) -> Result<Tensor> {
        let Encoder { heads, activation, eps, family, .. } = *self.encoder;
        let (mode, rates) = (self.mode, self.mode.rates());
        let site = |place: u64| FIRST_LAYER + i * PER_LAYER + place;
        let probabilities =
            heads * self.offsets.windows(2).map(|w| (w[1] - w[0]).pow(2)).sum::<usize>();
        let keep = mode.factors(site(PROBABILITIES), rates.attention, probabilities);
        let mixed = ops::attention(qkv, &self.offsets, heads, keep.map(Arc::new))?; // (T, H)
        let mut attended = layer.attention_output.forward(&mixed, Activation::Identity)?; // (T, H)
        if family.dropout.attention_output {
            attended = mode.drop(site(ATTENTION_OUTPUT), rates.hidden, attended)?;
        }
        let attended = ops::add_layer_norm(&attended, hidden, &layer.attention_norm, eps)?;
        let wide = layer.intermediate.forward(&attended, activation)?; // (T, I)
        let narrow = layer.output.forward(&wide, Activation::Identity)?; // (T, H)
        let narrow = mode.drop(site(OUTPUT), rates.hidden, narrow)?;
        ops::add_layer_norm(&narrow, &attended, &layer.output_norm, eps)
    }

    /// Logits (B, K) from the first token of each sequence (B, H).
    fn head(&self, first: &Tensor) -> Result<Tensor> {
        let (encoder, mode) = (self.encoder, self.mode);
        let rate = mode.rates().classifier;
        let first = match encoder.family.dropout.head_input {
            true => mode.drop(HEAD_INPUT, rate, first.clone())?,
            false => first.clone(),
        };
        let pooled = encoder.dense.forward(&first, encoder.dense_activation)?; // (B, H)
        let pooled = mode.drop(CLASSIFIER, rate, pooled)?;
        encoder.classifier.forward(&pooled, Activation::Identity) // (B, K)
    }
}

impl Linear {
    fn forward(&self, x: &Tensor, act: Activation) -> Result<Tensor> {
        ops::linear(x, &self.weight, &self.bias, act)
    }
}
