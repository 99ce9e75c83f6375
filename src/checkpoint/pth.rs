//! `pytorch_model.bin`: the zip layout and the legacy one (before torch 1.6).
//!
//! A pickle is treated as data: candle parses its opcodes, nothing is ever called, and any global
//! other than those that build tensors is refused by name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure, Context, Result};
use candle_core::pickle::{Object, Stack};
use candle_core::{DType, Tensor};

use super::weights::{instead_of_weights, tensor, TensorFile};
use crate::error::{failure, Diagnostic};

/// Number of pickles ahead of the storages in the legacy layout: magic number, protocol version,
/// system information, the state dict, the storage keys.
const LEGACY_PICKLES: usize = 5;
const LEGACY_MAGIC: &str = "1950a86a20f9469cfc6c";

/// A state dict and the bytes of its storages.
pub struct PthFile {
    path: PathBuf,
    tensors: BTreeMap<String, StorageView>,
    storages: BTreeMap<String, Vec<u8>>,
}

/// A view of a storage: element (i, j, …) is number offset + i·strides[0] + j·strides[1] + ….
struct StorageView {
    storage: String,
    dtype: DType,
    dims: Vec<usize>,
    strides: Vec<usize>,
    offset: usize,
}

impl PthFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// A truncated file, a pickle that names anything but tensors, one that is not a state dict.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let file = match bytes.starts_with(b"PK\x03\x04") {
            true => Self::open_zip(path),
            false => Self::open_legacy(path, &bytes),
        };
        file.map_err(|error| match instead_of_weights(&bytes) {
            Some(instead) => failure!("`{}` holds no tensors", path.display()).hint(instead).into(),
            None => error.context(format!("cannot read the weights in `{}`", path.display())),
        })
    }

    fn open_zip(path: &Path) -> Result<Self> {
        let mut zip = zip::ZipArchive::new(BufReader::new(File::open(path)?)).map_err(|e| {
            Diagnostic::failure(e.to_string())
                .hint("the file is truncated or damaged; fetch it again")
        })?;
        let pickle = zip
            .file_names()
            .filter_map(|name| name.ok())
            .find_map(|name| name.strip_suffix("data.pkl").map(str::to_owned));
        let root = pickle.context("the archive holds no data.pkl")?;
        let bytes = read_entry(&mut zip, &format!("{root}data.pkl"))?;
        let tensors = state_dict(parse(&mut Cursor::new(bytes))?)?;
        let mut storages = BTreeMap::new();
        for stored in tensors.values() {
            if !storages.contains_key(&stored.storage) {
                let data = read_entry(&mut zip, &format!("{root}data/{}", stored.storage))?;
                storages.insert(stored.storage.clone(), data);
            }
        }
        Ok(PthFile { path: path.to_owned(), tensors, storages })
    }

    fn open_legacy(path: &Path, bytes: &[u8]) -> Result<Self> {
        let mut reader = Cursor::new(bytes);
        check_magic(&mut reader)?;
        let mut pickles = Vec::new();
        for _ in 1..LEGACY_PICKLES {
            pickles.push(parse(&mut reader)?);
        }
        let keys = pickles.pop().expect("LEGACY_PICKLES - 1 pickles were parsed");
        let tensors = state_dict(pickles.pop().expect("LEGACY_PICKLES - 1 pickles were parsed"))?;
        let Object::List(keys) = keys else { bail!("the storage keys are not a list") };
        let mut storages = BTreeMap::new();
        for key in keys {
            let key = text(key)?;
            let mut count = [0; 8];
            reader.read_exact(&mut count).map_err(|_| cut_short())?;
            let user = tensors.values().find(|t| t.storage == key);
            let size = user
                .with_context(|| format!("no tensor uses the storage `{key}`"))?
                .dtype
                .size_in_bytes();
            let length =
                usize::try_from(i64::from_le_bytes(count)).ok().and_then(|n| n.checked_mul(size));
            let start = reader.position() as usize;
            let end = length.and_then(|l| start.checked_add(l)).filter(|end| *end <= bytes.len());
            let end = end.ok_or_else(cut_short)?;
            storages.insert(key, bytes[start..end].to_vec());
            reader.set_position(end as u64);
        }
        Ok(PthFile { path: path.to_owned(), tensors, storages })
    }
}

