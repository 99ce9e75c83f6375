//! `audit distill` and `audit finetune`: train the student of a recipe.

use std::fmt::Write;
use std::time::Instant;

use anyhow::Result;

use super::audit::session_with;
use super::print;
use super::suite::print_hub_notes;
use crate::cli::{DistillArgs, FinetuneArgs, TrainingArgs};
use crate::confidence::{ConfidenceKind, Statistic};
use crate::config::quoted;
use crate::distill::evaluate::Score;
use crate::distill::log::duration;
use crate::distill::recipe::{Flags, Recipe, WrittenStates};
use crate::distill::trainer::EndedBy;
use crate::distill::{distill, Student};
use crate::error::Exit;
use crate::interrupt::Interrupt;
use crate::model::Head;
use crate::task::is_builtin;
use crate::terminal::Verbosity;

/// Distils the student of a recipe.
pub fn run(args: &DistillArgs) -> Result<Exit> {
    let flags = Flags {
        method: args.method.clone(),
        init: args.init,
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

/// The command that audits the student; a task of the user's own needs a config.
fn audit_hint(recipe: &Recipe, student: &Student) -> Option<String> {
    let settings = &recipe.settings;
    let (teacher, task) = (settings.teacher.as_ref()?, &settings.task.name);
    let (config, explanation) = match is_builtin(task) {
        true => ("", String::new()),
        false => (
            " --config CONFIG",
            format!(", with the recipe's [own_task] as [task.{task}] of the CONFIG"),
        ),
    };
    let teacher = quoted(teacher);
    let folder = quoted(&student.folder.display().to_string());
    let mut line =
        format!("next: audit{config} --task {task} --teacher {teacher} --student {folder}");
    let data = settings.data.as_ref().map(|data| quoted(&data.display().to_string()));
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, " --{flag} {value}");
        }
    };
    add("data", data);
    // As a flag, the default would go before the tokenizer's own limit.
    let given = Some(settings.max_length).filter(|_| settings.max_length_is_given());
    add("max-length", given.map(|length| length.to_string()));
    add("limit", settings.limit.map(|limit| limit.to_string()));
    let label_map = settings.label_map.to_string();
    add("label-map", Some(quoted(&label_map)).filter(|_| !label_map.is_empty()));
    let head = Some(settings.teacher_head).filter(|head| *head != Head::Auto);
    add("teacher-head", head.map(|head| head.as_str().to_owned()));
    // What chose the state that is kept: β, or κ.
    let kappa = recipe.kappa(student.train_logits.labels.len());
    match kappa.filter(|_| student.ended.by == EndedBy::MaxEpochs) {
        Some(kappa) => add("kappa", Some(kappa.to_string())),
        None => add("bound", recipe.stopping.map(|_| "from-student".to_owned())),
    }
    let statistic = Some(settings.statistic).filter(|s| *s != Statistic::default());
    add("statistic", statistic.map(|statistic| statistic.to_string()));
    let kind = Some(settings.confidence).filter(|k| *k != ConfidenceKind::default());
    add("confidence", kind.map(|kind| kind.to_string()));
    Some(line + &explanation)
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
