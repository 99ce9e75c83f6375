//! DeBERTa-v2 and v3.

use anyhow::{bail, Context, Result};
use candle_core::{Device, Tensor};
use candle_transformers::models::debertav2::{Config, DebertaV2SeqClassificationModel};
use serde_json::{json, Value};

use super::super::{label_count, Model, ModelSizes, PackedBatch};
use super::{builder, one_by_one, with_defaults};
use crate::checkpoint::{ModelConfig, Weights};

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
            bail!(
                "`{}`: `conv_kernel_size` is set (DeBERTa-v2-xlarge and xxlarge): that convolution \
                 is not supported; DeBERTa-v3 has none",
                config.path().display()
            );
        }
        let hidden = config.size("hidden_size")?;
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
            uses_token_types: parsed.type_vocab_size > 0,
        };
        let variables = builder(weights, device).pp("deberta");
        let inner = DebertaV2SeqClassificationModel::load(variables, &parsed, None)?;
        Ok(DebertaV2 { inner, sizes })
    }
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
