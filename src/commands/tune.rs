//! `audit tune`: settings of a distillation that restore the property.

use anyhow::Result;

use super::audit::stoppable_session;
use super::output::{print, render_options};
use super::suite::say_hub_notes;
use crate::cli::TuneArgs;
use crate::config::Layer;
use crate::distill::recipe::Flags;
use crate::error::{usage, Exit};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::report::schema::Outcome;
use crate::report::tuning::{write_json, write_text};
use crate::report::Format;
use crate::tune::plan::{Plan, TuneFlags};
use crate::tune::tune;

/// Searches, writes the output folder, and says what came of it.
///
/// # Errors
/// A plan that contradicts itself, its models or its data, before anything is trained; whatever ends
/// a training; a search that finds nothing is none.
pub fn run(args: &TuneArgs) -> Result<Exit> {
    if !matches!(args.format, Format::Text | Format::Json) {
        return Err(usage(format!(
            "`audit tune` writes no report as {} on stdout\n  hint: use --format text or json; the \
             page and the table are in the output folder",
            args.format.as_str()
        )));
    }
    let plan = Plan::read(&args.config, &flags(args))?;
    let progress = Progress::for_stderr(args.quiet);
    let of_trainings = if args.verbose { progress } else { Progress::Quiet };
    let interrupt = Interrupt::from_signals(progress);
    let settings = [plan.settings()?];
    let session = stoppable_session(interrupt.clone(), progress, &settings)?;
    let trainings = stoppable_session(interrupt, of_trainings, &settings)?;
    let tuned = tune(&plan, &session, &trainings);
    say_hub_notes(&session);
    say_hub_notes(&trainings);
    let report = tuned?;
    let mut text = Vec::new();
    match args.format {
        Format::Json => write_json(&report, &mut text),
        _ => write_text(&report, &render_options(), &mut text),
    }?;
    print(&String::from_utf8_lossy(&text))?;
    let folder = plan.output.display();
    progress.message(&format!(
        "wrote {folder}: winner, winner.toml, tune.html, trials.csv, tune.json, journal.jsonl"
    ));
    Ok(match report.verdict {
        Outcome::Preserved => Exit::Preserved,
        _ => Exit::NotPreserved,
    })
}

fn flags(args: &TuneArgs) -> TuneFlags {
    let settings = Layer {
        teacher: args.teacher.clone(),
        data: args.data.clone(),
        limit: args.limit,
        kappa: args.kappa,
        beta_per_example: args.beta_per_example,
        max_length: args.max_length,
        seed: args.seed,
        threads: args.threads,
        no_cache: args.no_cache,
        ..Layer::default()
    };
    let (task, output) = (args.task.clone(), args.output.clone());
    TuneFlags {
        training: Flags { settings, task, output, ..Flags::default() },
        trials: args.trials,
        time: args.time,
        search: args.search,
    }
}
