//! A tune from its plan to its report.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::finale::Finale;
use super::journal::{Journal, Run, RunId, Runs};
use super::measure;
use super::outcome::{Candidate, End, Finished, Rule};
use super::plan::{wrong, Plan};
use super::search::propose;
use super::space::Point;
use super::watch::{standings, Watcher};
use crate::audit::{Gate, Session};
use crate::digest::hexadecimal;
use crate::distill::saved::TrainingFolder;
use crate::distill::trainer::Diverged;
use crate::distill::{check, distill_among, Among, Facts, Outcome, Sample};
use crate::error::{hinted, usage};
use crate::interrupt::Interrupted;
use crate::report::tuning::Tuning;

/// What becomes of a tune that is stopped.
const SAVED: &str = "the tune is saved; the same command goes on with it";
/// How often a process looks whether the others are done.
const LOOK: Duration = Duration::from_millis(200);

/// Searches, confirms, and writes the output folder; the report of it.
///
/// `trainings` is the session that the trainings get: usually a quieter one.
///
/// # Errors
/// A plan that its models or its data contradict, before anything is trained; a default that cannot
/// be trained; an interrupt (the journal goes on from there); a full disk.
pub fn tune(plan: &Plan, session: &Session, trainings: &Session) -> Result<Tuning> {
    let tune = Tune::prepare(plan, session, trainings)?;
    tune.search()?;
    Finale::of(&tune).report()
}

/// A tune under way.
pub(super) struct Tune<'a> {
    pub plan: &'a Plan,
    pub session: &'a Session,
    pub trainings: &'a Session,
    pub journal: Journal,
    pub gate: Gate,
    pub facts: Facts,
    began: Instant,
}

/// What a process does next.
enum Next {
    /// A training, which no other process touches while the lock is held.
    Train(Claim),
    /// Others are training; what comes next depends on them.
    Wait,
    /// Every training is over.
    Nothing,
}

/// A training of this process.
struct Claim {
    id: RunId,
    point: Point,
    rule: Option<Rule>,
    _lock: File,
}

impl<'a> Tune<'a> {
    fn prepare(plan: &'a Plan, session: &'a Session, trainings: &'a Session) -> Result<Self> {
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let facts = check(&recipe, trainings)?;
        match facts.validation {
            None => bail!(usage(format!(
                "`{}` has no validation split, and students are compared by their accuracy there\n  \
                 hint: name one in the task's `splits`",
                recipe.settings.task.name
            ))),
            Some((_, 0)) => bail!(usage(format!(
                "the validation split of `{}` has no labels, and students are compared by their \
                 accuracy there\n  hint: name one that has",
                recipe.settings.task.name
            ))),
            Some(_) => {}
        }
        for (name, point) in plan.corners().into_iter().filter(|(name, _)| shapes(name)) {
            let recipe = plan.recipe(&point, plan.seed, &plan.output)?;
            check(&recipe, trainings).map_err(|error| wrong(name, &point, &error))?;
        }
        let mut gate = Gate::new(&recipe.settings, None, facts.train)?;
        if let Some(origin) = &plan.bound_origin {
            gate.origin = origin.clone();
        }
        let mut identity = plan.identity()?;
        let bound = json!({
            "kappa": gate.bound.kappa(facts.train),
            "statistic": gate.statistic.to_string(),
            "confidence": gate.kind.to_string(),
        });
        identity["gate"] = bound;
        let parts = serde_json::to_vec(&(&facts.fingerprint, &identity))?;
        let fingerprint = hexadecimal(&Sha256::digest(parts));
        let journal = Journal::open(&plan.output, &fingerprint, identity)?;
        Ok(Tune { plan, session, trainings, journal, gate, facts, began: Instant::now() })
    }

