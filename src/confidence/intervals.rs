//! Bootstrap intervals of the figures other than σ.

#[cfg(test)]
mod tests;

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
