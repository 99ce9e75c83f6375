//! What the published statistic hides: the inputs that it leaves out.

use crate::confidence::{DifferenceSums, LeftOut, PairStatistics, Statistic};

use super::findings::figure;
use super::preflight::{better_than_majority_p, PREFLIGHT_LEVEL};
use super::{Bound, Budget, Code, Note};

/// The published statistic of a whole split, beside the reading that it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedEvidence {
    /// The published σ.
    pub published: ReadSigma,
    /// The gating σ; where the published one gates, that of `rms`.
    pub other: ReadSigma,
    /// The name of the other statistic.
    pub other_statistic: Statistic,
    /// All examples (N).
    pub n: usize,
    /// Those that the published statistic leaves out.
    pub left_out: LeftOut,
    /// Examples that the student gets right.
    pub student_right: usize,
    /// Examples with the more frequent label.
    pub most_frequent: usize,
}

/// σ in one reading, and whether it is within the bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReadSigma {
    /// σ, at least 0.
    pub sigma: f64,
    /// Whether it is within the bound, by the exact comparison.
    pub within: bool,
}

impl ReadSigma {
    fn new(sums: &DifferenceSums, statistic: Statistic, bound: &Bound, n: usize) -> Option<Self> {
        let budget = Budget::for_part(bound, n, sums.n());
        let within = budget.allows(sums.spent(statistic));
        Some(Self { sigma: sums.sigma_of(statistic)?, within })
    }
}

impl PublishedEvidence {
    /// The evidence of a whole split; `None` where the published statistic is not defined.
    pub fn new(pair: &PairStatistics, bound: &Bound) -> Option<Self> {
        let published = pair.published.as_ref().ok()?;
        let sums = published.sums();
        let (other, other_statistic) = match pair.statistic {
            Statistic::Published => (&pair.sums, Statistic::Rms),
            statistic => (&pair.gating, statistic),
        };
        Some(Self {
            published: ReadSigma::new(&sums, Statistic::Published, bound, pair.n)?,
            other: ReadSigma::new(other, other_statistic, bound, pair.n)?,
            other_statistic,
            n: pair.n,
            left_out: published.left_out,
            student_right: pair.n - published.left_out.student_wrong,
            most_frequent: published.most_frequent,
        })
    }
}

/// A warning if the published statistic and the other reading come to different verdicts.
pub(super) fn disagreement(evidence: &PublishedEvidence, kappa: f64) -> Option<Note> {
    let PublishedEvidence { published, other, other_statistic, n, left_out, .. } = evidence;
    if published.within == other.within {
        return None;
    }
    let (place, other_place) = match published.within {
        true => ("within", "above"),
        false => ("above", "within"),
    };
    let covered = match left_out {
        LeftOut { count: 0, .. } => "both cover all examples".to_owned(),
        LeftOut { count, student_wrong, .. } => format!(
            "the published statistic leaves out {count} of {n} examples, and the student gets \
             {student_wrong} of these wrong"
        ),
    };
    let message = format!(
        "the published statistic ({}) is {place} the bound {}, and `{other_statistic}` over all \
         examples ({}) is {other_place} it: {covered}",
        figure(published.sigma),
        figure(kappa),
        figure(other.sigma),
    );
    let hint = match (published.within, left_out.count) {
        (true, 1..) => {
            "users meet the examples that are left out too: do not release the student on the \
             published statistic alone"
        }
        _ => {
            "the two take the mean of the difference differently: look at the mean difference, and at \
             it by label"
        }
    };
    Some(Note::new(Code::PublishedDisagrees, message).hint(hint))
}

