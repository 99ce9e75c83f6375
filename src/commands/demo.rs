//! `audit demo`: the embedded teacher against two students, one that passes and one that fails.
//!
//! The files are those of assets/demo, made by `audit finetune` and `audit distill` in
//! scripts/demo/make_demo.sh. They are written to a temporary folder and go the way of any checkpoint.

use std::path::Path;

use anyhow::{Context, Result};

use super::audit::{refuse_without_effect, stoppable_session};
use super::{run_each, Sink};
use crate::audit::audit;
use crate::cli::DemoArgs;
use crate::config::{Config, Settings};
use crate::error::Exit;
use crate::interrupt::{Interrupt, Temporary};
use crate::report::schema::{ModelManifest, Outcome, Report};

/// The two audits as a config: a task of the user's own, once for each student.
const CONFIG: &str = r#"
[defaults]
cache = false
teacher = "teacher"
max_length = 64

[task.demo]
student = "student"
text = "sentence"
label = "label"
labels = ["negative", "positive"]
splits = { train = "train.tsv", validation = "validation.tsv" }

[task.demo-overconfident]
student = "student-overconfident"
text = "sentence"
label = "label"
labels = ["negative", "positive"]
splits = { train = "train.tsv", validation = "validation.tsv" }
"#;

/// The tasks of [`CONFIG`].
const TASKS: [&str; 2] = ["demo", "demo-overconfident"];

macro_rules! embedded {
    ($($file:literal),* $(,)?) => {
        [$(($file, include_bytes!(concat!("../../assets/demo/", $file)).as_slice())),*]
    };
}

/// Every file of the demo, by its path in the folder.
const FILES: [(&str, &[u8]); 16] = embedded![
    "train.tsv",
    "validation.tsv",
    "teacher/config.json",
    "teacher/model.safetensors",
    "teacher/tokenizer.json",
    "teacher/tokenizer_config.json",
    "student/config.json",
    "student/distillation.json",
    "student/model.safetensors",
    "student/tokenizer.json",
    "student/tokenizer_config.json",
    "student-overconfident/config.json",
    "student-overconfident/distillation.json",
    "student-overconfident/model.safetensors",
    "student-overconfident/tokenizer.json",
    "student-overconfident/tokenizer_config.json",
];

/// Audits both students and says which code each audit would have ended with.
///
/// # Errors
/// A flag that the demo has no use for, a temporary folder that cannot be written, an unwritable
/// output.
pub fn run(args: &DemoArgs) -> Result<Exit> {
    // Its models and its data are its own, and one of its students was to meet no bound.
    refuse_without_effect(&args.settings, "demo", &["teacher", "student", "data", "bound"])?;
    let sink = Sink::prepare(&args.output)?;
    // A signal from here on finds the folder and removes it.
    let interrupt = Interrupt::from_signals(sink.progress());
    let folder = tempfile::tempdir().context("cannot make a temporary folder for the demo")?;
    let folder = Temporary::new(folder);
    unpack(folder.path())?;
    let config = Config::from_text(CONFIG, &folder.path().join("demo.toml"))?;
    let settings: Vec<_> =
        TASKS.iter().map(|task| config.settings(task, &args.settings)).collect::<Result<_>>()?;
    let session = stoppable_session(interrupt, sink.progress(), &settings)?;
    let again = |settings: &Settings, _: &[ModelManifest]| {
        [vec!["demo".to_owned()], settings.flags()].concat()
    };
    let (mut report, tables) =
        run_each(&settings, &session, again, |settings| audit(settings, &session))?;
    forget_folder(&mut report, folder.path());
    let exit = exit(&report);
    sink.write_with(&report, &tables, Some(&codes(&report, exit)))?;
    Ok(exit)
}

/// A student that fails is what the demo is to show; an audit that could not be run is not.
fn exit(report: &Report) -> Exit {
    match report.verdict {
        Outcome::Preserved | Outcome::NotPreserved => Exit::Preserved,
        Outcome::Error => Exit::CouldNotRun,
    }
}

fn unpack(folder: &Path) -> Result<()> {
    for (name, bytes) in FILES {
        let path = folder.join(name);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, bytes))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// The same report on every run: the temporary folder's name is left out of it.
fn forget_folder(report: &mut Report, folder: &Path) {
    let prefix = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
    let strip = |text: &str| text.replace(&prefix, "demo/");
    for model in &mut report.manifest.models {
        model.source = strip(&model.source);
    }
    for row in &mut report.tasks {
        row.bound_origin = strip(&row.bound_origin);
        for file in &mut row.data_files {
            *file = strip(file);
        }
    }
}

/// One line per audit: the code that `audit --task …` would have ended with.
fn codes(report: &Report, exit: Exit) -> String {
    let gating = report.tasks.iter().filter(|row| row.gates);
    let lines = gating.map(|row| {
        let code = match row.verdict {
            Outcome::Preserved => Exit::Preserved,
            Outcome::NotPreserved => Exit::NotPreserved,
            Outcome::Error => Exit::CouldNotRun,
        };
        format!("{}: an audit of this pair alone ends with exit code {}", row.task, code as u8)
    });
    let own = format!("the demo itself ends with exit code {}", exit as u8);
    let lines: Vec<_> = lines.chain([own]).collect();
    lines.join("\n")
}
