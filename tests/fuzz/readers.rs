//! The readers, each with the inputs that are changed and with what must hold of those it accepts.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, Result};
use candle_core::{DType, Device, Tensor};
use confidence_audit::augment::WordVectors;
use confidence_audit::cache::{
    EntrySpec, ModelFile, ModelIdentity, PredictionCache, Row, TextsIdentity,
};
use confidence_audit::check::{AuditedExamples, StudentRecord};
use confidence_audit::checkpoint::{Casing, Checkpoint, LabelMap, Network, Weights};
use confidence_audit::config::{Config, Layer};
use confidence_audit::digest::sha256_of_parts;
use confidence_audit::distill::recipe::{Flags, Recipe};
use confidence_audit::hub::{Connection, Hub, HubSettings};
use confidence_audit::inference::{run_tokens, Logits, RunOptions, Windows};
use confidence_audit::input::InputFile;
use confidence_audit::interrupt::Interrupt;
use confidence_audit::model::onnx::{self, Runtime, Served};
use confidence_audit::model::{self, Head};
use confidence_audit::predictions::{
    read_predictions, write_logits, LogitsFormat, PredictionOptions, IDS,
};
use confidence_audit::report::{write_json, Envelope, RenderOptions, Report, Saved};
use confidence_audit::task::{builtin_names, load, LoadOptions, TaskSpec};
use confidence_audit::tune::plan::{Plan, TuneFlags};
use flate2::write::GzEncoder;
use parquet::data_type::ByteArray;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{json, Value};

use super::common::{copy_folder, demo, fixture, glue, names_in, tiny_pair, with, write_group};
use super::mutate::Syntax;

const MIB: usize = 1 << 20;

/// A reader and the memory that an input may take: `base` bytes and `factor` for each of its own.
pub struct FileReader {
    pub name: &'static str,
    pub base: usize,
    pub factor: usize,
    /// Makes its inputs in an empty folder.
    pub prepare: fn(&Path) -> Target,
}

/// Inputs, each of which `read` accepts as it is. `read` panics at a wrong result.
pub struct Target {
    pub corpus: Vec<Vec<u8>>,
    pub syntax: Syntax,
    pub read: ReadInput,
}

/// `Ok` if the input is read, an error if it is refused.
pub type ReadInput = Box<dyn Fn(&[u8]) -> Result<()>>;

const fn reader(name: &'static str, prepare: fn(&Path) -> Target) -> FileReader {
    FileReader { name, base: 32 * MIB, factor: 100, prepare }
}

pub static READERS: [FileReader; 27] = [
    reader("safetensors", safetensors),
    reader("safetensors-index", index),
    FileReader { name: "onnx", base: 256 * MIB, factor: 400, prepare: exported },
    reader("pickle-archive", |folder| pickle(folder, "pth-zip", Syntax::Bytes)),
    reader("pickle-in-archive", |folder| pickle(folder, "pth-tied", Syntax::PickleInZip)),
    reader("pickle-legacy", |folder| pickle(folder, "pth-tied-legacy", Syntax::Bytes)),
    reader("config-bert", |folder| checkpoint(folder, "electra", "config.json")),
    reader("config-deberta", |folder| checkpoint(folder, "deberta-v2", "config.json")),
    reader("config-modernbert", |folder| checkpoint(folder, "modernbert", "config.json")),
    reader("demo-student", demo_student),
    reader("tokenizer-vocabulary", |folder| checkpoint(folder, "tinybert", "vocab.txt")),
    reader("tokenizer", |folder| checkpoint(folder, "bert", "tokenizer.json")),
    reader("tokenizer-bpe", |folder| checkpoint(folder, "roberta", "tokenizer.json")),
    reader("tokenizer-config", |folder| checkpoint(folder, "bert", "tokenizer_config.json")),
    reader("data-tsv", |folder| data(folder, "tsv")),
    reader("data-csv", |folder| data(folder, "csv")),
    reader("data-jsonl", |folder| data(folder, "jsonl")),
    // The unpacked text of a .csv, 64 MiB at most for short files, is read whole; a vector doubles.
    FileReader { name: "data-compressed", base: 192 * MIB, factor: 400, prepare: data_compressed },
    reader("data-parquet", |folder| data(folder, "parquet")),
    reader("predictions", predictions),
    // As for data-compressed: arrays and batches may be compressed.
    FileReader { name: "tables-of-tools", base: 192 * MIB, factor: 400, prepare: tables_of_tools },
    reader("configs", configs),
    reader("recipes", recipes),
    reader("report", report),
    reader("cache", cache),
    reader("distillation-record", record),
    reader("word-vectors", vectors),
];

