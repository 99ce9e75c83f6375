//! Log lines of a tune: when a training starts, at the epochs whose states may be kept, and when it ends,
//! with the best so far.

use super::constraints::{Constraints, TrialCandidate};
use super::journal::{RunId, TrainingRuns};
use super::outcome::{Finished, RunOutcome, StudentForm, TrialEpoch};
use super::plan::Plan;
use super::ranking::{candidates, ConfirmationRule, Finals, Standing};
use super::space::TrialSettings;
use crate::terminal::Verbosity;

/// Writes the log lines of a tune.
#[derive(Debug, Clone, Copy)]
pub struct TuneLog(pub Verbosity);

impl TuneLog {
    /// A training starts: one of `of` trials, or a finalist.
    pub fn begun(&self, id: RunId, of: Option<usize>, point: &TrialSettings, resume: bool) {
        let settings: Vec<_> = point.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let of = of.map(|trials| format!(" of {trials}")).unwrap_or_default();
        let how = if resume { ", resumed" } else { "" };
        self.0.message(&format!("{id}{of}{how}: {}", settings.join(", ")));
    }

    /// An epoch whose state may be kept ended.
    pub fn epoch(&self, now: &TrialEpoch) {
        self.0.message(&format!(
            "  {:.0} % of its epochs: σ {:.4} on the sample, accuracy {:.4}",
            100.0 * now.share,
            now.sigma,
            now.accuracy
        ));
    }

    /// Settings of `start` for which there are too few trials.
    pub fn untried_start(&self, plan: &Plan) {
        let named = plan.named_settings().len();
        if named > plan.trials - 1 {
            self.0.message(&format!(
                "`start` names more settings than there are trials for: {named} beside the defaults, \
                 and `trials` is {}. The others are tried with --trials {} or more",
                plan.trials,
                named + 1
            ));
        }
    }

    /// The space has no further settings.
    pub fn exhausted(&self, tried: usize) {
        self.0.message(&format!("all {tried} settings of the space were tried"));
    }

    /// A student that was removed is trained again.
    pub fn again(&self, id: RunId) {
        self.0.message(&format!("{id}: its student was removed, and is trained again"));
    }

    /// A training ended.
    pub fn ended(
        &self,
        id: RunId,
        runs: &TrainingRuns,
        constraints: Option<&Constraints>,
        rule: &ConfirmationRule,
    ) {
        match runs.find(id).and_then(|run| run.end.as_ref()) {
            None => {}
            Some(RunOutcome::Finished(student)) => {
                let forms: Vec<_> = student.forms().map(|form| shown(form, student)).collect();
                self.0.message(&format!("  {}", forms.join("; ")));
            }
            Some(RunOutcome::Stopped { why, .. }) => {
                self.0.message(&format!("  stopped early: {why}"))
            }
            Some(RunOutcome::Failed { error }) => self.0.message(&format!("  failed: {error}")),
        }
        match (constraints, id.seed) {
            (Some(constraints), None) => self.best(runs, constraints),
            (Some(constraints), Some(_)) => self.finalist(id, runs, constraints, rule),
            (None, _) => {}
        }
    }

    /// The best trial so far.
    fn best(&self, runs: &TrainingRuns, constraints: &Constraints) {
        let Some(best) = candidates(runs, constraints).into_iter().next() else { return };
        let what = match constraints.allows(&best) {
            true => "best so far".to_owned(),
            false => format!(
                "nothing feasible so far; nearest (violation {:.3})",
                constraints.violation_of(&best)
            ),
        };
        let TrialCandidate { trial, student, .. } = best;
        self.0.message(&format!("  {what}: trial-{trial}, {}", shown(best.form(), student)));
    }

    /// What became of a finalist by the training `id`.
    fn finalist(
        &self,
        id: RunId,
        runs: &TrainingRuns,
        constraints: &Constraints,
        rule: &ConfirmationRule,
    ) {
        if runs.trials().any(|run| run.end.is_none()) {
            return;
        }
        let finals = Finals::new(runs, constraints, rule);
        let of = finals.checked.iter().find(|finalist| finalist.candidate.trial == id.trial);
        match of.map(|finalist| &finalist.standing) {
            Some(Standing::Holds) => {
                self.0.message(&format!("  trial-{} holds with every seed", id.trial));
            }
            Some(Standing::Fails(why)) => {
                self.0.message(&format!("  trial-{} is not confirmed: {why}", id.trial));
            }
            Some(Standing::Open) | None => {}
        }
    }
}

/// σ and accuracy of a student in a form.
fn shown(form: StudentForm, student: &Finished) -> String {
    let relation = if form.spend.preserved { "≤" } else { ">" };
    let with = match form.temperature {
        Some(temperature) => format!(" with τ {temperature:.3}"),
        None => String::new(),
    };
    let accuracy = student.seen.accuracy();
    format!("σ {:.4} {relation} κ{with}, accuracy {accuracy:.4}", form.spend.sigma)
}
