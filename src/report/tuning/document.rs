//! A tune for people: the verdict, winner and default on both parts of the validation split, refuted
//! finalists, what mattered.

use super::super::display::pad;
use super::super::document::{Block, Document};
use super::super::numbers::{against_kappa, counted, decimal, sigma_and_kappa, signed, thousands};
use super::super::summary::verdict_word;
use super::csv::plain;
use super::{Finalist, Seeded, Tuning, WarmStarted};
use crate::check::AccuracyTest;

/// Keys whose importance is named.
const KEYS: usize = 3;

/// The whole report.
pub(in super::super) fn document(report: &Tuning) -> Document {
    let comparison = against_kappa(report.audited.sigma, report.audited.preserved, report.kappa);
    let trials = counted(report.trials.len(), "trial", "trials");
    let headline =
        vec![report.task.clone(), format!("σ {comparison}{}", shortfall(report)), trials];
    let mut document = Document::new(report.verdict, verdict_word(report.verdict), headline);
    document.push(Block::Gap);
    if let Some(obstacle) = &report.obstacle {
        document.field("in the way", obstacle.clone());
    }
    for (name, finalist) in [("winner", &report.winner), ("default", &report.default)] {
        let unconfirmed = name == "winner" && report.is_unconfirmed();
        let mark = unconfirmed.then_some("not confirmed: not every seed keeps both constraints");
        let lines = mark.map(str::to_owned).into_iter();
        let lines = lines.chain([settings(finalist)]).chain(seeds(finalist, report)).collect();
        document.push(Block::Field { name, lines });
    }
    let refuted: Vec<String> = report.refuted().map(refuted).collect();
    if !refuted.is_empty() {
        document.push(Block::Field { name: "refuted", lines: refuted });
    }
    let [seen, unseen] = report.teacher_accuracy;
    document.field("teacher", format!("accuracy {seen:.4} seen, {unseen:.4} unseen"));
    document.field("asked for", asked_for(report));
    if let Some(lines) = accuracy_test(report) {
        document.push(Block::Field { name: "test", lines });
    }
    let (seen, unseen) = (thousands(report.seen), thousands(report.unseen));
    let parts = format!("of the validation split {seen} examples seen, {unseen} unseen");
    document.field("parts", parts);
    let feasible = report.trials.iter().filter(|trial| trial.feasible).count();
    let trials = format!("{}, {feasible} feasible ({})", outcomes(report), report.search);
    document.field("trials", trials);
    if let Some(warm) = &report.warm_start {
        document.push(Block::Field { name: "warm start", lines: warm_start(warm) });
    }
    let keys = report.importance.iter().take(KEYS);
    let keys: Vec<String> =
        keys.map(|key| format!("{} {:.0} %", key.key, 100.0 * key.of_sigma)).collect();
    if !keys.is_empty() {
        document.field("σ follows", keys.join(", "));
    }
    document.notes(&report.notes);
    document
}

/// `12 trials of another search`, and those that were skipped.
fn warm_start(warm: &WarmStarted) -> Vec<String> {
    let trials = counted(warm.trials, "trial", "trials");
    let used = format!("{trials} of another search informed the proposals");
    let skipped = warm.skipped.iter().map(|why| format!("skipped {why}"));
    std::iter::once(used).chain(skipped).collect()
}

/// `trial 5: seed 1: σ 0.051200 > κ 0.05; not trained with seed 2`.
fn refuted((finalist, why): (&Finalist, &str)) -> String {
    format!("trial {}: {why}{}", finalist.trial, finalist.untrained_in_words())
}

fn asked_for(report: &Tuning) -> String {
    let shown =
        report.non_inferiority.map(|level| format!(", shown by a paired test at level {level}"));
    format!(
        "σ ≤ κ {} on {} training examples ({}); accuracy at least {:.4} on the seen part: {} less \
         ε {}{}; then the best {}",
        decimal(report.kappa),
        thousands(report.n),
        report.bound_origin,
        report.least_accuracy(),
        report.reference_in_words(),
        report.epsilon,
        shown.unwrap_or_default(),
        report.objective
    )
}

