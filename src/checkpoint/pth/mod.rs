//! `pytorch_model.bin`: the zip layout and the legacy one (before torch 1.6).
//!
//! The file is read once and kept; a tensor is a checked view of it. What is read is what torch.load
//! would read: a file that readers could take in two ways (a name twice, two pickles, data after the
//! end) is refused.

mod archive;
mod foreign;
mod machine;
mod pickle;
mod state_dict;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use candle_core::Tensor;

use self::archive::{StoredArchive, LOCAL_HEADER};
use self::pickle::{Pickle, PickledValue};
use self::view::{StorageView, StoredTensor, TorchStorage};
use super::instead::instead_of_weights;
use super::weights::{tensor, TensorFile};
use crate::digest::sha256_of_parts;
use crate::error::{failure, Diagnostic};
use crate::input::InputFile;

/// The first pickle of the legacy layout: protocol 2, a number of ten bytes, the end.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The second pickle of the legacy layout.
const LEGACY_PROTOCOL: i64 = 1001;

/// Most bytes of all tensors together, as f32 or as stored, for each byte of the file. Tensors may
/// share a storage, and a view may repeat an element.
const MEMORY_FACTOR: usize = 16;
const F32_BYTES: usize = 4;

/// A state dict and the file that it was read from.
pub struct PthFile {
    path: PathBuf,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, StoredTensor>,
}

impl PthFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// As [`PthFile::parse`].
    pub fn open(input: &InputFile) -> Result<Self> {
        Self::parse(input.path(), input.read()?)
    }

    /// The state dict in `bytes`, the content of `path`. Only the names and shapes are read; memory is
    /// at most 100 bytes for each byte of the pickle, and 200 MiB.
    ///
    /// # Errors
    /// A truncated file, a pickle that names anything but tensors, one that is not a state dict or
    /// could be read in two ways, tensors that reach past their storage or together hold more than 16
    /// times the bytes of the file.
    pub fn parse(path: &Path, bytes: Vec<u8>) -> Result<Self> {
        match tensors(&bytes) {
            Ok(tensors) => Ok(PthFile { path: path.to_owned(), bytes, tensors }),
            Err(error) => Err(match instead_of_weights(&bytes) {
                Some(instead) => {
                    failure!("`{}` holds no tensors", path.display()).hint(instead).into()
                }
                None => error.context(format!("cannot read the weights in `{}`", path.display())),
            }),
        }
    }
}

impl TensorFile for PthFile {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn dims(&self, name: &str) -> Vec<usize> {
        self.tensors.get(name).map(|t| t.dims().to_vec()).unwrap_or_default()
    }

    /// The file is in memory from the start.
    fn load(&mut self) -> Result<Option<String>> {
        Ok(Some(sha256_of_parts([&self.bytes[..]])))
    }

    fn unload(&mut self) {}

    fn read(&self, name: &str) -> Result<Tensor> {
        let stored = self
            .tensors
            .get(name)
            .with_context(|| format!("`{}` holds no tensor `{name}`", self.path.display()))?;
        tensor(&stored.gather(&self.bytes), stored.dtype(), stored.dims())
    }
}

fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, StoredTensor>> {
    let (views, spans) = match bytes.starts_with(LOCAL_HEADER) {
        true => of_zip(bytes)?,
        false => of_legacy(bytes)?,
    };
    let most = bytes.len().saturating_mul(MEMORY_FACTOR);
    let (mut tensors, mut total) = (BTreeMap::new(), 0usize);
    for (name, view) in views {
        let span = spans.get(&view.storage.key).cloned();
        let span = span.with_context(|| format!("the storage of `{name}` is missing"))?;
        let stored = view.within(span).with_context(|| format!("the tensor `{name}`"))?;
        let size = stored.dtype().size_in_bytes().max(F32_BYTES);
        total = total.saturating_add(stored.count().saturating_mul(size));
        if total > most {
            bail!(failure!(
                "the tensor `{name}` of {} elements: the tensors together have more than \
                 {MEMORY_FACTOR} times the bytes of the file",
                stored.count()
            )
            .hint("save the weights again as safetensors"));
        }
        tensors.insert(name, stored);
    }
    Ok(tensors)
}

/// The views of a state dict, and where each storage is in the file.
type Views = (BTreeMap<String, StorageView>, BTreeMap<String, Range<usize>>);

