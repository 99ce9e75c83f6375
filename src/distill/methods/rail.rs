//! RAIL-KD: `kd`, and [CLS] vectors of layers of the teacher that are drawn for each epoch.

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::layer_draw::LayerDraw;
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::states::Selection;
use crate::distill::term::Term;
use crate::distill::terms::Pairs;
use crate::error::{usage, Diagnostic};

pub(super) const METHOD: Method = Method {
    name: "rail",
    source: "Haidar et al. 2022, arXiv:2109.10164",
    stages: || {
        const THIRD: f64 = 1.0 / 3.0;
        let losses = [(Term::HARD, THIRD), (Term::SOFT, THIRD), (Term::DRAWN, THIRD)];
        let train = StageLayer {
            temperature: Some(10.0),
            t_squared: Some(true),
            ..stage(4, 2e-5, &losses)
        };
        vec![("train", train)]
    },
    terms: &[Term::HARD, Term::SOFT, Term::DRAWN],
    own_keys: OwnKeys::Free,
    configure: super::configured::<Rail>,
    ..Method::COMMON
};

/// `[rail]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Rail {
    /// u, the width to which both models' vectors are projected.
    width: usize,
}

impl Default for Rail {
    fn default() -> Self {
        Rail { width: 128 }
    }
}

impl Configured for Rail {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        if !recipe.stages[stage].losses.contains_key(&Term::DRAWN) {
            return super::logits_objective(recipe, stage);
        }
        let (student, teacher) = (setting.student.layers, super::require_states(setting)?.layers);
        ensure!(
            student >= 2,
            Diagnostic::usage(
                "`student.layers` must be at least 2 for rail: it skips the last layer"
            )
        );
        ensure!(
            teacher >= student,
            usage!(
                "`student.layers` = {student} is more than the teacher's {teacher}: rail needs a \
                 teacher layer for each"
            )
        );
        let seed = recipe.settings.seed;
        let draw = LayerDraw { seed, of: teacher - 1, count: student - 1 };
        let selection = Selection::First { hidden: (1..teacher).collect() };
        let student_first = (1..student).collect();
        let pairs = Pairs { student_first, ..Pairs::default() };
        let terms = super::terms(recipe, stage).with_states(selection, pairs);
        Ok(Box::new(terms.with_draw(draw, self.width, setting)?))
    }

    fn check(&self) -> anyhow::Result<()> {
        super::require_at_least_one("rail.width", self.width)
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("rail", json!(self)))
    }
}
