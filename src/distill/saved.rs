//! Resumable training state, in one file that is replaced as a whole.
//!
//! Batches and dropout are drawn from the seed and from counters, so that parameters, moments, the
//! objective's state and the progress are all that the next step depends on.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::evaluate::{Score, SigmaCheck, SoftLoss};
use super::term::Term;
use super::trainer::EndedBy;
use crate::error::{failure, usage};
use crate::inference::Logits;
use crate::model::Parameter;
use crate::temporary::write_whole;

/// The format of saved trainings and shared stages. Raise when the progress or the files' meaning change:
/// it is part of every fingerprint.
pub const FORMAT: u32 = 3;

/// The folder of an unfinished training, within the student's.
const FOLDER: &str = "training";
const STATE: &str = "state.safetensors";
/// Prefix of the files of states that may be kept.
const CANDIDATE: &str = "epoch-";
const LOCK: &str = "lock";
/// Prefix of the files of assistants.
const ASSISTANT: &str = "trained-";
/// The metadata's key of the progress.
const PROGRESS: &str = "place";
/// The metadata's key of [`FORMAT`].
const FORMAT_KEY: &str = "format";
/// Prefixes of the tensors' names.
const VALUE: &str = "value.";
const MEAN: &str = "mean.";
const SQUARE: &str = "square.";
const OBJECTIVE: &str = "objective.";
const LOGITS: &str = "logits";
const TRAIN_LOGITS: &str = "train";
const VALIDATION_LOGITS: &str = "validation";

/// What is kept of a finished assistant.
#[derive(Debug, Clone, PartialEq)]
pub struct AssistantLogits {
    /// On the texts that are learned from (N, K).
    pub learned: Logits,
    /// Where assistants and student are joined.
    pub joined: Option<JoinedLogits>,
}

/// The logits of one model of a mean.
#[derive(Debug, Clone, PartialEq)]
pub struct JoinedLogits {
    /// On the training set.
    pub train: Logits,
    /// On the whole validation split.
    pub validation: Option<Logits>,
}

/// A parameter's name, the mean of its gradient and that of its square.
pub type NamedMoments = (String, Tensor, Tensor);

/// The saved state besides the parameters' values.
pub struct Restored {
    /// The moments of the parameters that the stage trains; none before its first step.
    pub moments: Vec<NamedMoments>,
    /// The state of the stage's objective, by name.
    pub objective: BTreeMap<String, Tensor>,
}

/// The part of the progress that names the training.
#[derive(Deserialize)]
struct SavedOf {
    fingerprint: String,
    of: String,
}

/// The progress of a training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TrainingProgress {
    /// Differs for another recipe, teacher or data set.
    pub fingerprint: String,
    /// Name of the trained model: the student or an assistant.
    pub of: String,
    /// The stage, from 0.
    pub stage: usize,
    /// Its epoch, from 0.
    pub epoch: usize,
    /// Steps of the epoch that are done.
    pub step: usize,
    /// Batches of the whole training that are done.
    pub number: u64,
    /// Steps that the student's optimizer has made in the stage.
    pub optimizer_steps: u64,
    /// Steps that the opponent's has made.
    pub opponent_steps: u64,
    /// Sums of the epoch's losses so far, and the number of batches in each.
    pub sums: BTreeMap<Term, (f64, usize)>,
    /// Sums of the objective's other figures so far, and the number of batches in each.
    #[serde(default)]
    pub figures: BTreeMap<String, (f64, usize)>,
    pub course: Vec<Epoch>,
    /// The states that may be the one that is kept, in the order of the training.
    pub candidates: Vec<Candidate>,
    /// Set once the training is over.
    pub ended_by: Option<EndedBy>,
}

/// A finished epoch.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Epoch {
    pub stage: String,
    /// Its number within the stage, from 1.
    pub epoch: usize,
    /// Means over the batches that had them, before the weights, dropout on.
    pub losses: BTreeMap<Term, f64>,
    /// Means over its batches of other figures, where the method has some.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
    /// Over the training set at its end, dropout off, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soft_loss: Option<SoftLoss>,
    /// On the validation split at its end, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Score>,
    /// σ on the training set at its end, where the choice of the state depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<SigmaCheck>,
    /// σ on the validation split in the recipe's statistic and confidence, where the choice of the
    /// state depends on it and they are not those of `validation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_sigma: Option<f64>,
    /// σ on the callback's sample of the training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_sigma: Option<f64>,
}

