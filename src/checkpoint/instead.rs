//! What a folder without weights for this program holds instead, and what to do with it.

use std::fs;
use std::path::Path;

use super::CheckpointFiles;

/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// What to do with a model of another runtime.
const OTHER_RUNTIME: &str =
    "save the PyTorch model that it was made from with `save_pretrained(FOLDER, \
     safe_serialization=True)`, or predict with its own runtime and gate the predictions with \
     `audit check`";
const RENAME: &str = "if it holds the weights to audit, save them again with save_pretrained, as \
                      model.safetensors";

/// Ends of file names, what the file is, and what to do with it.
const FORMATS: [(&str, &str, &str); 14] = [
    (
        ".onnx",
        "an ONNX model",
        "name the file itself, with config.json and the tokenizer next to it",
    ),
    (".gguf", "a GGUF model", OTHER_RUNTIME),
    ("openvino_model.xml", "an OpenVINO model", OTHER_RUNTIME),
    (".mlmodel", "a Core ML model", OTHER_RUNTIME),
    (".tflite", "a TensorFlow Lite model", OTHER_RUNTIME),
    (
        ".h5",
        "TensorFlow weights",
        "save them as PyTorch's: `AutoModelForSequenceClassification.from_pretrained(FOLDER, \
         from_tf=True).save_pretrained(NEW)`, with transformers 4",
    ),
    (
        ".msgpack",
        "Flax weights",
        "save them as PyTorch's: `AutoModelForSequenceClassification.from_pretrained(FOLDER, \
         from_flax=True).save_pretrained(NEW)`, with transformers 4",
    ),
    (
        ".ckpt.index",
        "a TensorFlow checkpoint",
        "convert it with transformers' convert_bert_original_tf_checkpoint_to_pytorch.py",
    ),
    ("saved_model.pb", "a TensorFlow model", OTHER_RUNTIME),
    (
        ".distcp",
        "a sharded checkpoint of FSDP",
        "merge its shards with `accelerate merge-weights FOLDER NEW`",
    ),
    (
        ".ckpt",
        "a training checkpoint",
        "load it in the code that trained it, and save the inner model with its save_pretrained",
    ),
    (".safetensors", "tensors under a name that transformers does not look for", RENAME),
    (".bin", "a pickle under a name that transformers does not look for", RENAME),
    (".pt", "a pickle under a name that transformers does not look for", RENAME),
];

/// Files of a training that hold no weights, and a part of OpenVINO's model.
const NOT_WEIGHTS: [&str; 6] =
    ["training_args.bin", "optimizer", "scheduler", "scaler", "rng_state", "openvino"];

/// What a file without tensors may be, by its first bytes.
pub(super) fn instead_of_weights(bytes: &[u8]) -> Option<&'static str> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(200))?).ok()?;
    if text.starts_with("version https://git-lfs") {
        Some("it is a Git LFS pointer: run `git lfs pull` in the checkpoint's repository")
    } else if text.trim_start().starts_with('<') {
        Some("it is an HTML page: the download went wrong")
    } else if bytes.len() < 200 && text.contains('/') && !text.contains('{') {
        Some("it is a symbolic link that was copied as text: copy the file that it names")
    } else {
        None
    }
}

/// What `place` holds instead of weights, worded after "it holds", and what to do with it.
pub(super) fn found(place: &CheckpointFiles) -> Option<(String, String)> {
    let mut names = match place {
        CheckpointFiles::Folder(folder) => names_below(folder),
        CheckpointFiles::Hub(hub, repo) => hub.list(repo).ok()?,
    };
    names.sort_unstable();
    if let Some(newest) = newest_checkpoint(&names) {
        let hint = match place {
            CheckpointFiles::Folder(folder) => format!(
                "name the folder of the checkpoint to audit, such as `{}`",
                folder.join(newest).display()
            ),
            CheckpointFiles::Hub(_, repo) => format!(
                "download the checkpoint to audit, and name its folder: `hf download {} --include \
                 \"{newest}/*\" --local-dir FOLDER`",
                repo.id
            ),
        };
        return Some((format!("`{newest}`, a checkpoint of a training"), hint));
    }
    if let Some(shard) = names.iter().find(|name| is_shard(name)) {
        let hint = "copy the index too, model.safetensors.index.json: it names the shards";
        return Some((
            format!("the shard `{shard}` without the index of all shards"),
            hint.to_owned(),
        ));
    }
    if names.iter().any(|name| name == "zero_to_fp32.py" || name.starts_with("global_step")) {
        let hint = "write its weights with the script that lies beside them: `python \
                    zero_to_fp32.py . NEW --safe_serialization`";
        return Some(("a sharded checkpoint of DeepSpeed".to_owned(), hint.to_owned()));
    }
    FORMATS.iter().find_map(|(end, what, hint)| {
        let is_it = |name: &&String| {
            let file = name.rsplit('/').next().unwrap_or(name);
            file.ends_with(end)
                && !NOT_WEIGHTS
                    .iter()
                    .any(|other| file.starts_with(other) && file != "openvino_model.xml")
        };
        let name = names.iter().find(is_it)?;
        Some((format!("`{name}`, {what}"), (*hint).to_owned()))
    })
}

