//! The opcodes of a pickle, read as data.
//!
//! The machine builds the values of a state dict and nothing else. It calls nothing, and refuses
//! every global but those that build tensors.
//!
//! Each opcode has at least one byte and adds at most one value, of 32 bytes: memory is at most 100
//! bytes for each byte of the pickle, and at most 200 MiB.
//!
//! Opcodes and their meaning: CPython, Lib/pickletools.py and Lib/pickle.py.

use std::collections::HashMap;

use anyhow::{anyhow, bail, ensure, Context, Result};

use super::pickle::{PickledGlobal, PickledValue, ValueId};
use super::{cut_short, foreign};

/// Most opcodes of a pickle. A tensor of a state dict needs about 30, and the largest classifiers have
/// a thousand tensors.
const MAX_OPCODES: usize = 1 << 21;
/// The newest protocol of Python.
const MAX_PROTOCOL: u8 = 5;

/// Why an opcode cannot act on the values that it finds.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct OpcodeFault(&'static str);

#[derive(Default)]
pub(super) struct PickleMachine<'a> {
    bytes: &'a [u8],
    /// The position after the last opcode.
    pub(super) at: usize,
    pub(super) values: Vec<PickledValue<'a>>,
    pub(super) tuple_items: Vec<ValueId>,
    /// Arguments of BUILD.
    pub(super) attributes: Vec<ValueId>,
    stack: Vec<ValueId>,
    /// Length of the stack at each open MARK.
    marks: Vec<usize>,
    memo: HashMap<u32, ValueId>,
}

impl<'a> PickleMachine<'a> {
    /// Reads the pickle at the start of `bytes`, up to its end.
    pub(super) fn run(bytes: &'a [u8]) -> Result<Self> {
        let mut machine = PickleMachine { bytes, ..PickleMachine::default() };
        for opcodes in 1.. {
            let at = machine.at;
            let [opcode] = machine.array()?;
            if opcode == b'.' {
                break;
            }
            ensure!(
                opcodes <= MAX_OPCODES,
                "the pickle has more than {MAX_OPCODES} opcodes, the limit for a state dict"
            );
            machine.step(opcode).map_err(|error| match error.downcast_ref::<OpcodeFault>() {
                Some(OpcodeFault(fault)) => {
                    anyhow!("the pickle is damaged at byte {at}, {}: {fault}", opcode_name(opcode))
                }
                None => error,
            })?;
        }
        Ok(machine)
    }

