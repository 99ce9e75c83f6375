//! The tables: winner and default seed by seed, what mattered, every trial.

use std::collections::BTreeSet;

use maud::{html, Markup};

use super::super::super::display::neutralise;
use super::super::super::numbers::{
    counted, decimal, decimal_or_absent, sigma_and_kappa, signed, thousands, ABSENT,
};
use super::super::super::tuning::csv::plain;
use super::super::super::tuning::{FinalFigures, Finalist, Importance, Seeded, Trial, Tuning};
use super::unseen_decimal;
use crate::check::AccuracyTest;

/// Winner, default and the other finalists, a row a seed, and what the first two are set to.
pub(super) fn finalists(report: &Tuning) -> Markup {
    let mut named = vec![(winner(report), &report.winner), ("default", &report.default)];
    let others = report.finalists.iter().filter(|of| of.trial != report.winner.trial);
    named.extend(others.map(|finalist| ("finalist", finalist)));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Winner and default by seed" {
            table.glance.finalists {
                thead { tr {
                    th scope="col" { "" } th.n scope="col" { "seed" } th.n scope="col" { "σ" }
                    th scope="col" { "≤ κ" } th.n scope="col" { "τ" }
                    th.n scope="col" { "accuracy, seen" } th.n scope="col" { "accuracy, unseen" }
                    th.n scope="col" { "σ, unseen" }
                } }
                @for (name, finalist) in named { (finalist_rows(report, name, finalist)) }
            }
        }
        (changes(report))
    }
}

/// What the tables call the winner.
fn winner(report: &Tuning) -> &'static str {
    match report.running {
        Some(_) => "best so far",
        None => "winner",
    }
}

fn finalist_rows(report: &Tuning, name: &str, finalist: &Finalist) -> Markup {
    let tested = !report.is_reference(finalist);
    let mean = finalist.mean.filter(|mean| mean.seeds > 1);
    let rows = finalist.seeds.len() + usize::from(mean.is_some());
    let rows = rows + usize::from(finalist.why.is_some());
    html! {
        tbody {
            @for (i, seeded) in finalist.seeds.iter().enumerate() {
                tr {
                    @if i == 0 {
                        th scope="rowgroup" rowspan=(rows) {
                            strong { (name) } span.interval { "trial " (finalist.trial) }
                            @if finalist.recalibrated { span.interval { "with its τ" } }
                            @if finalist.why.is_some() { span.interval { "not confirmed" } }
                        }
                    }
                    (seed_cells(report, seeded, tested))
                }
            }
            @if let Some(mean) = mean {
                tr.mean {
                    td.n { "mean of " (mean.seeds) } td.n { (decimal(mean.sigma)) }
                    td { (mean.preserved) " of " (finalist.seeds.len()) } td.n { "" }
                    td.n { (decimal(mean.seen_accuracy)) } td.n { (unseen_decimal(mean.unseen_accuracy)) }
                    td.n { (unseen_decimal(mean.unseen_sigma)) }
                }
            }
            @if let Some(why) = &finalist.why {
                tr { td.why colspan="7" { (neutralise(why)) (finalist.untrained_in_words()) } }
            }
        }
    }
}

/// The figures of a seed; if `tested`, with the outcome of the paired test beside each accuracy.
fn seed_cells(report: &Tuning, seeded: &Seeded, tested: bool) -> Markup {
    let right = |accuracy: f64, correct: usize, of: usize, test: Option<AccuracyTest>| {
        html! {
            (unseen_decimal(accuracy))
            @if accuracy.is_finite() {
                span.interval { (thousands(correct)) " of " (thousands(of)) }
            }
            @if let Some(test) = test.filter(|_| tested) {
                span.interval title=(limits(report, &test)) { (test.outcome.as_str()) }
            }
        }
    };
    let why = seeded.error.as_deref().unwrap_or("not trained");
    html! {
        td.n { (seeded.seed) }
        @if let Some(of) = &seeded.figures {
            td.n { (sigma_and_kappa(of.sigma, report.kappa).0) } td { (word(of)) }
            td.n { (decimal_or_absent(of.temperature)) }
            td.n { (right(of.seen_accuracy, of.seen_correct, report.seen, of.seen_test)) }
            td.n { (right(of.unseen_accuracy, of.unseen_correct, report.unseen, of.unseen_test)) }
            td.n { (unseen_decimal(of.unseen_sigma)) }
        } @else {
            td.why colspan="6" { (neutralise(why)) }
        }
    }
}

/// `+0.0040 to the reference; a loss of more than ε 0.01: undecided (…)`.
fn limits(report: &Tuning, test: &AccuracyTest) -> String {
    format!("{} to the reference; {}", signed(test.difference), report.test_in_words(test))
}

fn word(of: &FinalFigures) -> Markup {
    match of.preserved {
        true => html! { span.word.preserved { "yes" } },
        false => html! { span.word.not-preserved { "no" } },
    }
}

/// Key by key what the winner has in place of the default.
fn changes(report: &Tuning) -> Markup {
    let (default, winner) = (&report.default.values, &report.winner.values);
    let keys: BTreeSet<&String> = default.keys().chain(winner.keys()).collect();
    let value = |of: Option<&serde_json::Value>| {
        of.map_or_else(|| ABSENT.to_owned(), |value| neutralise(&plain(value)))
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Settings of winner and default" {
            table.settings {
                caption { "Settings; in bold what the winner changes" }
                thead { tr { th scope="col" { "key" } th scope="col" { "default" } th scope="col" { "winner" } } }
                tbody {
                    @for key in keys {
                        @let (old, new) = (value(default.get(key)), value(winner.get(key)));
                        tr {
                            th scope="row" { code { (key_in_parts(key)) } }
                            td { (old) }
                            td { @if old == new { (new) } @else { strong { (new) } } }
                        }
                    }
                }
            }
        }
    }
}

