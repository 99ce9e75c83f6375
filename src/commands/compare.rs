//! `audit compare`: what moved between two saved reports, as a gate.

use anyhow::{bail, Result};

use super::output::{render_options, to_stdout};
use super::render::say_unknown;
use crate::cli::CompareArgs;
use crate::error::{Diagnostic, Exit};
use crate::report::comparison::{compare, Limits};
use crate::report::{Envelope, Saved};
use crate::terminal::Verbosity;

/// Compares two saved reports, prints the comparison and returns its exit code.
///
/// # Errors
/// A file that is not a report or has a row twice. A regression is not an error.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    if [&args.old, &args.new].iter().all(|path| path.as_os_str() == "-") {
        bail!(Diagnostic::usage("stdin can be one of the two reports")
            .hint("name a file for the other"));
    }
    let progress = Verbosity::for_stderr(args.quiet);
    let read = |path| Saved::read(path)?.with_distinct_rows();
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    say_unknown(&old, progress);
    say_unknown(&new, progress);
    let limits = Limits {
        max_sigma_increase: args.max_sigma_increase,
        max_accuracy_drop: args.max_accuracy_drop,
    };
    let names = [old.name(), new.name()];
    let comparison = compare((&names[0], &old.report), (&names[1], &new.report), limits);
    to_stdout(|out| args.on_stdout.format.write(&comparison, &[], &render_options(), out))?;
    Ok(comparison.exit(args.exit_zero))
}
