//! SHA-256 of files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 of the concatenated bytes of `files`, in lower-case hexadecimal.
///
/// # Errors
/// A file that cannot be read.
pub fn sha256_of<P: AsRef<Path>>(files: &[P]) -> io::Result<String> {
    let mut hasher = Sha256::new();
    for path in files {
        update_from(&mut hasher, File::open(path)?)?;
    }
    Ok(hexadecimal(&hasher.finalize()))
}

/// Adds the rest of `file` to `hasher`.
///
/// # Errors
/// A failed read.
pub(crate) fn update_from(hasher: &mut Sha256, mut file: File) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// SHA-256 of the concatenated `parts`, in lower-case hexadecimal.
pub fn sha256_of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hasher = Sha256::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hexadecimal(&hasher.finalize())
}

/// Bytes in lower-case hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_hashed_as_if_they_were_one() {
        // printf abc | sha256sum (the first example of FIPS 180-2)
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&first, "ab").unwrap();
        std::fs::write(&second, "c").unwrap();
        assert_eq!(sha256_of(&[first, second]).unwrap(), ABC);
    }
}