fn offline(folder: &Path) -> Hub {
    let settings = HubSettings::new(folder.join("hub"));
    Hub::new(HubSettings { connection: Connection::Offline, ..settings })
}

/// Every tensor as f32, and the digest, of a file of weights.
fn weights(path: &Path) -> Result<(BTreeMap<String, Tensor>, String)> {
    let mut weights = Weights::open("fuzz", &[InputFile::open(path)?])?;
    let stored = weights.stored()?;
    Ok((stored, weights.sha256(|_, load| load())?))
}

/// Shape and bits of each tensor.
fn bits(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, (Vec<usize>, Vec<u64>)> {
    let bits = |tensor: &Tensor| {
        let wide = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        wide.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
    };
    tensors.iter().map(|(name, t)| (name.clone(), (t.dims().to_vec(), bits(t)))).collect()
}

/// What is accepted is what the safetensors library reads, under the digest of these bytes.
fn safetensors(folder: &Path) -> Target {
    let path = folder.join("model.safetensors");
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let (tensors, digest) = weights(&path)?;
        assert_eq!(digest, sha256_of_parts([bytes]), "the digest is of other bytes");
        let expected = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap();
        assert!(bits(&tensors) == bits(&expected.into_iter().collect()), "other tensors were read");
        Ok(())
    };
    let files = ["architectures/electra", "architectures/tinybert", "formats/f16", "formats/bf16"];
    let corpus =
        files.map(|name| fs::read(fixture(name).join("model.safetensors")).unwrap()).to_vec();
    Target { corpus, syntax: Syntax::Safetensors, read: Box::new(read) }
}

fn index(folder: &Path) -> Target {
    let name = "model.safetensors.index.json";
    copy_folder(&fixture("formats/sharded"), folder);
    let path = folder.join(name);
    let corpus = vec![fs::read(&path).unwrap()];
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        logits(&folder).map(drop)
    };
    Target { corpus, syntax: Syntax::Json, read: Box::new(read) }
}

/// A quantised export; what is accepted is run.
fn exported(folder: &Path) -> Target {
    copy_folder(&fixture("architectures/bert"), folder);
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    let path = folder.join("model.onnx");
    let corpus = ["bert-quantised.onnx", "bert-opset-12.onnx"];
    let corpus = corpus.map(|name| fs::read(fixture("onnx").join(name)).unwrap()).to_vec();
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        logits(&folder).map(drop)
    };
    Target { corpus, syntax: Syntax::Bytes, read: Box::new(read) }
}

/// What is accepted from an archive with its own checksums is what some unchanged file holds. The
/// digest is always of these bytes.
fn pickle(folder: &Path, name: &str, syntax: Syntax) -> Target {
    let corpus: Vec<Vec<u8>> = [name, name.trim_end_matches("-legacy")]
        .iter()
        .map(|name| fs::read(fixture("formats").join(name).join("pytorch_model.bin")).unwrap())
        .take(if name.ends_with("legacy") { 1 } else { 2 })
        .collect();
    let path = folder.join("pytorch_model.bin");
    let known: Vec<_> = corpus
        .iter()
        .map(|bytes| {
            fs::write(&path, bytes).unwrap();
            bits(&weights(&path).unwrap().0)
        })
        .collect();
    let has_checksums = syntax == Syntax::Bytes && !name.ends_with("legacy");
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let (tensors, digest) = weights(&path)?;
        assert_eq!(digest, sha256_of_parts([bytes]), "the digest is of other bytes");
        let bits = bits(&tensors);
        assert!(!has_checksums || known.contains(&bits), "other tensors were read");
        Ok(())
    };
    Target { corpus, syntax, read: Box::new(read) }
}

