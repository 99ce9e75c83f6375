//! The arithmetic of the encoder on raw slices, single-threaded: one caller per core.
//!
//! Each row of a result depends on its own row of the input alone, to the last bit: sums run in a
//! fixed order, and [`linear`] keeps every product on one path of the gemm crate. The element-wise
//! bodies are compiled once per instruction set and chosen at run time. They stand in `with_simd`,
//! which is always inlined there: the closure of a `dispatch` need not be, and would then be
//! compiled for the oldest processor.

mod attention; // softmax(q·kᵀ)·v within each sequence
mod fingerprint; // what this machine's arithmetic is
mod functions; // GELU, exp and their like
mod linear; //    products with bias and activation
mod norm; //      layer norm, embeddings

pub use attention::{packed_attention, AttentionBuffers, AttentionView, Queries};
pub use fingerprint::fingerprint;
pub use functions::Activation;
pub use linear::{linear, LinearView};
pub use norm::{add_layer_norm, Embed, Lookup, Norm};

use gemm::Parallelism;

/// Elements of the widest vector that is counted on: loops in steps of it vectorise everywhere.
const LANES: usize = 16;

/// A view of a row-major matrix inside a slice: element (r, c) is `data[r * stride + c]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The elements, from the first of the view on.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
}

impl View<'_> {
    /// The view from element (row, column) on.
    #[inline(always)]
    fn from(self, row: usize, column: usize) -> Self {
        View { data: &self.data[row * self.stride + column..], stride: self.stride }
    }
}

/// The first `length` elements of a buffer that only grows; they hold what was last in them.
pub fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// Whether the right-hand matrix is multiplied as it stands or transposed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `rhs` is (inner, cols).
    Normal,
    /// `rhs` is (cols, inner).
    Transposed,
}

/// `out (rows, cols) = scale · lhs (rows, inner) · rhs`, on one thread.
#[allow(clippy::too_many_arguments)] // the parameters of a matrix product
fn gemm_f32(
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
