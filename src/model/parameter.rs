//! Trainable tensors.

use candle_core::{Tensor, Var};

/// One trainable tensor.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Its name, the same in every run: `layers.0.output.weight`.
    pub name: String,
    /// The tensor itself; clones share it.
    pub var: Var,
    /// Whether weight decay applies: not to biases and the gains of layer norms.
    pub decays: bool,
    /// Whether it belongs to the embeddings, which may be frozen.
    pub embeds: bool,
}

impl Parameter {
    /// A parameter with a copy of `value`; not of the embeddings.
    pub fn new(name: String, value: &Tensor, decays: bool) -> candle_core::Result<Self> {
        Ok(Parameter { name, var: Var::from_tensor(&value.copy()?)?, decays, embeds: false })
    }
}
