//! The settings of a training: the method's published defaults, the recipe's file, the flags.
//!
//! ```text
//!  method's stages < [training] < [stage.NAME]
//!  file's keys < flags
//! ```

mod file; //    the TOML
mod resolve; // the settings in force, checked
mod stage; //   the keys of a stage
mod teacher; // a teacher that is a table
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use serde::Serialize;

use file::RecipeFile;
pub use file::{
    Compat, DropoutLayer, HeldOut, Init, Keep, LayerMap, Layers, NamedLayerMap, StoppingLoss,
    StudentLayer, TeacherStates, WrittenStates,
};
pub use stage::{Stage, StageLayer};
pub use teacher::{TeacherPredictions, WrittenTables};

use super::methods::{Configured, KeptFrom, Method, MethodInputs};
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::{Layer, Settings};
use crate::error::{usage, Diagnostic};

/// The condition under which β ends a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BetaStopping {
    /// β.
    #[serde(flatten)]
    pub beta: Beta,
    /// The loss that is compared with it.
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

/// The command line's flags, which override the file's keys.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Settings shared with audits: task data, teacher, maximum length, seed, threads.
    pub settings: Layer,
    /// The task.
    pub task: Option<String>,
    /// Tables of the teacher's predictions.
    pub teacher_predictions: Option<TeacherPredictions>,
    /// The method.
    pub method: Option<String>,
    /// The origin of the student's weights.
    pub init: Option<Init>,
    /// The pretrained checkpoint.
    pub base: Option<String>,
    /// The student's folder.
    pub output: Option<PathBuf>,
}

/// A recipe in force.
pub struct Recipe {
    /// Settings shared with audits.
    pub settings: Settings,
    /// The teacher's predictions, where the teacher is a table.
    pub teacher_predictions: Option<TeacherPredictions>,
    /// The checkpoint that teaches, where it is not the teacher: the student is measured against the
    /// teacher all the same.
    pub learn_from: Option<String>,
    /// The method.
    pub method: &'static Method,
    /// The method with its own keys.
    pub configured: Box<dyn Configured>,
    /// The student's shape and initial weights.
    pub student: StudentLayer,
    /// The origin of the student's weights.
    pub init: Init,
    /// The student's folder.
    pub output: PathBuf,
    /// The stages that have epochs, in order.
    pub stages: Vec<Stage>,
    /// When β ends the training; `None` without β.
    pub stopping: Option<BetaStopping>,
    /// The state that is saved otherwise.
    pub keep: Keep,
    /// The states that are written.
    pub states: WrittenStates,
    /// The part of the validation split that is not used in training.
    pub held_out: Option<HeldOut>,
    /// Steps between two lines of progress.
    pub log_every: usize,
    /// Steps between two saved states.
    pub save_every: usize,
    /// The implementation that is followed.
    pub compat: Compat,
    /// The teacher's layer of each of the student's.
    pub layer_map: Option<LayerMap>,
    /// What the method reads besides the teacher and the splits.
    pub inputs: MethodInputs,
    /// The file of the texts that the student is trained on in place of the training set.
    pub augmented: Option<PathBuf>,
    /// The source of the teacher's hidden states.
    pub teacher_states: TeacherStates,
    /// The file that keeps them for the next student.
    pub store: Option<PathBuf>,
}

impl Recipe {
    /// Reads the recipe `path`; `flags` override its keys.
    ///
    /// # Errors
    /// An unreadable file, an unknown key, a value out of its range, keys that contradict each other:
    /// usage errors that name the key.
    pub fn read(path: &Path, flags: &Flags) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| usage!("cannot read the recipe `{}`: {e}", path.display()))?;
        let named = |e: Error| {
            let name = path.display();
            Diagnostic::usage_around(&e, |why| format!("the recipe `{name}` is wrong: {why}"))
        };
        let file = RecipeFile::parse(&text).map_err(|e| named(e.into()))?;
        Ok(Self::resolve(file, path, &text, flags).map_err(named)?)
    }

    /// Parses generated recipe text; relative paths resolve against `path`.
    ///
    /// # Errors
    /// As [`Recipe::read`], without the file's name and line number.
    pub fn parse(text: &str, path: &Path, flags: &Flags) -> Result<Self> {
        let file = RecipeFile::parse(text).map_err(|e| {
            let at = e.span().and_then(|span| line_at(text, span.start));
            let at = at.map(|line| format!("`{line}`: ")).unwrap_or_default();
            usage!("{at}{}", e.message())
        })?;
        Self::resolve(file, path, text, flags)
    }

    /// Whether students are measured against a teacher: a checkpoint or a table.
    pub fn has_teacher(&self) -> bool {
        self.settings.teacher.is_some() || self.teacher_predictions.is_some()
    }

    /// κ of a training over `n` examples, where the choice of the state depends on it.
    pub fn kappa(&self, n: usize) -> Option<f64> {
        (self.keep == Keep::BestPreserved).then(|| self.settings.bound.kappa(n))
    }

    /// The statistic and confidence of the σ that the choice of the state depends on, if it does.
    pub fn sigma_of_keep(&self) -> Option<(Statistic, ConfidenceKind)> {
        let of_keep = (self.settings.statistic, self.settings.confidence);
        self.keep.compares_sigma().then_some(of_keep)
    }

    /// The name of that σ where it is not the one that every score has, the root mean square of the
    /// largest probability's difference.
    pub fn sigma_name(&self) -> Option<String> {
        match self.sigma_of_keep()? {
            (Statistic::Rms, ConfidenceKind::Max) => None,
            (Statistic::Published, _) => Some(Statistic::Published.to_string()),
            (statistic, ConfidenceKind::Max) => Some(statistic.to_string()),
            (statistic, confidence) => Some(format!("{statistic}, {confidence}")),
        }
    }

    /// Whether states of stage number `stage`, from 0, are measured and may be kept.
    pub fn is_measured(&self, stage: usize) -> bool {
        match self.method.kept_from {
            KeptFrom::LastStage => stage + 1 == self.stages.len(),
            KeptFrom::AnyStage => true,
        }
    }

    /// The most epochs whose states may be kept.
    pub fn measured_epochs(&self) -> usize {
        self.measured_epochs_before(self.stages.len())
    }

    /// The most epochs whose states may be kept, of the stages before number `stage`, from 0.
    pub fn measured_epochs_before(&self, stage: usize) -> usize {
        let measured = (0..stage).filter(|stage| self.is_measured(*stage));
        measured.map(|stage| self.stages[stage].max_epochs).sum()
    }

    /// Whether no stage trains the embeddings.
    pub fn freezes_embeddings(&self) -> bool {
        self.stages.iter().all(|stage| stage.freeze_embeddings)
    }

    /// The last stage, whose temperature and losses the bound refers to.
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

/// A path from a file in `folder`: relative to it where that exists, else as written.
pub fn resolved(folder: &Path, value: &str) -> PathBuf {
    let path = folder.join(value);
    match path.exists() {
        true => path,
        false => PathBuf::from(value),
    }
}
