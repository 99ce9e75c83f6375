//! Intervals against the normal approximation, and against the figures of every resample.

use super::*;

/// 400 examples over two labels: the teacher is right in three of four, the student in two.
fn pair() -> (Predictions, Predictions, Vec<Option<u32>>, Vec<f64>) {
    let n = 400;
    let wrong = |i: usize, of: usize| i % 4 < of;
    let model = |of: usize, sure: f64| {
        let rows: Vec<f64> = (0..n)
            .flat_map(|i| {
                let p = if wrong(i, of) { 1.0 - sure } else { sure };
                [1.0 - p, p]
            })
            .collect();
        Predictions::from_probabilities(&rows, 2).unwrap()
    };
    (model(1, 0.75), model(2, 0.625), vec![Some(1); n], vec![0.125; n])
}

#[test]
fn a_share_has_the_interval_of_the_normal_approximation() {
    let (teacher, student, labels, d) = pair();
    let of = intervals(&teacher, &student, &labels, &d, 7);
    // A share p of 400 has the standard error sqrt(p(1−p)/400): ±1.96 of it, and the quantiles of
    // 1,000 resamples know the width to about 4 %; three times that is allowed.
    for (interval, p) in [
        (of.teacher.accuracy, 0.75f64),
        (of.student.accuracy, 0.5),
        (of.pair.agreement_share, 0.75),
    ] {
        let i = interval.unwrap();
        let width = 2.0 * 1.96 * (p * (1.0 - p) / 400.0).sqrt();
        assert!(((i.high - i.low) / width - 1.0).abs() < 0.12, "{i:?} for {p}");
        assert!(i.low < p && p < i.high, "{i:?} for {p}");
    }
    // The student is wrong wherever the teacher is: −0.25 ± 1.96·sqrt(0.25·0.75/400).
    let i = of.pair.accuracy_difference.unwrap();
    assert!((i.low + 0.25 + 0.042).abs() < 0.01 && (i.high + 0.25 - 0.042).abs() < 0.01);
}

/// The teacher's logits and the student's, and the label.
type ExampleLogits = ([f32; 2], [f32; 2], Option<u32>);

/// 40 examples in ascending order of the teacher's confidence, with a label of most: uncertain
/// models, so that resamples give figures on both sides of zero and losses above 1.
fn varied() -> Vec<ExampleLogits> {
    let logits =
        |sign: usize, size: f32| if sign.is_multiple_of(2) { [size, 0.0] } else { [0.0, size] };
    let of = |i: usize| {
        let teacher = logits(i * 7 / 4, 0.1 + 0.12 * i as f32);
        let student = logits(i * 5 / 3, 0.2 + 0.3 * ((i * 11 % 40) as f32));
        let label = (i % 9 != 4).then_some((i * i / 3 % 2) as u32);
        (teacher, student, label)
    };
    (0..40).map(of).collect()
}

/// Every figure as the modules that own it compute it, in the order of [`named`].
fn owned(
    teacher: &Predictions,
    student: &Predictions,
    labels: &[Option<u32>],
) -> [Option<f64>; 18] {
    use crate::confidence::{
        agreement, brier, confidence_differences, correct, divergence, ece, f1, labelled,
        matthews_correlation, mean_confidence, nll, ConfidenceKind,
    };
    let n = teacher.len() as f64;
    let accuracy =
        |model| correct(model, labels).ok().map(|it| it as f64 / labelled(labels) as f64);
    let own = |model| {
        [
            accuracy(model),
            f1(model, labels).ok(),
            matthews_correlation(model, labels).ok(),
            Some(mean_confidence(model)),
            brier(model, labels).ok(),
            nll(model, labels).ok(),
            ece(model, labels).ok(),
        ]
    };
    let d = confidence_differences(teacher, student, ConfidenceKind::Max).unwrap();
    let pair = [
        accuracy(student).zip(accuracy(teacher)).map(|(student, teacher)| student - teacher),
        Some(agreement(teacher, student) as f64 / n),
        Some(d.iter().sum::<f64>() / n),
        Some(divergence(teacher, student).unwrap().mean_kl),
    ];
    let all = [own(teacher).to_vec(), own(student).to_vec(), pair.to_vec()].concat();
    all.try_into().unwrap()
}

