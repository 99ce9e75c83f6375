//! Element-wise functions, exact to f32 and free of branches, so that loops over them vectorise.

/// The element-wise functions that follow a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x
    Identity,
    /// x·Φ(x), the exact form that Hugging Face calls `gelu`.
    Gelu,
    /// The tanh approximation that Hugging Face calls `gelu_new` or `gelu_pytorch_tanh`.
    GeluTanh,
    /// max(x, 0)
    Relu,
    /// tanh(x)
    Tanh,
    /// max(tanh(x), 0): the pooler of the original TinyBERT code with the ReLU before its classifier.
    TanhThenRelu,
    /// x·sigmoid(x)
    Silu,
}

/// A loop over elements, compiled with an element-wise function.
pub(in crate::model::kernels) trait Elementwise {
    /// Runs the loop.
    fn each(self, function: impl Fn(f32) -> f32);
}

impl Activation {
    /// Runs `job` with the activation's function.
    #[inline(always)]
    pub(in crate::model::kernels) fn run(self, job: impl Elementwise) {
        match self {
            Activation::Identity => job.each(|x| x),
            Activation::Gelu => job.each(gelu),
            Activation::GeluTanh => job.each(gelu_tanh),
            Activation::Relu => job.each(|x| x.max(0.0)),
            Activation::Tanh => job.each(f32::tanh),
            Activation::TanhThenRelu => job.each(|x| x.tanh().max(0.0)),
            Activation::Silu => job.each(silu),
        }
    }
}

/// The tail of the normal distribution over its density, Q(t)·exp(t²/2), for t ≥ 0: a polynomial
/// without constant term in k = 1/(1 + [`TAIL_SCALE`]·t), relative error 3e-8.
///
/// Hastings' form, fitted by weighted least squares on Chebyshev nodes (Lawson's iteration). Small
/// tails keep their relative precision, which 1 + erf(x) loses: a bias of 1e-7 in every activation
/// moves the logits by 1e-4.
const TAIL: [f32; 9] = [
    0.139_621_7,
    0.139_856_71,
    0.119_869_02,
    0.105_369_49,
    -0.022_791_494,
    0.158_723_16,
    -0.255_328_32,
    0.143_788_75,
    -0.029_109_043,
];
const TAIL_SCALE: f32 = 0.35;

#[inline(always)]
fn polynomial<const N: usize>(coefficients: &[f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for c in coefficients[..N - 1].iter().rev() {
        sum = sum.mul_add(x, *c);
    }
    sum
}

#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    let t = x.abs();
    let k = 1.0 / TAIL_SCALE.mul_add(t, 1.0);
    let tail = exp_nonpositive(-0.5 * t * t) * (polynomial(&TAIL, k) * k);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// The derivative of [`gelu`]: Φ(x) + x·φ(x).
#[inline(always)]
pub(super) fn gelu_slope(x: f32) -> f32 {
    const DENSITY: f32 = 0.398_942_3; // 1/√(2π)
    let t = x.abs();
    let k = 1.0 / TAIL_SCALE.mul_add(t, 1.0);
    let exp = exp_nonpositive(-0.5 * t * t);
    let tail = exp * (polynomial(&TAIL, k) * k);
    (DENSITY * x).mul_add(exp, if x < 0.0 { tail } else { 1.0 - tail })
}

#[inline(always)]
pub(super) fn silu_slope(x: f32) -> f32 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    sigmoid * (1.0 + x * (1.0 - sigmoid))
}

#[inline(always)]
pub(super) fn gelu_tanh_slope(x: f32) -> f32 {
    let scale = (2.0 / std::f32::consts::PI).sqrt();
    let tanh = (scale * (x + 0.044_715 * x * x * x)).tanh();
    let inner_slope = scale * (1.0 + 3.0 * 0.044_715 * x * x);
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner_slope
}

#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + (-x).exp())
}

#[inline(always)]
pub(super) fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// (exp(r) − 1 − r)/r² on |r| ≤ ln(2)/2: relative error of exp 3e-9, fitted like [`TAIL`].
const EXP: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_394, 0.008_368_78, 0.001_381_446_6];

/// exp(x) for x ≤ 0, to about one unit in the last place; exp(-87) below that.
#[inline(always)]
pub(super) fn exp_nonpositive(x: f32) -> f32 {
    // Adding 1.5·2^23 rounds to the nearest integer, in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with trailing zeros, so that n·LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let rounded = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = n.mul_add(-LN2_LOW, n.mul_add(-LN2_HIGH, x));
    let exp = 1.0 + (r * r).mul_add(polynomial(&EXP, r), r);
    // 2^n, its exponent set directly.
    exp * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The normal distribution below x ≤ 0 by its continued fraction (far out) or its series.
    fn normal_tail(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if x < -3.0 {
            let fraction = (1..=200).rev().fold(-x, |rest, n| f64::from(n) / rest - x);
            return density / fraction;
        }
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while f64::abs(term) > 1e-18 {
            n += 2.0;
            term *= x * x / n;
            sum += term;
        }
        0.5 + density * sum
    }

    #[test]
    fn gelu_is_exact_to_f32() {
        let mut bias = 0.0;
        for i in 0..1_000 {
            let x = f64::from(-(i as f32) * 0.01);
            let (below, above) = (normal_tail(x) * x, (1.0 - normal_tail(x)) * -x);
            let (got_below, got_above) = (f64::from(gelu(x as f32)), f64::from(gelu(-x as f32)));
            assert!(
                (got_below - below).abs() <= 2e-7 * x.abs().min(1.0),
                "{x}: {got_below} {below}"
            );
            assert!((got_above - above).abs() <= 2e-7 * (1.0 - x), "{x}: {got_above} {above}");
            bias += (got_below - below) / 1_000.0;
        }
        assert!(f64::abs(bias) < 1e-8, "{bias}");
    }

    #[test]
    fn exponential_is_within_a_unit_in_the_last_place() {
        for i in 0..8_600 {
            let x = -(i as f32) * 0.01;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp_nonpositive(x)) - expected).abs() / expected;
            assert!(error < 1.2e-7, "{x}: relative error {error}");
        }
        assert_eq!(exp_nonpositive(0.0), 1.0);
    }
}
