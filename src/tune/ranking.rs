//! The trials in their order, and the finalists: the feasible trials that are trained with further
//! seeds, the best first, until one holds with all of them.

use super::constraints::{Constraints, TrialCandidate};
use super::journal::{RunId, TrainingRun, TrainingRuns};
use super::outcome::{Finished, RunOutcome};
use super::space::TrialSettings;

/// The students that finished, by trial.
pub fn students(runs: &TrainingRuns) -> impl Iterator<Item = (&TrainingRun, &Finished)> {
    runs.trials().filter_map(|run| match &run.end {
        Some(RunOutcome::Finished(student)) => Some((run, &**student)),
        _ => None,
    })
}

/// The candidates of all finished trials, the best first.
pub fn candidates<'a>(
    runs: &'a TrainingRuns,
    constraints: &Constraints,
) -> Vec<TrialCandidate<'a>> {
    let mut all: Vec<TrialCandidate> =
        students(runs).map(|(run, student)| constraints.candidate(run.id.trial, student)).collect();
    all.sort_by(|a, b| constraints.compare(a, b));
    all
}

/// The settings of the finished trials and of those of another search, the best first: students by
/// their better candidate, then stopped trials by their last violation, then failed ones.
pub fn ranked<'a>(runs: &'a TrainingRuns, constraints: &Constraints) -> Vec<&'a TrialSettings> {
    let all = || runs.trials().chain(&runs.warm);
    let candidate = |run: &'a TrainingRun| match run.end.as_ref()? {
        RunOutcome::Finished(student) => Some((constraints.candidate(run.id.trial, student), run)),
        RunOutcome::Stopped { .. } | RunOutcome::Failed { .. } => None,
    };
    let mut finished: Vec<(TrialCandidate, &TrainingRun)> = all().filter_map(candidate).collect();
    finished.sort_by(|(a, _), (b, _)| constraints.compare(a, b));
    let violation = |run: &'a TrainingRun| match run.end.as_ref()? {
        RunOutcome::Stopped { course, .. } => {
            let far =
                course.last().map_or(f64::MAX, |at| constraints.violation(at.sigma, at.accuracy));
            Some((far, run))
        }
        RunOutcome::Failed { .. } => Some((f64::INFINITY, run)),
        RunOutcome::Finished(_) => None,
    };
    let mut others: Vec<(f64, &TrainingRun)> = all().filter_map(violation).collect();
    others.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let finished = finished.into_iter().map(|(_, run)| run);
    finished.chain(others.into_iter().map(|(_, run)| run)).map(|run| &run.point).collect()
}

/// How finalists are confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfirmationRule {
    /// Number of feasible trials that are trained with further seeds, the default settings not counted.
    pub finalists: usize,
    /// Seed of the trials.
    pub seed: u64,
    pub further_seeds: Vec<u64>,
}

/// What the further seeds of a finalist show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Every seed keeps both constraints.
    Holds,
    /// The first seed that does not, and why.
    Fails(String),
    /// Seeds are missing, and none fails so far.
    Open,
}

/// A finalist, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedFinalist<'a> {
    /// The trial, in the form that holds with every seed; else in its better form.
    pub candidate: TrialCandidate<'a>,
    pub standing: Standing,
}

/// The finalists that are confirmed, refuted, or being confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Finals<'a> {
    /// In their order; only the last one may hold or be open.
    pub checked: Vec<CheckedFinalist<'a>>,
    /// The training to begin next. None while one is open whose trainings have all begun.
    pub next: Option<RunId>,
}

impl<'a> Finals<'a> {
    /// Walks through the feasible trials. The default settings, which have all seeds in any case, are
    /// not counted. A trial beyond the number of finalists takes part only if it has all seeds already.
    pub fn new(runs: &'a TrainingRuns, constraints: &Constraints, rule: &ConfirmationRule) -> Self {
        let mut finals = Finals { checked: Vec::new(), next: None };
        let ranked = candidates(runs, constraints).into_iter();
        let mut places = rule.finalists;
        for candidate in ranked.filter(|candidate| constraints.allows(candidate)) {
            if candidate.trial != 1 {
                match places.checked_sub(1) {
                    Some(left) => places = left,
                    None if rule.is_over(runs, candidate.trial) => {}
                    None => continue,
                }
            }
            let finalist = rule.check(runs, constraints, candidate);
            let fails = matches!(finalist.standing, Standing::Fails(_));
            if finalist.standing == Standing::Open {
                let mut ids = rule.runs_of(candidate.trial);
                finals.next = ids.find(|id| runs.find(*id).is_none());
            }
            finals.checked.push(finalist);
            if !fails {
                break;
            }
        }
        finals
    }

