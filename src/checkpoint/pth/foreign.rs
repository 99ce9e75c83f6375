//! Pickles that are not state dicts: what they are, and how to save the state dict.

use super::pickle::{Pickle, PickledValue, ValueId};
use crate::checkpoint::quantised::DEQUANTISE;
use crate::error::{failure, Diagnostic};

/// How to save the weights of a pickle whose classes are needed to read it.
const SAVE_MODEL: &str = "if you trust it, load it in Python where its classes are installed, and save \
                          the weights alone: `torch.load(FILE, weights_only=False).save_pretrained(FOLDER)`";
const SAVE_FROM_TRAINING: &str =
    "if you trust it, load it in the code that wrote it, and save the model alone with its \
     save_pretrained";
const SAVE_IN_PYTHON_3: &str = "if you trust it, save it again with Python 3: \
                                `torch.save(torch.load(FILE, map_location=\"cpu\", encoding=\"latin1\"), \
                                NEW)`";
const SAVE_SCRIPTED: &str = "it is for inference; save the model that it was made from with \
                             save_pretrained, or predict with it and gate the predictions with `audit \
                             check`";

/// Modules of globals (their first part, or more of them), what names them, and what to do.
const MODULES: [(&str, &str, &str); 19] = [
    // So does Python 3 name its own modules where it writes for both, as torch.save does.
    ("__builtin__", "it holds other objects of Python", SAVE_FROM_TRAINING),
    ("builtins", "it holds other objects of Python", SAVE_FROM_TRAINING),
    ("copy_reg", "it holds other objects of Python", SAVE_FROM_TRAINING),
    ("torch.ao.nn", "it is a quantised model", DEQUANTISE),
    ("torch.nn.quantized", "it is a quantised model", DEQUANTISE),
    ("torch.nn", "it is a whole model", SAVE_MODEL),
    ("torch.optim", "it is a training checkpoint", SAVE_FROM_TRAINING),
    ("transformers.models", "it is a whole model", SAVE_MODEL),
    ("transformers.modeling_bert", "it is a whole model", SAVE_MODEL),
    ("transformers.modeling_distilbert", "it is a whole model", SAVE_MODEL),
    ("transformers.modeling_roberta", "it is a whole model", SAVE_MODEL),
    ("pytorch_transformers", "it is a whole model", SAVE_MODEL),
    ("pytorch_pretrained_bert", "it is a whole model", SAVE_MODEL),
    ("__main__", "it is an object of the script that wrote it", SAVE_MODEL),
    ("transformers", "it is a training checkpoint", SAVE_FROM_TRAINING),
    ("pytorch_lightning", "it is a training checkpoint of Lightning", SAVE_FROM_TRAINING),
    ("lightning", "it is a training checkpoint of Lightning", SAVE_FROM_TRAINING),
    ("argparse", "it is a training checkpoint", SAVE_FROM_TRAINING),
    ("numpy", "it holds arrays of numpy beside or instead of tensors", SAVE_FROM_TRAINING),
];

/// Keys at the top of training checkpoints.
const TRAINING_KEYS: [&str; 14] = [
    "state_dict",
    "model_state_dict",
    "model",
    "module",
    "optimizer",
    "optimizer_state_dict",
    "optimizer_states",
    "lr_schedulers",
    "lr_scheduler",
    "epoch",
    "global_step",
    "step",
    "param_groups",
    "pytorch-lightning_version",
];
/// Most keys that a message lists, and most that are looked at.
const LISTED_KEYS: usize = 6;
const MOST_KEYS: usize = 64;

