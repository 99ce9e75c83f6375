//! `audit init`: writes a commented config with every setting and its default.

use anyhow::{bail, Context, Result};
use std::io::{ErrorKind, Write};

use crate::cli::InitArgs;
use crate::config::DEFAULT_TOML;
use crate::error::{usage, Exit};
use crate::temporary::{cannot_write, AtomicFile};
use crate::terminal::write_line;

/// Writes the config, never over an existing file unless told to.
///
/// # Errors
/// A file that exists or cannot be written.
pub fn run(args: &InitArgs) -> Result<Exit> {
    let file = AtomicFile::written(&args.file, |out| Ok(out.write_all(DEFAULT_TOML.as_bytes())?))?;
    let renamed = if args.force { file.rename() } else { file.rename_new() };
    if matches!(&renamed, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
        bail!(usage!("`{}` already exists", args.file.display())
            .hint("pass --force to replace it, or name another file"));
    }
    renamed.with_context(|| cannot_write(&args.file))?;
    write_line(&format!("wrote {}", args.file.display()));
    Ok(Exit::Preserved)
}
