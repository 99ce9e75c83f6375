//! Wrong labels and damaged files.

use super::*;

#[test]
fn a_damaged_file_is_refused_with_its_place() {
    let tsv = "SST-2/train.tsv";
    let in_line: &[&str] = &["line 3", "column `sentence`", "byte 2 of the line is not UTF-8"];
    let in_field: &[&str] = &["line 3", "column `sentence`", "byte 2 of the field is not UTF-8"];
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    let unknown: &[&str] = &["line 3", "column `label`", "label 2", "[negative, positive]"];
    let cases: [(&str, &[u8], &[&str]); 10] = [
        // Wrong labels.
        (tsv, b"sentence\tlabel\na\t1\nb\t2\n", unknown),
        (
            tsv,
            b"sentence\tlabel\na\tpositve\n",
            &["line 2", "`positve`", "did you mean `positive`?"],
        ),
        // Empty splits.
        (tsv, b"sentence\tlabel\n", &["is empty"]),
        (tsv, b"", &["is empty"]),
        // Invalid UTF-8.
        (tsv, b"sentence\tlabel\na\t1\nb\xFFc\t1\n", in_line),
        ("train.csv", b"label,sentence\n1,a\n1,\"b\xFF\"\n", in_field),
        (
            "train.jsonl",
            b"{\"sentence\": \"\"}\n{\"sentence\": \"\xFF\"}",
            &["line 2", "not UTF-8"],
        ),
        // Not text.
        (tsv, b"sentence\tlabel\na\0b\t1\n", &["line 2", "NUL byte"]),
        (tsv, b"\xFF\xFEs\0e\0", &["UTF-16"]),
        (tsv, pointer, &["Git LFS pointer", "git lfs pull"]),
    ];
    for (name, bytes, parts) in cases {
        let folder = Folder::new();
        let path = folder.write(name, bytes).display().to_string();
        refuses(&folder, &[&[path.as_str()], parts].concat());
    }
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
fn a_line_of_ten_megabytes_is_read_and_one_beyond_the_bound_is_refused() {
    let folder = Folder::new();
    let long = "x".repeat(10_000_000);
    folder.write("SST-2/train.tsv", format!("sentence\tlabel\n{long}\t1\nb\t0\n"));
    let data = folder.load("sst2", "train").unwrap();
    assert_eq!((data.examples[0].text.len(), data.available), (10_000_000, 2));
    let longer = "x".repeat(17 << 20);
    folder.write("SST-2/train.tsv", format!("sentence\tlabel\na\t1\n{longer}\t1\n"));
    refuses(&folder, &["line 3", "longer than 16 MiB"]);
    std::fs::remove_dir_all(folder.path().join("SST-2")).unwrap();
    folder.write("train.csv", format!("sentence,label\na,1\n{longer},1\n"));
    refuses(&folder, &["line 3", "longer than 16 MiB"]);
}
