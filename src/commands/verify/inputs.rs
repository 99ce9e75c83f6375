//! Hashes of models and data, against those of the report.

use anyhow::Result;

use super::cannot;
use crate::audit::{load_gating_split, model_hashes, split_hashes, Role, Session};
use crate::config::Settings;
use crate::model::onnx::Runtime;
use crate::report::recalibration::Recalibration;
use crate::report::schema::{ModelManifest, Outcome, Report, TaskRow};
use crate::report::verification::Verification;

/// Compares the hashes of the models and the data of every task that was run.
pub(super) fn compare(
    report: &Report,
    all: &[Settings],
    session: &Session,
    found: &mut Verification,
) -> Result<()> {
    let (mut models, mut splits) = (0, 0);
    for settings in all {
        let task = &settings.task.name;
        let failed =
            |row: &TaskRow| row.task == *task && row.gates && row.verdict == Outcome::Error;
        if report.tasks.iter().any(failed) {
            continue; // the run says whether it still fails
        }
        models += of_models(&report.manifest.models, settings, session, found)?;
        let hashes = split_hashes(settings, session);
        for (split, sha256) in cannot(hashes, &format!("{task}: "), found)?.unwrap_or_default() {
            let row = |row: &TaskRow| row.task == *task && row.split == split;
            let i = report.tasks.iter().position(row);
            let row = i.map(|i| &report.tasks[i]);
            if row.is_some_and(|row| row.verdict == Outcome::Error) {
                continue;
            }
            let Some(sha256) = cannot(sha256, &format!("{task}/{split}: "), found)? else {
                continue;
            };
            splits += 1;
            let path = match i {
                Some(i) => format!("tasks[{i}].data_sha256"),
                None => format!("tasks, the row of {task}/{split}"),
            };
            hash(path, row.and_then(|row| row.data_sha256.as_deref()), &sha256, found);
        }
    }
    said(models, splits, found);
    Ok(())
}

/// As [`compare`], of a recalibration.
pub(super) fn compare_recalibration(
    report: &Recalibration,
    to_fit: &Settings,
    to_gate: &Settings,
    session: &Session,
    found: &mut Verification,
) -> Result<()> {
    let models = of_models(&report.manifest.models, to_gate, session, found)?;
    for (name, settings, split) in [("fit", to_fit, &report.fit), ("gate", to_gate, &report.gate)] {
        let loaded = load_gating_split(settings, &session.hub);
        if let Some(loaded) = cannot(loaded, &format!("{}: ", split.split), found)? {
            let path = format!("{name}.data_sha256");
            hash(path, Some(&split.data_sha256), &loaded.dataset.sha256, found);
        }
    }
    said(models, 2, found);
    Ok(())
}

fn said(models: usize, splits: usize, found: &mut Verification) {
    if models + splits > 0 {
        found.checked.push(format!("the SHA-256 of {models} models and of {splits} splits"));
    }
}

/// Compares the hashes of both models of a task; returns how many could be read.
fn of_models(
    models: &[ModelManifest],
    settings: &Settings,
    session: &Session,
    found: &mut Verification,
) -> Result<usize> {
    let task = &settings.task.name;
    let mut read = 0;
    for role in [Role::Teacher, Role::Student] {
        let hashes = model_hashes(role, settings, session);
        let Some(now) = cannot(hashes, &format!("{task}: "), found)? else { continue };
        read += 1;
        let is_it = |model: &ModelManifest| model.task == *task && model.role == role.to_string();
        let i = models.iter().position(is_it);
        let model = i.map(|i| &models[i]);
        let place = match i {
            Some(i) => format!("manifest.models[{i}]"),
            None => format!("manifest.models, the {role} of {task}"),
        };
        if let Some(then) = model.and_then(|model| model.runtime.as_deref()) {
            let runtime = Runtime::of(settings.onnxruntime.as_deref()).name();
            let Some(now) = cannot(runtime, &format!("{task}: "), found)? else { continue };
            if now != then {
                found.reasons.push(format!(
                    "{task}: the {role} was run by {then}, and {now} would run it now (hint: name \
                     the library of ONNX Runtime with --onnxruntime, or unset ORT_DYLIB_PATH for the \
                     built-in runtime)"
                ));
            }
        }
        let weights = model.map(|model| model.weights_sha256.as_str());
        let tokenizer = model.and_then(|model| model.tokenizer_sha256.as_deref());
        let config = model.and_then(|model| model.config_sha256.as_deref());
        hash(format!("{place}.weights_sha256"), weights, &now.weights, found);
        hash(format!("{place}.tokenizer_sha256"), tokenizer, &now.tokenizer, found);
        hash(format!("{place}.config_sha256"), config, &now.config, found);
    }
    Ok(read)
}

fn hash(path: String, report: Option<&str>, now: &str, found: &mut Verification) {
    if report != Some(now) {
        found.differs(path, report, now);
    }
}
