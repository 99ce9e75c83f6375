//! Seeded changes of inputs: bits, bytes, spans, numbers, and values of JSON.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{json, Value};

use super::zip;

/// What a mutation may know of an input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    Bytes,
    /// Text with numbers.
    Text,
    Json,
    /// A length of eight bytes, JSON, data.
    Safetensors,
    /// The data.pkl of an archive, whose checksums are made right again.
    PickleInZip,
}

const WHOLE_NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    1 << 62,
    i64::MAX as u64,
    u64::MAX,
];

const NUMBERS: [&str; 16] = [
    "0",
    "-0",
    "-1",
    "1",
    "1e308",
    "1e-320",
    "-1e400",
    "0.5",
    "NaN",
    "inf",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775808",
    "18446744073709551616",
    "0x10",
];

const PIECES: [&[u8]; 18] = [
    b"\"",
    b"\n",
    b"\r\n",
    b"\0",
    b"\t",
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\x1b]0;x\x07",
    b"(",
    b"t",
    b"h\x00",
    b"q\x00",
];

/// The changes of one case.
pub struct Mutator {
    random: ChaCha8Rng,
}

impl Mutator {
    /// The same for the same seed, reader and number of the case.
    pub fn new(seed: u64, reader: &str, case: u64) -> Self {
        let name = reader.bytes().fold(seed, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
        });
        let mut random = ChaCha8Rng::seed_from_u64(name);
        random.set_stream(case);
        Mutator { random }
    }

    /// A changed input of the corpus.
    pub fn mutated(&mut self, corpus: &[Vec<u8>], syntax: Syntax) -> Vec<u8> {
        let input = &corpus[self.below(corpus.len())];
        match syntax {
            Syntax::Json if self.one_in(2) => self.json(input).unwrap_or_else(|| input.clone()),
            Syntax::Safetensors if !self.one_in(3) => {
                let header = u64::from_le_bytes(input[..8].try_into().unwrap()) as usize;
                let (header, data) = input[8..].split_at(header);
                let changed = match self.one_in(2) {
                    true => self.json(header),
                    false => None,
                };
                let header = changed.unwrap_or_else(|| self.bytes(header, corpus, true));
                [&(header.len() as u64).to_le_bytes()[..], &header, data].concat()
            }
            Syntax::PickleInZip => {
                let mut entries = zip::read(input);
                let pickle =
                    entries.iter().position(|(name, _)| name.ends_with("data.pkl")).unwrap();
                entries[pickle].1 = self.bytes(&entries[pickle].1, &[], false);
                zip::write(&entries)
            }
            _ => self.bytes(input, corpus, syntax != Syntax::Bytes),
        }
    }

    fn below(&mut self, end: usize) -> usize {
        self.random.random_range(0..end.max(1))
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A span of at most `most` bytes.
    fn span(&mut self, length: usize, most: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(most)).min(length)
    }

    /// Number of changes: mostly one.
    fn few(&mut self) -> usize {
        if self.one_in(2) {
            1
        } else {
            1 + self.below(4)
        }
    }

    fn bytes(&mut self, input: &[u8], corpus: &[Vec<u8>], is_text: bool) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..self.few() {
            self.change(&mut bytes, corpus, is_text);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, corpus: &[Vec<u8>], is_text: bool) {
        let length = bytes.len();
        match self.below(9) {
            0 if length > 0 => {
                let at = self.below(length);
                bytes[at] ^= 1 << self.below(8);
            }
            1 if length > 0 => {
                let at = self.below(length);
                bytes[at] = self.random.random();
            }
            2 => bytes.truncate(self.below(length + 1)),
            3 => {
                let span = self.span(length, 64);
                bytes.drain(span);
            }
            4 => {
                let copied = bytes[self.span(length, 64)].to_vec();
                let (at, times) = (self.below(length + 1), 1 + self.below(3));
                bytes.splice(at..at, copied.repeat(times));
            }
            5 => self.whole_number(bytes),
            6 if is_text => self.number(bytes),
            7 if !corpus.is_empty() => {
                let other = &corpus[self.below(corpus.len())];
                let rest = other[self.below(other.len() + 1)..].to_vec();
                bytes.truncate(self.below(length + 1));
                bytes.extend(rest);
            }
            _ => {
                let (at, piece) = (self.below(length + 1), self.pick(&PIECES));
                let times = if self.one_in(10) { 2000 } else { 1 };
                bytes.splice(at..at, piece.repeat(times));
            }
        }
    }

    /// An extreme number of 1, 2, 4 or 8 bytes over what is there.
    fn whole_number(&mut self, bytes: &mut [u8]) {
        let number = self.pick(&WHOLE_NUMBERS);
        let width = self.pick(&[1, 2, 4, 8]);
        let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
        let number = if self.one_in(4) { &big[8 - width..] } else { &little[..width] };
        let at = self.below(bytes.len());
        for (byte, new) in bytes.iter_mut().skip(at).zip(number) {
            *byte = *new;
        }
    }

    /// An extreme number instead of one in the text.
    fn number(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len());
        let Some(start) = (from..bytes.len()).find(|&i| bytes[i].is_ascii_digit()) else { return };
        let digits =
            bytes[start..].iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let number = self.pick(&NUMBERS).bytes();
        bytes.splice(start..start + digits, number);
    }

    /// JSON with some values changed; `None` if it is not JSON.
    fn json(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let mut root: Value = serde_json::from_slice(input).ok()?;
        for _ in 0..self.few() {
            let copied = self.somewhere(&mut root).clone();
            let new = self.extreme(copied);
            match self.somewhere(&mut root) {
                Value::Object(members) if !members.is_empty() && self.one_in(2) => {
                    let key = members.keys().nth(self.below(members.len())).cloned()?;
                    let value = members.shift_remove(&key)?;
                    if self.one_in(2) {
                        members.insert(format!("{key}{}", self.pick(&["_", "\u{0}", "é"])), value);
                    }
                }
                value => *value = new,
            }
        }
        serde_json::to_vec(&root).ok()
    }

    /// A value inside `value`; as often one near the top as one of a long list.
    fn somewhere<'v>(&mut self, value: &'v mut Value) -> &'v mut Value {
        let length = match value {
            Value::Array(items) => items.len(),
            Value::Object(members) => members.len(),
            _ => 0,
        };
        if length == 0 || self.one_in(6) {
            return value;
        }
        let at = self.below(length);
        self.somewhere(match value {
            Value::Array(items) => &mut items[at],
            Value::Object(members) => members.values_mut().nth(at).expect("at < length"),
            _ => unreachable!("its length is not 0"),
        })
    }

    /// A value where programs go wrong.
    fn extreme(&mut self, copied: Value) -> Value {
        match self.below(12) {
            0 => Value::Null,
            1 => json!(self.one_in(2)),
            2 => json!(""),
            3 => json!([]),
            4 => json!({}),
            5 => json!(self.pick(&["\u{0}", "\u{1b}[2J", "-1", "é", "a/../b", "%s", "\u{202e}x"])),
            6 => json!("x".repeat(10_000)),
            7 => json!(-(self.below(3) as i64)),
            8 => json!(self.pick(&[1e308, -1e308, 1e-320, 0.5, -0.0])),
            9 => (0..200).fold(json!(0), |inner, _| json!([inner])),
            10 => copied,
            _ => json!(self.pick(&WHOLE_NUMBERS)),
        }
    }
}
