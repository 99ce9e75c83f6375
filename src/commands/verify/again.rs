//! The settings of a saved report, from the commands in its manifest. They are parsed, never executed.

use anyhow::{bail, Result};
use clap::Parser;

use super::places::require_near;
use crate::audit::recalibrate_arguments;
use crate::cli::{CheckArgs, Cli, Command, DemoArgs, RecalibrateArgs, TaskArgs, VerifyArgs};
use crate::commands::audit::{settings, single};
use crate::commands::{check, recalibrate};
use crate::config::{command_line, Config, Layer, Settings};
use crate::error::{failure, usage};
use crate::report::schema::TaskCommand;
use crate::task::table::expand_patterns;

/// How a report is derived again.
pub(super) enum Again {
    /// By `audit`, with the settings of each task.
    Audit(Vec<Settings>),
    /// By `audit check`.
    Check(Box<CheckArgs>, Box<Settings>),
    /// By `audit demo`.
    Demo(Box<DemoArgs>),
    /// By `audit recalibrate`.
    Recalibrate {
        /// Settings of the split that τ is fitted on.
        to_fit: Box<Settings>,
        /// Settings of the split that gates.
        to_gate: Box<Settings>,
    },
}

impl Again {
    /// What `commands` say, with the places that `args` names.
    ///
    /// # Errors
    /// No command, one that cannot be parsed, settings that cannot be used.
    pub(super) fn of(commands: &[TaskCommand], args: &VerifyArgs) -> Result<Self> {
        let Some(first) = commands.first() else {
            bail!(failure!(
                "the report does not say how it was made: its manifest has no `commands`"
            )
            .hint("an earlier version wrote it; run the audit again and compare the two reports"));
        };
        match parsed(first)?.command {
            None => Ok(Again::Audit(
                commands.iter().map(|it| of_task(it, args)).collect::<Result<_>>()?,
            )),
            Some(Command::Demo(mut demo)) => {
                only_speed(&mut demo.settings);
                Ok(Again::Demo(Box::new(demo)))
            }
            Some(Command::Check(mut check)) => {
                if let Some(teacher) = &args.teacher {
                    check.teacher_predictions = vec![teacher.clone()];
                }
                if let Some(student) = &args.student {
                    check.student_predictions = vec![student.clone()];
                }
                let settings = check::settings(&check, &config(&check.tasks, args)?)?;
                require_tables_near(&check, &settings, args)?;
                Ok(Again::Check(Box::new(check), Box::new(settings)))
            }
            Some(Command::Recalibrate(mut asked)) => {
                placed(&mut asked.settings, args);
                let config = config(&asked.tasks, args)?;
                let settings = single(&asked.tasks, &config, &asked.settings)?;
                let (to_fit, to_gate) = recalibrate_settings(&asked, settings)?;
                Ok(Again::Recalibrate { to_fit, to_gate })
            }
            Some(_) => bail!("its command `{}` makes no report", first.command),
        }
    }

    /// Fails if `args` names a place that this report has no use for.
    pub(super) fn refuse_without_effect(&self, args: &VerifyArgs) -> Result<()> {
        let given = [
            ("teacher", args.teacher.is_some()),
            ("student", args.student.is_some()),
            ("data", args.data.is_some()),
            ("config", args.config.is_some()),
        ];
        let (without, of): (&[&str], _) = match self {
            Again::Demo(_) => (&["teacher", "student", "data", "config"], "audit demo"),
            Again::Check(..) => (&["data"], "audit check"),
            Again::Audit(_) | Again::Recalibrate { .. } => (&[], "audit"),
        };
        if args.config.is_some() && self.settings().iter().any(|it| it.config.is_none()) {
            let error = usage!("--config has no effect: the report's command names no config");
            return Err(error.hint("leave it out").into());
        }
        match given.iter().find(|(flag, given)| *given && without.contains(flag)) {
            None => Ok(()),
            Some((flag, _)) => {
                let error = usage!("--{flag} has no effect on a report of `{of}`");
                Err(error.hint("leave it out").into())
            }
        }
    }

    /// The config file in force, if any.
    pub(super) fn config(&self) -> Option<String> {
        self.settings().first()?.config.as_ref().map(|path| path.display().to_string())
    }

    /// The settings of each command; none for a demo.
    fn settings(&self) -> Vec<&Settings> {
        match self {
            Again::Audit(all) => all.iter().collect(),
            Again::Check(_, settings) => vec![settings],
            Again::Recalibrate { to_gate, .. } => vec![to_gate],
            Again::Demo(_) => Vec::new(),
        }
    }
}

fn recalibrate_settings(
    args: &RecalibrateArgs,
    settings: Settings,
) -> Result<(Box<Settings>, Box<Settings>)> {
    let (to_fit, to_gate) = recalibrate::settings(args, settings)?;
    Ok((Box::new(to_fit), Box::new(to_gate)))
}

