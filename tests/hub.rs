//! Models and data from a Hub, which is a local server in these tests.

mod common;

use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

use common::{reproducible, says, tiny_pair, with, Run, Sandbox};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{json, Value};

#[path = "common/fake_hub.rs"]
mod fake_hub;
use fake_hub::FakeHub;

const TEACHER: &str = "1111111111111111111111111111111111111111";
const STUDENT: &str = "2222222222222222222222222222222222222222";
const DATA: &str = "3333333333333333333333333333333333333333";

/// SST-2 as the Hub has it: `sentence`, `label`, `idx`.
fn parquet(tsv: &str) -> Vec<u8> {
    let schema = "message glue { required binary sentence (UTF8); required int64 label; required int64 idx; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let rows: Vec<_> = tsv.lines().skip(1).map(|line| line.split_once('\t').unwrap()).collect();
    let sentences: Vec<ByteArray> = rows.iter().map(|row| ByteArray::from(row.0)).collect();
    let labels: Vec<i64> = rows.iter().map(|row| row.1.parse().unwrap()).collect();
    let ids: Vec<i64> = (0..rows.len() as i64).collect();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&sentences, None, None).unwrap();
    column.close().unwrap();
    for values in [&labels, &ids] {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(values, None, None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

/// A Hub with the pair of [`tiny_pair`] and its data, and that pair's arguments.
fn hub() -> (Sandbox, Vec<String>, FakeHub) {
    let (sandbox, pair) = tiny_pair();
    let server = FakeHub::start();
    for (role, revision, commit) in [("teacher", "main", TEACHER), ("student", "v1.0", STUDENT)] {
        server.put_revision(&format!("models/org/{role}"), revision, commit);
        let folder = sandbox.path(role);
        for name in common::names_in(&folder) {
            server.put_file(commit, &name, &fs::read(folder.join(&name)).unwrap());
        }
    }
    server.put_revision("datasets/nyu-mll/glue", "main", DATA);
    for (split, file) in [("train", "train"), ("validation", "dev")] {
        let bytes = parquet(&sandbox.read(&format!("glue/SST-2/{file}.tsv")));
        server.put_file(DATA, &format!("sst2/{split}-00000-of-00001.parquet"), &bytes);
    }
    (sandbox, pair, server)
}

const FROM_HUB: [&str; 6] =
    ["--task", "sst2", "--teacher", "org/teacher", "--student", "org/student@v1.0"];

/// Runs `audit` against the Hub at `url`.
fn run(sandbox: &Sandbox, url: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = sandbox.command();
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", url);
    command.envs(variables.iter().copied());
    command.args(with(arguments, &["--format", "json"]));
    Run::of(command)
}

/// The figures of each row, which do not depend on where models and data come from.
fn figures(report: &Value) -> Vec<Value> {
    let rows = report["tasks"].as_array().unwrap().iter().cloned();
    let without_place = |mut row: Value| {
        for place in ["seconds", "rows_from_cache", "data_files", "data_sha256", "data_revision"] {
            row[place] = Value::Null;
        }
        row
    };
    rows.map(without_place).collect()
}

#[test]
fn an_audit_from_the_hub_is_the_audit_from_folders_and_needs_the_hub_once() {
    let (sandbox, pair, server) = hub();
    let first = run(&sandbox, &server.url, &FROM_HUB, &[]);
    says(&first.stderr, &["downloading", "model.safetensors", "train-00000-of-00001.parquet"]);
    let report = first.json();
    assert_eq!(first.code, report["exit_code"]);
    assert_eq!(figures(&report), figures(&sandbox.report(&pair)));
    let models = report["manifest"]["models"].as_array().unwrap();
    assert_eq!(
        (&models[0]["revision"], &models[1]["revision"]),
        (&json!(TEACHER), &json!(STUDENT))
    );
    assert_eq!(models[1]["source"], "org/student@v1.0");
    says(&report["tasks"][0]["data_files"].to_string(), &["nyu-mll/glue", "sst2/train-00000"]);
    for row in report["tasks"].as_array().unwrap() {
        assert_eq!(row["data_revision"], DATA);
    }
    assert_eq!(sandbox.row(&pair)["data_revision"], Value::Null);

    // Without the Hub, from the cache: once because the user says so, once because nobody answers.
    let requests = server.requests().len();
    let closed =
        format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for variables in [&[("HF_HUB_OFFLINE", "1")][..], &[]] {
        let again = run(&sandbox, &closed, &FROM_HUB, variables);
        assert_eq!(again.code, first.code, "{}", again.stderr);
        assert_eq!(reproducible(again.json()), reproducible(report.clone()));
        assert!(!again.stderr.contains("downloading"), "{}", again.stderr);
        let noted = again.stderr.contains("taken from the cache");
        assert_eq!(noted, variables.is_empty(), "{}", again.stderr);
    }
    assert_eq!(server.requests().len(), requests);
}

#[test]
fn an_onnx_file_of_the_hub_is_audited_by_its_name_and_as_the_only_one() {
    let (sandbox, _, server) = hub();
    let commit = "4444444444444444444444444444444444444444";
    server.put_revision("models/org/exported", "v2", commit);
    let folder = common::fixture("architectures/bert");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"] {
        server.put_file(commit, name, &fs::read(folder.join(name)).unwrap());
    }
    for name in ["bert-external.onnx", "bert-external.onnx.data"] {
        let bytes = fs::read(common::fixture("onnx").join(name)).unwrap();
        server.put_file(commit, &format!("onnx/{name}"), &bytes);
    }
    sandbox.write("nli.csv", "text,label\nthe film is good,1\na bad plot,0\n");
    sandbox.write(
        "audit.toml",
        "[task.nli]\ntext = \"text\"\nlabel = \"label\"\nsplits = { train = \"nli.csv\" }\n\
         labels = [\"entailment\", \"neutral\", \"contradiction\"]\n",
    );
    let teacher = folder.to_str().unwrap();
    for student in ["org/exported@v2", "org/exported/onnx/bert-external.onnx@v2"] {
        let words = ["--task", "nli", "--teacher", teacher, "--student", student];
        let run = run(&sandbox, &server.url, &words, &[]);
        let report = run.json();
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(common::number(&report["tasks"][0], "sigma") < 1e-5);
        let model = &report["manifest"]["models"][1];
        assert_eq!((&model["revision"], &model["source"]), (&json!(commit), &json!(student)));
        let command = report["manifest"]["commands"][0]["command"].as_str().unwrap();
        let pinned = format!("{}@{commit}", student.trim_end_matches("@v2"));
        assert!(command.contains(&pinned), "{command}");
    }
    let missing = ["--task", "nli", "--teacher", teacher, "--student", "org/exported/no.onnx@v2"];
    run(&sandbox, &server.url, &missing, &[]).fails(3, &["no.onnx"]);
}

#[test]
fn the_token_is_sent_with_every_request_and_printed_nowhere() {
    let (sandbox, _, server) = hub();
    let token = [("HF_TOKEN", "hf_secret")];
    let run = run(&sandbox, &server.url, &FROM_HUB, &token);
    assert!(run.code < 2, "{}", run.stderr);
    let log = server.state.log.lock().unwrap();
    assert!(log.len() > 8);
    assert!(log.iter().all(|(_, token)| token.as_deref() == Some("Bearer hf_secret")), "{log:?}");
    assert!(!run.stdout.contains("hf_secret") && !run.stderr.contains("hf_secret"));
}

#[test]
fn a_repository_or_a_revision_that_is_not_there_is_named() {
    let (sandbox, _, server) = hub();
    for (student, words) in [
        ("org/none@v9", &["no model `org/none`", "404", "`v9`", "HF_TOKEN"][..]),
        ("org/student@v9", &["`org/student`", "no revision `v9`", "branch, a tag"]),
        ("org/student", &["`org/student`", "`main`"]),
    ] {
        let pair = ["--task", "sst2", "--teacher", "org/teacher", "--student", student];
        let run = run(&sandbox, &server.url, &pair, &[]);
        run.fails(3, words);
        let report = run.json();
        assert_eq!(report["verdict"], "error");
        let error = &report["tasks"][0]["error"];
        says(&format!("{} {}", error["message"], error["hint"]), words);
    }
}

#[test]
fn a_user_s_own_task_takes_its_data_set_at_its_revision() {
    let (sandbox, pair, server) = hub();
    let config = format!(
        "[task.films]\ndataset = \"nyu-mll/glue@{DATA}\"\nsubset = \"sst2\"\ntext = \"sentence\"\n\
         label = \"label\"\nlabels = [\"negative\", \"positive\"]\n"
    );
    sandbox.write("audit.toml", config);
    let films = with(&["--task", "films"], &FROM_HUB[2..]);
    let films: Vec<&str> = films.iter().map(String::as_str).collect();
    let report = run(&sandbox, &server.url, &films, &[]).json();
    let expected = sandbox.report(&pair);
    for (row, expected) in
        report["tasks"].as_array().unwrap().iter().zip(expected["tasks"].as_array().unwrap())
    {
        assert_eq!((&row["sigma"], &row["split"]), (&expected["sigma"], &expected["split"]));
        assert_eq!(row["teacher"]["accuracy"], expected["teacher"]["accuracy"]);
    }
    let asked = format!("/datasets/nyu-mll/glue/resolve/{DATA}/sst2/train-00000-of-00001.parquet");
    assert!(server.requests().contains(&asked), "{:?}", server.requests());
}

/// Nobody answers, and the cache does: said once for a repository, whatever is run.
#[test]
fn what_was_taken_from_the_cache_is_said_once() {
    let (sandbox, _, server) = hub();
    sandbox.write(
        "audit.toml",
        "[task.films]\ndataset = \"nyu-mll/glue\"\nsubset = \"sst2\"\ntext = \"sentence\"\n\
         label = \"label\"\nlabels = [\"negative\", \"positive\"]\n",
    );
    let both = with(&["--task", "sst2,films"], &FROM_HUB[2..]);
    let both: Vec<&str> = both.iter().map(String::as_str).collect();
    run(&sandbox, &server.url, &both, &[]);
    let closed =
        format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let said = |stderr: &str, repo: &str| {
        let notes = stderr.lines().filter(|line| line.contains("taken from the cache"));
        notes.filter(|line| line.contains(repo)).count()
    };
    let again = run(&sandbox, &closed, &both, &[]).stderr;
    for repo in ["nyu-mll/glue", "org/teacher", "org/student"] {
        assert_eq!(said(&again, repo), 1, "{repo}: {again}");
    }
    let what = ["predict", "--task", "sst2", "--model", "org/teacher", "--output", "t.csv"];
    let mut command = sandbox.command();
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &closed).args(what);
    let predicted = common::Run::of(command);
    assert_eq!(predicted.code, 0, "{}", predicted.stderr);
    assert_eq!(said(&predicted.stderr, "org/teacher"), 1, "{}", predicted.stderr);
}

