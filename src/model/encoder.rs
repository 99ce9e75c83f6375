//! The BERT family over packed batches: BERT, TinyBERT, DistilBERT, RoBERTa, XLM-RoBERTa, ELECTRA.
//!
//! One post-norm transformer encoder; an [`EncoderFamily`] has the tensor names and the head. Matches
//! Hugging Face transformers' `*ForSequenceClassification` in evaluation mode.

mod fused; //    the audit's forward pass
mod tensors; //  every tensor by name, for training and checkpoints
mod training; // the differentiable forward pass

use std::ops::RangeInclusive;

use anyhow::{bail, ensure, Context, Result};
use candle_core::{DType, Device, Tensor};

pub use fused::Workspace;

use super::families::EncoderFamily;
use super::kernels::Activation;
use super::{Head, Mode, Model, ModelSizes, PackedBatch, Shape, Trainable, Wanted};
use crate::checkpoint::{ModelConfig, Weights};
use crate::error::failure;

#[derive(Clone)]
struct LinearLayer {
    weight: Tensor, // (I, O)
    bias: Tensor,   // (O)
}

impl LinearLayer {
    /// Reads `name.weight` (O, I) and `name.bias`.
    fn load(weights: &mut Weights, name: &str, inner: usize, outer: usize) -> Result<Self> {
        let weight = weights.take(&format!("{name}.weight"), &[outer, inner])?;
        let bias = weights.take(&format!("{name}.bias"), &[outer])?;
        Ok(LinearLayer { weight: weight.t()?.contiguous()?, bias })
    }

    /// Concatenates layers over the same input.
    fn concatenated(parts: &[LinearLayer]) -> Result<Self> {
        let weights: Vec<_> = parts.iter().map(|p| &p.weight).collect();
        let biases: Vec<_> = parts.iter().map(|p| &p.bias).collect();
        let weight = Tensor::cat(&weights, 1)?.contiguous()?;
        Ok(LinearLayer { weight, bias: Tensor::cat(&biases, 0)? })
    }
}

#[derive(Clone)]
struct EncoderLayer {
    query_key_value: LinearLayer, // (H, 3H)
    attention_output: LinearLayer,
    attention_norm: Tensor, // (2, H): gain, bias
    intermediate: LinearLayer,
    output: LinearLayer,
    output_norm: Tensor, // (2, H)
}

/// Embeddings, transformer layers and a classification head. Clones share the weights.
#[derive(Clone)]
pub struct Encoder {
    family: &'static EncoderFamily,
    words: Tensor,                   // (V, E)
    positions: Tensor,               // (P, E)
    first_position: usize,           // row of a sequence's first token
    token_types: Option<Tensor>,     // (types, E)
    embedding_norm: Tensor,          // (2, E)
    projection: Option<LinearLayer>, // (E, H), if E is not H
    layers: Vec<EncoderLayer>,
    heads: usize,
    activation: Activation,
    eps: f64,
    dense: LinearLayer, // (H, H)
    dense_activation: Activation,
    classifier: LinearLayer, // (H, K)
}

/// The range of a layer norm's epsilon; common values are 1e-12 to 1e-5.
pub(super) const EPSILONS: RangeInclusive<f64> = 0.0..=1.0;

impl Shape {
    /// Reads the sizes of config.json.
    ///
    /// # Errors
    /// A size that is missing or not a number.
    pub fn read(family: &EncoderFamily, config: &ModelConfig) -> Result<Self> {
        let Sizes { layers, hidden, heads, positions, .. } = Sizes::read(family, config)?;
        let first = first_position(family, config, positions)?;
        Ok(Shape { layers, hidden, heads, positions: positions - first })
    }
}

/// The row of a sequence's first token in the table of `positions`.
fn first_position(family: &EncoderFamily, config: &ModelConfig, positions: usize) -> Result<usize> {
    let first = match family.positions_after_padding {
        true => config.size_or_zero("pad_token_id", 1)? + 1,
        false => 0,
    };
    ensure!(first < positions, "`{}` has no positions left", config.path().display());
    Ok(first)
}