/// The commands as this program writes them, with the report's own places. What they say in addition
/// is not there.
///
/// # Errors
/// As [`Again::of`].
pub(super) fn texts(commands: &[TaskCommand], args: &VerifyArgs) -> Result<Vec<String>> {
    commands.iter().map(|command| text(command, args)).collect()
}

fn text(command: &TaskCommand, args: &VerifyArgs) -> Result<String> {
    let Cli { audit, command: other } = parsed(command)?;
    let words = match other {
        None => {
            let config = named_config(&audit.tasks, args)?;
            single_task(settings(&audit.tasks, &config, &audit.settings)?, command)?
                .arguments(None, None)
        }
        Some(Command::Check(check)) => {
            let settings = check::settings(&check, &named_config(&check.tasks, args)?)?;
            check::command(&check, &settings)
        }
        Some(Command::Recalibrate(asked)) => {
            let config = named_config(&asked.tasks, args)?;
            let settings = single(&asked.tasks, &config, &asked.settings)?;
            let (to_fit, to_gate) = recalibrate::settings(&asked, settings)?;
            recalibrate_arguments(&to_fit, to_gate.arguments(None, None))
        }
        Some(_) => return Ok(command.command.clone()),
    };
    Ok(command_line(&words))
}

/// The config in force, under the name that the command gives it.
fn named_config(tasks: &TaskArgs, args: &VerifyArgs) -> Result<Config> {
    let config = config(tasks, args)?;
    Ok(Config { path: tasks.config.clone(), ..config })
}

/// The command line of `command`.
fn parsed(command: &TaskCommand) -> Result<Cli> {
    let wrong = |why: &str| {
        failure!("the report's command of {} cannot be read: {why}", command.task)
            .hint("`manifest.commands` of the report has it")
    };
    let words = shlex::split(&command.command).ok_or_else(|| wrong("a quote is not closed"))?;
    if words.first().map(String::as_str) != Some("audit") {
        bail!(wrong("it does not begin with `audit`"));
    }
    Cli::try_parse_from(words).map_err(|error| {
        let text = error.to_string();
        wrong(text.lines().next().unwrap_or_default().trim_start_matches("error: ")).into()
    })
}

/// The settings of one task of `audit`.
fn of_task(command: &TaskCommand, args: &VerifyArgs) -> Result<Settings> {
    let Cli { audit, command: other } = parsed(command)?;
    let mut layer = audit.settings;
    placed(&mut layer, args);
    let all = match other {
        None => settings(&audit.tasks, &config(&audit.tasks, args)?, &layer)?,
        Some(_) => Vec::new(),
    };
    single_task(all, command)
}

fn single_task(mut all: Vec<Settings>, command: &TaskCommand) -> Result<Settings> {
    match all.len() {
        1 if all[0].task.name == command.task => Ok(all.remove(0)),
        _ => bail!("the report's command of {} is not that of this task alone", command.task),
    }
}

/// The config that a command names, where it is now. Without one there is none: an audit.toml of the
/// current folder is not the report's.
fn config(tasks: &TaskArgs, args: &VerifyArgs) -> Result<Config> {
    match (&tasks.config, &args.config) {
        (None, _) => Ok(Config::default()),
        (Some(named), None) => {
            require_near(named, &args.report, "--config")?;
            Config::load(Some(named))
        }
        (Some(_), Some(given)) => Config::load(Some(given)),
    }
}

/// Fails unless the prediction files that the command of a check names lie near.
fn require_tables_near(check: &CheckArgs, settings: &Settings, args: &VerifyArgs) -> Result<()> {
    for (patterns, given, flag) in [
        (&check.teacher_predictions, &args.teacher, "--teacher"),
        (&check.student_predictions, &args.student, "--student"),
    ] {
        if given.is_some() {
            continue;
        }
        let patterns: Vec<String> =
            patterns.iter().map(|it| it.replace("{task}", &settings.task.name)).collect();
        // Without a file there is nothing to read; the check says so.
        for file in expand_patterns(&patterns).unwrap_or_default() {
            require_near(&file, &args.report, flag)?;
        }
    }
    Ok(())
}

/// Sets the places that `args` names.
fn placed(layer: &mut Layer, args: &VerifyArgs) {
    for (place, given) in [
        (&mut layer.teacher, &args.teacher),
        (&mut layer.student, &args.student),
        (&mut layer.data, &args.data),
    ] {
        if given.is_some() {
            place.clone_from(given);
        }
    }
    only_speed(layer);
    layer.onnxruntime.clone_from(&args.onnxruntime);
}

/// Drops what changes no result, and the library of ONNX Runtime; nothing is read from the cache.
fn only_speed(layer: &mut Layer) {
    (layer.threads, layer.token_budget) = (None, None);
    (layer.cache, layer.no_cache) = (None, true);
    // A library is code: the report may not choose what is run.
    layer.onnxruntime = None;
}
