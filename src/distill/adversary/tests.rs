//! The generator's gradient and draws, and what its turns change.

use std::collections::BTreeMap;

use super::*;
use crate::checkpoint::TokenizedExample;
use crate::distill::optimizer::{AdamW, Gradients};
use crate::distill::recipe::Compat;
use crate::distill::signals::Signals;
use crate::distill::testing::{classifier, config, weights, HEAD, VOCABULARY};
use crate::inference::Logits;
use crate::model::encoder::Encoder;
use crate::model::{families, load_masked_lm, Head, Trainable};
use candle_core::{DType, Device};

fn masked_lm() -> MaskedLm {
    let head: [(&str, &[usize]); 2] = [
        ("cls.predictions.transform.dense.weight", &[4, 4]),
        ("cls.predictions.bias", &[VOCABULARY]),
    ];
    load_masked_lm(&config("BertForMaskedLM", 1), &mut weights(3, &head)).unwrap().0
}

/// Ids 0 to 3 are special: [CLS] 1, [SEP] 2, [MASK] 3; and the others but for `unknown`.
fn ordinary(unknown: Option<u32>) -> Arc<[bool]> {
    (0..VOCABULARY as u32).map(|id| id > 3 && Some(id) != unknown).collect()
}

/// Three texts of six tokens, [CLS] 1 and [SEP] 2.
fn texts() -> PackedBatch {
    let text = |i: u32| TokenizedExample {
        input_ids: vec![1, 4 + i, 5 + i, 6 + i, 7, 2],
        token_type_ids: vec![0; 6],
        truncated: false,
    };
    PackedBatch::new(&[text(0), text(2), text(4)])
}

