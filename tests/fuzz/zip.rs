//! Archives of torch.save: entries stored as they are.

/// The entries of an archive by name; only for archives that are known to be whole.
pub fn read(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: usize, width: usize| {
        bytes[at..at + width].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let end = bytes.len() - 22;
    let (count, mut at) = (number(end + 10, 2), number(end + 16, 4));
    let mut entries = Vec::new();
    for _ in 0..count {
        let (size, name, extra) = (number(at + 24, 4), number(at + 28, 2), number(at + 30, 2));
        let local = number(at + 42, 4);
        let content = local + 30 + number(local + 26, 2) + number(local + 28, 2);
        let name = String::from_utf8(bytes[at + 46..][..name].to_vec()).unwrap();
        at += 46 + name.len() + extra;
        entries.push((name, bytes[content..content + size].to_vec()));
    }
    entries
}

/// An archive of these entries.
pub fn write(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut list) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let (at, size) = (bytes.len() as u32, (content.len() as u32).to_le_bytes());
        let crc = crc32fast::hash(content).to_le_bytes();
        let name_length = (name.len() as u16).to_le_bytes();
        let facts = [&[0; 8][..], &crc, &size, &size, &name_length, &[0; 2]].concat();
        bytes.extend([b"PK\x03\x04\0\0", &facts[..], name.as_bytes(), content].concat());
        let place = [&[0; 10][..], &at.to_le_bytes()].concat();
        list.extend([b"PK\x01\x02\0\0\0\0", &facts[..], &place, name.as_bytes()].concat());
    }
    let (count, at) = ((entries.len() as u16).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
    let size = (list.len() as u32).to_le_bytes();
    let end = [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &at, &[0; 2]].concat();
    [bytes, list, end].concat()
}
