//! Buckets of the teacher's layers, one for each student layer.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};

use crate::distill::objective::Setting;
use crate::distill::states::Selection;
use crate::distill::terms::Pairs;
use crate::error::{usage, Diagnostic};

/// `buckets`: the teacher's layers that each student layer imitates together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected `all`, `non-overlapping`, `overlapping`, or for each student layer a list \
                 of the teacher's layers"
)]
pub(super) enum Buckets {
    /// Of each student layer, the teacher's, counted from 1.
    These(Vec<Vec<usize>>),
    /// By a rule.
    Named(NamedBuckets),
}

/// A rule for [`Buckets`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NamedBuckets {
    /// All layers in every bucket.
    All,
    /// As many consecutive layers in each, and every layer in one.
    NonOverlapping,
    /// Those of the rule above, with the next layer on either side.
    Overlapping,
}

impl Buckets {
    /// The teacher's layers of each student layer, counted from 1; `method` has the key.
    pub fn layers(&self, method: &str, setting: &Setting) -> Result<Vec<Vec<usize>>> {
        let (student, teacher) = (setting.student.layers, super::require_states(setting)?.layers);
        let wider = |by: usize| -> Result<Vec<Vec<usize>>> {
            ensure!(
                teacher.is_multiple_of(student),
                usage!(
                    "`{method}.buckets` cannot share the teacher's {teacher} layers evenly among \
                     the student's {student}"
                )
                .hint("write the buckets, such as `buckets = [[1, 2], [3, 4, 5]]`")
            );
            let each = teacher / student;
            let bucket = |j: usize| {
                let (first, last) = (j * each + 1, (j + 1) * each);
                (first.saturating_sub(by).max(1)..=(last + by).min(teacher)).collect()
            };
            Ok((0..student).map(bucket).collect())
        };
        match self {
            Buckets::These(buckets) => {
                check(method, buckets, student, teacher)?;
                Ok(buckets.clone())
            }
            Buckets::Named(NamedBuckets::All) => Ok(vec![(1..=teacher).collect(); student]),
            Buckets::Named(NamedBuckets::NonOverlapping) => wider(0),
            Buckets::Named(NamedBuckets::Overlapping) => wider(1),
        }
    }
}

fn check(method: &str, buckets: &[Vec<usize>], student: usize, teacher: usize) -> Result<()> {
    let key = format!("`{method}.buckets`");
    let count = buckets.len();
    ensure!(
        count == student,
        usage!("{key} has {count} buckets, and the student has {student} layers")
    );
    for (j, bucket) in buckets.iter().enumerate() {
        let number = j + 1;
        ensure!(!bucket.is_empty(), usage!("bucket {number} of {key} is empty"));
        if let Some(layer) = bucket.iter().find(|layer| !(1..=teacher).contains(*layer)) {
            let why = format!("bucket {number} of {key} names layer {layer} of the teacher's");
            return Err(Diagnostic::usage(format!("{why} {teacher}")).into());
        }
        let twice = bucket.iter().enumerate().find(|(i, layer)| bucket[..*i].contains(layer));
        if let Some((_, layer)) = twice {
            return Err(usage!("bucket {number} of {key} names layer {layer} twice").into());
        }
    }
    Ok(())
}

/// The [CLS] vectors of all layers in `buckets`, and every student layer with its bucket.
pub(super) fn compared(buckets: &[Vec<usize>]) -> (Selection, Pairs) {
    let mut hidden: Vec<usize> = buckets.concat();
    hidden.sort_unstable();
    hidden.dedup();
    let position = |layer: &usize| hidden.iter().position(|l| l == layer).expect("a layer above");
    let positions = buckets.iter().map(|bucket| bucket.iter().map(position).collect()).collect();
    let student_first = (1..=buckets.len()).collect();
    let pairs = Pairs { student_first, buckets: positions, ..Pairs::default() };
    (Selection::First { hidden }, pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Shape;

    fn setting(student: usize, teacher: usize) -> Setting {
        let shape = |layers| Shape { layers, hidden: 4, heads: 2, positions: 8 };
        let (student, teacher) = (shape(student), Some(shape(teacher)));
        Setting { student, teacher, same_tokens: true, separator: None, masked_lm: None }
    }

    fn of(buckets: &Buckets, student: usize, teacher: usize) -> Result<Vec<Vec<usize>>, String> {
        let layers = buckets.layers("ckd", &setting(student, teacher));
        layers.map_err(|error| crate::error::rendered(&error))
    }

    #[test]
    fn the_rules_share_the_teacher_s_layers() {
        let of = |rule, student, teacher| of(&Buckets::Named(rule), student, teacher);
        let thirds = [vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9], vec![10, 11, 12]];
        assert_eq!(of(NamedBuckets::NonOverlapping, 4, 12), Ok(thirds.to_vec()));
        let wider = [vec![1, 2, 3], vec![2, 3, 4, 5], vec![4, 5, 6]];
        assert_eq!(of(NamedBuckets::Overlapping, 3, 6), Ok(wider.to_vec()));
        assert_eq!(of(NamedBuckets::All, 2, 3), Ok(vec![vec![1, 2, 3]; 2]));
        assert_eq!(of(NamedBuckets::NonOverlapping, 1, 2), Ok(vec![vec![1, 2]]));
        for rule in [NamedBuckets::NonOverlapping, NamedBuckets::Overlapping] {
            let why = of(rule, 4, 6).unwrap_err();
            assert!(why.contains("the teacher's 6 layers evenly among the student's 4"), "{why}");
        }
    }

    #[test]
    fn written_buckets_are_checked() {
        let of = |buckets: &[&[usize]]| {
            let buckets = buckets.iter().map(|bucket| bucket.to_vec()).collect();
            of(&Buckets::These(buckets), 2, 3)
        };
        assert_eq!(of(&[&[3], &[1, 2]]), Ok(vec![vec![3], vec![1, 2]]));
        let cases: [(&[&[usize]], &str); 4] = [
            (&[&[1]], "`ckd.buckets` has 1 buckets, and the student has 2 layers"),
            (&[&[1], &[]], "bucket 2 of `ckd.buckets` is empty"),
            (&[&[1], &[2, 4]], "bucket 2 of `ckd.buckets` names layer 4 of the teacher's 3"),
            (&[&[2, 1, 2], &[1]], "bucket 1 of `ckd.buckets` names layer 2 twice"),
        ];
        for (buckets, why) in cases {
            let error = of(buckets).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn only_the_layers_of_a_bucket_are_read_each_once() {
        let (selection, pairs) = compared(&[vec![2, 5], vec![5, 3]]);
        assert_eq!(selection, Selection::First { hidden: vec![2, 3, 5] });
        assert_eq!(pairs.student_first, [1, 2]);
        assert_eq!(pairs.buckets, [vec![0, 2], vec![2, 1]]);
    }
}
