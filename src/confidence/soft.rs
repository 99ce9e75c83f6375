//! The soft-label loss of distillation, at its temperature.

use super::order::order_free_sum;

/// Σ KL and Σ cross-entropy of softmax(`student`/t) from softmax(`teacher`/t), nats, over all
/// examples; both slices are logits (N, K), row-major.
///
/// Computed in f64, without the factor t², in sorted order. At t = 1 these are the sums of
/// [`super::divergence`], up to rounding.
///
/// # Panics
/// Slices of different lengths, a K of 0.
pub fn soft_losses(
    teacher: &[f32],
    student: &[f32],
    labels: usize,
    temperature: f64,
) -> (f64, f64) {
    assert_eq!(teacher.len(), student.len(), "both models have the same examples");
    let (mut kl, mut cross_entropy) = (Vec::new(), Vec::new());
    let rows = teacher.chunks_exact(labels).zip(student.chunks_exact(labels));
    for (teacher, student) in rows {
        let log_p = log_softmax(teacher, temperature);
        let log_q = log_softmax(student, temperature);
        let over_labels = |term: &dyn Fn(f64, f64) -> f64| {
            let terms = log_p.iter().zip(&log_q);
            let mut terms: Vec<f64> = terms.map(|(&p, &q)| p.exp() * term(p, q)).collect();
            order_free_sum(&mut terms).max(0.0) // rounding may leave −1e-17
        };
        kl.push(over_labels(&|p, q| p - q));
        cross_entropy.push(over_labels(&|_, q| -q));
    }
    (order_free_sum(&mut kl), order_free_sum(&mut cross_entropy))
}

fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|z| f64::from(*z) / temperature).collect();
    let max = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut exp: Vec<f64> = scaled.iter().map(|z| (z - max).exp()).collect();
    let log_sum = order_free_sum(&mut exp).ln();
    scaled.iter().map(|z| z - max - log_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{divergence, Predictions};
    use super::*;

    const TEACHER: [f32; 6] = [2.0, -1.0, 0.5, 0.0, 3.0, -2.0];
    const STUDENT: [f32; 6] = [1.0, 0.0, 0.5, 1.5, 2.0, 0.0];

    #[test]
    fn at_temperature_one_they_are_the_audit_s_divergence() {
        let of = |logits: &[f32]| Predictions::from_logits(logits, 3).unwrap();
        let audited = divergence(&of(&TEACHER), &of(&STUDENT)).unwrap();
        let (kl, cross_entropy) = soft_losses(&TEACHER, &STUDENT, 3, 1.0);
        assert!((kl - audited.sum_kl).abs() < 1e-12);
        assert!((cross_entropy - audited.sum_cross_entropy).abs() < 1e-12);
    }

    #[test]
    fn a_temperature_divides_both_models_logits() {
        let halved: [Vec<f32>; 2] =
            [TEACHER, STUDENT].map(|logits| logits.iter().map(|z| z / 2.0).collect());
        let (kl, _) = soft_losses(&TEACHER, &STUDENT, 3, 2.0);
        assert!((kl - soft_losses(&halved[0], &halved[1], 3, 1.0).0).abs() < 1e-12);
    }

    #[test]
    fn nothing_diverges_from_itself() {
        let (kl, cross_entropy) = soft_losses(&[3.0, -3.0], &[3.0, -3.0], 2, 1.0);
        // The entropy of (1/(1+e^-6), …): ln(1+e^-6) + 6/(1+e^6) = 0.0173116…
        assert_eq!(kl, 0.0);
        assert!((cross_entropy - 0.017_311_6).abs() < 1e-6);
    }
}