/// Opens the checkpoint in `folder`, builds its model and runs it; the bits of its logits.
fn logits(folder: &Path) -> Result<Vec<u32>> {
    let hub = offline(folder);
    let source = folder.to_str().unwrap();
    let mut checkpoint = Checkpoint::open(source, Casing::Cased, &hub)?;
    let config = &checkpoint.config;
    let loaded = match &mut checkpoint.network {
        Network::Weights(weights) => model::load(config, weights, Head::Auto, &Device::Cpu)?,
        Network::Onnx(file) => onnx::load(config, file, &Runtime::Builtin, Served::ALONE)?,
    };
    let sizes = loaded.model.sizes();
    checkpoint.label_names(sizes.labels)?;
    checkpoint.tokenizer.set_max_length(checkpoint.tokenizer.max_length().min(sizes.positions))?;
    let texts =
        ["good film", "", "the plot is bad, and it is long! \u{1f600} é", &"a ".repeat(300)];
    let mut tokens = Vec::new();
    for (i, text) in texts.into_iter().enumerate() {
        let pair = (i == 2 && sizes.uses_token_types).then_some("it is great");
        let encoded = checkpoint.tokenizer.encode(text, pair)?;
        if encoded.is_empty() || encoded.input_ids.iter().any(|id| *id as usize >= sizes.vocabulary)
        {
            bail!("an audit refuses these tokens");
        }
        tokens.push(encoded);
    }
    let options = RunOptions {
        threads: 1,
        batch_threads: 1,
        token_budget: 512,
        windows: Windows::WHOLE,
        interrupt: Interrupt::default(),
    };
    let logits = run_tokens(loaded.model.as_ref(), &tokens, "fuzz", &options)?;
    assert_eq!(logits.values.len(), texts.len() * sizes.labels);
    assert!(logits.values.iter().all(|value| value.is_finite()), "logits that are not finite");
    Ok(logits.values.into_iter().map(f32::to_bits).collect())
}

/// One file of a checkpoint.
fn checkpoint(folder: &Path, from: &str, file: &'static str) -> Target {
    copy_folder(&fixture("architectures").join(from), folder);
    let path = folder.join(file);
    let corpus = vec![fs::read(&path).unwrap()];
    let folder = folder.to_owned();
    let syntax = if file.ends_with(".json") { Syntax::Json } else { Syntax::Text };
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        logits(&folder).map(drop)
    };
    Target { corpus, syntax, read: Box::new(read) }
}

/// The weights of the demo's student: those that are accepted give the logits of the same tensors
/// when the safetensors library reads and writes them.
fn demo_student(folder: &Path) -> Target {
    let places = ["read", "expected"].map(|name| folder.join(name));
    places.iter().for_each(|place| copy_folder(Path::new(&demo("student")), place));
    let paths = places.clone().map(|place| place.join("model.safetensors"));
    let corpus = vec![fs::read(&paths[0]).unwrap()];
    let read = move |bytes: &[u8]| {
        fs::write(&paths[0], bytes).unwrap();
        let read = logits(&places[0])?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu).unwrap();
        candle_core::safetensors::save(&tensors, &paths[1]).unwrap();
        assert!(read == logits(&places[1]).unwrap(), "the logits are of other weights");
        Ok(())
    };
    Target { corpus, syntax: Syntax::Safetensors, read: Box::new(read) }
}

