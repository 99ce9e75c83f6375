//! Parses the command line, runs the command, turns its outcome into the exit code.

use std::process::ExitCode;

use clap::Parser;
use confidence_audit::cli::Cli;
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
    match commands::run(&Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error::print(&error);
            error::exit_code(&error).into()
        }
    }
}