/// A state at the end of an epoch that may be the one that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Candidate {
    /// The stage, from 0.
    pub stage: usize,
    /// Its epoch, from 1.
    pub epoch: usize,
    /// On the validation split.
    pub accuracy: Option<f64>,
    /// The σ that `keep` compares.
    pub sigma: Option<f64>,
    /// Whether it is within κ, where there is one.
    pub preserved: Option<bool>,
}

impl Candidate {
    /// The file of its parameters.
    fn file(&self) -> String {
        format!("{CANDIDATE}{}-{}.safetensors", self.stage + 1, self.epoch)
    }
}

/// The files of an unfinished training.
pub struct TrainingFolder(PathBuf);

impl TrainingFolder {
    pub fn of(output: &Path) -> Self {
        TrainingFolder(output.join(FOLDER))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether there is a training to resume: a state, or a trained assistant.
    pub fn holds_state(&self) -> bool {
        let is_state = |name: &str| name == STATE || name.starts_with(ASSISTANT);
        let entries = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_str().is_some_and(is_state))
    }

    /// Whether the student's folder holds nothing else.
    pub fn is_alone(&self) -> bool {
        let output = self.0.parent().and_then(|output| std::fs::read_dir(output).ok());
        let Some(entries) = output else { return false };
        let mut names = entries.map(|entry| entry.map(|entry| entry.file_name()));
        self.0.is_dir() && names.all(|name| name.is_ok_and(|name| name == FOLDER))
    }

