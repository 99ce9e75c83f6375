//! `audit check`: predictions made elsewhere, judged as if the models had been run here.

use anyhow::Result;

use super::audit::{session, single};
use super::{run_each, Sink};
use crate::audit::{judge, Gate, SplitPair, TaskOutcome};
use crate::cli::CheckArgs;
use crate::config::{Config, Settings};
use crate::error::Exit;
use crate::predictions::{read_pair, PredictionFile};
use crate::report::schema::{ModelManifest, Skipped};

/// Judges the student's predictions against the teacher's.
///
/// # Errors
/// Usage, an unwritable output; predictions that cannot be compared are in the report.
pub fn run(args: &CheckArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let settings = vec![single(&args.tasks, &config, &args.settings)?];
    let sink = Sink::prepare(&args.output)?;
    let session = session(sink.progress())?;
    let (report, tables) = run_each(&settings, &session, |settings| check(args, settings))?;
    sink.write(&report, &tables)
}

fn check(args: &CheckArgs, settings: &Settings) -> Result<TaskOutcome> {
    let task = &settings.task;
    let patterns = |given: &[String]| -> Vec<String> {
        given.iter().map(|p| p.replace("{task}", &task.name)).collect()
    };
    let (teacher, student) = read_pair(
        &patterns(&args.teacher_predictions),
        &patterns(&args.student_predictions),
        &task.name,
        &task.label_names,
        &settings.label_map,
    )?;
    let manifests =
        vec![manifest(&task.name, "teacher", &teacher), manifest(&task.name, "student", &student)];
    let n = teacher.labels.len();
    let kept = settings.limit.unwrap_or(n).min(n);
    let order: Vec<usize> = (0..kept).collect();
    let label_names = teacher.label_names;
    let split = settings.split.clone().unwrap_or_else(|| "train".to_owned());
    let unlabelled = teacher.labels.iter().all(Option::is_none);
    let pair = SplitPair {
        task: &task.name,
        split: &split,
        gates: true,
        available: n,
        label_names: &label_names,
        labels: teacher.labels[..kept].to_vec(),
        unlabelled: unlabelled.then(|| "the predictions carry no label".to_owned()),
        texts: None,
        teacher: teacher.predictions.reordered(&order),
        student: student.predictions.reordered(&order),
        truncated: (0, 0),
        skipped: Skipped::default(),
        data_sha256: None,
        data_files: Vec::new(),
    };
    let gate = Gate::new(settings, None, kept)?;
    let (row, table) = judge(&pair, &gate, settings, None)?;
    Ok(TaskOutcome { rows: vec![row], tables: vec![table], models: manifests })
}

fn manifest(task: &str, role: &str, file: &PredictionFile) -> ModelManifest {
    let files: Vec<_> = file.files.iter().map(|f| f.display().to_string()).collect();
    ModelManifest {
        task: task.to_owned(),
        role: role.to_owned(),
        source: files.join(", "),
        revision: None,
        architecture: None,
        head: None,
        stored_dtype: None,
        parameters: None,
        labels: file.own_labels.clone(),
        label_map: file.label_map.clone(),
        weights_sha256: file.sha256.clone(),
        tokenizer_sha256: None,
        config_sha256: None,
    }
}
