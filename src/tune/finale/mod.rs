//! The end of a tune: finalists and default on data that the search did not see, the winner's
//! checkpoint, its audit, and the report.

mod figures; // the report, from the journal
mod unseen; //  the part of the validation split that the search did not see
mod winner; //  the winner's checkpoint and recipe

use anyhow::{Context, Result};

use crate::audit::{audit, audit_student};
use crate::distill::tables::TeacherTables;
use crate::report::tuning::Tuning;
use crate::report::{Format, RenderOptions};
use crate::temporary::write_whole;
use crate::tune::constraints::{Constraints, TrialCandidate};
use crate::tune::journal::{RunId, TrainingRun, TrainingRuns};
use crate::tune::outcome::RunOutcome;
use crate::tune::ranking::{candidates, Finals};
use crate::tune::run::{remove, Tune};

use figures::WinnerAudit;
use unseen::UnseenPart;
use winner::WINNER;

/// The finale of a tune.
pub(super) struct Confirmation<'a>(pub &'a Tune<'a>);

impl Confirmation<'_> {
    /// Runs the finale. Existing files are written again from the journal, to the same bytes.
    pub fn report(&self) -> Result<Tuning> {
        let tune = self.0;
        // One process at a time; the later ones write the same.
        let lock = tune.locks.finale(&tune.session.interrupt)?;
        // Trials that other processes add from now on are left to them.
        let mut runs = tune.journal.lock()?.runs;
        let constraints = tune.constraints(&runs)?.context("a tune without its default")?;
        self.measure_unseen(&mut runs, &constraints)?;
        let winner = self.winner(&runs, &constraints).context("a tune without a student")?;
        self.publish(&runs, &winner)?;
        let audit = self.audited()?;
        let report = self.assemble(&runs, &constraints, &winner, Some(&audit))?;
        self.write(&report, &winner, &runs, &constraints)?;
        tune.locks.leave(|| {
            let mut folders = [tune.runs_folder(), tune.shared_folder()].into_iter();
            folders.try_for_each(|folder| if folder.exists() { remove(&folder) } else { Ok(()) })
        })?;
        drop(lock);
        Ok(report)
    }

    /// The finalist that holds with every seed; else the best finalist, else the trial with the smallest
    /// violation.
    fn winner<'a>(
        &self,
        runs: &'a TrainingRuns,
        constraints: &Constraints,
    ) -> Option<TrialCandidate<'a>> {
        let finals = Finals::new(runs, constraints, &self.0.rule());
        let first = finals.checked.first().map(|finalist| finalist.candidate);
        let best = || candidates(runs, constraints).into_iter().next();
        finals.winner().or(first).or_else(best)
    }

    /// Measures default, finalists and winner on the unseen part that were not measured there yet.
    fn measure_unseen(&self, runs: &mut TrainingRuns, constraints: &Constraints) -> Result<()> {
        let finals = Finals::new(runs, constraints, &self.0.rule());
        let checked = finals.checked.iter().map(|finalist| finalist.candidate);
        let winner = self.winner(runs, constraints);
        let trials: Vec<usize> = checked.chain(winner).map(|of| of.trial).chain([1]).collect();
        let pending = runs.all.iter_mut().filter(|run| {
            trials.contains(&run.id.trial)
                && run.unseen.is_none()
                && matches!(run.end, Some(RunOutcome::Finished(_)))
        });
        let pending: Vec<&mut TrainingRun> = pending.collect();
        if pending.is_empty() {
            return Ok(());
        }
        let part = UnseenPart::read(self.0)?;
        for run in pending {
            let unseen = part.of(run, self.0)?;
            self.0.journal.lock()?.unseen(run.id, unseen.clone())?;
            run.unseen = Some(unseen);
        }
        Ok(())
    }

    /// Writes the page and the tables of a tune that runs; `tune.json` is that of a tune that is over.
    pub fn write_so_far(&self, runs: &TrainingRuns, constraints: &Constraints) -> Result<()> {
        let finals = Finals::new(runs, constraints, &self.0.rule());
        let best = finals.best_so_far(runs, constraints);
        let Some(best) = best.or_else(|| self.winner(runs, constraints)) else { return Ok(()) };
        let report = self.assemble(runs, constraints, &best, None)?;
        self.write_formats(&report, |format| format.name != "json")
    }

    /// Audits the written winner.
    fn audited(&self) -> Result<WinnerAudit> {
        let (plan, session) = (self.0.plan, self.0.trainings);
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let mut settings = recipe.settings.clone();
        settings.student = Some(plan.output.join(WINNER).display().to_string());
        let outcome = match &recipe.teacher_predictions {
            None => audit(&settings, session)?,
            Some(paths) => {
                let (splits, tables) = TeacherTables::read(&recipe, paths, session)?;
                let teacher = tables.given_teacher(&settings.task.name);
                audit_student(teacher, splits.train, &settings, session)?
            }
        };
        let row = outcome.rows.into_iter().next().context("an audit without a row")?;
        Ok(WinnerAudit { row, models: outcome.models })
    }

    /// Writes the files of the output folder.
    fn write(
        &self,
        report: &Tuning,
        winner: &TrialCandidate,
        runs: &TrainingRuns,
        constraints: &Constraints,
    ) -> Result<()> {
        let output = &self.0.plan.output;
        let of = runs.find(RunId::trial(winner.trial)).context("a winner without a trial")?;
        let recipe = self.winning_recipe(of, winner, runs, constraints)?;
        write_whole(&output.join("winner.toml"), recipe.as_bytes())?;
        self.write_formats(report, |_| true)
    }

    /// Writes the files of the formats that `which` selects, each as a whole.
    fn write_formats(&self, report: &Tuning, which: fn(&Format<Tuning>) -> bool) -> Result<()> {
        for (name, format) in Format::files().filter(|(_, format)| which(format)) {
            let mut bytes = Vec::new();
            format.write(report, &[], &RenderOptions::default(), &mut bytes)?;
            write_whole(&self.0.plan.output.join(name), &bytes)?;
        }
        Ok(())
    }
}