    /// Makes the folder and locks it.
    ///
    /// # Errors
    /// A folder that cannot be written, or in which another training runs.
    pub fn lock(&self) -> Result<File> {
        std::fs::create_dir_all(&self.0)
            .with_context(|| format!("cannot make the folder `{}`", self.0.display()))?;
        let path = self.0.join(LOCK);
        let lock =
            File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => {
                bail!(usage!("another training runs in `{}`", self.0.display())
                    .hint("name another folder with --output"))
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock `{}`", path.display()))
            }
        }
    }

    /// Removes the folder, once the student is written.
    pub fn remove(&self) -> Result<()> {
        match self.0.exists() {
            false => Ok(()),
            true => std::fs::remove_dir_all(&self.0)
                .with_context(|| format!("cannot remove `{}`", self.0.display())),
        }
    }

    /// Saves the state. `moments` is empty before a stage's first step.
    ///
    /// # Errors
    /// A full disk; the state before it stays.
    pub fn save(
        &self,
        progress: &TrainingProgress,
        parameters: &[Parameter],
        moments: Vec<NamedMoments>,
        objective: Vec<(String, Tensor)>,
    ) -> Result<()> {
        let mut tensors = values(parameters);
        tensors.extend(
            objective.into_iter().map(|(name, state)| (format!("{OBJECTIVE}{name}"), state)),
        );
        for (name, mean, square) in moments {
            tensors.push((format!("{MEAN}{name}"), mean));
            tensors.push((format!("{SQUARE}{name}"), square));
        }
        self.write(STATE, tensors, described(progress)?)
    }

    /// The progress of the saved training `name`; `None` if none is saved.
    ///
    /// # Errors
    /// A state that is damaged, or one of another training or another version of the program.
    pub fn progress(&self, name: &str, fingerprint: &str) -> Result<Option<TrainingProgress>> {
        let path = self.0.join(STATE);
        if !path.exists() {
            return Ok(None);
        }
        let metadata = metadata(&read(&path)?, &path)?;
        if !is_of_this_format(&metadata) {
            let folder = self.0.display();
            bail!(usage!(
                "the training in `{folder}` was saved by another version of this program"
            )
            .hint(format!("remove `{folder}`, and start again without --resume")));
        }
        // Before the rest, which may be of another form.
        let saved: SavedOf = progress_in(&metadata, &path)?;
        if saved.of != name {
            return Ok(None);
        }
        if saved.fingerprint != fingerprint {
            bail!(usage!(
                "the training in `{}` is another one: its recipe, seed, teacher, data or \
                         program version differs",
                self.0.display()
            )
            .hint("use the same ones, or remove the folder and leave --resume out"));
        }
        progress_in(&metadata, &path).map(Some)
    }

    /// Sets `parameters` to the saved values -> the rest of the state.
    ///
    /// # Errors
    /// A state that is damaged or of other parameters.
    pub fn restore(&self, parameters: &[Parameter]) -> Result<Restored> {
        let path = self.0.join(STATE);
        let bytes = read(&path)?;
        let file = parsed(&bytes, &path)?;
        set(&file, &path, parameters)?;
        let has_moments = |p: &&Parameter| file.tensor(&format!("{MEAN}{}", p.name)).is_ok();
        let moments = parameters.iter().filter(has_moments).map(|p| {
            let moment = |part: &str| tensor(&file, &path, &format!("{part}{}", p.name));
            Ok((p.name.clone(), moment(MEAN)?, moment(SQUARE)?))
        });
        let moments = moments.collect::<Result<Vec<_>>>()?;
        let names = file.names().into_iter().filter_map(|name| name.strip_prefix(OBJECTIVE));
        let state = |name: &str| {
            Ok((name.to_owned(), tensor(&file, &path, &format!("{OBJECTIVE}{name}"))?))
        };
        let objective = names.map(state).collect::<Result<_>>()?;
        Ok(Restored { moments, objective })
    }

    /// Saves the parameters of `candidate`.
    pub fn save_candidate(&self, candidate: &Candidate, parameters: &[Parameter]) -> Result<()> {
        self.write(&candidate.file(), values(parameters), HashMap::new())
    }

    /// Sets `parameters` to the values of `candidate`.
    ///
    /// # Errors
    /// A file that is missing, damaged or of other parameters.
    pub fn restore_candidate(&self, candidate: &Candidate, parameters: &[Parameter]) -> Result<()> {
        let path = self.0.join(candidate.file());
        set(&parsed(&read(&path)?, &path)?, &path, parameters)
    }

    /// Removes the files of all candidates but these.
    pub fn remove_candidates_but(&self, candidates: &[Candidate]) -> Result<()> {
        let kept: Vec<String> = candidates.iter().map(Candidate::file).collect();
        let cannot = || format!("cannot tidy `{}`", self.0.display());
        for entry in std::fs::read_dir(&self.0).with_context(cannot)? {
            let name = entry.with_context(cannot)?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(CANDIDATE) && !kept.iter().any(|kept| *kept == name) {
                std::fs::remove_file(self.0.join(&*name)).with_context(cannot)?;
            }
        }
        Ok(())
    }

    /// Saves the logits of the finished assistant `name`, and removes its state.
    pub fn finish_assistant(
        &self,
        name: &str,
        fingerprint: &str,
        logits: &AssistantLogits,
    ) -> Result<()> {
        let joined = logits.joined.as_ref();
        let all = [
            (LOGITS, Some(&logits.learned)),
            (TRAIN_LOGITS, joined.map(|joined| &joined.train)),
            (VALIDATION_LOGITS, joined.and_then(|joined| joined.validation.as_ref())),
        ];
        let known = all.into_iter().filter_map(|(name, logits)| Some((name, logits?)));
        let tensors = known.map(|(name, Logits { values, labels })| {
            let shape = (values.len() / labels, *labels);
            Ok((name.to_owned(), Tensor::from_slice(values, shape, &Device::Cpu)?))
        });
        let tensors = tensors.collect::<Result<Vec<_>>>()?;
        let metadata = HashMap::from([(PROGRESS.to_owned(), fingerprint.to_owned())]);
        self.write(&logits_file(name), tensors, metadata)?;
        let path = self.0.join(STATE);
        if path.exists() {
            std::fs::remove_file(&path)
                .with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        self.remove_candidates_but(&[])
    }

    /// The saved logits of the assistant `name` of the same training, if it is finished.
    ///
    /// # Errors
    /// A file that is damaged.
    pub fn logits(&self, name: &str, fingerprint: &str) -> Result<Option<AssistantLogits>> {
        let path = self.0.join(logits_file(name));
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read(&path)?;
        if metadata(&bytes, &path)?.get(PROGRESS).map(String::as_str) != Some(fingerprint) {
            return Ok(None);
        }
        let file = parsed(&bytes, &path)?;
        let read = |name: &str| -> Result<Logits> {
            let values = tensor(&file, &path, name)?;
            let labels = values.dim(1)?;
            Ok(Logits { values: values.flatten_all()?.to_vec1()?, labels })
        };
        let names = file.names();
        let known = |name| names.contains(&name).then(|| read(name)).transpose();
        let validation = known(VALIDATION_LOGITS)?;
        let joined = known(TRAIN_LOGITS)?.map(|train| JoinedLogits { train, validation });
        Ok(Some(AssistantLogits { learned: read(LOGITS)?, joined }))
    }

    /// Saves the parameters after a stage in `path`, with the progress.
    pub fn save_stage(
        path: &Path,
        progress: &TrainingProgress,
        parameters: &[Parameter],
    ) -> Result<()> {
        let folder = path.parent().context("a file without a folder")?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
        write_whole(path, &safetensors::serialize(values(parameters), Some(described(progress)?))?)
    }

    /// Sets `parameters` to their values after a stage -> the progress. `None` without a file that can
    /// be used, and `parameters` are as they were: the stage is trained again.
    pub fn restore_stage(path: &Path, parameters: &[Parameter]) -> Option<TrainingProgress> {
        // Another process may remove it at any time.
        let bytes = std::fs::read(path).ok()?;
        let metadata = metadata(&bytes, path).ok().filter(is_of_this_format)?;
        let progress = progress_in(&metadata, path).ok()?;
        set(&parsed(&bytes, path).ok()?, path, parameters).ok()?;
        Some(progress)
    }

    fn write(
        &self,
        name: &str,
        tensors: Vec<(String, Tensor)>,
        metadata: HashMap<String, String>,
    ) -> Result<()> {
        write_whole(&self.0.join(name), &safetensors::serialize(tensors, Some(metadata))?)
    }
}