/// Rows of SST-2.
fn data(folder: &Path, extension: &'static str) -> Target {
    let rows: Vec<(String, i64)> = (0..20).map(|i| (glue::sentence(i), i as i64 % 2)).collect();
    let lines = |head: &str, line: fn(&(String, i64)) -> String| {
        let lines: String = rows.iter().map(line).collect();
        vec![format!("{head}{lines}").into_bytes()]
    };
    let (corpus, syntax) = match extension {
        "tsv" => (lines("sentence\tlabel\n", |(s, l)| format!("{s}\t{l}\n")), Syntax::Text),
        "csv" => {
            let mut corpus = lines("sentence,label\n", |(s, l)| format!("\"{s}\",{l}\n"));
            corpus.push(b"label,sentence\r\n1,\"a \"\"good\"\"\nfilm\"\r\n0,bad\r\n".to_vec());
            (corpus, Syntax::Text)
        }
        "jsonl" => {
            let line = |(s, l): &(String, i64)| json!({ "sentence": s, "label": l }).to_string();
            let text: String = rows.iter().map(|row| line(row) + "\n").collect();
            (vec![text.into_bytes()], Syntax::Text)
        }
        _ => (vec![parquet(&rows)], Syntax::Bytes),
    };
    let path = folder.join(format!("train.{extension}"));
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read_sst2(&folder)
    };
    Target { corpus, syntax, read: Box::new(read) }
}

/// Reads the training split in `folder`, which has an example or is refused.
fn read_sst2(folder: &Path) -> Result<()> {
    let hub = offline(folder);
    let data = Some(folder.to_owned());
    let options = LoadOptions { data, limit: None, allow_skipped: true, ids: &["id"], hub: &hub };
    let dataset = load(&TaskSpec::glue("sst2").unwrap(), "train", &options)?;
    assert!(!dataset.examples.is_empty(), "no example and no error");
    Ok(())
}

/// Rows of SST-2 in .csv.gz or .jsonl.zst; the first byte of an input says which.
fn data_compressed(folder: &Path) -> Target {
    let rows: Vec<(String, i64)> = (0..20).map(|i| (glue::sentence(i), i as i64 % 2)).collect();
    let csv: String = rows.iter().map(|(s, l)| format!("\"{s}\",{l}\n")).collect();
    let json = |(s, l): &(String, i64)| json!({ "sentence": s, "label": l }).to_string() + "\n";
    let jsonl: String = rows.iter().map(json).collect();
    let mut gzip = GzEncoder::new(vec![0], flate2::Compression::default());
    gzip.write_all(format!("sentence,label\n{csv}").as_bytes()).unwrap();
    let zstd = [vec![1], zstd::encode_all(jsonl.as_bytes(), 3).unwrap()].concat();
    let corpus = vec![gzip.finish().unwrap(), zstd];
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        let (number, content) = bytes.split_first().unwrap_or((&0, &[]));
        let names = ["train.csv.gz", "train.jsonl.zst"];
        names.iter().for_each(|name| _ = fs::remove_file(folder.join(name)));
        fs::write(folder.join(names[usize::from(*number) % 2]), content).unwrap();
        read_sst2(&folder)
    };
    Target { corpus, syntax: Syntax::Bytes, read: Box::new(read) }
}

fn parquet(rows: &[(String, i64)]) -> Vec<u8> {
    let schema = "message glue { required binary sentence (UTF8); required int64 label; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let sentences: Vec<ByteArray> = rows.iter().map(|(s, _)| ByteArray::from(s.as_str())).collect();
    let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    write_group(&mut writer, &sentences, &labels);
    writer.into_inner().unwrap()
}

