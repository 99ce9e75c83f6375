//! Embeddings and transformer layers: an encoder without its head.

use std::ops::RangeInclusive;

use anyhow::{bail, ensure, Result};
use candle_core::Tensor;

use crate::checkpoint::{ModelConfig, Weights};
use crate::error::failure;
use crate::model::export_it;
use crate::model::families::EncoderFamily;
use crate::model::kernels::Activation;
use crate::model::{PackedBatch, Shape};

#[derive(Clone)]
pub(super) struct LinearLayer {
    pub(super) weight: Tensor, // (I, O)
    pub(super) bias: Tensor,   // (O)
}

impl LinearLayer {
    /// Reads `name.weight` (O, I) and `name.bias`.
    pub(super) fn load(
        weights: &mut Weights,
        name: &str,
        inner: usize,
        outer: usize,
    ) -> Result<Self> {
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

    /// O.
    pub(super) fn width(&self) -> usize {
        self.bias.elem_count()
    }
}

#[derive(Clone)]
pub(super) struct EncoderLayer {
    pub(super) query_key_value: LinearLayer, // (H, 3H)
    pub(super) attention_output: LinearLayer,
    pub(super) attention_norm: Tensor, // (2, H): gain, bias
    pub(super) intermediate: LinearLayer,
    pub(super) output: LinearLayer,
    pub(super) output_norm: Tensor, // (2, H)
}

/// Embeddings and transformer layers. Clones share the weights.
#[derive(Clone)]
pub(super) struct EncoderBody {
    pub(super) family: &'static EncoderFamily,
    pub(super) words: Tensor,                   // (V, E)
    pub(super) positions: Tensor,               // (P, E)
    pub(super) first_position: usize,           // row of a sequence's first token
    pub(super) token_types: Option<Tensor>,     // (types, E)
    pub(super) embedding_norm: Tensor,          // (2, E)
    pub(super) projection: Option<LinearLayer>, // (E, H), if E is not H
    pub(super) layers: Vec<EncoderLayer>,
    pub(super) heads: usize,
    pub(super) activation: Activation,
    pub(super) eps: f64,
}

impl EncoderBody {
    /// Reads an encoder of `family`.
    ///
    /// # Errors
    /// A missing or misshapen tensor, a value of config.json that this encoder does not implement.
    pub(super) fn load(
        family: &'static EncoderFamily,
        config: &ModelConfig,
        weights: &mut Weights,
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
        let layer = |i| {
            let prefix = part(&format!("{}{i}.", family.layers));
            EncoderLayer::load(family, weights, &prefix, &sizes)
        };
        Ok(EncoderBody {
            family,
            words,
            positions,
            first_position: first_position(family, config, sizes.positions)?,
            token_types,
            embedding_norm,
            projection,
            layers: (0..sizes.layers).map(layer).collect::<Result<_>>()?,
            heads: sizes.heads,
            activation: activation(config, family.keys.activation)?,
            eps: match family.eps_key {
                Some(key) => config.number_in(key, 1e-12, EPSILONS)?,
                None => 1e-12,
            },
        })
    }

    /// H.
    pub(super) fn hidden(&self) -> usize {
        self.layers[0].output.width()
    }

    /// E.
    pub(super) fn embedding(&self) -> usize {
        self.words.dims()[1]
    }

    /// V.
    pub(super) fn vocabulary(&self) -> usize {
        self.words.dims()[0]
    }

    pub(super) fn shape(&self) -> Shape {
        Shape {
            layers: self.layers.len(),
            hidden: self.hidden(),
            heads: self.heads,
            positions: self.positions.dims()[0] - self.first_position,
        }
    }

    /// Segments are below this; `None` where they have no effect.
    pub(super) fn segments(&self) -> Option<usize> {
        self.token_types.as_ref().map(|table| table.dims()[0]).filter(|rows| *rows > 1)
    }

    /// The row of each token in the table of positions (T).
    pub(super) fn position_rows(&self, batch: &PackedBatch) -> Vec<u32> {
        batch.positions().map(|position| position + self.first_position as u32).collect()
    }

    /// The row of each token in the table of segments (T), of which RoBERTa has only one.
    ///
    /// # Errors
    /// A segment that is not in a table of several.
    pub(super) fn segment_rows(
        &self,
        table: &Tensor,
        batch: &PackedBatch,
    ) -> candle_core::Result<Vec<u32>> {
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

/// The range of a layer norm's epsilon; common values are 1e-12 to 1e-5.
pub(in crate::model) const EPSILONS: RangeInclusive<f64> = 0.0..=1.0;

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
pub(super) fn norm(weights: &mut Weights, name: &str, hidden: usize) -> Result<Tensor> {
    let gain = weights.take(&format!("{name}.weight"), &[hidden])?;
    let bias = weights.take(&format!("{name}.bias"), &[hidden])?;
    Ok(Tensor::stack(&[gain, bias], 0)?)
}

pub(super) fn activation(config: &ModelConfig, key: &str) -> Result<Activation> {
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
        bail!(failure!(
            "`{}`: position embeddings of type `{kind}` are not supported",
            config.path().display()
        )
        .hint(export_it(config)));
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
