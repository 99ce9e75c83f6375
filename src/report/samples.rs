//! Reports for the formats' tests. The SST-2 and MRPC figures are those of docs/theory.md; the
//! rest is made up around them and consistent with them.

use std::collections::BTreeMap;

use super::csv::{PredictionRow, PredictionTable};
use super::schema::*;

/// A student distilled on logits: preserved on train, not on validation.
pub fn preserved() -> Report {
    report(vec![
        row("sst2", "train", 67_349, 0.0446),
        beside(row("sst2", "validation", 872, 0.101)),
    ])
}

/// A student trained on the labels alone: not preserved on either split.
pub fn not_preserved() -> Report {
    let mut train = row("sst2", "train", 67_349, 0.0802);
    train.notes.push(note(
        NoteLevel::Warning,
        "mean-for-sum",
        "`--beta 0.1` is below ln 2 with 67,349 examples: it looks like a mean, and β is a sum",
        Some("pass the mean as `--beta-per-example 0.1`"),
    ));
    report(vec![train, beside(row("sst2", "validation", 872, 0.1304))])
}

/// The first 500 examples only.
pub fn partial() -> Report {
    let mut train = row("sst2", "train", 500, 0.0446);
    (train.of, train.partial) = (67_349, true);
    report(vec![train])
}

/// A run that ended once the budget was spent.
pub fn failed_fast() -> Report {
    let mut train = row("sst2", "train", 67_349, 0.0802);
    train.examples_run = 26_112;
    train.exhausted_at = Some(26_027);
    ended_early(&mut train, 0.0816, 0.0508);
    report(vec![train])
}

/// A run that ended with a verdict of the sequential test.
pub fn statistical() -> Report {
    let mut train = row("sst2", "train", 67_349, 0.0446);
    train.examples_run = 7_872;
    train.certainty = Some(Certainty::Statistical);
    let sigma_interval = Interval { low: 0.0391, high: 0.0501, level: 0.999 };
    train.sequential =
        Some(Sequential { delta: 0.001, draws: 7_872, seed: 0x1234_5678, sigma_interval });
    ended_early(&mut train, 0.0441, 0.0151);
    report(vec![train])
}

fn ended_early(row: &mut TaskRow, prefix: f64, at_least: f64) {
    (row.sigma, row.sigma_centred, row.sigma_interval) = (None, None, None);
    (row.sigma_unseen, row.recalibrated) = (None, None);
    (row.sigma_prefix, row.sigma_at_least) = (Some(prefix), Some(at_least));
    let spent = at_least * at_least * row.n as f64;
    (row.spent, row.spent_share) = (Some(spent), row.budget.map(|budget| spent / budget));
    for variant in &mut row.variants {
        variant.sigma = None;
        variant.within_bound = variant.within_bound.filter(|within| !within);
    }
    for field in ["sigma", "sigma_centred", "sigma_interval", "variants"] {
        let why = "the run ended with a verdict before the last example";
        row.undefined.insert(field.to_owned(), why.to_owned());
    }
}

/// A row that failed before any number was known.
pub fn could_not_run() -> Report {
    report(vec![failed("rte", "train")])
}

/// Three tasks, one of each outcome.
pub fn suite() -> Report {
    let mut mrpc = row("mrpc", "train", 3_668, 0.146);
    for (model, f1) in [(&mut mrpc.teacher, 0.9652), (&mut mrpc.student, 0.9147)] {
        model.as_mut().unwrap().f1 = Some(f1);
    }
    report(vec![
        row("sst2", "train", 67_349, 0.0446),
        beside(row("sst2", "validation", 872, 0.101)),
        mrpc,
        failed("rte", "train"),
    ])
}

/// Text without labels: σ is defined, accuracy is not.
pub fn unlabelled() -> Report {
    let mut test = row("logs", "test", 1_000, 0.0446);
    for model in [&mut test.teacher, &mut test.student] {
        let model = model.as_mut().unwrap();
        (model.accuracy, model.correct, model.labelled) = (None, None, 0);
        (model.brier, model.nll, model.ece) = (None, None, None);
        (model.intervals, model.reliability) = Default::default();
    }
    test.negative_flips = None;
    let reason = "no example of this split has a label";
    for field in ["teacher.accuracy", "student.accuracy", "negative_flips"] {
        test.undefined.insert(field.into(), reason.into());
    }
    for input in &mut test.worst {
        input.label = None;
    }
    report(vec![test])
}

