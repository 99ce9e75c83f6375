//! Every tensor of an encoder by name, for training and checkpoints.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{DType, Tensor};

use super::{Encoder, EncoderBody, EncoderLayer, LinearLayer};
use crate::model::{Frozen, Parameter};

/// Name and role of a tensor.
pub(super) struct TensorRole {
    /// Such as `layers.0.output.weight`.
    pub(super) name: String,
    /// Whether weight decay applies: to matrices, not to biases and layer norms.
    pub(super) decays: bool,
    /// Whether it belongs to the embeddings.
    pub(super) embeds: bool,
}

pub(super) type TensorMap<'a> =
    &'a mut dyn FnMut(TensorRole, &Tensor) -> candle_core::Result<Tensor>;

/// Replaces tensors by trainable parameters, but for `frozen` ones, and keeps these.
pub(super) struct Collected {
    pub(super) frozen: Frozen,
    /// In the order in which they were asked for.
    pub(super) parameters: Vec<Parameter>,
}

impl Collected {
    pub(super) fn replace(
        &mut self,
        role: TensorRole,
        tensor: &Tensor,
    ) -> candle_core::Result<Tensor> {
        let TensorRole { name, decays, embeds } = role;
        if embeds && self.frozen == Frozen::Embeddings {
            return Ok(tensor.clone());
        }
        let parameter = Parameter { embeds, ..Parameter::new(name, tensor, decays)? };
        let tensor = parameter.var.as_tensor().clone();
        self.parameters.push(parameter);
        Ok(tensor)
    }
}

impl Encoder {
    /// The encoder with every tensor replaced by `change` of it, in a fixed order.
    pub(super) fn map(&self, change: TensorMap) -> Result<Encoder> {
        Ok(Encoder {
            body: self.body.map(change)?,
            dense: self.dense.map("dense", change)?,
            classifier: self.classifier.map("classifier", change)?,
            dense_activation: self.dense_activation,
        })
    }

    /// A copy of the encoder over trainable parameters, and these in a fixed order.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub fn trainable(&self, frozen: Frozen) -> Result<(Encoder, Vec<Parameter>)> {
        let mut collected = Collected { frozen, parameters: Vec::new() };
        let encoder = self.map(&mut |role, tensor| collected.replace(role, tensor))?;
        Ok((encoder, collected.parameters))
    }

    /// The same weights in another dtype; f64 has no kernels and is slower.
    ///
    /// # Errors
    /// A dtype that candle cannot convert to.
    pub fn to_dtype(&self, dtype: DType) -> Result<Encoder> {
        self.map(&mut |_, tensor| tensor.to_dtype(dtype))
    }

    /// The weights by their names in Hugging Face checkpoints of this family.
    ///
    /// # Errors
    /// A tensor that cannot be copied.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let head = &self.body.family.head;
        let mut tensors = self.body.tensors()?;
        self.dense.export(&mut tensors, head.dense)?;
        self.classifier.export(&mut tensors, head.output)?;
        Ok(tensors)
    }
}

impl EncoderBody {
    /// The body with every tensor replaced by `change` of it, in a fixed order.
    pub(super) fn map(&self, change: TensorMap) -> Result<EncoderBody> {
        let mut embedding = |name: &str, decays, tensor: &Tensor| {
            change(TensorRole { name: name.to_owned(), decays, embeds: true }, tensor)
        };
        let words = embedding("words", true, &self.words)?;
        let positions = embedding("positions", true, &self.positions)?;
        let types = self.token_types.as_ref();
        let token_types = types.map(|t| embedding("token_types", true, t)).transpose()?;
        let embedding_norm = embedding("embedding_norm", false, &self.embedding_norm)?;
        let projection = self.projection.as_ref().map(|p| p.map("projection", change));
        let projection = projection.transpose()?;
        let layers = self.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| layer.map(&format!("layers.{i}"), change));
        Ok(EncoderBody {
            words,
            positions,
            token_types,
            embedding_norm,
            projection,
            layers: layers.collect::<Result<_>>()?,
            ..*self
        })
    }

    /// The weights by their names in Hugging Face checkpoints of this family.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let family = self.family;
        let part = |name: &str| format!("{}{name}", family.prefix);
        let mut tensors = BTreeMap::new();
        let mut put = |name: String, tensor: Tensor| tensors.insert(name, tensor);
        put(part("embeddings.word_embeddings.weight"), self.words.copy()?);
        put(part("embeddings.position_embeddings.weight"), self.positions.copy()?);
        if let Some(types) = &self.token_types {
            put(part("embeddings.token_type_embeddings.weight"), types.copy()?);
        }
        export_norm(&mut tensors, &part("embeddings.LayerNorm"), &self.embedding_norm)?;
        if let Some(projection) = &self.projection {
            projection.export(&mut tensors, &part("embeddings_project"))?;
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let prefix = part(&format!("{}{i}.", family.layers));
            layer.export(&mut tensors, |p| format!("{prefix}{}", family.layer[p]))?;
        }
        Ok(tensors)
    }
}

