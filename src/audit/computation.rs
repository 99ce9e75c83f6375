//! What computes a model's logits: its weights or an export, with the settings that change a bit.

use anyhow::Result;
use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::classifier::Role;
use super::device::device;
use super::length::length_asked;
use super::Session;
use crate::cache::ModelIdentity;
use crate::checkpoint::{Checkpoint, Network};
use crate::config::Settings;
use crate::model::onnx::{self, Runtime, Served};
use crate::model::{self, Head, Model};

/// Properties of a model, cached so that it need not be loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelFacts {
    /// Its `model_type`.
    pub architecture: String,
    /// K.
    pub labels: usize,
    /// Maximum sequence length in tokens.
    pub positions: usize,
    /// Vocabulary size.
    pub vocabulary: usize,
    /// Whether it has token type embeddings for pairs.
    pub uses_token_types: bool,
    /// The other head convention, if there is one.
    pub other_head: Option<Head>,
    /// Data type of the stored weights.
    pub stored_dtype: String,
    /// Number of weights.
    pub parameters: usize,
}

impl ModelFacts {
    /// Those of a model that is loaded.
    pub(super) fn of(checkpoint: &Checkpoint, model: &dyn Model, architecture: String) -> Self {
        let sizes = model.sizes();
        ModelFacts {
            architecture,
            labels: sizes.labels,
            positions: sizes.positions,
            vocabulary: sizes.vocabulary,
            uses_token_types: sizes.uses_token_types,
            other_head: model.with_other_head().map(|(head, _)| head),
            stored_dtype: checkpoint.network.stored_dtype(),
            parameters: checkpoint.network.parameters(),
        }
    }
}

/// The settings that decide a model's logits.
pub(super) struct Computation {
    /// The head convention asked for.
    head: Head,
    device: Device,
    /// Of an ONNX file.
    pub(super) runtime: Runtime,
    /// Of an ONNX file.
    pub(super) served: Served,
}

impl Computation {
    /// The settings for the model of `role`.
    ///
    /// # Errors
    /// As [`device`].
    pub(super) fn of(role: Role, settings: &Settings) -> Result<Self> {
        let head = match role {
            Role::Teacher | Role::Model => settings.teacher_head,
            Role::Student => settings.student_head,
        };
        Ok(Computation {
            head,
            device: device(&settings.device)?,
            runtime: Runtime::of(settings.onnxruntime.as_deref()),
            served: settings.served,
        })
    }

    /// Cache key of the model: all that its logits depend on except the texts.
    ///
    /// # Errors
    /// As [`model::conventions`]; a library of ONNX Runtime that cannot be loaded.
    pub(super) fn identity(
        &self,
        checkpoint: &mut Checkpoint,
        settings: &Settings,
        session: &Session,
    ) -> Result<ModelIdentity> {
        let own = format!("{} {}", env!("CARGO_PKG_VERSION"), session.arithmetic);
        let (head, arithmetic) = match &checkpoint.network {
            Network::Weights(weights) => {
                let (_, head) = model::conventions(&checkpoint.config, weights, self.head)?;
                (head.to_owned(), own)
            }
            Network::Onnx(file) => {
                onnx::refuse_head(file, self.head)?;
                (
                    format!("as exported, {}", self.served),
                    format!("{own} {}", self.runtime.arithmetic()?),
                )
            }
        };
        Ok(ModelIdentity {
            weights_sha256: session.network_sha256(&mut checkpoint.network)?,
            config_sha256: checkpoint.config_sha256.clone(),
            tokenizer_sha256: tokenizer_key(checkpoint, settings),
            head,
            max_length: length_asked(&checkpoint.tokenizer, settings),
            device: settings.device.clone(),
            dtype: "f32".to_owned(),
            arithmetic,
            encoder_version: model::ENCODER_VERSION,
        })
    }

    /// Loads the model of `checkpoint`.
    ///
    /// # Errors
    /// As [`model::load`] and [`onnx::load`].
    pub(super) fn load(&self, checkpoint: &mut Checkpoint) -> Result<model::Loaded> {
        match &mut checkpoint.network {
            Network::Weights(weights) => {
                model::load(&checkpoint.config, weights, self.head, &self.device)
            }
            Network::Onnx(file) => {
                let loaded = onnx::load(&checkpoint.config, file, &self.runtime, self.served)?;
                file.unload();
                Ok(loaded)
            }
        }
    }
}

/// The tokenizer's files, and how they are read: neither the casing of a vocab.txt is in their bytes,
/// nor the tokenizer's class, which config.json may name.
fn tokenizer_key(checkpoint: &Checkpoint, settings: &Settings) -> String {
    let types = match checkpoint.tokenizer.returns_token_types() {
        true => "with token types",
        false => "without token types",
    };
    format!("{} {:?} {types}", checkpoint.tokenizer_sha256, settings.casing)
}
