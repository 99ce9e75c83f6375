//! The length that a model's texts are cut at: the smallest of the setting, the tokenizer's
//! `model_max_length` and the model's positions. A setting that was given goes before the tokenizer's.

use anyhow::{bail, Result};

use super::classifier::Role;
use crate::check::{Code, Note};
use crate::checkpoint::TextTokenizer;
use crate::config::Settings;
use crate::error::{failure, usage};
use crate::report::schema::LengthLimit;

/// The shortest length that leaves room for text with every tokenizer.
const SHORTEST: usize = 8;

/// Sets the maximum length in force, and returns the limit that it is from.
///
/// # Errors
/// A maximum length of the settings, other than the default, that is above the model's positions or
/// leaves no room for text; a `model_max_length` that leaves none.
pub fn set_max_length(
    tokenizer: &mut TextTokenizer,
    positions: usize,
    settings: &Settings,
    role: Role,
) -> Result<LengthLimit> {
    if settings.max_length > positions && settings.max_length_is_explicit() {
        let origin = settings.origin("max_length");
        bail!(usage!(
            "the maximum length {} ({origin}) is above the {positions} positions of the {role}",
            settings.max_length
        )
        .hint(format!("use {positions} or less")));
    }
    let needed = tokenizer.shortest_length();
    if needed > settings.max_length && needed <= positions && settings.max_length_is_explicit() {
        bail!(usage!(
            "the maximum length {} ({}) leaves no room for text: the {role}'s tokenizer adds {} \
             special tokens to a pair",
            settings.max_length,
            settings.origin("max_length"),
            needed - 2
        )
        .hint(format!("use {} or more", needed.max(SHORTEST))));
    }
    let asked = length_asked(tokenizer, settings);
    let limit = match asked {
        _ if asked > positions => LengthLimit::Positions,
        _ if asked == settings.max_length => LengthLimit::Setting,
        _ if asked == positions => LengthLimit::Positions,
        _ => LengthLimit::Tokenizer,
    };
    if limit == LengthLimit::Tokenizer && asked < needed.max(SHORTEST) {
        bail!(failure!(
            "the {role}'s tokenizer has a `model_max_length` of {}, which leaves no room for text",
            tokenizer.model_max_length().unwrap_or_default()
        )
        .hint("correct it in tokenizer_config.json, or pass --max-length"));
    }
    tokenizer.set_max_length(asked.min(positions))?;
    Ok(limit)
}

/// The maximum length before the model's positions limit it.
pub(super) fn length_asked(tokenizer: &TextTokenizer, settings: &Settings) -> usize {
    match tokenizer.model_max_length() {
        Some(longest) if !settings.max_length_is_given() => {
            settings.max_length.min(usize::try_from(longest).unwrap_or(0))
        }
        _ => settings.max_length,
    }
}

/// A note if the length in force was given and is above the tokenizer's own.
pub fn beyond_tokenizer(
    role: Role,
    tokenizer: &TextTokenizer,
    settings: &Settings,
) -> Option<Note> {
    let longest = tokenizer.model_max_length()?;
    let length = tokenizer.max_length();
    let is_beyond = settings.max_length_is_given() && i64::try_from(length).ok()? > longest;
    is_beyond.then(|| {
        let message = format!(
            "the {role}'s texts are cut at {length} tokens ({} is {}), and its tokenizer has a \
             `model_max_length` of {longest}",
            settings.origin("max_length"),
            settings.max_length
        );
        let hint = "scripts of transformers cut at the smaller one; without a maximum length, so \
                    does this program";
        Note::new(Code::BeyondMaxLength, message).hint(hint)
    })
}

/// A note if the two models' texts are cut at different lengths.
pub fn lengths_differ(
    (teacher, of_teacher): (usize, LengthLimit),
    (student, of_student): (usize, LengthLimit),
) -> Option<Note> {
    (teacher != student).then(|| {
        let message = format!(
            "the teacher's texts are cut at {}, and the student's at {}: of a long text, the models \
             see different parts",
            of_teacher.in_words(teacher),
            of_student.in_words(student)
        );
        let shorter = teacher.min(student);
        let hint = format!("to cut both at the same length, pass --max-length {shorter}");
        Note::new(Code::LengthsDiffer, message).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_that_cut_at_one_length_have_no_note() {
        let same = (40, LengthLimit::Tokenizer);
        assert_eq!(lengths_differ(same, (40, LengthLimit::Positions)), None);
        let note = lengths_differ(same, (128, LengthLimit::Setting)).unwrap();
        let says = "cut at 40 tokens (the tokenizer's limit), and the student's at 128 tokens: of";
        assert!(note.message.contains(says), "{}", note.message);
        assert!(note.hint.unwrap().ends_with("pass --max-length 40"));
    }
}
