//! σ over parts of a split: by label, by length, by teacher confidence.

use std::collections::BTreeMap;

use super::{DifferenceSums, Predictions};

/// Where each length group starts, in words: 0-5, 6-10, 11-20, 21-40, and 41 or more.
pub const LENGTH_STARTS: [usize; 5] = [0, 6, 11, 21, 41];

/// Groups of teacher confidence: tenths of [0, 1], the last one closed.
const CONFIDENCE_GROUPS: u8 = 10;

/// What makes an example belong to a group. Ordered as reports list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupKey {
    /// The example's label.
    Label(u32),
    /// Its length in words, as an index into [`LENGTH_STARTS`].
    Length(usize),
    /// The teacher's confidence in tenths: 9 is [0.9, 1].
    TeacherConfidence(u8),
}

impl GroupKey {
    /// What the split is cut by: `label`, `length` or `teacher_confidence`.
    pub fn by(self) -> &'static str {
        match self {
            Self::Label(_) => "label",
            Self::Length(_) => "length",
            Self::TeacherConfidence(_) => "teacher_confidence",
        }
    }

    /// The group's name: the label's name (its id where `label_names` is too short), or a range
    /// such as `11-20`, `41+`, `0.9-1.0`.
    pub fn name(self, label_names: &[String]) -> String {
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

/// The name of the label `id`; the id itself where `names` has none for it.
pub fn label_name(names: &[String], id: u32) -> String {
    names.get(id as usize).cloned().unwrap_or_else(|| id.to_string())
}

/// The differences of one group. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// What its examples have in common.
    pub key: GroupKey,
    /// Their n, σ and mean difference.
    pub sums: DifferenceSums,
}

/// Every group that has an example, in the order of [`GroupKey`].
///
/// `differences`, `labels` and, where given, `words` have N entries. Unlabelled examples are in no
/// label group; without `words` there are no length groups. Groups by teacher confidence use
/// C_T = max_k p_k whatever the kind of `differences`.
pub fn groups(
    differences: &[f64],
    teacher: &Predictions,
    labels: &[Option<u32>],
    words: Option<&[usize]>,
) -> Vec<Group> {
    let mut sums: BTreeMap<GroupKey, DifferenceSums> = BTreeMap::new();
    for (i, &d) in differences.iter().enumerate() {
        let length = words.map(|words| GroupKey::Length(length_group(words[i])));
        let keys = [labels[i].map(GroupKey::Label), length, Some(tenth(teacher.confidence(i)))];
        for key in keys.into_iter().flatten() {
            sums.entry(key).or_default().add(d);
        }
    }
    sums.into_iter().map(|(key, sums)| Group { key, sums }).collect()
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
        let all = groups(&[0.1, 0.2, 0.3, 0.4], &teacher, &labels, Some(&words));
        let names = ["no".to_string(), "yes".to_string()];
        let seen: Vec<(&str, String, usize)> =
            all.iter().map(|g| (g.key.by(), g.key.name(&names), g.sums.n())).collect();
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
        assert_eq!(seen, expected.map(|(by, name, n)| (by, name.to_string(), n)));
        assert!((all[1].sums.mean().unwrap() - 0.3).abs() < 1e-15);
        assert_eq!(GroupKey::Label(7).name(&names), "7");
    }

    #[test]
    fn unlabelled_text_has_no_label_groups() {
        let teacher = Predictions::from_confidence(&[0.7], &[0], 2).unwrap();
        let all = groups(&[0.1], &teacher, &[None], None);
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].key, GroupKey::TeacherConfidence(7));
    }
}