    /// Trains until there is nothing left to train.
    fn search(&self) -> Result<()> {
        let mut waits = false;
        loop {
            match self.next()? {
                Next::Train(claim) => self.train(claim)?,
                Next::Nothing => return Ok(()),
                Next::Wait => {
                    if !std::mem::replace(&mut waits, true) {
                        self.session.progress.message("waiting for trainings of other processes");
                    }
                    self.session.interrupt.check(|| "waiting for other processes".to_owned())?;
                    std::thread::sleep(LOOK);
                }
            }
        }
    }

    /// κ.
    pub fn kappa(&self) -> f64 {
        self.gate.bound.kappa(self.facts.train)
    }

    /// The folder of a run.
    pub fn folder(&self, id: RunId) -> PathBuf {
        self.runs_folder().join(id.to_string())
    }

    /// Where students lie until the tune is over.
    pub fn runs_folder(&self) -> PathBuf {
        self.plan.output.join("runs")
    }

    /// What the trainings share.
    pub fn shared_folder(&self) -> PathBuf {
        self.plan.output.join("shared")
    }

    /// The lock of a run; `None` while another process trains it.
    fn lock(&self, id: RunId) -> Result<Option<File>> {
        let folder = self.runs_folder();
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let path = folder.join(format!("{id}.lock"));
        let file =
            File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        Ok(file.try_lock().is_ok().then_some(file))
    }

    /// The constraints, once the default settings are measured.
    ///
    /// # Errors
    /// Default settings that cannot be trained.
    pub fn rule(&self, runs: &Runs) -> Result<Option<Rule>> {
        match runs.find(RunId::trial(1)).and_then(|run| run.end.as_ref()) {
            None => Ok(None),
            Some(End::Finished(default)) => Ok(Some(Rule::new(self.plan, self.kappa(), default))),
            Some(End::Failed { error }) => Err(hinted(
                format!("the default settings cannot be trained: {error}"),
                "everything is held against them: choose other defaults, and another --output",
            )),
            Some(End::Stopped { .. }) => bail!("the default settings were given up"),
        }
    }

    fn next(&self) -> Result<Next> {
        let mut held = self.journal.hold()?;
        let rule = self.rule(&held.runs)?;
        let mut busy = false;
        for run in held.runs.0.iter().filter(|run| run.end.is_none()) {
            match self.lock(run.id)? {
                Some(lock) => {
                    let (id, point) = (run.id, run.point.clone());
                    return Ok(Next::Train(Claim { id, point, rule, _lock: lock }));
                }
                None => busy = true,
            }
        }
        let number = held.runs.trials().count() + 1;
        let in_time = self.plan.time.is_none_or(|time| self.began.elapsed() < time);
        if number <= self.plan.trials && (in_time || number == 1) {
            let ranked = rule.map(|rule| ranked(&held.runs, &rule)).unwrap_or_default();
            let begun: Vec<&Point> = held.runs.trials().map(|run| &run.point).collect();
            let next = propose(self.plan, number, &begun, &ranked)?;
            if let Some(point) = next {
                let id = RunId::trial(number);
                let lock = self.lock(id)?.ok_or_else(|| anyhow!("{id} is locked"))?;
                held.begin(id, &point)?;
                return Ok(Next::Train(Claim { id, point, rule, _lock: lock }));
            }
        }
        if busy {
            return Ok(Next::Wait);
        }
        let Some(rule) = rule else { return Ok(Next::Nothing) };
        let again = finalists(&held.runs, &rule).into_iter().flat_map(|trial| {
            self.further_seeds().map(move |seed| RunId { trial, seed: Some(seed) })
        });
        let missing = again.into_iter().find(|id| held.runs.find(*id).is_none());
        let Some(id) = missing else { return Ok(Next::Nothing) };
        let lock = self.lock(id)?.ok_or_else(|| anyhow!("{id} is locked"))?;
        let of = held.runs.find(RunId::trial(id.trial)).context("a finalist without a trial")?;
        let point = of.point.clone();
        held.begin(id, &point)?;
        Ok(Next::Train(Claim { id, point, rule: None, _lock: lock }))
    }

