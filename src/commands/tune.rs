//! `audit tune`: settings of a distillation that restore the property.

use anyhow::Result;

use super::audit::stoppable_session;
use super::output::{render_options, to_stdout};
use super::suite::say_hub_notes;
use crate::cli::TuneArgs;
use crate::config::Layer;
use crate::distill::recipe::Flags;
use crate::error::Exit;
use crate::interrupt::Interrupt;
use crate::report::Envelope;
use crate::terminal::Verbosity;
use crate::tune::plan::{Plan, TuneFlags};
use crate::tune::tune;

/// Searches, writes the output folder and prints the report.
///
/// # Errors
/// A plan that contradicts itself, its models or its data, before anything is trained; whatever ends
/// a training; a search that finds nothing is none.
pub fn run(args: &TuneArgs) -> Result<Exit> {
    let plan = Plan::read(&args.config, &flags(args))?;
    let progress = Verbosity::for_stderr(args.of.quiet);
    let of_trainings = if args.verbose { progress } else { Verbosity::Quiet };
    let interrupt = Interrupt::from_signals(progress);
    let settings = [plan.settings()?];
    let session = stoppable_session(interrupt.clone(), progress, &settings)?;
    let trainings = stoppable_session(interrupt, of_trainings, &settings)?;
    let tuned = tune(&plan, &session, &trainings);
    say_hub_notes(&session);
    say_hub_notes(&trainings);
    let report = tuned?;
    to_stdout(|out| args.on_stdout.format.write(&report, &[], &render_options(), out))?;
    let folder = plan.output.display();
    progress.message(&format!(
        "wrote {folder}: winner, winner.toml, tune.html, trials.csv, tune.json, journal.jsonl"
    ));
    Ok(report.exit(false))
}

fn flags(args: &TuneArgs) -> TuneFlags {
    let (kappa, beta_per_example) = (args.kappa, args.beta_per_example);
    let settings = Layer { kappa, beta_per_example, ..args.of.layer(args.teacher.clone()) };
    let (task, output) = (args.of.task.clone(), args.output.clone());
    TuneFlags {
        training: Flags { settings, task, output, ..Flags::default() },
        trials: args.trials,
        time: args.time,
        search: args.search,
    }
}
