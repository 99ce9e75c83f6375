//! Annealing-KD on texts that a generator rewrites too; then the labels.

use anyhow::{ensure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{json, Value};
use toml::Table;

use super::annealing::{self, LABELS};
use super::{stage, Configured, KeptFrom, Method, MethodInputs, ObjectiveResult, OwnKeys};
use crate::distill::adversary::{
    Adversarial, Compared, Generator, GeneratorKeys, ADVERSARIAL, CLIP, GENERATOR,
};
use crate::distill::objective::Setting;
use crate::distill::recipe::{Recipe, StageLayer};
use crate::distill::term::Term;
use crate::error::Diagnostic;

pub(super) const METHOD: Method = Method {
    name: "annealing-mate",
    source: "Jafari et al. 2021, arXiv:2104.07163, with Rashid et al. 2021, arXiv:2105.05912",
    stages: || {
        let logits = [(Term::LOGITS, 0.5), (ADVERSARIAL, 0.5)];
        let clipped = |layer| StageLayer { clip: Some(CLIP), ..layer };
        vec![
            ("logits", clipped(stage(28, 2e-5, &logits))),
            (LABELS, clipped(stage(6, 2e-5, &[(Term::HARD, 1.0)]))),
        ]
    },
    // As the published code, which takes the best state of both stages.
    kept_from: KeptFrom::AnyStage,
    terms: &[Term::LOGITS, ADVERSARIAL, Term::HARD],
    recorded_terms: &[GENERATOR],
    own_keys: OwnKeys::ConstrainModels,
    configure: super::configured::<AnnealingMate>,
    ..Method::COMMON
};

/// `[annealing-mate]`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AnnealingMate {
    /// The first τ; it falls to 1 in whole steps over the first stage.
    tau_max: usize,
    generator: GeneratorKeys,
}

impl Default for AnnealingMate {
    /// The published code's.
    fn default() -> Self {
        AnnealingMate { tau_max: 14, generator: GeneratorKeys::default() }
    }
}

impl Configured for AnnealingMate {
    fn objective(&self, recipe: &Recipe, setting: &Setting, number: usize) -> ObjectiveResult {
        let stage = &recipe.stages[number];
        if stage.name == LABELS {
            ensure!(
                !stage.losses.contains_key(&ADVERSARIAL),
                Diagnostic::usage("`stage.labels.losses.adversarial`: this stage has no generator")
                    .hint("give it to `stage.logits.losses`")
            );
            return super::logits_objective(recipe, number);
        }
        let annealing = annealing::over(stage, "annealing-mate.tau_max", self.tau_max)?;
        let clean = super::terms_but(recipe, number, &[ADVERSARIAL]).annealed(annealing);
        let Some(&weight) = stage.losses.get(&ADVERSARIAL) else { return Ok(Box::new(clean)) };
        let generator = Generator::new(&self.generator, setting, recipe.settings.seed)?;
        let compared = Compared::Logits(annealing);
        Ok(Box::new(Adversarial { clean, weight, compared, generator }))
    }

    fn check(&self) -> Result<()> {
        super::require_at_least_one("annealing-mate.tau_max", self.tau_max)?;
        self.generator.check("annealing-mate.generator")
    }

    fn keys(&self) -> Table {
        super::keys_of(self)
    }

    fn record(&self) -> Option<(&'static str, Value)> {
        let own = AnnealingMate { generator: self.generator.without_path(), ..self.clone() };
        Some(("annealing_mate", json!(own)))
    }

    fn inputs(&self) -> MethodInputs {
        self.generator.inputs()
    }
}
