//! Log lines of a tune: when a training starts, at the epochs of its last stage, and when it ends,
//! with the best so far.

use super::journal::{RunId, TrainingRuns};
use super::outcome::{Candidate, Constraints, RunOutcome, TrialEpoch};
use super::run::best;
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

    /// An epoch of the last stage ended.
    pub fn epoch(&self, now: &TrialEpoch) {
        self.0.message(&format!(
            "  {:.0} % of the last stage: σ {:.4} on the sample, accuracy {:.4}",
            100.0 * now.share,
            now.sigma,
            now.accuracy
        ));
    }

    /// The space has no further settings.
    pub fn exhausted(&self, tried: usize) {
        self.0.message(&format!("all {tried} settings of the space were tried"));
    }

    /// A training ended.
    pub fn ended(&self, id: RunId, runs: &TrainingRuns, constraints: Option<&Constraints>) {
        match runs.find(id).and_then(|run| run.end.as_ref()) {
            None => {}
            Some(RunOutcome::Finished(student)) => {
                let candidates: Vec<_> = student.candidates(id.trial).map(|c| shown(&c)).collect();
                self.0.message(&format!("  {}", candidates.join("; ")));
            }
            Some(RunOutcome::Stopped { why, .. }) => {
                self.0.message(&format!("  stopped early: {why}"))
            }
            Some(RunOutcome::Failed { error }) => self.0.message(&format!("  failed: {error}")),
        }
        let best = constraints
            .filter(|_| id.seed.is_none())
            .and_then(|constraints| Some((constraints, best(runs, constraints)?)));
        if let Some((constraints, best)) = best {
            let what = match constraints.allows(&best) {
                true => "best so far".to_owned(),
                false => format!(
                    "nothing feasible so far; nearest (violation {:.3})",
                    constraints.violation_of(&best)
                ),
            };
            self.0.message(&format!("  {what}: trial-{}, {}", best.trial, shown(&best)));
        }
    }
}

/// σ and accuracy of a candidate.
fn shown(candidate: &Candidate) -> String {
    let relation = if candidate.spend.preserved { "≤" } else { ">" };
    let with = match candidate.temperature {
        Some(temperature) => format!(" with τ {temperature:.3}"),
        None => String::new(),
    };
    let accuracy = candidate.student.seen.accuracy();
    format!("σ {:.4} {relation} κ{with}, accuracy {accuracy:.4}", candidate.spend.sigma)
}
