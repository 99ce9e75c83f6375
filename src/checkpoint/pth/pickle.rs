//! The values of a pickle.
//!
//! They are in one list and refer to each other by index: nothing is copied, a value may be in many
//! places (even in itself), and no function here calls itself.

use std::collections::HashSet;

use anyhow::{bail, ensure, Result};

use super::machine::PickleMachine;
use crate::error::failure;

/// The position of a value in its pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ValueId(pub(super) u32);

/// A value; texts are slices of the pickle.
#[derive(Debug, PartialEq)]
pub(super) enum PickledValue<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Position and length in the pickle's list of tuple items.
    Tuple(u32, u32),
    List(Vec<ValueId>),
    Dict(Vec<(ValueId, ValueId)>),
    /// collections.OrderedDict.
    OrderedDict(Vec<(ValueId, ValueId)>),
    Global(PickledGlobal<'a>),
    /// A call that is not made.
    Call {
        function: ValueId,
        arguments: ValueId,
    },
    /// What the persistent id names, for torch a storage.
    Persistent(ValueId),
}

/// The globals that a state dict may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PickledGlobal<'a> {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A storage class of torch, such as `FloatStorage`.
    Storage(&'a str),
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<PickledValue<'a>>,
    tuple_items: Vec<ValueId>,
    /// Arguments of BUILD: attributes of the ordered dicts.
    attributes: Vec<ValueId>,
    root: ValueId,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`; also returns its length in bytes.
    ///
    /// # Errors
    /// A pickle that ends early, an opcode that no state dict needs, a global that builds no tensor,
    /// more than two million opcodes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, usize)> {
        let machine = PickleMachine::run(bytes)?;
        let root = machine.root()?;
        let PickleMachine { values, tuple_items, attributes, at, .. } = machine;
        Ok((Pickle { values, tuple_items, attributes, root }, at))
    }

    /// The value that the pickle holds.
    pub(super) fn root(&self) -> ValueId {
        self.root
    }

    /// The value at `id`.
    pub(super) fn get(&self, id: ValueId) -> &PickledValue<'a> {
        &self.values[id.0 as usize]
    }

    /// The items of a tuple; `None` if it is another value.
    pub(super) fn tuple(&self, id: ValueId) -> Option<&[ValueId]> {
        match *self.get(id) {
            PickledValue::Tuple(start, length) => {
                Some(&self.tuple_items[start as usize..][..length as usize])
            }
            _ => None,
        }
    }

    /// A text; `None` if it is another value.
    pub(super) fn text(&self, id: ValueId) -> Option<&'a str> {
        match self.get(id) {
            PickledValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a dict in the order of the pickle; `None` if it is another value.
    pub(super) fn entries(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.get(id) {
            PickledValue::Dict(entries) | PickledValue::OrderedDict(entries) => Some(entries),
            _ => None,
        }
    }

    /// Requires that `ids` and the attributes of all ordered dicts hold plain values and containers
    /// of them, without a key twice in a dict.
    ///
    /// # Errors
    /// A tensor, a global, a storage, a key twice.
    pub(super) fn require_plain(&self, ids: impl IntoIterator<Item = ValueId>) -> Result<()> {
        for attributes in &self.attributes {
            let entries = self.entries(*attributes).unwrap_or_default();
            let known = entries.iter().all(|(key, _)| self.text(*key) == Some("_metadata"));
            ensure!(known, "the pickle sets attributes of a dict other than `_metadata`");
        }
        let mut seen = vec![false; self.values.len()];
        let mut open: Vec<ValueId> =
            ids.into_iter().chain(self.attributes.iter().copied()).collect();
        while let Some(id) = open.pop() {
            if std::mem::replace(&mut seen[id.0 as usize], true) {
                continue;
            }
            match self.get(id) {
                PickledValue::Tuple(..) => open.extend(self.tuple(id).unwrap_or_default()),
                PickledValue::List(items) => open.extend(items),
                PickledValue::Dict(entries) | PickledValue::OrderedDict(entries) => {
                    self.require_distinct(entries)?;
                    open.extend(entries.iter().flat_map(|(key, value)| [key, value]));
                }
                PickledValue::Global(_)
                | PickledValue::Call { .. }
                | PickledValue::Persistent(_) => {
                    bail!("the pickle holds {} outside its dict of tensors", self.describe(id))
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Requires that no text is twice among the keys. Python keeps the last, other readers the first.
    pub(super) fn require_distinct(&self, entries: &[(ValueId, ValueId)]) -> Result<()> {
        let mut keys = HashSet::new();
        for key in entries.iter().filter_map(|(key, _)| self.text(*key)) {
            if !keys.insert(key) {
                bail!(failure!("the pickle holds the name `{key}` twice in one dict")
                    .hint("save the checkpoint again: torch.save writes each name once"));
            }
        }
        Ok(())
    }

    /// What kind of value it is, for messages.
    pub(super) fn describe(&self, id: ValueId) -> &'static str {
        match self.get(id) {
            PickledValue::None => "None",
            PickledValue::Bool(_) => "a bool",
            PickledValue::Int(_) | PickledValue::Float(_) => "a number",
            PickledValue::Text(_) => "a text",
            PickledValue::Bytes(_) => "bytes",
            PickledValue::Tuple(..) => "a tuple",
            PickledValue::List(_) => "a list",
            PickledValue::Dict(_) | PickledValue::OrderedDict(_) => "a dict",
            PickledValue::Global(_) => "a class or a function",
            PickledValue::Call { .. } => "a tensor",
            PickledValue::Persistent(_) => "a storage",
        }
    }
}