/// Probabilities as logits over (M, V), and the noise of a draw from them.
fn draws() -> (TokenDraws, Tensor) {
    let draw = TokenDraws::new(5, 3, &texts(), 0.5, &ordinary(None));
    let noise = draw.gumbel((draw.places.len(), VOCABULARY)).unwrap();
    (draw, noise)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn drawn_tokens_give_the_logits_of_their_ids() {
    let (draw, noise) = draws();
    let logits = masked_lm().logits(&texts(), &draw.places, Mode::Eval).unwrap();
    let soft = SoftTokens::of(&logits, &noise, 0.7, &texts(), draw.places.clone()).unwrap();
    // The drawn tokens are those of the largest sums of logit and noise.
    let sums = (&logits + &noise).unwrap().to_vec2::<f32>().unwrap();
    for (place, sums) in draw.places.iter().zip(sums) {
        let drawn = soft.ids[*place as usize] as usize;
        assert!(sums.iter().all(|sum| *sum <= sums[drawn]), "{place}");
    }
    let student = classifier(1, 1);
    let words = soft.words(student.word_embeddings()).unwrap();
    let from = student.outputs_from(&words, &texts(), Wanted::default(), Mode::Eval).unwrap();
    let batch = PackedBatch { input_ids: soft.ids.clone(), ..texts() };
    let of_ids = student.outputs(&batch, Wanted::default(), Mode::Eval).unwrap();
    assert_eq!(values(&from.logits), values(&of_ids.logits));
    assert!(soft.ids != texts().input_ids);
}

#[test]
fn only_words_are_masked_and_a_share_of_them() {
    let (mut masked, mut words) = (0u64, 0u64);
    for number in 0..1000 {
        let batch = texts();
        let draw = TokenDraws::new(0, number, &batch, 0.3, &ordinary(Some(7)));
        let id_at = |place: &u32| batch.input_ids[*place as usize];
        assert!(draw.places.iter().all(|place| ![1, 2, 7].contains(&id_at(place))), "{number}");
        assert!(draw.places.is_sorted() && !draw.places.is_empty());
        masked += draw.places.len() as u64;
        words += 8;
    }
    // Batches without a mask get one: 0.7⁸ of them, 5.8 %, add as many masks.
    let (share, expected) = (masked as f64 / words as f64, 0.3 + 0.7f64.powi(8) / 8.0);
    let deviation = (0.3 * 0.7 / words as f64).sqrt();
    assert!((share - expected).abs() < 3.0 * deviation, "{share}");
    let nothing =
        PackedBatch { input_ids: vec![1, 2], token_type_ids: vec![0; 2], offsets: vec![0, 2] };
    assert!(TokenDraws::new(0, 0, &nothing, 1.0, &ordinary(None)).places.is_empty());
}

#[test]
fn tokens_are_drawn_by_their_probabilities() {
    let logits = [1.0f32, 0.0, 2.0];
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    let draw = TokenDraws::new(1, 0, &texts(), 0.3, &ordinary(None));
    let n = 20_000;
    let drawn = draw.tokens(&vec![logits.to_vec(); n]);
    let noise = draw.gumbel((n, 3)).unwrap();
    let row = Tensor::from_slice(&logits, (1, 3), &Device::Cpu).unwrap();
    let noisy = noise.broadcast_add(&row).unwrap();
    let largest = noisy.argmax(D::Minus1).unwrap().to_vec1::<u32>().unwrap();
    for (how, tokens) in [("inverse", drawn), ("gumbel", largest)] {
        for (token, logit) in logits.iter().enumerate() {
            let p = f64::from(*logit).exp() / total;
            let share = tokens.iter().filter(|t| **t as usize == token).count() as f64 / n as f64;
            let deviation = (p * (1.0 - p) / n as f64).sqrt();
            assert!((share - p).abs() < 4.0 * deviation, "{how} {token}: {share} of {p}");
        }
    }
}

/// The cross-entropy of the probabilities.
const OPTIONS: SoftOptions = SoftOptions {
    temperature: 1.0,
    t_squared: false,
    divergence: SoftLossKind::CrossEntropy,
    over_labels: false,
};

#[test]
fn the_generator_s_gradient_is_that_of_what_it_raises_through_both_models() {
    let family = families::family("bert").unwrap();
    let encoder = |seed, layers| {
        let config = config("BertForSequenceClassification", layers);
        let mut weights = weights(seed, &HEAD);
        let pooled = Head::Pooled.as_str();
        let encoder = Encoder::load(family, &config, &mut weights, pooled, &Device::Cpu).unwrap();
        encoder.to_dtype(DType::F64).unwrap()
    };
    let (student, teacher) = (encoder(1, 1), encoder(2, 2));
    let generator = masked_lm().to_dtype(DType::F64).unwrap();
    let (generator, parameters) = generator.trainable(Frozen::Nothing).unwrap();
    let (draw, noise) = draws();
    let noise = noise.to_dtype(DType::F64).unwrap();
    // With the probabilities' rows in place of the drawn tokens', whose value has no derivative.
    let loss = || -> Result<Tensor> {
        let logits = generator.logits(&texts(), &draw.places, Mode::Eval)?;
        let soft = SoftTokens::of(&logits, &noise, 0.7, &texts(), draw.places.clone())?;
        let logits = |model: &Encoder| -> Result<Tensor> {
            let table = model.word_embeddings();
            let ids: Vec<u32> = draw.places.iter().map(|p| soft.ids[*p as usize]).collect();
            let change = (soft.probabilities.matmul(table)? - ops::embed(table, ids)?)?;
            let words = soft.with_added(&ops::embed(table, soft.ids.clone())?, &change)?;
            Ok(model.outputs_from(&words, &texts(), Wanted::default(), Mode::Eval)?.logits)
        };
        losses::soft(&logits(&student)?, &logits(&teacher)?, OPTIONS)
    };
    let gradients = ops::backward(&loss().unwrap()).unwrap();
    for name in ["words", "layers.0.query_key_value.weight", "transform.weight"] {
        let Parameter { var, .. } = parameters.iter().find(|p| p.name == name).unwrap();
        let at = 17 % var.elem_count();
        let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let gradient = flat(gradients.get(var.as_tensor()).unwrap())[at];
        let (before, step) = (flat(var.as_tensor()), 1e-5);
        let moved = |by: f64| {
            let mut values = before.clone();
            values[at] += by;
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
            loss().unwrap().to_scalar::<f64>().unwrap()
        };
        let difference = (moved(step) - moved(-step)) / (2.0 * step);
        moved(0.0);
        assert!(gradient != 0.0, "{name}");
        let error = (gradient - difference).abs() / difference.abs();
        assert!(error < 1e-4, "{name}: {gradient} {difference}");
    }
}

/// A training against the generator that begins with its turn.
fn adversarial(compared: Compared) -> Adversarial {
    let (model, parameters) = masked_lm().trainable(Frozen::Nothing).unwrap();
    let (learning_rate, options) = (1e-3, AdamWOptions::default());
    let generator = Generator {
        model,
        opponent: Opponent { parameters, learning_rate, options, clip: CLIP },
        dropout: DropoutRates::default(),
        keys: GeneratorKeys { mask: 0.5, steps: 2, student_steps: 3, ..GeneratorKeys::default() },
        mask: 3,
        is_ordinary: ordinary(None),
        seed: 5,
    };
    let weights = BTreeMap::from([(Term::SOFT, 1.0)]);
    let clean = Terms::of_logits(&weights, OPTIONS, Compat::None);
    Adversarial { clean, weight: 1.0, compared, generator }
}

/// What the teacher and the student are in bytes.
fn bytes(model: &dyn Trainable) -> Vec<Vec<f32>> {
    model.export().unwrap().values().map(values).collect()
}

/// A teacher of two layers with its labels in the other order, and its logits.
fn signals() -> Signals {
    let batch = texts();
    let tokens = batch.offsets.windows(2).map(|w| TokenizedExample {
        input_ids: batch.input_ids[w[0]..w[1]].to_vec(),
        token_type_ids: vec![0; w[1] - w[0]],
        truncated: false,
    });
    let (model, tokens) = (classifier(2, 2), tokens.collect());
    let teacher = TeacherModel { model, tokens, columns: vec![1, 0], dropout: None };
    let logits = Logits { values: vec![0.0; 6], labels: 2 };
    Signals { logits: Some(logits), model: Some(teacher), ..Signals::default() }
}

/// The first step on the texts, which is the student's.
fn of_texts<'a>(
    student: &'a dyn Trainable,
    batch: &'a PackedBatch,
    teacher: &'a Signals,
    dropout: &'a Dropout,
) -> Step<'a> {
    let (rows, labels) = (&[0, 1, 2], &[None, None, None]);
    let turn = Turn::Student;
    Step { rows, batch, labels, student, dropout, teacher, turn, epoch: 0, number: 0 }
}

