//! A checkpoint's tensors by name, from safetensors (one file or shards) or a PyTorch pickle.

use anyhow::{bail, ensure, Context, Result};
use candle_core::{DType, Device, Storage, Tensor};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

use super::draws::Draws;
use super::pth::PthFile;
use super::safetensors_file::SafetensorsFile;
use super::{json, quantised, wrapper};
use crate::digest::hexadecimal;
use crate::error::{failure, guarded, Diagnostic};
use crate::input::{InputFile, SmallFile};

/// Tensors of old checkpoints that no classifier needs.
///
/// Position ids are a buffer 0, 1, …; `fit_dense` is TinyBERT's projection to the teacher's width;
/// RoBERTa's pooler is not used by its classification head.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "fit_dense.", "roberta.pooler."];

/// Maximum number of weights of a model that is drawn at random, 8 GiB of them.
const MOST_DRAWN: usize = 1 << 31;

/// The tensors of one checkpoint, each read when it is taken, as f32 on the CPU.
///
/// A file is read whole when its first tensor is taken, and the bytes that become tensors are the
/// bytes that are hashed.
pub struct Weights {
    source: String,
    files: Vec<WeightFile>,
    /// By the name that a model asks for.
    names: BTreeMap<String, StoredName>,
    /// The prefix of every name in the files that is left out, as [`wrapper::common`] finds it.
    wrapper: String,
    taken: BTreeSet<String>,
    stored: BTreeSet<&'static str>,
    parameters: usize,
    draws: Option<Draws>,
}

/// Where a tensor is.
struct StoredName {
    /// Its name in the file.
    in_file: String,
    /// The same without the prefix of a wrapper.
    name: String,
    /// Index of the file.
    file: usize,
}

/// One file of a checkpoint's weights.
struct WeightFile {
    tensors: Box<dyn TensorFile>,
    /// `None` for tensors that never were in a file.
    input: Option<InputFile>,
    /// SHA-256 of its bytes, once known.
    sha256: Option<String>,
    is_loaded: bool,
}

/// A source of tensors by their stored names.
pub(super) trait TensorFile: Send + Sync {
    fn names(&self) -> Vec<&str>;

    /// The shape of a tensor; empty if there is none of that name.
    fn dims(&self, name: &str) -> Vec<usize>;

    /// Reads all tensors into memory and returns the SHA-256 of the bytes that were read; `None` for
    /// tensors that never were in a file.
    fn load(&mut self) -> Result<Option<String>>;

    /// One tensor of a loaded file as stored, in row-major order.
    fn read(&self, name: &str) -> Result<Tensor>;

    /// Frees what [`TensorFile::load`] read.
    fn unload(&mut self);
}

impl WeightFile {
    /// The tensors, in memory.
    ///
    /// # Errors
    /// A file that cannot be read, or whose bytes are not those of its known SHA-256.
    fn loaded(&mut self) -> Result<&dyn TensorFile> {
        if !self.is_loaded {
            let sha256 = self.tensors.load()?;
            if let (Some(known), Some(input)) = (&self.sha256, &self.input) {
                if sha256.as_ref() != Some(known) {
                    self.tensors.unload();
                    bail!(input.changed());
                }
            }
            (self.sha256, self.is_loaded) = (sha256, true);
        }
        Ok(&*self.tensors)
    }
}

impl TensorFile for BTreeMap<String, Tensor> {
    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }

    fn dims(&self, name: &str) -> Vec<usize> {
        self.get(name).map(|t| t.dims().to_vec()).unwrap_or_default()
    }

    fn load(&mut self) -> Result<Option<String>> {
        Ok(None)
    }

    fn read(&self, name: &str) -> Result<Tensor> {
        Ok(self[name].clone())
    }

    fn unload(&mut self) {}
}

impl Weights {
    /// Opens `files` (all shards, or one pickle); `source` is the checkpoint's name in errors.
    ///
    /// # Errors
    /// A file that is truncated, is not a safetensors file or a state dict, or asks to run code; one
    /// tensor in two shards.
    pub fn open(source: &str, files: &[InputFile]) -> Result<Self> {
        let tensors = |input: &InputFile| -> Result<Box<dyn TensorFile>> {
            Ok(match input.path().extension() {
                Some(extension) if extension == "safetensors" => {
                    Box::new(SafetensorsFile::open(input.clone())?)
                }
                _ => Box::new(PthFile::open(input)?),
            })
        };
        let open = |input: &InputFile| -> Result<WeightFile> {
            let tensors = guarded(|| format!("`{}`", input.name()), || tensors(input))?;
            Ok(WeightFile { tensors, input: Some(input.clone()), sha256: None, is_loaded: false })
        };
        Self::of(source, files.iter().map(open).collect::<Result<Vec<_>>>()?)
    }

