//! The report as one HTML page: nothing is fetched, nothing is run, it reads without JavaScript.

mod axes; //    scales, ticks, what every plot stands on
mod heatmap; // teacher against student
mod plots; //   the other plots, a function each
mod tables; //  metrics, worst inputs, manifest
mod tuning; //  the page of `audit tune`, in the same frame
mod words; //   what the sections say

use maud::{html, Markup, PreEscaped, DOCTYPE};

use super::display::neutralise;
use super::numbers::{decimal_or_absent, percent, ABSENT};
use super::rows::{by_task, TaskRows};
use super::schema::{Group, Manifest, Outcome, Report, TaskRow};
use super::summary::{summary, verdict_word};
pub(super) use tuning::tuning;

/// The look: light and dark, wide and narrow, on paper.
const STYLE: &str = include_str!("style.css");

/// What the page may do: show itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Ways in which a split is cut, and how each is named.
const CUTS: [(&str, &str); 3] = [
    ("label", "label"),
    ("length", "length in words"),
    ("teacher_confidence", "teacher confidence"),
];

/// The whole page.
pub(super) fn render(report: &Report) -> String {
    let tasks = by_task(report);
    let body = html! {
        @if tasks.len() != 1 { (glance(report, &tasks)) }
        @for (i, task) in tasks.iter().enumerate() {
            (section(report, task, i, tasks.len() > 1))
        }
        (tables::manifest(report))
    };
    let (title, heading) = (title(report, &tasks), heading(&tasks));
    page(&title, &heading, &report.manifest, report.schema_version, &body)
}

/// The frame of every page: head with its policy, heading, foot.
fn page(title: &str, heading: &str, manifest: &Manifest, format: u32, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content={ (manifest.program) " " (manifest.version) };
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                header { h1 { (heading) } }
                main { (body) }
                footer.small.quiet {
                    p { (manifest.program) " " (manifest.version) " on "
                        (neutralise(&manifest.platform)) "; report format " (format)
                        ". The bound, the statistic and every convention are in the manifest above." }
                }
            }
        }
    };
    page.into_string() + "\n"
}

/// `NOT PRESERVED: confidence audit of sst2`.
fn title(report: &Report, tasks: &[TaskRows]) -> String {
    format!("{}: {}", verdict_word(report.verdict), heading(tasks).replacen('C', "c", 1))
}

fn heading(tasks: &[TaskRows]) -> String {
    match tasks {
        [] => "Confidence audit".to_owned(),
        [task] => format!("Confidence audit of {}", neutralise(task.task)),
        tasks => format!("Confidence audit of {} tasks", tasks.len()),
    }
}

/// A class for colours; words say the same.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Preserved => "preserved",
        Outcome::NotPreserved => "not-preserved",
        Outcome::Error => "could-not-run",
    }
}

/// A suite's verdict, a line per task and split, and the way to each task.
fn glance(report: &Report, tasks: &[TaskRows]) -> Markup {
    html! {
        section id="glance" {
            (verdict(report.verdict, &summary(report), &[]))
            div.scroll tabindex="0" role="region" aria-label="The tasks at a glance" {
                table.glance {
                    caption { "The tasks at a glance" }
                    thead { tr {
                        th scope="col" { "task" } th scope="col" { "split" } th scope="col" { "verdict" }
                        th.n scope="col" { "σ" } th.n scope="col" { "κ" } th.n scope="col" { "spent" }
                        th.n scope="col" { "teacher" } th.n scope="col" { "student" }
                        th.n scope="col" { "agreement" } th.n scope="col" { "examples" }
                    } }
                    tbody {
                        @for (i, task) in tasks.iter().enumerate() {
                            @for row in task.main().iter().chain(task.others()) { (glance_row(row, i)) }
                        }
                    }
                }
            }
            p.small.quiet { "teacher and student: accuracy; spent: share of the confidence budget" }
        }
    }
}