/// The audit of [`FROM_HUB`] with a token, as a run of its own.
fn hostile(server: &FakeHub, sandbox: &Sandbox) -> Run {
    let timeout = [("HF_TOKEN", "hf_secret"), ("HF_HUB_DOWNLOAD_TIMEOUT", "1")];
    let run = run(sandbox, &server.url, &FROM_HUB, &timeout);
    assert!(!run.stdout.contains("hf_secret") && !run.stderr.contains("hf_secret"));
    run
}

#[test]
fn a_hostile_hub_ends_in_an_error_and_writes_nothing_outside_of_the_cache() {
    use std::time::Duration;

    use fake_hub::Reply;

    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("file");
    let tag = format!("ETag: \"{}\"\r\n", target.display());
    let upwards = format!("ETag: \"../../../../../../../../..{}\"\r\n", target.display());
    let listing = format!("{{\"sha\": \"../../../..{}\", \"siblings\": []}}", target.display());
    type Hostile = Box<dyn Fn() -> Reply + Send>;
    let cases: Vec<(&str, &str, Hostile)> = vec![
        ("/resolve/", "the ETag", Box::new(move || Reply::new(200, &tag, b"x"))),
        ("/resolve/", "the ETag", Box::new(move || Reply::new(200, &upwards, b"x"))),
        ("/resolve/", "redirects more than", Box::new(|| Reply::to("config.json", ""))),
        (
            "/resolve/",
            "compressed",
            Box::new(|| Reply::new(200, "Content-Encoding: gzip\r\n", b"x")),
        ),
        (
            "/resolve/",
            "too slowly",
            Box::new(|| Reply::endless("", b" ", Duration::from_millis(100))),
        ),
        ("/api/", "is not a commit", Box::new(move || Reply::new(200, "", listing.as_bytes()))),
        (
            "/api/",
            "more than 16 MiB",
            Box::new(|| Reply::endless("", &[b' '; 1 << 20], Duration::ZERO)),
        ),
        ("/api/", "too slowly", Box::new(|| Reply::endless("", b" ", Duration::from_millis(100)))),
    ];
    for (part, words, reply) in cases {
        let (sandbox, _, server) = hub();
        let names_only = words == "the ETag";
        server.state.lists_names_only.store(names_only, std::sync::atomic::Ordering::SeqCst);
        server.answer_with(move |path, _| path.contains(part).then(&reply));
        hostile(&server, &sandbox).fails(3, &[words]);
        assert!(!target.exists(), "{words}");
    }
}

