//! The arithmetic of the encoder on raw slices, single-threaded: one caller per core.
//!
//! Each row of a result depends on its own row of the input alone, to the last bit: sums run in a
//! fixed order, and [`matmul`] keeps every product on one path of the gemm crate.

use gemm::Parallelism;
use pulp::Arch;

/// Sums run over this many interleaved partial sums, so that they vectorise in a fixed order.
const LANES: usize = 16;

/// Rows up to which gemm splits the inner dimension in another way (its "small" path needs both
/// outer dimensions at or below 64); a narrow product is cut there, so that all rows take one path.
const SMALL: usize = 64;

/// A view of a row-major matrix inside a slice: element (r, c) is `data[r * stride + c]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The elements, from the first of the view on.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
}

/// `out (rows, cols) = x (rows, inner) · w (inner, cols)`, all row-major and contiguous.
///
/// Row r of `out` has the same bits whatever the other rows are and however many there are.
pub fn matmul(x: &[f32], w: &[f32], out: &mut [f32], inner: usize, cols: usize) {
    let rows = x.len() / inner;
    debug_assert_eq!((x.len(), w.len(), out.len()), (rows * inner, inner * cols, rows * cols));
    let chunk = if cols <= SMALL { SMALL } else { rows.max(1) };
    for (x, out) in x.chunks(chunk * inner).zip(out.chunks_mut(chunk * cols)) {
        let rows = x.len() / inner;
        if rows > 1 {
            let (x, w) = (View { data: x, stride: inner }, View { data: w, stride: cols });
            gemm_f32(rows, cols, inner, x, w, Layout::Normal, out, cols, 1.0);
        } else {
            // A single row takes gemm's matrix-vector path, which sums in another order.
            let (x, mut pair) = ([x, x].concat(), vec![0.0; 2 * cols]);
            let (x, w) = (View { data: &x, stride: inner }, View { data: w, stride: cols });
            gemm_f32(2, cols, inner, x, w, Layout::Normal, &mut pair, cols, 1.0);
            out.copy_from_slice(&pair[..cols]);
        }
    }
}

/// Whether the right-hand matrix is multiplied as it stands or transposed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `rhs` is (inner, cols).
    Normal,
    /// `rhs` is (cols, inner).
    Transposed,
}

/// `out (rows, cols) = scale · lhs (rows, inner) · rhs`, on one thread.
#[allow(clippy::too_many_arguments)] // the parameters of a matrix product
pub fn gemm_f32(
    rows: usize,
    cols: usize,
    inner: usize,
    lhs: View,
    rhs: View,
    rhs_layout: Layout,
    out: &mut [f32],
    out_stride: usize,
    scale: f32,
) {
    let span = |rows: usize, cols: usize, stride: usize| (rows - 1) * stride + cols;
    let (rhs_rows, rhs_cols) = match rhs_layout {
        Layout::Normal => (inner, cols),
        Layout::Transposed => (cols, inner),
    };
    assert!(lhs.data.len() >= span(rows, inner, lhs.stride), "lhs is shorter than its shape");
    assert!(
        rhs.data.len() >= span(rhs_rows, rhs_cols, rhs.stride),
        "rhs is shorter than its shape"
    );
    assert!(out.len() >= span(rows, cols, out_stride), "out is shorter than its shape");
    let (rhs_col_step, rhs_row_step) = match rhs_layout {
        Layout::Normal => (1, rhs.stride as isize),
        Layout::Transposed => (rhs.stride as isize, 1),
    };
    // SAFETY: the three assertions above keep every element that gemm touches inside its slice,
    // `out` is borrowed mutably and so overlaps neither operand, and the strides are positive.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            rows,
            cols,
            inner,
            out.as_mut_ptr(),
            1,
            out_stride as isize,
            false,
            lhs.data.as_ptr(),
            1,
            lhs.stride as isize,
            rhs.data.as_ptr(),
            rhs_col_step,
            rhs_row_step,
            0.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

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

/// Adds `bias` (cols) to each row of `x` (rows, cols) and applies `activation`, in place.
pub fn bias_activation(x: &mut [f32], bias: &[f32], activation: Activation) {
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(bias.len()) {
            for (x, b) in row.iter_mut().zip(bias) {
                *x += b;
            }
            match activation {
                Activation::Identity => {}
                Activation::Gelu => row.iter_mut().for_each(|x| *x = gelu(*x)),
                Activation::GeluTanh => row.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
                Activation::Relu => row.iter_mut().for_each(|x| *x = x.max(0.0)),
                Activation::Tanh => row.iter_mut().for_each(|x| *x = x.tanh()),
                Activation::TanhThenRelu => row.iter_mut().for_each(|x| *x = x.tanh().max(0.0)),
                Activation::Silu => row.iter_mut().for_each(|x| *x /= 1.0 + (-*x).exp()),
            }
        }
    });
}

/// The tail of the normal distribution over its density, Q(t)·exp(t²/2), for t ≥ 0: a polynomial
/// without constant term in k = 1/(1 + [`TAIL_SCALE`]·t), relative error 3e-8.
///
/// The form is Hastings'; the coefficients are fitted by weighted least squares on Chebyshev nodes
/// (Lawson's iteration). Small tails keep their relative precision, which 1 + erf(x) loses: a bias
/// of 1e-7 in every activation moves the logits by 1e-4.
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
        sum = sum * x + c;
    }
    sum
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    let t = x.abs();
    let k = 1.0 / (1.0 + TAIL_SCALE * t);
    let tail = exp_nonpositive(-0.5 * t * t) * (polynomial(&TAIL, k) * k);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