#[test]
fn the_annealed_target_is_the_student_s_and_not_the_generator_s() {
    // At the first of two temperatures the teacher counts half.
    let annealing = Annealing { tau_max: 2, epochs_each: 1 };
    assert_eq!(annealing.factor(0), 0.5);
    let mut adversarial = adversarial(Compared::Logits(annealing));
    let (student, batch, signals) = (classifier(1, 1), texts(), signals());
    let dropout = Dropout::new(DropoutRates::default(), 0, 0);
    let step = of_texts(&*student, &batch, &signals, &dropout);
    let mse = |ids: &PackedBatch, factor: f32| {
        let of_student = student.outputs(ids, Wanted::default(), Mode::Eval).unwrap().logits;
        let teacher = signals.model.as_ref().unwrap();
        let of_teacher = teacher.logits(&teacher.batch_of(step.rows, ids)).unwrap();
        let both = values(&of_student).into_iter().zip(values(&of_teacher));
        both.map(|(s, t)| (s - factor * t).powi(2)).sum::<f32>() / 6.0
    };
    let near = |value: &Tensor, expected: f32| {
        let value = value.to_scalar::<f32>().unwrap();
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    };
    let rewritten = adversarial.generator.rewritten(&step).unwrap();
    assert!(rewritten.input_ids != batch.input_ids);
    let losses = adversarial.losses(&step).unwrap();
    assert_eq!((losses[1].term, losses[1].weight), (ADVERSARIAL, 1.0));
    near(&losses[1].value, mse(&rewritten, 0.5));
    let drawn = adversarial.generator.soft(&step).unwrap().unwrap().ids;
    let drawn = PackedBatch { input_ids: drawn, ..texts() };
    let losses = adversarial.losses(&Step { turn: Turn::Opponent, ..step.clone() }).unwrap();
    near(&losses[0].value, mse(&drawn, 1.0));
}

#[test]
fn the_generator_raises_the_divergence_and_changes_neither_model() {
    let annealing = Annealing { tau_max: 2, epochs_each: 1 };
    for compared in [Compared::Probabilities(OPTIONS), Compared::Logits(annealing)] {
        let mut adversarial = adversarial(compared);
        let turns: Vec<Turn> = (0..6).map(|step| adversarial.turn(step)).collect();
        let [student_s, generator_s] = [Turn::Student, Turn::Opponent];
        assert_eq!(turns[..2], [generator_s; 2]);
        assert_eq!(turns[2..], [student_s, student_s, student_s, generator_s]);
        let (student, parameters) = classifier(1, 1).parameters(Frozen::Nothing).unwrap();
        let (batch, signals) = (texts(), signals());
        let dropout = Dropout::new(DropoutRates::default(), 0, 0);
        let whole = of_texts(&*student, &batch, &signals, &dropout);
        let step = |turn, number| Step { turn, number, ..whole.clone() };
        let teacher = &*signals.model.as_ref().unwrap().model;
        let before = (bytes(&*student), bytes(teacher));
        let of = adversarial.generator.opponent.parameters.clone();
        let mut optimizer = AdamW::new(of.clone(), AdamWOptions::default()).unwrap();
        let mut raised = |number| {
            let losses = adversarial.losses(&step(Turn::Opponent, number)).unwrap();
            let [Weighted { term, weight, value }] = losses.as_slice() else { panic!() };
            assert_eq!((*term, *weight), (GENERATOR, -1.0));
            value.clone()
        };
        // The mean over other draws than those that it learns from.
        let mean = |raised: &mut dyn FnMut(u64) -> Tensor| {
            let all = (1000..1300).map(|number| raised(number).to_scalar::<f32>().unwrap());
            all.sum::<f32>() / 300.0
        };
        let at_first = mean(&mut raised);
        for number in 0..60 {
            let store = ops::backward(&(raised(number) * -1.0).unwrap()).unwrap();
            assert!(parameters.iter().all(|p| store.get(p.var.as_tensor()).is_none()));
            optimizer.step(&Gradients::collect(store, &of).unwrap(), 1e-2).unwrap();
        }
        let now = mean(&mut raised);
        assert!(now > at_first, "{compared:?}: {at_first} {now}");
        assert!(before == (bytes(&*student), bytes(teacher)));
        // In its own turn the student learns, and the generator does not.
        let losses = adversarial.losses(&step(Turn::Student, 0)).unwrap();
        let terms: Vec<Term> = losses.iter().map(|loss| loss.term).collect();
        assert_eq!(terms, [Term::SOFT, ADVERSARIAL]);
        let store = ops::backward(&losses[1].value).unwrap();
        assert!(parameters.iter().any(|p| store.get(p.var.as_tensor()).is_some()));
        assert!(of.iter().all(|p| store.get(p.var.as_tensor()).is_none()));
    }
}
