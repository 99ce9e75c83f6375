//! The differentiable forward pass, with the intermediate outputs that distillation uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};

use super::{Encoder, EncoderLayer, LinearLayer};
use crate::model::kernels::Activation;
use crate::model::{ops, Frozen, Mode, Model, Outputs, PackedBatch, Parameter};
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
    fn outputs(&self, batch: &PackedBatch, wanted: Wanted, mode: Mode) -> Result<Outputs> {
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

    fn shape(&self) -> Shape {
        Shape {
            layers: self.layers.len(),
            hidden: self.dense.bias.elem_count(),
            heads: self.heads,
            positions: self.sizes().positions,
        }
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
        let mut places = ops::embed(&encoder.positions, encoder.position_rows(batch))?; // (T, E)
        if let Some(table) = &encoder.token_types {
            places = (places + ops::embed(table, encoder.segment_rows(table, batch)?)?)?;
        }
        let norm = &encoder.embedding_norm;
        let embedded = ops::add_layer_norm(&words, &places, norm, encoder.eps)?;
        let embedded = self.mode.drop(EMBEDDINGS, self.mode.rates().hidden, embedded)?;
        match &encoder.projection {
            Some(projection) => projection.forward(&embedded, Activation::Identity),
            None => Ok(embedded),
        }
    }

    /// Layer number `i` over `hidden` (T, H) with its queries, keys and values (T, 3H) -> (T, H).
    fn layer(&self, layer: &EncoderLayer, i: u64, hidden: &Tensor, qkv: &Tensor) -> Result<Tensor> {
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

impl LinearLayer {
    fn forward(&self, x: &Tensor, act: Activation) -> Result<Tensor> {
        ops::linear(x, &self.weight, &self.bias, act)
    }
}
