//! Remembered SHA-256 of large files, so that a model's weights are not read at each run.
//!
//! A digest is valid while size, mtime, ctime, inode and device of the file are unchanged. A file
//! could be written again within the same clock tick, so a digest is remembered only for a file that
//! had been unchanged for [`SETTLED_NS`] when it was hashed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::identity::CacheKey;
use super::replace::replace;
use super::{PredictionCache, HASHES};
use crate::input::{FileStamp, InputFile};

/// Raised when an earlier version of the program could not read the file.
const SCHEMA_VERSION: u32 = 1;
/// The coarsest clock of a file system in use, that of FAT, ticks every two seconds.
const SETTLED_NS: i128 = 2_000_000_000;

/// One remembered digest, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Memo {
    schema_version: u32,
    /// The file's canonical path, whose hash names the memo.
    path: String,
    #[serde(flatten)]
    stamp: FileStamp,
    /// When the hashing began, in ns since 1970.
    hashed_at_ns: i64,
    sha256: String,
}

/// Whether the file had been unchanged for [`SETTLED_NS`] at `now_ns`.
fn is_settled(stamp: &FileStamp, now_ns: i64) -> bool {
    let last = stamp.modified_ns.max(stamp.changed_ns);
    i128::from(now_ns) - i128::from(last) >= SETTLED_NS
}

impl PredictionCache {
    /// The SHA-256 of `input`: the remembered one while the file is unchanged, else the result of
    /// `hash`, which is then remembered (on Unix only).
    ///
    /// A change through a memory map, or by another machine, may be noticed late.
    ///
    /// # Errors
    /// Those of `hash`. A failure to read or store a memo is not an error.
    pub fn file_sha256(
        &self,
        input: &InputFile,
        hash: impl FnMut() -> Result<String>,
    ) -> Result<String> {
        self.file_sha256_at(input, SystemTime::now(), hash)
    }

    fn file_sha256_at(
        &self,
        input: &InputFile,
        now: SystemTime,
        mut hash: impl FnMut() -> Result<String>,
    ) -> Result<String> {
        let Ok(canonical) = fs::canonicalize(input.path()) else { return hash() };
        let memo_path = self.memo_path(&canonical);
        // Without inodes a file could take another's place unseen. The entries report distrust.
        if !cfg!(unix) || self.distrust(&memo_path).is_some() {
            return hash();
        }
        let stamp = input.stamp();
        if let Some(sha256) = remembered(&memo_path, &canonical, stamp) {
            return Ok(sha256);
        }
        let sha256 = hash()?;
        // Stamp and time were taken before the hashing, so a change meanwhile is noticed later.
        if let Some(hashed_at_ns) = ns_since_1970(now).filter(|&now| is_settled(stamp, now)) {
            let memo = Memo {
                schema_version: SCHEMA_VERSION,
                path: canonical.to_string_lossy().into_owned(),
                stamp: stamp.clone(),
                hashed_at_ns,
                sha256: sha256.clone(),
            };
            // On failure the file is hashed again; the entries report why nothing can be stored.
            let _ = serde_json::to_vec_pretty(&memo)
                .map_err(Into::into)
                .and_then(|bytes| replace(&memo_path, &bytes));
        }
        Ok(sha256)
    }

    fn memo_path(&self, canonical: &Path) -> PathBuf {
        let name = CacheKey(Sha256::digest(canonical.as_os_str().as_encoded_bytes()).into());
        self.root.join(HASHES).join(format!("{name}.json"))
    }
}

/// The digest in the memo at `memo_path`, if it is valid for `canonical`.
fn remembered(memo_path: &Path, canonical: &Path, stamp: &FileStamp) -> Option<String> {
    let memo: Memo = serde_json::from_slice(&fs::read(memo_path).ok()?).ok()?;
    let is_valid = memo.schema_version == SCHEMA_VERSION
        && memo.path == canonical.to_string_lossy()
        && memo.stamp == *stamp
        && is_settled(&memo.stamp, memo.hashed_at_ns)
        && CacheKey::parse(&memo.sha256).is_some();
    is_valid.then_some(memo.sha256)
}

