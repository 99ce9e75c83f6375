//! What a user may type.

mod output;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::Layer;
use crate::distill::methods::names_of;
use crate::distill::recipe::Init;
use crate::report::comparison::Comparison;
use crate::report::recalibration::Recalibration;
use crate::report::tuning::Tuning;
use crate::report::Report;
use crate::tune::plan::SearchName;
pub use output::{FormatArgs, Output};

const EXAMPLES: &str = "\
Examples:
  audit --task sst2 --teacher out/bert --student out/tiny          one task, on its training split
  audit --task all --config configs/glue.toml --data glue          the six tasks, one report
  audit --task mrpc --teacher T --student S --format markdown      for a pull request
  audit demo                                                       nothing to download

Exit codes: 0 preserved, 1 not preserved, 2 usage or config, 3 could not run, 130 interrupted";

/// Decides whether a distilled classifier keeps its teacher's confidence
#[derive(Debug, Parser)]
#[command(name = "audit", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Without a subcommand: the audit.
    #[command(flatten)]
    pub audit: AuditArgs,
    /// Everything else.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one model over a split and write its logits
    Predict(PredictArgs),
    /// Audit predictions made elsewhere: ONNX, an LLM, a service
    Check(CheckArgs),
    /// Fit one temperature for the student, and write it into a copy of its checkpoint
    Recalibrate(RecalibrateArgs),
    /// Audit the embedded pairs: nothing to download
    Demo(DemoArgs),
    /// Write a commented config
    Init(InitArgs),
    /// Print what is in force, and where each value comes from
    Config(ConfigArgs),
    /// Train a student that keeps its teacher's confidence
    Distill(DistillArgs),
    /// Fine-tune a pretrained checkpoint on a task's labels: how a teacher is made
    Finetune(FinetuneArgs),
    /// Search for settings of a distillation that keep the confidence, and the accuracy
    Tune(TuneArgs),
    /// List, clear or check the logits that earlier runs kept
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Write a saved report in another format, without models
    Render(RenderArgs),
    /// Say what moved between two saved reports, and gate on it
    Compare(CompareArgs),
    /// Say what a verdict, a warning or a figure of the report means
    Explain(ExplainArgs),
    /// Print a script that completes the command line in a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write one per subcommand
    Man(ManArgs),
}

/// `audit --task …`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The tasks.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Settings; they win over the config's.
    #[command(flatten)]
    pub settings: Layer,
    /// The report.
    #[command(flatten)]
    pub output: Output,
}

/// Which tasks, and from which config.
#[derive(Debug, Args)]
pub struct Tasks {
    /// cola, sst2, mrpc, qqp, qnli, rte, mnli, mnli-mm, wnli, a [task.NAME] of the config, several
    /// with commas, or `all` for the first six
    #[arg(long, value_name = "TASK", value_delimiter = ',', help_heading = "What is audited")]
    pub task: Vec<String>,
    /// Settings for the tasks [default: audit.toml, if there is one]
    #[arg(long, value_name = "FILE", help_heading = "What is audited")]
    pub config: Option<PathBuf>,
}

/// `audit predict …`
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The task; one.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Model: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub model: String,
    /// File to write: .parquet, .csv or .jsonl
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// Head convention of a BERT model
    #[arg(long, value_name = "HEAD", value_enum)]
    pub head: Option<crate::model::Head>,
    /// Settings; they win over the config's.
    #[command(flatten)]
    pub settings: Layer,
    /// Say nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
}

/// `audit check …`
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The task; one.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Files of the teacher's predictions (CSV, JSONL or Parquet); patterns allowed, shards merge
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub teacher_predictions: Vec<String>,
    /// Files of the student's predictions
    #[arg(long, value_name = "FILES", required = true, num_args = 1..)]
    pub student_predictions: Vec<String>,
    /// Settings; they win over the config's.
    #[command(flatten)]
    pub settings: Layer,
    /// The report.
    #[command(flatten)]
    pub output: Output,
}

