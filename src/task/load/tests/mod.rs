//! Splits from files of every format, GLUE's special cases, and damaged files.

use super::*;
use crate::error::rendered;
use crate::task::testing::{custom, offline, write_parquet, Column, Folder};
use crate::task::Example;

mod damage;
mod formats;
mod glue;
mod places;

fn example(text: &str, label: Option<u32>) -> Example {
    Example { text: text.to_owned(), pair: None, label }
}

fn pair(text: &str, second: &str, label: Option<u32>) -> Example {
    Example { pair: Some(second.to_owned()), ..example(text, label) }
}

/// The error of a load that must fail, as the user sees it.
fn failure(result: Result<Dataset>) -> String {
    rendered(&result.expect_err("the load must fail"))
}

/// Asserts that SST-2's train split cannot be loaded, and that the error has `parts`.
#[track_caller]
fn refuses(folder: &Folder, parts: &[&str]) {
    says(&failure(folder.load("sst2", "train")), parts);
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}
