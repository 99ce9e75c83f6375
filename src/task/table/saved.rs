//! The folder of a data set's `save_to_disk`: its Arrow files, in the order of its rows.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, Result};
use serde::Deserialize;

use crate::error::failure;

/// What `state.json` says of the rows.
#[derive(Deserialize)]
struct SavedState {
    #[serde(rename = "_data_files")]
    data_files: Vec<SavedFile>,
    /// Rows in another order than the files', in versions of datasets before 2.0.
    #[serde(default, rename = "_indices_data_files")]
    indices: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct SavedFile {
    filename: String,
}

/// Maximum size of `state.json`.
const LARGEST: u64 = 16 << 20;

/// The data files of the folder, in the order of its rows.
///
/// # Errors
/// A folder that `save_to_disk` did not write, one of several splits, or a file that is missing.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let name = folder.display();
    if folder.join("dataset_dict.json").is_file() {
        bail!(failure!("`{name}` holds a data set of several splits")
            .hint(format!("name the folder of one: {}", folder.join("test").display())));
    }
    let mut text = String::new();
    let read = File::open(folder.join("state.json"))
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    if read.is_err() {
        bail!(failure!("`{name}` is a folder, and not one that `save_to_disk` of datasets wrote")
            .hint("name a file, or a pattern in quotes: 'logits-*.parquet'"));
    }
    let state: SavedState = serde_json::from_str(&text).map_err(|error| {
        failure!("`{name}/state.json` does not name the data files: {error}")
            .hint("save the data set again with `save_to_disk`")
    })?;
    if state.indices.is_some_and(|indices| !indices.is_null()) {
        bail!(failure!("`{name}` keeps the order of its rows in a file of indices")
            .hint("save it again after `dataset.flatten_indices()`"));
    }
    let mut files = Vec::with_capacity(state.data_files.len());
    for SavedFile { filename } in state.data_files {
        let is_name = matches!(
            Path::new(&filename).components().collect::<Vec<_>>()[..],
            [Component::Normal(_)]
        );
        let path = folder.join(&filename);
        if !is_name || !path.is_file() {
            bail!(failure!("`{name}/state.json` names the file `{filename}`, which is not there")
                .hint("copy the whole folder, or save the data set again"));
        }
        files.push(path);
    }
    Ok(files)
}
