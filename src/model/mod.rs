//! 3. Encoders and heads: one implementation, used to audit and to train.
//!
//! [`encoder`] is for the BERT family; `deberta_v2` and `modernbert` adapt candle-transformers'
//! encoders, for audits only. A new architecture is one file here (or one row of
//! [`families::FAMILIES`]) and one arm of [`load`].

mod adapter;
pub mod encoder;
pub mod families;
pub mod kernels;
pub mod onnx;
pub mod ops;
pub mod packed;
mod parameter;
mod trainable;

use std::path::Path;

use anyhow::{bail, Result};
use candle_core::{Device, Tensor};

pub use encoder::{MaskedLm, Workspace};
pub use kernels::fingerprint;
pub use packed::PackedBatch;
pub use parameter::Parameter;
pub use trainable::{Dropout, DropoutRates, Frozen, Mode, Outputs, Shape, Trainable, Wanted};

use crate::checkpoint::{ModelConfig, TokenizedExample, Weights};
use crate::error::{failure, guarded, usage};
use crate::task::MOST_LABELS;

/// A sequence classifier.
pub trait Model: Send + Sync {
    /// Logits of every sequence of `batch`, in its order (B, K). Differentiable for our own encoders.
    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor>;

    /// As [`Model::forward`], row-major, on the fastest path; `workspace` is the calling worker's.
    fn logits(&self, batch: &PackedBatch, _workspace: &mut Workspace) -> Result<Vec<f32>> {
        flat(&self.forward(batch)?)
    }

    /// Logits of sequences that are run together, as a service does it (B, K). Those of an exported
    /// model may depend on the others of the batch.
    fn batch_logits(&self, batch: &[&TokenizedExample]) -> Result<Vec<f32>> {
        self.logits(&PackedBatch::new(batch.iter().copied()), &mut Workspace::default())
    }

    /// Sizes of inputs and outputs.
    fn sizes(&self) -> ModelSizes;

    /// K, the number of labels.
    fn labels(&self) -> usize {
        self.sizes().labels
    }

    /// Token ids are in `0..vocabulary()`.
    fn vocabulary(&self) -> usize {
        self.sizes().vocabulary
    }

    /// The same weights with the other head convention, if the architecture has two.
    fn with_other_head(&self) -> Option<(Head, Box<dyn Model>)> {
        None
    }
}

/// Sizes of a model's inputs and outputs.
#[derive(Debug, Clone, Copy)]
pub struct ModelSizes {
    /// K, the number of labels.
    pub labels: usize,
    /// Maximum length of a sequence, in tokens.
    pub positions: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Segments are below this; `None` where they have no effect.
    pub segments: Option<usize>,
    /// Whether the segments of a pair are distinguished (BERT, ELECTRA) or not (RoBERTa, DistilBERT).
    pub uses_token_types: bool,
}

/// The elements of a tensor, row-major.
fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// The head convention of BERT and TinyBERT.
///
/// The original TinyBERT code has a ReLU between the tanh pooler and the classifier. A checkpoint
/// trained with one convention is wrong with the other, and its weights do not show which it is.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    serde::Serialize,
    serde::Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// classifier(tanh(pooler(h)))
    Pooled,
    /// classifier(relu(tanh(pooler(h)))), as in the original TinyBERT code
    PooledRelu,
    /// pooled-relu for a config.json of the original TinyBERT code, else pooled
    #[default]
    Auto,
}

impl Head {
    /// As written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Head::Pooled => "pooled",
            Head::PooledRelu => "pooled-relu",
            Head::Auto => "auto",
        }
    }
}

/// The `model_type`s that can be audited but not trained.
const AUDITED_ONLY: [&str; 2] = ["deberta-v2", "modernbert"];

/// The `model_type`s that [`load`] knows.
fn architectures() -> Vec<&'static str> {
    families::model_types().chain(AUDITED_ONLY).collect()
}

/// A model with its names in the report.
pub struct Loaded {
    /// The model itself.
    pub model: Box<dyn Model>,
    /// Its `model_type`.
    pub architecture: String,
    /// The head convention in force; the architecture's own is `standard`.
    pub head: &'static str,
}