impl TensorFile for PthFile {
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
        let storage = self.storages.get(&stored.storage);
        let storage = storage.with_context(|| format!("the storage of `{name}` is missing"))?;
        let bytes = stored.gather(storage).ok_or_else(|| {
            anyhow!("`{}`: the tensor `{name}` reaches past its storage", self.path.display())
        })?;
        tensor(&bytes, stored.dtype, &stored.dims)
    }
}

impl StorageView {
    /// The elements in row-major order; `None` if one is outside the storage.
    fn gather(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let size = self.dtype.size_in_bytes();
        let count = self.dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d))?;
        let mut bytes =
            Vec::with_capacity(count.checked_mul(size)?.min(storage.len().checked_mul(2)?));
        let mut index = vec![0usize; self.dims.len()];
        for _ in 0..count {
            let mut element = self.offset;
            for (i, stride) in index.iter().zip(&self.strides) {
                element = element.checked_add(i.checked_mul(*stride)?)?;
            }
            let at = element.checked_mul(size)?;
            bytes.extend_from_slice(storage.get(at..at.checked_add(size)?)?);
            for d in (0..index.len()).rev() {
                index[d] += 1;
                if index[d] < self.dims[d] {
                    break;
                }
                index[d] = 0;
            }
        }
        Some(bytes)
    }
}

fn cut_short() -> anyhow::Error {
    Diagnostic::failure("the file ends early")
        .hint("the copy or the download was cut short; fetch it again")
        .into()
}

fn read_entry(zip: &mut zip::ZipArchive<BufReader<File>>, name: &str) -> Result<Vec<u8>> {
    let mut entry = zip.by_name(name).with_context(|| format!("the archive holds no `{name}`"))?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).with_context(|| format!("`{name}` in the archive is damaged"))?;
    Ok(bytes)
}

/// Parses one pickle. Opcodes that candle does not know are errors.
fn parse(reader: &mut impl BufRead) -> Result<Object> {
    let mut stack = Stack::empty();
    stack.read_loop(reader).context("the pickle cannot be read")?;
    Ok(stack.finalize()?)
}

/// Checks the first legacy pickle: protocol 2, LONG1 of ten bytes, STOP. candle's 64-bit LONG1 cannot
/// hold this number.
fn check_magic(reader: &mut Cursor<&[u8]>) -> Result<()> {
    let mut head = [0; 15];
    reader.read_exact(&mut head).map_err(|_| cut_short())?;
    let number: String = head[4..14].iter().rev().map(|b| format!("{b:02x}")).collect();
    ensure!(
        head[..4] == [0x80, 2, 0x8a, 10] && number == LEGACY_MAGIC && head[14] == b'.',
        "it is neither a zip archive nor a file of torch.save"
    );
    Ok(())
}

fn refused(what: &str) -> anyhow::Error {
    failure!("the pickle names {what}, which does not build a tensor; nothing was run")
        .hint("take weights from someone you trust, saved as safetensors")
        .into()
}

/// The tensors of a state dict: an ordered dict of names and `_rebuild_tensor_v2` calls.
fn state_dict(object: Object) -> Result<BTreeMap<String, StorageView>> {
    let entries = match object {
        Object::Dict(entries) => entries,
        // OrderedDict with attributes (`_metadata`): the dict is below the BUILD.
        Object::Build { callable, args } => match *callable {
            Object::Dict(entries) => {
                only_data(&args)?;
                entries
            }
            other => return Err(refused(&describe(&other))),
        },
        other => return Err(refused(&describe(&other))),
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let Object::Unicode(name) = name else { bail!("a name of the state dict is not a text") };
        if name == "_metadata" {
            only_data(&value)?;
            continue;
        }
        let stored = rebuilt(value).with_context(|| format!("the tensor `{name}`"))?;
        tensors.insert(name, stored);
    }
    ensure!(!tensors.is_empty(), "the pickle is not a state dict: it has no tensors");
    Ok(tensors)
}

