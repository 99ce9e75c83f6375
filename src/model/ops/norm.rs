//! Layer norm.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, D};
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
        let pieces = out.par_chunks_mut(piece).zip(residual.par_chunks(piece));
        pieces.for_each(|(out, residual)| kernels::add_layer_norm(out, residual, norm));
        CpuStorage::F32(out)
    }

    /// The gradients of the normalised sum (T, H) and of `scale` (2, H).
    fn backward(&self, x: &[f32], residual: &[f32], scale: &[f32], grad: &[f32]) -> [Vec<f32>; 2] {
        let norm = self.norm(scale);
        let piece = ROWS * norm.gain.len();
        let mut out = vec![0.0; x.len()];
        let inputs = x.par_chunks(piece).zip(residual.par_chunks(piece));
        let pieces = out.par_chunks_mut(piece).zip(inputs).zip(grad.par_chunks(piece));
        let partials: Vec<Vec<f32>> = pieces
            .map(|((out, input), grad)| {
                let (mut partial, row) = (vec![0.0; scale.len()], &mut Vec::new());
                gradients::layer_norm_gradient(input, norm, grad, row, out, &mut partial);
                partial
            })
            .collect();
        [out, total(&partials, scale.len())]
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
        let [of_sum, of_scale] = found;
        let of_sum = Tensor::from_vec(of_sum, x.shape(), x.device())?;
        let of_scale = Tensor::from_vec(of_scale, scale.shape(), scale.device())?;
        let give = |argument: &Tensor, gradient: &Tensor| match argument.track_op() {
            true => backward::hand_over(argument, gradient.clone()),
            false => None,
        };
        Ok((give(x, &of_sum), give(residual, &of_sum), give(scale, &of_scale)))
    }
}
