//! A tune, from its plan to its report.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once};
use std::time::Instant;

use anyhow::{anyhow, bail, Context, Error, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::answers::{AccuracyReference, Answers};
use super::checks::{checked, CheckedPlan};
use super::constraints::Constraints;
use super::finale::Confirmation;
use super::journal::{Journal, JournalHead, RunId, TrainingRun, TrainingRuns};
use super::locks::{Locks, POLL};
use super::log::TuneLog;
use super::measure;
use super::outcome::RunOutcome;
use super::plan::{Plan, Reference, ReferenceModel};
use super::pruning::{trial_epochs, TrialPruner};
use super::ranking::{candidates, ranked, students, ConfirmationRule, Finals};
use super::search::propose;
use super::space::TrialSettings;
use super::warm::WarmStart;
use crate::audit::{Gate, Session};
use crate::confidence::PairError;
use crate::digest::hexadecimal;
use crate::distill::evaluate::Diverged;
use crate::distill::saved::TrainingFolder;
use crate::distill::{distill_with, SampleDraw, TrainingContext, TrainingFacts, TrainingOutcome};
use crate::error::{failure, Interrupted};
use crate::report::tuning::Tuning;

/// The outcome of an interrupted tune, as the user is told.
const SAVED: &str = "the search is saved; run the same command to resume it";
/// Shared stages that are kept; each is as large as a student.
const STAGES: usize = 6;

/// Searches, confirms the winner and writes the output folder -> the report.
///
/// `trainings` is the session of the trainings, usually a quieter one.
///
/// # Errors
/// A plan that contradicts its models or its data, before anything is trained; default settings that
/// cannot be trained; an interrupt (the journal resumes from there); a full disk.
pub fn tune(plan: &Plan, session: &Session, trainings: &Session) -> Result<Tuning> {
    let tune = Tune::prepare(plan, session, trainings)?;
    tune.log().untried_start(plan);
    tune.search().and_then(|()| Confirmation(&tune).report()).map_err(stopped)
}

/// A tune with its inputs.
pub(super) struct Tune<'a> {
    pub plan: &'a Plan,
    pub session: &'a Session,
    pub trainings: &'a Session,
    pub journal: Journal,
    pub locks: Locks,
    pub gate: Gate,
    pub facts: TrainingFacts,
    began: Instant,
    /// Logs once that the space has no further settings.
    exhausted: Once,
}

/// The next step of a process.
enum NextStep {
    /// A training that this process has locked.
    Train(Claim),
    /// Other processes are training, and the next step depends on them.
    Wait,
    Finished,
}

/// A training and its lock.
struct Claim {
    id: RunId,
    point: TrialSettings,
    constraints: Option<Constraints>,
    _lock: File,
}

impl<'a> Tune<'a> {
    fn prepare(plan: &'a Plan, session: &'a Session, trainings: &'a Session) -> Result<Self> {
        let CheckedPlan { facts, taught_by, mut gate } = checked(plan, trainings)?;
        if let Some(origin) = &plan.bound_origin {
            gate.origin = origin.clone();
        }
        let mut identity = plan.identity()?;
        identity["gate"] = json!({
            "kappa": gate.bound.kappa(facts.train),
            "statistic": gate.statistic.to_string(),
            "confidence": gate.kind.to_string(),
        });
        if !taught_by.is_empty() {
            identity["learn_from"] = json!(taught_by);
        }
        let parts = serde_json::to_vec(&(&facts.fingerprint, &identity))?;
        let fingerprint = hexadecimal(&Sha256::digest(parts));
        let warm = || match &plan.warm_start {
            Some((_, path)) => {
                let kappa = gate.bound.kappa(facts.train);
                WarmStart::read(path, plan, &identity, &facts.compared, kappa).map(Some)
            }
            None => Ok(None),
        };
        let compared = facts.compared.clone();
        let head = JournalHead { fingerprint, plan: identity.clone(), compared };
        let journal = Journal::open(&plan.output, head, warm)?;
        let locks = Locks::open(&plan.output)?;
        let (began, exhausted) = (Instant::now(), Once::new());
        Ok(Tune { plan, session, trainings, journal, locks, gate, facts, began, exhausted })
    }

