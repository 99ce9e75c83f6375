//! Reports for the formats' tests. The SST-2 and MRPC figures are those of docs/theory.md; the
//! rest is made up around them and consistent with them.

mod parts;

use super::csv::{PredictionRow, PredictionTable};
use super::schema::*;
use parts::{beside, failed, note, prediction, report, row};

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
    for (model, f1) in [(&mut mrpc.figures.teacher, 0.9652), (&mut mrpc.figures.student, 0.9147)] {
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
    for model in [&mut test.figures.teacher, &mut test.figures.student] {
        let model = model.as_mut().unwrap();
        (model.accuracy, model.correct, model.labelled) = (None, None, 0);
        (model.brier, model.nll, model.ece) = (None, None, None);
        (model.intervals, model.reliability) = Default::default();
    }
    test.figures.negative_flips = None;
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
    bad.figures.groups[0].name = all.clone();
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
