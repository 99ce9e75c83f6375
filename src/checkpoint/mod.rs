//! 2. The loader: a local folder or a Hub id to config, tokenizer, weights and label names.

mod adapter;
mod config;
mod draws;
mod instead;
mod json;
mod label_names;
pub mod labels;
mod pth;
mod quantised;
mod safetensors_file;
mod tokenized;
mod tokenizer;
mod weights;
mod wrapper;
mod write;

use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

pub use config::ModelConfig;
pub use draws::Draws;
pub use labels::LabelMap;
pub use tokenized::TokenizedExample;
pub use tokenizer::{Casing, TextTokenizer, WordPieces};
pub use weights::Weights;
pub use write::{require_new_folder, NewCheckpoint};

use crate::digest::sha256_of_parts;
use crate::error::{failure, Diagnostic};
use crate::hub::{is_id, Hub, HubRepo, RepoKind};
use crate::input::{InputFile, SmallFile};

/// The files of weights, in the order in which they are looked for.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// What to name instead of a folder without config.json.
const AS_SAVED: &str = "name the folder of a checkpoint as transformers' save_pretrained writes it";
/// What a folder without weights needs.
const NEEDED: &str =
    "it needs model.safetensors, model.safetensors.index.json with its shards, or \
                      pytorch_model.bin";

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
    pub record: Option<SmallFile>,
    /// Every file that was opened.
    pub inputs: Vec<InputFile>,
    /// The files that the tokenizer was read from.
    tokenizer_parts: Vec<SmallFile>,
    /// SHA-256 of the tokenizer's files.
    pub tokenizer_sha256: String,
    /// SHA-256 of config.json.
    pub config_sha256: String,
}

impl Checkpoint {
    /// Finds and opens the files of `source`: a folder, or a Hub id with an optional `@revision`.
    ///
    /// # Errors
    /// No such folder or repository, an adapter, a missing file, one that cannot be read.
    pub fn open(source: &str, casing: Casing, hub: &Hub) -> Result<Self> {
        let place = CheckpointFiles::find(source, hub)?;
        let config_path = place.require("config.json");
        // A place that cannot be read is an error of config.json.
        if config_path.is_ok() || place.has(adapter::CONFIG).unwrap_or(false) {
            adapter::refuse(&place)?;
        }
        let config_file = SmallFile::open(&config_path?)?;
        let config = ModelConfig::parse(&config_file)?;
        let (index, weight_files) = weight_files(&place)?;
        let weights = Weights::open(source, &weight_files)?;
        let tokenizer_files = tokenizer::files(&place, &config)?;
        let tokenizer = TextTokenizer::open(&tokenizer_files, &config, casing)?;
        let record = place.small("distillation.json")?;
        let small = [Some(&config_file), index.as_ref(), record.as_ref()];
        let small = small.into_iter().flatten().chain(tokenizer_files.all());
        Ok(Checkpoint {
            source: source.to_owned(),
            revision: place.revision(),
            inputs: small.map(|file| file.input.clone()).chain(weight_files).collect(),
            tokenizer_sha256: sha256_of_parts(tokenizer_files.all().map(|file| &file.bytes[..])),
            config_sha256: sha256_of_parts([&config_file.bytes[..]]),
            tokenizer_parts: tokenizer_files.all().cloned().collect(),
            record,
            config,
            tokenizer,
            weights,
        })
    }

    /// The method of `quantization_config`, by which transformers quantises the weights when it loads
    /// them; empty where it has no name. `None` if config.json asks for none.
    pub fn quantisation(&self) -> Option<&str> {
        let asked = self.config.keys().get("quantization_config").filter(|it| !it.is_null())?;
        Some(asked.get("quant_method").and_then(|method| method.as_str()).unwrap_or_default())
    }

    /// Fails if a file of the checkpoint was written to or replaced since it was opened.
    ///
    /// # Errors
    /// Names the first such file.
    pub fn require_unchanged(&self) -> Result<()> {
        self.inputs.iter().try_for_each(InputFile::require_unchanged)
    }

    /// Every tokenizer file that transformers would read, for a copy of the checkpoint: those that the
    /// tokenizer was read from with the bytes that it was read from. Missing files of a Hub checkpoint
    /// are downloaded.
    ///
    /// # Errors
    /// A file that cannot be downloaded or read.
    pub fn tokenizer_files(&self, hub: &Hub) -> Result<Vec<SmallFile>> {
        let place = CheckpointFiles::find(&self.source, hub)?;
        let mut files = Vec::new();
        for name in tokenizer::NAMES {
            let is_named = |file: &&SmallFile| file.path().ends_with(name);
            match self.tokenizer_parts.iter().find(is_named) {
                Some(part) => files.push(part.clone()),
                None => files.extend(place.small(name)?),
            }
        }
        Ok(files)
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

    /// Whether there is a file `name`; nothing is downloaded.
    fn has(&self, name: &str) -> Result<bool> {
        match self {
            CheckpointFiles::Folder(folder) => Ok(folder.join(name).exists()),
            CheckpointFiles::Hub(hub, repo) => Ok(hub.list(repo)?.iter().any(|it| it == name)),
        }
    }

    /// The file `name` with its bytes, if there is one.
    pub(crate) fn small(&self, name: &str) -> Result<Option<SmallFile>> {
        self.get(name)?.as_deref().map(SmallFile::open).transpose()
    }

    fn require(&self, name: &str) -> Result<PathBuf> {
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
    fn without(&self, what: &str, hint: &str) -> Diagnostic {
        let name = self.name();
        let has_weights = WEIGHTS.iter().any(|file| self.has(file).unwrap_or(false));
        match instead::found(self).filter(|_| !has_weights) {
            Some((found, hint)) => {
                failure!("`{name}` holds no {what}; it holds {found}").hint(hint)
            }
            None => failure!("`{name}` holds no {what}").hint(hint),
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

/// One safetensors file, else the shards of an index with the index, else a PyTorch pickle.
fn weight_files(place: &CheckpointFiles) -> Result<(Option<SmallFile>, Vec<InputFile>)> {
    if let Some(file) = place.get("model.safetensors")? {
        return Ok((None, vec![InputFile::open(&file)?]));
    }
    if let Some(index) = place.small("model.safetensors.index.json")? {
        let missing = || format!("a shard that `{}` names", index.input.name());
        let shards = weights::shards(&index)?
            .iter()
            .map(|shard| InputFile::open(&place.require(shard).with_context(missing)?))
            .collect::<Result<_>>()?;
        return Ok((Some(index), shards));
    }
    if let Some(file) = place.get("pytorch_model.bin")? {
        return Ok((None, vec![InputFile::open(&file)?]));
    }
    if place.get("pytorch_model.bin.index.json")?.is_some() {
        bail!(failure!("`{}` holds a sharded pickle", place.name())
            .hint("save it again with `save_pretrained(FOLDER, safe_serialization=True)`"));
    }
    bail!(place.without("weights", NEEDED))
}
