//! The report of a tune, from its journal.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::audit::manifest;
use crate::distill::evaluate::SoftLoss;
use crate::distill::saved::Epoch;
use crate::report::schema::{ModelManifest, Outcome, TaskRow};
use crate::report::tuning::{
    Audited, Figures, FinalFigures, Finalist, Importance, Means, RunningTune, Seeded, TrainedEpoch,
    Trial, Tuning, ViolationUnits, WarmStarted, TUNING_VERSION,
};
use crate::tune::answers::{AccuracyReference, Answers};
use crate::tune::constraints::{Constraints, TrialCandidate};
use crate::tune::importance::importance;
use crate::tune::journal::{RunId, TrainingRun, TrainingRuns};
use crate::tune::notes;
use crate::tune::outcome::{Finished, RunOutcome, Unseen};
use crate::tune::plan::{Reference, ReferenceModel};
use crate::tune::ranking::{students, CheckedFinalist, Finals, Standing};
use crate::tune::space::TrialSettings;

use super::Confirmation;

/// The references that a finalist is compared with.
struct References<'a> {
    constraints: &'a Constraints,
    /// On the unseen part; `None` until it is measured.
    unseen: Option<AccuracyReference>,
    /// Whether seeds that are not measured there have figures, with NaN in place of those there.
    running: bool,
}

/// The audit of the written winner.
pub(super) struct WinnerAudit {
    /// That of the training set.
    pub row: TaskRow,
    pub models: Vec<ModelManifest>,
}

