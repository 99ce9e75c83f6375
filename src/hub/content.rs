//! What the Hub says of a file's content, and whether a file has it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha1::{Digest, Sha1};

use crate::digest::{hexadecimal, sha256_of};

/// The hash of a file, which is the name of its blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ContentHash {
    /// SHA-256 of the bytes, of large files.
    Sha256(String),
    /// Git's id of the blob, of small files: SHA-1 of `blob SIZE`, a zero byte and the bytes.
    GitBlob(String),
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub hash: ContentHash,
    /// Bytes, where the Hub says so.
    pub size: Option<u64>,
}

impl ContentHash {
    /// Reads 64 or 40 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<ContentHash> {
        let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match text.len() {
            64 if is_hexadecimal => Some(ContentHash::Sha256(text.to_ascii_lowercase())),
            40 if is_hexadecimal => Some(ContentHash::GitBlob(text.to_ascii_lowercase())),
            _ => None,
        }
    }

    /// Reads the value of `ETag`.
    pub(super) fn of_tag(tag: &str) -> Option<ContentHash> {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let inner = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        ContentHash::parse(inner.unwrap_or(tag))
    }

    /// The name of the blob: lower-case hexadecimal digits only.
    pub(super) fn name(&self) -> &str {
        match self {
            ContentHash::Sha256(name) | ContentHash::GitBlob(name) => name,
        }
    }

    /// What kind of hash it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            ContentHash::Sha256(_) => "SHA-256",
            ContentHash::GitBlob(_) => "Git blob id",
        }
    }

    /// The same kind of hash of a file.
    pub(super) fn of_file(&self, path: &Path) -> io::Result<String> {
        match self {
            ContentHash::Sha256(_) => sha256_of(&[path]),
            ContentHash::GitBlob(_) => git_blob_id(path),
        }
    }
}

impl Content {
    /// Whether the file at `path` has this content.
    pub(super) fn is_of(&self, path: &Path) -> io::Result<bool> {
        let size = std::fs::metadata(path)?.len();
        if self.size.is_some_and(|listed| listed != size) {
            return Ok(false);
        }
        Ok(self.hash.of_file(path)? == self.hash.name())
    }
}

/// What `git hash-object` prints.
fn git_blob_id(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", file.metadata()?.len()));
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hexadecimal(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_has_the_id_that_git_gives_it() {
        // printf abc | git hash-object --stdin
        const ABC: &str = "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        std::fs::write(&path, "abc").unwrap();
        let hash = ContentHash::of_tag(&format!("W/\"{}\"", ABC.to_uppercase())).unwrap();
        assert_eq!(hash, ContentHash::GitBlob(ABC.to_owned()));
        for (size, expected) in [(None, true), (Some(3), true), (Some(4), false)] {
            assert_eq!(Content { hash: hash.clone(), size }.is_of(&path).unwrap(), expected);
        }
        std::fs::write(&path, "abd").unwrap();
        assert!(!Content { hash, size: None }.is_of(&path).unwrap());
    }

    #[test]
    fn what_is_not_a_hash_is_not_the_name_of_a_blob() {
        let long = "a".repeat(64);
        assert_eq!(ContentHash::of_tag(&format!("\"{long}\"")).unwrap().name(), long);
        let other = ["", "\"\"", "../../x", "/etc/passwd", &"g".repeat(40), &"a".repeat(63)];
        for tag in other {
            assert_eq!(ContentHash::of_tag(tag), None, "{tag}");
        }
    }
}