    /// From tensors in memory.
    ///
    /// # Errors
    /// One tensor under its old and its new name.
    pub fn from_tensors(source: &str, tensors: BTreeMap<String, Tensor>) -> Result<Self> {
        let tensors = Box::new(tensors);
        Self::of(source, vec![WeightFile { tensors, input: None, sha256: None, is_loaded: true }])
    }

    /// Draws missing tensors at random.
    pub fn with_draws(self, draws: Draws) -> Self {
        Weights { draws: Some(draws), ..self }
    }

    fn of(source: &str, files: Vec<WeightFile>) -> Result<Self> {
        let all: Vec<&str> = files.iter().flat_map(|file| file.tensors.names()).collect();
        let refused = quantised::by_names(source, all.iter().copied());
        if let Some(refused) = refused.or_else(|| wrapper::unmerged_adapter(source, &all)) {
            bail!(refused);
        }
        let wrapper = wrapper::common(&all);
        let mut names = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for in_file in file.tensors.names() {
                let name = &in_file[wrapper.len()..];
                let stored =
                    StoredName { in_file: in_file.to_owned(), name: name.to_owned(), file: i };
                let twice = names.insert(modern_name(name), stored);
                ensure!(twice.is_none(), "`{source}` holds the tensor `{in_file}` twice");
            }
        }
        Ok(Weights {
            source: source.to_owned(),
            files,
            names,
            wrapper,
            taken: BTreeSet::new(),
            stored: BTreeSet::new(),
            parameters: 0,
            draws: None,
        })
    }

    /// The files that it was opened from.
    pub fn files(&self) -> impl Iterator<Item = &InputFile> {
        self.files.iter().filter_map(|file| file.input.as_ref())
    }

    /// The checkpoint's name.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prefix that every tensor's name has in the files and that is left out, such as `module.`;
    /// `None` if there is none.
    pub fn wrapper(&self) -> Option<&str> {
        Some(self.wrapper.as_str()).filter(|prefix| !prefix.is_empty())
    }

    fn missing(&self, name: &str) -> Diagnostic {
        let error = failure!("`{}`: the tensor `{name}` is missing", self.source);
        match wrapper::hint_of_longer_name(self.names(), name) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// All tensor names without the prefix of a wrapper, with LayerNorm's old `gamma` and `beta` as
    /// `weight` and `bias`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name, or it may be drawn.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name) || self.is_drawn(name)
    }

    fn is_drawn(&self, name: &str) -> bool {
        let prefixes = self.draws.iter().flat_map(|draws| &draws.prefixes);
        !self.names.contains_key(name) && prefixes.into_iter().any(|p| name.starts_with(p))
    }

    /// Whether any tensor's name has this prefix.
    pub fn has_prefix(&self, prefix: &str) -> bool {
        self.names().any(|n| n.starts_with(prefix))
    }

    /// The stored dtypes of the tensors taken so far, such as `f16`.
    pub fn stored_dtype(&self) -> String {
        self.stored.iter().copied().collect::<Vec<_>>().join("+")
    }

    /// Number of weights taken so far.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// The shape of the tensor `name`.
    pub fn dims(&self, name: &str) -> Result<Vec<usize>> {
        let stored = self.names.get(name).ok_or_else(|| self.missing(name))?;
        Ok(self.files[stored.file].tensors.dims(&stored.in_file))
    }

    /// The tensor `name` as f32, which must have the shape `dims`.
    ///
    /// # Errors
    /// No such tensor, another shape, or a value that is not finite.
    pub fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor> {
        if let (true, Some(draws)) = (self.is_drawn(name), &self.draws) {
            let count = dims.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
            let total = count.and_then(|count| self.parameters.checked_add(count));
            ensure!(
                total.is_some_and(|total| total <= MOST_DRAWN),
                "`{}`: its config.json asks for a tensor `{name}` of shape {dims:?}, and the limit \
                 of new weights is {MOST_DRAWN}",
                self.source
            );
            let tensor = draws.tensor(name, dims)?;
            self.parameters += tensor.elem_count();
            return Ok(tensor);
        }
        // Before the tensor is read: the shape that config.json asks for may be any.
        let stored = self.dims(name)?;
        ensure!(
            stored == dims,
            "`{}`: the tensor `{name}` has shape {stored:?}, and config.json asks for {dims:?}",
            self.source
        );
        self.take_any(name)
    }

    /// As [`Weights::take`], with any shape.
    pub fn take_any(&mut self, name: &str) -> Result<Tensor> {
        let StoredName { in_file, file, .. } =
            self.names.get(name).ok_or_else(|| self.missing(name))?;
        let stored = self.files[*file].loaded()?.read(in_file)?;
        if !stored.dtype().is_float() {
            bail!(quantised::integers(&self.source, in_file, stored.dtype().as_str()));
        }
        self.stored.insert(stored.dtype().as_str());
        let tensor = stored.to_dtype(DType::F32)?;
        self.parameters += tensor.elem_count();
        if let Some((at, value)) = first_not_finite(&tensor)? {
            bail!(failure!("`{}`: the tensor `{name}` holds {value} at element {at}", self.source)
                .hint("the checkpoint is damaged or its training diverged; save it again"));
        }
        self.taken.insert(name.to_owned());
        Ok(tensor)
    }

    /// Every tensor as stored, by its name in the file without the prefix of a wrapper.
    ///
    /// # Errors
    /// A tensor that cannot be read.
    pub fn stored(&mut self) -> Result<BTreeMap<String, Tensor>> {
        let mut tensors = BTreeMap::new();
        for StoredName { in_file, name, file } in self.names.values() {
            tensors.insert(name.clone(), self.files[*file].loaded()?.read(in_file)?);
        }
        Ok(tensors)
    }

    /// SHA-256 of the weights: of the file, or for several files of their hexadecimal digests.
    /// `known` may remember a file's digest, and calls its second argument for one that it does not.
    ///
    /// # Errors
    /// A file that cannot be read, and those of `known`.
    pub fn sha256(
        &mut self,
        known: impl Fn(&InputFile, &mut dyn FnMut() -> Result<String>) -> Result<String>,
    ) -> Result<String> {
        let mut digests = Vec::with_capacity(self.files.len());
        for file in &mut self.files {
            if let (None, Some(input)) = (&file.sha256, file.input.clone()) {
                let mut load = || {
                    file.loaded()?;
                    file.sha256.clone().with_context(|| format!("no digest of `{}`", input.name()))
                };
                let digest = known(&input, &mut load)?;
                file.sha256 = Some(digest);
            }
            digests.extend(file.sha256.clone());
        }
        match &digests[..] {
            [digest] => Ok(digest.clone()),
            digests => Ok(hexadecimal(&Sha256::digest(digests.concat()))),
        }
    }

    /// Frees the memory of what was read; the next tensor that is taken reads its file again.
    pub fn unload(&mut self) {
        for file in self.files.iter_mut().filter(|file| file.input.is_some()) {
            file.tensors.unload();
            file.is_loaded = false;
        }
    }

    /// Fails unless every tensor was taken, is known to be unused, or has one of the prefixes `others`.
    pub fn finish(&self, others: &[&str]) -> Result<()> {
        let unused = |n: &&str| {
            !self.taken.contains(*n)
                && !UNUSED.iter().any(|u| n.contains(u))
                && !others.iter().any(|other| n.starts_with(other))
        };
        let surplus: Vec<_> = self.names().filter(unused).collect();
        if surplus.is_empty() {
            return Ok(());
        }
        let again = |name: &&str| {
            let (_, inside) = name.split_once('.')?;
            self.taken.contains(inside).then(|| (inside.to_owned(), (*name).to_owned()))
        };
        if let Some((one, other)) = surplus.iter().find_map(again) {
            bail!(failure!(
                "`{}` holds `{one}` and `{other}`, two copies of one weight",
                self.source
            )
            .hint("two models are in one file; save the one that is meant alone"));
        }
        let more = match surplus.len() {
            ..=3 => String::new(),
            count => format!(" and {} more", count - 3),
        };
        bail!(failure!(
            "`{}` holds tensors that its config.json does not account for: `{}`{more}",
            self.source,
            surplus[..surplus.len().min(3)].join("`, `")
        )
        .hint("config.json and the weights are of two models; add the right config.json"))
    }
}

