//! `audit compare`: what moved between two saved reports, as a gate.

use anyhow::Result;

use super::output::{render_options, to_stdout};
use super::render::say_unknown;
use crate::cli::CompareArgs;
use crate::error::{Diagnostic, Exit};
use crate::report::comparison::{
    compare, write_json, write_markdown, write_text, ComparisonVerdict, Limits,
};
use crate::report::{Format, Saved};
use crate::terminal::Verbosity;

/// Compares, prints, and turns what came of it into the exit code.
///
/// # Errors
/// A file that is no report or has a row twice, a form that there is not; a regression is none.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    if !matches!(args.format, Format::Text | Format::Json | Format::Markdown) {
        return Err(Diagnostic::usage(format!(
            "`audit compare` writes no comparison as {}",
            args.format
        ))
        .hint("use --format text, json or markdown")
        .into());
    }
    if [&args.old, &args.new].iter().all(|path| path.as_os_str() == "-") {
        return Err(Diagnostic::usage("stdin can be one of the two reports")
            .hint("name a file for the other")
            .into());
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
    to_stdout(|out| match args.format {
        Format::Json => write_json(&comparison, out),
        Format::Markdown => write_markdown(&comparison, out),
        _ => write_text(&comparison, &render_options(), out),
    })?;
    Ok(match comparison.verdict {
        ComparisonVerdict::NoRegression => Exit::Preserved,
        ComparisonVerdict::Regression if args.exit_zero => Exit::Preserved,
        ComparisonVerdict::Regression => Exit::NotPreserved,
        ComparisonVerdict::NotComparable => Exit::CouldNotRun,
    })
}
