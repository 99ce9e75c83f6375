//! The cache's files, recognised by their names; other files are left alone.

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::identity::CacheKey;
use super::{PredictionCache, ENTRY_SUFFIX, HASHES, MODEL_FILE, PREDICTIONS};
use crate::temporary::is_unfinished;

/// One model's folder.
pub(super) struct Shelf {
    pub model: CacheKey,
    pub folder: PathBuf,
    /// Its entries, sorted by key.
    pub entries: Vec<(CacheKey, PathBuf)>,
    /// model.json, if there is one.
    pub model_file: Option<PathBuf>,
    /// Temporary files of killed processes.
    pub unfinished: Vec<PathBuf>,
}

#[derive(Default)]
pub(super) struct HashFiles {
    pub memos: Vec<PathBuf>,
    pub unfinished: Vec<PathBuf>,
}

impl PredictionCache {
    /// The models' folders, sorted by key; none if there is no cache.
    pub(super) fn shelves(&self) -> Result<Vec<Shelf>> {
        let mut shelves = Vec::new();
        for (name, folder, metadata) in children(&self.root.join(PREDICTIONS))? {
            if let (Some(model), true) = (CacheKey::parse(&name), metadata.is_dir()) {
                shelves.push(Shelf::read(model, folder)?);
            }
        }
        Ok(shelves)
    }

    /// The remembered digests, sorted by name.
    pub(super) fn hash_files(&self) -> Result<HashFiles> {
        let mut files = HashFiles::default();
        for (name, path, metadata) in children(&self.root.join(HASHES))? {
            let is_memo = name.strip_suffix(".json").and_then(CacheKey::parse).is_some();
            if metadata.is_file() && is_memo {
                files.memos.push(path);
            } else if metadata.is_file() && is_unfinished(&name) {
                files.unfinished.push(path);
            }
        }
        Ok(files)
    }
}

impl Shelf {
    fn read(model: CacheKey, folder: PathBuf) -> Result<Shelf> {
        let (mut entries, mut model_file, mut unfinished) = (Vec::new(), None, Vec::new());
        for (name, path, metadata) in children(&folder)? {
            let texts = name.strip_suffix(ENTRY_SUFFIX).and_then(CacheKey::parse);
            match texts {
                _ if !metadata.is_file() => {}
                Some(texts) => entries.push((texts, path)),
                None if name == MODEL_FILE => model_file = Some(path),
                None if is_unfinished(&name) => unfinished.push(path),
                None => {}
            }
        }
        Ok(Shelf { model, folder, entries, model_file, unfinished })
    }

    /// Whether its folder now has no entries.
    pub(super) fn is_bare(&self) -> bool {
        Shelf::read(self.model, self.folder.clone()).is_ok_and(|shelf| shelf.entries.is_empty())
    }
}

/// Name, path and metadata of the children of `folder`, sorted by name. Links are not followed.
fn children(folder: &Path) -> Result<Vec<(String, PathBuf, Metadata)>> {
    let read = || -> io::Result<Vec<(String, PathBuf, Metadata)>> {
        let mut children = Vec::new();
        if !fs::symlink_metadata(folder)?.is_dir() {
            return Ok(children);
        }
        for child in fs::read_dir(folder)? {
            let child = child?;
            match (child.file_name().into_string(), child.metadata()) {
                (Ok(name), Ok(metadata)) => children.push((name, child.path(), metadata)),
                (_, Err(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {} // not UTF-8, or just removed
            }
        }
        children.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(children)
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.with_context(|| {
            format!("cannot read the folder `{}` of the prediction cache", folder.display())
        }),
    }
}
