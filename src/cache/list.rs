//! What the cache holds.

use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;

use super::examine::examine;
use super::identity::CacheKey;
use super::model_file;
use super::PredictionCache;

/// One entry of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct EntryInfo {
    /// The model as the user named it; `None` if model.json cannot be read.
    pub model_name: Option<String>,
    /// The name of the model's folder.
    pub model: CacheKey,
    /// The name of the entry's file.
    pub texts: CacheKey,
    /// The task; empty if the header cannot be read.
    pub task: String,
    /// The split; empty if the header cannot be read.
    pub split: String,
    /// Known rows. In 0..=N.
    pub known: usize,
    /// N.
    pub examples: usize,
    /// K.
    pub labels: usize,
    /// Size of the file.
    pub bytes: u64,
    /// When it was last written, if known.
    pub modified: Option<SystemTime>,
    /// Whether a process is writing it.
    pub in_use: bool,
    /// What is wrong with it.
    pub damage: Option<String>,
    /// The file.
    pub path: PathBuf,
}

impl PredictionCache {
    /// Reads every entry; sorted by model name, task and split.
    ///
    /// # Errors
    /// A folder that cannot be read; an absent cache is an empty one.
    pub fn list(&self) -> Result<Vec<EntryInfo>> {
        let mut list = Vec::new();
        for shelf in self.shelves()? {
            let model_name = shelf
                .model_file
                .and_then(|path| model_file::read(&path).ok().flatten())
                .and_then(|value| Some(value["name"].as_str()?.to_owned()));
            for (texts, path) in shelf.entries {
                list.extend(info(model_name.clone(), shelf.model, texts, path));
            }
        }
        list.sort_by(|a, b| order(a).cmp(&order(b)));
        Ok(list)
    }
}

/// The entry in the file at `path`; `None` if it was just removed.
fn info(
    model_name: Option<String>,
    model: CacheKey,
    texts: CacheKey,
    path: PathBuf,
) -> Option<EntryInfo> {
    let mut info = EntryInfo {
        model_name,
        model,
        texts,
        task: String::new(),
        split: String::new(),
        known: 0,
        examples: 0,
        labels: 0,
        bytes: 0,
        modified: None,
        in_use: false,
        damage: None,
        path,
    };
    match examine(&info.path, model, texts) {
        Ok(found) => {
            info.known = found.known;
            info.bytes = found.metadata.len();
            info.modified = found.metadata.modified().ok();
            info.in_use = found.in_use;
            info.damage = found.fault.map(|fault| fault.to_string());
            if let Some(header) = found.header {
                info.examples = header.examples as usize;
                info.labels = header.labels as usize;
                (info.task, info.split) = (header.task, header.split);
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => info.damage = Some(format!("it cannot be read: {error}")),
    }
    Some(info)
}

fn order(info: &EntryInfo) -> impl Ord + '_ {
    (&info.model_name, info.model, &info.task, &info.split, info.texts)
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[test]
    fn no_cache_lists_nothing() {
        assert_eq!(testing::cache().1.list().unwrap(), []);
    }

    #[test]
    fn entries_are_listed_with_their_progress() {
        let (_root, cache) = testing::cache();
        cache.write_model(&testing::model()).unwrap();
        testing::store(&cache, &testing::spec("train", 3, 2), &[0, 2, 1]);
        testing::store(&cache, &testing::spec("test", 4, 2), &[3]);
        let (writing, _) = cache.open(&testing::spec("dev", 5, 2));

        let list = cache.list().unwrap();
        let seen: Vec<_> =
            list.iter().map(|e| (e.split.as_str(), e.known, e.examples, e.in_use)).collect();
        let expected = [("dev", 0, 5, true), ("test", 1, 4, false), ("train", 3, 3, false)];
        assert_eq!(seen, expected);
        assert!(list.iter().all(|e| e.model_name.as_deref() == Some("out/bert")));
        assert!(list.iter().all(|e| e.labels == 2 && e.damage.is_none() && e.modified.is_some()));
        assert_eq!(writing.path(), Some(list[0].path.as_path()));
    }

    #[test]
    fn a_damaged_entry_is_listed_as_such() {
        let (_root, cache) = testing::cache();
        let spec = testing::spec("test", 4, 2);
        testing::store(&cache, &spec, &[3]);
        let path = cache.list().unwrap().remove(0).path;
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(0);
        std::fs::write(&path, &bytes).unwrap();
        let list = cache.list().unwrap();
        assert!(list[0].damage.as_ref().unwrap().ends_with("is cut short"), "{list:?}");
        assert_eq!(list[0].known, 1);

        std::fs::write(&path, "else").unwrap();
        let list = cache.list().unwrap();
        assert_eq!(list[0].damage.as_deref(), Some("it is not a file of this cache"));
    }
}
