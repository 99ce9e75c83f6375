use proptest::prelude::*;

use super::super::display::columns;
use super::super::schema::Sequential;
use super::super::{samples, RenderOptions};
use super::*;
use ComparisonVerdict::{NoRegression, NotComparable, Regression};

const NONE: Limits = Limits { max_sigma_increase: None, max_accuracy_drop: None };

fn limits(sigma: f64, accuracy: f64) -> Limits {
    Limits { max_sigma_increase: Some(sigma), max_accuracy_drop: Some(accuracy) }
}

fn against(old: &Report, new: &Report, limits: Limits) -> Comparison {
    compare(("old.json", old), ("new.json", new), limits)
}

/// A report of one row with that σ and that accuracy of its student, preserved.
fn one(sigma: f64, accuracy: f64) -> Report {
    let mut report = samples::preserved();
    report.tasks.truncate(1);
    report.tasks[0].sigma = Some(sigma);
    report.tasks[0].figures.student.as_mut().unwrap().accuracy = Some(accuracy);
    report
}

fn text(comparison: &Comparison) -> String {
    document(comparison).text(&RenderOptions::default())
}

/// By how much a figure moved.
fn change(row: &ComparedRow, key: &str) -> Option<f64> {
    let (_, moved) = row.figures.0.iter().find(|(name, _)| name == key).unwrap();
    serde_json::to_value(moved).unwrap()["change"].as_f64()
}

#[test]
fn a_move_by_exactly_the_limit_is_within_it() {
    // 0.7 + 0.1 and 0.3 − 0.1 are a little less than 0.8 and a little more than 0.2 in f64.
    for (old, new, limit) in [(0.05, 0.06, 0.01), (0.7, 0.8, 0.1), (0.2, 0.3, 0.1), (0.1, 0.1, 0.0)]
    {
        for (beyond, verdict) in [(0.0, NoRegression), (1e-9, Regression)] {
            let (sigma, accuracy) = (limits(limit, 0.5), limits(0.5, limit));
            let found = judged(&one(old, 0.9), &one(new + beyond, 0.9), sigma).0;
            assert_eq!(found, verdict, "σ from {old} to {new}");
            let found = judged(&one(0.1, new + beyond), &one(0.1, old), accuracy).0;
            assert_eq!(found, verdict, "accuracy from {new} to {old}");
        }
    }
    let why =
        "σ rose by 0.0250, from 0.0200 to 0.0450; it may rise by 0.01; the student's accuracy \
               fell by 0.0200, from 0.9500 to 0.9300; it may fall by 0.005";
    let found = judged(&one(0.02, 0.95), &one(0.045, 0.93), limits(0.01, 0.005));
    assert_eq!(found, (Regression, why.to_owned()));
}

/// The verdict, with which the exit code agrees, and the reasons of the first row.
fn judged(old: &Report, new: &Report, limits: Limits) -> (ComparisonVerdict, String) {
    let found = against(old, new, limits);
    let code = match found.verdict {
        NoRegression => 0,
        Regression => 1,
        NotComparable => 3,
    };
    assert_eq!(found.exit_code, code);
    (found.verdict, found.rows[0].reasons.join("; "))
}

const TURNED: &str = "the verdict turned from preserved to not preserved";

#[test]
fn without_limits_only_a_verdict_that_turned_is_a_regression() {
    let (good, bad) = (samples::preserved(), samples::not_preserved());
    assert_eq!(judged(&good, &bad, NONE), (Regression, TURNED.to_owned()));
    // The row beside the gate was not preserved before either, and does not count.
    let beside = &against(&good, &bad, NONE).rows[1];
    assert_eq!((beside.verdict, beside.gates), (None, false));
    let mut worse_beside = good.clone();
    worse_beside.tasks[1].sigma = Some(0.4);
    let none_at_all = limits(0.0, 0.0);
    for (old, new, limits) in
        [(&bad, &good, NONE), (&bad, &bad, none_at_all), (&good, &worse_beside, none_at_all)]
    {
        assert_eq!(judged(old, new, limits).0, NoRegression);
    }
}

