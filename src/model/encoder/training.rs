//! The differentiable forward pass, with the intermediate outputs that distillation uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::{Encoder, EncoderBody, EncoderLayer, LinearLayer};
use crate::model::kernels::Activation;
use crate::model::{ops, Frozen, Mode, Outputs, PackedBatch, Parameter};
use crate::model::{Shape, Trainable, Wanted};

/// Dropout sites: embeddings and head, then three per layer.
const EMBEDDINGS: u64 = 0;
const HEAD_INPUT: u64 = 1;
const CLASSIFIER: u64 = 2;
const FIRST_LAYER: u64 = 3;
const PROBABILITIES: u64 = 0;
const ATTENTION_OUTPUT: u64 = 1;
const OUTPUT: u64 = 2;
const PER_LAYER: u64 = 3;

impl Trainable for Encoder {
    /// Matches transformers' `*ForSequenceClassification` with `output_hidden_states`; the scores are
    /// the input of its softmax.
    fn outputs_from(
        &self,
        words: &Tensor,
        batch: &PackedBatch,
        wanted: Wanted,
        mode: Mode,
    ) -> Result<Outputs> {
        let (last, mut states) = self.body.states(words, batch, wanted, mode)?;
        let first = ops::embed(&last, batch.first_tokens().collect())?; // (B, H)
        let logits = self.head(&first, mode)?; // (B, K)
        if wanted.hidden {
            states.hidden.push(last);
        }
        Ok(Outputs { logits, hidden: states.hidden, scores: states.scores })
    }

    fn word_embeddings(&self) -> &Tensor {
        &self.body.words
    }

    fn shape(&self) -> Shape {
        self.body.shape()
    }

    fn parameters(&self, frozen: Frozen) -> anyhow::Result<(Box<dyn Trainable>, Vec<Parameter>)> {
        let (encoder, parameters) = self.trainable(frozen)?;
        Ok((Box::new(encoder), parameters))
    }

    fn snapshot(&self) -> anyhow::Result<Box<dyn Trainable>> {
        Ok(Box::new(self.map(&mut |_, tensor| tensor.detach().copy())?))
    }

    fn export(&self) -> anyhow::Result<BTreeMap<String, Tensor>> {
        self.tensors()
    }
}

impl Encoder {
    /// Logits (B, K) from the first token of each sequence (B, H).
    fn head(&self, first: &Tensor, mode: Mode) -> Result<Tensor> {
        let rate = mode.rates().classifier;
        let first = match self.body.family.dropout.head_input {
            true => mode.drop(HEAD_INPUT, rate, first.clone())?,
            false => first.clone(),
        };
        let pooled = self.dense.forward(&first, self.dense_activation)?; // (B, H)
        let pooled = mode.drop(CLASSIFIER, rate, pooled)?;
        self.classifier.forward(&pooled, Activation::Identity) // (B, K)
    }
}

/// The intermediate outputs of a forward pass, as far as they are wanted.
#[derive(Default)]
pub(super) struct PassStates {
    /// The input of each layer (T, H).
    hidden: Vec<Tensor>,
    /// Each layer's attention scores.
    scores: Vec<Tensor>,
}

impl EncoderBody {
    /// The last layer's output (T, H) over the rows `words` (T, E) in place of the embeddings of the
    /// tokens, and the wanted states before it.
    pub(super) fn states(
        &self,
        words: &Tensor,
        batch: &PackedBatch,
        wanted: Wanted,
        mode: Mode,
    ) -> Result<(Tensor, PassStates)> {
        let pass = Pass { body: self, offsets: Arc::new(batch.offsets.clone()), mode };
        let mut states = PassStates::default();
        let mut hidden = pass.embed(words, batch)?; // (T, H)
        for (i, layer) in self.layers.iter().enumerate() {
            let qkv = layer.query_key_value.forward(&hidden, Activation::Identity)?; // (T, 3H)
            if wanted.scores {
                states.scores.push(ops::attention_scores(&qkv, &pass.offsets, self.heads)?);
            }
            let output = pass.layer(layer, i as u64, &hidden, &qkv)?;
            let input = std::mem::replace(&mut hidden, output);
            if wanted.hidden {
                states.hidden.push(input);
            }
        }
        Ok((hidden, states))
    }
}

struct Pass<'a> {
    body: &'a EncoderBody,
    offsets: Arc<Vec<usize>>,
    mode: Mode<'a>,
}

impl Pass<'_> {
    /// `words` (T, E), position and segment embeddings, normalised -> (T, H).
    fn embed(&self, words: &Tensor, batch: &PackedBatch) -> Result<Tensor> {
        let body = self.body;
        if words.dims() != [batch.tokens(), body.embedding()] {
            candle_core::bail!(
                "word rows of shape {:?} for {} tokens",
                words.dims(),
                batch.tokens()
            );
        }
        let mut places = ops::embed(&body.positions, body.position_rows(batch))?; // (T, E)
        if let Some(table) = &body.token_types {
            places = (places + ops::embed(table, body.segment_rows(table, batch)?)?)?;
        }
        let embedded = ops::add_layer_norm(words, &places, &body.embedding_norm, body.eps)?;
        let embedded = self.mode.drop(EMBEDDINGS, self.mode.rates().hidden, embedded)?;
        match &body.projection {
            Some(projection) => projection.forward(&embedded, Activation::Identity),
            None => Ok(embedded),
        }
    }

    /// Layer number `i` over `hidden` (T, H) with its queries, keys and values (T, 3H) -> (T, H).
    fn layer(&self, layer: &EncoderLayer, i: u64, hidden: &Tensor, qkv: &Tensor) -> Result<Tensor> {
        let EncoderBody { heads, activation, eps, family, .. } = *self.body;
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
}

impl LinearLayer {
    pub(super) fn forward(&self, x: &Tensor, act: Activation) -> Result<Tensor> {
        ops::linear(x, &self.weight, &self.bias, act)
    }
}
