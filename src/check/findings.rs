//! Notes and warnings about a verdict. docs/glossary.md has the criteria.

use crate::confidence::{
    largest_difference, ConfidenceKind, Divergence, PairStatistics, Statistic,
};

use super::published::{collapse, disagreement, PublishedEvidence};
use super::{AuditedExamples, Bound, BoundPolicy, Code, Note, StudentRecord};

/// |σ − κ| up to which the f32 noise of logits may decide.
pub const BORDERLINE: f64 = 1e-6;

/// Least number of examples for `mean-for-sum`.
const MEAN_FOR_SUM_EXAMPLES: usize = 100;

/// Relative distance up to which β counts as set to a loss.
const SET_TO_LOSS: f64 = 0.01;

/// From this many labels the bound with γ = t is false in general; it is proved for two.
const UNPROVED_LABELS: usize = 5;

/// The input of [`findings`].
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The bound that gates.
    pub bound: Bound,
    /// The confidence that gates; `max` for the published statistic, whose largest value is as small.
    pub kind: ConfidenceKind,
    /// N, at least 1.
    pub n: usize,
    /// The examples that the gating σ is over, at least 1.
    pub gating: usize,
    /// K.
    pub labels: usize,
    /// The gating σ; `None` if only part of the examples was run.
    pub sigma: Option<f64>,
    /// The divergence measured on these examples, if defined.
    pub divergence: Option<Divergence>,
    /// The distillation temperature, if recorded.
    pub temperature: Option<f64>,
    /// Losses that the student's training reached, in nats summed over the examples, by name.
    pub losses_reached: Vec<(&'static str, f64)>,
    /// The published statistic, where another one gates; `None` if it is undefined or the run ended early.
    pub published: Option<PublishedEvidence>,
}

impl Evidence {
    /// The evidence of one split checked against `bound`, with the student's record, if any.
    pub fn new(
        pair: &PairStatistics,
        bound: &Bound,
        record: Option<&StudentRecord>,
        audited: AuditedExamples,
    ) -> Self {
        let reached = record.and_then(|record| record.loss_reached);
        Self {
            bound: *bound,
            kind: Self::kind(pair.statistic, pair.kind),
            n: pair.n,
            gating: pair.gating.n(),
            labels: pair.labels,
            sigma: Some(pair.sigma()),
            divergence: pair.figures.divergence,
            temperature: record.and_then(StudentRecord::temperature),
            losses_reached: reached.map_or_else(Vec::new, |reached| reached.sums(pair.n, audited)),
            published: PublishedEvidence::new(pair, bound),
        }
    }

    /// The confidence whose largest difference no σ by `statistic` exceeds, in an audit by `kind`.
    pub fn kind(statistic: Statistic, kind: ConfidenceKind) -> ConfidenceKind {
        match statistic {
            Statistic::Published => ConfidenceKind::Max,
            Statistic::Rms | Statistic::Centred => kind,
        }
    }

    /// The evidence of a run over part of `n` examples, without the figures of all.
    pub fn of_part(
        pair: &PairStatistics,
        n: usize,
        bound: &Bound,
        record: Option<&StudentRecord>,
        audited: AuditedExamples,
    ) -> Self {
        let reached = record.and_then(|record| record.loss_reached);
        let losses_reached = reached.map_or_else(Vec::new, |reached| reached.sums(n, audited));
        let whole = Self::new(pair, bound, record, audited);
        let none = Self { sigma: None, divergence: None, published: None, ..whole };
        Self { n, gating: n, losses_reached, ..none }
    }

    fn kappa(&self) -> f64 {
        self.bound.kappa(self.n)
    }
}

/// All findings, warnings first.
pub fn findings(evidence: &Evidence) -> Vec<Note> {
    let rules = [
        vacuous,
        mean_for_sum,
        bound_unproved,
        borderline,
        published_disagrees,
        collapse_hidden,
        implied_by_loss,
    ];
    rules.iter().filter_map(|rule| rule(evidence)).collect()
}

/// A check that no student can fail.
fn vacuous(evidence: &Evidence) -> Option<Note> {
    beyond_largest(evidence).or_else(|| set_to_loss(evidence))
}

