//! The losses by name: what each reads, and where it stands among others.

use std::cmp::Ordering;
use std::fmt;

use anyhow::Result;
use candle_core::Tensor;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

use super::methods::METHODS;
use super::terms::BatchComparison;
use crate::model::Wanted;

/// A named loss. Those below are shared; a method may define its own beside its objective.
#[derive(Debug)]
pub struct Loss {
    /// As recipes, logs and records name it.
    pub name: &'static str,
    /// Its position in sums and records; losses of one rank are ordered by name.
    pub rank: u8,
    /// Whether it reads the labels.
    pub labels: bool,
    /// Whether it reads the teacher's logits.
    pub teacher_logits: bool,
    /// What it reads of both encoders.
    pub encoders: Wanted,
    /// Whether `layer_map` decides which layers it compares.
    pub maps_layers: bool,
    /// How [`Terms`](super::terms::Terms) computes it; `None` where the method's own objective does.
    pub value: Option<fn(&BatchComparison) -> Result<Tensor>>,
}

impl Loss {
    /// A loss that reads nothing, to be completed.
    pub const EMPTY: Loss = Loss {
        name: "",
        rank: u8::MAX,
        labels: false,
        teacher_logits: false,
        encoders: Wanted { hidden: false, scores: false },
        maps_layers: false,
        value: None,
    };
}

/// Of a loss that compares hidden states.
const HIDDEN: Loss = Loss { encoders: Wanted { hidden: true, scores: false }, ..Loss::EMPTY };

/// A reference to a [`Loss`], ordered by rank and name.
#[derive(Clone, Copy)]
pub struct Term(pub &'static Loss);

impl Term {
    /// Cross-entropy on the labels.
    pub const HARD: Term = Term(&Loss {
        name: "hard",
        rank: 0,
        labels: true,
        value: Some(|of| of.hard()),
        ..Loss::EMPTY
    });
    /// Divergence from the teacher's probabilities at the temperature.
    pub const SOFT: Term = Term(&Loss {
        name: "soft",
        rank: 1,
        teacher_logits: true,
        value: Some(|of| of.soft()),
        ..Loss::EMPTY
    });
    /// Squared difference of the logits, the teacher's annealed.
    pub const LOGITS: Term = Term(&Loss {
        name: "logits",
        rank: 2,
        teacher_logits: true,
        value: Some(|of| of.logits()),
        ..Loss::EMPTY
    });
    /// Squared difference of the embeddings' outputs.
    pub const EMBEDDING: Term =
        Term(&Loss { name: "embedding", rank: 3, value: Some(|of| of.embedding()), ..HIDDEN });
    /// Squared difference of hidden states.
    pub const HIDDEN: Term = Term(&Loss {
        name: "hidden",
        rank: 4,
        maps_layers: true,
        value: Some(|of| of.hidden()),
        ..HIDDEN
    });
    /// Squared difference of attention scores.
    pub const ATTENTION: Term = Term(&Loss {
        name: "attention",
        rank: 5,
        encoders: Wanted { hidden: false, scores: true },
        value: Some(|of| of.attention()),
        ..Loss::EMPTY
    });
    /// Squared difference of normalised [CLS] vectors.
    pub const PATIENT: Term = Term(&Loss {
        name: "patient",
        rank: 6,
        maps_layers: true,
        value: Some(|of| of.patient()),
        ..HIDDEN
    });
    /// Squared difference of [CLS] vectors from a mixture of the teacher's.
    pub const ATTENTIVE: Term =
        Term(&Loss { name: "attentive", rank: 7, value: Some(|of| of.attentive()), ..HIDDEN });
    /// Squared difference of hidden states from what was kept of the teacher's.
    pub const KEPT: Term = Term(&Loss {
        name: "kept",
        rank: 8,
        maps_layers: true,
        value: Some(|of| of.kept()),
        ..HIDDEN
    });

    /// The losses of all methods, in their order, each once.
    fn all() -> Vec<Term> {
        let mut all: Vec<Term> = METHODS.iter().flat_map(|method| method.terms).copied().collect();
        all.sort();
        all.dedup();
        all
    }

    /// As recipes and logs name it.
    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Whether it compares anything inside the encoders.
    pub fn looks_inside(self) -> bool {
        self.0.encoders.hidden || self.0.encoders.scores
    }
}

impl Ord for Term {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0.rank, self.0.name).cmp(&(other.0.rank, other.0.name))
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Term {}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Term {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Term {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let all = Term::all();
        all.iter().find(|term| term.as_str() == name).copied().ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|term| format!("`{term}`")).collect();
            de::Error::custom(format!(
                "unknown loss `{name}`, expected one of {}",
                names.join(", ")
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_found_by_its_name_and_keeps_its_rank() {
        let all = Term::all();
        let names: Vec<_> = all.iter().map(|term| term.as_str()).collect();
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Term>>(&json).unwrap(), all);
        let first = ["hard", "soft", "logits", "embedding", "hidden", "attention", "patient"];
        assert!(names.starts_with(&first), "{names:?}");
        let why = serde_json::from_str::<Term>("\"harder\"").unwrap_err().to_string();
        assert!(why.contains("unknown loss `harder`, expected one of `hard`, `soft`"), "{why}");
    }
}
