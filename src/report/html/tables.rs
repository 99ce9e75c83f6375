//! The tables: metrics with their intervals, the inputs furthest apart, the manifest.

use maud::{html, Markup};

use super::super::display::neutralise;
use super::super::numbers::{
    chosen, decimal, decimal_or_absent, percent, signed, significant, spent_and_budget, thousands,
    ABSENT,
};
use super::super::schema::{
    Interval, Manifest, ModelManifest, ModelStatistics, PairIntervals, Prediction, Report, TaskRow,
    WorstInput,
};
use crate::confidence::Statistic;

/// Characters of all texts of a page, and of one of them.
const ALL_TEXTS: usize = 600_000;
const LEAST_TEXT: usize = 400;
const MOST_TEXT: usize = 12_000;

/// Labels of an input's distributions that are shown.
const LABELS: usize = 8;

/// What both models give, split by split, with 95 % bootstrap intervals.
pub(super) fn metrics(rows: &[&TaskRow], i: usize) -> Markup {
    html! {
        section id={ "metrics-" (i) } {
            h3 { "Metrics" }
            p.small.quiet {
                "Below a figure: its 95 % bootstrap interval, from 1,000 resamples of the examples. All \
                 intervals of a split are of the same resamples."
            }
            div.figures {
                @for row in rows.iter().filter(|row| row.examples_run > 0) {
                    div.scroll { (model_metrics(row)) (pair_metrics(row)) }
                }
            }
        }
    }
}

fn model_metrics(row: &TaskRow) -> Markup {
    let (Some(teacher), Some(student)) = (&row.figures.teacher, &row.figures.student) else {
        return html! {};
    };
    type Figure = fn(&ModelStatistics) -> (Option<f64>, Option<Interval>);
    let figures: [(&str, Figure); 7] = [
        ("accuracy", |m| (m.accuracy, m.intervals.accuracy)),
        ("F1", |m| (m.f1, m.intervals.f1)),
        ("Matthews correlation", |m| (m.matthews_correlation, m.intervals.matthews_correlation)),
        ("mean confidence", |m| (Some(m.mean_confidence), m.intervals.mean_confidence)),
        ("calibration error", |m| (m.ece, m.intervals.ece)),
        ("Brier score", |m| (m.brier, m.intervals.brier)),
        ("log loss, nats", |m| (m.nll, m.intervals.nll)),
    ];
    let known = |(_, of): &(&str, Figure)| of(teacher).0.is_some() || of(student).0.is_some();
    html! {
        table {
            caption { (neutralise(&row.split)) ": each model" }
            thead { tr { th scope="col" { "" } th scope="col" { "teacher" } th scope="col" { "student" } } }
            tbody {
                @for (name, of) in figures.into_iter().filter(known) {
                    tr { th scope="row" { (name) } (cell(of(teacher))) (cell(of(student))) }
                }
                @if teacher.truncated + student.truncated > 0 {
                    tr {
                        th scope="row" { "texts cut" }
                        td { (thousands(teacher.truncated)) } td { (thousands(student.truncated)) }
                    }
                }
            }
        }
        @if let (None, Some(why)) = (teacher.accuracy, row.why_undefined("teacher.accuracy")) {
            p.small { "No accuracy: " (neutralise(why)) "." }
        }
    }
}

fn cell((value, interval): (Option<f64>, Option<Interval>)) -> Markup {
    html! { td { (decimal_or_absent(value)) (below(interval, decimal)) } }
}

fn below(interval: Option<Interval>, written: impl Fn(f64) -> String) -> Markup {
    html! {
        @if let Some(Interval { low, high, .. }) = interval {
            span.interval { (written(low)) " to " (written(high)) }
        }
    }
}

fn pair_metrics(row: &TaskRow) -> Markup {
    let intervals = row.figures.intervals.clone().unwrap_or_default();
    let accuracy =
        |model: &Option<ModelStatistics>| model.as_ref().and_then(|model| model.accuracy);
    let gained =
        accuracy(&row.figures.student).zip(accuracy(&row.figures.teacher)).map(|(s, t)| s - t);
    let sum = if row.statistic == Statistic::Centred { "Σ(d − mean)²" } else { "Σd²" };
    html! {
        table {
            caption { (neutralise(&row.split)) ": both together" }
            tbody {
                tr { th scope="row" { "σ" } td { (row.sigma_and_kappa().0) (below(row.sigma_interval, decimal)) } }
                @if let Some(limit) = row.sigma_unseen {
                    tr {
                        th scope="row" { "σ of unseen inputs, at most" }
                        td { (decimal(limit.sigma)) span.interval { (chosen(limit.level * 100.0)) " % limit" } }
                    }
                }
                @if let (Some(spent), Some(budget)) = (row.spent, row.budget) {
                    @let (spent, budget) = spent_and_budget(spent, budget);
                    tr { th scope="row" { (sum) " of the budget" } td { (spent) " of " (budget) } }
                }
                (signed_row("mean d", row.mean_difference, intervals.mean_difference))
                (signed_row("accuracy, student − teacher", gained, intervals.accuracy_difference))
                (agreement(row, &intervals))
                (divergence(row, &intervals))
                @if let Some(d) = &row.figures.difference {
                    tr {
                        th scope="row" { "|d|" }
                        td { "median " (decimal(d.median))
                            span.interval { "90 % " (decimal(d.p90)) ", 99 % " (decimal(d.p99)) }
                            span.interval { "largest " (decimal(d.max)) } }
                    }
                }
                @for other in row.variants.iter().filter(|variant| !variant.gates) {
                    tr {
                        th scope="row" { "σ " (other.confidence) ", " (other.statistic) }
                        td { (decimal_or_absent(other.sigma)) @if let Some(within) = other.within_bound {
                            span.interval { (if within { "within κ" } else { "above κ" }) } } }
                    }
                }
            }
        }
    }
}

