//! The gradient of self-attention, and its scores.

use pulp::{Arch, Simd, WithSimd};

use crate::model::kernels::attention::{product, transposed_product, HeadView};
use crate::model::kernels::norm::sum_of_products;
use crate::model::kernels::{sized, View, LANES};

/// The buffers of one head, kept between calls.
#[derive(Debug, Default)]
pub struct GradientBuffers {
    transposed: Vec<f32>, // (width, L) or (L, L)
    weights: Vec<f32>,    // (L, L)
    slopes: Vec<f32>,     // (L, L)
}

/// The concatenated queries, keys and values of one sequence.
#[derive(Clone, Copy)]
pub struct SequenceView<'a> {
    /// (L, 3H)
    pub qkv: &'a [f32],
    /// L, at least 1.
    pub length: usize,
    /// Heads.
    pub heads: usize,
}

impl SequenceView<'_> {
    fn hidden(&self) -> usize {
        self.qkv.len() / self.length / 3
    }

    fn head(&self, index: usize) -> HeadView<'_> {
        let (hidden, length) = (self.hidden(), self.length);
        let width = hidden / self.heads;
        let part =
            |i: usize| View { data: &self.qkv[i * hidden + index * width..], stride: 3 * hidden };
        HeadView { queries: part(0), keys: part(1), values: part(2), rows: length, length, width }
    }
}

/// q·kᵀ/√width of one sequence -> `out` (heads, L, L).
pub fn attention_scores(sequence: SequenceView, buffers: &mut GradientBuffers, out: &mut [f32]) {
    Arch::new().dispatch(ScoresKernel { sequence, buffers, out });
}

/// The gradient of a sequence's `qkv` -> `out` (L, 3H), given that of its attention, `grad` (L, H).
///
/// `keep` are the factors of the probabilities (heads, L, L), or empty.
pub fn attention_gradient(
    sequence: SequenceView,
    keep: &[f32],
    grad: &[f32],
    buffers: &mut GradientBuffers,
    out: &mut [f32],
) {
    Arch::new().dispatch(AttentionGradientKernel {
        sequence,
        of: GivenGradient::Mixed { keep, grad },
        buffers,
        out,
    });
}

/// The gradient of a sequence's `qkv` -> `out` (L, 3H), given that of its scores, `grad`
/// (heads, L, L); 0 for the values.
pub fn scores_gradient(
    sequence: SequenceView,
    grad: &[f32],
    buffers: &mut GradientBuffers,
    out: &mut [f32],
) {
    Arch::new().dispatch(AttentionGradientKernel {
        sequence,
        of: GivenGradient::Scores { grad },
        buffers,
        out,
    });
}

struct ScoresKernel<'a> {
    sequence: SequenceView<'a>,
    buffers: &'a mut GradientBuffers,
    out: &'a mut [f32],
}

impl WithSimd for ScoresKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ScoresKernel { sequence, buffers, out } = self;
        let length = sequence.length;
        let columns = length.next_multiple_of(LANES);
        let GradientBuffers { transposed, weights, .. } = buffers;
        let weights = sized(weights, length * columns);
        for (index, out) in out.chunks_exact_mut(length * length).enumerate() {
            let head = sequence.head(index);
            let scale = 1.0 / (head.width as f32).sqrt();
            head.products(simd, head.queries, head.keys, transposed, weights);
            for (out, row) in out.chunks_exact_mut(length).zip(weights.chunks_exact(columns)) {
                for (out, x) in out.iter_mut().zip(row) {
                    *out = x * scale;
                }
            }
        }
    }
}

/// The given gradient.
enum GivenGradient<'a> {
    /// Of the mixed values, (L, H).
    Mixed { keep: &'a [f32], grad: &'a [f32] },
    /// Of the scores, (heads, L, L).
    Scores { grad: &'a [f32] },
}

struct AttentionGradientKernel<'a> {
    sequence: SequenceView<'a>,
    of: GivenGradient<'a>,
    buffers: &'a mut GradientBuffers,
    out: &'a mut [f32],
}