/// Index and value of the first NaN or infinite element of a contiguous f32 tensor on the CPU.
fn first_not_finite(tensor: &Tensor) -> Result<Option<(usize, f32)>> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(storage), Some((start, end))) = (&*storage, layout.contiguous_offsets())
    else {
        bail!("a tensor is not contiguous on the CPU");
    };
    let values = &storage.as_slice::<f32>()?[start..end];
    Ok(values.iter().copied().enumerate().find(|(_, value)| !value.is_finite()))
}

/// Renames LayerNorm's `gamma` and `beta` of checkpoints converted from TensorFlow.
fn modern_name(name: &str) -> String {
    let renamed = |old: &str, new: &str| {
        name.strip_suffix(old).filter(|n| n.ends_with("LayerNorm")).map(|n| format!("{n}{new}"))
    };
    renamed(".gamma", ".weight").or_else(|| renamed(".beta", ".bias")).unwrap_or(name.to_owned())
}

/// The files that `model.safetensors.index.json` names, each once, in name order.
pub fn shards(index: &SmallFile) -> Result<Vec<String>> {
    let shown = index.input.name();
    let index_keys = json::object(index)?;
    let map = index_keys.get("weight_map").and_then(|m| m.as_object());
    let map = map.with_context(|| format!("`{shown}` has no `weight_map`"))?;
    let mut files = BTreeSet::new();
    for (tensor, file) in map {
        let name = file.as_str().filter(|f| !f.contains(['/', '\\']) && !f.starts_with('.'));
        let name = name.with_context(|| {
            format!("`{shown}`: `{tensor}` names {file}, which is not a file in the same folder")
        })?;
        files.insert(name.to_owned());
    }
    ensure!(!files.is_empty(), "`{shown}` names no file");
    Ok(files.into_iter().collect())
}