/// The error of a global that builds no tensor.
pub(super) fn global(module: &str, name: &str) -> Diagnostic {
    let inside = |part: &str| {
        module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let is_quantised = module == "torch._utils" && name == "_rebuild_qtensor";
    let known = match is_quantised {
        true => Some(("it holds quantised tensors", DEQUANTISE)),
        false => MODULES.iter().find(|row| inside(row.0)).map(|row| (row.1, row.2)),
    };
    match known {
        Some((what, hint)) => failure!(
            "the pickle names `{module}.{name}`, which does not build a tensor: {what}; nothing was run"
        )
        .hint(hint),
        None => failure!(
            "the pickle names `{module}.{name}`, which does not build a tensor; nothing was run"
        )
        .hint("take weights from someone you trust, saved as safetensors"),
    }
}

/// The error of an opcode that builds no tensor, which messages call `name`, at byte `at`.
pub(super) fn opcode(opcode: u8, name: &str, at: usize) -> Diagnostic {
    match opcode {
        b'S' | b'T' | b'U' => failure!(
            "the pickle has the opcode {name} at byte {at}, a text of Python 2, which wrote it; \
             nothing was run"
        )
        .hint(SAVE_IN_PYTHON_3),
        _ => failure!(
            "the pickle has the opcode {name} at byte {at}, which builds no tensor; nothing was run"
        )
        .hint("save the weights again as safetensors"),
    }
}

/// The error of a TorchScript archive.
pub(super) fn torch_script() -> Diagnostic {
    failure!("the archive is a TorchScript program, not weights").hint(SAVE_SCRIPTED)
}

/// The error of a file that is neither an archive nor in torch's older layout, by its first bytes.
pub(super) fn not_torch(bytes: &[u8]) -> Diagnostic {
    let is_header = |header: &[u8; 8]| {
        u64::from_le_bytes(*header) < bytes.len() as u64 && bytes.get(8) == Some(&b'{')
    };
    let (what, hint) = match bytes {
        _ if bytes.first_chunk().is_some_and(is_header) => (
            "it looks like a safetensors file",
            "name it model.safetensors, or convert the checkpoint again",
        ),
        [0x1f, 0x8b, ..] => ("it is compressed with gzip", "decompress it with gunzip"),
        [0x89, b'H', b'D', b'F', ..] => (
            "it is an HDF5 file, as TensorFlow writes them",
            "name it tf_model.h5 and save it as PyTorch's with `from_tf=True` of transformers 4",
        ),
        [0x80, 2..=5, ..] => (
            "it is a pickle of Python's own pickle module",
            "if you trust it, load it in Python and write its tensors with torch.save",
        ),
        _ => {
            return failure!("it is neither a zip archive nor a file of torch.save")
                .hint("save the checkpoint again, as safetensors")
        }
    };
    failure!("it is neither a zip archive nor a file of torch.save: {what}").hint(hint)
}

/// The error of a dict with other values than tensors, if it is a training checkpoint.
///
/// A state dict inside of it is not read: transformers would find no weight in such a file, and which
/// of several is meant (the model's, an average's) is not for a reader to choose.
pub(super) fn training_checkpoint(
    pickle: &Pickle,
    entries: &[(ValueId, ValueId)],
) -> Option<Diagnostic> {
    let is_tensor = |id: &ValueId| matches!(pickle.get(*id), PickledValue::Call { .. });
    // A state dict has more tensors than a training checkpoint has parts.
    if entries.len() > MOST_KEYS || entries.iter().all(|(_, value)| is_tensor(value)) {
        return None;
    }
    let named: Vec<(&str, ValueId)> = entries
        .iter()
        .filter_map(|(key, value)| Some((pickle.text(*key)?, *value)))
        .filter(|(key, _)| *key != "_metadata")
        .collect();
    let holds_tensors = |id: ValueId| {
        let inside = pickle.entries(id).unwrap_or_default();
        let text = |id: ValueId| pickle.text(id);
        let mut parts = inside.iter().filter(|(key, _)| text(*key) != Some("_metadata")).peekable();
        parts.peek().is_some() && parts.all(|(key, value)| text(*key).is_some() && is_tensor(value))
    };
    let states: Vec<&str> =
        named.iter().filter(|(_, value)| holds_tensors(*value)).map(|(key, _)| *key).collect();
    let is_known = named.iter().any(|(key, _)| TRAINING_KEYS.contains(key));
    if states.is_empty() && !is_known {
        return None;
    }
    let mut keys: Vec<String> =
        named.iter().take(LISTED_KEYS).map(|(key, _)| format!("`{key}`")).collect();
    if named.len() > LISTED_KEYS {
        keys.push("…".to_owned());
    }
    let error = |rest: &str| {
        failure!(
            "the pickle is not a state dict: it is a training checkpoint with {}{rest}",
            keys.join(", ")
        )
    };
    Some(match states[..] {
        [state] => error(&format!(", and its weights are under `{state}`")).hint(format!(
            "save them alone: `torch.save(torch.load(FILE, map_location=\"cpu\")[{state:?}], NEW)`"
        )),
        [] => error(", and no dict of tensors").hint(SAVE_FROM_TRAINING),
        _ => error(&format!(", and dicts of tensors under `{}`", states.join("`, `"))).hint(
            "save the one that is meant alone: `torch.save(torch.load(FILE, \
             map_location=\"cpu\")[KEY], NEW)`",
        ),
    })
}