    /// Seeds with which finalists are trained again.
    pub fn further_seeds(&self) -> impl Iterator<Item = u64> {
        let first = self.plan.seed;
        (1..=self.plan.further_seeds).map(move |i| first.wrapping_add(i))
    }

    /// Trains, measures, and writes down what became of it.
    fn train(&self, claim: Claim) -> Result<()> {
        let Claim { id, point, rule, .. } = &claim;
        let folder = self.folder(*id);
        let recipe = self.plan.recipe(point, id.seed.unwrap_or(self.plan.seed), &folder)?;
        let resume = TrainingFolder::of(&folder).holds_state();
        if !resume && folder.exists() {
            // A student whose process was killed before it could say so.
            remove(&folder)?;
        }
        self.say_begun(*id, point, resume);
        // The default is what all is held against, and a finalist is confirmed, not searched.
        let watched = rule.filter(|_| id.seed.is_none() && id.trial > 1);
        let watcher = Watcher {
            journal: &self.journal,
            stopping: &self.plan.stopping,
            rule: watched,
            gate: &self.gate,
            n: self.facts.train,
            progress: self.session.progress,
            why: Mutex::default(),
        };
        let sample = Sample { examples: self.plan.stopping.sample, seed: self.plan.seed };
        let shared = self.shared_folder();
        let among = Among { shared: Some(&shared), watch: Some((&watcher, sample)) };
        let end = match distill_among(&recipe, resume, among, self.trainings) {
            Ok(Outcome::Trained(student)) => {
                let recalibrate = self.plan.recalibrate;
                let finished = measure::finished(&student, &recipe, &self.gate, recalibrate)?;
                End::Finished(Box::new(finished))
            }
            Ok(Outcome::Stopped(course)) => {
                let why = watcher.why.into_inner().ok().flatten();
                let why = why.unwrap_or_else(|| "it was given up".to_owned());
                let course = standings(&course, recipe.last_stage().max_epochs);
                End::Stopped { why, course }
            }
            Err(error) if error.is::<Diverged>() => End::Failed { error: one_line(&error) },
            Err(error) => return Err(stopped(error, *id)),
        };
        let mut held = self.journal.hold()?;
        held.end(*id, end)?;
        self.say_ended(*id, &held.runs)?;
        self.tidy(&held.runs)
    }

    /// Removes the students that nobody needs any more: all but the default's, the best one's, and
    /// those of further seeds.
    fn tidy(&self, runs: &Runs) -> Result<()> {
        let Some(rule) = self.rule(runs)? else { return Ok(()) };
        let kept = finalists(runs, &rule);
        let over = runs.trials().filter(|run| run.end.is_some());
        for run in over.filter(|run| !kept.contains(&run.id.trial)) {
            let folder = self.folder(run.id);
            if folder.exists() {
                remove(&folder)?;
            }
        }
        Ok(())
    }

    fn say_begun(&self, id: RunId, point: &Point, resume: bool) {
        let settings: Vec<_> = point.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let how = if resume { ", which goes on" } else { "" };
        let of = match id.seed {
            None => format!(" of {}", self.plan.trials.max(id.trial)),
            Some(_) => String::new(),
        };
        let settings = settings.join(", ");
        self.session.progress.message(&format!("{id}{of}{how}: {settings}"));
    }