fn ns_since_1970(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::digest::sha256_of;
    use std::cell::Cell;
    use std::time::Duration;

    /// A weight file, a cache, and how often the file was hashed.
    struct Bench {
        root: tempfile::TempDir,
        hashed: Cell<usize>,
    }

    impl Bench {
        fn new() -> Self {
            let bench = Bench { root: tempfile::tempdir().unwrap(), hashed: Cell::new(0) };
            fs::write(bench.weights(), "one").unwrap();
            bench
        }

        fn weights(&self) -> PathBuf {
            self.root.path().join("weights")
        }

        fn cache(&self) -> PredictionCache {
            PredictionCache::at(self.root.path().join("cache"))
        }

        /// Asks for the digest when the file was unchanged for `age`; whether it was hashed.
        fn is_hashed(&self, age: Duration) -> bool {
            let now = fs::metadata(self.weights()).unwrap().modified().unwrap() + age;
            let before = self.hashed.get();
            let input = InputFile::open(&self.weights()).unwrap();
            let digest = self.cache().file_sha256_at(&input, now, || {
                self.hashed.set(before + 1);
                input.sha256()
            });
            assert_eq!(digest.unwrap(), sha256_of(&[self.weights()]).unwrap());
            self.hashed.get() > before
        }
    }

    const OLD: Duration = Duration::from_secs(60);
    const ALMOST_OLD: i64 = 59_000_000_000;

    #[test]
    fn a_settled_file_is_hashed_once() {
        let bench = Bench::new();
        assert!(bench.is_hashed(OLD));
        assert!(!bench.is_hashed(OLD));
    }

    #[test]
    fn a_file_that_was_just_written_is_not_remembered() {
        let bench = Bench::new();
        assert!(bench.is_hashed(Duration::from_millis(1900)));
        assert!(bench.is_hashed(Duration::from_millis(1900)));
        assert!(bench.is_hashed(Duration::from_millis(2500)));
        assert!(!bench.is_hashed(Duration::ZERO)); // what counts is its age when it was hashed
    }

    #[test]
    fn a_change_of_the_same_length_with_its_old_time_is_seen() {
        let bench = Bench::new();
        let modified = fs::metadata(bench.weights()).unwrap().modified().unwrap();
        assert!(bench.is_hashed(OLD));
        std::thread::sleep(Duration::from_millis(30)); // past the tick of the ctime
        fs::write(bench.weights(), "two").unwrap();
        let file = fs::File::options().write(true).open(bench.weights()).unwrap();
        file.set_modified(modified).unwrap();
        assert!(bench.is_hashed(OLD));
    }

    #[test]
    fn a_file_that_took_the_place_of_another_is_hashed() {
        let bench = Bench::new();
        assert!(bench.is_hashed(OLD));
        let other = bench.root.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(other, bench.weights()).unwrap();
        assert!(bench.is_hashed(OLD));
    }

    #[test]
    fn a_file_that_changes_while_it_is_hashed_is_hashed_again() {
        let bench = Bench::new();
        let now = SystemTime::now() + OLD;
        let input = InputFile::open(&bench.weights()).unwrap();
        let digest = bench.cache().file_sha256_at(&input, now, || {
            let digest = input.sha256()?;
            fs::write(bench.weights(), "longer").unwrap();
            Ok(digest)
        });
        assert_ne!(digest.unwrap(), sha256_of(&[bench.weights()]).unwrap());
        assert!(bench.is_hashed(OLD));
    }

    #[test]
    fn every_part_of_the_stamp_counts_and_damage_is_silent() {
        let bench = Bench::new();
        assert!(bench.is_hashed(OLD));
        let memo_path = bench.cache().memo_path(&fs::canonicalize(bench.weights()).unwrap());
        let memo: serde_json::Value =
            serde_json::from_slice(&fs::read(&memo_path).unwrap()).unwrap();
        for name in memo.as_object().unwrap().keys() {
            let mut other = memo.clone();
            other[name] = match &memo[name] {
                serde_json::Value::String(_) => "x".into(),
                // Of the time of the hashing only this matters: that it was not too early.
                number if name == "hashed_at_ns" => (number.as_i64().unwrap() - ALMOST_OLD).into(),
                number => (number.as_i64().unwrap() + 1).into(),
            };
            fs::write(&memo_path, other.to_string()).unwrap();
            assert!(bench.is_hashed(OLD), "{name}");
            assert!(!bench.is_hashed(OLD), "{name}");
        }
        for damage in ["", "{", "[]"] {
            fs::write(&memo_path, damage).unwrap();
            assert!(bench.is_hashed(OLD), "{damage}");
        }
    }

    #[test]
    fn a_link_and_its_target_share_a_digest() {
        let bench = Bench::new();
        assert!(bench.is_hashed(OLD));
        let link = bench.root.path().join("link");
        std::os::unix::fs::symlink(bench.weights(), &link).unwrap();
        let link = InputFile::open(&link).unwrap();
        let digest = bench.cache().file_sha256(&link, || anyhow::bail!("hashed again"));
        assert_eq!(digest.unwrap(), sha256_of(&[bench.weights()]).unwrap());
    }

    #[test]
    fn a_missing_cache_is_not_an_error() {
        let bench = Bench::new();
        let cache = PredictionCache::at(bench.weights().join("below a file"));
        let input = InputFile::open(&bench.weights()).unwrap();
        let digest = cache.file_sha256(&input, || input.sha256());
        assert_eq!(digest.unwrap(), sha256_of(&[bench.weights()]).unwrap());
    }

    #[test]
    fn a_memo_that_others_can_write_is_not_believed() {
        use std::os::unix::fs::PermissionsExt;
        let bench = Bench::new();
        assert!(bench.is_hashed(OLD));
        let memo_path = bench.cache().memo_path(&fs::canonicalize(bench.weights()).unwrap());
        let folder = memo_path.parent().unwrap().to_owned();
        for (path, mode) in [(&memo_path, 0o600), (&folder, 0o700)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o002)).unwrap();
            assert!(bench.is_hashed(OLD), "{path:?}");
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(!bench.is_hashed(OLD), "{path:?}");
        }
    }
}