/// What data may contain that a format must not pass on.
pub const HOSTILE: [&str; 9] = [
    "<script>alert(1)</script>",
    "a | b ` c * d [x](http://evil.example) @octocat #1 ~~x~~ $y$",
    "::error::owned\r\n::set-output name=x::y",
    "\u{202e}right to left\u{202c} שלום עולם",
    "👩\u{200d}🔬🙂🇩🇪 日本語",
    "\x1b[2J\x1b]0;owned\x07\x00\u{9b}31m\u{fffe}",
    "]]> &amp; \" ' </details> <!-- ",
    "##vso[task.setvariable variable=a]b ##[error]c",
    "=1+1,\"quoted\"\nsecond line",
];

/// Every user-supplied text is hostile, one of them 10,000 characters long.
pub fn hostile() -> Report {
    let all = HOSTILE.join(" ");
    let long: String = "<b>|`@x ".chars().cycle().take(10_000).collect();
    let mut bad = row(&all, &all, 9, 0.0802);
    let texts = HOSTILE.iter().map(|text| (*text).to_owned()).chain([long]);
    bad.worst = texts
        .enumerate()
        .map(|(index, text)| WorstInput {
            index,
            pair: Some(text.clone()),
            label: Some(text.clone()),
            teacher: prediction(&text, 0.9),
            student: prediction(&text, 0.6),
            text: Some(text),
            difference: 0.3,
        })
        .collect();
    bad.worst.reverse();
    bad.bound_origin = all.clone();
    bad.labels = vec![all.clone(), "b".into()];
    bad.groups[0].name = all.clone();
    bad.skipped = Skipped { count: 2, first: vec![all.clone()] };
    bad.notes = vec![note(NoteLevel::Warning, &all, &all, Some(&all))];
    bad.undefined.insert("f1".into(), all.clone());
    let mut failed = failed("rte", "train");
    failed.error = Some(RowError { message: all.clone(), hint: Some(all.clone()) });
    let mut report = report(vec![bad, failed]);
    for model in &mut report.manifest.models {
        model.source = all.clone();
    }
    report.manifest.commands = vec![TaskCommand { task: all.clone(), command: all.clone() }];
    report.manifest.conventions.insert(all.clone(), all);
    report
}

/// One of each, for tests that hold for every report.
pub fn all() -> Vec<(&'static str, Report)> {
    vec![
        ("preserved", preserved()),
        ("not_preserved", not_preserved()),
        ("partial", partial()),
        ("failed_fast", failed_fast()),
        ("statistical", statistical()),
        ("could_not_run", could_not_run()),
        ("suite", suite()),
        ("unlabelled", unlabelled()),
        ("hostile", hostile()),
    ]
}

/// Predictions of three examples, the last without a label.
pub fn predictions() -> PredictionTable {
    let row = |index, label, teacher: f64, student: f64| PredictionRow {
        index,
        label,
        teacher_confidence: teacher,
        student_confidence: student,
        teacher_predicted: 1,
        student_predicted: 0,
        difference: teacher - student,
    };
    PredictionTable {
        task: "sst2".into(),
        split: "train".into(),
        label_names: vec!["negative".into(), "positive".into()],
        rows: vec![
            row(0, Some(1), 0.9, 0.8),
            row(1, Some(0), 1.0 / 3.0, 0.5),
            row(2, None, 1.0, 0.5),
        ],
    }
}

fn beside(row: TaskRow) -> TaskRow {
    TaskRow { gates: false, worst: Vec::new(), notes: Vec::new(), ..row }
}

fn note(level: NoteLevel, code: &str, message: &str, hint: Option<&str>) -> Note {
    Note { code: code.into(), level, message: message.into(), hint: hint.map(str::to_owned) }
}

fn implied() -> Note {
    let message = "the verdict already follows from the measured loss: κ ≥ sqrt(mean KL / 2)";
    note(NoteLevel::Note, "implied-by-loss", message, None)
}

