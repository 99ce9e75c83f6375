//! The journal of a tune, one line per event: the state that a tune is resumed from and that several
//! processes share.
//!
//! ```text
//! tune        the identity of the tune; the first line
//! begun       a training starts, with its settings
//! ended       its outcome
//! unseen      a finalist's figures on the part of the validation split that the search did not see
//! published   the winner's folder is written
//! ```
//!
//! It has no times or dates: a tune that was killed and resumed has the same bytes as one that was not.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use serde::{Deserialize, Serialize};
use toml::Value;

use super::answers::Answers;
use super::outcome::{RunOutcome, Unseen};
use super::space::TrialSettings;
use super::warm::{WarmStart, WarmTrial};
use crate::checkpoint::require_new_folder;
use crate::error::{failure, usage};
use crate::input::InputFile;

/// Raise when an event changes its meaning.
const SCHEMA_VERSION: u32 = 2;

/// A training of a tune: a trial, or its settings with another seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    /// The trial, from 1; the first has the default settings.
    pub trial: usize,
    /// The training's seed, where it is not the tune's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl RunId {
    pub fn trial(trial: usize) -> Self {
        RunId { trial, seed: None }
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self.seed {
            None => write!(f, "trial-{}", self.trial),
            Some(seed) => write!(f, "trial-{}-seed-{seed}", self.trial),
        }
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Tune {
        schema_version: u32,
        fingerprint: String,
        plan: serde_json::Value,
        compared: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        warm: Option<WarmStart>,
    },
    Begun {
        run: RunId,
        values: BTreeMap<String, serde_json::Value>,
    },
    Ended {
        run: RunId,
        end: RunOutcome,
    },
    Unseen {
        run: RunId,
        unseen: Unseen,
    },
    Published {
        trial: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature: Option<f64>,
    },
}

/// A training in the journal.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingRun {
    pub id: RunId,
    pub point: TrialSettings,
    /// `None` until it is over.
    pub end: Option<RunOutcome>,
    /// On the unseen part, if measured.
    pub unseen: Option<Unseen>,
}

/// The contents of a journal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainingRuns {
    /// In the order in which they started.
    pub all: Vec<TrainingRun>,
    /// The trial in the winner's folder, and its temperature.
    pub published: Option<(usize, Option<f64>)>,
    /// Trials of another search, which count for proposals alone.
    pub warm: Vec<TrainingRun>,
    /// Trials of the other search that are not of this one's space.
    pub skipped: Vec<String>,
}

impl TrainingRuns {
    pub fn trials(&self) -> impl Iterator<Item = &TrainingRun> {
        self.all.iter().filter(|run| run.id.seed.is_none())
    }

    pub fn find(&self, id: RunId) -> Option<&TrainingRun> {
        self.all.iter().find(|run| run.id == id)
    }

    fn find_mut(&mut self, id: RunId) -> Result<&mut TrainingRun> {
        let run = self.all.iter_mut().find(|run| run.id == id);
        run.with_context(|| format!("{id} ended without having begun"))
    }

    fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Tune { .. } => bail!("it has two first lines"),
            Event::Begun { run, values } => {
                let point = settings_of(values)?;
                if self.find(run).is_some() {
                    bail!("{run} begins a second time");
                }
                self.all.push(TrainingRun { id: run, point, end: None, unseen: None });
            }
            Event::Ended { run, end } => {
                if let RunOutcome::Finished(student) = &end {
                    let known = self.all.iter().chain(&self.warm).find_map(|run| match &run.end {
                        Some(RunOutcome::Finished(known)) => Some(&known.teacher_seen),
                        _ => None,
                    });
                    let answers = [&student.seen, &student.teacher_seen];
                    require_as_many(run, answers.into_iter().chain(known))?;
                }
                self.find_mut(run)?.end = Some(end);
            }
            Event::Unseen { run, unseen } => {
                let known = self.all.iter().find_map(|run| Some(&run.unseen.as_ref()?.teacher));
                require_as_many(run, [&unseen.student, &unseen.teacher].into_iter().chain(known))?;
                self.find_mut(run)?.unseen = Some(unseen);
            }
            Event::Published { trial, temperature } => self.published = Some((trial, temperature)),
        }
        Ok(())
    }
}

/// Requires answers to the same number of examples: they are compared one by one.
fn require_as_many<'a>(run: RunId, answers: impl Iterator<Item = &'a Answers>) -> Result<()> {
    let counts: Vec<usize> = answers.map(Answers::labelled).collect();
    match counts.iter().find(|count| **count != counts[0]) {
        None => Ok(()),
        Some(other) => bail!("{run} has {} answers where another model has {other}", counts[0]),
    }
}