/// The winner's accuracy against the reference on both parts; nothing if it is the reference.
fn accuracy_test(report: &Tuning) -> Option<Vec<String>> {
    if report.is_reference(&report.winner) {
        return None;
    }
    let figures = report.winner.seeds.first()?.figures.as_ref()?;
    let (seen, unseen) = (figures.seen_test?, figures.unseen_test?);
    let of = |part: &str, test: AccuracyTest| {
        let (difference, words) = (signed(test.difference), report.test_in_words(&test));
        format!("{}{difference}; {words}", pad(part, 7))
    };
    let what = "winner's accuracy less the reference".to_owned();
    Some(vec![what, of("seen", seen), of("unseen", unseen)])
}

/// ` but not confirmed`, or ` but accuracy 0.7500 < 0.8037` of a winner that keeps σ and not the
/// accuracy.
fn shortfall(report: &Tuning) -> String {
    if report.audited.preserved && report.is_unconfirmed() {
        return " but not confirmed".to_owned();
    }
    let of = report.winner.seeds.first().and_then(|seeded| seeded.figures.as_ref());
    let least = report.least_accuracy();
    match of.filter(|of| report.audited.preserved && of.seen_accuracy < least) {
        Some(of) => format!(" but accuracy {:.4} < {least:.4}", of.seen_accuracy),
        None => String::new(),
    }
}

/// `9 finished, 2 given up`, and what else became of trials.
fn outcomes(report: &Tuning) -> String {
    let said = ["finished", "stopped", "failed", "unfinished"].map(|outcome| {
        let count = report.trials.iter().filter(|trial| trial.outcome == outcome).count();
        let word = if outcome == "stopped" { "given up" } else { outcome };
        (count, format!("{} {word}", thousands(count)))
    });
    let told = said.into_iter().enumerate().filter(|(i, (count, _))| *i < 2 || *count > 0);
    told.map(|(_, (_, text))| text).collect::<Vec<_>>().join(", ")
}

/// `trial 7: stage.prediction.max_epochs 9, …`.
fn settings(finalist: &Finalist) -> String {
    let settings = finalist.values.iter().map(|(key, value)| format!("{key} {}", plain(value)));
    let with = if finalist.recalibrated { ", recalibrated" } else { "" };
    format!("trial {}{with}: {}", finalist.trial, settings.collect::<Vec<_>>().join(", "))
}

