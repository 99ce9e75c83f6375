//! `audit pretrain`: trains a masked language model on a task's own texts.

use anyhow::Result;

use super::audit::{session, single};
use super::print;
use super::suite::print_hub_notes;
use crate::checkpoint::require_new_folder;
use crate::cli::PretrainArgs;
use crate::config::Config;
use crate::error::Exit;
use crate::pretrain::{PretrainOptions, PretrainedEpoch, Pretraining, PretrainingRecord};
use crate::terminal::Verbosity;

/// The default learning rate where the head alone is trained.
const HEAD_RATE: f64 = 1e-3;
/// The default learning rate where the encoder is trained too.
const ENCODER_RATE: f64 = 5e-5;

/// Writes the checkpoint with its record.
pub fn run(args: &PretrainArgs) -> Result<Exit> {
    let config = Config::load(args.texts.tasks.config.as_deref())?;
    let settings = single(&args.texts.tasks, &config, &args.layer())?;
    require_new_folder(&args.output, "--output")?;
    let default = if args.train_encoder { ENCODER_RATE } else { HEAD_RATE };
    let options = PretrainOptions {
        train_encoder: args.train_encoder,
        epochs: args.epochs,
        batch_size: args.batch_size,
        learning_rate: args.learning_rate.unwrap_or(default),
        seed: settings.seed,
    };
    let progress = Verbosity::for_stderr(args.texts.quiet);
    let session = session(progress, std::slice::from_ref(&settings))?;
    let pretraining =
        Pretraining { settings: &settings, base: &args.base, output: &args.output, options };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build()?;
    let made = pool.install(|| pretraining.run(&session));
    print_hub_notes(&session);
    let folder = args.output.display();
    print(&format!("{}wrote {folder}\n", summary(&made?)))?;
    Ok(Exit::Preserved)
}

/// Held-out loss and accuracy before and after the training.
fn summary(made: &PretrainingRecord) -> String {
    let data = &made.data;
    let line = |name: &str, epoch: &PretrainedEpoch| {
        let PretrainedEpoch { held_out_loss, held_out_accuracy, .. } = epoch;
        format!("  {name:7} loss {held_out_loss:.4} nats, accuracy {held_out_accuracy:.4}\n")
    };
    let (first, last) = (made.epochs.first(), made.epochs.last());
    let lines = [first.map(|epoch| line("before", epoch)), last.map(|epoch| line("after", epoch))];
    format!(
        "masked language model on {} texts of {}; on {} masked tokens of {} held-out texts:\n{}",
        data.examples,
        made.task,
        data.held_out_tokens,
        data.held_out,
        lines.into_iter().flatten().collect::<String>()
    )
}