impl Confirmation<'_> {
    /// The report; while the tune runs there is no `audit`, and `winner` is the best so far.
    pub(super) fn assemble(
        &self,
        runs: &TrainingRuns,
        constraints: &Constraints,
        winner: &TrialCandidate,
        audit: Option<&WinnerAudit>,
    ) -> Result<Tuning> {
        let (tune, plan) = (self.0, self.0.plan);
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let finals = Finals::new(runs, constraints, &tune.rule());
        let decided = plan.further_seeds > 0 && !finals.checked.is_empty();
        let confirmed = (decided && audit.is_some()).then(|| finals.winner().is_some());
        let holds = winner.shortfall == 0.0 && confirmed != Some(false);
        let first = runs.find(RunId::trial(1)).context("a tune without its default")?;
        let teacher = first.unseen.as_ref().map(|unseen| &unseen.teacher);
        let seen = &winner.student.teacher_seen;
        let audited = match audit {
            Some(WinnerAudit { row, .. }) => Audited {
                sigma: row.gating_sigma().context("an audit without σ")?,
                preserved: row.verdict == Outcome::Preserved,
            },
            None => Audited { sigma: winner.spend.sigma, preserved: winner.spend.preserved },
        };
        let verdict = match audited.preserved && holds {
            true => Outcome::Preserved,
            false => Outcome::NotPreserved,
        };
        let references = self.references(runs, constraints, audit.is_none())?;
        let finalist = |of: &CheckedFinalist| {
            let recalibrated = of.candidate.temperature.is_some();
            self.finalist(runs, of.candidate.trial, recalibrated, &references, Some(&of.standing))
        };
        let shown = finals
            .checked
            .iter()
            .filter(|of| decided && (audit.is_some() || matches!(of.standing, Standing::Fails(_))));
        let finalists = shown.map(finalist);
        let finalists: Vec<Finalist> = finalists.collect::<Result<_>>()?;
        let recalibrated = winner.temperature.is_some();
        let as_finalist = finalists.iter().find(|finalist| finalist.trial == winner.trial);
        let mut report = Tuning {
            schema_version: TUNING_VERSION,
            verdict,
            exit_code: verdict.exit() as u8,
            task: recipe.settings.task.name.clone(),
            statistic: tune.gate.statistic.to_string(),
            confidence: tune.gate.kind.to_string(),
            kappa: tune.kappa(),
            bound_origin: tune.gate.origin.clone(),
            n: tune.facts.train,
            reference: match plan.reference {
                Reference::Model(ReferenceModel::Default) => "default".to_owned(),
                Reference::Model(ReferenceModel::Teacher) => "teacher".to_owned(),
                Reference::Accuracy(_) => "a number".to_owned(),
            },
            reference_accuracy: constraints.reference.accuracy,
            reference_seeds: self.reference_seeds(runs),
            epsilon: plan.epsilon,
            non_inferiority: plan.non_inferiority,
            objective: word(&plan.objective)?,
            search: word(&plan.search)?,
            seed: plan.seed,
            seen: seen.labelled(),
            unseen: tune.facts.labelled.map_or(0, |[_, unseen]| unseen),
            teacher_accuracy: [seen.accuracy(), teacher.map_or(f64::NAN, |all| all.accuracy())],
            violation_units: Some(ViolationUnits {
                sigma: constraints.scale.sigma,
                sigma_is_spread: constraints.scale.is_spread[0],
                accuracy: constraints.scale.accuracy,
                accuracy_is_spread: constraints.scale.is_spread[1],
            }),
            trials: trials(runs, constraints)?,
            warm_start: plan
                .warm_start
                .as_ref()
                .map(|_| WarmStarted { trials: runs.warm.len(), skipped: runs.skipped.clone() }),
            epochs: epochs(runs, plan.seed),
            running: audit.is_none().then(|| self.running(runs, &finals)),
            audited,
            default: self.finalist(runs, 1, false, &references, None)?,
            winner: match as_finalist {
                Some(finalist) => finalist.clone(),
                None => self.finalist(runs, winner.trial, recalibrated, &references, None)?,
            },
            confirmed,
            confirm: Some(plan.confirm),
            finalists,
            obstacle: (verdict != Outcome::Preserved)
                .then(|| obstacle(runs, constraints, winner, &finals)),
            importance: self.importance(runs),
            notes: Vec::new(),
            manifest: manifest(
                std::slice::from_ref(&recipe.settings),
                self.0.session,
                audit.map(|audit| audit.models.clone()).unwrap_or_default(),
                Vec::new(),
            ),
        };
        if let Some(audit) = audit {
            report.notes = notes::notes(&report, &audit.row, winner.spend.sigma);
        }
        Ok(report)
    }

    /// How far the search is.
    fn running(&self, runs: &TrainingRuns, finals: &Finals) -> RunningTune {
        let over = runs.trials().filter(|run| run.end.is_some()).count();
        let trials = self.0.plan.trials;
        // A search that has no time or settings left confirms before all trials were tried.
        let open = finals.open().filter(|of| {
            let begun = runs.all.last().map(|run| run.id);
            over >= trials || begun.is_some_and(|id| id.trial == of.trial && id.seed.is_some())
        });
        RunningTune { over, trials, confirming: open.map(|of| of.trial) }
    }

    /// The seeds of the default settings that could be trained, if they are the reference.
    fn reference_seeds(&self, runs: &TrainingRuns) -> Vec<u64> {
        match self.0.plan.reference {
            Reference::Model(ReferenceModel::Default) => {
                self.0.rule().finished(runs, 1).into_iter().map(|(seed, ..)| seed).collect()
            }
            Reference::Model(ReferenceModel::Teacher) | Reference::Accuracy(_) => Vec::new(),
        }
    }

    /// What accuracies are compared with on both parts.
    fn references<'a>(
        &self,
        runs: &TrainingRuns,
        constraints: &'a Constraints,
        running: bool,
    ) -> Result<References<'a>> {
        let default = self.0.rule().finished(runs, 1);
        let unseen: Vec<&Unseen> =
            default.into_iter().filter_map(|(_, run, _)| run.unseen.as_ref()).collect();
        let unseen = match (self.0.plan.reference, unseen.first()) {
            (Reference::Accuracy(accuracy), _) => Some(AccuracyReference::number(accuracy)),
            (_, None) => None,
            (Reference::Model(ReferenceModel::Teacher), Some(first)) => {
                Some(AccuracyReference::mean(&[&first.teacher])?)
            }
            (Reference::Model(ReferenceModel::Default), Some(_)) => {
                let answers: Vec<&Answers> = unseen.iter().map(|unseen| &unseen.student).collect();
                Some(AccuracyReference::mean(&answers)?)
            }
        };
        Ok(References { constraints, unseen, running })
    }

    /// Settings with all seeds that they were trained with.
    fn finalist(
        &self,
        runs: &TrainingRuns,
        trial: usize,
        recalibrated: bool,
        references: &References,
        standing: Option<&Standing>,
    ) -> Result<Finalist> {
        let rule = self.0.rule();
        let of = runs.find(RunId::trial(trial)).context("a finalist without a trial")?;
        let known = rule.runs_of(trial).filter_map(|id| runs.find(id));
        let seeds: Vec<Seeded> = known
            .map(|run| Seeded {
                seed: run.id.seed.unwrap_or(rule.seed),
                error: match &run.end {
                    Some(RunOutcome::Failed { error }) => Some(error.clone()),
                    _ => None,
                },
                figures: references.figures(run, recalibrated),
            })
            .collect();
        let why = match standing {
            Some(Standing::Fails(why)) => Some(why.clone()),
            Some(Standing::Open) => Some("it is not trained with every seed".to_owned()),
            Some(Standing::Holds) | None => None,
        };
        let missing = rule.further_seeds.iter().copied();
        let missing = missing.filter(|seed| why.is_some() && seeds.iter().all(|s| s.seed != *seed));
        let (mean, untrained_seeds) = (means(&seeds), missing.collect());
        let values = values(&of.point)?;
        Ok(Finalist { trial, values, recalibrated, mean, why, untrained_seeds, seeds })
    }

    fn importance(&self, runs: &TrainingRuns) -> Vec<Importance> {
        let space = &self.0.plan.space;
        let finished: Vec<(&TrainingRun, &Finished)> = students(runs).collect();
        let points: Vec<&TrialSettings> = finished.iter().map(|(run, _)| &run.point).collect();
        let of = |figure: fn(&Finished) -> f64| {
            let figures: Vec<f64> = finished.iter().map(|(_, student)| figure(student)).collect();
            importance(space, &points, &figures)
        };
        // σ spans orders of magnitude, and κ is compared with it as a ratio.
        let sigma = of(|student| student.plain.sigma.max(f64::MIN_POSITIVE).ln());
        let accuracy = of(|student| student.seen.accuracy());
        let (Some(sigma), Some(accuracy)) = (sigma, accuracy) else { return Vec::new() };
        let keys = space.0.iter().zip(sigma.into_iter().zip(accuracy));
        let mut rows: Vec<Importance> = keys
            .map(|(key, (of_sigma, of_accuracy))| Importance {
                key: key.name.clone(),
                of_sigma,
                of_accuracy,
            })
            .collect();
        rows.sort_by(|a, b| b.of_sigma.total_cmp(&a.of_sigma));
        rows
    }
}

