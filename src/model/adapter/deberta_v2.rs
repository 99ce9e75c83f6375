//! DeBERTa-v2 and v3.

use anyhow::{bail, ensure, Context, Result};
use candle_core::{Device, Tensor};
use candle_transformers::models::debertav2::{Config, DebertaV2SeqClassificationModel};
use serde_json::{json, Value};

use super::super::encoder::EPSILONS;
use super::super::{export_it, label_count, Model, ModelSizes, PackedBatch};
use super::{builder, one_by_one, with_defaults};
use crate::checkpoint::{ModelConfig, Weights};
use crate::error::failure;

/// candle-transformers' DeBERTa-v2 classifier.
pub struct DebertaV2 {
    inner: DebertaV2SeqClassificationModel,
    sizes: ModelSizes,
}

impl DebertaV2 {
    /// Reads the classifier.
    ///
    /// # Errors
    /// A tensor that is missing or misshapen; the convolution of DeBERTa-v2-xlarge, which
    /// candle-transformers does not implement.
    pub fn load(config: &ModelConfig, weights: &mut Weights, device: &Device) -> Result<Self> {
        if config.size_or_zero("conv_kernel_size", 0)? > 0 {
            bail!(failure!(
                "`{}`: `conv_kernel_size` is set (DeBERTa-v2-xlarge and xxlarge): that convolution \
                 is not supported; DeBERTa-v3 has none",
                config.path().display()
            )
            .hint(export_it(config)));
        }
        let hidden = check_sizes(config)?;
        let labels = label_count(config, weights, "classifier")?;
        let mut keys = with_defaults(
            config,
            json!({
                "hidden_act": "gelu", "hidden_dropout_prob": 0.0, "initializer_range": 0.02,
                "attention_probs_dropout_prob": 0.0, "type_vocab_size": 0, "layer_norm_eps": 1e-7,
                "relative_attention": false, "max_relative_positions": -1, "pad_token_id": 0,
                "position_biased_input": true, "pos_att_type": [], "pooler_dropout": 0.0,
                "pooler_hidden_act": "gelu", "pooler_hidden_size": hidden, "norm_rel_ebd": "none",
                "max_position_embeddings": 512,
            }),
        );
        let ids = (0..labels).map(|i| (i.to_string(), json!(i.to_string())));
        keys.insert("id2label".into(), Value::Object(ids.collect()));
        keys.remove("label2id");
        let parsed: Config = serde_json::from_value(Value::Object(keys))
            .with_context(|| format!("`{}` is not a DeBERTa-v2 config", config.path().display()))?;
        let sizes = ModelSizes {
            labels,
            positions: parsed.max_position_embeddings,
            vocabulary: parsed.vocab_size,
            segments: Some(parsed.type_vocab_size).filter(|count| *count > 0),
            uses_token_types: parsed.type_vocab_size > 0,
        };
        let variables = builder(weights, device).pp("deberta");
        let inner = DebertaV2SeqClassificationModel::load(variables, &parsed, None)?;
        Ok(DebertaV2 { inner, sizes })
    }
}

/// Checks the numbers of `config` that no tensor's shape checks; returns the hidden size.
fn check_sizes(config: &ModelConfig) -> Result<usize> {
    for key in ["vocab_size", "num_hidden_layers", "intermediate_size"] {
        config.size(key)?;
    }
    let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    ensure!(
        hidden.is_multiple_of(heads),
        "`{}`: `hidden_size` = {hidden} is not a multiple of `num_attention_heads` = {heads}",
        config.path().display()
    );
    config.size_or_zero("type_vocab_size", 0)?;
    config.size_or("attention_head_size", 1)?;
    config.size_or("pooler_hidden_size", hidden)?;
    config.number_in("layer_norm_eps", 1e-7, EPSILONS)?;
    let positions = config.size_or("max_position_embeddings", 512)? as i64;
    if !config.flag("relative_attention")? {
        return Ok(hidden);
    }
    // Distances above half the buckets are shared out by a logarithm up to the furthest.
    let furthest = match config.integer("max_relative_positions")? {
        Some(given @ 1..) => given,
        _ => positions,
    };
    let buckets = config.integer("position_buckets")?.unwrap_or(-1);
    ensure!(
        buckets < 1 || (buckets > 1 && buckets / 2 < furthest - 1),
        "`{}`: `position_buckets` = {buckets} does not fit `max_relative_positions` = {furthest}",
        config.path().display()
    );
    ensure!(
        furthest < 1 << 24,
        "`{}`: `max_relative_positions` = {furthest} is not below 2^24",
        config.path().display()
    );
    Ok(hidden)
}

impl Model for DebertaV2 {
    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        let device = &self.inner.device;
        one_by_one(batch, device, |ids, types| self.inner.forward(ids, Some(types.clone()), None))
    }

    fn sizes(&self) -> ModelSizes {
        self.sizes
    }
}
