//! Several tasks one after the other: what could not be run does not stop the rest.

use anyhow::Result;

use crate::audit::{audit, manifest, Session, TaskOutcome};
use crate::config::Settings;
use crate::error::{print, Exit, Hinted, Usage};
use crate::interrupt::Interrupted;
use crate::progress::say;
use crate::report::schema::{Outcome, Report, RowError, Skipped, TaskRow, SCHEMA_VERSION};
use crate::report::{row_summary, PredictionTable};

/// Audits every task of `all`; a task that could not be run is a row with its error.
///
/// # Errors
/// A usage error of the first task that has one, before anything else is run; an interrupt.
pub fn run_suite(all: &[Settings], session: &Session) -> Result<(Report, Vec<PredictionTable>)> {
    for settings in all {
        settings.require_teacher()?;
        settings.require_student()?;
    }
    run_each(all, session, |settings| audit(settings, session))
}

/// Runs `one` for every task of `all`.
///
/// # Errors
/// As [`run_suite`]. A usage error that only shows once a model is loaded ends the run where nothing
/// has been run yet; after that it is the row of its task, so that what was run is not lost.
pub fn run_each(
    all: &[Settings],
    session: &Session,
    one: impl Fn(&Settings) -> Result<TaskOutcome>,
) -> Result<(Report, Vec<PredictionTable>)> {
    let mut outcomes: Vec<TaskOutcome> = Vec::new();
    for settings in all {
        match one(settings) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) if error.is::<Interrupted>() => {
                // The rows that were finished are not lost without a word.
                for row in outcomes.iter().flat_map(|o: &TaskOutcome| &o.rows) {
                    say(&row_summary(row));
                }
                return Err(error);
            }
            Err(error) if is_usage(&error) && outcomes.is_empty() => return Err(error),
            Err(error) => {
                outcomes.push(could_not_run(settings, &error));
                print(&error.context(settings.task.name.clone()));
            }
        }
        say_hub_notes(session);
    }
    Ok(build_report(all, outcomes))
}

/// Says what the Hub has to say, once.
pub(super) fn say_hub_notes(session: &Session) {
    for note in session.hub.take_notes() {
        session.progress.message(&format!("note: {note}"));
    }
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>())
}

/// The report of `outcomes`; its verdict and its exit code are the worst gating row's.
pub fn build_report(
    all: &[Settings],
    outcomes: Vec<TaskOutcome>,
) -> (Report, Vec<PredictionTable>) {
    let (mut tasks, mut tables, mut models) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        tasks.extend(outcome.rows);
        tables.extend(outcome.tables);
        models.extend(outcome.models);
    }
    let gating = tasks.iter().filter(|row| row.gates).map(|row| row.verdict);
    let verdict = gating.max().unwrap_or(Outcome::Error);
    let exit = match verdict {
        Outcome::Preserved => Exit::Preserved,
        Outcome::NotPreserved => Exit::NotPreserved,
        Outcome::Error => Exit::CouldNotRun,
    };
    let report = Report {
        schema_version: SCHEMA_VERSION,
        verdict,
        exit_code: exit as u8,
        tasks,
        manifest: manifest(all, models),
    };
    (report, tables)
}

/// The row of a task that could not be run: every number is null.
fn could_not_run(settings: &Settings, error: &anyhow::Error) -> TaskOutcome {
    let hint =
        error.chain().find_map(|cause| cause.downcast_ref::<Hinted>()).map(|h| h.hint.clone());
    let chain: Vec<String> = error
        .chain()
        .map(|cause| match cause.downcast_ref::<Hinted>() {
            Some(hinted) => hinted.message.clone(),
            None => cause.to_string(),
        })
        .collect();
    let message = chain.join(": ");
    // A usage error carries its hint in its text.
    let (message, hint) = match message.split_once("\n  hint: ") {
        Some((message, inner)) => (message.to_owned(), Some(inner.to_owned())),
        None => (message, hint),
    };
    let row = TaskRow {
        verdict: Outcome::Error,
        error: Some(RowError { message, hint }),
        ..empty_row(settings)
    };
    TaskOutcome { rows: vec![row], ..TaskOutcome::default() }
}

fn empty_row(settings: &Settings) -> TaskRow {
    TaskRow {
        task: settings.task.name.clone(),
        split: settings.split.clone().unwrap_or_else(|| "train".to_owned()),
        gates: true,
        n: 0,
        of: 0,
        partial: false,
        verdict: Outcome::Error,
        error: None,
        statistic: settings.statistic.to_string(),
        confidence: settings.confidence.to_string(),
        sigma: None,
        sigma_centred: None,
        mean_difference: None,
        variants: Vec::new(),
        sigma_interval: None,
        kappa: None,
        beta: None,
        beta_per_example: None,
        alpha: settings.bound.alpha(),
        gamma: settings.bound.gamma(),
        bound_origin: settings.bound_origin.clone(),
        budget: None,
        spent: None,
        spent_share: None,
        course: Vec::new(),
        exhausted_at: None,
        student_bound: None,
        teacher: None,
        student: None,
        agreement: None,
        agreement_share: None,
        negative_flips: None,
        difference: None,
        divergence: None,
        groups: Vec::new(),
        worst: Vec::new(),
        notes: Vec::new(),
        skipped: Skipped::default(),
        undefined: [("*".to_owned(), "the audit could not be run".to_owned())].into(),
        data_sha256: None,
        data_files: Vec::new(),
        data_revision: None,
        device: settings.device.clone(),
        seed: settings.seed,
        seconds: None,
    }
}
