//! `audit recalibrate`: fits one temperature on a split and gates on another.

use anyhow::Result;

use super::audit::{refuse_without_effect, session, single};
use super::output::{render_options, to_stdout};
use super::suite::print_hub_notes;
use crate::audit::{fitted_on_gate, recalibrate};
use crate::checkpoint::require_new_folder;
use crate::cli::RecalibrateArgs;
use crate::config::{Config, Settings};
use crate::error::Exit;
use crate::report::Envelope;
use crate::terminal::Verbosity;

/// Fits the temperature, prints the report, and writes the checkpoint if `--output` is given.
pub fn run(args: &RecalibrateArgs) -> Result<Exit> {
    let without = ["fail_fast", "sequential", "delta", "seed"];
    refuse_without_effect(&args.settings, "recalibrate", |key| without.contains(&key))?;
    let config = Config::load(args.tasks.config.as_deref())?;
    let (to_fit, to_gate) = settings(args, single(&args.tasks, &config, &args.settings)?)?;
    if let Some(folder) = &args.output {
        require_new_folder(folder, "--output")?;
    }
    let progress = Verbosity::for_stderr(args.quiet);
    let session = session(progress, std::slice::from_ref(&to_gate))?;
    let recalibrated = recalibrate(args.output.as_deref(), &to_fit, &to_gate, &session);
    print_hub_notes(&session);
    let report = recalibrated?;
    to_stdout(|out| args.on_stdout.format.write(&report, &[], &render_options(), out))?;
    if let Some(folder) = &args.output {
        progress.message(&format!("wrote {}: a checkpoint with τ folded in", folder.display()));
    }
    Ok(report.exit(args.exit_zero))
}

/// Settings of the split to fit on and of the one that gates.
pub(super) fn settings(args: &RecalibrateArgs, settings: Settings) -> Result<(Settings, Settings)> {
    settings.require_teacher()?;
    settings.require_student()?;
    let with = |split| {
        let mut settings = settings.clone();
        settings.split = Some(split);
        settings
    };
    let to_fit = with(settings.task.canonical_split(&args.fit_split));
    let to_gate = with(settings.split.clone().unwrap_or_else(|| "train".to_owned()));
    match to_fit.split == to_gate.split {
        true => Err(fitted_on_gate(&args.fit_split).into()),
        false => Ok((to_fit, to_gate)),
    }
}
