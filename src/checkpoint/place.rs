//! Where the files of a checkpoint are, and which of them was named.

use std::path::{Path, PathBuf};

use anyhow::{bail, Result};

use super::{instead, AS_SAVED, WEIGHTS};
use crate::error::{failure, Diagnostic};
use crate::hub::{is_id, Hub, HubRepo, RepoKind};
use crate::input::SmallFile;

/// The location of a checkpoint's files.
pub(crate) enum CheckpointFiles<'a> {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A repository of the Hub.
    Hub(&'a Hub, HubRepo),
}

/// The end of the name of an ONNX file.
const ONNX: &str = ".onnx";

/// The folder of a repository in which exports lie next to the weights.
const ONNX_FOLDER: &str = "onnx";

impl<'a> CheckpointFiles<'a> {
    /// The place that `source` names, and the ONNX file in it if `source` names one.
    pub(super) fn find(source: &str, hub: &'a Hub) -> Result<(Self, Option<String>)> {
        let path = Path::new(source);
        if path.is_dir() {
            return Ok((CheckpointFiles::Folder(path.to_owned()), None));
        }
        if path.is_file() {
            return of_file(source).map(|(folder, file)| (CheckpointFiles::Folder(folder), file));
        }
        let is_path = source.starts_with(['.', '/', '~']) || source.ends_with('/');
        let (id, file) = repo_and_file(source);
        let is_path = is_path || (source.ends_with(ONNX) && file.is_none());
        if is_path || !is_id(id.split('@').next().unwrap_or_default()) {
            let what = if source.ends_with(ONNX) { "file" } else { "folder" };
            bail!(failure!("there is no {what} `{source}`").hint(
                "name a folder with config.json, a tokenizer and weights, an ONNX file, or a Hub id \
                 such as org/model or org/model@revision"
            ));
        }
        Ok((CheckpointFiles::Hub(hub, HubRepo::parse(RepoKind::Model, &id)?), file))
    }

    /// The ONNX files in the place and in its folder `onnx`, sorted.
    pub(super) fn onnx_files(&self) -> Result<Vec<String>> {
        let mut names = match self {
            CheckpointFiles::Folder(folder) => {
                let inside = instead::names_in(&folder.join(ONNX_FOLDER));
                let inside = inside.into_iter().map(|name| format!("{ONNX_FOLDER}/{name}"));
                instead::names_in(folder).into_iter().chain(inside).collect()
            }
            CheckpointFiles::Hub(hub, repo) => hub.list(repo)?,
        };
        let is_there = |name: &str| match name.rsplit_once('/') {
            Some((folder, _)) => folder == ONNX_FOLDER,
            None => true,
        };
        names.retain(|name| name.ends_with(ONNX) && is_there(name));
        names.sort_unstable();
        Ok(names)
    }

    /// How the ONNX file `name` of this place is named on the command line.
    pub(super) fn name_of(&self, name: &str) -> String {
        match self {
            CheckpointFiles::Folder(folder) => folder.join(name).display().to_string(),
            CheckpointFiles::Hub(_, repo) => {
                let revision = repo.revision.iter().map(|it| format!("@{it}")).collect::<String>();
                format!("{}/{name}{revision}", repo.id)
            }
        }
    }

    /// The file `name`, if there is one.
    pub(crate) fn get(&self, name: &str) -> Result<Option<PathBuf>> {
        match self {
            CheckpointFiles::Folder(folder) => {
                let path = folder.join(name);
                Ok(path.exists().then_some(path))
            }
            CheckpointFiles::Hub(hub, repo) => hub.fetch_optional(repo, name),
        }
    }

    /// Whether there is a file `name`; nothing is downloaded.
    pub(super) fn has(&self, name: &str) -> Result<bool> {
        match self {
            CheckpointFiles::Folder(folder) => Ok(folder.join(name).exists()),
            CheckpointFiles::Hub(hub, repo) => Ok(hub.list(repo)?.iter().any(|it| it == name)),
        }
    }

    /// Whether there is a file of weights.
    pub(super) fn has_weights(&self) -> bool {
        WEIGHTS.iter().any(|file| self.has(file).unwrap_or(false))
    }

    /// The file `name` with its bytes, if there is one.
    pub(crate) fn small(&self, name: &str) -> Result<Option<SmallFile>> {
        self.get(name)?.as_deref().map(SmallFile::open).transpose()
    }