/// Bump when a change in this module alters any bit of a logit; invalidates cached logits.
pub const ENCODER_VERSION: u32 = 1;

/// The architecture of a checkpoint and the head convention in force, before its weights are read.
///
/// # Errors
/// An architecture that cannot be determined, a head convention that it does not have.
pub fn conventions(
    config: &ModelConfig,
    weights: &Weights,
    head: Head,
) -> Result<(String, &'static str)> {
    let architecture = architecture(config, weights)?;
    if head != Head::Auto && architecture != "bert" {
        bail!(usage!(
            "`{}` is a {architecture} model: the head convention `{}` is BERT's and TinyBERT's",
            weights.source(),
            head.as_str()
        )
        .hint("leave --teacher-head and --student-head out for other architectures"));
    }
    let head = match families::family(&architecture) {
        Some(family) => families::head_convention(family, config, head),
        None => "standard",
    };
    Ok((architecture, head))
}

/// Builds the classifier that `config` describes from `weights`, every one of which must be used.
///
/// # Errors
/// An architecture or a head that is not supported, a missing, surplus or misshapen tensor, a
/// weight that is not finite.
pub fn load(
    config: &ModelConfig,
    weights: &mut Weights,
    head: Head,
    device: &Device,
) -> Result<Loaded> {
    let what = || format!("the model of `{}`", config.path().display());
    guarded(what, || load_unguarded(config, weights, head, device))
}

fn load_unguarded(
    config: &ModelConfig,
    weights: &mut Weights,
    head: Head,
    device: &Device,
) -> Result<Loaded> {
    let (architecture, head) = conventions(config, weights, head)?;
    require_classification_head(config)?;
    let model: Box<dyn Model> = match (families::family(&architecture), architecture.as_str()) {
        (Some(family), _) => {
            Box::new(encoder::Encoder::load(family, config, weights, head, device)?)
        }
        (None, "deberta-v2") => Box::new(adapter::DebertaV2::load(config, weights, device)?),
        (None, "modernbert") => Box::new(adapter::ModernBert::load(config, weights, device)?),
        (None, other) => bail!(failure!(
            "`{}` is a `{other}` model, which this program does not support; it supports {}",
            config.path().display(),
            architectures().join(", ")
        )
        .hint(export_it(config))),
    };
    weights.finish(&[])?;
    weights.unload();
    Ok(Loaded { model, architecture, head })
}

/// The model of a checkpoint for training, and the dropout rates of its config.json; `None` if the
/// architecture cannot be trained.
///
/// # Errors
/// As [`load`].
pub fn load_trainable(
    config: &ModelConfig,
    weights: &mut Weights,
    head: Head,
) -> Result<Option<(Box<dyn Trainable>, DropoutRates)>> {
    let what = || format!("the model of `{}`", config.path().display());
    guarded(what, || {
        let (architecture, head) = conventions(config, weights, head)?;
        let Some(family) = families::family(&architecture) else { return Ok(None) };
        let encoder = encoder::Encoder::load(family, config, weights, head, &Device::Cpu)?;
        weights.finish(&[])?;
        weights.unload();
        Ok(Some((Box::new(encoder) as Box<dyn Trainable>, DropoutRates::read(family, config)?)))
    })
}

/// The masked language model of a checkpoint, and the dropout rates of its config.json.
///
/// # Errors
/// An architecture that is not of the BERT family, and as [`MaskedLm::load`].
pub fn load_masked_lm(
    config: &ModelConfig,
    weights: &mut Weights,
) -> Result<(MaskedLm, DropoutRates)> {
    let what = || format!("the model of `{}`", config.path().display());
    guarded(what, || {
        let architecture = architecture(config, weights)?;
        let Some(family) = families::family(&architecture) else {
            bail!(failure!("`{}` is a {architecture} model", weights.source()).hint(format!(
                "a masked language model is of the BERT family: {}",
                families::model_types().collect::<Vec<_>>().join(", ")
            )));
        };
        let model = MaskedLm::load(family, config, weights)?;
        weights.unload();
        Ok((model, DropoutRates::read(family, config)?))
    })
}

