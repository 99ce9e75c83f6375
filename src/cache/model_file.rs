//! `model.json`: a model's identity, and facts found when it was last loaded.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{json, Value};
use sha2::{Digest, Sha256};

use super::identity::{canonical, key_of};
use super::note::{CacheNote, NoteKind};
use super::replace::replace;
use super::{CacheKey, ModelIdentity, PredictionCache, MODEL_FILE};
use crate::digest::hexadecimal;

/// Raised when an earlier version of the program could not read the file.
const SCHEMA_VERSION: u64 = 1;

/// The contents of a model.json.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile<T> {
    /// As the user named it: a folder, or a Hub id.
    pub name: String,
    /// Everything that determines its logits.
    pub identity: ModelIdentity,
    /// What the caller needs about a model that is not loaded, such as its label names.
    pub facts: T,
}

impl PredictionCache {
    /// Reads the model.json of `identity`; `None` if there is none.
    ///
    /// # Errors
    /// A note that the file is damaged or of another version; the next
    /// [`write_model`](Self::write_model) replaces it. A note that it is not trusted, once.
    pub fn read_model<T: DeserializeOwned>(
        &self,
        identity: &ModelIdentity,
    ) -> Result<Option<ModelFile<T>>, CacheNote> {
        let key = identity.key();
        let path = self.shelf(key).join(MODEL_FILE);
        if let Some(note) = self.distrust(&path) {
            return self.reported.not_trusted(note).map_or(Ok(None), Err);
        }
        let damaged = |found: String| CacheNote::new(NoteKind::Damaged, &path, found);
        let Some(value) = read(&path).map_err(|error| damaged(error.to_string()))? else {
            return Ok(None);
        };
        let foreign = |found: String| CacheNote::new(NoteKind::Foreign, &path, found);
        if value["schema_version"] != SCHEMA_VERSION {
            return Err(foreign(format!("its schema version is {}", value["schema_version"])));
        }
        check(&value, key).map_err(damaged)?;
        let facts = T::deserialize(&value["facts"])
            .map_err(|error| foreign(format!("its facts are of another version: {error}")))?;
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        Ok(Some(ModelFile { name, identity: identity.clone(), facts }))
    }

    /// Writes `model`, unless the file holds the same.
    ///
    /// # Errors
    /// A note that it cannot be stored, unless the same reason was reported before.
    pub fn write_model<T: Serialize>(&self, model: &ModelFile<T>) -> Result<(), CacheNote> {
        let path = self.shelf(model.identity.key()).join(MODEL_FILE);
        if let Some(note) = self.distrust(&path) {
            return self.reported.not_trusted(note).map_or(Ok(()), Err);
        }
        let written = encode(model).and_then(|bytes| {
            if fs::read(&path).is_ok_and(|found| found == bytes) {
                return Ok(());
            }
            replace(&path, &bytes)
        });
        match written {
            Ok(()) => Ok(()),
            Err(error) => self.reported.not_stored(&path, error).map_or(Ok(()), Err),
        }
    }
}

fn encode<T: Serialize>(model: &ModelFile<T>) -> io::Result<Vec<u8>> {
    let mut value = json!({
        "schema_version": SCHEMA_VERSION,
        "name": model.name,
        "identity": serde_json::to_value(&model.identity)?,
        "facts": serde_json::to_value(&model.facts)?,
    });
    value["checksum"] = Value::from(checksum(&value));
    let mut bytes = serde_json::to_vec_pretty(&value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// SHA-256 of everything but the checksum itself.
fn checksum(value: &Value) -> String {
    let mut rest = value.clone();
    if let Some(members) = rest.as_object_mut() {
        members.remove("checksum");
    }
    hexadecimal(&Sha256::digest(canonical(&rest)))
}

/// The JSON object in the file at `path`; `None` if there is no file.
pub(super) fn read(path: &Path) -> io::Result<Option<Value>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::other("it is not a regular file"));
        }
        _ => {}
    }
    match fs::read(path) {
        Ok(bytes) => match serde_json::from_slice(&bytes)? {
            object @ Value::Object(_) => Ok(Some(object)),
            _ => Err(io::Error::other("it is not a JSON object")),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Checks a model.json against its checksum and its folder's name.
pub(super) fn check(value: &Value, folder: CacheKey) -> Result<(), String> {
    if value["checksum"].as_str() != Some(&checksum(value)) {
        return Err("it fails its checksum".to_owned());
    }
    match key_of(&value["identity"]) {
        key if key == folder => Ok(()),
        key => Err(format!("its identity belongs in the folder {key}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    type TestFacts = Vec<String>;

    fn model() -> ModelFile<TestFacts> {
        let facts = vec!["negative".to_owned(), "positive".to_owned()];
        ModelFile { name: "out/bert".to_owned(), identity: testing::identity(), facts }
    }

    #[test]
    fn a_model_is_read_back() {
        let (_root, cache) = testing::cache();
        assert_eq!(cache.read_model::<TestFacts>(&testing::identity()), Ok(None));
        cache.write_model(&model()).unwrap();
        assert_eq!(cache.read_model(&testing::identity()), Ok(Some(model())));

        let renamed = ModelFile { name: "elsewhere/bert".to_owned(), ..model() };
        cache.write_model(&renamed).unwrap();
        assert_eq!(cache.read_model(&testing::identity()), Ok(Some(renamed)));
    }

    #[test]
    fn the_same_again_is_not_written() {
        let (_root, cache) = testing::cache();
        cache.write_model(&model()).unwrap();
        let path = cache.shelf(testing::identity().key()).join(MODEL_FILE);
        let old = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        cache.write_model(&model()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), old);
    }

    #[test]
    fn any_changed_byte_is_found() {
        let (_root, cache) = testing::cache();
        cache.write_model(&model()).unwrap();
        let path = cache.shelf(testing::identity().key()).join(MODEL_FILE);
        let bytes = fs::read(&path).unwrap();
        for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric())
        {
            let mut changed = bytes.clone();
            changed[at] = byte ^ 1;
            fs::write(&path, &changed).unwrap();
            let note = cache.read_model::<TestFacts>(&testing::identity()).unwrap_err();
            assert_eq!(note.path, path, "byte {at}");
        }
        cache.write_model(&model()).unwrap();
        assert_eq!(cache.read_model(&testing::identity()), Ok(Some(model())));
    }

    #[test]
    fn facts_of_another_version_are_replaced() {
        let (_root, cache) = testing::cache();
        let old = ModelFile { name: "a".to_owned(), identity: testing::identity(), facts: 7 };
        cache.write_model(&old).unwrap();
        let note = cache.read_model::<TestFacts>(&testing::identity()).unwrap_err();
        assert_eq!(note.kind, NoteKind::Foreign);
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_reported_once() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let cache = PredictionCache::at(root.path().join("file/below"));
        let note = cache.write_model(&model()).unwrap_err();
        assert_eq!(note.kind, NoteKind::NotStored);
        assert_eq!(cache.write_model(&model()), Ok(()));
    }
}
