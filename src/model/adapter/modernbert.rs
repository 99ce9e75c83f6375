//! ModernBERT: candle-transformers' encoder with our own head, as its head gives probabilities.

use anyhow::{bail, ensure, Context, Result};
use candle_core::{DType, Device, Tensor, D};
use candle_nn::{layer_norm_no_bias, linear, linear_no_bias, LayerNorm, Linear, Module};
use candle_transformers::models::modernbert::{Config, ModernBert as Encoder};
use serde_json::{json, Value};

use super::super::encoder::EPSILONS;
use super::super::{label_count, Model, ModelSizes, PackedBatch};
use super::{builder, one_by_one, with_defaults};
use crate::checkpoint::{ModelConfig, Weights};

/// Encoder, then classifier(norm(gelu(dense(pooled)))).
pub struct ModernBert {
    encoder: Encoder,
    pooling: Pooling,
    dense: Linear,
    norm: LayerNorm,
    classifier: Linear,
    sizes: ModelSizes,
    device: Device,
}

/// The head's input from the last hidden states.
enum Pooling {
    First,
    Mean,
}

impl ModernBert {
    /// Reads the encoder and the head.
    ///
    /// # Errors
    /// A tensor that is missing or misshapen; an option of the config that is not implemented.
    pub fn load(config: &ModelConfig, weights: &mut Weights, device: &Device) -> Result<Self> {
        let parsed = encoder_config(config)?;
        let pooling = match config.text("classifier_pooling")? {
            None | Some("cls") => Pooling::First,
            Some("mean") => Pooling::Mean,
            Some(other) => bail!("`{}`: `classifier_pooling` = `{other}`", config.path().display()),
        };
        check_sizes(config, &parsed)?;
        let labels = label_count(config, weights, "classifier")?;
        // candle skips a missing attention norm; only the first layer has none.
        for i in 1..parsed.num_hidden_layers {
            let name = format!("model.layers.{i}.attn_norm.weight");
            ensure!(
                weights.contains(&name),
                "`{}`: the tensor `{name}` is missing",
                weights.source()
            );
        }
        let (hidden, eps) = (parsed.hidden_size, parsed.layer_norm_eps);
        let variables = builder(weights, device);
        Ok(ModernBert {
            encoder: Encoder::load(variables.clone(), &parsed)?,
            pooling,
            dense: linear_no_bias(hidden, hidden, variables.pp("head.dense"))?,
            norm: layer_norm_no_bias(hidden, eps, variables.pp("head.norm"))?,
            classifier: linear(hidden, labels, variables.pp("classifier"))?,
            sizes: ModelSizes {
                labels,
                positions: parsed.max_position_embeddings,
                vocabulary: parsed.vocab_size,
                segments: None,
                uses_token_types: false,
            },
            device: device.clone(),
        })
    }
}

/// candle's config from either generation of config.json: the newer has tables for rotary bases and
/// the layer pattern, and `norm_eps` for `layer_norm_eps`.
fn encoder_config(config: &ModelConfig) -> Result<Config> {
    for key in ["hidden_activation", "classifier_activation"] {
        if let Some(other) = config.text(key)?.filter(|a| *a != "gelu") {
            bail!("`{}`: `{key}` = `{other}` is not supported", config.path().display());
        }
    }
    let theta = |kind: &str, default: f64| {
        let table = config.keys().get("rope_parameters").and_then(|p| p.get(kind));
        table.and_then(|t| t.get("rope_theta")).and_then(Value::as_f64).unwrap_or(default)
    };
    let mut keys = with_defaults(
        config,
        json!({
            "global_rope_theta": theta("full_attention", 160_000.0),
            "local_rope_theta": theta("sliding_attention", 10_000.0),
            "global_attn_every_n_layers": 3, "local_attention": 128, "pad_token_id": 0,
            "max_position_embeddings": 8192,
        }),
    );
    // transformers reads `norm_eps`, even if an old file has both.
    let eps = config.number_or("norm_eps", config.number_or("layer_norm_eps", 1e-5)?)?;
    keys.insert("layer_norm_eps".into(), json!(eps));
    for key in ["classifier_pooling", "id2label", "label2id"] {
        keys.remove(key);
    }
    let every = config.size_or("global_attn_every_n_layers", 3)?;
    if let Some(types) = config.keys().get("layer_types").and_then(Value::as_array) {
        let global = |i: usize| i.is_multiple_of(every);
        let regular = types.iter().enumerate().all(|(i, t)| (t == "full_attention") == global(i));
        ensure!(regular, "`{}`: `layer_types` is not a regular pattern", config.path().display());
    }
    serde_json::from_value(Value::Object(keys))
        .with_context(|| format!("`{}` is not a ModernBERT config", config.path().display()))
}

/// Maximum number of positions, for which candle makes a table that is not in the weights. ModernBERT
/// has 8192.
const MOST_POSITIONS: usize = 1 << 17;

/// Checks the numbers of `config` that no tensor's shape checks.
fn check_sizes(config: &ModelConfig, parsed: &Config) -> Result<()> {
    for key in ["vocab_size", "num_hidden_layers", "intermediate_size"] {
        config.size(key)?;
    }
    let (hidden, heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    ensure!(
        hidden.is_multiple_of(2 * heads),
        "`{}`: `hidden_size` = {hidden} is not an even multiple of `num_attention_heads` = {heads}",
        config.path().display()
    );
    config.size_up_to("max_position_embeddings", 8192, MOST_POSITIONS)?;
    config.size_up_to("local_attention", 128, MOST_POSITIONS)?;
    ensure!(
        EPSILONS.contains(&parsed.layer_norm_eps),
        "`{}`: `norm_eps` = {} is not a number from 0 to 1",
        config.path().display(),
        parsed.layer_norm_eps
    );
    for (key, base) in [
        ("global_rope_theta", parsed.global_rope_theta),
        ("local_rope_theta", parsed.local_rope_theta),
    ] {
        ensure!(
            (1.0..=1e12).contains(&base),
            "`{}`: `{key}` = {base} is not a number from 1 to 1e12",
            config.path().display()
        );
    }
    Ok(())
}

impl Model for ModernBert {
    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        one_by_one(batch, &self.device, |ids, _| {
            let mask = Tensor::ones(ids.dims(), DType::U32, &self.device)?;
            let hidden = self.encoder.forward(ids, &mask)?; // (1, L, H)
            let pooled = match self.pooling {
                Pooling::First => hidden.narrow(1, 0, 1)?.squeeze(1)?.contiguous()?,
                Pooling::Mean => hidden.mean(D::Minus2)?,
            }; // (1, H)
            let features = self.norm.forward(&self.dense.forward(&pooled)?.gelu_erf()?)?;
            self.classifier.forward(&features) // (1, K)
        })
    }

    fn sizes(&self) -> ModelSizes {
        self.sizes
    }
}