/// A table of logits in one of three formats, joined with 20 examples; the first byte of an input says
/// which.
fn predictions(folder: &Path) -> Target {
    const FORMATS: [(&str, LogitsFormat); 3] = [
        ("csv", LogitsFormat::Csv),
        ("jsonl", LogitsFormat::Jsonl),
        ("parquet", LogitsFormat::Parquet),
    ];
    let names = ["negative", "positive"].map(str::to_owned);
    let values = (0..40).map(|i| i as f32 * 0.3 - 5.0).collect();
    let logits = Logits { values, labels: 2 };
    let labels: Vec<Option<u32>> = (0..20).map(|i| Some(i % 2)).collect();
    let corpus = FORMATS
        .iter()
        .zip(0u8..)
        .map(|((extension, format), number)| {
            let path = folder.join(format!("p.{extension}"));
            write_logits(&path, *format, &logits, &names, &labels).unwrap();
            [&[number][..], &fs::read(&path).unwrap()].concat()
        })
        .collect();
    let rows: String =
        (0..20).map(|i| format!("r{i},\"{}\",{}\n", glue::sentence(i), i % 2)).collect();
    fs::write(folder.join("train.csv"), format!("guid,sentence,label\n{rows}")).unwrap();
    let (task, hub) = (TaskSpec::glue("sst2").unwrap(), offline(folder));
    let data = Some(folder.to_owned());
    let options = LoadOptions { data, limit: None, allow_skipped: false, ids: &IDS, hub: &hub };
    let split = load(&task, "train", &options).unwrap();
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        let (number, content) = bytes.split_first().unwrap_or((&0, &[]));
        let (extension, _) = FORMATS[usize::from(*number) % FORMATS.len()];
        let path = folder.join(format!("p.{extension}"));
        fs::write(&path, content).unwrap();
        let (files, interrupt) = ([path.to_str().unwrap().to_owned()], Interrupt::default());
        let options = PredictionOptions {
            task: "sst2",
            labels: &names,
            texts: &task.text_columns(),
            label_map: &LabelMap::default(),
            normalise: true,
            interrupt: &interrupt,
        };
        let file = read_predictions("teacher", &files, &options)?;
        assert!(!file.labels.is_empty(), "no prediction and no error");
        let (joined, _) = file.of_split(&split, &task)?;
        assert_eq!(joined.labels.len(), split.examples.len());
        Ok(())
    };
    Target { corpus, syntax: Syntax::Text, read: Box::new(read) }
}

/// Tables that other tools wrote; the first byte of an input says which format.
fn tables_of_tools(folder: &Path) -> Target {
    const FILES: [&str; 9] = [
        "logits_f32.npy",
        "arrays.npz",
        "compressed.npz",
        "pandas_records.json",
        "pipeline_all.json",
        "pipeline_all.jsonl",
        "pandas_lists.parquet",
        "pandas.feather",
        "polars_stream.arrow",
    ];
    let fixtures = fixture("tables");
    let input = |(number, name): (u8, &&str)| {
        [&[number][..], &fs::read(fixtures.join(name)).unwrap()].concat()
    };
    let corpus = (0u8..).zip(&FILES).map(input).collect();
    let names = ["negative", "positive"].map(str::to_owned);
    let folder = folder.to_owned();
    let read = move |bytes: &[u8]| {
        let (number, content) = bytes.split_first().unwrap_or((&0, &[]));
        let path = folder.join(FILES[usize::from(*number) % FILES.len()]);
        fs::write(&path, content).unwrap();
        let (files, interrupt) = ([path.to_str().unwrap().to_owned()], Interrupt::default());
        let options = PredictionOptions {
            task: "sst2",
            labels: &names,
            texts: &[],
            label_map: &LabelMap::default(),
            normalise: true,
            interrupt: &interrupt,
        };
        let file = read_predictions("teacher", &files, &options)?;
        assert!(!file.labels.is_empty(), "no prediction and no error");
        Ok(())
    };
    Target { corpus, syntax: Syntax::Bytes, read: Box::new(read) }
}

