//! Command-line arguments.

mod augment;
mod check;
mod output;
mod pretrain;
mod training_texts;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::audit::SECONDARY_SPLIT;
use crate::config::Layer;
use crate::distill::methods::names_of;
use crate::distill::recipe::Init;
use crate::report::comparison::Comparison;
use crate::report::recalibration::Recalibration;
use crate::report::tuning::Tuning;
use crate::report::Report;
use crate::tune::plan::SearchName;
pub(crate) use augment::AugmentArgs;
pub(crate) use check::CheckArgs;
pub(crate) use output::{FormatArgs, OutputArgs};
pub(crate) use pretrain::PretrainArgs;
pub(crate) use verify::VerifyArgs;

const EXAMPLES: &str = "\
Examples:
  audit --task sst2 --teacher out/bert --student out/tiny          one task, on its training split
  audit --task all --config configs/glue.toml --data glue          the six tasks, one report
  audit --task mrpc --teacher T --student S --format markdown      for a pull request
  audit demo                                                       embedded models and data, no download

Exit codes: 0 preserved, 1 not preserved, 2 usage or config, 3 could not run, 130 interrupted";

/// Decides whether a distilled classifier keeps its teacher's confidence
#[derive(Debug, Parser)]
#[command(name = "audit", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) audit: AuditArgs,
    /// Any other command.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one model on a split and write its logits to a file
    Predict(PredictArgs),
    /// Audit prediction files made by other tools, such as an LLM or a service
    Check(CheckArgs),
    /// Fit one temperature for the student, and optionally save the rescaled checkpoint
    Recalibrate(RecalibrateArgs),
    /// Audit the embedded example models; downloads nothing
    Demo(DemoArgs),
    /// Write a commented config file
    Init(InitArgs),
    /// Print the settings in force and where each value comes from
    Config(ConfigArgs),
    /// Train a student that keeps its teacher's confidence
    Distill(DistillArgs),
    /// Fine-tune a pretrained checkpoint on a task's labels, for example to make a teacher
    Finetune(FinetuneArgs),
    /// Write copies of a task's training texts in which words are replaced, to train a student on
    Augment(AugmentArgs),
    /// Train a masked language model on a task's own texts, for `audit augment`
    Pretrain(PretrainArgs),
    /// Search for distillation settings that keep confidence and accuracy
    Tune(TuneArgs),
    /// List, clear or verify cached logits
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Convert a saved report to other formats without running models
    Render(RenderArgs),
    /// Compare two saved reports and fail on a regression
    Compare(CompareArgs),
    /// Derive a saved report again from its models and data, and compare every value
    Verify(VerifyArgs),
    /// Explain a verdict, a warning or a figure of the report
    Explain(ExplainArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the manual page, or write one page per subcommand
    Man(ManArgs),
}

/// `audit --task …`
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    #[command(flatten)]
    pub(crate) settings: Layer,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Tasks and their config.
#[derive(Debug, Args)]
pub(crate) struct TaskArgs {
    /// Tasks, separated by commas: cola, sst2, mrpc, qqp, qnli, rte, mnli, mnli-mm, wnli, a
    /// [task.NAME] of the config, or `all` for the first six
    #[arg(long, value_name = "TASK", value_delimiter = ',', help_heading = "Input")]
    pub(crate) task: Vec<String>,
    /// Config file with settings for the tasks [default: audit.toml, if it exists]
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(crate) config: Option<PathBuf>,
}

/// `audit predict …`
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Model to run: a folder, an ONNX file, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) model: String,
    /// Output file; the extension sets the format: .parquet, .csv or .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Head convention of a BERT model
    #[arg(long, value_name = "HEAD", value_enum)]
    pub(crate) head: Option<crate::model::Head>,
    #[command(flatten)]
    pub(crate) settings: Layer,
    /// Print only errors to stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// `audit recalibrate …`
#[derive(Debug, Args)]
pub(crate) struct RecalibrateArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    /// Split on which the temperature is fitted; the verdict is on --split, by default train
    #[arg(long, value_name = "NAME", default_value = SECONDARY_SPLIT, help_heading = "Input")]
    pub(crate) fit_split: String,
    /// New or empty folder for the recalibrated checkpoint
    #[arg(long, short, value_name = "DIR", help_heading = "Report")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Recalibration>,
    /// Print only errors to stderr
    #[arg(long, short, help_heading = "Report")]
    pub(crate) quiet: bool,
    /// Exit with 0 instead of 1 if the student is not preserved; errors keep their codes
    #[arg(long, help_heading = "Report")]
    pub(crate) exit_zero: bool,
    #[command(flatten)]
    pub(crate) settings: Layer,
}

