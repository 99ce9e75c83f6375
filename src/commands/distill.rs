//! `audit distill` and `audit finetune`: train the student of a recipe.

use std::time::Instant;

use anyhow::Result;

use super::audit::session_with;
use super::print;
use super::suite::print_hub_notes;
use crate::cli::{DistillArgs, FinetuneArgs, TrainingArgs};
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::{quoted, Settings};
use crate::distill::evaluate::Score;
use crate::distill::log::duration;
use crate::distill::recipe::{Flags, Recipe, TeacherPredictions, WrittenStates, WrittenTables};
use crate::distill::trainer::EndedBy;
use crate::distill::{distill, Student};
use crate::error::Exit;
use crate::interrupt::Interrupt;
use crate::model::Head;
use crate::task::is_builtin;
use crate::task::table::expand_patterns;
use crate::terminal::Verbosity;

/// Distils the student of a recipe.
pub fn run(args: &DistillArgs) -> Result<Exit> {
    let flags = Flags {
        method: args.method.clone(),
        init: args.init,
        teacher_predictions: args
            .teacher_predictions
            .clone()
            .map(|path| WrittenTables::Path(path).here()),
        ..flags(&args.training, args.teacher.clone())
    };
    train(&args.training, &flags)
}

/// Fine-tunes a pretrained checkpoint on the labels alone.
pub fn finetune(args: &FinetuneArgs) -> Result<Exit> {
    let flags = Flags { method: Some("finetune".to_owned()), ..flags(&args.training, None) };
    train(&args.training, &flags)
}

fn flags(args: &TrainingArgs, teacher: Option<String>) -> Flags {
    Flags {
        settings: args.inputs.layer(teacher),
        task: args.inputs.task.clone(),
        base: args.base.clone(),
        output: args.output.clone(),
        ..Flags::default()
    }
}

fn train(args: &TrainingArgs, flags: &Flags) -> Result<Exit> {
    let recipe = Recipe::read(&args.config, flags)?;
    let progress = Verbosity::for_stderr(args.inputs.quiet);
    let interrupt = Interrupt::from_signals(progress);
    let session = session_with(interrupt, progress, std::slice::from_ref(&recipe.settings))?;
    let began = Instant::now();
    let trained = distill(&recipe, args.resume, &session);
    print_hub_notes(&session);
    let student = trained?;
    progress.message(&format!("trained in {}", duration(began.elapsed())));
    print(&summary(&recipe, &student))?;
    Ok(Exit::Preserved)
}

/// Result of a training, and the command that audits the student.
fn summary(recipe: &Recipe, student: &Student) -> String {
    let epoch = match recipe.stages.as_slice() {
        [_] => student.ended.epoch.to_string(),
        _ => format!("{} of the stage {}", student.ended.epoch, student.ended.stage),
    };
    let ended = match (student.ended.by, recipe.stopping) {
        (EndedBy::Beta, _) => format!("the soft-label loss reached β at epoch {epoch}"),
        (EndedBy::MaxEpochs, Some(_)) => {
            format!("the epochs ended before the soft-label loss reached β; epoch {epoch} is kept")
        }
        (EndedBy::MaxEpochs, None) => format!("all epochs were run; epoch {epoch} is kept"),
    };
    let [on_train, on_validation] = deciding(recipe, student);
    let mut lines = vec![
        format!("{} on {}: {ended}", recipe.method.name, recipe.settings.task.name),
        score("train", &student.train) + &on_train,
    ];
    let validation = student.validation.as_ref();
    lines.extend(validation.map(|s| score("validation", s) + &on_validation));
    if let Some(loss) = student.soft_loss {
        let last = recipe.last_stage();
        lines.push(format!(
            "  KL on train   sum {:.4}, mean {:.6} nats at temperature {}{}",
            loss.sum_kl,
            loss.sum_kl / loss.examples as f64,
            last.temperature,
            if last.t_squared { ", times its square" } else { "" }
        ));
    }
    if let Some(ensemble) = &student.ensemble {
        lines.push(format!("the mean of {} generations:", ensemble.members.len()));
        lines.push(score("train", &ensemble.train));
        lines.extend(ensemble.validation.as_ref().map(|s| score("validation", s)));
    }
    lines.push(format!("wrote {}", student.folder.display()));
    if recipe.states == WrittenStates::All {
        lines.push("  with the state after each epoch in epoch-1, epoch-2, …".to_owned());
    }
    lines.extend(audit_hint(recipe, student));
    lines.join("\n") + "\n"
}

