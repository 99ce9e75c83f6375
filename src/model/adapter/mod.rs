//! candle-transformers' encoders as a [`Model`](super::Model), for audits only.
//!
//! Sequences run one at a time, since the bits of those encoders' products depend on the batch.

mod deberta_v2;
mod modernbert;

use std::sync::Mutex;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use serde_json::{json, Map, Value};

pub use deberta_v2::DebertaV2;
pub use modernbert::ModernBert;

use super::PackedBatch;
use crate::checkpoint::{ModelConfig, Weights};

/// Gives a checkpoint's tensors to candle-transformers by name and shape.
struct Taker<'a>(Mutex<&'a mut Weights>);

impl SimpleBackend for Taker<'_> {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, device: &Device) -> Result<Tensor> {
        let mut weights = self.0.lock().expect("no other thread takes weights");
        let tensor =
            weights.take(name, shape.dims()).map_err(|e| candle_core::Error::Msg(e.to_string()))?;
        tensor.to_device(device)
    }

    fn get_unchecked(&self, name: &str, _: DType, device: &Device) -> Result<Tensor> {
        let mut weights = self.0.lock().expect("no other thread takes weights");
        let tensor = weights.take_any(name).map_err(|e| candle_core::Error::Msg(e.to_string()))?;
        tensor.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.lock().expect("no other thread takes weights").contains(name)
    }
}

fn builder<'a>(weights: &'a mut Weights, device: &Device) -> VarBuilder<'a> {
    VarBuilder::from_backend(Box::new(Taker(Mutex::new(weights))), DType::F32, device.clone())
}

/// The keys of config.json, with transformers' `defaults` for missing and null keys.
fn with_defaults(config: &ModelConfig, defaults: Value) -> Map<String, Value> {
    let mut keys = config.keys().clone();
    if let Value::Object(defaults) = defaults {
        for (key, value) in defaults {
            if keys.get(&key).is_none_or(Value::is_null) {
                keys.insert(key, value);
            }
        }
    }
    // ModelConfig reads the labels; candle's types for them are too narrow for some files.
    keys.insert("id2label".into(), json!({}));
    keys.insert("label2id".into(), json!({}));
    keys
}

/// Runs `forward` on each sequence of `batch`, ids and segments as (1, L) tensors -> (B, K).
fn one_by_one(
    batch: &PackedBatch,
    device: &Device,
    forward: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let rows = batch
        .offsets
        .windows(2)
        .map(|w| {
            let row = |ids: &[u32]| Tensor::new(&ids[w[0]..w[1]], device)?.unsqueeze(0);
            forward(&row(&batch.input_ids)?, &row(&batch.token_type_ids)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&rows, 0)
}
