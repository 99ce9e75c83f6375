//! Self-attention within each sequence, and its scores.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, D};
use rayon::prelude::*;

use super::{gradient_of, has_kernel, values, with_values};
use crate::model::kernels::gradients::{self, GradientBuffers, SequenceView};
use crate::model::kernels::{self, AttentionBuffers, AttentionView, Queries};

/// Self-attention within each sequence: `qkv` (T, 3H) -> (T, H).
///
/// `keep` is dropout on the probabilities: a factor for each, by sequence, head, query and key
/// (Σ heads·L²).
pub fn attention(
    qkv: &Tensor,
    offsets: &Arc<Vec<usize>>,
    heads: usize,
    keep: Option<Arc<Vec<f32>>>,
) -> Result<Tensor> {
    let op = AttentionOp { offsets: offsets.clone(), heads, keep };
    op.check()?;
    if has_kernel(qkv) {
        qkv.apply_op1(op)
    } else {
        op.compose(qkv)
    }
}

/// The scores of [`attention`] before its softmax, scaled by 1/√width, by sequence, head, query and
/// key (Σ heads·L²).
pub fn attention_scores(qkv: &Tensor, offsets: &Arc<Vec<usize>>, heads: usize) -> Result<Tensor> {
    let op = ScoresOp(AttentionOp { offsets: offsets.clone(), heads, keep: None });
    if has_kernel(qkv) {
        qkv.apply_op1(op)
    } else {
        op.compose(qkv)
    }
}

pub(super) struct AttentionOp {
    pub offsets: Arc<Vec<usize>>,
    pub heads: usize,
    pub keep: Option<Arc<Vec<f32>>>,
}

impl AttentionOp {
    /// The length of each sequence that is not empty.
    fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.offsets.windows(2).map(|w| w[1] - w[0]).filter(|length| *length > 0)
    }

    /// The number of scores of each sequence that is not empty.
    fn squares(&self) -> impl Iterator<Item = usize> + '_ {
        self.lengths().map(|length| self.heads * length * length)
    }

    fn check(&self) -> Result<()> {
        let expected: usize = self.squares().sum();
        match &self.keep {
            Some(keep) if keep.len() != expected => candle_core::bail!(
                "{} dropout factors for {expected} attention probabilities",
                keep.len()
            ),
            _ => Ok(()),
        }
    }

    /// Scores (heads, L, L) and values (heads, L, width) of each sequence that is not empty.
    fn sequences(&self, qkv: &Tensor) -> Result<Vec<(Tensor, Tensor)>> {
        let (_, width) = qkv.dims2()?;
        let head = width / 3 / self.heads;
        let windows = self.offsets.windows(2).filter(|w| w[1] > w[0]);
        windows
            .map(|w| {
                let length = w[1] - w[0];
                let rows = qkv.narrow(0, w[0], length)?.reshape((length, 3, self.heads, head))?;
                let part =
                    |i: usize| rows.narrow(1, i, 1)?.squeeze(1)?.transpose(0, 1)?.contiguous();
                let (q, k, v) = (part(0)?, part(1)?, part(2)?); // (heads, L, head)
                let scores = (q.matmul(&k.t()?.contiguous()?)? / (head as f64).sqrt())?;
                Ok((scores, v))
            })
            .collect()
    }

    pub fn compose(&self, qkv: &Tensor) -> Result<Tensor> {
        let mut outputs = Vec::new();
        let mut done = 0; // probabilities of the sequences before
        for (scores, v) in self.sequences(qkv)? {
            let (heads, length, _) = scores.dims3()?;
            let mut weights = candle_nn::ops::softmax(&scores, D::Minus1)?; // (heads, L, L)
            if let Some(keep) = &self.keep {
                let keep = &keep[done..][..weights.elem_count()];
                let keep = Tensor::from_slice(keep, weights.shape(), qkv.device())?;
                weights = (&weights * keep.to_dtype(weights.dtype())?)?;
                done += weights.elem_count();
            }
            let mixed = weights.matmul(&v)?.transpose(0, 1)?.contiguous()?;
            outputs.push(mixed.reshape((length, heads * v.dim(2)?))?);
        }
        Tensor::cat(&outputs, 0)
    }

    /// Each sequence that is not empty, with its part of `keep`, if any.
    fn cut<'a>(&'a self, qkv: &'a [f32]) -> Vec<(SequenceView<'a>, &'a [f32])> {
        let keep = self.keep.as_ref().map_or(&[][..], |keep| keep);
        let row = self.offsets.last().map_or(0, |tokens| qkv.len() / (*tokens).max(1));
        let keeps = pieces(keep, self.squares().map(|n| if keep.is_empty() { 0 } else { n }));
        let rows = pieces(qkv, self.lengths().map(|length| length * row));
        let parts = rows.into_iter().zip(keeps).zip(self.lengths());
        let sequence = |qkv, length| SequenceView { qkv, length, heads: self.heads };
        parts.map(|((qkv, keep), length)| (sequence(qkv, length), keep)).collect()
    }
}

