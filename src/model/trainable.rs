//! The interface of trainable models.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use anyhow::Result;
use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::families::EncoderFamily;
use super::{ops, Model, PackedBatch, Parameter};
use crate::checkpoint::ModelConfig;

/// A trainable classifier, the only interface that distillation uses.
///
/// `Encoder` implements it for the BERT family. Another encoder implements it in its own file and
/// adds an arm to [`super::load_trainable`].
pub trait Trainable: Model {
    /// Logits of every sequence of `batch`, and the `wanted` outputs; differentiable.
    ///
    /// # Errors
    /// An error of candle.
    fn outputs(
        &self,
        batch: &PackedBatch,
        wanted: Wanted,
        mode: Mode,
    ) -> candle_core::Result<Outputs> {
        let words = ops::embed(self.word_embeddings(), batch.input_ids.clone())?; // (T, E)
        self.outputs_from(&words, batch, wanted, mode)
    }

    /// As [`Trainable::outputs`], over the rows `words` (T, E) in place of the word embeddings of
    /// `batch`'s ids, which are not read; differentiable in `words` too.
    ///
    /// # Errors
    /// Rows of another shape, an error of candle.
    fn outputs_from(
        &self,
        words: &Tensor,
        batch: &PackedBatch,
        wanted: Wanted,
        mode: Mode,
    ) -> candle_core::Result<Outputs>;

    /// The table of word embeddings (V, E).
    fn word_embeddings(&self) -> &Tensor;

    /// The model's sizes.
    fn shape(&self) -> Shape;

    /// A copy of the model over trainable parameters, and these in a fixed order.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    fn parameters(&self, frozen: Frozen) -> Result<(Box<dyn Trainable>, Vec<Parameter>)>;

    /// A copy of the model with the current weights.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    fn snapshot(&self) -> Result<Box<dyn Trainable>>;

    /// Copies of the weights by their names in Hugging Face checkpoints.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    fn export(&self) -> Result<BTreeMap<String, Tensor>>;
}

/// The sizes of an encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Layers.
    pub layers: usize,
    /// H.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Maximum length of a sequence, in tokens.
    pub positions: usize,
}

/// Parameters that training does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Frozen {
    /// None.
    #[default]
    Nothing,
    /// The embeddings of tokens, positions and segments, and the layer norm that follows them.
    Embeddings,
}

/// The additional outputs of [`Trainable::outputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The embeddings' output and every layer's.
    pub hidden: bool,
    /// Every layer's attention scores.
    pub scores: bool,
}

/// The outputs of a forward pass.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// Logits (B, K).
    pub logits: Tensor,
    /// The embeddings' output, then each layer's, (T, H) each; empty if not wanted.
    pub hidden: Vec<Tensor>,
    /// Each layer's attention scores before the softmax, scaled by 1/√width, by sequence, head, query
    /// and key (Σ heads·L²); empty if not wanted.
    pub scores: Vec<Tensor>,
}

/// Whether a forward pass uses dropout.
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
    /// Of the inputs of the head's layers.
    pub classifier: f64,
}

/// The range of a dropout rate: at 1 nothing would be left.
const RATES: RangeInclusive<f64> = 0.0..=0.999;

impl DropoutRates {
    /// The rates of config.json, 0 by default; the classifier's is the hidden one by default.
    ///
    /// # Errors
    /// A rate that is not a number from 0 to [`RATES`]' end.
    pub fn read(family: &EncoderFamily, config: &ModelConfig) -> Result<Self> {
        let [hidden, attention, classifier] = family.dropout.keys;
        let rate = |key: &str, default: f64| config.number_in(key, default, RATES);
        let hidden = rate(hidden, 0.0)?;
        Ok(DropoutRates {
            hidden,
            attention: rate(attention, 0.0)?,
            classifier: rate(classifier, hidden)?,
        })
    }
}

/// Dropout of one forward pass, determined by its seed and number.
#[derive(Debug, Clone)]
pub struct Dropout {
    rates: DropoutRates,
    seed: u64,
    pass: u64,
    first_site: u64,
}

/// Maximum number of dropout sites of a forward pass; each has its own RNG stream.
const SITES: u64 = 1 << 16;

/// Sites of each of several forward passes with one number.
const SITES_EACH: u64 = 1 << 12;

impl Dropout {
    /// The dropout of forward pass number `pass` of a training with `seed`.
    pub fn new(rates: DropoutRates, seed: u64, pass: u64) -> Self {
        Dropout { rates, seed, pass, first_site: 0 }
    }

    /// The dropout of another forward pass with the same number, its `nth`, from 1 to 15: of other
    /// elements.
    pub fn again(&self, nth: u64) -> Self {
        Dropout { first_site: nth * SITES_EACH, ..self.clone() }
    }

    /// A factor for each of `count` elements: 0, or 1/(1 − rate).
    fn factors(&self, site: u64, rate: f64, count: usize) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(self.pass * SITES + self.first_site + site);
        let dropped_below = (rate * 2f64.powi(32)) as u32;
        let kept = (1.0 / (1.0 - rate)) as f32;
        let mut draw = || if random.next_u32() < dropped_below { 0.0 } else { kept };
        (0..count).map(|_| draw()).collect()
    }
}

impl Mode<'_> {
    pub(super) fn rates(self) -> DropoutRates {
        match self {
            Mode::Eval => DropoutRates::default(),
            Mode::Train(dropout) => dropout.rates,
        }
    }

    /// The factors of `count` elements at `site`; `None` without dropout.
    pub(super) fn factors(self, site: u64, rate: f64, count: usize) -> Option<Vec<f32>> {
        match self {
            Mode::Train(dropout) if rate > 0.0 => Some(dropout.factors(site, rate, count)),
            _ => None,
        }
    }

    pub(super) fn drop(self, site: u64, rate: f64, x: Tensor) -> candle_core::Result<Tensor> {
        match self.factors(site, rate, x.elem_count()) {
            None => Ok(x),
            Some(factors) => {
                let factors = Tensor::from_vec(factors, x.shape(), x.device())?;
                &x * factors.to_dtype(x.dtype())?
            }
        }
    }
}
