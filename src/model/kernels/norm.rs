//! Layer norm, and embeddings with layer norm.

use pulp::{Arch, Simd, WithSimd};

use super::LANES;

/// Gain (H), bias (H) and epsilon of a layer norm.
#[derive(Clone, Copy)]
pub struct Norm<'a> {
    /// Factor of each element.
    pub gain: &'a [f32],
    /// Added to each element.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub eps: f32,
}

/// `x = (x + residual − mean) / sqrt(variance + eps) · gain + bias` for each row of H, in place.
///
/// The variance is the population's, as in PyTorch's LayerNorm.
pub fn add_layer_norm(x: &mut [f32], residual: &[f32], norm: Norm) {
    Arch::new().dispatch(AddLayerNorm { x, residual, norm });
}

struct AddLayerNorm<'a> {
    x: &'a mut [f32],
    residual: &'a [f32],
    norm: Norm<'a>,
}

impl WithSimd for AddLayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let AddLayerNorm { x, residual, norm } = self;
        let hidden = norm.gain.len();
        for (r, row) in x.chunks_exact_mut(hidden).enumerate() {
            for (x, y) in row.iter_mut().zip(&residual[r * hidden..][..hidden]) {
                *x += y;
            }
            normalise(row, norm);
        }
    }
}

#[inline(always)]
fn normalise(row: &mut [f32], norm: Norm) {
    let hidden = norm.gain.len() as f32;
    let mean = sum(row, |x| x) / hidden;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / hidden;
    let scale = 1.0 / (variance + norm.eps).sqrt();
    for ((x, g), b) in row.iter_mut().zip(norm.gain).zip(norm.bias) {
        *x = (*x - mean) * scale * g + b;
    }
}

/// Σ f(x) in a fixed order: [`LANES`] interleaved partial sums, added in halves.
#[inline(always)]
pub(super) fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
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
    in_halves(lanes)
}

/// Σ a·b in the order of [`sum`].
#[inline(always)]
pub(super) fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane += a * b;
    }
    in_halves(lanes)
}

#[inline(always)]
fn in_halves(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// An embedding table, row-major, and the row of each token (T).
#[derive(Clone, Copy)]
pub struct Lookup<'a> {
    /// The table.
    pub table: &'a [f32],
    /// Its row for each token.
    pub rows: &'a [u32],
}

impl<'a> Lookup<'a> {
    #[inline(always)]
    fn row(&self, token: usize, width: usize) -> &'a [f32] {
        &self.table[self.rows[token] as usize * width..][..width]
    }
}

/// Sums of rows of embedding tables, normalised: `out (T, E) = norm(word + (position + segment))`.
pub struct Embed<'a> {
    /// Token embeddings.
    pub words: Lookup<'a>,
    /// Position embeddings.
    pub positions: Lookup<'a>,
    /// Segment embeddings, if the model has them.
    pub segments: Option<Lookup<'a>>,
    /// The layer norm.
    pub norm: Norm<'a>,
    /// The result.
    pub out: &'a mut [f32],
}

impl Embed<'_> {
    /// Fills `out`.
    pub fn run(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Embed<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.norm.gain.len();
        for (t, out) in self.out.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(self.positions.row(t, width));
            if let Some(segments) = self.segments {
                for (out, x) in out.iter_mut().zip(segments.row(t, width)) {
                    *out += x;
                }
            }
            for (out, x) in out.iter_mut().zip(self.words.row(t, width)) {
                *out += x;
            }
            normalise(out, self.norm);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_norm_of_two_values() {
        // mean 2, variance 1: (1 − 2)/1, (3 − 2)/1, then gain 2 and bias 1.
        let mut x = [0.5, 1.0];
        let norm = Norm { gain: &[2.0, 2.0], bias: &[1.0, 1.0], eps: 0.0 };
        add_layer_norm(&mut x, &[0.5, 2.0], norm);
        assert_eq!(x, [-1.0, 3.0]);
    }
}
