//! What the sample reports are made of.

// A new figure must not change a sample.
#![allow(clippy::needless_update)]

use std::collections::BTreeMap;

use super::super::schema::*;
use crate::confidence::Statistic;

pub(super) fn beside(row: TaskRow) -> TaskRow {
    TaskRow { gates: false, worst: Vec::new(), notes: Vec::new(), ..row }
}

pub(super) fn note(level: NoteLevel, code: &str, message: &str, hint: Option<&str>) -> Note {
    Note { code: code.into(), level, message: message.into(), hint: hint.map(str::to_owned) }
}

fn implied() -> Note {
    let message = "the verdict already follows from the measured loss: κ ≥ sqrt(mean KL / 2)";
    note(NoteLevel::Note, "implied-by-loss", message, None)
}

pub(super) fn prediction(name: &str, confidence: f64) -> Prediction {
    Prediction {
        predicted: name.into(),
        confidence,
        probabilities: vec![1.0 - confidence, confidence],
    }
}

fn worst() -> Vec<WorstInput> {
    let texts = [
        "a gripping film that never lets its audience go, and never lets them forget the price",
        "hardly a masterpiece",
        "it 's slow -- very , very slow",
        "not the great american comedy , but if you liked the previous movies",
        "the sort of film that makes me miss hitchcock",
    ];
    let input = |(rank, text): (usize, &str)| {
        let difference = 0.4512 - 0.01 * rank as f64;
        let student = if rank == 1 { "negative" } else { "positive" };
        WorstInput {
            index: 51_007 / (rank + 1),
            text: Some(text.into()),
            pair: None,
            label: Some("positive".into()),
            teacher: prediction("positive", 0.9812),
            student: prediction(student, 0.9812 - difference),
            difference,
        }
    };
    texts.into_iter().enumerate().map(input).collect()
}

pub(super) fn failed(task: &str, split: &str) -> TaskRow {
    TaskRow {
        verdict: Outcome::Error,
        error: Some(RowError {
            message: "teacher `out/bert` and student `out/tiny` name different labels: \
                      [negative, positive] against [entailment, not_entailment]"
                .into(),
            hint: Some("these look like checkpoints of two tasks; pass --label-map".into()),
        }),
        ..planned(task, split)
    }
}

/// What is known of a row before it is run.
fn planned(task: &str, split: &str) -> TaskRow {
    TaskRow {
        task: task.into(),
        split: split.into(),
        gates: true,
        bound_origin: "default".into(),
        gamma: 1.0,
        data_sha256: Some("9f".repeat(32)),
        data_files: vec!["glue/SST-2/train.tsv".into()],
        device: "cpu".into(),
        seed: 42,
        seconds: Some(41.5),
        ..TaskRow::default()
    }
}

fn model_row(accuracy: f64, n: usize, mean_confidence: f64) -> ModelStatistics {
    ModelStatistics {
        accuracy: Some(accuracy),
        correct: Some((accuracy * n as f64).round() as usize),
        labelled: n,
        f1: None,
        matthews_correlation: None,
        mean_confidence,
        brier: Some(0.0712),
        nll: Some(0.1301),
        ece: Some(0.0123),
        truncated: 0,
        intervals: ModelIntervals {
            accuracy: Some(around(accuracy)),
            mean_confidence: Some(around(mean_confidence)),
            brier: Some(around(0.0712)),
            nll: Some(around(0.1301)),
            ece: Some(around(0.0123)),
            ..ModelIntervals::default()
        },
        reliability: reliability(n),
        ..ModelStatistics::default()
    }
}

/// A model that is a little too sure: the bins of two labels, the last one the fullest.
fn reliability(n: usize) -> Vec<ReliabilityBin> {
    let width = 1.0 / 15.0;
    let bin = |i: usize| {
        let (low, high) = (i as f64 * width, (i + 1) as f64 * width);
        let middle = (low + high) / 2.0;
        let n = if i == 14 { n - n / 10 } else { n / 100 };
        ReliabilityBin { low, high, n, mean_confidence: middle, accuracy: middle - 0.02 }
    };
    (7..15).map(bin).filter(|bin| bin.n > 0).collect()
}