/// Settings from JSON.
fn settings_of(values: BTreeMap<String, serde_json::Value>) -> Result<TrialSettings> {
    let value = |(name, value)| Ok((name, Value::try_from::<serde_json::Value>(value)?));
    values.into_iter().map(value).collect()
}

/// The journal of another search.
#[derive(Debug)]
pub struct OtherJournal {
    /// Its identity.
    pub plan: serde_json::Value,
    /// Fingerprint of its teacher and data.
    pub compared: String,
    pub runs: TrainingRuns,
}

/// What a new journal begins with.
#[derive(Debug, Clone, Default)]
pub struct JournalHead {
    /// Of everything that must match.
    pub fingerprint: String,
    /// Identity of the tune.
    pub plan: serde_json::Value,
    /// Fingerprint of teacher and data.
    pub compared: String,
}

/// The journal of an output folder.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

/// The journal, locked against other processes.
pub struct LockedJournal<'a> {
    journal: &'a Journal,
    file: File,
    pub runs: TrainingRuns,
}

impl Journal {
    /// Opens the journal in `folder`, or starts it with what `warm` gives.
    ///
    /// # Errors
    /// A folder that cannot be written or that holds something else; a journal of another tune.
    pub fn open(
        folder: &Path,
        head: JournalHead,
        warm: impl FnOnce() -> Result<Option<WarmStart>>,
    ) -> Result<Self> {
        let journal = Journal { path: folder.join("journal.jsonl") };
        let mut warm_start = None;
        if !journal.path.exists() {
            warm_start = warm()?;
            let new = require_new_folder(folder, "--output");
            // Another process may have started it since.
            new.or_else(|error| if journal.path.exists() { Ok(()) } else { Err(error) })?;
        }
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        let mut file = journal.locked_file()?;
        let JournalHead { fingerprint, plan, compared } = head;
        match journal.contents(&mut file)?.0 {
            None => {
                let (schema_version, warm) = (SCHEMA_VERSION, warm_start);
                let first = Event::Tune { schema_version, fingerprint, plan, compared, warm };
                journal.append(&mut file, &first)?;
            }
            Some(Event::Tune { fingerprint: known, .. }) if known == fingerprint => {}
            Some(begun) => return Err(journal.of_another(&begun, &plan)),
        }
        Ok(journal)
    }

    /// The error of a tune of `plan` on a journal whose first line is `begun`.
    fn of_another(&self, begun: &Event, plan: &serde_json::Value) -> anyhow::Error {
        let known = match begun {
            Event::Tune { plan, .. } => settings(plan),
            _ => BTreeMap::new(),
        };
        let plan = settings(plan);
        let keys: BTreeSet<&str> = known.keys().chain(plan.keys()).copied().collect();
        let keys: Vec<&str> = keys.into_iter().filter(|k| known.get(k) != plan.get(k)).collect();
        let other = match keys.as_slice() {
            [] => "its teacher, its data or its program version".to_owned(),
            keys => format!("its {}", keys.join(", ")),
        };
        usage!("`{}` is the journal of another tune: {other} was different", self.path.display())
            .hint("use the same, or name another folder with --output")
            .into()
    }

    /// Locks the journal and reads it.
    ///
    /// # Errors
    /// A journal that cannot be read, or whose lines contradict each other.
    pub fn lock(&self) -> Result<LockedJournal<'_>> {
        let mut file = self.locked_file()?;
        let (_, runs) = self.contents(&mut file)?;
        Ok(LockedJournal { journal: self, file, runs })
    }

    /// Reads the journal `path` of another search, which may still run.
    ///
    /// # Errors
    /// A file that is not a journal of this version of the program.
    pub fn read_other(path: &Path) -> Result<OtherJournal> {
        let (text, name) = (InputFile::open(path)?.read()?, path.display());
        require_version(&text, path, "name the journal of a search with this version")?;
        let wrong = |why: &dyn std::fmt::Display| usage!("`{name}` is not a journal: {why}");
        match read(&text).map_err(|why| wrong(&why))? {
            (Some(Event::Tune { plan, compared, .. }), runs) => {
                Ok(OtherJournal { plan, compared, runs })
            }
            _ => bail!(wrong(&"its first line does not begin a tune")),
        }
    }

    fn locked_file(&self) -> Result<File> {
        let cannot = || format!("cannot open `{}`", self.path.display());
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(&self.path);
        let file = file.with_context(cannot)?;
        file.lock().with_context(|| format!("cannot lock `{}`", self.path.display()))?;
        Ok(file)
    }

    /// What the complete lines add up to, after the first. An incomplete last line is removed: its
    /// process was killed.
    fn contents(&self, file: &mut File) -> Result<(Option<Event>, TrainingRuns)> {
        let mut text = Vec::new();
        let cannot = || format!("cannot read `{}`", self.path.display());
        file.seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_end(&mut text))
            .with_context(cannot)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        // Before anything is changed.
        require_version(&text[..whole], &self.path, "name another folder with --output")?;
        if whole < text.len() {
            file.set_len(whole as u64)
                .with_context(|| format!("cannot truncate `{}`", self.path.display()))?;
        }
        read(&text[..whole]).map_err(|e| self.damaged(&e))
    }

    /// Appends a line and flushes it to the disk.
    fn append(&self, file: &mut File, event: &Event) -> Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        let written = file.write_all(&line).and_then(|()| file.sync_data());
        written.with_context(|| format!("cannot write `{}`", self.path.display()))
    }

    fn damaged(&self, why: &dyn std::fmt::Display) -> anyhow::Error {
        failure!("the journal `{}` is damaged: {why}", self.path.display())
            .hint("name another folder with --output; the lines before can be copied there")
            .into()
    }
}

