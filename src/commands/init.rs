//! `audit init`: a commented config, every setting with its default.

use anyhow::{Context, Result};
use std::io::Write;

use crate::cli::InitArgs;
use crate::config::DEFAULT_TOML;
use crate::error::{usage, Exit};
use crate::progress::say;

/// Writes the config, never over an existing file unless told to.
///
/// # Errors
/// A file that exists or cannot be written.
pub fn run(args: &InitArgs) -> Result<Exit> {
    let mut options = std::fs::OpenOptions::new();
    match args.force {
        true => options.write(true).create(true).truncate(true),
        false => options.write(true).create_new(true),
    };
    let mut file = match options.open(&args.file) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(usage(format!(
                "`{}` exists\n  hint: pass --force to replace it, or name another file",
                args.file.display()
            )))
        }
        other => other.with_context(|| format!("cannot write `{}`", args.file.display()))?,
    };
    file.write_all(DEFAULT_TOML.as_bytes())
        .with_context(|| format!("cannot write `{}`", args.file.display()))?;
    say(&format!("wrote {}", args.file.display()));
    Ok(Exit::Preserved)
}
