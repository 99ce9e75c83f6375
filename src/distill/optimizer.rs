//! AdamW and gradient clipping.
//!
//! On the CPU and in f32 one pass updates values and moments in place, over pieces of fixed size on
//! rayon's threads: the same bits for any number of threads. Elsewhere candle operations are composed.

mod gradients;

use anyhow::{ensure, Context, Result};
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor};
use rayon::prelude::*;

pub use gradients::Gradients;

use crate::model::kernels::optimizer::{adamw, AdamWStep};
use crate::model::Parameter;

/// Elements of a piece. Pieces depend on the shapes only.
const ELEMENTS: usize = 1 << 15;

/// AdamW's options; the defaults are those of `torch.optim.AdamW`, with its bias correction.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct AdamWOptions {
    /// Decay of the mean of gradients, in [0, 1).
    pub beta1: f64,
    /// Decay of the mean of squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the second mean, above 0.
    pub eps: f64,
    /// λ: each step takes learning rate · λ · value from every parameter that decays.
    pub weight_decay: f64,
    /// Whether the means are corrected for their start at 0; the Adam of the original BERT and
    /// TinyBERT code does not.
    pub bias_correction: bool,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        AdamWOptions {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            bias_correction: true,
        }
    }
}

impl AdamWOptions {
    /// Step number `step`, counted from 1, of a parameter.
    fn at(&self, step: u64, decays: bool, learning_rate: f64, gradient_scale: f32) -> AdamWStep {
        let bias = |beta: f64| match self.bias_correction {
            true => 1.0 - beta.powf(step as f64),
            false => 1.0,
        };
        let weight_decay = if decays { self.weight_decay } else { 0.0 };
        AdamWStep {
            gradient_scale,
            beta1: self.beta1 as f32,
            rest1: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            rest2: (1.0 - self.beta2) as f32,
            eps: self.eps as f32,
            kept: (1.0 - learning_rate * weight_decay) as f32,
            rate: (learning_rate / bias(self.beta1)) as f32,
            root_bias: bias(self.beta2).sqrt() as f32,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101), in the arithmetic
/// of `torch.optim.AdamW`.
#[derive(Debug)]
pub struct AdamW {
    parameters: Vec<Parameter>,
    moments: Vec<ParameterMoments>,
    options: AdamWOptions,
    steps: u64,
}

/// Means of one parameter's gradients and of their squares, row-major.
#[derive(Debug)]
enum ParameterMoments {
    /// f32 on the CPU.
    Slices(Vec<f32>, Vec<f32>),
    /// Any other.
    Tensors(Tensor, Tensor),
}

impl ParameterMoments {
    fn zeros(of: &Tensor) -> Result<Self> {
        if of.device().is_cpu() && of.dtype() == DType::F32 {
            let zeros = || vec![0.0; of.elem_count()];
            return Ok(ParameterMoments::Slices(zeros(), zeros()));
        }
        Ok(ParameterMoments::Tensors(of.zeros_like()?, of.zeros_like()?))
    }

    fn tensors(&self, like: &Tensor) -> Result<(Tensor, Tensor)> {
        let tensor = |x: &Vec<f32>| Tensor::from_slice(x, like.shape(), &Device::Cpu);
        Ok(match self {
            ParameterMoments::Slices(first, second) => (tensor(first)?, tensor(second)?),
            ParameterMoments::Tensors(first, second) => (first.clone(), second.clone()),
        })
    }
}

impl AdamW {
    /// An optimizer of `parameters` that has made no step.
    ///
    /// # Errors
    /// No memory for the moments on the device.
    pub fn new(parameters: Vec<Parameter>, options: AdamWOptions) -> Result<Self> {
        let moments =
            parameters.iter().map(|p| ParameterMoments::zeros(&p.var)).collect::<Result<_>>()?;
        Ok(AdamW { parameters, moments, options, steps: 0 })
    }

    /// The trained parameters, in the order of the [`Gradients`].
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Steps made so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Updates every parameter in place.
    ///
    /// # Errors
    /// Gradients that are not of these parameters.
    pub fn step(&mut self, gradients: &Gradients, learning_rate: f64) -> Result<()> {
        ensure!(
            gradients.len() == self.parameters.len(),
            "{} gradients for {} parameters",
            gradients.len(),
            self.parameters.len()
        );
        self.steps += 1;
        let AdamW { parameters, moments, options, steps } = self;
        for ((parameter, moments), (gradient, scale)) in
            parameters.iter().zip(moments).zip(gradients.iter())
        {
            let step = options.at(*steps, parameter.decays, learning_rate, scale as f32);
            let changed = match moments {
                ParameterMoments::Slices(first, second) => {
                    update(step, parameter, gradient, first, second)
                }
                ParameterMoments::Tensors(first, second) => {
                    let decay = if parameter.decays { options.weight_decay } else { 0.0 };
                    let kept = 1.0 - learning_rate * decay;
                    options
                        .compose(*steps, learning_rate, &(gradient * scale)?, (first, second))
                        .and_then(|update| {
                            parameter.var.set(&((&*parameter.var * kept)? - update)?)
                        })
                }
            };
            changed.with_context(|| format!("cannot update parameter `{}`", parameter.name))?;
        }
        Ok(())
    }

    /// Each parameter's name and moments, of its shape: means of its gradients and of their squares.
    ///
    /// # Errors
    /// No memory for the copies.
    pub fn moments(&self) -> Result<Vec<(String, Tensor, Tensor)>> {
        let both = self.parameters.iter().zip(&self.moments);
        both.map(|(parameter, moments)| {
            let (first, second) = moments.tensors(&parameter.var)?;
            Ok((parameter.name.clone(), first, second))
        })
        .collect()
    }

    /// Restores the state after `steps` steps: `moments` are those of [`AdamW::moments`], in any order.
    ///
    /// # Errors
    /// A parameter without moments, moments without a parameter, another shape; the optimizer is then
    /// unchanged.
    pub fn restore(&mut self, steps: u64, moments: Vec<(String, Tensor, Tensor)>) -> Result<()> {
        ensure!(
            moments.len() == self.parameters.len(),
            "moments of {} parameters for an optimizer of {}",
            moments.len(),
            self.parameters.len()
        );
        let mut by_name: std::collections::HashMap<_, _> =
            moments.into_iter().map(|(name, first, second)| (name, (first, second))).collect();
        let mut restored = Vec::with_capacity(self.parameters.len());
        for Parameter { name, var, .. } in &self.parameters {
            let (first, second) = by_name
                .remove(name)
                .with_context(|| format!("no moments of parameter `{name}`"))?;
            for moment in [&first, &second] {
                ensure!(
                    moment.shape() == var.shape(),
                    "parameter `{name}` has the shape {:?}, and its moments have {:?}",
                    var.dims(),
                    moment.dims()
                );
            }
            let moved = |t: &Tensor| t.to_device(var.device())?.to_dtype(var.dtype());
            let (first, second) = (moved(&first)?, moved(&second)?);
            restored.push(match ParameterMoments::zeros(var)? {
                ParameterMoments::Tensors(..) => ParameterMoments::Tensors(first, second),
                ParameterMoments::Slices(..) => {
                    let flat = |t: Tensor| t.flatten_all()?.to_vec1();
                    ParameterMoments::Slices(flat(first)?, flat(second)?)
                }
            });
        }
        (self.moments, self.steps) = (restored, steps);
        Ok(())
    }
}

impl AdamWOptions {
    /// The update of a parameter apart from its decay; updates its moments.
    fn compose(
        &self,
        step: u64,
        learning_rate: f64,
        gradient: &Tensor,
        (first, second): (&mut Tensor, &mut Tensor),
    ) -> candle_core::Result<Tensor> {
        *first = ((&*first * self.beta1)? + (gradient * (1.0 - self.beta1))?)?;
        *second = ((&*second * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let (bias1, bias2) = match self.bias_correction {
            true => (1.0 - self.beta1.powf(step as f64), 1.0 - self.beta2.powf(step as f64)),
            false => (1.0, 1.0),
        };
        let root = ((second.sqrt()? / bias2.sqrt())? + self.eps)?;
        (&*first / root)? * (learning_rate / bias1)
    }
}

/// One step of one parameter on the CPU in f32.
fn update(
    step: AdamWStep,
    parameter: &Parameter,
    gradient: &Tensor,
    first: &mut [f32],
    second: &mut [f32],
) -> candle_core::Result<()> {
    let moments = std::sync::Mutex::new((first, second));
    parameter.var.inplace_op2(gradient, &AdamWUpdate { step, moments })
}

/// AdamW as an in-place operation of candle, with moments outside of tensors.
struct AdamWUpdate<'a> {
    step: AdamWStep,
    moments: std::sync::Mutex<(&'a mut [f32], &'a mut [f32])>,
}

impl InplaceOp2 for AdamWUpdate<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        values: &mut CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(values), Some((start, end))) = (values, layout.contiguous_offsets())
        else {
            candle_core::bail!("a parameter is not contiguous in f32");
        };
        let Some(of_gradient) = gradient_layout.contiguous_offsets() else {
            candle_core::bail!("a gradient is not contiguous");
        };
        let gradient = &gradient.as_slice::<f32>()?[of_gradient.0..of_gradient.1];
        let mut moments = self.moments.lock().expect("a panic would have ended the step");
        let (first, second) = &mut *moments;
        let moments = first.par_chunks_mut(ELEMENTS).zip(second.par_chunks_mut(ELEMENTS));
        let values = values[start..end].par_chunks_mut(ELEMENTS);
        let pieces = values.zip(gradient.par_chunks(ELEMENTS)).zip(moments);
        pieces.for_each(|((values, gradient), (first, second))| {
            adamw(self.step, gradient, values, [first, second]);
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