fn configs(_: &Path) -> Target {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = "[defaults]\nkappa = 0.1\nsplit = \"train\"\n[task.mine]\ntext = [\"a\", \"b\"]\n\
               label = \"y\"\nlabels = [\"no\", \"yes\"]\n\
               splits = { train = [\"a*.csv\"], test = \"b.tsv\" }\n\
               [task.sst2]\nteacher = \"t\"\nstudent = \"s\"\nlimit = 5\nmax_length = 64\n\
               label_map = \"student:a=b\"\nthreads = 2\nseed = 7\n";
    let file = |name: &str| fs::read(repository.join("configs").join(name)).unwrap();
    let corpus = vec![file("default.toml"), file("glue.toml"), own.as_bytes().to_vec()];
    let read = |bytes: &[u8]| {
        let config = Config::from_text(std::str::from_utf8(bytes)?, Path::new("audit.toml"))?;
        for task in builtin_names().chain(["mine"]) {
            if let Ok(settings) = config.settings(task, &Layer::default()) {
                assert!(!settings.values().any(|(key, _)| key.is_empty()));
            }
        }
        Ok(())
    };
    Target { corpus, syntax: Syntax::Text, read: Box::new(read) }
}

/// Recipes and tunes: a tune has a `[space]`.
fn recipes(folder: &Path) -> Target {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files = ["distill", "tune"].map(|part| {
        let part = configs.join(part);
        names_in(&part).into_iter().map(move |name| part.join(name)).collect::<Vec<PathBuf>>()
    });
    let mut corpus: Vec<Vec<u8>> =
        files.concat().iter().map(|path| fs::read(path).unwrap()).collect();
    let path = folder.join("recipe.toml");
    let name = |name: &str| Some(name.to_owned());
    let flags = Flags {
        settings: Layer { teacher: name("teacher"), data: name("glue"), ..Layer::default() },
        output: Some(folder.join("out")),
        ..Flags::default()
    };
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let recipe = Recipe::read(&path, &flags);
        let tune = TuneFlags { training: flags.clone(), ..TuneFlags::default() };
        let tune = Plan::read(&path, &tune);
        match (recipe, tune) {
            (Err(error), Err(_)) => Err(error),
            _ => Ok(()),
        }
    };
    // Some name what only a flag can give: a base, a student.
    corpus.retain(|bytes| read(bytes).is_ok());
    assert!(corpus.len() >= 8, "{} recipes", corpus.len());
    Target { corpus, syntax: Syntax::Text, read: Box::new(read) }
}

/// What is accepted is written in every format, and as JSON it is the same report again.
fn report(folder: &Path) -> Target {
    let (sandbox, arguments) = tiny_pair();
    let run = sandbox.audit(&with(&arguments, &["--format", "json"]));
    let path = folder.join("report.json");
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let saved = Saved::read(&path)?;
        for format in Report::FORMATS {
            let options = RenderOptions::default();
            format.write(&saved.report, &[], &options, &mut Vec::new()).unwrap();
        }
        let mut written = Vec::new();
        write_json(&saved.report, &mut written).unwrap();
        fs::write(&path, &written).unwrap();
        let again = Saved::read(&path).unwrap();
        assert!(again.report == saved.report, "the report is another after it was written");
        Ok(())
    };
    let corpus = vec![run.stdout.into_bytes()];
    Target { corpus, syntax: Syntax::Json, read: Box::new(read) }
}

