//! The report for a terminal: verdict first, then what it rests on.

mod glossary;
pub(super) mod page;
mod row;
mod worst;

use super::display::{columns, neutralise, pad, pad_left, truncate};
use super::numbers::{decimal_or_absent, percent, ABSENT};
use super::rows::{by_task, TaskRows};
use super::schema::{Report, TaskRow};
use super::summary::{tally, verdict_word};
use super::RenderOptions;
pub(super) use glossary::{entries, overview};
use page::{verdict_style, Page, BOLD};
pub(super) use row::explained_codes;

/// The whole text. Several tasks begin with a table of them and end with a line that counts them.
pub(super) fn render(report: &Report, options: &RenderOptions) -> String {
    let mut page = Page::new(options);
    let tasks = by_task(report);
    let is_suite = tasks.len() > 1;
    if tasks.is_empty() {
        let style = verdict_style(report.verdict);
        page.parts(style, verdict_word(report.verdict), &["no task was audited".to_owned()]);
    }
    if is_suite {
        page.parts(verdict_style(report.verdict), verdict_word(report.verdict), &[tally(report)]);
        page.blank();
        table(&mut page, &tasks);
        page.blank();
    }
    for (position, task) in tasks.iter().enumerate() {
        if position > 0 {
            page.blank();
        }
        for (position, row) in task.main().iter().enumerate() {
            if position > 0 {
                page.blank();
            }
            let others = if position == 0 { task.others() } else { &[] };
            row::section(&mut page, report, row, others);
        }
    }
    if is_suite {
        page.blank();
        let rest = [tally(report), format!("exit {}", report.exit_code)];
        page.parts(verdict_style(report.verdict), verdict_word(report.verdict), &rest);
    }
    page.finish()
}

/// Columns of the suite's table after the task's name; from the left as many as there is room for.
const HEADER: [&str; 7] = ["verdict", "σ", "κ", "acc. T", "acc. S", "agreement", "examples"];

/// Columns of the longest task name that is shown whole.
const TASK_COLUMNS: usize = 18;

fn table(page: &mut Page, tasks: &[TaskRows<'_>]) {
    let mut lines = Vec::new();
    for task in tasks {
        for row in task.main() {
            let name = if task.main().len() == 1 { row.task.clone() } else { row.name() };
            lines.push((truncate(&neutralise(&name), TASK_COLUMNS), cells(row), row.verdict));
        }
    }
    let name_width = lines.iter().map(|(name, ..)| columns(name)).max().unwrap_or(0).max(4);
    let widths: Vec<usize> = (0..HEADER.len())
        .map(|column| {
            let cells = lines.iter().map(|(_, cells, _)| columns(&cells[column]));
            cells.max().unwrap_or(0).max(columns(HEADER[column]))
        })
        .collect();
    let mut used = name_width;
    let fits = |width: &&usize| {
        used += 2 + **width;
        used <= page.width
    };
    let shown = widths.iter().take_while(fits).count();
    let format_line = |page: &Page, name: &str, cells: &[&str], style| {
        let mut line = format!("{}  {}", pad(name, name_width), {
            page.paint(style, &pad(cells[0], widths[0]))
        });
        for (cell, width) in cells.iter().zip(&widths).skip(1) {
            line.push_str("  ");
            line.push_str(&pad_left(cell, *width));
        }
        line
    };
    let header = format_line(page, "task", &HEADER[..shown], BOLD);
    page.line(&header);
    for (name, cells, verdict) in &lines {
        let cells: Vec<&str> = cells[..shown].iter().map(String::as_str).collect();
        let line = format_line(page, name, &cells, verdict_style(*verdict));
        page.line(&line);
    }
}

fn cells(row: &TaskRow) -> [String; 7] {
    let (sigma, kappa) = row.sigma_and_kappa();
    let accuracy = |model: &Option<super::schema::ModelStatistics>| {
        decimal_or_absent(model.as_ref().and_then(|model| model.accuracy))
    };
    let examples = if row.n > 0 { row.examples_in_short() } else { ABSENT.to_owned() };
    [
        verdict_word(row.verdict).to_owned(),
        sigma,
        kappa,
        accuracy(&row.figures.teacher),
        accuracy(&row.figures.student),
        row.figures.agreement_share.map_or_else(|| ABSENT.to_owned(), percent),
        examples,
    ]
}

#[cfg(test)]
mod tests;