#[test]
fn the_token_stays_with_the_hub_that_it_is_for() {
    use fake_hub::Reply;

    let (sandbox, _, server) = hub();
    let (_kept, _, other) = hub();
    let url = other.url.clone();
    let headers = |file: &str| {
        let bytes = fs::read(sandbox.path("student").join(file)).unwrap();
        format!("X-Linked-Etag: \"{}\"\r\n", fake_hub::tag(file, &bytes))
    };
    let headers = headers("model.safetensors");
    server.answer_with(move |path, _| {
        let is_large = path.ends_with("model.safetensors") || path.ends_with(".parquet");
        is_large.then(|| Reply::to(&format!("{url}{path}"), &headers))
    });
    let run = hostile(&server, &sandbox);
    assert!(run.code < 2, "{}", run.stderr);
    assert!(other.tokens().len() >= 4 && other.tokens().iter().all(Option::is_none));
    assert!(server.tokens().iter().all(|token| token.as_deref() == Some("Bearer hf_secret")));
}

/// A student's config and weights in the cache are replaced, as by somebody who can write there.
#[test]
fn planted_bytes_in_the_cache_do_not_decide_a_gate() {
    let (sandbox, _, server) = hub();
    let first = run(&sandbox, &server.url, &FROM_HUB, &[]).json();
    let snapshots = sandbox.path("hf/hub/models--org--student/snapshots").join(STUDENT);
    let teacher = sandbox.path("hf/hub/models--org--teacher/snapshots").join(TEACHER);
    for file in ["config.json", "model.safetensors"] {
        fs::write(snapshots.join(file), fs::read(teacher.join(file)).unwrap()).unwrap();
    }
    let again = run(&sandbox, &server.url, &FROM_HUB, &[]);
    says(&again.stderr, &["`model.safetensors` of model `org/student`", "downloaded again"]);
    assert_eq!(figures(&again.json()), figures(&first));
}
