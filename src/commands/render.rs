//! `audit render`: converts a saved report to other formats without running models.

use std::fs::File;
use std::io;

use anyhow::{bail, Context, Result};

use super::output::{render_options, to_stdout};
use crate::cli::RenderArgs;
use crate::error::{Diagnostic, Exit};
use crate::report::{OutputDir, Saved};
use crate::terminal::Verbosity;

/// Largest number of unknown keys listed in the warning.
const UNKNOWN_SHOWN: usize = 3;

/// Writes the report to every requested output. Its verdict does not change the exit code.
pub fn run(args: &RenderArgs) -> Result<Exit> {
    let progress = Verbosity::for_stderr(args.quiet);
    let saved = Saved::read(&args.report)?;
    warn_of_unknown_keys(&saved, progress);
    // Checking predictions.csv reads every row, so only where it is needed.
    let predictions = match args.on_stdout.format.is_of_predictions() || args.output_dir.is_some() {
        true => saved.predictions().map(Some),
        false => Ok(None),
    };
    if let (true, Err(why)) = (args.on_stdout.format.is_of_predictions(), &predictions) {
        bail!(Diagnostic::usage(why.to_string())
            .hint("`audit --format csv` and `--output-dir` write it when the models are run"));
    }
    let files = match &args.output_dir {
        Some(folder) => {
            let folder = OutputDir::prepare(folder)?;
            if let Err(why) = &predictions {
                progress.message(&format!("note: no predictions.csv is written: {why}"));
            }
            Some(folder.write_again(&saved, predictions.as_ref().ok().and_then(Option::as_deref)))
        }
        None => None,
    };
    let written = to_stdout(|out| match &predictions {
        Ok(Some(table)) if args.on_stdout.format.is_of_predictions() => {
            io::copy(&mut File::open(table)?, out).map(|_| ())
        }
        _ => args.on_stdout.format.write(&saved.report, &[], &render_options(), out),
    });
    if let Some(files) = files.transpose()? {
        let names: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
        progress.message(&format!("wrote {}", names.join(", ")));
    }
    written.context("the report was not printed")?;
    Ok(Exit::Preserved)
}

/// Warns of keys in the report that a later version wrote and this one ignores.
pub(super) fn warn_of_unknown_keys(saved: &Saved, progress: Verbosity) {
    if saved.unknown.is_empty() {
        return;
    }
    let shown: Vec<String> =
        saved.unknown.iter().take(UNKNOWN_SHOWN).map(|key| format!("`{key}`")).collect();
    let more = match saved.unknown.len().saturating_sub(UNKNOWN_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (file, keys) = (saved.quoted_name(), shown.join(", "));
    progress.message(&format!(
        "warning: {file} has keys that this version does not know and leaves out: {keys}{more}"
    ));
}