#[test]
fn the_intervals_are_the_percentiles_of_the_figures_of_the_resamples() {
    let examples = varied();
    let drawn = |positions: &[usize]| {
        let of = |logits: fn(&ExampleLogits) -> [f32; 2]| {
            let rows: Vec<f32> = positions.iter().flat_map(|&i| logits(&examples[i])).collect();
            Predictions::from_logits(&rows, 2).unwrap()
        };
        let labels: Vec<_> = positions.iter().map(|&i| examples[i].2).collect();
        (of(|it| it.0), of(|it| it.1), labels)
    };
    let n = examples.len();
    let (t, s, l) = drawn(&Vec::from_iter(0..n));
    let (seed, observed) = (5, owned(&t, &s, &l));
    let d: Vec<f64> = (0..n).map(|i| t.confidence(i) - s.confidence(i)).collect();
    let found = intervals(&t, &s, &l, &d, seed);
    let resamples = (0..BOOTSTRAP_RESAMPLES).map(|resample| {
        let mut random = generator(seed, resample);
        let positions: Vec<usize> = (0..n).map(|_| position(&mut random, n)).collect();
        let (t, s, l) = drawn(&positions);
        owned(&t, &s, &l)
    });
    let resamples: Vec<_> = resamples.collect();
    let of = |model: ModelIntervals| {
        let ModelIntervals { accuracy, f1, matthews_correlation: mcc, mean_confidence, .. } = model;
        [accuracy, f1, mcc, mean_confidence, model.brier, model.nll, model.ece]
    };
    let PairIntervals { accuracy_difference, agreement_share, mean_difference, mean_kl } =
        found.pair;
    let pair = [accuracy_difference, agreement_share, mean_difference, mean_kl];
    let found = [of(found.teacher).to_vec(), of(found.student).to_vec(), pair.to_vec()].concat();
    for (figure, interval) in found.into_iter().enumerate() {
        let observed = observed[figure].unwrap();
        let mut values: Vec<f64> = resamples.iter().filter_map(|it| it[figure]).collect();
        if [6, 13].contains(&figure) {
            values.iter_mut().for_each(|value| *value = (2.0 * observed - *value).clamp(0.0, 1.0));
        }
        values.sort_unstable_by(f64::total_cmp);
        let (expected, interval) = (percentiles(&values), interval.unwrap());
        for (expected, end) in [(expected.low, interval.low), (expected.high, interval.high)] {
            assert!((expected - end).abs() < 1e-12, "{figure}: {expected}, {interval:?}");
        }
    }
    // Ends beyond 0 and 1, where the range of a figure allows them.
    let mcc = of(intervals(&t, &s, &l, &d, seed).teacher)[2].unwrap();
    assert!(mcc.low < 0.0, "{mcc:?}");
}

#[test]
fn a_constant_figure_has_an_interval_of_no_width() {
    let (teacher, student, labels, d) = pair();
    let of = intervals(&teacher, &student, &labels, &d, 0);
    let i = of.pair.mean_difference.unwrap();
    assert!((i.low - 0.125).abs() < 1e-12 && (i.high - 0.125).abs() < 1e-12);
    assert!((of.teacher.mean_confidence.unwrap().high - 0.75).abs() < 1e-12);
    // One label alone: no correlation.
    assert_eq!(of.teacher.matthews_correlation, None);
}

#[test]
fn an_undefined_figure_has_no_interval() {
    let bare = Predictions::from_confidence(&[0.9, 0.6], &[0, 1], 2).unwrap();
    let of = intervals(&bare, &bare, &[None, None], &[0.0, 0.0], 0);
    assert_eq!((of.teacher.accuracy, of.student.ece, of.pair.mean_kl), (None, None, None));
    assert_eq!(of.pair.accuracy_difference, None);
    assert!(of.pair.agreement_share.is_some() && of.teacher.mean_confidence.is_some());
    let of = intervals(&bare, &bare, &[Some(0), None], &[0.0, 0.0], 0);
    assert_eq!((of.teacher.brier, of.teacher.nll), (None, None));
    assert_eq!(of.teacher.accuracy.unwrap().low, 1.0);
}

#[test]
fn the_calibration_error_lies_in_its_interval() {
    let n = 200;
    let sure: Vec<f64> = (0..n).map(|i| 0.5 + 0.5 * (i as f64 + 0.5) / n as f64).collect();
    let predicted: Vec<u32> = (0..n).map(|i| u32::from(i * 37 % n < n * 3 / 4)).collect();
    let model = Predictions::from_confidence(&sure, &predicted, 2).unwrap();
    let labels = vec![Some(1); n];
    let of = intervals(&model, &model, &labels, &vec![0.0; n], 3).teacher.ece.unwrap();
    let error = super::super::ece(&model, &labels).unwrap();
    assert!(of.low <= error && error <= of.high && of.high < 0.3, "{error} in {of:?}");
}

#[test]
fn a_figure_of_rare_examples_lies_in_its_interval_even_if_the_draws_miss_them() {
    let n = 80 * INTERVAL_DRAWS;
    let (mut predicted, mut d) = (vec![1u32; n], vec![0.0; n]);
    (predicted[7], d[7]) = (0, 0.25);
    let sure = vec![0.75; n];
    let teacher = Predictions::from_confidence(&sure, &vec![1; n], 2).unwrap();
    let student = Predictions::from_confidence(&sure, &predicted, 2).unwrap();
    let of = intervals(&teacher, &student, &vec![Some(1); n], &d, 1);
    let rare = 1.0 / n as f64;
    for (interval, observed) in
        [(of.pair.agreement_share, 1.0 - rare), (of.pair.mean_difference, 0.25 * rare)]
    {
        let i = interval.unwrap();
        assert!(i.low <= observed && observed <= i.high, "{observed}: {i:?}");
    }
}

#[test]
fn a_large_set_has_the_width_of_all_its_examples() {
    let n = 4 * INTERVAL_DRAWS;
    let right: Vec<u32> = (0..n as u32).map(|i| i % 2).collect();
    let model = Predictions::from_confidence(&vec![0.75; n], &right, 2).unwrap();
    let of = intervals(&model, &model, &vec![Some(1); n], &vec![0.0; n], 1);
    let (i, width) = (of.teacher.accuracy.unwrap(), 2.0 * 1.96 * 0.5 / (n as f64).sqrt());
    assert!(((i.high - i.low) / width - 1.0).abs() < 0.12, "{i:?}, {width}");
}
