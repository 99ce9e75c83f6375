//! A masked language model: an encoder, and a head that gives a logit for every token of the
//! vocabulary.
//!
//! Matches Hugging Face transformers' `*ForMaskedLM`. The last matrix of the head is the table of word
//! embeddings in most checkpoints (tied), and a matrix of its own in others.

use std::collections::BTreeMap;

use anyhow::{bail, ensure, Result};
use candle_core::{DType, Tensor};

use super::body::{activation, norm};
use super::tensors::{export_norm, Collected, TensorMap, TensorRole};
use super::{EncoderBody, LinearLayer};
use crate::checkpoint::{ModelConfig, Weights};
use crate::error::{failure, Diagnostic};
use crate::model::families::{EncoderFamily, MaskedHeadNames};
use crate::model::kernels::Activation;
use crate::model::{ops, Frozen, Mode, PackedBatch, Parameter, Shape, Wanted};

/// An encoder with a masked-language-model head. Clones share the weights.
#[derive(Clone)]
pub struct MaskedLm {
    body: EncoderBody,
    transform: LinearLayer, // (H, E)
    transform_activation: Activation,
    transform_norm: Tensor,  // (2, E)
    decoder: Option<Tensor>, // (V, E), if it is not the table of word embeddings
    bias: Tensor,            // (V)
}

impl MaskedLm {
    /// Reads an encoder of `family` and its masked-language-model head. Heads of other pretraining
    /// tasks in the same file are not read.
    ///
    /// # Errors
    /// A checkpoint without such a head, a missing, surplus or misshapen tensor, a decoder of its own
    /// where config.json ties it to the word embeddings, two biases.
    pub fn load(
        family: &'static EncoderFamily,
        config: &ModelConfig,
        weights: &mut Weights,
    ) -> Result<Self> {
        let names = &family.masked_head;
        require_masked_head(names, weights)?;
        let body = EncoderBody::load(family, config, weights)?;
        let (hidden, width) = (body.hidden(), body.embedding());
        let decoder = decoder(names, &body.words, config, weights)?;
        let model = MaskedLm {
            transform: LinearLayer::load(weights, names.dense, hidden, width)?,
            transform_activation: match names.activation {
                Some(fixed) => fixed,
                None => activation(config, family.keys.activation)?,
            },
            transform_norm: norm(weights, names.norm, width)?,
            bias: bias(names, body.vocabulary(), weights)?,
            decoder,
            body,
        };
        let pooler = format!("{}pooler.", family.prefix_in(weights));
        weights.finish(&[&pooler, "cls.seq_relationship.", "discriminator_predictions."])?;
        Ok(model)
    }

    /// Logits (M, V) of the tokens `rows` (M) of `batch`, counted over the packed sequences;
    /// differentiable in the weights.
    ///
    /// # Errors
    /// A row or a token id that does not exist, an error of candle.
    pub fn logits(
        &self,
        batch: &PackedBatch,
        rows: &[u32],
        mode: Mode,
    ) -> candle_core::Result<Tensor> {
        let words = ops::embed(&self.body.words, batch.input_ids.clone())?; // (T, E)
        self.logits_from(&words, batch, rows, mode)
    }

    /// As [`MaskedLm::logits`], over the rows `words` (T, E) in place of the word embeddings of
    /// `batch`'s ids, which are not read; differentiable in `words` too.
    ///
    /// # Errors
    /// A row that does not exist, word rows of another shape, an error of candle.
    pub fn logits_from(
        &self,
        words: &Tensor,
        batch: &PackedBatch,
        rows: &[u32],
        mode: Mode,
    ) -> candle_core::Result<Tensor> {
        let (last, _) = self.body.states(words, batch, Wanted::default(), mode)?; // (T, H)
        let asked = ops::embed(&last, rows.to_vec())?; // (M, H)
        let narrow = self.transform.forward(&asked, self.transform_activation)?; // (M, E)
        let nothing = narrow.zeros_like()?.detach();
        let normed = ops::add_layer_norm(&narrow, &nothing, &self.transform_norm, self.body.eps)?;
        let table = self.decoder.as_ref().unwrap_or(&self.body.words);
        ops::decode(&normed, table, &self.bias) // (M, V)
    }

    /// The table of word embeddings (V, E).
    pub fn word_embeddings(&self) -> &Tensor {
        &self.body.words
    }

    /// Whether the decoder is the table of word embeddings.
    pub fn is_tied(&self) -> bool {
        self.decoder.is_none()
    }

    /// V.
    pub fn vocabulary(&self) -> usize {
        self.body.vocabulary()
    }

    /// The sizes of the encoder.
    pub fn shape(&self) -> Shape {
        self.body.shape()
    }

    /// Segments are below this; `None` where they have no effect.
    pub fn segments(&self) -> Option<usize> {
        self.body.segments()
    }

