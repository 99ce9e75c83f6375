//! The character map of a `Precompiled` normalizer, as SentencePiece writes it.
//!
//! Base64 of: the length of a double-array trie in bytes (u32), the trie (u32 units), and the
//! replacements, each ended by a NUL byte. A leaf of the trie is the place of its replacement.

use std::collections::VecDeque;

use base64::prelude::{Engine, BASE64_STANDARD};

/// Maximum growth of a text by one map. The map of NFKC, which most models have, makes 33 bytes of the
/// 3 bytes of U+FDFA.
const MOST_GROWTH: usize = 16;

/// Why the map cannot be used, if it cannot.
///
/// # Errors
/// Text that is not base64, a trie longer than the map, a replacement that makes a text more than
/// [`MOST_GROWTH`] times as long.
pub(super) fn check(encoded: &str) -> Result<(), String> {
    let bytes = BASE64_STANDARD.decode(encoded).map_err(|e| format!("it is not base64: {e}"))?;
    let length: [u8; 4] = bytes.get(..4).and_then(|b| b.try_into().ok()).ok_or("it is empty")?;
    let length = u32::from_le_bytes(length) as usize;
    let Some(trie) = bytes.get(4..4 + length).filter(|_| length >= 4) else {
        return Err(format!("its trie of {length} bytes is not among its {} bytes", bytes.len()));
    };
    let replacements = &bytes[4 + length..];
    let units: Vec<u32> =
        trie.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().expect("4 bytes"))).collect();
    match too_long(&units, replacements) {
        None => Ok(()),
        Some((key, value)) => Err(format!(
            "it replaces {key} bytes by {value}, and the limit is {MOST_GROWTH} times as many"
        )),
    }
}

/// Lengths in bytes of a key and of its replacement, where the replacement is too long.
fn too_long(units: &[u32], replacements: &[u8]) -> Option<(usize, usize)> {
    let offset = |unit: u32| ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize;
    let mut known = vec![false; units.len()];
    // The shortest keys first, so that a unit is known by the shortest key that leads to it.
    let mut open = VecDeque::from([(offset(units[0]), 0)]);
    while let Some((base, depth)) = open.pop_front() {
        for byte in 1..=255_u32 {
            let at = base ^ byte as usize;
            let Some(unit) = units.get(at).copied().filter(|unit| unit & (1 << 31 | 0xFF) == byte)
            else {
                continue;
            };
            if std::mem::replace(&mut known[at], true) {
                continue;
            }
            let (base, depth) = (at ^ offset(unit), depth + 1);
            if (unit >> 8) & 1 == 1 {
                let place = units.get(base).map_or(0, |leaf| (leaf & !(1 << 31)) as usize);
                let rest = replacements.get(place..).unwrap_or_default();
                let length = rest.iter().position(|&b| b == 0).unwrap_or(rest.len());
                if length > MOST_GROWTH * depth {
                    return Some((depth, length));
                }
            }
            open.push_back((base, depth));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A map from the byte `a` to `replacement`: the root, the unit of `a`, and its leaf.
    fn map(replacement: &str) -> String {
        let mut units = vec![0_u32; 256];
        units[0] = 1 << 10; //                              base 1
        units[1 ^ usize::from(b'a')] = u32::from(b'a') | 1 << 8 | 2 << 10; // has a leaf, base ^ 2
                                                                           // The leaf's value is 0: the first replacement.
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(replacement.as_bytes());
        bytes.push(0);
        BASE64_STANDARD.encode(bytes)
    }

    #[test]
    fn a_map_may_make_a_text_16_times_as_long() {
        check(&map(&"x".repeat(16))).unwrap();
        let error = check(&map(&"x".repeat(17))).unwrap_err();
        assert_eq!(error, "it replaces 1 bytes by 17, and the limit is 16 times as many");
    }

    #[test]
    fn a_map_that_is_not_one_is_refused() {
        for (encoded, why) in [
            ("?", "not base64"),
            ("", "empty"),
            ("////////", "trie of 4294967295 bytes"),
            ("AAAAAA==", "trie of 0 bytes"),
        ] {
            let error = check(encoded).unwrap_err();
            assert!(error.contains(why), "{encoded}: {error}");
        }
    }
}
