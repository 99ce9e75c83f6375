//! Parses the command line, runs the command, turns its outcome into the exit code.

use std::process::ExitCode;

use clap::Parser;
use confidence_audit::cli::{Cli, Command};
use confidence_audit::{commands, error};

/// Large tensors come and go with every operation; glibc would return each to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // candle shares element-wise operations out among threads that spin while they wait, a third of
    // a training's time; what is heavy has workers of its own here. Read before its first operation.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
    let cli = Cli::parse();
    let outcome = match &cli.command {
        None => commands::audit::run(&cli.audit),
        Some(Command::Predict(args)) => commands::predict::run(args),
        Some(Command::Recalibrate(args)) => commands::recalibrate::run(args),
        Some(Command::Check(args)) => commands::check::run(args),
        Some(Command::Demo(args)) => commands::demo::run(args),
        Some(Command::Init(args)) => commands::init::run(args),
        Some(Command::Config(args)) => commands::config::run(args),
        Some(Command::Distill(args)) => commands::distill::run(args),
        Some(Command::Finetune(args)) => commands::distill::finetune(args),
        Some(Command::Cache(command)) => commands::cache::run(command),
        Some(Command::Render(args)) => commands::render::run(args),
        Some(Command::Compare(args)) => commands::compare::run(args),
        Some(Command::Explain(args)) => commands::explain::run(args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            error::print(&error);
            error::exit_code(&error).into()
        }
    }
}
