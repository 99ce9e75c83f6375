//! Checkpoints as people save them: each is read as transformers reads it, or refused by what it is.

mod common;
#[path = "checkpoints/pickle.rs"]
mod pickle;

use std::fs;

use common::{copy_folder, demo, fixture, glue, names_in, note, says, with, Run, Sandbox, Tensors};
use serde_json::json;

/// RTE's data in `glue`, and a model in `t`.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    glue::write(&sandbox, "glue");
    sandbox.checkpoint("t", "architectures/bert", glue::labels("mnli"));
    two_labels(&sandbox, "t");
    sandbox
}

/// Makes the fixture of three labels one of two.
fn two_labels(sandbox: &Sandbox, name: &str) {
    sandbox.edit_weights(name, |tensors| {
        for part in ["classifier.weight", "classifier.bias"] {
            let (_, shape, bytes) = tensors.get_mut(part).unwrap();
            bytes.truncate(bytes.len() / 3 * 2);
            shape[0] = 2;
        }
    });
    sandbox.edit_config(name, |config| {
        config["id2label"] = json!({"0": "entailment", "1": "not_entailment"});
        config["label2id"] = json!({"entailment": 0, "not_entailment": 1});
    });
}

/// A copy of `t`.
fn copied(sandbox: &Sandbox, name: &str) -> String {
    copy_folder(&sandbox.path("t"), &sandbox.path(name));
    name.to_owned()
}

fn predict(sandbox: &Sandbox, model: &str) -> Run {
    let data = ["--task", "rte", "--data", "glue", "--model", model];
    sandbox.audit(&with(&["predict", "-o", "out.csv"], &data))
}

/// The logits of `model`, as they are written.
fn logits(sandbox: &Sandbox, model: &str) -> (String, String) {
    let run = predict(sandbox, model);
    assert_eq!(run.code, 0, "{}", run.stderr);
    (sandbox.read("out.csv"), run.stderr)
}

/// `audit predict`, `audit` (as either model) and `audit distill` (as the teacher) refuse `model` with
/// `words`.
#[track_caller]
fn refused(sandbox: &Sandbox, model: &str, words: &[&str]) {
    predict(sandbox, model).fails(3, words).prints_no_report();
    let audit = ["--task", "rte", "--data", "glue"];
    sandbox.audit(&with(&audit, &["--teacher", model, "--student", "t"])).fails(3, words);
    sandbox.audit(&with(&audit, &["--teacher", "t", "--student", model])).fails(3, words);
    let recipe =
        "task = \"rte\"\nmethod = \"kd\"\n[student]\ninit = \"teacher-layers\"\nlayers = 1\n";
    sandbox.write("kd.toml", recipe);
    let distill = ["distill", "--config", "kd.toml", "--data", "glue", "--output", "student"];
    sandbox.audit(&with(&distill, &["--teacher", model])).fails(3, words);
    assert!(!sandbox.path("student").exists());
}

fn renamed(tensors: &Tensors, prefix: &str) -> Tensors {
    tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
}

fn tensors_of(sandbox: &Sandbox, name: &str) -> Tensors {
    common::read_tensors(&fs::read(sandbox.path(name).join("model.safetensors")).unwrap())
}

/// Replaces the weights of `name` by a pickle.
fn write_pickle(sandbox: &Sandbox, name: &str, bytes: &[u8]) {
    fs::remove_file(sandbox.path(name).join("model.safetensors")).unwrap();
    sandbox.write(&format!("{name}/pytorch_model.bin"), bytes);
}

#[test]
fn a_wrapper_s_prefix_is_left_out_and_changes_no_bit() {
    let sandbox = sandbox();
    let (plain, said) = logits(&sandbox, "t");
    assert!(!said.contains("prefix-removed"), "{said}");
    let tensors = tensors_of(&sandbox, "t");
    for prefix in ["module.", "_orig_mod.", "_orig_mod.module.", "model.", "base_model.model."] {
        copied(&sandbox, "w");
        sandbox.edit_weights("w", |weights| *weights = renamed(weights, prefix));
        let (wrapped, said) = logits(&sandbox, "w");
        assert!(wrapped == plain, "{prefix}");
        says(&said, &["prefix-removed", &format!("`{prefix}…`"), "hint: "]);
    }
    let inside = renamed(&tensors, "module.");
    write_pickle(&sandbox, "w", &pickle::file(&pickle::state_dict(&inside), &inside));
    assert!(logits(&sandbox, "w").0 == plain);
}

