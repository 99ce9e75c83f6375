//! The encoder's operations as tensors: fused on the CPU, differentiable everywhere.
//!
//! Each operation stands here twice: as a composition of plain candle operations, which defines it
//! and its gradient (and runs on CUDA and in f64), and as a fused kernel for f32 on the CPU. The
//! tests hold the two together. candle's own `LayerNorm` and `softmax_last_dim` have no gradient.

use std::sync::Arc;

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Device, Layout, Result, Shape, Tensor, Var,
    D,
};

use super::kernels::{
    self, Activation, AttentionBuffers, AttentionView, LinearView, Norm, Queries, View,
};

/// `activation(x (T, I) · weight (I, O) + bias (O))` -> (T, O).
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, act: Activation) -> Result<Tensor> {
    let op = Linear { act };
    if has_kernel(x) {
        x.apply_op3(weight, bias, op)
    } else {
        op.compose(x, weight, bias)
    }
}

/// Layer normalisation of `x + residual`, both (T, H); `scale` is (2, H): gain, then bias.
pub fn add_layer_norm(x: &Tensor, residual: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    let op = LayerNorm { eps };
    if has_kernel(x) {
        x.apply_op3(residual, scale, op)
    } else {
        op.compose(&(x + residual)?, scale)
    }
}

/// Layer normalisation of `x` (T, H); `scale` is (2, H): gain, then bias.
pub fn layer_norm(x: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    let op = LayerNorm { eps };
    if has_kernel(x) {
        x.apply_op2(scale, op)
    } else {
        op.compose(x, scale)
    }
}

/// Self-attention within each sequence: `qkv` (T, 3H) -> (T, H).
///
/// `keep` is dropout on the probabilities: a factor for each, sequence by sequence, head by head,
/// query by query, key by key (Σ heads·L²).
pub fn attention(
    qkv: &Tensor,
    offsets: &Arc<Vec<usize>>,
    heads: usize,
    keep: Option<Arc<Vec<f32>>>,
) -> Result<Tensor> {
    let op = Attention { offsets: offsets.clone(), heads, keep };
    if op.keep.is_some() {
        return op.compose(qkv);
    }
    if has_kernel(qkv) {
        qkv.apply_op1(op)
    } else {
        op.compose(qkv)
    }
}

/// Rows `ids` of `table` (V, H) -> (ids, H).
pub fn embed(table: &Tensor, ids: Vec<u32>) -> Result<Tensor> {
    let count = ids.len();
    table.index_select(&Tensor::from_vec(ids, count, table.device())?, 0)
}

fn has_kernel(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32
}

fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => candle_core::bail!("a fused operation got a tensor that is not contiguous"),
    }
}

/// Gradients of `compose` at `args`, given the gradient of its result.
fn gradients<const N: usize>(
    args: [&Tensor; N],
    grad: &Tensor,
    compose: impl Fn(&[Var; N]) -> Result<Tensor>,
) -> Result<[Option<Tensor>; N]> {
    let vars: Vec<Var> =
        args.iter().map(|a| Var::from_tensor(&a.detach())).collect::<Result<_>>()?;
    let vars: [Var; N] = vars.try_into().expect("one variable per argument");
    let weighted = compose(&vars)?.mul(&grad.detach())?.sum_all()?;
    let mut store = weighted.backward()?;
    Ok(vars.map(|v| store.remove(&v)))
}

struct Linear {
    act: Activation,
}

impl Linear {
    fn compose(&self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        activate(&x.matmul(weight)?.broadcast_add(bias)?, self.act)
    }
}

/// `act` as a composition of differentiable operations.
pub fn activate(x: &Tensor, act: Activation) -> Result<Tensor> {
    match act {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu => x.gelu_erf(), // HF "gelu"; candle's gelu() is the tanh form
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
        Activation::Tanh => x.tanh(),
        Activation::TanhThenRelu => x.tanh()?.relu(),
        Activation::Silu => x.silu(),
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (rows, _) = x_layout.shape().dims2()?;
        let (inner, cols) = weight_layout.shape().dims2()?;
        let mut out = vec![0.0; rows * cols];
        let (x, weight) = (values(x, x_layout)?, values(weight, weight_layout)?);
        debug_assert_eq!(weight.len(), inner * cols);
        let layer = LinearView {
            weight: View { data: weight, stride: cols },
            bias: values(bias, bias_layout)?,
        };
        kernels::linear(x, layer, self.act, &mut Vec::new(), &mut out);
        Ok((CpuStorage::F32(out), (rows, cols).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, weight, bias] =
            gradients([x, weight, bias], grad, |v| self.compose(&v[0], &v[1], &v[2]))?;
        Ok((x, weight, bias))
    }
}

struct LayerNorm {
    eps: f64,
}

impl LayerNorm {
    fn compose(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + self.eps)?.sqrt()?)?;
        normed.broadcast_mul(&scale.get(0)?)?.broadcast_add(&scale.get(1)?)
    }

    fn forward(&self, x: &[f32], residual: &[f32], scale: &[f32], shape: &Shape) -> CpuStorage {
        let hidden = shape.dims()[1];
        let mut out = x.to_vec();
        let (gain, bias) = scale.split_at(hidden);
        let norm = Norm { gain, bias, eps: self.eps as f32 };
        kernels::add_layer_norm(&mut out, residual, norm);
        CpuStorage::F32(out)
    }
}

