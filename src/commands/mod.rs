//! One file per command: takes the arguments, runs the command, writes its output.

mod audit;
mod augment;
mod cache;
mod check;
mod compare;
mod completions;
mod config;
mod demo;
mod distill;
mod explain;
mod init;
mod man;
mod output;
mod predict;
mod pretrain;
mod recalibrate;
mod render;
mod suite;
mod tune;
mod verify;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::error::Exit;

use output::{print, ReportOutput};
use suite::{run_each, run_suite};

/// Runs the command and returns its exit code.
///
/// # Errors
/// Anything that kept it from being carried out. A failed check, a regression or a search without a
/// feasible student is not an error, and a task of a suite that could not be run is a row of its report.
pub fn run(cli: &Cli) -> Result<Exit> {
    match &cli.command {
        None => audit::run(&cli.audit),
        Some(Command::Predict(args)) => predict::run(args),
        Some(Command::Recalibrate(args)) => recalibrate::run(args),
        Some(Command::Check(args)) => check::run(args),
        Some(Command::Demo(args)) => demo::run(args),
        Some(Command::Init(args)) => init::run(args),
        Some(Command::Config(args)) => config::run(args),
        Some(Command::Distill(args)) => distill::run(args),
        Some(Command::Finetune(args)) => distill::finetune(args),
        Some(Command::Augment(args)) => augment::run(args),
        Some(Command::Pretrain(args)) => pretrain::run(args),
        Some(Command::Tune(args)) => tune::run(args),
        Some(Command::Cache(command)) => cache::run(command),
        Some(Command::Render(args)) => render::run(args),
        Some(Command::Compare(args)) => compare::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::Explain(args)) => explain::run(args),
        Some(Command::Completions(args)) => completions::run(args),
        Some(Command::Man(args)) => man::run(args),
    }
}