/// `audit demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[command(flatten)]
    pub(crate) settings: Layer,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const RENDERED: &str =
    "Format of the report on stdout; csv is read from predictions.csv in the report's folder";

/// `audit render …`
#[derive(Debug, Args)]
#[command(mut_arg("format", |format| format.help(RENDERED)))]
pub(crate) struct RenderArgs {
    /// Saved report.json, or - for stdin
    #[arg(value_name = "REPORT.json")]
    pub(crate) report: PathBuf,
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Report>,
    /// Also write the files of `audit --output-dir` into this folder
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Print only errors to stderr
    #[arg(long, short, help_heading = "Report")]
    pub(crate) quiet: bool,
}

const COMPARED: &str = "\
Only rows that gate in NEW.json count. Two changes are a regression even without limits: a verdict \
from preserved to not preserved, and a student above the old κ that passes only because κ was raised.

Exit codes: 0 no regression, 1 regression, 2 usage or not a report, 3 a required figure could not be \
compared";

/// `audit compare …`
#[derive(Debug, Args)]
#[command(after_help = COMPARED, mut_arg("format", |format| {
    format.help("Format of the comparison on stdout").help_heading(None::<&str>)
}))]
pub(crate) struct CompareArgs {
    /// Baseline report, or - for stdin
    #[arg(value_name = "OLD.json")]
    pub(crate) old: PathBuf,
    /// New report, or - for stdin
    #[arg(value_name = "NEW.json")]
    pub(crate) new: PathBuf,
    /// Largest allowed increase of the gating σ, at least 0 and below 1
    #[arg(long, value_name = "X", value_parser = limit, allow_negative_numbers = true)]
    pub(crate) max_sigma_increase: Option<f64>,
    /// Largest allowed drop of the student's accuracy, at least 0 and below 1
    #[arg(long, value_name = "X", value_parser = limit, allow_negative_numbers = true)]
    pub(crate) max_accuracy_drop: Option<f64>,
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Comparison>,
    /// Print only errors to stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
    /// Exit with 0 instead of 1 on a regression; errors keep their codes
    #[arg(long)]
    pub(crate) exit_zero: bool,
}

/// Parses a number of examples.
fn at_least_one(text: &str) -> Result<usize, String> {
    let value: usize = text.parse().map_err(|_| "it is not a whole number".to_owned())?;
    if value == 0 {
        Err("give 1 or more".to_owned())
    } else {
        Ok(value)
    }
}

/// Parses a limit in [0, 1). No share can move by more than 1: whoever types 1 means per cent.
fn limit(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let why = "give a share of at least 0 and below 1, such as 0.01 for one percentage point";
    (0.0..1.0).contains(&value).then_some(value).ok_or_else(|| why.to_owned())
}

/// `audit explain …`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Words to explain, such as vacuous, sigma or ECE [default: list all words]
    #[arg(value_name = "WORD")]
    pub(crate) words: Vec<String>,
}

/// `audit init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Config file to write
    #[arg(value_name = "FILE", default_value = crate::config::DEFAULT_NAME)]
    pub(crate) file: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub(crate) force: bool,
}

/// `audit config`
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(flatten)]
    pub(crate) tasks: TaskArgs,
    #[command(flatten)]
    pub(crate) settings: Layer,
}

/// `audit distill …`
#[derive(Debug, Args)]
pub(crate) struct DistillArgs {
    /// Teacher model: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) teacher: Option<String>,
    /// The teacher's predictions in place of a teacher: a table of logits or probabilities on the
    /// training set; {split} stands for a split's name
    #[arg(long, value_name = "FILE", conflicts_with = "teacher")]
    pub(crate) teacher_predictions: Option<String>,
    /// How the student is initialised
    #[arg(long, value_name = "START", value_enum)]
    pub(crate) init: Option<Init>,
    /// Distillation method.
    #[arg(long, value_name = "METHOD", help = method_help())]
    pub(crate) method: Option<String>,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
}

/// `audit finetune …`
#[derive(Debug, Args)]
pub(crate) struct FinetuneArgs {
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
}

