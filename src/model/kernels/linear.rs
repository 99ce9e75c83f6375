//! Linear layers: products by the gemm crate, with bias and activation.

use pulp::{Arch, Simd, WithSimd};

use super::functions::{Activation, Elementwise};
use super::{gemm_f32, sized, Factor, View, LANES};

/// If both outer dimensions are at most this, gemm takes its "small" path, which splits the inner
/// dimension in another way. Narrow products are cut there, so that all rows take one path.
const SMALL: usize = 64;

/// A linear layer's weight (inner, cols), or adjacent columns of a wider one, and its bias.
#[derive(Clone, Copy)]
pub struct LinearView<'a> {
    /// The weight; its stride is the width of the whole matrix.
    pub weight: View<'a>,
    /// The bias (cols).
    pub bias: &'a [f32],
}

/// Columns that are multiplied and finished together, while the product is in the second-level cache.
/// A narrow last panel would take gemm's "small" path for few rows only, so panels have about equal
/// widths, at least half of this.
const PANEL: usize = 192;

/// `out (rows, cols) = activation(x (rows, inner) · weight + bias)`, row-major and contiguous.
///
/// The bits of a row of `out` do not depend on the other rows or their number. `panel` is a buffer.
pub fn linear(
    x: &[f32],
    layer: LinearView,
    activation: Activation,
    panel: &mut Vec<f32>,
    out: &mut [f32],
) {
    let cols = layer.bias.len();
    let rows = out.len() / cols;
    let Some(inner) = x.len().checked_div(rows) else { return };
    debug_assert_eq!((x.len(), out.len()), (rows * inner, rows * cols));
    if rows == 1 {
        // A single row takes gemm's matrix-vector path, which sums in another order.
        let mut pair = vec![0.0; 2 * cols];
        linear(&[x, x].concat(), layer, activation, panel, &mut pair);
        out.copy_from_slice(&pair[..cols]);
        return;
    }
    let panels = cols.div_ceil(PANEL);
    let edge =
        |i: usize| if i == panels { cols } else { (i * cols / panels).div_ceil(LANES) * LANES };
    for (start, end) in (0..panels).map(|i| (edge(i), edge(i + 1))) {
        let weight = View { data: &layer.weight.data[start..], stride: layer.weight.stride };
        let panel = sized(panel, rows * (end - start));
        product(x, inner, weight, end - start, panel);
        let bias = &layer.bias[start..end];
        Arch::new().dispatch(FinishKernel {
            panel,
            bias,
            activation,
            out: &mut out[start..],
            stride: cols,
        });
    }
}

/// `out (rows, cols) = x (rows, inner) · w (inner, cols)`.
fn product(x: &[f32], inner: usize, w: View, cols: usize, out: &mut [f32]) {
    let rows = x.len() / inner;
    let chunk = if cols <= SMALL { SMALL } else { rows };
    let mut start = 0;
    while start < rows {
        let left = rows - start;
        // Never a single row, which takes another path.
        let count = if left == chunk + 1 { chunk - 1 } else { left.min(chunk) };
        let x = Factor::Plain(View { data: &x[start * inner..], stride: inner });
        let out = &mut out[start * cols..];
        gemm_f32(count, cols, inner, x, Factor::Plain(w), out, cols, 1.0);
        start += count;
    }
}

/// `out = activation(panel + bias)` for a panel (rows, bias); rows of `out` are `stride` apart.
struct FinishKernel<'a> {
    panel: &'a [f32],
    bias: &'a [f32],
    activation: Activation,
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for FinishKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.activation.run(self);
    }
}

impl Elementwise for FinishKernel<'_> {
    #[inline(always)]
    fn each(self, activation: impl Fn(f32) -> f32) {
        let FinishKernel { panel, bias, out, stride, .. } = self;
        for (panel, out) in panel.chunks_exact(bias.len()).zip(out.chunks_mut(stride)) {
            for ((out, x), b) in out.iter_mut().zip(panel).zip(bias) {
                *out = activation(x + b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_layer_does_not_depend_on_the_other_rows() {
        let shapes = [
            (32, 2),
            (384, 3),
            (1536, 2),
            (600, 64),
            (768, 65),
            (384, 1152),
            (312, 312),
            (64, 193),
        ];
        for (inner, cols) in shapes {
            let value = |i: usize| ((i * 2_654_435_761) % 1_000) as f32 / 500.0 - 1.0;
            let rows = 150;
            let x: Vec<f32> = (0..rows * inner).map(value).collect();
            let w: Vec<f32> = (0..inner * cols).map(|i| value(i + 7)).collect();
            let layer = LinearView { weight: View { data: &w, stride: cols }, bias: &w[..cols] };
            let mut all = vec![0.0; rows * cols];
            linear(&x, layer, Activation::Gelu, &mut Vec::new(), &mut all);
            for (start, count) in [(0, 1), (5, 2), (17, 63), (40, 65), (149, 1), (0, 129)] {
                let mut part = vec![0.0; count * cols];
                let x = &x[start * inner..][..count * inner];
                linear(x, layer, Activation::Gelu, &mut Vec::new(), &mut part);
                let same =
                    part.iter().zip(&all[start * cols..]).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "inner {inner}, cols {cols}, rows {start}+{count}");
            }
        }
    }

    #[test]
    fn columns_of_a_wider_weight_give_the_columns_of_its_product() {
        let value = |i: usize| ((i * 2_654_435_761) % 1_000) as f32 / 500.0 - 1.0;
        let (rows, inner, cols) = (9, 20, 300);
        let x: Vec<f32> = (0..rows * inner).map(value).collect();
        let w: Vec<f32> = (0..inner * cols).map(|i| value(i + 3)).collect();
        let bias: Vec<f32> = (0..cols).map(value).collect();
        let view = |start: usize, end: usize| LinearView {
            weight: View { data: &w[start..], stride: cols },
            bias: &bias[start..end],
        };
        let (mut all, mut part) = (vec![0.0; rows * cols], vec![0.0; rows * 200]);
        linear(&x, view(0, cols), Activation::Identity, &mut Vec::new(), &mut all);
        linear(&x, view(100, cols), Activation::Identity, &mut Vec::new(), &mut part);
        for (r, c) in [(0, 0), (0, 199), (4, 77), (8, 199)] {
            assert!((part[r * 200 + c] - all[r * cols + 100 + c]).abs() < 1e-5);
        }
    }
}
