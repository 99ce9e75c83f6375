//! One temperature for the student: the τ > 0 that brings its confidence nearest to its teacher's.
//!
//! τ* minimises what the gate compares, by default Σ (C_T(x) − max softmax(z_S(x)/τ))². The curve can
//! have several minima, so a grid is searched and each of its dips refined. Every value of the curve is
//! an exact, order-free sum, so τ depends on neither the order of the examples nor the threads.

use crate::confidence::{
    ConfidenceKind, Defined, DifferenceSums, FixedSum, Predictions, PublishedDifferences,
    Statistic, MAX_EXAMPLES,
};
use crate::inference::Logits;

/// The largest temperature that is tried; its inverse is the smallest.
pub const LARGEST_TEMPERATURE: f64 = 20.0;
/// The smallest temperature that is tried.
pub const SMALLEST_TEMPERATURE: f64 = 1.0 / LARGEST_TEMPERATURE;
/// Cells of the grid on either side of τ = 1: each is 2.5 % wide, much narrower than the dips of a
/// sum over many examples, whose softmax changes over factors of e.
const CELLS: usize = 120;
/// Width of ln τ at which the refinement ends: below it the rounding of f64 decides.
const TOLERANCE: f64 = 1e-9;
/// Examples that are worth a thread of their own.
const EXAMPLES_PER_THREAD: usize = 4096;

/// The teacher's confidences and the student's scores, as the curve over τ needs them.
#[derive(Debug, Clone)]
pub struct Scores {
    /// The teacher's probability that is compared (N).
    teacher: Vec<f64>,
    /// z_k − max z, at most 0 and rising within each row (N, K).
    gaps: Vec<f64>,
    /// The gap of the label whose probability is compared (N).
    compared: Vec<f64>,
    labels: usize,
    threads: usize,
}

impl Scores {
    /// The scores of `student` (N, K) against the confidences of `teacher` (N); `threads` changes
    /// the speed, never the result.
    ///
    /// For [`ConfidenceKind::Max`] the student's largest probability is compared, and for
    /// [`ConfidenceKind::TeacherClass`] its probability of the label that the teacher predicts.
    ///
    /// # Panics
    ///
    /// Where the two are of different sizes, or a logit is NaN.
    pub fn new(
        teacher: &Predictions,
        student: &Logits,
        kind: ConfidenceKind,
        threads: usize,
    ) -> Self {
        let (n, labels) = (teacher.len(), student.labels);
        assert_eq!((student.values.len(), labels), (n * labels, teacher.labels()));
        assert!(n < MAX_EXAMPLES);
        let mut scores = Self::with_capacity(n, labels, threads);
        for i in 0..n {
            let label = match kind {
                ConfidenceKind::Max => None,
                ConfidenceKind::TeacherClass => Some(teacher.predicted(i) as usize),
            };
            scores.push(teacher.confidence(i), student.row(i), label);
        }
        scores
    }

    /// The scores that `statistic` is over: those of [`Scores::new`], or of the published statistic,
    /// for which the true `labels` (N) count.
    ///
    /// Undefined as [`PublishedDifferences::new`] is.
    ///
    /// # Panics
    ///
    /// Where the sizes differ, or a logit is not finite.
    pub fn of_statistic(
        teacher: &Predictions,
        student: &Logits,
        labels: &[Option<u32>],
        (kind, statistic): (ConfidenceKind, Statistic),
        threads: usize,
    ) -> Defined<Self> {
        if statistic != Statistic::Published {
            return Ok(Self::new(teacher, student, kind, threads));
        }
        let predictions = Predictions::from_logits(&student.values, student.labels)
            .expect("finite logits of the teacher's size");
        // No temperature changes a prediction, so the inputs are the same for all.
        let rows = PublishedDifferences::new(teacher, &predictions, labels)?.rows;
        let mut scores = Self::with_capacity(rows.len(), student.labels, threads);
        for i in rows {
            let of_teacher = teacher.probabilities(i).expect("a teacher that was run");
            scores.push(of_teacher[0], student.row(i), Some(0));
        }
        Ok(scores)
    }

    fn with_capacity(n: usize, labels: usize, threads: usize) -> Self {
        Scores {
            teacher: Vec::with_capacity(n),
            gaps: Vec::with_capacity(n * labels),
            compared: Vec::with_capacity(n),
            labels,
            threads: threads.max(1),
        }
    }

    /// Adds an example: the student's probability of `label`, or its largest, is compared with
    /// `teacher`.
    fn push(&mut self, teacher: f64, row: &[f32], label: Option<usize>) {
        let largest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let start = self.gaps.len();
        self.teacher.push(teacher);
        self.compared.push(label.map_or(0.0, |label| f64::from(row[label]) - largest));
        self.gaps.extend(row.iter().map(|&z| f64::from(z) - largest));
        self.gaps[start..].sort_unstable_by(f64::total_cmp);
    }

    /// The number of examples that are compared, at least 1.
    pub fn examples(&self) -> usize {
        self.teacher.len()
    }

