//! An ONNX file with its external data: the bytes that are hashed are the bytes that are run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use prost::Message;
use tract_onnx::pb::tensor_proto::{DataLocation, DataType};
use tract_onnx::pb::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};

use super::instead::instead_of_weights;
use crate::digest::sha256_of_parts;
use crate::error::{failure, guarded};
use crate::input::InputFile;

/// A classifier that was exported to ONNX.
pub struct OnnxFile {
    source: String,
    /// The file, then those of its external data, by name.
    files: BTreeMap<String, InputFile>,
    name: String,
    sha256: String,
    stored_dtype: String,
    parameters: usize,
    /// The parsed file, whose tensors hold their own bytes; `None` once it is unloaded.
    model: Option<ModelProto>,
}

impl OnnxFile {
    /// Reads `file`, which the checkpoint `source` names `name`; `find` gives the path of a file of
    /// external data, by its place in the folder of `file`.
    ///
    /// # Errors
    /// A file that cannot be read or is not an ONNX model; external data that is missing, lies outside
    /// of the folder or is too short; a tensor whose bytes do not fill its shape.
    pub fn open(
        source: &str,
        name: &str,
        file: InputFile,
        find: impl Fn(&str) -> Result<PathBuf>,
    ) -> Result<Self> {
        let mut files = BTreeMap::from([(String::new(), file)]);
        let (model, sha256) = read(name, &mut files, &find)?;
        let (stored_dtype, parameters) = weights_of(&model);
        let (source, name) = (source.to_owned(), name.to_owned());
        Ok(OnnxFile { source, files, name, sha256, stored_dtype, parameters, model: Some(model) })
    }

    /// The checkpoint's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file's name in the checkpoint, such as `onnx/model_quantized.onnx`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The files that were opened.
    pub fn files(&self) -> impl Iterator<Item = &InputFile> {
        self.files.values()
    }

    /// SHA-256 of the file; with external data, of the files' hexadecimal digests.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The types of the stored weights, such as `f32+i8`.
    pub fn stored_dtype(&self) -> &str {
        &self.stored_dtype
    }

    /// The number of stored weights.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The parsed file, whose tensors hold their own bytes.
    ///
    /// # Errors
    /// A file that was unloaded and has changed since.
    pub fn model(&mut self) -> Result<&ModelProto> {
        if self.model.is_none() {
            let known = |name: &str| match self.files.get(name) {
                Some(file) => Ok(file.path().to_owned()),
                None => bail!(self.files[""].changed()),
            };
            let (model, sha256) = read(&self.name, &mut self.files.clone(), &known)?;
            if sha256 != self.sha256 {
                bail!(self.files[""].changed());
            }
            self.model = Some(model);
        }
        self.model.as_ref().context("it was just read")
    }

    /// Frees the memory of the parsed file.
    pub fn unload(&mut self) {
        self.model = None;
    }
}

/// How often the bytes of external data may be used: tied weights use theirs twice.
const MOST_READINGS: usize = 4;

/// Reads the file `name`, which stands under an empty name in `files`, and puts its external data into
/// the tensors. Adds the files of these to `files`. Returns the SHA-256 too.
fn read(
    name: &str,
    files: &mut BTreeMap<String, InputFile>,
    find: &dyn Fn(&str) -> Result<PathBuf>,
) -> Result<(ModelProto, String)> {
    let file = files[""].clone();
    let bytes = file.read()?;
    let mut digests = vec![sha256_of_parts([&bytes[..]])];
    let what = || format!("the ONNX file `{}`", file.name());
    let mut model = guarded(what, || parse(&file, &bytes))?;
    drop(bytes);
    let mut external: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut filled = 0;
    let graph = model.graph.as_mut().context("a graph was required")?;
    each_tensor(graph, &mut |tensor| {
        if let Some(place) = External::of(tensor, &file)? {
            if !external.contains_key(&place.name) {
                let within = || format!("`{name}` needs its external data `{}`", place.name);
                let path = find(&place.name).with_context(within)?;
                let data = InputFile::open(&path).with_context(within)?;
                external.insert(place.name.clone(), data.read()?);
                files.insert(place.name.clone(), data);
            }
            place.fill(tensor, &external[&place.name], &file)?;
            filled += tensor.raw_data.len();
            let stored: usize = external.values().map(Vec::len).sum();
            if filled > stored.saturating_mul(MOST_READINGS) {
                bail!(failure!("`{name}` reads its external data many times over")
                    .hint("it is damaged; export it again"));
            }
        }
        require_filled(tensor, &file)
    })?;
    digests.extend(external.values().map(|bytes| sha256_of_parts([&bytes[..]])));
    let sha256 = match &digests[..] {
        [digest] => digest.clone(),
        digests => sha256_of_parts([digests.concat().as_bytes()]),
    };
    Ok((model, sha256))
}

