//! What a training is governed by: the method's published defaults, the recipe's file, the flags.
//!
//! ```text
//!  method's stages < [training] < [stage.NAME]
//!  file's keys < flags
//! ```

mod file; //    the TOML
mod resolve; // what is in force, and what contradicts itself
mod stage; //   one stage, checked
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use serde::Serialize;

pub use file::{
    Compat, DropoutLayer, HeldOut, Init, Keep, Layers, RecipeFile, StageLayer, StoppingLoss,
    StudentLayer, TeacherStates,
};
pub use stage::Stage;

use super::methods::{Configured, Method};
use crate::config::{Layer, Settings};
use crate::error::Diagnostic;

/// When the theory ends a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BetaStopping {
    /// β, nats: of the sum over the training set, or per example.
    #[serde(flatten)]
    pub beta: Beta,
    /// The loss that is held against it.
    #[serde(rename = "stopping_loss")]
    pub loss: StoppingLoss,
}

/// The stopping threshold of w_soft·L_soft.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Beta {
    /// Summed over the training set, nats.
    Beta(f64),
    /// Per example, nats.
    BetaPerExample(f64),
}

impl Beta {
    /// As a sum over `n` examples.
    pub fn sum(self, n: usize) -> f64 {
        match self {
            Beta::Beta(sum) => sum,
            Beta::BetaPerExample(mean) => mean * n as f64,
        }
    }
}

/// What flags say; they win over the file's keys.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Settings that audits have too: task data, teacher, maximum length, seed, threads.
    pub settings: Layer,
    /// The task.
    pub task: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// What the student begins as.
    pub init: Option<Init>,
    /// The pretrained checkpoint.
    pub base: Option<String>,
    /// Where the student goes.
    pub output: Option<PathBuf>,
}

/// A recipe in force.
pub struct Recipe {
    /// What audits have too.
    pub settings: Settings,
    /// The method.
    pub method: &'static Method,
    /// The method under its own keys.
    pub configured: Box<dyn Configured>,
    /// The student's shape and beginning.
    pub student: StudentLayer,
    /// What the student begins as.
    pub init: Init,
    /// Where it goes.
    pub output: PathBuf,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// When the theory ends the training; `None` where only epochs do.
    pub stopping: Option<BetaStopping>,
    /// Which state is saved otherwise.
    pub keep: Keep,
    /// What of the validation split the training never looks at.
    pub held_out: Option<HeldOut>,
    /// Steps between two lines of progress.
    pub log_every: usize,
    /// Steps between two saved states.
    pub save_every: usize,
    /// Whose habits are followed.
    pub compat: Compat,
    /// The teacher's layer of each of the student's, counted from 1.
    pub layer_map: Option<Vec<usize>>,
    /// Where the teacher's hidden states come from.
    pub teacher_states: TeacherStates,
    /// Where they are kept for the next student.
    pub store: Option<PathBuf>,
}

impl Recipe {
    /// Reads the recipe `path` and puts `flags` on top.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value out of its range, keys that contradict
    /// each other: usage errors that name the key.
    pub fn read(path: &Path, flags: &Flags) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| {
            Diagnostic::usage(format!("cannot read the recipe `{}`: {e}", path.display()))
        })?;
        let named = |e: Error| {
            let name = path.display();
            Diagnostic::usage_around(&e, |why| format!("the recipe `{name}` is wrong: {why}"))
        };
        let file = RecipeFile::parse(&text).map_err(|e| named(e.into()))?;
        Ok(Self::resolve(file, path, &text, flags).map_err(named)?)
    }

    /// The recipe `text`, which nobody wrote as it is, as if it stood in the file `path`, under
    /// `flags`.
    ///
    /// # Errors
    /// As [`Recipe::read`], without naming the file or the number of the line.
    pub fn parse(text: &str, path: &Path, flags: &Flags) -> Result<Self> {
        let file = RecipeFile::parse(text).map_err(|e| {
            let at = e.span().and_then(|span| line_at(text, span.start));
            let at = at.map(|line| format!("`{line}`: ")).unwrap_or_default();
            Diagnostic::usage(format!("{at}{}", e.message()))
        })?;
        Self::resolve(file, path, text, flags)
    }

    /// κ of a training over `n` examples, where the choice of the state that is kept depends on it.
    pub fn keeps_within(&self, n: usize) -> Option<f64> {
        (self.keep == Keep::BestPreserved).then(|| self.settings.bound.kappa(n))
    }

    /// Whether no stage trains the embeddings.
    pub fn freezes_embeddings(&self) -> bool {
        self.stages.iter().all(|stage| stage.freeze_embeddings)
    }

    /// The last stage, which decides what the student says.
    pub fn last_stage(&self) -> &Stage {
        self.stages.last().expect("every method has a stage")
    }
}

/// The line of `text` that the byte `offset` is in, unless it is blank.
fn line_at(text: &str, offset: usize) -> Option<&str> {
    let start = text.get(..offset)?.rfind('\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next()?.trim();
    (!line.is_empty()).then_some(line)
}

/// A path that a file in `folder` names: beside it where it is there, else as it stands.
pub fn beside(folder: &Path, value: &str) -> PathBuf {
    let beside = folder.join(value);
    if beside.exists() {
        beside
    } else {
        PathBuf::from(value)
    }
}