fn signed_row(name: &str, value: Option<f64>, interval: Option<Interval>) -> Markup {
    html! {
        @if let Some(value) = value {
            tr { th scope="row" { (name) } td { (signed(value)) (below(interval, signed)) } }
        }
    }
}

fn agreement(row: &TaskRow, intervals: &PairIntervals) -> Markup {
    html! {
        @if let (Some(count), Some(share)) = (row.figures.agreement, row.figures.agreement_share) {
            tr {
                th scope="row" { "agreement" }
                td { (thousands(count)) " (" (percent(share)) ")" (below(intervals.agreement_share, percent)) }
            }
        }
        @if let Some(flips) = row.figures.negative_flips {
            tr { th scope="row" { "negative flips" } td { (thousands(flips)) } }
        }
    }
}

fn divergence(row: &TaskRow, intervals: &PairIntervals) -> Markup {
    html! {
        @if let Some(of) = &row.figures.divergence {
            tr { th scope="row" { "mean KL, nats" } td { (decimal(of.mean_kl)) (below(intervals.mean_kl, decimal)) } }
            tr { th scope="row" { "mean cross-entropy, nats" } td { (decimal(of.mean_cross_entropy)) } }
            tr { th scope="row" { "mean total variation" } td { (decimal(of.mean_total_variation)) } }
            tr { th scope="row" { "Σ KL, nats" } td { (significant(of.sum_kl)) } }
        }
    }
}

/// Characters that each text may have, so that the page stays below its two megabytes.
pub(super) fn text_limit(report: &Report) -> usize {
    let texts = report.tasks.iter().flat_map(|row| &row.worst);
    let texts = texts.flat_map(|input| [&input.text, &input.pair]).flatten().count();
    (ALL_TEXTS / texts.max(1)).clamp(LEAST_TEXT, MOST_TEXT)
}

/// The inputs furthest apart, split by split.
pub(super) fn worst(rows: &[&TaskRow], i: usize, limit: usize) -> Markup {
    html! {
        section id={ "worst-" (i) } {
            h3 { "Inputs furthest apart" }
            @for row in rows.iter().filter(|row| !row.worst.is_empty()) {
                h4 { (neutralise(&row.split)) span.quiet { ", by |d|: " (row.difference_in_words()) } }
                ol.inputs { @for input in &row.worst { (worst_input(row, input, limit)) } }
            }
            @if rows.iter().all(|row| row.worst.is_empty()) { p { (super::words::NOTHING) } }
        }
    }
}

fn worst_input(row: &TaskRow, input: &WorstInput, limit: usize) -> Markup {
    html! {
        li {
            div.small {
                strong { "d " (signed(input.difference)) } " · example " (thousands(input.index)) " · label "
                @if let Some(label) = &input.label { b { bdi { (neutralise(label)) } } } @else { (ABSENT) }
            }
            @if input.text.is_some() || input.pair.is_some() {
                div.text tabindex="0" role="group" aria-label={ "text of example " (input.index) } {
                    @for text in [&input.text, &input.pair].into_iter().flatten() {
                        (shown_text(&neutralise(text), limit))
                    }
                }
            }
            (distributions(row, input))
        }
    }
}

/// A text, or the beginning of one that is too long for the page.
fn shown_text(text: &str, limit: usize) -> Markup {
    let length = text.chars().count();
    if length <= limit {
        return html! { p dir="auto" { (text) } };
    }
    let beginning: String = text.chars().take(limit).collect();
    html! {
        p dir="auto" { (beginning) "…" }
        p.small.quiet { "The first " (thousands(limit)) " of " (thousands(length)) " characters; report.json has them all." }
    }
}

