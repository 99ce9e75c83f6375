//! Training against PyTorch's: losses, gradients, states on the way.
//!
//! What PyTorch computes comes from scripts/fixtures/make_training_fixtures.py, in float64; the
//! files name its versions.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor, Var};
use confidence_audit::checkpoint::TokenizedExample;
use confidence_audit::checkpoint::{ModelConfig, Weights};
use confidence_audit::distill::losses::{self, Averaging, SoftLossKind, SoftOptions};
use confidence_audit::distill::optimizer::{AdamW, AdamWOptions, Gradients};
use confidence_audit::distill::schedule::{Decay, Schedule};
use confidence_audit::input::InputFile;
use confidence_audit::model::encoder::Encoder;
use confidence_audit::model::{
    self, families, Dropout, DropoutRates, Frozen, Head, Mode, PackedBatch, Parameter, Trainable,
    Wanted,
};
use serde::Deserialize;
use serde_json::Value;

/// Of PyTorch's float64 results, kept as float32: half a unit in the last place, with room for
/// values up to 10.
const STORED_AS_F32: f64 = 1e-6;
/// What rounding explains in float32.
const SINGLE: f64 = 1e-5;

fn training() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training")
}

fn read<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    serde_json::from_str(&std::fs::read_to_string(training().join(name)).unwrap()).unwrap()
}

fn read_tensors(name: &str) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(training().join(name), &Device::Cpu).unwrap()
}

fn encoder(architecture: &str, dtype: DType) -> Encoder {
    let folder = training().join("../architectures").join(architecture);
    let config = ModelConfig::read(&folder.join("config.json")).unwrap();
    let mut weights =
        Weights::open(architecture, &[InputFile::open(&folder.join("model.safetensors")).unwrap()])
            .unwrap();
    let (name, head) = model::conventions(&config, &weights, Head::Auto).unwrap();
    let family = families::family(&name).unwrap();
    let encoder = Encoder::load(family, &config, &mut weights, head, &Device::Cpu).unwrap();
    encoder.to_dtype(dtype).unwrap()
}

#[derive(Deserialize)]
struct Row {
    input_ids: Vec<u32>,
    token_type_ids: Option<Vec<u32>>,
}

fn packed(rows: &[Row]) -> PackedBatch {
    let example = |row: &Row| TokenizedExample {
        input_ids: row.input_ids.clone(),
        token_type_ids: row.token_type_ids.clone().unwrap_or(vec![0; row.input_ids.len()]),
        truncated: false,
    };
    PackedBatch::new(&rows.iter().map(example).collect::<Vec<_>>())
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

/// Every element within `tolerance`, or that share of it where it is above 1.
#[track_caller]
fn agree(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    for (i, (a, b)) in flat(found).into_iter().zip(flat(expected)).enumerate() {
        let difference = (a - b).abs() / b.abs().max(1.0);
        assert!(difference <= tolerance, "{what}, element {i}: {a} is not PyTorch's {b}");
    }
}

const ARCHITECTURES: [&str; 6] =
    ["bert", "tinybert", "distilbert", "electra", "roberta", "xlm-roberta"];

/// One labelled batch, and in `gradients/` what PyTorch makes of it.
#[derive(Deserialize)]
struct Batch {
    batch: Vec<Row>,
    labels: Vec<u32>,
    #[serde(default)]
    loss: f64,
    #[serde(default)]
    logits: Vec<Vec<f64>>,
}

impl Batch {
    fn of(architecture: &str) -> Self {
        read(&format!("gradients/{architecture}.json"))
    }

    fn loss(&self, encoder: &Encoder, mode: Mode) -> Tensor {
        let wanted = Wanted::default();
        let logits = encoder.outputs(&packed(&self.batch), wanted, mode).unwrap().logits;
        losses::hard(&logits, &self.labels).unwrap()
    }
}

/// An encoder under training and the gradient of a batch's loss in each parameter.
fn backward(encoder: &Encoder, batch: &Batch, mode: Mode) -> (Encoder, Vec<(Parameter, Tensor)>) {
    let (encoder, parameters) = encoder.trainable(Frozen::Nothing).unwrap();
    let store = batch.loss(&encoder, mode).backward().unwrap();
    let gradient = |p: &Parameter| match store.get(&p.var) {
        Some(gradient) => gradient.clone(),
        None => panic!("no gradient of `{}`", p.name),
    };
    let pairs = parameters.into_iter().map(|p| (p.clone(), gradient(&p))).collect();
    (encoder, pairs)
}

/// The same by the checkpoint's names: an encoder whose weights are the gradients, exported.
fn named_gradients(encoder: &Encoder, batch: &Batch) -> BTreeMap<String, Tensor> {
    let (encoder, pairs) = backward(encoder, batch, Mode::Eval);
    for (parameter, gradient) in pairs {
        parameter.var.set(&gradient).unwrap();
    }
    encoder.export().unwrap()
}

/// A bias of the keys adds the same to all scores of a query, which the softmax takes out.
fn cancels(name: &str) -> bool {
    name.ends_with("key.bias") || name.ends_with("k_lin.bias")
}

#[test]
fn logits_and_loss_are_pytorch_s() {
    for name in ARCHITECTURES {
        let batch = Batch::of(name);
        let expected = Tensor::new(batch.logits.clone(), &Device::Cpu).unwrap();
        for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F32, SINGLE)] {
            let encoder = encoder(name, dtype);
            let outputs = encoder.outputs(&packed(&batch.batch), Wanted::default(), Mode::Eval);
            agree(name, &outputs.unwrap().logits, &expected, tolerance);
            let loss = flat(&batch.loss(&encoder, Mode::Eval))[0];
            let difference = (loss - batch.loss).abs();
            assert!(difference <= tolerance, "{name}: a loss off by {difference:e} in {dtype:?}");
        }
    }
}