fn prediction(name: &str, confidence: f64) -> Prediction {
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

fn failed(task: &str, split: &str) -> TaskRow {
    TaskRow {
        verdict: Outcome::Error,
        error: Some(RowError {
            message: "teacher `out/bert` and student `out/tiny` name different labels: \
                      [negative, positive] against [entailment, not_entailment]"
                .into(),
            hint: Some("these look like checkpoints of two tasks; pass --label-map".into()),
        }),
        labels: Vec::new(),
        n: 0,
        of: 0,
        examples_run: 0,
        certainty: None,
        groups: Vec::new(),
        sigma: None,
        sigma_centred: None,
        mean_difference: None,
        variants: Vec::new(),
        sigma_interval: None,
        sigma_unseen: None,
        recalibrated: None,
        kappa: None,
        beta: None,
        beta_per_example: None,
        budget: None,
        spent: None,
        spent_share: None,
        course: Vec::new(),
        exhausted_at: None,
        teacher: None,
        student: None,
        agreement: None,
        agreement_share: None,
        negative_flips: None,
        intervals: None,
        difference: None,
        differences: None,
        confidences: None,
        divergence: None,
        worst: Vec::new(),
        notes: Vec::new(),
        ..row(task, split, 1, 0.0446)
    }
}

fn model_row(accuracy: f64, n: usize, mean_confidence: f64) -> ModelRow {
    ModelRow {
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

fn variants(sigma: f64) -> Vec<Variant> {
    let readings = [("max", "rms", 1.0), ("max", "centred", 0.9), ("teacher-class", "rms", 1.01)];
    readings
        .into_iter()
        .chain([("teacher-class", "centred", 0.95)])
        .map(|(confidence, statistic, factor)| Variant {
            confidence: confidence.into(),
            statistic: statistic.into(),
            sigma: Some(sigma * factor),
            within_bound: Some(sigma * factor <= 0.05),
            gates: (confidence, statistic) == ("max", "rms"),
        })
        .collect()
}

fn row(task: &str, split: &str, n: usize, sigma: f64) -> TaskRow {
    let (budget, spent) = (0.0025 * n as f64, sigma * sigma * n as f64);
    let agreement = n - n / 50;
    TaskRow {
        task: task.into(),
        split: split.into(),
        gates: true,
        labels: vec!["negative".into(), "positive".into()],
        n,
        of: n,
        partial: false,
        verdict: if spent <= budget { Outcome::Preserved } else { Outcome::NotPreserved },
        certainty: Some(Certainty::Exact),
        examples_run: n,
        error: None,
        statistic: "rms".into(),
        confidence: "max".into(),
        sigma: Some(sigma),
        sigma_prefix: None,
        sigma_at_least: None,
        sequential: None,
        sigma_centred: Some(sigma * 0.9),
        mean_difference: Some(0.0182),
        variants: variants(sigma),
        sigma_interval: Some(Interval { low: sigma * 0.98, high: sigma * 1.02, level: 0.95 }),
        sigma_unseen: (split != "train").then_some(UpperLimit { sigma: sigma * 1.1, level: 0.95 }),
        recalibrated: (split == "train").then(|| Recalibrated {
            temperature: 1.1234,
            fitted_on: "validation".into(),
            at_edge: false,
            sigma: sigma * 0.95,
            within_bound: sigma * 0.95 <= 0.05,
        }),
        kappa: Some(0.05),
        beta: Some(budget),
        beta_per_example: Some(0.0025),
        alpha: 0.0,
        gamma: 1.0,
        bound_origin: "default".into(),
        budget: Some(budget),
        spent: Some(spent),
        spent_share: Some(spent / budget),
        course: vec![CoursePoint { examples: n, spent_share: spent / budget }],
        exhausted_at: (spent > budget).then_some(n),
        student_bound: None,
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
            sum_kl: 2.2 * spent,
            mean_kl: 2.2 * sigma * sigma,
            sum_cross_entropy: 2.2 * spent + 0.12 * n as f64,
            mean_cross_entropy: 2.2 * sigma * sigma + 0.12,
            mean_total_variation: 0.021,
        }),
        groups: vec![Group {
            by: "label".into(),
            name: "positive".into(),
            n: n / 2,
            sigma,
            mean_difference: 0.0182,
        }],
        worst: worst(),
        notes: if spent <= budget { vec![implied()] } else { Vec::new() },
        skipped: Skipped::default(),
        undefined: BTreeMap::new(),
        data_sha256: Some("9f".repeat(32)),
        data_files: vec!["glue/SST-2/train.tsv".into()],
        data_revision: None,
        device: "cpu".into(),
        seed: 42,
        seconds: Some(41.5),
    }
}

fn report(tasks: Vec<TaskRow>) -> Report {
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
        stored_dtype: Some("f16".into()),
        parameters: Some(66_955_010),
        max_length: Some(128),
        labels: vec!["negative".into(), "positive".into()],
        label_map: vec![0, 1],
        weights_sha256: "cd".repeat(32),
        tokenizer_sha256: Some("ef".repeat(32)),
        config_sha256: Some("01".repeat(32)),
    }
}
