//! The end of a tune: winner and default on data that the search did not see, the winner's
//! checkpoint, its audit, and the report.

mod figures; // the report, from the journal
mod unseen; //  the part of the validation split that the search did not see
mod winner; //  the winner's checkpoint and recipe

use anyhow::{Context, Result};

use crate::audit::audit;
use crate::report::schema::{ModelManifest, TaskRow};
use crate::report::tuning::Tuning;
use crate::report::{Format, RenderOptions};
use crate::temporary::write_whole;
use crate::tune::journal::{RunId, TrainingRun, TrainingRuns};
use crate::tune::outcome::{Candidate, Constraints, RunOutcome};
use crate::tune::run::{best, finalists, remove, Tune};

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
        let winner = best(&runs, &constraints).context("a tune without a student")?;
        self.publish(&runs, &winner)?;
        let (row, models) = self.audited()?;
        let report = self.assemble(&runs, &constraints, &winner, &row, models)?;
        self.write(&report, &winner, &runs)?;
        tune.locks.leave(|| {
            let mut folders = [tune.runs_folder(), tune.shared_folder()].into_iter();
            folders.try_for_each(|folder| if folder.exists() { remove(&folder) } else { Ok(()) })
        })?;
        drop(lock);
        Ok(report)
    }

    /// Measures the finalists on the unseen part that were not measured there yet.
    fn measure_unseen(&self, runs: &mut TrainingRuns, constraints: &Constraints) -> Result<()> {
        let finalists = finalists(runs, constraints);
        let pending = runs.all.iter_mut().filter(|run| {
            finalists.contains(&run.id.trial)
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
            self.0.journal.lock()?.unseen(run.id, unseen)?;
            run.unseen = Some(unseen);
        }
        Ok(())
    }

    /// Audits the written winner -> the row of the training set, and the models.
    fn audited(&self) -> Result<(TaskRow, Vec<ModelManifest>)> {
        let plan = self.0.plan;
        let mut settings = plan.settings()?;
        settings.student = Some(plan.output.join(WINNER).display().to_string());
        let outcome = audit(&settings, self.0.trainings)?;
        let row = outcome.rows.into_iter().next().context("an audit without a row")?;
        Ok((row, outcome.models))
    }

    /// Writes the files of the output folder.
    fn write(&self, report: &Tuning, winner: &Candidate, runs: &TrainingRuns) -> Result<()> {
        let output = &self.0.plan.output;
        let of = runs.find(RunId::trial(winner.trial)).context("a winner without a trial")?;
        let recipe = self.winning_recipe(of, winner, runs)?;
        write_whole(&output.join("winner.toml"), recipe.as_bytes())?;
        for (name, format) in Format::files() {
            let mut bytes = Vec::new();
            format.write(report, &[], &RenderOptions::default(), &mut bytes)?;
            write_whole(&output.join(name), &bytes)?;
        }
        Ok(())
    }
}
