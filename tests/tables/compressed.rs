//! Tables and data in .gz and .zst.

use std::io::Write;

use flate2::write::GzEncoder;

use super::common::{glue, with, Sandbox};
use super::*;

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 3).unwrap()
}

#[test]
fn compressed_tables_are_read_and_hashed_as_they_are() {
    let sandbox = Sandbox::new();
    let cells = |i| format!("{i},");
    sandbox.write("t.csv", csv("id,", &in_order(), cells, margin));
    let text = csv("id,", &in_order(), cells, student_margin);
    sandbox.write("s.csv", &text);
    let expected = sandbox.row(&check("t.csv", "s.csv"));
    let json = |i: usize| {
        format!(
            "{{\"id\": {i}, \"logit_negative\": {}, \"logit_positive\": 0}}\n",
            student_margin(i)
        )
    };
    let jsonl: String = (0..ROWS).map(json).collect();
    for (name, bytes) in [
        ("s.csv.gz", gzip(&text)),
        ("s.CSV.GZ", gzip(&text)),
        ("s.csv.zst", zstd(&text)),
        ("s.tsv.gz", gzip(&text.replace(',', "\t"))),
        ("s.jsonl.gz", gzip(&jsonl)),
        ("s.jsonl.zst", zstd(&jsonl)),
    ] {
        sandbox.write(name, &bytes);
        let report = sandbox.report(&check("t.csv", name));
        assert_eq!(report["tasks"][0]["sigma"], expected["sigma"], "{name}");
        let digest = confidence_audit::digest::sha256_of_parts([&bytes[..]]);
        assert_eq!(report["manifest"]["models"][1]["weights_sha256"], digest.as_str(), "{name}");
    }
    let (header, rows) = text.split_once('\n').unwrap();
    let lines: Vec<&str> = rows.lines().collect();
    for (i, part) in lines.chunks(15).enumerate() {
        sandbox
            .write(&format!("part-{i}.csv.gz"), gzip(&format!("{header}\n{}\n", part.join("\n"))));
    }
    assert_eq!(sandbox.row(&check("t.csv", "part-*.csv.gz"))["sigma"], expected["sigma"]);
    for (name, words) in [
        ("s.parquet.gz", ["compressed again", "gunzip s.parquet.gz"]),
        ("s.parquet.zst", ["compressed again", "zstd -d s.parquet.zst"]),
        ("bad.csv.gz", ["bad.csv.gz", "not compressed with gzip"]),
    ] {
        sandbox.write(name, "PAR1");
        sandbox.audit(&check("t.csv", name)).fails(3, &words);
    }
    let bomb = zstd::encode_all(&vec![b'0'; 80 << 20][..], 3).unwrap();
    refused_file("bomb.csv.zst", bomb, &["unpacks to more than 6", "MiB", "zstd -d bomb.csv.zst"]);
}

#[test]
fn compressed_data_of_a_task_is_read_by_predict_and_audit() {
    let sandbox = Sandbox::new();
    let labels = ["no", "yes"];
    for (model, from) in [("t", "architectures/distilbert"), ("s", "architectures/electra")] {
        sandbox.checkpoint(model, from, &labels);
    }
    let text = |i: usize| format!("{},{}\n", glue::sentence(i).replace(',', ""), labels[i % 2]);
    let all: String = (0..12).map(text).collect();
    sandbox.write("plain.csv", format!("x,y\n{all}"));
    sandbox.write("dev.csv.zst", zstd(&format!("x,y\n{all}")));
    for (i, range) in [0..5, 5..12].into_iter().enumerate() {
        let rows: String = range.map(text).collect();
        sandbox.write(&format!("reviews-{i}.csv.gz"), gzip(&format!("x,y\n{rows}")));
    }
    let table = |name: &str, splits: &str| {
        format!(
            "[task.{name}]\ntext = \"x\"\nlabel = \"y\"\nlabels = [\"no\", \"yes\"]\n{splits}\n"
        )
    };
    let plain = table("plain", "splits = { train = \"plain.csv\" }");
    let packed = table("packed", "splits = { train = \"reviews-*.csv.gz\" }");
    sandbox.write("audit.toml", format!("{plain}{packed}{}", table("found", "")));
    let sigma = |task: &str, split: &str| {
        let models = ["--task", task, "--teacher", "t", "--student", "s", "--split", split];
        let row = sandbox.row(&with(&models, &["--no-cache"]));
        assert_eq!(row["n"], 12);
        row["sigma"].clone()
    };
    let expected = sigma("plain", "train");
    assert_eq!(sigma("packed", "train"), expected);
    assert_eq!(sigma("found", "dev"), expected, "dev.csv.zst, without `splits`");
    // A file that is not compressed is read first, under any name of the split.
    sandbox.write("validation.csv.gz", gzip("x,y\ngood film,yes\n"));
    sandbox.write("val.csv", format!("x,y\n{all}"));
    assert_eq!(sigma("found", "validation"), expected);
    for (task, file) in [("plain", "a.csv"), ("packed", "b.csv")] {
        let what =
            ["predict", "--task", task, "--model", "t", "--split", "train", "--output", file];
        assert_eq!(sandbox.audit(&what).code, 0);
    }
    assert_eq!(sandbox.read("a.csv"), sandbox.read("b.csv"));
    // The reader of data names a separator too.
    sandbox.write("plain.csv", "x;y\ngood film;yes\n");
    let what =
        ["predict", "--task", "plain", "--model", "t", "--split", "train", "--output", "c.csv"];
    sandbox.audit(&what).fails(3, &["plain.csv", "semicolons", "decimal points"]);
}