/// A tensor on the CPU from little-endian bytes.
pub(super) fn tensor(bytes: &[u8], dtype: DType, dims: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_raw_buffer(bytes, dtype, dims, &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::NewCheckpoint;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// A checkpoint of one tensor of that value, in a new folder.
    fn write(root: &Path, value: f32) -> PathBuf {
        let folder = root.join(value.to_string());
        let tensor = Tensor::full(value, (3, 2), &Device::Cpu).unwrap();
        let new = NewCheckpoint {
            config: serde_json::Map::new(),
            tensors: [("a".to_owned(), tensor)].into(),
            tokenizer_files: Vec::new(),
            extra_files: Vec::new(),
        };
        new.write(&folder).unwrap();
        folder.join("model.safetensors")
    }

    fn first(tensor: &Tensor) -> f32 {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0]
    }

    #[test]
    fn the_digest_is_that_of_the_bytes_that_become_tensors() {
        let root = tempfile::tempdir().unwrap();
        let input = InputFile::open(&write(root.path(), 1.0)).unwrap();
        let mut weights = Weights::open("a", std::slice::from_ref(&input)).unwrap();
        let digest = weights.sha256(|_, load| load()).unwrap();
        assert_eq!(digest, input.sha256().unwrap());
        assert_eq!(first(&weights.take("a", &[3, 2]).unwrap()), 1.0);
        weights.unload();
        assert_eq!(first(&weights.take("a", &[3, 2]).unwrap()), 1.0);
    }

    #[test]
    fn a_file_that_is_rewritten_after_it_was_hashed_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (write(root.path(), 1.0), write(root.path(), 2.0));
        let input = InputFile::open(&path).unwrap();
        let mut weights = Weights::open("a", &[input]).unwrap();
        // As remembered from an earlier run.
        weights.sha256(|input, _| input.sha256()).unwrap();
        let bytes = fs::read(&other).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        fs::write(&path, &bytes).unwrap();
        let error = weights.take("a", &[3, 2]).unwrap_err().to_string();
        assert!(error.contains("changed while it was in use"), "{error}");
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let error = weights.take("a", &[3, 2]).unwrap_err().to_string();
        assert!(error.contains("changed while it was in use"), "{error}");
    }

    #[test]
    fn a_file_that_is_replaced_is_read_through_its_own_handle() {
        let root = tempfile::tempdir().unwrap();
        let (path, other) = (write(root.path(), 1.0), write(root.path(), 2.0));
        let input = InputFile::open(&path).unwrap();
        let mut weights = Weights::open("a", &[input]).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(first(&weights.take("a", &[3, 2]).unwrap()), 1.0);
    }

    #[test]
    fn another_shape_is_an_error_before_the_file_is_read() {
        let root = tempfile::tempdir().unwrap();
        let input = InputFile::open(&write(root.path(), 1.0)).unwrap();
        let mut weights = Weights::open("a", &[input]).unwrap();
        let error = weights.take("a", &[usize::MAX, 2]).unwrap_err().to_string();
        assert!(error.contains("has shape [3, 2]"), "{error}");
        assert!(!weights.files[0].is_loaded);
    }
}
