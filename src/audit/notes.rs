//! Notes and warnings about a split.

use super::gate::Gate;
use super::pair::SplitPair;
use super::Session;
use crate::check::{
    majority_share, worse_than_majority, worse_than_majority_p, BoundPolicy, Code, Note,
    PREFLIGHT_LEVEL,
};
use crate::checkpoint::{Checkpoint, Network};
use crate::confidence::{correct, PairStatistics, Predictions};

/// What the reader of a verdict should know about how the checkpoint of `whose` was read; also printed
/// at once.
pub fn checkpoint_notes(whose: &str, checkpoint: &Checkpoint, session: &Session) -> Vec<Note> {
    // What config.json says of the weights is nothing about an export.
    let Network::Weights(weights) = &checkpoint.network else { return Vec::new() };
    let prefix = weights.wrapper().map(|prefix| {
        let message = format!(
            "every tensor of the {whose} is named `{prefix}…`, and was read without `{prefix}`"
        );
        let hint = "transformers finds no weight under such names: save the model inside of its \
                    wrapper before you release it";
        Note::new(Code::PrefixRemoved, message).hint(hint)
    });
    let quantised = checkpoint.quantisation().map(|method| {
        let method = if method.is_empty() { String::new() } else { format!(" ({method})") };
        let message = format!(
            "the {whose}'s config.json has a `quantization_config`{method}, and its float weights \
             were run: transformers loads them as quantised"
        );
        let hint = "if the quantised model is released, predict with it and gate its predictions \
                    with `audit check`; if not, remove the key";
        Note::new(Code::UnquantisedWeights, message).hint(hint)
    });
    let notes: Vec<Note> = prefix.into_iter().chain(quantised).collect();
    notes.iter().for_each(|note| session.progress.note(note));
    notes
}

/// A warning that the student's record cannot be used.
pub fn record_unusable(error: &anyhow::Error) -> Note {
    Note::new(
        Code::RecordUnusable,
        format!("the student's distillation.json cannot be used: {error:#}"),
    )
    .hint("the policy's bound gates all the same")
}

/// A warning if the models agree less often than chance, most likely because their labels are in
/// different orders. σ of the largest probability does not show this.
pub fn models_disagree(agreement: usize, n: usize, labels: usize) -> Option<Note> {
    let p = worse_than_majority_p(agreement, n, 1.0 / labels as f64);
    (p < PREFLIGHT_LEVEL).then(|| {
        let message = format!(
            "the models agree on {agreement} of {n} examples, fewer than chance would: their \
             labels may stand in two orders, which the largest probability does not show"
        );
        let hint = "check the label names of both models, or pass --label-map";
        Note::new(Code::ModelsDisagree, message).hint(hint)
    })
}

/// Warnings of label orders that differ, a single label, and a summed β on part of the split.
pub(super) fn other_notes(pair: &SplitPair, gate: &Gate, numbers: &PairStatistics) -> Vec<Note> {
    let mut notes: Vec<Note> = numbers
        .figures
        .agreement
        .and_then(|agreement| models_disagree(agreement, numbers.n, numbers.labels))
        .into_iter()
        .collect();
    let mut labels = pair.labels.iter().flatten();
    if let Some(first) = labels.next().filter(|first| labels.all(|label| label == *first)) {
        notes.push(
            Note::new(
                Code::OneLabel,
                format!("every labelled example has the label `{}`", pair.label_name(*first)),
            )
            .hint("accuracy says little here; is this the whole split?"),
        );
    }
    let summed = matches!(gate.bound.policy(), BoundPolicy::Beta(_));
    if summed && pair.gates && numbers.n < pair.available {
        notes.push(
            Note::new(
                Code::BetaOverPart,
                format!(
                    "β is a sum, and it is spread over {} of {} examples: κ is looser than on the \
                 whole split",
                    numbers.n, pair.available
                ),
            )
            .hint("with --limit, give --beta-per-example or --kappa"),
        );
    }
    notes
}

/// A warning if a model is worse than always predicting the most frequent label.
pub fn sanity(role: &str, predictions: &Predictions, labels: &[Option<u32>]) -> Option<Note> {
    let majority = majority_share(labels).filter(|share| *share < 1.0)?;
    let labelled = labels.iter().flatten().count();
    let right = correct(predictions, labels).ok()?;
    worse_than_majority(role, right, labelled, majority)
}
