//! Data in the layout of the GLUE release, with its quirks, from sentences that the fixtures'
//! tokenizers know.

use super::Sandbox;

/// Examples of each split that [`write`] makes; QQP's training set has [`QQP`].
pub const TRAIN: usize = 24;
pub const VALIDATION: usize = 9;
/// Enough rows for one that is broken to be one in a thousand at most.
pub const QQP: usize = 999;

const SUBJECTS: [&str; 5] = ["the film", "a movie", "the plot", "the ending", "the story"];
const VERBS: [&str; 3] = ["is", "has", "liked"];
const QUALITIES: [&str; 7] = ["good", "great", "bad", "slow", "moving", "charming", "nothing"];

/// The labels of a task, in id order.
pub fn labels(task: &str) -> &'static [&'static str] {
    match task {
        "cola" => &["unacceptable", "acceptable"],
        "sst2" => &["negative", "positive"],
        "mrpc" => &["not_equivalent", "equivalent"],
        "qqp" => &["not_duplicate", "duplicate"],
        "qnli" | "rte" => &["entailment", "not_entailment"],
        "mnli" => &["entailment", "neutral", "contradiction"],
        other => panic!("no labels for {other}"),
    }
}

/// Sentence number `i`: another one for each of the first 105.
pub fn sentence(i: usize) -> String {
    let (subject, verb, quality) = (SUBJECTS[i % 5], VERBS[i / 5 % 3], QUALITIES[i % 7]);
    let tail = ["", ", and it is long", " but not very bad!", "; a good act?"][i / 3 % 4];
    format!("{subject} {verb} {quality}{tail}")
}

/// Label id number `i` of `count`, in no simple order.
fn label(i: usize, count: usize) -> usize {
    (i * 7 + i / 3) % count
}

/// The rows of a file: `row(i, sentence, another, label id)` for each, and a line end after it.
fn lines(
    n: usize,
    labels: usize,
    end: &str,
    row: impl Fn(usize, &str, &str, usize) -> String,
) -> String {
    let line = |i| row(i, &sentence(i), &sentence(3 * i + 1), label(i, labels)) + end;
    (0..n).map(line).collect()
}

/// Writes the six tasks' training and validation splits below `folder`, and SST-2's test split.
///
/// CoLA has no header; MRPC begins with a byte-order mark, has `#1 String` columns and CRLF; one
/// row of QQP lacks columns; SST-2 has a stray quote; QNLI and RTE name their labels; RTE's last
/// line has no end.
pub fn write(sandbox: &Sandbox, folder: &str) -> String {
    for (split, n) in [("train", TRAIN), ("dev", VALIDATION)] {
        let put = |file: &str, text: String| sandbox.write(&format!("{folder}/{file}"), text);
        let cola = lines(n, 2, "\n", |i, a, _, y| format!("src{i}\t{y}\t\t{a}"));
        put(&format!("CoLA/{split}.tsv"), cola);
        let sst2 = lines(n - 1, 2, "\n", |_, a, _, y| format!("{a} \t{y}"));
        put(&format!("SST-2/{split}.tsv"), format!("sentence\tlabel\n\"good film\t1\n{sst2}"));
        let mrpc = lines(n, 2, "\r\n", |i, a, b, y| format!("{y}\t{i}\t{i}0\t{a}\t{b}"));
        let header = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n";
        put(&format!("MRPC/{split}.tsv"), header.to_owned() + &mrpc);
        let n_qqp = if split == "train" { QQP } else { n };
        let qqp = lines(n_qqp, 2, "\n", |i, a, b, y| format!("{i}\t{i}\t{i}0\t{a}\t{b}\t{y}"));
        let broken = if split == "train" { "990\t1\t2\tgood film\n" } else { "" };
        let header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
        put(&format!("QQP/{split}.tsv"), format!("{header}{qqp}{broken}"));
        for (task, header) in [
            ("QNLI", "index\tquestion\tsentence\tlabel\n"),
            ("RTE", "index\tsentence1\tsentence2\tlabel\n"),
        ] {
            let names = labels("rte");
            let rows = lines(n, 2, "\n", |i, a, b, y| format!("{i}\t{a}\t{b}\t{}", names[y]));
            let rows = if task == "RTE" { rows.trim_end() } else { &rows };
            put(&format!("{task}/{split}.tsv"), format!("{header}{rows}"));
        }
    }
    let test = lines(VALIDATION, 2, "\n", |i, a, _, _| format!("{i}\t{a}"));
    sandbox.write(&format!("{folder}/SST-2/test.tsv"), format!("index\tsentence\n{test}"));
    sandbox.arg(folder)
}

/// Writes MNLI's training and matched validation splits below `folder`.
pub fn write_mnli(sandbox: &Sandbox, folder: &str) -> String {
    for (split, n) in [("train", TRAIN), ("dev_matched", VALIDATION)] {
        let names = labels("mnli");
        let rows = lines(n, 3, "\n", |i, a, b, y| format!("{i}\t{a}\t{b}\t{}", names[y]));
        let text = format!("index\tsentence1\tsentence2\tgold_label\n{rows}");
        sandbox.write(&format!("{folder}/MNLI/{split}.tsv"), text);
    }
    sandbox.arg(folder)
}

/// One teacher and one student for each of the six tasks: `models/TASK/teacher` and so on.
pub fn write_models(sandbox: &Sandbox) {
    for task in super::SIX {
        let labels = labels(task);
        sandbox.checkpoint(&format!("models/{task}/teacher"), "architectures/distilbert", labels);
        sandbox.checkpoint(&format!("models/{task}/student"), "architectures/electra", labels);
    }
}

/// The arguments of an audit of [`write_models`]'s models over [`write`]'s data.
pub const SUITE: [&str; 6] =
    ["--teacher", "models/{task}/teacher", "--student", "models/{task}/student", "--data", "glue"];
