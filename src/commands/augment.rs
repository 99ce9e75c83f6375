//! `audit augment`: writes copies of a task's training texts with other words.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::audit::{session, single};
use super::suite::print_hub_notes;
use crate::audit::Session;
use crate::augment::{published_copies, Augmentation, AugmentationRecord, CopyOptions, Origins};
use crate::cli::AugmentArgs;
use crate::config::{Config, Settings};
use crate::error::{failure, usage, Exit};
use crate::input::InputFile;
use crate::temporary::{cannot_write, AtomicFile};
use crate::terminal::Verbosity;

/// Writes the table and its record.
pub fn run(args: &AugmentArgs) -> Result<Exit> {
    let config = Config::load(args.texts.tasks.config.as_deref())?;
    let settings = single(&args.texts.tasks, &config, &args.texts.layer())?;
    let options = options(args, &settings)?;
    let record = record_path(&args.output)?;
    if !args.force {
        for path in [&args.output, &record] {
            require_new(path)?;
        }
    }
    let vectors = InputFile::open(&args.vectors)?;
    let progress = Verbosity::for_stderr(args.texts.quiet);
    let session = session(progress, std::slice::from_ref(&settings))?;
    let augmentation = Augmentation {
        settings: &settings,
        masked_lm: &args.masked_lm,
        vectors: &vectors,
        output: &args.output,
        options,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build()?;
    let written = pool.install(|| write(&augmentation, &session));
    print_hub_notes(&session);
    let (table, made) = written?;
    let json = AtomicFile::written(&record, |out| {
        serde_json::to_writer_pretty(&mut *out, &made)?;
        Ok(out.write_all(b"\n")?)
    })?;
    // The record last: it is never there without its table.
    give_name(table, args.force)?;
    give_name(json, args.force)?;
    progress.message(&summary(&args.output, &made));
    Ok(Exit::Preserved)
}

/// The table under its temporary name, and its record.
fn write(
    augmentation: &Augmentation,
    session: &Session,
) -> Result<(AtomicFile, AugmentationRecord)> {
    let cannot = || cannot_write(augmentation.output);
    let mut file = AtomicFile::create(augmentation.output).with_context(cannot)?;
    let mut out = BufWriter::new(file.as_file_mut());
    let made = augmentation.write(session, &mut out)?;
    out.flush().with_context(cannot)?;
    drop(out);
    file.as_file_mut().sync_all().with_context(cannot)?;
    Ok((file, made))
}

fn options(args: &AugmentArgs, settings: &Settings) -> Result<CopyOptions> {
    let task = &settings.task.name;
    let Some(copies) = args.copies.or_else(|| published_copies(task)) else {
        bail!(usage!("`{task}` has no published number of copies")
            .hint("pass --copies, for example 20; long texts need fewer"));
    };
    Ok(CopyOptions {
        copies,
        probability: args.probability,
        candidates: args.candidates,
        seed: settings.seed,
    })
}

/// The record's path: the table's with the extension `.json`.
fn record_path(output: &Path) -> Result<PathBuf> {
    if output.extension().is_none_or(|extension| extension != "jsonl") {
        bail!(usage!("`{}` does not end in .jsonl", output.display())
            .hint("the table has one JSON object a line; name it NAME.jsonl"));
    }
    if output.is_dir() {
        bail!(failure!("cannot write `{}`: it is a folder", output.display())
            .hint("name a file in it with --output"));
    }
    Ok(output.with_extension("json"))
}

fn require_new(path: &Path) -> Result<()> {
    match path.try_exists() {
        Ok(true) => Err(exists(path)),
        // Whether it can be written is found out at once, before anything is run.
        _ => AtomicFile::create(path).map(drop).with_context(|| cannot_write(path)),
    }
}

fn give_name(file: AtomicFile, force: bool) -> Result<()> {
    let path = file.path().to_owned();
    match if force { file.rename() } else { file.rename_new() } {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(exists(&path)),
        renamed => renamed.with_context(|| cannot_write(&path)),
    }
}

fn exists(path: &Path) -> anyhow::Error {
    usage!("`{}` already exists", path.display())
        .hint("pass --force to replace it, or name another file")
        .into()
}

fn summary(output: &Path, made: &AugmentationRecord) -> String {
    let Origins { masked_lm, vectors, without } = made.words;
    format!(
        "wrote {}: {} rows of {} examples; of the words that may be replaced, {masked_lm} have \
         candidates of the masked language model, {vectors} of the vectors and {without} none",
        output.display(),
        made.rows,
        made.data.examples
    )
}
