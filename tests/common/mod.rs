//! Shared by the tests of the program: a folder to run `audit` in, checkpoints and data.

#![allow(dead_code)] // every test file uses a part of this

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use confidence_audit::report::{Format, Report};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use tempfile::TempDir;

pub mod glue;

/// The tasks that `--task all` means, in the order of the report.
pub const SIX: [&str; 6] = ["cola", "sst2", "mrpc", "qqp", "qnli", "rte"];

/// What `--output-dir` leaves, sorted.
pub fn report_files() -> Vec<&'static str> {
    let mut files: Vec<&str> = Format::<Report>::files().map(|(file, _)| file).collect();
    files.sort_unstable();
    files
}

/// The first heading of a Markdown text, and all of its text as a reader sees it. HTML is there to
/// fold parts away and to break lines, and for nothing else.
#[track_caller]
pub fn read_markdown(markdown: &str) -> (String, String) {
    use pulldown_cmark::{Event, Options, Parser, TagEnd};
    let (mut heading, mut text) = (None, String::new());
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        match event {
            Event::Text(part) => text.push_str(&part),
            Event::End(TagEnd::Heading(_)) => heading = heading.or_else(|| Some(text.clone())),
            Event::Html(html) | Event::InlineHtml(html) => {
                let known = ["<details>", "</details>", "<summary>", "<br>"];
                assert!(known.iter().any(|tag| html.trim_start().starts_with(tag)), "{html}");
            }
            _ => {}
        }
    }
    (heading.expect("a heading"), text)
}

/// A folder of tests/fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A folder or file of assets/demo.
pub fn demo(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo").join(name);
    path.to_str().unwrap().to_owned()
}

/// What transformers says of the demo's models.
pub fn demo_reference() -> Value {
    serde_json::from_str(&fs::read_to_string(demo("reference.json")).unwrap()).unwrap()
}

/// SST-2's data and a tiny pair on it with σ a little above 0.05, and the arguments of its audit.
pub fn tiny_pair() -> (Sandbox, Vec<String>) {
    let sandbox = Sandbox::new();
    let data = glue::write(&sandbox, "glue");
    let labels = glue::labels("sst2");
    let teacher = sandbox.checkpoint("teacher", "architectures/distilbert", labels);
    let student = sandbox.checkpoint("student", "architectures/electra", labels);
    let models = ["--data", &data, "--teacher", &teacher, "--student", &student];
    let arguments = with(&["--task", "sst2"], &models);
    (sandbox, arguments)
}

/// The arguments of an audit of the demo's pair with that student, as SST-2.
pub fn demo_audit(student: &str) -> Vec<String> {
    let (data, teacher, student) = (demo(""), demo("teacher"), demo(student));
    let models = ["--data", &data, "--teacher", &teacher, "--student", &student];
    with(&["--task", "sst2"], &models)
}

/// The arguments of a training with `recipe` on the demo's data.
pub fn training(sandbox: &Sandbox, recipe: &str, output: &str) -> Vec<String> {
    sandbox.write(&format!("{output}.toml"), recipe);
    let (data, teacher) = (demo(""), demo("teacher"));
    let recipe = format!("{output}.toml");
    let given = ["--config", &recipe, "--data", &data, "--teacher", &teacher, "--output", output];
    with(&["distill"], &given)
}

/// Runs `audit` with `arguments` and kills it as soon as the file `state` of the sandbox is there.
pub fn kill_at(sandbox: &Sandbox, arguments: &[String], state: &str) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_audit"));
    command.env_clear().envs(sandbox.environment()).current_dir(sandbox.path(""));
    let mut child =
        command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let state = sandbox.path(state);
    while !state.exists() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(state.exists(), "it ended before it was killed");
}

/// Names of the files and folders in `folder`, sorted, and the bytes of the files.
pub fn folder_bytes(sandbox: &Sandbox, folder: &str) -> Vec<(String, Option<Vec<u8>>)> {
    let entries = fs::read_dir(sandbox.path(folder)).unwrap();
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).ok())
    };
    let mut all: Vec<_> = entries.map(entry).collect();
    all.sort();
    all
}

/// All files of the student that training decides.
pub fn student_files(sandbox: &Sandbox, folder: &str) -> Vec<Vec<u8>> {
    let read = |name: &str| fs::read(sandbox.path(folder).join(name)).unwrap();
    ["config.json", "model.safetensors", "distillation.json"].map(read).to_vec()
}

/// A temporary folder: the current one of every run, with the cache of the Hub inside it.
pub struct Sandbox {
    root: TempDir,
}

