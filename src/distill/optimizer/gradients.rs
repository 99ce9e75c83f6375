//! One gradient for each parameter.

use anyhow::{ensure, Context, Result};
use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Storage, Tensor};
use rayon::prelude::*;

use super::ELEMENTS;
use crate::model::kernels::optimizer::{scale_and_add, sum_of_squares};
use crate::model::Parameter;

/// Added to a norm that gradients are clipped by, as in `torch.nn.utils.clip_grad_norm_`.
const NORM_EPS: f64 = 1e-6;

/// Gradients of parameters, in their order.
///
/// Scaling and clipping change a factor only, which the optimizer reads with the gradient.
#[derive(Debug, Clone)]
pub struct Gradients {
    of: Vec<Gradient>,
}

#[derive(Debug, Clone)]
struct Gradient {
    tensor: Tensor, // contiguous
    factor: f64,
}

impl Gradients {
    /// Takes the gradient of each of `parameters` out of `store`.
    ///
    /// # Errors
    /// A parameter that got none: the loss does not depend on it.
    pub fn collect(mut store: GradStore, parameters: &[Parameter]) -> Result<Self> {
        let of = parameters.iter().map(|parameter| {
            let tensor = store.remove(&parameter.var).with_context(|| {
                format!(
                    "parameter `{}` got no gradient: the loss does not depend on it",
                    parameter.name
                )
            })?;
            Ok(Gradient { tensor: tensor.contiguous()?, factor: 1.0 })
        });
        Ok(Gradients { of: of.collect::<Result<_>>()? })
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// Each tensor, and the factor that it is to be multiplied by.
    pub fn iter(&self) -> impl Iterator<Item = (&Tensor, f64)> {
        self.of.iter().map(|gradient| (&gradient.tensor, gradient.factor))
    }

    /// Adds the gradients of another batch.
    ///
    /// # Errors
    /// Gradients of other parameters.
    pub fn add(&mut self, other: &Gradients) -> Result<()> {
        ensure!(self.len() == other.len(), "{} gradients and {}", self.len(), other.len());
        for (mine, other) in self.of.iter_mut().zip(&other.of) {
            let (a, b) = (&mine.tensor, &other.tensor);
            ensure!(
                a.shape() == b.shape(),
                "gradients of shapes {:?} and {:?}",
                a.dims(),
                b.dims()
            );
            let factors = (mine.factor as f32, other.factor as f32);
            let sum = with_elements(a, |a| with_elements(b, |b| weighted_sum(a, b, factors)))?;
            mine.tensor = match sum.transpose()?.flatten() {
                Some(sum) => Tensor::from_vec(sum, a.shape(), &Device::Cpu)?,
                None => ((a * mine.factor)? + (b * other.factor)?)?,
            };
            mine.factor = 1.0;
        }
        Ok(())
    }

    /// Multiplies every gradient.
    pub fn scale(&mut self, factor: f64) {
        for gradient in &mut self.of {
            gradient.factor *= factor;
        }
    }

    /// √Σ g² over all elements of all gradients, added up in f64.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn global_norm(&self) -> Result<f64> {
        let squares: Result<Vec<f64>> = self.of.iter().map(Gradient::squares).collect();
        Ok(squares?.iter().sum::<f64>().sqrt())
    }

    /// Scales all gradients down together, so that their norm is at most `max_norm`, as
    /// `torch.nn.utils.clip_grad_norm_` does -> the norm that they had.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn clip(&mut self, max_norm: f64) -> Result<f64> {
        let norm = self.global_norm()?;
        let factor = max_norm / (norm + NORM_EPS);
        if factor < 1.0 {
            self.scale(factor);
        }
        Ok(norm)
    }

    /// Scales each gradient down by itself, so that its own norm is at most `max_norm`, as the
    /// optimizer of the original TinyBERT code does.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn clip_each(&mut self, max_norm: f64) -> Result<()> {
        for gradient in &mut self.of {
            let factor = max_norm / (gradient.squares()?.sqrt() + NORM_EPS);
            if factor < 1.0 {
                gradient.factor *= factor;
            }
        }
        Ok(())
    }
}

impl Gradient {
    /// Σ g², factor included.
    fn squares(&self) -> Result<f64> {
        let squares = match with_elements(&self.tensor, |x| {
            let partials: Vec<f64> = x.par_chunks(ELEMENTS).map(sum_of_squares).collect();
            partials.iter().sum::<f64>()
        })? {
            Some(squares) => squares,
            None => self.tensor.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar()?,
        };
        Ok(squares * self.factor * self.factor)
    }
}

/// `f` of the elements, for a contiguous tensor of f32 on the CPU; else `None`.
fn with_elements<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<Option<R>> {
    let (storage, layout) = tensor.storage_and_layout();
    Ok(match (&*storage, tensor.dtype(), layout.contiguous_offsets()) {
        (Storage::Cpu(storage), DType::F32, Some((start, end))) => {
            Some(f(&storage.as_slice::<f32>()?[start..end]))
        }
        _ => None,
    })
}

fn weighted_sum(a: &[f32], b: &[f32], (factor, of_b): (f32, f32)) -> Vec<f32> {
    let mut sum = a.to_vec();
    let pieces = sum.par_chunks_mut(ELEMENTS).zip(b.par_chunks(ELEMENTS));
    pieces.for_each(|(sum, b)| scale_and_add(sum, factor, b, of_b));
    sum
}
