//! One safetensors file, mapped into memory.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use candle_core::{DType, Tensor};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::weights::{instead_of_weights, tensor, TensorFile};
use crate::error::failure;

/// Bytes before the header: its length.
const LENGTH_BYTES: usize = 8;

/// A mapped file and the position of each tensor.
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Mmap,
    tensors: BTreeMap<String, TensorSpan>,
}

struct TensorSpan {
    dtype: DType,
    dims: Vec<usize>,
    start: usize,
    end: usize,
}

impl SafetensorsFile {
    /// Maps `path` and reads its header.
    ///
    /// # Errors
    /// A file that is missing, truncated, or not a safetensors file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        // SAFETY: the map is read only. If another process truncates the file while it is mapped,
        // this one ends with a bus error.
        #[allow(unsafe_code)]
        let bytes = unsafe { Mmap::map(&file) }
            .with_context(|| format!("cannot map `{}` into memory", path.display()))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| unreadable(path, &bytes, &e))?;
        let data = LENGTH_BYTES + header;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let Some(dtype) = dtype(info.dtype) else {
                bail!("`{}`: the tensor `{name}` is stored as {:?}", path.display(), info.dtype);
            };
            let (start, end) = (data + info.data_offsets.0, data + info.data_offsets.1);
            if end > bytes.len() {
                return Err(truncated(path, bytes.len(), end));
            }
            tensors.insert(name, TensorSpan { dtype, dims: info.shape.clone(), start, end });
        }
        Ok(SafetensorsFile { path: path.to_owned(), bytes, tensors })
    }
}

impl TensorFile for SafetensorsFile {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn dims(&self, name: &str) -> Vec<usize> {
        self.tensors.get(name).map(|t| t.dims.clone()).unwrap_or_default()
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let stored = self
            .tensors
            .get(name)
            .with_context(|| format!("`{}` holds no tensor `{name}`", self.path.display()))?;
        tensor(&self.bytes[stored.start..stored.end], stored.dtype, &stored.dims)
    }
}

fn dtype(stored: Dtype) -> Option<DType> {
    Some(match stored {
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F64 => DType::F64,
        Dtype::I64 => DType::I64,
        Dtype::U8 => DType::U8,
        _ => return None,
    })
}

fn truncated(path: &Path, have: usize, need: usize) -> anyhow::Error {
    failure!("`{}` is truncated: {have} of at least {need} bytes", path.display())
        .hint("the copy or the download was cut short; fetch the file again")
        .into()
}

fn unreadable(path: &Path, bytes: &[u8], error: &safetensors::SafeTensorError) -> anyhow::Error {
    if let Some(instead) = instead_of_weights(bytes) {
        return failure!("`{}` holds no tensors", path.display()).hint(instead).into();
    }
    let header = bytes.get(..LENGTH_BYTES).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
    match (header, error) {
        (None, _) => truncated(path, bytes.len(), LENGTH_BYTES),
        (_, safetensors::SafeTensorError::MetadataIncompleteBuffer) => failure!(
            "`{}` is truncated: its header describes more than {} bytes",
            path.display(),
            bytes.len()
        )
        .hint("the copy or the download was cut short; fetch the file again")
        .into(),
        _ => failure!("`{}` is not a safetensors file: {error}", path.display())
            .hint("fetch the file again, or save the checkpoint again with safetensors")
            .into(),
    }
}
