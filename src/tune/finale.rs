//! The end of a tune: winner and default on data that the search did not see, the winner's
//! checkpoint, held against the bound once more as any user would, and the report.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{json, Value};
use toml::Table;

use super::importance::importance;
use super::journal::{Run, RunId, Runs};
use super::outcome::{Candidate, End, Finished, Right, Rule, Unseen};
use super::plan::{Reference, Whose};
use super::recalibrated;
use super::run::{best, finalists, remove, students, Tune};
use super::space::Point;
use super::{measure, notes};
use crate::audit::{audit, manifest, run_one, Classifier, Role};
use crate::checkpoint::{Checkpoint, NewCheckpoint};
use crate::distill::data::{cut, Splits};
use crate::distill::recipe::{HeldOut, Recipe};
use crate::distill::SplitAnswers;
use crate::error::hinted;
use crate::interrupt::Temporary;
use crate::report::schema::{ModelManifest, Outcome, TaskRow};
use crate::report::tuning::{
    self, Audited, Figures, FinalFigures, Finalist, Importance, Means, Seeded, Trial, Tuning,
    TUNING_VERSION,
};
use crate::temporary::{sync_folder, temporary_file};

/// The winning student, within the output folder.
const WINNER: &str = "winner";

/// The end of one tune.
pub(super) struct Finale<'a>(pub &'a Tune<'a>);

