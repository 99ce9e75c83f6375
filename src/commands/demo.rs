//! `audit demo`: the embedded teacher against two students, one that passes and one that fails.
//!
//! scripts/demo/make_demo.sh makes the files of assets/demo with `audit finetune` and `audit distill`.
//! They are written to a temporary folder and audited from there.

use std::path::Path;

use anyhow::{Context, Result};

use super::audit::{refuse_without_effect, session_with};
use super::{run_each, ReportOutput};
use crate::audit::audit;
use crate::cli::DemoArgs;
use crate::config::{Config, Layer, Settings};
use crate::error::Exit;
use crate::interrupt::{Interrupt, RemovalGuard};
use crate::report::schema::{ModelManifest, Outcome, Report};
use crate::report::PredictionTable;
use crate::terminal::Verbosity;

/// Config of the two audits: one task per student.
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

/// Files of the demo, by their path in the folder.
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

/// Audits both students and prints the exit code of each audit.
pub fn run(args: &DemoArgs) -> Result<Exit> {
    refuse_flags(&args.settings)?;
    let output = ReportOutput::prepare(&args.output)?;
    // Before the folder is made, so that a signal removes it.
    let interrupt = Interrupt::from_signals(output.verbosity());
    let (report, tables) = audited(&args.settings, interrupt, output.verbosity())?;
    let exit = exit(&report);
    output.write_with(&report, &tables, Some(&codes(&report, exit)))?;
    Ok(exit)
}

/// Fails for a flag that names models or data, which are embedded, or the bound of a student, which one
/// of the two does not record.
fn refuse_flags(flags: &Layer) -> Result<()> {
    let without = ["teacher", "student", "data", "bound"];
    refuse_without_effect(flags, "demo", |key| without.contains(&key))
}

/// The report of the demo with these flags, and the predictions.
pub(super) fn audited(
    flags: &Layer,
    interrupt: Interrupt,
    progress: Verbosity,
) -> Result<(Report, Vec<PredictionTable>)> {
    refuse_flags(flags)?;
    let _guard; // declared first, to be dropped after the folder
    let folder = tempfile::tempdir().context("cannot make a temporary folder for the demo")?;
    _guard = RemovalGuard::new(folder.path());
    unpack(folder.path())?;
    let config = Config::from_text(CONFIG, &folder.path().join("demo.toml"))?;
    let settings: Vec<_> =
        TASKS.iter().map(|task| config.settings(task, flags)).collect::<Result<_>>()?;
    let session = session_with(interrupt, progress, &settings)?;
    let command = |settings: &Settings, _: &[ModelManifest]| {
        [vec!["demo".to_owned()], settings.flags()].concat()
    };
    let (mut report, tables) =
        run_each(&settings, &session, command, |settings| audit(settings, &session))?;
    strip_folder(&mut report, folder.path());
    Ok((report, tables))
}

/// A failing student is part of the demo; an audit that could not be run is an error.
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

/// Removes the temporary folder's name, so that every run has the same report.
fn strip_folder(report: &mut Report, folder: &Path) {
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

/// One line per audit with the exit code of that audit alone.
fn codes(report: &Report, exit: Exit) -> String {
    let gating = report.tasks.iter().filter(|row| row.gates);
    let lines = gating.map(|row| {
        let code = row.verdict.exit() as u8;
        format!("{}: an audit of this pair alone ends with exit code {code}", row.task)
    });
    let own = format!("the demo itself ends with exit code {}", exit as u8);
    let lines: Vec<_> = lines.chain([own]).collect();
    lines.join("\n")
}