impl WithSimd for AttentionGradientKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let AttentionGradientKernel { sequence, of, buffers, out } = self;
        let (length, hidden) = (sequence.length, sequence.hidden());
        let squares = length * length;
        for index in 0..sequence.heads {
            let head = sequence.head(index);
            let offset = index * head.width;
            match of {
                GivenGradient::Mixed { keep, grad } => {
                    let grad = View { data: &grad[offset..], stride: hidden };
                    let keep = keep.get(index * squares..(index + 1) * squares).unwrap_or(&[]);
                    let values = &mut out[2 * hidden + offset..];
                    mixed(simd, &head, keep, grad, buffers, values, 3 * hidden);
                }
                GivenGradient::Scores { grad } => {
                    let scale = 1.0 / (head.width as f32).sqrt();
                    let slopes = slopes(&mut buffers.slopes, length);
                    let grad = grad[index * squares..].chunks_exact(length);
                    for (slope, grad) in slopes.zip(grad) {
                        for (slope, grad) in slope.iter_mut().zip(grad) {
                            *slope = grad * scale;
                        }
                    }
                    for row in out.chunks_exact_mut(3 * hidden) {
                        row[2 * hidden + offset..][..head.width].fill(0.0);
                    }
                }
            }
            queries_and_keys(simd, &head, buffers, &mut out[offset..], hidden);
        }
    }
}

/// `length` rows of whole vectors.
fn slopes(buffer: &mut Vec<f32>, length: usize) -> std::slice::ChunksExactMut<'_, f32> {
    let columns = length.next_multiple_of(LANES);
    sized(buffer, length * columns).chunks_exact_mut(columns)
}

/// The gradients of the values, -> `values` with rows `stride` apart, and of q·kᵀ, -> `slopes`.
///
/// With p the probabilities, w = p·keep and d = grad·vᵀ·keep: wᵀ·grad, and p·(d − Σ p·d)/√width.
#[inline(always)]
fn mixed<S: Simd>(
    simd: S,
    head: &HeadView,
    keep: &[f32],
    grad: View, // (L, width)
    buffers: &mut GradientBuffers,
    values: &mut [f32],
    stride: usize,
) {
    let &HeadView { length, width, .. } = head;
    let columns = length.next_multiple_of(LANES);
    let GradientBuffers { transposed, weights, slopes } = buffers;
    let (weights, slopes) = (sized(weights, length * columns), sized(slopes, length * columns));
    let shape = (length, width, length);

    head.probabilities(simd, transposed, weights);
    if keep.is_empty() {
        let weights = View { data: weights, stride: columns };
        transposed_product(simd, shape, weights, grad, transposed, values, stride);
    } else {
        let rows = slopes.chunks_exact_mut(columns).zip(weights.chunks_exact(columns));
        for ((kept, row), keep) in rows.zip(keep.chunks_exact(length)) {
            for ((kept, x), keep) in kept.iter_mut().zip(row).zip(keep) {
                *kept = x * keep;
            }
        }
        let kept = View { data: slopes, stride: columns };
        transposed_product(simd, shape, kept, grad, transposed, values, stride);
    }
    head.products(simd, grad, head.values, transposed, slopes);
    let scale = 1.0 / (width as f32).sqrt();
    let rows = slopes.chunks_exact_mut(columns).zip(weights.chunks_exact(columns));
    for (i, (slopes, weights)) in rows.enumerate() {
        let (slopes, weights) = (&mut slopes[..length], &weights[..length]);
        if !keep.is_empty() {
            for (slope, keep) in slopes.iter_mut().zip(&keep[i * length..]) {
                *slope *= keep;
            }
        }
        let mean = sum_of_products(slopes, weights);
        for (slope, weight) in slopes.iter_mut().zip(weights) {
            *slope = weight * (*slope - mean) * scale;
        }
    }
}

/// With s the gradient of q·kᵀ: s·k, and sᵀ·q `hidden` elements further.
#[inline(always)]
fn queries_and_keys<S: Simd>(
    simd: S,
    head: &HeadView,
    buffers: &mut GradientBuffers,
    out: &mut [f32],
    hidden: usize,
) {
    let &HeadView { length, width, .. } = head;
    let GradientBuffers { transposed, slopes, .. } = buffers;
    let slopes = View { data: slopes, stride: length.next_multiple_of(LANES) };
    let shape = (length, width, length);
    product(simd, shape, slopes, head.keys, out, 3 * hidden);
    let keys = &mut out[hidden..];
    transposed_product(simd, shape, slopes, head.queries, transposed, keys, 3 * hidden);
}
