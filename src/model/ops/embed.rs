//! Rows of a table.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{gradient_of, has_kernel, values, with_values};
use crate::model::kernels::gradients;

/// Rows `ids` of `table` (V, H) -> (ids, H).
///
/// # Errors
/// An id that is not below V.
pub fn embed(table: &Tensor, ids: Vec<u32>) -> Result<Tensor> {
    let op = EmbedOp { ids };
    if has_kernel(table) {
        table.apply_op1(op)
    } else {
        op.compose(table)
    }
}

pub(super) struct EmbedOp {
    pub ids: Vec<u32>,
}

impl EmbedOp {
    pub fn compose(&self, table: &Tensor) -> Result<Tensor> {
        table.index_select(&Tensor::from_slice(&self.ids, self.ids.len(), table.device())?, 0)
    }
}

impl CustomOp1 for EmbedOp {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let table = values(table, layout)?;
        if let Some(id) = self.ids.iter().find(|id| **id as usize >= rows) {
            candle_core::bail!("row {id} of a table of {rows} rows");
        }
        let mut out = Vec::with_capacity(self.ids.len() * width);
        for id in &self.ids {
            out.extend_from_slice(&table[*id as usize * width..][..width]);
        }
        Ok((CpuStorage::F32(out), (self.ids.len(), width).into()))
    }

    fn bwd(&self, table: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = table.dims2()?;
        let grad = grad.contiguous()?;
        gradient_of(table, || {
            with_values([&grad], |[grad]| {
                let mut out = vec![0.0; rows * width];
                for (id, grad) in self.ids.iter().zip(grad.chunks_exact(width)) {
                    gradients::add_rows(grad, &mut out[*id as usize * width..][..width]);
                }
                out
            })
        })
    }
}