/// A key, which may go on in the next line behind each of its dots.
fn key_in_parts(key: &str) -> Markup {
    let key = neutralise(key);
    html! {
        @for (i, part) in key.split_inclusive('.').enumerate() { @if i > 0 { wbr; } (part) }
    }
}

/// A bar a key and figure.
pub(super) fn importance(keys: &[Importance]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Importance of the keys" {
            table.settings {
                thead { tr {
                    th scope="col" { "key" } th scope="col" { "of σ" } th scope="col" { "of accuracy" }
                } }
                tbody {
                    @for key in keys {
                        tr {
                            th scope="row" { code { (key_in_parts(&key.key)) } }
                            td { (bar(key.of_sigma)) } td { (bar(key.of_accuracy)) }
                        }
                    }
                }
            }
        }
    }
}

/// A share as a bar and as a number.
fn bar(share: f64) -> Markup {
    let percent = if share.is_finite() { 100.0 * share.clamp(0.0, 1.0) } else { 0.0 };
    html! {
        span.share {
            svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" {
                rect.room width="100" height="10" {}
                rect.bar width=(format!("{percent:.1}")) height="10" {}
            }
            (format!("{percent:.0} %"))
        }
    }
}

/// Every trial, a row each.
pub(super) fn trials(report: &Tuning) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Every trial" {
            table.glance.trials {
                thead { tr {
                    th.n scope="col" { "trial" } th scope="col" { "outcome" } th scope="col" { "feasible" }
                    th.n scope="col" { "violation" } th.n scope="col" { "σ" }
                    th.n scope="col" { "accuracy" } th.n scope="col" { "τ" }
                    th.n scope="col" { "σ with τ" } th.n scope="col" { "epochs" }
                    th.n scope="col" { "cost" } th scope="col" { "settings" }
                } }
                tbody { @for trial in &report.trials { (trial_row(report, trial)) } }
            }
        }
    }
}

fn trial_row(report: &Tuning, trial: &Trial) -> Markup {
    let shown = trial.figures.as_ref();
    let sigma = |sigma: Option<f64>, preserved: Option<bool>| {
        html! {
            @if let Some(sigma) = sigma {
                (sigma_and_kappa(sigma, report.kappa).0)
                @if let Some(preserved) = preserved {
                    span.interval { (if preserved { "≤ κ" } else { "> κ" }) }
                }
            } @else { (ABSENT) }
        }
    };
    let count = |count: Option<usize>| count.map_or_else(|| ABSENT.to_owned(), thousands);
    let name = match trial.trial {
        number if number == report.winner.trial => Some(winner(report)),
        number if number == report.default.trial => Some("default"),
        _ => None,
    };
    html! {
        tr {
            th.n scope="row" { (trial.trial) @if let Some(name) = name { span.interval { (name) } } }
            td { (neutralise(&trial.outcome)) @if trial.pareto { span.interval { "on the front" } } }
            td { (if trial.feasible { "yes" } else { "no" }) }
            td.n { (decimal_or_absent(trial.violation)) }
            td.n { (sigma(shown.map(|of| of.sigma), shown.and_then(|of| of.preserved))) }
            td.n { (decimal_or_absent(shown.map(|of| of.accuracy))) }
            td.n { (decimal_or_absent(shown.and_then(|of| of.temperature))) }
            td.n { (sigma(shown.and_then(|of| of.recalibrated_sigma),
                shown.and_then(|of| of.recalibrated_preserved))) }
            td.n { (count(shown.and_then(|of| of.epochs))) } td.n { (count(shown.and_then(|of| of.cost))) }
            td.values {
                @for (i, (key, value)) in trial.values.iter().enumerate() {
                    @let comma = if i + 1 < trial.values.len() { ", " } else { "" };
                    span.pair { (key_in_parts(key)) " " (neutralise(&plain(value))) (comma) } " "
                }
                @if let Some(why) = &trial.why { span.why { (neutralise(why)) } }
            }
        }
    }
}

/// What the cost and the violation of the table of trials are.
pub(super) fn about_trials(report: &Tuning) -> String {
    let units = report.violation_units.map(|units| {
        let sigma = match units.sigma_is_spread {
            true => "the interquartile range of the trials",
            false => "κ",
        };
        let accuracy = match units.accuracy_is_spread {
            true => "the interquartile range of the trials",
            false => "one standard error of the reference",
        };
        let [at_sigma, at_accuracy] = [units.sigma, units.accuracy].map(decimal);
        format!(": σ in units of {sigma} ({at_sigma}), accuracy of {accuracy} ({at_accuracy})")
    });
    format!(
        "In the order in which they began. A violation of 0 keeps both constraints; else it adds up how \
         far σ and accuracy are from them{}. σ is of the {} of the training set, of a trial that was \
         given up of a sample of them. Cost: passes of the training set through one layer. trials.csv \
         has the same, a column a key.",
        units.unwrap_or_default(),
        counted(report.n, "example", "examples")
    )
}
