//! Exported classifiers: an ONNX file as a [`Model`], run by tract or by the user's ONNX Runtime.
//!
//! A model gets one sequence at a time, so that its logits do not depend on other texts, or the
//! batches in which a service runs it ([`Served`]): dynamically quantised models choose their ranges
//! from a whole batch, padding included.

mod builtin; //       tract
mod graph; //         inputs, output and operators of a graph
mod onnx_runtime; //  ONNX Runtime, from a library of the user
mod served; //        batches and padding of a service

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Result};
use candle_core::{Device, Tensor};
use tract_onnx::pb::ModelProto;

pub use served::{Order, PaddedBatch, Padding, Served};

use self::builtin::Builtin;
use self::graph::Interface;
use self::onnx_runtime::OnnxRuntime;
use super::{Head, Loaded, Model, ModelSizes, PackedBatch, Workspace};
use crate::checkpoint::{ModelConfig, OnnxFile, TokenizedExample};
use crate::error::{caught, failure, guarded, usage};
use crate::task::MOST_LABELS;

/// Bump when a change in this module alters any bit of a logit; invalidates cached logits.
pub const ONNX_VERSION: u32 = 1;

/// Where ONNX files are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runtime {
    /// tract, a part of this program.
    Builtin,
    /// The shared library of ONNX Runtime at this path.
    Library(PathBuf),
}

impl Runtime {
    /// The runtime of a library's path, if there is one.
    pub fn of(library: Option<&Path>) -> Runtime {
        library.map_or(Runtime::Builtin, |path| Runtime::Library(path.to_owned()))
    }

    /// Its name and version, such as `tract 0.23.9` or `ONNX Runtime 1.22.0`.
    ///
    /// # Errors
    /// A library that cannot be loaded, or is not ONNX Runtime.
    pub fn name(&self) -> Result<String> {
        match self {
            Runtime::Builtin => Ok(builtin::NAME.to_owned()),
            Runtime::Library(path) => onnx_runtime::name(path),
        }
    }

    /// What decides the bits of its results, for the cache: its name, and the instructions of this
    /// processor that it may use.
    ///
    /// # Errors
    /// As [`Runtime::name`].
    pub fn arithmetic(&self) -> Result<String> {
        let build = match self {
            Runtime::Builtin => builtin::NAME.to_owned(),
            Runtime::Library(path) => onnx_runtime::build(path)?,
        };
        Ok(format!("{build} {} {ONNX_VERSION}", instructions().join("+")))
    }
}

/// The vector instructions of this processor.
fn instructions() -> Vec<&'static str> {
    macro_rules! detected {
        ($($feature:tt)*) => {{
            let all = [$(($feature, std::arch::is_x86_feature_detected!($feature))),*];
            all.into_iter().filter_map(|(name, has)| has.then_some(name)).collect()
        }};
    }
    #[cfg(target_arch = "x86_64")]
    return detected!("sse4.1" "avx" "f16c" "fma" "avx2" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avxvnni" "avx512bf16");
    #[cfg(target_arch = "aarch64")]
    return [
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
    ]
    .into_iter()
    .filter_map(|(name, has)| has.then_some(name))
    .collect();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    vec![std::env::consts::ARCH]
}

/// A runtime with a model.
trait OnnxSession: Send + Sync {
    /// The model's output for the sequences of `batch`, row-major, and its shape.
    fn run(&self, batch: &PaddedBatch) -> Result<(Vec<f32>, Vec<usize>)>;
}

/// An exported classifier.
pub struct OnnxModel {
    session: Box<dyn OnnxSession>,
    sizes: ModelSizes,
    served: Served,
    /// The token id that texts are padded with; 0 where none is padded.
    padding_id: u32,
    /// B, if the file fixes it.
    fixed_batch: Option<usize>,
    is_builtin: bool,
    /// The file's name in errors.
    name: String,
}

