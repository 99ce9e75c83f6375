//! A state dict: an ordered dict of names and tensors.
//!
//! A tensor is a call of `torch._utils._rebuild_tensor_v2`, or of `_rebuild_parameter` around one,
//! with the arguments that torch writes. What torch would read otherwise (a view of a storage with a
//! changed sign, one storage under two types) is refused.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail, ensure, Context, Result};
use candle_core::DType;

use super::foreign;
use super::pickle::{Pickle, PickledGlobal, PickledValue, ValueId};
use super::view::{require_few_dimensions, StorageView, TorchStorage};

/// Arguments of `_rebuild_tensor_v2` before the optional metadata: storage, offset, size, stride,
/// whether it requires a gradient, hooks.
const TENSOR_ARGUMENTS: usize = 6;
/// Arguments of `_rebuild_parameter`: tensor, whether it requires a gradient, hooks.
const PARAMETER_ARGUMENTS: usize = 3;
/// Parts of a storage: the word `storage`, class, key, device, number of elements. A legacy file
/// adds the part of another storage that it views, which torch has not written since 0.4.
const STORAGE_PARTS: usize = 5;

/// Bytes of a storage's key, which torch makes of digits. Every tensor has a copy of its key.
const LONGEST_KEY: usize = 64;

/// The tensors of a state dict by name.
///
/// # Errors
/// A value that is not a dict of tensors, a name twice, anything but plain values beside the tensors.
pub(super) fn read(pickle: &Pickle) -> Result<BTreeMap<String, StorageView>> {
    let root = pickle.root();
    let entries = pickle.entries(root).with_context(|| {
        format!("the pickle is not a state dict: it holds {}", pickle.describe(root))
    })?;
    pickle.require_distinct(entries)?;
    if let Some(other) = foreign::training_checkpoint(pickle, entries) {
        bail!(other);
    }
    let mut reader = StateDictReader { pickle, plain: Vec::new(), storages: BTreeMap::new() };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let name = pickle.text(*name).context("a name of the state dict is not a text")?;
        if name == "_metadata" {
            reader.plain.push(*value);
            continue;
        }
        let view = reader.tensor(*value).with_context(|| format!("the tensor `{name}`"))?;
        tensors.insert(name.to_owned(), view);
    }
    pickle.require_plain(reader.plain)?;
    ensure!(!tensors.is_empty(), "the pickle is not a state dict: it has no tensors");
    Ok(tensors)
}

struct StateDictReader<'p> {
    pickle: &'p Pickle<'p>,
    /// Values that must hold no tensor.
    plain: Vec<ValueId>,
    storages: BTreeMap<&'p str, TorchStorage>,
}

impl<'p> StateDictReader<'p> {
    fn tensor(&mut self, value: ValueId) -> Result<StorageView> {
        let (function, arguments) = self.called(value)?;
        match function {
            PickledGlobal::RebuildParameter => {
                let [data, rest @ ..] = arguments else { bail!("it has no arguments") };
                ensure!(
                    arguments.len() == PARAMETER_ARGUMENTS,
                    "a parameter has {} arguments instead of {PARAMETER_ARGUMENTS}",
                    arguments.len()
                );
                self.plain.extend(rest);
                match self.called(*data)? {
                    (PickledGlobal::RebuildTensor, arguments) => self.view(arguments),
                    _ => bail!("it is a parameter of a value that is not a tensor"),
                }
            }
            PickledGlobal::RebuildTensor => self.view(arguments),
            _ => bail!("it is not a tensor"),
        }
    }

    fn called(&self, value: ValueId) -> Result<(PickledGlobal<'p>, &'p [ValueId])> {
        let pickle = self.pickle;
        let PickledValue::Call { function, arguments } = pickle.get(value) else {
            bail!("it is {}, not a tensor", pickle.describe(value));
        };
        match (pickle.get(*function), pickle.tuple(*arguments)) {
            (PickledValue::Global(global), Some(arguments)) => Ok((*global, arguments)),
            _ => bail!("it is a call without arguments"),
        }
    }

    fn view(&mut self, arguments: &'p [ValueId]) -> Result<StorageView> {
        let pickle = self.pickle;
        let [storage, offset, dims, strides, rest @ ..] = arguments else {
            bail!("too few arguments");
        };
        let metadata = rest.get(TENSOR_ARGUMENTS - 4..).context("too few arguments")?;
        // Metadata may ask for the negative or the conjugate of what is stored.
        let is_empty = |id: &ValueId| match pickle.get(*id) {
            PickledValue::None => true,
            _ => pickle.entries(*id).is_some_and(<[_]>::is_empty),
        };
        ensure!(metadata.len() <= 1 && metadata.iter().all(is_empty), "it has metadata");
        self.plain.extend(rest);
        Ok(StorageView {
            storage: self.storage(*storage)?,
            offset: self.size(*offset)?,
            dims: self.sizes(*dims)?,
            strides: self.sizes(*strides)?,
        })
    }

    fn storage(&mut self, value: ValueId) -> Result<TorchStorage> {
        let pickle = self.pickle;
        let PickledValue::Persistent(id) = pickle.get(value) else {
            bail!("its storage is {}", pickle.describe(value));
        };
        let parts = pickle.tuple(*id).context("its storage is not a tuple")?;
        let [kind, class, key, device, elements, viewed @ ..] = parts else {
            bail!("its storage has {} parts instead of {STORAGE_PARTS}", parts.len());
        };
        ensure!(pickle.text(*kind) == Some("storage"), "its storage is not called `storage`");
        ensure!(pickle.text(*device).is_some(), "the device of its storage is not a text");
        let whole = |id: &ValueId| *pickle.get(*id) == PickledValue::None;
        ensure!(viewed.len() <= 1 && viewed.iter().all(whole), "its storage is part of another");
        let key = pickle.text(*key).context("a storage key is not a text")?;
        ensure!(key.len() <= LONGEST_KEY, "a storage key has {} bytes", key.len());
        let storage = TorchStorage {
            key: key.to_owned(),
            dtype: self.dtype(*class)?,
            elements: self.size(*elements)?,
        };
        let first = self.storages.entry(key).or_insert_with(|| storage.clone());
        ensure!(*first == storage, "the storage `{key}` is given with two types or lengths");
        Ok(storage)
    }

    fn dtype(&self, class: ValueId) -> Result<DType> {
        let PickledValue::Global(PickledGlobal::Storage(class)) = self.pickle.get(class) else {
            bail!("the type of its storage is {}", self.pickle.describe(class));
        };
        Ok(match *class {
            "FloatStorage" => DType::F32,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "DoubleStorage" => DType::F64,
            "LongStorage" => DType::I64,
            "ByteStorage" | "BoolStorage" => DType::U8,
            other => bail!("it is stored as {other}, which no weight is"),
        })
    }

    fn size(&self, value: ValueId) -> Result<usize> {
        let PickledValue::Int(size) = self.pickle.get(value) else {
            bail!("a size is not a whole number");
        };
        usize::try_from(*size).map_err(|_| anyhow!("a size is negative"))
    }

    fn sizes(&self, value: ValueId) -> Result<Vec<usize>> {
        let items = self.pickle.tuple(value).context("a shape is not a tuple")?;
        // Before it is copied: tensors can share one long tuple.
        require_few_dimensions(items.len())?;
        items.iter().map(|item| self.size(*item)).collect()
    }
}
