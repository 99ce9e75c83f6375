//! Products and activations.

use std::f64::consts::SQRT_2;

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{gradient_of, has_kernel, sum_rows, values, with_values, ROWS};
use crate::model::kernels::{self, gradients, Activation, LinearView, View};

/// Elements of an activation per piece of a thread.
const ELEMENTS: usize = 1 << 15;

/// `activation(x (T, I) · weight (I, O) + bias (O))` -> (T, O).
///
/// If a gradient is needed, the sum is kept for it, and the activation is a separate operation.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Tensor> {
    let op = LinearOp { act };
    if !has_kernel(x) {
        return op.compose(x, weight, bias);
    }
    let tracked = [x, weight, bias].iter().any(|argument| argument.track_op());
    if tracked && act != Activation::Identity {
        let sum = x.apply_op3(weight, bias, LinearOp { act: Activation::Identity })?;
        return sum.apply_op1(Activate { act });
    }
    x.apply_op3(weight, bias, op)
}

/// `act` as a composition of differentiable operations.
pub fn activate(x: &Tensor, act: Activation) -> Result<Tensor> {
    match act {
        Activation::Identity => Ok(x.clone()),
        // candle's gelu() is the tanh form, and the derivative of its gelu_erf() has six digits.
        Activation::Gelu => (x * ((x / SQRT_2)?.erf()? + 1.0)?)? * 0.5,
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Tanh => x.tanh(),
        Activation::TanhThenRelu => x.tanh()?.relu(),
        Activation::Silu => x.silu(),
    }
}

pub(super) struct LinearOp {
    pub act: Activation,
}

impl LinearOp {
    pub fn compose(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        activate(&x.matmul(weight)?.broadcast_add(bias)?, self.act)
    }
}

impl CustomOp3 for LinearOp {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = x_layout.shape().dims2()?;
        let (inner, cols) = weight_layout.shape().dims2()?;
        let (x, weight) = (values(x, x_layout)?, values(weight, weight_layout)?);
        debug_assert_eq!(weight.len(), inner * cols);
        let weight = View { data: weight, stride: cols };
        let layer = LinearView { weight, bias: values(bias, bias_layout)? };
        let mut out = vec![0.0; rows * cols];
        let pieces = out.par_chunks_mut(ROWS * cols).zip(x.par_chunks(ROWS * inner));
        pieces.for_each_init(Vec::new, |panel, (out, x)| {
            kernels::linear(x, layer, self.act, panel, out);
        });
        Ok((CpuStorage::F32(out), (rows, cols).into()))
    }

    /// Of the sum only: an activation with a gradient is a separate operation.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (inner, cols) = weight.dims2()?;
        let grad = grad.contiguous()?;
        let of_x = || with_values([weight, &grad], |[weight, grad]| of_input(weight, grad, inner));
        let of_weight = || with_values([x, &grad], |[x, grad]| of_weight(x, grad, inner, cols));
        let of_bias = || with_values([&grad], |[grad]| sum_rows(grad, cols));
        Ok((gradient_of(x, of_x)?, gradient_of(weight, of_weight)?, gradient_of(bias, of_bias)?))
    }
}

/// grad (T, O) · weightᵀ -> (T, I)
fn of_input(weight: &[f32], grad: &[f32], inner: usize) -> Vec<f32> {
    let cols = weight.len() / inner;
    let weight = View { data: weight, stride: cols };
    let mut transposed = vec![0.0; weight.data.len()]; // (O, I)
    let pieces = transposed.par_chunks_mut(ROWS * inner).enumerate();
    pieces.for_each(|(i, out)| gradients::transpose(weight, inner, i * ROWS, out));
    let mut out = vec![0.0; grad.len() / cols * inner];
    let pieces = out.par_chunks_mut(ROWS * inner).zip(grad.par_chunks(ROWS * cols));
    pieces.for_each(|(out, grad)| gradients::input_gradient(grad, &transposed, inner, out));
    out
}

/// xᵀ (I, T) · grad (T, O) -> (I, O)
fn of_weight(x: &[f32], grad: &[f32], inner: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; inner * cols];
    let pieces = out.par_chunks_mut(ROWS * cols).enumerate();
    pieces.for_each(|(i, out)| gradients::weight_gradient(x, inner, i * ROWS, grad, cols, out));
    out
}

/// An activation as a separate operation.
pub(super) struct Activate {
    pub act: Activation,
}

impl CustomOp1 for Activate {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut out = vec![0.0; x.len()];
        let pieces = out.par_chunks_mut(ELEMENTS).zip(x.par_chunks(ELEMENTS));
        pieces.for_each(|(out, x)| gradients::activate(x, self.act, out));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        gradient_of(x, || {
            with_values([x, &grad], |[x, grad]| {
                let mut out = vec![0.0; x.len()];
                let inputs = x.par_chunks(ELEMENTS).zip(grad.par_chunks(ELEMENTS));
                out.par_chunks_mut(ELEMENTS).zip(inputs).for_each(|(out, (x, grad))| {
                    gradients::activation_gradient(x, self.act, grad, out);
                });
                out
            })
        })
    }
}
