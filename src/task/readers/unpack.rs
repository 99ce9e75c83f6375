//! Text files that were compressed as a whole: `.csv.gz`, `.jsonl.zst`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{bail, Context, Result};
use flate2::read::MultiGzDecoder;
use zstd::stream::read::Decoder;

use super::{open, DataFile};
use crate::error::failure;

/// How a whole file is compressed, which its last extension says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OuterCompression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstd,
}

/// Bytes that any file may unpack to.
const FLOOR: u64 = 64 << 20;

/// Further bytes for each byte of the file. Tables of numbers are rarely packed by more than 20.
const FACTOR: u64 = 100;

/// Maximum window of zstd as a power of two, 128 MiB: what `zstd` unpacks without a flag.
const WINDOW: u32 = 27;

impl OuterCompression {
    /// By the last extension of a name.
    pub(crate) fn of(path: &Path) -> Option<OuterCompression> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "gz" => Some(OuterCompression::Gzip),
            "zst" => Some(OuterCompression::Zstd),
            _ => None,
        }
    }

    /// By the first bytes of a file.
    fn of_bytes(head: &[u8]) -> Option<OuterCompression> {
        match head {
            [0x1F, 0x8B, ..] => Some(OuterCompression::Gzip),
            // A frame, or a frame to skip: RFC 8878, 3.1.1 and 3.1.2.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => {
                Some(OuterCompression::Zstd)
            }
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            OuterCompression::Gzip => "gzip",
            OuterCompression::Zstd => "zstd",
        }
    }

    fn extension(self) -> &'static str {
        match self {
            OuterCompression::Gzip => "gz",
            OuterCompression::Zstd => "zst",
        }
    }

    fn command(self) -> &'static str {
        match self {
            OuterCompression::Gzip => "gunzip",
            OuterCompression::Zstd => "zstd -d",
        }
    }
}

/// Refuses a compressed binary file, and a file whose first bytes contradict its extension.
///
/// # Errors
/// Naming the file and what to do.
pub(super) fn refuse_other_packing(file: &DataFile, head: &[u8]) -> Result<()> {
    let name = &file.name;
    match (file.compression, OuterCompression::of_bytes(head)) {
        (Some(packing), _) if !file.format.is_text() => {
            let packed = packing.name();
            bail!(failure!("`{name}` is a binary file that was compressed again, with {packed}")
                .hint(format!(
                    "only text is read compressed; unpack the file: {} {name}",
                    packing.command()
                )))
        }
        (Some(packing), found) if found != Some(packing) && !head.is_empty() => {
            let (packed, extension) = (packing.name(), packing.extension());
            bail!(failure!("`{name}` is not compressed with {packed}").hint(format!(
                "a download may have been unpacked already: name it without `.{extension}`"
            )))
        }
        (None, Some(packing)) if file.format.is_text() => {
            bail!(failure!("`{name}` is compressed with {}", packing.name())
                .hint(format!("name it `….{}`, or unpack it", packing.extension())))
        }
        _ => Ok(()),
    }
}

/// The text of a file, unpacked if necessary, within 64 MiB and 100 bytes for each byte of the file.
pub(super) fn open_text(file: &DataFile) -> Result<Box<dyn Read>> {
    let packed = open(file)?;
    let unpacked: Box<dyn Read> = match file.compression {
        None => return Ok(Box::new(packed)),
        Some(OuterCompression::Gzip) => Box::new(MultiGzDecoder::new(packed)),
        Some(OuterCompression::Zstd) => {
            let decoder = zstd_decoder(packed);
            Box::new(decoder.with_context(|| format!("cannot read `{}`", file.name))?)
        }
    };
    let limit = FLOOR.saturating_add(file.input.stamp().size.saturating_mul(FACTOR));
    Ok(Box::new(LimitedText { inner: unpacked, room: limit, limit }))
}

fn zstd_decoder(packed: File) -> io::Result<Decoder<'static, io::BufReader<File>>> {
    let mut decoder = Decoder::new(packed)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

/// A text that ends with an error behind its limit.
struct LimitedText {
    inner: Box<dyn Read>,
    /// Bytes that may still come.
    room: u64,
    limit: u64,
}

/// The error of a text that is longer than its file allows.
#[derive(Debug, thiserror::Error)]
#[error("unpacks to more than {} MiB, the limit for a file of its size", .0 >> 20)]
struct UnpackedTooLong(u64);