/// Fails if a head convention was asked for: an export has the one that it was exported with.
///
/// # Errors
/// Any convention but `auto`.
pub fn refuse_head(file: &OnnxFile, head: Head) -> Result<()> {
    if head != Head::Auto {
        bail!(usage!(
            "`{}` is the ONNX file `{}`: its head is as it was exported, and `{}` cannot be chosen",
            file.source(),
            file.name(),
            head.as_str()
        )
        .hint("leave --teacher-head and --student-head out for it"));
    }
    Ok(())
}

/// Builds the classifier of `file` for `runtime`, to be run as `served`.
///
/// # Errors
/// A file that is no classifier of texts; an input, an operator or a version that the runtime does
/// not have; sizes that contradict config.json; a library that cannot be loaded.
pub fn load(
    config: &ModelConfig,
    file: &mut OnnxFile,
    runtime: &Runtime,
    served: Served,
) -> Result<Loaded> {
    let name = match Path::new(file.source()).is_dir() {
        true => Path::new(file.source()).join(file.name()).display().to_string(),
        false => file.source().to_owned(),
    };
    let what = || format!("the ONNX file `{name}`");
    let build = || OnnxModel::build(config, file.model()?.clone(), name.clone(), runtime, served);
    super::require_one_label(config)?;
    let model = Box::new(guarded(what, build)?);
    let architecture = config.text("model_type")?.unwrap_or("unknown").to_owned();
    Ok(Loaded { model, architecture, head: "as exported" })
}

impl OnnxModel {
    fn build(
        config: &ModelConfig,
        mut model: ModelProto,
        name: String,
        runtime: &Runtime,
        served: Served,
    ) -> Result<Self> {
        let interface = Interface::take(&mut model, &name)?;
        let sizes = sizes(config, &interface, &name)?;
        let served = served.within(&interface.fixed, sizes.positions, &name)?;
        let session: Box<dyn OnnxSession> = match runtime {
            Runtime::Builtin => {
                graph::require_known(&model, &name)?;
                Box::new(Builtin::new(model, &interface, &name)?)
            }
            Runtime::Library(path) => Box::new(OnnxRuntime::new(path, &model, &interface, &name)?),
        };
        let pads = served.has_batch_mates() || served.padding != Padding::Longest;
        let padding_id = match padding_id(config)? {
            Some(id) => id,
            None if !pads => 0,
            None => bail!(failure!(
                "`{}` does not say with which token `{name}` pads texts",
                config.path().display()
            )
            .hint("add `pad_token_id`, the id of the tokenizer's padding token")),
        };
        let (fixed_batch, is_builtin) = (interface.fixed.batch, *runtime == Runtime::Builtin);
        Ok(OnnxModel { session, sizes, served, padding_id, fixed_batch, is_builtin, name })
    }

    /// The logits of the sequences `batch`, which are run together (B, K).
    fn together(&self, batch: &[&TokenizedExample]) -> Result<Vec<f32>> {
        self.require_room(batch)?;
        // A graph of a fixed batch size gets its last text again where texts are missing.
        let mut filled = batch.to_vec();
        if let (Some(rows), Some(last)) = (self.fixed_batch, batch.last()) {
            filled.resize(rows.max(batch.len()), last);
        }
        let padded = PaddedBatch::new(&filled, self.served.padding, self.padding_id);
        let run = caught(|| self.session.run(&padded));
        let run = run.unwrap_or_else(|reason| Err(anyhow::anyhow!("{reason}")));
        let (mut logits, shape) = run.map_err(|error| {
            let failed = failure!("`{}` cannot be run: {error:#}", self.name);
            match self.is_builtin {
                true => failed.hint(
                    "if it runs elsewhere, pass the runtime that it runs in with --onnxruntime, or \
                     gate its predictions with `audit check`",
                ),
                false => failed.hint("if it runs elsewhere, gate its predictions with `audit check`"),
            }
        })?;
        ensure!(
            shape == [filled.len(), self.sizes.labels],
            failure!(
                "`{}`: its output has the shape {shape:?}, and {} texts of {} labels were expected",
                self.name,
                filled.len(),
                self.sizes.labels
            )
            .hint("export the classifier with logits as its output")
        );
        logits.truncate(batch.len() * self.sizes.labels);
        Ok(logits)
    }