struct Sizes {
    hidden: usize,
    embedding: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    vocabulary: usize,
    positions: usize,
    token_types: usize,
}

impl Sizes {
    fn read(family: &EncoderFamily, config: &ModelConfig) -> Result<Self> {
        let keys = &family.keys;
        let hidden = config.size(keys.hidden)?;
        let heads = config.size(keys.heads)?;
        ensure!(
            hidden % heads == 0,
            "`{}`: `{}` = {hidden} is not a multiple of `{}` = {heads}",
            config.path().display(),
            keys.hidden,
            keys.heads
        );
        Ok(Sizes {
            hidden,
            embedding: match keys.embedding {
                Some(key) => config.size_or(key, hidden)?,
                None => hidden,
            },
            intermediate: config.size(keys.intermediate)?,
            layers: config.size(keys.layers)?,
            heads,
            vocabulary: config.size("vocab_size")?,
            positions: config.size("max_position_embeddings")?,
            token_types: config.size_or("type_vocab_size", 2)?,
        })
    }
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
        refuse_unsupported(config)?;
        let sizes = Sizes::read(family, config)?;
        let prefix = family.prefix_in(weights);
        let part = |name: &str| format!("{prefix}{name}");
        let (h, e) = (sizes.hidden, sizes.embedding);

        let words =
            weights.take(&part("embeddings.word_embeddings.weight"), &[sizes.vocabulary, e])?;
        let positions =
            weights.take(&part("embeddings.position_embeddings.weight"), &[sizes.positions, e])?;
        let first = first_position(family, config, sizes.positions)?;
        let token_types = match family.token_types {
            true => {
                let name = part("embeddings.token_type_embeddings.weight");
                Some(weights.take(&name, &[sizes.token_types, e])?)
            }
            false => None,
        };
        let embedding_norm = norm(weights, &part("embeddings.LayerNorm"), e)?;
        let projection = match e == h {
            true => None,
            false => Some(LinearLayer::load(weights, &part("embeddings_project"), e, h)?),
        };
        let layers = (0..sizes.layers)
            .map(|i| {
                EncoderLayer::load(
                    family,
                    weights,
                    &part(&format!("{}{i}.", family.layers)),
                    &sizes,
                )
            })
            .collect::<Result<Vec<_>>>()?;

        let dense_name = match family.head.dense.strip_prefix(family.prefix) {
            Some(inside) => part(inside),
            None => family.head.dense.to_owned(),
        };
        let output = family.head.output;
        require_head(weights, config, &[&dense_name, output])?;
        let labels = super::label_count(config, weights, output)?;
        let encoder = Encoder {
            family,
            words,
            positions,
            first_position: first,
            token_types,
            embedding_norm,
            projection,
            layers,
            heads: sizes.heads,
            activation: activation(config, family.keys.activation)?,
            eps: match family.eps_key {
                Some(key) => config.number_in(key, 1e-12, EPSILONS)?,
                None => 1e-12,
            },
            dense: LinearLayer::load(weights, &dense_name, h, h)?,
            dense_activation: match head == Head::PooledRelu.as_str() {
                true => Activation::TanhThenRelu,
                false => family.head.activation,
            },
            classifier: LinearLayer::load(weights, output, h, labels)?,
        };
        match device.is_cpu() {
            true => Ok(encoder),
            false => encoder.map(&mut |_, tensor| tensor.to_device(device)),
        }
    }

    /// The row of each token in the table of positions (T).
    fn position_rows(&self, batch: &PackedBatch) -> Vec<u32> {
        batch.positions().map(|position| position + self.first_position as u32).collect()
    }

    /// The row of each token in the table of segments (T), of which RoBERTa has only one.
    ///
    /// # Errors
    /// A segment that is not in a table of several.
    fn segment_rows(&self, table: &Tensor, batch: &PackedBatch) -> candle_core::Result<Vec<u32>> {
        let ids = &batch.token_type_ids;
        match table.dims()[0] as u32 {
            1 => Ok(vec![0; ids.len()]),
            rows => match ids.iter().find(|id| **id >= rows) {
                Some(id) => candle_core::bail!("segment {id} of a table of {rows}"),
                None => Ok(ids.clone()),
            },
        }
    }
}

