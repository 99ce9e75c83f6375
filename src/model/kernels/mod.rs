//! The arithmetic of the encoder on raw slices, single-threaded: one caller per core.
//!
//! The bits of a row of a result depend on its own row of the input only: sums have a fixed order, and
//! [`linear`] keeps every product on one path of the gemm crate. Element-wise bodies are compiled per
//! instruction set and selected at run time. They are in `with_simd`, which is always inlined; a
//! closure may not be, and would then be compiled for the oldest processor.

mod attention; // softmax(q·kᵀ)·v within each sequence
mod fingerprint; // digest of this machine's arithmetic
mod functions; // GELU, exp and others
pub mod gradients; // gradients of the others
mod linear; //    products with bias and activation
mod norm; //      layer norm, embeddings
pub mod optimizer; // values, moments and gradients

pub use attention::{
    dropped_attention, packed_attention, AttentionBuffers, AttentionView, Queries,
};
pub use fingerprint::fingerprint;
pub use functions::Activation;
pub use linear::{linear, LinearView};
pub use norm::{add_layer_norm, Embed, Lookup, Norm};

use gemm::Parallelism;

/// Elements of the widest vector: loops in steps of it vectorise everywhere.
const LANES: usize = 16;

/// A view of a row-major matrix inside a slice: element (r, c) is `data[r * stride + c]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The elements, from the view's first.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
}

impl View<'_> {
    /// The view that begins at element (row, column).
    #[inline(always)]
    fn from(self, row: usize, column: usize) -> Self {
        View { data: &self.data[row * self.stride + column..], stride: self.stride }
    }
}

/// The first `length` elements of a buffer that only grows; they keep their values.
pub fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// A factor of a product: a view, or its transpose.
#[derive(Clone, Copy)]
enum Factor<'a> {
    Plain(View<'a>),
    Transposed(View<'a>),
}

impl Factor<'_> {
    /// Elements from one row of the factor to the next, and from one column to the next.
    fn steps(&self) -> (isize, isize) {
        match self {
            Factor::Plain(view) => (view.stride as isize, 1),
            Factor::Transposed(view) => (1, view.stride as isize),
        }
    }

    /// The elements, checked against the shape (rows, cols).
    fn checked(&self, rows: usize, cols: usize) -> &[f32] {
        let (view, needed) = match self {
            Factor::Plain(view) => (view, (rows - 1) * view.stride + cols),
            Factor::Transposed(view) => (view, (cols - 1) * view.stride + rows),
        };
        assert!(view.data.len() >= needed, "a factor is shorter than its shape");
        view.data
    }
}

/// `out (rows, cols) = scale · lhs (rows, inner) · rhs (inner, cols)`, on one thread.
#[allow(clippy::too_many_arguments)] // the parameters of a matrix product
fn gemm_f32(
    rows: usize,
    cols: usize,
    inner: usize,
    lhs: Factor,
    rhs: Factor,
    out: &mut [f32],
    out_stride: usize,
    scale: f32,
) {
    let (lhs_row_step, lhs_col_step) = lhs.steps();
    let (rhs_row_step, rhs_col_step) = rhs.steps();
    let (lhs, rhs) = (lhs.checked(rows, inner), rhs.checked(inner, cols));
    assert!(out.len() >= (rows - 1) * out_stride + cols, "out is shorter than its shape");
    // SAFETY: the assertions keep every element that gemm touches inside its slice, `out` is
    // borrowed mutably and so overlaps neither factor, and the strides are positive.
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
            lhs.as_ptr(),
            lhs_col_step,
            lhs_row_step,
            rhs.as_ptr(),
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
