//! `audit config`: prints the settings in force and where each value comes from.

use std::fmt::Write;

use anyhow::Result;

use super::audit::settings;
use super::print;
use crate::cli::ConfigArgs;
use crate::config::{Config, Layer, Settings};
use crate::error::Exit;
use crate::task::ALL_TASKS;

/// Prints the settings of each named task as TOML, each line with its origin.
pub fn run(args: &ConfigArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let mut text = match &config.path {
        Some(path) => format!("# config: {}\n", path.display()),
        None => "# config: none (built-in defaults)\n".to_owned(),
    };
    if args.tasks.task.is_empty() {
        text += &for_every_task(&config, &args.settings)?;
    } else {
        for settings in settings(&args.tasks, &config, &args.settings)? {
            text += &render(&format!("task.{}", settings.task.name), &settings);
        }
    }
    print(&text)?;
    Ok(Exit::Preserved)
}

/// Settings of every task without a table of its own, then those of the tasks with one.
fn for_every_task(config: &Config, flags: &Layer) -> Result<String> {
    // Without its table any GLUE task has the defaults.
    let plain = Config { task: Default::default(), ..config.clone() };
    let mut text = render("defaults", &plain.settings(ALL_TASKS[0], flags)?);
    for task in config.task.keys() {
        text += &render(&format!("task.{task}"), &config.settings(task, flags)?);
    }
    Ok(text)
}

fn render(table: &str, settings: &Settings) -> String {
    let mut text = format!("\n[{table}]\n");
    for (key, value) in settings.values() {
        let (line, origin) = match value {
            Some(value) => (format!("{key} = {value}"), settings.origin(key).to_string()),
            None => (format!("# {key}"), "not set".to_owned()),
        };
        let _ = writeln!(text, "{line:<44} # {origin}");
    }
    text
}