impl LinearLayer {
    pub(super) fn map(&self, name: &str, change: TensorMap) -> Result<LinearLayer> {
        let mut part = |part: &str, decays, tensor| {
            change(TensorRole { name: format!("{name}.{part}"), decays, embeds: false }, tensor)
        };
        let weight = part("weight", true, &self.weight)?;
        Ok(LinearLayer { weight, bias: part("bias", false, &self.bias)? })
    }

    /// Adds the layer as PyTorch stores it, the weight as (O, I).
    pub(super) fn export(&self, tensors: &mut BTreeMap<String, Tensor>, name: &str) -> Result<()> {
        tensors.insert(format!("{name}.weight"), self.weight.t()?.contiguous()?.copy()?);
        tensors.insert(format!("{name}.bias"), self.bias.copy()?);
        Ok(())
    }

    /// The `i`-th of `n` concatenated layers.
    fn part(&self, i: usize, n: usize) -> Result<LinearLayer> {
        let width = self.bias.elem_count() / n;
        let weight = self.weight.narrow(1, i * width, width)?;
        Ok(LinearLayer { weight, bias: self.bias.narrow(0, i * width, width)?.contiguous()? })
    }
}

impl EncoderLayer {
    fn map(&self, name: &str, change: TensorMap) -> Result<EncoderLayer> {
        let within = |part: &str| format!("{name}.{part}");
        let query_key_value = self.query_key_value.map(&within("query_key_value"), change)?;
        let attention_output = self.attention_output.map(&within("attention_output"), change)?;
        let mut norm = |part: &str, tensor| {
            change(TensorRole { name: within(part), decays: false, embeds: false }, tensor)
        };
        let attention_norm = norm("attention_norm", &self.attention_norm)?;
        let output_norm = norm("output_norm", &self.output_norm)?;
        Ok(EncoderLayer {
            query_key_value,
            attention_output,
            attention_norm,
            intermediate: self.intermediate.map(&within("intermediate"), change)?,
            output: self.output.map(&within("output"), change)?,
            output_norm,
        })
    }

    /// Adds the layer; `name` gives the name of each of its eight parts.
    fn export(
        &self,
        tensors: &mut BTreeMap<String, Tensor>,
        name: impl Fn(usize) -> String,
    ) -> Result<()> {
        for i in 0..3 {
            self.query_key_value.part(i, 3)?.export(tensors, &name(i))?;
        }
        self.attention_output.export(tensors, &name(3))?;
        self.intermediate.export(tensors, &name(4))?;
        self.output.export(tensors, &name(5))?;
        export_norm(tensors, &name(6), &self.attention_norm)?;
        export_norm(tensors, &name(7), &self.output_norm)
    }
}