#[test]
fn a_wrapper_s_prefix_is_left_out_of_every_shard() {
    let sandbox = sandbox();
    for name in ["plain", "w"] {
        copy_folder(&fixture("formats/sharded"), &sandbox.path(name));
    }
    for shard in names_in(&sandbox.path("w")).iter().filter(|n| n.ends_with(".safetensors")) {
        let path = sandbox.path("w").join(shard);
        let tensors = common::read_tensors(&fs::read(&path).unwrap());
        fs::write(&path, common::write_tensors(&renamed(&tensors, "module."))).unwrap();
    }
    let rows = |model: &str| {
        let data = ["--task", "sst2", "--data", "glue", "--model", model, "--cased"];
        let run = sandbox.audit(&with(&["predict", "-o", "out.csv"], &data));
        assert_eq!(run.code, 0, "{}", run.stderr);
        (sandbox.read("out.csv"), run.stderr)
    };
    let (plain, (wrapped, said)) = (rows("plain"), rows("w"));
    assert!(plain.0 == wrapped);
    says(&said, &["prefix-removed", "`module.…`"]);
}

#[test]
fn a_report_warns_of_the_prefix_and_the_recalibrated_checkpoint_has_plain_names() {
    let sandbox = Sandbox::new();
    copy_folder(demo("student-overconfident").as_ref(), &sandbox.path("s"));
    sandbox.edit_weights("s", |weights| *weights = renamed(weights, "module."));
    let row = sandbox.row(&common::demo_audit("student-overconfident"));
    let arguments: Vec<String> = common::demo_audit("student-overconfident")
        .into_iter()
        .map(|word| if word.ends_with("student-overconfident") { "s".to_owned() } else { word })
        .collect();
    let wrapped = sandbox.row(&arguments);
    assert_eq!(wrapped["sigma"], row["sigma"]);
    let found = note(&wrapped, "prefix-removed");
    assert_eq!(found["level"], "warning");
    says(found["message"].as_str().unwrap(), &["student", "`module.…`"]);
    let run = sandbox.audit(&with(&["recalibrate", "--output", "out"], &arguments));
    assert!([0, 1].contains(&run.code), "{}", run.stderr);
    let names = tensors_of(&sandbox, "out");
    assert!(names.keys().all(|name| !name.starts_with("module.")));
    assert_eq!(names.len(), tensors_of(&sandbox, "s").len());
}

#[test]
fn names_that_only_some_tensors_have_from_a_wrapper_are_told() {
    let sandbox = sandbox();
    copied(&sandbox, "w");
    sandbox.edit_weights("w", |weights| *weights = renamed(weights, "net."));
    refused(
        &sandbox,
        "w",
        &["is missing", "`net.bert.embeddings.word_embeddings.weight`", "inside"],
    );
    copied(&sandbox, "w");
    sandbox.edit_weights("w", |weights| weights.extend(renamed(&weights.clone(), "module.")));
    let words = ["two copies of one weight", "`bert.", "`module.bert."];
    refused(&sandbox, "w", &words);
    copied(&sandbox, "w");
    sandbox.edit_weights("w", |weights| {
        let lora = weights["classifier.weight"].clone();
        weights
            .insert("bert.encoder.layer.0.attention.self.query.lora_A.default.weight".into(), lora);
    });
    refused(&sandbox, "w", &["not merged", "lora_A", "merge_and_unload"]);
}

#[test]
fn an_adapter_is_refused_alone_and_beside_weights() {
    let sandbox = sandbox();
    let adapter = json!({"peft_type": "LORA", "base_model_name_or_path": "org/base", "r": 8});
    copied(&sandbox, "both");
    sandbox.write("both/adapter_config.json", adapter.to_string());
    sandbox.write("both/adapter_model.safetensors", b"");
    let words = [
        "`both` holds weights (`model.safetensors`) and a LoRA adapter of `org/base`",
        "peft",
        "merge_and_unload()",
        "remove adapter_config.json",
    ];
    refused(&sandbox, "both", &words);
    sandbox.write("alone/adapter_config.json", adapter.to_string());
    sandbox.write("alone/adapter_model.safetensors", b"");
    refused(
        &sandbox,
        "alone",
        &["`alone` is a LoRA adapter of `org/base`, not a whole model", "merge"],
    );
    let prompts = json!({"peft_type": "PROMPT_TUNING", "base_model_name_or_path": null});
    sandbox.write("alone/adapter_config.json", prompts.to_string());
    refused(&sandbox, "alone", &["an adapter of the kind PROMPT_TUNING, not", "audit check"]);
}

#[test]
fn a_config_that_says_two_things_is_refused_with_both() {
    let sandbox = sandbox();
    copied(&sandbox, "c");
    sandbox.edit_config("c", |config| {
        config["label2id"] = json!({"entailment": 1, "not_entailment": 0});
    });
    let words =
        ["c/config.json`, key `label2id`", "has the id", "`id2label` names", "order of the labels"];
    refused(&sandbox, "c", &words);
    // `num_labels` counts only without names, as in transformers.
    copied(&sandbox, "c");
    sandbox.edit_config("c", |config| config["num_labels"] = json!(3));
    assert_eq!(logits(&sandbox, "c").0, logits(&sandbox, "t").0);
    sandbox.edit_config("c", |config| {
        let keys = config.as_object_mut().unwrap();
        keys.remove("id2label");
        keys.remove("label2id");
    });
    refused(&sandbox, "c", &["key `num_labels`", "it is 3, and the model has 2 labels"]);
}

