//! `audit config`: what is in force, and where each value comes from.

use std::fmt::Write;

use anyhow::Result;

use super::audit::settings;
use crate::cli::ConfigArgs;
use crate::config::{Config, Settings};
use crate::error::Exit;

/// Prints the settings of each named task as TOML, each line with its origin.
///
/// # Errors
/// A config that is wrong, a task that is none.
pub fn run(args: &ConfigArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    match &config.path {
        Some(path) => println!("# config: {}", path.display()),
        None => println!("# config: none (built-in defaults)"),
    }
    for settings in settings(&args.tasks, &config, &args.settings)? {
        print!("{}", render(&settings));
    }
    Ok(Exit::Preserved)
}

fn render(settings: &Settings) -> String {
    let mut text = format!("\n[task.{}]\n", settings.task.name);
    for (key, value) in settings.values() {
        let line = format!("{key} = {value}");
        let _ = writeln!(text, "{line:<44} # {}", settings.origin(key));
    }
    text
}
