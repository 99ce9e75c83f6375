//! The BERT family over packed batches: BERT, TinyBERT, DistilBERT, RoBERTa, XLM-RoBERTa, ELECTRA.
//!
//! One post-norm transformer encoder; an [`EncoderFamily`] has the tensor names and the head. Matches
//! Hugging Face transformers' `*ForSequenceClassification` in evaluation mode.

mod body; //      embeddings and layers
mod fused; //     the audit's forward pass
mod masked_lm; // the head of a masked language model
mod tensors; //   every tensor by name, for training and checkpoints
mod training; //  the differentiable forward pass

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

pub(super) use body::EPSILONS;
use body::{EncoderBody, EncoderLayer, LinearLayer};
pub use fused::Workspace;
pub use masked_lm::MaskedLm;

use super::families::EncoderFamily;
use super::kernels::Activation;
use super::{Head, Mode, Model, ModelSizes, PackedBatch, Trainable, Wanted};
use crate::checkpoint::{ModelConfig, Weights};
use crate::error::failure;

/// An encoder with a classification head. Clones share the weights.
#[derive(Clone)]
pub struct Encoder {
    body: EncoderBody,
    dense: LinearLayer, // (H, H)
    dense_activation: Activation,
    classifier: LinearLayer, // (H, K)
}

impl Encoder {
    /// Reads an encoder of `family` and its head, by the convention `head` of [`super::conventions`].
    ///
    /// # Errors
    /// A missing or misshapen tensor, a value of config.json that this encoder does not implement.
    pub fn load(
        family: &'static EncoderFamily,
        config: &ModelConfig,
        weights: &mut Weights,
        head: &str,
        device: &Device,
    ) -> Result<Self> {
        let body = EncoderBody::load(family, config, weights)?;
        let dense_name = match family.head.dense.strip_prefix(family.prefix) {
            Some(inside) => format!("{}{inside}", family.prefix_in(weights)),
            None => family.head.dense.to_owned(),
        };
        let output = family.head.output;
        require_head(weights, config, &[&dense_name, output])?;
        let (hidden, labels) = (body.hidden(), super::label_count(config, weights, output)?);
        let encoder = Encoder {
            body,
            dense: LinearLayer::load(weights, &dense_name, hidden, hidden)?,
            dense_activation: match head == Head::PooledRelu.as_str() {
                true => Activation::TanhThenRelu,
                false => family.head.activation,
            },
            classifier: LinearLayer::load(weights, output, hidden, labels)?,
        };
        match device.is_cpu() {
            true => Ok(encoder),
            false => encoder.map(&mut |_, tensor| tensor.to_device(device)),
        }
    }
}

impl Model for Encoder {
    fn logits(&self, batch: &PackedBatch, workspace: &mut Workspace) -> Result<Vec<f32>> {
        let words = &self.body.words;
        if words.device().is_cpu() && words.dtype() == DType::F32 {
            return Ok(self.fused(batch, workspace)?);
        }
        super::flat(&self.forward(batch)?)
    }

    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        Ok(self.outputs(batch, Wanted::default(), Mode::Eval)?.logits)
    }

    fn sizes(&self) -> ModelSizes {
        let body = &self.body;
        ModelSizes {
            labels: self.classifier.width(),
            positions: body.shape().positions,
            vocabulary: body.vocabulary(),
            segments: body.segments(),
            uses_token_types: body.segments().is_some(),
        }
    }

    fn with_other_head(&self) -> Option<(Head, Box<dyn Model>)> {
        let (head, dense_activation) = match self.dense_activation {
            Activation::TanhThenRelu => (Head::Pooled, Activation::Tanh),
            Activation::Tanh if self.body.family.has_two_heads => {
                (Head::PooledRelu, Activation::TanhThenRelu)
            }
            _ => return None,
        };
        Some((head, Box::new(Encoder { dense_activation, ..self.clone() })))
    }
}

/// Refuses a checkpoint without a classifier: it is a pretrained encoder.
fn require_head(weights: &Weights, config: &ModelConfig, names: &[&str]) -> Result<()> {
    let missing: Vec<_> =
        names.iter().map(|n| format!("{n}.weight")).filter(|n| !weights.contains(n)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let error = failure!(
        "`{}` has no classification head: `{}` is missing",
        weights.source(),
        missing.join("`, `")
    )
    .hint(
        "this looks like a pretrained encoder; name a checkpoint that was fine-tuned on the task",
    );
    Err(error).with_context(|| format!("config `{}`", config.path().display()))
}