impl Read for LimitedText {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        match self.room.checked_sub(read as u64) {
            Some(room) => self.room = room,
            None => return Err(io::Error::other(UnpackedTooLong(self.limit))),
        }
        Ok(read)
    }
}

/// The error of a text that could not be read; `after` says how far it was read.
pub(super) fn unreadable(file: &DataFile, after: &str, error: io::Error) -> anyhow::Error {
    let name = &file.name;
    let Some(packing) = file.compression else {
        return anyhow::Error::new(error).context(format!("cannot read `{name}` {after}"));
    };
    if let Some(long) = error.get_ref().and_then(|it| it.downcast_ref::<UnpackedTooLong>()) {
        return failure!("`{name}` {long}")
            .hint(format!("unpack it first if you trust it: {} {name}", packing.command()))
            .into();
    }
    failure!("`{name}` cannot be unpacked with {} {after}: {error}", packing.name())
        .hint("it is cut short or damaged; download or write it again")
        .into()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::DataFormat;
    use super::*;
    use crate::error::rendered;
    use crate::input::InputFile;
    use crate::interrupt::Interrupt;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 19).unwrap()
    }

    /// The text of a file with that name and those bytes, or the error as the user sees it.
    fn text(name: &str, bytes: &[u8]) -> Result<Vec<u8>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let file = DataFile {
            input: InputFile::open(&path).unwrap(),
            name: name.to_owned(),
            format: DataFormat::of(&path).unwrap(),
            compression: OuterCompression::of(&path),
            headerless: None,
            interrupt: Interrupt::default(),
        };
        let mut text = Vec::new();
        refuse_other_packing(&file, bytes)
            .and_then(|()| open_text(&file))
            .and_then(|mut reader| {
                let read = reader.read_to_end(&mut text);
                read.map_err(|error| unreadable(&file, "after line 7", error))
            })
            .map(|_| text)
            .map_err(|error| rendered(&error))
    }

    #[test]
    fn members_and_frames_one_after_another_are_one_text() {
        let gz = [gzip(b"a,b\n"), gzip(b"1,2\n")].concat();
        assert_eq!(text("t.csv.gz", &gz).unwrap(), b"a,b\n1,2\n");
        let skipped = [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 9, 9];
        let zst = [&skipped[..], &zstd(b"a,b\n"), &zstd(b"1,2\n")].concat();
        assert_eq!(text("t.csv.zst", &zst).unwrap(), b"a,b\n1,2\n");
        assert_eq!(text("t.csv", b"a,b\n").unwrap(), b"a,b\n");
    }

    #[test]
    fn a_file_that_is_cut_short_or_damaged_is_refused() {
        for (name, packed) in [("t.csv.gz", gzip(b"a,b\n1,2\n")), ("t.csv.zst", zstd(b"a,b\n1\n"))]
        {
            let error = text(name, &packed[..packed.len() - 3]).unwrap_err();
            assert!(error.contains(name) && error.contains("cut short"), "{error}");
            assert!(error.contains("cannot be unpacked with"), "{error}");
        }
    }

    #[test]
    fn a_name_that_contradicts_the_bytes_is_refused_with_the_right_one() {
        for (name, bytes, words) in [
            ("t.csv.gz", b"a,b\n".to_vec(), ["not compressed with gzip", "without `.gz`"]),
            ("t.csv.zst", gzip(b"a"), ["not compressed with zstd", "without `.zst`"]),
            ("t.csv", gzip(b"a"), ["is compressed with gzip", "name it `….gz`"]),
            ("t.jsonl", zstd(b"a"), ["is compressed with zstd", "name it `….zst`"]),
            ("t.parquet.gz", gzip(b"a"), ["compressed again, with gzip", "gunzip t.parquet.gz"]),
            ("t.parquet.zst", zstd(b"a"), ["compressed again, with zstd", "zstd -d t.parquet"]),
        ] {
            let error = text(name, &bytes).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn a_short_file_cannot_unpack_without_limit() {
        let zeros = vec![b'0'; 80 << 20];
        for (name, packed) in [("t.csv.gz", gzip(&zeros)), ("t.csv.zst", zstd(&zeros))] {
            // 80 MiB of gzip are 80 KiB, so the limit is 64 MiB and 8 MiB.
            assert!(packed.len() < 100_000, "{}", packed.len());
            let error = text(name, &packed).unwrap_err();
            assert!(error.contains("unpacks to more than") && error.contains("MiB"), "{error}");
        }
        assert_eq!(text("t.csv.gz", &gzip(&zeros[..60 << 20])).unwrap().len(), 60 << 20);
    }
}