/// A line a seed, and their means.
fn seeds(finalist: &Finalist, report: &Tuning) -> Vec<String> {
    let seed = |seed: &Seeded| {
        let text = match (&seed.figures, &seed.error) {
            (Some(f), _) => format!(
                "σ {} {} κ{}, accuracy {:.4} seen, {:.4} unseen",
                sigma_and_kappa(f.sigma, report.kappa).0,
                if f.preserved { "≤" } else { ">" },
                f.temperature.map(|t| format!(" with τ {t:.3}")).unwrap_or_default(),
                f.seen_accuracy,
                f.unseen_accuracy,
            ),
            (None, Some(error)) => error.clone(),
            (None, None) => "not trained".to_owned(),
        };
        (format!("seed {}", seed.seed), text)
    };
    let mean = finalist.mean.filter(|mean| mean.seeds > 1).map(|mean| {
        let (preserved, seeds) = (mean.preserved, finalist.seeds.len());
        let text = format!(
            "σ {:.4} ({preserved}/{seeds} ≤ κ), accuracy {:.4} seen, {:.4} unseen",
            mean.sigma, mean.seen_accuracy, mean.unseen_accuracy,
        );
        ("mean".to_owned(), text)
    });
    let lines = finalist.seeds.iter().map(seed).chain(mean);
    lines.map(|(name, text)| format!("{}{text}", pad(&name, 9))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::schema::Outcome;
    use super::super::super::RenderOptions;
    use super::super::samples::tuning;
    use super::*;

    fn told(report: &Tuning) -> String {
        document(report).text(&RenderOptions::default())
    }

    #[test]
    fn the_text_leads_with_the_verdict_and_tells_both_parts_and_every_seed() {
        let said = told(&tuning());
        assert!(said.starts_with("PRESERVED"), "{said}");
        for part in [
            "σ 0.0421 ≤ κ 0.05",
            "3 trials",
            "trial 2: ",
            "seed 0",
            "seed 1",
            "0.7941 unseen",
            "(2/2 ≤ κ)",
            "204 unseen",
            "stage.prediction.learning_rate 81 %",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }

    #[test]
    fn an_accuracy_that_was_missed_is_in_the_headline_and_a_number_is_a_reference() {
        let mut report = tuning();
        report.verdict = Outcome::NotPreserved;
        (report.reference, report.reference_accuracy) = ("a number".to_owned(), 0.95);
        let said = told(&report);
        let headline = said.lines().next().unwrap();
        assert!(
            headline.contains("σ 0.0421 ≤ κ 0.0500 but accuracy 0.7843 < 0.9400"),
            "{headline}"
        );
        assert!(said.contains("0.9500 less ε"), "{said}");
        report.trials[0].outcome = "failed".to_owned();
        assert!(told(&report).contains("1 failed"), "{}", told(&report));
    }

    #[test]
    fn a_winner_that_is_not_confirmed_is_marked_and_every_refuted_finalist_says_why() {
        let mut report = tuning();
        report.finalists[0].why = Some("seed 1: σ 0.051200 > κ 0.05".to_owned());
        report.finalists[0].untrained_seeds = vec![2, 3];
        let confirmed = told(&report);
        let line = "trial 2: seed 1: σ 0.051200 > κ 0.05; not trained with seeds 2 and 3";
        let words = confirmed.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains(line), "{confirmed}");
        assert!(!confirmed.contains("not confirmed"), "{confirmed}");
        (report.verdict, report.confirmed) = (Outcome::NotPreserved, Some(false));
        let said = told(&report);
        assert!(said.lines().next().unwrap().contains("≤ κ 0.0500 but not confirmed"), "{said}");
        assert!(said.contains("not confirmed: not every seed"), "{said}");
    }

    #[test]
    fn the_paired_test_is_told_with_its_limits() {
        let mut report = tuning();
        let said = told(&report);
        let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
        let limits = "seen +0.0040; a loss of more than ε 0.01: undecided (one-sided 95 % limits \
                      −0.0210 to +0.0290)";
        for part in [limits, "(mean of 2 seeds)"] {
            assert!(words.contains(part), "{part}\n{said}");
        }
        report.winner = report.default.clone();
        let said = told(&report);
        assert!(!said.contains("a loss of more than"), "the default is the reference\n{said}");
        report.reference = "teacher".to_owned();
        assert!(told(&report).contains("a loss of more than"), "{}", told(&report));
    }

    #[test]
    fn what_stood_in_the_way_is_told() {
        let mut report = tuning();
        report.verdict = Outcome::NotPreserved;
        report.obstacle = Some("σ: the least of any trial is 0.0421, and κ is 0.01".to_owned());
        let said = told(&report);
        assert!(said.starts_with("NOT PRESERVED"), "{said}");
        assert!(said.contains("in the way"), "{said}");
    }

    #[test]
    fn hostile_keys_and_errors_stay_on_their_line() {
        let mut report = tuning();
        report.winner.values.insert("a\u{1b}[2Jb\nPRESERVED".to_owned(), 1.into());
        report.winner.seeds[0].figures = None;
        report.winner.seeds[0].error = Some("x\r\ny\u{202e}".to_owned());
        let said = told(&report);
        assert!(!said.contains('\u{1b}') && !said.contains('\r') && !said.contains('\u{202e}'));
        assert_eq!(said.lines().filter(|line| line.starts_with("PRESERVED")).count(), 1);
    }
}