/// A cache's two files: rows that are known are those that were stored, and so are facts. The first
/// byte of an input says which file it is.
fn cache(folder: &Path) -> Target {
    let identity = || ModelIdentity {
        weights_sha256: "aa".to_owned(),
        config_sha256: "bb".to_owned(),
        tokenizer_sha256: "cc".to_owned(),
        head: "bert".to_owned(),
        max_length: 128,
        device: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        arithmetic: "avx2+fma".to_owned(),
        encoder_version: 1,
    };
    let facts = json!({ "labels": ["negative", "positive"], "positions": 512 });
    let texts: Vec<String> = (0..12).map(|i| i.to_string()).collect();
    let texts = TextsIdentity::of(texts.iter().map(|text| (text.as_str(), None)));
    let spec = move |model| EntrySpec {
        model,
        texts,
        labels: 2,
        task: "sst2",
        split: "train",
        inputs: &[],
    };
    let stored = |i: usize| [i as f32 * 0.1 - 1.0, 2.5 - i as f32];
    let root = folder.join("cache");
    let first = PredictionCache::at(&root);
    let model = ModelFile { name: "m".to_owned(), identity: identity(), facts: facts.clone() };
    first.write_model(&model).unwrap();
    let (mut entry, _) = first.open(&spec(identity().key()));
    for indices in [0..5, 5..9] {
        let rows: Vec<_> = indices.map(|i| (i, stored(i))).collect();
        let rows: Vec<Row> = rows
            .iter()
            .map(|(index, logits)| Row { index: *index, logits, truncated: index % 3 == 0 })
            .collect();
        assert_eq!(entry.append(&rows).unwrap(), None);
    }
    let entry_file = entry.path().unwrap().to_owned();
    drop(entry);
    let model_file = entry_file.with_file_name("model.json");
    let files = [model_file, entry_file];
    let whole = files.clone().map(|path| fs::read(path).unwrap());
    let corpus = (0u8..).zip(&whole).map(|(n, bytes)| [&[n][..], bytes].concat()).collect();
    let read = move |bytes: &[u8]| {
        let (number, content) = bytes.split_first().unwrap_or((&0, &[]));
        let number = usize::from(*number) % files.len();
        fs::write(&files[1 - number], &whole[1 - number]).unwrap();
        fs::write(&files[number], content).unwrap();
        let cache = PredictionCache::at(&root);
        let model = cache.read_model::<Value>(&identity());
        if let Ok(Some(model)) = &model {
            assert_eq!(model.facts, facts, "other facts were read");
        }
        let (entry, notes) = cache.open(&spec(identity().key()));
        for (i, (row, truncated)) in (0..12).filter_map(|i| Some((i, entry.row(i)?))) {
            assert_eq!((row, truncated), (&stored(i)[..], i % 3 == 0), "row {i}");
        }
        drop(entry);
        cache.list()?;
        cache.verify()?;
        match (model, notes.is_empty()) {
            (Ok(_), true) => Ok(()),
            _ => bail!("it has notes"),
        }
    };
    Target { corpus, syntax: Syntax::Text, read: Box::new(read) }
}

fn record(_: &Path) -> Target {
    let own = json!({
        "bound": { "beta_per_example": 0.0025, "alpha": 0.5, "temperature": 2.0, "t_squared": true },
        "loss_reached": { "examples": 67349, "sum_kl": 71.2, "mean_kl": 0.00106 },
    });
    let corpus = vec![own.to_string().into_bytes()];
    let read = |bytes: &[u8]| {
        let record = StudentRecord::parse(std::str::from_utf8(bytes)?)?;
        let bound = record.bound_for(100, AuditedExamples::TrainingSplit)?;
        if let Some(bound) = bound {
            let kappa = bound.kappa(100);
            assert!(kappa.is_finite() && kappa >= 0.0, "κ = {kappa}");
        }
        Ok(())
    };
    Target { corpus, syntax: Syntax::Json, read: Box::new(read) }
}

/// A word that is read has other words as neighbours, as many as there are.
fn vectors(folder: &Path) -> Target {
    let path = folder.join("vectors.txt");
    let glove = "film 0.1 -2e-1 3\nmovie 0.2 0.25 2\n. . 1 1 0\nplot 0 0 1\n";
    let corpus = vec![glove.as_bytes().to_vec(), format!("4 3\n{glove}").into_bytes()];
    let read = move |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let vectors = WordVectors::read(&InputFile::open(&path)?, &Interrupt::default())?;
        let nearest = vectors.nearest(&["film"], 9)?.remove(0);
        assert!(nearest.is_empty() || nearest.len() == (vectors.len() - 1).min(9));
        assert!(!nearest.contains(&"film".to_owned()));
        Ok(())
    };
    Target { corpus, syntax: Syntax::Text, read: Box::new(read) }
}