#[test]
fn gradients_are_pytorch_s() {
    for name in ARCHITECTURES {
        let expected = read_tensors(&format!("gradients/{name}.safetensors"));
        for (dtype, tolerance) in [(DType::F64, STORED_AS_F32), (DType::F32, SINGLE)] {
            let found = named_gradients(&encoder(name, dtype), &Batch::of(name));
            assert_eq!(found.len(), expected.len(), "{name}");
            for (parameter, gradient) in &found {
                let what = format!("{name}, {parameter} in {dtype:?}");
                agree(&what, gradient, &expected[parameter], tolerance);
            }
        }
    }
}

#[test]
fn every_parameter_has_a_gradient() {
    for name in ARCHITECTURES {
        for (parameter, gradient) in named_gradients(&encoder(name, DType::F64), &Batch::of(name)) {
            let largest = flat(&gradient).into_iter().map(f64::abs).fold(0.0, f64::max);
            match cancels(&parameter) {
                true => assert!(largest < 1e-15, "{name}, {parameter}: {largest:e}"),
                false => assert!(largest > 1e-4, "{name}, {parameter}: {largest:e}"),
            }
        }
    }
}

/// Elements of a gradient that are worth a look: the largest, and a few spread over the tensor.
fn sample(gradient: &[f64]) -> Vec<usize> {
    let largest =
        (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs()));
    let spread = (1..5).map(|i| i * gradient.len() / 5); // four cuts into fifths
    largest.into_iter().chain(spread).collect()
}

/// `loss` with element `i` of `var` moved by `by`.
fn moved(var: &Var, i: usize, by: f64, loss: impl Fn() -> f64) -> f64 {
    let before = var.as_tensor().copy().unwrap();
    let mut values = flat(&before);
    values[i] += by;
    var.set(&Tensor::from_vec(values, before.dims(), &Device::Cpu).unwrap()).unwrap();
    let loss = loss();
    var.set(&before).unwrap();
    loss
}

