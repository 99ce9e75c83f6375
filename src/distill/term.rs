//! The losses by name: what each reads, and its rank in sums and records.

use std::cmp::Ordering;
use std::fmt;

use anyhow::Result;
use candle_core::Tensor;
use serde::{de, Deserialize, Deserializer, Serialize, Serializer};

use super::methods::METHODS;
use super::terms::BatchComparison;
use crate::model::Wanted;

/// How [`Terms`](super::terms::Terms) computes a loss.
type LossValue = fn(&BatchComparison) -> Result<Tensor>;

/// A named loss. Those of [`Term`] are shared; a method may define its own next to its objective.
#[derive(Debug)]
pub struct Loss {
    /// Its name in recipes, logs and records.
    pub name: &'static str,
    /// Its position in sums and records; losses of one rank are ordered by name.
    pub rank: u8,
    /// Whether it reads the labels.
    pub labels: bool,
    /// Whether it reads the teacher's logits.
    pub teacher_logits: bool,
    /// Whether it needs the teacher's encoder besides, for texts of its own.
    pub runs_teacher: bool,
    /// What it reads of both encoders.
    pub encoders: Wanted,
    /// Whether `layer_map` decides which layers it compares.
    pub maps_layers: bool,
    /// `None` where the method's own objective computes it.
    pub value: Option<LossValue>,
}

impl Loss {
    /// A loss that reads nothing, to be completed.
    pub const EMPTY: Loss = Loss {
        name: "",
        rank: u8::MAX,
        labels: false,
        teacher_logits: false,
        runs_teacher: false,
        encoders: Wanted { hidden: false, scores: false },
        maps_layers: false,
        value: None,
    };

    const fn shared(rank: u8, name: &'static str, value: LossValue) -> Loss {
        Loss { name, rank, value: Some(value), ..Loss::EMPTY }
    }

    const fn labels(self) -> Loss {
        Loss { labels: true, ..self }
    }

    const fn teacher_logits(self) -> Loss {
        Loss { teacher_logits: true, ..self }
    }

    const fn hidden(self) -> Loss {
        Loss { encoders: Wanted { hidden: true, scores: false }, ..self }
    }

    const fn scores(self) -> Loss {
        Loss { encoders: Wanted { hidden: false, scores: true }, ..self }
    }

    const fn maps_layers(self) -> Loss {
        Loss { maps_layers: true, ..self }
    }
}

/// A reference to a [`Loss`], ordered by rank and name.
#[derive(Clone, Copy)]
pub struct Term(pub &'static Loss);

impl Term {
    /// Cross-entropy on the labels.
    pub const HARD: Term = Term(&Loss::shared(0, "hard", |of| of.hard()).labels());
    /// Divergence from the teacher's probabilities at the temperature.
    pub const SOFT: Term = Term(&Loss::shared(1, "soft", |of| of.soft()).teacher_logits());
    /// Squared difference of the logits, the teacher's annealed.
    pub const LOGITS: Term = Term(&Loss::shared(2, "logits", |of| of.logits()).teacher_logits());
    /// Squared difference of the embeddings' outputs.
    pub const EMBEDDING: Term = Term(&Loss::shared(3, "embedding", |of| of.embedding()).hidden());
    /// Squared difference of hidden states.
    pub const HIDDEN: Term =
        Term(&Loss::shared(4, "hidden", |of| of.hidden()).hidden().maps_layers());
    /// Squared difference of attention scores.
    pub const ATTENTION: Term = Term(&Loss::shared(5, "attention", |of| of.attention()).scores());
    /// Squared difference of normalised [CLS] vectors.
    pub const PATIENT: Term =
        Term(&Loss::shared(6, "patient", |of| of.patient()).hidden().maps_layers());
    /// Squared difference of [CLS] vectors from a mixture of the teacher's.
    pub const ATTENTIVE: Term = Term(&Loss::shared(7, "attentive", |of| of.attentive()).hidden());
    /// Squared difference of hidden states from those that were kept of the teacher's.
    pub const KEPT: Term = Term(&Loss::shared(8, "kept", |of| of.kept()).hidden().maps_layers());

    /// Squared difference of [CLS] vectors from combinations of the teacher's.
    pub const COMBINED: Term = Term(&Loss::shared(9, "combined", |of| of.combined()).hidden());

    /// Squared distance of the directions of projected [CLS] vectors, from layers of the teacher that
    /// are drawn for each epoch.
    pub const DRAWN: Term = Term(&Loss::shared(10, "drawn", |of| of.drawn()).hidden());
    /// Divergence from a virtual teacher's probabilities, which are made of the labels.
    pub const VIRTUAL: Term =
        Term(&Loss::shared(11, "virtual", |of| of.virtual_teacher()).labels());

    /// The losses of all methods, in their order, each once.
    fn all() -> Vec<Term> {
        let mut all: Vec<Term> = METHODS
            .iter()
            .flat_map(|method| method.terms.iter().chain(method.recorded_terms))
            .copied()
            .collect();
        all.sort();
        all.dedup();
        all
    }

    pub fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Whether it cannot be computed without a teacher.
    pub fn needs_teacher(self) -> bool {
        let of_labels_alone = self.0.labels && !self.0.teacher_logits && !self.reads_encoders();
        !of_labels_alone
    }

    /// Whether it compares hidden states or attention scores.
    pub fn reads_encoders(self) -> bool {
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
            let names = names.join(", ");
            de::Error::custom(format!("unknown loss `{name}`, expected one of {names}"))
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
