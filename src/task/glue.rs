//! The GLUE tasks: labels, columns, files.

use super::spec::Metric;

/// The tasks of `all`, in the order of reports.
pub const ALL_TASKS: [&str; 6] = ["cola", "sst2", "mrpc", "qqp", "qnli", "rte"];

/// The Hub's data set of all GLUE tasks.
pub(super) const HUB_ID: &str = "nyu-mll/glue";

/// One task of GLUE (Wang et al. 2018, arXiv:1804.07461).
#[derive(Debug)]
pub(super) struct GlueTask {
    pub(super) name: &'static str,
    /// In the id order of `nyu-mll/glue`.
    pub(super) labels: &'static [&'static str],
    pub(super) metric: Metric,
    /// Text columns: the official release's names first, then the Hub's.
    pub(super) text: &'static [&'static [&'static str]],
    /// Label columns, in the same order.
    pub(super) label: &'static [&'static str],
    /// The columns of files without a header line.
    pub(super) headerless: Option<&'static [&'static str]>,
    /// The folder in the official release; other spellings such as `SST2` are found too.
    pub(super) folder: &'static str,
    pub(super) train: SplitFiles,
    pub(super) validation: SplitFiles,
    pub(super) test: SplitFiles,
}

/// Names of a split's files.
#[derive(Debug)]
pub(super) struct SplitFiles {
    /// File names of the official release and of its sources.
    pub(super) official: &'static [&'static str],
    /// Names before `.csv`, `.jsonl`, `.parquet` or `-00000-of-00001.parquet`.
    pub(super) stems: &'static [&'static str],
}

const fn files(official: &'static [&'static str], stems: &'static [&'static str]) -> SplitFiles {
    SplitFiles { official, stems }
}

const TRAIN: SplitFiles = files(&["train.tsv"], &["train"]);
const VALIDATION: SplitFiles = files(&["dev.tsv"], &["validation", "dev"]);
const TEST: SplitFiles = files(&["test.tsv"], &["test"]);
const ENTAILMENT_FIRST: &[&str] = &["entailment", "not_entailment"];

/// The defaults of most tasks.
const SINGLE: GlueTask = GlueTask {
    name: "",
    labels: &[],
    metric: Metric::Accuracy,
    text: &[&["sentence"]],
    label: &["label"],
    headerless: None,
    folder: "",
    train: TRAIN,
    validation: VALIDATION,
    test: TEST,
};

const MNLI: GlueTask = GlueTask {
    name: "mnli",
    labels: &["entailment", "neutral", "contradiction"],
    text: &[&["sentence1", "sentence2"], &["premise", "hypothesis"]],
    label: &["gold_label", "label"],
    folder: "MNLI",
    validation: files(&["dev_matched.tsv"], &["validation_matched", "dev_matched"]),
    test: files(&["test_matched.tsv"], &["test_matched"]),
    ..SINGLE
};

pub(super) static GLUE: [GlueTask; 9] = [
    GlueTask {
        name: "cola",
        labels: &["unacceptable", "acceptable"],
        metric: Metric::Matthews,
        headerless: Some(&["source", "label", "mark", "sentence"]),
        folder: "CoLA",
        ..SINGLE
    },
    GlueTask { name: "sst2", labels: &["negative", "positive"], folder: "SST-2", ..SINGLE },
    GlueTask {
        name: "mrpc",
        labels: &["not_equivalent", "equivalent"],
        metric: Metric::AccuracyAndF1,
        text: &[&["#1 String", "#2 String"], &["sentence1", "sentence2"]],
        label: &["Quality", "label"],
        folder: "MRPC",
        // Microsoft's own files: the first holds GLUE's train and dev together.
        train: files(&["train.tsv", "msr_paraphrase_train.txt"], &["train"]),
        test: files(&["test.tsv", "msr_paraphrase_test.txt"], &["test"]),
        ..SINGLE
    },
    GlueTask {
        name: "qqp",
        labels: &["not_duplicate", "duplicate"],
        metric: Metric::AccuracyAndF1,
        text: &[&["question1", "question2"]],
        label: &["is_duplicate", "label"],
        folder: "QQP",
        ..SINGLE
    },
    GlueTask {
        name: "qnli",
        labels: ENTAILMENT_FIRST,
        text: &[&["question", "sentence"]],
        folder: "QNLI",
        ..SINGLE
    },
    GlueTask {
        name: "rte",
        labels: ENTAILMENT_FIRST,
        text: &[&["sentence1", "sentence2"]],
        folder: "RTE",
        ..SINGLE
    },
    MNLI,
    GlueTask {
        name: "mnli-mm",
        validation: files(&["dev_mismatched.tsv"], &["validation_mismatched", "dev_mismatched"]),
        test: files(&["test_mismatched.tsv"], &["test_mismatched"]),
        ..MNLI
    },
    GlueTask {
        name: "wnli",
        labels: &["not_entailment", "entailment"],
        text: &[&["sentence1", "sentence2"]],
        folder: "WNLI",
        ..SINGLE
    },
];

impl GlueTask {
    /// The configuration of the Hub's data set.
    pub(super) fn config(&self) -> &'static str {
        self.name.strip_suffix("-mm").unwrap_or(self.name)
    }

    /// The files of a canonical split name (`train`, `validation`, `test`).
    pub(super) fn split(&self, split: &str) -> Option<&SplitFiles> {
        match split {
            "train" => Some(&self.train),
            "validation" => Some(&self.validation),
            "test" => Some(&self.test),
            _ => None,
        }
    }
}

/// A name without case, hyphens, underscores and spaces: `sst2` for `SST-2`.
pub(super) fn plain(name: &str) -> String {
    let kept = name.chars().filter(|c| !matches!(c, '-' | '_' | ' '));
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_means_six_tasks_of_the_table() {
        for name in ALL_TASKS {
            assert!(GLUE.iter().any(|task| task.name == name), "{name}");
        }
    }

    #[test]
    fn every_task_is_complete() {
        for task in &GLUE {
            assert!(task.labels.len() >= 2 && !task.folder.is_empty(), "{}", task.name);
            assert_eq!(plain(task.folder), task.config(), "{}", task.name);
            for split in ["train", "validation", "test"] {
                let files = task.split(split).unwrap();
                assert!(!files.official.is_empty() && !files.stems.is_empty());
            }
        }
    }
}