    /// The sums over d(x) with the student's logits divided by `temperature` > 0. At 1 they are
    /// those of the audit, to the last bit.
    pub fn at(&self, temperature: f64) -> DifferenceSums {
        let n = self.teacher.len();
        let parts = self.threads.min(n.div_ceil(EXAMPLES_PER_THREAD)).max(1);
        if parts == 1 {
            return self.part(0, n, temperature);
        }
        let size = n.div_ceil(parts);
        let mut sums = DifferenceSums::default();
        std::thread::scope(|scope| {
            let starts = (0..n).step_by(size);
            let part =
                |start| scope.spawn(move || self.part(start, n.min(start + size), temperature));
            let parts: Vec<_> = starts.map(part).collect();
            for part in parts {
                sums.merge(&part.join().expect("finite scores have finite confidences"));
            }
        });
        sums
    }

    fn part(&self, start: usize, end: usize, temperature: f64) -> DifferenceSums {
        let mut sums = DifferenceSums::default();
        for i in start..end {
            let row = &self.gaps[i * self.labels..][..self.labels];
            let sum: f64 = row.iter().map(|gap| (gap / temperature).exp()).sum();
            sums.add(self.teacher[i] - (self.compared[i] / temperature).exp() / sum);
        }
        sums
    }
}

/// The temperature that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// τ*, in [[`SMALLEST_TEMPERATURE`], [`LARGEST_TEMPERATURE`]]. Above 1 for a student that is
    /// too sure.
    pub temperature: f64,
    /// The sums over d(x) at τ*.
    pub sums: DifferenceSums,
    /// Whether τ* is an end of the grid: a better one may lie beyond.
    pub at_edge: bool,
}

/// The temperature at which `statistic` spends least of the budget; of several, the one nearest to
/// 1. Never worse than τ = 1, which is on the grid.
pub fn fit(scores: &Scores, statistic: Statistic) -> Fit {
    let spent = |temperature: f64| scores.at(temperature).spent(statistic);
    // Symmetrical about τ = 1, so that "no change" is tried exactly.
    let point = |i: usize| LARGEST_TEMPERATURE.powf(i as f64 / CELLS as f64 - 1.0);
    let last = 2 * CELLS;
    let curve: Vec<FixedSum> = (0..=last).map(|i| spent(point(i))).collect();
    let on_grid = (0..=last).map(|i| (curve[i], point(i)));
    // Two dips may be so nearly as deep that the grid cannot tell which is the deeper.
    let refined = dips(&curve).map(|i| {
        let (left, right) = (point(i.saturating_sub(1)), point((i + 1).min(last)));
        let temperature = golden_section(left.ln(), right.ln(), |x| spent(x.exp())).exp();
        (spent(temperature), temperature)
    });
    let far = |temperature: f64| temperature.ln().abs();
    let better = |a: &(FixedSum, f64), b: &(FixedSum, f64)| {
        a.0.cmp(&b.0).then(far(a.1).total_cmp(&far(b.1)))
    };
    let best = on_grid.chain(refined).min_by(better);
    let (_, temperature) = best.expect("the grid is not empty");
    let at_edge = temperature == point(0) || temperature == point(last);
    Fit { temperature, sums: scores.at(temperature), at_edge }
}

/// The points of the curve that no neighbour undercuts, those amid a level stretch apart.
fn dips(curve: &[FixedSum]) -> impl Iterator<Item = usize> + '_ {
    (0..curve.len()).filter(|&i| {
        let beside = [i.checked_sub(1), Some(i + 1)];
        let mut beside = beside.into_iter().flatten().filter_map(|j| curve.get(j));
        beside.clone().all(|other| curve[i] <= *other) && beside.any(|other| curve[i] < *other)
    })
}

/// A minimum of `f` in [`left`, `right`], within [`TOLERANCE`]; of a curve with one dip, its bottom.
fn golden_section(mut left: f64, mut right: f64, f: impl Fn(f64) -> FixedSum) -> f64 {
    let share = (5f64.sqrt() - 1.0) / 2.0; // of the interval that each step keeps
    let mut low = right - share * (right - left);
    let mut high = left + share * (right - left);
    let (mut at_low, mut at_high) = (f(low), f(high));
    while right - left > TOLERANCE {
        if at_low <= at_high {
            (right, high, at_high) = (high, low, at_low);
            low = right - share * (right - left);
            at_low = f(low);
        } else {
            (left, low, at_low) = (low, high, at_high);
            high = left + share * (right - left);
            at_high = f(high);
        }
    }
    (left + right) / 2.0
}

/// How many predictions move when the logits (N, K) are divided by `temperature`: the argmax before
/// against the argmax after, the lowest id on ties. None, for any temperature of the grid: the
/// quotients of two different f32 are different in f64.
pub fn moved(logits: &Logits, temperature: f64) -> usize {
    let argmax = |row: &[f32], of: &dyn Fn(f32) -> f64| {
        (1..row.len()).fold(0, |best, k| if of(row[k]) > of(row[best]) { k } else { best })
    };
    let moves = |row: &&[f32]| {
        argmax(row, &|z| f64::from(z)) != argmax(row, &|z| f64::from(z) / temperature)
    };
    logits.values.chunks_exact(logits.labels).filter(moves).count()
}

#[cfg(test)]
mod tests;