pub(super) fn export_norm(
    tensors: &mut BTreeMap<String, Tensor>,
    name: &str,
    norm: &Tensor,
) -> Result<()> {
    tensors.insert(format!("{name}.weight"), norm.get(0)?.contiguous()?.copy()?);
    tensors.insert(format!("{name}.bias"), norm.get(1)?.contiguous()?.copy()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use candle_core::Device;

    use super::*;
    use crate::checkpoint::TokenizedExample;
    use crate::checkpoint::{ModelConfig, Weights};
    use crate::input::InputFile;
    use crate::model::{conventions, families, Head, Mode, Model, PackedBatch, Trainable, Wanted};

    fn load(config: &ModelConfig, weights: &mut Weights) -> Encoder {
        let (architecture, head) = conventions(config, weights, Head::Auto).unwrap();
        let family = families::family(&architecture).unwrap();
        Encoder::load(family, config, weights, head, &Device::Cpu).unwrap()
    }

    fn encoder(name: &str) -> (ModelConfig, Encoder) {
        let folder = Path::new("tests/fixtures/architectures").join(name);
        let config = ModelConfig::read(&folder.join("config.json")).unwrap();
        let file = folder.join("model.safetensors");
        let mut weights = Weights::open(name, &[InputFile::open(&file).unwrap()]).unwrap();
        let encoder = load(&config, &mut weights);
        (config, encoder)
    }

    fn batch() -> PackedBatch {
        let example = |ids: &[u32]| TokenizedExample {
            input_ids: ids.to_vec(),
            token_type_ids: vec![0; ids.len()],
            truncated: false,
        };
        PackedBatch::new(&[example(&[2, 5, 9, 3]), example(&[2, 7, 3])])
    }

    fn logits(encoder: &dyn Model) -> Vec<f32> {
        encoder.logits(&batch(), &mut crate::model::Workspace::default()).unwrap()
    }

    const OWN: [&str; 6] = ["bert", "tinybert", "distilbert", "electra", "roberta", "xlm-roberta"];

    #[test]
    fn an_exported_encoder_is_loaded_back() {
        for name in OWN {
            let (config, first) = encoder(name);
            let mut weights = Weights::from_tensors(name, first.export().unwrap()).unwrap();
            let again = load(&config, &mut weights);
            weights.finish(&[]).unwrap();
            assert_eq!(logits(&first), logits(&again), "{name}");
        }
    }

    #[test]
    fn a_trainable_encoder_has_the_same_logits_and_shares_its_parameters() {
        for name in OWN {
            let (_, fixed) = encoder(name);
            let (trainable, parameters) = fixed.trainable(Frozen::Nothing).unwrap();
            assert_eq!(logits(&fixed), logits(&trainable), "{name}");
            let snapshot = trainable.snapshot().unwrap();
            for parameter in &parameters {
                parameter.var.set(&(parameter.var.as_tensor() * 0.5).unwrap()).unwrap();
            }
            assert_ne!(logits(&fixed), logits(&trainable), "{name}");
            assert_eq!(logits(&fixed), logits(&*snapshot), "{name}");
        }
    }

    #[test]
    fn embeddings_are_marked() {
        let (_, encoder) = encoder("bert");
        let (_, parameters) = encoder.trainable(Frozen::Nothing).unwrap();
        let embeddings = parameters.iter().filter(|p| p.embeds).map(|p| p.name.as_str());
        let names = ["words", "positions", "token_types", "embedding_norm"];
        assert_eq!(embeddings.collect::<Vec<_>>(), names);
        let (_, others) = encoder.trainable(Frozen::Embeddings).unwrap();
        assert_eq!(others.len() + names.len(), parameters.len());
    }

    #[test]
    fn outputs_begin_with_the_embeddings_and_end_with_the_last_layer() {
        let (_, encoder) = encoder("bert");
        let wanted = Wanted { hidden: true, scores: true };
        let outputs = encoder.outputs(&batch(), wanted, Mode::Eval).unwrap();
        assert_eq!(outputs.hidden.len(), encoder.shape().layers + 1);
        assert_eq!(outputs.hidden[0].dims(), [7, 16]);
        // Two heads over sequences of four and three tokens.
        let entries: Vec<_> = outputs.scores.iter().map(|s| s.elem_count()).collect();
        assert_eq!(entries, [2 * (16 + 9); 2]);
    }
}