/// Refuses anything but plain values and containers of them.
fn only_data(object: &Object) -> Result<()> {
    match object {
        Object::Class { .. }
        | Object::Reduce { .. }
        | Object::Build { .. }
        | Object::PersistentLoad(_) => Err(refused(&describe(object))),
        Object::Tuple(items) | Object::List(items) => items.iter().try_for_each(only_data),
        Object::Dict(entries) => {
            entries.iter().try_for_each(|(k, v)| only_data(k).and(only_data(v)))
        }
        _ => Ok(()),
    }
}

fn describe(object: &Object) -> String {
    match object {
        Object::Class { module_name, class_name } => format!("`{module_name}.{class_name}`"),
        Object::Reduce { callable, .. } | Object::Build { callable, .. } => describe(callable),
        _ => "a value that is not a dict of tensors".to_owned(),
    }
}

/// The view that a `_rebuild_tensor_v2` (or a `_rebuild_parameter` around one) describes.
fn rebuilt(object: Object) -> Result<StorageView> {
    let (callable, args) = object.reduce().map_err(|o| refused(&describe(&o)))?;
    let Object::Class { module_name, class_name } = &callable else {
        return Err(refused(&describe(&callable)));
    };
    let args = args.tuple().map_err(|_| anyhow!("`{class_name}` has no arguments"))?;
    match (module_name.as_str(), class_name.as_str()) {
        ("torch._utils", "_rebuild_parameter") => {
            rebuilt(args.into_iter().next().context("a parameter without a tensor")?)
        }
        ("torch._utils", "_rebuild_tensor_v2") => view(args),
        _ => Err(refused(&describe(&callable))),
    }
}

/// Arguments of `_rebuild_tensor_v2`: storage, offset, size, stride, and others.
fn view(args: Vec<Object>) -> Result<StorageView> {
    let [storage, offset, dims, strides]: [Object; 4] = args
        .into_iter()
        .take(4)
        .collect::<Vec<_>>()
        .try_into()
        .map_err(|_| anyhow!("too few arguments"))?;
    let storage = storage.persistent_load().map_err(|o| refused(&describe(&o)))?;
    let mut parts = storage.tuple().map_err(|_| anyhow!("its storage is not a tuple"))?.into_iter();
    // ("storage", class, key, device, element count[, view]); a legacy view of a storage is None.
    let (_kind, class, key) = (parts.next(), parts.next(), parts.next());
    let class = class.context("its storage has no type")?;
    let dtype = match &class {
        Object::Class { module_name, class_name } if module_name == "torch" => {
            match class_name.as_str() {
                "FloatStorage" => DType::F32,
                "HalfStorage" => DType::F16,
                "BFloat16Storage" => DType::BF16,
                "DoubleStorage" => DType::F64,
                "LongStorage" => DType::I64,
                "ByteStorage" | "BoolStorage" => DType::U8,
                other => bail!("it is stored as {other}, which no weight is"),
            }
        }
        other => return Err(refused(&describe(other))),
    };
    let dims = sizes(dims)?;
    let strides = sizes(strides)?;
    ensure!(dims.len() == strides.len(), "its size and its stride differ in length");
    let storage = text(key.context("its storage has no key")?)?;
    Ok(StorageView { storage, dtype, dims, strides, offset: size(offset)? })
}

fn text(object: Object) -> Result<String> {
    object.unicode().map_err(|_| anyhow!("a storage key is not a text"))
}

fn size(object: Object) -> Result<usize> {
    let value = object.int_or_long().map_err(|_| anyhow!("a size is not a whole number"))?;
    usize::try_from(value).context("a size is negative")
}

fn sizes(object: Object) -> Result<Vec<usize>> {
    let items = object.tuple().map_err(|_| anyhow!("a shape is not a tuple"))?;
    items.into_iter().map(size).collect()
}
