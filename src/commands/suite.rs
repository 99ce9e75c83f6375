//! Several tasks one after the other: what could not be run does not stop the rest.

use anyhow::Result;

use crate::audit::{audit, failed_row, manifest, Session, TaskOutcome};
use crate::config::Settings;
use crate::error::{print, Exit, Usage};
use crate::interrupt::Interrupted;
use crate::progress::say;
use crate::report::schema::{Outcome, Report, SCHEMA_VERSION};
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
            Err(error) if error.is::<Interrupted>() => return Err(stopped(error, &outcomes)),
            Err(error) if is_usage(&error) && outcomes.is_empty() => return Err(error),
            Err(error) => {
                outcomes.push(could_not_run(settings, &error));
                print(&error.context(settings.task.name.clone()));
            }
        }
        say_hub_notes(session);
    }
    // What was asked for after the last batch is asked for too.
    match session.interrupt.check(|| "about to write the report".to_owned()) {
        Ok(()) => Ok(build_report(all, outcomes)),
        Err(error) => Err(stopped(error.into(), &outcomes)),
    }
}

/// The rows that were finished are not lost without a word.
fn stopped(error: anyhow::Error, outcomes: &[TaskOutcome]) -> anyhow::Error {
    for row in outcomes.iter().flat_map(|outcome| &outcome.rows) {
        say(&row_summary(row));
    }
    error
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

/// The row of a task that could not be run.
fn could_not_run(settings: &Settings, error: &anyhow::Error) -> TaskOutcome {
    let split = settings.split.as_deref().unwrap_or("train");
    TaskOutcome { rows: vec![failed_row(settings, split, true, error)], ..TaskOutcome::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Layer};
    use crate::hub::{Connection, Hub, HubSettings};
    use crate::interrupt::Interrupt;
    use crate::progress::Progress;

    #[test]
    fn no_report_is_written_after_the_user_asked_to_stop() {
        let settings = HubSettings::new(std::env::temp_dir());
        let hub = Hub::new(HubSettings { connection: Connection::Offline, ..settings }).unwrap();
        let session = Session::new(hub, Interrupt::default(), Progress::Quiet);
        let all = [Config::default().settings("sst2", &Layer::default()).unwrap()];
        let one = |_: &Settings| Ok(TaskOutcome::default());
        assert!(run_each(&all, &session, one).is_ok());
        // After the last batch, which is where a model would have noticed.
        let one = |_: &Settings| {
            session.interrupt.set();
            Ok(TaskOutcome::default())
        };
        let error = run_each(&all, &session, one).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error:#}");
    }
}