    /// A copy of the model over trainable parameters, and these in a fixed order: the encoder's, then
    /// `transform.weight`, `transform.bias`, `transform_norm`, `decoder` (if it is not tied) and
    /// `decoder_bias`. Frozen embeddings freeze a tied decoder too.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn trainable(&self, frozen: Frozen) -> Result<(MaskedLm, Vec<Parameter>)> {
        let mut collected = Collected { frozen, parameters: Vec::new() };
        let model = self.map(&mut |role, tensor| collected.replace(role, tensor))?;
        Ok((model, collected.parameters))
    }

    /// As [`MaskedLm::trainable`], with the encoder and a tied decoder frozen.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn trainable_head(&self) -> Result<(MaskedLm, Vec<Parameter>)> {
        let mut collected = Collected { frozen: Frozen::Nothing, parameters: Vec::new() };
        let model = self.map_head(&mut |role, tensor| collected.replace(role, tensor))?;
        Ok((model, collected.parameters))
    }

    /// A copy of the model with the current weights.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn snapshot(&self) -> Result<MaskedLm> {
        self.map(&mut |_, tensor| tensor.detach().copy())
    }

    /// The same weights in another dtype; f64 has no kernels and is slower.
    ///
    /// # Errors
    /// A dtype that candle cannot convert to.
    pub fn to_dtype(&self, dtype: DType) -> Result<MaskedLm> {
        self.map(&mut |_, tensor| tensor.to_dtype(dtype))
    }

    /// Copies of the weights by their names in Hugging Face checkpoints, without a tied decoder.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn export(&self) -> Result<BTreeMap<String, Tensor>> {
        let names = &self.body.family.masked_head;
        let mut tensors = self.body.tensors()?;
        self.transform.export(&mut tensors, names.dense)?;
        export_norm(&mut tensors, names.norm, &self.transform_norm)?;
        if let Some(decoder) = &self.decoder {
            tensors.insert(format!("{}.weight", names.decoder), decoder.copy()?);
        }
        tensors.insert(names.bias.to_owned(), self.bias.copy()?);
        Ok(tensors)
    }

    /// The model with every tensor replaced by `change` of it, in a fixed order.
    fn map(&self, change: TensorMap) -> Result<MaskedLm> {
        Ok(MaskedLm { body: self.body.map(change)?, ..self.map_head(change)? })
    }

    /// The model with every tensor of the head replaced by `change` of it, in a fixed order.
    fn map_head(&self, change: TensorMap) -> Result<MaskedLm> {
        let transform = self.transform.map("transform", change)?;
        let mut part = |name: &str, decays, tensor| {
            change(TensorRole { name: name.to_owned(), decays, embeds: false }, tensor)
        };
        Ok(MaskedLm {
            body: self.body.clone(),
            transform,
            transform_activation: self.transform_activation,
            transform_norm: part("transform_norm", false, &self.transform_norm)?,
            decoder: self.decoder.as_ref().map(|table| part("decoder", true, table)).transpose()?,
            bias: part("decoder_bias", false, &self.bias)?,
        })
    }
}

/// Refuses a checkpoint without a masked-language-model head, such as a classifier.
fn require_masked_head(names: &MaskedHeadNames, weights: &Weights) -> Result<()> {
    let dense = format!("{}.weight", names.dense);
    if weights.contains(&dense) {
        return Ok(());
    }
    bail!(failure!(
        "`{}` has no masked-language-model head: `{dense}` is missing",
        weights.source()
    )
    .hint(
        "name a pretrained checkpoint with its head, such as transformers' *ForMaskedLM classes save \
         it; a fine-tuned classifier and a bare encoder have none"
    ))
}

/// The decoder's matrix (V, E), if it is not the table of word embeddings, `words`.
fn decoder(
    names: &MaskedHeadNames,
    words: &Tensor,
    config: &ModelConfig,
    weights: &mut Weights,
) -> Result<Option<Tensor>> {
    const KEY: &str = "tie_word_embeddings";
    let is_tied = match config.keys().get(KEY) {
        None | Some(serde_json::Value::Null) => true,
        Some(_) => config.flag(KEY)?,
    };
    let name = format!("{}.weight", names.decoder);
    if !weights.names().any(|stored| stored == name) {
        ensure!(
            is_tied,
            "`{}`: `{KEY}` is false, and `{}` has no tensor `{name}`",
            config.path().display(),
            weights.source()
        );
        return Ok(None);
    }
    let own = weights.take(&name, words.dims())?;
    if !is_tied {
        return Ok(Some(own));
    }
    // transformers 4 uses the word embeddings, and transformers 5 the decoder.
    ensure!(
        is_equal(&own, words)?,
        Diagnostic::failure(format!(
            "`{}`: the tensor `{name}` differs from the word embeddings, and config.json ties the two",
            weights.source()
        ))
        .hint(format!("set `\"{KEY}\": false` in config.json if the decoder has weights of its own"))
    );
    Ok(None)
}

/// The decoder's bias (V), which old checkpoints store under two names.
fn bias(names: &MaskedHeadNames, vocabulary: usize, weights: &mut Weights) -> Result<Tensor> {
    let second = format!("{}.bias", names.decoder);
    let is_stored = |name: &str| weights.names().any(|stored| stored == name);
    let (has_first, has_second) = (is_stored(names.bias), is_stored(&second));
    if !has_second || names.bias == second {
        return weights.take(names.bias, &[vocabulary]);
    }
    let bias = weights.take(&second, &[vocabulary])?;
    if has_first {
        ensure!(
            is_equal(&bias, &weights.take(names.bias, &[vocabulary])?)?,
            "`{}`: the tensors `{}` and `{second}` are one bias, and they differ",
            weights.source(),
            names.bias
        );
    }
    Ok(bias)
}

fn is_equal(a: &Tensor, b: &Tensor) -> Result<bool> {
    Ok(a.flatten_all()?.to_vec1::<f32>()? == b.flatten_all()?.to_vec1::<f32>()?)
}
