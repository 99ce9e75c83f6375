//! σ over parts of a split: by label, length and teacher confidence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DifferenceSums, Predictions, Statistic};

/// Where each length group starts, in words: 0-5, 6-10, 11-20, 21-40, and 41 or more.
pub const LENGTH_STARTS: [usize; 5] = [0, 6, 11, 21, 41];

/// Groups of teacher confidence: tenths of [0, 1], the last one closed.
const CONFIDENCE_GROUPS: u8 = 10;

/// A group of examples; ordered as in reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GroupKey {
    /// The example's label.
    Label(u32),
    /// Its length in words, as an index into [`LENGTH_STARTS`].
    Length(usize),
    /// The teacher's confidence in tenths: 9 is [0.9, 1].
    TeacherConfidence(u8),
}

impl GroupKey {
    /// `label`, `length` or `teacher_confidence`.
    pub(super) fn by(self) -> &'static str {
        match self {
            Self::Label(_) => "label",
            Self::Length(_) => "length",
            Self::TeacherConfidence(_) => "teacher_confidence",
        }
    }

    /// The label's name, or a range such as `11-20`, `41+`, `0.9-1.0`.
    fn name(self, label_names: &[String]) -> String {
        match self {
            Self::Label(id) => label_name(label_names, id),
            Self::Length(group) => match LENGTH_STARTS.get(group + 1) {
                Some(next) => format!("{}-{}", LENGTH_STARTS[group], next - 1),
                None => format!("{}+", LENGTH_STARTS[group]),
            },
            Self::TeacherConfidence(tenth) => {
                format!("{:.1}-{:.1}", f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0)
            }
        }
    }
}

/// The name of the label `id`; the id itself if `names` is too short.
pub fn label_name(names: &[String], id: u32) -> String {
    names.get(id as usize).cloned().unwrap_or_else(|| id.to_string())
}

/// σ over part of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// Criterion of the group: `label`, `length` (words) or `teacher_confidence`.
    pub by: String,
    /// The group's name, such as `positive`, `11-20` or `0.9-1.0`.
    pub name: String,
    /// Examples in it, at least 1.
    pub n: usize,
    /// The gating σ over them.
    pub sigma: f64,
    /// Mean of d over them.
    pub mean_difference: f64,
}

/// The groups of `sums`, with the labels' names and σ by `statistic`.
pub(super) fn groups(
    sums: &BTreeMap<GroupKey, DifferenceSums>,
    label_names: &[String],
    statistic: Statistic,
) -> Vec<Group> {
    let group = |(key, sums): (&GroupKey, &DifferenceSums)| {
        Some(Group {
            by: key.by().to_owned(),
            name: key.name(label_names),
            n: sums.n(),
            sigma: sums.sigma_of(statistic)?,
            mean_difference: sums.mean()?,
        })
    };
    sums.iter().filter_map(group).collect()
}

/// The sums of every group with an example.
///
/// `differences`, `labels` and `words` have N entries. Unlabelled examples are in no label group;
/// without `words` there are no length groups. Groups by teacher confidence use C_T = max_k p_k for
/// any kind of `differences`.
pub(super) fn group_sums(
    differences: &[f64],
    teacher: &Predictions,
    labels: &[Option<u32>],
    words: Option<&[usize]>,
) -> BTreeMap<GroupKey, DifferenceSums> {
    let mut sums: BTreeMap<GroupKey, DifferenceSums> = BTreeMap::new();
    for (i, &d) in differences.iter().enumerate() {
        let length = words.map(|words| GroupKey::Length(length_group(words[i])));
        let keys = [labels[i].map(GroupKey::Label), length, Some(tenth(teacher.confidence(i)))];
        for key in keys.into_iter().flatten() {
            sums.entry(key).or_default().add(d);
        }
    }
    sums
}

fn length_group(words: usize) -> usize {
    LENGTH_STARTS.partition_point(|&start| start <= words) - 1
}

fn tenth(confidence: f64) -> GroupKey {
    let tenth = (confidence * f64::from(CONFIDENCE_GROUPS)) as u8;
    GroupKey::TeacherConfidence(tenth.min(CONFIDENCE_GROUPS - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_falls_into_its_groups() {
        let teacher =
            Predictions::from_confidence(&[0.55, 0.95, 1.0, 0.9], &[0, 1, 1, 0], 2).unwrap();
        let labels = [Some(0), Some(1), None, Some(1)];
        let words = [5, 6, 41, 20];
        let sums = group_sums(&[0.1, 0.2, 0.3, 0.4], &teacher, &labels, Some(&words));
        let names = ["no".to_string(), "yes".to_string()];
        let all = groups(&sums, &names, Statistic::Rms);
        let seen: Vec<(&str, &str, usize)> =
            all.iter().map(|g| (g.by.as_str(), g.name.as_str(), g.n)).collect();
        let expected = [
            ("label", "no", 1),
            ("label", "yes", 2),
            ("length", "0-5", 1),
            ("length", "6-10", 1),
            ("length", "11-20", 1),
            ("length", "41+", 1),
            ("teacher_confidence", "0.5-0.6", 1),
            ("teacher_confidence", "0.9-1.0", 3),
        ];
        assert_eq!(seen, expected);
        assert!((all[1].mean_difference - 0.3).abs() < 1e-15);
        assert!((all[1].sigma - 0.1f64.sqrt()).abs() < 1e-15); // (0.04 + 0.16) / 2
        assert_eq!(GroupKey::Label(7).name(&names), "7");
    }

    #[test]
    fn unlabelled_text_has_no_label_groups() {
        let teacher = Predictions::from_confidence(&[0.7], &[0], 2).unwrap();
        let all = group_sums(&[0.1], &teacher, &[None], None);
        assert!(all.into_keys().eq([GroupKey::TeacherConfidence(7)]));
    }
}
