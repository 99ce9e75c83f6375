//! The gradient of a layer norm.

use pulp::{Arch, Simd, WithSimd};

use crate::model::kernels::norm::{sum, sum_of_products};
use crate::model::kernels::{sized, Norm};

/// The gradients of `(h − mean) / sqrt(variance + eps) · gain + bias` for rows of h = x + residual
/// (rows, H), given that of the result: `out` (rows, H) gets h's, which is x's and the residual's;
/// those of gain and bias are added to `scale` (2, H) row by row. `row` is a buffer.
pub fn layer_norm_gradient(
    (x, residual): (&[f32], &[f32]),
    norm: Norm,
    grad: &[f32],
    row: &mut Vec<f32>,
    out: &mut [f32],
    scale: &mut [f32],
) {
    Arch::new().dispatch(LayerNormGradientKernel { x, residual, norm, grad, row, out, scale });
}

struct LayerNormGradientKernel<'a> {
    x: &'a [f32],
    residual: &'a [f32],
    norm: Norm<'a>,
    grad: &'a [f32],
    row: &'a mut Vec<f32>,
    out: &'a mut [f32],
    scale: &'a mut [f32],
}

impl WithSimd for LayerNormGradientKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let LayerNormGradientKernel { x, residual, norm, grad, row, out, scale } = self;
        let hidden = norm.gain.len();
        let row = sized(row, hidden);
        let (gain, bias) = scale.split_at_mut(hidden);
        for (r, out) in out.chunks_exact_mut(hidden).enumerate() {
            let rows = r * hidden..(r + 1) * hidden;
            row.copy_from_slice(&x[rows.clone()]);
            for (x, y) in row.iter_mut().zip(&residual[rows.clone()]) {
                *x += y;
            }
            row_gradient(row, norm, &grad[rows], out, (gain, bias));
        }
    }
}

/// With n = (h − mean)/deviation and d = grad·gain, h's gradient is
/// (d − mean(d) − n·mean(d·n)) / deviation.
#[inline(always)]
fn row_gradient(
    row: &mut [f32], // h, then n
    norm: Norm,
    grad: &[f32],
    out: &mut [f32],
    (gain, bias): (&mut [f32], &mut [f32]),
) {
    let hidden = row.len() as f32;
    let mean = sum(row, |x| x) / hidden;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / hidden;
    let scale = 1.0 / (variance + norm.eps).sqrt();
    for x in row.iter_mut() {
        *x = (*x - mean) * scale;
    }
    for ((out, grad), gain) in out.iter_mut().zip(grad).zip(norm.gain) {
        *out = grad * gain;
    }
    for ((gain, grad), n) in gain.iter_mut().zip(grad).zip(row.iter()) {
        *gain += grad * n;
    }
    for (bias, grad) in bias.iter_mut().zip(grad) {
        *bias += grad;
    }
    let mean_gradient = sum(out, |d| d) / hidden;
    let mean_product = sum_of_products(out, row) / hidden;
    for (out, n) in out.iter_mut().zip(row.iter()) {
        *out = (*out - mean_gradient - n * mean_product) * scale;
    }
}
