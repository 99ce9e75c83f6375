//! Writes a checkpoint to a folder in the layout of transformers' `save_pretrained`.
//!
//! ```text
//! tensors ──► model.safetensors ─┐
//! tokenizer's files, copied ─────┼─► all under temporary names ──► renamed, config.json last
//! config, extra files ───────────┘
//! ```
//!
//! A folder without config.json is not a checkpoint, so an unfinished one is never used.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{bail, ensure, Context, Result};
use candle_core::{Device, Tensor};
use safetensors::tensor::{Dtype, View};
use serde_json::{json, Map, Value};

use crate::error::usage;
use crate::input::SmallFile;
use crate::temporary::{cannot_write, flush_folder, prove_writable, rename_all, AtomicFile, PROBE};

/// Safetensors headers are padded to a multiple of this many bytes.
const HEADER_ALIGNMENT: usize = 8;
const WEIGHTS: &str = "model.safetensors";
const CONFIG: &str = "config.json";
/// By this key of config.json transformers loads weights as quantised.
const QUANTISATION: &str = "quantization_config";

/// The contents of a checkpoint to write.
pub struct NewCheckpoint<'a> {
    /// config.json. A `quantization_config` is not written: the weights are floats.
    pub config: Map<String, Value>,
    /// The weights by their Hugging Face names, each written in its dtype.
    pub tensors: BTreeMap<String, Tensor>,
    /// The tokenizer's files, copied under their own names.
    pub tokenizer_files: Vec<SmallFile>,
    /// Other files by name, such as `distillation.json`.
    pub extra_files: Vec<(&'a str, Vec<u8>)>,
}

impl NewCheckpoint<'_> {
    /// Writes the checkpoint into `folder`, which is made where it is missing. The same checkpoint
    /// gives the same bytes.
    ///
    /// Every file is complete and on the disk under a temporary name before the first is renamed;
    /// config.json is renamed last.
    ///
    /// # Errors
    /// A folder or a file that cannot be written, a tokenizer's file that cannot be read, two files
    /// of one name. The message names the file, and nothing half written stays.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let missing = missing_folders(folder);
        let written = fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))
            .and_then(|()| self.write_files(folder));
        if written.is_err() {
            // Only created folders, the innermost first; one that holds a file stays.
            missing.iter().take_while(|made| fs::remove_dir(made).is_ok()).for_each(drop);
        }
        written
    }

    fn write_files(&self, folder: &Path) -> Result<()> {
        let mut files: Vec<AtomicFile> = Vec::new();
        let mut add = |name: &str, fill: &dyn Fn(&mut dyn Write) -> Result<()>| {
            let path = folder.join(name);
            ensure!(
                files.iter().all(|file| file.path() != path),
                "{}: the checkpoint holds two files of that name",
                cannot_write(&path)
            );
            files.push(AtomicFile::written(&path, |file| fill(file))?);
            Ok(())
        };
        add(WEIGHTS, &|file| write_tensors(&self.tensors, file))?;
        for copied in &self.tokenizer_files {
            let name = copied.path().file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("`{}` is not a file", copied.input.name()))?;
            add(name, &|file| Ok(file.write_all(&copied.bytes)?))?;
        }
        for (name, bytes) in &self.extra_files {
            add(name, &|file| Ok(file.write_all(bytes)?))?;
        }
        let mut config = self.config.clone();
        config.shift_remove(QUANTISATION);
        add(CONFIG, &|file| {
            serde_json::to_writer_pretty(&mut *file, &config)?;
            Ok(writeln!(file)?)
        })?;
        let mut renamed = Vec::new();
        rename_all(files, &mut renamed)
            .inspect_err(|_| renamed.iter().for_each(|path| drop(fs::remove_file(path))))?;
        // A folder that cannot be flushed holds a whole checkpoint, which stays.
        flush_folder(folder)
    }
}

/// The folders that `create_dir_all` has to make, the innermost first.
fn missing_folders(folder: &Path) -> Vec<&Path> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    folder.ancestors().take_while(is_missing).collect()
}

