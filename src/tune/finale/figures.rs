//! The report of a tune, from its journal.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::audit::manifest;
use crate::report::schema::{ModelManifest, Outcome, TaskRow};
use crate::report::tuning::{
    Audited, Figures, FinalFigures, Finalist, Importance, Means, Seeded, Trial, Tuning,
    TUNING_VERSION,
};
use crate::tune::importance::importance;
use crate::tune::journal::{RunId, TrainingRun, TrainingRuns};
use crate::tune::notes;
use crate::tune::outcome::{Candidate, Constraints, CorrectCount, Finished, RunOutcome};
use crate::tune::plan::{Reference, ReferenceModel};
use crate::tune::run::students;
use crate::tune::space::TrialSettings;

use super::Confirmation;

impl Confirmation<'_> {
    /// The report; `row` is the audit of the written winner.
    pub(super) fn assemble(
        &self,
        runs: &TrainingRuns,
        constraints: &Constraints,
        winner: &Candidate,
        row: &TaskRow,
        models: Vec<ModelManifest>,
    ) -> Result<Tuning> {
        let (tune, plan) = (self.0, self.0.plan);
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let feasible =
            row.verdict == Outcome::Preserved && constraints.is_accurate(winner.student.seen);
        let first = runs.find(RunId::trial(1)).context("a tune without its default")?;
        let teacher = first.unseen.map(|unseen| unseen.teacher).context("no unseen part")?;
        let seen = winner.student.teacher_seen;
        let verdict = if feasible { Outcome::Preserved } else { Outcome::NotPreserved };
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
            reference_accuracy: constraints.reference,
            epsilon: plan.epsilon,
            objective: word(&plan.objective)?,
            search: word(&plan.search)?,
            seed: plan.seed,
            seen: seen.labelled,
            unseen: teacher.labelled,
            teacher_accuracy: [seen.accuracy(), teacher.accuracy()],
            trials: trials(runs, constraints)?,
            audited: Audited {
                sigma: row.gating_sigma().context("an audit without σ")?,
                preserved: row.verdict == Outcome::Preserved,
            },
            default: self.finalist(runs, 1, false)?,
            winner: self.finalist(runs, winner.trial, winner.temperature.is_some())?,
            obstacle: (!feasible).then(|| obstacle(runs, constraints, winner)),
            importance: self.importance(runs),
            notes: Vec::new(),
            manifest: manifest(
                std::slice::from_ref(&recipe.settings),
                self.0.session,
                models,
                Vec::new(),
            ),
        };
        report.notes = notes::notes(&report, row, winner.spend.sigma);
        Ok(report)
    }

    /// Settings with all seeds that they were trained with.
    fn finalist(&self, runs: &TrainingRuns, trial: usize, recalibrated: bool) -> Result<Finalist> {
        let of = runs.find(RunId::trial(trial)).context("a finalist without a trial")?;
        let ids = self.0.further_seeds().map(|seed| RunId { trial, seed: Some(seed) });
        let ids = std::iter::once(of.id).chain(ids);
        let seeds: Vec<Seeded> = ids
            .filter_map(|id| runs.find(id))
            .map(|run| Seeded {
                seed: run.id.seed.unwrap_or(self.0.plan.seed),
                error: match &run.end {
                    Some(RunOutcome::Failed { error }) => Some(error.clone()),
                    _ => None,
                },
                figures: final_figures(run, recalibrated),
            })
            .collect();
        let figures: Vec<&FinalFigures> = seeds.iter().filter_map(|s| s.figures.as_ref()).collect();
        let mean = |of: fn(&FinalFigures) -> f64| {
            figures.iter().map(|f| of(f)).sum::<f64>() / figures.len() as f64
        };
        let means = Means {
            seeds: figures.len(),
            preserved: figures.iter().filter(|f| f.preserved).count(),
            sigma: mean(|f| f.sigma),
            seen_accuracy: mean(|f| f.seen_accuracy),
            unseen_accuracy: mean(|f| f.unseen_accuracy),
            unseen_sigma: mean(|f| f.unseen_sigma),
        };
        let mean = (!figures.is_empty()).then_some(means);
        Ok(Finalist { trial, values: values(&of.point)?, recalibrated, mean, seeds })
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
            trial.figures = Some(figures(student));
            trial.feasible = constraints.allows(&best);
            trial.violation = Some(constraints.violation_of(&best));
            trial.pareto = !finished.iter().any(|other| dominates(other, student));
        }
        Some(RunOutcome::Stopped { why, course }) => {
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
    let (sigma, accuracy) = (a.plain.sigma, a.seen.correct);
    let as_good = sigma <= b.plain.sigma && accuracy >= b.seen.correct;
    as_good && (sigma < b.plain.sigma || accuracy > b.seen.correct)
}

fn figures(student: &Finished) -> Figures {
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
    }
}

fn final_figures(run: &TrainingRun, recalibrated: bool) -> Option<FinalFigures> {
    let (Some(RunOutcome::Finished(student)), Some(unseen)) = (&run.end, run.unseen) else {
        return None;
    };
    let folded = student.recalibrated.filter(|_| recalibrated);
    let spend = folded.map_or(student.plain, |folded| folded.spend);
    let CorrectCount { correct, .. } = unseen.student;
    Some(FinalFigures {
        sigma: spend.sigma,
        preserved: spend.preserved,
        temperature: folded.map(|folded| folded.temperature),
        seen_correct: student.seen.correct,
        seen_accuracy: student.seen.accuracy(),
        seen_sigma: student.seen_sigma,
        unseen_correct: correct,
        unseen_accuracy: unseen.student.accuracy(),
        unseen_sigma: match folded {
            Some(_) => unseen.recalibrated_sigma.unwrap_or(unseen.sigma),
            None => unseen.sigma,
        },
    })
}

/// The constraint that no student kept.
fn obstacle(runs: &TrainingRuns, constraints: &Constraints, nearest: &Candidate) -> String {
    let all: Vec<Candidate> =
        students(runs).flat_map(|(run, student)| student.candidates(run.id.trial)).collect();
    let least = all.iter().map(|c| c.spend.sigma).fold(f64::INFINITY, f64::min);
    let preserved: Vec<&Candidate> = all.iter().filter(|c| c.spend.preserved).collect();
    let violation = constraints.violation_of(nearest);
    let nearest = format!(
        "trial {} comes nearest (σ {:.4}, accuracy {:.4}, violation {violation:.4})",
        nearest.trial,
        nearest.spend.sigma,
        nearest.student.seen.accuracy()
    );
    let least_accuracy = constraints.least_accuracy();
    match preserved.iter().map(|c| c.student.seen.accuracy()).reduce(f64::max) {
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
        Some(_) => format!("the audit of the written checkpoint; {nearest}"),
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