#[test]
fn a_raised_bound_hides_no_verdict_that_turned() {
    let with_kappa = |sigma: f64, kappa: f64| {
        let mut report = one(sigma, 0.9);
        report.tasks[0].kappa = Some(kappa);
        report
    };
    let (old, raised) = (with_kappa(0.0146, 0.05), with_kappa(0.4, 0.5));
    let why = "σ is 0.4000, above the old report's κ of 0.0500: it passes only since κ was raised \
               to 0.5000";
    assert_eq!(judged(&old, &raised, NONE), (Regression, why.to_owned()));
    // At the old bound, below it, and above it by less than four decimals show.
    for (sigma, verdict) in [(0.05, NoRegression), (0.02, NoRegression), (0.0500004, Regression)] {
        assert_eq!(judged(&old, &with_kappa(sigma, 0.5), NONE).0, verdict, "{sigma}");
    }
    // Not within its own bound before, or above the new one too: the verdicts say it.
    let failing = |report: &Report| {
        let mut report = report.clone();
        report.tasks[0].verdict = Outcome::NotPreserved;
        report
    };
    assert_eq!(judged(&failing(&old), &raised, NONE).0, NoRegression);
    assert_eq!(judged(&old, &failing(&raised), NONE), (Regression, TURNED.to_owned()));
    // Of a run that ended early, σ is between what was spent and the interval's end, 0.0501.
    let mut early = samples::statistical();
    (early.tasks[0].kappa, early.tasks[0].sigma_at_least) = (Some(0.5), Some(0.01));
    let why = "σ of the new report is not known: the run ended before the last example, and κ was \
               raised";
    assert_eq!(judged(&old, &early, NONE), (NotComparable, why.to_owned()));
    assert_eq!(judged(&with_kappa(0.0146, 0.0501), &early, NONE).0, NoRegression);
    early.tasks[0].sigma_at_least = Some(0.06);
    let (verdict, why) = judged(&old, &early, NONE);
    assert_eq!(verdict, Regression);
    assert!(why.starts_with("σ is at least 0.0600, above the old report's κ"), "{why}");
}

#[test]
fn the_statistic_that_gates_is_the_one_that_is_held() {
    let centred = |sigma: f64, centred: f64| {
        let mut report = one(sigma, 0.9);
        report.tasks[0].statistic = crate::confidence::Statistic::Centred;
        report.tasks[0].sigma_centred = Some(centred);
        report
    };
    let (old, new) = (centred(0.04, 0.01), centred(0.04, 0.03));
    let found = against(&old, &new, limits(0.01, 0.0));
    assert_eq!((found.verdict, change(&found.rows[0], "sigma")), (Regression, Some(0.03 - 0.01)));
    let why = "another reading gates: max, rms in the old report, max, centred in the new one";
    assert_eq!(judged(&one(0.04, 0.9), &new, NONE), (NotComparable, why.to_owned()));
}

#[test]
fn what_the_limits_need_and_is_not_known_cannot_be_compared() {
    let whole = samples::preserved();
    let empty = Report { tasks: Vec::new(), ..whole.clone() };
    let mut beside = whole.clone();
    beside.tasks[0].gates = false;
    let (mut ran, failed) = (whole.clone(), samples::could_not_run());
    (ran.tasks[0].task, ran.tasks[0].split) = ("rte".into(), "train".into());
    ran.tasks.truncate(1);
    let mut not_preserved = ran.clone();
    not_preserved.tasks[0].verdict = Outcome::NotPreserved;
    let (early, logs, both) = (samples::statistical(), samples::unlabelled(), limits(0.1, 0.1));
    let ended = "of the new report is not known: the run ended before the last example";
    let ended = format!("σ {ended}; the student's accuracy {ended}");
    let unlabelled = "the student's accuracy of the old report is not known: no example of this \
                      split has a label";
    for (old, new, limits, why) in [
        (&whole, &empty, NONE, "it gates in the old report and is not in the new one"),
        (&whole, &beside, NONE, "it gates in the old report and does not gate in the new one"),
        (&ran, &failed, NONE, "it could not be run in the new report"),
        (&failed, &ran, NONE, "it could not be run in the old report"),
        (&failed, &ran, both, "it could not be run in the old report"),
        (&failed, &not_preserved, NONE, "it could not be run in the old report"),
        (&failed, &not_preserved, both, "it could not be run in the old report"),
        (&whole, &early, both, &ended),
        (&logs, &logs, both, unlabelled),
        // Nothing in common.
        (&logs, &ran, NONE, ""),
        (&empty, &ran, NONE, ""),
    ] {
        assert_eq!(judged(old, new, limits), (NotComparable, why.to_owned()));
    }
    assert_eq!(judged(&whole, &early, NONE).0, NoRegression);
    let sigma_alone = Limits { max_sigma_increase: Some(0.1), ..NONE };
    assert_eq!(judged(&logs, &logs, sigma_alone).0, NoRegression);
    let nothing = "no row that gates is in both reports";
    assert!(text(&against(&empty, &ran, NONE)).contains(nothing));
    for (new, gone) in [(&empty, "PRESERVED, gone"), (&beside, "PRESERVED as before")] {
        let found = against(&whole, new, NONE);
        assert_eq!((found.rows[0].gates, found.rows[0].gated), (false, true));
        let shown = text(&found);
        assert!(shown.contains(&format!("sst2/train  {gone}  (gated before)\n")), "{shown}");
        let shown = document(&found).markdown();
        assert!(shown.contains(&format!("{} (gated before) |", gone.to_lowercase())), "{shown}");
    }
}

