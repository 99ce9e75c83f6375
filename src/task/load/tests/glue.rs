//! GLUE's official release and its special cases.

use super::*;
use std::io::Write;

#[test]
fn quotes_are_data_and_the_last_line_needs_no_end() {
    let folder = Folder::new();
    let text = "sentence\tlabel\na \"stray quote\t1\n\"\"\t0\nlast\t1";
    folder.write("SST-2/train.tsv", text);
    let data = folder.load("sst2", "train").unwrap();
    let expected =
        [example("a \"stray quote", Some(1)), example("\"\"", Some(0)), example("last", Some(1))];
    assert_eq!(data.examples, expected);
    assert_eq!((data.task.as_str(), data.split.as_str(), data.available), ("sst2", "train", 3));
    assert_eq!(data.label_names, ["negative", "positive"]);
    assert_eq!(data.unlabelled, None);
    assert_eq!(data.sha256, sha256_of_inputs(&data.files).unwrap());
}

#[test]
fn mrpc_has_a_byte_order_mark_and_numbered_columns() {
    let folder = Folder::new();
    let text =
        "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\tone \" .\ttwo .\r\n";
    folder.write("MRPC/train.tsv", text);
    folder.write("MRPC/msr_paraphrase_test.txt", text);
    let expected = [pair("one \" .", "two .", Some(1))];
    assert_eq!(folder.load("mrpc", "train").unwrap().examples, expected);
    assert_eq!(folder.load("mrpc", "test").unwrap().examples, expected);
}

#[test]
fn cola_has_no_header_but_in_its_test_split() {
    let folder = Folder::new();
    folder.write("CoLA/dev.tsv", "gj04\t1\t\tIt rained.\nclc95\t0\t*\tRained it.\n");
    folder.write("CoLA/test.tsv", "index\tsentence\n0\tIt snowed.\n");
    let dev = folder.load("cola", "dev").unwrap();
    assert_eq!(dev.split, "validation");
    assert_eq!(dev.examples, [example("It rained.", Some(1)), example("Rained it.", Some(0))]);
    let test = folder.load("cola", "test").unwrap();
    assert_eq!(test.examples, [example("It snowed.", None)]);
    says(test.unlabelled.as_deref().unwrap(), &["test.tsv", "no column `label`"]);
}

#[test]
fn each_task_reads_the_columns_of_the_release() {
    let folder = Folder::new();
    let rte = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tnot_entailment\n";
    let qnli = "index\tquestion\tsentence\tlabel\n0\ta\tb\tentailment\n";
    let wnli = "index\tsentence1\tsentence2\tlabel\n0\ta\tb\t1\n";
    let qqp = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\ta\tb\t1\n";
    let mnli =
        "index\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label\n\
                0\t( a\t( b\ta\tb\tentailment\tneutral\n";
    folder.write("RTE/train.tsv", rte);
    folder.write("QNLI/train.tsv", qnli);
    folder.write("WNLI/train.tsv", wnli);
    folder.write("QQP/train.tsv", qqp);
    folder.write("MNLI/train.tsv", mnli);
    folder.write("MNLI/dev_matched.tsv", mnli);
    folder.write("MNLI/dev_mismatched.tsv", mnli.replace("\ta\tb\t", "\tc\td\t"));
    let only = |task: &str, split: &str| folder.load(task, split).unwrap().examples[0].clone();
    assert_eq!(only("rte", "train"), pair("a", "b", Some(1)));
    assert_eq!(only("qnli", "train"), pair("a", "b", Some(0)));
    assert_eq!(only("wnli", "train"), pair("a", "b", Some(1)));
    assert_eq!(only("qqp", "train"), pair("a", "b", Some(1)));
    assert_eq!(only("mnli", "train"), pair("a", "b", Some(1)));
    assert_eq!(only("mnli-mm", "train"), pair("a", "b", Some(1)));
    assert_eq!(only("mnli", "validation"), pair("a", "b", Some(1)));
    assert_eq!(only("mnli-mm", "validation"), pair("c", "d", Some(1)));
}

