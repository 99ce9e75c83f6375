//! Notes on how the models read the texts: what their tokenizers leave out, and where they cut.

use super::length::{beyond_tokenizer, lengths_differ};
use super::{Classifier, Role};
use crate::check::{Code, Note};
use crate::checkpoint::TextTokenizer;
use crate::config::Settings;
use crate::task::Dataset;

/// Notes on how one model reads the texts of `dataset`.
pub fn reading_notes(model: &Classifier, dataset: &Dataset, settings: &Settings) -> Vec<Note> {
    let tokenizer = model.tokenizer();
    let mut notes: Vec<Note> =
        beyond_tokenizer(model.role(), tokenizer, settings).into_iter().collect();
    let segments = model.facts().uses_token_types;
    notes.extend(segments_not_fed(model.role(), segments, tokenizer, dataset));
    notes
}

/// [`reading_notes`] of both models, and a note if they cut at different lengths.
pub(super) fn reading_notes_of_pair(
    teacher: &Classifier,
    student: &Classifier,
    dataset: &Dataset,
    settings: &Settings,
) -> Vec<Note> {
    let mut notes = reading_notes(teacher, dataset, settings);
    notes.extend(reading_notes(student, dataset, settings));
    notes.extend(lengths_differ(teacher.length(), student.length()));
    notes
}

/// A warning if a tokenizer returns no token types for pairs, and its model has `segments`.
pub fn segments_not_fed(
    role: Role,
    segments: bool,
    tokenizer: &TextTokenizer,
    dataset: &Dataset,
) -> Option<Note> {
    let is_pair = || dataset.examples.iter().any(|example| example.pair.is_some());
    if !segments || tokenizer.returns_token_types() || !is_pair() {
        return None;
    }
    let class = tokenizer.class();
    let message = format!(
        "the {role}'s tokenizer ({class}) returns no `token_type_ids` in transformers 5: its model \
         tells segments apart, and sees segment 0 in both sentences of a pair"
    );
    let hint = "if the model was trained with segments, set `model_input_names` in its \
                tokenizer_config.json to [\"input_ids\", \"token_type_ids\", \"attention_mask\"]";
    Some(Note::new(Code::TokenTypesLost, message).hint(hint))
}
