//! Self-attention within each sequence of a packed batch.

use pulp::{Arch, Simd, WithSimd};

use super::functions::exp_nonpositive;
use super::{gemm_f32, sized, Factor, View, LANES};

/// Up to this length the products of a head are too small for the gemm crate: 1.5 µs a token at 13
/// tokens and 12 heads, against 0.4 µs here.
const SHORT: usize = 64;

/// Rows of a product that are computed together, with one read of the right-hand side.
const TILE: usize = 6;

/// Queries, keys and values of a packed batch: element (token, head, i) of the queries is
/// `queries.data[token * stride + head * width + i]`, likewise for keys and values.
#[derive(Clone, Copy)]
pub struct AttentionView<'a> {
    /// Queries: a row per token, or one row per sequence (its first token's).
    pub queries: View<'a>,
    /// Keys, a row per token.
    pub keys: View<'a>,
    /// Values, a row per token.
    pub values: View<'a>,
    /// Sequence b occupies the rows `offsets[b]..offsets[b + 1]`.
    pub offsets: &'a [usize],
    /// Heads.
    pub heads: usize,
    /// Elements of a head, H / heads.
    pub width: usize,
}

impl<'a> AttentionView<'a> {
    /// Concatenated queries, keys and values of every token, (T, 3H).
    pub fn packed(qkv: &'a [f32], hidden: usize, offsets: &'a [usize], heads: usize) -> Self {
        let part = |i: usize| View { data: &qkv[i * hidden..], stride: 3 * hidden };
        let width = hidden / heads;
        AttentionView { queries: part(0), keys: part(1), values: part(2), offsets, heads, width }
    }
}

/// The tokens that have queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queries {
    /// Every token: `out` is (T, H).
    Every,
    /// The first token of each sequence: `out` is (B, H).
    First,
}

/// The buffers of one head, kept between calls.
#[derive(Debug, Default)]
pub struct AttentionBuffers {
    keys: Vec<f32>,   // (width, L)
    scores: Vec<f32>, // (L, L)
}

/// Self-attention of every sequence of a packed batch over its own tokens.
///
/// Scores are scaled by 1/√width.
pub fn packed_attention(
    input: AttentionView,
    queries: Queries,
    buffers: &mut AttentionBuffers,
    out: &mut [f32],
) {
    Arch::new().dispatch(AttentionKernel { input, queries, keep: &[], buffers, out });
}

/// As [`packed_attention`] with every query, under dropout: `keep` holds a factor for each
/// probability, by sequence, head, query and key (Σ heads·L²).
pub fn dropped_attention(
    input: AttentionView,
    keep: &[f32],
    buffers: &mut AttentionBuffers,
    out: &mut [f32],
) {
    Arch::new().dispatch(AttentionKernel { input, queries: Queries::Every, keep, buffers, out });
}

struct AttentionKernel<'a> {
    input: AttentionView<'a>,
    queries: Queries,
    keep: &'a [f32],
    buffers: &'a mut AttentionBuffers,
    out: &'a mut [f32],
}

impl WithSimd for AttentionKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AttentionKernel { input, queries, mut keep, buffers, out } = self;
        let (width, hidden) = (input.width, input.heads * input.width);
        for (b, sequence) in input.offsets.windows(2).enumerate() {
            let (start, length) = (sequence[0], sequence[1] - sequence[0]);
            if length == 0 {
                continue;
            }
            let (first, rows) = match queries {
                Queries::Every => (start, length),
                Queries::First => (b, 1),
            };
            for offset in (0..hidden).step_by(width) {
                let head = HeadView {
                    queries: input.queries.from(first, offset),
                    keys: input.keys.from(start, offset),
                    values: input.values.from(start, offset),
                    rows,
                    length,
                    width,
                };
                let factors; // of this head, or empty
                (factors, keep) = keep.split_at((length * length).min(keep.len()));
                head.attend(simd, buffers, factors, &mut out[first * hidden + offset..], hidden);
            }
        }
    }
}

/// One head of one sequence: `rows` queries over `length` keys and values.
pub(super) struct HeadView<'a> {
    pub queries: View<'a>,
    pub keys: View<'a>,
    pub values: View<'a>,
    pub rows: usize,
    pub length: usize,
    pub width: usize,
}

