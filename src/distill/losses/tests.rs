use candle_core::{DType, Device, Var};

use super::*;

fn tensor(rows: &[&[f64]]) -> Tensor {
    let data: Vec<f64> = rows.concat();
    Tensor::from_vec(data, (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

/// Values in [-1, 1] that repeat only after a thousand elements.
fn drawn(dims: &[usize], seed: usize) -> Tensor {
    let count: usize = dims.iter().product();
    let value = |i: usize| (((i + seed) * 2_654_435_761) % 1_009) as f64 / 504.0 - 1.0;
    Tensor::from_vec((0..count).map(value).collect::<Vec<_>>(), dims, &Device::Cpu).unwrap()
}

fn scalar(loss: Result<Tensor>) -> f64 {
    loss.unwrap().to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

#[track_caller]
fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-12, "{found} is not {expected}");
}

const PLAIN: SoftOptions = SoftOptions {
    temperature: 1.0,
    t_squared: false,
    divergence: SoftLossKind::CrossEntropy,
    over_labels: false,
};
const KL: SoftOptions = SoftOptions { divergence: SoftLossKind::Kl, ..PLAIN };

/// The gradient of `loss` in each of `inputs` is what central differences say.
///
/// A step of 1e-5 leaves an error of about 1e-10: its square from the third derivative, and f64's
/// 1e-16 over the step from rounding.
fn check_gradient(inputs: &[Tensor], loss: impl Fn(&[Tensor]) -> Result<Tensor>) {
    const STEP: f64 = 1e-5;
    let vars: Vec<Var> = inputs.iter().map(|t| Var::from_tensor(t).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let store = loss(&tensors).unwrap().backward().unwrap();
    for (which, (input, var)) in inputs.iter().zip(&vars).enumerate() {
        let found = store.get(var).expect("a gradient for every input");
        let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let values = input.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, gradient) in found.iter().enumerate() {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                let mut all = inputs.to_vec();
                all[which] = Tensor::from_vec(values, input.dims(), &Device::Cpu).unwrap();
                scalar(loss(&all))
            };
            let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let difference = (gradient - expected).abs();
            assert!(difference <= 1e-6 * (1.0 + expected.abs()), "{gradient} is not {expected}");
        }
        assert!(found.iter().any(|g| g.abs() > 1e-4), "input {which} has no gradient: {found:?}");
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let logits = [drawn(&[3, 4], 0), drawn(&[3, 4], 77)];
    check_gradient(&logits[..1], |x| hard(&x[0], &[3, 0, 2]));
    for divergence in [SoftLossKind::CrossEntropy, SoftLossKind::Kl] {
        let options =
            SoftOptions { temperature: 2.5, t_squared: true, divergence, over_labels: true };
        check_gradient(&logits, |x| soft(&x[0], &x[1], options));
    }
    check_gradient(&logits[..1], |x| smoothed(&x[0], &[3, 0, 2], 0.2));
    check_gradient(&logits, |x| logits_mse(&x[0], &x[1]));
    let rows = [drawn(&[5, 6], 0), drawn(&[5, 6], 40)];
    check_gradient(&rows, |x| hidden_mse(&x[0], &x[1]));
    let scores = [drawn(&[26], 0), drawn(&[26], 40)]; // 2 heads · (2² + 3²)
    for averaging in [Averaging::Entries, Averaging::Padded { sequences: 2, heads: 2, longest: 3 }]
    {
        check_gradient(&scores, |x| attention_mse(&x[0], &x[1], averaging));
    }
    let layers: Vec<_> = (0..5).map(|i| drawn(&[3, 4], 100 * i)).collect();
    check_gradient(&layers[..4], |x| patient(&x[..2], &x[2..]));
    check_gradient(&layers[..4], |x| directions(&x[..2], &x[2..]));
    check_gradient(&layers, |x| attentive(&x[..2], &x[2..]));
    let inputs = [drawn(&[3, 2], 0), drawn(&[3, 4], 50), drawn(&[3, 4], 90), drawn(&[8, 2], 130)];
    let bias = drawn(&[2], 200);
    check_gradient(&inputs, |x| combined(&x[..1], &[combination(&[&x[1], &x[2]], &x[3], &bias)?]));
}

#[test]
fn hard_is_the_mean_surprise_at_the_label() {
    // softmax(0, ln 3) = (1/4, 3/4): ln 4/3 nats at label 1; softmax(0, 0): ln 2. Half of ln 8/3.
    let logits = tensor(&[&[0.0, 3f64.ln()], &[0.0, 0.0]]);
    close(scalar(hard(&logits, &[1, 0])), (8f64 / 3.0).ln() / 2.0);
}

#[test]
fn a_label_out_of_range_is_named() {
    let logits = drawn(&[3, 2], 0);
    let error = hard(&logits, &[1, 0, 2]).unwrap_err().to_string();
    assert_eq!(error, "example 2 of the batch has the label 2, and the model's labels are 0 to 1");
    assert!(hard(&logits, &[1, 0]).unwrap_err().to_string().contains("2 labels for 3 examples"));
}

#[test]
fn soft_at_a_temperature_is_the_divergence_of_the_softened_distributions() {
    // At t = 2 the teacher's (0, 2 ln 3) is (1/4, 3/4), and the student's (0, 0) is (1/2, 1/2).
    let (student, teacher) = (tensor(&[&[0.0, 0.0]]), tensor(&[&[0.0, 2.0 * 3f64.ln()]]));
    let entropy = 0.25 * 4f64.ln() + 0.75 * (4f64 / 3.0).ln();
    let at_two = |options| scalar(soft(&student, &teacher, options));
    let ce = SoftOptions { temperature: 2.0, ..PLAIN };
    close(at_two(ce), 2f64.ln());
    close(at_two(SoftOptions { divergence: SoftLossKind::Kl, ..ce }), 2f64.ln() - entropy);
    close(at_two(SoftOptions { t_squared: true, ..ce }), 4.0 * 2f64.ln());
    close(at_two(SoftOptions { over_labels: true, ..ce }), 2f64.ln() / 2.0); // K = 2
}

#[test]
fn a_student_like_its_teacher_has_no_divergence_but_the_teacher_s_entropy() {
    let logits = drawn(&[4, 3], 9);
    close(scalar(soft(&logits, &logits, KL)), 0.0);
    let p = softmax(&logits, D::Minus1).unwrap().to_vec2::<f64>().unwrap();
    let entropy: f64 = p.iter().flatten().map(|p| -p * p.ln()).sum::<f64>() / 4.0; // B = 4
    close(scalar(soft(&logits, &logits, PLAIN)), entropy);
}

#[test]
fn logits_may_be_shifted_by_a_constant_for_each_example() {
    let (student, teacher) = (drawn(&[2, 3], 0), drawn(&[2, 3], 50));
    let shift = |x: &Tensor| x.broadcast_add(&tensor(&[&[30.0], &[-700.0]])).unwrap();
    for options in [PLAIN, SoftOptions { temperature: 3.0, t_squared: true, ..KL }] {
        let (plain, shifted) = (
            scalar(soft(&student, &teacher, options)),
            scalar(soft(&shift(&student), &shift(&teacher), options)),
        );
        assert!((plain - shifted).abs() < 1e-12, "{plain} became {shifted}");
    }
    close(scalar(hard(&student, &[0, 2])), scalar(hard(&shift(&student), &[0, 2])));
}

#[test]
fn logits_far_apart_stay_finite() {
    let (student, teacher) = (tensor(&[&[0.0, 1e4]]), tensor(&[&[1e4, 0.0]]));
    close(scalar(soft(&student, &teacher, KL)), 1e4);
    close(scalar(soft(&student, &student, KL)), 0.0);
}

#[test]
fn t_squared_keeps_the_size_of_the_gradient() {
    // Hinton et al. 2015, eq. 4: at a high temperature t²·gradient is (z_S − z_T)/K for logits of
    // mean zero, here (1, −1)/2 − (−3, 3)/2, and for B = 1.
    let student = Var::from_tensor(&tensor(&[&[1.0, -1.0]])).unwrap();
    let teacher = tensor(&[&[-3.0, 3.0]]);
    let gradient = |temperature: f64, t_squared: bool| {
        let options = SoftOptions { temperature, t_squared, ..PLAIN };
        let store = soft(&student, &teacher, options).unwrap().backward().unwrap();
        store.get(&student).unwrap().to_vec2::<f64>().unwrap()[0][0]
    };
    for temperature in [100.0, 1_000.0] {
        let scaled = gradient(temperature, true);
        assert!((scaled - 2.0).abs() < 1e-2, "{scaled} at {temperature}");
        let unscaled = gradient(temperature, false) * temperature * temperature;
        assert!((scaled - unscaled).abs() < 1e-9);
    }
}

#[test]
fn a_temperature_that_is_not_positive_is_refused() {
    for temperature in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let options = SoftOptions { temperature, ..PLAIN };
        assert!(soft(&drawn(&[1, 2], 0), &drawn(&[1, 2], 1), options).is_err(), "{temperature}");
    }
}

#[test]
fn squared_differences_are_averaged_over_every_element() {
    let (a, b) = (tensor(&[&[1.0, 2.0]]), tensor(&[&[3.0, 5.0]]));
    close(scalar(logits_mse(&a, &b)), 6.5); // (4 + 9)/2
    close(scalar(hidden_mse(&a, &b)), 6.5);
    let error = hidden_mse(&a, &tensor(&[&[1.0]])).unwrap_err().to_string();
    assert!(error.contains("[1, 2]") && error.contains("[1, 1]"), "{error}");
}

#[test]
fn the_annealing_factor_rises_from_a_share_to_one() {
    close(annealing_factor(7.0, 7.0), 1.0 / 7.0); // 1 − 6/7
    close(annealing_factor(4.0, 7.0), 4.0 / 7.0); // 1 − 3/7
    close(annealing_factor(1.0, 7.0), 1.0);
}

#[test]
fn attention_is_averaged_over_real_entries_or_the_padded_batch() {
    // One head, sequences of 1 and 2 tokens: 1 + 4 entries. Squares: 1 + 4 + 0 + 1 + 4 = 10.
    let student = Tensor::zeros(5, DType::F64, &Device::Cpu).unwrap();
    let teacher = Tensor::new(&[1.0, -2.0, 0.0, -1.0, 2.0], &Device::Cpu).unwrap();
    let loss = |averaging| scalar(attention_mse(&student, &teacher, averaging));
    close(loss(Averaging::Entries), 2.0); // 10/5
    close(loss(Averaging::Padded { sequences: 2, heads: 1, longest: 2 }), 1.25); // 10/(2·1·2²)
    let few = Averaging::Padded { sequences: 1, heads: 1, longest: 2 };
    assert!(attention_mse(&student, &teacher, few).is_err());
}

#[test]
fn patient_compares_directions() {
    // (3, 4)/5 = (0.6, 0.8) against (0, 1): (0.36 + 0.04)/2 = 0.2; the second layer's are one.
    let student = [tensor(&[&[3.0, 4.0]]), tensor(&[&[1.0, 1.0]])];
    let teacher = [tensor(&[&[0.0, 2.0]]), tensor(&[&[5.0, 5.0]])];
    close(scalar(patient(&student[..1], &teacher[..1])), 0.2);
    close(scalar(patient(&student, &teacher)), 0.1);
    assert!(patient(&student, &teacher[..1]).is_err());
    close(scalar(patient(&[tensor(&[&[0.0, 0.0]])], &teacher[..1])), 0.5); // (0 + 1)/2
}

#[test]
fn attentive_weighs_the_teacher_s_layers_by_affinity() {
    let teacher = [tensor(&[&[1.0, 0.0]]), tensor(&[&[0.0, 4.0]])];
    // No affinity: weights of 1/2, (0.5, 2) against (0, 0): (0.25 + 4)/2.
    close(scalar(attentive(&[tensor(&[&[0.0, 0.0]])], &teacher)), 2.125);
    // Affinities ln 3 and 0: weights of 3/4 and 1/4, (0.75, 1) against (ln 3, 0).
    let student = tensor(&[&[3f64.ln(), 0.0]]);
    let one = ((3f64.ln() - 0.75).powi(2) + 1.0) / 2.0;
    close(scalar(attentive(std::slice::from_ref(&student), &teacher)), one);
    close(scalar(attentive(&[student.clone(), student], &teacher)), 2.0 * one); // a sum over j
}

#[test]
fn label_smoothing_is_a_teacher_with_equal_logits() {
    let (logits, labels) = (drawn(&[4, 3], 11), [2, 0, 1, 1]);
    let zero = Tensor::zeros((4, 3), DType::F64, &Device::Cpu).unwrap();
    let label = scalar(hard(&logits, &labels));
    let uniform = scalar(soft(&logits, &zero, KL));
    for smoothing in [0.1, 0.75] {
        let found = scalar(smoothed(&logits, &labels, smoothing));
        close(found, (1.0 - smoothing) * label + smoothing * (uniform + 3f64.ln()));
    }
    close(scalar(smoothed(&logits, &labels, 0.0)), label);
    for smoothing in [1.0, -0.1, f64::NAN] {
        assert!(smoothed(&logits, &labels, smoothing).is_err(), "{smoothing}");
    }
}

#[test]
fn a_virtual_teacher_is_as_sure_of_every_label() {
    let logits = drawn(&[2, 3], 0);
    let teacher = virtual_logits(&logits, &[2, 0], 0.9).unwrap();
    let p = softmax(&teacher, D::Minus1).unwrap().to_vec2::<f64>().unwrap();
    for (found, expected) in p.concat().iter().zip([0.05, 0.05, 0.9, 0.9, 0.05, 0.05]) {
        close(*found, expected);
    }
    assert!(virtual_logits(&logits, &[3, 0], 0.9).is_err());
    assert!(virtual_logits(&logits, &[2, 0], 1.0).is_err());
    assert!(virtual_logits(&drawn(&[2, 1], 0), &[0, 0], 0.9).is_err(), "one label");
}

#[test]
fn directions_are_squared_distances_on_the_unit_sphere() {
    // (3, 4)/5 and (0, 1): 0.6² + 0.2² = 0.4. Opposite: 2² = 4.
    let (x, y) = (tensor(&[&[3.0, 4.0], &[1.0, 0.0]]), tensor(&[&[0.0, 2.0], &[-7.0, 0.0]]));
    close(scalar(directions(std::slice::from_ref(&x), std::slice::from_ref(&y))), 2.2);
    // Of (0, 1) and (−1, 0) the mean is (−1, 1)/2, whose square is a half.
    close(spread(std::slice::from_ref(&y)).unwrap(), 0.5);
    close(spread(&[tensor(&[&[0.0, 2.0], &[0.0, 5.0]])]).unwrap(), 0.0);
    assert!(directions(&[], &[]).is_err());
}

#[test]
fn a_combination_of_one_layer_by_the_identity_is_pkd_without_normalisation() {
    let student: Vec<_> = (0..2).map(|i| drawn(&[3, 4], 100 * i)).collect();
    let teacher: Vec<_> = (5..7).map(|i| drawn(&[3, 4], 100 * i)).collect();
    let identity = Tensor::eye(4, DType::F64, &Device::Cpu).unwrap();
    let zero = Tensor::zeros(4, DType::F64, &Device::Cpu).unwrap();
    let targets: Vec<_> =
        teacher.iter().map(|layer| combination(&[layer], &identity, &zero).unwrap()).collect();
    let found = scalar(combined(&student, &targets));
    // PKD is the mean over the layers, and CKD the sum.
    let of_layer = |j: usize| scalar(hidden_mse(&student[j], &teacher[j]));
    close(found, of_layer(0) + of_layer(1));
    let unit =
        |layers: &[Tensor]| layers.iter().map(|x| normalised(x).unwrap()).collect::<Vec<_>>();
    let normalised = scalar(combined(&unit(&student), &unit(&targets)));
    close(normalised, 2.0 * scalar(patient(&student, &teacher)));
    assert!((found - normalised).abs() > 1e-3, "the lengths of the vectors count");
}

#[test]
fn a_combination_weighs_every_layer_of_its_bucket() {
    // (1, 2, 3)·(10, 1, 0.1) + 0.5 = 12.8 from layers of widths 2 and 1; against 10: 2.8².
    let bucket = [tensor(&[&[1.0, 2.0]]), tensor(&[&[3.0]])];
    let weight = tensor(&[&[10.0], &[1.0], &[0.1]]);
    let bias = Tensor::new(&[0.5], &Device::Cpu).unwrap();
    let target = combination(&[&bucket[0], &bucket[1]], &weight, &bias).unwrap();
    close(scalar(combined(&[tensor(&[&[10.0]])], &[target])), 2.8 * 2.8);
    assert!(combined(&[], &[]).is_err());
}

#[test]
fn single_precision_gives_the_same_losses() {
    let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
    let (a, b) = (drawn(&[4, 3], 0), drawn(&[4, 3], 60));
    let near = |wide: f64, loss: Result<Tensor>| {
        let loss = loss.unwrap();
        assert_eq!((loss.dtype(), loss.rank()), (DType::F32, 0));
        assert!((wide - scalar(Ok(loss))).abs() < 1e-6);
    };
    let options = SoftOptions { temperature: 2.0, t_squared: true, ..KL };
    near(scalar(hard(&a, &[0, 1, 2, 0])), hard(&narrow(&a), &[0, 1, 2, 0]));
    near(scalar(soft(&a, &b, options)), soft(&narrow(&a), &narrow(&b), options));
    let layers = [a.clone(), b.clone()];
    let narrowed = [narrow(&a), narrow(&b)];
    near(scalar(patient(&layers[..1], &layers[1..])), patient(&narrowed[..1], &narrowed[1..]));
    near(scalar(attentive(&layers[..1], &layers)), attentive(&narrowed[..1], &narrowed));
}
