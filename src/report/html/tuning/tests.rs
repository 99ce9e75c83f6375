//! The page of a tune by an independent HTML parser; how it looks is tests/browser.rs's.

use scraper::{Html, Selector};
use serde_json::{json, Value};

use super::super::super::display::neutralise;
use super::super::super::samples::HOSTILE;
use super::super::super::schema::{Note, NoteLevel};
use super::super::super::tuning::samples;
use super::super::tests::{html_of, ids_of_one_element, texts};
use super::*;

fn parsed(report: &Tuning) -> Html {
    html_of(&tuning(report))
}

fn count(page: &Html, selector: &str) -> usize {
    page.select(&Selector::parse(selector).unwrap()).count()
}

/// The sample, changed.
fn with(change: impl FnOnce(&mut Tuning)) -> Tuning {
    let mut report = samples::tuning();
    change(&mut report);
    report
}

/// Nothing is feasible.
fn in_vain(report: &mut Tuning) {
    (report.verdict, report.exit_code) = (Outcome::NotPreserved, 1);
    report.obstacle = Some("σ: the least of any trial is 0.0421, and κ is 0.01".to_owned());
    report.trials.iter_mut().for_each(|trial| trial.feasible = false);
}

/// The default alone.
fn of_one(report: &mut Tuning) {
    report.trials.truncate(1);
    report.winner = report.default.clone();
    report.importance.clear();
}

/// Trials whose every figure is that of the first.
fn all_the_same(report: &mut Tuning) {
    let figures = report.trials[0].figures.clone();
    for trial in &mut report.trials {
        (trial.figures, trial.pareto) = (figures.clone(), true);
        trial.outcome = "finished".to_owned();
    }
    (report.kappa, report.epsilon) = (0.1277, 0.0);
}

/// A student with no difference to its teacher, and a bound that asks for that.
fn without_a_difference(report: &mut Tuning) {
    all_the_same(report);
    for figures in report.trials.iter_mut().filter_map(|trial| trial.figures.as_mut()) {
        (figures.sigma, figures.recalibrated_sigma, figures.accuracy) = (0.0, Some(0.0), 1.0);
    }
    (report.kappa, report.reference_accuracy) = (0.0, 1.0);
}

/// A bound far beyond every σ, of which one is all but zero.
fn far_apart(report: &mut Tuning) {
    report.trials[1].figures.as_mut().unwrap().sigma = 5e-324;
    (report.kappa, report.epsilon) = (1e300, 7.0);
}

/// Figures that are not numbers, which JSON cannot hold.
fn without_numbers(report: &mut Tuning) {
    report.trials[0].figures.as_mut().unwrap().accuracy = f64::NAN;
    report.trials[2].figures.as_mut().unwrap().sigma = f64::INFINITY;
    report.trials[1].figures.as_mut().unwrap().recalibrated_sigma = Some(f64::NAN);
    report.importance[0].of_sigma = f64::NAN;
}

/// Trials that were given up or failed, and a winner of which nothing is known.
fn nothing_finished(report: &mut Tuning) {
    in_vain(report);
    report.trials.remove(1);
    let failed = &mut report.trials[0];
    (failed.outcome, failed.why) = ("failed".to_owned(), Some("no memory".to_owned()));
    (failed.figures, failed.violation) = (None, None);
    for finalist in [&mut report.winner, &mut report.default] {
        finalist.mean = None;
        for seed in &mut finalist.seeds {
            (seed.figures, seed.error) = (None, Some("no memory".to_owned()));
        }
    }
    report.importance.clear();
}

/// Every text that a tune may hold is hostile.
fn hostile(report: &mut Tuning) {
    let all = HOSTILE.join(" ");
    in_vain(report);
    for text in [
        &mut report.task,
        &mut report.bound_origin,
        &mut report.objective,
        &mut report.search,
        &mut report.statistic,
        &mut report.confidence,
    ] {
        *text = all.clone();
    }
    let values = || -> std::collections::BTreeMap<String, Value> {
        HOSTILE.iter().map(|text| ((*text).to_owned(), json!(text))).collect()
    };
    report.obstacle = Some(all.clone());
    for trial in &mut report.trials {
        (trial.values, trial.why) = (values(), Some(all.clone()));
    }
    report.trials[2].outcome = all.clone();
    for finalist in [&mut report.winner, &mut report.default] {
        finalist.values = values();
        finalist.seeds[0].figures = None;
        finalist.seeds[0].error = Some(all.clone());
    }
    report.importance[0].key = all.clone();
    let (message, hint) = (all.clone(), Some(all.clone()));
    report.notes = vec![Note { code: all.clone(), level: NoteLevel::Warning, message, hint }];
    for model in &mut report.manifest.models {
        model.source = all.clone();
    }
}

