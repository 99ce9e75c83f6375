//! Why a figure is missing.

use std::collections::BTreeMap;

/// A figure, or the reason why it is not defined for these examples.
pub type Defined<T> = Result<T, Undefined>;

/// Why figures are not defined, by the field's path in a report, such as `teacher.accuracy`.
pub type Reasons = BTreeMap<String, String>;

/// The figure; if it is not defined `None`, with the reason in `reasons` under `field`.
pub fn known<T>(
    figure: Result<T, impl ToString>,
    field: impl Into<String>,
    reasons: &mut Reasons,
) -> Option<T> {
    figure.map_err(|reason| reasons.insert(field.into(), reason.to_string())).ok()
}

/// Why a figure is not defined. Its `Display` is the reason that a report prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// The model (`model`, `teacher` or `student`) gives a confidence and no distribution.
    #[error("the {0} shows no distribution over the labels, only a confidence")]
    NoDistribution(&'static str),
    /// No example carries a label.
    #[error("no example is labelled")]
    NoLabels,
    /// An example carries no label, and the figure is over all.
    #[error("it needs the label of every example, and {unlabelled} have none")]
    Unlabelled {
        /// Examples without a label.
        unlabelled: usize,
    },
    /// The published statistic asks for two labels.
    #[error("it is for tasks of two labels, and this one has {labels}")]
    NotTwoLabels {
        /// K.
        labels: usize,
    },
    /// The published statistic is over the examples that both models get right.
    #[error("no example is right for both models")]
    NoneRightForBoth,
    /// F1 of label 1 asks for two labels.
    #[error("F1 of label 1 is for tasks of two labels, and this one has {labels}")]
    NotBinary {
        /// K.
        labels: usize,
    },
    /// F1 is 0/0.
    #[error("label 1 is neither given nor predicted, so F1 is 0/0 (GLUE's script would print 0)")]
    NoPositives,
    /// Matthews correlation is 0/0.
    #[error(
        "the labels or the predictions are all the same, so Matthews correlation is 0/0 \
         (GLUE's script would print 0)"
    )]
    Constant,
    /// A logarithm of zero makes the sum infinite.
    #[error(
        "infinite: a probability is exactly 0 for a label that occurs (first at example {example}, \
         counted from 0); give logits instead of rounded probabilities"
    )]
    Infinite {
        /// 0-based position of the first such example.
        example: usize,
    },
    /// The row had no examples.
    #[error("there are no examples")]
    NoExamples,
}