    /// Fails if a text is longer than texts are padded to: a service would cut it.
    fn require_room(&self, batch: &[&TokenizedExample]) -> Result<()> {
        let Padding::To(length) = self.served.padding else { return Ok(()) };
        match batch.iter().map(|example| example.len()).find(|tokens| *tokens > length) {
            None => Ok(()),
            Some(tokens) => {
                bail!(failure!("a text has {tokens} tokens, and texts are padded to {length}")
                    .hint(format!(
                        "pass --max-length {length} too, as a service does that cuts texts"
                    )))
            }
        }
    }
}

impl Model for OnnxModel {
    fn forward(&self, batch: &PackedBatch) -> candle_core::Result<Tensor> {
        let logits = self.logits(batch, &mut Workspace::default());
        let logits = logits.map_err(|error| candle_core::Error::Msg(format!("{error:#}")))?;
        Tensor::from_vec(logits, (batch.sequences(), self.sizes.labels), &Device::Cpu)
    }

    fn logits(&self, batch: &PackedBatch, _workspace: &mut Workspace) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(batch.sequences() * self.sizes.labels);
        for example in batch.examples() {
            logits.extend(self.together(&[&example])?);
        }
        Ok(logits)
    }

    fn batch_logits(&self, batch: &[&TokenizedExample]) -> Result<Vec<f32>> {
        self.together(batch)
    }

    fn sizes(&self) -> ModelSizes {
        self.sizes
    }
}

/// The token that texts are padded with: `pad_token_id`, else the default of the `model_type` in
/// transformers, which does not write it; `None` if it is not known.
fn padding_id(config: &ModelConfig) -> Result<Option<u32>> {
    if config.keys().contains_key("pad_token_id") {
        let id = config.integer("pad_token_id")?;
        return Ok(id.and_then(|id| u32::try_from(id).ok()));
    }
    let model_type = config.text("model_type")?.unwrap_or_default();
    Ok(match (super::families::family(model_type), model_type) {
        (Some(family), _) => Some(u32::from(family.positions_after_padding)),
        (None, "albert" | "deberta" | "deberta-v2") => Some(0),
        (None, "camembert" | "mpnet") => Some(1),
        _ => None,
    })
}

/// The sizes of a graph's inputs and output, by the graph and config.json.
fn sizes(config: &ModelConfig, interface: &Interface, name: &str) -> Result<ModelSizes> {
    let named = config.label_names()?.map(|names| names.len());
    let labels = match (interface.labels, named) {
        (Some(own), Some(named)) if own != named => {
            bail!("`{name}` has {own} outputs, and config.json names {named} labels")
        }
        (Some(own), _) => own,
        (None, Some(named)) => named,
        (None, None) => config.size("num_labels")?,
    };
    if labels < 2 {
        bail!(
            "`{name}` has {labels} output: a regression has no confidence; this program audits \
             classifiers with two labels or more"
        );
    }
    ensure!(labels <= MOST_LABELS, "`{name}` has {labels} outputs, and the limit is {MOST_LABELS}");
    config.require_num_labels(labels)?;
    let after_padding = super::families::family(config.text("model_type")?.unwrap_or_default())
        .is_some_and(|family| family.positions_after_padding);
    let first = if after_padding { config.size_or_zero("pad_token_id", 1)? + 1 } else { 0 };
    let positions = config.size_or("max_position_embeddings", UNKNOWN_POSITIONS)?;
    let positions = positions.saturating_sub(first).max(1);
    Ok(ModelSizes {
        labels,
        positions: interface.fixed.length.map_or(positions, |length| length.min(positions)),
        vocabulary: config.size("vocab_size")?,
        segments: match config.size_or_zero("type_vocab_size", 0)? {
            0 => None,
            count => Some(count),
        },
        uses_token_types: interface.has_token_types(),
    })
}

/// Positions of an export whose config.json does not say how many it has.
const UNKNOWN_POSITIONS: usize = 1 << 20;
