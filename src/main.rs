//! Parses the command line, runs the command and returns its exit code.

use std::process::ExitCode;

use clap::Parser;
use confidence_audit::cli::Cli;
use confidence_audit::{commands, error};

/// Every operation allocates and frees large tensors, and glibc would return each to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // candle's threads for element-wise operations spin while they wait, which takes a third of a
    // training's time. candle reads the variable before its first operation.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
    match error::program(|| commands::run(&Cli::parse())).and_then(|result| result) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error::print(&error);
            error::exit_code(&error).into()
        }
    }
}
