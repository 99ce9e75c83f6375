//! `audit predict`: runs one model on one split and writes its logits to a file.

use std::path::Path;

use anyhow::{bail, Context, Result};

use super::audit::{refuse_without_effect, session, single};
use super::suite::print_hub_notes;
use crate::audit::{
    load_gating_split, reading_notes, refuse_unused, run_one, Classifier, ModelRun, Role, Session,
};
use crate::cli::PredictArgs;
use crate::config::{Config, Layer, Settings, BOUND_KEYS};
use crate::error::{failure, Exit};
use crate::predictions::{write_logits, LogitsFormat};
use crate::temporary::{cannot_write, AtomicFile};
use crate::terminal::Verbosity;

/// Writes the logits of `--model` in the task's label order.
pub fn run(args: &PredictArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let models = ["teacher", "student", "teacher_head", "student_head"];
    let gate = ["bound", "statistic", "confidence", "fail_fast", "sequential", "delta"];
    refuse_without_effect(&args.settings, "predict", |key| {
        models.contains(&key) || gate.contains(&key) || BOUND_KEYS.contains(&key)
    })?;
    let flags = Layer {
        teacher: Some(args.model.clone()),
        // The config's teacher_head is for its teacher, which may be another model.
        teacher_head: Some(args.head.unwrap_or_default()),
        ..args.settings.clone()
    };
    let mut settings = single(&args.tasks, &config, &flags)?;
    // Without a split, an audit also runs the validation split; this command runs train alone.
    settings.split.get_or_insert_with(|| "train".to_owned());
    settings.label_map.refuse_roles()?;
    let format = LogitsFormat::of(&args.output)?;
    require_writable(&args.output)?;

    let progress = Verbosity::for_stderr(args.quiet);
    let session = session(progress, std::slice::from_ref(&settings))?;
    let written = predict(args, format, &settings, &session);
    print_hub_notes(&session);
    progress.message(&written?);
    Ok(Exit::Preserved)
}

/// Runs the model and writes the file. Returns the message to print.
fn predict(
    args: &PredictArgs,
    format: LogitsFormat,
    settings: &Settings,
    session: &Session,
) -> Result<String> {
    let split = load_gating_split(settings, &session.hub)?;
    let dataset = &split.dataset;
    let source = settings.require_teacher()?;
    let mut model = Classifier::open(Role::Model, source, settings, &[], dataset, session)?;
    settings.label_map.check_used(model.own_labels(), &[])?;
    refuse_unused(settings, &[&model])?;
    let notes = reading_notes(&model, dataset, settings);
    notes.iter().for_each(|note| session.progress.note(note));
    let ModelRun { logits, truncated, .. } = run_one(&mut model, dataset, settings, session)?;
    let labels = dataset.labels();
    session.interrupt.check(|| format!("about to write `{}`", args.output.display()))?;
    write_logits(&args.output, format, &logits, model.label_names(), &labels)?;
    let cut = match truncated {
        0 => String::new(),
        _ => {
            let (tokens, limit) = model.length();
            format!(", {truncated} truncated at {}", limit.in_words(tokens))
        }
    };
    Ok(format!("wrote {}: {} examples{cut}", args.output.display(), labels.len()))
}

/// Fails before the run if `output` cannot be written.
fn require_writable(output: &Path) -> Result<()> {
    if output.is_dir() {
        bail!(failure!("cannot write `{}`: it is a folder", output.display())
            .hint("name a file in it with --output"));
    }
    AtomicFile::create(output).map(drop).with_context(|| cannot_write(output))
}
