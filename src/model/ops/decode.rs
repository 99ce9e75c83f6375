//! A logit for each row of a table.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{gradient_of, has_kernel, sum_rows, values, with_values, ROWS};
use crate::model::kernels::{self, gradients, Activation, LinearView, View};

/// `x (M, E) · tableᵀ + bias (V)` -> (M, V), for a `table` (V, E) such as the word embeddings.
///
/// As [`super::linear`], with the weight as the table has it.
pub fn decode(x: &Tensor, table: &Tensor, bias: &Tensor) -> Result<Tensor> {
    match has_kernel(x) {
        true => x.apply_op3(table, bias, DecodeOp),
        false => DecodeOp.compose(x, table, bias),
    }
}

pub(super) struct DecodeOp;

impl DecodeOp {
    pub fn compose(&self, x: &Tensor, table: &Tensor, bias: &Tensor) -> Result<Tensor> {
        x.matmul(&table.t()?)?.broadcast_add(bias)
    }
}

impl CustomOp3 for DecodeOp {
    fn name(&self) -> &'static str {
        "decode"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        table: &CpuStorage,
        table_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = x_layout.shape().dims2()?;
        let (tokens, _) = table_layout.shape().dims2()?;
        let (x, table) = (values(x, x_layout)?, values(table, table_layout)?);
        // A row's product is the same in any batch only with the weight as (E, V).
        let table = View { data: table, stride: width };
        let mut transposed = vec![0.0; tokens * width]; // (E, V)
        let pieces = transposed.par_chunks_mut(BLOCK * tokens).enumerate();
        pieces.for_each(|(i, out)| gradients::transpose(table, tokens, i * BLOCK, out));
        let weight = View { data: &transposed, stride: tokens };
        let layer = LinearView { weight, bias: values(bias, bias_layout)? };
        let mut out = vec![0.0; rows * tokens];
        let pieces = out.par_chunks_mut(ROWS * tokens).zip(x.par_chunks(ROWS * width));
        pieces.for_each_init(Vec::new, |panel, (out, x)| {
            kernels::linear(x, layer, Activation::Identity, panel, out);
        });
        Ok((CpuStorage::F32(out), (rows, tokens).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        table: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (tokens, width) = table.dims2()?;
        let grad = grad.contiguous()?;
        let of_x = || with_values([table, &grad], |[table, grad]| of_input(table, grad, width));
        let of_table = || with_values([x, &grad], |[x, grad]| of_table(x, grad, tokens, width));
        let of_bias = || with_values([&grad], |[grad]| sum_rows(grad, tokens));
        Ok((gradient_of(x, of_x)?, gradient_of(table, of_table)?, gradient_of(bias, of_bias)?))
    }
}

/// Columns of a table per piece of a thread, of the few that it has.
const BLOCK: usize = 16;

/// grad (M, V) · table (V, E) -> (M, E)
fn of_input(table: &[f32], grad: &[f32], width: usize) -> Vec<f32> {
    let tokens = table.len() / width;
    let mut out = vec![0.0; grad.len() / tokens * width];
    let pieces = out.par_chunks_mut(ROWS * width).zip(grad.par_chunks(ROWS * tokens));
    pieces.for_each(|(out, grad)| gradients::input_gradient(grad, table, width, out));
    out
}

/// gradᵀ (V, M) · x (M, E) -> (V, E)
fn of_table(x: &[f32], grad: &[f32], tokens: usize, width: usize) -> Vec<f32> {
    let mut out = vec![0.0; tokens * width];
    let pieces = out.par_chunks_mut(ROWS * width).enumerate();
    pieces.for_each(|(i, out)| gradients::weight_gradient(grad, tokens, i * ROWS, x, width, out));
    out
}