/// What both models say, label by label; of many labels those that either holds likeliest.
fn distributions(row: &TaskRow, input: &WorstInput) -> Markup {
    let (teacher, student) = (&input.teacher, &input.student);
    let of = |model: &Prediction, k: usize| model.probabilities.get(k).copied();
    let mut labels: Vec<usize> = (0..row.labels.len()).collect();
    if labels.len() > LABELS {
        let most = |k: &usize| of(teacher, *k).unwrap_or(0.0).max(of(student, *k).unwrap_or(0.0));
        labels.sort_by(|a, b| most(b).total_cmp(&most(a)));
        labels.truncate(LABELS);
        labels.sort_unstable();
    }
    if teacher.probabilities.is_empty() && student.probabilities.is_empty() {
        labels.clear();
    }
    html! {
        div.scroll {
            table.small {
                thead { tr {
                    th scope="col" { "" } th scope="col" { "predicts" } th scope="col" { "confidence" }
                    @for k in &labels { th.n scope="col" { bdi { (neutralise(&row.labels[*k])) } } }
                } }
                tbody {
                    @for (role, model) in [("teacher", teacher), ("student", student)] {
                        tr {
                            th scope="row" { (role) }
                            td { bdi { (neutralise(&model.predicted)) } } td { (decimal(model.confidence)) }
                            @for k in &labels { td.n { (decimal_or_absent(of(model, *k))) } }
                        }
                    }
                }
            }
        }
    }
}

/// The commands that give the numbers again, and what decided them.
pub(super) fn manifest(report: &Report) -> Markup {
    html! {
        section.task id="manifest" {
            h2 { "Manifest" }
            h3 { "Run it again" }
            p.small.quiet { "Paths are relative to the folder in which the audit was run; data of the Hub is \
                             taken as it is today, not at the revision below." }
            @for command in commands(report) {
                pre tabindex="0" { code { (neutralise(command)) } }
            }
            @if report.manifest.commands.is_empty() { p { "This report does not say how it was asked for." } }
            (decided(&report.manifest, &report.tasks))
        }
    }
}

/// What decided the numbers: the program, its models, the data of `rows`, the conventions.
pub(super) fn decided(manifest: &Manifest, rows: &[TaskRow]) -> Markup {
    let or_each = |value: Option<String>| value.unwrap_or_else(|| "by task".to_owned());
    html! {
        h3 { "What decided the numbers" }
        table.manifest { tbody {
            (line("program", &format!("{} {}", manifest.program, manifest.version)))
            (line("platform", &manifest.platform))
            (line("device, type", &format!("{}, {}", or_each(manifest.device.clone()), manifest.dtype)))
            (line("seed", &or_each(manifest.seed.map(|seed| seed.to_string()))))
            (hash("settings, SHA-256", Some(&manifest.config_sha256)))
            @for model in &manifest.models { (model_lines(model)) }
            @for row in rows {
                @if !row.data_files.is_empty() {
                    (line(&format!("{}, data", row.name()), &row.data_files.join(", ")))
                }
                (hash(&format!("{}, data SHA-256", row.name()), row.data_sha256.as_ref()))
                @if let Some(commit) = &row.data_revision { (line(&format!("{}, data revision", row.name()), commit)) }
            }
        } }
        h3 { "Conventions" }
        table.manifest { tbody {
            @for (name, value) in &manifest.conventions { (line(name, value)) }
        } }
    }
}

/// A row of a table of names and values.
pub(super) fn line(name: &str, value: &str) -> Markup {
    html! { tr { th scope="row" { (neutralise(name)) } td { (neutralise(value)) } } }
}

fn hash(name: &str, value: Option<&String>) -> Markup {
    html! {
        @if let Some(value) = value {
            tr { th scope="row" { (neutralise(name)) } td { code { (neutralise(value)) } } }
        }
    }
}

/// Each command once: the demo's tasks share one.
fn commands(report: &Report) -> Vec<&str> {
    let mut commands: Vec<&str> =
        report.manifest.commands.iter().map(|again| again.command.as_str()).collect();
    commands.dedup();
    commands
}

fn model_lines(model: &ModelManifest) -> Markup {
    let who = format!("{}, {}", model.task, model.role);
    let revision =
        model.revision.as_ref().map(|commit| format!(" at {commit}")).unwrap_or_default();
    let facts = [
        model.architecture.clone(),
        model.head.as_ref().map(|head| format!("head {head}")),
        model.parameters.map(|count| format!("{} weights", thousands(count))),
        model.stored_dtype.as_ref().map(|dtype| format!("stored as {dtype}")),
        model.max_length.map(|tokens| format!("texts cut at {tokens} tokens")),
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    html! {
        (line(&who, &format!("{}{revision}", model.source)))
        @if !facts.is_empty() { (line(&format!("{who}, kind"), &facts.join(", "))) }
        (line(&format!("{who}, labels"), &model.labels.join(", ")))
        (hash(&format!("{who}, weights SHA-256"), Some(&model.weights_sha256)))
        (hash(&format!("{who}, tokenizer SHA-256"), model.tokenizer_sha256.as_ref()))
        (hash(&format!("{who}, config SHA-256"), model.config_sha256.as_ref()))
    }
}
