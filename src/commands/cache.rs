//! `audit cache list|clear|verify`: cached logits.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use super::print;
use crate::cache::{root_folder, Cleared, EntryInfo, Integrity, PredictionCache, Scope, Verified};
use crate::cli::CacheCommand;
use crate::error::{Diagnostic, Exit};
use crate::report::{columns, counted, thousands};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// Runs the subcommand; exit code 1 if `verify` finds a damaged entry.
pub fn run(command: &CacheCommand) -> Result<Exit> {
    let configured = std::env::var_os("AUDIT_CACHE_DIR");
    let root = root_folder(configured.as_deref());
    let root = root.ok_or_else(|| {
        Diagnostic::failure("this machine has no cache folder").hint("set AUDIT_CACHE_DIR to one")
    })?;
    let cache = PredictionCache::at(root);
    let reading = || format!("cannot read the cache `{}`", cache.root().display());
    match command {
        CacheCommand::List => {
            print(&list_text(&cache, &cache.list().with_context(reading)?))?;
            Ok(Exit::Preserved)
        }
        CacheCommand::Clear { older_than } => {
            let scope = match older_than {
                Some(days) => Scope::UnmodifiedFor(Duration::from_secs(days.saturating_mul(DAY))),
                None => Scope::Everything,
            };
            let cleared = cache.clear(scope, SystemTime::now()).with_context(reading)?;
            print(&clear_text(&cache, &cleared))?;
            let failed = cleared.kept.iter().any(|kept| kept.error.is_some());
            Ok(if failed { Exit::CouldNotRun } else { Exit::Preserved })
        }
        CacheCommand::Verify => {
            let verified = cache.verify().with_context(reading)?;
            print(&verify_text(&cache, &verified))?;
            let damaged = verified.iter().any(|v| matches!(v.outcome, Integrity::Damaged(_)));
            Ok(if damaged { Exit::NotPreserved } else { Exit::Preserved })
        }
    }
}

fn list_text(cache: &PredictionCache, entries: &[EntryInfo]) -> String {
    let header = ["model", "split", "rows", "size", "state"].map(str::to_owned).to_vec();
    let rows = entries.iter().map(|entry| {
        let model = entry.model_name.clone().unwrap_or_else(|| entry.model.to_string());
        let state = match (&entry.damage, entry.in_use, entry.known == entry.examples) {
            (_, true, _) => "being written",
            (Some(_), _, _) => "damaged",
            (None, _, true) => "complete",
            (None, _, false) => "partial",
        };
        vec![
            model,
            format!("{}/{}", entry.task, entry.split),
            format!("{} of {}", thousands(entry.known), thousands(entry.examples)),
            size(entry.bytes),
            state.to_owned(),
        ]
    });
    let mut out = String::new();
    if !entries.is_empty() {
        out = columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    }
    let count = counted(entries.len(), "entry", "entries");
    let total = size(entries.iter().map(|entry| entry.bytes).sum());
    let _ = writeln!(out, "{count}, {total}, in {}", cache.root().display());
    out
}

/// A number of bytes with a decimal unit.
fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

fn clear_text(cache: &PredictionCache, cleared: &Cleared) -> String {
    let mut out = String::new();
    for kept in &cleared.kept {
        let why = kept.error.as_deref().unwrap_or("a process is writing it");
        let _ = writeln!(out, "kept {}: {why}", kept.path.display());
    }
    let count = counted(cleared.removed.len(), "file", "files");
    let _ =
        writeln!(out, "removed {count}, {}, from {}", size(cleared.bytes), cache.root().display());
    out
}

fn verify_text(cache: &PredictionCache, verified: &[Verified]) -> String {
    let mut out = String::new();
    let mut damaged = 0;
    for file in verified {
        if let Integrity::Damaged(why) = &file.outcome {
            damaged += 1;
            let _ = writeln!(out, "damaged: {}: {why}", file.path.display());
        }
    }
    let (count, root) = (counted(verified.len(), "file", "files"), cache.root().display());
    let _ = match damaged {
        0 => writeln!(out, "{count} sound, in {root}"),
        _ => writeln!(
            out,
            "{damaged} of {count} damaged, in {root}; the next audit computes what they lack"
        ),
    };
    out
}