    pub(super) fn require(&self, name: &str) -> Result<PathBuf> {
        match self {
            CheckpointFiles::Folder(_) => {
                self.get(name)?.ok_or_else(|| self.without(&format!("`{name}`"), AS_SAVED).into())
            }
            CheckpointFiles::Hub(hub, repo) => hub.fetch(repo, name).map_err(|error| {
                error
                    .context(format!("there is no folder `{0}`, and as a Hub id it fails", repo.id))
            }),
        }
    }

    /// The error of a place that lacks `what`. It says what is there instead of weights, else `hint`.
    pub(super) fn without(&self, what: &str, hint: &str) -> Diagnostic {
        let name = self.name();
        match instead::found(self).filter(|_| !self.has_weights()) {
            Some((found, hint)) => {
                failure!("`{name}` holds no {what}; it holds {found}").hint(hint)
            }
            None => failure!("`{name}` holds no {what}").hint(hint),
        }
    }

    pub(super) fn revision(&self) -> Option<String> {
        match self {
            CheckpointFiles::Folder(_) => None,
            CheckpointFiles::Hub(hub, repo) => hub.commit(repo),
        }
    }

    /// The location's name in messages.
    pub(crate) fn name(&self) -> String {
        match self {
            CheckpointFiles::Folder(folder) => folder.display().to_string(),
            CheckpointFiles::Hub(_, repo) => repo.id.clone(),
        }
    }
}

/// The folder of the checkpoint of the ONNX file `source`, and the file's name in it. config.json and
/// the tokenizer lie in the file's folder, or in the one around it.
fn of_file(source: &str) -> Result<(PathBuf, Option<String>)> {
    let path = Path::new(source);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !name.ends_with(ONNX) {
        bail!(failure!("`{source}` is a file, not a checkpoint").hint(
            "name the folder that holds config.json, the tokenizer and the weights, or an ONNX file"
        ));
    }
    let within = |folder: &Path| match folder.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => folder.to_owned(),
    };
    let folder = within(path.parent().unwrap_or(Path::new("")));
    let has_config = |folder: &Path| folder.join("config.json").is_file();
    let around = match folder == Path::new(".") {
        true => Some(PathBuf::from("..")),
        false => folder.parent().map(within),
    };
    match around.filter(|around| !has_config(&folder) && has_config(around)) {
        // The folder's own name, also where it was named as `.`.
        Some(around) => {
            let own = folder.canonicalize()?;
            let own = own.file_name().map(|own| own.to_string_lossy().into_owned());
            Ok((around, Some(format!("{}/{name}", own.unwrap_or_default()))))
        }
        None => Ok((folder, Some(name))),
    }
}

/// The Hub id in `source` with its revision, and the file in `org/name/onnx/model.onnx@revision`.
fn repo_and_file(source: &str) -> (String, Option<String>) {
    let (path, revision) = match source.split_once('@') {
        Some((path, revision)) => (path, format!("@{revision}")),
        None => (source, String::new()),
    };
    let parts: Vec<&str> = path.splitn(3, '/').collect();
    match parts[..] {
        [owner, name, file] if file.ends_with(ONNX) => {
            (format!("{owner}/{name}{revision}"), Some(file.to_owned()))
        }
        _ => (source.to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_hub_is_named_behind_the_id() {
        for (source, id, file) in [
            ("org/name", "org/name", None),
            ("org/name@v1", "org/name@v1", None),
            ("org/name/model.onnx", "org/name", Some("model.onnx")),
            ("org/name/onnx/m.onnx@refs/pr/1", "org/name@refs/pr/1", Some("onnx/m.onnx")),
            ("org/name/onnx", "org/name/onnx", None),
            ("model.onnx", "model.onnx", None),
        ] {
            assert_eq!(repo_and_file(source), (id.to_owned(), file.map(str::to_owned)), "{source}");
        }
    }

    #[test]
    fn the_config_lies_next_to_the_file_or_around_its_folder() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("onnx");
        std::fs::create_dir(&inner).unwrap();
        let file = inner.join("model.onnx");
        std::fs::write(&file, "").unwrap();
        let found = |file: &Path| of_file(file.to_str().unwrap()).unwrap();
        assert_eq!(found(&file), (inner.clone(), Some("model.onnx".to_owned())));
        std::fs::write(root.path().join("config.json"), "{}").unwrap();
        assert_eq!(found(&file), (root.path().to_owned(), Some("onnx/model.onnx".to_owned())));
        std::fs::write(inner.join("config.json"), "{}").unwrap();
        assert_eq!(found(&file), (inner, Some("model.onnx".to_owned())));
    }
}
