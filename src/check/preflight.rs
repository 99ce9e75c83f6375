//! Sanity check of a model on a sample, before the long run.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::{Code, Note};

/// Below this p-value a model counts as significantly worse than the majority class.
pub const PREFLIGHT_LEVEL: f64 = 0.01;

/// The share of the most frequent label among the labelled examples, in (0, 1]. `None` without
/// labels.
pub fn majority_share(labels: &[Option<u32>]) -> Option<f64> {
    let mut ids: Vec<u32> = labels.iter().flatten().copied().collect();
    ids.sort_unstable();
    let most = ids.chunk_by(|a, b| a == b).map(<[u32]>::len).max()?;
    Some(most as f64 / ids.len() as f64)
}

/// One-sided p-value of "not worse than the majority class": P(X ≤ `correct`) for X binomial with
/// `n` trials and probability `majority`. In [0, 1]; 1 for n = 0.
///
/// # Panics
/// If `majority` is not a probability.
pub fn worse_than_majority_p(correct: usize, n: usize, majority: f64) -> f64 {
    let binomial = Binomial::new(majority, n as u64).expect("a share lies in [0, 1]");
    if correct >= n {
        return 1.0;
    }
    binomial.cdf(correct as u64)
}

/// One-sided p-value of "not better than the majority class": P(X ≥ `correct`) for X binomial with
/// `n` trials and probability `majority`. In [0, 1]; 1 for `correct` = 0.
///
/// # Panics
/// If `majority` is not a probability.
pub fn better_than_majority_p(correct: usize, n: usize, majority: f64) -> f64 {
    let binomial = Binomial::new(majority, n as u64).expect("a share lies in [0, 1]");
    match correct {
        0 => 1.0,
        _ => binomial.sf(correct as u64 - 1),
    }
}

/// A warning if `model` (such as `teacher out/bert`) is significantly worse than always giving the
/// most frequent label: p < [`PREFLIGHT_LEVEL`].
///
/// # Panics
/// If `majority` is not a probability.
pub fn worse_than_majority(model: &str, correct: usize, n: usize, majority: f64) -> Option<Note> {
    let p = worse_than_majority_p(correct, n, majority);
    (p < PREFLIGHT_LEVEL).then(|| {
        Note::new(
            Code::WorseThanMajority,
            format!(
                "{model} has {correct} of {n} examples right ({:.1} %), and always giving the \
             most frequent label would have {:.1} % (one-sided binomial test, p = {p:.1e})",
                100.0 * correct as f64 / n as f64,
                100.0 * majority,
            ),
        )
        .hint(
            "check the order of the labels (--label-map), the head convention (--teacher-head, \
             --student-head) and that the checkpoint was fine-tuned on this task at all",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_value_is_the_binomial_tail() {
        // P(X ≤ 1) for Binomial(4, ½) = (1 + 4)/16; P(X ≤ 0) for Binomial(3, ¾) = 1/64.
        assert!((worse_than_majority_p(1, 4, 0.5) - 5.0 / 16.0).abs() < 1e-12);
        assert!((worse_than_majority_p(0, 3, 0.75) - 1.0 / 64.0).abs() < 1e-12);
        assert_eq!(worse_than_majority_p(4, 4, 0.5), 1.0);
        assert_eq!(worse_than_majority_p(0, 0, 0.5), 1.0);
        assert_eq!(worse_than_majority_p(3, 4, 1.0), 0.0);
    }

    #[test]
    fn the_other_p_value_is_the_other_tail() {
        // P(X ≥ 3) for Binomial(4, ½) = (4 + 1)/16; P(X ≥ 3) for Binomial(3, ¾) = 27/64.
        assert!((better_than_majority_p(3, 4, 0.5) - 5.0 / 16.0).abs() < 1e-12);
        assert!((better_than_majority_p(3, 3, 0.75) - 27.0 / 64.0).abs() < 1e-12);
        assert_eq!(better_than_majority_p(0, 4, 0.5), 1.0);
        assert_eq!(better_than_majority_p(0, 0, 0.5), 1.0);
        assert!((better_than_majority_p(1, 1, 0.5) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn swapped_labels_are_noticed_and_chance_is_not() {
        // 256 examples at a majority of 0.5: mean 128, standard deviation 8. 109 is −2.3 σ after
        // the continuity correction. Exact tails (Python, Σ comb(256, k) / 2^256): 0.01028 and 0.00731.
        assert!(worse_than_majority("teacher", 109, 256, 0.5).is_none());
        assert!(worse_than_majority("teacher", 108, 256, 0.5).is_some());
        let finding = worse_than_majority("teacher `out/bert`", 20, 256, 0.56).unwrap();
        assert_eq!(finding.code, Code::WorseThanMajority.as_str());
        assert!(finding.message.starts_with(
            "teacher `out/bert` has 20 of 256 examples right (7.8 %), and always giving \
             the most frequent label would have 56.0 %"
        ));
        let hint = finding.hint.unwrap();
        for cause in ["labels", "head convention", "fine-tuned"] {
            assert!(hint.contains(cause));
        }
    }

    #[test]
    fn the_majority_is_counted_among_the_labelled() {
        let labels = [Some(1), None, Some(0), Some(1), Some(2)];
        assert_eq!(majority_share(&labels), Some(0.5));
        assert_eq!(majority_share(&[Some(0), Some(1), Some(0), Some(0)]), Some(0.75));
        assert_eq!(majority_share(&[None]), None);
    }
}
