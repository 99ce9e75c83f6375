//! Before the long run: is each model what it seems to be, on a seeded sample of the gating split?

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::classifier::{Role, Texts};
use super::run::{run_options, Side};
use super::Session;
use crate::check::{
    majority_share, worse_than_majority, worse_than_majority_p, Code, Note, PREFLIGHT_LEVEL,
};
use crate::checkpoint::TokenizedExample;
use crate::confidence::{correct, Predictions};
use crate::config::Settings;
use crate::inference::{run, tokenize, Lane, Windows};
use crate::model::Head;
use crate::task::Example;

/// Examples of the sample: enough to tell a swapped label order from chance, quick to run.
const SAMPLE: usize = 256;

/// Warnings about the two models, also printed at once, so that a long run can be stopped. The
/// sample's rows stay in the sides' entries.
pub(super) fn preflight(
    sides: [&mut Side; 2],
    texts: &Texts,
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Note>> {
    let examples = &texts.dataset.examples;
    let sample = sample(examples, settings.seed);
    let mut tokens = Vec::new();
    let mut notes = Vec::new();
    for side in sides {
        let classifier = &*side.classifier;
        let vocabulary = classifier.facts().vocabulary;
        let tokenized = tokenize(classifier.tokenizer(), vocabulary, examples, &sample)
            .with_context(|| format!("cannot tokenise for the {}", classifier.role()))?;
        notes.extend(token_types_lost(side, examples, &sample, &tokenized));
        notes.extend(sanity(side, texts, &sample, settings, session)?);
        tokens.push(tokenized);
    }
    notes.extend(tokenised_differently(&tokens[0], &tokens[1]));
    for note in &notes {
        session.progress.note(note);
    }
    Ok(notes)
}

/// Labelled examples first, in a seeded random order; fewer than [`SAMPLE`] where there are fewer.
fn sample(examples: &[Example], seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..examples.len() as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|&i| examples[i as usize].label.is_none());
    order.truncate(SAMPLE);
    order
}

/// Is the model worse than always saying the commonest label, or better with another head?
fn sanity(
    side: &mut Side,
    texts: &Texts,
    sample: &[u32],
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Note>> {
    let examples = &texts.dataset.examples;
    let all: Vec<_> = examples.iter().map(|e| e.label).collect();
    let labels: Vec<_> = sample.iter().map(|&i| all[i as usize]).collect();
    // Of a single label there is no order to get wrong.
    let majority = majority_share(&all).filter(|share| *share < 1.0);
    let Some(majority) = majority else { return Ok(Vec::new()) };
    let hits = |p: &Predictions| correct(p, &labels).unwrap_or(0);
    let labelled = labels.iter().flatten().count();
    let role = side.classifier.role();
    let right = hits(&sampled(side, texts, sample, settings, session)?);
    let mut notes = Vec::new();
    notes.extend(worse_than_majority(&role.to_string(), right, labelled, majority));
    if let Some((head, other)) = with_other_head(side, texts, sample, settings, session)? {
        let better = hits(&other);
        let share = better as f64 / labelled as f64;
        // As improbable as a model that is worse than the majority class.
        if better > right && worse_than_majority_p(right, labelled, share) < PREFLIGHT_LEVEL {
            notes.push(head_convention(role, right, better, labelled, head.as_str()));
        }
    }
    Ok(notes)
}

/// What the model says of the sample.
fn sampled(
    side: &mut Side,
    texts: &Texts,
    sample: &[u32],
    settings: &Settings,
    session: &Session,
) -> Result<Predictions> {
    side.classifier.load_for(&side.entry, sample)?;
    let what = format!("{} on the pre-flight sample", side.classifier.role());
    let lane = side.classifier.lane(&what, texts.dataset, &mut side.entry);
    run_sample(lane, sample, settings, session)?;
    Ok(side.classifier.predictions(&side.entry, sample)?.0)
}

/// What it would say with the other head, where its architecture has two.
fn with_other_head(
    side: &mut Side,
    texts: &Texts,
    sample: &[u32],
    settings: &Settings,
    session: &Session,
) -> Result<Option<(Head, Predictions)>> {
    let entry = side.classifier.entry_of_other_head(texts, session);
    let (Some(head), Some(mut entry)) = (side.classifier.facts().other_head, entry) else {
        return Ok(None);
    };
    side.classifier.load_for(&entry, sample)?;
    let what = format!("{} with its other head", side.classifier.role());
    let other = side.classifier.model().and_then(|model| model.with_other_head());
    let model = other.as_ref().map(|(_, model)| &**model);
    let input = side.classifier.input(texts.dataset);
    run_sample(Lane { what: &what, model, input, entry: &mut entry }, sample, settings, session)?;
    Ok(Some((head, side.classifier.predictions(&entry, sample)?.0)))
}

fn run_sample(lane: Lane, sample: &[u32], settings: &Settings, session: &Session) -> Result<()> {
    let options = run_options(settings, session, Windows::WHOLE);
    let phase = session.progress.phase(lane.what, sample.len());
    run(&mut [lane], sample, &options, &phase, |_, _| Ok(ControlFlow::Continue(())))
}

fn head_convention(role: Role, right: usize, better: usize, n: usize, head: &str) -> Note {
    Note::new(
        Code::HeadConvention,
        format!(
            "the {role} has {right} of {n} sampled examples right, and {better} with the head \
             convention `{head}`"
        ),
    )
    .hint(format!("if it was trained with that head, pass --{role}-head {head}"))
}

/// A model that tells segments apart, given a pair by a tokenizer that does not.
fn token_types_lost(
    side: &Side,
    examples: &[Example],
    sample: &[u32],
    tokens: &[TokenizedExample],
) -> Option<Note> {
    let pairs = sample.iter().any(|&i| examples[i as usize].pair.is_some());
    let lost = tokens.iter().all(|t| t.token_type_ids.iter().all(|&id| id == 0));
    (pairs && lost && side.classifier.facts().uses_token_types).then(|| {
        let message = format!(
            "the {}'s tokenizer marks both sentences of a pair with segment 0, and its model tells \
             segments apart",
            side.classifier.role()
        );
        let hint = "its tokenizer.json lacks BERT's template for pairs; save the tokenizer again \
                    with transformers";
        Note::new(Code::TokenTypesLost, message).hint(hint)
    })
}

fn tokenised_differently(
    teacher: &[TokenizedExample],
    student: &[TokenizedExample],
) -> Option<Note> {
    let differ = teacher.iter().zip(student).filter(|(t, s)| t.input_ids != s.input_ids).count();
    (differ > 0).then(|| {
        let message = format!(
            "teacher and student tokenise {differ} of {} sampled examples differently; each uses \
             its own tokenizer",
            teacher.len()
        );
        Note::new(Code::TokenizersDiffer, message)
    })
}
