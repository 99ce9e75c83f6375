//! Activations without a linear layer, and their gradients.

use pulp::{Arch, Simd, WithSimd};

use crate::model::kernels::functions::{
    gelu_slope, gelu_tanh_slope, silu_slope, Activation, Elementwise,
};

/// `out = activation(x)`, element by element.
pub fn activate(x: &[f32], activation: Activation, out: &mut [f32]) {
    Arch::new().dispatch(Forward { x, activation, out });
}

/// `out = grad · activation'(x)`, element by element.
pub fn activation_gradient(x: &[f32], activation: Activation, grad: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Backward { x, activation, grad, out });
}

struct Forward<'a> {
    x: &'a [f32],
    activation: Activation,
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.activation.run(self);
    }
}

impl Elementwise for Forward<'_> {
    #[inline(always)]
    fn each(self, activation: impl Fn(f32) -> f32) {
        for (out, x) in self.out.iter_mut().zip(self.x) {
            *out = activation(*x);
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    activation: Activation,
    grad: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.activation {
            Activation::Identity => self.out.copy_from_slice(self.grad),
            Activation::Gelu => self.each(gelu_slope),
            Activation::GeluTanh => self.each(gelu_tanh_slope),
            Activation::Relu => self.each(|x| if x >= 0.0 { 1.0 } else { 0.0 }),
            Activation::Tanh => self.each(|x| 1.0 - x.tanh() * x.tanh()),
            Activation::TanhThenRelu => self.each(|x| match x.tanh() {
                tanh if tanh >= 0.0 => 1.0 - tanh * tanh,
                _ => 0.0,
            }),
            Activation::Silu => self.each(silu_slope),
        }
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn each(self, slope: impl Fn(f32) -> f32) {
        for ((out, x), grad) in self.out.iter_mut().zip(self.x).zip(self.grad) {
            *out = grad * slope(*x);
        }
    }
}
