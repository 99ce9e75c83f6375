//! Finds the files of a split.

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use super::custom::CustomTask;
use super::glue::{plain, GlueTask, GLUE};
use super::natural::natural_key;
use super::readers::{DataFile, DataFormat, OuterCompression};
use super::spec::{TaskSource, TaskSpec};
use crate::error::{failure, usage};
use crate::hub::{Hub, HubRepo};
use crate::input::InputFile;

/// The files of a split, or the places searched without success.
pub(super) enum FoundFiles {
    /// In the order they are read.
    Files(Vec<Located>),
    /// The places that were searched.
    Nothing { tried: Vec<String> },
}

/// An existing file, on disk or on the Hub.
pub(super) enum Located {
    Local(PathBuf),
    Hub(HubRepo, String),
}

impl Located {
    /// Downloads the file if necessary.
    pub(super) fn into_data_file(self, spec: &TaskSpec, hub: &Hub) -> Result<DataFile> {
        let (path, name, shown) = match self {
            Located::Local(path) => (path.clone(), path.clone(), path.display().to_string()),
            Located::Hub(repo, file) => {
                (hub.fetch(&repo, &file)?, PathBuf::from(&file), format!("{}/{file}", repo.id))
            }
        };
        let forced = match &spec.source {
            TaskSource::Custom { task, .. } => task.format,
            TaskSource::Glue(_) => None,
        };
        let Some(format) = forced.or_else(|| DataFormat::of(&name)) else {
            bail!(failure!("`{shown}`: its extension does not determine its format").hint(
                "add one of: format = \"tsv\", \"csv\", \"jsonl\" or \"parquet\"; text may be \
                     compressed as .gz or .zst"
            ));
        };
        Ok(DataFile {
            input: InputFile::named(&path, shown.clone())?,
            name: shown,
            format,
            compression: OuterCompression::of(&name),
            headerless: spec.columns.headerless,
            interrupt: hub.interrupt().clone(),
        })
    }
}

/// Finds the files of a canonical split without reading them.
pub(super) fn locate(
    spec: &TaskSpec,
    split: &str,
    data: Option<&Path>,
    hub: &Hub,
) -> Result<FoundFiles> {
    if let Some(folder) = data {
        refuse_no_folder(folder)?;
    }
    match (&spec.source, data) {
        (TaskSource::Glue(task), Some(folder)) => glue_in_folder(task, split, folder),
        (TaskSource::Glue(task), None) => {
            let repo = spec.hub_repo()?.expect("GLUE is on the Hub");
            let names = Names::of_glue(task, split);
            on_hub(hub, &repo, &[task.config().to_owned()], &names)
        }
        (TaskSource::Custom { task, base_dir }, data) => {
            custom(spec, task, split, data, base_dir, hub)
        }
    }
}

fn refuse_no_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let what = if folder.exists() { "is a file, not a folder" } else { "does not exist" };
    bail!(usage!("the data folder `{}` {what}", folder.display())
        .hint("--data takes a folder, for example one that holds SST-2/train.tsv"))
}

/// Possible names of a split's file.
struct Names {
    /// Tried first, in this order.
    exact: Vec<String>,
    /// Tried next, with an extension or as shards.
    stems: Vec<String>,
}

const EXTENSIONS: [&str; 6] = ["tsv", "csv", "jsonl", "ndjson", "json", "parquet"];

/// Extensions behind those: nothing, or that of a compressed file.
const PACKINGS: [&str; 3] = ["", ".gz", ".zst"];

impl Names {
    fn of_glue(task: &GlueTask, split: &str) -> Names {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match task.split(split) {
            Some(files) => Names { exact: owned(files.official), stems: owned(files.stems) },
            None => Names { exact: Vec::new(), stems: vec![split.to_owned()] },
        }
    }

    fn of_custom(split: &str) -> Names {
        let stems: &[&str] = match split {
            "validation" => &["validation", "dev", "valid", "val"],
            split => &[split],
        };
        Names { exact: Vec::new(), stems: stems.iter().map(|stem| (*stem).to_owned()).collect() }
    }

    /// The files of the split among `present`, the names in one folder.
    fn choose(&self, present: &[String]) -> Result<Option<Vec<String>>> {
        if let Some(name) = self.exact.iter().find(|name| present.contains(name)) {
            return Ok(Some(vec![name.clone()]));
        }
        // A split that has an uncompressed file under any name is read from that.
        for packing in PACKINGS {
            let extensions = EXTENSIONS.map(|extension| format!("{extension}{packing}"));
            for stem in &self.stems {
                let whole = extensions.iter().map(|extension| format!("{stem}.{extension}"));
                if let Some(whole) = whole.into_iter().find(|name| present.contains(name)) {
                    return Ok(Some(vec![whole]));
                }
                for extension in &extensions {
                    if let Some(shards) = shards(present, stem, extension)? {
                        return Ok(Some(shards));
                    }
                }
            }
        }
        Ok(None)
    }