fn every_tune() -> impl Iterator<Item = (&'static str, Tuning)> {
    type Change = fn(&mut Tuning);
    let changes: [(&str, Change); 9] = [
        ("the sample", |_| ()),
        ("in vain", in_vain),
        ("of one", of_one),
        ("all the same", all_the_same),
        ("without a difference", without_a_difference),
        ("far apart", far_apart),
        ("without numbers", without_numbers),
        ("nothing finished", nothing_finished),
        ("hostile", hostile),
    ];
    changes.into_iter().map(|(name, change)| (name, with(change)))
}

#[test]
fn every_tune_is_html_without_an_error_and_every_id_is_one_element_s() {
    for (name, report) in every_tune() {
        ids_of_one_element(&parsed(&report), name);
    }
}

#[test]
fn the_sections_stand_in_their_order() {
    for (name, report) in every_tune() {
        let page = parsed(&report);
        assert_eq!(
            texts(&page, "h1, h2, h3"),
            [
                &format!("Tune of {}", neutralise(&report.task)),
                "σ against accuracy",
                "Winner and default",
                "What mattered",
                "Every trial",
                "Manifest",
                "Make it again",
                "Files beside this page",
                "What was asked for",
                "What decided the numbers",
                "Conventions",
            ],
            "{name}"
        );
        assert_eq!(texts(&page, ".trials tbody tr").len(), report.trials.len(), "{name}");
    }
}