impl HeadView<'_> {
    /// softmax(q·kᵀ/√width)·v -> `out` (rows, width), rows `stride` apart. The probabilities are
    /// multiplied by `keep` (rows, length), unless that is empty.
    #[inline(always)]
    fn attend<S: Simd>(
        &self,
        simd: S,
        buffers: &mut AttentionBuffers,
        keep: &[f32],
        out: &mut [f32],
        stride: usize,
    ) {
        let &HeadView { rows, length, width, .. } = self;
        let AttentionBuffers { keys, scores } = buffers;
        let columns = length.next_multiple_of(LANES);
        let scores = sized(scores, rows * columns);
        self.probabilities(simd, keys, scores);
        if !keep.is_empty() {
            for (row, keep) in scores.chunks_exact_mut(columns).zip(keep.chunks_exact(length)) {
                for (x, keep) in row.iter_mut().zip(keep) {
                    *x *= keep;
                }
            }
        }
        let weights = View { data: scores, stride: columns };
        product(simd, (rows, width, length), weights, self.values, out, stride);
    }

    /// softmax(q·kᵀ/√width) -> `scores`, `rows` rows of whole vectors, undefined after the `length`
    /// elements of a row.
    #[inline(always)]
    pub fn probabilities<S: Simd>(&self, simd: S, keys: &mut Vec<f32>, scores: &mut [f32]) {
        let &HeadView { length, width, .. } = self;
        let scale = 1.0 / (width as f32).sqrt();
        let columns = length.next_multiple_of(LANES);
        self.products(simd, self.queries, self.keys, keys, scores);
        if length > SHORT {
            for row in scores.chunks_exact_mut(columns) {
                let last = row[length - 1];
                row[length..].fill(last);
            }
        }
        for row in scores.chunks_exact_mut(columns) {
            softmax(simd, row, length, scale);
        }
    }

    /// a (rows, width) · b (length, width)ᵀ -> `out`, `rows` rows of whole vectors. Up to [`SHORT`],
    /// the last of the `length` elements of a row is repeated after it.
    #[inline(always)]
    pub fn products<S: Simd>(
        &self,
        simd: S,
        a: View,
        b: View,
        transposed: &mut Vec<f32>,
        out: &mut [f32],
    ) {
        let &HeadView { rows, length, width, .. } = self;
        let columns = length.next_multiple_of(LANES);
        if length <= SHORT {
            let transposed = sized(transposed, width * columns);
            transpose(b, length, width, transposed);
            let b = View { data: transposed, stride: columns };
            small_product(simd, (rows, columns, width), a, b, out, columns);
        } else {
            let (a, b) = (Factor::Plain(a), Factor::Transposed(b));
            gemm_f32(rows, length, width, a, b, out, columns, 1.0);
        }
    }
}

/// `out (rows, cols) = a (rows, inner) · b (inner, cols)`, with `inner` a sequence's length.
#[inline(always)]
pub(super) fn product<S: Simd>(
    simd: S,
    (rows, cols, inner): (usize, usize, usize),
    a: View,
    b: View,
    out: &mut [f32],
    stride: usize,
) {
    if inner <= SHORT {
        small_product(simd, (rows, cols, inner), a, b, out, stride);
    } else {
        gemm_f32(rows, cols, inner, Factor::Plain(a), Factor::Plain(b), out, stride, 1.0);
    }
}

/// `out (rows, cols) = a (inner, rows)ᵀ · b (inner, cols)`, with `inner` a sequence's length.
#[inline(always)]
pub(super) fn transposed_product<S: Simd>(
    simd: S,
    (rows, cols, inner): (usize, usize, usize),
    a: View,
    b: View,
    transposed: &mut Vec<f32>,
    out: &mut [f32],
    stride: usize,
) {
    if inner <= SHORT {
        let columns = inner.next_multiple_of(LANES);
        let transposed = sized(transposed, rows * columns);
        transpose(a, inner, rows, transposed);
        let a = View { data: transposed, stride: columns };
        small_product(simd, (rows, cols, inner), a, b, out, stride);
    } else {
        gemm_f32(rows, cols, inner, Factor::Transposed(a), Factor::Plain(b), out, stride, 1.0);
    }
}

/// `out (width, columns) = x (length, width)ᵀ`; the columns after `length` hold its last row.
#[inline(always)]
fn transpose(x: View, length: usize, width: usize, out: &mut [f32]) {
    const BLOCK: usize = 4; // four rows of four make shuffles; a loop makes slow scatters
    let columns = out.len() / width;
    for j in (0..columns).step_by(BLOCK) {
        let row = |i: usize| &x.data[(j + i).min(length - 1) * x.stride..][..width];
        let rows = [row(0), row(1), row(2), row(3)];
        for w in (0..width).step_by(BLOCK) {
            for w in w..(w + BLOCK).min(width) {
                let column = [rows[0][w], rows[1][w], rows[2][w], rows[3][w]];
                out[w * columns + j..][..BLOCK].copy_from_slice(&column);
            }
        }
    }
}

