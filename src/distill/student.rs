//! The student before its training: layers of the teacher, a pretrained checkpoint, or random weights.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use candle_core::{Device, Tensor};
use serde_json::{json, Map, Value};

use super::recipe::{Compat, Init, Layers, StudentLayer};
use crate::checkpoint::{Checkpoint, Draws, ModelConfig, Weights};
use crate::error::{usage, Diagnostic};
use crate::model::families::{self, EncoderFamily};
use crate::model::{conventions, load_trainable, DropoutRates, Head, Trainable};
use crate::task::LabelIndex;

/// An untrained student.
pub struct NewStudent {
    /// Its encoder and head, in the task's label order.
    pub model: Box<dyn Trainable>,
    /// Its config.json.
    pub config: Map<String, Value>,
    /// The dropout of config.json, as far as the implementation that is followed applies it.
    pub dropout: DropoutRates,
    /// Whether its last layer is new.
    pub new_head: bool,
}

/// The options that all students of a training share.
pub struct StudentPlan<'a> {
    /// Label names of the task, in its order.
    pub labels: &'a [String],
    /// Seed of random weights.
    pub seed: u64,
    pub compat: Compat,
}

/// Parts of pretraining heads.
const PRETRAINING: [&str; 8] = [
    "cls.",
    "lm_head.",
    "generator_predictions.",
    "generator_lm_head.",
    "discriminator_predictions.",
    "vocab_transform.",
    "vocab_layer_norm.",
    "vocab_projector.",
];

/// Tensors that no classifier reads.
const UNREAD: [&str; 2] = ["embeddings.position_ids", "fit_dense."];

/// Standard deviation of new weights where config.json has none.
const INITIALIZER_RANGE: f64 = 0.02;

/// The student that `asked` describes, from `source`: the teacher, or the pretrained checkpoint.
/// `columns` has the source's output of each label of the task, if it is a classifier of it.
///
/// # Errors
/// An architecture that cannot be trained here, layers that do not exist, sizes that contradict each
/// other.
pub fn begin(
    asked: &StudentLayer,
    init: Init,
    source: &mut Checkpoint,
    columns: Option<&[usize]>,
    plan: &StudentPlan,
) -> Result<NewStudent> {
    let (architecture, _) = conventions(&source.config, source.network.weights()?, Head::Auto)?;
    let family = families::family(&architecture).ok_or_else(|| {
        usage!(
            "`{}` is a {architecture} model, which can be audited but not trained",
            source.source
        )
        .hint(format!(
            "a student is of the BERT family: {}",
            families::model_types().collect::<Vec<_>>().join(", ")
        ))
    })?;
    let source_layers = source.config.size(family.keys.layers)?;
    let chosen = match init {
        Init::Scratch => Vec::new(),
        _ => chosen_layers(asked.layers.as_ref(), source_layers)?,
    };
    let config = config(asked, init, (family, &architecture), source, chosen.len(), plan)?;
    let model_config = ModelConfig::of(Path::new("config.json"), config.clone());
    let hidden = model_config.size(family.keys.hidden)?;

    let mut tensors = match init {
        Init::Scratch => BTreeMap::new(),
        _ => inherited(source.network.weights_mut()?, family, &chosen)?,
    };
    source.network.unload();
    let draws = draws(&source.config, family, init, plan.seed)?;
    let new_head = head(&mut tensors, family, columns, hidden, plan, &draws)?;
    let name = format!("student of {}", source.source);
    let mut weights = Weights::from_tensors(&name, tensors)?.with_draws(draws);
    let convention = match (family.has_two_heads, plan.compat) {
        (true, Compat::Huawei) => Head::PooledRelu,
        (true, Compat::None) => Head::Pooled,
        (false, _) => Head::Auto,
    };
    let loaded = load_trainable(&model_config, &mut weights, convention)?;
    let (model, dropout) = loaded.context("a family without a model")?;
    Ok(NewStudent { model, dropout: plan.compat.rates(dropout), config, new_head })
}

/// The layers that `asked` chooses of `all`, counted from 1.
fn chosen_layers(asked: Option<&Layers>, all: usize) -> Result<Vec<usize>> {
    match asked {
        None => Ok((1..=all).collect()),
        Some(Layers::Count(count)) => {
            let why = || format!("`student.layers` = {count} does not divide the {all} layers");
            let hint = "name them, counted from 1: `layers = [2, 4]`";
            let divides = all.is_multiple_of(*count) && *count > 0;
            ensure!(divides, Diagnostic::usage(why()).hint(hint));
            Ok((1..=*count).map(|i| i * (all / count)).collect())
        }
        Some(Layers::These(layers)) => {
            ensure!(!layers.is_empty(), Diagnostic::usage("`student.layers` is empty"));
            let outside = layers.iter().find(|layer| !(1..=all).contains(*layer));
            outside.map_or(Ok(layers.clone()), |layer| {
                let why = format!("`student.layers` names layer {layer}, of layers 1 to {all}");
                Err(Diagnostic::usage(why).into())
            })
        }
    }
}