fn around(value: f64) -> Interval {
    Interval { low: value * 0.99, high: value * 1.01, level: 0.95 }
}

/// Differences that are mostly small.
fn differences(n: usize) -> Histogram {
    let mut counts: Vec<usize> =
        (0..100usize).map(|bin| n / (10 + bin.abs_diff(50).pow(3))).collect();
    counts[50] += n - counts.iter().sum::<usize>();
    Histogram { low: -0.5, high: 0.5, counts }
}

/// Confidences that are mostly alike.
fn confidences(n: usize) -> ConfidenceCounts {
    let bins = 20;
    let count = |t: usize, s: usize| n / 40 / (1 + 8 * t.abs_diff(s)) / (bins - t);
    let counts = (0..bins).map(|t| (0..bins).map(|s| count(t, s)).collect()).collect();
    ConfidenceCounts { low: 0.5, counts }
}

fn variants(n: usize, sigma: f64) -> Vec<Variant> {
    use Statistic::{Centred, Published, Rms};
    use VariantConfidence::{FirstLabel, Max, TeacherClass};
    let readings = [
        (Max, Rms, 1.0),
        (Max, Centred, 0.9),
        (TeacherClass, Rms, 1.01),
        (TeacherClass, Centred, 0.95),
        (FirstLabel, Published, 0.8),
    ];
    let (student_wrong, only_teacher_wrong) = (n / 20, n / 100);
    let count = student_wrong + only_teacher_wrong;
    let left_out = LeftOut { count, student_wrong, only_teacher_wrong };
    readings
        .into_iter()
        .map(|(confidence, statistic, factor)| Variant {
            confidence,
            statistic,
            sigma: Some(sigma * factor),
            within_bound: Some(sigma * factor <= 0.05),
            gates: (confidence, statistic) == (Max, Rms),
            examples: (statistic == Published).then_some(n - left_out.count),
            left_out: (statistic == Published).then_some(left_out),
        })
        .collect()
}

fn figures(n: usize, sigma: f64) -> PairFigures {
    let agreement = n - n / 50;
    PairFigures {
        teacher: Some(model_row(0.954, n, 0.9712)),
        student: Some(model_row(0.9478, n, 0.953)),
        agreement: Some(agreement),
        agreement_share: Some(agreement as f64 / n as f64),
        negative_flips: Some(n / 100),
        intervals: Some(PairIntervals {
            accuracy_difference: Some(Interval { low: -0.0081, high: -0.0042, level: 0.95 }),
            agreement_share: Some(around(agreement as f64 / n as f64)),
            mean_difference: Some(around(0.0182)),
            mean_kl: Some(around(2.2 * sigma * sigma)),
        }),
        difference: Some(Spread {
            mean: 0.02,
            median: 0.012,
            p90: 0.0612,
            p99: 0.1711,
            max: 0.4512,
        }),
        differences: Some(differences(n)),
        confidences: Some(confidences(n)),
        divergence: Some(Divergence {
            sum_kl: 2.2 * sigma * sigma * n as f64,
            mean_kl: 2.2 * sigma * sigma,
            sum_cross_entropy: 2.2 * sigma * sigma * n as f64 + 0.12 * n as f64,
            mean_cross_entropy: 2.2 * sigma * sigma + 0.12,
            mean_total_variation: 0.021,
            ..Divergence::default()
        }),
        groups: vec![Group {
            by: "label".into(),
            name: "positive".into(),
            n: n / 2,
            sigma,
            mean_difference: 0.0182,
        }],
        ..PairFigures::default()
    }
}

