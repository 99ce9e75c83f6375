//! Bootstrap intervals of the figures other than σ.

use std::cmp::Ordering;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bootstrap::{generator, percentiles, position};
use super::divergence::divergence_of;
use super::metrics::{brier_of, nll_of, Confusion};
use super::reliability::{ece_bin, ECE_BINS};
use super::{Interval, Predictions, BOOTSTRAP_RESAMPLES};

/// Maximum draws of one resample, so that the intervals cost little; deviations are scaled to N.
/// Figures that depend on fewer than one example in a thousand are coarse.
pub const INTERVAL_DRAWS: usize = 1 << 12;

/// 95 % bootstrap intervals of one model's figures; null if the figure is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelIntervals {
    /// Of `accuracy`.
    pub accuracy: Option<Interval>,
    /// Of `f1`.
    pub f1: Option<Interval>,
    /// Of `matthews_correlation`.
    pub matthews_correlation: Option<Interval>,
    /// Of `mean_confidence`.
    pub mean_confidence: Option<Interval>,
    /// Of `brier`.
    pub brier: Option<Interval>,
    /// Of `nll`.
    pub nll: Option<Interval>,
    /// Of `ece`.
    pub ece: Option<Interval>,
}

/// 95 % bootstrap intervals of the pair's figures; null if the figure is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairIntervals {
    /// Of the student's accuracy less its teacher's, on the same resamples.
    pub accuracy_difference: Option<Interval>,
    /// Of `agreement_share`.
    pub agreement_share: Option<Interval>,
    /// Of `mean_difference`.
    pub mean_difference: Option<Interval>,
    /// Of `divergence.mean_kl`.
    pub mean_kl: Option<Interval>,
}

/// The intervals of both models' figures, all from the same resamples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Intervals {
    /// The teacher's.
    pub teacher: ModelIntervals,
    /// The student's.
    pub student: ModelIntervals,
    /// Those of both together.
    pub pair: PairIntervals,
}

/// The intervals of the figures of `teacher` and `student` over N examples.
///
/// Each resample draws N examples with replacement (above [`INTERVAL_DRAWS`] that many, with
/// deviations scaled as in [`super::bootstrap_interval`]) from its own stream of ChaCha8. The
/// examples are sorted first, so neither their order nor the number of threads changes a bit.
/// Percentile intervals; for the calibration error the basic one (Davison & Hinkley 1997, section
/// 5.2). Resamples for which a figure is undefined (no label drawn) are left out.
///
/// # Panics
/// If the numbers of examples differ.
pub fn intervals(
    teacher: &Predictions,
    student: &Predictions,
    labels: &[Option<u32>],
    differences: &[f64],
    seed: u64,
) -> Intervals {
    let n = teacher.len();
    assert_eq!((student.len(), labels.len(), differences.len()), (n, n, n));
    let mut examples: Vec<ExampleFigures> = (0..n)
        .map(|i| ExampleFigures::new(teacher, student, labels[i], differences[i], i))
        .collect();
    examples.sort_unstable_by(ExampleFigures::order);
    let observed = figures(&examples, teacher.labels(), 0..n);
    let draws = n.min(INTERVAL_DRAWS);
    let shrink = (draws as f64 / n as f64).sqrt();
    let resampled: Vec<FigureValues> = (0..BOOTSTRAP_RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let mut random = generator(seed, resample);
            let positions = (0..draws).map(|_| position(&mut random, n));
            let drawn = figures(&examples, teacher.labels(), positions);
            std::array::from_fn(|f| observed[f] + (drawn[f] - observed[f]) * shrink)
        })
        .collect();
    named(|figure| interval(&resampled, observed, figure))
}

/// Figures of one resample, in the order of [`named`]; NaN if undefined.
type FigureValues = [f64; 2 * OF_MODEL + 4];

/// Figures of one model, and which of them is the calibration error.
const OF_MODEL: usize = 7;
const ECE: usize = 6;