/// The source's config.json with the student's sizes, labels and type.
fn config(
    asked: &StudentLayer,
    init: Init,
    (family, architecture): (&EncoderFamily, &str),
    source: &Checkpoint,
    layers: usize,
    plan: &StudentPlan,
) -> Result<Map<String, Value>> {
    let mut config = source.config.keys().clone();
    let keys = &family.keys;
    for leftover in ["_name_or_path", "torch_dtype", "num_labels", "problem_type"] {
        config.remove(leftover);
    }
    let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
    set("architectures", json!([family.class_of(architecture)]));
    set("model_type", json!(architecture));
    set("dtype", json!("float32"));
    let names = plan.labels.iter().enumerate();
    set("id2label", names.clone().map(|(i, name)| (i.to_string(), json!(name))).collect());
    set("label2id", names.map(|(i, name)| (name.clone(), json!(i))).collect());
    set(keys.layers, json!(layers));
    if init == Init::Scratch {
        let (Some(Layers::Count(layers)), Some(hidden), Some(heads)) =
            (&asked.layers, asked.hidden_size, asked.heads)
        else {
            bail!(Diagnostic::usage(
                "`student.init` = `scratch` needs `layers`, `hidden_size` and `heads`"
            ));
        };
        set(keys.layers, json!(layers));
        set(keys.hidden, json!(hidden));
        set(keys.heads, json!(heads));
        set(keys.intermediate, json!(asked.intermediate_size.unwrap_or(4 * hidden)));
    }
    if plan.compat == Compat::Huawei && family.has_two_heads {
        mark_as_original_tinybert(&mut config);
    }
    Ok(config)
}

/// Adds the keys of the original TinyBERT code's checkpoints, whose head has a ReLU.
fn mark_as_original_tinybert(config: &mut Map<String, Value>) {
    config.remove("model_type");
    for (key, value) in [("cell", json!({})), ("structure", json!([])), ("training", json!(""))] {
        config.entry(key).or_insert(value);
    }
}

/// The source's tensors with the `chosen` layers only, renumbered.
fn inherited(
    weights: &mut Weights,
    family: &EncoderFamily,
    chosen: &[usize],
) -> Result<BTreeMap<String, Tensor>> {
    let layers = format!("{}{}", family.prefix_in(weights), family.layers);
    let pooler = format!("{}pooler.", family.prefix_in(weights));
    let has_pooler = family.head.dense.contains("pooler");
    let unread = |name: &str| {
        PRETRAINING.iter().any(|p| name.starts_with(p))
            || UNREAD.iter().any(|p| name.contains(p))
            || (!has_pooler && name.starts_with(&pooler))
    };
    let names: Vec<String> = weights.names().filter(|n| !unread(n)).map(str::to_owned).collect();
    let mut tensors = BTreeMap::new();
    for name in names {
        let Some(rest) = name.strip_prefix(&layers) else {
            tensors.insert(name.clone(), weights.take_any(&name)?);
            continue;
        };
        let (number, part) = rest.split_once('.').context("a layer's tensor has no number")?;
        let number: usize = number.parse().with_context(|| format!("the tensor `{name}`"))?;
        for (new, _) in chosen.iter().enumerate().filter(|(_, layer)| **layer == number + 1) {
            tensors.insert(format!("{layers}{new}.{part}"), weights.take_any(&name)?);
        }
    }
    Ok(tensors)
}

/// The random weights: all from scratch, else those of a missing head.
fn draws(config: &ModelConfig, family: &EncoderFamily, init: Init, seed: u64) -> Result<Draws> {
    let deviation = config.number_or("initializer_range", INITIALIZER_RANGE)?;
    let prefixes = match init {
        Init::Scratch => vec![String::new()],
        _ => {
            let dense = family.head.dense;
            let inside = dense.strip_prefix(family.prefix).unwrap_or(dense);
            vec![dense.to_owned(), inside.to_owned(), family.head.output.to_owned()]
        }
    };
    Ok(Draws { seed, deviation, prefixes })
}

/// Sorts the last layer into the task's label order, or makes a new one -> whether it is new.
fn head(
    tensors: &mut BTreeMap<String, Tensor>,
    family: &EncoderFamily,
    columns: Option<&[usize]>,
    hidden: usize,
    plan: &StudentPlan,
    draws: &Draws,
) -> Result<bool> {
    let output = family.head.output;
    let (weight, bias) = (format!("{output}.weight"), format!("{output}.bias"));
    if let (Some(columns), Some(w), Some(b)) = (columns, tensors.get(&weight), tensors.get(&bias)) {
        let order: Vec<u32> = columns.iter().map(|&column| column as u32).collect();
        let order = Tensor::from_vec(order, columns.len(), &Device::Cpu)?;
        let (w, b) = (w.index_select(&order, 0)?, b.index_select(&order, 0)?);
        ensure!(w.dim(1)? == hidden, "the tensor `{weight}` is not {hidden} wide");
        tensors.insert(weight, w);
        tensors.insert(bias, b);
        return Ok(false);
    }
    let labels = plan.labels.len();
    tensors.insert(weight.clone(), draws.tensor(&weight, &[labels, hidden])?);
    tensors.insert(bias.clone(), draws.tensor(&bias, &[labels])?);
    Ok(true)
}

/// The output of each label of the task, by its name; `None` if the checkpoint is not a classifier of
/// the task.
pub fn columns_by_name(source: &Checkpoint, labels: &[String]) -> Result<Option<Vec<usize>>> {
    let is_classifier =
        source.config.architectures().iter().any(|c| c.contains("SequenceClassification"));
    // The maps of a base model may say anything: it has no labels.
    if !is_classifier {
        return Ok(None);
    }
    let Some(names) = source.config.label_names()? else { return Ok(None) };
    let index = LabelIndex::new(&names);
    let columns: Option<Vec<usize>> = labels.iter().map(|name| index.find(name)).collect();
    Ok(columns.filter(|_| names.len() == labels.len()))
}
