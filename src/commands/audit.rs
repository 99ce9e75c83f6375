//! `audit --task …`: audits a student against its teacher on one or more tasks.

use std::sync::Arc;

use anyhow::{bail, Result};

use super::{run_suite, ReportOutput};
use crate::audit::Session;
use crate::cli::{AuditArgs, TaskArgs};
use crate::config::{Config, Layer, Settings};
use crate::error::{usage, Diagnostic, Exit};
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::progress::DownloadMessages;
use crate::task::{builtin_names, canonical_name, ALL_TASKS};
use crate::terminal::Verbosity;

/// Runs the audit and writes its report.
pub fn run(args: &AuditArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let settings = settings(&args.tasks, &config, &args.settings)?;
    let output = ReportOutput::prepare(&args.output)?;
    let session = session(output.verbosity(), &settings)?;
    let (report, tables) = run_suite(&settings, &session)?;
    output.write(&report, &tables)
}

/// The session shared by the tasks of `all`, with the cache unless a task disables it.
pub(super) fn session(progress: Verbosity, all: &[Settings]) -> Result<Session> {
    session_with(Interrupt::from_signals(progress), progress, all)
}

/// As [`session`], with an interrupt flag that is already set up.
pub(super) fn session_with(
    interrupt: Interrupt,
    progress: Verbosity,
    all: &[Settings],
) -> Result<Session> {
    let hub = Hub::from_env().with_progress(Arc::new(DownloadMessages(progress)));
    let session = Session::new(hub.with_interrupt(interrupt.clone()), interrupt, progress);
    Ok(if all.iter().all(|s| s.cache) { session.with_cache() } else { session })
}

/// The settings of every named task.
pub(super) fn settings(tasks: &TaskArgs, config: &Config, flags: &Layer) -> Result<Vec<Settings>> {
    names(tasks, config)?.iter().map(|task| config.settings(task, flags)).collect()
}

/// Names of the tasks in `--task`, without repetitions.
fn names(tasks: &TaskArgs, config: &Config) -> Result<Vec<String>> {
    if tasks.task.is_empty() {
        let own: Vec<_> = config.task.keys().map(String::as_str).collect();
        let own = if own.is_empty() {
            String::new()
        } else {
            format!(", {} of the config", own.join(", "))
        };
        bail!(Diagnostic::usage("no task is named").hint(format!(
            "pass --task with one of {}{own}, or all; try `audit demo`, or see `audit --help`",
            builtin_names().collect::<Vec<_>>().join(", ")
        )));
    }
    let mut names: Vec<String> = Vec::new();
    for task in &tasks.task {
        let named = match task.as_str() {
            "all" => ALL_TASKS.map(str::to_owned).to_vec(),
            name => vec![canonical_name(name)],
        };
        for name in named {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Fails if a flag was given that is `without_effect` on `command`.
pub(super) fn refuse_without_effect(
    flags: &Layer,
    command: &str,
    without_effect: impl Fn(&str) -> bool,
) -> Result<()> {
    let Some(key) = flags.given().into_iter().find(|key| without_effect(key)) else {
        return Ok(());
    };
    let flag = key.replace('_', "-");
    let error = usage!("--{flag} has no effect on `audit {command}`");
    Err(error.hint("leave it out").into())
}

/// Settings of a command that takes one task and one split.
pub(super) fn single(tasks: &TaskArgs, config: &Config, flags: &Layer) -> Result<Settings> {
    let mut all = settings(tasks, config, flags)?;
    if all.len() > 1 {
        bail!(usage!("this command takes one task, but {} were named", all.len()));
    }
    let settings = all.remove(0);
    match settings.secondary_splits.len() {
        0 => Ok(settings),
        more => bail!(usage!(
            "this command takes one split, but `split` ({}) names {}",
            settings.origin("split"),
            more + 1
        )
        .hint(format!("leave `,{}` out", settings.secondary_splits.join(",")))),
    }
}