/// The metadata of a file with this progress.
fn described(progress: &TrainingProgress) -> Result<HashMap<String, String>> {
    let json = serde_json::to_string(progress)?;
    Ok(HashMap::from([(PROGRESS.to_owned(), json), (FORMAT_KEY.to_owned(), FORMAT.to_string())]))
}

fn is_of_this_format(metadata: &HashMap<String, String>) -> bool {
    metadata.get(FORMAT_KEY).is_some_and(|format| *format == FORMAT.to_string())
}

/// The progress in a file's metadata, or a part of it.
fn progress_in<T: DeserializeOwned>(metadata: &HashMap<String, String>, path: &Path) -> Result<T> {
    let json = metadata.get(PROGRESS).ok_or_else(|| damaged(path, &"it has no progress"))?;
    serde_json::from_str(json).map_err(|e| damaged(path, &e))
}

fn metadata(bytes: &[u8], path: &Path) -> Result<HashMap<String, String>> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(path, &e))?;
    Ok(metadata.metadata().clone().unwrap_or_default())
}

fn parsed<'a>(bytes: &'a [u8], path: &Path) -> Result<SafeTensors<'a>> {
    SafeTensors::deserialize(bytes).map_err(|e| damaged(path, &e))
}

fn logits_file(name: &str) -> String {
    format!("{ASSISTANT}{}.safetensors", name.replace(' ', "-"))
}

fn values(parameters: &[Parameter]) -> Vec<(String, Tensor)> {
    parameters.iter().map(|p| (format!("{VALUE}{}", p.name), p.var.as_tensor().clone())).collect()
}

/// Sets all `parameters`, or none.
fn set(file: &SafeTensors, path: &Path, parameters: &[Parameter]) -> Result<()> {
    let values = parameters.iter().map(|Parameter { name, var, .. }| {
        let value = tensor(file, path, &format!("{VALUE}{name}"))?;
        match value.dims() == var.dims() && value.dtype() == var.dtype() {
            true => Ok(value),
            false => Err(damaged(path, &format!("`{name}` has another shape or type"))),
        }
    });
    let values: Vec<Tensor> = values.collect::<Result<_>>()?;
    for (parameter, value) in parameters.iter().zip(&values) {
        parameter.var.set(value)?;
    }
    Ok(())
}

fn tensor(file: &SafeTensors, path: &Path, name: &str) -> Result<Tensor> {
    let view = file.tensor(name).map_err(|e| damaged(path, &e))?;
    let dtype = view.dtype().try_into().map_err(|e: candle_core::Error| anyhow!("{e}"))?;
    Ok(Tensor::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn damaged(path: &Path, why: &dyn std::fmt::Display) -> anyhow::Error {
    failure!("the saved training `{}` is damaged: {why}", path.display())
        .hint("remove its folder and leave --resume out")
        .into()
}
