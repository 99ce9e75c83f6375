//! Checks of a search on its models and its data, before the first trial.

use std::collections::BTreeMap;

use anyhow::{bail, Result};

use super::plan::{wrong, wrong_start, Plan};
use crate::audit::{Gate, Session};
use crate::confidence::Statistic;
use crate::distill::data::read_data;
use crate::distill::methods::{Method, OwnKeys, METHODS};
use crate::distill::{check, TrainingFacts};
use crate::error::usage;

/// What is known of a search before its first trial.
pub(super) struct CheckedPlan {
    pub facts: TrainingFacts,
    /// The fingerprint of each choice of `learn_from`.
    pub taught_by: BTreeMap<String, String>,
    pub gate: Gate,
}

/// Checks the default settings, every key that some models do not suit at its ends, and the settings
/// of `start`.
///
/// # Errors
/// A plan that contradicts its models or its data.
pub(super) fn checked(plan: &Plan, trainings: &Session) -> Result<CheckedPlan> {
    let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
    let facts = check(&recipe, trainings)?;
    require_labels(&facts, &recipe.settings.task.name)?;
    let mut taught_by = BTreeMap::new();
    // A table may have probabilities of 0, which other temperatures do not suit.
    let of_table = recipe.teacher_predictions.is_some();
    let is_checked =
        |name: &str| constrains_models(name) || (of_table && name.ends_with(".temperature"));
    for (name, point) in plan.corners().into_iter().filter(|(name, _)| is_checked(name)) {
        let recipe = plan.recipe(&point, plan.seed, &plan.output)?;
        let facts = check(&recipe, trainings).map_err(|error| wrong(name, &point, &error))?;
        let choice = point.get("learn_from").map(ToString::to_string);
        taught_by.extend(choice.zip(facts.taught_by));
    }
    for (i, point) in plan.start.iter().enumerate() {
        let recipe = plan.recipe(point, plan.seed, &plan.output)?;
        check(&recipe, trainings).map_err(|error| wrong_start(i + 1, &error))?;
    }
    let gate = Gate::new(&recipe.settings, None, facts.train)?;
    if gate.statistic == Statistic::Published {
        let splits = read_data(&recipe, trainings)?.0;
        for split in [Some(&splits.train), splits.validation.as_ref()].into_iter().flatten() {
            gate.require_labels(facts.labels, &split.labels())?;
        }
    }
    Ok(CheckedPlan { facts, taught_by, gate })
}

/// Requires labels in both parts of the validation split.
fn require_labels(facts: &TrainingFacts, task: &str) -> Result<()> {
    let lacks = match facts.labelled {
        None => format!("`{task}` has no validation split"),
        Some([0, 0]) => format!("the validation split of `{task}` has no labels"),
        Some([0, _]) => format!("the seen part of `{task}`'s validation split has no labels"),
        Some([_, 0]) => format!("the unseen part of `{task}`'s validation split has no labels"),
        Some(_) => return Ok(()),
    };
    bail!(usage!("{lacks}, which students are compared on")
        .hint("name one with labels in the task's `splits`"))
}

/// Whether some values of a key may not suit the models, so that they are checked first.
fn constrains_models(name: &str) -> bool {
    let shared = ["student", "layer_map", "method", "compat", "learn_from"];
    let table = name.split('.').next().unwrap_or_default();
    let own = |method: &Method| method.owns(table) && method.own_keys == OwnKeys::ConstrainModels;
    shared.contains(&table) || METHODS.iter().any(own) || name.contains(".losses.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::rendered;

    #[test]
    fn labels_are_required_in_both_parts_of_the_validation_split() {
        let checked = |labelled| {
            let (fingerprint, compared, taught_by) = Default::default();
            let (train, labels) = (9, 2);
            let facts = TrainingFacts { fingerprint, compared, taught_by, train, labels, labelled };
            require_labels(&facts, "own").map_err(|error| rendered(&error))
        };
        assert_eq!(checked(Some([1, 1])), Ok(()));
        for (labelled, named) in [
            (None, "`own` has no validation split"),
            (Some([0, 0]), "the validation split of `own` has no labels"),
            (Some([0, 3]), "the seen part of `own`'s validation split has no labels"),
            (Some([3, 0]), "the unseen part of `own`'s validation split has no labels"),
        ] {
            let why = checked(labelled).unwrap_err();
            assert!(why.contains(named) && why.contains("hint: "), "{why}");
        }
    }
}
