//! How ONNX models are run.

use std::path::PathBuf;

use super::Layer;
use crate::model::onnx::{Order, Padding, Served};

/// A key whose value cannot be used.
pub(super) struct WrongValue {
    pub(super) key: &'static str,
    /// What is wrong, after the key: `names \`train\` twice`.
    pub(super) why: String,
    pub(super) hint: Option<&'static str>,
}

/// How ONNX models are run.
pub(super) fn served(layer: &Layer) -> Result<Served, WrongValue> {
    let batch = layer.onnx_batch.unwrap_or(1);
    let padding = match layer.onnx_pad.as_deref() {
        None | Some("longest") => Padding::Longest,
        Some(length) => match length.parse() {
            Ok(length) if length > 0 => Padding::To(length),
            _ => {
                return Err(WrongValue {
                    key: "onnx_pad",
                    why: format!("is `{length}`"),
                    hint: Some("give `longest`, or a number of tokens such as 128"),
                })
            }
        },
    };
    if layer.onnx_shuffle.is_some() && batch == 1 {
        return Err(WrongValue {
            key: "onnx_shuffle",
            why: "has no effect on texts that are run one at a time".to_owned(),
            hint: Some("give --onnx-batch too"),
        });
    }
    Ok(Served { batch, padding, order: layer.onnx_shuffle.map_or(Order::DataSet, Order::Shuffled) })
}

/// The library that ONNX Runtime's own tools would load.
pub(super) fn library_of_environment() -> Option<PathBuf> {
    std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from)
}