/// `audit recalibrate …`
#[derive(Debug, Args)]
pub struct RecalibrateArgs {
    /// The task; one.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Split that the temperature is fit on; --split, by default train, gates
    #[arg(
        long,
        value_name = "NAME",
        default_value = crate::audit::SECONDARY_SPLIT,
        help_heading = "What is audited"
    )]
    pub fit_split: String,
    /// Folder for the recalibrated checkpoint: new or empty
    #[arg(long, short, value_name = "DIR", help_heading = "Report")]
    pub output: Option<PathBuf>,
    /// The form on stdout.
    #[command(flatten)]
    pub on_stdout: FormatArgs<Recalibration>,
    /// Say nothing on stderr but errors
    #[arg(long, short, help_heading = "Report")]
    pub quiet: bool,
    /// Exit with 0 when the recalibrated student is not preserved; errors keep their codes
    #[arg(long, help_heading = "Report")]
    pub exit_zero: bool,
    /// Settings; they win over the config's.
    #[command(flatten)]
    pub settings: Layer,
}

/// `audit demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Settings that the demo's audits take from the command line.
    #[command(flatten)]
    pub settings: Layer,
    /// The report.
    #[command(flatten)]
    pub output: Output,
}

const RENDERED: &str = "Form of the report on stdout; csv is the predictions.csv beside the report";

/// `audit render …`
#[derive(Debug, Args)]
#[command(mut_arg("format", |format| format.help(RENDERED)))]
pub struct RenderArgs {
    /// The report.json of an earlier run, or - for stdin
    #[arg(value_name = "REPORT.json")]
    pub report: PathBuf,
    /// The form on stdout.
    #[command(flatten)]
    pub on_stdout: FormatArgs<Report>,
    /// Also write the files of the audit's --output-dir into this folder
    #[arg(long, value_name = "DIR", help_heading = "Report")]
    pub output_dir: Option<PathBuf>,
    /// Say nothing on stderr but errors
    #[arg(long, short, help_heading = "Report")]
    pub quiet: bool,
}

const COMPARED: &str = "\
The limits are asked of the rows that gate in NEW.json. There, a verdict that turned from preserved
to not preserved is a regression in any case, and so is a student that was within the old κ, is above
it now and passes only since κ was raised.

Exit codes: 0 no regression, 1 regression, 2 usage or a file that is no report, 3 something that the
limits need could not be compared";

/// `audit compare …`
#[derive(Debug, Args)]
#[command(after_help = COMPARED, mut_arg("format", |format| {
    format.help("Form of the comparison on stdout").help_heading(None::<&str>)
}))]
pub struct CompareArgs {
    /// The report to compare with, or - for stdin
    #[arg(value_name = "OLD.json")]
    pub old: PathBuf,
    /// The report under comparison, or - for stdin
    #[arg(value_name = "NEW.json")]
    pub new: PathBuf,
    /// The gating σ may rise by at most so much, from 0 to below 1
    #[arg(long, value_name = "X", value_parser = limit, allow_negative_numbers = true)]
    pub max_sigma_increase: Option<f64>,
    /// The student's accuracy may fall by at most so much, from 0 to below 1
    #[arg(long, value_name = "X", value_parser = limit, allow_negative_numbers = true)]
    pub max_accuracy_drop: Option<f64>,
    /// The form on stdout.
    #[command(flatten)]
    pub on_stdout: FormatArgs<Comparison>,
    /// Say nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Exit with 0 for a regression; errors keep their codes
    #[arg(long)]
    pub exit_zero: bool,
}

/// Largest change of a share, in [0, 1).
fn limit(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    match (0.0..1.0).contains(&value) {
        true => Ok(value),
        false => {
            Err("give a share of at least 0 and below 1, such as 0.01 for one point in a hundred"
                .to_owned())
        }
    }
}

/// `audit explain …`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Words, such as vacuous, sigma or ECE; without one, all of them in a line each
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
}

/// `audit init`
#[derive(Debug, Args)]
pub struct InitArgs {
    /// File to write
    #[arg(value_name = "FILE", default_value = crate::config::DEFAULT_NAME)]
    pub file: PathBuf,
    /// Replace the file if there is one
    #[arg(long)]
    pub force: bool,
}

/// `audit config`
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The tasks; without one, what holds for every task.
    #[command(flatten)]
    pub tasks: Tasks,
    /// Settings; they win over the config's.
    #[command(flatten)]
    pub settings: Layer,
}