/// The range of each figure.
const RANGE: [(f64, f64); 2 * OF_MODEL + 4] = {
    const OWN: [(f64, f64); OF_MODEL] = [
        (0.0, 1.0),
        (0.0, 1.0),
        (-1.0, 1.0),
        (0.0, 1.0),
        (0.0, 2.0),
        (0.0, f64::INFINITY),
        (0.0, 1.0),
    ];
    let mut range = [(0.0, 0.0); 2 * OF_MODEL + 4];
    let mut i = 0;
    while i < 2 * OF_MODEL {
        range[i] = OWN[i % OF_MODEL];
        i += 1;
    }
    range[i] = (-1.0, 1.0);
    range[i + 1] = (0.0, 1.0);
    range[i + 2] = (-1.0, 1.0);
    range[i + 3] = (0.0, f64::INFINITY);
    range
};

/// The figures of the examples at `positions`.
fn figures(
    examples: &[ExampleFigures],
    labels: usize,
    positions: impl Iterator<Item = usize>,
) -> FigureValues {
    let mut sums = Sums::new(labels);
    positions.for_each(|at| sums.add(&examples[at]));
    sums.figures()
}

fn named(interval: impl Fn(usize) -> Option<Interval>) -> Intervals {
    let model = |first: usize| ModelIntervals {
        accuracy: interval(first),
        f1: interval(first + 1),
        matthews_correlation: interval(first + 2),
        mean_confidence: interval(first + 3),
        brier: interval(first + 4),
        nll: interval(first + 5),
        ece: interval(first + 6),
    };
    Intervals {
        teacher: model(0),
        student: model(OF_MODEL),
        pair: PairIntervals {
            accuracy_difference: interval(2 * OF_MODEL),
            agreement_share: interval(2 * OF_MODEL + 1),
            mean_difference: interval(2 * OF_MODEL + 2),
            mean_kl: interval(2 * OF_MODEL + 3),
        },
    }
}

fn interval(resampled: &[FigureValues], observed: FigureValues, figure: usize) -> Option<Interval> {
    let observed = Some(observed[figure]).filter(|observed| !observed.is_nan())?;
    let values = resampled.iter().map(|figures| figures[figure]).filter(|value| !value.is_nan());
    // Resampling noise raises the sum of the bins' absolute gaps, so the interval is reflected.
    let reflected = figure < 2 * OF_MODEL && figure % OF_MODEL == ECE;
    let mut values: Vec<f64> = match reflected {
        true => values.map(|value| 2.0 * observed - value).collect(),
        false => values.collect(),
    };
    values.sort_unstable_by(f64::total_cmp);
    let found = (!values.is_empty()).then(|| percentiles(&values))?;
    let (least, most) = RANGE[figure];
    Some(Interval {
        // Few draws may miss rare examples; the observed figure is always possible.
        low: found.low.clamp(least, most).min(observed),
        high: found.high.clamp(least, most).max(observed),
        ..found
    })
}

/// One model's figures of one example; `brier` and `nll` are NaN if undefined.
#[derive(Debug, Clone, Copy)]
struct Own {
    confidence: f64,
    brier: f64,
    nll: f64,
    predicted: u32,
}

/// One example's part of every figure; `kl` is NaN if undefined.
#[derive(Debug, Clone, Copy)]
struct ExampleFigures {
    models: [Own; 2],
    difference: f64,
    kl: f64,
    label: Option<u32>,
}

impl ExampleFigures {
    fn new(
        teacher: &Predictions,
        student: &Predictions,
        label: Option<u32>,
        difference: f64,
        i: usize,
    ) -> Self {
        let own = |model: &Predictions| Own {
            confidence: model.confidence(i),
            brier: label.map_or(0.0, |label| brier_of(model, i, label).unwrap_or(f64::NAN)),
            nll: label.map_or(0.0, |label| nll_of(model, i, label).unwrap_or(f64::NAN)),
            predicted: model.predicted(i),
        };
        let kl = divergence_of(teacher, student, i).map_or(f64::NAN, |apart| apart.kl);
        ExampleFigures { models: [own(teacher), own(student)], difference, kl, label }
    }

