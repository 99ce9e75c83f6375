//! Pickles that are something else than a state dict, and what is said about them.

use super::*;
use crate::error::rendered;

/// The archive of `pickle` is refused with every one of `words`, the hint included.
#[track_caller]
fn told(bytes: Vec<u8>, words: &[&str]) {
    let error = rendered(&read(bytes).map(|file| file.names().join(" ")).unwrap_err());
    for word in words {
        assert!(error.contains(word), "no `{word}` in: {error}");
    }
}

#[track_caller]
fn pickle_told(pickle: &[u8], words: &[&str]) {
    told(Zip::of(pickle, &numbers(4)).end(), words);
}

fn tensors(names: &[&str]) -> Vec<u8> {
    let all: Vec<_> = names.iter().map(|name| (*name, whole(4).value())).collect();
    [ORDERED_DICT.as_bytes(), &entries(&all)].concat()
}

fn dict(parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    pickle(&[&b"}"[..], &entries(parts)].concat())
}

#[test]
fn a_training_checkpoint_names_the_key_of_its_weights() {
    let parts = [("epoch", int(3)), ("state_dict", tensors(&["w"])), ("note", text("a"))];
    let words = [
        "training checkpoint with `epoch`, `state_dict`, `note`",
        "its weights are under `state_dict`",
        "torch.load(FILE, map_location=\"cpu\")[\"state_dict\"]",
    ];
    pickle_told(&dict(&parts), &words);
    // Any key, if there is a dict of tensors.
    pickle_told(&dict(&[("net", tensors(&["w", "b"]))]), &["its weights are under `net`"]);
    let two = [("model", tensors(&["w"])), ("ema", tensors(&["w"]))];
    pickle_told(&dict(&two), &["dicts of tensors under `model`, `ema`", "[KEY]"]);
    let optimizer = [("optimizer", [&b"}"[..], &entries(&[("state", b"}".to_vec())])].concat())];
    pickle_told(&dict(&optimizer), &["with `optimizer`, and no dict of tensors"]);
    let many: Vec<(String, Vec<u8>)> =
        (0..9).map(|i| (format!("k{i}"), int(i))).chain([("epoch".to_owned(), int(1))]).collect();
    let many: Vec<_> = many.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
    pickle_told(&dict(&many), &["`k5`, …"]);
}

#[test]
fn a_state_dict_with_a_name_of_training_is_still_a_state_dict() {
    let state = state(&[("model", whole(4).value()), ("epoch", whole(4).value())]);
    assert_eq!(read(Zip::of(&state, &numbers(4)).end()).unwrap().names(), ["epoch", "model"]);
    // A value that is not a tensor, under another name, is named as before.
    pickle_told(&dict(&[("w", whole(4).value()), ("b", int(1))]), &["the tensor `b`", "a number"]);
}

#[test]
fn whole_models_and_parts_of_trainings_are_told_by_their_classes() {
    for (global, what, hint) in [
        (
            "ctransformers.models.bert.modeling_bert\nBertForSequenceClassification\n",
            "modeling_bert.BertForSequenceClassification`, which does not build a tensor: it is a \
             whole model; nothing was run",
            "save_pretrained",
        ),
        ("ctorch.nn.modules.linear\nLinear\n", "it is a whole model", "weights_only=False"),
        ("c__main__\nNet\n", "an object of the script that wrote it", "if you trust it"),
        ("ctransformers.training_args\nTrainingArguments\n", "a training checkpoint", "trust"),
        ("cpytorch_lightning.utilities\nAttributeDict\n", "of Lightning", "trust"),
        ("ctorch._utils\n_rebuild_qtensor\n", "quantised tensors", "audit check"),
        ("ctorch.ao.nn.quantized\nLinear\n", "a quantised model", "audit check"),
        // Python 3 names these so too: pickle.dumps({1}, 2).
        ("ccopy_reg\n_reconstructor\n", "it holds other objects of Python", "if you trust it"),
        ("c__builtin__\nset\n", "it holds other objects of Python", "if you trust it"),
        ("cnumpyro\nx\n", "which does not build a tensor; nothing was run", "safetensors"),
    ] {
        pickle_told(&pickle(global.as_bytes()), &[what, hint, "nothing was run"]);
    }
}

#[test]
fn texts_of_python_2_are_told_by_their_opcodes() {
    for (opcodes, name) in [
        (&b"S'a'\n"[..], "STRING 0x53 at byte 2"),
        (b"T\x01\0\0\0a", "BINSTRING 0x54 at byte 2"),
        (b"U\x01a", "SHORT_BINSTRING 0x55 at byte 2"),
    ] {
        pickle_told(&pickle(opcodes), &[name, "Python 2", "nothing was run", "latin1"]);
    }
}

#[test]
fn programs_of_torch_script_are_told_from_weights() {
    let state = state(&[("w", whole(4).value())]);
    let script = Zip::of(&state, &numbers(4)).with("a/constants.pkl", b"").end();
    told(script, &["a TorchScript program, not weights", "save_pretrained", "audit check"]);
    // torch compresses the code of a program.
    let deflated = {
        let zip = Zip::of(&state, &numbers(4));
        let at = zip.bytes.len() as u32;
        let mut zip =
            zip.local("a/code/__torch__.py", b"x", 8).listed("a/code/__torch__.py", b"x", at, &[]);
        let method = zip.list.len() - "a/code/__torch__.py".len() - 46 + 10;
        zip.list[method] = 8;
        zip.end()
    };
    told(deflated, &["a TorchScript program, not weights"]);
}

#[test]
fn other_files_under_a_pickle_s_name_are_told_by_their_first_bytes() {
    let padded = |start: &[u8]| [start, &[0; 600]].concat();
    for (bytes, what) in [
        (padded(b"\x40\0\0\0\0\0\0\0{\"a\""), "looks like a safetensors file"),
        (padded(b"\x1f\x8b\x08\0"), "gunzip"),
        (padded(b"\x89HDF\r\n\x1a\n"), "HDF5"),
        (padded(b"\x80\x04\x95\0\0"), "Python's own pickle module"),
        (padded(b"\0\0\0\0\0\0\0\0"), "neither a zip archive nor a file of torch.save"),
    ] {
        told(bytes, &["cannot read the weights in `pytorch_model.bin`", what, "hint: "]);
    }
}
