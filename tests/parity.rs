//! Logits against PyTorch's, for every architecture and every way to store a checkpoint.
//!
//! The checkpoints and the logits come from scripts/fixtures/make_fixtures.py, which names its
//! versions in each reference.json.

use std::path::{Path, PathBuf};

use candle_core::Device;
use confidence_audit::checkpoint::TokenizedExample;
use confidence_audit::checkpoint::{Casing, Checkpoint, NewCheckpoint};
use confidence_audit::hub::{Connection, Hub, HubSettings};
use confidence_audit::inference::{run_tokens, tokenize, Logits, RunOptions, Windows};
use confidence_audit::interrupt::Interrupt;
use confidence_audit::model::{self, Head, Model, PackedBatch};
use confidence_audit::recalibration::recalibrated;
use confidence_audit::task::Example;
use serde::Deserialize;

/// Largest difference from PyTorch's logits that rounding explains.
const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    labels: Vec<String>,
    max_length: usize,
    examples: Vec<ReferenceExample>,
}

#[derive(Deserialize)]
struct ReferenceExample {
    text: String,
    text_pair: Option<String>,
    input_ids: Vec<u32>,
    token_type_ids: Option<Vec<u32>>,
    logits: Vec<f32>,
    logits_pooled: Option<Vec<f32>>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn offline() -> Hub {
    let settings = HubSettings::new(std::env::temp_dir());
    Hub::new(HubSettings { connection: Connection::Offline, ..settings })
}

struct Case {
    reference: Reference,
    model: Box<dyn Model>,
    tokens: Vec<TokenizedExample>,
}

fn checkpoint(folder: &Path) -> Checkpoint {
    let recorded = folder.join("tokenizer_config.json").exists();
    let casing = if recorded { Casing::Auto } else { Casing::Uncased };
    Checkpoint::open(folder.to_str().unwrap(), casing, &offline()).unwrap()
}

fn open(folder: &Path, head: Head) -> Case {
    let text = std::fs::read_to_string(folder.join("reference.json")).unwrap();
    let reference: Reference = serde_json::from_str(&text).unwrap();
    let mut checkpoint = checkpoint(folder);
    let loaded = model::load(
        &checkpoint.config,
        checkpoint.network.weights_mut().unwrap(),
        head,
        &Device::Cpu,
    )
    .unwrap();
    checkpoint.tokenizer.set_max_length(reference.max_length).unwrap();
    let examples: Vec<Example> = reference
        .examples
        .iter()
        .map(|e| Example { text: e.text.clone(), pair: e.text_pair.clone(), label: None })
        .collect();
    let vocabulary = loaded.model.vocabulary();
    let rows: Vec<u32> = (0..examples.len() as u32).collect();
    let tokens = tokenize(&checkpoint.tokenizer, vocabulary, &examples, &rows).unwrap();
    assert_eq!(loaded.model.labels(), reference.labels.len());
    Case { reference, model: loaded.model, tokens }
}

fn logits(model: &dyn Model, tokens: &[TokenizedExample], threads: usize, budget: usize) -> Logits {
    let options = RunOptions {
        threads,
        batch_threads: threads,
        token_budget: budget,
        windows: Windows { first: 5, largest: 7 },
        interrupt: Interrupt::default(),
    };
    run_tokens(model, tokens, "model", &options).unwrap()
}

fn largest_difference(found: &Logits, expected: impl Iterator<Item = Vec<f32>>) -> f32 {
    let expected: Vec<f32> = expected.flatten().collect();
    assert_eq!(found.values.len(), expected.len());
    found.values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// The tokens and the logits of `folder` are PyTorch's.
fn agrees(folder: &str) {
    let case = open(&fixtures().join(folder), Head::Auto);
    for (tokens, expected) in case.tokens.iter().zip(&case.reference.examples) {
        assert_eq!(tokens.input_ids, expected.input_ids, "{folder}: {}", expected.text);
        if let Some(types) = &expected.token_type_ids {
            assert_eq!(&tokens.token_type_ids, types, "{folder}: {}", expected.text);
        }
    }
    let found = logits(&*case.model, &case.tokens, 1, 1024);
    let expected = case.reference.examples.iter().map(|e| e.logits.clone());
    let difference = largest_difference(&found, expected);
    println!("{folder}: largest difference {difference:e}");
    assert!(difference <= TOLERANCE, "{folder}: largest difference {difference:e}");
}

macro_rules! parity {
    ($($name:ident: $folder:literal,)*) => {
        $(#[test] fn $name() { agrees($folder); })*
    };
}

parity! {
    bert: "architectures/bert",
    tinybert: "architectures/tinybert",
    distilbert: "architectures/distilbert",
    roberta: "architectures/roberta",
    xlm_roberta: "architectures/xlm-roberta",
    electra: "architectures/electra",
    deberta_v2: "architectures/deberta-v2",
    modernbert: "architectures/modernbert",
    modernbert_mean: "architectures/modernbert-mean",
    sharded_safetensors: "formats/sharded",
    stored_f16: "formats/f16",
    stored_bf16: "formats/bf16",
    old_layer_norm_names: "formats/gamma-beta",
    without_prefix: "formats/no-prefix",
    vocabulary_alone: "formats/vocab-only",
    cased_vocabulary_alone: "formats/vocab-only-cased",
    old_position_ids: "formats/surplus",
    pickle_in_zip: "formats/pth-zip",
    pickle_in_zip_f16: "formats/pth-f16-zip",
    pickle_legacy: "formats/pth-legacy",
    pickle_with_shared_storages: "formats/pth-tied",
    pickle_legacy_with_shared_storages: "formats/pth-tied-legacy",
}

/// The differentiable forward and the fused one are the same function, row by row.
#[test]
fn training_s_forward_is_the_audit_s() {
    for folder in ["bert", "tinybert", "distilbert", "roberta", "xlm-roberta", "electra"] {
        let case = open(&fixtures().join("architectures").join(folder), Head::Auto);
        let fused = logits(&*case.model, &case.tokens, 1, 64);
        let packed = PackedBatch::new(&case.tokens);
        let plain = case.model.forward(&packed).unwrap().to_vec2::<f32>().unwrap();
        let difference = largest_difference(&fused, plain.into_iter());
        assert!(difference <= 1e-6, "{folder}: {difference:e}");
    }
}

#[test]
fn the_head_convention_decides_tinybert_s_logits() {
    let folder = fixtures().join("architectures/tinybert");
    let case = open(&folder, Head::Pooled);
    let found = logits(&*case.model, &case.tokens, 1, 1024);
    let plain = case.reference.examples.iter().map(|e| e.logits_pooled.clone().unwrap());
    assert!(largest_difference(&found, plain) <= TOLERANCE);
    let relu = case.reference.examples.iter().map(|e| e.logits.clone());
    assert!(largest_difference(&found, relu) > 1e-2);
}

/// candle-transformers has no such convolution: refused by its key, never run without it.
#[test]
fn deberta_v2_s_convolution_is_refused_by_name() {
    let folder = fixtures().join("architectures/deberta-v2-conv");
    let mut checkpoint =
        Checkpoint::open(folder.to_str().unwrap(), Casing::Auto, &offline()).unwrap();
    let loaded = model::load(
        &checkpoint.config,
        checkpoint.network.weights_mut().unwrap(),
        Head::Auto,
        &Device::Cpu,
    );
    let error = format!("{:#}", loaded.err().unwrap());
    assert!(error.contains("conv_kernel_size") && error.contains("not supported"), "{error}");
}

/// Batched, alone and in another order, on any number of workers: the same bits.
fn rows_stand_alone(folder: &str) {
    let case = open(&fixtures().join(folder), Head::Auto);
    let together = logits(&*case.model, &case.tokens, 1, 4096);
    for (threads, budget) in [(1, 1), (2, 40), (3, 70), (8, 200)] {
        assert_eq!(logits(&*case.model, &case.tokens, threads, budget), together, "{folder}");
    }
    for (i, tokens) in case.tokens.iter().enumerate() {
        let alone = logits(&*case.model, std::slice::from_ref(tokens), 1, 1);
        assert_eq!(alone.values, together.row(i), "{folder}: example {i} alone");
    }
    let reversed: Vec<_> = case.tokens.iter().rev().cloned().collect();
    let reversed = logits(&*case.model, &reversed, 1, 4096);
    for i in 0..case.tokens.len() {
        assert_eq!(reversed.row(case.tokens.len() - 1 - i), together.row(i), "{folder}");
    }
    // Many copies of every example, so that batches of hundreds of rows are met too.
    let many: Vec<_> = case.tokens.iter().cycle().take(700).cloned().collect();
    let many = logits(&*case.model, &many, 2, 100_000);
    for i in 0..700 {
        assert_eq!(many.row(i), together.row(i % case.tokens.len()), "{folder}: copy {i}");
    }
}

#[test]
fn a_row_does_not_depend_on_its_batch() {
    for name in ["bert", "tinybert", "distilbert", "roberta", "xlm-roberta", "electra"] {
        rows_stand_alone(&format!("architectures/{name}"));
    }
    rows_stand_alone("architectures/deberta-v2");
    rows_stand_alone("architectures/modernbert");
}

/// The checkpoint in `from` with the temperature folded into its last layer, and its reference.
fn fold(from: &Path, to: &Path, temperature: f64) {
    let mut checkpoint = checkpoint(from);
    let new = NewCheckpoint {
        config: checkpoint.config.keys().clone(),
        tensors: recalibrated(checkpoint.network.weights_mut().unwrap(), temperature).unwrap(),
        tokenizer_files: checkpoint.tokenizer_files(&offline()).unwrap(),
        extra_files: vec![("reference.json", std::fs::read(from.join("reference.json")).unwrap())],
    };
    new.write(to).unwrap();
}

/// However a checkpoint is stored: folded, it gives its own logits divided by τ, and those that
/// PyTorch gives for the folded weights (scripts/fixtures/recalibrated.py).
#[test]
fn a_folded_temperature_divides_the_logits() {
    #[derive(Deserialize)]
    struct Recorded {
        temperature: f64,
        logits: std::collections::BTreeMap<String, Vec<Vec<f32>>>,
    }
    let text = std::fs::read_to_string(fixtures().join("recalibrated.json")).unwrap();
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    assert_eq!(recorded.logits.len(), 9);
    let formats = std::fs::read_dir(fixtures().join("formats")).unwrap();
    let formats = formats.map(|entry| entry.unwrap().path());
    let architectures =
        recorded.logits.keys().map(|name| fixtures().join("architectures").join(name));
    let root = tempfile::tempdir().unwrap();
    for folder in architectures.chain(formats) {
        let to = root.path().join(folder.file_name().unwrap());
        fold(&folder, &to, recorded.temperature);
        let (before, after) = (open(&folder, Head::Auto), open(&to, Head::Auto));
        assert_eq!(before.tokens, after.tokens, "{}", folder.display());
        let [before, after] = [before, after].map(|c| logits(&*c.model, &c.tokens, 1, 1024));
        let divided = before.values.iter().map(|z| (f64::from(*z) / recorded.temperature) as f32);
        let difference = largest_difference(&after, std::iter::once(divided.collect()));
        assert!(difference <= 1e-6, "{}: {difference:e}", folder.display());
        let name = folder.file_name().unwrap().to_str().unwrap();
        if let Some(expected) = recorded.logits.get(name) {
            let difference = largest_difference(&after, expected.iter().cloned());
            assert!(difference <= TOLERANCE, "{name}: {difference:e} from PyTorch's");
        }
    }
}

/// Only the last layer is written anew, as f32; every other tensor keeps its name and its type.
#[test]
fn the_other_tensors_of_a_folded_checkpoint_are_as_they_were_stored() {
    for (name, layer) in [
        ("formats/f16", "classifier."),
        ("formats/gamma-beta", "classifier."),
        ("formats/surplus", "classifier."),
        ("architectures/roberta", "classifier.out_proj."),
        ("architectures/modernbert", "classifier."),
    ] {
        let mut weights = checkpoint(&fixtures().join(name)).network.into_weights().unwrap();
        let (before, after) = (weights.stored().unwrap(), recalibrated(&mut weights, 2.0).unwrap());
        assert!(before.keys().eq(after.keys()), "{name}");
        for (tensor, old) in &before {
            let new = &after[tensor];
            let values = |t: &candle_core::Tensor| {
                let wide = t.to_dtype(candle_core::DType::F64).unwrap();
                wide.flatten_all().unwrap().to_vec1::<f64>().unwrap()
            };
            let expected: Vec<f64> = match tensor.starts_with(layer) {
                true => values(old).iter().map(|w| w / 2.0).collect(), // exact in f32
                false => values(old),
            };
            assert_eq!(values(new), expected, "{name}: {tensor}");
            let f32_now = tensor.starts_with(layer);
            let dtype = if f32_now { candle_core::DType::F32 } else { old.dtype() };
            assert_eq!((new.dtype(), new.dims()), (dtype, old.dims()), "{name}: {tensor}");
        }
    }
}