#[test]
fn the_verdict_says_what_was_found_and_what_was_asked_for() {
    let said = texts(&parsed(&samples::tuning()), ".verdict").concat();
    for part in [
        "PRESERVED",
        "of 3 trials on mrpc, trial 2,",
        "σ 0.0421 ≤ κ 0.0500 over 3,668 examples",
        "κ = 0.05",
        "that of the default settings, 0.7843 (mean of 2 seeds), less ε = 0.01",
        "the best by accuracy that holds with every seed won",
        "The default settings give σ 0.1277 > κ 0.0500",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = texts(&parsed(&with(in_vain)), ".verdict").concat();
    assert!(said.contains("NOT PRESERVED") && said.contains("In the way: σ: the least"), "{said}");
    assert!(!said.contains("won"), "{said}");
}

#[test]
fn the_statistic_is_described_as_what_it_is() {
    for (statistic, has, has_not) in [
        ("rms", "a root mean square difference from the teacher's confidence of κ", "mean,"),
        ("centred", "confidence, about its mean, of κ", "both models get right"),
        ("published", "over the examples that both models get right, of κ", "about its mean"),
    ] {
        let page = parsed(&with(|report| report.statistic = statistic.to_owned()));
        let said = texts(&page, ".verdict").concat();
        assert!(said.contains(has) && !said.contains(has_not), "{said}");
    }
}

#[test]
fn a_paired_test_that_is_required_is_named_and_has_no_region() {
    let of = |non_inferiority| {
        let page = parsed(&with(|report| report.non_inferiority = non_inferiority));
        let all = texts(&page, "body").concat();
        (count(&page, ".region"), texts(&page, "#accuracy-plot figcaption").concat(), all)
    };
    let (regions, caption, all) = of(None);
    assert!(regions == 1 && caption.contains("shaded: σ ≤ κ 0.05 and accuracy"), "{caption}");
    assert!(!all.contains("a paired test that shows"), "{all}");
    let (regions, caption, all) = of(Some(0.025));
    assert!(regions == 0 && caption.contains("by a paired test at level 0.025"), "{caption}");
    for part in ["a paired test that shows, at level 0.025, an accuracy of", "reference less ε"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    for part in ["shaded", "least accuracy", "is enough;"] {
        assert!(!all.contains(part), "{part}: {all}");
    }
}

#[test]
fn a_winner_that_is_not_confirmed_is_marked_and_every_finalist_says_why() {
    let page = parsed(&with(|report| {
        (report.verdict, report.confirmed) = (Outcome::NotPreserved, Some(false));
        let why = Some("seed 1: σ 0.060000 > κ 0.05".to_owned());
        let of = |trial| {
            let (why, untrained_seeds) = (why.clone(), vec![2, 3]);
            Finalist { trial, why, untrained_seeds, ..report.winner.clone() }
        };
        report.finalists = vec![of(2), of(3)];
        report.winner = of(2);
    }));
    let said = texts(&page, ".verdict").concat();
    assert!(said.contains("No finalist of 3 trials") && said.contains("not confirmed"), "{said}");
    let rows = texts(&page, ".finalists tbody tr");
    assert_eq!(rows.len(), 11, "winner and finalist with three rows and a reason, the default");
    let why = "seed 1: σ 0.060000 > κ 0.05; not trained with seeds 2 and 3";
    assert_eq!(rows.iter().filter(|row| row.contains(why)).count(), 2, "{rows:?}");
}

#[test]
fn the_page_of_a_tune_that_runs_says_so_and_has_no_verdict() {
    let page = parsed(&with(|report| {
        report.running = Some(RunningTune { over: 2, trials: 9, confirming: None });
        report.teacher_accuracy[1] = f64::NAN;
        for finalist in [&mut report.winner, &mut report.default] {
            finalist.mean = None;
            for seed in &mut finalist.seeds {
                let figures = seed.figures.as_mut().unwrap();
                (figures.unseen_accuracy, figures.unseen_sigma) = (f64::NAN, f64::NAN);
            }
        }
    }));
    let said = texts(&page, ".verdict").concat();
    for part in ["RUNNING", "2 of 9 trials are over", "The best so far is trial 2", "reload"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("PRESERVED") && !said.contains(" won"), "{said}");
    assert!(texts(&page, "title").concat().starts_with("RUNNING: "));
    let all = texts(&page, "body").concat();
    assert!(!all.contains("NaN") && !all.contains("winner.toml"), "{all}");
    assert!(texts(&page, ".finalists tbody tr")[0].contains("best so far"));
}

#[test]
fn the_page_of_a_tune_that_runs_names_the_trial_that_is_being_confirmed() {
    let said = |change: fn(&mut Tuning)| {
        let report = with(|report| {
            report.running = Some(RunningTune { over: 9, trials: 9, confirming: Some(2) });
            change(report);
        });
        texts(&parsed(&report), ".verdict").concat()
    };
    let confirming = said(|_| ());
    for part in ["9 of 9 trials are over. Trial 2 is being confirmed", "The best so far is trial 2"]
    {
        assert!(confirming.contains(part), "{part}: {confirming}");
    }
    let refuted = said(|report| {
        report.running = Some(RunningTune { over: 9, trials: 9, confirming: None });
        report.winner.why = Some("seed 1: σ 0.060000 > κ 0.05".to_owned());
    });
    assert!(refuted.contains("No finalist holds with every seed so far"), "{refuted}");
    assert!(!refuted.contains("being confirmed") && !refuted.contains("The best so"), "{refuted}");
}

#[test]
fn the_units_of_a_violation_are_named() {
    let said = |change: fn(&mut Tuning)| texts(&parsed(&with(change)), "#trials > p").concat();
    let fixed = said(|_| ());
    let words =
        "σ in units of κ (0.0500), accuracy of one standard error of the reference (0.0288)";
    assert!(fixed.contains(words), "{fixed}");
    let spread = said(|report| {
        let units = report.violation_units.as_mut().unwrap();
        (units.sigma_is_spread, units.accuracy_is_spread) = (true, true);
    });
    assert!(spread.contains("σ in units of the interquartile range of the trials"), "{spread}");
    assert!(!spread.contains("κ (") && !spread.contains("standard error"), "{spread}");
}

#[test]
fn the_test_stands_beside_finalists_and_not_beside_the_reference_itself() {
    let rows = |reference: &str| {
        let page = parsed(&with(|report| report.reference = reference.to_owned()));
        texts(&page, ".finalists tbody tr")
    };
    let [default, teacher] = ["default", "teacher"].map(rows);
    assert!(default[0].contains("undecided") && !default[3].contains("undecided"), "{default:?}");
    assert!(teacher[3].contains("undecided"), "{teacher:?}");
}

#[test]
fn every_seed_has_its_row_and_the_means_theirs() {
    let page = parsed(&samples::tuning());
    let rows = texts(&page, ".finalists tbody tr");
    assert_eq!(rows.len(), 6);
    // 160 / 204 and 162 / 204.
    assert!(rows[0].contains("0.0421yes–0.7843160 of 204"), "{rows:?}");
    assert!(rows[0].contains("0.7941162 of 204") && rows[2].contains("mean of 20.04212 of 2"));
    let rows = texts(&parsed(&with(nothing_finished)), ".finalists tbody tr");
    assert!(rows.len() == 4 && rows[0].contains("no memory"), "{rows:?}");
}

#[test]
fn every_trial_with_figures_is_a_point_that_tells_its_settings() {
    let page = parsed(&samples::tuning());
    for plot in ["#accuracy-plot", "#trial-plot"] {
        let of = |mark: &str| texts(&page, &format!("{plot} {mark} title"));
        assert_eq!(of(".feasible").len(), 1);
        assert!(of(".feasible")[0].starts_with("trial 2, finished, feasible: σ 0.0421 ≤ κ 0.0500"));
        assert!(of(".infeasible")[0].contains("stage.prediction.learning_rate 0.00003"));
        assert!(of(".given-up")[0].starts_with("trial 3, stopped: σ 0.1500 on a sample"));
        let rings = texts(&page, &format!("{plot} .ring title"));
        assert_eq!(rings, ["winner: trial 2", "default: trial 1"]);
        let caption = texts(&page, &format!("{plot} figcaption")).concat();
        assert!(caption.contains("κ 0.05"), "{caption}");
        assert_eq!(count(&page, &format!("{plot} .limit")), 1);
    }
}

#[test]
fn points_at_one_place_are_one_mark_that_tells_how_many() {
    let page = parsed(&with(all_the_same));
    assert_eq!(count(&page, "#accuracy-plot .trial"), 2, "one feasible, two that are not");
    let told = texts(&page, "#accuracy-plot .infeasible title").concat();
    assert!(told.starts_with("×2\ntrial 1,") && told.contains("\ntrial 3,"), "{told}");
}

#[test]
fn every_number_of_a_picture_is_finite() {
    for (name, report) in every_tune() {
        let page = parsed(&report);
        let all = Selector::parse("svg, svg *").unwrap();
        for element in page.select(&all) {
            for (attribute, value) in element.value().attrs() {
                let drawn = !matches!(attribute, "class" | "id" | "aria-labelledby");
                assert!(!drawn || !value.contains("NaN"), "{name}: {attribute}={value}");
                assert!(!drawn || !value.contains("inf"), "{name}: {attribute}={value}");
            }
        }
        assert_eq!(count(&page, "figure > svg[role=img]"), 2, "{name}");
    }
}

#[test]
fn a_tune_without_figures_has_no_plots_and_says_so() {
    let mut report = with(nothing_finished);
    report.trials.truncate(1);
    let page = parsed(&report);
    assert_eq!(count(&page, "figure"), 0);
    let said = texts(&page, "section > p");
    assert!(said.iter().any(|text| text == super::super::words::NOTHING));
    assert!(said.iter().any(|text| text == NO_IMPORTANCE));
}

#[test]
fn hostile_text_arrives_as_text() {
    let report = with(hostile);
    let page = parsed(&report);
    assert_eq!(count(&page, "script, img, iframe, object, a, [onclick]"), 0);
    let cells = texts(&page, ".settings td");
    for text in HOSTILE {
        assert!(cells.contains(&neutralise(text)), "{text}");
    }
    let seen = page.root_element().text().collect::<String>();
    assert!(!seen.contains(['\u{1b}', '\u{202e}', '\u{7}']));
}

#[test]
fn nothing_is_fetched_and_a_page_of_a_thousand_trials_is_small() {
    let mut report = samples::tuning();
    let trials: Vec<_> = report.trials.iter().cloned().cycle().take(1000).collect();
    report.trials = trials;
    for (i, trial) in report.trials.iter_mut().enumerate() {
        trial.trial = i + 1;
    }
    let text = tuning(&report);
    for bad in ["<script", "http://", "https://", "@import", "url("] {
        assert!(!text.contains(bad), "{bad}");
    }
    assert!(text.len() < 2_000_000, "{}", text.len());
}