/// How one run ended.
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        Sandbox { root: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The path of `name` as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file, with the folders that it lies in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The names in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        names_in(&self.path(folder))
    }

    /// `audit` in this folder, without anything of the user's environment and without a network.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_audit"));
        command.current_dir(self.root.path()).env_clear();
        command.envs(self.environment());
        command
    }

    /// The variables that [`Sandbox::command`] sets.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HOME", self.arg("home")),
            ("HF_HOME", self.arg("hf")),
            ("HF_HUB_OFFLINE", "1".to_owned()),
            ("NO_COLOR", "1".to_owned()),
            ("TMPDIR", std::env::temp_dir().to_str().unwrap().to_owned()),
        ]
    }

    /// Runs `audit` with `arguments` to its end.
    pub fn audit<S: AsRef<str>>(&self, arguments: &[S]) -> Run {
        let mut command = self.command();
        command.args(arguments.iter().map(AsRef::as_ref));
        Run::of(command)
    }

    /// [`Sandbox::audit`] with `--format json`; the exit code must be the report's.
    pub fn report<S: AsRef<str>>(&self, arguments: &[S]) -> Value {
        let run = self.audit(&with(arguments, &["--format", "json"]));
        let report = run.json();
        assert_eq!(report["exit_code"], run.code, "{}", run.stderr);
        report
    }

    /// [`Sandbox::report`]'s first row, which must have been run.
    pub fn row<S: AsRef<str>>(&self, arguments: &[S]) -> Value {
        let row = self.report(arguments)["tasks"][0].clone();
        assert_eq!(row["error"], Value::Null);
        row
    }

    /// Copies a folder of tests/fixtures to `name`, with other label names in its config.json.
    pub fn checkpoint(&self, name: &str, from: &str, labels: &[&str]) -> String {
        copy_folder(&fixture(from), &self.path(name));
        self.edit_config(name, |config| {
            let ids = labels.iter().enumerate();
            config["id2label"] =
                ids.clone().map(|(i, l)| (i.to_string(), Value::from(*l))).collect();
            config["label2id"] = ids.map(|(i, l)| ((*l).to_owned(), Value::from(i))).collect();
        });
        self.arg(name)
    }

    /// Changes the config.json of the checkpoint `name`.
    pub fn edit_config(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        edit_json(&self.path(name).join("config.json"), edit);
    }

    /// Changes the model.safetensors of the checkpoint `name`.
    pub fn edit_weights(&self, name: &str, edit: impl FnOnce(&mut Tensors)) {
        let path = self.path(name).join("model.safetensors");
        let mut tensors = read_tensors(&fs::read(&path).unwrap());
        edit(&mut tensors);
        fs::write(&path, write_tensors(&tensors)).unwrap();
    }
}

impl Run {
    pub fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        Run {
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|e| panic!("{e}\n{}\n{}", self.stdout, self.stderr))
    }

    /// The run ended with `code`, and stderr says all of `words`.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}", self.stderr);
        says(&self.stderr, words);
        self
    }

    /// stdout holds nothing.
    #[track_caller]
    pub fn prints_no_report(&self) -> &Self {
        assert_eq!(self.stdout, "");
        self
    }
}

/// `text` holds all of `words`.
#[track_caller]
pub fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

/// `arguments` and then `more`.
pub fn with<S: AsRef<str>, T: AsRef<str>>(arguments: &[S], more: &[T]) -> Vec<String> {
    let first = arguments.iter().map(|a| a.as_ref().to_owned());
    first.chain(more.iter().map(|a| a.as_ref().to_owned())).collect()
}

/// `report` without what may differ between two runs of the same audit.
pub fn reproducible(mut report: Value) -> Value {
    for row in report["tasks"].as_array_mut().unwrap() {
        row["seconds"] = Value::Null;
        row["rows_from_cache"] = Value::Null;
    }
    report
}

/// The codes of a row's notes, in their order.
pub fn codes(row: &Value) -> Vec<&str> {
    row["notes"].as_array().unwrap().iter().map(|note| note["code"].as_str().unwrap()).collect()
}

/// The note of a row with that code.
#[track_caller]
pub fn note<'a>(row: &'a Value, code: &str) -> &'a Value {
    let notes = row["notes"].as_array().unwrap();
    let found = notes.iter().find(|note| note["code"] == code);
    found.unwrap_or_else(|| panic!("no `{code}` among {:?}", codes(row)))
}

/// A number of a row.
#[track_caller]
pub fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("`{key}` is {}", row[key]))
}

pub fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// The names in `folder`, sorted; none for a folder that is not there.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names_in(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

/// The tensors of a safetensors file by name: type, shape, bytes in row-major order.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn read_tensors(bytes: &[u8]) -> Tensors {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect()
}

pub fn write_tensors(tensors: &Tensors) -> Vec<u8> {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// Row i of the result is row `order[i]` of the tensor `name`.
pub fn reorder_rows(tensors: &mut Tensors, name: &str, order: &[usize]) {
    let (_, shape, bytes) = tensors.get_mut(name).unwrap();
    assert_eq!(shape[0], order.len());
    let width = bytes.len() / order.len();
    *bytes = order.iter().flat_map(|&row| bytes[row * width..][..width].to_vec()).collect();
}

/// Writes a row group of texts with their labels.
pub fn write_group<W: std::io::Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    texts: &[ByteArray],
    labels: &[i64],
) {
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(texts, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(labels, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
}
