//! Trials of another search, which inform the proposals of this one.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Table;

use super::journal::{Journal, OtherJournal};
use super::outcome::{Finished, RunOutcome, TrainingSpend};
use super::plan::Plan;
use crate::error::{usage, Diagnostic};

/// What a search takes from another one. It is kept in the first line of the journal, so that a search
/// does not depend on what becomes of the other one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WarmStart {
    pub trials: Vec<WarmTrial>,
    /// Trials that are not of this space, with the reason.
    pub skipped: Vec<String>,
}

/// A trial of another search, with its settings in this space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WarmTrial {
    pub trial: usize,
    pub values: BTreeMap<String, Value>,
    pub end: RunOutcome,
}

impl WarmStart {
    /// Reads the trials of the journal `path`, or of that in the folder `path`. `identity` and
    /// `compared` are those of the search of `plan`, whose bound is `kappa`.
    ///
    /// # Errors
    /// A file that is not a journal; a search over another teacher, data, part of the validation split
    /// or statistic; no trial that is of this space: usage errors.
    pub fn read(
        path: &Path,
        plan: &Plan,
        identity: &Value,
        compared: &str,
        kappa: f64,
    ) -> Result<Self> {
        let path = if path.is_dir() { path.join("journal.jsonl") } else { path.to_owned() };
        let name = path.display();
        let own = plan.output.join("journal.jsonl");
        if std::fs::canonicalize(&own)
            .is_ok_and(|own| std::fs::canonicalize(&path).ok() == Some(own))
        {
            bail!(usage!("`warm_start`: `{name}` is the journal of this search")
                .hint("leave `warm_start` out: the same command resumes a search"));
        }
        let other = Journal::read_other(&path)
            .map_err(|e| Diagnostic::usage_around(&e, |why| format!("`warm_start`: {why}")))?;
        if let Some(what) = difference(&other, identity, compared) {
            bail!(usage!("`warm_start`: `{name}` is of a search with another {what}")
                .hint("leave `warm_start` out: figures of different things cannot be compared"));
        }
        let known = other.plan["gate"]["kappa"].as_f64();
        let recipe: Table = serde_json::from_value(other.plan["recipe"].clone())
            .map_err(|e| usage!("`warm_start`: `{name}` has a wrong recipe: {e}"))?;
        if other.runs.trials().all(|run| run.end.is_none()) {
            bail!(usage!("`warm_start`: no trial of `{name}` is over")
                .hint("wait until one is, or leave `warm_start` out"));
        }
        let mut warm = WarmStart::default();
        for run in other.runs.trials() {
            let Some(end) = &run.end else { continue };
            let point = plan.place(&recipe, &run.point, known != Some(kappa));
            match point.map(|point| point.iter().map(|(k, v)| json(k, v)).collect::<Result<_>>()) {
                Ok(values) => warm.trials.push(WarmTrial {
                    trial: run.id.trial,
                    values: values?,
                    end: judged(end, kappa, known, plan.recalibrate),
                }),
                Err(why) => warm.skipped.push(format!("trial {}: {why}", run.id.trial)),
            }
        }
        if warm.trials.is_empty() {
            let why = &warm.skipped[0];
            bail!(usage!("`warm_start`: no trial of `{name}` is of this search's space: {why}")
                .hint("the recipes must agree in every key that `space` does not have"));
        }
        Ok(warm)
    }
}

fn json(key: &str, value: &toml::Value) -> Result<(String, Value)> {
    Ok((key.to_owned(), serde_json::to_value(value)?))
}

/// What keeps the figures of two searches from being compared.
fn difference(other: &OtherJournal, identity: &Value, compared: &str) -> Option<String> {
    let gate = |plan: &Value, key: &str| plan["gate"][key].clone();
    let keys = [
        ("seed", other.plan["seed"].clone(), identity["seed"].clone()),
        ("unseen", other.plan["unseen"].clone(), identity["unseen"].clone()),
        ("statistic", gate(&other.plan, "statistic"), gate(identity, "statistic")),
        ("confidence", gate(&other.plan, "confidence"), gate(identity, "confidence")),
    ];
    let differs = keys.into_iter().find(|(_, theirs, own)| theirs != own);
    match differs {
        Some((key, theirs, own)) => Some(format!("`{key}`: {theirs} there, {own} here")),
        None if other.compared != compared => Some("teacher, task or data".to_owned()),
        None => another_teaches(&other.plan["learn_from"], &identity["learn_from"]),
    }
}

/// A choice of `learn_from` that is another checkpoint in the two searches.
fn another_teaches(theirs: &Value, own: &Value) -> Option<String> {
    let mut own = own.as_object()?.iter();
    let differs = |(choice, key): &(&String, &Value)| {
        theirs.get(choice.as_str()).is_some_and(|other| other != *key)
    };
    let (choice, _) = own.find(differs)?;
    Some(format!("the checkpoint `learn_from` = {choice}"))
}

/// `end` as the bound `kappa` judges it, without what a proposal does not depend on; without a
/// temperature where this search does not `recalibrate`.
fn judged(end: &RunOutcome, kappa: f64, known: Option<f64>, recalibrate: bool) -> RunOutcome {
    let spend = |spend: TrainingSpend| match known == Some(kappa) {
        true => spend,
        false => TrainingSpend { preserved: spend.sigma <= kappa, ..spend },
    };
    match end {
        RunOutcome::Finished(student) => {
            let mut student = Finished { history: Vec::new(), ..(**student).clone() };
            student.plain = spend(student.plain);
            student.recalibrated = student.recalibrated.filter(|_| recalibrate);
            if let Some(recalibrated) = &mut student.recalibrated {
                recalibrated.spend = spend(recalibrated.spend);
            }
            RunOutcome::Finished(Box::new(student))
        }
        RunOutcome::Stopped { why, course, .. } => {
            let (why, course) = (why.clone(), course.clone());
            RunOutcome::Stopped { why, course, history: Vec::new() }
        }
        RunOutcome::Failed { error } => RunOutcome::Failed { error: error.clone() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::constraints::tests::{finished, recalibrated_to};

    #[test]
    fn a_trial_is_judged_by_the_bound_and_the_forms_of_this_search() {
        let student = recalibrated_to(finished(0.06, 80, 1), 0.04);
        let end = RunOutcome::Finished(Box::new(student));
        let judged = |kappa, recalibrate| match judged(&end, kappa, Some(0.05), recalibrate) {
            RunOutcome::Finished(student) => {
                let of = student.recalibrated.map(|of| of.spend.preserved);
                (student.plain.preserved, of)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(judged(0.05, true), (false, Some(true)));
        assert_eq!(judged(0.03, true), (false, Some(false)));
        assert_eq!(judged(0.07, false), (true, None), "its temperature does not count");
    }
}
