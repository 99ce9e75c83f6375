//! Wrong labels and damaged files.

use super::*;

#[test]
fn a_wrong_label_is_an_error_at_its_place() {
    let folder = Folder::new();
    let path = folder.write("SST-2/train.tsv", "sentence\tlabel\na\t1\nb\t2\n");
    let path = path.display().to_string();
    let error = failure(folder.load("sst2", "train"));
    says(&error, &[&path, "line 3", "column `label`", "label 2", "[negative, positive]"]);
    folder.write("SST-2/train.tsv", "sentence\tlabel\na\tpositve\n");
    let error = failure(folder.load("sst2", "train"));
    says(&error, &[&path, "line 2", "`positve`", "did you mean `positive`?"]);
}

#[test]
fn minus_one_everywhere_is_an_unlabelled_split() {
    let folder = Folder::new();
    folder.write("SST-2/test.tsv", "sentence\tlabel\na\t-1\nb\t-1\n");
    let data = folder.load("sst2", "test").unwrap();
    assert_eq!(data.examples, [example("a", None), example("b", None)]);
    says(data.unlabelled.as_deref().unwrap(), &["no row", "has a label"]);
}

#[test]
fn an_empty_split_is_an_error() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", "sentence\tlabel\n");
    says(&failure(folder.load("sst2", "train")), &["is empty", "train.tsv"]);
    folder.write("SST-2/train.tsv", "");
    says(&failure(folder.load("sst2", "train")), &["is empty", "train.tsv"]);
}

#[test]
fn invalid_utf8_is_named_by_file_line_column_and_byte() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", b"sentence\tlabel\na\t1\nb\xFFc\t1\n");
    let error = failure(folder.load("sst2", "train"));
    says(&error, &["train.tsv", "line 3", "column `sentence`", "byte 2 is not UTF-8"]);
    let folder = Folder::new();
    folder.write("train.csv", b"label,sentence\n1,a\n1,\"b\xFF\"\n");
    let error = failure(folder.load("sst2", "train"));
    says(&error, &["train.csv", "line 3", "column `sentence`", "byte 2 is not UTF-8"]);
    let folder = Folder::new();
    folder.write("train.jsonl", b"{\"sentence\": \"a\"}\n{\"sentence\": \"b\xFF\"}\n");
    says(&failure(folder.load("sst2", "train")), &["train.jsonl", "line 2", "not UTF-8"]);
}

#[test]
fn files_that_are_not_text_are_refused() {
    let folder = Folder::new();
    folder.write("SST-2/train.tsv", b"sentence\tlabel\na\0b\t1\n");
    says(&failure(folder.load("sst2", "train")), &["line 2", "NUL byte"]);
    folder.write("SST-2/train.tsv", b"\xFF\xFEs\0e\0");
    says(&failure(folder.load("sst2", "train")), &["UTF-16"]);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    folder.write("SST-2/train.tsv", pointer);
    says(&failure(folder.load("sst2", "train")), &["Git LFS pointer", "git lfs pull"]);
}

#[test]
fn a_line_of_ten_megabytes_is_read_and_one_beyond_the_bound_is_refused() {
    let folder = Folder::new();
    let long = "x".repeat(10_000_000);
    folder.write("SST-2/train.tsv", format!("sentence\tlabel\n{long}\t1\nb\t0\n"));
    let data = folder.load("sst2", "train").unwrap();
    assert_eq!((data.examples[0].text.len(), data.available), (10_000_000, 2));
    let longer = "x".repeat(17 << 20);
    folder.write("SST-2/train.tsv", format!("sentence\tlabel\na\t1\n{longer}\t1\n"));
    says(&failure(folder.load("sst2", "train")), &["line 3", "longer than 16 MiB"]);
    std::fs::remove_dir_all(folder.path().join("SST-2")).unwrap();
    folder.write("train.csv", format!("sentence,label\na,1\n{longer},1\n"));
    says(&failure(folder.load("sst2", "train")), &["line 3", "longer than 16 MiB"]);
}