/// κ ≥ R.
fn beyond_largest(evidence: &Evidence) -> Option<Note> {
    let (kappa, largest) = (evidence.kappa(), largest_difference(evidence.kind, evidence.labels));
    // For α = 0.99, rounding puts κ just below R.
    (kappa >= largest - BORDERLINE).then(|| {
        let (kappa, largest, labels) = (figure(kappa), figure(largest), evidence.labels);
        let message = format!(
            "the bound {kappa} is not below {largest}, the largest difference that {labels} labels \
             allow: no student can fail this check"
        );
        Note::new(Code::Vacuous, message).hint(
            "set a smaller bound, such as --kappa 0.05; if the threshold was meant per example, \
             give it as --beta-per-example",
        )
    })
}

/// A β equal to the loss of the finished training (within 1 %).
fn set_to_loss(evidence: &Evidence) -> Option<Note> {
    let beta = evidence.bound.beta(evidence.n)?;
    // The built-in default may be near a measured loss by chance. Over less than half of the examples
    // the loss of all does not bound σ.
    if evidence.bound == Bound::default() || 2 * evidence.gating < evidence.n {
        return None;
    }
    let measured = evidence.divergence.map_or_else(Vec::new, |d| {
        let cross_entropies = ("measured sum of cross-entropies", d.sum_cross_entropy);
        vec![("measured sum of KL", d.sum_kl), cross_entropies]
    });
    let near = |loss: f64| loss > 0.0 && (beta - loss).abs() <= SET_TO_LOSS * loss;
    let weight = evidence.bound.soft_weight();
    let (name, loss) = (evidence.losses_reached.iter().chain(&measured))
        .find(|(_, loss)| near(*loss) || near(weight * loss))?;
    let (beta, loss) = (figure(beta), figure(*loss));
    let message = format!(
        "the threshold beta = {beta} is the loss that this student reached ({name}: {loss}): such a \
         check follows from its own measurement and cannot fail"
    );
    Some(Note::new(Code::Vacuous, message).hint(
        "set the bound before the training and for every student alike, such as \
         --beta-per-example 0.0025",
    ))
}

/// β is a sum over the examples, while a trainer's log shows a mean.
fn mean_for_sum(evidence: &Evidence) -> Option<Note> {
    let BoundPolicy::Beta(beta) = evidence.bound.policy() else { return None };
    let &Evidence { n, labels, .. } = evidence;
    let ceiling = (labels as f64).ln();
    (beta <= ceiling && n >= MEAN_FOR_SUM_EXAMPLES).then(|| {
        let (short, ceiling, kappa) = (figure(beta), figure(ceiling), figure(evidence.kappa()));
        let message = format!(
            "beta = {short} looks like a mean loss per example (it is not above ln {labels} = \
             {ceiling}), and it is taken as the sum over all {n} examples: the bound is {kappa}, \
             which nearly every student exceeds"
        );
        let kappa = evidence.bound.gamma() * (beta / evidence.bound.soft_weight()).sqrt();
        Note::new(Code::MeanForSum, message).hint(format!(
            "give a mean as --beta-per-example {beta}, which makes the bound {}",
            figure(kappa)
        ))
    })
}

/// γ = t is proved for two labels, and false in general from five. A loss scaled by t² has γ = 1
/// and the same constant.
fn bound_unproved(evidence: &Evidence) -> Option<Note> {
    let gamma = evidence.bound.gamma().max(evidence.temperature.unwrap_or(1.0));
    // A given κ does not depend on a loss or on γ.
    let from_loss = evidence.bound.beta(evidence.n).is_some();
    (from_loss && gamma > 1.0 && evidence.labels >= UNPROVED_LABELS).then(|| {
        let (labels, gamma, kappa) = (evidence.labels, figure(gamma), figure(evidence.kappa()));
        let message = format!(
            "with {labels} labels and a distillation temperature of {gamma}, a loss within beta does \
             not by itself keep the confidence within the bound {kappa}: that is proved for two \
             labels or at temperature 1, and false in general from five labels"
        );
        Note::new(Code::BoundUnproved, message).hint(
            "the verdict holds as measured; to rest it on a theorem, distil at temperature 1, or \
             set --kappa outright",
        )
    })
}

/// σ and κ differ by less than the noise of f32 logits.
fn borderline(evidence: &Evidence) -> Option<Note> {
    let distance = (evidence.sigma? - evidence.kappa()).abs();
    (distance <= BORDERLINE).then(|| {
        let kappa = figure(evidence.kappa());
        let message = format!(
            "sigma and the bound {kappa} differ by {distance:.1e}, within the numeric noise of f32 \
             logits (1e-6): another machine may decide otherwise"
        );
        Note::new(Code::Borderline, message)
            .hint("do not rely on this verdict; improve the student")
    })
}

