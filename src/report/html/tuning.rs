//! The page of a tune: σ against accuracy for every trial.

mod plots; //  σ against accuracy, σ by trial
mod points; // trials as points, with their marks
mod tables; // finalists, importance, trials

use maud::{html, Markup};

use super::super::display::neutralise;
use super::super::numbers::{
    against_kappa, chosen, counted, decimal, decimal_or_absent, thousands,
};
use super::super::schema::{Note, Outcome};
use super::super::summary::verdict_word;
use super::super::tuning::{FinalFigures, Finalist, RunningTune, Tuning};
use super::tables::{decided, line};
use super::words::remark;

const IMPORTANCE: &str =
    "Share of the variance of a figure over the finished trials that a key explains by itself: \
     functional ANOVA over a random forest, of σ by its logarithm. What is left is of keys together, \
     or of chance. With few trials it is a hint and no measurement.";
const NO_IMPORTANCE: &str =
    "Fewer than five trials finished, from which nothing can be said of single keys.";

/// Files in the folder of the page.
const FILES: [(&str, &str); 6] = [
    ("winner/", "the winner as a checkpoint; the verdict is of its audit"),
    ("winner.toml", "the recipe that makes it again"),
    ("trials.csv", "every trial, a line each"),
    ("epochs.csv", "every epoch of every training, a line each"),
    ("tune.json", "all that is on this page"),
    (
        "journal.jsonl",
        "what the search did, step by step; audit tune on this folder goes on from it",
    ),
];

/// The whole page.
pub(in super::super) fn tuning(report: &Tuning) -> String {
    let heading = format!("Tune of {}", neutralise(&report.task));
    let title = format!("{}: {}", verdict_word(report.verdict), heading.replacen('T', "t", 1));
    let title = match report.running {
        Some(_) => format!("RUNNING: {}", heading.replacen('T', "t", 1)),
        None => title,
    };
    let body = html! {
        section id="verdict" {
            @if let Some(running) = report.running { (so_far(report, running)) } @else {
                (super::verdict(report.verdict, &headline(report), &meaning(report)))
            }
            (notes(&report.notes))
        }
        (super::gallery("trial-plots", "σ against accuracy", &plots_explained(report), &plots::plots(report)))
        section id="finalists" {
            h3 { "Winner and default" }
            p.small.quiet { (parts(report)) }
            (tables::finalists(report))
        }
        section id="importance" {
            h3 { "What mattered" }
            @if report.importance.is_empty() { p { (NO_IMPORTANCE) } } @else {
                p.small.quiet { (IMPORTANCE) }
                (tables::importance(&report.importance))
            }
        }
        section id="trials" {
            h3 { "Every trial" }
            p.small.quiet { (tables::about_trials(report)) }
            (tables::trials(report))
        }
        (manifest(report))
    };
    super::page(&title, &heading, &report.manifest, report.schema_version, &body)
}

/// How the plots are read.
fn plots_explained(report: &Tuning) -> String {
    let accuracy = match report.non_inferiority {
        None => "above the dotted one its accuracy is enough; in the shaded part it is both".to_owned(),
        Some(level) => format!(
            "above the dotted one it loses at most ε of the reference's accuracy on these examples. \
             That is not enough for a feasible trial: a paired test must show it at level {level}"
        ),
    };
    format!(
        "Every trial is a student that was trained with other settings. To the left of the dashed line \
         its σ is within κ, {accuracy}. A thin line leads to the same student with its logits divided \
         by a temperature τ, which changes σ and no prediction. A point tells its trial where a pointer \
         rests on it."
    )
}

