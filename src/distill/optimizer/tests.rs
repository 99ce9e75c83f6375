//! AdamW and its clipping against `torch.optim.AdamW` 2.15.0, by scripts/fixtures/adamw.py.

use candle_core::{DType, Device, Tensor};

use super::*;

/// As in scripts/fixtures/adamw.py.
fn values(shape: &[usize], seed: usize, dtype: DType) -> Tensor {
    let value = |i: usize| ((i * 7 + seed * 3) % 11) as f64 / 5.0 - 1.0;
    let data: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_vec(data, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
}

fn parameters(dtype: DType) -> Vec<Parameter> {
    let new = |name: &str, shape: &[usize], seed, decays| {
        Parameter::new(name.to_owned(), &values(shape, seed, dtype), decays).unwrap()
    };
    vec![new("matrix", &[2, 3], 1, true), new("bias", &[2], 2, false)]
}

/// Of Σ parameter · gradient.
fn gradients(parameters: &[Parameter], wanted: &[Tensor]) -> Gradients {
    let terms = parameters.iter().zip(wanted);
    let term = |(p, g): (&Parameter, &Tensor)| p.var.mul(g).unwrap().sum_all().unwrap();
    let loss = terms.map(term).reduce(|sum, next| (sum + next).unwrap()).unwrap();
    Gradients::collect(loss.backward().unwrap(), parameters).unwrap()
}

fn flat(tensors: impl IntoIterator<Item = Tensor>) -> Vec<f64> {
    let flat = |t: Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    tensors.into_iter().flat_map(|t| flat(t).unwrap()).collect()
}

fn step(adam: &mut AdamW, number: usize, max_norm: Option<f64>) {
    let dtype = adam.parameters()[0].var.dtype();
    let wanted = [values(&[2, 3], 3 + number, dtype), values(&[2], 7 + number, dtype)];
    let mut gradients = gradients(adam.parameters(), &wanted);
    if let Some(max_norm) = max_norm {
        gradients.clip(max_norm).unwrap();
    }
    adam.step(&gradients, 0.1 / (number + 1) as f64).unwrap();
}

fn current(adam: &AdamW) -> Vec<f64> {
    flat(adam.parameters().iter().map(|p| p.var.as_tensor().clone()))
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Three steps, in f64 and in f32, end where PyTorch's do.
fn ends_at(options: AdamWOptions, max_norm: Option<f64>, expected: [f64; 8]) {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 2e-7)] {
        let mut adam = AdamW::new(parameters(dtype), options).unwrap();
        (0..3).for_each(|number| step(&mut adam, number, max_norm));
        assert_eq!(adam.steps(), 3);
        let difference = largest_difference(&current(&adam), &expected);
        assert!(difference < tolerance, "{dtype:?}: {difference}");
    }
}

#[test]
#[rustfmt::skip]
fn steps_are_those_of_pytorch() {
    let decaying = AdamWOptions { weight_decay: 0.1, ..AdamWOptions::default() };
    ends_at(AdamWOptions { weight_decay: 0.0, ..decaying }, None, [
        -0.4923235402433653, 0.9711935363109498, 0.35148159934767365, -0.6712549440197065,
        0.8584051932996802, 0.16380106763576505, 0.08549081488634919, -0.7457390100898629,
    ]);
    ends_at(decaying, None, [
        -0.4842072455168094, 0.9530840591119552, 0.3468647997714982, -0.659532104233769,
        0.8430477439271736, 0.16281963844528644, 0.08549081488634919, -0.7457390100898629,
    ]);
    ends_at(decaying, Some(0.5), [
        -0.4820223303321671, 0.9536794250781954, 0.3462221058562499, -0.6576181339404427,
        0.8419387108961714, 0.16295700345730832, 0.0871863918459583, -0.744536882775989,
    ]);
    ends_at(AdamWOptions { beta1: 0.8, beta2: 0.9, eps: 1e-3, ..decaying }, None, [
        -0.47930598131056473, 0.9538413122224277, 0.3433919543963166, -0.655075552553815,
        0.8387866865655313, 0.16060356369225343, 0.08991237705634905, -0.7434911755680809,
    ]);
}

#[test]
fn without_bias_correction_the_first_step_is_longer() {
    // x = 1, g = 2: m = 0.2, √v = √0.004; x·(1 − 0.1·0.5) − 0.1·0.2/(0.0632456 + 1e-6) = 0.633777.
    let options = AdamWOptions {
        eps: 1e-6,
        weight_decay: 0.5,
        bias_correction: false,
        ..AdamWOptions::default()
    };
    for dtype in [DType::F32, DType::F64] {
        let one = Tensor::ones(1, dtype, &Device::Cpu).unwrap();
        let parameter = Parameter::new("x".to_owned(), &one, true).unwrap();
        let mut adam = AdamW::new(vec![parameter], options).unwrap();
        let gradients = gradients(adam.parameters(), &[(one * 2.0).unwrap()]);
        adam.step(&gradients, 0.1).unwrap();
        assert!((current(&adam)[0] - 0.633_777).abs() < 1e-6);
    }
}

