//! Runs several tasks in turn; a task that fails does not stop the others.

use anyhow::Result;

use crate::audit::{
    audit, failed_row, manifest, pinned_arguments, ErrorDisplay, Session, TaskOutcome,
};
use crate::config::{command_line, Settings};
use crate::error::{is_usage, print, Interrupted};
use crate::report::schema::{ModelManifest, Outcome, Report, TaskCommand, SCHEMA_VERSION};
use crate::report::{row_summary, PredictionTable};
use crate::terminal::write_line;

/// Audits every task of `all`, as [`run_each`] does.
pub fn run_suite(all: &[Settings], session: &Session) -> Result<(Report, Vec<PredictionTable>)> {
    for settings in all {
        settings.require_teacher()?;
        settings.require_student()?;
    }
    run_each(all, session, pinned_arguments, |settings| audit(settings, session))
}

/// Runs `one` for every task of `all`; `command` gives the arguments after `audit` that reproduce it.
/// An interrupt ends the run, and so does a usage error before any task has finished.
pub fn run_each(
    all: &[Settings],
    session: &Session,
    command: impl Fn(&Settings, &[ModelManifest]) -> Vec<String>,
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
                if session.errors == ErrorDisplay::Stderr {
                    print(&error.context(settings.task.name.clone()));
                }
            }
        }
        print_hub_notes(session);
    }
    // An interrupt after the last batch counts too.
    match session.interrupt.check(|| "about to write the report".to_owned()) {
        Ok(()) => Ok(build_report(all, session, outcomes, command)),
        Err(error) => Err(stopped(error.into(), &outcomes)),
    }
}

/// Prints the finished rows of an interrupted run.
fn stopped(error: anyhow::Error, outcomes: &[TaskOutcome]) -> anyhow::Error {
    for row in outcomes.iter().flat_map(|outcome| &outcome.rows) {
        write_line(&row_summary(row));
    }
    error
}

/// Prints the notes of the Hub client and removes them.
pub(super) fn print_hub_notes(session: &Session) {
    for note in session.hub.take_notes() {
        session.progress.message(&format!("note: {note}"));
    }
}

/// The report of `outcomes`; verdict and exit code are those of the worst gating row.
pub fn build_report(
    all: &[Settings],
    session: &Session,
    outcomes: Vec<TaskOutcome>,
    command: impl Fn(&Settings, &[ModelManifest]) -> Vec<String>,
) -> (Report, Vec<PredictionTable>) {
    let (mut tasks, mut tables, mut models) = (Vec::new(), Vec::new(), Vec::new());
    let mut commands = Vec::new();
    for (settings, outcome) in all.iter().zip(outcomes) {
        commands.push(TaskCommand {
            task: settings.task.name.clone(),
            command: command_line(&command(settings, &outcome.models)),
        });
        tasks.extend(outcome.rows);
        tables.extend(outcome.tables);
        models.extend(outcome.models);
    }
    let gating = tasks.iter().filter(|row| row.gates).map(|row| row.verdict);
    let verdict = gating.max().unwrap_or(Outcome::Error);
    let report = Report {
        schema_version: SCHEMA_VERSION,
        verdict,
        exit_code: verdict.exit() as u8,
        tasks,
        manifest: manifest(all, session, models, commands),
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
    use crate::terminal::Verbosity;

    #[test]
    fn no_report_is_written_after_the_user_asked_to_stop() {
        let settings = HubSettings::new(std::env::temp_dir());
        let hub = Hub::new(HubSettings { connection: Connection::Offline, ..settings });
        let session = Session::new(hub, Interrupt::default(), Verbosity::Quiet);
        let all = [Config::default().settings("sst2", &Layer::default()).unwrap()];
        let one = |_: &Settings| Ok(TaskOutcome::default());
        assert!(run_each(&all, &session, pinned_arguments, one).is_ok());
        // After the last batch, where no model checks the flag.
        let one = |_: &Settings| {
            session.interrupt.set();
            Ok(TaskOutcome::default())
        };
        let error = run_each(&all, &session, pinned_arguments, one).unwrap_err();
        assert!(error.is::<Interrupted>(), "{error:#}");
    }
}
