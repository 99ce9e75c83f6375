//! Small checkpoints as torch writes them, and what may be wrong with them.

mod archives;
mod foreign;
mod legacy;
mod pickles;
mod views;

use std::path::Path;

use anyhow::Result;

use super::PthFile;
use crate::checkpoint::weights::TensorFile;

const TENSOR: &str = "ctorch._utils\n_rebuild_tensor_v2\n";
const ORDERED_DICT: &str = "ccollections\nOrderedDict\n)R";
const METHOD_STORED: u16 = 0;

/// The opcodes of values, as torch.save writes them with protocol 2.
fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

fn ints(values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().flat_map(|value| int(*value)).collect();
    [b"(", &values[..], b"t"].concat()
}

/// A tensor: a view of the storage `key`.
#[derive(Clone)]
struct Sample {
    key: &'static str,
    class: &'static str,
    elements: i64,
    offset: i64,
    dims: Vec<i64>,
    strides: Vec<i64>,
}

/// All of a storage `0` of `elements` f32.
fn whole(elements: i64) -> Sample {
    let (key, class) = ("0", "FloatStorage");
    Sample { key, class, elements, offset: 0, dims: vec![elements], strides: vec![1] }
}

impl Sample {
    fn storage(&self) -> Vec<u8> {
        let class = format!("ctorch\n{}\n", self.class);
        let (key, elements) = (text(self.key), int(self.elements));
        [b"(", &text("storage")[..], class.as_bytes(), &key, &text("cpu"), &elements, b"tQ"]
            .concat()
    }

    fn arguments(&self) -> Vec<u8> {
        let (dims, strides) = (ints(&self.dims), ints(&self.strides));
        let (requires_grad, hooks) = (b"\x89", ORDERED_DICT.as_bytes());
        [&self.storage()[..], &int(self.offset), &dims, &strides, requires_grad, hooks].concat()
    }

    fn value(&self) -> Vec<u8> {
        [TENSOR.as_bytes(), b"(", &self.arguments(), b"tR"].concat()
    }
}

/// The entries of a dict: names and opcodes of values.
fn entries(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let all: Vec<u8> = entries.iter().flat_map(|(k, v)| [&text(k)[..], v].concat()).collect();
    [b"(", &all[..], b"u"].concat()
}

/// The pickle of a value.
fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

/// The pickle of a state dict.
fn state(tensors: &[(&str, Vec<u8>)]) -> Vec<u8> {
    pickle(&[ORDERED_DICT.as_bytes(), &entries(tensors)].concat())
}

/// Elements 0, 1, … as stored.
fn numbers(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32).to_le_bytes()).collect()
}

/// An archive that is written entry by entry.
#[derive(Default)]
struct Zip {
    bytes: Vec<u8>,
    list: Vec<u8>,
    count: u16,
}

impl Zip {
    /// The archive of a state dict with one storage.
    fn of(pickle: &[u8], storage: &[u8]) -> Self {
        Zip::default().with("a/data.pkl", pickle).with("a/data/0", storage)
    }

    fn with(self, name: &str, content: &[u8]) -> Self {
        let at = self.bytes.len() as u32;
        self.local(name, content, METHOD_STORED).listed(name, content, at, &[])
    }

    fn local(mut self, name: &str, content: &[u8], method: u16) -> Self {
        self.bytes.extend(*b"PK\x03\x04\0\0\0\0");
        self.bytes.extend(method.to_le_bytes());
        self.bytes.extend([0; 16]); // time, checksum and sizes, which the list holds
        self.bytes.extend((name.len() as u16).to_le_bytes());
        self.bytes.extend([0; 2]);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(content);
        self
    }

    /// A record of the list; with `extra`, sizes and position are full fields.
    fn listed(mut self, name: &str, content: &[u8], at: u32, extra: &[u8]) -> Self {
        let wide = |value: u32| if extra.is_empty() { value } else { u32::MAX }.to_le_bytes();
        let length = wide(content.len() as u32);
        self.list.extend(*b"PK\x01\x02\0\0\0\0\0\0\0\0\0\0\0\0");
        self.list.extend(crc32fast::hash(content).to_le_bytes());
        self.list.extend([length, length].concat());
        self.list.extend((name.len() as u16).to_le_bytes());
        self.list.extend((extra.len() as u16).to_le_bytes());
        self.list.extend([0; 10]); // comment, disk, attributes
        self.list.extend(wide(at));
        self.list.extend(name.as_bytes());
        self.list.extend(extra);
        self.count += 1;
        self
    }

    fn end(self) -> Vec<u8> {
        let (at, size) = (self.bytes.len() as u32, self.list.len() as u32);
        let count = self.count.to_le_bytes();
        let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count].concat();
        let end = [&end[..], &size.to_le_bytes(), &at.to_le_bytes(), &[0; 2]].concat();
        [self.bytes, self.list, end].concat()
    }
}

fn read(bytes: Vec<u8>) -> Result<PthFile> {
    PthFile::parse(Path::new("pytorch_model.bin"), bytes)
}

/// The tensor `name` as f32.
fn values(file: &PthFile, name: &str) -> Vec<f32> {
    file.read(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The file is refused with every one of `words`.
#[track_caller]
fn refused(bytes: Vec<u8>, words: &[&str]) {
    let error = read(bytes).map(|file| file.names().join(" ")).unwrap_err();
    let message = format!("{error:#}");
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

/// A pickle with a storage of four elements beside it is refused.
#[track_caller]
fn pickle_refused(pickle: &[u8], words: &[&str]) {
    refused(Zip::of(pickle, &numbers(4)).end(), words);
}
