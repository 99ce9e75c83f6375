//! A tune of three trials, for tests.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use super::*;
use crate::check::NonInferiority;
use crate::report::samples;

fn values(rate: f64, epochs: u64) -> BTreeMap<String, Value> {
    BTreeMap::from([
        ("stage.prediction.learning_rate".to_owned(), json!(rate)),
        ("stage.prediction.max_epochs".to_owned(), json!(epochs)),
    ])
}

fn figures(sigma: f64, accuracy: f64) -> Figures {
    Figures {
        sigma,
        preserved: Some(sigma <= 0.05),
        accuracy,
        temperature: Some(1.12),
        recalibrated_sigma: Some(0.9 * sigma),
        recalibrated_preserved: Some(0.9 * sigma <= 0.05),
        train_accuracy: Some(0.93),
        epochs: Some(13),
        cost: Some(39),
        parameters: Some(17_000_000),
        accuracy_test: Some(accuracy_test()),
    }
}

fn accuracy_test() -> AccuracyTest {
    AccuracyTest {
        difference: 0.004,
        lower: -0.021,
        upper: 0.029,
        level: 0.05,
        outcome: NonInferiority::Undecided,
    }
}

fn finalist(trial: usize, values: BTreeMap<String, Value>, sigma: f64) -> Finalist {
    let seeded = |seed: u64| Seeded {
        seed,
        error: None,
        figures: Some(FinalFigures {
            sigma,
            preserved: sigma <= 0.05,
            temperature: None,
            seen_correct: 160,
            seen_accuracy: 160.0 / 204.0,
            seen_test: Some(accuracy_test()),
            seen_sigma: 0.12,
            unseen_correct: 162,
            unseen_accuracy: 162.0 / 204.0,
            unseen_test: Some(accuracy_test()),
            unseen_sigma: 0.13,
        }),
    };
    let mean = Means {
        seeds: 2,
        preserved: if sigma <= 0.05 { 2 } else { 0 },
        sigma,
        seen_accuracy: 160.0 / 204.0,
        unseen_accuracy: 162.0 / 204.0,
        unseen_sigma: 0.13,
    };
    let seeds = vec![seeded(0), seeded(1)];
    Finalist {
        trial,
        values,
        recalibrated: false,
        seeds,
        mean: Some(mean),
        why: None,
        untrained_seeds: Vec::new(),
    }
}

/// A default that fails, a winner, and a trial that was given up.
pub fn tuning() -> Tuning {
    let finished = |trial: usize, rate: f64, sigma: f64, accuracy: f64| Trial {
        trial,
        values: values(rate, 3 * trial as u64),
        outcome: "finished".to_owned(),
        why: None,
        figures: Some(figures(sigma, accuracy)),
        feasible: sigma <= 0.05,
        violation: Some(((sigma - 0.05) / 0.05).max(0.0)),
        pareto: sigma <= 0.05,
    };
    let stopped = Trial {
        outcome: "stopped".to_owned(),
        why: Some("at 25 % of its epochs σ is above 0.1".to_owned()),
        figures: Some(Figures::watched(0.15, 0.7)),
        feasible: false,
        violation: None,
        pareto: false,
        ..finished(3, 1e-5, 0.15, 0.7)
    };
    Tuning {
        schema_version: TUNING_VERSION,
        verdict: Outcome::Preserved,
        exit_code: 0,
        task: "mrpc".to_owned(),
        statistic: "rms".to_owned(),
        confidence: "max".to_owned(),
        kappa: 0.05,
        bound_origin: "default".to_owned(),
        n: 3668,
        reference: "default".to_owned(),
        reference_accuracy: 0.7843,
        reference_seeds: vec![0, 1],
        epsilon: 0.01,
        non_inferiority: None,
        objective: "accuracy".to_owned(),
        search: "tpe".to_owned(),
        seed: 0,
        seen: 204,
        unseen: 204,
        teacher_accuracy: [0.83, 0.81],
        trials: vec![
            finished(1, 3e-5, 0.1277, 0.7843),
            finished(2, 2e-4, 0.0421, 160.0 / 204.0),
            stopped,
        ],
        violation_units: Some(ViolationUnits {
            sigma: 0.05,
            sigma_is_spread: false,
            accuracy: 0.0288,
            accuracy_is_spread: false,
        }),
        warm_start: None,
        epochs: vec![
            TrainedEpoch {
                trial: 2,
                stage: "intermediate".to_owned(),
                epoch: 1,
                losses: BTreeMap::from([("hidden".to_owned(), 1.5)]),
                ..TrainedEpoch::default()
            },
            TrainedEpoch {
                trial: 2,
                stage: "prediction".to_owned(),
                epoch: 1,
                kept: true,
                accuracy: Some(0.75),
                sample_sigma: Some(0.0625),
                losses: BTreeMap::from([("soft".to_owned(), 0.25)]),
                ..TrainedEpoch::default()
            },
        ],
        running: None,
        audited: Audited { sigma: 0.0421, preserved: true },
        default: finalist(1, values(3e-5, 3), 0.1277),
        winner: finalist(2, values(2e-4, 6), 0.0421),
        confirmed: Some(true),
        confirm: Some(3),
        finalists: vec![finalist(2, values(2e-4, 6), 0.0421)],
        obstacle: None,
        importance: vec![
            Importance {
                key: "stage.prediction.learning_rate".to_owned(),
                of_sigma: 0.81,
                of_accuracy: 0.2,
            },
            Importance {
                key: "stage.prediction.max_epochs".to_owned(),
                of_sigma: 0.14,
                of_accuracy: 0.1,
            },
        ],
        notes: Vec::new(),
        manifest: samples::preserved().manifest,
    }
}