pub(super) fn row(task: &str, split: &str, n: usize, sigma: f64) -> TaskRow {
    let (budget, spent) = (0.0025 * n as f64, sigma * sigma * n as f64);
    TaskRow {
        labels: vec!["negative".into(), "positive".into()],
        n,
        of: n,
        verdict: if spent <= budget { Outcome::Preserved } else { Outcome::NotPreserved },
        certainty: Some(Certainty::Exact),
        examples_run: n,
        sigma: Some(sigma),
        sigma_centred: Some(sigma * 0.9),
        mean_difference: Some(0.0182),
        variants: variants(n, sigma),
        sigma_interval: Some(Interval { low: sigma * 0.98, high: sigma * 1.02, level: 0.95 }),
        sigma_unseen: (split != "train").then_some(UpperLimit { sigma: sigma * 1.1, level: 0.95 }),
        recalibrated: (split == "train").then(|| RecalibratedSigma {
            temperature: 1.1234,
            fitted_on: "validation".into(),
            at_edge: false,
            sigma: sigma * 0.95,
            within_bound: sigma * 0.95 <= 0.05,
        }),
        kappa: Some(0.05),
        beta: Some(budget),
        beta_per_example: Some(0.0025),
        budget: Some(budget),
        spent: Some(spent),
        spent_share: Some(spent / budget),
        course: vec![CoursePoint { examples: n, spent_share: spent / budget }],
        exhausted_at: (spent > budget).then_some(n),
        figures: figures(n, sigma),
        worst: worst(),
        rows_from_cache: Some(RowsFromCache { teacher: n, student: 0 }),
        notes: if spent <= budget { vec![implied()] } else { Vec::new() },
        ..planned(task, split)
    }
}

pub(super) fn report(tasks: Vec<TaskRow>) -> Report {
    let gating = || tasks.iter().filter(|row| row.gates).map(|row| row.verdict);
    let verdict = gating().max().unwrap_or(Outcome::Error);
    let mut names: Vec<&str> = tasks.iter().map(|row| row.task.as_str()).collect();
    names.dedup();
    let command = |task: &&str| TaskCommand {
        task: (*task).to_owned(),
        command: format!("audit --task {task} --teacher models/teacher --student 'a student'"),
    };
    let commands = names.iter().map(command).collect();
    let models = names.iter().flat_map(|task| [model(task, "teacher"), model(task, "student")]);
    Report {
        schema_version: SCHEMA_VERSION,
        verdict,
        exit_code: match verdict {
            Outcome::Preserved => 0,
            Outcome::NotPreserved => 1,
            Outcome::Error => 3,
        },
        manifest: Manifest {
            program: "confidence-audit".into(),
            version: "0.1.0".into(),
            platform: "linux x86_64".into(),
            conventions: BTreeMap::from([("sigma".into(), "root mean square about zero".into())]),
            device: Some("cpu".into()),
            dtype: "f32".into(),
            arithmetic: Some("1-00ff".into()),
            seed: Some(42),
            config_sha256: "ab".repeat(32),
            models: models.collect(),
            commands,
        },
        tasks,
    }
}

fn model(task: &str, role: &str) -> ModelManifest {
    ModelManifest {
        task: task.into(),
        role: role.into(),
        source: format!("models/{task}/{role}"),
        revision: None,
        architecture: Some("bert".into()),
        head: Some("pooled".into()),
        runtime: None,
        stored_dtype: Some("f16".into()),
        parameters: Some(66_955_010),
        max_length: Some(128),
        max_length_from: Some(LengthLimit::Setting),
        inputs: Some(vec!["input_ids".to_owned(), "attention_mask".to_owned()]),
        labels: vec!["negative".into(), "positive".into()],
        label_map: vec![0, 1],
        weights_sha256: "cd".repeat(32),
        tokenizer_sha256: Some("ef".repeat(32)),
        config_sha256: Some("01".repeat(32)),
    }
}