#[test]
fn a_spent_budget_is_a_regression_whatever_was_left_unrun() {
    // σ ≥ 0.0508 against 0.0446, and a verdict that turned.
    let (old, early) = (samples::preserved(), samples::failed_fast());
    let rose = "σ rose by at least 0.0062, from 0.0446 to at least 0.0508; it may rise by 0.005";
    let why = format!("{TURNED}; {rose}");
    assert_eq!(judged(&old, &early, limits(0.005, 0.0)), (Regression, why));
    let found = against(&old, &early, limits(0.005, 0.0));
    assert!(found.rows[0].worst_entered.is_empty());
    let message = "the new report's run ended after 26,112 of 67,349 examples: its figures are \
                   over those alone";
    assert_eq!(found.warnings[0].message, message);
}

#[test]
fn one_row_that_cannot_be_compared_outweighs_a_regression_in_another() {
    let (old, mut new) = (samples::suite(), samples::suite());
    // rte could not be run in either.
    assert_eq!(against(&old, &new, NONE).verdict, NotComparable);
    new.tasks[0].verdict = Outcome::NotPreserved;
    let found = against(&old, &new, NONE);
    let verdicts: Vec<_> = found.rows.iter().map(|row| row.verdict).collect();
    let expected = [Some(Regression), None, Some(NoRegression), Some(NotComparable)];
    assert_eq!((found.verdict, verdicts.as_slice()), (NotComparable, &expected[..]));
}

#[test]
fn what_changed_is_named_and_what_makes_it_doubtful_is_a_warning() {
    let old = samples::preserved();
    let mut new = old.clone();
    new.tasks[0].data_sha256 = Some("00".repeat(32));
    new.tasks[0].n = 500;
    new.tasks[0].kappa = Some(0.06);
    new.manifest.platform = "macos-aarch64".into();
    new.manifest.version = "0.2.0".into();
    new.manifest.config_sha256 = "11".repeat(32);
    new.manifest.conventions.insert("sigma".into(), "another".into());
    new.manifest.models[0].weights_sha256 = "22".repeat(32);
    new.manifest.models[1].tokenizer_sha256 = None;
    let found = against(&old, &new, NONE);
    let changes: Vec<String> = found.changes.iter().map(super::document::in_words).collect();
    assert_eq!(
        changes,
        [
            "data of sst2/train",
            "teacher weights of sst2",
            "student tokenizer of sst2",
            "configuration in force",
            "program version",
            "platform",
            "convention sigma",
        ]
    );
    let shown = text(&found);
    for words in [
        "  data of sst2/train: 9f9f9f9f9f9f… → 000000000000…\n",
        "  student tokenizer of sst2: efefefefefef… → –\n",
        "warning: sst2/train: the data is not the same",
        "warning: sst2/train: 500 examples were audited, and 67,349 before",
        "warning: sst2/train: κ is 0.0600, and was 0.0500",
        "warning: sst2: the teacher is not the same",
        "warning: the platform is not the same",
        "warning: the convention `sigma` is not the same",
    ] {
        assert!(shown.contains(words), "`{words}` is not in:\n{shown}");
    }
}