    fn tried_in(&self, folder: &str) -> Vec<String> {
        let slash = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
        let exact = self.exact.iter().map(|name| format!("{folder}{slash}{name}"));
        let stems = self.stems.iter().map(|stem| {
            format!("{folder}{slash}{stem}.{{tsv,csv,jsonl,parquet}} (or {stem}-00000-of-00001.parquet)")
        });
        exact.chain(stems).collect()
    }
}

/// `stem-00000-of-00002.ext` and the other shards, in order.
fn shards(present: &[String], stem: &str, extension: &str) -> Result<Option<Vec<String>>> {
    let numbers = |name: &String| -> Option<(usize, usize)> {
        let middle = name.strip_prefix(stem)?.strip_prefix('-')?;
        let middle = middle.strip_suffix(extension)?.strip_suffix('.')?;
        // The Hub's older files carry a hash: train-00000-of-00001-0123456789abcdef.parquet.
        let (index, rest) = middle.split_once("-of-")?;
        let total = rest.split('-').next()?;
        Some((index.parse().ok()?, total.parse().ok()?))
    };
    let mut found: Vec<(usize, usize, &String)> = present
        .iter()
        .filter_map(|name| numbers(name).map(|(index, total)| (index, total, name)))
        .collect();
    found.sort();
    let Some(&(_, total, first)) = found.first() else { return Ok(None) };
    let is_whole = found.len() == total
        && found.iter().enumerate().all(|(index, shard)| (shard.0, shard.1) == (index, total));
    if !is_whole {
        bail!("of the {total} shards of `{first}`, {} exist", found.len());
    }
    Ok(Some(found.into_iter().map(|shard| shard.2.clone()).collect()))
}

/// The task's own folder below `folder`, then `folder` itself.
fn glue_in_folder(task: &GlueTask, split: &str, folder: &Path) -> Result<FoundFiles> {
    let names = Names::of_glue(task, split);
    let is_task = |name: &str| plain(name) == task.config() || plain(name) == plain(task.name);
    let mut folders: Vec<PathBuf> = subfolders(folder)
        .into_iter()
        .filter(|name| is_task(name))
        .map(|n| folder.join(n))
        .collect();
    // The official name before other spellings.
    folders.sort_by_key(|path| path.file_name().is_none_or(|name| name != task.folder));
    let mut tried = Vec::new();
    if folders.is_empty() {
        tried.extend(names.tried_in(&folder.join(task.folder).display().to_string()));
    }
    if !is_folder_of_another(task, folder) {
        folders.push(folder.to_owned());
    }
    local(&folders, &names, tried)
}

/// Whether a folder's name is that of another GLUE task.
fn is_folder_of_another(task: &GlueTask, folder: &Path) -> bool {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = plain(&folder.file_name().unwrap_or_default().to_string_lossy());
    name != task.config() && (name == "stsb" || GLUE.iter().any(|other| other.config() == name))
}

fn local(folders: &[PathBuf], names: &Names, mut tried: Vec<String>) -> Result<FoundFiles> {
    for folder in folders {
        let present = files_in(folder);
        match names.choose(&present) {
            Ok(Some(chosen)) => {
                let path = |name: String| Located::Local(folder.join(name));
                return Ok(FoundFiles::Files(chosen.into_iter().map(path).collect()));
            }
            Ok(None) => tried.extend(names.tried_in(&folder.display().to_string())),
            Err(error) => return Err(error.context(format!("in `{}`", folder.display()))),
        }
    }
    Ok(FoundFiles::Nothing { tried })
}

fn on_hub(hub: &Hub, repo: &HubRepo, folders: &[String], names: &Names) -> Result<FoundFiles> {
    let files = hub.list(repo)?;
    let mut tried = Vec::new();
    for folder in folders {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let present: Vec<String> = files
            .iter()
            .filter_map(|file| file.strip_prefix(&prefix))
            .filter(|name| !name.contains('/'))
            .map(str::to_owned)
            .collect();
        if let Some(chosen) = names.choose(&present).with_context(|| repo.to_string())? {
            let file = |name: String| Located::Hub(repo.clone(), format!("{prefix}{name}"));
            return Ok(FoundFiles::Files(chosen.into_iter().map(file).collect()));
        }
        tried.extend(names.tried_in(&format!("{}/{folder}", repo.id)));
    }
    Ok(FoundFiles::Nothing { tried })
}