/// `audit tune …`
#[derive(Debug, Args)]
#[command(mut_arg("format", |format| format.help_heading(None::<&str>)))]
pub(crate) struct TuneArgs {
    /// Search file: a recipe, its search space and the constraints; see configs/tune for examples
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Teacher model: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) teacher: Option<String>,
    /// The teacher's predictions in place of a teacher: a table of logits or probabilities on the
    /// training set; {split} stands for a split's name
    #[arg(long, value_name = "FILE", conflicts_with = "teacher")]
    pub(crate) teacher_predictions: Option<String>,
    /// Folder for the journal and the results. An existing journal of the same search is resumed;
    /// several processes may share it
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Total number of trials, including the default settings [default: 20]
    #[arg(long, value_name = "N")]
    pub(crate) trials: Option<usize>,
    /// Start no new trial after this time, such as 90m or 2h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) time: Option<Duration>,
    /// Search algorithm [default: tpe]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) search: Option<SearchName>,
    /// The bound κ, set directly
    #[arg(long, value_name = "KAPPA", allow_negative_numbers = true)]
    pub(crate) kappa: Option<f64>,
    /// β as a mean over the examples, in nats [default: 0.0025, so that κ = 0.05]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, conflicts_with = "kappa")]
    pub(crate) beta_per_example: Option<f64>,
    #[command(flatten)]
    pub(crate) inputs: TrainingInputs,
    #[command(flatten)]
    pub(crate) on_stdout: FormatArgs<Tuning>,
    /// Also print the progress of every training
    #[arg(long, short, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
}

/// `audit completions SHELL`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_name = "SHELL", value_enum)]
    pub(crate) shell: Shell,
}

/// `audit man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write audit.1 and a page per subcommand into this folder instead of printing audit.1
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
}

/// Options of one training.
#[derive(Debug, Args)]
pub(crate) struct TrainingArgs {
    /// Recipe file; configs/distill has one for each method
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Pretrained checkpoint to start from: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub(crate) base: Option<String>,
    /// Output folder for config.json, model.safetensors, the tokenizer and distillation.json
    #[arg(long, short, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Resume the interrupted training in the output folder
    #[arg(long)]
    pub(crate) resume: bool,
    #[command(flatten)]
    pub(crate) inputs: TrainingInputs,
}

/// Data and models of `audit distill`, `audit finetune` and `audit tune`.
#[derive(Debug, Args)]
pub(crate) struct TrainingInputs {
    /// Task [default: the recipe's]
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<String>,
    /// Data folder, as for the audit [default: the Hub's nyu-mll/glue]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<String>,
    /// Use only the first N examples
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Accept a split in which more than 0.1 % of the rows cannot be used
    #[arg(long)]
    pub(crate) allow_skipped: bool,
    /// Map the teacher's labels to the task's: MODEL_LABEL=TASK_LABEL,…
    #[arg(long, value_name = "MAP")]
    pub(crate) label_map: Option<String>,
    /// Head convention of a BERT teacher [default: auto]
    #[arg(long, value_name = "HEAD", value_enum)]
    pub(crate) teacher_head: Option<crate::model::Head>,
    /// Read a vocab.txt without a tokenizer.json as cased
    #[arg(long, conflicts_with = "uncased")]
    pub(crate) cased: bool,
    /// Read a vocab.txt without a tokenizer.json as uncased
    #[arg(long)]
    pub(crate) uncased: bool,
    /// Maximum sequence length in tokens. If it is not set, a tokenizer's own lower limit applies
    /// [default: 128]
    #[arg(long, value_name = "TOKENS")]
    pub(crate) max_length: Option<usize>,
    /// Seed of all random draws; the same seed gives the same bytes [default: 0]
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
    /// Worker threads; affects speed, never the result [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Do not read or write cached teacher logits
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Print only errors to stderr
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl TrainingInputs {
    /// These flags and `teacher` as a layer of settings, which overrides the recipe.
    pub(crate) fn layer(&self, teacher: Option<String>) -> Layer {
        Layer {
            teacher,
            data: self.data.clone(),
            limit: self.limit,
            allow_skipped: self.allow_skipped.then_some(true),
            label_map: self.label_map.clone(),
            teacher_head: self.teacher_head,
            cased: self.cased,
            uncased: self.uncased,
            max_length: self.max_length,
            seed: self.seed,
            threads: self.threads,
            no_cache: self.no_cache,
            ..Layer::default()
        }
    }
}

/// `audit cache …`
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List all entries with model, split and number of rows
    List,
    /// Remove all entries, except those that a process is writing
    Clear {
        /// Remove only entries last written at least this many days ago
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
    },
    /// Check the checksums of all entries; exit with 1 if one is damaged
    Verify,
}

fn method_help() -> String {
    format!("Distillation method: {} [default: the recipe's]", names_of(|_| true))
}
