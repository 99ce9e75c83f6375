//! `audit init`: writes a commented config with every setting and its default.

use anyhow::{Context, Result};
use std::io::Write;

use crate::cli::InitArgs;
use crate::config::DEFAULT_TOML;
use crate::error::{Diagnostic, Exit};
use crate::interrupt::Temporary;
use crate::predictions::beside;
use crate::terminal::write_line;

/// Writes the config to a temporary file and renames it.
pub fn run(args: &InitArgs) -> Result<Exit> {
    let failed = || format!("cannot write `{}`", args.file.display());
    let mut file = Temporary::new(beside(&args.file).with_context(failed)?);
    file.write_all(DEFAULT_TOML.as_bytes()).with_context(failed)?;
    file.as_file().sync_all().with_context(failed)?;
    let (file, _guard) = file.into_parts();
    let placed = match args.force {
        true => file.persist(&args.file),
        false => file.persist_noclobber(&args.file),
    };
    match placed.map_err(|refused| refused.error) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Diagnostic::usage(format!("`{}` already exists", args.file.display()))
                .hint("pass --force to replace it, or name another file")
                .into())
        }
        other => other.with_context(failed)?,
    };
    write_line(&format!("wrote {}", args.file.display()));
    Ok(Exit::Preserved)
}
