//! What stands beside σ in a row of the report.

use super::judge::{interval, Reasons, SplitPair};
use crate::confidence::{
    Interval, Intervals, ModelIntervals, ModelStatistics, PairStatistics, Predictions,
    ReliabilityBin,
};
use crate::report::schema as row;
use crate::task::Metric;

/// What stands beside σ.
pub(super) fn figures(
    pair: &SplitPair,
    metric: Metric,
    numbers: &PairStatistics,
    row: &mut row::TaskRow,
) {
    let mut undefined = Reasons::default();
    let model = |role: &str, model, intervals, truncated, undefined: &mut Reasons| {
        let model = model_row(role, model, metric, truncated, pair, undefined);
        Some(row::ModelRow { intervals: model_intervals(intervals, &model), ..model })
    };
    let (teacher, student) = (&numbers.intervals.teacher, &numbers.intervals.student);
    let (cut_t, cut_s) = pair.truncated;
    row.teacher = model("teacher", &numbers.teacher, teacher, cut_t, &mut undefined);
    row.student = model("student", &numbers.student, student, cut_s, &mut undefined);
    row.agreement = Some(numbers.agreement);
    row.agreement_share = Some(numbers.agreement_share());
    row.negative_flips = undefined.take("negative_flips", numbers.negative_flips);
    row.intervals = Some(pair_intervals(&numbers.intervals));
    row.differences = Some(row::Histogram {
        low: numbers.histogram.low,
        high: numbers.histogram.high,
        counts: numbers.histogram.counts.clone(),
    });
    row.confidences = Some(row::ConfidenceCounts {
        low: numbers.confidences.low,
        counts: numbers.confidences.counts.clone(),
    });
    row.difference = Some(row::Spread {
        mean: numbers.spread.mean,
        median: numbers.spread.median,
        p90: numbers.spread.p90,
        p99: numbers.spread.p99,
        max: numbers.spread.max,
    });
    row.divergence = undefined.take("divergence", numbers.divergence).map(|d| row::Divergence {
        sum_kl: d.sum_kl,
        mean_kl: d.mean_kl,
        sum_cross_entropy: d.sum_cross_entropy,
        mean_cross_entropy: d.mean_cross_entropy,
        mean_total_variation: d.mean_total_variation,
    });
    row.groups = groups(numbers, pair.label_names);
    row.worst = numbers.worst.iter().map(|&i| worst(pair, numbers, i)).collect();
    row.undefined.extend(undefined.0);
}

fn model_row(
    role: &str,
    model: &ModelStatistics,
    metric: Metric,
    truncated: usize,
    pair: &SplitPair,
    undefined: &mut Reasons,
) -> row::ModelRow {
    let field = |name: &str| format!("{role}.{name}");
    let accuracy = undefined.take(&field("accuracy"), model.accuracy);
    if let (None, Some(why)) = (accuracy, &pair.unlabelled) {
        undefined.0.insert(field("accuracy"), why.clone());
    }
    let other = "another task's metric";
    row::ModelRow {
        accuracy,
        correct: undefined.take(&field("correct"), model.correct),
        labelled: model.labelled,
        f1: match metric {
            Metric::AccuracyAndF1 => undefined.take(&field("f1"), model.f1),
            _ => undefined.option(&field("f1"), None, other),
        },
        matthews_correlation: match metric {
            Metric::Matthews => {
                undefined.take(&field("matthews_correlation"), model.matthews_correlation)
            }
            _ => undefined.option(&field("matthews_correlation"), None, other),
        },
        mean_confidence: model.mean_confidence,
        brier: undefined.take(&field("brier"), model.brier),
        nll: undefined.take(&field("nll"), model.nll),
        ece: undefined.take(&field("ece"), model.ece),
        truncated,
        intervals: row::ModelIntervals::default(),
        reliability: model.reliability.iter().flatten().map(reliability_bin).collect(),
    }
}

fn reliability_bin(bin: &ReliabilityBin) -> row::ReliabilityBin {
    let (low, high) = bin.range();
    let (mean_confidence, accuracy) = (bin.mean_confidence(), bin.accuracy());
    row::ReliabilityBin { low, high, n: bin.n, mean_confidence, accuracy }
}

/// The intervals of those figures that the row has.
fn model_intervals(of: &ModelIntervals, model: &row::ModelRow) -> row::ModelIntervals {
    let shown = |of: &Option<Interval>, figure: Option<f64>| {
        of.as_ref().filter(|_| figure.is_some()).map(interval)
    };
    row::ModelIntervals {
        accuracy: shown(&of.accuracy, model.accuracy),
        f1: shown(&of.f1, model.f1),
        matthews_correlation: shown(&of.matthews_correlation, model.matthews_correlation),
        mean_confidence: of.mean_confidence.as_ref().map(interval),
        brier: shown(&of.brier, model.brier),
        nll: shown(&of.nll, model.nll),
        ece: shown(&of.ece, model.ece),
    }
}

fn pair_intervals(of: &Intervals) -> row::PairIntervals {
    row::PairIntervals {
        accuracy_difference: of.accuracy_difference.as_ref().map(interval),
        agreement_share: of.agreement_share.as_ref().map(interval),
        mean_difference: of.mean_difference.as_ref().map(interval),
        mean_kl: of.mean_kl.as_ref().map(interval),
    }
}

fn groups(numbers: &PairStatistics, label_names: &[String]) -> Vec<row::Group> {
    let group = |g: &crate::confidence::Group| {
        Some(row::Group {
            by: g.key.by().to_owned(),
            name: g.key.name(label_names),
            n: g.sums.n(),
            sigma: g.sums.sigma_of(numbers.statistic)?,
            mean_difference: g.sums.mean()?,
        })
    };
    numbers.groups.iter().filter_map(group).collect()
}

fn worst(pair: &SplitPair, numbers: &PairStatistics, i: usize) -> row::WorstInput {
    let says = |p: &Predictions, confidence| row::Prediction {
        predicted: pair.label_name(p.predicted(i)),
        confidence,
        probabilities: p.probabilities(i).map(<[f64]>::to_vec).unwrap_or_default(),
    };
    row::WorstInput {
        index: pair.rows[i] as usize,
        text: pair.text(i).map(|e| e.text.clone()),
        pair: pair.text(i).and_then(|e| e.pair.clone()),
        label: pair.labels[i].map(|id| pair.label_name(id)),
        teacher: says(&pair.teacher, pair.teacher.confidence(i)),
        student: says(&pair.student, pair.student_confidence(numbers.kind, i)),
        difference: numbers.differences[i],
    }
}