/// Central differences with a step of 1e-5 are exact to about 1e-10: the step's square, and f64's
/// 1e-16 over the step.
fn check_finite_differences(name: &str, mode: Mode) {
    const STEP: f64 = 1e-5;
    let batch = Batch::of(name);
    let (encoder, pairs) = backward(&encoder(name, DType::F64), &batch, mode);
    for (Parameter { name: parameter, var, .. }, gradient) in &pairs {
        let gradient = flat(gradient);
        for i in sample(&gradient) {
            let loss = |by| moved(var, i, by, || flat(&batch.loss(&encoder, mode))[0]);
            let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let found = gradient[i];
            let difference = (found - expected).abs();
            assert!(difference <= 1e-6, "{name}, {parameter} [{i}]: {found} is not {expected}");
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    for name in ARCHITECTURES {
        check_finite_differences(name, Mode::Eval);
    }
}

/// Dropout of one seed and pass drops the same elements each time, so the loss can be differentiated.
#[test]
fn gradients_under_dropout_are_those_of_finite_differences() {
    let rates = DropoutRates { hidden: 0.1, attention: 0.2, classifier: 0.3 };
    for name in ARCHITECTURES {
        let dropout = Dropout::new(rates, 7, 3);
        let batch = Batch::of(name);
        let encoder = encoder(name, DType::F64);
        let loss = |mode| flat(&batch.loss(&encoder, mode))[0];
        assert!((loss(Mode::Train(&dropout)) - loss(Mode::Eval)).abs() > 1e-3, "{name}");
        check_finite_differences(name, Mode::Train(&dropout));
    }
}

/// `steps.json`: a training of ten steps.
#[derive(Deserialize)]
struct Training {
    checkpoint: String,
    learning_rate: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    max_norm: f64,
    warmup_steps: u64,
    batches: Vec<Batch>,
    steps: Vec<Step>,
    final_losses: Vec<f64>,
}

#[derive(Deserialize)]
struct Step {
    batch: usize,
    learning_rate: f64,
    loss: f64,
    gradient_norm: f64,
}

impl Training {
    fn options(&self) -> AdamWOptions {
        AdamWOptions {
            beta1: self.betas[0],
            beta2: self.betas[1],
            eps: self.eps,
            weight_decay: self.weight_decay,
            bias_correction: true,
        }
    }

    /// Learning rates, losses and norms of ten steps, then the losses at their end, in `dtype`.
    fn follow(&self, dtype: DType, tolerance: f64) {
        let near = |what: &str, found: f64, expected: f64| {
            let difference = (found - expected).abs();
            assert!(difference <= tolerance, "{what} in {dtype:?}: {found} is not {expected}");
        };
        let (encoder, parameters) =
            encoder(&self.checkpoint, dtype).trainable(Frozen::Nothing).unwrap();
        let mut optimizer = AdamW::new(parameters, self.options()).unwrap();
        let total = self.steps.len() as u64;
        let warmup = self.warmup_steps as f64 / total as f64;
        let schedule = Schedule { decay: Decay::Linear, warmup };
        for (i, step) in self.steps.iter().enumerate() {
            let rate = self.learning_rate * schedule.factor(i as u64, total);
            assert!((rate - step.learning_rate).abs() < 1e-15, "the rate of step {i}: {rate}");
            let loss = self.batches[step.batch].loss(&encoder, Mode::Eval);
            near(&format!("the loss of step {i}"), flat(&loss)[0], step.loss);
            let store = loss.backward().unwrap();
            let mut gradients = Gradients::collect(store, optimizer.parameters()).unwrap();
            let norm = gradients.clip(self.max_norm).unwrap();
            near(&format!("the norm of step {i}"), norm, step.gradient_norm);
            optimizer.step(&gradients, rate).unwrap();
        }
        for (batch, expected) in self.batches.iter().zip(&self.final_losses) {
            near("a last loss", flat(&batch.loss(&encoder, Mode::Eval))[0], *expected);
        }
    }
}

#[test]
fn ten_steps_of_adamw_are_pytorch_s() {
    let training: Training = read("steps.json");
    assert_eq!((training.steps.len(), training.final_losses.len()), (10, 3));
    training.follow(DType::F64, 1e-9);
    training.follow(DType::F32, SINGLE);
}

#[derive(Deserialize)]
struct States {
    checkpoint: String,
    batch: Vec<Row>,
}

#[test]
fn hidden_states_and_attention_scores_are_pytorch_s() {
    let states: States = read("states.json");
    let expected = read_tensors("states.safetensors");
    let wanted = Wanted { hidden: true, scores: true };
    for (dtype, tolerance) in [(DType::F64, STORED_AS_F32), (DType::F32, SINGLE)] {
        let encoder = encoder(&states.checkpoint, dtype);
        let found = encoder.outputs(&packed(&states.batch), wanted, Mode::Eval).unwrap();
        assert_eq!(found.hidden.len() + found.scores.len(), expected.len());
        for (kind, tensors) in [("hidden", &found.hidden), ("scores", &found.scores)] {
            for (i, tensor) in tensors.iter().enumerate() {
                let what = format!("{kind}.{i}");
                agree(&what, tensor, &expected[&what], tolerance);
            }
        }
    }
}

/// A vector or a matrix.
#[derive(Deserialize)]
#[serde(untagged)]
enum Nested {
    Matrix(Vec<Vec<f64>>),
    Vector(Vec<f64>),
}

impl Nested {
    fn tensor(&self) -> Tensor {
        match self {
            Nested::Matrix(rows) => Tensor::new(rows.clone(), &Device::Cpu).unwrap(),
            Nested::Vector(values) => Tensor::new(values.clone(), &Device::Cpu).unwrap(),
        }
    }
}

/// A loss of distillation on inputs drawn at random.
#[derive(Deserialize)]
struct Case {
    loss: String,
    options: Value,
    value: f64,
    student: Vec<Nested>,
    teacher: Vec<Nested>,
    student_gradients: Vec<Nested>,
    teacher_gradients: Vec<Nested>,
}

impl Case {
    fn loss(&self, s: &[Tensor], t: &[Tensor]) -> Tensor {
        let loss = match self.loss.as_str() {
            "hard" => losses::hard(&s[0], &self.labels()),
            "soft" => losses::soft(&s[0], &t[0], self.soft_options()),
            "logits-mse" => losses::logits_mse(&s[0], &t[0]),
            "hidden-mse" => losses::hidden_mse(&s[0], &t[0]),
            "attention-mse" => losses::attention_mse(&s[0], &t[0], self.averaging()),
            "patient" => losses::patient(s, t),
            "attentive" => losses::attentive(s, t),
            "smoothed" => {
                let smoothing = self.options["smoothing"].as_f64().unwrap();
                losses::smoothed(&s[0], &self.labels(), smoothing)
            }
            "virtual" => {
                let probability = self.options["probability"].as_f64().unwrap();
                let teacher = losses::virtual_logits(&s[0], &self.labels(), probability).unwrap();
                losses::soft(&s[0], &teacher, self.soft_options())
            }
            "directions" => losses::directions(s, t),
            "combined" => losses::combined(s, &self.combinations(t)),
            other => panic!("no loss is called `{other}`"),
        };
        loss.unwrap()
    }

    fn labels(&self) -> Vec<u32> {
        Vec::deserialize(&self.options["labels"]).unwrap()
    }

    fn soft_options(&self) -> SoftOptions {
        let flag = |name: &str| self.options[name].as_bool().unwrap();
        SoftOptions {
            temperature: self.options["temperature"].as_f64().unwrap(),
            t_squared: flag("t_squared"),
            divergence: match self.options["divergence"].as_str().unwrap() {
                "kl" => SoftLossKind::Kl,
                _ => SoftLossKind::CrossEntropy,
            },
            over_labels: flag("over_labels"),
        }
    }

    /// Of the teacher's layers, then W of each bucket, then b.
    fn combinations(&self, t: &[Tensor]) -> Vec<Tensor> {
        let buckets: Vec<Vec<usize>> = Deserialize::deserialize(&self.options["buckets"]).unwrap();
        let weights = t.len() - 2 * buckets.len();
        let combination = |(j, bucket): (usize, &Vec<usize>)| {
            let of_bucket: Vec<&Tensor> = bucket.iter().map(|&k| &t[k]).collect();
            let (weight, bias) = (&t[weights + j], &t[weights + buckets.len() + j]);
            losses::combination(&of_bucket, weight, bias).unwrap()
        };
        buckets.iter().enumerate().map(combination).collect()
    }

    fn averaging(&self) -> Averaging {
        let size = |name: &str| self.options[name].as_u64().map(|n| n as usize);
        match (size("sequences"), size("heads"), size("longest")) {
            (Some(sequences), Some(heads), Some(longest)) => {
                Averaging::Padded { sequences, heads, longest }
            }
            _ => Averaging::Entries,
        }
    }

    /// Value and gradients in `dtype`.
    fn check(&self, dtype: DType, tolerance: f64) {
        let variable = |n: &Nested| Var::from_tensor(&n.tensor().to_dtype(dtype).unwrap()).unwrap();
        let student: Vec<Var> = self.student.iter().map(variable).collect();
        let teacher: Vec<Var> = self.teacher.iter().map(variable).collect();
        let tensors = |vars: &[Var]| vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
        let loss = self.loss(&tensors(&student), &tensors(&teacher));
        let what = format!("{} {} in {dtype:?}", self.loss, self.options);
        agree(&what, &loss, &Tensor::new(self.value, &Device::Cpu).unwrap(), tolerance);
        let store = loss.backward().unwrap();
        let expected = self.student_gradients.iter().chain(&self.teacher_gradients);
        for (var, expected) in student.iter().chain(&teacher).zip(expected) {
            agree(&what, store.get(var).unwrap(), &expected.tensor(), tolerance);
        }
    }
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

#[test]
fn losses_of_distillation_are_pytorch_s() {
    let Cases { cases } = read("losses.json");
    // Hard, four soft, logits, hidden, attention twice, PKD, ALP-KD, CKD, smoothed, virtual, RAIL-KD.
    assert_eq!(cases.len(), 15);
    for case in cases {
        case.check(DType::F64, 1e-12);
        case.check(DType::F32, SINGLE); // t² = 100 makes as much of rounding
    }
}
