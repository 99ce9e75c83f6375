//! The encoder's operations as tensors: fused on the CPU, differentiable everywhere.
//!
//! Each operation has two forms: a composition of candle operations, which defines it and its
//! gradient (and runs on CUDA and in f64), and kernels for f32 on the CPU, forward and backward. The
//! tests compare them. candle's own `LayerNorm` and `softmax_last_dim` have no gradient.
//!
//! The kernels run on rayon's threads over pieces of fixed size, so results and gradients have the
//! same bits for any number of threads.

mod attention; // within each sequence, and its scores
mod backward; //  gradients of a loss
mod decode; //    a logit for each row of a table
mod embed; //     rows of a table
mod linear; //    products and activations
mod norm; //      layer norm

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor};
use rayon::prelude::*;

pub use attention::{attention, attention_scores};
pub use backward::backward;
pub use decode::decode;
pub use embed::embed;
pub use linear::{activate, linear};
pub use norm::add_layer_norm;

use super::kernels::gradients;

/// Rows per piece of a thread. Pieces depend on the shapes only.
const ROWS: usize = 128;

fn has_kernel(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32
}

/// The elements of an argument of a kernel.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a fused operation got a tensor that is not contiguous"),
    }
}

/// Applies `f` to the elements of contiguous f32 tensors on the CPU.
fn with_values<const N: usize, R>(
    tensors: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slice = values(storage, layout)?,
            _ => candle_core::bail!("a kernel of the CPU got a tensor on another device"),
        }
    }
    Ok(f(slices))
}

/// A gradient of `argument`, if it is needed.
fn gradient_of(
    argument: &Tensor,
    compute: impl FnOnce() -> Result<Vec<f32>>,
) -> Result<Option<Tensor>> {
    if !argument.track_op() {
        return Ok(None);
    }
    let gradient = Tensor::from_vec(compute()?, argument.shape(), &Device::Cpu)?;
    Ok(backward::hand_over(argument, gradient))
}

/// The sum of the rows of `x` (rows, cols): of [`ROWS`] rows at a time, then of those sums.
fn sum_rows(x: &[f32], cols: usize) -> Vec<f32> {
    let partial = |x: &[f32]| {
        let mut sum = vec![0.0; cols];
        gradients::add_rows(x, &mut sum);
        sum
    };
    let partials: Vec<Vec<f32>> = x.par_chunks(ROWS * cols).map(partial).collect();
    total(&partials, cols)
}

/// The sum of `partials`, (cols) each, in their order.
fn total(partials: &[Vec<f32>], cols: usize) -> Vec<f32> {
    let mut sum = vec![0.0; cols];
    for partial in partials {
        gradients::add_rows(partial, &mut sum);
    }
    sum
}

#[cfg(test)]
mod tests;
