//! HSK: first a small part of the teacher's hidden states (a few layers, tokens and elements), which
//! is stored once; then its probabilities.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, tinybert, Configured, Method, ObjectiveResult, OwnKeys};
use crate::distill::objective::Setting;
use crate::distill::recipe::Recipe;
use crate::distill::states::Selection;
use crate::distill::term::Term;
use crate::distill::terms::Pairs;
use crate::error::{usage, Diagnostic};

pub(super) const METHOD: Method = Method {
    name: "hsk",
    source: "Liu et al. 2021, Marginal Utility Diminishes (ACL 2021)",
    stages: || {
        vec![
            ("intermediate", tinybert::constant(stage(10, 5e-5, &[(Term::KEPT, 1.0)]))),
            ("prediction", stage(5, 2e-5, &[(Term::SOFT, 1.0)])),
        ]
    },
    terms: &[Term::KEPT, Term::SOFT, Term::HARD],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Hsk>,
    ..Method::COMMON
};

/// `[hsk]`: the part of the teacher's hidden states that is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Hsk {
    /// Layers, from the top of the map.
    depth: usize,
    /// Most tokens of each text.
    length: usize,
    /// Share of the elements, in (0, 1].
    width: f64,
}

impl Default for Hsk {
    /// 0.11 % of the hidden states of a six-layer student at length 128.
    fn default() -> Self {
        Hsk { depth: 1, length: 10, width: 0.1 }
    }
}

/// Most tokens that can be kept of a text.
const LONGEST_KEPT: usize = 255;

impl Configured for Hsk {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        let terms = super::terms(recipe, stage);
        if !recipe.stages[stage].losses.contains_key(&Term::KEPT) {
            return Ok(Box::new(terms));
        }
        let map = super::layer_map(recipe, setting)?;
        super::require_same_tokens(setting)?;
        let (depth, layers) = (self.depth, map.len());
        let too_deep =
            || format!("`hsk.depth` = {depth} is more than the student's {layers} layers");
        ensure!(depth <= layers, Diagnostic::usage(too_deep()));
        let pairs = map.iter().enumerate().map(|(i, &teacher)| (i + 1, teacher));
        let hidden: Vec<_> = pairs.skip(layers - depth).collect();
        let selection = Selection::Kept {
            hidden: hidden.iter().map(|(_, teacher)| *teacher).collect(),
            length: self.length,
            width: self.width,
            without: setting.separator.into_iter().collect(),
        };
        let terms = terms.with_states(selection, Pairs { hidden, ..Pairs::default() });
        Ok(Box::new(terms.with_projection(setting, recipe.settings.seed)?))
    }

    fn check(&self) -> Result<()> {
        super::require_at_least_one("hsk.depth", self.depth)?;
        super::require_at_least_one("hsk.length", self.length)?;
        ensure!(
            self.length <= LONGEST_KEPT,
            usage!("`hsk.length` must be at most {LONGEST_KEPT} tokens")
        );
        ensure!(
            self.width > 0.0 && self.width <= 1.0,
            Diagnostic::usage("`hsk.width` must be a share above 0 and at most 1")
        );
        Ok(())
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("hsk", json!(self)))
    }
}