impl Model for Encoder {
    fn logits(&self, batch: &PackedBatch, workspace: &mut Workspace) -> Result<Vec<f32>> {
        if self.words.device().is_cpu() && self.words.dtype() == DType::F32 {
            return Ok(self.fused(batch, workspace)?);
        }
        super::flat(&self.forward(batch)?)
    }

    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        Ok(self.outputs(batch, Wanted::default(), Mode::Eval)?.logits)
    }

    fn sizes(&self) -> ModelSizes {
        ModelSizes {
            labels: self.classifier.bias.elem_count(),
            positions: self.positions.dims()[0] - self.first_position,
            vocabulary: self.words.dims()[0],
            segments: self.token_types.as_ref().map(|t| t.dims()[0]).filter(|rows| *rows > 1),
            uses_token_types: self.token_types.as_ref().is_some_and(|t| t.dims()[0] > 1),
        }
    }

    fn with_other_head(&self) -> Option<(Head, Box<dyn Model>)> {
        let (head, dense_activation) = match self.dense_activation {
            Activation::TanhThenRelu => (Head::Pooled, Activation::Tanh),
            Activation::Tanh if self.family.has_two_heads => {
                (Head::PooledRelu, Activation::TanhThenRelu)
            }
            _ => return None,
        };
        Some((head, Box::new(Encoder { dense_activation, ..self.clone() })))
    }
}

impl EncoderLayer {
    fn load(
        family: &EncoderFamily,
        weights: &mut Weights,
        prefix: &str,
        sizes: &Sizes,
    ) -> Result<Self> {
        let (h, i) = (sizes.hidden, sizes.intermediate);
        let name = |part: usize| format!("{prefix}{}", family.layer[part]);
        let query_key_value = [
            LinearLayer::load(weights, &name(0), h, h)?,
            LinearLayer::load(weights, &name(1), h, h)?,
            LinearLayer::load(weights, &name(2), h, h)?,
        ];
        Ok(EncoderLayer {
            query_key_value: LinearLayer::concatenated(&query_key_value)?,
            attention_output: LinearLayer::load(weights, &name(3), h, h)?,
            intermediate: LinearLayer::load(weights, &name(4), h, i)?,
            output: LinearLayer::load(weights, &name(5), i, h)?,
            attention_norm: norm(weights, &name(6), h)?,
            output_norm: norm(weights, &name(7), h)?,
        })
    }
}

/// Gain and bias of a layer norm as one (2, H) tensor.
fn norm(weights: &mut Weights, name: &str, hidden: usize) -> Result<Tensor> {
    let gain = weights.take(&format!("{name}.weight"), &[hidden])?;
    let bias = weights.take(&format!("{name}.bias"), &[hidden])?;
    Ok(Tensor::stack(&[gain, bias], 0)?)
}

fn activation(config: &ModelConfig, key: &str) -> Result<Activation> {
    Ok(match config.text(key)?.unwrap_or("gelu") {
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        "silu" | "swish" => Activation::Silu,
        "tanh" => Activation::Tanh,
        other => bail!(
            "`{}`: `{key}` = `{other}` is not known; it may be gelu, gelu_new, relu, silu or tanh",
            config.path().display()
        ),
    })
}

fn refuse_unsupported(config: &ModelConfig) -> Result<()> {
    if let Some(kind) = config.text("position_embedding_type")?.filter(|k| *k != "absolute") {
        bail!(
            "`{}`: position embeddings of type `{kind}` are not supported",
            config.path().display()
        );
    }
    for flag in ["is_decoder", "add_cross_attention"] {
        if config.flag(flag)? {
            bail!(
                "`{}`: `{flag}` is set, but this program runs encoders only",
                config.path().display()
            );
        }
    }
    Ok(())
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