/// `audit distill …`
#[derive(Debug, Args)]
pub struct DistillArgs {
    /// Teacher: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub teacher: Option<String>,
    /// What the student begins as
    #[arg(long, value_name = "START", value_enum)]
    pub init: Option<Init>,
    /// The method.
    #[arg(long, value_name = "METHOD", help = method_help())]
    pub method: Option<String>,
    /// The training.
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// `audit finetune …`
#[derive(Debug, Args)]
pub struct FinetuneArgs {
    /// The training.
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// `audit tune …`
#[derive(Debug, Args)]
#[command(mut_arg("format", |format| format.help_heading(None::<&str>)))]
pub struct TuneArgs {
    /// The tune: a recipe, what may change in it, constraints; configs/tune has examples
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Teacher: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub teacher: Option<String>,
    /// Folder of the journal and of what comes out; one that holds the journal of the same tune is
    /// gone on with, by several processes at a time if you like
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Trials in all, the default settings included [default: 20]
    #[arg(long, value_name = "N")]
    pub trials: Option<usize>,
    /// Begin no trial after so long: 90m, 2h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// How settings are chosen [default: tpe]
    #[arg(long, value_name = "NAME", value_enum)]
    pub search: Option<SearchName>,
    /// The bound κ itself
    #[arg(long, value_name = "KAPPA", allow_negative_numbers = true)]
    pub kappa: Option<f64>,
    /// β as a mean over the examples, in nats [default: 0.0025, so that κ = 0.05]
    #[arg(long, value_name = "NATS", allow_negative_numbers = true, conflicts_with = "kappa")]
    pub beta_per_example: Option<f64>,
    /// What its trainings are of.
    #[command(flatten)]
    pub of: TrainedOn,
    /// The form on stdout.
    #[command(flatten)]
    pub on_stdout: FormatArgs<Tuning>,
    /// Tell the steps of every training, too
    #[arg(long, short, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// `audit completions SHELL`
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `audit man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Folder for audit.1 and a page for every subcommand, instead of the first one on stdout
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
}

/// One training.
#[derive(Debug, Args)]
pub struct TrainingArgs {
    /// The recipe; configs/distill has one for each method
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Pretrained checkpoint to begin from: a folder, or a Hub id with an optional @revision
    #[arg(long, value_name = "DIR_OR_ID[@REV]")]
    pub base: Option<String>,
    /// Folder to write: config.json, model.safetensors, the tokenizer, distillation.json
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on with the training that was interrupted in the output folder
    #[arg(long)]
    pub resume: bool,
    /// What it is of.
    #[command(flatten)]
    pub of: TrainedOn,
}

/// Data and models as a training takes them, be it alone or one of many.
#[derive(Debug, Args)]
pub struct TrainedOn {
    /// The task, where it is not the recipe's
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Folder of the data, as for the audit [default: the Hub's nyu-mll/glue]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Train on the first N examples only
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Accept a split of which more than 0.1 % of the rows cannot be used
    #[arg(long)]
    pub allow_skipped: bool,
    /// Which of the teacher's labels is which of the task's: MODEL_LABEL=TASK_LABEL,…
    #[arg(long, value_name = "MAP")]
    pub label_map: Option<String>,
    /// Head convention of a BERT teacher [default: auto]
    #[arg(long, value_name = "HEAD", value_enum)]
    pub teacher_head: Option<crate::model::Head>,
    /// A vocab.txt without a tokenizer.json is cased
    #[arg(long, conflicts_with = "uncased")]
    pub cased: bool,
    /// A vocab.txt without a tokenizer.json is uncased
    #[arg(long)]
    pub uncased: bool,
    /// Longest sequence in tokens [default: 128]
    #[arg(long, value_name = "TOKENS")]
    pub max_length: Option<usize>,
    /// Seed of everything random: the same seed gives the same bytes [default: 0]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
    /// Workers, one per core; changes the speed, never the result [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Run the teacher anew, and keep none of its logits on disk
    #[arg(long)]
    pub no_cache: bool,
    /// Say nothing on stderr but errors
    #[arg(long, short)]
    pub quiet: bool,
}

impl TrainedOn {
    /// These flags, which win over the recipe, under a teacher.
    pub fn layer(&self, teacher: Option<String>) -> Layer {
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
pub enum CacheCommand {
    /// List every entry: which model, over which split, how many rows
    List,
    /// Remove every entry but those that a process is writing
    Clear {
        /// Remove only what was last written so many days ago or earlier
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u64>,
    },
    /// Read every entry and check its checksums; exit code 1 where one is damaged
    Verify,
}

fn method_help() -> String {
    format!("Method, where it is not the recipe's: {}", names_of(|_| true))
}