/// A warning if the published statistic is within the bound and the student is not significantly
/// better than always giving the most frequent label (p ≥ [`PREFLIGHT_LEVEL`]).
pub(super) fn collapse(evidence: &PublishedEvidence, kappa: f64) -> Option<Note> {
    let &PublishedEvidence { published, n, student_right: right, most_frequent, .. } = evidence;
    let majority = most_frequent as f64 / n as f64;
    let p = |right| better_than_majority_p(right, n, majority);
    // With few examples, or nearly one label, not even a student without errors is significantly
    // better.
    let can_tell = p(n) < PREFLIGHT_LEVEL;
    (published.within && can_tell && p(right) >= PREFLIGHT_LEVEL).then(|| {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let message = format!(
            "the published statistic ({}) is within the bound {}, but the student is not significantly \
             better than always giving the most frequent label: it has {right} of {n} examples right \
             ({}), that label would have {} (one-sided binomial test, p = {}); the statistic leaves \
             out the examples that the student gets wrong",
            figure(published.sigma),
            figure(kappa),
            percent(right as f64 / n as f64),
            percent(majority),
            figure(p(right)),
        );
        Note::new(Code::Collapse, message).hint("do not release this student; train it again")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{BoundPolicy, NoteLevel};
    use crate::confidence::{PairInput, PairOptions, Predictions};

    /// 1,000 inputs, 400 of them left out, and σ on either side of 0.05.
    fn evidence() -> PublishedEvidence {
        PublishedEvidence {
            published: ReadSigma { sigma: 0.04, within: true },
            other: ReadSigma { sigma: 0.13, within: false },
            other_statistic: Statistic::Rms,
            n: 1000,
            left_out: LeftOut { count: 400, student_wrong: 380, only_teacher_wrong: 20 },
            student_right: 620,
            most_frequent: 500,
        }
    }

    #[test]
    fn a_disagreement_names_what_is_left_out() {
        let note = disagreement(&evidence(), 0.05).unwrap();
        assert_eq!((note.code.as_str(), note.level), ("published-disagrees", NoteLevel::Warning));
        assert_eq!(
            note.message,
            "the published statistic (0.04) is within the bound 0.05, and `rms` over all examples \
             (0.13) is above it: the published statistic leaves out 400 of 1000 examples, and the \
             student gets 380 of these wrong"
        );
        let turned = PublishedEvidence {
            published: ReadSigma { sigma: 0.06, within: false },
            other: ReadSigma { sigma: 0.045, within: true },
            ..evidence()
        };
        let message = disagreement(&turned, 0.05).unwrap().message;
        assert!(message.contains("(0.06) is above the bound 0.05, and `rms`"), "{message}");
        assert!(message.contains("(0.045) is within it"), "{message}");
        let whole = PublishedEvidence { left_out: LeftOut::default(), ..evidence() };
        let note = disagreement(&whole, 0.05).unwrap();
        assert!(note.message.ends_with("above it: both cover all examples"), "{}", note.message);
        assert!(note.hint.unwrap().contains("look at the mean difference"));
        for within in [true, false] {
            let both = ReadSigma { sigma: 0.04, within };
            let agreed = PublishedEvidence { published: both, other: both, ..evidence() };
            assert_eq!(disagreement(&agreed, 0.05), None);
        }
    }

    #[test]
    fn a_student_no_better_than_the_majority_class_has_collapsed() {
        // P(X ≥ k) for Binomial(1000, ½): 0.01046 at 537 and 0.00883 at 538 (Python's math.comb).
        let with = |student_right| PublishedEvidence { student_right, ..evidence() };
        assert_eq!(collapse(&with(538), 0.05), None);
        let note = collapse(&with(537), 0.05).unwrap();
        assert_eq!((note.code.as_str(), note.level), ("collapse", NoteLevel::Warning));
        let expected = "it has 537 of 1000 examples right (53.7 %), that label would have 50.0 % \
                        (one-sided binomial test, p = 0.01046)";
        assert!(note.message.contains(expected), "{}", note.message);
        assert!(collapse(&with(0), 0.05).is_some());
        let beyond = ReadSigma { sigma: 0.06, within: false };
        assert_eq!(collapse(&PublishedEvidence { published: beyond, ..with(537) }, 0.05), None);
        // 0.5^6 = 0.016 and 0.5^7 = 0.008; 0.99^459 = 0.0099.
        let of = |n, student_right, most_frequent| {
            collapse(&PublishedEvidence { n, student_right, most_frequent, ..evidence() }, 0.05)
        };
        assert_eq!((of(6, 2, 3), of(1000, 1000, 1000)), (None, None));
        assert!(of(8, 3, 4).is_some());
        assert_eq!((of(400, 396, 396), of(8, 8, 4)), (None, None));
        assert!(of(1000, 990, 990).is_some());
    }

    #[test]
    fn the_evidence_compares_with_the_gate_or_with_rms() {
        // d = 1/8 and −1/8 where both are right, 3/8 where the student is wrong.
        let given = |rows: &[f64]| Predictions::from_probabilities(rows, 2).unwrap();
        let (teacher, student) = (
            given(&[0.75, 0.25, 0.25, 0.75, 0.9375, 0.0625]),
            given(&[0.625, 0.375, 0.375, 0.625, 0.4375, 0.5625]),
        );
        let labels = [Some(0), Some(1), Some(0)];
        let input = PairInput::of_predictions(&teacher, &student, &labels);
        let evidence = |statistic, kappa| {
            let options = PairOptions { statistic, ..PairOptions::default() };
            let pair = PairStatistics::new(&input, &options).unwrap();
            let bound = Bound::new(BoundPolicy::Kappa(kappa), 0.0, 1.0).unwrap();
            PublishedEvidence::new(&pair, &bound).unwrap()
        };
        let rms = (11.0f64 / 192.0).sqrt(); // (1/64 + 1/64 + 9/64) / 3
        for gates in [Statistic::Rms, Statistic::Published] {
            let found = evidence(gates, 0.125);
            assert_eq!(found.published, ReadSigma { sigma: 0.125, within: true });
            assert_eq!((found.other_statistic, found.other.within), (Statistic::Rms, false));
            assert!((found.other.sigma - rms).abs() < 1e-15);
            assert_eq!((found.n, found.student_right, found.most_frequent), (3, 2, 2));
        }
        let just_below = evidence(Statistic::Rms, 0.125 - 1e-9).published;
        assert!(!just_below.within, "κ² is taken times the two examples of the statistic");
        assert_eq!(evidence(Statistic::Centred, 0.125).other_statistic, Statistic::Centred);
    }
}