#[test]
fn labels_in_other_spellings_give_the_same_bits() {
    let sandbox = sandbox();
    let plain = logits(&sandbox, "t").0;
    copied(&sandbox, "c");
    for label2id in
        [json!({"ENTAILMENT": 0, "Not-Entailment": 1}), json!({"LABEL_0": 0, "LABEL_1": 1})]
    {
        sandbox.edit_config("c", |config| config["label2id"] = label2id);
        assert!(logits(&sandbox, "c").0 == plain);
    }
    // Only label2id has names, in the order that the weights have them.
    sandbox.edit_config("c", |config| {
        config["id2label"] = json!({"0": "LABEL_0", "1": "LABEL_1"});
        config["label2id"] = json!({"not_entailment": 0, "entailment": 1});
    });
    sandbox.edit_weights("c", |tensors| {
        common::reorder_rows(tensors, "classifier.weight", &[1, 0]);
        common::reorder_rows(tensors, "classifier.bias", &[1, 0]);
    });
    assert!(logits(&sandbox, "c").0 == plain);
}

#[test]
fn a_key_with_two_values_names_its_file_and_line() {
    let sandbox = sandbox();
    let put = |file: &str, from: &str, to: &str| {
        copied(&sandbox, "d");
        let text = fs::read_to_string(sandbox.path("d").join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        sandbox.write(&format!("d/{file}"), text.replacen(from, to, 1));
    };
    put("config.json", "{", "{\n\"hidden_size\": 8,\n\"hidden_size\": 16,\n");
    refused(
        &sandbox,
        "d",
        &["d/config.json` line 3, key `hidden_size`: it is given twice, as 8 on line 2"],
    );
    put(
        "tokenizer_config.json",
        "{",
        "{\"truncation_side\": \"left\", \"truncation_side\": \"right\", ",
    );
    refused(&sandbox, "d", &["d/tokenizer_config.json` line 1, key `truncation_side`", "\"left\""]);
    // The same value twice says one thing.
    put("config.json", "{", "{\"vocab_size\": 74, ");
    logits(&sandbox, "d");
    put("config.json", "\"layer_norm_eps\":", "\"layer_norm_eps\":\n NaN, \"b\":");
    refused(&sandbox, "d", &["key `layer_norm_eps`: `NaN` at column 2 is not JSON", "allow_nan"]);
    copy_folder(&fixture("formats/sharded"), &sandbox.path("s"));
    let index = sandbox.read("s/model.safetensors.index.json");
    let twice = "\"weight_map\": {\"bert.embeddings.LayerNorm.bias\": \"other.safetensors\", ";
    sandbox.write("s/model.safetensors.index.json", index.replacen("\"weight_map\": {", twice, 1));
    let words = ["index.json` line", "key `weight_map.bert.embeddings.LayerNorm.bias`", "other"];
    refused(&sandbox, "s", &words);
}

#[test]
fn a_record_with_a_key_twice_does_not_count() {
    let sandbox = sandbox();
    copied(&sandbox, "s");
    let record = r#"{"bound": {"beta_per_example": 0.1}, "bound": {"beta_per_example": 9}}"#;
    sandbox.write("s/distillation.json", record);
    let models = ["--teacher", "t", "--student", "s", "--data", "glue", "--task", "rte"];
    let row = sandbox.row(&models);
    says(note(&row, "record-unusable")["message"].as_str().unwrap(), &["duplicate field `bound`"]);
    let run = sandbox.audit(&with(&models, &["--bound", "from-student"]));
    run.fails(3, &["duplicate field `bound`"]);
}

#[test]
fn quantised_weights_are_refused_by_their_kind() {
    let sandbox = sandbox();
    let layer = "bert.encoder.layer.0.output.dense";
    let cases: [(&str, safetensors::tensor::Dtype, &[&str], &[&str]); 4] = [
        (
            "weight",
            safetensors::tensor::Dtype::I8,
            &["SCB", "weight_format"],
            &["stored as I8", "bitsandbytes in 8 bits"],
        ),
        (
            "weight",
            safetensors::tensor::Dtype::U8,
            &["weight.absmax", "weight.quant_map"],
            &["bitsandbytes in 4 bits"],
        ),
        ("weight", safetensors::tensor::Dtype::F8_E4M3, &[], &["stored as F8_E4M3", "FP8"]),
        ("qweight", safetensors::tensor::Dtype::U8, &["qzeros", "scales"], &["AWQ or GPTQ"]),
    ];
    for (name, dtype, beside, words) in cases {
        copied(&sandbox, "q");
        sandbox.edit_weights("q", |tensors| {
            let (_, shape, bytes) = tensors.remove(&format!("{layer}.weight")).unwrap();
            let few = bytes[..bytes.len() / 4].to_vec();
            tensors.insert(format!("{layer}.{name}"), (dtype, shape, few));
            for other in beside {
                let scale = (safetensors::tensor::Dtype::F32, vec![1], vec![0; 4]);
                tensors.insert(format!("{layer}.{other}"), scale);
            }
        });
        refused(&sandbox, "q", &[words, &["float weights", "audit check", "float model"]].concat());
    }
    // Integers of a weight's own shape and no scale.
    copied(&sandbox, "q");
    sandbox.edit_weights("q", |tensors| {
        let (dtype, _, bytes) = tensors.get_mut(&format!("{layer}.weight")).unwrap();
        *dtype = safetensors::tensor::Dtype::U8;
        bytes.truncate(bytes.len() / 4);
    });
    refused(&sandbox, "q", &["is stored as u8", "quantised"]);
}

#[test]
fn a_quantisation_of_the_config_beside_float_weights_is_a_warning() {
    let sandbox = sandbox();
    copied(&sandbox, "q");
    sandbox.edit_config("q", |config| {
        config["quantization_config"] =
            json!({"quant_method": "bitsandbytes", "load_in_8bit": true});
    });
    let (rows, said) = logits(&sandbox, "q");
    assert!(rows == logits(&sandbox, "t").0);
    says(&said, &["warning: the model's config.json", "(bitsandbytes)", "[unquantised-weights]"]);
    let models = ["--teacher", "t", "--student", "q", "--data", "glue", "--task", "rte"];
    let row = sandbox.row(&models);
    assert_eq!(row["sigma"], 0.0);
    let warning = note(&row, "unquantised-weights");
    assert_eq!(warning["level"], "warning");
    says(warning["message"].as_str().unwrap(), &["the student's config.json"]);
    assert!(!common::codes(
        &sandbox.row(&with(&models[..2], &["--student", "t", "--data", "glue", "--task", "rte"]))
    )
    .contains(&"unquantised-weights"));
}

#[test]
fn a_folder_without_weights_says_what_it_holds() {
    let sandbox = sandbox();
    let cases: [(&str, &[&str]); 6] = [
        (
            "int8/model.onnx",
            &[
                "holds no weights; it holds `int8/model.onnx`, an ONNX model",
                "name the file itself",
            ],
        ),
        ("model.gguf", &["a GGUF model"]),
        ("tf_model.h5", &["TensorFlow weights", "from_tf=True"]),
        ("flax_model.msgpack", &["Flax weights", "from_flax=True"]),
        ("openvino_model.xml", &["an OpenVINO model"]),
        ("checkpoint-500/model.safetensors", &["`checkpoint-500`", "`m/checkpoint-500`"]),
    ];
    for (file, words) in cases {
        copied(&sandbox, "m");
        fs::remove_file(sandbox.path("m/model.safetensors")).unwrap();
        let written = sandbox.write(&format!("m/{file}"), b"x");
        refused(&sandbox, "m", words);
        // A folder of a training has no config.json either.
        fs::remove_file(sandbox.path("m/config.json")).unwrap();
        let what = words[0].trim_start_matches("holds no weights; ");
        refused(&sandbox, "m", &["holds no `config.json`; it holds", what]);
        fs::remove_file(written).unwrap();
    }
}

#[test]
fn a_training_checkpoint_names_the_part_to_save() {
    let sandbox = sandbox();
    let tensors = tensors_of(&sandbox, "t");
    let state = pickle::state_dict(&tensors);
    let plain = logits(&sandbox, "t").0;
    copied(&sandbox, "p");
    write_pickle(&sandbox, "p", &pickle::file(&state, &tensors));
    assert!(logits(&sandbox, "p").0 == plain);
    let training = pickle::training_checkpoint("state_dict", &state);
    sandbox.write("p/pytorch_model.bin", pickle::file(&training, &tensors));
    let words = [
        "p/pytorch_model.bin",
        "a training checkpoint with `state_dict`, `epoch`",
        "its weights are under `state_dict`",
        "torch.save(torch.load(",
    ];
    refused(&sandbox, "p", &words);
    let old = pickle::file(b"U\x01a", &tensors);
    sandbox.write("p/pytorch_model.bin", old);
    refused(
        &sandbox,
        "p",
        &["SHORT_BINSTRING", "Python 2", "encoding=\"latin1\"", "nothing was run"],
    );
}
