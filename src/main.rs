//! Parses the command line, runs the command and returns its exit code.

use std::process::ExitCode;

use clap::Parser;
use confidence_audit::cli::Cli;
use confidence_audit::error::Exit;
use confidence_audit::{commands, error, terminal};

/// Every operation allocates and frees large tensors, and glibc would return each to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // candle's threads for element-wise operations spin while they wait, which takes a third of a
    // training's time. candle reads the variable before its first operation.
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        std::env::set_var("CANDLE_NUM_THREADS", "1");
    }
    let run = || match arguments() {
        Ok(arguments) => commands::run(&arguments),
        Err(exit) => Ok(exit),
    };
    match error::program(run).and_then(|result| result) {
        Ok(exit) => exit.into(),
        Err(error) => {
            error::print(&error);
            error::exit_code(&error).into()
        }
    }
}

/// The command line. Its errors repeat arguments, which are made harmless first.
fn arguments() -> Result<Cli, Exit> {
    let error = match Cli::try_parse() {
        Ok(arguments) => return Ok(arguments),
        Err(error) if !error.use_stderr() => error.exit(), // help or version
        Err(error) => error,
    };
    let given = std::env::args_os().map(|given| terminal::neutralise(&given.to_string_lossy()));
    match Cli::try_parse_from(given) {
        Err(harmless) if harmless.kind() == error.kind() => {
            let _ = harmless.print();
        }
        _ => terminal::write_lines(&error.to_string()),
    }
    Err(Exit::Usage)
}