impl Finale<'_> {
    /// Everything that is left to do. What is written already is written again from the journal,
    /// to the same bytes.
    pub fn report(&self) -> Result<Tuning> {
        let tune = self.0;
        // Of several processes one ends the tune, and the others tell what it wrote.
        let lock = tune.locks.finale(&tune.session.interrupt)?;
        self.look_at_unseen()?;
        let runs = tune.journal.hold()?.runs;
        let rule = tune.rule(&runs)?.context("a tune without its default")?;
        let winner = best(&runs, &rule).context("a tune without a student")?;
        self.publish(&runs, &winner)?;
        let (row, models) = self.audited()?;
        let report = self.assemble(&runs, &rule, &winner, &row, models)?;
        self.write(&report, &winner, &runs)?;
        tune.locks.alone(|| {
            let mut folders = [tune.runs_folder(), tune.shared_folder()].into_iter();
            folders.try_for_each(|folder| if folder.exists() { remove(&folder) } else { Ok(()) })
        })?;
        drop(lock);
        Ok(report)
    }

    /// Runs those finalists over the unseen part that were not run there yet.
    fn look_at_unseen(&self) -> Result<()> {
        let runs = self.0.journal.hold()?.runs;
        let rule = self.0.rule(&runs)?.context("a tune without its default")?;
        let finalists = finalists(&runs, &rule);
        let pending = runs.all.iter().filter(|run| {
            finalists.contains(&run.id.trial)
                && run.unseen.is_none()
                && matches!(run.end, Some(End::Finished(_)))
        });
        for run in pending {
            let unseen = self.unseen(run)?;
            self.0.journal.hold()?.unseen(run.id, unseen)?;
        }
        Ok(())
    }

    /// One finalist on the unseen part.
    fn unseen(&self, run: &Run) -> Result<Unseen> {
        let (plan, session) = (self.0.plan, self.0.trainings);
        let folder = self.0.folder(run.id);
        let recipe = plan.recipe(&run.point, plan.seed, &folder)?;
        let settings = &recipe.settings;
        let splits = Splits::read(settings, session)?;
        let train = &splits.train;
        let validation = splits.validation.as_ref().context("no validation split")?;
        let teacher = settings.require_teacher()?;
        let mut teacher = Classifier::open(Role::Teacher, teacher, settings, &[], train, session)?;
        let names = teacher.label_names().to_vec();
        let student = folder.display().to_string();
        let mut student =
            Classifier::open(Role::Student, &student, settings, &names, train, session)?;
        let (_, rows) =
            cut(validation.examples.len(), HeldOut { share: plan.unseen, seed: plan.seed });
        let (says, _) = run_one(&mut teacher, validation, settings, session)?;
        let (answers, _) = run_one(&mut student, validation, settings, session)?;
        let said = SplitAnswers {
            labels: rows.iter().map(|&row| validation.examples[row as usize].label).collect(),
            teacher: Some(says.part(&rows)),
            student: answers.part(&rows),
        };
        let temperature = match &run.end {
            Some(End::Finished(student)) => student.recalibrated.map(|r| r.temperature),
            _ => None,
        };
        measure::unseen(&said, temperature, &self.0.gate, settings.threads)
    }

    /// The folder of the winner, unless the journal says that it stands.
    fn publish(&self, runs: &Runs, winner: &Candidate) -> Result<()> {
        let output = &self.0.plan.output;
        let from = self.0.folder(RunId::trial(winner.trial));
        let [to, new, old] = ["", ".new", ".old"].map(|end| output.join(format!("{WINNER}{end}")));
        let this = (winner.trial, winner.temperature);
        if runs.published == Some(this) && to.join("config.json").exists() {
            return Ok(());
        }
        if !from.join("config.json").exists() {
            return Err(hinted(
                format!("the student of trial {} is gone, and `{}` is not it", winner.trial, to.display()),
                "its settings are in the journal: train it again with audit distill, or tune again in \
                 another folder",
            ));
        }
        for left in [&new, &old] {
            if left.exists() {
                remove(left)?;
            }
        }
        match winner.temperature {
            None => copy_folder(&from, &new)?,
            Some(temperature) => self.fold(&from, temperature, &new)?,
        }
        let cannot = || format!("cannot write `{}`", to.display());
        if to.exists() {
            fs::rename(&to, &old).with_context(cannot)?;
        }
        fs::rename(&new, &to).and_then(|()| sync_folder(output)).with_context(cannot)?;
        self.0.journal.hold()?.publish(winner.trial, winner.temperature)?;
        if old.exists() {
            remove(&old)?;
        }
        Ok(())
    }

    /// The student in `from` with its temperature folded in. Its record keeps how it was made; bound,
    /// loss and scores are those of other weights.
    fn fold(&self, from: &Path, temperature: f64, to: &Path) -> Result<()> {
        let hub = &self.0.session.hub;
        let source = from.display().to_string();
        let checkpoint = Checkpoint::open(&source, self.0.plan.settings()?.casing, hub)?;
        let path = from.join("distillation.json");
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut record: Value = serde_json::from_str(&text)?;
        for figure in ["bound", "loss_reached", "train", "validation"] {
            record[figure] = Value::Null;
        }
        record["recalibrated"] = json!({ "temperature": temperature });
        let mut record = serde_json::to_vec_pretty(&record)?;
        record.push(b'\n');
        let new = NewCheckpoint {
            config: checkpoint.config.keys().clone(),
            tensors: recalibrated(&checkpoint.weights, temperature)?,
            tokenizer_files: checkpoint.tokenizer_files(hub)?,
            beside: vec![("distillation.json", record)],
        };
        new.write(to)
    }

    /// The written winner, audited as any user would: the row of the training set, and the models.
    fn audited(&self) -> Result<(TaskRow, Vec<ModelManifest>)> {
        let plan = self.0.plan;
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let mut settings = recipe.settings;
        settings.student = Some(plan.output.join(WINNER).display().to_string());
        let outcome = audit(&settings, self.0.trainings)?;
        let row = outcome.rows.into_iter().next().context("an audit without a row")?;
        Ok((row, outcome.models))
    }

    fn assemble(
        &self,
        runs: &Runs,
        rule: &Rule,
        winner: &Candidate,
        row: &TaskRow,
        models: Vec<ModelManifest>,
    ) -> Result<Tuning> {
        let (tune, plan) = (self.0, self.0.plan);
        let recipe = plan.recipe(&plan.defaults(), plan.seed, &plan.output)?;
        let feasible = row.verdict == Outcome::Preserved && rule.is_accurate(winner.student.seen);
        let first = runs.find(RunId::trial(1)).context("a tune without its default")?;
        let teacher = first.unseen.map(|unseen| unseen.teacher).context("no unseen part")?;
        let seen = winner.student.teacher_seen;
        let mut report = Tuning {
            schema_version: TUNING_VERSION,
            verdict: if feasible { Outcome::Preserved } else { Outcome::NotPreserved },
            exit_code: u8::from(!feasible),
            task: recipe.settings.task.name.clone(),
            statistic: tune.gate.statistic.to_string(),
            confidence: tune.gate.kind.to_string(),
            kappa: tune.kappa(),
            bound_origin: tune.gate.origin.clone(),
            n: tune.facts.train,
            reference: match plan.reference {
                Reference::Of(Whose::Default) => "default".to_owned(),
                Reference::Of(Whose::Teacher) => "teacher".to_owned(),
                Reference::Accuracy(_) => "a number".to_owned(),
            },
            reference_accuracy: rule.reference,
            epsilon: plan.epsilon,
            objective: word(&plan.objective)?,
            search: word(&plan.search)?,
            seed: plan.seed,
            seen: seen.labelled,
            unseen: teacher.labelled,
            teacher_accuracy: [seen.accuracy(), teacher.accuracy()],
            trials: trials(runs, rule)?,
            audited: Audited {
                sigma: row.gating_sigma().context("an audit without σ")?,
                preserved: row.verdict == Outcome::Preserved,
            },
            default: self.finalist(runs, 1, false)?,
            winner: self.finalist(runs, winner.trial, winner.temperature.is_some())?,
            obstacle: (!feasible).then(|| obstacle(runs, rule, winner)),
            importance: self.importance(runs),
            notes: Vec::new(),
            manifest: manifest(std::slice::from_ref(&recipe.settings), models, Vec::new()),
        };
        report.notes = notes::notes(&report, row, winner.spend.sigma);
        Ok(report)
    }

    /// Settings with every seed that they were trained with.
    fn finalist(&self, runs: &Runs, trial: usize, recalibrated: bool) -> Result<Finalist> {
        let of = runs.find(RunId::trial(trial)).context("a finalist without a trial")?;
        let ids = self.0.further_seeds().map(|seed| RunId { trial, seed: Some(seed) });
        let ids = std::iter::once(of.id).chain(ids);
        let seeds: Vec<Seeded> = ids
            .filter_map(|id| runs.find(id))
            .map(|run| Seeded {
                seed: run.id.seed.unwrap_or(self.0.plan.seed),
                error: match &run.end {
                    Some(End::Failed { error }) => Some(error.clone()),
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

    fn importance(&self, runs: &Runs) -> Vec<Importance> {
        let space = &self.0.plan.space;
        let finished: Vec<(&Run, &Finished)> = students(runs).collect();
        let points: Vec<&Point> = finished.iter().map(|(run, _)| &run.point).collect();
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

    /// The files of the output folder.
    fn write(&self, report: &Tuning, winner: &Candidate, runs: &Runs) -> Result<()> {
        let output = &self.0.plan.output;
        let mut json = Vec::new();
        tuning::write_json(report, &mut json)?;
        let mut csv = Vec::new();
        tuning::write_csv(report, &mut csv)?;
        let mut html = Vec::new();
        tuning::write_html(report, &mut html)?;
        let of = runs.find(RunId::trial(winner.trial)).context("a winner without a trial")?;
        let recipe = self.winning_recipe(of, winner, runs)?;
        for (name, bytes) in [
            ("trials.csv", csv),
            ("winner.toml", recipe.into_bytes()),
            ("tune.html", html),
            ("tune.json", json),
        ] {
            replace(output, name, &bytes)?;
        }
        Ok(())
    }

    /// The recipe that makes the winner again.
    fn winning_recipe(&self, run: &Run, winner: &Candidate, runs: &Runs) -> Result<String> {
        let plan = self.0.plan;
        let mut document = plan.document(&run.point, plan.seed)?;
        let recipe = plan.recipe(&run.point, plan.seed, &plan.output)?;
        document.remove("store");
        place(&mut document, &recipe, plan.folder());
        let spend = winner.spend;
        let mut text = format!(
            "# The winner of {} trials: sigma {:.6} on the training set, {} of {} right on the seen part\n\
             # of the validation split. `held_out` keeps the other part out of the choice of the epoch.\n\
             #\n\
             #   audit distill --config winner.toml --output student\n",
            runs.trials().count(),
            spend.sigma,
            winner.student.seen.correct,
            winner.student.seen.labelled,
        );
        if let Some(temperature) = winner.temperature {
            text += &format!(
                "#\n# The winner's logits are divided by {temperature}, which was fit on the seen part; what this\n\
                 # recipe makes is the student before that (sigma {:.6}).\n",
                winner.student.plain.sigma
            );
        }
        Ok(format!("{text}\n{}", toml::to_string(&document)?))
    }
}

/// Names teacher, data and base as this tune found them, whatever folder the recipe lies in: `folder`
/// is that of the recipe that was searched around.
fn place(document: &mut Table, recipe: &Recipe, folder: &Path) {
    let absolute = |path: &str| match fs::canonicalize(path) {
        Ok(path) => path.display().to_string(),
        Err(_) => path.to_owned(), // a Hub id
    };
    let settings = &recipe.settings;
    let text = |value: &str| toml::Value::String(absolute(value));
    document.insert("task".to_owned(), toml::Value::String(settings.task.name.clone()));
    if let Some(teacher) = &settings.teacher {
        document.insert("teacher".to_owned(), text(teacher));
    }
    // The files of an own task are looked for beside the recipe where no folder is named.
    let beside = document.contains_key("own_task").then(|| folder.to_owned());
    if let Some(data) = settings.data.clone().or(beside) {
        document.insert("data".to_owned(), text(&data.display().to_string()));
    }
    document.insert("max_length".to_owned(), toml::Value::Integer(settings.max_length as i64));
    if let Some(limit) = settings.limit {
        document.insert("limit".to_owned(), toml::Value::Integer(limit as i64));
    }
    if let (Some(base), Some(toml::Value::Table(student))) =
        (&recipe.student.base, document.get_mut("student"))
    {
        student.insert("base".to_owned(), text(base));
    }
}

/// `finished`, `stopped`, …: the trials as the report has them.
fn trials(runs: &Runs, rule: &Rule) -> Result<Vec<Trial>> {
    let finished: Vec<&Finished> = students(runs).map(|(_, student)| student).collect();
    runs.trials().map(|run| trial(run, rule, &finished)).collect()
}

fn trial(run: &Run, rule: &Rule, finished: &[&Finished]) -> Result<Trial> {
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
        Some(End::Finished(student)) => {
            let best = rule.candidate(run.id.trial, student);
            trial.outcome = "finished".to_owned();
            trial.figures = Some(figures(student));
            trial.feasible = rule.allows(&best);
            trial.violation = Some(rule.violation_of(&best));
            trial.pareto = !finished.iter().any(|other| dominates(other, student));
        }
        Some(End::Stopped { why, course }) => {
            trial.outcome = "stopped".to_owned();
            trial.why = Some(why.clone());
            trial.figures = course.last().map(|at| Figures {
                sigma: at.sigma,
                accuracy: at.accuracy,
                preserved: None,
                temperature: None,
                recalibrated_sigma: None,
                recalibrated_preserved: None,
                train_accuracy: None,
                epochs: None,
                cost: None,
                parameters: None,
            });
        }
        Some(End::Failed { error }) => {
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

fn final_figures(run: &Run, recalibrated: bool) -> Option<FinalFigures> {
    let (Some(End::Finished(student)), Some(unseen)) = (&run.end, run.unseen) else { return None };
    let folded = student.recalibrated.filter(|_| recalibrated);
    let spend = folded.map_or(student.plain, |folded| folded.spend);
    let Right { correct, .. } = unseen.student;
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

/// What stood in the way of a student that keeps both constraints.
fn obstacle(runs: &Runs, rule: &Rule, nearest: &Candidate) -> String {
    let all: Vec<Candidate> =
        students(runs).flat_map(|(run, student)| student.candidates(run.id.trial)).collect();
    let least = all.iter().map(|c| c.spend.sigma).fold(f64::INFINITY, f64::min);
    let preserved: Vec<&Candidate> = all.iter().filter(|c| c.spend.preserved).collect();
    let violation = rule.violation_of(nearest);
    let nearest = format!(
        "trial {} comes nearest (σ {:.4}, accuracy {:.4}, violation {violation:.4})",
        nearest.trial,
        nearest.spend.sigma,
        nearest.student.seen.accuracy()
    );
    let least_accuracy = rule.least_accuracy();
    match preserved.iter().map(|c| c.student.seen.accuracy()).reduce(f64::max) {
        None => {
            format!("σ: the least of any trial is {least:.4}, and κ is {}; {nearest}", rule.kappa)
        }
        Some(accuracy) if accuracy < least_accuracy => format!(
            "accuracy: the students whose σ is within κ have at most {accuracy:.4}, and \
             {least_accuracy:.4} is asked for; {nearest}"
        ),
        Some(_) => format!("the audit of the written checkpoint; {nearest}"),
    }
}

fn values(point: &Point) -> Result<std::collections::BTreeMap<String, Value>> {
    point.iter().map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?))).collect()
}

/// The name that a variant has in a config.
fn word(value: &impl serde::Serialize) -> Result<String> {
    let value = serde_json::to_value(value)?;
    Ok(value.as_str().context("a name")?.to_owned())
}

/// The files of a folder, each on the disk when this returns.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make the folder `{}`", to.display()))?;
    let entries =
        fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read `{}`", from.display()))?;
        let target: PathBuf = to.join(entry.file_name());
        let cannot = || format!("cannot write `{}`", target.display());
        fs::copy(entry.path(), &target).with_context(cannot)?;
        fs::File::open(&target).and_then(|file| file.sync_all()).with_context(cannot)?;
    }
    Ok(())
}

/// Writes a file as a whole, in place of the one that was there.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    let cannot = || format!("cannot write `{}`", path.display());
    let file = Temporary::new(temporary_file(folder, ".tune-", ".tmp").with_context(cannot)?);
    fs::write(file.path(), bytes).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let (file, listed) = file.into_parts();
    file.persist(&path).with_context(cannot)?;
    drop(listed);
    Ok(())
}