    /// The finalist that holds or is being confirmed; else the best feasible trial that is not refuted.
    pub fn best_so_far(
        &self,
        runs: &'a TrainingRuns,
        constraints: &Constraints,
    ) -> Option<TrialCandidate<'a>> {
        let is_refuted = |trial: usize| {
            let of = self.checked.iter().find(|of| of.candidate.trial == trial);
            of.is_some_and(|of| matches!(of.standing, Standing::Fails(_)))
        };
        let next = || {
            let mut ranked = candidates(runs, constraints).into_iter();
            ranked.find(|of| constraints.allows(of) && !is_refuted(of.trial))
        };
        self.winner().or(self.open()).or_else(next)
    }

    /// The finalist whose seeds are not all over, and of which none fails so far.
    pub fn open(&self) -> Option<TrialCandidate<'a>> {
        let last = self.checked.last()?;
        (last.standing == Standing::Open).then_some(last.candidate)
    }

    /// The finalist that holds with every seed.
    pub fn winner(&self) -> Option<TrialCandidate<'a>> {
        let last = self.checked.last()?;
        (last.standing == Standing::Holds).then_some(last.candidate)
    }
}

impl ConfirmationRule {
    /// The trainings of a trial's settings: with the seed of the trials, then with the further ones.
    pub fn runs_of(&self, trial: usize) -> impl Iterator<Item = RunId> + '_ {
        let further = self.further_seeds.iter();
        let further = further.map(move |seed| RunId { trial, seed: Some(*seed) });
        std::iter::once(RunId::trial(trial)).chain(further)
    }

    /// Whether a trial's settings were trained with every seed.
    pub fn is_over(&self, runs: &TrainingRuns, trial: usize) -> bool {
        self.runs_of(trial).all(|id| runs.find(id).is_some_and(|run| run.end.is_some()))
    }

    /// The trainings of a trial's settings that finished, each with its seed.
    pub fn finished<'r>(
        &self,
        runs: &'r TrainingRuns,
        trial: usize,
    ) -> Vec<(u64, &'r TrainingRun, &'r Finished)> {
        let finished = |id: RunId| match runs.find(id)? {
            run @ TrainingRun { end: Some(RunOutcome::Finished(student)), .. } => {
                Some((id.seed.unwrap_or(self.seed), run, &**student))
            }
            _ => None,
        };
        self.runs_of(trial).filter_map(finished).collect()
    }

    fn check<'a>(
        &self,
        runs: &TrainingRuns,
        constraints: &Constraints,
        candidate: TrialCandidate<'a>,
    ) -> CheckedFinalist<'a> {
        let known: Vec<&TrainingRun> =
            self.runs_of(candidate.trial).filter_map(|id| runs.find(id)).collect();
        let failure = |form: &TrialCandidate| {
            known.iter().find_map(|run| self.failure(run, constraints, form.temperature.is_some()))
        };
        let Some(why) = failure(&candidate) else {
            let all = known.len() == 1 + self.further_seeds.len();
            let holds = all && known.iter().all(|run| run.end.is_some());
            let standing = if holds { Standing::Holds } else { Standing::Open };
            return CheckedFinalist { candidate, standing };
        };
        // Where a seed needs its temperature, all seeds may hold with theirs.
        let mut forms = constraints.candidates(candidate.trial, candidate.student).into_iter();
        let other =
            forms.find(|form| form.temperature.is_some() && candidate.temperature.is_none());
        match other.filter(|form| failure(form).is_none()) {
            Some(form) => self.check(runs, constraints, form),
            None => CheckedFinalist { candidate, standing: Standing::Fails(why) },
        }
    }

    /// Why the student of `run` breaks a constraint, with its temperature if `recalibrated`.
    fn failure(
        &self,
        run: &TrainingRun,
        constraints: &Constraints,
        recalibrated: bool,
    ) -> Option<String> {
        let seed = run.id.seed.unwrap_or(self.seed);
        let student = match run.end.as_ref()? {
            RunOutcome::Finished(student) => student,
            RunOutcome::Failed { error: why } | RunOutcome::Stopped { why, .. } => {
                return Some(format!("seed {seed} could not be trained: {why}"))
            }
        };
        let form = match recalibrated {
            true => student.recalibrated()?,
            false => student.plain(),
        };
        let shortfall = constraints.shortfall(&student.seen);
        if !form.spend.preserved {
            let with = form.temperature.map(|t| format!(" with τ {t:.3}")).unwrap_or_default();
            let (sigma, kappa) = (form.spend.sigma, constraints.kappa);
            return Some(format!("seed {seed}: σ {sigma:.6} > κ {kappa}{with}"));
        }
        let (accuracy, least) = (student.seen.accuracy(), constraints.least_accuracy());
        (shortfall > 0.0).then(|| match constraints.test(&student.seen) {
            Some(test) if accuracy >= least => format!(
                "seed {seed}: accuracy {accuracy:.4} is not shown to lose at most ε: the lower limit \
                 of the difference is {:.4}",
                test.lower
            ),
            _ => format!("seed {seed}: accuracy {accuracy:.4} < {least:.4}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tune::constraints::tests::{constraints, finished, recalibrated_to};
    use crate::tune::plan::TuneObjective;

    /// The runs of trials with these students, each of them for the seeds 0, 1, 2, ….
    fn runs(trials: &[&[Finished]]) -> TrainingRuns {
        let mut all = Vec::new();
        for (i, students) in trials.iter().enumerate() {
            for (seed, student) in students.iter().enumerate() {
                let seed = (seed > 0).then_some(seed as u64);
                let id = RunId { trial: i + 1, seed };
                let end = Some(RunOutcome::Finished(Box::new(student.clone())));
                all.push(TrainingRun { id, point: TrialSettings::new(), end, unseen: None });
            }
        }
        TrainingRuns { all, ..TrainingRuns::default() }
    }

    fn rule() -> ConfirmationRule {
        ConfirmationRule { finalists: 3, seed: 0, further_seeds: vec![1, 2] }
    }

    fn trials(finals: &Finals) -> Vec<usize> {
        finals.checked.iter().map(|finalist| finalist.candidate.trial).collect()
    }

    fn further(trial: usize, seed: u64) -> Option<RunId> {
        Some(RunId { trial, seed: Some(seed) })
    }

    /// Good: σ 0.04. Bad: σ 0.06.
    fn good(correct: usize) -> Finished {
        finished(0.04, correct, 1)
    }

    fn bad(correct: usize) -> Finished {
        finished(0.06, correct, 1)
    }

    #[test]
    fn the_first_finalist_that_holds_with_all_seeds_wins() {
        // Ranked by accuracy: 2, 4, 3; the default is not feasible.
        let constraints = constraints(TuneObjective::Accuracy);
        let (default, third, second) = (vec![bad(80); 3], vec![good(84); 3], good(86));
        let of = |two: &[Finished], four: &[Finished], three: &[Finished]| {
            let runs = runs(&[&default, two, three, four]);
            let finals = Finals::new(&runs, &constraints, &rule());
            (trials(&finals), finals.next, finals.winner().map(|winner| winner.trial))
        };
        let (one, first) = ([second.clone()], [good(90)]);
        assert_eq!(of(&first, &one, &third[..1]), (vec![2], further(2, 1), None));
        assert_eq!(of(&[good(90), good(85)], &one, &third[..1]), (vec![2], further(2, 2), None));
        // The first further seed settles it.
        let fails = [good(90), bad(90)];
        assert_eq!(of(&fails, &one, &third[..1]), (vec![2, 4], further(4, 1), None));
        let inaccurate = [second.clone(), good(80), good(78)];
        assert_eq!(of(&fails, &inaccurate, &third[..1]), (vec![2, 4, 3], further(3, 1), None));
        assert_eq!(of(&fails, &inaccurate, &third), (vec![2, 4, 3], None, Some(3)));
        let none = [good(84), good(84), bad(84)];
        assert_eq!(of(&fails, &inaccurate, &none), (vec![2, 4, 3], None, None));
    }

    #[test]
    fn the_best_so_far_is_no_refuted_trial() {
        let constraints = constraints(TuneObjective::Accuracy);
        let rule = ConfirmationRule { finalists: 1, ..rule() };
        let of = |one: &[Finished], two: &[Finished]| {
            let runs = runs(&[one, two, &[good(84)], &[bad(99)]]);
            let finals = Finals::new(&runs, &constraints, &rule);
            let best = finals.best_so_far(&runs, &constraints).map(|of| of.trial);
            (best, finals.open().map(|of| of.trial))
        };
        let fails = [good(95), bad(95)];
        assert_eq!(of(&[good(95)], &[good(90)]), (Some(1), Some(1)));
        assert_eq!(of(&fails, &[good(90)]), (Some(2), Some(2)), "being confirmed");
        assert_eq!(of(&fails, &vec![good(90); 3]), (Some(2), None), "holds");
        assert_eq!(of(&fails, &[good(90), bad(90)]), (Some(3), None), "not refuted");
        assert_eq!(of(&[bad(95)], &[bad(90)]).0, Some(3));
    }

    #[test]
    fn every_finalist_that_fails_says_why() {
        let constraints = constraints(TuneObjective::Accuracy);
        let runs = runs(&[&[good(90), bad(90)], &[good(85), good(70)], &vec![good(84); 3]]);
        let finals = Finals::new(&runs, &constraints, &rule());
        let why = |i: usize| match &finals.checked[i].standing {
            Standing::Fails(why) => why.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(why(0), "seed 1: σ 0.060000 > κ 0.05");
        assert_eq!(why(1), "seed 1: accuracy 0.7000 < 0.7900");
        assert_eq!(finals.checked[2].standing, Standing::Holds);
        let mut failed = runs.clone();
        failed.all[1].end = Some(RunOutcome::Failed { error: "it diverged".to_owned() });
        let finals = Finals::new(&failed, &constraints, &rule());
        let Standing::Fails(why) = &finals.checked[0].standing else { panic!("{finals:?}") };
        assert_eq!(why, "seed 1 could not be trained: it diverged");
    }

    #[test]
    fn no_more_than_the_finalists_are_trained_again_but_the_default_takes_part() {
        let constraints = constraints(TuneObjective::Accuracy);
        let fails = |correct| vec![good(correct), bad(correct)];
        let rest: Vec<Vec<Finished>> = (0..3).map(|i| fails(90 - i)).collect();
        let of = |default: &[Finished]| {
            let runs = runs(&[default, &rest[0], &rest[1], &rest[2], &[good(85)]]);
            let finals = Finals::new(&runs, &constraints, &rule());
            (trials(&finals), finals.next, finals.winner().map(|winner| winner.trial))
        };
        let default = vec![good(80); 3];
        assert_eq!(of(&[bad(80)]), (vec![2, 3, 4], None, None), "5 is the fourth");
        assert_eq!(of(&default), (vec![2, 3, 4, 1], None, Some(1)));
    }

    #[test]
    fn a_default_that_fails_takes_no_place_of_a_finalist() {
        let constraints = constraints(TuneObjective::Accuracy);
        let rule = ConfirmationRule { finalists: 1, ..rule() };
        let default = vec![good(95), bad(95), good(95)];
        let of = |second: &[Finished], third: &[Finished]| {
            let runs = runs(&[&default, second, third]);
            let finals = Finals::new(&runs, &constraints, &rule);
            (trials(&finals), finals.next, finals.winner().map(|winner| winner.trial))
        };
        let one = [good(85)];
        assert_eq!(of(&[good(90)], &one), (vec![1, 2], further(2, 1), None));
        assert_eq!(of(&[good(90), bad(90)], &one), (vec![1, 2], None, None), "a place of one");
        // One that has its seeds from an earlier confirmation takes part beyond the places.
        let third = vec![good(85); 3];
        assert_eq!(of(&[good(90), bad(90)], &third), (vec![1, 2, 3], None, Some(3)));
    }

    #[test]
    fn without_further_seeds_the_best_trial_wins() {
        let rule = ConfirmationRule { further_seeds: Vec::new(), ..rule() };
        let runs = runs(&[&[good(80)], &[good(90)]]);
        let finals = Finals::new(&runs, &constraints(TuneObjective::Accuracy), &rule);
        assert_eq!((finals.winner().map(|winner| winner.trial), finals.next), (Some(2), None));
    }

    #[test]
    fn all_seeds_may_hold_with_their_temperatures() {
        let constraints = constraints(TuneObjective::Accuracy);
        let with = |student: Finished, sigma| recalibrated_to(student, sigma);
        let mut seeds = vec![with(good(90), 0.03), with(bad(90), 0.04)];
        let after = |seeds: &[Finished]| {
            let runs = runs(&[seeds]);
            let finals = Finals::new(&runs, &constraints, &rule());
            let winner = finals.winner().map(|winner| winner.temperature.is_some());
            (finals.checked[0].standing.clone(), winner)
        };
        assert_eq!(after(&seeds), (Standing::Open, None));
        seeds.push(with(good(90), 0.045));
        assert_eq!(after(&seeds), (Standing::Holds, Some(true)));
        seeds[2] = with(good(90), 0.07);
        assert!(matches!(after(&seeds).0, Standing::Fails(why) if why.starts_with("seed 1: ")));
        seeds[1] = with(good(90), 0.03);
        assert_eq!(after(&seeds), (Standing::Holds, Some(false)), "no seed needs one");
    }
}
