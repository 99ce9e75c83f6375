//! The kernels against the compositions, forward and backward, and on any number of threads.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor, Var};

use super::attention::{AttentionOp, ScoresOp};
use super::decode::DecodeOp;
use super::embed::EmbedOp;
use super::linear::LinearOp;
use super::norm::LayerNorm;
use super::*;
use crate::model::kernels::Activation;

/// Values in [-1, 1] that repeat only after a thousand elements.
fn tensor(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let value = |i: usize| (((i + seed) * 2_654_435_761) % 1_009) as f32 / 504.0 - 1.0;
    let data: Vec<f32> = (0..count).map(value).collect();
    Tensor::from_vec(data, dims, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Relative to the largest magnitude of `b`, if that is above 1.
fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (flat(a), flat(b));
    let scale = b.iter().fold(1.0f32, |max, b| max.max(b.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

fn weighted_sum(result: &Tensor) -> Tensor {
    let weights = tensor(result.dims(), 99).to_dtype(result.dtype()).unwrap();
    result.mul(&weights).unwrap().sum_all().unwrap()
}

/// The kernels agree with the composition in f64, and so do the gradients of every argument, by
/// [`backward`] and by candle's own.
fn agrees<const N: usize>(
    args: [Tensor; N],
    fused: impl Fn(&[Var; N]) -> Result<Tensor>,
    composed: impl Fn(&[Var; N]) -> Result<Tensor>,
) {
    let exact =
        args.each_ref().map(|a| Var::from_tensor(&a.to_dtype(DType::F64).unwrap()).unwrap());
    let vars = args.map(|a| Var::from_tensor(&a).unwrap());
    let (a, b) = (fused(&vars).unwrap(), composed(&exact).unwrap());
    assert!(largest_difference(&a, &b) < 2e-6, "forward: {}", largest_difference(&a, &b));
    let (loss, b) = (weighted_sum(&a), weighted_sum(&b).backward().unwrap());
    let (a, by_candle) = (backward(&loss).unwrap(), loss.backward().unwrap());
    for (v, exact) in vars.iter().zip(&exact) {
        let (a, by_candle, b) =
            (a.get(v).unwrap(), by_candle.get(v).unwrap(), b.get(exact).unwrap());
        assert_eq!(flat(a), flat(by_candle));
        assert!(largest_difference(a, b) < 3e-6, "gradient: {}", largest_difference(a, b));
        assert!(largest_difference(a, &a.zeros_like().unwrap()) > 1e-3, "a zero gradient");
    }
}

#[test]
fn linear_is_its_composition() {
    use Activation::*;
    for act in [Identity, Gelu, GeluTanh, Relu, Tanh, TanhThenRelu, Silu] {
        for (rows, inner, cols) in [(5, 12, 7), (1, 9, 2), (300, 140, 70)] {
            let args = [tensor(&[rows, inner], 0), tensor(&[inner, cols], 3), tensor(&[cols], 5)];
            agrees(
                args,
                |v| linear(&v[0], &(v[1].as_tensor() * 0.2)?, &v[2], act),
                |v| LinearOp { act }.compose(&v[0], &(v[1].as_tensor() * 0.2)?, &v[2]),
            );
        }
    }
}

#[test]
fn decode_is_its_composition() {
    for (rows, width, tokens) in [(5, 12, 7), (1, 9, 40), (300, 40, 150)] {
        let args = [tensor(&[rows, width], 0), tensor(&[tokens, width], 3), tensor(&[tokens], 5)];
        agrees(
            args,
            |v| decode(&v[0], &(v[1].as_tensor() * 0.2)?, &v[2]),
            |v| DecodeOp.compose(&v[0], &(v[1].as_tensor() * 0.2)?, &v[2]),
        );
    }
}

#[test]
fn layer_norm_is_its_composition() {
    for (rows, hidden) in [(4, 20), (1, 16), (300, 40)] {
        let args =
            [tensor(&[rows, hidden], 0), tensor(&[rows, hidden], 8), tensor(&[2, hidden], 5)];
        let op = LayerNorm { eps: 1e-12 };
        agrees(
            args,
            |v| add_layer_norm(&v[0], &v[1], &v[2], 1e-12),
            |v| op.compose(&(v[0].as_tensor() + v[1].as_tensor())?, &v[2]),
        );
    }
}

/// Sequences of several lengths, a single one, one of a single token, one that is empty, long ones.
const OFFSETS: [&[usize]; 5] =
    [&[0, 3, 4, 9], &[0, 17], &[0, 1], &[0, 5, 5, 21], &[0, 100, 164, 229]];

/// Factors as dropout draws them: some 0, the others equal.
fn factors(offsets: &[usize], heads: usize) -> Arc<Vec<f32>> {
    let count: usize = offsets.windows(2).map(|w| heads * (w[1] - w[0]).pow(2)).sum();
    let dropped = |i: usize| (i * 2_654_435_761).is_multiple_of(7);
    Arc::new((0..count).map(|i| if dropped(i) { 0.0 } else { 1.25 }).collect())
}

#[test]
fn attention_is_its_composition() {
    for (offsets, heads, hidden) in OFFSETS.iter().flat_map(|o| [(o, 2, 16), (o, 3, 78)]) {
        let offsets = Arc::new(offsets.to_vec());
        for keep in [None, Some(factors(&offsets, heads))] {
            let op = AttentionOp { offsets: offsets.clone(), heads, keep: keep.clone() };
            agrees(
                [tensor(&[*offsets.last().unwrap(), 3 * hidden], 0)],
                |v| attention(&v[0], &offsets, heads, keep.clone()),
                |v| op.compose(&v[0]),
            );
        }
    }
}

#[test]
fn attention_refuses_dropout_factors_of_other_sequences() {
    let (offsets, keep) = (Arc::new(vec![0, 3]), Some(Arc::new(vec![1.0; 8])));
    let error = attention(&tensor(&[3, 24], 0), &offsets, 1, keep).unwrap_err().to_string();
    assert!(error.starts_with("8 dropout factors for 9 attention probabilities"), "{error}");
}

#[test]
fn attention_scores_are_their_composition() {
    for (offsets, heads, hidden) in OFFSETS.iter().flat_map(|o| [(o, 2, 16), (o, 3, 78)]) {
        let offsets = Arc::new(offsets.to_vec());
        let op = ScoresOp(AttentionOp { offsets: offsets.clone(), heads, keep: None });
        agrees(
            [tensor(&[*offsets.last().unwrap(), 3 * hidden], 0)],
            |v| attention_scores(&v[0], &offsets, heads),
            |v| op.compose(&v[0]),
        );
    }
}

#[test]
fn embed_is_its_composition() {
    let ids = vec![3, 0, 3, 3, 7]; // a row of several tokens, and rows of none
    agrees(
        [tensor(&[9, 10], 0)],
        |v| embed(&v[0], ids.clone()),
        |v| EmbedOp { ids: ids.clone() }.compose(&v[0]),
    );
    assert!(embed(&tensor(&[9, 10], 0), vec![9]).is_err());
}

#[test]
fn a_variable_used_twice_gets_the_sum_of_its_gradients() {
    agrees(
        [tensor(&[6, 6], 0), tensor(&[6], 3)],
        |v| {
            linear(&linear(&v[0], &v[0], &v[1], Activation::Gelu)?, &v[0], &v[1], Activation::Tanh)
                .and_then(|x| x + v[0].as_tensor())
        },
        |v| {
            let (inner, outer) =
                (LinearOp { act: Activation::Gelu }, LinearOp { act: Activation::Tanh });
            outer.compose(&inner.compose(&v[0], &v[0], &v[1])?, &v[0], &v[1])? + v[0].as_tensor()
        },
    );
}

#[test]
fn only_variables_get_a_gradient() {
    let weight = Var::from_tensor(&tensor(&[6, 4], 1)).unwrap();
    let (x, bias) = (tensor(&[3, 6], 0), tensor(&[4], 2));
    let loss = weighted_sum(&linear(&x, &weight, &bias, Activation::Gelu).unwrap());
    let gradients = backward(&loss).unwrap();
    assert!(gradients.get(&weight).is_some() && gradients.get(&x).is_none());
}

/// A layer of all operations: every result and gradient, as bits.
fn layer_bits() -> Vec<u32> {
    let (tokens, hidden, heads) = (400, 48, 3);
    let offsets = Arc::new(vec![0, 30, 31, 131, 150, 400]);
    let shapes: [&[usize]; 7] = [
        &[500, hidden],
        &[hidden, 3 * hidden],
        &[3 * hidden],
        &[hidden, hidden],
        &[hidden],
        &[2, hidden],
        &[500],
    ];
    let vars = shapes.map(|shape| Var::from_tensor(&tensor(shape, shape[0])).unwrap());
    let [table, qkv_weight, qkv_bias, weight, bias, scale, table_bias] = &vars;
    let run = || -> Result<Vec<Tensor>> {
        let ids = (0..tokens as u32).map(|i| i * i % 500).collect();
        let hidden = embed(table, ids)?;
        let qkv = linear(&hidden, qkv_weight, qkv_bias, Activation::Identity)?;
        let scores = attention_scores(&qkv, &offsets, heads)?;
        let mixed = attention(&qkv, &offsets, heads, Some(factors(&offsets, heads)))?;
        let wide = linear(&mixed, weight, bias, Activation::Gelu)?;
        let out = add_layer_norm(&wide, &hidden, scale, 1e-12)?;
        let decoded = decode(&out, table, table_bias)?;
        let sums = (weighted_sum(&out) + weighted_sum(&scores))? + weighted_sum(&decoded);
        let gradients = backward(&sums?)?;
        let found = vars.iter().map(|v| gradients.get(v).unwrap().clone());
        Ok(found.chain([out, scores, decoded]).collect())
    };
    run().unwrap().iter().flat_map(flat).map(f32::to_bits).collect()
}

#[test]
fn results_and_gradients_have_the_same_bits_on_any_number_of_threads() {
    let on = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(layer_bits)
    };
    let one = on(1);
    assert!(one == on(2) && one == on(3));
}