/// The published statistic and the gate come to different verdicts.
fn published_disagrees(evidence: &Evidence) -> Option<Note> {
    disagreement(evidence.published.as_ref()?, evidence.kappa())
}

/// The published statistic is within the bound, and the student has learned nothing.
fn collapse_hidden(evidence: &Evidence) -> Option<Note> {
    collapse(evidence.published.as_ref()?, evidence.kappa())
}

/// Pinsker: σ ≤ sqrt(mean KL/2), so a larger κ always holds. Over part of the examples the sum of all
/// KL bounds the sum of squares all the same.
fn implied_by_loss(evidence: &Evidence) -> Option<Note> {
    let implied = match evidence.gating == evidence.n {
        true => (0.5 * evidence.divergence?.mean_kl).sqrt(),
        false => (0.5 * evidence.divergence?.sum_kl / evidence.gating as f64).sqrt(),
    };
    (evidence.kappa() >= implied).then(|| {
        let (implied, kappa) = (figure(implied), figure(evidence.kappa()));
        let divergence = match evidence.gating == evidence.n {
            true => "mean KL",
            false => "sum of KL / examples that count",
        };
        let message = format!(
            "the verdict already follows from the measured divergence: sigma is at most \
             sqrt({divergence} / 2) = {implied}, and the bound is {kappa}; this is so for every \
             well-distilled student"
        );
        Note::new(Code::ImpliedByLoss, message)
    })
}

