//! A teacher that is a table: the files of its predictions.

use std::path::Path;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

use super::{resolved, Flags, Init, RecipeFile};
use crate::distill::methods::{names_of, Method};
use crate::error::{usage, Diagnostic};
use crate::task::table::expand_patterns;

/// Stands for a split's name in a path.
const SPLIT: &str = "{split}";

/// `teacher_predictions` as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a file, or { train = FILE, validation = FILE, augmented = FILE }"
)]
pub enum WrittenTables {
    /// The table of the training set; with `{split}` in its path, those of all splits.
    Path(String),
    /// By split.
    BySplit(TeacherPredictions),
}

/// The files of a teacher's predictions: paths or patterns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherPredictions {
    /// On the training set.
    pub train: String,
    /// On the validation split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<String>,
    /// On the augmented texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmented: Option<String>,
}

impl WrittenTables {
    /// The files, relative to the current folder.
    pub fn here(self) -> TeacherPredictions {
        match self {
            WrittenTables::BySplit(tables) => tables,
            WrittenTables::Path(path) => {
                let of = |split: &str| path.replace(SPLIT, split);
                let other = |split: &str| path.contains(SPLIT).then(|| of(split));
                TeacherPredictions {
                    train: of("train"),
                    validation: other("validation"),
                    augmented: other("augmented"),
                }
            }
        }
    }

    /// The files, relative to `folder` where they exist there.
    pub fn within(self, folder: &Path) -> TeacherPredictions {
        self.here().map(|path| {
            let inside = folder.join(path).display().to_string();
            match expand_patterns(&[&inside]) {
                Ok(_) => inside,
                Err(_) => resolved(folder, path).display().to_string(),
            }
        })
    }
}

impl TeacherPredictions {
    /// With every path changed.
    pub fn map(self, change: impl Fn(&str) -> String) -> Self {
        TeacherPredictions {
            train: change(&self.train),
            validation: self.validation.map(|path| change(&path)),
            augmented: self.augmented.map(|path| change(&path)),
        }
    }
}

/// The tables that teach, if the recipe or a flag names some. A flag replaces the file's teacher of the
/// other kind.
///
/// # Errors
/// A checkpoint and tables at once; keys that only a checkpoint has; a method that runs the teacher.
pub(super) fn predictions(
    file: &mut RecipeFile,
    folder: &Path,
    flags: &Flags,
    method: &Method,
) -> Result<Option<TeacherPredictions>> {
    let written = file.teacher_predictions.take();
    let tables = match (&flags.settings.teacher, &flags.teacher_predictions) {
        (Some(_), Some(_)) => bail!(two_teachers()),
        (Some(_), None) => None,
        (None, Some(tables)) => {
            file.teacher = None;
            Some(tables.clone())
        }
        (None, None) if file.teacher.is_some() && written.is_some() => bail!(two_teachers()),
        (None, None) => written.map(|written| written.within(folder)),
    };
    let Some(tables) = tables else { return Ok(None) };
    if method.runs_teacher() {
        bail!(usage!(
            "the method {} runs the teacher itself, and `teacher_predictions` names its predictions \
             alone",
            method.name
        )
        .hint(format!(
            "use one of {}, or name a checkpoint as `teacher`",
            names_of(|method| !method.runs_teacher())
        )));
    }
    let of_checkpoints = [
        ("learn_from", file.learn_from.is_some()),
        ("teacher_head", file.teacher_head.or(flags.settings.teacher_head).is_some()),
    ];
    if let Some((key, _)) = of_checkpoints.iter().find(|(_, given)| *given) {
        bail!(usage!("`{key}` has no effect with `teacher_predictions`").hint("leave one out"));
    }
    if file.augmented.is_some() && tables.augmented.is_none() {
        bail!(Diagnostic::usage("`augmented` texts need the teacher's predictions")
            .hint("set `teacher_predictions = { train = FILE, augmented = FILE }`"));
    }
    Ok(Some(tables))
}

fn two_teachers() -> Diagnostic {
    Diagnostic::usage("`teacher` and `teacher_predictions` are both given").hint(
        "keep one: a checkpoint teaches, or a table of its predictions does; a student may start from \
         a checkpoint that does not teach it: `student.base`",
    )
}

/// How a student may start whose teacher is a table.
///
/// # Errors
/// A start from the teacher's layers or vocabulary, which a table does not have.
pub(super) fn require_start(init: Init, base: Option<&str>) -> Result<()> {
    let (why, hint) = match (init, base) {
        (Init::TeacherLayers, _) => (
            "= `teacher-layers` needs a teacher with layers, and a table has none",
            "start from a checkpoint: --init base --base DIR_OR_HUB_ID",
        ),
        (Init::Scratch, None) => (
            "= `scratch` needs a vocabulary, and a table has none",
            "name a checkpoint whose tokenizer the student takes: --base DIR_OR_HUB_ID",
        ),
        _ => return Ok(()),
    };
    Err(usage!("`student.init` {why}").hint(hint).into())
}