/// Safetensors: the header's length, the header, the tensors by falling alignment and then by name,
/// as the safetensors library orders them.
fn write_tensors(tensors: &BTreeMap<String, Tensor>, out: &mut dyn Write) -> Result<()> {
    let mut tensors: Vec<(&str, Dtype, &Tensor)> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), Dtype::from(tensor.dtype()), tensor))
        .collect();
    tensors.sort_by(|(name, dtype, _), (other, others, _)| others.cmp(dtype).then(name.cmp(other)));
    let mut header = Map::new();
    // transformers refuses a file that does not name its framework.
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for &(name, dtype, tensor) in &tensors {
        let end = start + tensor.data_len();
        let info = json!({"dtype": dtype, "shape": tensor.dims(), "data_offsets": [start, end]});
        header.insert(name.to_owned(), info);
        start = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, _, tensor) in tensors {
        let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
        out.write_all(&View::data(&tensor))?;
    }
    Ok(())
}

/// Proves, before a long run, that a checkpoint can be written into `folder`: it is empty or not yet
/// there, and files can be made in it or where it is to stand. Leaves nothing behind. `flag` is what
/// named it, such as `--output`.
///
/// # Errors
/// A usage error where the folder holds anything, is a file, or cannot be written.
pub fn require_new_folder(folder: &Path, flag: &str) -> Result<()> {
    let name = folder.display();
    if folder.exists() && !folder.is_dir() {
        bail!(usage!("cannot write a checkpoint to `{name}`: it is a file")
            .hint(format!("name a new folder with {flag}")));
    }
    let refused = |error: std::io::Error| {
        usage!("cannot write a checkpoint into `{name}`: {error}")
            .hint(format!("name a folder with {flag} that you may write in"))
            .into()
    };
    // Another process may be proving the same.
    let is_probe = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(PROBE);
    let mut entries = folder.is_dir().then(|| fs::read_dir(folder).map_err(refused)).transpose()?;
    if entries.iter_mut().flatten().any(|entry| !entry.is_ok_and(is_probe)) {
        bail!(usage!("cannot write a checkpoint into `{name}`: it is not empty")
            .hint(format!("name a new folder with {flag}, or empty this one")));
    }
    let there = folder.ancestors().find(|path| path.as_os_str().is_empty() || path.exists());
    let there = there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prove_writable(there).map_err(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Casing, Checkpoint, Weights};
    use crate::error::{is_usage, rendered};
    use crate::hub::{Connection, Hub, HubSettings};
    use crate::input::InputFile;
    use crate::temporary::names_in;
    use candle_core::DType;
    use std::path::PathBuf;

    fn fixture() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/architectures/bert")
    }

    fn open(folder: &Path) -> Checkpoint {
        Checkpoint::open(folder.to_str().unwrap(), Casing::Auto, &hub()).unwrap()
    }

    fn hub() -> Hub {
        let settings = HubSettings::new(std::env::temp_dir());
        Hub::new(HubSettings { connection: Connection::Offline, ..settings })
    }

    /// The fixture's checkpoint with an extra file.
    fn copied() -> NewCheckpoint<'static> {
        let mut checkpoint = open(&fixture());
        NewCheckpoint {
            config: checkpoint.config.keys().clone(),
            tensors: checkpoint.network.weights_mut().unwrap().stored().unwrap(),
            tokenizer_files: checkpoint.tokenizer_files(&hub()).unwrap(),
            extra_files: vec![("distillation.json", b"{}".to_vec())],
        }
    }

    fn bytes(tensor: &Tensor) -> Vec<u8> {
        View::data(tensor).into_owned()
    }

    #[test]
    fn a_written_checkpoint_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new/student");
        copied().write(&folder).unwrap();
        let mut expected = names_in(&fixture());
        expected.retain(|name| name != "reference.json");
        expected.push("distillation.json".to_owned());
        expected.sort();
        assert_eq!(names_in(&folder), expected);
        let (mut old, mut new) = (open(&fixture()), open(&folder));
        assert_eq!(new.tokenizer_sha256, old.tokenizer_sha256);
        assert_eq!(new.config.keys(), old.config.keys());
        assert_eq!(new.record.as_ref().unwrap().path(), folder.join("distillation.json"));
        let (old, new) = (
            old.network.weights_mut().unwrap().stored().unwrap(),
            new.network.weights_mut().unwrap().stored().unwrap(),
        );
        assert!(old.keys().eq(new.keys()));
        for (name, tensor) in &old {
            let written = &new[name];
            assert_eq!((written.dtype(), written.dims()), (tensor.dtype(), tensor.dims()));
            assert_eq!(bytes(written), bytes(tensor), "{name}");
        }
    }

    #[test]
    fn float_weights_are_not_written_as_quantised() {
        let root = tempfile::tempdir().unwrap();
        let mut new = copied();
        new.config.insert(QUANTISATION.to_owned(), json!({"quant_method": "gptq"}));
        new.write(&root.path().join("a")).unwrap();
        assert_eq!(open(&root.path().join("a")).config.keys(), open(&fixture()).config.keys());
    }

    #[test]
    fn types_stay_and_the_same_checkpoint_gives_the_same_bytes() {
        let root = tempfile::tempdir().unwrap();
        let base = Tensor::new(&[[1f32, 2.5], [3.0, -4.0]], &Device::Cpu).unwrap();
        let tensors = [
            ("f32", base.clone()),
            ("f16", base.to_dtype(DType::F16).unwrap()),
            ("bf16", base.to_dtype(DType::BF16).unwrap()),
            ("i64", base.to_dtype(DType::I64).unwrap()),
            ("turned", base.t().unwrap()),
        ];
        let new = NewCheckpoint {
            config: Map::new(),
            tensors: tensors.clone().map(|(name, tensor)| (name.to_owned(), tensor)).into(),
            tokenizer_files: Vec::new(),
            extra_files: Vec::new(),
        };
        let [first, second] = ["a", "b"].map(|name| {
            new.write(&root.path().join(name)).unwrap();
            fs::read(root.path().join(name).join(WEIGHTS)).unwrap()
        });
        assert_eq!(first, second);
        let file = safetensors::SafeTensors::deserialize(&first).unwrap();
        for (name, tensor) in tensors {
            let view = file.tensor(name).unwrap();
            let tensor = tensor.contiguous().unwrap();
            assert_eq!(view.dtype(), Dtype::from(tensor.dtype()));
            assert_eq!((view.shape(), view.data()), (tensor.dims(), &*View::data(&tensor)));
        }
        let (_, header) = safetensors::SafeTensors::read_metadata(&first).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        let file = InputFile::open(&root.path().join("a").join(WEIGHTS)).unwrap();
        let mut weights = Weights::open("a", &[file]).unwrap();
        assert_eq!(weights.stored().unwrap().len(), 5);
    }

    #[test]
    fn a_failed_write_names_the_file_and_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("new/student");
        let mut new = copied();
        new.extra_files.push(("gone/gone.txt", Vec::new()));
        let error = format!("{:#}", new.write(&folder).unwrap_err());
        assert!(error.contains("gone.txt`"), "{error}");
        assert!(names_in(root.path()).is_empty());
        // A folder in place of a file: none of the other files stays.
        fs::create_dir_all(folder.join(CONFIG)).unwrap();
        let error = format!("{:#}", copied().write(&folder).unwrap_err());
        assert!(error.contains("config.json`"), "{error}");
        assert_eq!(names_in(&folder), [CONFIG]);
    }

    #[test]
    fn two_files_of_one_name_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let mut new = copied();
        new.extra_files.push((WEIGHTS, Vec::new()));
        let error = format!("{:#}", new.write(root.path()).unwrap_err());
        assert!(error.contains("two files"), "{error}");
        assert!(names_in(root.path()).is_empty());
    }

    #[test]
    fn an_unusable_folder_is_found_beforehand() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for (path, words) in [
            (file.clone(), "it is a file"),
            (file.join("below"), "cannot write a checkpoint into"),
            (root.path().to_owned(), "it is not empty"),
        ] {
            let error = require_new_folder(&path, "--output").unwrap_err();
            let message = rendered(&error);
            assert!(is_usage(&error), "{message}");
            assert!(message.contains(words) && message.contains("--output"), "{message}");
            assert!(message.contains(&format!("`{}`", path.display())), "{message}");
        }
        let empty = root.path().join("empty");
        fs::create_dir(&empty).unwrap();
        require_new_folder(&empty, "--output").unwrap();
        require_new_folder(&root.path().join("new/student"), "--output").unwrap();
        assert_eq!(names_in(root.path()), ["empty", "file"]);
        assert!(names_in(&empty).is_empty());
    }

    #[test]
    fn the_proof_of_another_process_is_nothing_that_a_folder_holds() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{PROBE}1.tmp")), "?").unwrap();
        require_new_folder(folder.path(), "--output").unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let error = require_new_folder(folder.path(), "--output").unwrap_err();
        assert!(error.to_string().contains("it is not empty"), "{error}");
    }
}
