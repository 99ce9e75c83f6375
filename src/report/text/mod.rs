//! The report for a terminal: verdict first, then what it rests on.

mod glossary;
pub(super) mod page;
mod row;
mod worst;

use super::display::{aligned, columns, neutralise, truncate};
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

/// Columns of the suite's table after the verdict; from the left as many as there is room for.
const FIGURES: [&str; 6] = ["σ", "κ", "acc. T", "acc. S", "agreement", "examples"];

/// Columns of the longest task name that is shown whole.
const TASK_COLUMNS: usize = 18;

fn table(page: &mut Page, tasks: &[TaskRows<'_>]) {
    let (mut names, mut verdicts) =
        (vec![vec!["task".to_owned()]], vec![vec!["verdict".to_owned()]]);
    let (mut styles, mut figures) = (vec![BOLD], vec![FIGURES.map(str::to_owned).to_vec()]);
    for task in tasks {
        for row in task.main() {
            let name = if task.main().len() == 1 { row.task.clone() } else { row.name() };
            names.push(vec![truncate(&neutralise(&name), TASK_COLUMNS)]);
            verdicts.push(vec![verdict_word(row.verdict).to_owned()]);
            figures.push(cells(row).to_vec());
            styles.push(verdict_style(row.verdict));
        }
    }
    let (names, verdicts) = (aligned(&names, |_| false), aligned(&verdicts, |_| false));
    let room = page.width - columns(&names[0]) - columns(&verdicts[0]) - 4;
    let first = |n: usize| figures.iter().map(|row| row[..n].to_vec()).collect::<Vec<_>>();
    let mut fitting = (0..=FIGURES.len()).rev().map(|n| aligned(&first(n), |_| true));
    let figures = fitting.find(|lines| columns(&lines[0]) <= room).unwrap_or_default();
    for (((name, verdict), style), figures) in names.iter().zip(&verdicts).zip(styles).zip(&figures)
    {
        let verdict = page.paint(style, verdict);
        page.line(&format!("{name}  {verdict}  {figures}"));
    }
}

fn cells(row: &TaskRow) -> [String; 6] {
    let (sigma, kappa) = row.sigma_and_kappa();
    let [teacher, student] = row.accuracies().map(decimal_or_absent);
    let examples = if row.n > 0 { row.examples_in_short() } else { ABSENT.to_owned() };
    [
        sigma,
        kappa,
        teacher,
        student,
        row.figures.agreement_share.map_or_else(|| ABSENT.to_owned(), percent),
        examples,
    ]
}

#[cfg(test)]
mod tests;