fn gelu_tanh(x: f32) -> f32 {
    let inner = (2.0 / std::f32::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

/// (exp(r) − 1 − r)/r² on |r| ≤ ln(2)/2: relative error of exp 3e-9, fitted as [`TAIL`] was.
const EXP: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_394, 0.008_368_78, 0.001_381_446_6];

/// exp(x) for x ≤ 0, to about one unit in the last place; exp(-87) below that.
#[inline(always)]
fn exp_nonpositive(x: f32) -> f32 {
    // Adding 1.5·2^23 rounds to the nearest integer, and leaves it in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with trailing zeros, so that n·LN2_HIGH is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.max(-87.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let exp = 1.0 + (r + r * r * polynomial(&EXP, r));
    // 2^n, its exponent set directly.
    exp * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

/// Softmax over each row of `x` (rows, cols), in place.
pub fn softmax_rows(x: &mut [f32], cols: usize) {
    Arch::new().dispatch(|| {
        for row in x.chunks_exact_mut(cols) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|x| *x = exp_nonpositive(*x - max));
            let inverse = 1.0 / lane_sum(row, |x| x);
            row.iter_mut().for_each(|x| *x *= inverse);
        }
    });
}

/// Σ f(x) in a fixed order: [`LANES`] interleaved partial sums, then those one after the other.
#[inline(always)]
fn lane_sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += f(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += f(*x);
    }
    lanes.iter().sum()
}

/// `x = (x + residual − mean) / sqrt(variance + eps) · gain + bias` for each row of H, in place.
///
/// The variance is the population's, as in PyTorch's LayerNorm. An empty `residual` adds nothing.
pub fn add_layer_norm(x: &mut [f32], residual: &[f32], gain: &[f32], bias: &[f32], eps: f32) {
    let hidden = gain.len();
    Arch::new().dispatch(|| {
        for (r, row) in x.chunks_exact_mut(hidden).enumerate() {
            if !residual.is_empty() {
                for (x, y) in row.iter_mut().zip(&residual[r * hidden..][..hidden]) {
                    *x += y;
                }
            }
            let mean = lane_sum(row, |x| x) / hidden as f32;
            let variance = lane_sum(row, |x| (x - mean) * (x - mean)) / hidden as f32;
            let scale = 1.0 / (variance + eps).sqrt();
            for ((x, g), b) in row.iter_mut().zip(gain).zip(bias) {
                *x = (*x - mean) * scale * g + b;
            }
        }
    });
}

/// Self-attention of every sequence of a packed batch over its own tokens.
///
/// `qkv` is (T, 3H): queries, keys and values side by side; `out` is (T, H); sequence b occupies
/// the rows `offsets[b]..offsets[b + 1]`. Scores are scaled by 1/√(H/heads).
pub fn packed_attention(qkv: &[f32], offsets: &[usize], heads: usize, out: &mut [f32]) {
    let stride = qkv.len() / offsets[offsets.len() - 1];
    let hidden = stride / 3;
    let width = hidden / heads;
    let scale = 1.0 / (width as f32).sqrt();
    let longest = offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
    let mut scores = vec![0.0; longest * longest];
    for sequence in offsets.windows(2) {
        let (start, length) = (sequence[0], sequence[1] - sequence[0]);
        if length == 0 {
            continue;
        }
        let scores = &mut scores[..length * length];
        for head in 0..heads {
            let at = |part: usize| View {
                data: &qkv[start * stride + part * hidden + head * width..],
                stride,
            };
            let (q, k, v) = (at(0), at(1), at(2));
            gemm_f32(length, length, width, q, k, Layout::Transposed, scores, length, scale);
            softmax_rows(scores, length);
            let weights = View { data: scores, stride: length };
            let out = &mut out[start * hidden + head * width..];
            gemm_f32(length, width, length, weights, v, Layout::Normal, out, hidden, 1.0);
        }
    }
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

    #[test]
    fn layer_norm_of_two_values() {
        // mean 2, variance 1: (1 − 2)/1, (3 − 2)/1, then gain 2 and bias 1.
        let mut x = [0.5, 1.0];
        add_layer_norm(&mut x, &[0.5, 2.0], &[2.0, 2.0], &[1.0, 1.0], 0.0);
        assert_eq!(x, [-1.0, 3.0]);
    }

    #[test]
    fn a_row_of_a_product_does_not_depend_on_the_other_rows() {
        for (inner, cols) in [(32, 2), (384, 3), (1536, 2), (600, 64), (768, 65), (384, 1152)] {
            let value = |i: usize| ((i * 2_654_435_761) % 1_000) as f32 / 500.0 - 1.0;
            let rows = 150;
            let x: Vec<f32> = (0..rows * inner).map(value).collect();
            let w: Vec<f32> = (0..inner * cols).map(|i| value(i + 7)).collect();
            let mut all = vec![0.0; rows * cols];
            matmul(&x, &w, &mut all, inner, cols);
            for (start, count) in [(0, 1), (5, 2), (17, 63), (40, 65), (149, 1), (0, 129)] {
                let mut part = vec![0.0; count * cols];
                matmul(&x[start * inner..][..count * inner], &w, &mut part, inner, cols);
                let same =
                    part.iter().zip(&all[start * cols..]).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "inner {inner}, cols {cols}, rows {start}+{count}");
            }
        }
    }
}