fn custom(
    spec: &TaskSpec,
    task: &CustomTask,
    split: &str,
    data: Option<&Path>,
    base_dir: &Path,
    hub: &Hub,
) -> Result<FoundFiles> {
    let patterns = task.splits.get(split).map(|paths| paths.paths());
    let repo = task.repo().transpose()?;
    match (repo, data, patterns) {
        (Some(repo), None, patterns) => custom_on_hub(task, split, patterns, &repo, hub),
        (None, data, Some(patterns)) | (Some(_), data, Some(patterns)) => {
            matching(patterns, &data.into_iter().chain([base_dir]).collect::<Vec<_>>())
        }
        // A task that names splits names them all; other files are ignored.
        (_, _, None) if !task.splits.is_empty() => Ok(FoundFiles::Nothing { tried: Vec::new() }),
        (repo, data, None) => {
            let mut folders = Vec::new();
            for folder in data.into_iter().chain(repo.is_none().then_some(base_dir)) {
                folders.extend(task.subset.as_ref().map(|subset| folder.join(subset)));
                folders.push(folder.join(&spec.name));
                folders.push(folder.to_owned());
            }
            folders.retain(|folder| folder.is_dir());
            local(&folders, &Names::of_custom(split), Vec::new())
        }
    }
}

fn custom_on_hub(
    task: &CustomTask,
    split: &str,
    patterns: Option<&[String]>,
    repo: &HubRepo,
    hub: &Hub,
) -> Result<FoundFiles> {
    let folders: Vec<String> = match &task.subset {
        Some(subset) => vec![subset.clone(), format!("data/{subset}")],
        None => ["", "data", "default"].map(str::to_owned).to_vec(),
    };
    match patterns {
        // A bare name is the data set's name of the split.
        Some([name]) if DataFormat::of(Path::new(name)).is_none() && !name.contains(['*', '/']) => {
            on_hub(hub, repo, &folders, &Names::of_custom(name))
        }
        Some(patterns) => {
            let files = hub.list(repo)?;
            let mut found = Vec::new();
            for text in patterns {
                let pattern = pattern(text)?;
                let mut matched: Vec<_> =
                    files.iter().filter(|file| pattern.matches(file)).collect();
                matched.sort_by_cached_key(|file| natural_key(file));
                if matched.is_empty() {
                    return Ok(FoundFiles::Nothing { tried: vec![format!("{}/{text}", repo.id)] });
                }
                found.extend(
                    matched.into_iter().map(|file| Located::Hub(repo.clone(), file.clone())),
                );
            }
            Ok(FoundFiles::Files(found))
        }
        None => on_hub(hub, repo, &folders, &Names::of_custom(split)),
    }
}

/// The files that match each pattern, from the first folder with any.
fn matching(patterns: &[String], folders: &[&Path]) -> Result<FoundFiles> {
    let mut found = Vec::new();
    for text in patterns {
        let mut tried = Vec::new();
        for folder in folders {
            let path = folder.join(text);
            let literal = glob::Pattern::escape(&folder.to_string_lossy());
            let paths = match path.is_file() {
                true => vec![path.clone()],
                false => expand(&Path::new(&literal).join(text))?,
            };
            tried.push(path.display().to_string());
            if !paths.is_empty() {
                found.extend(paths.into_iter().map(Located::Local));
                tried.clear();
                break;
            }
        }
        if !tried.is_empty() {
            return Ok(FoundFiles::Nothing { tried });
        }
    }
    Ok(FoundFiles::Files(found))
}

/// The files that match a pattern (`*`, `?`, `[ab]`, `**`), in natural order of their names.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>> {
    let text = path.to_string_lossy();
    pattern(&text)?;
    let paths = glob::glob(&text).expect("the pattern was checked");
    let mut files = Vec::new();
    for path in paths {
        let path = path.with_context(|| format!("cannot look for `{text}`"))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort_by_cached_key(|file| natural_key(&file.to_string_lossy()));
    Ok(files)
}

fn pattern(text: &str) -> Result<glob::Pattern> {
    glob::Pattern::new(text)
        .map_err(|error| usage!("`{text}` is not a path or pattern: {error}").into())
}

fn subfolders(folder: &Path) -> Vec<String> {
    entries(folder, Path::is_dir)
}

fn files_in(folder: &Path) -> Vec<String> {
    entries(folder, Path::is_file)
}

/// The sorted names in a folder for which `wanted` holds.
fn entries(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| wanted(&entry.path()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
