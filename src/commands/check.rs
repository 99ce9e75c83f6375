//! `audit check`: audits prediction files made by other tools.

use anyhow::{bail, Result};

use super::audit::{refuse_without_effect, session, single};
use super::{run_each, ReportOutput};
use crate::audit::{judge, sanity, Ending, Gate, Session, SplitPair, TaskOutcome};
use crate::check::{Code, Note};
use crate::cli::CheckArgs;
use crate::config::{BoundSource, Config, Layer, Settings, BOUND_KEYS};
use crate::error::{usage, Exit};
use crate::input::InputFile;
use crate::predictions::{
    read_pair, JoinedBy, Normalisation, PredictionFile, PredictionOptions, PredictionPair,
};
use crate::report::schema::{ModelManifest, Skipped};
use crate::report::{PredictionTable, Report};
use crate::task::{is_builtin, TextColumns};

/// Audits the student's predictions against the teacher's.
pub fn run(args: &CheckArgs) -> Result<Exit> {
    let config = Config::load(args.tasks.config.as_deref())?;
    let settings = settings(args, &config)?;
    let output = ReportOutput::prepare(&args.output)?;
    let session = session(output.verbosity(), std::slice::from_ref(&settings))?;
    let session = Session { errors: output.errors(), ..session };
    let (report, tables) = checked(args, settings, &session)?;
    output.write(&report, &tables)
}

/// The settings of a check.
pub(super) fn settings(args: &CheckArgs, config: &Config) -> Result<Settings> {
    let allowed = ["split", "limit", "statistic", "confidence", "label_map", "seed"];
    refuse_without_effect(&args.settings, "check", |key| {
        !allowed.contains(&key) && !BOUND_KEYS.contains(&key)
    })?;
    let config = &with_labels(args, config)?;
    let settings = single(&args.tasks, config, &args.settings)?;
    refuse_bound_from_student(&settings)?;
    Ok(settings)
}

/// The config with the task that `--labels` describes, if it is given.
fn with_labels(args: &CheckArgs, config: &Config) -> Result<Config> {
    let mut config = config.clone();
    if args.labels.is_empty() {
        return Ok(config);
    }
    let [name] = args.tasks.task.as_slice() else {
        bail!(usage!("--labels needs one --task, a name for your task")
            .hint("for example: --task reviews --labels negative,neutral,positive"));
    };
    if is_builtin(name) || config.task.contains_key(name) {
        bail!(usage!("--labels cannot change the labels of the task {name}").hint(
            "leave --labels out, or give your own task another name; --label-map maps the names of \
             the files"
        ));
    }
    let labels = args.labels.iter().map(|label| label.trim().to_owned()).collect();
    let task = Layer {
        text: Some(TextColumns::One("text".to_owned())),
        labels: Some(labels),
        ..Layer::default()
    };
    config.task.insert(name.clone(), task);
    Ok(config)
}

/// The report of a check, and both models' predictions.
pub(super) fn checked(
    args: &CheckArgs,
    settings: Settings,
    session: &Session,
) -> Result<(Report, Vec<PredictionTable>)> {
    let command = |settings: &Settings, _: &[ModelManifest]| command(args, settings);
    run_each(&[settings], session, command, |settings| check(args, settings, session))
}

/// Arguments after `audit` that reproduce the check.
pub(super) fn command(args: &CheckArgs, settings: &Settings) -> Vec<String> {
    let mut words = vec!["check".to_owned()];
    words.extend(settings.arguments(None, None));
    // A file name may start with a dash.
    let file = |name: &String| match name.starts_with('-') {
        true => format!("./{name}"),
        false => name.clone(),
    };
    words.push("--teacher-predictions".to_owned());
    words.extend(args.teacher_predictions.iter().map(file));
    words.push("--student-predictions".to_owned());
    words.extend(args.student_predictions.iter().map(file));
    if !args.labels.is_empty() {
        words.extend(["--labels".to_owned(), args.labels.join(",")]);
    }
    if args.normalise {
        words.push("--normalise".to_owned());
    }
    words
}

/// Prediction files have no distillation.json.
fn refuse_bound_from_student(settings: &Settings) -> Result<()> {
    match settings.bound_source {
        BoundSource::Policy => Ok(()),
        BoundSource::FromStudent => bail!(usage!(
            "`bound = \"from-student\"` ({}) needs the student's distillation.json, but `audit \
             check` reads predictions only",
            settings.origin("bound")
        )
        .hint("give --kappa, --beta or --beta-per-example")),
    }
}

