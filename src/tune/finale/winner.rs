//! The winner's checkpoint, and the recipe that reproduces it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{json, Value};
use toml::Table;

use crate::checkpoint::{Checkpoint, NewCheckpoint};
use crate::confidence::Statistic;
use crate::config::Layer;
use crate::distill::methods::MethodInputs;
use crate::distill::recipe::{resolved, Recipe};
use crate::model::Head;
use crate::recalibration::recalibrated;
use crate::temporary::sync_folder;
use crate::tune::constraints::{Constraints, TrialCandidate};
use crate::tune::journal::{RunId, TrainingRun, TrainingRuns};
use crate::tune::ranking::Finals;
use crate::tune::run::remove;

use super::Confirmation;

/// The winner's folder, in the output folder.
pub(super) const WINNER: &str = "winner";

impl Confirmation<'_> {
    /// Writes the winner's folder, unless the journal has it as written.
    pub(super) fn publish(&self, runs: &TrainingRuns, winner: &TrialCandidate) -> Result<()> {
        let output = &self.0.plan.output;
        let [to, new, old] = ["", ".new", ".old"].map(|end| output.join(format!("{WINNER}{end}")));
        let this = (winner.trial, winner.temperature);
        if runs.published == Some(this) && to.join("config.json").exists() {
            return Ok(());
        }
        let run = runs.find(RunId::trial(winner.trial)).context("a winner without a trial")?;
        let from = self.0.student(run)?;
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
        self.0.journal.lock()?.publish(winner.trial, winner.temperature)?;
        if old.exists() {
            remove(&old)?;
        }
        Ok(())
    }

    /// Writes the student in `from` with its temperature folded in. Bound, loss and scores are removed
    /// from its record, because they are of other weights.
    fn fold(&self, from: &Path, temperature: f64, to: &Path) -> Result<()> {
        let hub = &self.0.session.hub;
        let source = from.display().to_string();
        let mut checkpoint = Checkpoint::open(&source, self.0.plan.settings()?.casing, hub)?;
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
            tensors: recalibrated(checkpoint.network.weights_mut()?, temperature)?,
            tokenizer_files: checkpoint.tokenizer_files(hub)?,
            extra_files: vec![("distillation.json", record)],
        };
        new.write(to)
    }

    /// The recipe that reproduces the winner.
    pub(super) fn winning_recipe(
        &self,
        run: &TrainingRun,
        winner: &TrialCandidate,
        runs: &TrainingRuns,
        constraints: &Constraints,
    ) -> Result<String> {
        let plan = self.0.plan;
        let mut document = plan.document(&run.point, plan.seed)?;
        let recipe = plan.recipe(&run.point, plan.seed, &plan.output)?;
        let flags = &plan.flags().settings;
        make_portable(&mut document, &recipe, plan.folder(), flags)?;
        if let Some(kappa) = recipe.kappa(self.0.facts.train) {
            document.insert("kappa".to_owned(), toml::Value::Float(kappa));
        }
        if let Some((statistic, confidence)) = recipe.sigma_of_keep() {
            // In the tune they are those of the search.
            let mut insert = |key: &str, value: &str| {
                document.insert(key.to_owned(), toml::Value::String(value.to_owned()));
            };
            insert("statistic", statistic.as_str());
            if statistic != Statistic::Published {
                insert("confidence", confidence.as_str());
            }
        }
        // A recipe has no key for the casing of a vocab.txt.
        let casing = match flags {
            Layer { cased: true, .. } => " --cased",
            Layer { uncased: true, .. } => " --uncased",
            _ => "",
        };
        let spend = winner.spend;
        let finals = Finals::new(runs, constraints, &self.0.rule());
        let unconfirmed = !finals.checked.is_empty() && finals.winner().is_none();
        let mut text = String::new();
        if unconfirmed {
            text += "# NOT CONFIRMED: with another seed these settings break a constraint, as those of every\n\
                     # finalist do.\n#\n";
        }
        text += &format!(
            "# The winner of {} trials: sigma {:.6} on the training set, {} of {} right on the seen part\n\
             # of the validation split. `held_out` keeps the other part out of the choice of the epoch.\n\
             #\n\
             #   audit distill --config winner.toml --output student{casing}\n",
            runs.trials().count(),
            spend.sigma,
            winner.student.seen.correct(),
            winner.student.seen.labelled(),
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

/// Makes the paths of models and files absolute, and adds the values of flags; `folder` is the folder
/// of the tune's recipe.
fn make_portable(
    document: &mut Table,
    recipe: &Recipe,
    folder: &Path,
    flags: &Layer,
) -> Result<()> {
    let absolute = |path: &str| match fs::canonicalize(path) {
        Ok(path) => path.display().to_string(),
        Err(_) => path.to_owned(), // a Hub id
    };
    let settings = &recipe.settings;
    let text = |value: &str| toml::Value::String(absolute(value));
    document.insert("task".to_owned(), toml::Value::String(settings.task.name.clone()));
    // A flag may replace the recipe's teacher by one of the other kind.
    for key in ["teacher", "teacher_predictions"] {
        document.remove(key);
    }
    if let Some(teacher) = &settings.teacher {
        document.insert("teacher".to_owned(), text(teacher));
    }
    if let Some(tables) = &recipe.teacher_predictions {
        let tables = tables.clone().map(absolute_pattern);
        document.insert("teacher_predictions".to_owned(), toml::Value::try_from(tables)?);
    }
    // By default the files of an own task are in the recipe's folder.
    let own = document.get("own_task").and_then(toml::Value::as_table);
    let default = own.filter(|own| !own.contains_key("dataset")).map(|_| folder.to_owned());
    if let Some(data) = settings.data.clone().or(default) {
        document.insert("data".to_owned(), text(&data.display().to_string()));
    }
    let Layer { limit, allow_skipped, label_map, teacher_head, max_length, .. } = flags;
    let given = [
        ("limit", json!(limit)),
        ("allow_skipped", json!(allow_skipped)),
        ("label_map", json!(label_map)),
        ("teacher_head", json!(teacher_head.map(Head::as_str))),
        ("max_length", json!(max_length)),
    ];
    for (key, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
        document.insert(key.to_owned(), toml::Value::try_from(value)?);
    }
    if let (Some(base), Some(toml::Value::Table(student))) =
        (&recipe.student.base, document.get_mut("student"))
    {
        student.insert("base".to_owned(), text(base));
    }
    match &recipe.learn_from {
        Some(other) => document.insert("learn_from".to_owned(), text(other)),
        None => document.remove("learn_from"), // the teacher itself
    };
    if let Some(file) = &recipe.augmented {
        document.insert("augmented".to_owned(), text(&file.display().to_string()));
    }
    let MethodInputs { masked_lm, corpus, index } = &recipe.inputs;
    let inputs: Vec<&String> = [masked_lm, corpus, index].into_iter().flatten().collect();
    let place = |value: &mut String| {
        let path = resolved(folder, value).display().to_string();
        if inputs.contains(&&path) {
            *value = absolute(&path);
        }
    };
    if let Some(own) = document.get_mut(recipe.method.name) {
        for_each_string(own, &place);
    }
    Ok(())
}

/// A path or a pattern of files, which cannot be canonical, as an absolute path.
fn absolute_pattern(path: &str) -> String {
    std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// Calls `change` on the strings of `value` and of the tables in it.
fn for_each_string(value: &mut toml::Value, change: &impl Fn(&mut String)) {
    match value {
        toml::Value::String(text) => change(text),
        toml::Value::Table(table) => {
            table.iter_mut().for_each(|(_, value)| for_each_string(value, change));
        }
        _ => {}
    }
}

/// Copies the files of a folder and flushes them to the disk.
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
