//! The tables: metrics with their intervals, the inputs furthest apart, the manifest.

use maud::{html, Markup};

use super::super::display::neutralise;
use super::super::figures::{self, Figure, FigureValue};
use super::super::numbers::{
    chosen, decimal, decimal_or_absent, percent, signed, spent_and_budget, thousands, ABSENT,
};
use super::super::schema::{
    Interval, Manifest, ModelManifest, Prediction, Report, TaskRow, WorstInput,
};

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
    let defined = |figure: &Figure| {
        [teacher, student].into_iter().any(|model| figure.of_model(model).value.is_some())
    };
    let shown = figures::of_models().filter(|figure| defined(figure));
    let shown = shown.filter_map(|figure| Some((figure, figure.html?)));
    html! {
        table {
            caption { (neutralise(&row.split)) ": each model" }
            thead { tr { th scope="col" { "" } th scope="col" { "teacher" } th scope="col" { "student" } } }
            tbody {
                @for (figure, name) in shown {
                    tr {
                        th scope="row" { (name) }
                        (cell(figure, figure.of_model(teacher))) (cell(figure, figure.of_model(student)))
                    }
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

fn cell(figure: &Figure, of: FigureValue) -> Markup {
    html! {
        td {
            (of.value.map_or_else(|| ABSENT.to_owned(), |value| figure.written(value)))
            (below(of.interval, |value| figure.written(value)))
        }
    }
}

fn below(interval: Option<Interval>, written: impl Fn(f64) -> String) -> Markup {
    html! {
        @if let Some(Interval { low, high, .. }) = interval {
            span.interval { (written(low)) " to " (written(high)) }
        }
    }
}

fn pair_metrics(row: &TaskRow) -> Markup {
    let shown = figures::of_pairs().filter_map(|figure| {
        let of = figure.of_pair(row);
        of.value.and(figure.html).map(|name| (figure, name, of))
    });
    let sum = row.spent_in_words();
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
                @for (figure, name, of) in shown {
                    @if let ("agreement", Some(count), Some(share)) = (name, row.figures.agreement, of.value) {
                        tr {
                            th scope="row" { (name) }
                            td { (thousands(count)) " (" (percent(share)) ")" (below(of.interval, percent)) }
                        }
                    } @else {
                        tr { th scope="row" { (name) } (cell(figure, of)) }
                    }
                }
                @if let Some(d) = &row.figures.difference {
                    tr {
                        th scope="row" { "|d|" }
                        td { "median " (decimal(d.median))
                            span.interval { "90 % " (decimal(d.p90)) ", 99 % " (decimal(d.p99)) }
                            span.interval { "largest " (decimal(d.max)) } }
                    }
                }
                @for other in row.variants.iter().filter(|it| !it.gates || it.left_out.is_some()) {
                    tr {
                        th scope="row" { "σ " (other.confidence.as_str()) ", " (other.statistic) }
                        td { (decimal_or_absent(other.sigma)) @if let Some(within) = other.within_bound {
                            span.interval { (if within { "within κ" } else { "above κ" }) } }
                        }
                    }
                    @if let Some(left_out) = other.left_out {
                        tr {
                            th scope="row" { "left out by it" }
                            td { (thousands(left_out.count))
                                span.interval { "student wrong: " (thousands(left_out.student_wrong)) } }
                        }
                    }
                }
            }
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
                @if let Some(rows) = row.cached_in_words() { (line(&format!("{}, from the cache", row.name()), &rows)) }
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
        model.runtime.as_ref().map(|runtime| format!("run by {runtime}")),
        model.head.as_ref().map(|head| format!("head {head}")),
        model.parameters.map(|count| format!("{} weights", thousands(count))),
        model.stored_dtype.as_ref().map(|dtype| format!("stored as {dtype}")),
        model.length_in_words().map(|length| format!("texts cut at {length}")),
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