    /// Trains until all trainings are over.
    fn search(&self) -> Result<()> {
        let mut waits = false;
        loop {
            match self.next()? {
                NextStep::Train(claim) => self.train(claim)?,
                NextStep::Finished => return Ok(()),
                NextStep::Wait => {
                    if !std::mem::replace(&mut waits, true) {
                        self.session.progress.message("waiting for trainings of other processes");
                    }
                    self.session.interrupt.check(|| "waiting for other processes".to_owned())?;
                    std::thread::sleep(POLL);
                }
            }
        }
    }

    /// κ.
    pub fn kappa(&self) -> f64 {
        self.gate.bound.kappa(self.facts.train)
    }

    pub fn folder(&self, id: RunId) -> PathBuf {
        self.runs_folder().join(id.to_string())
    }

    /// The students, until the tune is over.
    pub fn runs_folder(&self) -> PathBuf {
        self.plan.output.join("runs")
    }

    /// Finished stages and teacher states that trainings share.
    pub fn shared_folder(&self) -> PathBuf {
        self.plan.output.join("shared")
    }

    /// The constraints; `None` until the accuracy to compare with is known.
    ///
    /// # Errors
    /// Default settings that cannot be trained.
    pub fn constraints(&self, runs: &TrainingRuns) -> Result<Option<Constraints>> {
        let default = match runs.find(RunId::trial(1)).and_then(|run| run.end.as_ref()) {
            None => return Ok(None),
            Some(RunOutcome::Finished(default)) => default,
            Some(RunOutcome::Failed { error }) => bail!(failure!(
                "the default settings cannot be trained: {error}"
            )
            .hint("every trial is compared with them: use other defaults, and another --output")),
            Some(RunOutcome::Stopped { .. }) => bail!("the default settings were stopped early"),
        };
        let reference = match self.plan.reference {
            Reference::Accuracy(accuracy) => AccuracyReference::number(accuracy),
            Reference::Model(ReferenceModel::Teacher) => {
                AccuracyReference::mean(&[&default.teacher_seen])?
            }
            Reference::Model(ReferenceModel::Default) => match self.default_answers(runs) {
                None => return Ok(None),
                Some(answers) => AccuracyReference::mean(&answers)?,
            },
        };
        let finished = students(runs).map(|(_, student)| student);
        Ok(Some(Constraints::new(self.plan, self.kappa(), reference, finished)))
    }