/// The σ that chose the state, on the training set and on the validation split, where it is not the
/// one of every score.
fn deciding(recipe: &Recipe, student: &Student) -> [String; 2] {
    let ended = &student.ended;
    let name = recipe.sigma_name().filter(|_| ended.by == EndedBy::MaxEpochs);
    let mut course = ended.course.iter();
    let kept =
        course.find(|epoch| (epoch.stage.as_str(), epoch.epoch) == (ended.stage, ended.epoch));
    let (Some(name), Some(kept)) = (name, kept) else { return Default::default() };
    [kept.train.map(|check| check.sigma), kept.validation_sigma]
        .map(|sigma| sigma.map(|sigma| format!(", sigma {sigma:.4} ({name})")).unwrap_or_default())
}

/// The commands that audit the student; a task of the user's own needs a config.
fn audit_hint(recipe: &Recipe, student: &Student) -> Option<String> {
    let (settings, task) = (&recipe.settings, &recipe.settings.task.name);
    let (config, explanation) = match (&recipe.teacher_predictions, is_builtin(task)) {
        (Some(tables), _) if is_training_set(tables, student) => (
            " --config CONFIG",
            format!(", with {} as the split `train` of [task.{task}] of the CONFIG", tables.train),
        ),
        (_, true) => ("", String::new()),
        (_, false) => (
            " --config CONFIG",
            format!(", with the recipe's [own_task] as [task.{task}] of the CONFIG"),
        ),
    };
    let folder = quoted(&student.folder.display().to_string());
    let line = match (&recipe.teacher_predictions, &settings.teacher) {
        (Some(tables), _) => {
            let predict = format!("audit predict{config} --task {task} --model {folder}");
            let check = format!(
                "audit check{config} --task {task} --teacher-predictions {} --student-predictions \
                 student.parquet",
                quoted(&tables.train)
            );
            format!(
                "next: {}\nthen: {}",
                predict + &data_flags(settings) + " --output student.parquet",
                check + &label_map_flag(settings) + &gate_flags(recipe, student)
            )
        }
        (None, Some(teacher)) => {
            let teacher = quoted(teacher);
            let audit =
                format!("next: audit{config} --task {task} --teacher {teacher} --student {folder}");
            let head = Some(settings.teacher_head).filter(|head| *head != Head::Auto);
            audit
                + &data_flags(settings)
                + &label_map_flag(settings)
                + &flag("teacher-head", head.map(|head| head.as_str().to_owned()))
                + &gate_flags(recipe, student)
        }
        (None, None) => return None,
    };
    Some(line + &explanation)
}

/// Whether the table of the teacher's predictions is the training set itself.
fn is_training_set(tables: &TeacherPredictions, student: &Student) -> bool {
    let files = expand_patterns(&[&tables.train]).unwrap_or_default();
    files.iter().map(|file| file.display().to_string()).eq(student.trained_on.iter().cloned())
}

fn flag(name: &str, value: Option<String>) -> String {
    value.map(|value| format!(" --{name} {value}")).unwrap_or_default()
}

/// The flags that name the student's data.
fn data_flags(settings: &Settings) -> String {
    let data = settings.data.as_ref().map(|data| quoted(&data.display().to_string()));
    // As a flag, the default would go before the tokenizer's own limit.
    let given = Some(settings.max_length).filter(|_| settings.max_length_is_given());
    flag("data", data)
        + &flag("max-length", given.map(|length| length.to_string()))
        + &flag("limit", settings.limit.map(|limit| limit.to_string()))
}

fn label_map_flag(settings: &Settings) -> String {
    let label_map = settings.label_map.to_string();
    flag("label-map", Some(quoted(&label_map)).filter(|_| !label_map.is_empty()))
}

/// The flags of the gate: what chose the state that is kept, β or κ.
fn gate_flags(recipe: &Recipe, student: &Student) -> String {
    let settings = &recipe.settings;
    let kappa = recipe.kappa(student.train_logits.labels.len());
    let bound = match kappa.filter(|_| student.ended.by == EndedBy::MaxEpochs) {
        Some(kappa) => flag("kappa", Some(kappa.to_string())),
        // `audit check` does not read the student's record.
        None if recipe.teacher_predictions.is_some() => String::new(),
        None => flag("bound", recipe.stopping.map(|_| "from-student".to_owned())),
    };
    let statistic = Some(settings.statistic).filter(|s| *s != Statistic::default());
    let kind = Some(settings.confidence).filter(|k| *k != ConfidenceKind::default());
    bound
        + &flag("statistic", statistic.map(|statistic| statistic.to_string()))
        + &flag("confidence", kind.map(|kind| kind.to_string()))
}

fn score(split: &str, score: &Score) -> String {
    let figure = |name: &str, value: Option<f64>| match value {
        Some(value) => format!("{name} {value:.4}"),
        None => format!("{name} unknown"),
    };
    let accuracy = figure("accuracy", score.accuracy);
    match score.sigma {
        Some(_) => format!("  {split:<12}  {accuracy}, {}", figure("sigma", score.sigma)),
        None => format!("  {split:<12}  {accuracy}"),
    }
}