/// The complete lines of `text` that are not empty, with their numbers.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let whole = text.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
    let lines = (1..).zip(text[..whole].split(|&byte| byte == b'\n'));
    lines.filter(|(_, line)| !line.is_empty())
}

/// Refuses the journal `path` if another version of the program began it, whose lines may differ in
/// anything else.
fn require_version(text: &[u8], path: &Path, hint: &'static str) -> Result<()> {
    #[derive(Deserialize)]
    struct Begun {
        event: String,
        schema_version: u64,
    }
    let first = lines(text).next().map(|(_, line)| serde_json::from_slice::<Begun>(line));
    match first {
        Some(Ok(Begun { event, schema_version }))
            if event == "tune" && schema_version != u64::from(SCHEMA_VERSION) =>
        {
            let path = path.display();
            bail!(usage!("`{path}` is the journal of another version of this program").hint(hint))
        }
        _ => Ok(()),
    }
}

/// The first event, and what the events of the complete lines add up to.
fn read(text: &[u8]) -> Result<(Option<Event>, TrainingRuns)> {
    let at = |number: usize| move |why: anyhow::Error| anyhow!("line {number}: {why}");
    let event = |(number, line)| {
        let event = serde_json::from_slice::<Event>(line);
        event.map(|event| (number, event)).map_err(|why| at(number)(why.into()))
    };
    let mut events = lines(text).map(event);
    let mut runs = TrainingRuns::default();
    let first = events.next().transpose()?.map(|(_, event)| event);
    if let Some(Event::Tune { warm: Some(warm), .. }) = &first {
        let run = |WarmTrial { trial, values, end }: &WarmTrial| -> Result<TrainingRun> {
            let (id, point) = (RunId::trial(*trial), settings_of(values.clone())?);
            if let RunOutcome::Finished(student) = end {
                require_as_many(id, [&student.seen, &student.teacher_seen].into_iter())?;
            }
            Ok(TrainingRun { id, point, end: Some(end.clone()), unseen: None })
        };
        runs.warm = warm.trials.iter().map(run).collect::<Result<_>>().map_err(at(1))?;
        runs.skipped = warm.skipped.clone();
    }
    for event in events {
        let (number, event) = event?;
        runs.take(event).map_err(at(number))?;
    }
    Ok((first, runs))
}

impl LockedJournal<'_> {
    pub fn begin(&mut self, id: RunId, point: &TrialSettings) -> Result<()> {
        let value =
            |(name, value): (&String, &Value)| Ok((name.clone(), serde_json::to_value(value)?));
        let values = point.iter().map(value).collect::<Result<_>>()?;
        self.write(Event::Begun { run: id, values })
    }

    pub fn end(&mut self, id: RunId, end: RunOutcome) -> Result<()> {
        self.write(Event::Ended { run: id, end })
    }

    pub fn unseen(&mut self, id: RunId, unseen: Unseen) -> Result<()> {
        self.write(Event::Unseen { run: id, unseen })
    }

    pub fn publish(&mut self, trial: usize, temperature: Option<f64>) -> Result<()> {
        self.write(Event::Published { trial, temperature })
    }

    fn write(&mut self, event: Event) -> Result<()> {
        let path = self.journal.path.display();
        self.runs.take(event.clone()).map_err(|why| failure!("`{path}` cannot go on: {why}"))?;
        self.journal.append(&mut self.file, &event)
    }
}

/// The keys of a tune's identity, with those of its bound.
fn settings(plan: &serde_json::Value) -> BTreeMap<&str, &serde_json::Value> {
    let parts = [plan.as_object(), plan["gate"].as_object()];
    let keys = parts.into_iter().flatten().flatten().filter(|(key, _)| *key != "gate");
    keys.map(|(key, value)| (key.as_str(), value)).collect()
}