/// The vector of LANES elements whose first n are 1 begins at `LANES - n`.
const ONES_THEN_ZEROS: [f32; 2 * LANES] = {
    let mut mask = [0.0; 2 * LANES];
    let mut i = 0;
    while i < LANES {
        mask[i] = 1.0;
        i += 1;
    }
    mask
};

/// softmax(scale · row) over the first `length` elements of a row of whole vectors, in place. Later
/// elements must not exceed their maximum, and become undefined.
#[inline(always)]
fn softmax<S: Simd>(simd: S, row: &mut [f32], length: usize, scale: f32) {
    let (vectors, _) = S::as_simd_f32s(row);
    let max = vectors.iter().fold(vectors[0], |max, x| simd.max_f32s(max, *x));
    let max = simd.reduce_max_f32s(max);
    for lanes in row.chunks_exact_mut(LANES) {
        for x in lanes {
            *x = exp_nonpositive((*x - max) * scale);
        }
    }
    let (whole, last) = S::as_simd_f32s(row).0.split_at((row.len() - LANES) / S::F32_LANES);
    let valid = &ONES_THEN_ZEROS[row.len() - length..][..LANES];
    let mut sum = simd.splat_f32s(0.0);
    for (x, valid) in last.iter().zip(S::as_simd_f32s(valid).0) {
        sum = simd.mul_add_f32s(*x, *valid, sum);
    }
    sum = whole.iter().fold(sum, |sum, x| simd.add_f32s(sum, *x));
    let inverse = 1.0 / simd.reduce_sum_f32s(sum);
    for lanes in row.chunks_exact_mut(LANES) {
        for x in lanes {
            *x *= inverse;
        }
    }
}

/// `out (rows, cols) = a (rows, inner) · b (inner, cols)`, rows of `out` `stride` apart.
///
/// Each element is one chain of fused multiply-adds in the order of `inner`.
#[inline(always)]
fn small_product<S: Simd>(
    simd: S,
    (rows, cols, inner): (usize, usize, usize),
    a: View,
    b: View,
    out: &mut [f32],
    stride: usize,
) {
    for row in (0..rows).step_by(TILE) {
        let a = a.from(row, 0);
        for column in (0..cols).step_by(S::F32_LANES) {
            let (b, out) = (b.from(0, column), &mut out[row * stride + column..]);
            let lanes = S::F32_LANES.min(cols - column);
            match rows - row {
                1 => tile::<S, 1>(simd, a, inner, b, out, stride, lanes),
                2 => tile::<S, 2>(simd, a, inner, b, out, stride, lanes),
                3 => tile::<S, 3>(simd, a, inner, b, out, stride, lanes),
                4 => tile::<S, 4>(simd, a, inner, b, out, stride, lanes),
                5 => tile::<S, 5>(simd, a, inner, b, out, stride, lanes),
                _ => tile::<S, TILE>(simd, a, inner, b, out, stride, lanes),
            }
        }
    }
}

/// The first `lanes` elements of R rows of a product, at most a vector.
#[inline(always)]
fn tile<S: Simd, const R: usize>(
    simd: S,
    a: View,
    inner: usize,
    b: View,
    out: &mut [f32],
    stride: usize,
    lanes: usize,
) {
    let mut rows = [&a.data[..inner]; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = &a.data[r * a.stride..][..inner];
    }
    let mut sums = [simd.splat_f32s(0.0); R];
    if lanes == S::F32_LANES {
        for k in 0..inner {
            let b = S::as_simd_f32s(&b.data[k * b.stride..][..S::F32_LANES]).0[0];
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = simd.mul_add_f32s(simd.splat_f32s(row[k]), b, *sum);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            S::as_mut_simd_f32s(&mut out[r * stride..][..S::F32_LANES]).0[0] = sum;
        }
    } else {
        for k in 0..inner {
            let b = simd.partial_load_f32s(&b.data[k * b.stride..][..lanes]);
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum = simd.mul_add_f32s(simd.splat_f32s(row[k]), b, *sum);
            }
        }
        for (r, sum) in sums.into_iter().enumerate() {
            simd.partial_store_f32s(&mut out[r * stride..][..lanes], sum);
        }
    }
}
