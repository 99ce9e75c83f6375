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
    /// The finding.
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

/// Declares [`Code`] from each code and its name in reports.
macro_rules! codes {
    ($($(#[$doc:meta])* $code:ident = $name:literal,)*) => {
        /// The codes of notes and warnings.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $code,)*
        }

        impl Code {
            /// Every code, in the order of the glossary.
            pub const ALL: [Code; [$($name),*].len()] = [$(Code::$code),*];

            /// The code as a report writes it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Code::$code => $name,)*
                }
            }
        }
    };
}

codes! {
    /// The measured divergence already guarantees the verdict.
    ImpliedByLoss = "implied-by-loss",
    /// No student could fail this check.
    Vacuous = "vacuous",
    /// A mean loss was given where a sum is expected.
    MeanForSum = "mean-for-sum",
    /// The theorem behind the bound does not hold for this many labels at this temperature.
    BoundUnproved = "bound-unproved",
    /// σ and κ differ by less than the noise of f32.
    Borderline = "borderline",
    /// The published statistic and the one that gates come to different verdicts.
    PublishedDisagrees = "published-disagrees",
    /// The published statistic is within the bound for a student that has learned nothing.
    Collapse = "collapse",
    /// A summed β was spread over part of the split.
    BetaOverPart = "beta-over-part",
    /// The models agree less often than chance.
    ModelsDisagree = "models-disagree",
    /// The student's distillation.json cannot be used.
    RecordUnusable = "record-unusable",
    /// The fitted temperature is at an end of the grid.
    TemperatureAtEdge = "temperature-at-edge",
    /// Rows of predictions were compared in order, which may differ between the files.
    JoinedByRow = "joined-by-row",
    /// Rows of predictions were joined by a column other than `id`.
    JoinedByColumn = "joined-by-column",
    /// Rows of probabilities were divided by their sum.
    RowsNormalised = "rows-normalised",
    /// All labelled examples carry one label.
    OneLabel = "one-label",
    /// A model is worse than always giving the most frequent label.
    WorseThanMajority = "worse-than-majority",
    /// A model does much better with the other head.
    HeadConvention = "head-convention",
    /// A tokenizer does not distinguish the texts of a pair, but its model does.
    TokenTypesLost = "token-types-lost",
    /// The two tokenizers split some text differently.
    TokenizersDiffer = "tokenizers-differ",
    /// All tensor names had the prefix of a wrapper, which was left out.
    PrefixRemoved = "prefix-removed",
    /// Float weights were run, and the checkpoint's config asks for their quantisation.
    UnquantisedWeights = "unquantised-weights",
    /// Texts are cut at a given length above the tokenizer's own.
    BeyondMaxLength = "beyond-max-length",
    /// The texts of the two models are cut at different lengths.
    LengthsDiffer = "lengths-differ",
    /// Trials of a tune that are feasible do not keep both constraints with every seed.
    LuckySeed = "lucky-seed",
    /// A tune's winner loses accuracy on the data that its search did not see.
    UnseenAccuracy = "unseen-accuracy",
    /// The written winner is not the student of its trial.
    WinnerDiffers = "winner-differs",
}

impl Code {
    /// How serious it is.
    pub fn level(self) -> NoteLevel {
        match self {
            Code::ImpliedByLoss
            | Code::TokenizersDiffer
            | Code::BeyondMaxLength
            | Code::LengthsDiffer
            | Code::LuckySeed
            | Code::JoinedByColumn
            | Code::RowsNormalised => NoteLevel::Note,
            _ => NoteLevel::Warning,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
