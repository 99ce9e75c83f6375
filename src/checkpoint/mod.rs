//! 2. The loader: a local folder or a Hub id to config, tokenizer, weights and label names.

mod config;
pub mod labels;
mod pth;
mod safetensors_file;
mod tokenized;
mod tokenizer;
mod weights;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

pub use config::ModelConfig;
pub use labels::LabelMap;
pub use tokenized::TokenizedExample;
pub use tokenizer::{Casing, TextTokenizer};
pub use weights::{Draws, Weights};
pub use write::{require_new_folder, NewCheckpoint};

use crate::digest::sha256_of;
use crate::error::failure;
use crate::hub::{is_id, Hub, HubRepo, RepoKind};

/// A sequence classifier on disk: everything but the built model.
pub struct Checkpoint {
    /// The name that the user gave.
    pub source: String,
    /// The commit of a Hub revision.
    pub revision: Option<String>,
    /// config.json.
    pub config: ModelConfig,
    /// The tokenizer.
    pub tokenizer: TextTokenizer,
    /// The opened weights.
    pub weights: Weights,
    /// `distillation.json`, if there is one.
    pub record: Option<PathBuf>,
    /// The weights' files, in name order.
    pub weight_files: Vec<PathBuf>,
    /// SHA-256 of the tokenizer's files.
    pub tokenizer_sha256: String,
    /// SHA-256 of config.json.
    pub config_sha256: String,
}

impl Checkpoint {
    /// Finds and opens the files of `source`: a folder, or a Hub id with an optional `@revision`.
    ///
    /// # Errors
    /// No such folder or repository, a missing file, one that cannot be read.
    pub fn open(source: &str, casing: Casing, hub: &Hub) -> Result<Self> {
        let place = CheckpointFiles::find(source, hub)?;
        let config_path = place.require("config.json")?;
        let config = ModelConfig::read(&config_path)?;
        let weight_files = weight_files(&place)?;
        let weights = Weights::open(source, &weight_files)?;
        let tokenizer_files = tokenizer::files(&place, &config)?;
        let tokenizer = TextTokenizer::open(&tokenizer_files, casing)?;
        Ok(Checkpoint {
            source: source.to_owned(),
            revision: place.revision(),
            record: place.get("distillation.json")?,
            weight_files,
            tokenizer_sha256: sha256_of(&tokenizer_files.all())?,
            config_sha256: sha256_of(&[&config_path])?,
            config,
            tokenizer,
            weights,
        })
    }

    /// Every tokenizer file that transformers would read, for a copy of the checkpoint. Missing files
    /// of a Hub checkpoint are downloaded.
    ///
    /// # Errors
    /// A file that cannot be downloaded.
    pub fn tokenizer_files(&self, hub: &Hub) -> Result<Vec<PathBuf>> {
        let place = CheckpointFiles::find(&self.source, hub)?;
        let files = tokenizer::NAMES.iter().map(|name| place.get(name));
        Ok(files.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The label names of config.json in the order of the logits (K); `LABEL_0`, `LABEL_1`, … if it
    /// names none.
    pub fn label_names(&self, outputs: usize) -> Result<Vec<String>> {
        let ids = || (0..outputs).map(|i| format!("LABEL_{i}")).collect();
        Ok(self.config.label_names()?.unwrap_or_else(ids))
    }
}

/// The location of a checkpoint's files.
pub(crate) enum CheckpointFiles<'a> {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A repository of the Hub.
    Hub(&'a Hub, HubRepo),
}

impl<'a> CheckpointFiles<'a> {
    fn find(source: &str, hub: &'a Hub) -> Result<Self> {
        let path = Path::new(source);
        if path.is_dir() {
            return Ok(CheckpointFiles::Folder(path.to_owned()));
        }
        if path.is_file() {
            bail!(failure!("`{source}` is a file, not a checkpoint")
                .hint("name the folder that holds config.json, the tokenizer and the weights"));
        }
        let is_path = source.starts_with(['.', '/', '~']) || source.ends_with('/');
        if is_path || !is_id(source.split('@').next().unwrap_or_default()) {
            bail!(failure!("there is no folder `{source}`").hint(
                "name a folder with config.json, a tokenizer and weights, or a Hub id such as \
                 org/model or org/model@revision"
            ));
        }
        Ok(CheckpointFiles::Hub(hub, HubRepo::parse(RepoKind::Model, source)?))
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

    fn require(&self, name: &str) -> Result<PathBuf> {
        match self {
            CheckpointFiles::Folder(folder) => self.get(name)?.ok_or_else(|| {
                failure!("`{}` holds no `{name}`", folder.display()).hint("name the folder of a checkpoint as transformers' save_pretrained writes it").into()
            }),
            CheckpointFiles::Hub(hub, repo) => hub.fetch(repo, name).map_err(|error| {
                error
                    .context(format!("there is no folder `{0}`, and as a Hub id it fails", repo.id))
            }),
        }
    }

    fn revision(&self) -> Option<String> {
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

/// One safetensors file, else the shards of an index, else a PyTorch pickle.
fn weight_files(place: &CheckpointFiles) -> Result<Vec<PathBuf>> {
    if let Some(file) = place.get("model.safetensors")? {
        return Ok(vec![file]);
    }
    if let Some(index) = place.get("model.safetensors.index.json")? {
        let missing = || format!("a shard that `{}` names", index.display());
        return weights::shards(&index)?
            .iter()
            .map(|shard| place.require(shard).with_context(missing))
            .collect();
    }
    if let Some(file) = place.get("pytorch_model.bin")? {
        return Ok(vec![file]);
    }
    if place.get("pytorch_model.bin.index.json")?.is_some() {
        bail!("`{}` holds a sharded pickle; save it again as safetensors", place.name());
    }
    bail!(failure!("`{}` holds no weights", place.name()).hint(
        "it needs model.safetensors, model.safetensors.index.json with its shards, or \
         pytorch_model.bin",
    ))
}
