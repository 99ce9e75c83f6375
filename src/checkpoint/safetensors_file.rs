//! One safetensors file.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};

use anyhow::{bail, Context, Result};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::Metadata;
use safetensors::Dtype;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::instead::instead_of_weights;
use super::quantised;
use super::weights::{tensor, TensorFile};
use crate::digest::hexadecimal;
use crate::error::failure;
use crate::input::InputFile;

/// Bytes before the header: its length.
const LENGTH_BYTES: usize = 8;
/// The longest header that the safetensors library reads.
const LONGEST_HEADER: u64 = 100_000_000;

/// The largest number of tensors; BERT-large has about 400.
const MOST_TENSORS: usize = 65_536;

/// A file with the position of each tensor, and its tensors once they are loaded.
pub struct SafetensorsFile {
    input: InputFile,
    /// The header's length and the header, as they were read when the file was opened.
    head: Vec<u8>,
    /// In the order of the file, without gaps from the header to its end.
    spans: Vec<TensorSpan>,
    /// The place of each name in `spans`.
    places: BTreeMap<String, usize>,
    /// In the order of `spans`.
    loaded: Vec<Tensor>,
}

struct TensorSpan {
    dtype: DType,
    dims: Vec<usize>,
    bytes: usize,
}

impl SafetensorsFile {
    /// Reads the header.
    ///
    /// # Errors
    /// A file that is truncated or not a safetensors file.
    pub fn open(input: InputFile) -> Result<Self> {
        let name = input.name();
        let cannot = || format!("cannot read `{name}`");
        let size = input.stamp().size;
        let mut reader = input.reader().with_context(cannot)?;
        let mut head = Vec::new();
        reader.by_ref().take(LENGTH_BYTES as u64).read_to_end(&mut head).with_context(cannot)?;
        let length = head.as_slice().try_into().map(u64::from_le_bytes);
        let Some(length) = length.ok().filter(|n| *n <= size.min(LONGEST_HEADER)) else {
            reader.take(256).read_to_end(&mut head).with_context(cannot)?;
            return Err(not_safetensors(name, &head, "its header is longer than the file"));
        };
        reader.take(length).read_to_end(&mut head).with_context(cannot)?;
        let refused = |error: serde_json::Error| not_safetensors(name, &head, &error.to_string());
        let names: TensorNames = serde_json::from_slice(&head[LENGTH_BYTES..]).map_err(refused)?;
        if names.0 > MOST_TENSORS {
            bail!("`{name}` holds {} tensors, and at most {MOST_TENSORS} are read", names.0);
        }
        let metadata: Metadata = serde_json::from_slice(&head[LENGTH_BYTES..]).map_err(refused)?;
        if metadata.offset_keys().len() != names.0 {
            return Err(not_safetensors(name, &head, "it names a tensor twice"));
        }
        let (mut spans, mut places) = (Vec::new(), BTreeMap::new());
        let mut end = head.len();
        for (tensor, info) in in_file_order(&metadata) {
            let Some(dtype) = dtype(info.dtype) else {
                let keys = metadata.offset_keys();
                let names = keys.iter().map(String::as_str);
                bail!(quantised::stored_as(name, &tensor, info.dtype, names));
            };
            let bytes = info.data_offsets.1 - info.data_offsets.0;
            end += bytes;
            places.insert(tensor, spans.len());
            spans.push(TensorSpan { dtype, dims: info.shape.clone(), bytes });
        }
        match end as u64 {
            end if end > size => Err(truncated(name, size, end)),
            end if end < size => {
                Err(not_safetensors(name, &head, "there are bytes after its last tensor"))
            }
            _ => Ok(SafetensorsFile { input, head, spans, places, loaded: Vec::new() }),
        }
    }

    fn span(&self, name: &str) -> Option<&TensorSpan> {
        self.places.get(name).map(|place| &self.spans[*place])
    }

    /// Reads one tensor; `scratch` is reused between tensors.
    fn read_tensor(
        &self,
        reader: &mut BufReader<File>,
        span: &TensorSpan,
        scratch: &mut Vec<u8>,
        hasher: &mut Sha256,
    ) -> Result<Tensor> {
        if span.dtype == DType::F32 && cfg!(target_endian = "little") {
            // Straight to where the tensor keeps them: nearly all weights are f32.
            let mut values = vec![0f32; span.bytes / size_of::<f32>()];
            self.read_exact(reader, bytemuck::cast_slice_mut(&mut values), hasher)?;
            return Ok(Tensor::from_vec(values, &span.dims[..], &Device::Cpu)?);
        }
        scratch.resize(span.bytes, 0);
        self.read_exact(reader, scratch, hasher)?;
        tensor(scratch, span.dtype, &span.dims)
    }