/// The epochs of every training that is over.
fn epochs(runs: &TrainingRuns, seed: u64) -> Vec<TrainedEpoch> {
    let of = |run: &TrainingRun| {
        let (history, kept) = match &run.end {
            Some(RunOutcome::Finished(student)) => {
                (student.history.as_slice(), Some((student.stage.as_str(), student.epoch)))
            }
            Some(RunOutcome::Stopped { history, .. }) => (history.as_slice(), None),
            Some(RunOutcome::Failed { .. }) | None => (&[][..], None),
        };
        let (trial, seed) = (run.id.trial, run.id.seed.unwrap_or(seed));
        let epoch = |epoch: &Epoch| {
            let soft = |of: fn(&SoftLoss) -> f64| {
                epoch.soft_loss.as_ref().map(|loss| of(loss) / loss.examples as f64)
            };
            TrainedEpoch {
                trial,
                seed,
                stage: epoch.stage.clone(),
                epoch: epoch.epoch,
                kept: kept == Some((epoch.stage.as_str(), epoch.epoch)),
                accuracy: epoch.validation.and_then(|score| score.accuracy),
                seen_sigma_rms_max: epoch.validation.and_then(|score| score.sigma),
                sample_sigma: epoch.sample_sigma,
                train_sigma: epoch.train.map(|check| check.sigma),
                kl: soft(|loss| loss.sum_kl),
                cross_entropy: soft(|loss| loss.sum_cross_entropy),
                losses: epoch.losses.iter().map(|(k, v)| (k.as_str().to_owned(), *v)).collect(),
            }
        };
        history.iter().map(epoch).collect::<Vec<_>>()
    };
    runs.all.iter().flat_map(of).collect()
}

