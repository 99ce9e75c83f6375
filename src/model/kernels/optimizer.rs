//! Updates of one parameter by an optimizer.

use pulp::{Arch, Simd, WithSimd};

use super::LANES;

/// The numbers of one AdamW step.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    /// Factor of the gradients.
    pub gradient_scale: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// 1 − β₁, rounded once.
    pub rest1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// 1 − β₂, rounded once.
    pub rest2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Factor of the values: 1 − learning rate · weight decay.
    pub kept: f32,
    /// The learning rate, over the first moment's bias.
    pub rate: f32,
    /// Divisor of the root of the second moment: the root of that moment's bias.
    pub root_bias: f32,
}

/// Updates values and both moments in place, all of one length.
///
/// m = β₁·m + (1 − β₁)·g, v = β₂·v + (1 − β₂)·g², x = kept·x − rate·m / (√v/root_bias + eps).
pub fn adamw(step: AdamWStep, gradient: &[f32], values: &mut [f32], moments: [&mut [f32]; 2]) {
    Arch::new().dispatch(AdamWKernel { step, gradient, values, moments });
}

struct AdamWKernel<'a> {
    step: AdamWStep,
    gradient: &'a [f32],
    values: &'a mut [f32],
    moments: [&'a mut [f32]; 2],
}

impl WithSimd for AdamWKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let AdamWKernel { step, gradient, values, moments: [first, second] } = self;
        let moments = first.iter_mut().zip(second.iter_mut());
        for ((x, g), (m, v)) in values.iter_mut().zip(gradient).zip(moments) {
            let g = g * step.gradient_scale;
            *m = step.beta1.mul_add(*m, step.rest1 * g);
            *v = step.beta2.mul_add(*v, step.rest2 * g * g);
            let root = v.sqrt() / step.root_bias + step.eps;
            *x = x.mul_add(step.kept, -(step.rate * *m / root));
        }
    }
}

/// Σ x² in f64, in a fixed order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    Arch::new().dispatch(SumOfSquares(x))
}

struct SumOfSquares<'a>(&'a [f32]);

impl WithSimd for SumOfSquares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let mut lanes = [0.0f64; 2 * LANES];
        let chunks = self.0.chunks_exact(2 * LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane = f64::from(*x).mul_add(f64::from(*x), *lane);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += f64::from(*x) * f64::from(*x);
        }
        lanes.iter().sum()
    }
}

/// `out = out · scale + x · factor`.
pub fn scale_and_add(out: &mut [f32], scale: f32, x: &[f32], factor: f32) {
    Arch::new().dispatch(ScaleAndAdd { out, scale, x, factor });
}

struct ScaleAndAdd<'a> {
    out: &'a mut [f32],
    scale: f32,
    x: &'a [f32],
    factor: f32,
}

impl WithSimd for ScaleAndAdd<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = *out * self.scale + x * self.factor;
        }
    }
}