#[test]
fn inputs_are_told_by_their_place_in_the_same_data_and_by_their_text_in_other_data() {
    let old = samples::preserved();
    let mut new = old.clone();
    let gone = new.tasks[0].worst.pop().unwrap();
    let mut came = gone.clone();
    (came.index, came.text) = (7, Some("\u{1b}[2Ja new one".into()));
    new.tasks[0].worst.insert(0, came.clone());
    let found = against(&old, &new, NONE);
    let row = &found.rows[0];
    assert_eq!((&row.worst_entered, &row.worst_left), (&vec![came], &vec![gone]));
    let shown = text(&found);
    assert!(
        shown.contains("now among the worst\n")
            && shown.contains("a new one")
            && !shown.contains('\u{1b}')
    );
    // The same texts in other places of other data.
    let mut moved = old.clone();
    moved.tasks[0].data_sha256 = None;
    moved.tasks[0].worst.iter_mut().for_each(|input| input.index += 1);
    assert!(against(&old, &moved, NONE).rows[0].worst_entered.is_empty());
}

#[test]
fn a_row_that_only_the_new_report_has_stands_apart_from_what_was_compared() {
    let old = samples::preserved();
    let mut new = old.clone();
    let mut added = samples::not_preserved().tasks[0].clone();
    added.task = "rte".into();
    new.tasks.push(added);
    let found = against(&old, &new, limits(0.1, 0.1));
    assert_eq!(
        (found.verdict, found.rows[2].verdict, found.rows[2].gates),
        (NoRegression, None, true)
    );
    let shown = text(&found);
    assert!(shown.starts_with("NO REGRESSION  sst2/train\n"), "{shown}");
    let apart = "rte/train (NOT PRESERVED): nothing to compare with";
    assert!(shown.contains(&format!("\n  new rows    {apart}\n")), "{shown}");
    let shown = document(&found).markdown();
    assert!(shown.starts_with("## ✅ NO REGRESSION: sst2/train\n"), "{shown}");
    assert!(shown.contains(&format!(" New rows: {apart}.\n")), "{shown}");
    assert!(!text(&against(&old, &old, NONE)).contains("new rows"));
}

#[test]
fn the_text_names_both_reports_and_what_moved() {
    let found = against(&samples::preserved(), &samples::not_preserved(), limits(0.01, 0.005));
    assert!(
        text(&found).starts_with(
            "\
REGRESSION  sst2/train
  old         old.json (PRESERVED, 0.1.0, linux x86_64)
  new         new.json (NOT PRESERVED, 0.1.0, linux x86_64)
  limits      σ may rise by 0.01, accuracy may fall by 0.005

sst2/train  PRESERVED → NOT PRESERVED  (gates)
                  old     new   change
  σ            0.0446  0.0802  +0.0356
  κ            0.0500  0.0500        =
"
        ),
        "{}",
        text(&found)
    );
    assert!(
        text(&found).contains("  regression: the verdict turned from preserved to not preserved\n")
    );
}

#[test]
fn hostile_text_acts_nowhere_and_lines_keep_to_the_width() {
    let (mut old, new) = (samples::hostile(), samples::hostile());
    old.tasks[0].worst.clear();
    old.manifest.conventions.clear();
    old.manifest.models[0].head = Some(samples::HOSTILE.join(" "));
    let names = (samples::HOSTILE.join(" "), samples::HOSTILE[5].to_owned());
    let found = compare((&names.0, &old), (&names.1, &new), limits(0.1, 0.1));
    for width in [60, 80, 200] {
        let options = RenderOptions { color: false, width };
        for line in document(&found).text(&options).lines() {
            assert!(columns(line) <= width, "{width}: {line}");
            assert!(line.chars().all(|c| !c.is_control()) && !line.trim_start().starts_with("::"));
        }
    }
    let markdown = document(&found).markdown();
    assert!(markdown.chars().count() < 65_536);
    for tag in markdown.split('<').skip(1) {
        let known = ["details>", "/details>", "summary>", "/summary>", "br>"];
        assert!(known.iter().any(|name| tag.starts_with(name)), "<{tag}");
    }
    // The table of changes, that of inputs, that of figures with four columns more.
    let counts = [3, 5, 5 + super::super::figures::compared().len()];
    for line in markdown.lines().filter(|line| line.starts_with('|')) {
        let pipes = line.matches('|').count();
        assert!(counts.contains(&pipes), "{pipes} in {line}");
    }
    let many = Report { tasks: vec![new.tasks[0].clone(); 60], ..new.clone() };
    let markdown = document(&against(&many, &many, NONE)).markdown();
    assert!(markdown.chars().count() < 65_536);
}