/// The trials of the report.
fn trials(runs: &TrainingRuns, constraints: &Constraints) -> Result<Vec<Trial>> {
    let finished: Vec<&Finished> = students(runs).map(|(_, student)| student).collect();
    runs.trials().map(|run| trial(run, constraints, &finished)).collect()
}

fn trial(run: &TrainingRun, constraints: &Constraints, finished: &[&Finished]) -> Result<Trial> {
    let mut trial = Trial {
        trial: run.id.trial,
        values: values(&run.point)?,
        outcome: "unfinished".to_owned(),
        why: None,
        figures: None,
        feasible: false,
        violation: None,
        pareto: false,
    };
    match &run.end {
        None => {}
        Some(RunOutcome::Finished(student)) => {
            let best = constraints.candidate(run.id.trial, student);
            trial.outcome = "finished".to_owned();
            trial.figures = Some(figures(student, constraints));
            trial.feasible = constraints.allows(&best);
            trial.violation = Some(constraints.violation_of(&best));
            trial.pareto = !finished.iter().any(|other| dominates(other, student));
        }
        Some(RunOutcome::Stopped { why, course, .. }) => {
            trial.outcome = "stopped".to_owned();
            trial.why = Some(why.clone());
            trial.figures = course.last().map(|at| Figures::watched(at.sigma, at.accuracy));
        }
        Some(RunOutcome::Failed { error }) => {
            trial.outcome = "failed".to_owned();
            trial.why = Some(error.clone());
        }
    }
    Ok(trial)
}

/// Whether `a` is at least as good as `b` in σ and accuracy, and better in one.
fn dominates(a: &Finished, b: &Finished) -> bool {
    let (sigma, accuracy) = (a.plain.sigma, a.seen.correct());
    let as_good = sigma <= b.plain.sigma && accuracy >= b.seen.correct();
    as_good && (sigma < b.plain.sigma || accuracy > b.seen.correct())
}

fn figures(student: &Finished, constraints: &Constraints) -> Figures {
    let recalibrated = student.recalibrated;
    Figures {
        sigma: student.plain.sigma,
        preserved: Some(student.plain.preserved),
        accuracy: student.seen.accuracy(),
        temperature: recalibrated.map(|r| r.temperature),
        recalibrated_sigma: recalibrated.map(|r| r.spend.sigma),
        recalibrated_preserved: recalibrated.map(|r| r.spend.preserved),
        train_accuracy: student.train_accuracy,
        epochs: Some(student.epochs),
        cost: Some(student.cost),
        parameters: Some(student.parameters),
        accuracy_test: constraints.test(&student.seen),
    }
}

