//! τ into the last linear layer, so that every runtime gives the recalibrated confidence.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};

use crate::checkpoint::Weights;
use crate::error::Diagnostic;

/// What the layer that gives the logits is called: RoBERTa's and ELECTRA's heads have two layers
/// under `classifier`, every other architecture has one.
const OUTPUT_LAYERS: [&str; 2] = ["classifier.out_proj", "classifier"];

/// The tensors of a checkpoint with weight and bias of its last linear layer divided by
/// `temperature` > 0: (W/τ)h + b/τ = (Wh + b)/τ. All others are as they are stored.
///
/// Both are f32, since f16 and bf16 may not hold the quotient; each is divided in f64 and rounded once.
///
/// # Errors
/// A tensor that cannot be read, weights without such a layer.
pub fn recalibrated(weights: &mut Weights, temperature: f64) -> Result<BTreeMap<String, Tensor>> {
    let mut tensors = weights.stored()?;
    let layer = OUTPUT_LAYERS.iter().find(|name| weights.contains(&format!("{name}.weight")));
    let layer = layer.ok_or_else(|| {
        Diagnostic::failure(format!("`{}` holds no `classifier.weight`", weights.source()))
            .hint("a temperature is folded into the last linear layer of a sequence classifier")
    })?;
    for part in ["weight", "bias"] {
        let name = format!("{layer}.{part}");
        let missing = || format!("`{}` holds no `{name}`", weights.source());
        let tensor = tensors.get_mut(&name).with_context(missing)?;
        let wide = tensor.to_dtype(DType::F32)?.to_dtype(DType::F64)?;
        *tensor = (wide / temperature)?.to_dtype(DType::F32)?;
    }
    Ok(tensors)
}
