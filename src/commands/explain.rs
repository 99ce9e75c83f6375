//! `audit explain`: prints entries of docs/glossary.md.

use anyhow::{bail, Result};

use super::output::{print, render_options};
use crate::cli::ExplainArgs;
use crate::error::{usage, Diagnostic, Exit};
use crate::report::glossary::{entries_text, explain, nearest, overview_text, Entry};

/// Explains each word, or lists all words.
pub fn run(args: &ExplainArgs) -> Result<Exit> {
    print(&match args.words.as_slice() {
        [] => overview_text(&render_options()),
        words => entries_text(&entries(words)?, &render_options()),
    })?;
    Ok(Exit::Preserved)
}

/// Entries of the words, without repetitions; several words may be one name (`negative flips`).
fn entries(words: &[String]) -> Result<Vec<&'static Entry>> {
    if words.iter().any(|word| word.trim().is_empty()) {
        bail!(Diagnostic::usage("a word is empty").hint("`audit explain` lists every word"));
    }
    if let Some(entry) = explain(&words.join(" ")) {
        return Ok(vec![entry]);
    }
    let mut entries: Vec<&Entry> = Vec::new();
    for word in words {
        let entry = explain(word).ok_or_else(|| unknown(word))?;
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn unknown(word: &str) -> anyhow::Error {
    let near: Vec<String> = nearest(word).iter().map(|name| format!("`{name}`")).collect();
    let meant = match near.is_empty() {
        true => String::new(),
        false => format!("did you mean {}? ", near.join(" or ")),
    };
    usage!("the glossary has no entry `{word}`")
        .hint(format!("{meant}`audit explain` lists every word"))
        .into()
}
