//! What computes a checkpoint's logits: weights for an encoder of this program, or an ONNX file.

use anyhow::{bail, Result};

use super::{weight_files, CheckpointFiles, OnnxFile, Weights};
use crate::error::{failure, Diagnostic};
use crate::input::{InputFile, SmallFile};

/// What computes a checkpoint's logits.
pub enum Network {
    /// The weights of an encoder.
    Weights(Weights),
    /// An exported model.
    Onnx(Box<OnnxFile>),
}

impl Network {
    /// Opens the ONNX file `named`; without one, the weights of `place`, or its only ONNX file. Returns
    /// the index of the weights' shards too.
    pub(super) fn open(
        source: &str,
        place: &CheckpointFiles,
        named: Option<String>,
    ) -> Result<(Self, Option<SmallFile>)> {
        let onnx = match named {
            Some(name) => Some(name),
            None if place.has_weights() => None,
            None => only_one(place)?,
        };
        if let Some(name) = onnx {
            return Ok((Network::Onnx(Box::new(open_onnx(source, place, &name)?)), None));
        }
        let (index, files) = weight_files(place)?;
        Ok((Network::Weights(Weights::open(source, &files)?), index))
    }

    /// The files that it is read from, without an index of shards.
    pub(super) fn files(&self) -> Vec<InputFile> {
        match self {
            Network::Weights(weights) => weights.files().cloned().collect(),
            Network::Onnx(file) => file.files().cloned().collect(),
        }
    }

    /// The weights.
    ///
    /// # Errors
    /// An ONNX file.
    pub fn weights(&self) -> Result<&Weights> {
        match self {
            Network::Weights(weights) => Ok(weights),
            Network::Onnx(file) => bail!(no_weights(file)),
        }
    }

    /// The weights, to take them.
    ///
    /// # Errors
    /// As [`Network::weights`].
    pub fn weights_mut(&mut self) -> Result<&mut Weights> {
        match self {
            Network::Weights(weights) => Ok(weights),
            Network::Onnx(file) => bail!(no_weights(file)),
        }
    }

    /// The weights alone.
    ///
    /// # Errors
    /// As [`Network::weights`].
    pub fn into_weights(self) -> Result<Weights> {
        match self {
            Network::Weights(weights) => Ok(weights),
            Network::Onnx(file) => bail!(no_weights(&file)),
        }
    }

    /// Frees the memory of what was read.
    pub fn unload(&mut self) {
        match self {
            Network::Weights(weights) => weights.unload(),
            Network::Onnx(file) => file.unload(),
        }
    }

    /// The types that its weights are stored in, such as `f16`; of those taken so far.
    pub fn stored_dtype(&self) -> String {
        match self {
            Network::Weights(weights) => weights.stored_dtype(),
            Network::Onnx(file) => file.stored_dtype().to_owned(),
        }
    }

    /// The number of weights; of those taken so far.
    pub fn parameters(&self) -> usize {
        match self {
            Network::Weights(weights) => weights.parameters(),
            Network::Onnx(file) => file.parameters(),
        }
    }
}

fn no_weights(file: &OnnxFile) -> Diagnostic {
    failure!("`{}` is the ONNX file `{}`, which can only be run", file.source(), file.name()).hint(
        "name the checkpoint that it was exported from; to learn from an export, write its logits \
             with `audit predict` and pass --teacher-predictions",
    )
}

/// The only ONNX file of `place`; `None` if there is none.
fn only_one(place: &CheckpointFiles) -> Result<Option<String>> {
    let mut names = place.onnx_files()?;
    match names.len() {
        0 | 1 => Ok(names.pop()),
        count => {
            let listed = names.iter().take(8).map(|name| format!("`{name}`"));
            let example = names.iter().find(|name| name.contains("quant")).unwrap_or(&names[0]);
            bail!(failure!(
                "`{}` holds {count} ONNX files: {}",
                place.name(),
                listed.collect::<Vec<_>>().join(", ")
            )
            .hint(format!("name the one that ships, such as `{}`", place.name_of(example))))
        }
    }
}

fn open_onnx(source: &str, place: &CheckpointFiles, name: &str) -> Result<OnnxFile> {
    let file = InputFile::open(&place.require(name)?)?;
    let folder = name.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default();
    OnnxFile::open(source, name, file, |other| place.require(&format!("{folder}{other}")))
}