/// The model in `bytes`.
fn parse(file: &InputFile, bytes: &[u8]) -> Result<ModelProto> {
    let name = file.name();
    if let Some(instead) = instead_of_weights(bytes) {
        bail!("`{name}`: {instead}");
    }
    let not_a_model = |why: &str| {
        failure!("`{name}` is not an ONNX model: {why}")
            .hint("export it again, for example with `optimum-cli export onnx`")
    };
    let model = ModelProto::decode(bytes).map_err(|error| not_a_model(&error.to_string()))?;
    let Some(graph) = model.graph.as_ref().filter(|graph| !graph.node.is_empty()) else {
        bail!(not_a_model("it has no graph"));
    };
    // What is not walked through could have data and operators of its own.
    if !model.functions.is_empty() {
        bail!(failure!("`{name}` has functions of its own, which are not supported")
            .hint("inline them: `onnx.inliner.inline_local_functions(model)`"));
    }
    if has_sparse_tensors(graph) {
        bail!(failure!("`{name}` has sparse tensors, which are not supported")
            .hint("export it with dense weights"));
    }
    Ok(model)
}

/// Whether a graph or a graph in it has sparse tensors.
fn has_sparse_tensors(graph: &GraphProto) -> bool {
    let in_attributes = graph.node.iter().flat_map(|node| &node.attribute).any(|attribute| {
        attribute.sparse_tensor.is_some()
            || !attribute.sparse_tensors.is_empty()
            || attribute.g.iter().chain(&attribute.graphs).any(has_sparse_tensors)
    });
    in_attributes || !graph.sparse_initializer.is_empty()
}

/// Calls `visit` for every tensor of a graph and of the graphs in it.
fn each_tensor(
    graph: &mut GraphProto,
    visit: &mut dyn FnMut(&mut TensorProto) -> Result<()>,
) -> Result<()> {
    graph.initializer.iter_mut().try_for_each(&mut *visit)?;
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(&mut *visit)?;
        for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            each_tensor(inner, visit)?;
        }
    }
    Ok(())
}

/// Where the bytes of a tensor are in a file of external data.
struct External {
    /// The file, relative to the folder of the ONNX file.
    name: String,
    offset: usize,
    /// `None` to the end of the file.
    length: Option<usize>,
}

impl External {
    /// The place of the bytes of `tensor`; `None` if it holds them itself.
    fn of(tensor: &TensorProto, file: &InputFile) -> Result<Option<External>> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(None);
        }
        let entry = |key: &str| {
            let is_key = |entry: &&StringStringEntryProto| entry.key == key;
            tensor.external_data.iter().find(is_key).map(|entry| entry.value.as_str())
        };
        let wrong = |why: String| failure!("`{}`: the tensor `{}` {why}", file.name(), tensor.name);
        let number = |key: &str| match entry(key).map(str::parse::<usize>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(wrong(format!("has a wrong `{key}` of its external data"))),
        };
        let name = entry("location").unwrap_or_default();
        let parts = || Path::new(name).components().filter(|part| *part != Component::CurDir);
        let is_inside = parts().all(|part| matches!(part, Component::Normal(_)));
        if !is_inside || parts().next().is_none() {
            bail!(wrong(format!("has its data in `{name}`, outside of the model's folder")));
        }
        let name = name.to_owned();
        Ok(Some(External {
            name,
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        }))
    }

    /// Puts the tensor's part of `bytes` into it.
    fn fill(&self, tensor: &mut TensorProto, bytes: &[u8], file: &InputFile) -> Result<()> {
        let rest = bytes.get(self.offset..);
        let part = rest.and_then(|rest| rest.get(..self.length.unwrap_or(rest.len())));
        let Some(part) = part else {
            bail!(failure!(
                "`{}`: the tensor `{}` lies beyond the end of `{}`, which has {} bytes",
                file.name(),
                tensor.name,
                self.name,
                bytes.len()
            )
            .hint("fetch or export both files again"));
        };
        tensor.raw_data = part.to_vec();
        tensor.data_location = None;
        tensor.external_data.clear();
        Ok(())
    }
}