/// Four significant digits, without an exponent where that is readable.
pub(super) fn figure(value: f64) -> String {
    let magnitude = value.abs().log10().floor();
    if value != 0.0 && !(-5.0..6.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = if value == 0.0 { 0 } else { (3.0 - magnitude).max(0.0) as usize };
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::NoteLevel;
    use crate::confidence::{PairInput, PairOptions, Predictions};

    /// 67,349 examples of two labels, σ = 0.0446 and mean KL = 0.02, with the built-in bound.
    fn evidence() -> Evidence {
        let (n, mean_kl) = (67_349, 0.02);
        Evidence {
            bound: Bound::default(),
            kind: ConfidenceKind::Max,
            n,
            gating: n,
            labels: 2,
            sigma: Some(0.0446),
            divergence: Some(Divergence {
                sum_kl: mean_kl * n as f64,
                mean_kl,
                sum_cross_entropy: 0.1 * n as f64,
                mean_cross_entropy: 0.1,
                ..Divergence::default()
            }),
            temperature: None,
            losses_reached: Vec::new(),
            published: None,
        }
    }

    fn with(policy: BoundPolicy, gamma: f64) -> Evidence {
        Evidence { bound: Bound::new(policy, 0.0, gamma).unwrap(), ..evidence() }
    }

    const NONE: [&str; 0] = [];

    fn codes(evidence: &Evidence) -> Vec<String> {
        findings(evidence).into_iter().map(|note| note.code).collect()
    }

    #[test]
    fn an_ordinary_audit_has_no_findings() {
        assert_eq!(codes(&evidence()), NONE); // sqrt(0.02/2) = 0.1 > 0.05
    }

    #[test]
    fn implied_by_loss_from_sqrt_half_mean_kl_up() {
        assert_eq!(codes(&with(BoundPolicy::Kappa(0.1 + 1e-12), 1.0)), ["implied-by-loss"]);
        assert_eq!(codes(&with(BoundPolicy::Kappa(0.099), 1.0)), NONE);
        let finding = findings(&with(BoundPolicy::Kappa(0.2), 1.0)).remove(0);
        assert_eq!((finding.level, finding.hint), (NoteLevel::Note, None));
        assert!(finding.message.contains("sqrt(mean KL / 2) = 0.1, and the bound is 0.2"));
        let unknown = Evidence { divergence: None, ..with(BoundPolicy::Kappa(0.2), 1.0) };
        assert_eq!(codes(&unknown), NONE);
    }

    #[test]
    fn vacuous_from_the_largest_difference_up() {
        assert_eq!(codes(&with(BoundPolicy::Kappa(0.5), 1.0)), ["vacuous", "implied-by-loss"]);
        assert_eq!(codes(&with(BoundPolicy::Kappa(0.499), 1.0)), ["implied-by-loss"]);
        let teacher_class =
            Evidence { kind: ConfidenceKind::TeacherClass, ..with(BoundPolicy::Kappa(0.5), 1.0) };
        assert_eq!(codes(&teacher_class), ["implied-by-loss"]);
    }

    #[test]
    fn vacuous_when_beta_is_the_reached_loss() {
        // Measured: 0.02 per example; within 1 % up to 0.0202. (κ = 0.14 is implied by it too.)
        let all = ["vacuous", "implied-by-loss"];
        assert_eq!(codes(&with(BoundPolicy::BetaPerExample(0.0201), 1.0)), all);
        assert_eq!(codes(&with(BoundPolicy::Beta(0.02 * 67_349.0), 1.0)), all);
        assert_eq!(codes(&with(BoundPolicy::BetaPerExample(0.021), 1.0)), ["implied-by-loss"]);
        // From the record, and with the soft weight: β = w·L.
        let bound = Bound::new(BoundPolicy::Beta(150.0), 0.25, 1.0).unwrap();
        let recorded = Evidence { bound, losses_reached: vec![("sum of KL", 200.0)], ..evidence() };
        assert_eq!(codes(&recorded), ["vacuous"]);
        let finding = findings(&recorded).remove(0);
        assert!(finding
            .message
            .contains("beta = 150 is the loss that this student reached (sum of KL: 200)"));
        // The built-in default may come near a measured loss by chance.
        let mut chance = evidence();
        chance.divergence.as_mut().unwrap().sum_kl = 0.0025 * 67_349.0;
        assert_eq!(codes(&chance), NONE);
        // A threshold of zero is no loss, even where one was recorded as zero.
        let zero = Bound::new(BoundPolicy::Beta(0.0), 0.0, 1.0).unwrap();
        let losses_reached = vec![("sum of KL", 0.0)];
        let zero = Evidence { bound: zero, losses_reached, ..evidence() };
        assert!(!codes(&zero).contains(&"vacuous".to_owned()));
    }

    #[test]
    fn the_evidence_of_a_part_has_the_size_of_the_whole_and_no_figures_of_the_part() {
        let predictions = |logits: &[f32]| Predictions::from_logits(logits, 2).unwrap();
        let (teacher, student) =
            (predictions(&[0.0, 2.0, 1.0, 0.0]), predictions(&[0.0, 1.0, 2.0, 0.0]));
        let input = PairInput::of_predictions(&teacher, &student, &[None, None]);
        let pair = PairStatistics::new(&input, &PairOptions::default()).unwrap();
        let record = StudentRecord::parse(r#"{"loss_reached": {"mean_kl": 0.5}}"#).unwrap();
        let (bound, audited) = (Bound::default(), AuditedExamples::OtherExamples);
        let part = Evidence::of_part(&pair, 10, &bound, Some(&record), audited);
        let whole = Evidence::new(&pair, &bound, Some(&record), audited);
        assert_eq!((whole.n, whole.sigma), (2, Some(pair.sigma())));
        assert_eq!(whole.losses_reached, [("sum of KL", 1.0)]);
        let losses_reached = vec![("sum of KL", 5.0)];
        assert_eq!(
            part,
            Evidence { n: 10, gating: 10, sigma: None, divergence: None, losses_reached, ..whole }
        );
    }

    #[test]
    fn over_part_of_the_examples_the_sum_of_all_divergences_implies_less() {
        // sqrt(0.02/2) = 0.1 over all, sqrt(4·0.02/2) = 0.2 over a quarter of them.
        let n = 1000;
        let divergence = Divergence { sum_kl: 20.0, mean_kl: 0.02, ..Divergence::default() };
        let at = |kappa, gating| {
            let evidence = with(BoundPolicy::Kappa(kappa), 1.0);
            findings(&Evidence { n, gating, divergence: Some(divergence), ..evidence }).pop()
        };
        assert!(at(0.1001, n).is_some() && at(0.0999, n).is_none());
        assert!(at(0.2001, n / 4).is_some() && at(0.1999, n / 4).is_none());
        let message = at(0.21, n / 4).unwrap().message;
        assert!(message.contains("sqrt(sum of KL / examples that count / 2) = 0.2,"), "{message}");
    }

    #[test]
    fn the_published_statistic_is_a_finding_where_it_hides_something() {
        // A student at chance: wrong on 4 of 8, near its teacher where both are right.
        let given = |rows: &[f64]| Predictions::from_probabilities(&rows.repeat(2), 2).unwrap();
        let teacher = given(&[0.75, 0.25, 0.25, 0.75, 0.9375, 0.0625, 0.0625, 0.9375]);
        let student = given(&[0.75, 0.25, 0.25, 0.75, 0.4375, 0.5625, 0.5625, 0.4375]);
        let labels = [0, 1, 0, 1, 0, 1, 0, 1].map(Some);
        let input = PairInput::of_predictions(&teacher, &student, &labels);
        let (bound, audited) = (Bound::default(), AuditedExamples::OtherExamples);
        let of = |statistic, kind| {
            let options = PairOptions { statistic, kind, ..PairOptions::default() };
            let pair = PairStatistics::new(&input, &options).unwrap();
            Evidence::new(&pair, &bound, None, audited)
        };
        let both = ["published-disagrees", "collapse"];
        assert_eq!(codes(&of(Statistic::Rms, ConfidenceKind::Max)), both);
        let gates = of(Statistic::Published, ConfidenceKind::TeacherClass);
        assert_eq!(codes(&gates), both);
        // It is over half of the examples, and is never above ½.
        assert_eq!((gates.n, gates.gating, gates.kind), (8, 4, ConfidenceKind::Max));
        assert_eq!(gates.sigma, Some(0.0));
        let centred = of(Statistic::Centred, ConfidenceKind::TeacherClass);
        assert_eq!((centred.gating, centred.kind), (8, ConfidenceKind::TeacherClass));
    }

    #[test]
    fn a_mean_given_for_a_sum_is_noticed() {
        // THEORY: β = 0.1 unscaled makes κ = 0.0012 on SST-2.
        let finding = findings(&with(BoundPolicy::Beta(0.1), 1.0)).remove(0);
        assert_eq!((finding.code.as_str(), finding.level), ("mean-for-sum", NoteLevel::Warning));
        assert!(finding.message.contains("not above ln 2 = 0.6931"), "{}", finding.message);
        assert!(finding.message.contains("the bound is 0.001219"), "{}", finding.message);
        let hint = finding.hint.unwrap();
        assert_eq!(hint, "give a mean as --beta-per-example 0.1, which makes the bound 0.3162");
        assert_eq!(codes(&with(BoundPolicy::Beta(2f64.ln()), 1.0)), ["mean-for-sum"]);
        assert_eq!(codes(&with(BoundPolicy::Beta(0.7), 1.0)), NONE);
        let small = Evidence { n: 99, ..with(BoundPolicy::Beta(0.1), 1.0) };
        assert_eq!(codes(&small), NONE);
        assert_eq!(codes(&Evidence { n: 100, ..small }), ["mean-for-sum"]);
        // The weight of the soft loss divides β: 2·sqrt(0.1/0.5) = 0.8944.
        let weighted = Bound::new(BoundPolicy::Beta(0.1), 0.5, 2.0).unwrap();
        let hint = findings(&Evidence { bound: weighted, ..evidence() }).remove(0).hint.unwrap();
        assert!(hint.ends_with("--beta-per-example 0.1, which makes the bound 0.8944"), "{hint}");
    }

    #[test]
    fn the_bound_is_unproved_from_five_labels_at_a_temperature() {
        let at = |labels, policy, gamma| codes(&Evidence { labels, ..with(policy, gamma) });
        let beta = BoundPolicy::BetaPerExample(1e-4);
        assert_eq!(at(5, beta, 2.0), ["bound-unproved"]);
        assert_eq!(at(4, beta, 2.0), NONE);
        assert_eq!(at(5, beta, 1.0), NONE);
        assert_eq!(at(5, BoundPolicy::Kappa(0.05), 2.0), NONE);
    }

    #[test]
    fn borderline_within_a_millionth() {
        let at = |sigma| codes(&Evidence { sigma: Some(sigma), ..evidence() });
        assert_eq!(at(0.05 + 9e-7), ["borderline"]);
        assert_eq!(at(0.05 - 9e-7), ["borderline"]);
        assert_eq!(at(0.05 + 2e-6), NONE);
    }

    #[test]
    fn figures_are_short() {
        let expected = [
            (0.05, "0.05"),
            (0.00121854, "0.001219"),
            (1346.98, "1347"),
            (0.0, "0"),
            (1e-9, "1.000e-9"),
            (123456.7, "123457"),
        ];
        for (value, text) in expected {
            assert_eq!(figure(value), text);
        }
    }
}
