//! Arguments for the outputs of a report.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::Args;

use crate::report::{Envelope, Format, Report};

/// `--format` of a command that writes a report of type `R`.
#[derive(Debug, Args)]
pub(crate) struct FormatArgs<R: Envelope> {
    /// Format of the report on stdout
    #[arg(
        long,
        value_name = "FORMAT",
        value_parser = formats::<R>(),
        default_value = "text",
        help_heading = "Report"
    )]
    pub(crate) format: &'static Format<R>,
}

/// Report outputs: format, files, verbosity and exit code.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Report>,
    /// Also write the files of the formats into this folder
    #[arg(long, value_name = "DIR", help = output_dir_help(), help_heading = "Report")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Append `verdict=…` and `sigma=…` to this file, in the form of GitHub Actions step outputs
    #[arg(long, value_name = "FILE", help_heading = "Report")]
    pub(crate) github_output: Option<PathBuf>,
    /// Print only errors to stderr
    #[arg(long, short, help_heading = "Report")]
    pub(crate) quiet: bool,
    /// Exit with 0 instead of 1 if a student is not preserved; errors keep their codes
    #[arg(long, help_heading = "Report")]
    pub(crate) exit_zero: bool,
}

/// The values of `--format` for a report: the names in its table of formats.
fn formats<R: Envelope>() -> impl TypedValueParser<Value = &'static Format<R>> {
    let listed = R::FORMATS.iter().map(|format| PossibleValue::new(format.name).help(format.about));
    PossibleValuesParser::new(listed)
        .try_map(|name| Format::named(&name).ok_or_else(|| format!("unknown format `{name}`")))
}

/// The help of `--output-dir`: the files of the formats that have one.
fn output_dir_help() -> String {
    let files: Vec<&str> = Format::<Report>::files().map(|(file, _)| file).collect();
    match files.split_last() {
        Some((last, others)) => {
            format!("Also write {} and {last} into this folder", others.join(", "))
        }
        None => String::new(),
    }
}
