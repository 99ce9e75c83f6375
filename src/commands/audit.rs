//! `audit --task …`: teacher against student on a task, or on several.

use std::sync::Arc;

use anyhow::Result;

use super::{run_suite, Sink};
use crate::audit::Session;
use crate::cli::{AuditArgs, Tasks};
use crate::config::{Config, Layer, Settings};
use crate::error::{Diagnostic, Exit};
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::progress::Downloads;
use crate::task::{builtin_names, canonical_name, ALL_TASKS};
use crate::terminal::Verbosity;

/// Runs the audit and writes its report.
///
/// # Errors
/// Usage, an unwritable output, an interrupt. A task that could not be run is in the report.
pub fn run(args: &AuditArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let settings = settings(&args.tasks, &config, &args.settings)?;
    let sink = Sink::prepare(&args.output)?;
    let session = session(sink.progress(), &settings)?;
    let (report, tables) = run_suite(&settings, &session)?;
    sink.write(&report, &tables)
}

/// The session that the tasks of `all` share; with the cache, unless a task turns it off.
pub(super) fn session(progress: Verbosity, all: &[Settings]) -> Result<Session> {
    stoppable_session(Interrupt::from_signals(progress), progress, all)
}

/// As [`session`], for a command that already handles signals.
pub(super) fn stoppable_session(
    interrupt: Interrupt,
    progress: Verbosity,
    all: &[Settings],
) -> Result<Session> {
    let hub = Hub::from_env()?.with_progress(Arc::new(Downloads(progress)));
    let session = Session::new(hub.with_interrupt(interrupt.clone()), interrupt, progress);
    Ok(if all.iter().all(|s| s.cache) { session.with_cache() } else { session })
}

/// The settings of every named task.
pub(super) fn settings(tasks: &Tasks, config: &Config, flags: &Layer) -> Result<Vec<Settings>> {
    names(tasks, config)?.iter().map(|task| config.settings(task, flags)).collect()
}

/// The tasks that `--task` stands for, each once.
fn names(tasks: &Tasks, config: &Config) -> Result<Vec<String>> {
    if tasks.task.is_empty() {
        let own: Vec<_> = config.task.keys().map(String::as_str).collect();
        let own = if own.is_empty() {
            String::new()
        } else {
            format!(", {} of the config", own.join(", "))
        };
        return Err(Diagnostic::usage("no task is named")
            .hint(format!(
                "pass --task with one of {}{own}, or all; `audit demo` needs nothing, `audit \
                     --help` says more",
                builtin_names().collect::<Vec<_>>().join(", ")
            ))
            .into());
    }
    let mut names: Vec<String> = Vec::new();
    for task in &tasks.task {
        let meant: Vec<String> = match task.as_str() {
            "all" => ALL_TASKS.map(str::to_owned).to_vec(),
            name => vec![canonical_name(name)],
        };
        names.extend(meant.into_iter().filter(|n| !names.contains(n)).collect::<Vec<_>>());
    }
    Ok(names)
}

/// Fails where a flag was given that has no effect on `command`.
pub(super) fn refuse_without_effect(flags: &Layer, command: &str, without: &[&str]) -> Result<()> {
    match flags.given().into_iter().find(|key| without.contains(key)) {
        None => Ok(()),
        Some(key) => Err(Diagnostic::usage(format!(
            "--{} has no effect on `audit {command}`",
            key.replace('_', "-")
        ))
        .hint("leave it out")
        .into()),
    }
}

/// The one task that a command takes.
pub(super) fn single(tasks: &Tasks, config: &Config, flags: &Layer) -> Result<Settings> {
    let mut all = settings(tasks, config, flags)?;
    if all.len() > 1 {
        return Err(Diagnostic::usage(format!(
            "this command takes one task, and {} were named",
            all.len()
        ))
        .into());
    }
    let settings = all.remove(0);
    match settings.secondary_splits.len() {
        0 => Ok(settings),
        more => Err(Diagnostic::usage(format!(
            "this command takes one split, and `split` ({}) names {}",
            settings.origin("split"),
            more + 1
        ))
        .hint(format!("leave `,{}` out", settings.secondary_splits.join(",")))
        .into()),
    }
}
