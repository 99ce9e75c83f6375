//! Notes and warnings as the report writes them, and those that only a whole split gives.

use super::gate::Gate;
use super::judge::SplitPair;
use crate::check::{
    majority_share, worse_than_majority, worse_than_majority_p, BoundPolicy, Code, Finding, Level,
    PREFLIGHT_LEVEL,
};
use crate::confidence::{correct, PairStatistics, Predictions};
use crate::report::schema as row;

/// A finding as the report writes it.
pub fn note(finding: &Finding) -> row::Note {
    coded_note(finding.code, finding.message.clone(), finding.hint.clone())
}

/// A note as the report writes it; its code says how serious it is.
pub fn coded_note(code: Code, message: String, hint: Option<String>) -> row::Note {
    let level = match code.level() {
        Level::Note => row::NoteLevel::Note,
        Level::Warning => row::NoteLevel::Warning,
    };
    row::Note { code: code.to_string(), level, message, hint }
}

/// A record that is not what it should be.
pub fn record_unusable(error: &anyhow::Error) -> row::Note {
    coded_note(
        Code::RecordUnusable,
        format!("the student's distillation.json cannot be used: {error:#}"),
        Some("the policy's bound gates all the same".to_owned()),
    )
}

/// Models that agree less often than chance would: two orders of the labels, most likely. σ of the
/// largest probability is blind to it.
pub fn models_disagree(agreement: usize, n: usize, labels: usize) -> Option<row::Note> {
    let p = worse_than_majority_p(agreement, n, 1.0 / labels as f64);
    (p < PREFLIGHT_LEVEL).then(|| {
        let message = format!(
            "the models agree on {agreement} of {n} examples, fewer than chance would: their \
             labels may stand in two orders, which the largest probability does not show"
        );
        let hint = "check the label names of both models, or pass --label-map";
        coded_note(Code::ModelsDisagree, message, Some(hint.to_owned()))
    })
}

/// What only the whole split tells: labels in two orders, a single label, a summed β over a part.
pub(super) fn other_notes(
    pair: &SplitPair,
    gate: &Gate,
    numbers: &PairStatistics,
) -> Vec<row::Note> {
    let mut notes: Vec<row::Note> =
        models_disagree(numbers.agreement, numbers.n, numbers.labels).into_iter().collect();
    let mut labels = pair.labels.iter().flatten();
    if let Some(first) = labels.next().filter(|first| labels.all(|label| label == *first)) {
        notes.push(coded_note(
            Code::OneLabel,
            format!("every labelled example has the label `{}`", pair.label_name(*first)),
            Some("accuracy says little here; is this the whole split?".to_owned()),
        ));
    }
    let summed = matches!(gate.bound.policy(), BoundPolicy::Beta(_));
    if summed && pair.gates && numbers.n < pair.available {
        notes.push(coded_note(
            Code::BetaOverPart,
            format!(
                "β is a sum, and it is spread over {} of {} examples: κ is looser than on the \
                 whole split",
                numbers.n, pair.available
            ),
            Some("with --limit, give --beta-per-example or --kappa".to_owned()),
        ));
    }
    notes
}

/// A warning where a model is worse than always predicting the commonest label.
pub fn sanity(role: &str, predictions: &Predictions, labels: &[Option<u32>]) -> Option<row::Note> {
    let majority = majority_share(labels).filter(|share| *share < 1.0)?;
    let labelled = labels.iter().flatten().count();
    let right = correct(predictions, labels).ok()?;
    worse_than_majority(role, right, labelled, majority).as_ref().map(note)
}