    fn read_exact(
        &self,
        reader: &mut BufReader<File>,
        bytes: &mut [u8],
        hasher: &mut Sha256,
    ) -> Result<()> {
        match reader.read_exact(bytes) {
            Ok(()) => hasher.update(bytes),
            // It was long enough when it was opened.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => bail!(self.input.changed()),
            Err(error) => {
                return Err(error).context(format!("cannot read `{}`", self.input.name()))
            }
        }
        Ok(())
    }
}

/// The number of names in a header, each as often as it is there: of a name that is there twice the
/// library keeps the last.
struct TensorNames(usize);

impl<'de> Deserialize<'de> for TensorNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = TensorNames;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut count = 0;
                while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                    count += usize::from(name != "__metadata__");
                }
                Ok(TensorNames(count))
            }
        }
        deserializer.deserialize_map(Counter)
    }
}

/// The tensors by their place in the file. The library has checked that they fill it without gaps and
/// that their sizes are those of their shapes.
fn in_file_order(metadata: &Metadata) -> Vec<(String, safetensors::tensor::TensorInfo)> {
    let named = metadata.tensors();
    let keys = metadata.offset_keys().into_iter();
    keys.map(|name| (name.clone(), named[&name].clone())).collect()
}

impl TensorFile for SafetensorsFile {
    fn names(&self) -> Vec<&str> {
        self.places.keys().map(String::as_str).collect()
    }

    fn dims(&self, name: &str) -> Vec<usize> {
        self.span(name).map(|span| span.dims.clone()).unwrap_or_default()
    }

    fn load(&mut self) -> Result<Option<String>> {
        let cannot = || format!("cannot read `{}`", self.input.name());
        let mut reader =
            BufReader::with_capacity(1 << 16, self.input.reader().with_context(cannot)?);
        let mut hasher = Sha256::new();
        let mut head = vec![0; self.head.len()];
        self.read_exact(&mut reader, &mut head, &mut hasher)?;
        if head != self.head {
            bail!(self.input.changed());
        }
        let mut loaded = Vec::with_capacity(self.spans.len());
        let mut bytes = Vec::new();
        for span in &self.spans {
            loaded.push(self.read_tensor(&mut reader, span, &mut bytes, &mut hasher)?);
        }
        self.loaded = loaded;
        Ok(Some(hexadecimal(&hasher.finalize())))
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        let tensor = self.places.get(name).and_then(|place| self.loaded.get(*place));
        Ok(tensor
            .with_context(|| format!("`{}` holds no tensor `{name}`", self.input.name()))?
            .clone())
    }

    fn unload(&mut self) {
        self.loaded = Vec::new();
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

fn truncated(name: &str, have: u64, need: u64) -> anyhow::Error {
    failure!("`{name}` is truncated: {have} of at least {need} bytes")
        .hint("the copy or the download was cut short; fetch the file again")
        .into()
}

/// The error of a file that begins with `head`.
fn not_safetensors(name: &str, head: &[u8], why: &str) -> anyhow::Error {
    if let Some(instead) = instead_of_weights(head) {
        return failure!("`{name}` holds no tensors").hint(instead).into();
    }
    if head.len() < LENGTH_BYTES {
        return truncated(name, head.len() as u64, LENGTH_BYTES as u64);
    }
    failure!("`{name}` is not a safetensors file: {why}")
        .hint("fetch the file again, or save the checkpoint again with safetensors")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;

    fn error(header: &str, data: usize) -> String {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model.safetensors");
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(&path, [&length[..], header.as_bytes(), &vec![0; data]].concat()).unwrap();
        let opened = SafetensorsFile::open(InputFile::open(&path).unwrap());
        rendered(&opened.err().expect("the header is wrong"))
    }

    const A: &str = r#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;

    #[test]
    fn a_tensor_is_named_once_and_the_file_ends_with_the_last() {
        // The same span in another shape would be read in two ways.
        let again = r#""a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}"#;
        assert!(error(&format!("{{{A},{again}}}"), 4).contains("names a tensor twice"));
        assert!(error(&format!("{{{A}}}"), 5).contains("bytes after its last tensor"));
        assert!(error(&format!("{{{A}}}"), 3).contains("is truncated"));
    }

    #[test]
    fn more_tensors_than_a_model_has_are_refused() {
        let empty =
            |i: usize| format!(r#""{i}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#);
        let header = (0..MOST_TENSORS + 1).map(empty).collect::<Vec<_>>().join(",");
        assert!(error(&format!("{{{header}}}"), 0).contains("holds 65537 tensors"));
    }
}