/// `x` in pieces of `sizes`.
fn pieces(mut x: &[f32], sizes: impl Iterator<Item = usize>) -> Vec<&[f32]> {
    sizes.map(|size| x.split_off(..size).expect("the sizes add up to the whole")).collect()
}

/// Mutable [`pieces`].
fn pieces_mut(mut x: &mut [f32], sizes: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    sizes.map(|size| x.split_off_mut(..size).expect("the sizes add up to the whole")).collect()
}

impl CustomOp1 for AttentionOp {
    fn name(&self) -> &'static str {
        "packed-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let hidden = width / 3;
        let sequences = self.cut(values(qkv, layout)?);
        let mut out = vec![0.0; tokens * hidden];
        let outs = pieces_mut(&mut out, self.lengths().map(|length| length * hidden));
        let work = outs.into_par_iter().zip(sequences);
        work.for_each_init(AttentionBuffers::default, |buffers, (out, (sequence, keep))| {
            let offsets = [0, sequence.length];
            let input = AttentionView::packed(sequence.qkv, hidden, &offsets, self.heads);
            if keep.is_empty() {
                kernels::packed_attention(input, Queries::Every, buffers, out);
            } else {
                kernels::dropped_attention(input, keep, buffers, out);
            }
        });
        Ok((CpuStorage::F32(out), (tokens, hidden).into()))
    }

    fn bwd(&self, qkv: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, hidden) = grad.dims2()?;
        let grad = grad.contiguous()?;
        gradient_of(qkv, || {
            with_values([qkv, &grad], |[qkv, grad]| {
                let mut out = vec![0.0; qkv.len()];
                let outs = pieces_mut(&mut out, self.lengths().map(|length| length * 3 * hidden));
                let grads = pieces(grad, self.lengths().map(|length| length * hidden));
                let work = outs.into_par_iter().zip(self.cut(qkv)).zip(grads);
                work.for_each_init(GradientBuffers::default, |buffers, ((out, of), grad)| {
                    gradients::attention_gradient(of.0, of.1, grad, buffers, out);
                });
                out
            })
        })
    }
}

/// The scores of an attention without `keep`.
pub(super) struct ScoresOp(pub AttentionOp);

impl ScoresOp {
    pub fn compose(&self, qkv: &Tensor) -> Result<Tensor> {
        let sequences = self.0.sequences(qkv)?;
        let scores: Result<Vec<_>> = sequences.iter().map(|(s, _)| s.flatten_all()).collect();
        Tensor::cat(&scores?, 0)
    }
}

impl CustomOp1 for ScoresOp {
    fn name(&self) -> &'static str {
        "attention-scores"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sequences = self.0.cut(values(qkv, layout)?);
        let count = self.0.squares().sum();
        let mut out = vec![0.0; count];
        let work = pieces_mut(&mut out, self.0.squares()).into_par_iter().zip(sequences);
        work.for_each_init(GradientBuffers::default, |buffers, (out, (sequence, _))| {
            gradients::attention_scores(sequence, buffers, out);
        });
        Ok((CpuStorage::F32(out), count.into()))
    }

    fn bwd(&self, qkv: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = qkv.dims2()?;
        let grad = grad.contiguous()?;
        gradient_of(qkv, || {
            with_values([qkv, &grad], |[qkv, grad]| {
                let mut out = vec![0.0; qkv.len()];
                let outs = pieces_mut(&mut out, self.0.lengths().map(|length| length * width));
                let grads = pieces(grad, self.0.squares());
                let work = outs.into_par_iter().zip(self.0.cut(qkv)).zip(grads);
                work.for_each_init(GradientBuffers::default, |buffers, ((out, of), grad)| {
                    gradients::scores_gradient(of.0, grad, buffers, out);
                });
                out
            })
        })
    }
}
