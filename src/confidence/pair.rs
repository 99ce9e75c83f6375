//! All statistics of a teacher and a student on one split.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::groups::{group_sums, groups};
use super::metrics::ModelInput;
use super::{
    agreement, bootstrap_interval, confidence_counts, confidence_differences, difference_histogram,
    divergence, intervals, known, largest_difference, negative_flips, spread, worst,
    ConfidenceCounts, ConfidenceKind, Defined, DifferenceSums, Divergence, Group, Histogram,
    Interval, ModelStatistics, PairIntervals, Predictions, PublishedDifferences, Reasons, Spread,
    Statistic, Undefined,
};

/// Two models' predictions on one split, in data set order.
#[derive(Debug, Clone, Copy)]
pub struct PairInput<'a> {
    /// The reference.
    pub teacher: &'a Predictions,
    /// The model that is audited.
    pub student: &'a Predictions,
    /// The label of each example (N), below K, if it has one.
    pub labels: &'a [Option<u32>],
    /// The length of each example's text in words (N), if there are texts.
    pub words: Option<&'a [usize]>,
    /// The labels' names by id.
    pub label_names: &'a [String],
    /// Texts cut at the maximum length, by the teacher and by the student.
    pub truncated: (usize, usize),
}

/// The gating confidence and statistic, and options of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairOptions {
    /// The confidence that gates.
    pub kind: ConfidenceKind,
    /// The statistic that gates.
    pub statistic: Statistic,
    /// Number of worst inputs to name.
    pub worst: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

impl Default for PairOptions {
    /// `max`, `rms`, five inputs, seed 0.
    fn default() -> Self {
        Self { kind: ConfidenceKind::Max, statistic: Statistic::Rms, worst: 5, seed: 0 }
    }
}

/// Why two models' predictions and a list of labels do not match: `teacher` and `count` are numbers
/// of examples, `labels` is K, `other` is `student`, `list of labels` or `list of lengths`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // of the fields above
pub enum PairError {
    /// Different numbers of examples.
    #[error("the teacher predicts {teacher} examples and the {other} has {count}")]
    Examples { teacher: usize, other: &'static str, count: usize },
    /// Different numbers of labels.
    #[error("the teacher has {teacher} labels and the student {student}")]
    Labels { teacher: usize, student: usize },
    /// A label that the models do not have.
    #[error("example {example} (counted from 0) has label {label}, and the task has {labels}")]
    NoSuchLabel { example: usize, label: u32, labels: usize },
    /// The gating confidence needs a distribution that is missing.
    #[error("the confidence `{kind}` is not defined here: {reason}; use `max`")]
    GateUndefined { kind: ConfidenceKind, reason: Undefined },
    /// The gating statistic is not defined for these examples.
    #[error("the statistic `published` is not defined here: {reason}; use `rms`")]
    PublishedUndefined { reason: Undefined },
}

/// The figures of both models on one split; all null if the split could not be run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PairFigures {
    /// The teacher's own figures on this split.
    pub teacher: Option<ModelStatistics>,
    /// The student's own figures on this split.
    pub student: Option<ModelStatistics>,
    /// Examples for which both models predict the same label.
    pub agreement: Option<usize>,
    /// agreement / n.
    pub agreement_share: Option<f64>,
    /// Labelled examples that the teacher has right and the student wrong.
    pub negative_flips: Option<usize>,
    /// 95 % bootstrap intervals of the pair's figures.
    #[serde(default)]
    pub intervals: Option<PairIntervals>,
    /// Quantiles of |d|.
    pub difference: Option<Spread>,
    /// Histogram of d.
    #[serde(default)]
    pub differences: Option<Histogram>,
    /// Counts of pairs of confidences.
    #[serde(default)]
    pub confidences: Option<ConfidenceCounts>,
    /// Divergences between the two distributions.
    pub divergence: Option<Divergence>,
    /// The gating σ by label, by length in words, by teacher confidence.
    pub groups: Vec<Group>,
}

