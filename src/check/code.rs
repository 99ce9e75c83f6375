//! The stable codes of notes and warnings. docs/glossary.md explains each; `audit explain` prints it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How serious a note is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NoteLevel {
    /// Information; nothing to do.
    Note,
    /// Something that makes the verdict weaker than it looks.
    Warning,
}

/// A note or a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// Stable code, such as `vacuous` or `mean-for-sum`.
    pub code: String,
    /// How serious it is.
    pub level: NoteLevel,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Note {
    /// A note with this code and its level.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (level, message) = (code.level(), message.into());
        Note { code: code.to_string(), level, message, hint: None }
    }

    /// Adds a hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Note { hint: Some(hint.into()), ..self }
    }
}

/// The codes of notes and warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The measured divergence already guarantees the verdict.
    ImpliedByLoss,
    /// No student could fail this check.
    Vacuous,
    /// A mean loss was given where a sum is expected.
    MeanForSum,
    /// The theorem behind the bound does not hold for this many labels at this temperature.
    BoundUnproved,
    /// σ and κ differ by less than the noise of f32.
    Borderline,
    /// A summed β was spread over part of the split.
    BetaOverPart,
    /// The models agree less often than chance.
    ModelsDisagree,
    /// The student's distillation.json cannot be used.
    RecordUnusable,
    /// The fitted temperature is at an end of the grid.
    TemperatureAtEdge,
    /// Rows of predictions were compared in order, which may differ between the files.
    JoinedByRow,
    /// All labelled examples carry one label.
    OneLabel,
    /// A model is worse than always giving the most frequent label.
    WorseThanMajority,
    /// A model does much better with the other head.
    HeadConvention,
    /// A tokenizer does not tell the texts of a pair apart, and its model does.
    TokenTypesLost,
    /// The two tokenizers split some text differently.
    TokenizersDiffer,
    /// The settings of a tune's winner do not keep the property with every seed.
    LuckySeed,
    /// A tune's winner loses accuracy on the data that its search did not see.
    UnseenAccuracy,
    /// The written winner is not the student of its trial.
    WinnerDiffers,
}

impl Code {
    /// Every code, in the order of the glossary.
    pub const ALL: [Code; 18] = [
        Code::ImpliedByLoss,
        Code::Vacuous,
        Code::MeanForSum,
        Code::BoundUnproved,
        Code::Borderline,
        Code::BetaOverPart,
        Code::ModelsDisagree,
        Code::RecordUnusable,
        Code::TemperatureAtEdge,
        Code::JoinedByRow,
        Code::OneLabel,
        Code::WorseThanMajority,
        Code::HeadConvention,
        Code::TokenTypesLost,
        Code::TokenizersDiffer,
        Code::LuckySeed,
        Code::UnseenAccuracy,
        Code::WinnerDiffers,
    ];

    /// The code as a report writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::ImpliedByLoss => "implied-by-loss",
            Code::Vacuous => "vacuous",
            Code::MeanForSum => "mean-for-sum",
            Code::BoundUnproved => "bound-unproved",
            Code::Borderline => "borderline",
            Code::BetaOverPart => "beta-over-part",
            Code::ModelsDisagree => "models-disagree",
            Code::RecordUnusable => "record-unusable",
            Code::TemperatureAtEdge => "temperature-at-edge",
            Code::JoinedByRow => "joined-by-row",
            Code::OneLabel => "one-label",
            Code::WorseThanMajority => "worse-than-majority",
            Code::HeadConvention => "head-convention",
            Code::TokenTypesLost => "token-types-lost",
            Code::TokenizersDiffer => "tokenizers-differ",
            Code::LuckySeed => "lucky-seed",
            Code::UnseenAccuracy => "unseen-accuracy",
            Code::WinnerDiffers => "winner-differs",
        }
    }

    /// How serious it is.
    pub fn level(self) -> NoteLevel {
        match self {
            Code::ImpliedByLoss | Code::TokenizersDiffer => NoteLevel::Note,
            _ => NoteLevel::Warning,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