/// How far a tune is, and its best trial so far.
fn so_far(report: &Tuning, running: RunningTune) -> Markup {
    let RunningTune { over, trials, confirming } = running;
    let trial = report.winner.trial;
    let confirming = confirming.map(|trial| {
        format!(" Trial {trial} is being confirmed: it is trained with further seeds.")
    });
    let next = confirming.unwrap_or_default();
    let best = match (feasible(report), first(&report.winner)) {
        (0, Some(of)) => format!(
            "None is feasible so far; trial {trial} comes nearest: σ {}, accuracy {}.",
            against_kappa(of.sigma, of.preserved, report.kappa),
            decimal(of.seen_accuracy)
        ),
        (_, Some(of)) if report.winner.why.is_some() => format!(
            "No finalist holds with every seed so far; the best of them is trial {trial}: σ {}, \
             accuracy {}.",
            against_kappa(of.sigma, of.preserved, report.kappa),
            decimal(of.seen_accuracy)
        ),
        (_, Some(of)) => format!(
            "The best so far is trial {trial}: σ {}, accuracy {}.",
            against_kappa(of.sigma, of.preserved, report.kappa),
            decimal(of.seen_accuracy)
        ),
        (_, None) => String::new(),
    };
    let (over, trials) = (thousands(over), counted(trials, "trial is", "trials are"));
    html! {
        div.verdict {
            p { strong.word { "RUNNING" } (neutralise(&format!("{over} of {trials} over.{next} {best}"))) }
            p.small { "This page is written again after each training: reload it." }
            @for text in meaning(report) { p.small { (neutralise(&text)) } }
        }
    }
}

/// What the verdict is of: the winner's σ and accuracy against what is asked for.
fn headline(report: &Tuning) -> String {
    let (task, trial) = (&report.task, report.winner.trial);
    let trials = counted(report.trials.len(), "trial", "trials");
    let figures = match first(&report.winner) {
        Some(of) => format!(
            "σ {} over {} of the training set, accuracy {} on the seen part of the validation split",
            against_kappa(report.audited.sigma, report.audited.preserved, report.kappa),
            counted(report.n, "example", "examples"),
            decimal(of.seen_accuracy)
        ),
        None => "no figures are known of it".to_owned(),
    };
    match report.verdict {
        Outcome::Preserved => format!(
            "The winner of {trials} on {task}, trial {trial}, keeps its teacher's confidence, and the \
             accuracy that is asked for: {figures}."
        ),
        _ if report.is_unconfirmed() => format!(
            "No finalist of {trials} on {task} keeps both its teacher's confidence and the accuracy \
             that is asked for with every seed. The best of them, trial {trial}, is written and is not \
             confirmed: {figures}."
        ),
        _ if feasible(report) > 0 => format!(
            "The winner of {trials} on {task}, trial {trial}, does not keep both its teacher's \
             confidence and the accuracy that is asked for: {figures}."
        ),
        _ => format!(
            "No student of {trials} on {task} keeps both its teacher's confidence and the accuracy \
             that is asked for. Trial {trial} comes nearest: {figures}."
        ),
    }
}

fn feasible(report: &Tuning) -> usize {
    report.trials.iter().filter(|trial| trial.feasible).count()
}

/// What was in the way, what was asked for, and what the default does.
fn meaning(report: &Tuning) -> Vec<String> {
    let mut said = Vec::new();
    let obstacle = report.obstacle.as_ref().filter(|_| report.running.is_none());
    if let Some(obstacle) = obstacle {
        said.push(format!("In the way: {obstacle}."));
    }
    let feasible = feasible(report);
    said.push(format!(
        "Asked for is {} of κ = {} at most, and {}. Trials that do both: {} of {}{}.",
        statistic_in_words(report),
        chosen(report.kappa),
        accuracy_in_words(report),
        thousands(feasible),
        thousands(report.trials.len()),
        match report.verdict {
            _ if report.running.is_some() => String::new(),
            Outcome::Preserved if report.confirmed == Some(true) => {
                format!("; the best by {} that holds with every seed won", report.objective)
            }
            Outcome::Preserved if feasible > 1 => format!("; the best by {} won", report.objective),
            _ => String::new(),
        }
    ));
    if let Some(of) = first(&report.default) {
        said.push(format!(
            "The default settings give σ {} and accuracy {}.",
            against_kappa(of.sigma, of.preserved, report.kappa),
            decimal(of.seen_accuracy)
        ));
    }
    said
}