/// All statistics of one split.
///
/// Permuting the examples, or the labels of models and data, changes no bit, except for positions
/// (`differences`, `published`, `worst`), names (the groups' keys), F1 of label 1, exact ties of a
/// model's two largest logits, and the last bits of the published statistic, whose p_0 another label
/// order makes p_1.
#[derive(Debug, Clone, PartialEq)]
pub struct PairStatistics {
    /// N.
    pub n: usize,
    /// K.
    pub labels: usize,
    /// The confidence of `differences`, which gates unless the statistic is `published`.
    pub kind: ConfidenceKind,
    /// The statistic that gates.
    pub statistic: Statistic,
    /// d (N), in data set order.
    pub differences: Vec<f64>,
    /// The sums of `differences`.
    pub sums: DifferenceSums,
    /// The sums of the gating σ: `sums`, or those of `published`.
    pub gating: DifferenceSums,
    /// The sums for both kinds of confidence, in the order of [`ConfidenceKind::ALL`].
    pub variants: [(ConfidenceKind, Defined<DifferenceSums>); 2],
    /// The differences of [`Statistic::Published`].
    pub published: Defined<PublishedDifferences>,
    /// 95 % bootstrap interval of the gating σ.
    pub sigma_interval: Interval,
    /// The figures that a report lists with σ.
    pub figures: PairFigures,
    /// The reason of each undefined figure.
    pub undefined: Reasons,
    /// Positions of the largest |d|, largest first.
    pub worst: Vec<usize>,
}

impl PairStatistics {
    /// All statistics of one split.
    ///
    /// # Errors
    /// Lengths or label counts that differ, a label of K or more, a gating confidence that needs a
    /// distribution of the student, which is missing, and a gating statistic that is not defined.
    pub fn new(input: &PairInput<'_>, options: &PairOptions) -> Result<Self, PairError> {
        input.check()?;
        let (teacher, student) = (input.teacher, input.student);
        let PairOptions { kind, statistic, .. } = *options;
        let differences = confidence_differences(teacher, student, kind)
            .map_err(|reason| PairError::GateUndefined { kind, reason })?;
        let variants = ConfidenceKind::ALL.map(|kind| {
            let differences = confidence_differences(teacher, student, kind);
            (kind, differences.map(|d| DifferenceSums::of(&d)))
        });
        let published = PublishedDifferences::new(teacher, student, input.labels);
        let gating = match (statistic, &published) {
            (Statistic::Published, Err(reason)) => {
                return Err(PairError::PublishedUndefined { reason: *reason })
            }
            (Statistic::Published, Ok(published)) => published.differences.as_slice(),
            _ => &differences,
        };
        let sigma_interval = bootstrap_interval(gating, statistic, options.seed)
            .expect("there is a gating difference");
        let mut undefined = Reasons::new();
        let mut figures = PairFigures::new(input, options, &differences, &mut undefined);
        if let (Statistic::Published, Ok(published)) = (statistic, &published) {
            figures.groups = groups_of_published(input, published);
        }
        Ok(Self {
            n: differences.len(),
            labels: teacher.labels(),
            kind,
            statistic,
            sums: DifferenceSums::of(&differences),
            gating: DifferenceSums::of(gating),
            variants,
            published,
            sigma_interval,
            figures,
            undefined,
            worst: worst(&differences, options.worst),
            differences,
        })
    }

    /// The gating σ, in [0, R].
    pub fn sigma(&self) -> f64 {
        self.gating.sigma_of(self.statistic).expect("there is a gating difference")
    }

    /// What each example (N) adds to the gating sums, in data set order: `None` for those that the
    /// published statistic leaves out.
    pub fn gating_differences(&self) -> Vec<Option<f64>> {
        match (self.statistic, &self.published) {
            (Statistic::Published, Ok(published)) => {
                let mut of_all = vec![None; self.n];
                for (&row, &d) in published.rows.iter().zip(&published.differences) {
                    of_all[row] = Some(d);
                }
                of_all
            }
            _ => self.differences.iter().copied().map(Some).collect(),
        }
    }

    /// R: the largest possible |d|.
    pub fn largest_difference(&self) -> f64 {
        largest_difference(self.kind, self.labels)
    }
}

