//! Exported models: against ONNX Runtime's logits, alone and in the batches of a service, and as the
//! teacher or the student of an audit.
//!
//! The files and the logits come from scripts/fixtures/onnx_models.py.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use common::{copy_folder, fixture, number, with, Sandbox};
use confidence_audit::checkpoint::{ModelConfig, Network, OnnxFile, TokenizedExample};
use confidence_audit::error::message_and_hint;
use confidence_audit::input::InputFile;
use confidence_audit::model::onnx::{load, Order, Padding, Runtime, Served};
use confidence_audit::model::{Model, PackedBatch, Workspace};
use prost::Message;
use serde::Deserialize;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Size;
use tract_onnx::pb::type_proto::Value as Kind;
use tract_onnx::pb::{AttributeProto, FunctionProto, ModelProto, NodeProto};

/// Largest difference from ONNX Runtime's logits that the order of sums explains.
const TOLERANCE: f32 = 1e-5;

/// The same for int8: a number that falls on the other side of a rounding moves by one step.
const ONE_STEP: f32 = 5e-3;

#[derive(Deserialize)]
struct Reference {
    alone: BTreeMap<String, Vec<Vec<f32>>>,
    batch: usize,
    longest: Vec<Vec<f32>>,
    to_40: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Examples {
    examples: Vec<ExampleTokens>,
}

#[derive(Deserialize)]
struct ExampleTokens {
    input_ids: Vec<u32>,
    token_type_ids: Option<Vec<u32>>,
}

fn reference() -> Reference {
    let text = fs::read_to_string(fixture("onnx/reference.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn architecture(model: &str) -> PathBuf {
    fixture("architectures").join(model.split('-').next().unwrap())
}

fn examples(model: &str) -> Vec<TokenizedExample> {
    let text = fs::read_to_string(architecture(model).join("reference.json")).unwrap();
    let all: Examples = serde_json::from_str(&text).unwrap();
    let example = |tokens: ExampleTokens| TokenizedExample {
        token_type_ids: tokens.token_type_ids.unwrap_or(vec![0; tokens.input_ids.len()]),
        input_ids: tokens.input_ids,
        truncated: false,
    };
    all.examples.into_iter().map(example).collect()
}

fn file(path: &Path) -> anyhow::Result<OnnxFile> {
    let folder = path.parent().unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let input = InputFile::open(path)?;
    OnnxFile::open(path.to_str().unwrap(), name, input, |data| Ok(folder.join(data)))
}

fn model(name: &str, runtime: &Runtime, served: Served) -> anyhow::Result<Box<dyn Model>> {
    model_at(&fixture("onnx").join(format!("{name}.onnx")), name, runtime, served)
}

fn model_at(
    path: &Path,
    architecture_of: &str,
    runtime: &Runtime,
    served: Served,
) -> anyhow::Result<Box<dyn Model>> {
    let config = ModelConfig::read(&architecture(architecture_of).join("config.json"))?;
    Ok(load(&config, &mut file(path)?, runtime, served)?.model)
}

fn largest_difference(found: &[f32], expected: &[Vec<f32>]) -> f32 {
    let expected = expected.concat();
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn alone(model: &dyn Model, examples: &[TokenizedExample]) -> Vec<f32> {
    model.logits(&PackedBatch::new(examples), &mut Workspace::default()).unwrap()
}

/// ONNX Runtime's library, if the tests are told where it is.
fn library() -> Option<Runtime> {
    let path = std::env::var_os("AUDIT_ONNXRUNTIME").filter(|path| !path.is_empty());
    if path.is_none() {
        std::io::stderr().write_all(b"skipped: AUDIT_ONNXRUNTIME is not set\n").unwrap();
    }
    path.map(|path| Runtime::Library(path.into()))
}

fn agrees(name: &str, runtime: &Runtime, tolerance: f32) {
    let model = model(name, runtime, Served::ALONE).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let found = alone(&*model, &examples(name));
    let difference = largest_difference(&found, &reference().alone[name]);
    println!("{name}: largest difference {difference:e}");
    assert!(difference <= tolerance, "{name}: largest difference {difference:e}");
}

const F32: [&str; 8] = [
    "bert",
    "bert-opset-12",
    "bert-states",
    "bert-int32",
    "bert-fixed",
    "bert-external",
    "distilbert",
    "roberta",
];

#[test]
fn the_built_in_runtime_gives_the_logits_of_onnx_runtime() {
    F32.iter().for_each(|name| agrees(name, &Runtime::Builtin, TOLERANCE));
    agrees("bert-quantised", &Runtime::Builtin, ONE_STEP);
}

#[test]
fn a_library_of_onnx_runtime_gives_its_own_logits() {
    let Some(runtime) = library() else { return };
    let others = ["bert-quantised", "bert-half", "bert-optimised"];
    F32.iter().chain(&others).for_each(|name| agrees(name, &runtime, 1e-6));
    assert!(runtime.name().unwrap().starts_with("ONNX Runtime 1."));
}

#[test]
fn a_text_s_logits_do_not_depend_on_the_others() {
    for name in ["bert", "bert-quantised"] {
        let model = model(name, &Runtime::Builtin, Served::ALONE).unwrap();
        let mut examples = examples(name);
        let together = alone(&*model, &examples);
        examples.reverse();
        let mut reversed: Vec<Vec<f32>> =
            examples.iter().map(|one| alone(&*model, std::slice::from_ref(one))).collect();
        reversed.reverse();
        assert_eq!(together, reversed.concat(), "{name}");
    }
}

fn in_batches(runtime: &Runtime, padding: Padding) -> Vec<f32> {
    let served = Served { batch: reference().batch, padding, order: Order::DataSet };
    let model = model("bert-quantised", runtime, served).unwrap();
    let examples = examples("bert");
    let batches = served.batches(examples.len());
    let batch = |rows: &Vec<u32>| {
        let batch: Vec<_> = rows.iter().map(|&row| &examples[row as usize]).collect();
        model.batch_logits(&batch).unwrap()
    };
    batches.iter().flat_map(batch).collect()
}

#[test]
fn batches_of_a_service_give_the_logits_of_onnx_runtime_for_them() {
    let reference = reference();
    let runtimes = [(Some(Runtime::Builtin), ONE_STEP), (library(), 1e-6)];
    for (runtime, tolerance) in runtimes.into_iter().filter_map(|(r, t)| Some((r?, t))) {
        for (padding, expected) in
            [(Padding::Longest, &reference.longest), (Padding::To(40), &reference.to_40)]
        {
            let found = in_batches(&runtime, padding);
            let difference = largest_difference(&found, expected);
            assert!(difference <= tolerance, "{runtime:?} {padding:?}: {difference:e}");
        }
        let one_at_a_time = &reference.alone["bert-quantised"];
        assert!(largest_difference(&in_batches(&runtime, Padding::Longest), one_at_a_time) > 1e-3);
    }
}

/// bert.onnx as `edit` changes it.
fn edited(sandbox: &Sandbox, edit: impl FnOnce(&mut ModelProto)) -> PathBuf {
    let mut model = ModelProto::decode(&*fs::read(fixture("onnx/bert.onnx")).unwrap()).unwrap();
    edit(&mut model);
    sandbox.write("edited.onnx", model.encode_to_vec())
}

/// Ends the graph in one more operator.
fn ending_in(operator: &'static str) -> impl FnOnce(&mut ModelProto) {
    move |model| {
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(NodeProto {
            op_type: operator.to_owned(),
            name: "tail".to_owned(),
            input: vec!["logits".to_owned()],
            output: vec!["tail".to_owned()],
            ..NodeProto::default()
        });
        graph.output[0].name = "tail".to_owned();
    }
}

#[test]
fn the_logits_before_a_softmax_are_taken() {
    let sandbox = Sandbox::new();
    let path = edited(&sandbox, ending_in("Softmax"));
    let runtimes = [Some(Runtime::Builtin), library()];
    for runtime in runtimes.into_iter().flatten() {
        let model = model_at(&path, "bert", &runtime, Served::ALONE).unwrap();
        let difference =
            largest_difference(&alone(&*model, &examples("bert")), &reference().alone["bert"]);
        assert!(difference <= TOLERANCE, "{runtime:?}: {difference:e}");
    }
}

/// The message and the hint of an error.
fn said(error: Option<anyhow::Error>) -> String {
    let (message, hint) = message_and_hint(&error.expect("it is refused"));
    format!("{message}; {}", hint.unwrap_or_default())
}

fn refused(edit: impl FnOnce(&mut ModelProto)) -> String {
    let sandbox = Sandbox::new();
    let path = edited(&sandbox, edit);
    let error = model_at(&path, "bert", &Runtime::Builtin, Served::ALONE).err();
    said(error)
}

#[test]
fn what_no_verdict_can_be_given_on_is_refused_by_name() {
    let cases: [(String, &str, &str); 12] = [
        (refused(ending_in("Sigmoid")), "ends in a sigmoid", "one label out of K"),
        (
            refused(|model| {
                ending_in("Softmax")(model);
                let node = model.graph.as_mut().unwrap().node.last_mut().unwrap();
                node.attribute = vec![AttributeProto {
                    name: "axis".to_owned(),
                    r#type: 2, // a whole number
                    ..AttributeProto::default()
                }];
            }),
            "ends in a softmax over axis 0, not over labels",
            "export the model's logits",
        ),
        (
            refused(|model| model.functions.push(FunctionProto::default())),
            "has functions of its own",
            "inline",
        ),
        (
            refused(|model| {
                ending_in("Cast")(model);
                let node = model.graph.as_mut().unwrap().node.last_mut().unwrap();
                let to = AttributeProto { name: "to".to_owned(), i: 10, ..Default::default() };
                node.attribute = vec![to];
            }),
            "computes in half precision (the tensor `tail`)",
            "--onnxruntime",
        ),
        (refused(ending_in("ArgMax")), "ends in the operator ArgMax", "export the model without"),
        (refused(ending_in("RandomNormalLike")), "RandomNormalLike", "evaluation mode"),
        (refused(ending_in("Det")), "does not have: Det", "--onnxruntime"),
        (
            refused(|model| {
                let node = &mut model.graph.as_mut().unwrap().node[0];
                node.domain = "com.microsoft".to_owned();
            }),
            "com.microsoft::",
            "--onnxruntime",
        ),
        (
            refused(|model| model.opset_import[0].version = 23),
            "needs version 23 of ONNX's operators",
            "--onnxruntime",
        ),
        (
            refused(|model| model.graph.as_mut().unwrap().input[0].name = "pixels".to_owned()),
            "has the input `pixels`",
            "text-classification",
        ),
        (
            refused(|model| {
                let graph = model.graph.as_mut().unwrap();
                let mut other = graph.output[0].clone();
                other.name = "states".to_owned();
                graph.output[0].name = "scores".to_owned();
                graph.output.push(other);
            }),
            "none of its outputs is named `logits`: `scores`, `states`",
            "text-classification",
        ),
        (
            refused(|model| {
                let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
                tensor.raw_data.pop();
            }),
            "do not fill its shape",
            "cut off",
        ),
    ];
    for (error, what, hint) in cases {
        assert!(error.contains(what) && error.contains(hint), "{what}: {error}");
    }
    for (name, what) in [("bert-half", "half precision"), ("bert-optimised", "com.microsoft::")] {
        let error = said(model(name, &Runtime::Builtin, Served::ALONE).err());
        assert!(error.contains(what) && error.contains("--onnxruntime"), "{error}");
    }
}

#[test]
fn sizes_that_are_fixed_in_the_file_are_kept() {
    let cases = [
        ("bert-fixed", Served { batch: 2, ..Served::ALONE }, "--onnx-batch 1"),
        ("bert-fixed", Served { padding: Padding::To(8), ..Served::ALONE }, "takes 40 tokens"),
        ("bert", Served { padding: Padding::To(64), ..Served::ALONE }, "has 40 positions"),
    ];
    for (name, served, words) in cases {
        let error = said(model(name, &Runtime::Builtin, served).err());
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn the_last_batch_of_a_fixed_size_is_filled() {
    let sandbox = Sandbox::new();
    let path = edited(&sandbox, |model| {
        for input in &mut model.graph.as_mut().unwrap().input {
            let Some(Kind::TensorType(tensor)) =
                input.r#type.as_mut().and_then(|it| it.value.as_mut())
            else {
                panic!("an input is no tensor")
            };
            tensor.shape.as_mut().unwrap().dim[0].value = Some(Size::DimValue(4));
        }
    });
    let served = Served { batch: 4, ..Served::ALONE };
    let model = model_at(&path, "bert", &Runtime::Builtin, served).unwrap();
    let examples: Vec<_> = examples("bert").into_iter().take(3).collect();
    let found = model.batch_logits(&examples.iter().collect::<Vec<_>>()).unwrap();
    let difference = largest_difference(&found, &reference().alone["bert"][..3]);
    assert!(difference <= TOLERANCE, "{difference:e}");
    let error = said(model_at(&path, "bert", &Runtime::Builtin, Served::ALONE).err());
    assert!(error.contains("takes 4 texts at a time") && error.contains("--onnx-batch 4"));
}

/// The checkpoint `bert` of the fixtures as an export: `names` of tests/fixtures/onnx in `folder`,
/// without the weights.
fn exported(sandbox: &Sandbox, folder: &str, names: &[(&str, &str)]) {
    copy_folder(&fixture("architectures/bert"), &sandbox.path(folder));
    fs::remove_file(sandbox.path(folder).join("model.safetensors")).unwrap();
    for (name, target) in names {
        let bytes = fs::read(fixture("onnx").join(name)).unwrap();
        sandbox.write(&format!("{folder}/{target}"), bytes);
    }
}

/// A task with pairs and three labels.
fn task(sandbox: &Sandbox) -> Vec<String> {
    let rows = [
        ("the film is good", "it is a film", 0),
        ("a bad plot", "the plot is good", 2),
        ("he was there", "she was here", 1),
        ("it rained all day in the town", "the town was dry", 2),
        ("good", "bad", 1),
        ("they saw the film again and again", "they saw it once", 0),
    ];
    let lines: Vec<String> = rows.iter().map(|(a, b, label)| format!("{a},{b},{label}")).collect();
    sandbox.write("data.csv", format!("a,b,label\n{}\n", lines.join("\n")));
    sandbox.write("other.csv", format!("a,b,label\n{}\n", lines[1..].join("\n")));
    sandbox.write(
        "audit.toml",
        "[task.nli]\ntext = [\"a\", \"b\"]\nlabel = \"label\"\n\
         labels = [\"entailment\", \"neutral\", \"contradiction\"]\n\
         splits = { train = \"data.csv\", other = \"other.csv\" }\n",
    );
    let words = ["--task", "nli", "--config", "audit.toml", "--exit-zero", "--teacher"];
    let teacher = fixture("architectures/bert").to_str().unwrap().to_owned();
    words.iter().map(|word| (*word).to_owned()).chain([teacher]).collect()
}

#[test]
fn an_export_is_audited_as_its_checkpoint() {
    let sandbox = Sandbox::new();
    let audit = task(&sandbox);
    exported(&sandbox, "export", &[("bert.onnx", "model.onnx")]);
    let report = sandbox.report(&with(&audit, &["--student", "export"]));
    let row = &report["tasks"][0];
    assert!(number(row, "sigma") < 1e-5, "{row}");
    let student = &report["manifest"]["models"][1];
    assert_eq!(student["runtime"], "tract 0.23.9");
    assert_eq!(student["head"], "as exported, one text at a time");
    assert_eq!(student["stored_dtype"], "f32");
    let bytes = fs::read(fixture("onnx/bert.onnx")).unwrap();
    let sha256 = confidence_audit::digest::sha256_of_parts([&bytes[..]]);
    assert_eq!(student["weights_sha256"], sha256);
    // Named as a file, in the folder `onnx` of a repository, with external data.
    exported(
        &sandbox,
        "repo",
        &[
            ("bert-external.onnx", "onnx/bert-external.onnx"),
            ("bert-external.onnx.data", "onnx/bert-external.onnx.data"),
        ],
    );
    for student in ["export/model.onnx", "repo/onnx/bert-external.onnx", "repo"] {
        let again = sandbox.row(&with(&audit, &["--student", student]));
        assert_eq!(again["sigma"], row["sigma"], "{student}");
    }
    fs::remove_file(sandbox.path("repo/onnx/bert-external.onnx.data")).unwrap();
    sandbox.audit(&with(&audit, &["--student", "repo"])).fails(3, &["bert-external.onnx.data"]);
}

#[test]
fn the_cache_knows_the_file_and_the_batches() {
    let sandbox = Sandbox::new();
    let audit = task(&sandbox);
    let names = [("bert.onnx", "model.onnx"), ("bert-quantised.onnx", "quantised.onnx")];
    exported(&sandbox, "export", &names);
    let run = |more: &[&str]| {
        let row = sandbox.row(&with(&audit, more));
        (number(&row, "sigma"), row["rows_from_cache"]["student"].as_u64().unwrap())
    };
    let quantised = ["--student", "export/quantised.onnx"];
    let (alone, cached) = run(&quantised);
    assert_eq!(cached, 0);
    assert_eq!(run(&quantised), (alone, 6));
    let mut seen = vec![alone];
    for more in [
        &["--onnx-batch", "4"][..],
        &["--onnx-batch", "4", "--onnx-pad", "40"],
        &["--onnx-batch", "4", "--onnx-shuffle", "1"],
        &["--onnx-pad", "40"],
    ] {
        let arguments = [&quantised[..], more].concat();
        let (sigma, cached) = run(&arguments);
        assert!(cached == 0 && !seen.contains(&sigma), "{more:?}: {sigma} {cached} {seen:?}");
        assert_eq!(run(&arguments), (sigma, 6), "{more:?}");
        let one_thread = [&arguments[..], &["--threads", "1", "--no-cache"]].concat();
        assert_eq!(run(&one_thread), (sigma, 0), "{more:?}");
        seen.push(sigma);
    }
    assert_eq!(run(&["--student", "export/model.onnx"]).1, 0);
}

#[test]
fn probabilities_that_no_softmax_shows_are_not_taken_for_logits() {
    let sandbox = Sandbox::new();
    let audit = task(&sandbox);
    exported(&sandbox, "export", &[("bert.onnx", "model.onnx")]);
    let path = edited(&sandbox, |model| {
        ending_in("Softmax")(model);
        let graph = model.graph.as_mut().unwrap();
        graph.node.push(NodeProto {
            op_type: "Abs".to_owned(),
            name: "last".to_owned(),
            input: vec!["tail".to_owned()],
            output: vec!["last".to_owned()],
            ..NodeProto::default()
        });
        graph.output[0].name = "last".to_owned();
    });
    fs::copy(path, sandbox.path("export/model.onnx")).unwrap();
    let run = sandbox.audit(&with(&audit, &["--student", "export"]));
    run.fails(3, &["the student's output lies in [0, 1]", "`audit check`"]);
}

#[test]
fn what_is_ambiguous_or_has_no_effect_is_refused() {
    let sandbox = Sandbox::new();
    let audit = task(&sandbox);
    let names = [("bert.onnx", "model.onnx"), ("bert-quantised.onnx", "model_quantized.onnx")];
    exported(&sandbox, "two", &names);
    exported(&sandbox, "one", &names[..1]);
    let teacher = audit.last().unwrap().clone();
    let cases: [(&[&str], i32, &[&str]); 7] = [
        (&["--student", "two"], 3, &["holds 2 ONNX files", "`two/model_quantized.onnx`"]),
        (&["--student", "none.onnx"], 3, &["there is no file `none.onnx`"]),
        (&["--student", "one", "--student-head", "pooled"], 2, &["its head is as it was exported"]),
        (&["--student", &teacher, "--onnx-batch", "2"], 2, &["onnx_batch", "ONNX"]),
        (&["--student", "one", "--onnx-shuffle", "2"], 2, &["--onnx-batch"]),
        (&["--student", "one", "--onnx-pad", "long"], 2, &["`longest`, or a number"]),
        (
            &["--student", "one", "--onnxruntime", "one/config.json"],
            3,
            &["cannot load ONNX Runtime from `one/config.json`", "`capi`"],
        ),
    ];
    for (more, code, words) in cases {
        sandbox.audit(&with(&audit, more)).fails(code, words);
    }
    let short = ["--student", "one", "--onnx-batch", "2", "--onnx-pad", "8"];
    sandbox.audit(&with(&audit, &short)).fails(3, &["texts are padded to 8", "--max-length 8"]);
    let short = ["--student", "one", "--onnx-pad", "8"];
    sandbox.audit(&with(&audit, &short)).fails(3, &["texts are padded to 8", "--max-length 8"]);
    sandbox.edit_config("one", |config| config["pad_token_id"] = serde_json::Value::Null);
    sandbox
        .audit(&with(&audit, &["--student", "one", "--onnx-pad", "40"]))
        .fails(3, &["pad_token_id"]);
    let multi = "multi_label_classification";
    sandbox.edit_config("one", |config| config["problem_type"] = multi.into());
    sandbox.audit(&with(&audit, &["--student", "one"])).fails(3, &[multi, "one label out of K"]);
    sandbox.write("one/model.onnx", "version https://git-lfs.github.com/spec/v1\n");
    sandbox.audit(&with(&audit, &["--student", "one"])).fails(3, &["Git LFS pointer"]);
    sandbox.write("one/model.onnx", "{}");
    sandbox.audit(&with(&audit, &["--student", "one"])).fails(3, &["is not an ONNX model"]);
}

#[test]
fn a_damaged_file_is_an_error_and_never_a_verdict() {
    let bytes = fs::read(fixture("onnx/bert-quantised.onnx")).unwrap();
    let sandbox = Sandbox::new();
    let before = reference().alone["bert-quantised"].concat();
    for i in 0..40 {
        let mut damaged = bytes.clone();
        let at = i * bytes.len() / 40;
        damaged[at] ^= 0x55;
        if i % 4 == 0 {
            damaged.truncate(at);
        }
        let path = sandbox.write("damaged.onnx", damaged);
        // A changed weight is another model; anything else must be an error.
        if let Ok(model) = model_at(&path, "bert", &Runtime::Builtin, Served::ALONE) {
            let batch = PackedBatch::new(&examples("bert"));
            let logits = model.logits(&batch, &mut Workspace::default());
            assert!(logits.is_err() || logits.unwrap().len() == before.len(), "byte {at}");
        }
    }
}

#[test]
fn only_an_audit_runs_an_export() {
    let sandbox = Sandbox::new();
    let audit = task(&sandbox);
    exported(&sandbox, "export", &[("bert.onnx", "model.onnx")]);
    let recalibrate =
        with(&["recalibrate"], &audit[..4].iter().map(String::as_str).collect::<Vec<_>>());
    let more =
        ["--teacher", "export", "--student", "export", "--fit-split", "other", "--output", "new"];
    let run = sandbox.audit(&with(&recalibrate, &more));
    run.fails(3, &["which can only be run", "the checkpoint that it was exported from"]);
    let predict = with(&["predict"], &audit[..4].iter().map(String::as_str).collect::<Vec<_>>());
    let run = sandbox.audit(&with(&predict, &["--model", "export", "--output", "logits.csv"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let model = match confidence_audit::checkpoint::Checkpoint::open(
        sandbox.path("export").to_str().unwrap(),
        confidence_audit::checkpoint::Casing::Auto,
        &confidence_audit::hub::Hub::from_env(),
    )
    .unwrap()
    .network
    {
        Network::Onnx(file) => file,
        Network::Weights(_) => panic!("it has no weights"),
    };
    assert_eq!((model.name(), model.parameters() > 1000), ("model.onnx", true));
}