impl CustomOp2 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale) = (values(x, x_layout)?, values(scale, scale_layout)?);
        Ok((self.forward(x, &[], scale, x_layout.shape()), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [x, scale] = gradients([x, scale], grad, |v| self.compose(&v[0], &v[1]))?;
        Ok((x, scale))
    }
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "add-layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale) = (values(x, x_layout)?, values(scale, scale_layout)?);
        let residual = values(residual, residual_layout)?;
        Ok((self.forward(x, residual, scale, x_layout.shape()), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        residual: &Tensor,
        scale: &Tensor,
        _result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, residual, scale] = gradients([x, residual, scale], grad, |v| {
            self.compose(&(v[0].as_tensor() + v[1].as_tensor())?, &v[2])
        })?;
        Ok((x, residual, scale))
    }
}

/// The scores of [`attention`] before its softmax, scaled by 1/√width: sequence by sequence, head by
/// head, query by query, key by key (Σ heads·L²).
pub fn attention_scores(qkv: &Tensor, offsets: &Arc<Vec<usize>>, heads: usize) -> Result<Tensor> {
    let parts = Attention { offsets: offsets.clone(), heads, keep: None };
    let scores: Vec<Tensor> = parts
        .sequences(qkv)?
        .iter()
        .map(|(scores, _)| scores.flatten_all())
        .collect::<Result<_>>()?;
    Tensor::cat(&scores, 0)
}

struct Attention {
    offsets: Arc<Vec<usize>>,
    heads: usize,
    keep: Option<Arc<Vec<f32>>>,
}

impl Attention {
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

    fn compose(&self, qkv: &Tensor) -> Result<Tensor> {
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
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "packed-attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (tokens, width) = layout.shape().dims2()?;
        let mut out = vec![0.0; tokens * width / 3];
        let input =
            AttentionView::packed(values(qkv, layout)?, width / 3, &self.offsets, self.heads);
        let mut buffers = AttentionBuffers::default();
        kernels::packed_attention(input, Queries::Every, &mut buffers, &mut out);
        Ok((CpuStorage::F32(out), (tokens, width / 3).into()))
    }

    fn bwd(&self, qkv: &Tensor, _result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [qkv] = gradients([qkv], grad, |v| self.compose(&v[0]))?;
        Ok(qkv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in [-1, 1] that repeat only after a thousand elements.
    fn tensor(dims: &[usize], seed: usize) -> Tensor {
        let count: usize = dims.iter().product();
        let value = |i: usize| (((i + seed) * 2_654_435_761) % 1_009) as f32 / 504.0 - 1.0;
        let data: Vec<f32> = (0..count).map(value).collect();
        Tensor::from_vec(data, dims, &Device::Cpu).unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        flat(a).iter().zip(flat(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// The fused forward agrees with the composition, and so do the gradients of every argument.
    fn agrees<const N: usize>(
        args: [Tensor; N],
        fused: impl Fn(&[Var; N]) -> Result<Tensor>,
        composed: impl Fn(&[Var; N]) -> Result<Tensor>,
    ) {
        let vars = args.map(|a| Var::from_tensor(&a).unwrap());
        let (a, b) = (fused(&vars).unwrap(), composed(&vars).unwrap());
        assert!(largest_difference(&a, &b) < 2e-6, "forward: {}", largest_difference(&a, &b));
        let weights = tensor(a.dims(), 99);
        let loss = |t: &Tensor| t.mul(&weights).unwrap().sum_all().unwrap().backward().unwrap();
        let (a, b) = (loss(&a), loss(&b));
        for v in &vars {
            let (a, b) = (a.get(v).unwrap(), b.get(v).unwrap());
            assert!(largest_difference(a, b) < 1e-5);
            assert!(largest_difference(a, &a.zeros_like().unwrap()) > 1e-3, "a zero gradient");
        }
    }

    #[test]
    fn linear_is_its_composition() {
        use Activation::*;
        for act in [Identity, Gelu, GeluTanh, Relu, Tanh, TanhThenRelu, Silu] {
            let args = [tensor(&[5, 12], 0), tensor(&[12, 7], 3), tensor(&[7], 5)];
            agrees(
                args,
                |v| linear(&v[0], &v[1], &v[2], act),
                |v| Linear { act }.compose(&v[0], &v[1], &v[2]),
            );
        }
    }

    #[test]
    fn layer_norm_is_its_composition() {
        let args = [tensor(&[4, 20], 0), tensor(&[4, 20], 8), tensor(&[2, 20], 5)];
        let op = LayerNorm { eps: 1e-12 };
        agrees(
            args,
            |v| add_layer_norm(&v[0], &v[1], &v[2], 1e-12),
            |v| op.compose(&(v[0].as_tensor() + v[1].as_tensor())?, &v[2]),
        );
        let args = [tensor(&[4, 20], 0), tensor(&[2, 20], 5)];
        agrees(args, |v| layer_norm(&v[0], &v[1], 1e-12), |v| op.compose(&v[0], &v[1]));
    }

    #[test]
    fn attention_is_its_composition() {
        let offsets = Arc::new(vec![0, 3, 4, 9]);
        agrees(
            [tensor(&[9, 24], 0)],
            |v| attention(&v[0], &offsets, 2, None),
            |v| Attention { offsets: offsets.clone(), heads: 2, keep: None }.compose(&v[0]),
        );
    }
}