/// The published σ over parts of the inputs that both models get right.
fn groups_of_published(input: &PairInput<'_>, published: &PublishedDifferences) -> Vec<Group> {
    let PublishedDifferences { rows, differences, .. } = published;
    let teacher = input.teacher.reordered(rows);
    let labels: Vec<Option<u32>> = rows.iter().map(|&i| input.labels[i]).collect();
    let words: Option<Vec<usize>> =
        input.words.map(|words| rows.iter().map(|&i| words[i]).collect());
    let sums = group_sums(differences, &teacher, &labels, words.as_deref());
    groups(&sums, input.label_names, Statistic::Published)
}

impl PairFigures {
    /// The figures of a split; `reasons` gets the reason of each undefined one.
    fn new(
        input: &PairInput<'_>,
        options: &PairOptions,
        differences: &[f64],
        reasons: &mut Reasons,
    ) -> Self {
        let PairInput { teacher, student, labels, words, label_names, truncated } = *input;
        let PairOptions { kind, statistic, seed, .. } = *options;
        let of = intervals(teacher, student, labels, differences, seed);
        let model = |role, predictions, truncated, intervals, reasons: &mut Reasons| {
            let input = ModelInput { role, predictions, labels, truncated, intervals };
            Some(ModelStatistics::new(&input, reasons))
        };
        let agreement = agreement(teacher, student);
        let sums = group_sums(differences, teacher, labels, words);
        PairFigures {
            teacher: model("teacher", teacher, truncated.0, of.teacher, reasons),
            student: model("student", student, truncated.1, of.student, reasons),
            agreement: Some(agreement),
            agreement_share: Some(agreement as f64 / differences.len() as f64),
            negative_flips: known(
                negative_flips(teacher, student, labels),
                "negative_flips",
                reasons,
            ),
            intervals: Some(of.pair),
            difference: spread(differences).ok(),
            differences: Some(difference_histogram(differences, kind, teacher.labels())),
            // Defined whenever the differences are.
            confidences: confidence_counts(teacher, student, kind).ok(),
            divergence: known(divergence(teacher, student), "divergence", reasons),
            groups: groups(&sums, label_names, statistic),
        }
    }
}