fn check(args: &CheckArgs, settings: &Settings, session: &Session) -> Result<TaskOutcome> {
    let task = &settings.task;
    let patterns = |given: &[String]| -> Vec<String> {
        given.iter().map(|p| p.replace("{task}", &task.name)).collect()
    };
    let options = PredictionOptions {
        task: &task.name,
        labels: &task.label_names,
        texts: &task.text_columns(),
        label_map: &settings.label_map,
        normalise: args.normalise,
        interrupt: &session.interrupt,
    };
    let pair = read_pair(
        &patterns(&args.teacher_predictions),
        &patterns(&args.student_predictions),
        &options,
    )?;
    let mut notes = notes_of_tables(&pair, session);
    let PredictionPair { teacher, student, .. } = pair;
    let manifests =
        vec![manifest(&task.name, "teacher", &teacher), manifest(&task.name, "student", &student)];
    let files = [teacher.files.clone(), student.files.clone()].concat();
    let n = teacher.labels.len();
    let kept = settings.limit.unwrap_or(n).min(n);
    let order: Vec<usize> = (0..kept).collect();
    let split = settings.split.clone().unwrap_or_else(|| "train".to_owned());
    let unlabelled = teacher.labels.iter().all(Option::is_none);
    let labels = teacher.labels[..kept].to_vec();
    let label_names = teacher.label_names;
    let teacher = teacher.predictions.reordered(&order);
    let student = student.predictions.reordered(&order);
    for (role, predictions) in [("teacher", &teacher), ("student", &student)] {
        notes.extend(sanity(role, predictions, &labels));
    }
    let pair = SplitPair {
        task: &task.name,
        split: &split,
        gates: true,
        population: kept,
        available: n,
        rows: (0..kept as u32).collect(),
        ending: Ending::WHOLE,
        label_names: &label_names,
        labels,
        unlabelled: unlabelled.then(|| "the predictions carry no label".to_owned()),
        texts: None,
        teacher,
        student,
        truncated: (0, 0),
        skipped: Skipped::default(),
        data_sha256: None,
        data_files: Vec::new(),
        data_revision: None,
        from_cache: None,
        notes,
        started: None,
    };
    let gate = Gate::new(settings, None, kept)?;
    let (row, table) = judge(&pair, &gate, settings, None)?;
    files.iter().try_for_each(InputFile::require_unchanged)?;
    Ok(TaskOutcome { rows: vec![row], tables: vec![table], models: manifests })
}

/// Notes on how the tables were read; one that names the column of a join is printed too.
fn notes_of_tables(pair: &PredictionPair, session: &Session) -> Vec<Note> {
    let mut notes: Vec<Note> = match &pair.joined {
        JoinedBy::Column(name) if name == "id" => Vec::new(),
        JoinedBy::Column(name) => {
            let note = joined_by_column(name);
            session.progress.message(&format!("note: {}", note.message));
            vec![note]
        }
        JoinedBy::Rows => joined_by_row(&pair.teacher, &pair.student).into_iter().collect(),
    };
    for (role, file) in [("teacher", &pair.teacher), ("student", &pair.student)] {
        let Normalisation { rows, largest, percent } = file.normalised;
        if rows > 0 || percent {
            let all = file.labels.len();
            let hundred = match percent {
                true => format!("the {role}'s percent values were divided by 100; "),
                false => String::new(),
            };
            let what = format!(
                "{hundred}{rows} of {all} rows of the {role}'s probabilities do not sum to 1 and were \
                 divided by their sum (--normalise); the largest correction of a probability is \
                 {largest:.2e}"
            );
            notes.push(
                Note::new(Code::RowsNormalised, what)
                    .hint("write the probabilities with more digits, or the logits"),
            );
        }
    }
    notes
}

fn joined_by_column(name: &str) -> Note {
    let column = match name {
        "" => "the column without a name (the index of pandas)".to_owned(),
        name => format!("the column `{name}`"),
    };
    let what = format!("rows were joined by {column}, whose values are unique in both tables");
    Note::new(Code::JoinedByColumn, what)
        .hint("name the column `id` in both tables if it names the examples")
}

/// A warning if rows are joined by order although one table has ids, or although several files were
/// read in the order of their names.
fn joined_by_row(teacher: &PredictionFile, student: &PredictionFile) -> Option<Note> {
    let only_one_has_ids = |with: &str, name: &str, without: &str| {
        format!(
            "the {with}'s predictions have a column of unique ids, `{name}`, and the {without}'s have \
             none"
        )
    };
    let in_parts = |file: &PredictionFile| file.files.len() > 1;
    let why = match (teacher.ids(), student.ids()) {
        // The same ids under two names are in the same order, or the join was refused.
        (Some(t), Some(s)) if teacher.has_same_ids(student) || t == s => return None,
        (Some(t), Some(s)) => format!(
            "the teacher's predictions have the column `{t}` and the student's `{s}`, with other values"
        ),
        (Some(name), None) => only_one_has_ids("teacher", name, "student"),
        (None, Some(name)) => only_one_has_ids("student", name, "teacher"),
        (None, None) if in_parts(teacher) || in_parts(student) => format!(
            "the predictions have no `id` column and lie in several files (teacher {}, student {}), \
             which were taken in the order of their names",
            teacher.files.len(),
            student.files.len()
        ),
        (None, None) => return None,
    };
    Some(
        Note::new(Code::JoinedByRow, format!("{why}: their rows were compared in order"))
            .hint("give both files the `id` column, so that rows cannot be mixed up"),
    )
}

fn manifest(task: &str, role: &str, file: &PredictionFile) -> ModelManifest {
    let files: Vec<_> = file.files.iter().map(|f| f.name().to_owned()).collect();
    ModelManifest {
        task: task.to_owned(),
        role: role.to_owned(),
        source: files.join(", "),
        labels: file.own_labels.clone(),
        label_map: file.label_map.clone(),
        weights_sha256: file.sha256.clone(),
        ..ModelManifest::default()
    }
}
