//! Arguments of `audit verify`.

use std::path::PathBuf;

use clap::Args;

use super::{at_least_one, FormatArgs};
use crate::report::verification::Verification;

const VERIFIED: &str = "\
Run it in the folder in which the audit was run, or name the places with --teacher, --student, --data \
and --config. The SHA-256 of models, data and settings are compared first, then every value of a new \
run. The prediction cache is not used. The settings are those of the report's own commands, so look at \
the bound, which the output prints: a report that is true may state a bound that nobody agreed on.

The exit code is about the report, not about the student: a true report of a student that is not \
preserved is verified.

Exit codes: 0 verified, 1 differs, 2 usage or not a report, 3 cannot be verified";

/// `audit verify …`
#[derive(Debug, Args)]
#[command(after_help = VERIFIED, mut_arg("format", |format| {
    format.help("Format of the verification on stdout").help_heading(None::<&str>)
}))]
pub(crate) struct VerifyArgs {
    /// Saved report.json of an audit, or recalibration.json, or - for stdin
    #[arg(value_name = "REPORT.json")]
    pub(crate) report: PathBuf,
    /// Where the teacher is now: a folder or a Hub id; for `audit check`, its prediction files
    /// [default: the report's]
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) teacher: Option<String>,
    /// Where the student is now [default: the report's]
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) student: Option<String>,
    /// Where the data is now [default: the report's]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// Where the config file is now [default: the report's]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run ONNX models with this shared library of ONNX Runtime, if the report's were; the library that
    /// the report names is never loaded [default: $ORT_DYLIB_PATH]
    #[arg(long, value_name = "PATH")]
    pub(crate) onnxruntime: Option<PathBuf>,
    /// Run only N random examples of each split, and derive the verdict from predictions.csv in the
    /// report's folder
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) sample: Option<usize>,
    /// Seed of the examples of --sample [default: another one each time]
    #[arg(long, value_name = "SEED", requires = "sample")]
    pub(crate) seed: Option<u64>,
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Verification>,
    /// Print only errors to stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}