/// What σ is, before `of κ`.
fn statistic_in_words(report: &Tuning) -> &'static str {
    match report.statistic.as_str() {
        "centred" => "a root mean square difference from the teacher's confidence, about its mean,",
        "published" => {
            "a standard deviation of the difference from the teacher's probability of the first \
             label, over the examples that both models get right,"
        }
        _ => "a root mean square difference from the teacher's confidence",
    }
}

/// What is asked for of the accuracy.
fn accuracy_in_words(report: &Tuning) -> String {
    let least = format!(
        "an accuracy of {} at least: {} less ε = {}",
        decimal(report.least_accuracy()),
        report.reference_in_words(),
        chosen(report.epsilon)
    );
    match report.non_inferiority {
        None => least,
        Some(level) => format!(
            "a paired test that shows, at level {level}, {least}. By the accuracy alone a trial is not \
             feasible"
        ),
    }
}

/// What the student of the first seed does.
fn first(finalist: &Finalist) -> Option<&FinalFigures> {
    finalist.seeds.first()?.figures.as_ref()
}

/// Which examples are the seen and which the unseen ones, and the teacher on both.
fn parts(report: &Tuning) -> String {
    format!(
        "σ is over the training set. The search saw {} of the validation split: settings, epochs and \
         temperatures are chosen by them, so that accuracy there is of a choice among many. The other \
         {} it did not see; on them the finalists and the default alone were run, at the end. The \
         teacher's accuracy is {} on the seen ones and {} on the unseen ones. A paired test on the same \
         examples says what is known of the loss against the reference: non-inferior (at most ε), \
         inferior (more than ε) or undecided.",
        counted(report.seen, "labelled example", "labelled examples"),
        thousands(report.unseen),
        decimal(report.teacher_accuracy[0]),
        unseen_decimal(report.teacher_accuracy[1])
    )
}

/// A figure of the unseen part, which is not measured while a tune runs.
pub(super) fn unseen_decimal(value: f64) -> String {
    decimal_or_absent(value.is_finite().then_some(value))
}

/// Warnings first.
fn notes(notes: &[Note]) -> Markup {
    let mut notes: Vec<&Note> = notes.iter().collect();
    notes.sort_by_key(|note| std::cmp::Reverse(note.level));
    html! {
        @if !notes.is_empty() {
            ul.notes { @for note in notes { (remark(note, None)) } }
        }
    }
}

/// How the winner is made again, and what decided the numbers.
fn manifest(report: &Tuning) -> Markup {
    let bound = format!(
        "κ {} over {} of the training set, from {}",
        chosen(report.kappa),
        counted(report.n, "example", "examples"),
        report.bound_origin
    );
    let accuracy = format!(
        "{} at least: {} less ε {}{}",
        decimal(report.least_accuracy()),
        report.reference_in_words(),
        chosen(report.epsilon),
        report.non_inferiority.map(|at| format!(", shown at level {at}")).unwrap_or_default()
    );
    html! {
        section.task id="manifest" {
            h2 { "Manifest" }
            @if report.running.is_none() {
                h3 { "Make it again" }
                p.small.quiet { "In the folder of this page: trains the winner's settings with the seed of the search." }
                pre tabindex="0" { code { "audit distill --config winner.toml --output student" } }
                h3 { "Files beside this page" }
                table.manifest { tbody { @for (name, text) in FILES { (line(name, text)) } } }
            }
            h3 { "What was asked for" }
            table.manifest { tbody {
                (line("bound", &bound))
                (line("statistic, confidence", &format!("{}, {}", report.statistic, report.confidence)))
                (line("accuracy", &accuracy))
                (line("objective", &report.objective))
                (line("search", &format!("{}, seed {}", report.search, report.seed)))
            } }
            (decided(&report.manifest, &[]))
        }
    }
}

#[cfg(test)]
mod tests;