/// Fails unless the values of `tensor` fill its shape.
fn require_filled(tensor: &TensorProto, file: &InputFile) -> Result<()> {
    let sizes = tensor.dims.iter().map(|&size| usize::try_from(size).ok());
    let count = sizes.into_iter().try_fold(1_usize, |count, size| count.checked_mul(size?));
    let bits = DataType::try_from(tensor.data_type).ok().and_then(bits_of);
    let (Some(count), Some(bits)) = (count, bits) else {
        bail!(failure!(
            "`{}`: the tensor `{}` has a shape or a type that cannot be read",
            file.name(),
            tensor.name
        )
        .hint("export it again"));
    };
    let bytes = count.checked_mul(bits).map(|bits| bits.div_ceil(8));
    // Two numbers of four bits share a byte of raw data, or a number of a list.
    let numbers = if bits < 8 { count.div_ceil(2) } else { count };
    let listed = [
        tensor.float_data.len(),
        tensor.int32_data.len(),
        tensor.int64_data.len(),
        tensor.double_data.len(),
        tensor.uint64_data.len(),
        tensor.string_data.len(),
    ];
    let is_full = match tensor.raw_data.is_empty() {
        false => bytes == Some(tensor.raw_data.len()),
        true => listed.into_iter().max().unwrap_or(0) >= numbers,
    };
    ensure!(
        is_full,
        failure!(
            "`{}`: the values of the tensor `{}` do not fill its shape {:?}",
            file.name(),
            tensor.name,
            tensor.dims
        )
        .hint("the file is cut off or damaged; fetch or export it again")
    );
    Ok(())
}

/// Bits of one value; `None` for types that no classifier has.
fn bits_of(kind: DataType) -> Option<usize> {
    Some(match kind {
        DataType::Float | DataType::Int32 | DataType::Uint32 | DataType::String => 32,
        DataType::Double | DataType::Int64 | DataType::Uint64 => 64,
        DataType::Float16 | DataType::Bfloat16 | DataType::Int16 | DataType::Uint16 => 16,
        DataType::Int8 | DataType::Uint8 | DataType::Bool => 8,
        DataType::Int4 | DataType::Uint4 => 4,
        _ => return None,
    })
}

/// The types of a model's weights, such as `f32+i8`, and their number. Whole numbers of 32 and 64 bits
/// are shapes and indices.
fn weights_of(model: &ModelProto) -> (String, usize) {
    let mut types = BTreeSet::new();
    let mut count = 0;
    for tensor in model.graph.iter().flat_map(|graph| &graph.initializer) {
        let size: i64 = tensor.dims.iter().product();
        let name = match DataType::try_from(tensor.data_type) {
            Ok(DataType::Float) => "f32",
            Ok(DataType::Double) => "f64",
            Ok(DataType::Float16) => "f16",
            Ok(DataType::Bfloat16) => "bf16",
            Ok(DataType::Int8) => "i8",
            Ok(DataType::Uint8) => "u8",
            _ => continue,
        };
        // A single number is a scale or a zero point.
        if size > 1 {
            types.insert(name);
            count += usize::try_from(size).unwrap_or(0);
        }
    }
    (types.into_iter().collect::<Vec<_>>().join("+"), count)
}