#[test]
fn what_was_saved_goes_on_as_if_never_stopped() {
    for dtype in [DType::F32, DType::F64] {
        let new = || AdamW::new(parameters(dtype), AdamWOptions::default()).unwrap();
        let (mut through, mut first, mut second) = (new(), new(), new());
        (0..4).for_each(|number| step(&mut through, number, None));
        (0..2).for_each(|number| step(&mut first, number, None));
        for (from, to) in first.parameters().iter().zip(second.parameters()) {
            to.var.set(&from.var).unwrap();
        }
        let mut moments = first.moments().unwrap();
        assert_eq!(moments[0].1.dims(), [2, 3]);
        moments.reverse();
        second.restore(first.steps(), moments).unwrap();
        (2..4).for_each(|number| step(&mut second, number, None));
        assert_eq!(current(&through), current(&second));
    }
}

#[test]
fn moments_of_other_parameters_are_refused() {
    let mut adam = AdamW::new(parameters(DType::F32), AdamWOptions::default()).unwrap();
    let moments = adam.moments().unwrap();
    let error = |adam: &mut AdamW, moments| adam.restore(1, moments).unwrap_err().to_string();
    assert_eq!(
        error(&mut adam, moments[..1].to_vec()),
        "moments of 1 parameters for an optimizer of 2"
    );
    let mut renamed = moments.clone();
    renamed[1].0 = "gain".to_owned();
    assert_eq!(error(&mut adam, renamed), "no moments of parameter `bias`");
    let mut reshaped = moments;
    reshaped[1].1 = reshaped[0].1.clone();
    assert_eq!(
        error(&mut adam, reshaped),
        "parameter `bias` has the shape [2], and its moments have [2, 3]"
    );
    assert_eq!(adam.steps(), 0);
}

#[test]
fn a_parameter_without_a_gradient_is_named() {
    let parameters = parameters(DType::F32);
    let loss = parameters[0].var.sum_all().unwrap();
    let error = Gradients::collect(loss.backward().unwrap(), &parameters).unwrap_err();
    assert_eq!(
        error.to_string(),
        "parameter `bias` got no gradient: the loss does not depend on it"
    );
}

/// Gradients 3, 0, 0, 0, 0, 0 and 0, 4: norms 3, 4 and, together, 5.
fn three_and_four(dtype: DType) -> (Vec<Parameter>, Gradients) {
    let parameters = parameters(dtype);
    let tensor = |data: &[f64], shape: &[usize]| {
        Tensor::from_slice(data, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    };
    let wanted = [tensor(&[3.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[2, 3]), tensor(&[0.0, 4.0], &[2])];
    let gradients = gradients(&parameters, &wanted);
    (parameters, gradients)
}

fn scaled(gradients: &Gradients) -> Vec<f64> {
    flat(gradients.iter().map(|(tensor, factor)| (tensor * factor).unwrap()))
}

#[test]
fn clipping_shortens_all_gradients_together() {
    for dtype in [DType::F32, DType::F64] {
        let (_, mut gradients) = three_and_four(dtype);
        assert_eq!(gradients.clip(5.5).unwrap(), 5.0);
        assert_eq!(scaled(&gradients), [3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0]);
        assert_eq!(gradients.clip(1.0).unwrap(), 5.0);
        let difference = largest_difference(
            &scaled(&gradients),
            &[0.6, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.8], // 3/5 and 4/5
        );
        assert!(difference < 1e-6);
        assert!((gradients.global_norm().unwrap() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn clipping_each_leaves_the_short_ones() {
    let (_, mut gradients) = three_and_four(DType::F32);
    gradients.clip_each(3.5).unwrap();
    let difference =
        largest_difference(&scaled(&gradients), &[3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.5]);
    assert!(difference < 1e-5);
}

#[test]
fn gradients_of_several_batches_add_up_with_their_factors() {
    for dtype in [DType::F32, DType::F64] {
        let (_, mut gradients) = three_and_four(dtype);
        let mut other = gradients.clone();
        other.scale(0.5);
        gradients.add(&other).unwrap();
        assert_eq!(scaled(&gradients), [4.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0]);
        assert_eq!(scaled(&other), [1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0]);
    }
}

#[test]
fn a_scaled_gradient_steps_as_the_product_does() {
    let run = |fold: bool| {
        let (parameters, mut gradients) = three_and_four(DType::F32);
        if fold {
            gradients.scale(0.5);
        } else {
            let halves: Vec<_> = gradients.iter().map(|(t, _)| (t * 0.5).unwrap()).collect();
            gradients = super::tests::gradients(&parameters, &halves);
        }
        let mut adam = AdamW::new(parameters, AdamWOptions::default()).unwrap();
        adam.step(&gradients, 0.1).unwrap();
        current(&adam)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn norms_and_steps_have_the_same_bits_on_any_number_of_threads() {
    let run = || {
        let parameter =
            Parameter::new("x".to_owned(), &values(&[300, 701], 1, DType::F32), true).unwrap();
        let mut adam = AdamW::new(vec![parameter], AdamWOptions::default()).unwrap();
        let mut bits = Vec::new();
        for number in 0..3 {
            let wanted = [values(&[300, 701], 5 + number, DType::F32)];
            let mut gradients = gradients(adam.parameters(), &wanted);
            bits.push(gradients.clip(0.7).unwrap().to_bits());
            adam.step(&gradients, 0.01).unwrap();
        }
        bits.extend(current(&adam).iter().map(|x| x.to_bits()));
        bits
    };
    let on = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    };
    let one = on(1);
    assert!(one == on(2) && one == on(3));
}