fn of_zip(bytes: &[u8]) -> Result<Views> {
    let archive = StoredArchive::read(bytes)?;
    let root = root(&archive)?;
    let place = |name: &str| archive.content(&format!("{root}/{name}"));
    if archive.names().any(|name| name.strip_prefix(root) == Some("/byteorder")) {
        let order = &bytes[place("byteorder")?];
        ensure!(order == b"little", "its numbers are not little-endian; save the checkpoint again");
    }
    let content = &bytes[place("data.pkl")?];
    let (pickle, length) = Pickle::parse(content)?;
    ensure!(length == content.len(), "data.pkl goes on after its end");
    let views = state_dict::read(&pickle)?;
    let mut spans = BTreeMap::new();
    for view in views.values() {
        let key = &view.storage.key;
        if !spans.contains_key(key) {
            spans.insert(key.clone(), place(&format!("data/{key}"))?);
        }
    }
    Ok((views, spans))
}

/// The folder in the archive that holds everything.
fn root<'a>(archive: &StoredArchive<'a>) -> Result<&'a str> {
    let mut pickles = archive.names().filter(|name| name.ends_with("data.pkl"));
    let name = pickles.next().context("the archive holds no data.pkl")?;
    if let Some(other) = pickles.next() {
        bail!("the archive holds `{name}` and `{other}`; a checkpoint has one data.pkl");
    }
    let root = name.strip_suffix("/data.pkl").filter(|root| !root.contains('/'));
    let root = root.with_context(|| format!("`{name}` in the archive is not in one folder"))?;
    let inside = |name: &str| name.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    if let Some(outside) = archive.names().find(|name| !inside(name)) {
        bail!("the archive holds `{outside}` outside its folder `{root}`");
    }
    let is_script = |name: &str| name.strip_prefix(root) == Some("/constants.pkl");
    ensure!(!archive.names().any(is_script), foreign::torch_script());
    Ok(root)
}

fn of_legacy(bytes: &[u8]) -> Result<Views> {
    let head = bytes.get(..LEGACY_MAGIC.len()).ok_or_else(cut_short)?;
    ensure!(head == LEGACY_MAGIC, foreign::not_torch(bytes));
    let mut at = LEGACY_MAGIC.len();
    let mut pickle = || -> Result<Pickle> {
        let (pickle, length) = Pickle::parse(&bytes[at..])?;
        at += length;
        Ok(pickle)
    };
    let protocol = pickle()?;
    ensure!(
        *protocol.get(protocol.root()) == PickledValue::Int(LEGACY_PROTOCOL),
        "the file has another protocol than {LEGACY_PROTOCOL}"
    );
    let system = pickle()?;
    system.require_plain([system.root()])?;
    let views = state_dict::read(&pickle()?)?;
    let keys = pickle()?;
    let spans = legacy_storages(bytes, at, &keys, &views)?;
    Ok((views, spans))
}

/// The storages after the pickles, in the order of `keys`, each after its number of elements.
fn legacy_storages(
    bytes: &[u8],
    mut at: usize,
    keys: &Pickle,
    views: &BTreeMap<String, StorageView>,
) -> Result<BTreeMap<String, Range<usize>>> {
    let PickledValue::List(listed) = keys.get(keys.root()) else {
        bail!("the storage keys are not a list");
    };
    let storages: BTreeMap<&str, &TorchStorage> =
        views.values().map(|view| (view.storage.key.as_str(), &view.storage)).collect();
    let mut spans = BTreeMap::new();
    for key in listed {
        let key = keys.text(*key).context("a storage key is not a text")?;
        let storage = storages.get(key);
        let storage = storage.with_context(|| format!("no tensor uses the storage `{key}`"))?;
        let count = bytes[at..].first_chunk().ok_or_else(cut_short)?;
        at += count.len();
        let length = usize::try_from(i64::from_le_bytes(*count)).ok();
        let length = length.and_then(|n| n.checked_mul(storage.dtype.size_in_bytes()));
        let end = length.and_then(|l| at.checked_add(l)).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(cut_short)?;
        if spans.insert(key.to_owned(), at..end).is_some() {
            bail!("the file holds the storage `{key}` twice");
        }
        at = end;
    }
    ensure!(at == bytes.len(), "the file goes on after its last storage");
    Ok(spans)
}

fn cut_short() -> anyhow::Error {
    Diagnostic::failure("the file ends early")
        .hint("the copy or the download was cut short; fetch it again")
        .into()
}
