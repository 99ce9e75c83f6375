//! `audit tune`: searches for distillation settings that keep the confidence.

use anyhow::Result;

use super::audit::session_with;
use super::output::{render_options, to_stdout};
use super::suite::print_hub_notes;
use crate::cli::TuneArgs;
use crate::config::Layer;
use crate::distill::recipe::{Flags, WrittenTables};
use crate::error::Exit;
use crate::interrupt::Interrupt;
use crate::report::Envelope;
use crate::terminal::Verbosity;
use crate::tune::plan::{Plan, TuneFlags};
use crate::tune::tune;

/// Runs the search, writes the output folder and prints the report.
pub fn run(args: &TuneArgs) -> Result<Exit> {
    let plan = Plan::read(&args.config, &flags(args))?;
    let progress = Verbosity::for_stderr(args.inputs.quiet);
    let of_trainings = if args.verbose { progress } else { Verbosity::Quiet };
    let interrupt = Interrupt::from_signals(progress);
    let settings = [plan.settings()?];
    let session = session_with(interrupt.clone(), progress, &settings)?;
    let trainings = session_with(interrupt, of_trainings, &settings)?;
    let tuned = tune(&plan, &session, &trainings);
    print_hub_notes(&session);
    print_hub_notes(&trainings);
    let report = tuned?;
    to_stdout(|out| args.on_stdout.format.write(&report, &[], &render_options(), out))?;
    let folder = plan.output.display();
    progress.message(&format!(
        "wrote {folder}: winner, winner.toml, tune.html, trials.csv, epochs.csv, tune.json, journal.jsonl"
    ));
    Ok(report.exit(false))
}

fn flags(args: &TuneArgs) -> TuneFlags {
    let (kappa, beta_per_example) = (args.kappa, args.beta_per_example);
    let settings = Layer { kappa, beta_per_example, ..args.inputs.layer(args.teacher.clone()) };
    let (task, output) = (args.inputs.task.clone(), args.output.clone());
    let tables = args.teacher_predictions.clone();
    let teacher_predictions = tables.map(|path| WrittenTables::Path(path).here());
    TuneFlags {
        training: Flags { settings, task, output, teacher_predictions, ..Flags::default() },
        trials: args.trials,
        time: args.time,
        search: args.search,
    }
}