    /// The answers of the default settings on the seen part, for each seed that could be trained; `None`
    /// until every seed is over.
    fn default_answers<'r>(&self, runs: &'r TrainingRuns) -> Option<Vec<&'r Answers>> {
        let rule = self.rule();
        let finished = rule.finished(runs, 1).into_iter().map(|(_, _, student)| &student.seen);
        rule.is_over(runs, 1).then(|| finished.collect())
    }

    /// How finalists are confirmed.
    pub fn rule(&self) -> ConfirmationRule {
        let (seed, count) = (self.plan.seed, self.plan.further_seeds);
        let further_seeds = (1..=count).map(|i| seed.wrapping_add(i)).collect();
        ConfirmationRule { finalists: self.plan.confirm, seed, further_seeds }
    }

    /// A training whose process died, the default settings with another seed, the next trial, or a
    /// finalist with another seed.
    fn next(&self) -> Result<NextStep> {
        let mut locked = self.journal.lock()?;
        let constraints = self.constraints(&locked.runs)?;
        let mut running = Vec::new();
        for run in locked.runs.all.iter().filter(|run| run.end.is_none()) {
            match self.locks.run(run.id)? {
                None => running.push(run.id),
                Some(lock) => {
                    let (id, point) = (run.id, run.point.clone());
                    return Ok(NextStep::Train(Claim { id, point, constraints, _lock: lock }));
                }
            }
        }
        let next = match self.next_reference(&locked.runs) {
            Some(reference) => Some(reference),
            None => self.next_trial(&locked.runs, constraints.as_ref())?,
        };
        let next = match next {
            // The finalists are known when every trial is over.
            None if running.iter().any(|id| id.seed.is_none()) => return Ok(NextStep::Wait),
            None => self.next_finalist(&locked.runs, constraints.as_ref()),
            next => next,
        };
        match next {
            Some((id, point)) => {
                let lock = self.locks.run(id)?.ok_or_else(|| anyhow!("{id} is locked"))?;
                locked.begin(id, &point)?;
                Ok(NextStep::Train(Claim { id, point, constraints, _lock: lock }))
            }
            None if running.is_empty() => Ok(NextStep::Finished),
            None => Ok(NextStep::Wait),
        }
    }

    /// The next trial, if there is one.
    fn next_trial(
        &self,
        runs: &TrainingRuns,
        constraints: Option<&Constraints>,
    ) -> Result<Option<(RunId, TrialSettings)>> {
        let number = runs.trials().count() + 1;
        let in_time = self.plan.time.is_none_or(|time| self.began.elapsed() < time);
        if number > self.plan.trials || !(in_time || number == 1) {
            return Ok(None);
        }
        let ranked = constraints.map(|constraints| ranked(runs, constraints)).unwrap_or_default();
        let begun: Vec<&TrialSettings> = runs.trials().map(|run| &run.point).collect();
        let next = propose(self.plan, number, &begun, &ranked)?;
        if next.is_none() {
            self.exhausted.call_once(|| self.log().exhausted(begun.len()));
        }
        Ok(next.map(|point| (RunId::trial(number), point)))
    }

    /// A seed that the default settings have not been trained with, once they have begun, if every
    /// trial is compared with the mean of their seeds.
    fn next_reference(&self, runs: &TrainingRuns) -> Option<(RunId, TrialSettings)> {
        let is_reference = self.plan.reference == Reference::Model(ReferenceModel::Default);
        let missing = self.rule().runs_of(1).find(|id| runs.find(*id).is_none());
        missing.filter(|_| is_reference).and_then(|id| with_settings(runs, id))
    }

    /// A seed that the default settings have not been trained with, or one of the next finalist.
    fn next_finalist(
        &self,
        runs: &TrainingRuns,
        constraints: Option<&Constraints>,
    ) -> Option<(RunId, TrialSettings)> {
        let rule = self.rule();
        let default = rule.runs_of(1).find(|id| runs.find(*id).is_none());
        let next = default.or_else(|| Finals::new(runs, constraints?, &rule).next);
        next.and_then(|id| with_settings(runs, id))
    }

    /// Trains, measures, and writes the outcome into the journal.
    fn train(&self, claim: Claim) -> Result<()> {
        let id = claim.id;
        let folder = self.folder(id);
        let resume = TrainingFolder::of(&folder).holds_state();
        if !resume && folder.exists() {
            // A student whose process was killed before it wrote the journal.
            remove(&folder)?;
        }
        let of = id.seed.is_none().then(|| self.plan.trials.max(id.trial));
        self.log().begun(id, of, &claim.point, resume);
        let end = self.trained(&claim, &folder, resume)?;
        let mut locked = self.journal.lock()?;
        locked.end(id, end)?;
        let constraints = self.constraints(&locked.runs)?;
        self.log().ended(id, &locked.runs, constraints.as_ref(), &self.rule());
        if let Some(constraints) = &constraints {
            Confirmation(self).write_so_far(&locked.runs, constraints)?;
        }
        self.tidy(&locked.runs)
    }

    /// Trains into `folder`. Settings that contradict each other or the models, or that diverge, are a
    /// failed trial; any other error ends the tune.
    fn trained(&self, claim: &Claim, folder: &Path, resume: bool) -> Result<RunOutcome> {
        let (plan, id) = (self.plan, claim.id);
        let pruner = TrialPruner {
            journal: &self.journal,
            stopping: &plan.stopping,
            // The default settings and the finalists are always trained to the end.
            constraints: claim.constraints.clone().filter(|_| id.seed.is_none() && id.trial > 1),
            gate: &self.gate,
            n: self.facts.train,
            log: self.log(),
            why: Mutex::default(),
        };
        let failed = |error: &Error| Ok(RunOutcome::Failed { error: one_line(error) });
        let recipe = match plan.recipe(&claim.point, id.seed.unwrap_or(plan.seed), folder) {
            Err(error) => return failed(&error),
            Ok(recipe) => recipe,
        };
        let sample = SampleDraw { examples: plan.stopping.sample, seed: plan.seed };
        let shared = self.shared_folder();
        let context = TrainingContext { shared: Some(&shared), callback: Some((&pruner, sample)) };
        let trained = distill_with(&recipe, resume, context, self.trainings).and_then(|outcome| {
            Ok(match outcome {
                TrainingOutcome::Trained(student) => RunOutcome::Finished(Box::new(
                    measure::finished(&student, &recipe, &self.gate, plan.recalibrate)?,
                )),
                TrainingOutcome::Stopped(course) => RunOutcome::Stopped {
                    why: pruner.reason().context("a trial was stopped without a reason")?,
                    course: trial_epochs(&course, recipe.measured_epochs()),
                    history: course,
                },
                TrainingOutcome::Refused(error) => return failed(&error),
            })
        });
        match trained {
            // A student that is right nowhere where the teacher is has no published statistic.
            Err(error) if error.is::<Diverged>() || error.is::<PairError>() => failed(&error),
            Err(error) => Err(error.context(id.to_string())),
            ended => ended,
        }
    }

    fn log(&self) -> TuneLog {
        TuneLog(self.session.progress)
    }

    /// The folder of the student of `run`. A student that was removed, because it was not
    /// among the best when the search ended with fewer trials, is trained again.
    ///
    /// # Errors
    /// A student that comes out differently, as on a machine with other arithmetic.
    pub fn student(&self, run: &TrainingRun) -> Result<PathBuf> {
        let folder = self.folder(run.id);
        let resume = TrainingFolder::of(&folder).holds_state();
        if folder.join("config.json").exists() && !resume {
            return Ok(folder);
        }
        let lock = self.locks.run(run.id)?.ok_or_else(|| anyhow!("{} is locked", run.id))?;
        let (id, point) = (run.id, run.point.clone());
        self.log().again(id);
        let claim = Claim { id, point, constraints: None, _lock: lock };
        let end = self.trained(&claim, &folder, resume)?;
        match Some(&end) == run.end.as_ref() {
            true => Ok(folder),
            false => bail!(failure!("{id} was trained again, and has other figures than before")
                .hint("tune again in another folder, on one kind of machine")),
        }
    }

    /// Removes the older shared stages and all students but those of the default, of the best trials
    /// that may become finalists, and of further seeds. Not while another process is in the finale,
    /// where it reads them.
    fn tidy(&self, runs: &TrainingRuns) -> Result<()> {
        let (Some(constraints), Some(_lock)) = (self.constraints(runs)?, self.locks.idle_finale()?)
        else {
            return Ok(());
        };
        let ranked = candidates(runs, &constraints);
        let others = || ranked.iter().filter(|candidate| candidate.trial != 1);
        let feasible = others().filter(|candidate| constraints.allows(candidate)).count();
        let best = feasible.clamp(1, self.plan.confirm);
        let kept: Vec<usize> =
            std::iter::once(1).chain(others().take(best).map(|best| best.trial)).collect();
        let over = runs.trials().filter(|run| run.end.is_some());
        for run in over.filter(|run| !kept.contains(&run.id.trial)) {
            let folder = self.folder(run.id);
            if folder.exists() {
                remove(&folder)?;
            }
        }
        self.tidy_stages();
        Ok(())
    }

    /// Removes all but the latest shared stages.
    fn tidy_stages(&self) {
        let entries = std::fs::read_dir(self.shared_folder()).into_iter().flatten().flatten();
        let stage = |entry: &std::fs::DirEntry| {
            entry.file_name().to_str().is_some_and(|name| name.starts_with("stage-"))
        };
        let dated = |entry: std::fs::DirEntry| {
            Some((entry.metadata().ok()?.modified().ok()?, entry.path()))
        };
        let mut stages: Vec<_> = entries.filter(stage).filter_map(dated).collect();
        stages.sort();
        for (_, path) in stages.iter().rev().skip(STAGES) {
            let _ = std::fs::remove_file(path); // a stage that is missing is trained again
        }
    }
}

/// `id` with the settings of its trial.
fn with_settings(runs: &TrainingRuns, id: RunId) -> Option<(RunId, TrialSettings)> {
    runs.find(RunId::trial(id.trial)).map(|trial| (id, trial.point.clone()))
}

pub(super) fn remove(folder: &Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove `{}`", folder.display()))
}

/// Adds to an interrupt that the tune can be resumed.
fn stopped(error: Error) -> Error {
    match error.downcast_ref::<Interrupted>() {
        Some(interrupted) => Interrupted { outcome: SAVED, ..interrupted.clone() }.into(),
        None => error,
    }
}

/// An error on one line, without its hint.
fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}