impl PairInput<'_> {
    fn check(&self) -> Result<(), PairError> {
        let (examples, labels) = (self.teacher.len(), self.teacher.labels());
        if labels != self.student.labels() {
            let student = self.student.labels();
            return Err(PairError::Labels { teacher: labels, student });
        }
        let counts = [
            ("student", self.student.len()),
            ("list of labels", self.labels.len()),
            ("list of lengths", self.words.map_or(examples, <[usize]>::len)),
        ];
        if let Some((other, count)) = counts.into_iter().find(|(_, count)| *count != examples) {
            return Err(PairError::Examples { teacher: examples, other, count });
        }
        let unknown = |label: &Option<u32>| label.is_some_and(|label| label as usize >= labels);
        match self.labels.iter().position(unknown) {
            Some(example) => {
                let label = self.labels[example].expect("found by its label");
                Err(PairError::NoSuchLabel { example, label, labels })
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
impl<'a> PairInput<'a> {
    /// Predictions without texts and names of labels.
    pub fn of_predictions(
        teacher: &'a Predictions,
        student: &'a Predictions,
        labels: &'a [Option<u32>],
    ) -> Self {
        PairInput { teacher, student, labels, words: None, label_names: &[], truncated: (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair<'a>(
        teacher: &'a Predictions,
        student: &'a Predictions,
        labels: &'a [Option<u32>],
        words: Option<&'a [usize]>,
    ) -> PairInput<'a> {
        PairInput { words, ..PairInput::of_predictions(teacher, student, labels) }
    }

    fn statistics(
        teacher: &Predictions,
        student: &Predictions,
        labels: &[Option<u32>],
        kind: ConfidenceKind,
    ) -> PairStatistics {
        let words: Vec<usize> =
            labels.iter().map(|label| 4 + 5 * label.map_or(0, |l| l as usize)).collect();
        let input = pair(teacher, student, labels, Some(&words));
        PairStatistics::new(&input, &PairOptions { kind, ..PairOptions::default() }).unwrap()
    }

    #[test]
    fn two_examples_worked_by_hand() {
        let given = |rows: &[f64]| Predictions::from_probabilities(rows, 2).unwrap();
        let (teacher, student) =
            (given(&[0.75, 0.25, 0.125, 0.875]), given(&[0.375, 0.625, 0.0, 1.0]));
        let s = statistics(&teacher, &student, &[Some(0), None], ConfidenceKind::Max);
        assert_eq!(s.differences, [0.125, -0.125]);
        let figures = &s.figures;
        assert_eq!((s.n, s.labels, figures.agreement), (2, 2, Some(1)));
        assert_eq!((figures.negative_flips, figures.agreement_share), (Some(1), Some(0.5)));
        assert_eq!((s.sigma(), s.largest_difference()), (0.125, 0.5));
        let teacher_class = s.variants[1].1.unwrap(); // d = 3/8, −1/8
        assert_eq!(teacher_class.sigma(), Some((5.0f64 / 64.0).sqrt()));
        assert_eq!(figures.divergence, None);
        assert_eq!(s.undefined["divergence"], Undefined::Infinite { example: 1 }.to_string());
        assert_eq!(s.worst, [0, 1]);
    }

    #[test]
    fn the_published_statistic_gates_over_what_both_get_right() {
        let given = |rows: &[f64]| Predictions::from_probabilities(rows, 2).unwrap();
        let teacher = given(&[0.75, 0.25, 0.125, 0.875, 0.75, 0.25]);
        let student = given(&[0.625, 0.375, 0.25, 0.75, 0.25, 0.75]);
        let (labels, words) = ([Some(0), Some(1), Some(0)], [4, 30, 4]);
        let input = pair(&teacher, &student, &labels, Some(&words));
        let options = PairOptions { statistic: Statistic::Published, ..PairOptions::default() };
        let s = PairStatistics::new(&input, &options).unwrap();
        // d = 1/8 and −1/8; over all, by the largest probability, 1/8, 1/8 and 0.
        assert_eq!((s.sigma(), s.gating.n(), s.n), (0.125, 2, 3));
        assert_eq!(s.gating_differences(), [Some(0.125), Some(-0.125), None]);
        assert_eq!(
            (s.differences.as_slice(), s.sums.mean()),
            (&[0.125, 0.125, 0.0][..], Some(1.0 / 12.0))
        );
        let of_length = s.figures.groups.iter().filter(|group| group.by == "length");
        let of_length: Vec<_> = of_length.map(|g| (g.name.as_str(), g.n, g.sigma)).collect();
        assert_eq!(of_length, [("0-5", 1, 0.0), ("21-40", 1, 0.0)]);
        let standard = PairStatistics::new(&input, &PairOptions::default()).unwrap();
        assert_eq!((&standard.published, standard.gating), (&s.published, s.sums));
        assert_eq!(
            standard.gating_differences(),
            standard.differences.clone().into_iter().map(Some).collect::<Vec<_>>()
        );
        let unlabelled = pair(&teacher, &student, &[None; 3], None);
        let refused = PairStatistics::new(&unlabelled, &options).unwrap_err().to_string();
        assert_eq!(
            refused,
            "the statistic `published` is not defined here: no example is labelled; use `rms`"
        );
    }

    #[test]
    fn inputs_that_do_not_match_are_refused() {
        let one = Predictions::from_confidence(&[0.9], &[0], 2).unwrap();
        let two = Predictions::from_confidence(&[0.9, 0.9], &[0, 0], 2).unwrap();
        let three = Predictions::from_confidence(&[0.9], &[0], 3).unwrap();
        let refuse = |teacher, student, labels: &[Option<u32>], kind| {
            let input = pair(teacher, student, labels, None);
            let options = PairOptions { kind, ..PairOptions::default() };
            PairStatistics::new(&input, &options).unwrap_err().to_string()
        };
        use ConfidenceKind::{Max, TeacherClass};
        let text = refuse(&one, &two, &[None], Max);
        assert_eq!(text, "the teacher predicts 1 examples and the student has 2");
        assert_eq!(
            refuse(&one, &three, &[None], Max),
            "the teacher has 2 labels and the student 3"
        );
        assert!(refuse(&two, &two, &[None], Max).contains("list of labels has 1"));
        let text = refuse(&one, &one, &[Some(2)], Max);
        assert_eq!(text, "example 0 (counted from 0) has label 2, and the task has 2");
        let text = refuse(&one, &one, &[None], TeacherClass);
        assert!(text.starts_with("the confidence `teacher-class` is not defined here: the student"));
    }

    type ExampleLogits = ([f32; 3], [f32; 3], Option<u32>);

    /// Logits of both models and labels for 1 to 30 examples over three labels.
    fn split() -> impl Strategy<Value = Vec<ExampleLogits>> {
        let logits = || prop::array::uniform3(-20.0f32..20.0);
        prop::collection::vec((logits(), logits(), prop::option::of(0u32..3)), 1..30)
    }

    fn of(examples: &[ExampleLogits], kind: ConfidenceKind) -> PairStatistics {
        let logits = |side: fn(&ExampleLogits) -> [f32; 3]| {
            let all: Vec<f32> = examples.iter().flat_map(side).collect();
            Predictions::from_logits(&all, 3).unwrap()
        };
        let labels: Vec<_> = examples.iter().map(|example| example.2).collect();
        statistics(&logits(|e| e.0), &logits(|e| e.1), &labels, kind)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn a_model_against_itself_differs_nowhere(examples in split()) {
            for kind in ConfidenceKind::ALL {
                let same: Vec<ExampleLogits> = examples.iter().map(|e| (e.0, e.0, e.2)).collect();
                let s = of(&same, kind);
                prop_assert_eq!(s.sums.sigma(), Some(0.0));
                prop_assert_eq!((s.figures.agreement, s.sigma_interval.high), (Some(s.n), 0.0));
                prop_assert_eq!(s.figures.divergence.unwrap().sum_kl, 0.0);
            }
        }

        #[test]
        fn the_spend_is_at_most_half_the_divergence(examples in split()) {
            for kind in ConfidenceKind::ALL {
                let s = of(&examples, kind);
                let divergence = s.figures.divergence.unwrap();
                let spent = s.sums.spent(Statistic::Rms).to_f64();
                prop_assert!(spent <= 0.5 * divergence.sum_kl + 1e-12);
                prop_assert!(divergence.sum_kl <= divergence.sum_cross_entropy + 1e-12);
                prop_assert!(s.figures.difference.unwrap().max <= s.largest_difference());
            }
        }

        #[test]
        fn permuting_the_examples_changes_no_bit(examples in split(), turn in 0usize..30) {
            let mut turned = examples.clone();
            turned.rotate_left(turn % examples.len());
            turned.reverse();
            for kind in ConfidenceKind::ALL {
                let (mut a, mut b) = (of(&examples, kind), of(&turned, kind));
                // Positions move with the examples.
                a.differences.sort_unstable_by(f64::total_cmp);
                b.differences.sort_unstable_by(f64::total_cmp);
                b.worst.clone_from(&a.worst);
                prop_assert_eq!(a, b);
            }
        }

        #[test]
        fn permuting_the_labels_changes_no_bit(examples in split()) {
            let distinct = |z: &[f32; 3]| z[0] != z[1] && z[1] != z[2] && z[0] != z[2];
            prop_assume!(examples.iter().all(|e| distinct(&e.0) && distinct(&e.1)));
            let permuted: Vec<ExampleLogits> = examples.iter().map(|(t, s, label)| {
                ([t[2], t[0], t[1]], [s[2], s[0], s[1]], label.map(|l| (l + 1) % 3))
            }).collect();
            for kind in ConfidenceKind::ALL {
                let (mut a, mut b) = (of(&examples, kind), of(&permuted, kind));
                // Names move with the labels, and the lengths were made from them.
                let sorted = |groups: &mut Vec<Group>| {
                    let mut parts: Vec<_> = groups.drain(..).filter(|g| g.by != "length").map(|g| {
                        (g.by, g.n, g.mean_difference.to_bits(), g.sigma.to_bits())
                    }).collect();
                    parts.sort_unstable();
                    parts
                };
                prop_assert_eq!(sorted(&mut a.figures.groups), sorted(&mut b.figures.groups));
                prop_assert_eq!(a, b);
            }
        }
    }
}
