//! Before the long run: is each model what it seems to be, on a seeded sample of the gating split?

use anyhow::Result;
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::classifier::{Classifier, Role};
use super::notes::note;
use super::Session;
use crate::check::{majority_share, worse_than_majority, worse_than_majority_p, PREFLIGHT_LEVEL};
use crate::confidence::{correct, Predictions};
use crate::config::Settings;
use crate::model::TokenizedExample;
use crate::report::schema::{Note, NoteLevel};
use crate::task::{Dataset, Example};

/// Examples of the sample: enough to tell a swapped label order from chance, quick to run.
const SAMPLE: usize = 256;

/// Warnings about the two models, also printed at once, so that a long run can be stopped.
pub(super) fn preflight(
    teacher: &Classifier,
    student: &Classifier,
    dataset: &Dataset,
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Note>> {
    let sample = sample(&dataset.examples, settings.seed);
    let mut tokens = Vec::new();
    let mut notes = Vec::new();
    for classifier in [teacher, student] {
        let tokenized = classifier.tokenize(&sample, settings, session).or_else(|error| {
            // Counted within the sample an example cannot be found; the whole split names it.
            classifier.tokenize(&dataset.examples, settings, session).and(Err(error))
        })?;
        notes.extend(token_types_lost(classifier, &sample, &tokenized));
        notes.extend(sanity(classifier, dataset, &sample, &tokenized, settings, session)?);
        tokens.push(tokenized);
    }
    notes.extend(tokenised_differently(&tokens[0], &tokens[1]));
    for note in &notes {
        session.progress.note(note);
    }
    Ok(notes)
}

/// Labelled examples first, in a seeded random order; fewer than [`SAMPLE`] where there are fewer.
fn sample(examples: &[Example], seed: u64) -> Vec<Example> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|&i| examples[i].label.is_none());
    order.truncate(SAMPLE);
    order.into_iter().map(|i| examples[i].clone()).collect()
}

/// Is the model worse than always saying the commonest label, or better with another head?
fn sanity(
    classifier: &Classifier,
    dataset: &Dataset,
    sample: &[Example],
    tokens: &[TokenizedExample],
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Note>> {
    let all: Vec<_> = dataset.examples.iter().map(|e| e.label).collect();
    let labels: Vec<_> = sample.iter().map(|e| e.label).collect();
    // Of a single label there is no order to get wrong.
    let majority = majority_share(&all).filter(|share| *share < 1.0);
    let Some(majority) = majority else { return Ok(Vec::new()) };
    let hits = |p: &Predictions| correct(p, &labels).unwrap_or(0);
    let labelled = labels.iter().flatten().count();
    let role = classifier.role();
    let right = hits(&classifier.run_with(classifier.model(), tokens, settings, session)?);
    let mut notes = Vec::new();
    if let Some(finding) = worse_than_majority(&role.to_string(), right, labelled, majority) {
        notes.push(note(&finding));
    }
    if let Some((head, other)) = classifier.model().with_other_head() {
        let better = hits(&classifier.run_with(&*other, tokens, settings, session)?);
        let share = better as f64 / labelled as f64;
        // As improbable as a model that is worse than the majority class.
        if better > right && worse_than_majority_p(right, labelled, share) < PREFLIGHT_LEVEL {
            notes.push(head_convention(role, right, better, labelled, head.as_str()));
        }
    }
    Ok(notes)
}

fn head_convention(role: Role, right: usize, better: usize, n: usize, head: &str) -> Note {
    Note {
        code: "head-convention".to_owned(),
        level: NoteLevel::Warning,
        message: format!(
            "the {role} has {right} of {n} sampled examples right, and {better} with the head \
             convention `{head}`"
        ),
        hint: Some(format!("if it was trained with that head, pass --{role}-head {head}")),
    }
}

/// A model that tells segments apart, given a pair by a tokenizer that does not.
fn token_types_lost(
    classifier: &Classifier,
    sample: &[Example],
    tokens: &[TokenizedExample],
) -> Option<Note> {
    let pairs = sample.iter().any(|e| e.pair.is_some());
    let lost = tokens.iter().all(|t| t.token_type_ids.iter().all(|&id| id == 0));
    (pairs && lost && classifier.model().uses_token_types()).then(|| Note {
        code: "token-types-lost".to_owned(),
        level: NoteLevel::Warning,
        message: format!(
            "the {}'s tokenizer marks both sentences of a pair with segment 0, and its model tells \
             segments apart",
            classifier.role()
        ),
        hint: Some(
            "its tokenizer.json lacks BERT's template for pairs; save the tokenizer again with \
             transformers"
                .to_owned(),
        ),
    })
}

fn tokenised_differently(
    teacher: &[TokenizedExample],
    student: &[TokenizedExample],
) -> Option<Note> {
    let differ = teacher.iter().zip(student).filter(|(t, s)| t.input_ids != s.input_ids).count();
    (differ > 0).then(|| Note {
        code: "tokenizers-differ".to_owned(),
        level: NoteLevel::Note,
        message: format!(
            "teacher and student tokenise {differ} of {} sampled examples differently; each uses \
             its own tokenizer",
            teacher.len()
        ),
        hint: None,
    })
}
