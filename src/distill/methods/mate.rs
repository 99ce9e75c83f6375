//! MATE-KD: the student also learns on texts that a generator rewrites against it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::{stage, Configured, Method, MethodInputs, ObjectiveResult, OwnKeys};
use crate::distill::adversary::{
    Adversarial, Compared, Generator, GeneratorKeys, ADVERSARIAL, CLIP, GENERATOR,
};
use crate::distill::losses::SoftLossKind;
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::term::Term;

/// Each of the three losses.
const THIRD: f64 = 1.0 / 3.0;

pub(super) const METHOD: Method = Method {
    name: "mate",
    source: "Rashid et al. 2021, arXiv:2105.05912",
    stages: || {
        let losses = [(Term::HARD, THIRD), (Term::SOFT, THIRD), (ADVERSARIAL, THIRD)];
        vec![("train", StageLayer { clip: Some(CLIP), ..stage(30, 2e-5, &losses) })]
    },
    terms: &[Term::HARD, Term::SOFT, ADVERSARIAL],
    recorded_terms: &[GENERATOR],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<Mate>,
    ..Method::COMMON
};

/// `[mate]`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Mate {
    generator: GeneratorKeys,
}

impl Configured for Mate {
    fn objective(&self, recipe: &Recipe, setting: &Setting, stage: usize) -> ObjectiveResult {
        let Some(&weight) = recipe.stages[stage].losses.get(&ADVERSARIAL) else {
            return super::logits_objective(recipe, stage);
        };
        let clean = super::terms_but(recipe, stage, &[ADVERSARIAL]);
        let generator = Generator::new(&self.generator, setting, recipe.settings.seed)?;
        let options = recipe.stages[stage].soft_options(SoftLossKind::Kl, recipe.compat);
        let compared = Compared::Probabilities(options);
        Ok(Box::new(Adversarial { clean, weight, compared, generator }))
    }

    fn check(&self) -> Result<()> {
        self.generator.check("mate.generator")
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        Some(("mate", json!(Mate { generator: self.generator.without_path() })))
    }

    fn inputs(&self) -> MethodInputs {
        self.generator.inputs()
    }
}