    /// The only value that is left.
    pub(super) fn root(&self) -> Result<ValueId> {
        match self.stack[..] {
            [root] if self.marks.is_empty() => Ok(root),
            [] => bail!("the pickle ends without a value"),
            _ => bail!("the pickle ends with more than one value"),
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'N' => self.push(PickledValue::None),
            0x88 => self.push(PickledValue::Bool(true)),
            0x89 => self.push(PickledValue::Bool(false)),
            b'J' => self.integer::<4>()?,
            b'K' => self.integer::<1>()?,
            b'M' => self.integer::<2>()?,
            0x8a => self.long()?,
            b'I' | b'L' => self.digits()?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(PickledValue::Float(value));
            }
            0x8c | b'X' => {
                let text = self.counted(opcode == b'X')?;
                self.push_text(text)?;
            }
            b'C' | b'B' => {
                let bytes = self.counted(opcode == b'B')?;
                self.push(PickledValue::Bytes(bytes));
            }
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push_tuple(0)?,
            0x85..=0x87 => self.push_tuple(usize::from(opcode - 0x84))?,
            b't' => {
                let count = self.close_mark()?;
                self.push_tuple(count)?;
            }
            b']' => self.push(PickledValue::List(Vec::new())),
            b'}' => self.push(PickledValue::Dict(Vec::new())),
            b'a' => self.append(1)?,
            b'e' => {
                let count = self.close_mark()?;
                self.append(count)?;
            }
            b's' => self.set_items(2)?,
            b'u' => {
                let count = self.close_mark()?;
                self.set_items(count)?;
            }
            _ => return self.step_of_objects(opcode),
        }
        Ok(())
    }

    /// Globals, calls, the memo and the frame of the protocol.
    fn step_of_objects(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push_global(module, name)?;
            }
            b'R' => self.call()?,
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(PickledValue::Persistent(id));
            }
            b'q' => {
                let [index] = self.array()?;
                self.memoize(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memoize(index)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            0x80 => {
                let [protocol] = self.array()?;
                ensure!(protocol <= MAX_PROTOCOL, "the pickle has the unknown protocol {protocol}");
            }
            0x95 => {
                let frame = u64::from_le_bytes(self.array()?);
                let rest = self.bytes.len() - self.at;
                ensure!(usize::try_from(frame).is_ok_and(|frame| frame <= rest), cut_short());
            }
            _ => bail!(foreign::opcode(opcode, &opcode_name(opcode), self.at - 1)),
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(cut_short)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Bytes after their count, of one byte or four.
    fn counted(&mut self, wide: bool) -> Result<&'a [u8]> {
        let count = match wide {
            true => u32::from_le_bytes(self.array()?),
            false => u32::from(self.array::<1>()?[0]),
        };
        self.take(count as usize)
    }

    /// A text up to the end of its line.
    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(cut_short)?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).context("the pickle has a name that is not UTF-8")
    }

    fn push(&mut self, value: PickledValue<'a>) {
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        self.stack.push(id);
    }

    fn push_text(&mut self, text: &'a [u8]) -> Result<()> {
        let text = std::str::from_utf8(text).context("the pickle has a text that is not UTF-8")?;
        self.push(PickledValue::Text(text));
        Ok(())
    }

    /// A little-endian whole number; of four bytes, a signed one.
    fn integer<const N: usize>(&mut self) -> Result<()> {
        let mut bytes = [0; 4];
        bytes[..N].copy_from_slice(&self.array::<N>()?);
        self.push(PickledValue::Int(i32::from_le_bytes(bytes).into()));
        Ok(())
    }

    fn long(&mut self) -> Result<()> {
        let bytes = self.counted(false)?;
        let sign = if bytes.last().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
        let mut number = [sign; 8];
        let room = number.get_mut(..bytes.len());
        room.context("the pickle has a number of more than 64 bits")?.copy_from_slice(bytes);
        self.push(PickledValue::Int(i64::from_le_bytes(number)));
        Ok(())
    }

    /// The digits of protocols 0 and 1, where `00` and `01` are bools and `L` may end a number.
    fn digits(&mut self) -> Result<()> {
        let line = self.line()?;
        let value = match line {
            "00" => PickledValue::Bool(false),
            "01" => PickledValue::Bool(true),
            _ => PickledValue::Int(
                line.strip_suffix('L').unwrap_or(line).parse().context("a number of the pickle")?,
            ),
        };
        self.push(value);
        Ok(())
    }

    fn require(&self, count: usize) -> Result<()> {
        let floor = self.marks.last().copied().unwrap_or(0);
        ensure!(self.stack.len() - floor >= count, OpcodeFault("a value is missing"));
        Ok(())
    }

    fn pop(&mut self) -> Result<ValueId> {
        self.require(1)?;
        Ok(self.stack.pop().expect("the stack holds one value"))
    }

    fn pop_text(&mut self) -> Result<&'a str> {
        let id = self.pop()?;
        match self.values[id.0 as usize] {
            PickledValue::Text(text) => Ok(text),
            _ => bail!(OpcodeFault("a name is not a text")),
        }
    }

    /// Number of values above the last MARK.
    fn close_mark(&mut self) -> Result<usize> {
        let mark = self.marks.pop().ok_or(OpcodeFault("a mark is missing"))?;
        Ok(self.stack.len() - mark)
    }

    fn push_tuple(&mut self, count: usize) -> Result<()> {
        self.require(count)?;
        let start = self.tuple_items.len() as u32;
        self.tuple_items.extend(self.stack.drain(self.stack.len() - count..));
        self.push(PickledValue::Tuple(start, count as u32));
        Ok(())
    }

    /// Moves the last `count` values into the list below them.
    fn append(&mut self, count: usize) -> Result<()> {
        self.require(count + 1)?;
        let items: Vec<ValueId> = self.stack.drain(self.stack.len() - count..).collect();
        match &mut self.values[self.stack[self.stack.len() - 1].0 as usize] {
            PickledValue::List(list) => list.extend(items),
            _ => bail!(OpcodeFault("items for a value that is not a list")),
        }
        Ok(())
    }

    /// Moves the last `count` values, keys and values in turn, into the dict below them.
    fn set_items(&mut self, count: usize) -> Result<()> {
        self.require(count + 1)?;
        ensure!(count.is_multiple_of(2), OpcodeFault("a key without a value"));
        let items: Vec<ValueId> = self.stack.drain(self.stack.len() - count..).collect();
        match &mut self.values[self.stack[self.stack.len() - 1].0 as usize] {
            PickledValue::Dict(entries) | PickledValue::OrderedDict(entries) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => bail!(OpcodeFault("entries for a value that is not a dict")),
        }
        Ok(())
    }

    fn push_global(&mut self, module: &'a str, name: &'a str) -> Result<()> {
        let global = match (module, name) {
            ("collections", "OrderedDict") => PickledGlobal::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => PickledGlobal::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => PickledGlobal::RebuildParameter,
            ("torch", name) if name.ends_with("Storage") => PickledGlobal::Storage(name),
            _ => bail!(foreign::global(module, name)),
        };
        self.push(PickledValue::Global(global));
        Ok(())
    }

    /// REDUCE: an ordered dict without arguments is a new dict, other calls are kept as they are.
    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let PickledValue::Global(global) = self.values[function.0 as usize] else {
            bail!(OpcodeFault("a call of a value that is not a function"));
        };
        let PickledValue::Tuple(_, count) = self.values[arguments.0 as usize] else {
            bail!(OpcodeFault("a call without arguments"));
        };
        self.push(match global {
            PickledGlobal::OrderedDict => {
                ensure!(count == 0, "the pickle has an ordered dict with arguments");
                PickledValue::OrderedDict(Vec::new())
            }
            PickledGlobal::Storage(name) => bail!("the pickle calls `torch.{name}`"),
            _ => PickledValue::Call { function, arguments },
        });
        Ok(())
    }

    /// BUILD sets attributes, which an ordered dict has (`_metadata`); they change no entry.
    fn build(&mut self) -> Result<()> {
        let (attributes, object) = (self.pop()?, self.pop()?);
        let is_dict = matches!(self.values[attributes.0 as usize], PickledValue::Dict(_));
        let is_ordered = matches!(self.values[object.0 as usize], PickledValue::OrderedDict(_));
        ensure!(
            is_dict && is_ordered,
            "the pickle sets attributes of a value that is not an ordered dict"
        );
        self.attributes.push(attributes);
        self.stack.push(object);
        Ok(())
    }

    fn memoize(&mut self, index: u32) -> Result<()> {
        self.require(1)?;
        self.memo.insert(index, self.stack[self.stack.len() - 1]);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let id =
            self.memo.get(&index).ok_or(OpcodeFault("it recalls a value that it did not keep"))?;
        self.stack.push(*id);
        Ok(())
    }
}

/// An opcode in messages: its name in pickletools, if it has a common one, and its byte.
fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'0' => "POP ",
        b'1' => "POP_MARK ",
        b'2' => "DUP ",
        b'i' => "INST ",
        b'o' => "OBJ ",
        b'P' => "PERSID ",
        b'S' => "STRING ",
        b'T' => "BINSTRING ",
        b'U' => "SHORT_BINSTRING ",
        b'R' => "REDUCE ",
        b'b' => "BUILD ",
        0x81 => "NEWOBJ ",
        0x82..=0x84 => "EXT ",
        0x92 => "NEWOBJ_EX ",
        0x93 => "STACK_GLOBAL ",
        _ => "",
    };
    format!("{name}0x{opcode:02x}")
}