    /// An order by values, not positions; the ids of labels come last, so that they matter for exact
    /// ties only.
    fn order(&self, other: &Self) -> Ordering {
        let figures = |e: &Self| {
            let [t, s] = e.models;
            [t.confidence, s.confidence, e.difference, e.kl, t.brier, s.brier, t.nll, s.nll]
        };
        let (a, b) = (figures(self), figures(other));
        let by_figures = a.iter().zip(&b).map(|(a, b)| a.total_cmp(b)).find(|o| o.is_ne());
        let ids = |e: &Self| (e.label, e.models.map(|own| own.predicted));
        by_figures.unwrap_or_else(|| ids(self).cmp(&ids(other)))
    }
}

/// One model's sums over a resample.
struct OwnSums {
    confidence: f64,
    brier: f64,
    nll: f64,
    right: usize,
    confusion: Confusion,
    /// Σ C less the number predicted right, by bin of confidence.
    gaps: [f64; ECE_BINS],
}

/// The sums over a resample.
struct Sums {
    n: usize,
    labelled: usize,
    agreement: usize,
    difference: f64,
    kl: f64,
    models: [OwnSums; 2],
}

impl Sums {
    fn new(labels: usize) -> Self {
        let own = || OwnSums {
            confidence: 0.0,
            brier: 0.0,
            nll: 0.0,
            right: 0,
            confusion: Confusion::new(labels),
            gaps: [0.0; ECE_BINS],
        };
        let models = [own(), own()];
        Sums { n: 0, labelled: 0, agreement: 0, difference: 0.0, kl: 0.0, models }
    }

    fn add(&mut self, example: &ExampleFigures) {
        let [teacher, student] = &example.models;
        self.n += 1;
        self.labelled += usize::from(example.label.is_some());
        self.agreement += usize::from(teacher.predicted == student.predicted);
        self.difference += example.difference;
        self.kl += example.kl;
        for (sums, own) in self.models.iter_mut().zip(&example.models) {
            sums.confidence += own.confidence;
            if let Some(label) = example.label {
                let right = own.predicted == label;
                sums.brier += own.brier;
                sums.nll += own.nll;
                sums.right += usize::from(right);
                sums.confusion.add(label, own.predicted);
                sums.gaps[ece_bin(own.confidence)] += own.confidence - f64::from(right);
            }
        }
    }

    fn figures(&self) -> FigureValues {
        // Without labelled examples these are 0/0, so NaN.
        let (n, labelled) = (self.n as f64, self.labelled as f64);
        let mut figures = [f64::NAN; 2 * OF_MODEL + 4];
        for (sums, own) in self.models.iter().zip(figures.chunks_exact_mut(OF_MODEL)) {
            own[0] = sums.right as f64 / labelled;
            own[1] = sums.confusion.f1().unwrap_or(f64::NAN);
            own[2] = sums.confusion.matthews_correlation().unwrap_or(f64::NAN);
            own[3] = sums.confidence / n;
            own[4] = sums.brier / labelled;
            own[5] = sums.nll / labelled;
            own[6] = sums.gaps.iter().map(|gap| gap.abs()).sum::<f64>() / labelled;
        }
        let pair = &mut figures[2 * OF_MODEL..];
        let [teacher, student] = &self.models;
        pair[0] = (student.right as f64 - teacher.right as f64) / labelled;
        pair[1] = self.agreement as f64 / n;
        pair[2] = self.difference / n;
        pair[3] = self.kl / n;
        figures
    }
}

#[cfg(test)]
mod tests {
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
            let ModelIntervals { accuracy, f1, matthews_correlation: mcc, mean_confidence, .. } =
                model;
            [accuracy, f1, mcc, mean_confidence, model.brier, model.nll, model.ece]
        };
        let PairIntervals { accuracy_difference, agreement_share, mean_difference, mean_kl } =
            found.pair;
        let pair = [accuracy_difference, agreement_share, mean_difference, mean_kl];
        let found =
            [of(found.teacher).to_vec(), of(found.student).to_vec(), pair.to_vec()].concat();
        for (figure, interval) in found.into_iter().enumerate() {
            let observed = observed[figure].unwrap();
            let mut values: Vec<f64> = resamples.iter().filter_map(|it| it[figure]).collect();
            if [6, 13].contains(&figure) {
                values
                    .iter_mut()
                    .for_each(|value| *value = (2.0 * observed - *value).clamp(0.0, 1.0));
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
}