/// Whether a file is one of several with weights, such as `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let numbers = name.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
    numbers.and_then(|of| of.split_once("-of-")).is_some_and(|(i, n)| digits(i) && digits(n))
}

/// The folder `checkpoint-N` of the largest N with weights.
fn newest_checkpoint(names: &[String]) -> Option<&str> {
    let steps = names.iter().filter_map(|name| {
        let (folder, file) = name.split_once('/')?;
        let step: u64 = folder.strip_prefix("checkpoint-")?.parse().ok()?;
        let holds = [".safetensors", ".safetensors.index.json", ".bin", ".bin.index.json"];
        let weights = ["model", "pytorch_model", "adapter_model"];
        let is_weights = weights.iter().any(|start| file.starts_with(start));
        (is_weights && holds.iter().any(|end| file.ends_with(end))).then_some((step, folder))
    });
    steps.max().map(|(_, folder)| folder)
}

/// The names of the files in a folder.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().take(MOST_ENTRIES).flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The files of a folder and of the folders in it, as paths relative to it.
fn names_below(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().take(MOST_ENTRIES).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.path().is_dir() {
            names.push(name);
            continue;
        }
        let inside = fs::read_dir(entry.path()).into_iter().flatten().take(MOST_ENTRIES).flatten();
        names.extend(
            inside
                .take(MOST_ENTRIES.saturating_sub(names.len()))
                .map(|file| format!("{name}/{}", file.file_name().to_string_lossy())),
        );
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_of(files: &[&str]) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"x").unwrap();
        }
        found(&CheckpointFiles::Folder(folder.path().to_owned()))
    }

    #[test]
    fn models_of_other_runtimes_and_unfinished_checkpoints_are_told_apart() {
        let cases: [(&[&str], &str, &str); 12] = [
            (&["model.onnx"], "`model.onnx`, an ONNX model", "name the file itself"),
            (&["int8/m.onnx"], "`int8/m.onnx`, an ONNX model", "next to it"),
            (&["m-q4.gguf"], "a GGUF model", "audit check"),
            (&["openvino_model.bin", "openvino_model.xml"], "an OpenVINO model", "audit check"),
            (&["a.mlmodel"], "a Core ML model", "audit check"),
            (&["a.tflite"], "a TensorFlow Lite model", "audit check"),
            (&["tf_model.h5"], "TensorFlow weights", "from_tf=True"),
            (&["flax_model.msgpack"], "Flax weights", "from_flax=True"),
            (&["bert.ckpt.index", "bert.ckpt.meta"], "a TensorFlow checkpoint", "convert"),
            (&["global_step9/a.pt", "zero_to_fp32.py"], "DeepSpeed", "zero_to_fp32.py"),
            (&["pytorch_model_fsdp_0/__0_0.distcp"], "FSDP", "merge-weights"),
            (&["last.ckpt"], "a training checkpoint", "save_pretrained"),
        ];
        for (files, what, hint) in cases {
            let (found, said) = found_of(files).expect(what);
            assert!(found.contains(what) && said.contains(hint), "{found}; {said}");
        }
    }

    #[test]
    fn the_newest_checkpoint_of_a_training_is_named() {
        let files = [
            "checkpoint-500/model.safetensors",
            "checkpoint-1000/model.safetensors",
            "checkpoint-2000/optimizer.pt",
            "model.onnx",
        ];
        let (found, hint) = found_of(&files).unwrap();
        assert!(found.contains("`checkpoint-1000`"), "{found}");
        assert!(hint.ends_with("/checkpoint-1000`"), "{hint}");
    }

    #[test]
    fn shards_without_their_index_are_told() {
        let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let (found, hint) = found_of(&files).unwrap();
        assert!(found.starts_with("the shard `model-00001-of-00002.safetensors`"), "{found}");
        assert!(hint.contains("model.safetensors.index.json"), "{hint}");
        let (found, _) = found_of(&["model-x-of-2.safetensors"]).unwrap();
        assert!(found.contains("does not look for"), "{found}");
    }

    #[test]
    fn files_of_a_training_are_not_taken_for_weights() {
        let files =
            ["training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "vocab.txt"];
        assert_eq!(found_of(&files), None);
        assert!(found_of(&["model.fp16.safetensors"]).unwrap().1.contains("model.safetensors"));
    }
}
