//! `audit compare`: compares two saved reports and fails on a regression.

use anyhow::{bail, Result};

use super::output::{render_options, to_stdout};
use super::render::warn_of_unknown_keys;
use crate::cli::CompareArgs;
use crate::error::{Diagnostic, Exit};
use crate::report::comparison::{compare, Limits};
use crate::report::{Envelope, Saved};
use crate::terminal::Verbosity;

/// Prints the comparison and returns its exit code.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    if [&args.old, &args.new].iter().all(|path| path.as_os_str() == "-") {
        bail!(Diagnostic::usage("only one of the two reports can be read from stdin")
            .hint("pass a file for the other"));
    }
    let progress = Verbosity::for_stderr(args.quiet);
    let read = |path| Saved::read(path)?.with_distinct_rows();
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    warn_of_unknown_keys(&old, progress);
    warn_of_unknown_keys(&new, progress);
    let limits = Limits {
        max_sigma_increase: args.max_sigma_increase,
        max_accuracy_drop: args.max_accuracy_drop,
    };
    let names = [old.name(), new.name()];
    let comparison = compare((&names[0], &old.report), (&names[1], &new.report), limits);
    to_stdout(|out| args.on_stdout.format.write(&comparison, &[], &render_options(), out))?;
    Ok(comparison.exit(args.exit_zero))
}
