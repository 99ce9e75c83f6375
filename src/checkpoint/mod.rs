//! 2. The loader: a local folder or a Hub id to config, tokenizer, weights and label names.

mod adapter;
mod config;
mod draws;
mod instead;
mod json;
mod label_names;
pub mod labels;
mod network;
mod onnx;
mod place;
mod pth;
mod quantised;
mod safetensors_file;
mod tokenized;
mod tokenizer;
mod weights;
mod wrapper;
mod write;

use anyhow::{bail, Context, Result};

pub use config::ModelConfig;
pub use draws::Draws;
pub use labels::LabelMap;
pub use network::Network;
pub use onnx::OnnxFile;
pub(crate) use place::CheckpointFiles;
pub use tokenized::TokenizedExample;
pub use tokenizer::{Casing, TextTokenizer, WordPieces};
pub use weights::Weights;
pub use write::{require_new_folder, NewCheckpoint};

use crate::digest::sha256_of_parts;
use crate::error::failure;
use crate::hub::Hub;
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
    /// What computes the logits.
    pub network: Network,
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
    /// Finds and opens the files of `source`: a folder, an ONNX file, or a Hub id with an optional
    /// `@revision`.
    ///
    /// # Errors
    /// No such folder or repository, an adapter, a missing file, one that cannot be read.
    pub fn open(source: &str, casing: Casing, hub: &Hub) -> Result<Self> {
        let (place, onnx) = CheckpointFiles::find(source, hub)?;
        let config_path = place.require("config.json");
        // A place that cannot be read is an error of config.json.
        if config_path.is_ok() || place.has(adapter::CONFIG).unwrap_or(false) {
            adapter::refuse(&place)?;
        }
        let config_file = SmallFile::open(&config_path?)?;
        let config = ModelConfig::parse(&config_file)?;
        let (network, index) = Network::open(source, &place, onnx)?;
        let tokenizer_files = tokenizer::files(&place, &config)?;
        let tokenizer = TextTokenizer::open(&tokenizer_files, &config, casing)?;
        let record = place.small("distillation.json")?;
        let small = [Some(&config_file), index.as_ref(), record.as_ref()];
        let small = small.into_iter().flatten().chain(tokenizer_files.all());
        Ok(Checkpoint {
            source: source.to_owned(),
            revision: place.revision(),
            inputs: small.map(|file| file.input.clone()).chain(network.files()).collect(),
            tokenizer_sha256: sha256_of_parts(tokenizer_files.all().map(|file| &file.bytes[..])),
            config_sha256: sha256_of_parts([&config_file.bytes[..]]),
            tokenizer_parts: tokenizer_files.all().cloned().collect(),
            record,
            config,
            tokenizer,
            network,
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
        let (place, _) = CheckpointFiles::find(&self.source, hub)?;
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