impl References<'_> {
    /// The figures of a seed of a finalist, once it is measured on both parts.
    fn figures(&self, run: &TrainingRun, recalibrated: bool) -> Option<FinalFigures> {
        let Some(RunOutcome::Finished(student)) = &run.end else { return None };
        let unseen = run.unseen.as_ref();
        if unseen.is_none() && !self.running {
            return None;
        }
        let form = student.recalibrated().filter(|_| recalibrated).unwrap_or(student.plain());
        let test = self.unseen.as_ref().zip(unseen).and_then(|(reference, unseen)| {
            reference.test(&unseen.student, self.constraints.epsilon, self.constraints.level())
        });
        let unseen_sigma = unseen.map(|unseen| match form.temperature {
            Some(_) => unseen.recalibrated_sigma.unwrap_or(unseen.sigma),
            None => unseen.sigma,
        });
        Some(FinalFigures {
            sigma: form.spend.sigma,
            preserved: form.spend.preserved,
            temperature: form.temperature,
            seen_correct: student.seen.correct(),
            seen_accuracy: student.seen.accuracy(),
            seen_test: self.constraints.test(&student.seen),
            seen_sigma: student.seen_sigma,
            unseen_correct: unseen.map_or(0, |unseen| unseen.student.correct()),
            unseen_accuracy: unseen.map_or(f64::NAN, |unseen| unseen.student.accuracy()),
            unseen_test: test,
            unseen_sigma: unseen_sigma.unwrap_or(f64::NAN),
        })
    }
}

/// Means over the seeds that could be trained.
fn means(seeds: &[Seeded]) -> Option<Means> {
    let figures: Vec<&FinalFigures> = seeds.iter().filter_map(|s| s.figures.as_ref()).collect();
    let mean = |of: fn(&FinalFigures) -> f64| {
        figures.iter().map(|f| of(f)).sum::<f64>() / figures.len() as f64
    };
    (!figures.is_empty()).then(|| Means {
        seeds: figures.len(),
        preserved: figures.iter().filter(|f| f.preserved).count(),
        sigma: mean(|f| f.sigma),
        seen_accuracy: mean(|f| f.seen_accuracy),
        unseen_accuracy: mean(|f| f.unseen_accuracy),
        unseen_sigma: mean(|f| f.unseen_sigma),
    })
}

/// What stood in the way: the constraint that no student kept, the finalists that failed, or the audit.
fn obstacle(
    runs: &TrainingRuns,
    constraints: &Constraints,
    nearest: &TrialCandidate,
    finals: &Finals,
) -> String {
    if !finals.checked.is_empty() {
        return match finals.winner() {
            Some(_) => "the audit of the written checkpoint".to_owned(),
            None => "no finalist keeps both constraints with every seed".to_owned(),
        };
    }
    let students = students(runs).map(|(run, student)| (run.id.trial, student));
    let all: Vec<TrialCandidate> =
        students.flat_map(|(trial, student)| constraints.candidates(trial, student)).collect();
    let least = all.iter().map(|c| c.spend.sigma).fold(f64::INFINITY, f64::min);
    let preserved = all.iter().filter(|c| c.spend.preserved);
    let most_accurate = preserved.map(|c| c.student.seen.accuracy()).reduce(f64::max);
    let violation = constraints.violation_of(nearest);
    let nearest = format!(
        "trial {} comes nearest (σ {:.4}, accuracy {:.4}, violation {violation:.4})",
        nearest.trial,
        nearest.spend.sigma,
        nearest.student.seen.accuracy()
    );
    let least_accuracy = constraints.least_accuracy();
    match most_accurate {
        None => {
            format!(
                "σ: the least of any trial is {least:.4}, and κ is {}; {nearest}",
                constraints.kappa
            )
        }
        Some(accuracy) if accuracy < least_accuracy => format!(
            "accuracy: the students whose σ is within κ have at most {accuracy:.4}, and \
             {least_accuracy:.4} is asked for; {nearest}"
        ),
        Some(_) => format!(
            "accuracy: no student whose σ is within κ is shown, at level {}, to lose at most ε = {}; \
             {nearest}",
            constraints.level(),
            constraints.epsilon
        ),
    }
}

fn values(point: &TrialSettings) -> Result<std::collections::BTreeMap<String, Value>> {
    point.iter().map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?))).collect()
}

/// The name that a variant has in a config.
fn word(value: &impl serde::Serialize) -> Result<String> {
    let value = serde_json::to_value(value)?;
    Ok(value.as_str().context("a name")?.to_owned())
}
