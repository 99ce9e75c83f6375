//! `pytorch_model.bin` in the older layout of torch.save, written opcode by opcode.

use crate::common::Tensors;

const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(value: usize) -> Vec<u8> {
    [b"\x8a\x08", &(value as i64).to_le_bytes()[..]].concat()
}

fn ints(values: impl Iterator<Item = usize>) -> Vec<u8> {
    let values: Vec<u8> = values.flat_map(int).collect();
    [b"(", &values[..], b"t"].concat()
}

/// An f32 tensor over the storage `key`.
fn tensor(key: &str, shape: &[usize]) -> Vec<u8> {
    let strides = (0..shape.len()).map(|d| shape[d + 1..].iter().product());
    let storage = [
        &b"("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        &int(shape.iter().product()),
        b"NtQ",
    ];
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
        &storage.concat(),
        &int(0),
        &ints(shape.iter().copied()),
        &ints(strides),
        b"\x89",
        ORDERED_DICT,
        b"tR",
    ]
    .concat()
}

/// The opcodes of a state dict of f32 tensors.
pub fn state_dict(tensors: &Tensors) -> Vec<u8> {
    let entries: Vec<u8> = tensors
        .iter()
        .enumerate()
        .flat_map(|(i, (name, (_, shape, _)))| [text(name), tensor(&i.to_string(), shape)].concat())
        .collect();
    [ORDERED_DICT, b"(", &entries, b"u"].concat()
}

/// `value` under `key`, and the number of an epoch.
pub fn training_checkpoint(key: &str, value: &[u8]) -> Vec<u8> {
    [b"}(", &text(key)[..], value, &text("epoch"), b"K\x03u"].concat()
}

/// The file of `value`, the opcodes of which name the tensors.
pub fn file(value: &[u8], tensors: &Tensors) -> Vec<u8> {
    let keys: Vec<u8> = (0..tensors.len()).flat_map(|i| text(&i.to_string())).collect();
    let storages = tensors
        .values()
        .flat_map(|(_, _, bytes)| [&(bytes.len() as i64 / 4).to_le_bytes()[..], bytes].concat());
    let head = [MAGIC, b"\x80\x02M\xe9\x03.", b"\x80\x02}.", b"\x80\x02", value, b"."].concat();
    [head, [b"\x80\x02](", &keys[..], b"e."].concat(), storages.collect()].concat()
}
