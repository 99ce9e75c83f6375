//! Divergences between the two distributions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::order::order_free_sum;
use super::{Defined, FixedSum, Predictions, Undefined};

/// Divergences between the two distributions over all examples, teacher first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Divergence {
    /// Σ KL(p_T ‖ p_S), nats, at least 0. Twice Σd² never exceeds it (Pinsker; docs/theory.md).
    pub sum_kl: f64,
    /// Mean KL, nats.
    pub mean_kl: f64,
    /// Σ CE(p_T, p_S) = Σ KL + Σ H(p_T), nats.
    pub sum_cross_entropy: f64,
    /// Mean cross-entropy, nats.
    pub mean_cross_entropy: f64,
    /// Mean of ½Σ_k |p_T,k − p_S,k|, in [0, 1].
    pub mean_total_variation: f64,
}

/// The divergences of `student` from `teacher`, at temperature 1.
///
/// Logarithms come from log-softmax in f64; a label to which the teacher gives probability 0
/// contributes 0. Undefined without a distribution of either model, and if the student's given
/// probability is exactly 0 for a label that is possible for the teacher.
///
/// # Panics
/// If the numbers of examples or labels differ.
pub fn divergence(teacher: &Predictions, student: &Predictions) -> Defined<Divergence> {
    assert_eq!((teacher.len(), teacher.labels()), (student.len(), student.labels()));
    let n = teacher.len();
    let (mut kl, mut cross_entropy) = (Vec::with_capacity(n), Vec::with_capacity(n));
    let mut total_variation = FixedSum::ZERO;
    for i in 0..n {
        let apart = divergence_of(teacher, student, i)?;
        kl.push(apart.kl);
        cross_entropy.push(apart.cross_entropy);
        total_variation.add(apart.total_variation);
    }
    let (sum_kl, sum_cross_entropy) = (order_free_sum(&mut kl), order_free_sum(&mut cross_entropy));
    Ok(Divergence {
        sum_kl,
        mean_kl: sum_kl / n as f64,
        sum_cross_entropy,
        mean_cross_entropy: sum_cross_entropy / n as f64,
        mean_total_variation: total_variation.to_f64() / n as f64,
    })
}

/// The divergences of one example.
pub(super) struct ExampleDivergence {
    /// KL, nats, at least 0.
    pub(super) kl: f64,
    /// Cross-entropy, nats, at least 0.
    pub(super) cross_entropy: f64,
    /// Total variation, in [0, 1].
    pub(super) total_variation: f64,
}

/// The divergences of example `i`; undefined as in [`divergence`].
pub(super) fn divergence_of(
    teacher: &Predictions,
    student: &Predictions,
    i: usize,
) -> Defined<ExampleDivergence> {
    let (p, log_p) = distribution(teacher, "teacher", i)?;
    let (q, log_q) = distribution(student, "student", i)?;
    let mut terms = vec![0.0; p.len()];
    // Sums over labels are taken in sorted order, so that the labels' order has no effect.
    let mut over_labels = |term: &dyn Fn(usize) -> f64| {
        terms.iter_mut().enumerate().for_each(|(k, slot)| *slot = term(k));
        order_free_sum(&mut terms)
    };
    let weigh = |k: usize, log: f64| if p[k] == 0.0 { 0.0 } else { p[k] * log };
    let cross_entropy = over_labels(&|k| weigh(k, -log_q[k]));
    if cross_entropy.is_infinite() {
        return Err(Undefined::Infinite { example: i });
    }
    Ok(ExampleDivergence {
        // Rounding may leave a KL of nearly equal distributions at −1e-17.
        kl: over_labels(&|k| weigh(k, log_p[k] - log_q[k])).max(0.0),
        cross_entropy: cross_entropy.max(0.0),
        total_variation: (0.5 * over_labels(&|k| (p[k] - q[k]).abs())).min(1.0),
    })
}

fn distribution<'a>(
    model: &'a Predictions,
    role: &'static str,
    i: usize,
) -> Defined<(&'a [f64], &'a [f64])> {
    model.probabilities(i).zip(model.log_probabilities(i)).ok_or(Undefined::NoDistribution(role))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(rows: &[f64]) -> Predictions {
        Predictions::from_probabilities(rows, 2).unwrap()
    }

    #[test]
    fn two_examples_worked_by_hand() {
        // First: p = (1/2, 1/2), q = (1/4, 3/4): KL = ½ln2 + ½ln(2/3) = ½ln(4/3),
        // CE = ½ln4 + ½ln(4/3) = ½ln(16/3), TV = 1/4. Second: p = q: KL 0, CE = H, TV 0.
        let teacher = given(&[0.5, 0.5, 0.25, 0.75]);
        let student = given(&[0.25, 0.75, 0.25, 0.75]);
        let entropy = 0.25 * 4f64.ln() + 0.75 * (4.0f64 / 3.0).ln();
        let d = divergence(&teacher, &student).unwrap();
        assert!((d.sum_kl - 0.5 * (4.0f64 / 3.0).ln()).abs() < 1e-15);
        assert!((d.mean_kl - d.sum_kl / 2.0).abs() < 1e-15);
        assert!((d.sum_cross_entropy - 0.5 * (16.0f64 / 3.0).ln() - entropy).abs() < 1e-15);
        assert_eq!(d.mean_cross_entropy, d.sum_cross_entropy / 2.0);
        assert_eq!(d.mean_total_variation, 0.125);
    }

    #[test]
    fn a_teacher_that_rules_a_label_out_contributes_nothing_there() {
        let d = divergence(&given(&[1.0, 0.0]), &given(&[0.5, 0.5])).unwrap();
        assert!((d.sum_kl - 2f64.ln()).abs() < 1e-15);
        let d = divergence(&given(&[1.0, 0.0]), &given(&[1.0, 0.0])).unwrap();
        assert_eq!((d.sum_kl, d.sum_cross_entropy), (0.0, 0.0));
    }

    #[test]
    fn a_student_that_rules_out_what_is_possible_is_infinitely_far() {
        let infinite = divergence(&given(&[0.5, 0.5, 0.5, 0.5]), &given(&[0.5, 0.5, 1.0, 0.0]));
        assert_eq!(infinite, Err(Undefined::Infinite { example: 1 }));
        // From logits the same student is far, and finite: ½(0 + 2000) − ln 2.
        let certain = Predictions::from_logits(&[2000.0, 0.0], 2).unwrap();
        let d = divergence(&given(&[0.5, 0.5]), &certain).unwrap();
        assert!((d.sum_kl - (1000.0 - 2f64.ln())).abs() < 1e-9);
    }

    #[test]
    fn a_bare_confidence_has_no_divergence() {
        let bare = Predictions::from_confidence(&[0.5], &[0], 2).unwrap();
        let full = given(&[0.5, 0.5]);
        assert_eq!(divergence(&bare, &full), Err(Undefined::NoDistribution("teacher")));
        assert_eq!(divergence(&full, &bare), Err(Undefined::NoDistribution("student")));
    }
}