fn glance_row(row: &TaskRow, i: usize) -> Markup {
    let (sigma, kappa) = row.sigma_and_kappa();
    let [teacher, student] = row.accuracies().map(decimal_or_absent);
    let share = |share: Option<f64>| share.map_or_else(|| ABSENT.to_owned(), percent);
    html! {
        tr {
            th scope="row" { a href={ "#task-" (i) } { (neutralise(&row.task)) } }
            td { (neutralise(&row.split)) @if !row.gates { span.quiet { " (beside)" } } }
            td { span.word.(class(row.verdict)) { (verdict_word(row.verdict).to_lowercase()) } }
            td.n { (sigma) } td.n { (kappa) } td.n { (share(row.spent_share)) }
            td.n { (teacher) } td.n { (student) }
            td.n { (share(row.figures.agreement_share)) }
            td.n { @if row.n > 0 { (row.examples_in_short()) } @else { (ABSENT) } }
        }
    }
}

/// The verdict as a box; words say the same as the colour.
fn verdict(outcome: Outcome, sentence: &str, more: &[String]) -> Markup {
    let sign = match outcome {
        Outcome::Preserved => "✓",
        Outcome::NotPreserved => "✗",
        Outcome::Error => "!",
    };
    html! {
        div.verdict.(class(outcome)) {
            p { strong.word { span aria-hidden="true" { (sign) " " } (verdict_word(outcome)) } (neutralise(sentence)) }
            @for text in more { p.small { (neutralise(text)) } }
        }
    }
}

/// Everything about one task.
fn section(report: &Report, task: &TaskRows, i: usize, in_suite: bool) -> Markup {
    let rows: Vec<&TaskRow> = task.main().iter().chain(task.others()).copied().collect();
    let body = html! {
        @for row in task.main() { (verdict(row.verdict, &super::row_summary(row), &words::bound(row))) }
        @for row in task.others() { (words::beside(task.main(), row)) }
        (words::notes(&rows))
        (words::models(report, task.task))
        (pictures(&rows, i))
        @if rows.iter().any(|row| row.examples_run > 0) {
            (tables::metrics(&rows, i))
            (tables::worst(&rows, i, tables::text_limit(report)))
            (words::recalibrated(&rows, i))
        }
    };
    html! {
        @if in_suite {
            section.task id={ "task-" (i) } { h2 { (neutralise(task.task)) } (body) }
        } @else {
            section id={ "task-" (i) } { (body) }
        }
    }
}

/// The plots, kind by kind, the splits side by side.
fn pictures(rows: &[&TaskRow], i: usize) -> Markup {
    let ran: Vec<(usize, &TaskRow)> =
        rows.iter().copied().enumerate().filter(|(_, row)| row.examples_run > 0).collect();
    if ran.is_empty() {
        return html! {};
    }
    let each = |kind: &str, title: &str, text: &str, draw: Draw| {
        let plot = |(j, row): &(usize, &TaskRow)| draw(row, &format!("{kind}-plot-{i}-{j}"));
        let plots: Vec<Markup> = ran.iter().filter_map(plot).collect();
        gallery(&format!("{kind}-{i}"), title, text, &plots)
    };
    html! {
        (each("budget", "How the budget was spent", words::BUDGET, plots::budget))
        (each("confidence", "Teacher against student", words::CONFIDENCES, heatmap::confidences))
        (each("difference", "The difference d(x)", words::DIFFERENCES, plots::differences))
        (each("reliability", "Reliability", words::RELIABILITY, plots::reliability))
        (gallery(&format!("groups-{i}"), "σ by part", words::GROUPS, &group_plots(&ran, i)))
    }
}

/// Draws a plot of a row with that id, where the row has its figures.
type Draw = fn(&TaskRow, &str) -> Option<Markup>;

/// σ by each cut of each split.
fn group_plots(ran: &[(usize, &TaskRow)], i: usize) -> Vec<Markup> {
    let mut plots = Vec::new();
    for (j, row) in ran {
        for (k, (by, name)) in CUTS.iter().enumerate() {
            let groups: Vec<&Group> =
                row.figures.groups.iter().filter(|group| group.by == *by).collect();
            if !groups.is_empty() {
                plots.push(plots::groups(row, name, &groups, &format!("group-plot-{i}-{j}-{k}")));
            }
        }
    }
    plots
}

/// A heading, what the pictures show, and the pictures; or that there are none.
fn gallery(id: &str, title: &str, text: &str, pictures: &[Markup]) -> Markup {
    html! {
        section id=(id) {
            h3 { (title) }
            p.small.quiet { (text) }
            @if pictures.is_empty() { p { (words::NOTHING) } }
            div.figures { @for picture in pictures { div { (picture) } } }
        }
    }
}

#[cfg(test)]
mod tests;
