//! Linear layers that are trained with a student and dropped after the stage.

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::Draws;
use crate::model::kernels::Activation;
use crate::model::{ops, Parameter};

/// Standard deviation of a new weight, as of BERT's linear layers in transformers.
const DEVIATION: f64 = 0.02;

/// The linear layers of a stage, in order.
#[derive(Default)]
pub struct Projections(Vec<Parameter>); // of each layer: weight (I, O) and bias (O)

impl Projections {
    /// Adds the layer `name` from I to O elements. `decays` says whether weight decay applies to its
    /// weight.
    pub fn add(
        &mut self,
        name: &str,
        (from, to): (usize, usize),
        decays: bool,
        seed: u64,
    ) -> Result<()> {
        let draws = Draws { seed, deviation: DEVIATION, prefixes: vec![String::new()] };
        let weight = format!("{name}.weight");
        let value = draws.tensor(&weight, &[from, to])?;
        self.0.push(Parameter::new(weight, &value, decays)?);
        let bias = Tensor::zeros(to, DType::F32, &Device::Cpu)?;
        self.0.push(Parameter::new(format!("{name}.bias"), &bias, false)?);
        Ok(())
    }

    /// Weight (I, O) and bias (O) of layer number `index`, from 0.
    ///
    /// # Errors
    /// There is no such layer.
    pub fn layer(&self, index: usize) -> Result<(&Tensor, &Tensor)> {
        match self.0.chunks_exact(2).nth(index) {
            Some([weight, bias]) => Ok((weight.var.as_tensor(), bias.var.as_tensor())),
            _ => None.with_context(|| format!("there is no projection {index}")),
        }
    }

    /// Layer number `index` of `x` (T, I) -> (T, O).
    ///
    /// # Errors
    /// There is no such layer; another width.
    pub fn apply(&self, index: usize, x: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.layer(index)?;
        Ok(ops::linear(x, weight, bias, Activation::Identity)?)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All weights and biases, in order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_its_own_weights_and_no_bias_at_first() {
        let mut layers = Projections::default();
        layers.add("combination.1", (3, 2), false, 7).unwrap();
        layers.add("combination.2", (3, 2), true, 7).unwrap();
        let of: Vec<_> = layers.parameters().iter().map(|p| (p.name.as_str(), p.decays)).collect();
        let names = ["combination.1.weight", "combination.1.bias"];
        assert_eq!(of[..2], names.map(|name| (name, false)), "no weight decay");
        assert_eq!(of[2..], [("combination.2.weight", true), ("combination.2.bias", false)]);
        let x = Tensor::eye(3, DType::F32, &Device::Cpu).unwrap();
        let of = |index| layers.apply(index, &x).unwrap().to_vec2::<f32>().unwrap();
        let (weight, _) = layers.layer(0).unwrap();
        assert_eq!(of(0), weight.to_vec2::<f32>().unwrap(), "the identity gives the weights");
        assert_ne!(of(0), of(1));
        assert!(layers.apply(2, &x).is_err());
    }
}
