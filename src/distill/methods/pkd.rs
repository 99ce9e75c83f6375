//! Patient distillation: `kd`, and the [CLS] vectors of some of the teacher's layers.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{kd, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::states::Selection;
use crate::distill::term::Term;
use crate::distill::terms::Pairs;
use crate::error::{usage, Diagnostic};

pub(super) const METHOD: Method = Method {
    name: "pkd",
    source: "Sun et al. 2019, arXiv:1908.09355",
    stages: || {
        let losses = [(Term::HARD, 0.3), (Term::SOFT, 0.7), (Term::PATIENT, 500.0)];
        let train = StageLayer {
            learning_rate: Some(1e-5),
            losses: Some(losses.into_iter().collect()),
            ..kd::train()
        };
        vec![("train", train)]
    },
    terms: &[Term::HARD, Term::SOFT, Term::PATIENT],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Pkd>,
    ..Method::COMMON
};

/// `[pkd]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pkd {
    layers: TeacherLayers,
}

/// The teacher's layers that are imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TeacherLayers {
    /// Every k-th.
    #[default]
    Skip,
    /// The last ones.
    Last,
}

impl Pkd {
    /// The teacher's layer, counted from 1, of each student layer but the last.
    fn teacher_layers(&self, recipe: &Recipe, setting: &Setting) -> Result<Vec<usize>> {
        let (student, teacher) = (setting.student.layers, super::require_states(setting)?.layers);
        ensure!(
            student >= 2,
            Diagnostic::usage(
                "`student.layers` must be at least 2 for pkd: it skips the last layer"
            )
        );
        if let Some(map) = &recipe.layer_map {
            return super::written_map(map, (student, teacher), student - 1);
        }
        ensure!(
            teacher >= student,
            usage!(
                "`student.layers` = {student} is more than the teacher's {teacher}: pkd needs a \
                 teacher layer for each"
            )
        );
        match self.layers {
            TeacherLayers::Last => Ok((1..student).map(|i| teacher - student + i).collect()),
            TeacherLayers::Skip => {
                let mut layers = super::every_kth_layer(student, teacher)?;
                layers.pop();
                Ok(layers)
            }
        }
    }
}

impl Configured for Pkd {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        if !recipe.stages[stage].losses.contains_key(&Term::PATIENT) {
            return super::logits_objective(recipe, stage);
        }
        super::require_same_width(setting, "pkd compares [CLS] vectors element by element")?;
        let hidden = self.teacher_layers(recipe, setting)?;
        let student_first = (1..=hidden.len()).collect();
        let pairs = Pairs { student_first, ..Pairs::default() };
        let terms = super::terms(recipe, stage);
        Ok(Box::new(terms.with_states(Selection::First { hidden }, pairs)))
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("pkd", json!(self.layers)))
    }
}
