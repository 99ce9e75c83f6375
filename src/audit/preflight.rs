//! Preflight check: looks for wrong labels, heads and tokenizers on a sample of the gating split.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use rand::seq::SliceRandom;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::classifier::{Role, SplitTexts};
use super::exported::fill;
use super::reading::reading_notes_of_pair;
use super::run::{run_options, CachedClassifier};
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

/// Size of the sample: large enough to detect a swapped label order, and quick to run.
const SAMPLE: usize = 256;

/// A sample of the gating split, and how the models are run on it.
struct Sample<'a> {
    texts: &'a SplitTexts<'a>,
    /// Positions in the split, labelled examples first.
    rows: Vec<u32>,
    settings: &'a Settings,
    session: &'a Session,
}

/// Warnings about the two models, also printed at once, so that a long run can be stopped. The
/// sample's logits stay in the cache entries.
pub(super) fn preflight(
    sides: [&mut CachedClassifier; 2],
    texts: &SplitTexts,
    settings: &Settings,
    session: &Session,
) -> Result<Vec<Note>> {
    let examples = &texts.dataset.examples;
    let sample = Sample { texts, rows: sample_rows(examples, settings.seed), settings, session };
    let mut tokens = Vec::new();
    let [teacher, student] = [&sides[0], &sides[1]].map(|side| &*side.classifier);
    let mut notes = reading_notes_of_pair(teacher, student, texts.dataset, settings);
    for side in sides {
        let classifier = &*side.classifier;
        let vocabulary = classifier.facts().vocabulary;
        let tokenized = tokenize(classifier.tokenizer(), vocabulary, examples, &sample.rows)
            .with_context(|| format!("cannot tokenise for the {}", classifier.role()))?;
        notes.extend(sample.token_types_lost(side, &tokenized));
        notes.extend(sample.sanity(side)?);
        tokens.push(tokenized);
    }
    notes.extend(tokenised_differently(&tokens[0], &tokens[1]));
    for note in &notes {
        session.progress.note(note);
    }
    Ok(notes)
}

/// Up to [`SAMPLE`] examples in a seeded random order, labelled ones first.
fn sample_rows(examples: &[Example], seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..examples.len() as u32).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|&i| examples[i as usize].label.is_none());
    order.truncate(SAMPLE);
    order
}

impl Sample<'_> {
    /// Warnings if the model is worse than the most frequent label, or better with another head.
    fn sanity(&self, side: &mut CachedClassifier) -> Result<Vec<Note>> {
        let all = self.texts.dataset.labels();
        let labels: Vec<_> = self.rows.iter().map(|&i| all[i as usize]).collect();
        // With a single label there is no order to get wrong.
        let majority = majority_share(&all).filter(|share| *share < 1.0);
        let Some(majority) = majority else { return Ok(Vec::new()) };
        let hits = |p: &Predictions| correct(p, &labels).unwrap_or(0);
        let labelled = labels.iter().flatten().count();
        let role = side.classifier.role();
        let right = hits(&self.predictions(side)?);
        let mut notes = Vec::new();
        notes.extend(worse_than_majority(&role.to_string(), right, labelled, majority));
        if let Some((head, other)) = self.predictions_of_other_head(side)? {
            let better = hits(&other);
            let share = better as f64 / labelled as f64;
            // The level of the test against the majority class.
            if better > right && worse_than_majority_p(right, labelled, share) < PREFLIGHT_LEVEL {
                notes.push(head_convention(role, right, better, labelled, head.as_str()));
            }
        }
        Ok(notes)
    }

    /// Predictions of the model on the sample.
    fn predictions(&self, side: &mut CachedClassifier) -> Result<Predictions> {
        side.classifier.load_for(&side.entry, &self.rows)?;
        let what = format!("{} on the pre-flight sample", side.classifier.role());
        let options = run_options(self.settings, self.session, Windows::WHOLE);
        let phase = self.session.progress.phase(&what, self.rows.len());
        let dataset = self.texts.dataset;
        fill(side.classifier, &mut side.entry, dataset, &self.rows, &options, &phase)?;
        drop(phase);
        self.run(side.classifier.lane(&what, self.texts.dataset, &mut side.entry))?;
        Ok(side.classifier.predictions(&side.entry, &self.rows)?.0)
    }

    /// Predictions of the model with the other head convention, if its architecture has two.
    fn predictions_of_other_head(
        &self,
        side: &mut CachedClassifier,
    ) -> Result<Option<(Head, Predictions)>> {
        let entry = side.classifier.entry_of_other_head(self.texts, self.session);
        let (Some(head), Some(mut entry)) = (side.classifier.facts().other_head, entry) else {
            return Ok(None);
        };
        side.classifier.load_for(&entry, &self.rows)?;
        let what = format!("{} with its other head", side.classifier.role());
        let other = side.classifier.model().and_then(|model| model.with_other_head());
        let model = other.as_ref().map(|(_, model)| &**model);
        let input = side.classifier.input(self.texts.dataset);
        self.run(Lane { what: &what, model, input, entry: &mut entry })?;
        Ok(Some((head, side.classifier.predictions(&entry, &self.rows)?.0)))
    }

    fn run(&self, lane: Lane) -> Result<()> {
        let options = run_options(self.settings, self.session, Windows::WHOLE);
        let progress = self.session.progress.phase(lane.what, self.rows.len());
        run(&mut [lane], &self.rows, &options, &progress, |_, _| Ok(ControlFlow::Continue(())))
    }

    /// A warning if the tokenizer marks both texts of a pair alike and the model distinguishes them.
    fn token_types_lost(
        &self,
        side: &CachedClassifier,
        tokens: &[TokenizedExample],
    ) -> Option<Note> {
        let examples = &self.texts.dataset.examples;
        let pairs = self.rows.iter().any(|&i| examples[i as usize].pair.is_some());
        let lost = tokens.iter().all(|t| t.token_type_ids.iter().all(|&id| id == 0));
        let fed = side.classifier.tokenizer().returns_token_types();
        (pairs && lost && fed && side.classifier.facts().uses_token_types).then(|| {
            let message = format!(
                "the {}'s tokenizer marks both sentences of a pair with segment 0, and its model \
                 tells segments apart",
                side.classifier.role()
            );
            let hint = "its tokenizer.json lacks BERT's template for pairs; save the tokenizer \
                        again with transformers";
            Note::new(Code::TokenTypesLost, message).hint(hint)
        })
    }
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