#[test]
fn markdown_has_a_row_of_moves_and_folds_the_rest_away() {
    let mut new = samples::not_preserved();
    new.tasks[0].worst[0].index = 3;
    new.manifest.models[1].weights_sha256 = "22".repeat(32);
    let shown = document(&against(&samples::preserved(), &new, NONE)).markdown();
    for words in [
        "## ❌ REGRESSION: sst2/train\n\nFrom old.json to new.json. Limits: none: ",
        "| sst2 | train | preserved → not preserved | 0.0446 → 0.0802 | 0.0500 |",
        "| sst2 | validation | not preserved as before (does not gate) |",
        "- **regression** (sst2/train): the verdict turned from preserved to not preserved\n",
        "<summary>Worst inputs of sst2/train that entered or left</summary>",
        "| entered | 3 | +0.4512 | a gripping film",
        "| left | 51007 | +0.4512 |",
        "| student weights of sst2 | cdcdcdcdcdcd… → 222222222222… |",
    ] {
        assert!(shown.contains(words), "`{words}` is not in:\n{shown}");
    }
}

/// Any of the samples, with its figures moved about.
fn report() -> impl Strategy<Value = Report> {
    let row = (0.0..1.0f64, 0.0..1.0f64, any::<bool>(), 0..3usize, any::<bool>());
    let reports = samples::all();
    (0..reports.len(), proptest::collection::vec(row, 4)).prop_map(move |(which, rows)| {
        let mut report = reports[which].1.clone();
        for (task, (sigma, accuracy, gates, ending, known)) in report.tasks.iter_mut().zip(rows) {
            if task.verdict == Outcome::Error {
                continue;
            }
            task.gates = gates;
            task.sigma = known.then_some(sigma);
            task.figures.student.as_mut().unwrap().accuracy = known.then_some(accuracy);
            task.examples_run = task.n - ending.min(task.n - 1);
            if ending == 2 {
                task.sequential = None::<Sequential>;
                task.sigma_at_least = Some(sigma);
            }
        }
        report
    })
}

proptest! {
    #[test]
    fn a_report_compared_with_itself_moved_nowhere(
        report in report(), sigma in 0.0..1.0f64, accuracy in 0.0..1.0f64,
    ) {
        for limits in [NONE, limits(sigma, accuracy), limits(0.0, 0.0)] {
            let found = against(&report, &report, limits);
            prop_assert!(found.changes.is_empty());
            prop_assert!(found.verdict != Regression, "{:?}", found.rows);
            prop_assert!(found.warnings.iter().all(|w| w.message.starts_with("no row that gates")));
            for row in &found.rows {
                prop_assert!(row.worst_entered.is_empty() && row.worst_left.is_empty());
                for key in ["sigma", "student_accuracy"] {
                    prop_assert!(change(row, key).unwrap_or(0.0) == 0.0);
                }
            }
            let counted = report.tasks.iter().any(|row| row.gates);
            let ran = |row: &TaskRow| row.verdict != Outcome::Error;
            let fine = limits == NONE && counted && report.tasks.iter().filter(|r| r.gates).all(ran);
            prop_assert_eq!(!fine || found.verdict == NoRegression, true);
        }
    }

    #[test]
    fn a_move_back_is_the_move_s_opposite(old in report(), new in report()) {
        let (there, back) = (against(&old, &new, NONE), against(&new, &old, NONE));
        for row in &there.rows {
            let other = back.rows.iter().find(|o| (&o.task, &o.split) == (&row.task, &row.split));
            let other = other.unwrap();
            prop_assert_eq!(change(row, "sigma"), change(other, "sigma").map(|change| -change));
            prop_assert_eq!(&row.worst_entered, &other.worst_left);
        }
    }
}