    fn say_ended(&self, id: RunId, runs: &Runs) -> Result<()> {
        let end = runs.find(id).and_then(|run| run.end.as_ref()).context("a run without an end")?;
        let progress = self.session.progress;
        match end {
            End::Finished(student) => {
                let candidates = student.candidates(id.trial).map(|c| shown(&c));
                progress.message(&format!("  {}", candidates.collect::<Vec<_>>().join("; ")));
            }
            End::Stopped { why, .. } => progress.message(&format!("  given up: {why}")),
            End::Failed { error } => progress.message(&format!("  failed: {error}")),
        }
        if let (None, Some(rule)) = (id.seed, self.rule(runs)?) {
            if let Some(best) = best(runs, &rule) {
                let what = match rule.allows(&best) {
                    true => "best so far".to_owned(),
                    false => format!(
                        "nothing feasible so far; nearest (violation {:.3})",
                        rule.violation_of(&best)
                    ),
                };
                progress.message(&format!("  {what}: trial-{}, {}", best.trial, shown(&best)));
            }
        }
        Ok(())
    }
}

/// Whether a key changes what the models must agree on, so that it is tried on them beforehand.
fn shapes(name: &str) -> bool {
    ["student.", "layer_map", "method", "pkd.", "hsk.", "takd.", "compat"]
        .iter()
        .any(|shape| name.starts_with(shape))
        || name.contains(".losses.")
}

/// σ and accuracy of a candidate, for people.
fn shown(candidate: &Candidate) -> String {
    let relation = if candidate.spend.preserved { "≤" } else { ">" };
    let with = match candidate.temperature {
        Some(temperature) => format!(" with τ {temperature:.3}"),
        None => String::new(),
    };
    let accuracy = candidate.student.seen.accuracy();
    format!("σ {:.4} {relation} κ{with}, accuracy {accuracy:.4}", candidate.spend.sigma)
}

/// The students that finished, by trial.
pub(super) fn students(runs: &Runs) -> impl Iterator<Item = (&Run, &Finished)> {
    runs.trials().filter_map(|run| match &run.end {
        Some(End::Finished(student)) => Some((run, &**student)),
        _ => None,
    })
}

/// The best candidate of all trials.
pub(super) fn best<'a>(runs: &'a Runs, rule: &Rule) -> Option<Candidate<'a>> {
    rule.best(students(runs).flat_map(|(run, student)| student.candidates(run.id.trial)))
}

/// The default and the best.
pub(super) fn finalists(runs: &Runs, rule: &Rule) -> Vec<usize> {
    let mut finalists = vec![1];
    finalists.extend(best(runs, rule).map(|best| best.trial).filter(|&trial| trial != 1));
    finalists
}

/// The settings of the trials that are over, the best first: what finished by its better candidate,
/// what was given up by its violation then, what failed last.
fn ranked<'a>(runs: &'a Runs, rule: &Rule) -> Vec<&'a Point> {
    let mut finished: Vec<(Candidate, &Point)> = students(runs)
        .filter_map(|(run, s)| Some((rule.best(s.candidates(run.id.trial))?, &run.point)))
        .collect();
    finished.sort_by(|(a, _), (b, _)| rule.compare(a, b));
    let violation = |run: &'a Run| match run.end.as_ref()? {
        End::Stopped { course, .. } => {
            let far = course.last().map_or(f64::MAX, |at| rule.violation(at.sigma, at.accuracy));
            Some((far, &run.point))
        }
        End::Failed { .. } => Some((f64::INFINITY, &run.point)),
        End::Finished(_) => None,
    };
    let mut others: Vec<(f64, &Point)> = runs.trials().filter_map(violation).collect();
    others.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let finished = finished.into_iter().map(|(_, point)| point);
    finished.chain(others.into_iter().map(|(_, point)| point)).collect()
}

/// Removes a folder of this tune.
pub(super) fn remove(folder: &std::path::Path) -> Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("cannot remove `{}`", folder.display()))
}

/// What ended a training that is neither done nor hopeless.
fn stopped(error: anyhow::Error, id: RunId) -> anyhow::Error {
    match error.downcast::<Interrupted>() {
        Ok(interrupted) => Interrupted {
            what: format!("{id}, {}", interrupted.what),
            outcome: SAVED,
            ..interrupted
        }
        .into(),
        Err(error) => error.context(id.to_string()),
    }
}

/// An error on one line, without its hint.
fn one_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}
