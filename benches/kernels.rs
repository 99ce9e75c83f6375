//! The kernels of the encoder at the sizes of bert-base and TinyBERT, on one thread, and the exact sums.
//!
//! `cargo bench --bench kernels`. An element is a floating-point operation in products and in
//! attention, a value elsewhere: Gelem/s are GFLOP/s there.

use std::hint::black_box;

use confidence_audit::confidence::{DifferenceSums, FixedSum};
use confidence_audit::model::kernels::{
    add_layer_norm, linear, packed_attention, Activation, AttentionBuffers, AttentionView,
    LinearView, Norm, Queries, View,
};
use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};

const TOKENS: usize = 512; // the default token budget
const HEADS: usize = 12;
const SHAPES: [(&str, usize, usize); 2] = [("bert-base", 768, 3072), ("tinybert", 312, 1200)]; // H, I
const LENGTHS: [usize; 3] = [13, 50, 128]; // means of SST-2 and QNLI, and the usual maximum
const SST2_TRAIN: usize = 67_349;

/// Values in [-1, 1) without a pattern that a cache or a branch could learn.
fn values(n: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 2_654_435_761) % 100_003) as f32 / 50_001.5 - 1.0;
    (0..n).map(value).collect()
}

fn linears(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linear");
    for (shape, hidden, inner) in SHAPES {
        for (layer, from, to, activation) in [
            ("query, key, value", hidden, 3 * hidden, Activation::Identity),
            ("attention output", hidden, hidden, Activation::Identity),
            ("up", hidden, inner, Activation::Identity),
            ("up and GELU", hidden, inner, Activation::Gelu),
            ("down", inner, hidden, Activation::Identity),
        ] {
            let (x, weight, bias) = (values(TOKENS * from), values(from * to), values(to));
            let (mut panel, mut out) = (Vec::new(), vec![0.0; TOKENS * to]);
            group.throughput(Throughput::Elements((2 * TOKENS * from * to) as u64));
            group.bench_function(BenchmarkId::new(shape, layer), |bencher| {
                let weight = View { data: &weight, stride: to };
                let layer = LinearView { weight, bias: &bias };
                bencher.iter(|| linear(&x, layer, activation, &mut panel, black_box(&mut out)));
            });
        }
    }
}

fn norms(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("add and layer norm");
    for (shape, hidden, _) in SHAPES {
        let (mut x, residual) = (values(TOKENS * hidden), values(TOKENS * hidden));
        let (gain, bias) = (values(hidden), values(hidden));
        group.throughput(Throughput::Elements((TOKENS * hidden) as u64));
        group.bench_function(shape, |bencher| {
            let norm = Norm { gain: &gain, bias: &bias, eps: 1e-12 };
            bencher.iter(|| add_layer_norm(black_box(&mut x), &residual, norm));
        });
    }
}

fn attention(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attention");
    for (shape, hidden, _) in SHAPES {
        for length in LENGTHS {
            let offsets: Vec<usize> = (0..=TOKENS / length).map(|b| b * length).collect();
            let tokens = offsets[offsets.len() - 1];
            let qkv = values(tokens * 3 * hidden);
            let (mut buffers, mut out) = (AttentionBuffers::default(), vec![0.0; tokens * hidden]);
            group.throughput(Throughput::Elements((4 * tokens * length * hidden) as u64));
            group.bench_function(BenchmarkId::new(shape, length), |bencher| {
                let input = AttentionView::packed(&qkv, hidden, &offsets, HEADS);
                let out = black_box(&mut out);
                bencher.iter(|| packed_attention(input, Queries::Every, &mut buffers, out));
            });
        }
    }
}

fn sums(criterion: &mut Criterion) {
    let differences: Vec<f64> =
        values(SST2_TRAIN).into_iter().map(|v| f64::from(v) / 3.0).collect();
    let mut group = criterion.benchmark_group("exact sums");
    group.throughput(Throughput::Elements(SST2_TRAIN as u64));
    group.bench_function("FixedSum", |bencher| {
        bencher.iter(|| {
            let mut sum = FixedSum::ZERO;
            black_box(&differences).iter().for_each(|d| sum.add(*d));
            sum
        });
    });
    group.bench_function("DifferenceSums", |bencher| {
        bencher.iter(|| DifferenceSums::of(black_box(&differences)));
    });
}

criterion_group!(benches, linears, norms, attention, sums);
criterion_main!(benches);