#[test]
fn rows_with_missing_columns_are_skipped_counted_and_bounded() {
    let folder = Folder::new();
    let mut text = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n".to_owned();
    text.push_str(&"0\t1\t2\ta\tb\t0\n".repeat(998));
    text.push_str("0\t1\t2\tcut\n");
    let enough = format!("{text}0\t1\t2\ta\tb\t1\n"); // 1 of 1,000 is not more than one in 1,000
    folder.write("QQP/train.tsv", enough);
    let data = folder.load("qqp", "train").unwrap();
    assert_eq!((data.available, data.skipped.len()), (999, 1));
    assert_eq!(data.skipped[0].line, 1000);
    says(&data.skipped[0].reason, &["question2", "the row ends before it"]);

    let path = folder.write("QQP/train.tsv", &text); // 1 of 999
    let error = failure(folder.load("qqp", "train"));
    says(&error, &["1 of 999 rows", &path.display().to_string(), "line 1000", "--allow-skipped"]);
    let hub = offline(folder.path());
    let options = LoadOptions { allow_skipped: true, ..folder.options(&hub) };
    let data = load(&TaskSpec::glue("qqp").unwrap(), "train", &options).unwrap();
    assert_eq!((data.available, data.skipped.len()), (998, 1));
}

#[test]
fn a_row_with_a_tab_too_many_is_not_read_with_shifted_columns() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", "sentence\tlabel\na\tb\t1\n");
    refuses(&folder, &["line 2", "3 columns where the header has 2"]);
    folder.write("SST-2/train.tsv", "sentence\tlabel\na\t1\t\n\n\n");
    assert_eq!(folder.load("sst2", "train").unwrap().examples, [example("a", Some(1))]);
    folder.write("SST-2/train.tsv", "sentence\tlabel\na\t1\n\nb\t0\n");
    refuses(&folder, &["line 3", "an empty line"]);
}

#[test]
fn an_empty_text_is_data() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", "sentence\tlabel\n\t1\n");
    assert_eq!(folder.load("sst2", "train").unwrap().examples, [example("", Some(1))]);
}

#[test]
fn the_real_files_have_the_published_numbers_of_rows() {
    let Some(root) = std::env::var_os("AUDIT_TEST_DATA") else {
        // Written directly, as the test harness hides the output of a passing test.
        std::io::stderr().write_all(b"skipped: AUDIT_TEST_DATA is not set\n").unwrap();
        return;
    };
    let data = Some(PathBuf::from(root).join("glue"));
    let hub = offline(std::path::Path::new("."));
    let options = LoadOptions { data, limit: None, allow_skipped: false, ids: &[], hub: &hub };
    for (task, train, validation) in [
        ("sst2", 67_349, 872),
        ("cola", 8_551, 1_043),
        ("mrpc", 3_668, 408),
        ("rte", 2_490, 277),
        ("wnli", 635, 71),
    ] {
        let spec = TaskSpec::glue(task).unwrap();
        for (split, rows) in [("train", train), ("validation", validation)] {
            assert!(has_split(&spec, split, &options).unwrap());
            let data = load(&spec, split, &options).unwrap();
            assert_eq!((data.available, data.skipped.len()), (rows, 0), "{task} {split}");
            assert!(data.examples.iter().all(|example| example.label.is_some()));
        }
        assert!(!has_split(&spec, "test", &options).unwrap());
    }
    let qnli = TaskSpec::glue("qnli").unwrap();
    assert_eq!(load(&qnli, "dev", &options).unwrap().available, 5_463);
    assert_eq!(load(&qnli, "train.sample10pct", &options).unwrap().available, 10_475);
    let table = "text = ['question1', 'question2']\nlabel = 'is_duplicate'\n\
                 labels = ['not_duplicate', 'duplicate']\nsplits = { train = 'quora-sample/pairs.tsv' }";
    let quora = load(&custom(table, std::path::Path::new(".")), "train", &options).unwrap();
    assert_eq!((quora.available, quora.skipped.len()), (9_917, 0));
}
