//! Layer norm.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, D};
use rayon::prelude::*;

use super::{backward, has_kernel, total, values, with_values, ROWS};
use crate::model::kernels::{self, gradients, Norm};

/// Layer normalisation of `x + residual`, both (T, H); `scale` is (2, H): gain, then bias.
pub fn add_layer_norm(x: &Tensor, residual: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    let op = LayerNorm { eps };
    if has_kernel(x) {
        x.apply_op3(residual, scale, op)
    } else {
        op.compose(&(x + residual)?, scale)
    }
}

/// Layer normalisation of `x` (T, H); `scale` is (2, H): gain, then bias.
pub fn layer_norm(x: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    let op = LayerNorm { eps };
    if has_kernel(x) {
        x.apply_op2(scale, op)
    } else {
        op.compose(x, scale)
    }
}

pub(super) struct LayerNorm {
    pub eps: f64,
}

impl LayerNorm {
    pub fn compose(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.broadcast_mul(&scale.get(0)?)?.broadcast_add(&scale.get(1)?)
    }

    fn norm<'a>(&self, scale: &'a [f32]) -> Norm<'a> {
        let (gain, bias) = scale.split_at(scale.len() / 2);
        Norm { gain, bias, eps: self.eps as f32 }
    }

    fn forward(&self, x: &[f32], residual: &[f32], scale: &[f32]) -> CpuStorage {
        let norm = self.norm(scale);
        let piece = ROWS * norm.gain.len();
        let mut out = x.to_vec();
        out.par_chunks_mut(piece).enumerate().for_each(|(i, out)| {
            kernels::add_layer_norm(out, part(residual, i, piece), norm);
        });
        CpuStorage::F32(out)
    }

    /// The gradients of the normalised sum (T, H) and of `scale` (2, H).
    fn backward(&self, x: &[f32], residual: &[f32], scale: &[f32], grad: &[f32]) -> [Vec<f32>; 2] {
        let norm = self.norm(scale);
        let piece = ROWS * norm.gain.len();
        let mut out = vec![0.0; x.len()];
        let pieces = out.par_chunks_mut(piece).enumerate();
        let partials: Vec<Vec<f32>> = pieces
            .map(|(i, out)| {
                let mut partial = vec![0.0; scale.len()];
                let input = (part(x, i, piece), part(residual, i, piece));
                let (grad, row) = (part(grad, i, piece), &mut Vec::new());
                gradients::layer_norm_gradient(input, norm, grad, row, out, &mut partial);
                partial
            })
            .collect();
        [out, total(&partials, scale.len())]
    }
}

/// Piece `i` of `x`, which may be empty.
fn part(x: &[f32], i: usize, piece: usize) -> &[f32] {
    x.chunks(piece).nth(i).unwrap_or(&[])
}

/// A gradient for each of `arguments`; all but the last share the first of `found`.
fn hand_over<const N: usize>(
    arguments: [&Tensor; N],
    found: [Vec<f32>; 2],
) -> Result<[Option<Tensor>; N]> {
    let scale = arguments[N - 1];
    let [of_sum, of_scale] = found;
    let of_sum = Tensor::from_vec(of_sum, arguments[0].shape(), scale.device())?;
    let of_scale = Tensor::from_vec(of_scale, scale.shape(), scale.device())?;
    Ok(std::array::from_fn(|i| {
        let gradient = if i == N - 1 { &of_scale } else { &of_sum };
        let argument = Some(arguments[i]).filter(|argument| argument.track_op())?;
        backward::hand_over(argument, gradient.clone())
    }))
}

impl CustomOp2 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale) = (values(x, x_layout)?, values(scale, scale_layout)?);
        Ok((self.forward(x, &[], scale), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let found = with_values([x, scale, &grad.contiguous()?], |[x, scale, grad]| {
            self.backward(x, &[], scale, grad)
        })?;
        let [x, scale] = hand_over([x, scale], found)?;
        Ok((x, scale))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "add-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale) = (values(x, x_layout)?, values(scale, scale_layout)?);
        let residual = values(residual, residual_layout)?;
        Ok((self.forward(x, residual, scale), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        scale: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let tensors = [x, residual, scale, &grad.contiguous()?];
        let found = with_values(tensors, |[x, residual, scale, grad]| {
            self.backward(x, residual, scale, grad)
        })?;
        let [x, residual, scale] = hand_over([x, residual, scale], found)?;
        Ok((x, residual, scale))
    }
}