/// The sizes of a trainable checkpoint, without its weights; `None` for others.
///
/// # Errors
/// An architecture that cannot be determined, a size that is missing.
pub fn trainable_shape(config: &ModelConfig, weights: &Weights) -> Result<Option<Shape>> {
    match families::family(&architecture(config, weights)?) {
        Some(family) => Shape::read(family, config).map(Some),
        None => Ok(None),
    }
}

/// Whether a model of the BERT family tells the segments of a pair apart; false for the others.
///
/// # Errors
/// As [`trainable_shape`].
pub fn has_segments(config: &ModelConfig, weights: &Weights) -> Result<bool> {
    match families::family(&architecture(config, weights)?) {
        Some(family) => Ok(family.token_types && config.size_or("type_vocab_size", 2)? > 1),
        None => Ok(false),
    }
}

/// `model_type`; for an old config without it, from the class name or the tensor names.
fn architecture(config: &ModelConfig, weights: &Weights) -> Result<String> {
    if let Some(name) = config.text("model_type")? {
        return Ok(name.to_owned());
    }
    let class = config.architectures().join(" ").to_lowercase();
    // The longest first, as most contain "bert".
    let mut names = architectures();
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    if let Some(name) = names.iter().find(|name| class.contains(&name.replace('-', ""))) {
        return Ok((*name).to_owned());
    }
    let has =
        |family: &&families::EncoderFamily| weights.names().any(|n| n.starts_with(family.prefix));
    if let Some(family) = families::FAMILIES.iter().find(has) {
        return Ok(family.architectures[0].0.to_owned());
    }
    if weights.names().any(|n| n.starts_with("encoder.layer.0.attention.self.")) {
        return Ok("bert".to_owned());
    }
    bail!(
        "`{}` has no `model_type`, and neither its `architectures` nor its tensor names show the \
         architecture; add `\"model_type\"`: one of {}",
        config.path().display(),
        architectures().join(", ")
    )
}

/// What to do with a model that only other programs compute.
fn export_it(config: &ModelConfig) -> String {
    let folder = config.path().parent().unwrap_or(Path::new(".")).display();
    format!(
        "export it, and audit the export: `optimum-cli export onnx --task text-classification --model \
         {folder} NEW`"
    )
}

/// Refuses configs of other models than single-label classifiers; without `architectures`, the
/// tensors decide.
fn require_classification_head(config: &ModelConfig) -> Result<()> {
    let classes = config.architectures();
    if !classes.is_empty() && !classes.iter().any(|c| c.contains("SequenceClassification")) {
        bail!(failure!(
            "`{}` is a `{}`, which has no sequence-classification head",
            config.path().display(),
            classes.join(", ")
        )
        .hint(
            "fine-tune it on the task first; a pretrained encoder alone has no confidence to audit"
        ));
    }
    require_one_label(config)
}

/// Refuses regressions and multi-label models: their outputs do not choose one label.
fn require_one_label(config: &ModelConfig) -> Result<()> {
    match config.text("problem_type")? {
        Some(kind @ ("regression" | "multi_label_classification")) => bail!(
            "`{}` has the problem type `{kind}`: confidence is defined for one label out of K only",
            config.path().display()
        ),
        _ => Ok(()),
    }
}

/// K: the rows of the classifier `name`, checked against the labels of config.json.
fn label_count(config: &ModelConfig, weights: &Weights, name: &str) -> Result<usize> {
    let rows = weights.dims(&format!("{name}.weight"))?.first().copied().unwrap_or(0);
    if rows < 2 {
        bail!(
            "`{}` has {rows} output: a regression has no confidence; this program audits \
             classifiers with two labels or more",
            weights.source()
        );
    }
    if rows > MOST_LABELS {
        bail!("`{}` has {rows} outputs, and the limit is {MOST_LABELS}", weights.source());
    }
    match config.label_names()? {
        Some(names) if names.len() != rows => bail!(
            "`{}`: the tensor `{name}.weight` has {rows} rows, and config.json names {} labels",
            weights.source(),
            names.len()
        ),
        Some(_) => Ok(rows),
        None => config.require_num_labels(rows).map(|()| rows),
    }
}
